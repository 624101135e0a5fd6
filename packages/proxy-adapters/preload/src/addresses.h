/* IPv4 addresses as a program sees them whose listener is IPv6 (ipv6(7)). */
#ifndef XOFFLOAD_ADDRESSES_H
#define XOFFLOAD_ADDRESSES_H

#include <sys/socket.h>

/* a.b.c.d becomes ::ffff:a.b.c.d. */
void map_address(struct sockaddr_storage *address, socklen_t *length);

#endif
