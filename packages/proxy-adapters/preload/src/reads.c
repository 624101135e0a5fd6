/* What the program reads from adopted connections. All other descriptors cost one look into the table. */
#include "boundary.h"
#include "connections.h"
#include "epoll.h"
#include "real.h"
#include "shim.h"

#include <errno.h>

/* Data that the program has not taken out of the queue, or that is none of the stream. */
#define NOT_TAKEN (MSG_PEEK | MSG_ERRQUEUE)
/* Data that it takes without seeing it, or out of order. */
#define NOT_SEEN (MSG_TRUNC | MSG_OOB)

/* The connection, if any, that a call reads from. */
static struct connection *begin_read(int fd, int flags)
{
	int saved = errno;
	/* A program that waits with a system call of its own is not woken by orders; here they reach it. */
	if (!epoll_obeys_orders() && shim_is_no_copy())
		boundary_obey_orders();
	errno = saved;
	struct connection *connection = connection_lock(fd);
	if (connection == NULL)
		return NULL;
	if ((flags & NOT_TAKEN) != 0) {
		connection_unlock(connection);
		return NULL;
	}
	/* Two calls at once: which of them gets what is not known. */
	if ((flags & NOT_SEEN) != 0 || connection->is_read)
		connection->exchange.stays = true;
	bool is_gone = boundary_before_read(connection);
	errno = saved;
	if (is_gone)
		return NULL;
	connection->is_read = true;
	connection_unlock(connection);
	return connection;
}

/* The same connection, locked, when the descriptor was not closed meanwhile. */
static struct connection *after_call(struct connection *connection, int fd)
{
	pthread_mutex_lock(&connection->lock);
	if (connection->fd == fd) {
		connection->is_read = false;
		return connection;
	}
	connection_unlock(connection);
	return NULL;
}

static ssize_t end_read(struct connection *before, int fd, const struct iovec *vector, size_t count, ssize_t received)
{
	struct connection *connection = before == NULL ? NULL : after_call(before, fd);
	if (connection == NULL)
		return received;
	if (received > 0)
		exchange_received_vector(&connection->exchange, vector, count, (size_t)received);
	connection_unlock(connection);
	return received;
}

static ssize_t end_simple_read(struct connection *connection, int fd, void *bytes, ssize_t received)
{
	const struct iovec part = {.iov_base = bytes, .iov_len = received > 0 ? (size_t)received : 0};
	return connection == NULL ? received : end_read(connection, fd, &part, 1, received);
}

/* The checked variants are what _FORTIFY_SOURCE makes of the plain ones. */
#define SIMPLE_READ(name, parameters, arguments, flags)                                                                          \
	INTERPOSED ssize_t name parameters;                                                                                      \
	INTERPOSED ssize_t name parameters                                                                                       \
	{                                                                                                                        \
		if (connection_at(fd) == NULL)                                                                                   \
			return real()->name arguments;                                                                           \
		struct connection *connection = begin_read(fd, flags);                                                           \
		return end_simple_read(connection, fd, bytes, real()->name arguments);                                           \
	}

SIMPLE_READ(read, (int fd, void *bytes, size_t length), (fd, bytes, length), 0)
SIMPLE_READ(recv, (int fd, void *bytes, size_t length, int flags), (fd, bytes, length, flags), flags)
SIMPLE_READ(__read_chk, (int fd, void *bytes, size_t length, size_t room), (fd, bytes, length, room), 0)
SIMPLE_READ(__recv_chk, (int fd, void *bytes, size_t length, size_t room, int flags), (fd, bytes, length, room, flags), flags)

INTERPOSED ssize_t recvfrom(int fd, void *restrict bytes, size_t length, int flags, __SOCKADDR_ARG from, socklen_t *restrict from_length)
{
	if (connection_at(fd) == NULL)
		return real()->recvfrom(fd, bytes, length, flags, from.__sockaddr__, from_length);
	struct connection *connection = begin_read(fd, flags);
	return end_simple_read(connection, fd, bytes, real()->recvfrom(fd, bytes, length, flags, from.__sockaddr__, from_length));
}

INTERPOSED ssize_t __recvfrom_chk(int fd, void *bytes, size_t length, size_t room, int flags, __SOCKADDR_ARG from, socklen_t *from_length);
INTERPOSED ssize_t __recvfrom_chk(int fd, void *bytes, size_t length, size_t room, int flags, __SOCKADDR_ARG from, socklen_t *from_length)
{
	if (connection_at(fd) == NULL)
		return real()->__recvfrom_chk(fd, bytes, length, room, flags, from.__sockaddr__, from_length);
	struct connection *connection = begin_read(fd, flags);
	return end_simple_read(connection, fd, bytes,
			       real()->__recvfrom_chk(fd, bytes, length, room, flags, from.__sockaddr__, from_length));
}

INTERPOSED ssize_t readv(int fd, const struct iovec *vector, int count)
{
	if (connection_at(fd) == NULL)
		return real()->readv(fd, vector, count);
	struct connection *connection = begin_read(fd, 0);
	return end_read(connection, fd, vector, count > 0 ? (size_t)count : 0, real()->readv(fd, vector, count));
}

INTERPOSED ssize_t recvmsg(int fd, struct msghdr *message, int flags)
{
	if (connection_at(fd) == NULL)
		return real()->recvmsg(fd, message, flags);
	struct connection *connection = begin_read(fd, flags);
	ssize_t received = real()->recvmsg(fd, message, flags);
	return end_read(connection, fd, message->msg_iov, message->msg_iovlen, received);
}

static void stays(int fd)
{
	struct connection *connection = connection_lock(fd);
	if (connection == NULL)
		return;
	connection->exchange.stays = true;
	connection_unlock(connection);
}

/* Nobody reads a stream like this; what does stays here. */
INTERPOSED int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, struct timespec *timeout)
{
	stays(fd);
	return real()->recvmmsg(fd, messages, count, flags, timeout);
}
