#include "connections.h"
#include "shim.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CONNECTIONS_IN_CHUNK 64

_Atomic(table_page *) connection_table[TABLE_PAGES];

/* Guards the free connections and the making of pages. Taken with a connection's lock held, never the other way round. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct connection *free_connections;
static _Atomic uint32_t forks;

/* Not malloc: the program may close descriptors where malloc must not be called. */
static void *allocate(size_t length)
{
	void *memory = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return memory == MAP_FAILED ? NULL : memory;
}

static _Atomic(struct connection *) *slot_of(int fd)
{
	table_page *page = atomic_load_explicit(&connection_table[fd / TABLE_PAGE], memory_order_acquire);
	return page == NULL ? NULL : &(*page)[fd % TABLE_PAGE];
}

static _Atomic(struct connection *) *make_slot(int fd)
{
	if (fd < 0 || fd >= TABLE_PAGE * TABLE_PAGES)
		return NULL;
	if (slot_of(fd) == NULL) {
		table_page *page = allocate(sizeof(table_page));
		if (page == NULL)
			return NULL;
		atomic_store_explicit(&connection_table[fd / TABLE_PAGE], page, memory_order_release);
	}
	return slot_of(fd);
}

static struct connection *take_free(void)
{
	if (free_connections == NULL) {
		struct connection *chunk = allocate(CONNECTIONS_IN_CHUNK * sizeof(*chunk));
		if (chunk == NULL)
			return NULL;
		for (int index = 0; index < CONNECTIONS_IN_CHUNK; index++) {
			pthread_mutex_init(&chunk[index].lock, NULL);
			chunk[index].fd = -1;
			chunk[index].next_free = free_connections;
			free_connections = &chunk[index];
		}
	}
	struct connection *connection = free_connections;
	free_connections = connection->next_free;
	return connection;
}

uint64_t socket_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) == 0 ? cookie : 0;
}

static void fill(struct connection *connection, int fd, uint64_t id)
{
	pthread_mutex_lock(&connection->lock);
	connection->fd = fd;
	connection->id = id;
	connection->cookie = socket_cookie(fd);
	connection->channel = 0;
	connection->is_read = connection->is_written = false;
	connection->is_watched = connection->is_recalled = connection->is_mapped = false;
	connection->ask_at = 0;
	connection->forks = connections_forks();
	connection->registration_count = 0;
	exchange_begin(&connection->exchange);
	pthread_mutex_unlock(&connection->lock);
}

struct connection *connection_add(int fd, uint64_t id)
{
	struct connection *connection = NULL;
	pthread_mutex_lock(&table_lock);
	_Atomic(struct connection *) *slot = make_slot(fd);
	if (slot != NULL)
		connection = take_free();
	pthread_mutex_unlock(&table_lock);
	if (connection == NULL)
		return NULL;
	fill(connection, fd, id);
	atomic_store_explicit(slot, connection, memory_order_release);
	return connection;
}

struct connection *connection_lock(int fd)
{
	struct connection *connection = connection_at(fd);
	if (connection == NULL || !shim_is_no_copy())
		return NULL;
	pthread_mutex_lock(&connection->lock);
	if (connection->fd == fd)
		return connection;
	pthread_mutex_unlock(&connection->lock);
	return NULL;
}

void connection_unlock(struct connection *connection)
{
	pthread_mutex_unlock(&connection->lock);
}

void connection_remove(struct connection *connection)
{
	atomic_store_explicit(slot_of(connection->fd), NULL, memory_order_release);
	connection->fd = -1;
	pthread_mutex_unlock(&connection->lock);
	pthread_mutex_lock(&table_lock);
	connection->next_free = free_connections;
	free_connections = connection;
	pthread_mutex_unlock(&table_lock);
}

uint32_t connections_forks(void)
{
	return atomic_load_explicit(&forks, memory_order_relaxed);
}

void connections_before_fork(void)
{
	pthread_mutex_lock(&table_lock);
	atomic_fetch_add_explicit(&forks, 1, memory_order_relaxed);
}

void connections_after_fork(bool is_child)
{
	if (is_child) {
		/* Other threads may have had connections locked, so that none of them can be used again. They are few when a server forks. */
		free_connections = NULL;
		for (int index = 0; index < TABLE_PAGES; index++)
			atomic_store_explicit(&connection_table[index], NULL, memory_order_relaxed);
	}
	pthread_mutex_unlock(&table_lock);
}
