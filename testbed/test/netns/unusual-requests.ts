// biome-ignore-all format: tables that fit a screen, not a line for each word
/** Requests that servers understand in their own ways: for tests which compare answers. Each is text in Latin-1. */
import { close, message } from './nginx-requests.ts'

const HOST = 'Host: test'
const CHUNKED = 'Transfer-Encoding: chunked'
const IN_CHUNKS = '5\r\nhello\r\n0\r\n\r\n'

const request = (line: string, fields: readonly string[] = [HOST], body = '') => message(line, fields, body)

/** Every text of the one list with every text of the other. */
function each<A, B>(first: readonly A[], second: readonly B[], make: (first: A, second: B) => string): string[] {
  return first.flatMap((a) => second.map((b) => make(a, b)))
}

const methods = [
  'GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'CONNECT', 'PATCH', 'PROPFIND', 'MKCOL', 'LOCK', 'COPY',
  'get', 'Get', 'G', 'GETT', 'GET1', 'G-T', 'G_T', 'G$T', '', 'PURGE', 'M-SEARCH', 'PRI',
].map((method) => request(`${method} /1k HTTP/1.1`))

const targets = each(
  [
    '*', '/', '?', '/?', '#', '1k', '/1k?', '/1k?a=b', '/1k?a=b#c', '/1k#frag', '//1k', '//test/1k', '/./1k', '/../1k', '/x/../1k',
    'http://test/1k', 'http://other/1k', 'HTTP://test/1k', 'https://test/1k', 'http://test', 'http://test:80/1k', 'ftp://test/1k',
    'http://user@test/1k', 'http:///1k', 'http://[::1]/1k', 'http://te st/1k', 'test:80', '[::1]:80', '/../../etc/passwd',
    '/%31k', '/%2e%2e/1k', '/%00', '/%', '/%4', '/%zz', '/1k%20', '/1k%0d%0a', '/\xff', '/\0', '/a\tb', '/1k;x', '/1k\\',
    '/"', '/<', '/{}', '/|', '/^', `/${'a'.repeat(3000)}`, `/${'a/'.repeat(900)}`,
  ],
  ['GET', 'OPTIONS'],
  (target, method) => request(`${method} ${target} HTTP/1.1`),
)

const versions = [
  'HTTP/1.0', 'HTTP/1.1', 'HTTP/1.2', 'HTTP/1.9', 'HTTP/1.10', 'HTTP/1.', 'HTTP/1', 'HTTP/', 'HTTP', 'http/1.1', 'HTTP/11.1',
  'HTTP/0.9', 'HTTP/2.0', 'HTTP/3.0', 'HTTP/9.9', 'HTTP/01.1', 'HTTP/1.01', 'HTTP/1.1x', 'HTTP/ 1.1', 'HTTP /1.1', 'HTTP/1,1',
  'HTTPS/1.1', 'XTTP/1.1', 'HTTP/1.1 x', '', ' ', 'HTTP/1.1\t', 'HTTP/1.1 ', 'HTTP/-1.1', 'HTTP/1.999', 'HTTP/1.1000',
].map((version) => request(`GET /1k ${version}`))

const lines = [
  'GET  /1k HTTP/1.1', 'GET /1k  HTTP/1.1', 'GET\t/1k HTTP/1.1', 'GET /1k\tHTTP/1.1', ' GET /1k HTTP/1.1', 'GET/1k HTTP/1.1',
  'GET /1kHTTP/1.1', 'GET', 'GET ', 'GET /1k', '\0GET /1k HTTP/1.1', 'G\0ET /1k HTTP/1.1', 'GET /1k HTTP/1.1\0',
  'GET /1k HTTP/1.1\r', '\rGET /1k HTTP/1.1', '\nGET /1k HTTP/1.1', '\n\n\nGET /1k HTTP/1.1', '\r\n\r\n\r\n\r\nGET /1k HTTP/1.1',
  '\x16\x03\x01\x02\0\x01', 'PRI * HTTP/2.0\r\n\r\nSM', 'hello', '{"json":1}',
].map((line) => request(line))

const hosts = [
  'Host:', 'Host: ', 'Host:test', 'Host:  test  ', 'Host:\ttest', 'host: test', 'HOST: test', 'Host: test:80', 'Host: test:', 'Host: test:x',
  'Host: test:99999', 'Host: te st', 'Host: te/st', 'Host: te@st', 'Host: test.', 'Host: .test', 'Host: te..st', 'Host: [::1]',
  'Host: [::1]:80', 'Host: [::1', 'Host: a,b', 'Host: test?x', 'Host: te\0st', 'Host: te\xffst', 'Host: t%65st', 'Host : test',
  'Host\t: test', ' Host: test', 'Host test', 'Host', 'Host: test\r', 'Host: te\rst', 'Host:\r\n test', 'Host: "test"', 'X-Host: test',
].map((host) => request('GET /here HTTP/1.1', [host]))

const severalHosts = each(
  [[], [HOST, HOST], [HOST, 'Host: other'], ['Host: other', HOST], [HOST, 'host: test'], ['X: 1', HOST], [HOST, 'Host:']],
  ['1.0', '1.1'],
  (fields, version) => request(`GET /here HTTP/${version}`, fields),
)

const fields = [
  'X:', 'X', 'X 1', ': 1', ':', 'X : 1', 'X\t: 1', ' X: 1', '\tX: 1', 'X: 1\r\n 2', 'X: 1\r\n\t2', 'X: a\0b', 'X: a\rb', 'X: a\r\r\n',
  'X\0: 1', 'X\xff: 1', 'X: \xff\xfe', 'X: "a\r\nb"', 'X(: 1', 'X@: 1', 'X/: 1', 'X_Y: 1', 'X-: 1', '-X: 1', '1: 1', 'X: a\tb',
  'X:\t1\t', 'X:   ', 'X: ,,,', '\xe9: 1', 'X: \x01\x02\x1f\x7f', '"X": 1', 'X;: 1', 'X,Y: 1', 'X=Y: 1', 'Cookie: a=b; c=d',
  'Accept-Encoding: gzip', 'Accept-Encoding: gzip;q=0', 'Accept-Encoding: *', 'Via: 1.1 x', 'TE: trailers', 'Trailer: X',
  'Max-Forwards: 0', 'Proxy-Connection: close', `X: ${'a'.repeat(2000)}`, `${'X'.repeat(2000)}: 1`,
].flatMap((field) => [request('GET /here HTTP/1.1', [HOST, field]), request('GET /1k HTTP/1.1', [field, HOST])])

const connections = each(
  [
    'close', 'keep-alive', 'Close', 'CLOSE', 'Keep-Alive', 'close, keep-alive', 'keep-alive, close', 'upgrade', 'x', '', 'close,',
    'TE', 'x, close', 'close close', '"close"', 'close;x',
  ],
  ['1.0', '1.1'],
  (option, version) =>
    request(`GET /1k HTTP/${version}`, [HOST, `Connection: ${option}`]) +
    request(`POST /1k HTTP/${version}`, [HOST, `Connection: ${option}`, 'Content-Length: 3'], 'abc'),
)

const upgrades = ['h2c', 'websocket', 'h2c, other', 'TLS/1.0'].map((protocol) =>
  request('GET /1k HTTP/1.1', [
    HOST, 'Connection: Upgrade, HTTP2-Settings', `Upgrade: ${protocol}`, 'HTTP2-Settings: AAMAAABkAAQAAP__',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Version: 13',
  ]),
)

const lengths = each(
  [
    '0', '5', '05', '+5', '-5', '-0', '5 ', ' 5', '5,5', '5, 5', '5,6', '0x5', '5.0', '5e0', '', 'a', '5a', '5 5', '\xb2', '5;x', '"5"',
    '5\t', '99999999999999999999', '9223372036854775807', '9223372036854775808', '18446744073709551616', '4294967301',
  ],
  ['GET /1k', 'POST /1k', 'PUT /put/', 'DELETE /put/'],
  (length, line) => request(`${line} HTTP/1.1`, [HOST, `Content-Length: ${length}`], 'hello'),
)

const framings = each(
  [
    ['Content-Length: 5', 'Content-Length: 5'], ['Content-Length: 5', 'Content-Length: 6'], ['Content-Length : 5'], ['Content_Length: 5'],
    ['Content-Length:5'], ['X: 1\r\n Content-Length: 5'], ['Content-Length: \r\n 5'], ['Content-Length: 5\r\n '],
    [CHUNKED, 'Content-Length: 5'], ['Content-Length: 5', CHUNKED], ['Content-Length: 15', CHUNKED], [CHUNKED, CHUNKED],
    ['Transfer-Encoding: identity', CHUNKED], [CHUNKED, 'Transfer-Encoding: identity'], ['Transfer-Encoding : chunked'], ['TE: chunked'],
    ['Transfer_Encoding: chunked'], ['Transfer-Encoding:\r\n chunked'], [`X: 1\n${CHUNKED}`], [`X: 1\r${CHUNKED}`],
  ],
  ['GET /1k', 'POST /1k', 'PUT /put/'],
  (framing, line) => request(`${line} HTTP/1.1`, [HOST, ...framing], IN_CHUNKS),
)

const codings = each(
  [
    'chunked', 'Chunked', 'CHUNKED', 'chunked, chunked', 'identity', 'identity, chunked', 'chunked, identity', 'gzip', 'gzip, chunked',
    'xchunked', 'chunkedx', ' chunked', 'chunked ', 'chunked\t', '', 'chunked;x', '"chunked"', 'chunk ed', '\vchunked', 'chunked,',
    ',chunked', 'deflate', 'trailers', 'chunked\0',
  ],
  ['POST /1k HTTP/1.1', 'POST /1k HTTP/1.0', 'GET /1k HTTP/1.1', 'PUT /put/ HTTP/1.1'],
  (coding, line) => request(line, [HOST, `Transfer-Encoding: ${coding}`], IN_CHUNKS),
)

const chunks = each(
  [
    '0\r\n\r\n', '5\r\nhello\r\n0\r\nX: 1\r\n\r\n', '5;a=b\r\nhello\r\n0\r\n\r\n', '5 ;a\r\nhello\r\n0\r\n\r\n', '5;\r\nhello\r\n0\r\n\r\n',
    '5 \r\nhello\r\n0\r\n\r\n', ' 5\r\nhello\r\n0\r\n\r\n', '05\r\nhello\r\n0\r\n\r\n', '00000000000000005\r\nhello\r\n0\r\n\r\n',
    '0x5\r\nhello\r\n0\r\n\r\n', '-5\r\nhello\r\n0\r\n\r\n', 'g\r\nhello\r\n0\r\n\r\n', '5\nhello\n0\n\n', '5\r\nhello0\r\n\r\n',
    '5\r\nhelloxx0\r\n\r\n', '5\r\nhell\r\n0\r\n\r\n', '5\rhello\r\n0\r\n\r\n', '5\r\nhello\r\n00\r\n\r\n', '5\r\nhello\r\n0;x\r\n\r\n',
    '5\r\nhello\r\n0\r\nbad\r\n\r\n', '5\r\nhello\r\n0\r\n: x\r\n\r\n', 'ffffffffffffffff\r\nhello\r\n0\r\n\r\n',
    '7fffffffffffffff\r\nhello\r\n0\r\n\r\n', 'A\r\n0123456789\r\n0\r\n\r\n', '5;a="\r\n"\r\nhello\r\n0\r\n\r\n', '5;a\nb\r\nhello\r\n0\r\n\r\n',
    '5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n', '5\r\nhello\r\n0\n\n', '5\r\nhello\n0\r\n\r\n', `${'1\r\na\r\n'.repeat(200)}0\r\n\r\n`,
  ],
  ['POST /1k', 'PUT /put/'],
  (body, line) => request(`${line} HTTP/1.1`, [HOST, CHUNKED], body),
)

const expectations = each(
  ['100-continue', '100-Continue', '100-continue, x', 'x', '', '200-ok'],
  ['POST /1k HTTP/1.0', 'POST /1k HTTP/1.1', 'PUT /put/ HTTP/1.0', 'PUT /put/ HTTP/1.1', 'GET /1k HTTP/1.1'],
  (expectation, line) => request(line, [HOST, `Expect: ${expectation}`, 'Content-Length: 5'], 'hello'),
)

const ranges = each(
  [
    'bytes=0-0', 'bytes=0-', 'bytes=-1', 'bytes=-0', 'bytes=1023-', 'bytes=1024-', 'bytes=0-99999', 'bytes=5-1', 'bytes=a-b', 'bytes=',
    'bytes', 'x=0-1', 'bytes=0-1,2-3', 'bytes=0-1,0-1', 'bytes= 0-1', 'bytes=0 -1', 'Bytes=0-1', 'bytes=--1', 'bytes=0-1,', 'bytes=,0-1',
  ],
  ['GET /1k HTTP/1.1', 'HEAD /1k HTTP/1.1', 'GET /1k HTTP/1.0'],
  (range, line) => request(line, [HOST, `Range: ${range}`]),
)

const conditions = [
  'If-Modified-Since: Thu, 01 Jan 1970 00:00:00 GMT', 'If-Modified-Since: Mon, 12 Jan 1970 13:46:40 GMT', 'If-Modified-Since: x',
  'If-Unmodified-Since: Thu, 01 Jan 1970 00:00:00 GMT', 'If-Match: *', 'If-Match: "x"', 'If-None-Match: *', 'If-None-Match: "x"',
  'If-None-Match: W/"f4240-400"', 'If-None-Match: "f4240-400"', 'If-Range: "x"', 'If-Range: "f4240-400"',
].map((condition) => request('GET /1k HTTP/1.1', [HOST, condition, 'Range: bytes=0-1']))

/** All of it is in the first segments, which come together: with a later one it depends on the moment whether nginx ends with a FIN or an RST. */
const sizes = [
  ...[10, 99, 100, 101, 400].map((count) => Array.from({ length: count }, (_, index) => `X${index}: v`)),
  ...[1000, 3900, 4080, 4096, 4100, 8000, 14_000].flatMap((length) => [
    Array.from({ length: Math.ceil(length / 500) }, (_, index) => `X${index}: ${'v'.repeat(490)}`),
    [`X: ${'v'.repeat(length)}`],
  ]),
].map((many) => request('GET /1k HTTP/1.1', [HOST, ...many]))

const lineEnds = [
  'GET /1k HTTP/1.1\nHost: test\n\n', 'GET /1k HTTP/1.1\r\nHost: test\n\r\n', 'GET /1k HTTP/1.1\nHost: test\r\n\n',
  'GET /1k HTTP/1.1\r\nHost: test\r\n\n', 'GET /1k\r\n', 'GET /1k\n', 'GET /1k HTTP/1.0\r\n\r\n', 'GET /1k HTTP/1.0\n\n',
]

/** What a client breaks off: nginx waits for the rest for as long as its time limits say. */
const unfinished = [
  '', '\r\n', '\n', '\r', '\0', 'G', 'GET', 'GET ', 'GET /1k HTTP/1.1', 'GET /1k HTTP/1.1\r\n', 'GET /1k HTTP/1.1\r\nHost: test\r\n',
  'GET /1k HTTP/1.1\r\nHost: test\r\n\r', request('POST /1k HTTP/1.1', [HOST, 'Content-Length: 5'], 'he'),
  request('PUT /put/ HTTP/1.1', [HOST, 'Content-Length: 5']), request('PUT /put/ HTTP/1.1', [HOST, CHUNKED], '5\r\nhe'),
]

/** One on each connection; behind all but the unfinished ones comes the connection's last request. */
export const unusual: readonly string[] = [
  ...[methods, targets, versions, lines, hosts, severalHosts, fields, connections, upgrades, lengths, framings, codings, chunks]
    .concat([expectations, ranges, conditions, sizes, lineEnds])
    .flat()
    .map((sent) => sent + close),
  ...unfinished,
]
