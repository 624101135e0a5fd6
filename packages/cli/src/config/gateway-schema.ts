import { type Static, Type } from '@sinclair/typebox'
import { apiSchema } from './api.ts'
import { nginxSchema } from './gateway-nginx.ts'
import { redirectorSchema } from './redirector.ts'
import { address, atLeastOne, connect, count, device, file, hostName, logLevel, port } from './schema.ts'

const closed = { additionalProperties: false } as const

/** The keys of a gateway's configuration file. */
export const gatewaySchema = Type.Object(
  {
    name: hostName("This host's name, as in its certificate."),
    device: device("The network device at which the clients' packets arrive."),
    log: logLevel,
    service: Type.Object(
      {
        address: Type.Optional(address('The address that clients connect to. Either this or `addresses`.')),
        addresses: Type.Optional(atLeastOne(address('An address.'), 'Several such addresses, IPv4 and IPv6.')),
        port: port('The port that clients connect to.'),
      },
      { ...closed, description: 'The service address.' },
    ),
    control: Type.Object(
      {
        ca: file('The certificate of the authority that signed the certificates of all hosts, PEM.'),
        certificate: file("This host's certificate, PEM."),
        key: file("The certificate's private key, PEM."),
      },
      { ...closed, description: 'The control channels to the servers (mutual TLS).' },
    ),
    servers: Type.Array(
      Type.Object(
        {
          name: hostName("The server's name, as in its certificate."),
          control: connect('Where its agent listens (`control.listen` there).'),
          proxy: Type.Optional(
            connect('Where requests go that cannot be handed off. Without it they are answered with 503.'),
          ),
          tunnel: Type.Optional(
            Type.Union([Type.Literal('vxlan'), Type.Literal('ipip')], {
              description: 'The server is in another subnet, and has such a tunnel (`tunnel.mode` there).',
            }),
          ),
        },
        closed,
      ),
      { minItems: 1, description: 'The servers.' },
    ),
    selection: Type.Object(
      {
        policy: Type.Union(
          [
            Type.Literal('round-robin'),
            Type.Literal('least-connections'),
            Type.Literal('consistent-hash'),
            Type.Literal('module'),
          ],
          { default: 'round-robin', description: 'How the server of a request is chosen.' },
        ),
        key: Type.Optional(
          Type.String({
            pattern: "^(path|client|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$",
            expected: '"path", "client", "header:NAME" or "cookie:NAME"',
            description: 'What is hashed with policy `consistent-hash`.',
          }),
        ),
        module: Type.Optional(
          file(
            'With policy `module`: a module whose default export is a function of a request and the servers that are up; it returns one of them, its name, or undefined.',
          ),
        ),
      },
      { ...closed, default: {}, description: 'The choice of a server.' },
    ),
    nginx: Type.Optional(nginxSchema),
    redirector: redirectorSchema,
    api: Type.Optional(apiSchema),
    limits: Type.Object(
      {
        headBytes: count('The longest request head that is taken, bytes.', 256, 1_048_576, 16_384),
        headTimeout: count(
          'How long a client may take for a request head, milliseconds. What has come by then is relayed to a server, whose time limit counts.',
          1,
          3_600_000,
          10_000,
        ),
        connections: count('Client connections that this host holds or proxies at once.', 1, 10_000_000, 100_000),
        handoffs: count('Handoffs in flight at once.', 1, 100_000, 1024),
        flows: count('Flows that can be steered at once: the size of the rule table.', 1, 67_108_864, 1_048_576),
        snapshotBytes: count('The longest message with a snapshot, bytes.', 65_536, 67_108_864, 35_651_584),
        messages: count(
          'Messages a second that are taken from one server, as an average; more are read later. Those that cause work count as 5; a connection that comes and goes takes 17.',
          10_000,
          10_000_000,
          200_000,
        ),
        acceptTimeout: count('From the offer until the server accepts, milliseconds.', 1, 600_000, 2000),
        serverTimeout: count(
          'How long a server may be without a control connection until its connections are given up, milliseconds.',
          1,
          86_400_000,
          60_000,
        ),
        commitTimeout: count('From the commit until the server confirms it, milliseconds.', 1, 600_000, 5000),
        grace: count('How long a frozen socket stays after the commit, milliseconds.', 0, 600_000, 1000),
      },
      {
        ...closed,
        default: {},
        description: 'Limits. A connection that exceeds one is proxied or refused, never lost in silence.',
      },
    ),
  },
  closed,
)

/** A gateway's configuration as written in the file, defaults filled in. */
export type GatewayFile = Static<typeof gatewaySchema>
