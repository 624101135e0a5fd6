export { NginxArrival } from './arrival.ts'
export * from './errors.ts'
export * from './options.ts'
export { NginxGatewayServer } from './server.ts'
