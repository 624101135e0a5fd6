import { NetlinkBody, viewOf } from '../message.ts'
import { NLM_F_CREATE, NLM_F_EXCL } from '../socket.ts'
import { RTM_DELQDISC, RTM_NEWQDISC, TCA_KIND, TCMSG_LENGTH } from './constants.ts'
import type { TcRequest } from './request.ts'

/** TC_H_CLSACT and the handle of its qdisc (include/uapi/linux/pkt_sched.h). */
const TC_H_CLSACT = 0xfffffff1
const CLSACT_HANDLE = 0xffff0000

/** `tc qdisc add dev DEVICE clsact`: refused with EEXIST when the device has one, or an `ingress` qdisc. */
export function addClsact(ifindex: number): TcRequest {
  return { type: RTM_NEWQDISC, flags: NLM_F_CREATE | NLM_F_EXCL, body: clsact(ifindex) }
}

/** `tc qdisc del dev DEVICE clsact`, **with all its filters, whoever made them**. */
export function deleteClsact(ifindex: number): TcRequest {
  return { type: RTM_DELQDISC, flags: 0, body: clsact(ifindex) }
}

function clsact(ifindex: number): Uint8Array {
  const message = new Uint8Array(TCMSG_LENGTH)
  const view = viewOf(message)
  view.setInt32(4, ifindex, true)
  view.setUint32(8, CLSACT_HANDLE, true)
  view.setUint32(12, TC_H_CLSACT, true)
  return new NetlinkBody(message).text(TCA_KIND, 'clsact').bytes
}
