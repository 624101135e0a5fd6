/*
 * epoll(7): notes in which sets adopted connections are, and lets the agent wake a program that waits in one of them, so that idle
 * connections can be given back. The channel is put into a set only by a wait that passes through here, which takes its event out
 * again: the program never sees it.
 */
#include "epoll.h"

#include "boundary.h"
#include "channel.h"
#include "connections.h"
#include "real.h"
#include "shim.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

/* Sets that the channel is put into; connections in others leave when they are read next. */
#define WATCHED_SETS 16
/* More reads than a program does for what one wait has told it. Then it may wait in another way by now. */
#define READS_WITHOUT_WAIT 16

static struct {
	/* The set's descriptor plus one, 0 for none. */
	_Atomic int set;
	/* The channel that is in it. */
	_Atomic uint32_t channel;
} watched[WATCHED_SETS];

/* The channel that was in the set of the last wait. */
static _Atomic uint32_t waited;

/* Reads since that wait. */
static _Atomic unsigned reads;

/* Its address marks the channel's event. No program has it as data of its own. */
static char wake_mark;

static void watch_set(int set)
{
	for (int index = 0; index < WATCHED_SETS; index++) {
		int none = 0;
		if (atomic_load(&watched[index].set) == set + 1)
			return;
		if (atomic_compare_exchange_strong(&watched[index].set, &none, set + 1)) {
			atomic_store(&watched[index].channel, 0);
			return;
		}
	}
}

static bool note_wait(uint32_t channel)
{
	atomic_store_explicit(&reads, 0, memory_order_relaxed);
	atomic_store_explicit(&waited, channel, memory_order_relaxed);
	return true;
}

/* Whether the channel is in the set that the program is going to wait in; puts it there when it should be. */
static bool is_watched(int set)
{
	uint32_t channel = channel_number();
	if (channel == 0)
		return false;
	for (int index = 0; index < WATCHED_SETS; index++) {
		if (atomic_load_explicit(&watched[index].set, memory_order_relaxed) != set + 1)
			continue;
		if (atomic_load_explicit(&watched[index].channel, memory_order_relaxed) == channel)
			return note_wait(channel);
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &wake_mark};
		int saved = errno;
		bool added = real()->epoll_ctl(set, EPOLL_CTL_ADD, channel_descriptor(), &event) == 0 || errno == EEXIST;
		errno = saved;
		/* The number is another file's by now. */
		if (!added)
			atomic_store(&watched[index].set, 0);
		else
			atomic_store(&watched[index].channel, channel);
		return added && note_wait(channel);
	}
	return false;
}

static void note(struct connection *connection, int set, int operation, const struct epoll_event *event)
{
	int index = 0;
	while (index < connection->registration_count && connection->registrations[index].set != set)
		index++;
	bool is_known = index < connection->registration_count;
	if (operation == EPOLL_CTL_DEL) {
		if (is_known)
			connection->registrations[index] = connection->registrations[--connection->registration_count];
	} else if (!is_known && index == MAXIMUM_REGISTRATIONS) {
		connection->exchange.stays = true;
	} else {
		connection->registrations[index] = (struct epoll_registration){.set = set, .event = *event};
		if (!is_known)
			connection->registration_count++;
	}
}

INTERPOSED int epoll_ctl(int set, int operation, int fd, struct epoll_event *event)
{
	int result = real()->epoll_ctl(set, operation, fd, event);
	if (result < 0 || connection_at(fd) == NULL)
		return result;
	struct connection *connection = connection_lock(fd);
	if (connection == NULL)
		return result;
	note(connection, set, operation, event);
	connection_unlock(connection);
	watch_set(set);
	return result;
}

bool epoll_obeys_orders(void)
{
	if (atomic_load_explicit(&waited, memory_order_relaxed) != channel_number())
		return false;
	if (atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed) < READS_WITHOUT_WAIT)
		return true;
	atomic_store_explicit(&reads, 0, memory_order_relaxed);
	return false;
}

/* Takes the channel's event out of what a wait gave. */
static int without_wake(struct epoll_event *events, int count, bool *woken)
{
	int kept = 0;
	for (int index = 0; index < count; index++) {
		if (events[index].data.ptr == &wake_mark)
			*woken = true;
		else
			events[kept++] = events[index];
	}
	return kept;
}

struct wait {
	int set;
	struct epoll_event *events;
	int maximum;
	const sigset_t *signals;
	/* Microseconds that it waits for; UINT64_MAX: without end. */
	uint64_t limit;
	int (*once)(const struct wait *wait, uint64_t left);
};

static uint64_t deadline_after(uint64_t limit)
{
	return limit == UINT64_MAX ? UINT64_MAX : now_microseconds() + limit;
}

static uint64_t left_until(uint64_t deadline)
{
	if (deadline == UINT64_MAX)
		return UINT64_MAX;
	uint64_t now = now_microseconds();
	return deadline > now ? deadline - now : 0;
}

/* Waits as the program asked, but that orders are obeyed in between. */
static int wait_and_obey(const struct wait *wait)
{
	uint64_t deadline = deadline_after(wait->limit), left = wait->limit;
	channel_flush();
	if (channel_has_orders())
		boundary_obey_orders();
	for (;;) {
		int count = wait->once(wait, left);
		bool woken = false;
		if (count > 0)
			count = without_wake(wait->events, count, &woken);
		if (!woken)
			return count;
		boundary_obey_orders();
		if (count > 0 || left == 0)
			return count;
		left = left_until(deadline);
	}
}

static int milliseconds_of(uint64_t left)
{
	if (left == UINT64_MAX)
		return -1;
	/* Rounded up: a wait is not shorter than asked for. */
	return (int)((left + 999) / 1000);
}

static int wait_once(const struct wait *wait, uint64_t left)
{
	return real()->epoll_wait(wait->set, wait->events, wait->maximum, milliseconds_of(left));
}

static int pwait_once(const struct wait *wait, uint64_t left)
{
	return real()->epoll_pwait(wait->set, wait->events, wait->maximum, milliseconds_of(left), wait->signals);
}

static struct timespec timespec_of(uint64_t left)
{
	return (struct timespec){.tv_sec = (time_t)(left / 1000000), .tv_nsec = (long)(left % 1000000 * 1000)};
}

static int pwait2_once(const struct wait *wait, uint64_t left)
{
	const struct timespec timeout = timespec_of(left);
	return real()->epoll_pwait2(wait->set, wait->events, wait->maximum, left == UINT64_MAX ? NULL : &timeout, wait->signals);
}

static uint64_t limit_of_timespec(const struct timespec *timeout)
{
	return timeout == NULL ? UINT64_MAX : (uint64_t)timeout->tv_sec * 1000000 + (uint64_t)timeout->tv_nsec / 1000;
}

static uint64_t limit_of(int milliseconds)
{
	return milliseconds < 0 ? UINT64_MAX : (uint64_t)milliseconds * 1000;
}

INTERPOSED int epoll_wait(int set, struct epoll_event *events, int maximum, int timeout)
{
	if (!is_watched(set))
		return real()->epoll_wait(set, events, maximum, timeout);
	const struct wait wait = {set, events, maximum, NULL, limit_of(timeout), wait_once};
	return wait_and_obey(&wait);
}

INTERPOSED int epoll_pwait(int set, struct epoll_event *events, int maximum, int timeout, const sigset_t *signals)
{
	if (!is_watched(set))
		return real()->epoll_pwait(set, events, maximum, timeout, signals);
	const struct wait wait = {set, events, maximum, signals, limit_of(timeout), pwait_once};
	return wait_and_obey(&wait);
}

INTERPOSED int epoll_pwait2(int set, struct epoll_event *events, int maximum, const struct timespec *timeout, const sigset_t *signals)
{
	if (real()->epoll_pwait2 == NULL) {
		errno = ENOSYS;
		return -1;
	}
	if (!is_watched(set))
		return real()->epoll_pwait2(set, events, maximum, timeout, signals);
	const struct wait wait = {set, events, maximum, signals, limit_of_timespec(timeout), pwait2_once};
	return wait_and_obey(&wait);
}
