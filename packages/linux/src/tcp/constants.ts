/** include/uapi/linux/tcp.h. */
export const TCP_NODELAY = 1
export const TCP_MAXSEG = 2
export const TCP_DEFER_ACCEPT = 9
export const TCP_WINDOW_CLAMP = 10
export const TCP_INFO = 11
export const TCP_REPAIR = 19
export const TCP_REPAIR_QUEUE = 20
export const TCP_QUEUE_SEQ = 21
export const TCP_REPAIR_OPTIONS = 22
export const TCP_TIMESTAMP = 24
export const TCP_REPAIR_WINDOW = 29

/** include/uapi/linux/in.h. */
export const IP_BIND_ADDRESS_NO_PORT = 24

export const TCP_REPAIR_ON = 1
export const TCP_REPAIR_OFF = 0
/** Leave repair mode without a window probe. */
export const TCP_REPAIR_OFF_NO_WP = -1

export const TCP_NO_QUEUE = 0
export const TCP_RECV_QUEUE = 1
export const TCP_SEND_QUEUE = 2

/** The option kinds that TCP_REPAIR_OPTIONS takes (include/net/tcp.h). */
export const TCPOPT_MSS = 2
export const TCPOPT_WINDOW = 3
export const TCPOPT_SACK_PERM = 4
export const TCPOPT_TIMESTAMP = 8
