/*
 * The connection of this process to the agent. No call waits longer than its limit says; whatever is wrong with the agent costs the
 * channel, and nothing else.
 */
#ifndef XOFFLOAD_CHANNEL_H
#define XOFFLOAD_CHANNEL_H

#include "protocol.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Which channel it is, 0 for none: another one after each reconnect. */
uint32_t channel_number(void);

/* Whether the agent sent this knock. Connects when there is no channel, or when the secret is another agent's. */
bool channel_knows_knock(const struct knock *knock);

/* Takes an item out of the mailbox. False when there is none; `fd` is -1 when its descriptor did not arrive. */
bool channel_take_item(struct mailbox_item *item, int *fd, bool close_on_exec);

/* Tells the agent. Never waits: when the agent does not read, the channel is given up. */
void channel_tell(uint32_t channel, enum message_type type, uint64_t connection, uint32_t value, uint32_t requests);

/* Asks about the request that begins with these bytes, and waits for the answer. False when there is none in time. */
bool channel_ask(uint32_t channel, uint64_t connection, uint32_t requests, const uint8_t *head, size_t length,
		 struct agent_message *verdict);

/* Puts a connection's descriptor into the return socket. The caller tells the agent. */
bool channel_return(uint32_t channel, uint64_t connection, int fd);

/* The next RECALL or END that has come, without waiting. */
bool channel_next_order(struct agent_message *order, uint32_t *channel);

/* Whether some came while a verdict was waited for. They are not in the socket any more, and wake nobody. */
bool channel_has_orders(void);

/* Sends what the agent was too slow for. */
void channel_flush(void);

/* The descriptor that can be read when there are orders; -1 without a channel. */
int channel_descriptor(void);

/* The program closes descriptors in this range. When one of them is the channel's, the channel is over. */
void channel_forget_descriptors(unsigned first, unsigned last);

void channel_before_fork(void);
void channel_after_fork(bool is_child);

#endif
