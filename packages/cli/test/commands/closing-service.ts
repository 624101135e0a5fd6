/** A service that says when it has closed, which takes the milliseconds in the first argument: for tests. */
import { runService } from '../../src/commands/run-service.ts'

const duration = Number(process.argv[2])
// What keeps it running is its own affair: a listener, for example.
const listener = setInterval(() => {}, 60_000)

await runService(async () => ({
  async close() {
    console.log('closing')
    await Bun.sleep(duration)
    clearInterval(listener)
    console.log('closed')
  },
}))
