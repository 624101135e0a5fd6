/** A server agent's end of the control channel in a process of its own, for tests that stop or kill it. Prints its port. */
import { type ControlCredentials, ControlListener } from '../../src/control/index.ts'
import { hello } from './support.ts'

const [credentials, port, limits] = JSON.parse(process.argv[2] ?? '[]') as [ControlCredentials, number, object]
const listener = new ControlListener({
  listen: { address: '127.0.0.1', port },
  credentials,
  peers: ['gateway'],
  hello: hello('s1', BigInt(process.pid)),
  limits,
  onUp: () => {},
  onMessage: (channel, message) => {
    if (message.type === 'abort') channel.send(message)
  },
  onDown: () => {},
})
console.log(listener.port)
