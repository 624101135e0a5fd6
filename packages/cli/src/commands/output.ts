/** What reads the standard output has gone away, such as `head`: there is nothing left to do. */
export class OutputClosed extends Error {}

/** Writes to standard output and waits until it is taken. Throws {@link OutputClosed}. */
export function write(text: string): Promise<void> {
  // What a write fails with is told to its callback; without a listener it would end the process as well.
  if (process.stdout.listenerCount('error') === 0) process.stdout.on('error', () => {})
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => {
      if (!error) resolve()
      else reject('code' in error && error.code === 'EPIPE' ? new OutputClosed() : error)
    })
  })
}

/** A column of a table. */
export interface Column<Row> {
  readonly heading: string
  readonly text: (row: Row) => string
  readonly align?: 'right'
}

/** Rows that are looked at for the widths of the columns. */
const ROWS_MEASURED = 1000

/** Writes a table as its rows come: of any length, in bounded memory. A later row that is wider than those before is not cut. */
export async function writeTable<Row>(
  columns: readonly Column<Row>[],
  rows: AsyncIterable<Row> | Iterable<Row>,
): Promise<void> {
  let widths: number[] | undefined
  let waiting: string[][] = [columns.map(({ heading }) => heading)]
  const flush = async () => {
    widths ??= columns.map((_, index) => Math.max(...waiting.map((cells) => cells[index]?.length ?? 0)))
    const known = widths
    await write(waiting.map((cells) => lineOf(columns, cells, known)).join(''))
    waiting = []
  }
  for await (const row of rows) {
    waiting.push(columns.map(({ text }) => printable(text(row))))
    if (waiting.length > ROWS_MEASURED) await flush()
  }
  await flush()
}

function lineOf(columns: readonly Column<never>[], cells: readonly string[], widths: readonly number[]): string {
  const padded = cells.map((cell, index) => {
    const width = widths[index] ?? 0
    return columns[index]?.align === 'right' ? cell.padStart(width) : cell.padEnd(width)
  })
  return `${padded.join('  ').trimEnd()}\n`
}

/** Without control characters: a text that another host wrote must not steer the terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}

/** Milliseconds as people say them: `340 ms`, `12.3 s`, `4m05s`, `2h03m`, `3d04h`. */
export function duration(milliseconds: number): string {
  const seconds = Math.floor(milliseconds / 1000)
  const two = (value: number) => String(value).padStart(2, '0')
  if (milliseconds < 1000) return `${Math.round(milliseconds)} ms`
  if (seconds < 60) return `${(milliseconds / 1000).toFixed(1)} s`
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`
  if (seconds < 86_400) return `${Math.floor(seconds / 3600)}h${two(Math.floor(seconds / 60) % 60)}m`
  return `${Math.floor(seconds / 86_400)}d${two(Math.floor(seconds / 3600) % 24)}h`
}

/** A number of connections in words. */
export function connectionCount(count: number): string {
  return count === 1 ? '1 connection' : `${count} connections`
}
