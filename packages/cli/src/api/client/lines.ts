import { ClientError } from './error.ts'

/** No line of the API is nearly as long, in characters. */
const LONGEST_LINE = 1024 * 1024

/** The lines of a body, without their ends. The last one counts only if it has an end: a body that was cut has half a line there. */
export async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of chunks) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    if (rest.length > LONGEST_LINE)
      throw new ClientError('NO_GATEWAY', `the answer has a line of ${rest.length} characters`)
    yield* parts
  }
}

/** The `data` of server-sent events (WHATWG HTML, section 9.2.6), as far as this API uses them: one line of data each. */
export async function* eventData(lines: AsyncIterable<string>): AsyncGenerator<string, void> {
  for await (const line of lines) if (line.startsWith('data: ')) yield line.slice('data: '.length)
}
