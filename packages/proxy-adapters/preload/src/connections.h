/* The adopted connections of this process, by descriptor. */
#ifndef XOFFLOAD_CONNECTIONS_H
#define XOFFLOAD_CONNECTIONS_H

#include "exchange.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

/* More epoll sets than a program has for one connection. */
#define MAXIMUM_REGISTRATIONS 2

struct epoll_registration {
	int set;
	struct epoll_event event;
};

struct connection {
	/* Guards all that follows. The memory of a connection is never given back to the system: who finds one may lock it. */
	pthread_mutex_t lock;
	/* -1: it is no connection any more. */
	int fd;
	/* The agent's number for it. */
	uint64_t id;
	/* The kernel's number of the socket (SO_COOKIE): a descriptor that was closed unseen may be another file by now. */
	uint64_t cookie;
	/* The channel over which it was adopted. */
	uint32_t channel;
	/* Calls that are under way, perhaps in other threads. */
	bool is_read;
	bool is_written;
	/* The agent is asked at boundaries. */
	bool is_watched;
	/* The agent wants it at the next boundary. */
	bool is_recalled;
	/* The listener is IPv6 and the connection IPv4: addresses are shown as IPv6 ones. */
	bool is_mapped;
	/* The agent is not asked before so many requests have come. */
	uint32_t ask_at;
	/* How often this process had forked by then: a child of a later fork(2) has the descriptor, too. */
	uint32_t forks;
	uint8_t registration_count;
	struct epoll_registration registrations[MAXIMUM_REGISTRATIONS];
	struct exchange exchange;
	struct connection *next_free;
};

/* Root of the table: a million descriptors. */
#define TABLE_PAGE 1024
#define TABLE_PAGES 1024

typedef _Atomic(struct connection *) table_page[TABLE_PAGE];
extern _Atomic(table_page *) connection_table[TABLE_PAGES];

/* For each call on each descriptor: the connection it may be of. Only connection_lock tells whether it is. */
static inline struct connection *connection_at(int fd)
{
	unsigned index = (unsigned)fd;
	if (index >= TABLE_PAGE * TABLE_PAGES)
		return NULL;
	table_page *page = atomic_load_explicit(&connection_table[index / TABLE_PAGE], memory_order_acquire);
	return page == NULL ? NULL : atomic_load_explicit(&(*page)[index % TABLE_PAGE], memory_order_acquire);
}

/* Locks the connection of a descriptor. NULL when it has none. */
struct connection *connection_lock(int fd);
void connection_unlock(struct connection *connection);

/* A new connection, not locked. NULL when there is no memory or the descriptor is too large. */
struct connection *connection_add(int fd, uint64_t id);

/* Takes a locked connection out of the table. Afterwards it is unlocked and not to be used. */
void connection_remove(struct connection *connection);

/* SO_COOKIE, 0 when there is none. */
uint64_t socket_cookie(int fd);

/* fork(2): no other thread may be in the table, and the child starts with an empty one. */
void connections_before_fork(void);
void connections_after_fork(bool is_child);

/* How often this process has forked. */
uint32_t connections_forks(void);

#endif
