#include "unix-socket.h"

#include "real.h"
#include "shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

/* Programs that close what they inherited, or that use select(2), look at low numbers. */
#define LOWEST_OWN_DESCRIPTOR 512
/* One recvmsg may bring more than is wanted: an attacker's, which are closed. */
#define MOST_DESCRIPTORS 4

int out_of_the_way(int fd)
{
	int moved = real()->fcntl(fd, F_DUPFD_CLOEXEC, LOWEST_OWN_DESCRIPTOR);
	if (moved < 0)
		return fd;
	real()->close(fd);
	return moved;
}

static bool is_trusted(int fd, unsigned user)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && (peer.uid == 0 || peer.uid == user);
}

int connect_to_agent(const char *path, unsigned user)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	size_t length = strlen(path);
	if (length >= sizeof(address.sun_path))
		return -1;
	memcpy(address.sun_path, path, length);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 && is_trusted(fd, user))
		return out_of_the_way(fd);
	real()->close(fd);
	return -1;
}

bool wait_readable(int fd, uint64_t deadline)
{
	struct pollfd waiting = {.fd = fd, .events = POLLIN};
	for (;;) {
		uint64_t now = now_microseconds();
		if (now >= deadline)
			return false;
		struct timespec left = {.tv_sec = (time_t)((deadline - now) / 1000000),
					.tv_nsec = (long)((deadline - now) % 1000000 * 1000)};
		int count = ppoll(&waiting, 1, &left, NULL);
		if (count > 0)
			return true;
		if (count < 0 && errno != EINTR)
			return false;
	}
}

/* Keeps the first descriptors of a message, and closes the others. */
static void take_descriptors(struct msghdr *message, int *fds, unsigned maximum)
{
	unsigned taken = 0;
	for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL; control = CMSG_NXTHDR(message, control)) {
		if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
			continue;
		size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t index = 0; index < count; index++) {
			int fd;
			memcpy(&fd, CMSG_DATA(control) + index * sizeof(int), sizeof(fd));
			if (taken < maximum)
				fds[taken++] = fd;
			else
				real()->close(fd);
		}
	}
}

ssize_t receive_with_descriptors(int fd, void *bytes, size_t length, int *fds, unsigned maximum, bool close_on_exec, uint64_t deadline)
{
	_Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))] = {0};
	struct iovec part = {.iov_base = bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
	for (;;) {
		ssize_t received = real()->recvmsg(fd, &message, MSG_DONTWAIT | (close_on_exec ? MSG_CMSG_CLOEXEC : 0));
		if (received >= 0) {
			take_descriptors(&message, fds, maximum);
			return received;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN || !wait_readable(fd, deadline))
			return -1;
	}
}

bool send_with_descriptor(int fd, const void *bytes, size_t length, int sent)
{
	_Alignas(struct cmsghdr) uint8_t space[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec part = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = length};
	struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = space, .msg_controllen = sizeof(space)};
	struct cmsghdr *control = CMSG_FIRSTHDR(&message);
	control->cmsg_level = SOL_SOCKET;
	control->cmsg_type = SCM_RIGHTS;
	control->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(control), &sent, sizeof(int));
	ssize_t count;
	do
		count = real()->sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (count < 0 && errno == EINTR);
	return count == (ssize_t)length;
}
