/** The cluster's identifier (fsid). */
export const clusterId = '6f66666c-6f61-4d00-8000-000000000001'
/** Where the monitor listens, with the second version of Ceph's protocol. */
export const monitorPort = 3300
/** The only OSD. */
export const osdId = '0'

/** Bytes that the OSD says it has room for; it takes memory for what there is only. */
const CAPACITY = 8 * 2 ** 30

export interface CephPaths {
  /** Of all other paths. */
  readonly directory: string
  readonly file: string
  readonly keyring: string
  /** The directories of the daemons. */
  readonly monitor: string
  readonly osd: string
}

/** `ceph.conf` of a cluster with one monitor and one OSD. Nothing is written outside of the directory. */
export function cephConfiguration({ directory, keyring, monitor, osd }: CephPaths, address: string): string {
  return `
[global]
fsid = ${clusterId}
mon_host = v2:${address}:${monitorPort}
public_addr = ${address}
cluster_addr = ${address}
keyring = ${keyring}
run_dir = ${directory}
admin_socket = ""
pid_file = ""
crash_dir = ${directory}
log_to_file = false
log_to_stderr = true
err_to_stderr = true
debug_rocksdb = 0

# One copy of everything, since there is one OSD, and few placement groups, since each takes time to make.
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 1
osd_pool_default_pgp_num = 1
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000

# Each change of a map waits for others that may come, a second by default.
paxos_propose_interval = 0.01
paxos_min_wait = 0.01
mon_cluster_log_to_file = false
mon_cluster_log_to_stderr = false
mon_data = ${monitor}
# However full the disk is.
mon_data_avail_warn = 0
mon_data_avail_crit = 0

osd_data = ${osd}
osd_objectstore = memstore
memstore_device_bytes = ${CAPACITY}
osd_crush_initial_weight = 1
`
}

/** A keyring for the daemons, an administrator and these clients. The monitor takes over what is in it (`ceph-mon --mkfs`). */
export function cephKeyring(clients: readonly string[]): string {
  const all = { mon: 'allow *', osd: 'allow *', mgr: 'allow *' }
  return [
    section('mon.', { mon: 'allow *' }),
    section('client.admin', all),
    section(`osd.${osdId}`, { mon: 'allow profile osd', osd: 'allow *' }),
    ...clients.map((client) => section(client, { mon: 'allow rw', osd: 'allow rwx' })),
  ].join('\n')
}

function section(name: string, capabilities: Readonly<Record<string, string>>): string {
  const lines = Object.entries(capabilities).map(([daemon, text]) => `caps ${daemon} = "${text}"`)
  return [`[${name}]`, `key = ${secretKey()}`, ...lines, ''].join('\n')
}

/** What `ceph-authtool --gen-key` makes: type 1 (AES), the time of creation, length and bytes (src/auth/Crypto.cc, CryptoKey::encode). */
function secretKey(): string {
  const bytes = Buffer.alloc(28)
  bytes.writeUInt16LE(1, 0)
  bytes.writeUInt32LE(Math.floor(Date.now() / 1000), 2)
  bytes.writeUInt16LE(16, 10)
  crypto.getRandomValues(bytes.subarray(12))
  return bytes.toString('base64')
}
