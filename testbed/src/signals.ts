const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
const closers = new Set<() => Promise<void>>()

/**
 * Calls `close` before a signal ends this process, and lets the signal end it then. Returns what takes this back. The signal's
 * usual effect is kept (a shell sees that the process was ended by it), only later.
 */
export function closeOnSignal(close: () => Promise<void>): () => void {
  if (closers.size === 0) for (const signal of signals) process.on(signal, onSignal)
  closers.add(close)
  return () => {
    closers.delete(close)
    if (closers.size === 0) for (const signal of signals) process.off(signal, onSignal)
  }
}

function onSignal(signal: NodeJS.Signals): void {
  // A second signal finds no handler, and ends the process at once; the next start then cleans up.
  for (const each of signals) process.off(each, onSignal)
  const closing = [...closers].map((close) => close())
  closers.clear()
  Promise.allSettled(closing).then((results) => {
    for (const result of results) if (result.status === 'rejected') console.error(String(result.reason))
    process.kill(process.pid, signal)
  })
}
