// Sends the long requests, so that the process that puts the rules has time for them: bun hybrid-uploader.ts SERVICE PORT CONNECTIONS. Prints the
// ports of its connections in a line; then takes lines `INDEX BYTES`, and answers each with `INDEX` when the server has the bytes.
import { createInterface } from 'node:readline'
import { UploadConnection } from './hybrid-connection.ts'

const [service = '', port, connections] = process.argv.slice(2)
const opened = await Promise.all(
  Array.from({ length: Number(connections) }, () => UploadConnection.open(service, Number(port))),
)
process.stdout.write(`${opened.map(({ flow }) => flow.client.port).join(' ')}\n`)

for await (const line of createInterface({ input: process.stdin })) {
  const [index = 0, bytes = 0] = line.split(' ').map(Number)
  const upload = opened[index]?.upload(bytes)
  upload?.then(() => process.stdout.write(`${index}\n`))
}
