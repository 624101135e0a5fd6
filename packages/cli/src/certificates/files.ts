import { randomBytes } from 'node:crypto'
import { mkdir, open, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { KeyPairPem } from './authority.ts'
import { CertificateError, readableName } from './name.ts'

/** Where {@link writeKeyPair} put the two files. */
export interface KeyPairFiles {
  readonly certificate: string
  readonly key: string
}

/**
 * Writes `<folder>/<name>.crt` and `<folder>/<name>.key`, both with mode 0600, each in one atomic step; the folder is made with
 * mode 0700 when it is missing. Existing files are replaced. Throws {@link CertificateError}.
 */
export async function writeKeyPair(folder: string, name: string, pair: KeyPairPem): Promise<KeyPairFiles> {
  const files = { certificate: join(folder, `${readableName(name)}.crt`), key: join(folder, `${name}.key`) }
  await writeSecret(files.key, pair.key)
  await writeSecret(files.certificate, pair.certificate)
  return files
}

/** Writes a file that only its owner can read (mode 0600), in one atomic step. Throws {@link CertificateError}. */
export async function writeSecret(path: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true, mode: 0o700 })
    await replace(path, text)
  } catch (cause) {
    throw new CertificateError(`${path} cannot be written: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    })
  }
}

async function replace(path: string, text: string): Promise<void> {
  // A new name opened with O_EXCL: an existing file's wider mode or a symbolic link planted there cannot leak the content.
  const temporary = `${path}.${randomBytes(6).toString('hex')}`
  const file = await open(temporary, 'wx', 0o600)
  try {
    await file.writeFile(text)
    await file.sync()
    await file.close()
    await rename(temporary, path)
  } catch (error) {
    await file.close()
    await rm(temporary, { force: true })
    throw error
  }
}
