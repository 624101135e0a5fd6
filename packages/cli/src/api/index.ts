export { ApiError } from './error.ts'
export { flowId, parseFlowId } from './flow-id.ts'
export { type ApiServer, type ServeApiOptions, serveApi } from './serve.ts'
