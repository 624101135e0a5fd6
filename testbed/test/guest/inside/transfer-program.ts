// The processes behind transfer.ts: `server ADDRESS PORT`, `client ADDRESS PORT BYTES`, `probe ADDRESS PORT MILLISECONDS`.
import { pattern } from './pattern.ts'

const [role, hostname = '', port = '', amount = ''] = process.argv.slice(2)

if (role === 'server') {
  interface Progress {
    taken: number
    checksum: number
    expected: number | undefined
  }
  Bun.listen<Progress>({
    hostname,
    port: Number(port),
    socket: {
      open(socket) {
        socket.data = { taken: 0, checksum: 0, expected: undefined }
      },
      data(socket, chunk) {
        const progress = socket.data
        let data = chunk
        if (progress.expected === undefined) {
          progress.expected = chunk.readUInt32LE(0)
          data = chunk.subarray(4)
        }
        progress.taken += data.length
        progress.checksum = Bun.hash.crc32(data, progress.checksum)
        if (progress.taken >= progress.expected) socket.end(`${progress.taken} ${progress.checksum.toString(16)}`)
      },
    },
  })
  console.log('listens')
} else if (role === 'client') {
  const length = Buffer.alloc(4)
  length.writeUInt32LE(Number(amount))
  let rest: Uint8Array = Buffer.concat([length, pattern(Number(amount))])
  const write = (socket: { write(data: Uint8Array): number }): void => {
    rest = rest.subarray(socket.write(rest))
  }
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      open: write,
      drain: write,
      data(socket, chunk) {
        process.stdout.write(chunk)
        socket.end()
      },
    },
  })
} else {
  const answer = (text: string): never => {
    process.stdout.write(text)
    process.exit()
  }
  setTimeout(() => answer('no answer'), Number(amount))
  await Bun.connect({
    hostname,
    port: Number(port),
    socket: { open: () => answer('accepted'), connectError: () => answer('refused'), data() {} },
  }).catch(() => answer('refused'))
}
