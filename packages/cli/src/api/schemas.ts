import { type Static, type TInteger, type TOptional, type TSchema, type TUnion, Type } from '@sinclair/typebox'
import { hostName } from '../config/schema.ts'
import { STEPS, type Step } from './steps.ts'

/** One of some words. */
function oneOf<const Words extends readonly string[]>(words: Words, description: string) {
  const schema = Type.Union(
    words.map((word) => Type.Literal(word)),
    { description },
  )
  return schema as TUnion<{ -readonly [Index in keyof Words]: ReturnType<typeof Type.Literal<Words[Index]>> }>
}

const counter = (description: string) => Type.Integer({ minimum: 0, description })
const text = (description: string) => Type.String({ description })

export const FLOW_STATES = ['moving', 'steered', 'ended'] as const
export const DIRECTIONS = ['gateway-to-server', 'server-to-gateway', 'server-to-server'] as const
export const RESULTS = ['handed-off', 'rolled-back', 'lost'] as const

const flow = text('Client and service: `192.0.2.7:40312-198.51.100.1:80` or `[2001:db8::7]:40312-[2001:db8::1]:80`.')
const direction = oneOf(DIRECTIONS, 'From where to where the connection was to go.')
const result = oneOf(
  RESULTS,
  '`handed-off`: the target has the connection. `rolled-back`: it goes on where it was. `lost`: neither; it was reset.',
)

const failure = Type.Object(
  {
    reason: text('Why it did not succeed, for programs.'),
    text: text('The same for people.'),
    refusal: Type.Optional(text("With reason `refused`: the target's reason.")),
  },
  { description: 'Absent when it was handed off.' },
)

const times = Type.Object(
  Object.fromEntries(
    Object.entries(STEPS).map(([name, description]) => [name, Type.Optional(counter(description))]),
  ) as Record<Step, TOptional<TInteger>>,
  { description: 'How long each step took, microseconds. A step that was not reached is absent.' },
)

export const serverSchema = Type.Object(
  {
    name: hostName('Its name.'),
    up: Type.Boolean({ description: 'Whether its control channel is connected.' }),
    draining: Type.Boolean({ description: 'No connection is given to it, and those that it has are moved away.' }),
    connections: counter('Client connections that it has or that are relayed to it.'),
  },
  { description: 'A server.' },
)

export const serversSchema = Type.Object(
  { gateway: text("The gateway's name."), servers: Type.Array(serverSchema) },
  { description: 'The gateway and its servers.' },
)

const flowProperties = {
  flow,
  server: text('The server that has the connection.'),
  state: oneOf(
    FLOW_STATES,
    '`moving`: a handoff is in flight. `steered`: the connection lives. `ended`: late packets are caught.',
  ),
  age: Type.Number({ minimum: 0, description: 'Milliseconds since it came to its server.' }),
  moves: counter('How often it has moved, its first handoff included.'),
}

export const flowSchema = Type.Object(flowProperties, { description: 'A client connection that has a rule.' })

const countersSchema = Type.Object(
  {
    packets: counter('Packets from the client.'),
    bytes: counter('Bytes of those packets, from the Ethernet header on.'),
    egressPackets: counter('Packets of the gateway that the rule stored or discarded.'),
    lastSeen: Type.Union([Type.Number(), Type.Null()], {
      description:
        'When the last packet from the client was seen, CLOCK_MONOTONIC milliseconds; null when there was none.',
    }),
  },
  { description: 'What the rule has seen since it was last put.' },
)

export const flowDetailsSchema = Type.Object(
  { ...flowProperties, counters: Type.Optional(countersSchema) },
  { description: 'A client connection, and what its rule has seen.' },
)

const next = Type.Union([Type.Integer(), Type.Null()], {
  description: '`offset` of the next page; null when this is the last.',
})

export const flowsSchema = Type.Object(
  { flows: Type.Array(flowSchema), next },
  { description: 'Client connections, in no order. With `Accept: application/x-ndjson` one of them a line.' },
)

export const ruleSchema = Type.Object(
  {
    flow,
    action: oneOf(
      ['hold', 'steer'],
      '`hold`: packets are stored until the rule changes. `steer`: they go to the target.',
    ),
    target: Type.Optional(
      Type.Object({
        mode: text('How packets are sent to the target: `l2`, `vxlan` or `ipip`.'),
        mac: Type.Optional(text("With `l2` and `vxlan`: the target's MAC address, or that of its tunnel device.")),
        remote: Type.Optional(
          text('With `vxlan` and `ipip`: the address at which the target takes packets of the tunnel.'),
        ),
        identifier: Type.Optional(Type.Integer({ description: 'With `vxlan`: the network identifier.' })),
        port: Type.Optional(Type.Integer({ description: 'With `vxlan`: the UDP port of the target.' })),
      }),
    ),
    silent: Type.Optional(
      Type.Boolean({ description: 'With `hold`: what the gateway says on the flow is discarded.' }),
    ),
    ended: Type.Optional(Type.Boolean({ description: 'With `steer`: only late packets are caught.' })),
    counters: countersSchema,
  },
  { description: 'A rule in the kernel.' },
)

export const rulesSchema = Type.Object(
  { rules: Type.Array(ruleSchema), next },
  { description: 'Rules in the kernel, in no order. With `Accept: application/x-ndjson` one of them a line.' },
)

export const outcomeSchema = Type.Object(
  {
    result,
    handoff: counter('The number of the handoff; 0 when it was not begun.'),
    failure: Type.Optional(failure),
    times,
  },
  { description: 'How a handoff came out.' },
)

export const handoffSchema = Type.Object(
  {
    at: text('When it was over (RFC 3339).'),
    flow,
    direction,
    from: text('The host that gave the connection.'),
    to: text('The host that was to take it.'),
    outcome: outcomeSchema,
  },
  { description: 'A handoff that is over.' },
)

export const handoffsSchema = Type.Object(
  { handoffs: Type.Array(handoffSchema) },
  { description: 'The last handoffs, the newest first; how many are kept is limited.' },
)

export const moveSchema = Type.Object(
  {
    server: hostName('The server that takes the connection.'),
    timeout: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 600_000,
        default: 30_000,
        description: 'How long the connection may take to reach a request boundary, milliseconds; then it stays.',
      }),
    ),
  },
  { additionalProperties: false, description: 'Where the connection goes.' },
)

export const rebalancedSchema = Type.Object(
  { asked: counter('Connections that were asked to move.') },
  { description: 'What was begun.' },
)

export const eventSchema = Type.Union(
  [
    Type.Object({ type: Type.Literal('handoff'), handoff: handoffSchema }),
    Type.Object({ type: Type.Literal('ended'), flow, server: text('The server that had the connection.') }),
    Type.Object({ type: oneOf(['server-up', 'server-down'], 'Its control channel.'), server: text('Its name.') }),
    Type.Object({ type: Type.Literal('drain'), server: text('Its name.'), remaining: counter('Connections.') }),
    Type.Object({ type: Type.Literal('missed'), count: counter('Events left out, the reader being too slow.') }),
  ],
  { description: 'The `data` of one server-sent event, JSON; the name of the event is its `type`.' },
)

export const errorSchema = Type.Object(
  { error: Type.Object({ code: text('For programs; stable.'), message: text('What to do.') }) },
  { description: 'A request that was not carried out.' },
)

/** The schemas that have a name in the OpenAPI document. */
export const models = {
  Server: serverSchema,
  Servers: serversSchema,
  Flow: flowSchema,
  FlowDetails: flowDetailsSchema,
  Flows: flowsSchema,
  Rule: ruleSchema,
  Rules: rulesSchema,
  Outcome: outcomeSchema,
  Handoffs: handoffsSchema,
  Move: moveSchema,
  Rebalanced: rebalancedSchema,
  Event: eventSchema,
  Error: errorSchema,
} satisfies Record<string, TSchema>

export type ServerJson = Static<typeof serverSchema>
export type FlowJson = Static<typeof flowSchema>
export type RuleJson = Static<typeof ruleSchema>
export type OutcomeJson = Static<typeof outcomeSchema>
export type HandoffJson = Static<typeof handoffSchema>
export type EventJson = Static<typeof eventSchema>
