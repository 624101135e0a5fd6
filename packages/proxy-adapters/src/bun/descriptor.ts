import type { Socket } from 'bun'

/** The file descriptor of a socket. Bun has a property for it that its types do not name. */
export function descriptorOf(socket: Socket<unknown>): number {
  return (socket as unknown as { readonly fd: number }).fd
}
