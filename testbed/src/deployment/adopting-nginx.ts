import { join } from 'node:path'
import { preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import type { Host } from '../host.ts'
import type { HostProcess } from '../host-process.ts'
import { type NginxServerOptions, nginxServer } from '../peers/nginx-server.ts'
import { type Configuration, ports } from './configuration.ts'
import { editConfiguration } from './edit-configuration.ts'
import { nginxModule } from './nginx-module.ts'

/** How nginx takes connections: by the library that is loaded before it, or by its module, which must have been built. */
export type Adapter = 'preload' | 'module'

export interface AdoptingNginxOptions extends Pick<NginxServerOptions, 'http' | 'server' | 'files' | 'workers'> {
  /** After how many requests the agent yields a connection; undefined: it does not. */
  readonly every: number | undefined
}

/** Starts stock nginx at the port of the service, and writes the configuration of the agent that is to give connections to it. */
export async function startAdoptingNginx(
  host: Host,
  configuration: Configuration,
  adapter: Adapter,
  { every, server = [], ...options }: AdoptingNginxOptions,
): Promise<{ nginx: HostProcess; file: string }> {
  const socket = join(host.directory, 'nginx.sock')
  // Where nginx tells clients to go names this port.
  const port = ports.service
  const listener = `[::]:${port}`
  const users = ['www-data']
  const common = { port, listen: [`${listener} ipv6only=off`], ...options }
  const nginx = await nginxServer(
    host,
    adapter === 'preload'
      ? { ...common, server, env: preloadEnvironment(socket) }
      : { ...common, server: [...server, `xoffload_adopt unix:${socket};`], main: [`load_module ${nginxModule};`] },
  )
  const file = await configuration.serverFile(host)
  editConfiguration(file, (config) => {
    config.application = adapter === 'preload' ? { preload: { socket, listener, users } } : { nginx: { socket, users } }
    if (every !== undefined) config.moves = { requests: every }
  })
  return { nginx, file }
}
