#include "boundary.h"

#include "channel.h"
#include "give-back.h"
#include "real.h"
#include "remembered.h"
#include "shim.h"

#include <string.h>
#include <sys/socket.h>

/* Enough of one drain: the program has other things to do, too. */
#define ORDERS_AT_ONCE 256

static bool may_leave(const struct connection *connection)
{
	return exchange_is_at_boundary(&connection->exchange) && !connection->is_read && !connection->is_written && connection->channel != 0 &&
	       connection->channel == channel_number() && connection->forks == connections_forks() &&
	       socket_cookie(connection->fd) == connection->cookie;
}

/* The length of the request head at the start of `bytes`, 0 when it is not complete. */
static size_t head_length(const uint8_t *bytes, size_t length)
{
	const uint8_t *end = memmem(bytes, length, "\r\n\r\n", 4);
	return end == NULL ? 0 : (size_t)(end - bytes) + 4;
}

/* Whether the agent wants the connection before the request that is next is read. */
static bool agent_wants(struct connection *connection)
{
	uint8_t head[MAXIMUM_HEAD_LENGTH];
	ssize_t peeked = real()->recv(connection->fd, head, sizeof(head), MSG_PEEK | MSG_DONTWAIT);
	size_t length = peeked > 0 ? head_length(head, (size_t)peeked) : 0;
	/* A head that comes in parts, or the end of the stream: that is the program's. */
	if (length == 0 || is_remembered(head, length))
		return false;
	struct agent_message verdict;
	uint32_t requests = connection->exchange.received;
	if (!channel_ask(connection->channel, connection->id, requests, head, length, &verdict))
		return false;
	if (verdict.argument == VERDICT_RETURN)
		return true;
	uint32_t next = requests + 1 + verdict.requests;
	connection->ask_at = next > requests ? next : UINT32_MAX;
	if (verdict.milliseconds > 0)
		remember(head, length, verdict.milliseconds);
	return false;
}

bool boundary_before_read(struct connection *connection)
{
	if (!connection->is_watched && !connection->is_recalled)
		return false;
	if (!connection->is_recalled && connection->exchange.received < connection->ask_at)
		return false;
	if (!may_leave(connection) || (!connection->is_recalled && !agent_wants(connection)))
		return false;
	return give_back(connection);
}

static void obey(const struct agent_message *order, uint32_t channel)
{
	struct connection *connection = connection_lock((int)order->value);
	if (connection == NULL)
		return;
	bool is_meant = connection->id == order->connection && connection->channel == channel;
	if (is_meant && order->type == MESSAGE_END && socket_cookie(connection->fd) == connection->cookie) {
		connection->exchange.stays = true;
		real()->shutdown(connection->fd, SHUT_RDWR);
	} else if (is_meant && order->type == MESSAGE_RECALL) {
		connection->is_recalled = order->argument != 0;
		if (connection->is_recalled && may_leave(connection) && give_back(connection))
			return;
	}
	connection_unlock(connection);
}

void boundary_obey_orders(void)
{
	struct agent_message order;
	uint32_t channel;
	for (int count = 0; count < ORDERS_AT_ONCE && channel_next_order(&order, &channel); count++)
		obey(&order, channel);
}
