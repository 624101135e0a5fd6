/** What clients say to nginx, and how nginx is set up for that: for tests which compare answers. */

/** Lines for the `server` block. */
export const server = [
  'location = /moved { return 301 /1k; }',
  'location = /here { return 200 "$server_port $scheme $request_method $http_x"; }',
  'location /put { client_max_body_size 1m; dav_methods PUT DELETE; }',
  'location /private { deny all; }',
]
/** Lines for the `http` block. */
export const http = [
  'keepalive_timeout 2s;',
  'client_header_timeout 2s;',
  'client_body_timeout 2s;',
  // What is too long comes in one segment. Of a second one it depends on the moment whether nginx ends with a FIN or an RST.
  'large_client_header_buffers 4 4k;',
  'lingering_timeout 1s;',
  'gzip on;',
  'gzip_min_length 1;',
]

export const get = (path: string, ...fields: string[]) => ['GET', path, ...fields]
/** A request as it is sent, whatever its first line and fields are. */
export function message(line: string, fields: readonly string[], body = ''): string {
  return `${[line, ...fields].join('\r\n')}\r\n\r\n${body}`
}
/** An ordinary request as it is sent. */
export function request([method, path, ...fields]: string[], body = ''): string {
  return message(`${method} ${path} HTTP/1.1`, ['Host: test', ...fields], body)
}
/** The last one on a connection. */
export const close = request(get('/empty', 'Connection: close'))
/** What is sent on one connection, and what is special about it. */
type Exchange = readonly [name: string, bytes: string]

/** The last request of each makes nginx close, sooner or later. */
export const exchanges: readonly Exchange[] = [
  ['one request', request(get('/1k'))],
  ['keep-alive', request(get('/1k')) + request(get('/20k')) + close],
  ['HEAD', request(['HEAD', '/1m']) + request(['HEAD', '/none']) + close],
  ['an empty file', request(get('/empty')) + close],
  ['nothing there', request(get('/none')) + close],
  ['forbidden', request(get('/private')) + close],
  ['a redirect', request(get('/moved')) + close],
  ['variables', request(get('/here', 'X: value')) + close],
  ['a range', request(get('/1m', 'Range: bytes=1000-1999')) + close],
  ['an open range', request(get('/1m', 'Range: bytes=1048570-')) + close],
  ['a range beyond', request(get('/1k', 'Range: bytes=5000-')) + close],
  ['not modified', request(get('/1k', 'If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT')) + close],
  ['HTTP/1.0', 'GET /1k HTTP/1.0\r\n\r\n'],
  ['HTTP/1.0 keep-alive', `GET /1k HTTP/1.0\r\nConnection: keep-alive\r\n\r\n${close}`],
  ['a body that nobody wants', request(['POST', '/1k', 'Content-Length: 5'], 'hello') + close],
  ['an upload', request(['PUT', '/put/a', 'Content-Length: 5'], 'hello') + close],
  [
    'an upload in chunks',
    request(['PUT', '/put/b', 'Transfer-Encoding: chunked'], '3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nT: 1\r\n\r\n') + close,
  ],
  ['100-continue', request(['PUT', '/put/c', 'Expect: 100-continue', 'Content-Length: 5'], 'hello') + close],
  ['too much', request(['PUT', '/put/d', 'Content-Length: 2000000'], 'hello')],
  ['half a body', request(['PUT', '/put/e', 'Content-Length: 50'], 'hello')],
  ['an unknown method', request(['BREW', '/1k']) + close],
  ['a long target', request(get(`/${'x'.repeat(5000)}`))],
  ['twenty at once', request(get('/1k')).repeat(20) + close],
]

/** What nginx answers in its way, and a gateway in its own. */
export const malformed: readonly Exchange[] = [
  ['HTTP/0.9', 'GET /1k\r\n'],
  ['no Host', 'GET /1k HTTP/1.1\r\n\r\n'],
  ['two Hosts', request(get('/1k', 'Host: other'))],
  ['two lengths', request(['POST', '/1k', 'Content-Length: 5', 'Content-Length: 6'], 'hello!') + close],
  [
    'length and chunks',
    request(['POST', '/1k', 'Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n') + close,
  ],
  ['bare line feeds', `GET /1k HTTP/1.1\nHost: test\n\n${close}`],
  ['blank lines before', `\r\n\r\n${request(get('/1k'))}${close}`],
  ['a space before a colon', request(get('/1k', 'X : 1'))],
  ['a folded field', request(get('/1k', 'X: 1\r\n 2')) + close],
  ['no HTTP', 'hello\r\n\r\n'],
  ['half a request', 'GET /1k HT'],
]
