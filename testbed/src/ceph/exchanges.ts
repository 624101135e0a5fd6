// What S3 clients say to radosgw, and how its answers are compared.

const CHUNKED = 'Transfer-Encoding: chunked'

/** A request of curl: the method and the path below the bucket, then its options. `@large` and `@small` are files. */
export type CurlRequest = readonly [method: string, key: string, ...options: string[]]

/** Each is said on one connection, which is used before and after. */
export const exchanges: readonly (readonly [name: string, statuses: string, ...requests: CurlRequest[]])[] = [
  ['a small object', '200 200 200', ['PUT', '/small', '-T', '@small'], ['GET', '/small'], ['HEAD', '/small', '-I']],
  ['an empty object', '200 200', ['PUT', '/empty', '--data', ''], ['GET', '/empty']],
  ['metadata', '200 200', ['PUT', '/meta', '-T', '@small', '-H', 'x-amz-meta-colour: blue'], ['HEAD', '/meta', '-I']],
  ['an upload after 100 Continue', '200 200', ['PUT', '/large', '-T', '@large'], ['GET', '/large']],
  ['an upload at once', '200 200', ['PUT', '/eager', '-T', '@large', '-H', 'Expect:'], ['HEAD', '/eager', '-I']],
  [
    'an upload in chunks, which it refuses',
    '411 404',
    ['PUT', '/chunks', '-T', '@large', '-H', CHUNKED],
    ['HEAD', '/chunks', '-I'],
  ],
  ['a slow upload', '200 206', ['PUT', '/late', '-T', '@small', '--limit-rate', '400k'], ['GET', '/late', '-r', '-9']],
  [
    'ranges',
    '206 206 416',
    ['GET', '/kept', '-r', '10-19'],
    ['GET', '/kept', '-r', '-5'],
    ['GET', '/kept', '-r', '999999-'],
  ],
  ['a slow reader', '200', ['GET', '/kept', '--limit-rate', '200k']],
  [
    'no change',
    '304 206',
    ['GET', '/kept', '-H', 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT'],
    ['GET', '/kept', '-r', '0-9'],
  ],
  ['a copy', '200 206', ['PUT', '/copy', '-H', 'x-amz-copy-source: /BUCKET/kept'], ['GET', '/copy', '-r', '0-99']],
  ['a list', '200', ['GET', '']],
  ['nothing there', '404 404 204', ['GET', '/none'], ['HEAD', '/none', '-I'], ['DELETE', '/none']],
  ['deletion', '200 204 404', ['PUT', '/gone', '-T', '@small'], ['DELETE', '/gone'], ['GET', '/gone']],
  ['a wrong signature', '403', ['GET', '/kept', '-X', 'POST']],
  [
    'an upload that is refused',
    '400',
    ['PUT', '/refused', '-T', '@large', '-H', 'Content-MD5: AAAAAAAAAAAAAAAAAAAAAA=='],
  ],
  ['HTTP/1.0', '206', ['GET', '/kept', '--http1.0', '-r', '0-9']],
  ['Connection: close', '206', ['GET', '/kept', '-H', 'Connection: close', '-r', '0-9']],
]

/** The final status of each answer. */
export function statusesOf(answers: string): string[] {
  return [...answers.matchAll(/HTTP\/1\.1 ([2-5]\d\d) /g)].map(([, status]) => status ?? '')
}

/** Without what differs between two requests to the same radosgw, and between the two buckets. */
export function comparable(text: string): string {
  return text
    .replaceAll(/^(date|last-modified|x-amz-request-id): .*$/gim, '$1: -')
    .replaceAll(/<(RequestId|HostId|LastModified|UploadId)>[^<]*/g, '<$1>-')
    .replaceAll(/(What goes up comes down\. ){9,}/g, ({ length }) => `[${length} bytes]`)
    .replaceAll(/\b(plain|moved)\b/g, 'BUCKET')
}
