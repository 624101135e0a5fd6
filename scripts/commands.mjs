import { checksRun } from './runner/test-options.mjs'

/**
 * The root commands, `npm run NAME -- ARGS`, and what each needs on the machine before its Bun entry can run.
 *
 * @typedef {object} Needs
 * @property {boolean} privilege Linux and root: the command makes network namespaces and loads BPF programs.
 * @property {readonly string[]} debianPackages
 * @property {boolean} guest A kernel for the QEMU guest, and headers for modules of it.
 *
 * @typedef {object} Command
 * @property {string} entry The file that Bun runs, relative to the root.
 * @property {readonly string[]} [args] The first arguments, before those of the user.
 * @property {(args: readonly string[], env: NodeJS.ProcessEnv) => Needs} needs
 */

/** Real peers, load generators and network tools that the testbed runs. wrk looks the port of `http` up in netbase's /etc/services. */
const traffic = ['iproute2', 'libbpf1', 'nginx-light', 'wrk', 'netbase', 'curl']

/** What rebuilding the BPF objects takes. */
const bpfCompiler = ['clang', 'llvm', 'libbpf-dev', 'libc6-dev', 'linux-libc-dev']

/** The guest: QEMU, tools for kernel modules and devices, and a compiler for its first process and its virtual NIC. */
const guestMachine = ['qemu-system-x86', 'kmod', 'gcc', 'libc6-dev', 'linux-libc-dev', 'make', 'libelf1', 'ethtool']

const nothing = () => ({ privilege: false, debianPackages: [], guest: false })

/** @param {readonly string[]} args */
const isHelp = (args) => args.includes('--help') || args.includes('-h')

/** @type {Command['needs']} */
const testbed = (args) => (isHelp(args) ? nothing() : { privilege: true, debianPackages: traffic, guest: false })

/** @type {Command['needs']} */
const guest = (args) =>
  isHelp(args) ? nothing() : { privilege: true, debianPackages: [...traffic, ...guestMachine], guest: true }

/** Ceph's object gateway, and as little of a cluster as it works with. */
const ceph = ['radosgw', 'ceph-mon', 'ceph-osd']

/** @type {Command['needs']} A scanner in C is compiled with sanitizers, nginx's module for the nginx that is there, and what `tc` says is traced. */
const namespaces = (args, env) => {
  const needs = testbed(args, env)
  const others = ['gcc', 'libc6-dev', 'make', 'nginx-dev', 'valgrind', 'strace', 'haproxy', ...ceph]
  return { ...needs, debianPackages: [...needs.debianPackages, ...others] }
}

/** @type {Command['needs']} nginx's module is compiled for the nginx that is there. */
const soak = (args, env) => {
  const needs = testbed(args, env)
  if (needs.debianPackages.length === 0 || !args.some((arg) => /^--adoptions(=|$)/.test(arg))) return needs
  return { ...needs, debianPackages: [...needs.debianPackages, 'gcc', 'libc6-dev', 'make', 'nginx-dev'] }
}

/** @type {Command['needs']} HAProxy is compared with, and rules of flower, which this kernel may lack, are put in the guest. */
const bench = (args, env) => {
  if (isHelp(args)) return nothing()
  const needs = args.includes('rules') ? guest(args, env) : testbed(args, env)
  return { ...needs, debianPackages: [...needs.debianPackages, ...(args.includes('nginx') ? ['haproxy'] : [])] }
}

/** @type {Command['needs']} All tiers. */
const everything = (args, env) => {
  const parts = [namespaces(args, env), guest(args, env)]
  return {
    privilege: parts.some(({ privilege }) => privilege),
    debianPackages: [...new Set(parts.flatMap(({ debianPackages }) => debianPackages))],
    guest: parts.some((part) => part.guest),
  }
}

/**
 * What the tests of a tier need.
 *
 * @type {ReadonlyMap<string, Command['needs']>}
 */
const tiers = new Map([
  ['pure', nothing],
  ['netns', namespaces],
  ['guest', guest],
])

/** @type {Command['needs']} */
const tests = (args, env) => {
  const tier = args
    .find((arg, index) => arg.startsWith('--tier=') || args[index - 1] === '--tier')
    ?.replace('--tier=', '')
  const { debianPackages, ...needs } = (tiers.get(tier ?? '') ?? everything)(args, env)
  return { ...needs, debianPackages: checksRun(args, env) ? [...debianPackages, ...bpfCompiler] : debianPackages }
}

/** @type {Readonly<Record<string, Command>>} */
export const commands = {
  demo: { entry: 'testbed/src/demo/main.ts', needs: testbed },
  bench: { entry: 'bench/src/main.ts', needs: bench },
  soak: { entry: 'testbed/src/soak/main.ts', needs: soak },
  guest: { entry: 'testbed/src/guest/main.ts', needs: guest },
  conformance: { entry: 'testbed/src/conformance/main.ts', needs: guest },
  simulate: { entry: 'testbed/src/simulate/main.ts', needs: nothing },
  test: { entry: 'scripts/test.ts', needs: tests },
  check: { entry: 'scripts/check.ts', needs: nothing },
  build: { entry: 'scripts/build.ts', needs: nothing },
  pack: { entry: 'scripts/pack.ts', needs: nothing },
  format: { entry: 'node_modules/@biomejs/biome/bin/biome', args: ['check', '--write'], needs: nothing },
  changeset: { entry: 'node_modules/@changesets/cli/bin.js', needs: nothing },
  xoffload: { entry: 'packages/cli/src/bin.ts', needs: nothing },
}
