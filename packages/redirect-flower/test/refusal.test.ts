// What kernels and drivers say, as errors that a program can act on.
import { describe, expect, test } from 'bun:test'
import type { RedirectorErrorCode } from '@xoffload/core'
import type { ErrnoName } from '@xoffload/linux'
import { refusal } from '../src/index.ts'
import { FakeKernel } from './fake-kernel.ts'
import { makeFake, openFake } from './fake-nic.ts'
import { flow, steer } from './support.ts'

const RTM_NEWTFILTER = 44

/** As the sources have them, with what is around the part that is known. */
const texts: readonly (readonly [string, ErrnoName, RedirectorErrorCode, RegExp])[] = [
  ["mlx5_core: devices are not on same switch HW, can't offload forwarding", 'EOPNOTSUPP', 'unsupported', /same|card/],
  ["device is not on same HW, can't offload", 'EOPNOTSUPP', 'unsupported', /port of the card/],
  ["devices are both uplink, can't offload forwarding", 'EOPNOTSUPP', 'unsupported', /port of the card/],
  ["devices are not the same uplink, can't offload forwarding", 'EOPNOTSUPP', 'unsupported', /port of the card/],
  ['hairpin is not supported', 'EOPNOTSUPP', 'unsupported', /firmware/],
  ['only PCP trust state supported for hairpin', 'EOPNOTSUPP', 'unsupported', /trust pcp/],
  ['invalid ifindex of mirred device', 'EINVAL', 'gone', /device/],
  ['TC csum action is only offloaded with pedit', 'EOPNOTSUPP', 'unsupported', /checksum/],
  ["can't offload TC csum action for some header/s", 'EOPNOTSUPP', 'unsupported', /checksum/],
  ["legacy pedit isn't offloaded", 'EOPNOTSUPP', 'unsupported', /card/],
  ['The pedit offload action is not supported', 'EOPNOTSUPP', 'unsupported', /card/],
  ["too many pedit actions, can't offload", 'EOPNOTSUPP', 'unsupported', /card/],
  ['attempt to offload an unsupported field (cmd 0)', 'EOPNOTSUPP', 'unsupported', /card/],
  ["can't set and add to the same HW field", 'EOPNOTSUPP', 'unsupported', /card/],
  ["rewrite of few sub-fields isn't supported", 'EOPNOTSUPP', 'unsupported', /card/],
  ["can't offload re-write of non TCP/UDP", 'EOPNOTSUPP', 'unsupported', /card/],
  ['The offload action is not supported in NIC action', 'EOPNOTSUPP', 'unsupported', /card/],
  ['Flow is not offloaded due to min inline setting', 'EOPNOTSUPP', 'unsupported', /inline-mode/],
  ['nfp: unsupported offload: egress interface is not an nfp port', 'EOPNOTSUPP', 'unsupported', /port of the card/],
  ['unsupported offload: ingress and egress interfaces are on different devices', 'EOPNOTSUPP', 'unsupported', /port/],
  ['unsupported offload: invalid port id for egress interface', 'EOPNOTSUPP', 'unsupported', /port/],
  ['unsupported offload: invalid egress interface for mirred action', 'EOPNOTSUPP', 'unsupported', /port/],
  [
    'unsupported offload: set actions without updating checksums are not supported',
    'EOPNOTSUPP',
    'unsupported',
    /csum|checksum/,
  ],
  ['unsupported offload: pedit on unsupported header', 'EOPNOTSUPP', 'unsupported', /card/],
  ['unsupported offload: pedit on unsupported section of L4 header', 'EOPNOTSUPP', 'unsupported', /card/],
  ['unsupported offload: invalid pedit ethernet action', 'EOPNOTSUPP', 'unsupported', /card/],
  ['unsupported offload: invalid pedit IPv4 action', 'EOPNOTSUPP', 'unsupported', /card/],
  ['unsupported offload: invalid pedit L4 action', 'EOPNOTSUPP', 'unsupported', /card/],
  [
    'unsupported offload: mirred output increases action list size beyond the allowed maximum',
    'EOPNOTSUPP',
    'unsupported',
    /card/,
  ],
  ['TC classifier not found', 'ENOENT', 'unsupported', /cls_flower/],
  ['Failed to load TC action module', 'ENOENT', 'unsupported', /act_pedit/],
  ['xoffload_nic: the rule table is full', 'ENOSPC', 'full', /idle/],
  ["Parent Qdisc doesn't exists", 'EINVAL', 'gone', /clsact/],
  ['Filter already exists', 'EEXIST', 'busy', /priority/],
]

test.each([...texts])('%s (%s) is %s', (text, errno, reason, advice) => {
  const error = refusal('putting a rule', errno, text)
  expect(error.reason).toBe(reason)
  expect(error.message).toContain(`putting a rule: the kernel says ${errno}, "${text}": `)
  expect(error.message.split(`"${text}": `)[1]).toMatch(advice)
})

test.each([
  ['EPERM', 'permission', /CAP_NET_ADMIN/],
  ['ENOSPC', 'full', /./],
  ['ENOMEM', 'full', /./],
  ['EBUSY', 'busy', /./],
  ['EEXIST', 'busy', /not from here/],
  ['ENODEV', 'gone', /no such device/],
  ['EOPNOTSUPP', 'unsupported', /hw-tc-offload/],
  ['ENOENT', 'unsupported', /cls_flower/],
  ['EREMOTEIO', 'unsupported', /./],
] as const)('%s without a word is %s', (errno, reason, advice) => {
  const error = refusal('putting a rule', errno, undefined)
  expect(error.reason).toBe(reason)
  expect(error.message).toContain(`the kernel says ${errno}`)
  expect(error.message).toMatch(advice)
})

test('words that are not known are told as they are', () => {
  const error = refusal('putting a rule', 'EREMOTEIO', 'bad parameter(0x3), syndrome (0x65c1fb)')
  expect(error.reason).toBe('unsupported')
  expect(error.message).toBe('putting a rule: the kernel says EREMOTEIO, "bad parameter(0x3), syndrome (0x65c1fb)"')
})

describe('a refusal by the kernel', () => {
  test('of a rule is its error, and nothing is left of the rule', async () => {
    const kernel = new FakeKernel()
    await using opened = await openFake(kernel)
    const { redirector } = opened
    kernel.refuse = ({ type }) =>
      type === RTM_NEWTFILTER ? { errno: 'ENOSPC', text: 'the rule table is full' } : undefined
    await expect(redirector.put(steer(1))).rejects.toMatchObject({ reason: 'full' })
    kernel.refuse = () => undefined
    expect(await redirector.remove(flow(1))).toBe(false)
    expect(await redirector.put(steer(1))).toBe('accepted')
  })

  test('of the first rule is an error of open(), which leaves nothing behind', async () => {
    const kernel = new FakeKernel()
    kernel.refuse = ({ type }) =>
      type === RTM_NEWTFILTER ? { errno: 'EOPNOTSUPP', text: 'hairpin is not supported' } : undefined
    const redirector = makeFake(kernel)
    await expect(redirector.open()).rejects.toMatchObject({ reason: 'unsupported' })
    expect(kernel.clsact).toBe(false)
    kernel.refuse = () => undefined
    await redirector.open()
    await redirector.close()
  })
})
