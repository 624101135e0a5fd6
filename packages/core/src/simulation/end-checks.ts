import { sameHandoff } from '../protocol/reference.ts'
import type { Rule } from '../redirector.ts'
import type { Client } from './client.ts'
import type { Kernel } from './kernel.ts'
import { describePacket } from './packet.ts'
import type { Simulation } from './simulation.ts'
import { World } from './world.ts'

/** When nothing moves any more: what is left is what the connections that live justify, and every connection that could live does. */
export function checkEnd(simulation: Simulation): void {
  const { world } = simulation
  if (world.violations.length > 0) return
  for (const client of world.clients) checkClient(simulation, client)
  for (const kernel of world.kernels.values()) {
    for (const socket of kernel.sockets.values()) {
      if (socket.frozen) world.violate(8, `${socket.flow}: a frozen socket is left at ${kernel.name}`)
    }
    if (kernel.name === 'gateway') continue
    for (const rule of kernel.rules()) world.violate(8, `${world.flowOf(rule.flow)}: a rule is left at ${kernel.name}`)
  }
  checkProcesses(simulation)
  checkHeld(world)
}

function checkClient(simulation: Simulation, { flow, state, complete, socket }: Client): void {
  const { world } = simulation
  const gateway = world.kernels.get('gateway') as Kernel
  const homes = [...world.kernels.values()].filter(({ sockets }) => sockets.has(flow)).map(({ name }) => name)
  const rule = gateway.rule(flow)
  if (state !== 'open') {
    if (homes.length > 0) world.violate(8, `${flow}: ${state}, and a socket is left at ${homes}`)
    if (rule !== undefined) world.violate(8, `${flow}: ${state}, and the gateway has a rule`)
    return
  }
  if (!complete || !socket.isDrained) world.violate(4, `${flow}: it stands still`)
  if (homes.length !== 1) world.violate(8, `${flow}: it lives at ${homes.length} hosts: ${homes}`)
  else checkHome(simulation, flow, homes[0] as string, rule)
}

function checkHome(simulation: Simulation, flow: Client['flow'], home: string, rule: Rule | undefined): void {
  const { world } = simulation
  if (home === 'gateway') {
    if (rule !== undefined) world.violate(8, `${flow}: it lives at the gateway, behind a rule`)
    return
  }
  const right = rule?.action === 'steer' && !rule.ended && World.hostOf(rule.target) === home
  if (!right) {
    world.violate(8, `${flow}: it lives at ${home}, and that is not where it is steered to`)
    return
  }
  const server = simulation.servers.find((one) => one?.process.kernel.name === home)
  const held = server?.held.find((one) => one.flow === flow)
  if (held === undefined) world.violate(8, `${flow}: no application has it at ${home}`)
  else if (!sameHandoff(rule.handoff, held.reference)) world.violate(8, `${flow}: its rule is of another handoff`)
}

function checkProcesses({ world, gateway, servers }: Simulation): void {
  const here = gateway?.coordinator
  if (here && (here.size > 0 || here.inFlight > 0)) world.violate(8, 'a handoff is left at the gateway')
  for (const process of [gateway?.process, ...servers.map((server) => server?.process)]) {
    if (process === undefined) world.violate(8, 'a process has not come back')
    else if (process.timers > 0) world.violate(8, `a timer is left at ${process.kernel.name}`)
  }
  for (const server of servers) {
    if (server && (server.target.inFlight > 0 || server.origin.size > 0)) {
      world.violate(8, `a handoff is left at ${server.process.kernel.name}`)
    }
  }
}

/** Where nothing gets lost on the way, and nobody dies, what was held has arrived. */
function checkHeld(world: World): void {
  const { plan, held } = world
  if (plan.loss > 0 || plan.duplication > 0 || plan.crashes.length > 0) return
  const missing = held.find((packet) => !packet.reached && !packet.flow.mayEnd)
  if (missing !== undefined) world.violate(4, `${missing.flow}: held, and has not arrived: ${describePacket(missing)}`)
}
