import { checksRun } from './runner/test-options.mjs'

/**
 * The root commands, `npm run NAME -- ARGS`, and what each needs on the machine before its Bun entry can run.
 *
 * @typedef {object} Needs
 * @property {boolean} privilege Linux and root: the command makes network namespaces and loads BPF programs.
 * @property {readonly string[]} debianPackages
 *
 * @typedef {object} Command
 * @property {string} entry The file that Bun runs, relative to the root.
 * @property {readonly string[]} [args] The first arguments, before those of the user.
 * @property {(args: readonly string[], env: NodeJS.ProcessEnv) => Needs} needs
 */

/** Real peers, load generators and network tools that the testbed runs. */
const traffic = ['iproute2', 'libbpf1', 'nginx-light', 'wrk', 'curl']

/** What rebuilding the BPF objects takes. */
const bpfCompiler = ['clang', 'llvm', 'libbpf-dev', 'libc6-dev', 'linux-libc-dev']

const nothing = () => ({ privilege: false, debianPackages: [] })

/** @type {Command['needs']} */
const testbed = (args) =>
  args.includes('--help') || args.includes('-h') ? nothing() : { privilege: true, debianPackages: traffic }

/** @type {Command['needs']} */
const tests = (args, env) => {
  const pure = args.some((arg, index) => arg === '--tier=pure' || (arg === '--tier' && args[index + 1] === 'pure'))
  const { privilege, debianPackages } = pure ? nothing() : testbed(args, env)
  return { privilege, debianPackages: checksRun(args, env) ? [...debianPackages, ...bpfCompiler] : debianPackages }
}

/** @type {Readonly<Record<string, Command>>} */
export const commands = {
  demo: { entry: 'testbed/src/demo/main.ts', needs: testbed },
  bench: { entry: 'bench/src/main.ts', needs: testbed },
  soak: { entry: 'testbed/src/soak/main.ts', needs: testbed },
  simulate: { entry: 'testbed/src/simulate/main.ts', needs: nothing },
  test: { entry: 'scripts/test.ts', needs: tests },
  check: { entry: 'scripts/check.ts', needs: nothing },
  build: { entry: 'scripts/build.ts', needs: nothing },
  pack: { entry: 'scripts/pack.ts', needs: nothing },
  format: { entry: 'node_modules/@biomejs/biome/bin/biome', args: ['check', '--write'], needs: nothing },
  changeset: { entry: 'node_modules/@changesets/cli/bin.js', needs: nothing },
  xoffload: { entry: 'packages/cli/src/bin.ts', needs: nothing },
}
