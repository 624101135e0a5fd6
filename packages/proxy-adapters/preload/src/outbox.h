/* Messages on their way to an agent that is slow: a limited queue in front of a socket. */
#ifndef XOFFLOAD_OUTBOX_H
#define XOFFLOAD_OUTBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OUTBOX_LENGTH 65536

struct outbox {
	_Atomic size_t length;
	uint8_t bytes[OUTBOX_LENGTH];
};

/* Sends two parts after all that waits, or keeps them. False when there is no room, or nobody to send to. */
bool outbox_send(struct outbox *outbox, int fd, const void *first, size_t first_length, const void *second, size_t second_length);

/* Sends what the socket takes. False when there is nobody to send to. */
bool outbox_flush(struct outbox *outbox, int fd);

void outbox_clear(struct outbox *outbox);

static inline bool outbox_is_empty(const struct outbox *outbox)
{
	return atomic_load_explicit(&outbox->length, memory_order_relaxed) == 0;
}

#endif
