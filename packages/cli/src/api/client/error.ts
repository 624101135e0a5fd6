import { XoffloadError } from '@xoffload/core'

/**
 * A request to a control API did not succeed. `code` is that of the API (`unknown-flow`, `busy`, ...), or one of: `USAGE`, `UNREACHABLE`
 * (nobody listens there), `PERMISSION`, `UNAUTHORIZED`, `TIMEOUT`, `CONNECTION_LOST`, `NO_GATEWAY` (what answers there is none).
 */
export class ClientError extends XoffloadError {}
