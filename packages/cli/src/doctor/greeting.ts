import { type Endpoint, errorText } from '@xoffload/core'
import { type ControlCredentials, tlsOptions, verifyPeer } from '../control/credentials.ts'

/** How long an agent may take to answer, in milliseconds. */
const TIMEOUT = 3000

/**
 * Connects to an agent's control port and waits for the first word of its side, which it says once it has accepted this host's
 * certificate (in TLS 1.3 the handshake is over before that). Says nothing itself: a hello would take the place of a gateway that is
 * connected. Resolves with what is wrong, undefined when nothing is. Never rejects.
 */
export async function greetingOf(
  name: string,
  { address, port }: Endpoint,
  credentials: ControlCredentials,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const timer = setTimeout(
    () => resolve(`no answer within ${TIMEOUT} ms; does its agent run, is a firewall between?`),
    TIMEOUT,
  )
  const connecting = Bun.connect<undefined>({
    hostname: address,
    port,
    tls: { ...tlsOptions(credentials), serverName: name },
    socket: {
      handshake(socket, _success, error) {
        try {
          verifyPeer(socket, error, [name])
        } catch (refusal) {
          resolve(errorText(refusal))
        }
      },
      data: () => resolve(undefined),
      close: () =>
        resolve("it closed the connection; is this host's name in its control.gateways, is the authority the same?"),
      error: (_socket, error) => resolve(errorText(error)),
      connectError() {},
    },
  })
  connecting.catch((error) => resolve(`${errorText(error)}; does its agent run, is a firewall between?`))
  try {
    return await promise
  } finally {
    clearTimeout(timer)
    // An attempt that comes to something later is not left behind.
    connecting.then((socket) => socket.terminate()).catch(() => {})
  }
}
