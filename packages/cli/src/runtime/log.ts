export { errorText } from '@xoffload/core'

/** How much is logged: `errors` only, `info` adds what comes and goes, `handoffs` adds a line for each handoff. */
export type LogLevel = 'errors' | 'info' | 'handoffs'

/** One line of a log: an event's name and what belongs to it. Values are never snapshots or keys. */
export type LogEvent = { readonly event: string } & Readonly<Record<string, unknown>>

/** Takes log events. */
export type Log = (level: LogLevel, event: LogEvent) => void

/** The most that may wait for a reader of standard output that does not read, in bytes. */
const LONGEST_BACKLOG = 1024 * 1024

/** How long a line may wait for others, in milliseconds. */
const WRITE_DELAY = 5

const LEVELS: readonly LogLevel[] = ['errors', 'info', 'handoffs']

/**
 * A log that writes each event up to a level as one line of JSON to standard output, several lines in one write when they come in
 * quick succession. While nobody reads there, lines are dropped; the next one that is written says how many. A reader that is gone is
 * no error.
 */
export function jsonLog(most: LogLevel): Log {
  const wanted = new Set(LEVELS.slice(0, LEVELS.indexOf(most) + 1))
  let dropped = 0
  let waiting = ''
  const write = () => {
    const lines = waiting
    waiting = ''
    if (lines !== '') process.stdout.write(lines)
  }
  process.stdout.on('error', ignore)
  process.on('exit', write)
  return (level, event) => {
    if (!wanted.has(level)) return
    if (waiting.length + process.stdout.writableLength > LONGEST_BACKLOG) {
      dropped++
      return
    }
    const line = { time: new Date().toISOString(), ...event, ...(dropped > 0 && { dropped }) }
    dropped = 0
    if (waiting === '') setTimeout(write, WRITE_DELAY)
    waiting += `${JSON.stringify(line)}\n`
  }
}

function ignore(): void {}
