import type { ErrnoName } from '@xoffload/linux'

/** What the thread that makes the system calls is asked. `id` names the answer. */
export type WorkerRequest =
  /** Use these sockets, which another thread has opened and closes. */
  | { readonly kind: 'start'; readonly id: number; readonly requests: number; readonly dumps: readonly number[] }
  | { readonly kind: 'exchange'; readonly id: number; readonly messages: Uint8Array }
  /** Begins a dump on one of the sockets for dumps, and asks for its first part. */
  | { readonly kind: 'dump'; readonly id: number; readonly socket: number; readonly message: Uint8Array }
  /** Asks for the next part of the dump on a socket. */
  | { readonly kind: 'more'; readonly id: number; readonly socket: number }
  /** Use the sockets no more. */
  | { readonly kind: 'stop'; readonly id: number }

/** Its answers. */
export type WorkerAnswer =
  | { readonly id: number; readonly datagrams: readonly Uint8Array[]; readonly overflow: boolean }
  | { readonly id: number; readonly call: string; readonly errno: ErrnoName }
