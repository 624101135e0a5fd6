/*
 * accept(2) and accept4(2): a knock that is accepted is swapped for the connection that the agent passes. How, says protocol.h.
 */
#include "addresses.h"
#include "channel.h"
#include "connections.h"
#include "descriptors.h"
#include "real.h"
#include "shim.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

/* The peer's address, with room for each family that a stream socket may have. */
struct peer {
	struct sockaddr_storage address;
	socklen_t length;
};

static bool is_loopback(const struct peer *peer)
{
	if (peer->address.ss_family == AF_INET)
		return ntohl(((const struct sockaddr_in *)&peer->address)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	if (peer->address.ss_family != AF_INET6)
		return false;
	const struct in6_addr *address = &((const struct sockaddr_in6 *)&peer->address)->sin6_addr;
	return IN6_IS_ADDR_LOOPBACK(address) || (IN6_IS_ADDR_V4MAPPED(address) && address->s6_addr[12] == IN_LOOPBACKNET);
}

/* Whoever knocks sends its bytes together with the last packet of the handshake: they are here when accept returns. */
static bool is_knock(int fd, const struct peer *peer)
{
	struct knock knock;
	return is_loopback(peer) && real()->recv(fd, &knock, sizeof(knock), MSG_PEEK | MSG_DONTWAIT) == sizeof(knock) &&
	       memcmp(knock.magic, KNOCK_MAGIC, KNOCK_MAGIC_LENGTH) == 0 && channel_knows_knock(&knock);
}

/* Options that an accepted socket has from its listener, where servers set them. */
static const struct {
	int level;
	int name;
} inherited[] = {
	{SOL_SOCKET, SO_KEEPALIVE},     {IPPROTO_TCP, TCP_KEEPIDLE}, {IPPROTO_TCP, TCP_KEEPINTVL},
	{IPPROTO_TCP, TCP_KEEPCNT},     {IPPROTO_TCP, TCP_NODELAY},
};

#define INHERITED (sizeof(inherited) / sizeof(inherited[0]))

struct accepted {
	int family;
	/* -1: not known. */
	int options[INHERITED];
};

static int option_of(int fd, int level, int name)
{
	int value;
	socklen_t length = sizeof(value);
	return getsockopt(fd, level, name, &value, &length) == 0 ? value : -1;
}

/* Notes what the connection needs of the knock, and closes it with an RST: no TIME_WAIT, and room for the connection's descriptor. */
static struct accepted close_knock(int fd)
{
	struct accepted accepted = {.family = option_of(fd, SOL_SOCKET, SO_DOMAIN)};
	for (size_t index = 0; index < INHERITED; index++)
		accepted.options[index] = option_of(fd, inherited[index].level, inherited[index].name);
	const struct linger at_once = {.l_onoff = 1};
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
	real()->close(fd);
	return accepted;
}

static bool is_tcp_connection(int fd, struct peer *peer)
{
	int domain = option_of(fd, SOL_SOCKET, SO_DOMAIN);
	peer->length = sizeof(peer->address);
	return (domain == AF_INET || domain == AF_INET6) && option_of(fd, SOL_SOCKET, SO_PROTOCOL) == IPPROTO_TCP &&
	       real()->getpeername(fd, (struct sockaddr *)&peer->address, &peer->length) == 0;
}

static void inherit(int fd, const struct accepted *accepted, bool non_blocking)
{
	for (size_t index = 0; index < INHERITED; index++) {
		int value = accepted->options[index];
		if (value >= 0 && value != option_of(fd, inherited[index].level, inherited[index].name))
			setsockopt(fd, inherited[index].level, inherited[index].name, &value, sizeof(value));
	}
	int flags = real()->fcntl(fd, F_GETFL);
	int wanted = non_blocking ? flags | O_NONBLOCK : flags & ~O_NONBLOCK;
	if (flags >= 0 && flags != wanted)
		real()->fcntl(fd, F_SETFL, wanted);
}

/* Enters the connection into the table and tells the agent. */
static void adopt(int fd, const struct mailbox_item *item, struct peer *peer, int listener_family)
{
	uint32_t channel = channel_number();
	bool is_mapped = listener_family == AF_INET6 && peer->address.ss_family == AF_INET;
	struct connection *connection = connection_add(fd, item->connection);
	if (connection != NULL) {
		pthread_mutex_lock(&connection->lock);
		connection->channel = channel;
		connection->ask_at = item->requests;
		connection->is_watched = (item->flags & ITEM_WATCH) != 0 && connection->cookie != 0;
		connection->is_mapped = is_mapped;
		connection_unlock(connection);
	}
	if (is_mapped)
		map_address(&peer->address, &peer->length);
	channel_tell(channel, MESSAGE_ADOPTED, item->connection, (uint32_t)fd, 0);
	/* Nobody will see the connection's end here. */
	if (connection == NULL)
		channel_tell(channel, MESSAGE_CLOSED, item->connection, (uint32_t)fd, 0);
}

/* The descriptor of the connection that the agent passed for this knock, -1 when it has none. */
static int take_connection(int knock, struct peer *peer, int flags)
{
	struct accepted accepted = close_knock(knock);
	struct mailbox_item item;
	int fd;
	if (!channel_take_item(&item, &fd, (flags & SOCK_CLOEXEC) != 0))
		return -1;
	if (fd < 0 || !is_tcp_connection(fd, peer)) {
		if (fd >= 0)
			real()->close(fd);
		channel_tell(channel_number(), MESSAGE_LOST, item.connection, 0, 0);
		return -1;
	}
	forget_descriptor(fd);
	inherit(fd, &accepted, (flags & SOCK_NONBLOCK) != 0);
	adopt(fd, &item, peer, accepted.family);
	return fd;
}

static void tell_peer(const struct peer *peer, struct sockaddr *address, socklen_t *length)
{
	if (address == NULL || length == NULL)
		return;
	memcpy(address, &peer->address, *length < peer->length ? *length : peer->length);
	*length = peer->length;
}

static int accept_connection(int listener, struct sockaddr *address, socklen_t *length, int flags)
{
	for (;;) {
		struct peer peer = {.length = sizeof(peer.address)};
		int fd = real()->accept4(listener, (struct sockaddr *)&peer.address, &peer.length, flags);
		if (fd < 0)
			return fd;
		if (is_knock(fd, &peer))
			fd = take_connection(fd, &peer, flags);
		else
			/* A system call that was not seen may have closed a connection with this number. */
			forget_descriptor(fd);
		if (fd >= 0) {
			tell_peer(&peer, address, length);
			return fd;
		}
	}
}

/* The kernel has its own word on arguments that are not in order. */
static bool is_plain(const struct sockaddr *address, const socklen_t *length)
{
	return !shim_is_active() || (address != NULL && (length == NULL || (int)*length < 0));
}

INTERPOSED int accept4(int listener, __SOCKADDR_ARG address, socklen_t *restrict length, int flags)
{
	struct sockaddr *to = address.__sockaddr__;
	return is_plain(to, length) ? real()->accept4(listener, to, length, flags) : accept_connection(listener, to, length, flags);
}

INTERPOSED int accept(int listener, __SOCKADDR_ARG address, socklen_t *restrict length)
{
	struct sockaddr *to = address.__sockaddr__;
	return is_plain(to, length) ? real()->accept(listener, to, length) : accept_connection(listener, to, length, 0);
}
