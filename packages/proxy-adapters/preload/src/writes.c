/* What the program writes to adopted connections. */
#include "connections.h"
#include "real.h"
#include "shim.h"

#include <fcntl.h>
#include <sys/sendfile.h>

/* The connection, if any, that a call writes to. */
static struct connection *begin_write(int fd, int flags)
{
	struct connection *connection = connection_lock(fd);
	if (connection == NULL)
		return NULL;
	/* Two calls at once: which of them comes first is not known. */
	if ((flags & MSG_OOB) != 0 || connection->is_written)
		connection->exchange.stays = true;
	connection->is_written = true;
	connection_unlock(connection);
	return connection;
}

/* Locked, when the descriptor was not closed meanwhile. */
static struct connection *end_call(struct connection *connection, int fd)
{
	if (connection == NULL)
		return NULL;
	pthread_mutex_lock(&connection->lock);
	if (connection->fd == fd) {
		connection->is_written = false;
		return connection;
	}
	connection_unlock(connection);
	return NULL;
}

static ssize_t end_write(struct connection *before, int fd, const struct iovec *vector, size_t count, ssize_t sent)
{
	struct connection *connection = end_call(before, fd);
	if (connection == NULL)
		return sent;
	if (sent > 0)
		exchange_sent_vector(&connection->exchange, vector, count, (size_t)sent);
	connection_unlock(connection);
	return sent;
}

static ssize_t end_simple_write(struct connection *connection, int fd, const void *bytes, ssize_t sent)
{
	const struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = sent > 0 ? (size_t)sent : 0};
	return end_write(connection, fd, &part, 1, sent);
}

/* What the kernel takes out of a file is not seen. */
static ssize_t end_unseen_write(struct connection *before, int fd, ssize_t sent)
{
	struct connection *connection = end_call(before, fd);
	if (connection == NULL)
		return sent;
	if (sent > 0)
		exchange_sent_unseen(&connection->exchange, (uint64_t)sent);
	connection_unlock(connection);
	return sent;
}

INTERPOSED ssize_t write(int fd, const void *bytes, size_t length)
{
	if (connection_at(fd) == NULL)
		return real()->write(fd, bytes, length);
	struct connection *connection = begin_write(fd, 0);
	return end_simple_write(connection, fd, bytes, real()->write(fd, bytes, length));
}

INTERPOSED ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
	if (connection_at(fd) == NULL)
		return real()->send(fd, bytes, length, flags);
	struct connection *connection = begin_write(fd, flags);
	return end_simple_write(connection, fd, bytes, real()->send(fd, bytes, length, flags));
}

INTERPOSED ssize_t sendto(int fd, const void *bytes, size_t length, int flags, __CONST_SOCKADDR_ARG to, socklen_t to_length)
{
	if (connection_at(fd) == NULL)
		return real()->sendto(fd, bytes, length, flags, to.__sockaddr__, to_length);
	struct connection *connection = begin_write(fd, flags);
	return end_simple_write(connection, fd, bytes, real()->sendto(fd, bytes, length, flags, to.__sockaddr__, to_length));
}

INTERPOSED ssize_t writev(int fd, const struct iovec *vector, int count)
{
	if (connection_at(fd) == NULL)
		return real()->writev(fd, vector, count);
	struct connection *connection = begin_write(fd, 0);
	return end_write(connection, fd, vector, count > 0 ? (size_t)count : 0, real()->writev(fd, vector, count));
}

INTERPOSED ssize_t sendmsg(int fd, const struct msghdr *message, int flags)
{
	if (connection_at(fd) == NULL)
		return real()->sendmsg(fd, message, flags);
	struct connection *connection = begin_write(fd, flags);
	ssize_t sent = real()->sendmsg(fd, message, flags);
	return end_write(connection, fd, message->msg_iov, message->msg_iovlen, sent);
}

INTERPOSED int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags)
{
	if (connection_at(fd) == NULL)
		return real()->sendmmsg(fd, messages, count, flags);
	struct connection *before = begin_write(fd, flags);
	int sent = real()->sendmmsg(fd, messages, count, flags);
	struct connection *connection = end_call(before, fd);
	if (connection == NULL)
		return sent;
	for (int index = 0; index < sent; index++) {
		const struct msghdr *message = &messages[index].msg_hdr;
		exchange_sent_vector(&connection->exchange, message->msg_iov, message->msg_iovlen, messages[index].msg_len);
	}
	connection_unlock(connection);
	return sent;
}

INTERPOSED ssize_t sendfile(int fd, int file, off_t *offset, size_t length)
{
	if (connection_at(fd) == NULL)
		return real()->sendfile(fd, file, offset, length);
	struct connection *connection = begin_write(fd, 0);
	return end_unseen_write(connection, fd, real()->sendfile(fd, file, offset, length));
}

INTERPOSED ssize_t sendfile64(int fd, int file, off64_t *offset, size_t length)
{
	if (connection_at(fd) == NULL)
		return real()->sendfile64(fd, file, offset, length);
	struct connection *connection = begin_write(fd, 0);
	return end_unseen_write(connection, fd, real()->sendfile64(fd, file, offset, length));
}

INTERPOSED ssize_t splice(int from, off64_t *from_offset, int to, off64_t *to_offset, size_t length, unsigned flags)
{
	struct connection *source = connection_at(from) == NULL ? NULL : connection_lock(from);
	if (source != NULL) {
		source->exchange.stays = true;
		connection_unlock(source);
	}
	if (connection_at(to) == NULL)
		return real()->splice(from, from_offset, to, to_offset, length, flags);
	struct connection *connection = begin_write(to, 0);
	return end_unseen_write(connection, to, real()->splice(from, from_offset, to, to_offset, length, flags));
}
