import { readFileSync } from 'node:fs'

/** A file or directory of an initramfs. Paths have no leading slash, and a directory comes before what is in it. */
export type InitramfsEntry =
  | { readonly path: string; readonly directory: true }
  | { readonly path: string; readonly content: Uint8Array; readonly executable?: boolean }

/** An uncompressed initramfs (kernel Documentation/driver-api/early-userspace/buffer-format.rst: "newc" cpio). */
export function encodeInitramfs(entries: readonly InitramfsEntry[]): Uint8Array {
  const parts = entries.map((entry, index) => encodeEntry(entry, index + 1))
  parts.push(encodeEntry({ path: 'TRAILER!!!', content: new Uint8Array() }, 0))
  return Buffer.concat(parts)
}

/** The first process, and modules with the list of the order in which it loads them. */
export function initramfsOf(init: Uint8Array, modules: readonly string[]): Uint8Array {
  // Numbered: the names of modules need not differ.
  const names = modules.map((_, index) => `modules/${index}.ko`)
  const list = names.map((name) => `/${name}\n`).join('')
  return encodeInitramfs([
    ...['dev', 'proc', 'host', 'layer', 'root', 'modules'].map((path) => ({ path, directory: true }) as const),
    { path: 'init', content: init, executable: true },
    { path: 'modules/list', content: new TextEncoder().encode(list) },
    ...modules.map((file, index) => ({ path: names[index] ?? '', content: readFileSync(file) })),
  ])
}

function encodeEntry(entry: InitramfsEntry, inode: number): Uint8Array {
  const content = 'content' in entry ? entry.content : new Uint8Array()
  const mode = 'directory' in entry ? 0o040755 : entry.executable ? 0o100755 : 0o100644
  const name = new TextEncoder().encode(`${entry.path}\0`)
  // c_ino, c_mode, c_uid, c_gid, c_nlink, c_mtime, c_filesize, c_maj, c_min, c_rmaj, c_rmin, c_namesize, c_chksum
  const fields = [inode, mode, 0, 0, 1, 0, content.length, 0, 0, 0, 0, name.length, 0]
  const header = `070701${fields.map((field) => field.toString(16).padStart(8, '0')).join('')}`
  return Buffer.concat([padded(Buffer.concat([Buffer.from(header), name])), padded(content)])
}

function padded(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array((4 - (bytes.length % 4)) % 4)])
}
