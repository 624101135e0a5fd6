import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type CephPaths, cephConfiguration, cephKeyring, clusterId, monitorPort, osdId } from '../ceph/configuration.ts'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { tool } from '../tools.ts'

/** Milliseconds for what waits for a whole cluster, on a machine that has other things to do. */
const SLOW = 60_000

/** What a client of the object gateways signs its requests with. */
export interface S3Credentials {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

/** A Ceph cluster that has no data yet, and a user of its object gateways. */
export interface CephCluster {
  /** The path of its `ceph.conf`, for all hosts: they share the file system. */
  readonly file: string
  /** The one monitor, and the one OSD. */
  readonly processes: readonly HostProcess[]
  readonly credentials: S3Credentials
}

export interface ObjectGatewayOptions {
  readonly port: number
  /** Added to its environment. */
  readonly env?: Readonly<Record<string, string>>
  /** Further options of the frontend, such as `tcp_nodelay=1`. */
  readonly frontend?: readonly string[]
}

/**
 * Starts Debian's Ceph on the host: one monitor, and one OSD that keeps its objects in memory, with nothing outside of the host's directory. There
 * is no manager: object gateways need none. `gateways` are the hosts that {@link objectGateway} is called for later.
 * Throws {@link CommandError} with the words of what could not start.
 */
export async function cephCluster(host: Host, gateways: readonly Host[]): Promise<CephCluster> {
  const directory = join(host.directory, 'ceph')
  const paths: CephPaths = {
    directory,
    file: join(directory, 'ceph.conf'),
    keyring: join(directory, 'keyring'),
    monitor: join(directory, 'mon'),
    osd: join(directory, 'osd'),
  }
  for (const path of [directory, paths.monitor, paths.osd]) mkdirSync(path)
  writeFileSync(paths.file, cephConfiguration(paths, host.ipv4))
  writeFileSync(paths.keyring, cephKeyring(gateways.map(gatewayName)))
  // Object gateways are of the user ceph.
  for (const path of [host.directory, directory]) chmodSync(path, 0o755)
  const monitor = await startMonitor(host, paths)
  const osd = await startOsd(host, paths)
  return { file: paths.file, processes: [monitor, osd], credentials: await createUser(host, paths.file) }
}

async function startMonitor(host: Host, { directory, file, keyring }: CephPaths): Promise<HostProcess> {
  const map = join(directory, 'monmap')
  const endpoint = `[v2:${host.ipv4}:${monitorPort}]`
  await host.run([tool('monmaptool'), '--create', '--fsid', clusterId, '--addv', 'a', endpoint, map])
  const monitor = [tool('ceph-mon'), '-c', file, '-i', 'a'] as const
  await host.run([...monitor, '--mkfs', '--monmap', map, '--keyring', keyring], { timeout: SLOW })
  const started = host.spawn([...monitor, '-f'])
  await started.listening(monitorPort, { timeout: SLOW })
  return started
}

async function startOsd(host: Host, { file }: CephPaths): Promise<HostProcess> {
  const uuid = crypto.randomUUID()
  const osd = [tool('ceph-osd'), '-c', file, '-i', osdId] as const
  await host.run([...osd, '--mkfs', '--osd-uuid', uuid], { timeout: SLOW })
  await host.run([tool('ceph'), '-c', file, 'osd', 'new', uuid, osdId], { timeout: SLOW })
  const started = host.spawn([...osd, '-f'])
  await started.line(/state: booting -> active/, { timeout: SLOW })
  return started
}

/** This also makes the pools, which object gateways that start at once would do all together. */
async function createUser(host: Host, file: string): Promise<S3Credentials> {
  const credentials = { accessKeyId: 'xoffload', secretAccessKey: 'a-secret-of-the-testbed' }
  const user = ['--uid', 'test', '--display-name', 'test', '--access-key', credentials.accessKeyId]
  const command = [tool('radosgw-admin'), '-c', file, 'user', 'create', ...user] as const
  await host.run([...command, '--secret-key', credentials.secretAccessKey], { timeout: SLOW })
  return credentials
}

/** The name that a host's object gateway has for the cluster. */
function gatewayName(host: Host): string {
  return `client.rgw.${host.name}`
}

/**
 * Starts Debian's Ceph object gateway (radosgw) as its unit does, as the user ceph, and waits until it listens, on IPv4 and IPv6.
 * Throws {@link CommandError} with its words when it cannot start.
 */
export async function objectGateway(
  host: Host,
  { file }: CephCluster,
  options: ObjectGatewayOptions,
): Promise<HostProcess> {
  const { port, env, frontend = [] } = options
  const frontends = ['beast', `port=${port}`, ...frontend].join(' ')
  const user = ['--setuser', 'ceph', '--setgroup', 'ceph']
  const command = [tool('radosgw'), '-c', file, '-f', '--name', gatewayName(host), ...user] as const
  const gateway = host.spawn([...command, `--rgw-frontends=${frontends}`], { ...(env && { env }) })
  await gateway.listening(port, { timeout: SLOW })
  return gateway
}
