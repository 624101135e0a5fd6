#include "channel-state.h"

#include "real.h"
#include "shim.h"
#include "unix-socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define LAST_ASK_PAUSE_MICROSECONDS 5000000

enum incoming { INCOMING_NONE, INCOMING_ORDER, INCOMING_VERDICT };

/* Reads at most one message. What the agent may not say costs the channel. */
static enum incoming receive_message(void)
{
	while (channel.fd >= 0 && channel.incoming_length < sizeof(channel.incoming)) {
		uint8_t *at = (uint8_t *)&channel.incoming + channel.incoming_length;
		ssize_t length = real()->recv(channel.fd, at, sizeof(channel.incoming) - channel.incoming_length, MSG_DONTWAIT);
		if (length > 0) {
			channel.incoming_length += (size_t)length;
			continue;
		}
		if (length == 0 || (errno != EAGAIN && errno != EINTR))
			channel_drop();
		return INCOMING_NONE;
	}
	if (channel.fd < 0)
		return INCOMING_NONE;
	channel.incoming_length = 0;
	switch (channel.incoming.type) {
	case MESSAGE_RECALL:
	case MESSAGE_END:
		return INCOMING_ORDER;
	case MESSAGE_VERDICT:
		return INCOMING_VERDICT;
	default:
		channel_drop();
		return INCOMING_NONE;
	}
}

static bool wait_for_verdict(uint32_t question, uint64_t deadline, struct agent_message *verdict)
{
	while (channel.order_count < ORDERS) {
		switch (receive_message()) {
		case INCOMING_ORDER:
			channel.orders[channel.order_count++] = channel.incoming;
			break;
		case INCOMING_VERDICT:
			/* Another one comes too late. */
			if (channel.incoming.value != question)
				break;
			*verdict = channel.incoming;
			return true;
		case INCOMING_NONE:
			if (channel.fd < 0 || !wait_readable(channel.fd, deadline))
				return false;
		}
		if (now_microseconds() >= deadline)
			return false;
	}
	return false;
}

bool channel_ask(uint32_t number, uint64_t connection, uint32_t requests, const uint8_t *head, size_t length,
		 struct agent_message *verdict)
{
	bool answered = false;
	pthread_mutex_lock(&channel.lock);
	uint64_t now = now_microseconds();
	if (number != 0 && number == channel_number() && now >= channel.ask_after) {
		uint32_t question = ++channel.question;
		answered = channel_send(MESSAGE_ASK, connection, question, requests, head, length) &&
			   wait_for_verdict(question, now + channel.ask_microseconds, verdict);
		if (answered) {
			channel.ask_pause = FIRST_ASK_PAUSE_MICROSECONDS;
		} else {
			channel.ask_after = now_microseconds() + channel.ask_pause;
			if (channel.ask_pause < LAST_ASK_PAUSE_MICROSECONDS)
				channel.ask_pause *= 2;
		}
	}
	pthread_mutex_unlock(&channel.lock);
	return answered;
}

bool channel_next_order(struct agent_message *order, uint32_t *number)
{
	bool found = false;
	pthread_mutex_lock(&channel.lock);
	*number = channel_number();
	if (channel.order_count > 0) {
		*order = channel.orders[0];
		channel.order_count--;
		memmove(channel.orders, channel.orders + 1, channel.order_count * sizeof(*order));
		found = true;
	} else if (channel.fd >= 0) {
		enum incoming incoming;
		/* A verdict that nobody waits for any more. */
		while ((incoming = receive_message()) == INCOMING_VERDICT)
			;
		if (incoming == INCOMING_ORDER)
			*order = channel.incoming;
		found = incoming == INCOMING_ORDER;
	}
	pthread_mutex_unlock(&channel.lock);
	return found;
}

bool channel_has_orders(void)
{
	return atomic_load_explicit(&channel.order_count, memory_order_relaxed) > 0;
}
