import { join } from 'node:path'
import { TestbedError } from '../errors.ts'

const adapter = join(import.meta.dir, '../../../packages/proxy-adapters/nginx')

/** nginx's module, once it is built. */
export const nginxModule = join(adapter, 'build/ngx_http_xoffload_module.so')

/** Builds the module for the nginx that is here, unless that was done: half a minute. Throws {@link TestbedError} with the compiler's words. */
export async function buildNginxModule(): Promise<void> {
  const child = Bun.spawn(['bash', join(adapter, 'build.sh')], { stdout: 'ignore', stderr: 'pipe' })
  const text = await new Response(child.stderr).text()
  if ((await child.exited) !== 0) throw new TestbedError(text)
}
