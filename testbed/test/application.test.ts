import { expect, test } from 'bun:test'
import application from '../src/deployment/application.ts'

const answer = (path: string): Response => application.fetch(new Request(`http://10.77.0.200${path}`))

test('/bytes/N is a ramp of N bytes, each time', async () => {
  for (let time = 0; time < 2; time += 1) {
    const bytes = await answer('/bytes/1000').clone().bytes()
    expect(bytes).toEqual(new Uint8Array(1000).map((_, index) => index % 251))
  }
})

test('it says who served it', () => expect(answer('/bytes/1').headers.get('x-served-by')).toBe('unknown'))

test.each(['/', '/bytes/', '/bytes/x', '/bytes/-1', '/bytes/99999999', '/other/bytes/1'])('%s is not found', (path) => {
  expect(answer(path).status).toBe(404)
})
