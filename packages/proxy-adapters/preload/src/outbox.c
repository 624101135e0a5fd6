#include "outbox.h"

#include "real.h"

#include <errno.h>
#include <string.h>

static size_t length_of(const struct outbox *outbox)
{
	return atomic_load_explicit(&outbox->length, memory_order_relaxed);
}

static void set_length(struct outbox *outbox, size_t length)
{
	atomic_store_explicit(&outbox->length, length, memory_order_relaxed);
}

static bool append(struct outbox *outbox, const void *bytes, size_t length)
{
	size_t at = length_of(outbox);
	if (length > OUTBOX_LENGTH - at)
		return false;
	if (length > 0)
		memcpy(outbox->bytes + at, bytes, length);
	set_length(outbox, at + length);
	return true;
}

void outbox_clear(struct outbox *outbox)
{
	set_length(outbox, 0);
}

bool outbox_flush(struct outbox *outbox, int fd)
{
	size_t length = length_of(outbox), sent = 0;
	while (sent < length) {
		ssize_t count = real()->send(fd, outbox->bytes + sent, length - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (count < 0 && errno == EINTR)
			continue;
		if (count < 0 && errno != EAGAIN)
			return false;
		if (count < 0)
			break;
		sent += (size_t)count;
	}
	memmove(outbox->bytes, outbox->bytes + sent, length - sent);
	set_length(outbox, length - sent);
	return true;
}

bool outbox_send(struct outbox *outbox, int fd, const void *first, size_t first_length, const void *second, size_t second_length)
{
	if (second_length > OUTBOX_LENGTH || first_length > OUTBOX_LENGTH - second_length)
		return false;
	/* Room for both, or for none: half a message would be read as the beginning of another one. */
	if (length_of(outbox) > OUTBOX_LENGTH - first_length - second_length && !outbox_flush(outbox, fd))
		return false;
	return length_of(outbox) <= OUTBOX_LENGTH - first_length - second_length && append(outbox, first, first_length) &&
	       append(outbox, second, second_length) && outbox_flush(outbox, fd);
}
