// A program for one host: an S3 client as applications use it, Bun's own, which keeps connections and opens several at once. Its only
// argument is an `S3ClientOptions` in JSON. Prints an `S3ClientReport` in JSON.
import { S3Client, type S3File } from 'bun'
import type { S3Credentials } from '../peers/ceph.ts'

export interface S3ClientOptions {
  /** `http://` and an address. */
  readonly endpoint: string
  /** It exists. */
  readonly bucket: string
  readonly credentials: S3Credentials
}

/** What there was to see, but for dates. */
export interface S3ClientReport {
  readonly [step: string]: unknown
}

/** Bytes of the large objects, and of the parts that they are uploaded in: the smallest that S3 allows. */
const LARGE = 20 * 2 ** 20
const PART = 5 * 2 ** 20

const options: S3ClientOptions = JSON.parse(process.argv[2] ?? '')
const { endpoint, bucket, credentials } = options
const client = new S3Client({ ...credentials, endpoint, bucket, region: 'default' })
const large = Buffer.alloc(LARGE, 'What goes up comes down. ')

const report: S3ClientReport = {
  smallObjects: await smallObjects(),
  wholeObject: await describe(client.file('whole'), (file) => file.write(large)),
  inParts: await describe(client.file('parts'), writeInParts),
  ranges: await ranges(client.file('parts')),
  list: await list(),
  nothing: await client
    .file('none')
    .text()
    .catch((error) => error.code),
  deleted: await deleteAll(),
}
process.stdout.write(`${JSON.stringify(report)}\n`)

/** Many, some at once, and each read again. */
async function smallObjects(): Promise<string[]> {
  const names = Array.from({ length: 40 }, (_, index) => `small/${index}`)
  const read: string[] = []
  for (let first = 0; first < names.length; first += 8) {
    const some = names.slice(first, first + 8)
    await Promise.all(some.map((name) => client.file(name).write(`This is ${name}.`)))
    read.push(...(await Promise.all(some.map((name) => client.file(name).text()))))
  }
  return read
}

async function describe(file: S3File, write: (file: S3File) => Promise<unknown>) {
  await write(file)
  const { size, etag, type } = await file.stat()
  return { size, etag, type, whole: Buffer.from(await file.bytes()).equals(large) }
}

async function writeInParts(file: S3File): Promise<void> {
  const writer = file.writer({ partSize: PART, queueSize: 3, retry: 0 })
  for (let offset = 0; offset < large.length; offset += 2 ** 20)
    await writer.write(large.subarray(offset, offset + 2 ** 20))
  await writer.end()
}

async function ranges(file: S3File): Promise<boolean[]> {
  const within = [
    [0, 10],
    [PART - 5, PART + 5],
    [7 * 2 ** 20, 12 * 2 ** 20],
  ] as const
  const matches: boolean[] = []
  for (const [from, to] of within)
    matches.push(Buffer.from(await file.slice(from, to).bytes()).equals(large.subarray(from, to)))
  return matches
}

async function list(): Promise<unknown> {
  const { contents, isTruncated } = await client.list({ maxKeys: 10, prefix: 'small/' })
  return { isTruncated, contents: contents?.map(({ key, size, eTag }) => ({ key, size, eTag })) }
}

async function deleteAll(): Promise<number> {
  const { contents } = await client.list()
  await Promise.all(contents?.map(({ key }) => client.delete(key)) ?? [])
  return (await client.list()).contents?.length ?? 0
}
