#include "exchange.h"

#include <string.h>

#define REMEMBERED_METHODS 64

void exchange_begin(struct exchange *exchange)
{
	memset(exchange, 0, sizeof(*exchange));
	exchange->response.is_response = true;
}

bool exchange_is_at_boundary(const struct exchange *exchange)
{
	return !exchange->stays && exchange->request.phase == SCAN_START && exchange->response.phase == SCAN_START &&
	       exchange->answered == exchange->heads && exchange->received == exchange->heads;
}

static void request_head(struct exchange *exchange)
{
	uint64_t bit = UINT64_C(1) << (exchange->heads % REMEMBERED_METHODS);
	if (exchange->heads - exchange->answered >= REMEMBERED_METHODS)
		exchange->stays = true;
	if (exchange->request.is_head_request)
		exchange->head_methods |= bit;
	else
		exchange->head_methods &= ~bit;
	exchange->heads++;
	if (exchange->request.is_last)
		exchange->stays = true;
	if (!exchange->request.has_length && !exchange->request.is_chunked)
		scanner_no_body(&exchange->request);
}

static void response_head(struct exchange *exchange)
{
	struct scanner *response = &exchange->response;
	/* Nobody asked: such as 408 to a client that said nothing. */
	if (exchange->answered == exchange->heads || response->is_last) {
		exchange->stays = true;
		return;
	}
	bool to_head = exchange->head_methods >> (exchange->answered % REMEMBERED_METHODS) & 1;
	if (to_head || response->status < 200 || response->status == 204 || response->status == 304)
		scanner_no_body(response);
	else if (!response->has_length && !response->is_chunked)
		/* Its end is that of the connection. */
		exchange->stays = true;
}

static void response_end(struct exchange *exchange)
{
	if (exchange->response.status >= 200)
		exchange->answered++;
}

void exchange_received(struct exchange *exchange, const uint8_t *bytes, size_t length)
{
	for (size_t at = 0; !exchange->stays;) {
		size_t used;
		enum scan_event event = scan(&exchange->request, bytes + at, length - at, &used);
		at += used;
		if (exchange->request.phase == SCAN_BROKEN)
			exchange->stays = true;
		else if (event == SCAN_HEAD)
			request_head(exchange);
		else if (event == SCAN_MESSAGE)
			exchange->received++;
		else
			return;
	}
}

void exchange_sent(struct exchange *exchange, const uint8_t *bytes, size_t length)
{
	for (size_t at = 0; !exchange->stays;) {
		size_t used;
		enum scan_event event = scan(&exchange->response, bytes + at, length - at, &used);
		at += used;
		if (exchange->response.phase == SCAN_BROKEN)
			exchange->stays = true;
		else if (event == SCAN_HEAD)
			response_head(exchange);
		else if (event == SCAN_MESSAGE)
			response_end(exchange);
		else
			return;
	}
}

void exchange_sent_unseen(struct exchange *exchange, uint64_t length)
{
	enum scan_event event;
	if (exchange->stays)
		return;
	if (!scan_unseen(&exchange->response, length, &event))
		exchange->stays = true;
	else if (event == SCAN_MESSAGE)
		response_end(exchange);
}

typedef void part_function(struct exchange *, const uint8_t *, size_t);

static void each_part(struct exchange *exchange, const struct iovec *vector, size_t count, size_t length, part_function *part)
{
	for (size_t index = 0; index < count && length > 0; index++) {
		size_t here = vector[index].iov_len < length ? vector[index].iov_len : length;
		part(exchange, vector[index].iov_base, here);
		length -= here;
	}
}

void exchange_received_vector(struct exchange *exchange, const struct iovec *vector, size_t count, size_t length)
{
	each_part(exchange, vector, count, length, exchange_received);
}

void exchange_sent_vector(struct exchange *exchange, const struct iovec *vector, size_t count, size_t length)
{
	each_part(exchange, vector, count, length, exchange_sent);
}
