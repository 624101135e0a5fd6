/** include/uapi/linux/rtnetlink.h. */
export const RTM_NEWQDISC = 36
export const RTM_DELQDISC = 37
export const RTM_NEWTFILTER = 44
export const RTM_DELTFILTER = 45
export const RTM_GETTFILTER = 46

export const TCA_KIND = 1
export const TCA_OPTIONS = 2
export const TCA_CHAIN = 11

/** `sizeof(struct tcmsg)`. */
export const TCMSG_LENGTH = 20

/** TC_H_MAKE(TC_H_CLSACT, TC_H_MIN_INGRESS or TC_H_MIN_EGRESS) of include/uapi/linux/pkt_sched.h. */
export const CLSACT_PARENTS = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const

/** include/uapi/linux/if_ether.h. */
export const ETH_P_IP = 0x0800
export const ETH_P_IPV6 = 0x86dd
export const ETH_P_8021Q = 0x8100

/** Where `tcm_info` holds the protocol: in network byte order. */
export function bigEndian16(value: number): number {
  return ((value & 0xff) << 8) | (value >> 8)
}
