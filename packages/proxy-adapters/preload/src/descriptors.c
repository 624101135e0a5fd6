/* What the program does with descriptors, as far as it ends a connection or makes it stay. */
#include "descriptors.h"

#include "channel.h"
#include "connections.h"
#include "real.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <unistd.h>

/* What a child of vfork(2) does with its descriptors is nothing to its parent, whose memory this is. */
static struct connection *lock_if_owned(int fd)
{
	return connection_at(fd) == NULL || !shim_owns_memory() ? NULL : connection_lock(fd);
}

void forget_descriptor(int fd)
{
	struct connection *connection = lock_if_owned(fd);
	if (connection == NULL)
		return;
	int saved = errno;
	uint32_t channel = connection->channel, requests = connection->exchange.received;
	uint64_t id = connection->id;
	connection_remove(connection);
	channel_tell(channel, MESSAGE_CLOSED, id, (uint32_t)fd, requests);
	errno = saved;
}

static void forget_range(unsigned first, unsigned last)
{
	channel_forget_descriptors(first, last);
	for (unsigned page = first / TABLE_PAGE; page < TABLE_PAGES && page <= last / TABLE_PAGE; page++) {
		if (atomic_load_explicit(&connection_table[page], memory_order_acquire) == NULL)
			continue;
		for (unsigned fd = page * TABLE_PAGE; fd < (page + 1) * TABLE_PAGE; fd++)
			if (fd >= first && fd <= last)
				forget_descriptor((int)fd);
	}
}

/* The connection has another descriptor, or was told to end: it cannot leave. */
static void make_stay(int fd)
{
	struct connection *connection = lock_if_owned(fd);
	if (connection == NULL)
		return;
	connection->exchange.stays = true;
	connection_unlock(connection);
}

INTERPOSED int close(int fd)
{
	forget_descriptor(fd);
	if (fd >= 0)
		channel_forget_descriptors((unsigned)fd, (unsigned)fd);
	return real()->close(fd);
}

INTERPOSED int close_range(unsigned first, unsigned last, int flags)
{
	/* What is only marked to be closed at exec stays open. */
	if (shim_is_active() && flags == 0 && first <= last)
		forget_range(first, last);
	if (real()->close_range != NULL)
		return real()->close_range(first, last, flags);
	errno = ENOSYS;
	return -1;
}

INTERPOSED void closefrom(int first)
{
	if (shim_is_active())
		forget_range(first < 0 ? 0 : (unsigned)first, UINT_MAX);
	if (real()->closefrom != NULL)
		real()->closefrom(first);
}

INTERPOSED int shutdown(int fd, int how)
{
	make_stay(fd);
	return real()->shutdown(fd, how);
}

INTERPOSED int dup(int fd)
{
	make_stay(fd);
	return real()->dup(fd);
}

/* `to` is closed by the way. */
static void before_dup(int fd, int to)
{
	make_stay(fd);
	if (fd == to || to < 0)
		return;
	forget_descriptor(to);
	channel_forget_descriptors((unsigned)to, (unsigned)to);
}

INTERPOSED int dup2(int fd, int to)
{
	before_dup(fd, to);
	return real()->dup2(fd, to);
}

INTERPOSED int dup3(int fd, int to, int flags)
{
	before_dup(fd, to);
	return real()->dup3(fd, to, flags);
}

static void before_fcntl(int fd, int command)
{
	if (command == F_DUPFD || command == F_DUPFD_CLOEXEC)
		make_stay(fd);
}

/* Every argument that a command may have is passed in one register. */
INTERPOSED int fcntl(int fd, int command, ...)
{
	va_list arguments;
	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	before_fcntl(fd, command);
	return real()->fcntl(fd, command, argument);
}

/* What programs with large file offsets call (glibc 2.28). */
INTERPOSED int fcntl64(int fd, int command, ...);
INTERPOSED int fcntl64(int fd, int command, ...)
{
	va_list arguments;
	va_start(arguments, command);
	void *argument = va_arg(arguments, void *);
	va_end(arguments);
	before_fcntl(fd, command);
	return (real()->fcntl64 != NULL ? real()->fcntl64 : real()->fcntl)(fd, command, argument);
}
