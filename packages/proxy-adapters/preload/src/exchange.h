/* Requests that came and responses that went on one connection: whether it stands between two of them. */
#ifndef XOFFLOAD_EXCHANGE_H
#define XOFFLOAD_EXCHANGE_H

#include "http.h"

#include <sys/uio.h>

struct exchange {
	struct scanner request;
	struct scanner response;
	/* Requests whose heads have come; requests that have come to their end; final responses that have gone. */
	uint32_t heads;
	uint32_t received;
	uint32_t answered;
	/* Of the last 64 requests: bit N is set when the method of request N modulo 64 was HEAD. */
	uint64_t head_methods;
	/* The connection must stay: it is not understood, or it has been told to end. */
	bool stays;
};

void exchange_begin(struct exchange *exchange);

/* The server program has read, or written, these bytes. */
void exchange_received(struct exchange *exchange, const uint8_t *bytes, size_t length);
void exchange_sent(struct exchange *exchange, const uint8_t *bytes, size_t length);

/* The same for the first `length` bytes of a vector. */
void exchange_received_vector(struct exchange *exchange, const struct iovec *vector, size_t count, size_t length);
void exchange_sent_vector(struct exchange *exchange, const struct iovec *vector, size_t count, size_t length);

/* The kernel has sent these bytes out of a file. */
void exchange_sent_unseen(struct exchange *exchange, uint64_t length);

/* Whether all that was asked is answered, and nothing of the next request has been read. */
bool exchange_is_at_boundary(const struct exchange *exchange);

#endif
