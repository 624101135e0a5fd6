export { errorText } from '@xoffload/core'

/** How much is logged: `errors` only, `info` adds what comes and goes, `handoffs` adds a line for each handoff. */
export type LogLevel = 'errors' | 'info' | 'handoffs'

/** One line of a log: an event's name and what belongs to it. Values are never snapshots or keys. */
export type LogEvent = { readonly event: string } & Readonly<Record<string, unknown>>

/** Takes log events. */
export type Log = (level: LogLevel, event: LogEvent) => void

const LEVELS: readonly LogLevel[] = ['errors', 'info', 'handoffs']

/** A log that writes each event up to a level as one line of JSON to standard output. */
export function jsonLog(most: LogLevel): Log {
  const wanted = new Set(LEVELS.slice(0, LEVELS.indexOf(most) + 1))
  return (level, event) => {
    if (wanted.has(level)) process.stdout.write(`${JSON.stringify({ time: new Date().toISOString(), ...event })}\n`)
  }
}
