/*
 * getsockname(2) and getpeername(2): a program whose listener is IPv6 looks at the addresses of what it accepts as IPv6 ones.
 * nginx, for one, takes the family of its own address for that of its configuration.
 */
#include "addresses.h"

#include "connections.h"
#include "real.h"
#include "shim.h"

#include <netinet/in.h>
#include <string.h>

void map_address(struct sockaddr_storage *address, socklen_t *length)
{
	const struct sockaddr_in from = *(const struct sockaddr_in *)address;
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_port = from.sin_port};
	to.sin6_addr.s6_addr[10] = to.sin6_addr.s6_addr[11] = 0xff;
	memcpy(&to.sin6_addr.s6_addr[12], &from.sin_addr, sizeof(from.sin_addr));
	memcpy(address, &to, sizeof(to));
	*length = sizeof(to);
}

static bool is_mapped(int fd)
{
	struct connection *connection = connection_lock(fd);
	if (connection == NULL)
		return false;
	bool mapped = connection->is_mapped;
	connection_unlock(connection);
	return mapped;
}

static int mapped_name(getpeername_function *name, int fd, struct sockaddr *address, socklen_t *length)
{
	if (!is_mapped(fd) || address == NULL || length == NULL || (int)*length < 0)
		return name(fd, address, length);
	struct sockaddr_storage full;
	socklen_t full_length = sizeof(full);
	int result = name(fd, (struct sockaddr *)&full, &full_length);
	if (result < 0)
		return result;
	if (full.ss_family == AF_INET)
		map_address(&full, &full_length);
	memcpy(address, &full, *length < full_length ? *length : full_length);
	*length = full_length;
	return result;
}

INTERPOSED int getpeername(int fd, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	return mapped_name(real()->getpeername, fd, address.__sockaddr__, length);
}

INTERPOSED int getsockname(int fd, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	return mapped_name(real()->getsockname, fd, address.__sockaddr__, length);
}
