/** include/linux/socket.h, include/uapi/asm-generic/{socket.h,sockios.h,fcntl.h}, include/uapi/linux/sockios.h; equal on x86-64 and arm64. */
export const AF_UNIX = 1
export const AF_INET = 2
export const AF_INET6 = 10
export const AF_NETLINK = 16
export const AF_PACKET = 17
export const SOCK_STREAM = 1
export const SOCK_RAW = 3
export const SOCK_SEQPACKET = 5
export const SOCK_NONBLOCK = 0o4000
export const SOCK_CLOEXEC = 0o2000000
export const IPPROTO_IP = 0
export const IPPROTO_TCP = 6
export const IPPROTO_RAW = 255

export const SOL_SOCKET = 1
export const SO_REUSEADDR = 2
export const SO_SNDBUF = 7
export const SO_RCVBUF = 8
export const SO_LINGER = 13
export const SO_PEERCRED = 17
export const SO_COOKIE = 57
export const SO_RCVTIMEO = 20
export const SO_SNDBUFFORCE = 32
export const SO_RCVBUFFORCE = 33
export const SO_BUF_LOCK = 72

export const SCM_RIGHTS = 0x01

export const MSG_OOB = 0x01
export const MSG_PEEK = 0x02
export const MSG_CTRUNC = 0x08
export const MSG_TRUNC = 0x20
export const MSG_DONTWAIT = 0x40
export const MSG_NOSIGNAL = 0x4000
export const MSG_CMSG_CLOEXEC = 0x40000000

export const O_RDONLY = 0
export const O_RDWR = 2
export const O_NONBLOCK = 0o4000
export const O_CLOEXEC = 0o2000000

export const SIOCINQ = 0x541b
export const SIOCOUTQ = 0x5411
export const SIOCOUTQNSD = 0x894b
