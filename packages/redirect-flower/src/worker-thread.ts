import { LinuxError } from '@xoffload/linux'
import type { Exchange } from './kernel.ts'
import type { WorkerAnswer, WorkerRequest } from './worker-messages.ts'

interface Waiting {
  resolve(exchange: Exchange): void
  reject(error: Error): void
}

/** A thread that makes system calls for one connection at a time. It answers in the order in which it is asked. */
export class WorkerThread {
  readonly #worker = new Worker(new URL(workerFile(), import.meta.url))
  readonly #waiting = new Map<number, Waiting>()
  #lastId = 0
  #failure: Error | undefined

  constructor() {
    this.#worker.onmessage = ({ data }: MessageEvent<WorkerAnswer>) => this.#answered(data)
    this.#worker.onerror = ({ message }) => this.end(new LinuxError('worker', 'EIO', message))
  }

  /** It has ended and answers no more. */
  get failed(): boolean {
    return this.#failure !== undefined
  }

  /** Rejects with {@link LinuxError}. */
  ask(request: (id: number) => WorkerRequest): Promise<Exchange> {
    if (this.#failure !== undefined) return Promise.reject(this.#failure)
    this.#lastId += 1
    const { promise, resolve, reject } = Promise.withResolvers<Exchange>()
    this.#waiting.set(this.#lastId, { resolve, reject })
    this.#worker.postMessage(request(this.#lastId))
    return promise
  }

  /** Whether the process is to go on as long as the thread is there. */
  keepAlive(wanted: boolean): void {
    if (wanted) this.#worker.ref()
    else this.#worker.unref()
  }

  /** Ends the thread, and rejects what it has not answered. */
  end(error: Error): void {
    this.#failure ??= error
    this.#worker.terminate()
    for (const { reject } of this.#waiting.values()) reject(error)
    this.#waiting.clear()
  }

  #answered(answer: WorkerAnswer): void {
    const waiting = this.#waiting.get(answer.id)
    this.#waiting.delete(answer.id)
    if ('errno' in answer) waiting?.reject(new LinuxError(answer.call, answer.errno))
    else waiting?.resolve(answer)
  }
}

/** A thread takes some 150 ms to start, so the last one that was given back waits for the next connection. */
let idle: WorkerThread | undefined

/** A thread that nobody else has, until it is given back. */
export function takeThread(): WorkerThread {
  const thread = idle ?? new WorkerThread()
  idle = undefined
  thread.keepAlive(true)
  return thread
}

/** Takes a thread back that has answered everything. */
export function giveThreadBack(thread: WorkerThread): void {
  if (thread.failed) return
  if (idle === undefined) {
    thread.keepAlive(false)
    idle = thread
  } else {
    thread.end(new LinuxError('worker', 'EBADF', 'the connection was closed'))
  }
}

/** The published package has JavaScript next to this file, the repository TypeScript. */
function workerFile(): string {
  return import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js'
}
