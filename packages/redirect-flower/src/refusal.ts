import { RedirectorError, type RedirectorErrorCode } from '@xoffload/core'
import { type ErrnoName, LinuxError } from '@xoffload/linux'

/** A text that the kernel or a driver refuses a filter with, and what it means. */
export interface KnownRefusal {
  /** A part of the text that does not change. */
  readonly text: string
  readonly reason: RedirectorErrorCode
  /** What to do. */
  readonly advice: string
}

const SAME_CARD = 'the packets must leave by a port of the card that they arrived at'
const RULE_SHAPE = 'this card or its firmware cannot execute such a rule'
const MODULES = 'load the modules cls_flower, act_pedit, act_mirred (and act_tunnel_key), or use a kernel that has them'

const knownUnsupported = (advice: string, ...texts: string[]): KnownRefusal[] =>
  texts.map((text) => ({ text, reason: 'unsupported', advice }))

/**
 * The texts of net/sched, of mlx5 (drivers/net/ethernet/mellanox/mlx5/core/en_tc.c, en/tc/act) and of nfp
 * (drivers/net/ethernet/netronome/nfp/flower).
 */
export const KNOWN_REFUSALS: readonly KnownRefusal[] = [
  ...knownUnsupported(
    SAME_CARD,
    "devices are not on same switch HW, can't offload forwarding",
    "device is not on same HW, can't offload",
    "devices are both uplink, can't offload forwarding",
    "devices are not the same uplink, can't offload forwarding",
    'egress interface is not an nfp port',
    'ingress and egress interfaces are on different devices',
    'invalid port id for egress interface',
    'invalid egress interface for mirred action',
  ),
  ...knownUnsupported(
    'the card cannot send packets out of the port that they arrived at: update its firmware',
    'hairpin is not supported',
  ),
  ...knownUnsupported(
    'let the port trust PCP: "mlnx_qos -i DEVICE --trust pcp"',
    'only PCP trust state supported for hairpin',
  ),
  { text: 'invalid ifindex of mirred device', reason: 'gone', advice: 'the device that packets leave by is gone' },
  ...knownUnsupported(
    'the checksums do not fit what is rewritten: this is a mistake of the redirector, please report it',
    'TC csum action is only offloaded with pedit',
    "can't offload TC csum action for some header/s",
    'set actions without updating checksums are not supported',
    'unsupported csum update action',
  ),
  ...knownUnsupported(
    RULE_SHAPE,
    "legacy pedit isn't offloaded",
    'The pedit offload action is not supported',
    'too many pedit actions',
    'attempt to offload an unsupported field',
    "can't set and add to the same HW field",
    "rewrite of few sub-fields isn't supported",
    "can't offload re-write of non TCP/UDP",
    'The offload action is not supported',
    'pedit on unsupported header',
    'pedit on unsupported section of L4 header',
    'invalid pedit ethernet action',
    'invalid pedit IPv4 action',
    'invalid pedit L4 action',
    'beyond the allowed maximum',
    'maximum allowed action list size exceeded',
    'unsupported tunnel',
    'no match support for selected TCP flags',
  ),
  ...knownUnsupported(
    'the rule matches on the TCP header: "devlink dev eswitch set pci/ADDRESS inline-mode transport"',
    'Flow is not offloaded due to min inline setting',
  ),
  ...knownUnsupported(
    MODULES,
    'TC classifier not found',
    'Failed to load TC action module',
    'Failed to load tc action',
  ),
  { text: 'table is full', reason: 'full', advice: 'remove rules of flows that are idle' },
  {
    text: "Parent Qdisc doesn't exist",
    reason: 'gone',
    advice: 'somebody has removed the clsact qdisc: open the device again',
  },
  {
    text: 'Cannot find specified qdisc',
    reason: 'gone',
    advice: 'somebody has removed the clsact qdisc: open the device again',
  },
  { text: 'Filter already exists', reason: 'busy', advice: 'another program uses this priority: choose another one' },
]

const BY_ERRNO: Readonly<Record<string, RedirectorErrorCode>> = {
  EPERM: 'permission',
  EACCES: 'permission',
  ENOSPC: 'full',
  ENOMEM: 'full',
  E2BIG: 'full',
  EDQUOT: 'full',
  EBUSY: 'busy',
  EAGAIN: 'busy',
  EEXIST: 'busy',
  EINTR: 'busy',
  ENOBUFS: 'busy',
  ETIMEDOUT: 'busy',
  ENODEV: 'gone',
  ENXIO: 'gone',
  EBADF: 'gone',
}

const BY_ERRNO_ADVICE: Readonly<Record<string, string>> = {
  EPERM: 'it needs root, or the capability CAP_NET_ADMIN',
  EACCES: 'it needs root, or the capability CAP_NET_ADMIN',
  EEXIST: 'a filter with this handle, or one that matches the same packets, is there: it is not from here',
  ENOENT: MODULES,
  EOPNOTSUPP:
    'the device cannot execute this rule, or does not offload filters: see hw-tc-offload in "ethtool -k DEVICE", and dmesg',
  ENODEV: 'there is no such device in this network namespace',
}

/** What the kernel said to a request, as the error of a redirector. `text`: the kernel's or the driver's own words. */
export function refusal(doing: string, errno: ErrnoName, text: string | undefined): RedirectorError {
  const known = text === undefined ? undefined : KNOWN_REFUSALS.find((candidate) => text.includes(candidate.text))
  const advice = known?.advice ?? (text === undefined ? BY_ERRNO_ADVICE[errno] : undefined)
  const words = text === undefined ? errno : `${errno}, "${text}"`
  const message = `${doing}: the kernel says ${words}${advice === undefined ? '' : `: ${advice}`}`
  const cause = new LinuxError(doing, errno, text)
  return new RedirectorError(known?.reason ?? BY_ERRNO[errno] ?? 'unsupported', message, { cause })
}

/** A failed system call as the error of a redirector. Other errors are returned as they are. */
export function asRedirectorError(doing: string, error: unknown): unknown {
  if (!(error instanceof LinuxError)) return error
  return new RedirectorError(BY_ERRNO[error.errno] ?? 'unsupported', `${doing}: ${error.message}`, { cause: error })
}
