import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import {
  attachTc,
  BPF_EXIST,
  BPF_F_LOCK,
  BPF_NOEXIST,
  BPF_PROG_TYPE_SCHED_CLS,
  BpfMap,
  BpfObject,
  bpfProgramInfo,
  createClsact,
  destroyClsact,
  detachTc,
  isBpfFileSystem,
  pinBpf,
  pinnedProgramInfo,
  programInfo,
  queryTc,
  Rtnetlink,
  type TcFilterPlace,
} from '@xoffload/linux'
import { BpfDirectory, errnoOf, TestNamespace } from './test-namespace.ts'

// Any object will do: this is the one that the repository has.
const OBJECT = readFileSync(new URL('../../../redirect-ebpf/bpf/tc.o', import.meta.url))
const MAP = 'xo_flows_v3'
const CAPACITY = 100

function bytes(length: number, first: number): Uint8Array {
  const filled = new Uint8Array(length)
  new DataView(filled.buffer).setUint32(length - 4, first, true)
  return filled
}
const key = (number: number) => bytes(36, number)
const value = (number: number) => bytes(64, number)

let object: BpfObject
let map: BpfMap

beforeEach(() => {
  object = BpfObject.load(OBJECT, { maps: { [MAP]: { maxEntries: CAPACITY } } })
  map = object.map(MAP)
})
afterEach(() => object.close())

describe('a map', () => {
  test('tells what it is', () => {
    const { id, ...info } = map.info
    expect(info).toEqual({ type: 1, keySize: 36, valueSize: 64, maxEntries: CAPACITY, name: MAP })
    expect(id).toBeGreaterThan(0)
  })

  test('is updated, looked up and deleted from', () => {
    expect(map.lookup(key(1))).toBeUndefined()
    map.update(key(1), value(7))
    expect(map.lookup(key(1))).toEqual(value(7))
    map.update(key(1), value(8), BPF_F_LOCK)
    expect(map.lookup(key(1), BPF_F_LOCK)).toEqual(value(8))
    expect(errnoOf(() => map.update(key(1), value(9), BPF_NOEXIST))).toBe('EEXIST')
    expect(errnoOf(() => map.update(key(2), value(9), BPF_EXIST))).toBe('ENOENT')
    expect(map.delete(key(1))).toBe(true)
    expect(map.delete(key(1))).toBe(false)
    expect(map.lookup(key(1))).toBeUndefined()
  })

  test('is iterated in batches of any size', () => {
    for (let number = 1; number <= CAPACITY; number++) map.update(key(number), value(number))
    for (const size of [1, 7, 1000]) {
      const found = new Set<number>()
      for (const { count, keys, values } of map.batches(size, BPF_F_LOCK)) {
        expect([keys.length, values.length]).toEqual([count * 36, count * 64])
        for (let index = 0; index < count; index++) {
          const number = new DataView(keys.buffer, index * 36).getUint32(32, true)
          expect(new DataView(values.buffer, index * 64).getUint32(60, true)).toBe(number)
          found.add(number)
        }
      }
      expect(found.size).toBe(CAPACITY)
    }
    expect([...map.keys()].length).toBe(CAPACITY)
  })

  test('that is full says how many entries it has room for', () => {
    for (let number = 1; number <= CAPACITY; number++) map.update(key(number), value(number))
    expect(errnoOf(() => map.update(key(0), value(0)))).toBe('E2BIG')
    expect(() => map.update(key(0), value(0))).toThrow('room for 100 entries')
    map.update(key(1), value(2))
  })

  test('refuses keys and values of a wrong length, and use after it was closed', () => {
    expect(errnoOf(() => map.lookup(new Uint8Array(35)))).toBe('EINVAL')
    expect(errnoOf(() => map.update(key(1), new Uint8Array(55)))).toBe('EINVAL')
    const other = BpfMap.fromId(map.info.id)
    other.close()
    other.close()
    expect(errnoOf(() => other.lookup(key(1)))).toBe('EBADF')
    expect(errnoOf(() => [...other.batches()])).toBe('EBADF')
  })

  test('is shared by id and by reuse', () => {
    map.update(key(1), value(1))
    const byId = BpfMap.fromId(map.info.id)
    const second = BpfObject.load(OBJECT, { maps: { [MAP]: { reuse: byId } } })
    byId.close()
    expect(second.map(MAP).lookup(key(1))).toEqual(value(1))
    expect(second.map(MAP).info.id).toBe(map.info.id)
    second.close()
  })
})

describe('an object that cannot be loaded', () => {
  test('bytes that are no object', () => {
    expect(() => BpfObject.load(new Uint8Array(100))).toThrow(/no BPF object/)
    expect(() => BpfObject.load(OBJECT.subarray(0, 1000))).toThrow(/no BPF object/)
  })

  test('a program that the verifier refuses: the error has the end of its log', () => {
    const exit = OBJECT.indexOf(Buffer.from([0x95, 0, 0, 0, 0, 0, 0, 0]))
    const broken = Buffer.from(OBJECT)
    // A jump out of the program where it should end.
    broken.set([0x05, 0, 0xff, 0x7f, 0, 0, 0, 0], exit)
    expect(errnoOf(() => BpfObject.load(broken))).toBe('EINVAL')
    expect(() => BpfObject.load(broken)).toThrow(/the kernel refuses the program:\n.*jump out of range/s)
  })

  test('names that it has not', () => {
    expect(errnoOf(() => object.map('nonesuch'))).toBe('ENOENT')
    expect(errnoOf(() => object.program('nonesuch'))).toBe('ENOENT')
    expect(errnoOf(() => BpfObject.load(OBJECT, { maps: { nonesuch: { maxEntries: 1 } } }))).toBe('ENOENT')
  })
})

describe('tc', () => {
  let namespace: TestNamespace
  let place: TcFilterPlace

  beforeAll(() => {
    namespace = new TestNamespace()
    const ifindex = namespace.inside(() => {
      using rtnetlink = new Rtnetlink()
      return rtnetlink.link('veth0')?.index ?? 0
    })
    place = { ifindex, direction: 'ingress', priority: 42, handle: 7 }
  })
  afterAll(() => namespace[Symbol.dispose]())
  afterEach(() => {
    namespace.inside(() => {
      if (!createClsact(place.ifindex)) destroyClsact(place.ifindex)
    })
  })

  const attach = (program: string, options = {}) =>
    namespace.inside(() => attachTc(place, object.program(program), options))
  const attachedName = () => bpfProgramInfo(namespace.inside(() => queryTc(place)) ?? 0)?.name

  test('a clsact qdisc is made once', () => {
    expect(namespace.inside(() => [createClsact(place.ifindex), createClsact(place.ifindex)])).toEqual([true, false])
  })

  test('a program is attached, found, replaced and detached', () => {
    namespace.inside(() => createClsact(place.ifindex))
    expect(namespace.inside(() => queryTc(place))).toBeUndefined()
    attach('xo_ingress')
    expect(attachedName()).toBe('xo_ingress')
    expect(errnoOf(() => attach('xo_egress'))).toBe('EEXIST')
    attach('xo_egress', { replace: true })
    expect(attachedName()).toBe('xo_egress')
    const shown = namespace.tc('filter', 'show', 'dev', 'veth0', 'ingress')
    expect(shown).toMatch(/pref 42 bpf .*handle 0x7 xo_egress.* direct-action/)
    expect(namespace.inside(() => [detachTc(place), detachTc(place)])).toEqual([true, false])
    expect(namespace.inside(() => queryTc(place))).toBeUndefined()
  })

  test('without a qdisc there is nothing to find, to detach or to attach to', () => {
    expect(namespace.inside(() => queryTc(place))).toBeUndefined()
    expect(namespace.inside(() => detachTc(place))).toBe(false)
    expect(errnoOf(() => attach('xo_ingress'))).toBe('EINVAL')
  })

  test('a device that does not exist', () => {
    expect(errnoOf(() => createClsact(9999))).toBe('ENODEV')
  })

  test('an attached program is found with its maps, and keeps them when its object is closed', () => {
    namespace.inside(() => createClsact(place.ifindex))
    attach('xo_ingress')
    map.update(key(1), value(5))
    const { id } = map.info
    object.close()
    const program = bpfProgramInfo(namespace.inside(() => queryTc(place)) ?? 0)
    expect(program).toMatchObject({ name: 'xo_ingress', type: BPF_PROG_TYPE_SCHED_CLS })
    expect(program?.mapIds).toContain(id)
    const adopted = BpfMap.fromId(id)
    expect(adopted.lookup(key(1))).toEqual(value(5))
    adopted.close()
  })

  test('what is pinned is opened by its path, and lives until that is removed', () => {
    using directory = new BpfDirectory()
    const areBpf = [directory.path, '/tmp', '/nonesuch'].map(isBpfFileSystem)
    expect(areBpf).toEqual([true, false, false])
    const program = join(directory.path, 'program')
    const path = join(directory.path, 'map')
    expect(pinnedProgramInfo(program)).toBeUndefined()
    expect(BpfMap.fromPin(path)).toBeUndefined()
    const fd = object.program('xo_ingress')
    pinBpf(fd, program)
    pinBpf(map.fd, path)
    expect(errnoOf(() => pinBpf(fd, program))).toBe('EEXIST')
    expect(errnoOf(() => pinBpf(fd, '/tmp/no-bpffs'))).toBe('EPERM')
    const { id, name } = programInfo(fd)
    expect(name).toBe('xo_ingress')
    map.update(key(1), value(5))
    object.close()
    expect(pinnedProgramInfo(program)?.id).toBe(id)
    const opened = BpfMap.fromPin(path)
    expect(opened?.lookup(key(1))).toEqual(value(5))
    opened?.close()
  })

  test('there is no program with an unknown id', () => {
    expect(bpfProgramInfo(0x7ffffff0)).toBeUndefined()
    expect(errnoOf(() => BpfMap.fromId(0x7ffffff0))).toBe('ENOENT')
  })
})
