import { afterEach, expect, mock, spyOn, test } from 'bun:test'
import { TestbedError } from '../src/errors.ts'
import { tool } from '../src/tools.ts'

afterEach(() => mock.restore())

test('a program is found although the PATH lacks the sbin directories', () => {
  expect(tool('sh')).toMatch(/\/sh$/)
})

test.each([
  ['ip', 'iproute2'],
  ['nsenter', 'util-linux'],
  ['wrk', 'wrk'],
])('without %s the error names the package %s', (name, packageName) => {
  spyOn(Bun, 'which').mockReturnValue(null)
  expect(() => tool(name)).toThrow(
    new TestbedError(`The program "${name}" is not installed: install the Debian package "${packageName}"`),
  )
})
