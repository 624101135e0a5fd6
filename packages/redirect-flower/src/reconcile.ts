import {
  decodeFlower,
  type FlowerTable,
  type ListedFlower,
  RTM_DELTFILTER,
  RTM_GETTFILTER,
  RTM_NEWTFILTER,
  type TcRequest,
} from '@xoffload/linux'
import type { Answer } from './pipeline.ts'

/** Reads all filters of a table, with the bodies that they came in. */
export type TableReader = (table: FlowerTable) => Promise<ReadonlyMap<number, ListedBody>>

/** A filter, and the message that told of it. */
export interface ListedBody {
  readonly filter: ListedFlower
  readonly body: Uint8Array
}

const DONE: Answer = { errno: undefined, text: undefined, replies: [] }
const ABSENT: Answer = { errno: 'ENOENT', text: undefined, replies: [] }

/**
 * Says from what is in the tables now what became of requests whose answers were lost, undefined for one of which nothing can be
 * said. Of each handle there is only one request among them: an operation on a flow waits for the one before it.
 */
export async function reconcile(lost: readonly TcRequest[], read: TableReader): Promise<(Answer | undefined)[]> {
  const tables = new Map<string, ReadonlyMap<number, ListedBody>>()
  const answers: (Answer | undefined)[] = []
  for (const request of lost) {
    if (![RTM_NEWTFILTER, RTM_DELTFILTER, RTM_GETTFILTER].includes(request.type)) {
      answers.push(undefined)
      continue
    }
    const wanted = decodeFlower(request.body)
    const { direction, chain, priority, handle } = wanted.place
    const key = `${direction} ${chain} ${priority}`
    let table = tables.get(key)
    if (table === undefined) {
      table = await read(wanted.place)
      tables.set(key, table)
    }
    answers.push(outcome(request, wanted, table.get(handle)))
  }
  return answers
}

function outcome(request: TcRequest, wanted: ListedFlower, found: ListedBody | undefined): Answer | undefined {
  switch (request.type) {
    case RTM_NEWTFILTER:
      // The cookie differs from that of the filter that it was to replace.
      return found !== undefined && sameCookie(found.filter, wanted) ? DONE : undefined
    case RTM_DELTFILTER:
      return found === undefined ? DONE : undefined
    default:
      return found === undefined ? ABSENT : { ...DONE, replies: [found.body] }
  }
}

function sameCookie(one: ListedFlower, other: ListedFlower): boolean {
  const [a, b] = [one.actions[0]?.cookie, other.actions[0]?.cookie]
  return a !== undefined && b !== undefined && a.length === b.length && a.every((byte, index) => byte === b[index])
}
