import { TestbedError } from './errors.ts'

/** The Debian package of each program that testbeds, peers and the demo run. */
const packages: Readonly<Record<string, string>> = {
  ceph: 'ceph-common',
  'ceph-mon': 'ceph-mon',
  'ceph-osd': 'ceph-osd',
  curl: 'curl',
  haproxy: 'haproxy',
  ip: 'iproute2',
  monmaptool: 'ceph-base',
  nginx: 'nginx-light',
  nsenter: 'util-linux',
  radosgw: 'radosgw',
  'radosgw-admin': 'ceph-common',
  setpriv: 'util-linux',
  ss: 'iproute2',
  wrk: 'wrk',
}

// An ordinary user's PATH, which sudo may keep, lacks the sbin directories.
const searchPath = `${process.env.PATH ?? ''}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin`

/** The absolute path of a program. Throws {@link TestbedError} that names the Debian package when it is not installed. */
export function tool(name: string): string {
  const path = Bun.which(name, { PATH: searchPath })
  if (path !== null) return path
  const advice = packages[name] === undefined ? '' : `: install the Debian package "${packages[name]}"`
  throw new TestbedError(`The program "${name}" is not installed${advice}`)
}

/** Throws {@link TestbedError} unless this process is root, which network namespaces need. */
export function requireRoot(): void {
  if (process.geteuid?.() !== 0) {
    throw new TestbedError('A testbed makes network namespaces, and only root may do that: run this command with sudo')
  }
}
