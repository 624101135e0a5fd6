import { nextTurn } from './next-turn.ts'
import type { TextSource } from './text-stream.ts'

/** How many items are looked at in one turn of the event loop: a fraction of a millisecond. */
const BATCH = 128

/** Part of a list that may be too long for one array. */
export interface ListQuery<T> {
  readonly items: Iterable<T> | AsyncIterable<T>
  /** What is shown of an item; undefined leaves it out. */
  readonly view: (item: T) => object | undefined
  /** How many of those shown are skipped. */
  readonly offset: number
  /** How many are shown at most. */
  readonly limit: number
}

/** `json`: one object with the list under `key`, and `next`. `ndjson`: one item a line. */
export type ListFormat = { readonly type: 'json'; readonly key: string } | { readonly type: 'ndjson' }

/** A list as the text of an answer: made as it is read, so that neither a long list nor a slow reader needs memory. */
export function listText<T>(query: ListQuery<T>, format: ListFormat): TextSource {
  const texts = format.type === 'json' ? jsonTexts(query, format.key) : lineTexts(query)
  return {
    async next() {
      const { done, value } = await texts.next()
      return done ? undefined : value
    },
    async stop() {
      await texts.return()
    },
  }
}

async function* lineTexts<T>(query: ListQuery<T>): AsyncGenerator<string, void> {
  for await (const { shown } of batches(query)) if (shown.length > 0) yield `${shown.join('\n')}\n`
}

async function* jsonTexts<T>(query: ListQuery<T>, key: string): AsyncGenerator<string, void> {
  let before = `{${JSON.stringify(key)}:[`
  let end: number | null = null
  for await (const { shown, next } of batches(query)) {
    end = next
    if (shown.length === 0) continue
    yield before + shown.join(',')
    before = ','
  }
  yield `${before === ',' ? '' : before}],"next":${end}}`
}

/** What is shown of some items, as JSON, and the offset of the next page if this one ends here. */
interface Batch {
  readonly shown: string[]
  readonly next: number | null
}

async function* batches<T>({ items, view, offset, limit }: ListQuery<T>): AsyncGenerator<Batch, void> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]()
  let matching = 0
  try {
    for (;;) {
      const shown: string[] = []
      for (let looked = 0; looked < BATCH; looked++) {
        const step = iterator.next()
        const { done, value } = step instanceof Promise ? await step : step
        if (done) return yield { shown, next: null }
        const item = view(value)
        if (item === undefined || ++matching <= offset) continue
        if (matching > offset + limit) return yield { shown, next: offset + limit }
        shown.push(JSON.stringify(item))
      }
      yield { shown, next: null }
      await nextTurn()
    }
  } finally {
    await iterator.return?.()
  }
}
