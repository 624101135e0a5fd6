/**
 * Gateways one after the other in one process, a program of its own: the guest takes long to load one.
 *
 *     bun gateways-program.ts FILE
 *
 * SIGUSR2 ends the gateway that runs, if there is one, and starts that which FILE describes now. Prints `{"waits":COUNT}` before it has started
 * the first one and after each.
 */
import { Gateway, loadConfig } from 'xoffload'

const [file = ''] = process.argv.slice(2)
let gateway: Gateway | undefined
for (let count = 0; ; count++) {
  const told = new Promise((resolve) => process.once('SIGUSR2', resolve))
  console.log(JSON.stringify({ waits: count }))
  await told
  await gateway?.close()
  gateway = await Gateway.start(await loadConfig('gateway', file))
}
