/* What channel.c, which makes and ends the channel, and channel-words.c, which hears the agent, share. */
#ifndef XOFFLOAD_CHANNEL_STATE_H
#define XOFFLOAD_CHANNEL_STATE_H

#include "channel.h"

#include "outbox.h"

#include <pthread.h>
#include <stdatomic.h>

/* An agent that did not answer in time is not asked for a while, doubled each time. */
#define FIRST_ASK_PAUSE_MICROSECONDS 20000
/* Orders that came while a verdict was waited for. With as many, the rest stays in the socket. */
#define ORDERS 32

struct channel {
	pthread_mutex_t lock;
	/* All three are -1, or none is. Changed with the lock held, looked at without it. */
	_Atomic int fd;
	_Atomic int mailbox;
	_Atomic int return_socket;
	_Atomic uint32_t number;
	uint32_t last_number;
	uint8_t secret[SECRET_LENGTH];
	uint32_t ask_microseconds;
	uint32_t question;
	uint64_t connect_after;
	uint64_t reconnect_pause;
	uint64_t ask_after;
	uint64_t ask_pause;
	/* A message of the agent that has not come as a whole. */
	struct agent_message incoming;
	size_t incoming_length;
	struct agent_message orders[ORDERS];
	_Atomic unsigned order_count;
};

extern struct channel channel;
/* Not among the rest, which is not zero at first: it would be in the file. */
extern struct outbox channel_outbox;

/* Both with the lock held. */
void channel_drop(void);
bool channel_send(enum message_type type, uint64_t connection, uint32_t value, uint32_t requests, const void *payload, size_t length);

#endif
