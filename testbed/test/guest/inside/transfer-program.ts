// The processes behind transfer.ts: `server ADDRESS PORT`, `client ADDRESS PORT BYTES`, `probe ADDRESS PORT MILLISECONDS`, and
// `parts ADDRESS PORT BYTES`: a client that says its port, and sends as many bytes as each line on stdin says.
import { pattern } from './pattern.ts'

/** Bytes of the length that comes first. */
const LENGTH = 4

function message(bytes: number): Uint8Array {
  const length = Buffer.alloc(LENGTH)
  length.writeUInt32LE(bytes)
  return Buffer.concat([length, pattern(bytes)])
}

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
          data = chunk.subarray(LENGTH)
        }
        progress.taken += data.length
        progress.checksum = Bun.hash.crc32(data, progress.checksum)
        if (progress.taken >= progress.expected) socket.end(`${progress.taken} ${progress.checksum.toString(16)}`)
      },
    },
  })
  console.log('listens')
} else if (role === 'client') {
  let rest = message(Number(amount))
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
} else if (role === 'parts') {
  let rest = message(Number(amount))
  // The length goes with the first part.
  let allowed = LENGTH
  const write = (socket: { write(data: Uint8Array): number }): void => {
    const written = socket.write(rest.subarray(0, allowed))
    rest = rest.subarray(written)
    allowed -= written
  }
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      drain: write,
      data(socket, chunk) {
        process.stdout.write(chunk)
        socket.end()
        process.stdin.destroy()
      },
    },
  })
  process.stdout.write(`${socket.localPort}\n`)
  for await (const line of console) {
    allowed += Number(line)
    write(socket)
  }
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
