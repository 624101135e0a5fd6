/* Unix sockets that carry descriptors (unix(7)). */
#ifndef XOFFLOAD_UNIX_SOCKET_H
#define XOFFLOAD_UNIX_SOCKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* Connects without waiting. -1 when nobody listens, or somebody who is neither root nor `user`. */
int connect_to_agent(const char *path, unsigned user);

/* Waits until the deadline (CLOCK_MONOTONIC, microseconds) for something to read. */
bool wait_readable(int fd, uint64_t deadline);

/*
 * Receives one message and at most `maximum` descriptors; those that did not come are -1, and more than these are closed. Waits until the
 * deadline, 0: not at all. Returns the length, -1 for nothing.
 */
ssize_t receive_with_descriptors(int fd, void *bytes, size_t length, int *fds, unsigned maximum, bool close_on_exec, uint64_t deadline);

/* Sends one message with one descriptor, without waiting. */
bool send_with_descriptor(int fd, const void *bytes, size_t length, int sent);

/* Gives a descriptor a higher number when there is one: the lower ones are the program's. */
int out_of_the_way(int fd);

#endif
