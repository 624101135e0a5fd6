/* What every file of the shim uses. */
#ifndef XOFFLOAD_SHIM_H
#define XOFFLOAD_SHIM_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

/* The functions that take the place of the C library's; everything else is hidden (-fvisibility=hidden). */
#define INTERPOSED __attribute__((visibility("default")))

/* Whether the shim has anything to do in this process: where the agent is was told in the environment. */
bool shim_is_active(void);

/* The path of the agent's socket. */
const char *shim_agent_path(void);

/* The user, besides root, as whom an agent may run. */
unsigned shim_trusted_user(void);

/* Whether this is the process that the shim's state belongs to. A child of vfork(2) has the same memory, and must not change it. */
bool shim_owns_memory(void);

/*
 * The same without a system call, for every read and write: false in a child whose fork(2) was not seen, which has a copy of its parent's state. True
 * in a child of vfork(2), which may not read or write; it may close descriptors.
 */
bool shim_is_no_copy(void);

static inline uint64_t now_microseconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

#endif
