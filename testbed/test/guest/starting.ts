// Starts a guest, says where its files are, and waits for the end.
import { Guest } from '../../src/guest/index.ts'

const guest = await Guest.start()
console.log(guest.share)
await guest.run(['sleep', '600'], { timeout: 600_000 })
