import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { runTool } from '../command.ts'
import { enterTestbed, removeTestbed, testbedDirectory } from '../registry.ts'
import { closeOnSignal } from '../signals.ts'
import { tool } from '../tools.ts'
import { cachedDirectory } from './cache.ts'
import { Channel } from './channel.ts'
import { frameType } from './frame.ts'
import { initramfsOf } from './initramfs.ts'
import { type GuestKernel, guestFiles, moduleFiles } from './kernel.ts'
import { Machine, type MachineOptions, machineArguments } from './machine.ts'

/** The first line is what a guest cannot do without; the others are here so that no test waits for them. More load on demand. */
const modules = [
  ...['virtio_pci', 'virtio_console', '9pnet_virtio', '9p', 'overlay'],
  ...['veth', 'bridge', '8021q', 'vxlan', 'nlmon', 'tcp_diag', 'tls'],
  ...['sch_ingress', 'sch_netem', 'cls_flower', 'cls_bpf', 'cls_matchall'],
  ...['act_bpf', 'act_csum', 'act_gact', 'act_mirred', 'act_pedit', 'act_skbedit', 'act_tunnel_key', 'act_vlan'],
  // What act_csum computes with.
  ...['crc32c_generic', 'libcrc32c'],
]

/** A guest that has booted, up to where it learns what the host gives it. */
export interface Snapshot {
  readonly initramfs: string
  readonly state: string
}

/** More are the oldest's end: each has the size of what its guest's memory holds, some 90 MB. */
const keptSnapshots = 4

/** Milliseconds that a guest may take to boot on a machine that is busy with other things: it is emulated. */
const bootTimeout = 180_000

const building = new Map<string, Promise<Snapshot>>()

/** The snapshot for such a machine: kept from earlier, unless something that it is made of has changed. */
export async function guestSnapshot(kernel: GuestKernel, options: MachineOptions): Promise<Snapshot> {
  const key = await snapshotKey(kernel, options)
  let snapshot = building.get(key)
  if (snapshot === undefined) {
    snapshot = cachedDirectory(join(guestFiles, 'snapshots'), key, keptSnapshots, (into) =>
      build(into, kernel, options),
    ).then((directory) => ({ initramfs: join(directory, 'initramfs'), state: join(directory, 'state') }))
    building.set(key, snapshot)
    // What failed may work when it is tried again.
    snapshot.catch(() => building.delete(key))
  }
  return snapshot
}

async function build(directory: string, kernel: GuestKernel, options: MachineOptions): Promise<void> {
  const init = join(directory, 'init')
  await runTool([tool('gcc'), '-static', '-O2', '-Wall', '-Wextra', '-Werror', '-o', init, ...initSources('.c')])
  const initramfs = join(directory, 'initramfs')
  await Bun.write(initramfs, initramfsOf(readFileSync(init), await moduleFiles(kernel, modules)))
  const id = enterTestbed()
  const sockets = testbedDirectory(id)
  let machine: Machine | undefined
  const close = async (): Promise<void> => {
    await machine?.kill()
    await removeTestbed(id)
  }
  const forgetSignals = closeOnSignal(close)
  try {
    machine = await Machine.start(options, { kernel: kernel.image, initramfs, directory: sockets, share: sockets })
    await new Channel(machine).expect(frameType.ready, bootTimeout)
    await machine.save(join(directory, 'state'))
  } finally {
    await close()
    forgetSignals()
  }
}

/** The source files of the guest's first process whose names end so. */
function initSources(suffix: string): string[] {
  const directory = join(import.meta.dir, 'init')
  const names = readdirSync(directory).filter((name) => name.endsWith(suffix))
  return names.sort().map((name) => join(directory, name))
}

async function snapshotKey(kernel: GuestKernel, options: MachineOptions): Promise<string> {
  const hash = new Bun.CryptoHasher('sha256')
  hash.update(JSON.stringify([machineArguments(options), modules, kernel.release]))
  for (const file of [kernel.image, tool('qemu-system-x86_64')]) {
    const { mtimeMs, size } = statSync(file)
    hash.update(JSON.stringify([mtimeMs, size]))
  }
  for (const file of initSources('')) hash.update(await Bun.file(file).bytes())
  return hash.digest('hex').slice(0, 32)
}
