/** The check of a server program that takes connections by a library. */
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { preloadEnvironment } from '@xoffload/proxy-adapters/preload'
import { serverProgramCheck } from '../../src/doctor/checks/server-program.ts'
import { resultOf, serverConfig } from './support.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'xoffload-doctor-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

/** What the check says of a socket in a folder with this mode, and a program at this port. */
async function check(mode: number, port: number) {
  const socketFolder = join(folder, `mode-${mode}`)
  mkdirSync(socketFolder, { recursive: true })
  chmodSync(socketFolder, mode)
  const preload = { socket: join(socketFolder, 'nginx.sock'), listener: `127.0.0.1:${port}` }
  const config = await serverConfig(folder, { config: { application: { preload } } })
  return resultOf(serverProgramCheck, { role: 'server', config })
}

/** A program that listens, and prints its port. */
async function program(environment: Record<string, string>) {
  const code =
    "require('node:net').createServer().listen(0, '127.0.0.1', function () { console.log(this.address().port) })"
  const child = Bun.spawn(['node', '-e', code], { env: { ...process.env, ...environment }, stdout: 'pipe' })
  const { value } = await child.stdout.getReader().read()
  return { port: Number(new TextDecoder().decode(value)), [Symbol.dispose]: () => child.kill('SIGKILL') }
}

test('a program with the library, and a folder that others can only enter', async () => {
  using nginx = await program(preloadEnvironment(join(folder, 'none.sock')))
  expect(await check(0o711, nginx.port)).toEqual({
    status: 'ok',
    text: expect.stringMatching(/xoffload-preload\.so is there/),
  })
})

test('a program without it, and none', async () => {
  using nginx = await program({})
  expect(await check(0o711, nginx.port)).toEqual({
    status: 'failed',
    text: expect.stringMatching(/without the shim.*"xoffload preload"/),
  })
  expect(await check(0o711, 2)).toEqual({ status: 'warning', text: expect.stringMatching(/nobody listens at/) })
})

test('a folder that others can write to, or not enter', async () => {
  using nginx = await program(preloadEnvironment(join(folder, 'none.sock')))
  expect(await check(0o777, nginx.port)).toEqual({ status: 'failed', text: expect.stringMatching(/chmod go-w/) })
  expect(await check(0o700, nginx.port)).toEqual({ status: 'failed', text: expect.stringMatching(/chmod o\+x/) })
})

test('a module has nothing to do with it', async () => {
  const config = await serverConfig(folder)
  expect(await serverProgramCheck.run({ role: 'server', config })).toBeUndefined()
})
