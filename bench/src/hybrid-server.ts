// Takes in what clients send, and says so when it has all: bun hybrid-server.ts PORT. A request is its length, a decimal number in a line, and
// so many bytes.
const NEW_LINE = 10

/** What a connection still has to send, and the digits of a line that is not complete. */
interface Upload {
  left: number
  digits: string
}

function take(upload: Upload, bytes: Uint8Array): boolean {
  if (upload.left > 0) {
    upload.left -= bytes.length
    return upload.left === 0
  }
  const end = bytes.indexOf(NEW_LINE)
  upload.digits += new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end))
  if (end < 0) return false
  upload.left = Number(upload.digits) - (bytes.length - end - 1)
  upload.digits = ''
  return upload.left === 0
}

Bun.listen<Upload>({
  hostname: '0.0.0.0',
  port: Number(process.argv[2]),
  socket: {
    open(socket) {
      socket.data = { left: 0, digits: '' }
    },
    data(socket, bytes) {
      if (take(socket.data, bytes)) socket.write('.')
    },
    error(_, error) {
      console.error(error)
    },
  },
})
process.stdout.write('listening\n')
