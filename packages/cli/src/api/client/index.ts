export { type ApiAddress, addressText, parseApiAddress } from './address.ts'
export { ApiClient, type ApiClientOptions, type ApiRequest } from './client.ts'
export { ClientError } from './error.ts'
export { eventData } from './lines.ts'
