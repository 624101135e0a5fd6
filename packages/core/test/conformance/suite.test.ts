// How the suite deals with a runner, with absences and with redirectors that fail. That it finds what is wrong with a redirector is proven
// in packages/create-redirector/test, on the example.
import { describe, expect, test } from 'bun:test'
import { test as nodeTest } from 'node:test'
import { device } from '../../../create-redirector/template/test/device.ts'
import {
  type ConformanceResult,
  type DeviceUnderTest,
  type RedirectorSuiteOptions,
  type RegisterTest,
  redirectorSuite,
} from '../../src/conformance/index.ts'

interface Registered {
  readonly tests: Map<string, () => Promise<void>>
  readonly results: ConformanceResult[]
}

function register(options: Partial<RedirectorSuiteOptions> = {}): Registered {
  const tests = new Map<string, () => Promise<void>>()
  const results: ConformanceResult[] = []
  redirectorSuite({
    name: 'it',
    test: (name, body) => {
      if (tests.has(name)) throw new Error(`two tests have the name "${name}"`)
      tests.set(name, body)
    },
    factory: device,
    onResult: (result) => results.push(result),
    ...options,
  })
  return { tests, results }
}

const run = ({ tests }: Registered, name: string) => tests.get(`it: ${name}`)?.() ?? Promise.reject(new Error(name))

const FIRST = 'manifest: says what can be'
const TUNNEL = 'rules: steering in mode vxlan'

describe('a runner', () => {
  test('may be that of bun:test or of node:test', () => {
    const runners: RegisterTest[] = [test, nodeTest]
    expect(runners.length).toBe(2)
  })

  test('gets each test under a name of its own, with a time limit above that of the suite', () => {
    const limits = new Set<number | undefined>()
    const names = new Set<string>()
    redirectorSuite({
      name: 'it',
      test: (name, _, limit) => {
        names.add(name)
        limits.add(limit)
      },
      factory: device,
      limits: { step: 10, test: 1000 },
    })
    expect(names.size).toBe(register().tests.size)
    expect([...limits]).toEqual([1040])
  })

  test('with describe gets groups', () => {
    const groups: string[] = []
    const names: string[] = []
    redirectorSuite({
      name: 'it',
      describe: (name, body) => {
        groups.push(name)
        body()
      },
      test: (name) => names.push(name),
      factory: device,
    })
    expect(groups).toContain('it: manifest')
    expect(names[0]).toBe('says what can be')
    expect(names.length).toBe(register().tests.size)
  })
})

describe('a result', () => {
  test('is that the redirector has passed', async () => {
    const suite = register()
    await run(suite, FIRST)
    expect(suite.results).toEqual([
      { redirector: 'it', group: 'manifest', test: 'says what can be', outcome: 'passed' },
    ])
  })

  test('is that it has passed with fewer rules than the test is meant for', async () => {
    const suite = register({ limits: { rules: 20 } })
    const name = 'ten thousand rules (or all that have room) are put, listed and removed'
    await run(suite, `capacity: ${name}`)
    await run(suite, FIRST)
    const reduced = { outcome: 'passed', reason: 'with 20 rules instead of 10000' }
    expect(suite.results).toMatchObject([reduced, { outcome: 'passed' }])
    expect(suite.results[1]?.reason).toBeUndefined()
  })

  test('is that something is absent, and why', async () => {
    const suite = register()
    await run(suite, TUNNEL)
    expect(suite.results).toMatchObject([{ outcome: 'absent', reason: 'manifest: no steer mode vxlan' }])
  })

  test('is that it has failed, and why; the test fails as well', async () => {
    const suite = register({ factory: () => withManifest({ capacity: 0 }) })
    await expect(run(suite, FIRST)).rejects.toThrow('capacity is 0')
    expect(suite.results).toMatchObject([{ outcome: 'failed', reason: expect.stringContaining('capacity is 0') }])
  })
})

describe('an absence that is declared', () => {
  test('is absent when the test fails', async () => {
    const suite = register({
      factory: () => withManifest({ capacity: 0 }),
      absences: { [FIRST]: 'the card does not say' },
    })
    await run(suite, FIRST)
    expect(suite.results).toMatchObject([{ outcome: 'absent', reason: 'the card does not say' }])
  })

  test('is a failure when the test passes', async () => {
    const suite = register({ absences: { [FIRST]: 'the card does not say' } })
    await expect(run(suite, FIRST)).rejects.toThrow('take it out of "absences"')
    expect(suite.results).toMatchObject([{ outcome: 'failed' }])
  })

  test('is proven where the suite knows how', async () => {
    const name = 'packets that are steered: are counted with their VLAN tags (IPv4)'
    const suite = register({ absences: { [name]: 'one VLAN' } })
    await expect(run(suite, name)).rejects.toThrow('no packet with VLAN tags')
    expect(suite.results).toMatchObject([{ outcome: 'failed' }])
  })

  test('must name a test', () => {
    expect(() => register({ absences: { 'no such test': 'of course' } })).toThrow('"no such test" is no test')
  })
})

describe('a redirector', () => {
  test('is closed and its device freed when the test fails', async () => {
    const ended: string[] = []
    const suite = register({
      factory: () => ({
        ...withManifest({ capacity: 0 }, () => ended.push('close')),
        dispose: () => void ended.push('dispose'),
      }),
    })
    await expect(run(suite, FIRST)).rejects.toThrow('capacity is 0')
    expect(ended).toEqual(['close', 'dispose'])
  })

  test('that cannot be closed fails the test', async () => {
    const failure = new Error('it is stuck')
    const suite = register({
      factory: () =>
        withManifest({}, () => {
          throw failure
        }),
    })
    await expect(run(suite, FIRST)).rejects.toBe(failure)
  })

  test('that never answers fails the test when its time is up', async () => {
    const hanging = device()
    const suite = register({
      factory: () => ({ ...hanging, redirector: () => new Promise(() => {}) }),
      limits: { step: 50, test: 50 },
    })
    await expect(run(suite, FIRST)).rejects.toThrow('has not ended after 50 ms')
  })
})

/** The example, with a manifest that says something else. */
function withManifest(change: object, closing: () => void = () => {}): DeviceUnderTest {
  const it = device()
  return {
    ...it,
    redirector: async (request) => {
      const redirector = await it.redirector(request)
      const close = redirector.close.bind(redirector)
      return Object.assign(redirector, {
        manifest: { ...redirector.manifest, ...change },
        close: async () => {
          closing()
          await close()
        },
      })
    },
  }
}
