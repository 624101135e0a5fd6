import { type Static, Type } from '@sinclair/typebox'
import { address, atLeastOne, count, device, file, hostName, listen, logLevel, port } from './schema.ts'
import { nginxSchema, preloadSchema } from './server-program.ts'
import { tunnelSchema } from './tunnel.ts'

const closed = { additionalProperties: false } as const

/** The keys of a server agent's configuration file. */
export const serverSchema = Type.Object(
  {
    name: hostName("This host's name, as in its certificate and in the gateways' `servers`."),
    device: device('The network device at which steered packets arrive.'),
    log: logLevel,
    tunnel: Type.Optional(tunnelSchema),
    control: Type.Object(
      {
        listen: listen('Where gateways connect to.'),
        ca: file('The certificate of the authority that signed the certificates of all hosts, PEM.'),
        certificate: file("This host's certificate, PEM."),
        key: file("The certificate's private key, PEM."),
        gateways: atLeastOne(
          hostName('A name.'),
          'The names of the gateways that may connect, as in their certificates.',
        ),
      },
      { ...closed, description: 'The control channels from the gateways (mutual TLS).' },
    ),
    services: Type.Array(
      Type.Object(
        {
          address: address('The service address; the agent puts it on the loopback device.'),
          port: port('The service port.'),
        },
        closed,
      ),
      { minItems: 1, description: 'What may be handed to this host; connections to anything else are refused.' },
    ),
    application: Type.Object(
      {
        module: Type.Optional(
          file(
            'A module whose default export is a fetch handler, or an object with one (an Elysia app). One of this, `preload` and `nginx`.',
          ),
        ),
        listen: Type.Optional(
          listen('Where the module serves ordinary connections too, such as those that a gateway proxies.'),
        ),
        preload: Type.Optional(preloadSchema),
        nginx: Type.Optional(nginxSchema),
      },
      { ...closed, description: 'The application: what answers requests.' },
    ),
    moves: Type.Object(
      {
        requests: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: 4_294_967_295,
            description:
              'After how many requests a connection is offered to the gateway, which may move it. Without it: never.',
          }),
        ),
        module: Type.Optional(
          file(
            'A module whose default export is a function (request, requests) => boolean: whether a request is answered here. A connection whose next request is not is offered to the gateway.',
          ),
        ),
      },
      { ...closed, default: {}, description: 'When connections leave this host without being asked to.' },
    ),
    limits: Type.Object(
      {
        handoffs: count('Handoffs in progress at once.', 1, 100_000, 1024),
        flows: count('Flows that can be locked at once: the size of the rule table.', 1, 67_108_864, 65_536),
        snapshotBytes: count('The longest message with a snapshot, bytes.', 65_536, 67_108_864, 35_651_584),
        offeredBytes: count(
          'What the handoffs in progress may have together, bytes; more are refused until there is room.',
          65_536,
          68_719_476_736,
          268_435_456,
        ),
        messages: count(
          'Messages a second that are taken from one gateway, as an average; more are read later. Those that cause work count as 5; a connection that comes and goes takes 17.',
          10_000,
          10_000_000,
          200_000,
        ),
        preparedTimeout: count(
          "From accepting a connection until the gateway commits, milliseconds; longer than the gateway's `commitTimeout`.",
          1,
          600_000,
          10_000,
        ),
        adoptTimeout: count('How long the application may take to take a connection, milliseconds.', 1, 600_000, 4000),
      },
      { ...closed, default: {}, description: 'Limits.' },
    ),
  },
  closed,
)

/** A server agent's configuration as written in the file, defaults filled in. */
export type ServerFile = Static<typeof serverSchema>
