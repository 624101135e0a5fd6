// An ordinary server on node:http. Prints the port that it listens at.
import { createServer } from 'node:http'

const server = createServer((request, response) => {
  const { remoteAddress, remotePort, localPort } = request.socket
  if (request.url === '/who') {
    response.end(`${remoteAddress} ${remotePort} ${localPort}`)
  } else if (request.url === '/stream') {
    response.write('first ')
    setTimeout(() => response.end('second'), 20)
  } else if (request.url === '/slow') {
    setTimeout(() => response.end('slow'), 50)
  } else if (request.url === '/close') {
    response.setHeader('connection', 'close')
    response.end('bye')
  } else {
    // Echoes the path and the body, chunked when it came chunked.
    /** @type {Buffer[]} */
    const chunks = []
    request.on('data', (chunk) => chunks.push(chunk))
    request.on('end', () => response.end(Buffer.concat([Buffer.from(`${request.method} ${request.url} `), ...chunks])))
  }
})
server.keepAliveTimeout = 60_000
server.listen(0, process.argv[2] ?? '127.0.0.1', () => {
  const address = server.address()
  if (typeof address === 'object') process.stdout.write(`${address?.port}\n`)
})
