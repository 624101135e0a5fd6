/* What the shim knows of its process. */
#include "channel.h"
#include "connections.h"
#include "real.h"
#include "shim.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The name of the environment variable with the path of the agent's socket; without it the shim does nothing. */
#define AGENT_VARIABLE "XOFFLOAD_PRELOAD"
/* That of a variable with the number of the agent's user. Without it the agent is root, or of the user who started this process. */
#define USER_VARIABLE "XOFFLOAD_PRELOAD_USER"

/* sizeof(sun_path) (unix(7)). */
#define PATH_LENGTH 108

static char agent_path[PATH_LENGTH];
static uid_t trusted_user;
static _Atomic pid_t process;
static atomic_bool active;
/* In a page that the kernel clears in every child with a memory of its own (MADV_WIPEONFORK, Linux 4.14). */
static uint8_t *mark;

bool shim_is_active(void)
{
	return atomic_load_explicit(&active, memory_order_acquire);
}

const char *shim_agent_path(void)
{
	return agent_path;
}

unsigned shim_trusted_user(void)
{
	return trusted_user;
}

bool shim_owns_memory(void)
{
	return atomic_load_explicit(&process, memory_order_relaxed) == getpid();
}

bool shim_is_no_copy(void)
{
	return mark == NULL ? shim_owns_memory() : *mark != 0;
}

static void make_mark(void)
{
	size_t length = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *page = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return;
	if (madvise(page, length, MADV_WIPEONFORK) < 0) {
		munmap(page, length);
		return;
	}
	*page = 1;
	mark = page;
}

static void before_fork(void)
{
	channel_before_fork();
	connections_before_fork();
}

static void after_fork_in_parent(void)
{
	connections_after_fork(false);
	channel_after_fork(false);
}

static void after_fork_in_child(void)
{
	atomic_store_explicit(&process, getpid(), memory_order_relaxed);
	if (mark != NULL)
		*mark = 1;
	connections_after_fork(true);
	channel_after_fork(true);
}

static uid_t user_in_environment(void)
{
	const char *text = getenv(USER_VARIABLE);
	char *end;
	if (text == NULL || text[0] == '\0')
		return getuid();
	unsigned long user = strtoul(text, &end, 10);
	return *end == '\0' && user < UINT_MAX ? (uid_t)user : getuid();
}

__attribute__((constructor)) static void start(void)
{
	find_real_functions();
	const char *path = getenv(AGENT_VARIABLE);
	if (path == NULL || path[0] == '\0' || strlen(path) >= sizeof(agent_path))
		return;
	strcpy(agent_path, path);
	trusted_user = user_in_environment();
	atomic_store_explicit(&process, getpid(), memory_order_relaxed);
	make_mark();
	if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0)
		atomic_store_explicit(&active, true, memory_order_release);
}
