import { createHash, createHmac } from 'node:crypto'
import type { S3Credentials } from '../peers/ceph.ts'

/** Seconds for which a request may be sent. */
const LIFETIME = 3600
/** Of Ceph's only zone group, when none was configured. */
const REGION = 'default'

export interface S3Request {
  readonly method: string
  /** As the client connects to it. */
  readonly host: string
  /** `/bucket/key`, of characters that stand for themselves in a URL. */
  readonly path: string
  /** Such as `uploads` for a multipart upload. */
  readonly query?: Readonly<Record<string, string>>
}

/**
 * The URL of a request that is signed already, so that any HTTP client can send it: AWS signature version 4 in the query, the body not
 * signed (docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html).
 */
export function presign(credentials: S3Credentials, { method, host, path, query = {} }: S3Request): string {
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const scope = `${time.slice(0, 8)}/${REGION}/s3/aws4_request`
  const parameters = {
    ...query,
    'X-Amz-Algorithm': 'AWS4-HMAC-SHA256',
    'X-Amz-Credential': `${credentials.accessKeyId}/${scope}`,
    'X-Amz-Date': time,
    'X-Amz-Expires': `${LIFETIME}`,
    'X-Amz-SignedHeaders': 'host',
  }
  const sorted = Object.entries(parameters)
    .map(([name, value]) => `${encodeURIComponent(name)}=${encodeURIComponent(value)}`)
    .sort()
    .join('&')
  const canonical = [method, path, sorted, `host:${host}`, '', 'host', 'UNSIGNED-PAYLOAD'].join('\n')
  const digest = createHash('sha256').update(canonical).digest('hex')
  const text = ['AWS4-HMAC-SHA256', time, scope, digest].join('\n')
  const key = scope.split('/').reduce<string | Buffer>(hmac, `AWS4${credentials.secretAccessKey}`)
  return `http://${host}${path}?${sorted}&X-Amz-Signature=${hmac(key, text).toString('hex')}`
}

function hmac(key: string | Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}
