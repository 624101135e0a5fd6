#include "give-back.h"

#include "channel.h"
#include "real.h"

#include <fcntl.h>
#include <unistd.h>

/* A socket whose other end is closed: whoever reads finds the end, and whatever is done to it reaches nobody. */
static int ended_stream(void)
{
	int pair[2];
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	real()->close(pair[1]);
	return pair[0];
}

/*
 * An epoll set keeps a socket as long as it is open anywhere, and the agent has it open from now on. So it is taken out while its
 * descriptor is still its own.
 */
static void leave_sets(const struct connection *connection)
{
	for (int index = 0; index < connection->registration_count; index++)
		real()->epoll_ctl(connection->registrations[index].set, EPOLL_CTL_DEL, connection->fd, NULL);
}

static void enter_sets(const struct connection *connection)
{
	for (int index = 0; index < connection->registration_count; index++) {
		struct epoll_event event = connection->registrations[index].event;
		real()->epoll_ctl(connection->registrations[index].set, EPOLL_CTL_ADD, connection->fd, &event);
	}
}

/* Puts the other socket under the connection's descriptor, which keeps its flags. */
static bool replace(int fd, int by)
{
	int flags = real()->fcntl(fd, F_GETFL), descriptor_flags = real()->fcntl(fd, F_GETFD);
	if (flags < 0 || descriptor_flags < 0 || real()->fcntl(by, F_SETFL, flags & O_NONBLOCK) < 0)
		return false;
	return real()->dup3(by, fd, (descriptor_flags & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0) >= 0;
}

bool give_back(struct connection *connection)
{
	int fd = connection->fd;
	int ended = ended_stream();
	if (ended < 0)
		return false;
	/* What can fail comes before the agent has the socket: two owners would be worse than none. */
	int kept = real()->fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (kept < 0) {
		real()->close(ended);
		return false;
	}
	leave_sets(connection);
	bool given = replace(fd, ended) && channel_return(connection->channel, connection->id, kept);
	if (!given)
		real()->dup3(kept, fd, (real()->fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0 ? O_CLOEXEC : 0);
	enter_sets(connection);
	real()->close(kept);
	real()->close(ended);
	if (!given)
		return false;
	uint32_t channel = connection->channel, requests = connection->exchange.received;
	uint64_t id = connection->id;
	connection_remove(connection);
	channel_tell(channel, MESSAGE_RETURNED, id, (uint32_t)fd, requests);
	return true;
}
