// A gateway process that can be stopped and killed: what it does with a connection is in the request's path.
import { freeze } from '@xoffload/linux'
import { type NginxArrival, NginxGatewayServer, type NginxVerdict } from '@xoffload/proxy-adapters/nginx'

const die = () => process.kill(process.pid, 'SIGKILL')

const deeds: Record<string, (arrival: NginxArrival) => NginxVerdict | Promise<NginxVerdict>> = {
  refuse: () => ({ result: 'refused', reason: 'as told' }),
  die: async () => {
    die()
    return await new Promise(() => {})
  },
  'freeze-and-die': async ({ fd }) => {
    freeze(fd)
    die()
    return await new Promise(() => {})
  },
  never: () => new Promise(() => {}),
  late: async () => {
    await Bun.sleep(1000)
    return { result: 'refused', reason: 'late' }
  },
  lost: () => ({ result: 'lost', reason: 'nobody has it' }),
  'refuse-frozen': ({ fd }) => {
    freeze(fd)
    return { result: 'refused', reason: 'but frozen' }
  },
}

await NginxGatewayServer.open({
  socket: process.argv[2] ?? '',
  users: [33],
  onArrival: async (arrival) => {
    const head = Buffer.from(arrival.received).toString('latin1')
    const deed = deeds[/^GET \/(\S+)/.exec(head)?.[1] ?? '']
    if (deed === undefined) throw new Error(`not a deed: ${head}`)
    return await deed(arrival)
  },
})
process.stdout.write('ready\n')
