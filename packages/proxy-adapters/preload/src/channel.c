#include "channel.h"

#include "outbox.h"
#include "real.h"
#include "shim.h"
#include "unix-socket.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* An agent that listens answers at once. */
#define WELCOME_MICROSECONDS 50000
/* Between two attempts to connect, doubled after each that failed. */
#define FIRST_RECONNECT_MICROSECONDS 100000
#define LAST_RECONNECT_MICROSECONDS 8000000
/* No verdict is waited for longer, whatever the agent says. */
#define LONGEST_ASK_MICROSECONDS 1000000
/* An agent that did not answer in time is not asked for a while, doubled each time. */
#define FIRST_PAUSE_MICROSECONDS 20000
#define LAST_PAUSE_MICROSECONDS 5000000
/* Orders that came while a verdict was waited for. With as many, the rest stays in the socket. */
#define ORDERS 32

static struct {
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
	unsigned order_count;
} channel = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.fd = -1,
	.mailbox = -1,
	.return_socket = -1,
	.reconnect_pause = FIRST_RECONNECT_MICROSECONDS,
	.ask_pause = FIRST_PAUSE_MICROSECONDS,
};

/* Not among the rest, which is not zero at first: it would be in the file. */
static struct outbox outbox;

static void close_if_open(int fd)
{
	if (fd >= 0)
		real()->close(fd);
}

static void drop_channel(void)
{
	atomic_store(&channel.number, 0);
	close_if_open(atomic_exchange(&channel.fd, -1));
	close_if_open(atomic_exchange(&channel.mailbox, -1));
	close_if_open(atomic_exchange(&channel.return_socket, -1));
	channel.incoming_length = 0;
	channel.order_count = 0;
	outbox_clear(&outbox);
	memset(channel.secret, 0, sizeof(channel.secret));
}

uint32_t channel_number(void)
{
	return atomic_load_explicit(&channel.number, memory_order_acquire);
}

static bool send_message(enum message_type type, uint64_t connection, uint32_t value, uint32_t requests, const void *payload,
			 size_t length)
{
	struct shim_message message = {.type = type, .connection = connection, .value = value, .requests = requests, .length = (uint32_t)length};
	if (channel.fd < 0)
		return false;
	if (outbox_send(&outbox, channel.fd, &message, sizeof(message), payload, length))
		return true;
	drop_channel();
	return false;
}

static bool receive_welcome(int fd, uint64_t deadline)
{
	struct agent_message welcome = {0};
	int fds[2] = {-1, -1};
	ssize_t length = receive_with_descriptors(fd, &welcome, sizeof(welcome), fds, 2, true, deadline);
	if (length != sizeof(welcome) || welcome.type != MESSAGE_WELCOME || welcome.value != PROTOCOL_VERSION || fds[1] < 0) {
		close_if_open(fds[0]);
		close_if_open(fds[1]);
		return false;
	}
	channel.mailbox = out_of_the_way(fds[0]);
	channel.return_socket = out_of_the_way(fds[1]);
	memcpy(channel.secret, welcome.secret, SECRET_LENGTH);
	channel.ask_microseconds = welcome.argument < LONGEST_ASK_MICROSECONDS ? welcome.argument : LONGEST_ASK_MICROSECONDS;
	return true;
}

static bool connect_channel(void)
{
	uint64_t now = now_microseconds();
	if (now < channel.connect_after)
		return false;
	drop_channel();
	channel.fd = connect_to_agent(shim_agent_path(), shim_trusted_user());
	if (channel.fd >= 0 && send_message(MESSAGE_HELLO, 0, PROTOCOL_VERSION, 0, NULL, 0) &&
	    receive_welcome(channel.fd, now + WELCOME_MICROSECONDS)) {
		if (++channel.last_number == 0)
			channel.last_number = 1;
		atomic_store(&channel.number, channel.last_number);
		channel.connect_after = 0;
		channel.reconnect_pause = FIRST_RECONNECT_MICROSECONDS;
		channel.ask_after = 0;
		channel.ask_pause = FIRST_PAUSE_MICROSECONDS;
		return true;
	}
	drop_channel();
	channel.connect_after = now_microseconds() + channel.reconnect_pause;
	if (channel.reconnect_pause < LAST_RECONNECT_MICROSECONDS)
		channel.reconnect_pause *= 2;
	return false;
}

static bool has_secret(const struct knock *knock)
{
	/* All bytes are looked at: how long it takes tells nothing about the secret. */
	uint8_t difference = channel.fd < 0;
	for (int index = 0; index < SECRET_LENGTH; index++)
		difference |= knock->secret[index] ^ channel.secret[index];
	return difference == 0;
}

bool channel_knows_knock(const struct knock *knock)
{
	pthread_mutex_lock(&channel.lock);
	bool known = has_secret(knock) || (connect_channel() && has_secret(knock));
	pthread_mutex_unlock(&channel.lock);
	return known;
}

bool channel_take_item(struct mailbox_item *item, int *fd, bool close_on_exec)
{
	*fd = -1;
	pthread_mutex_lock(&channel.lock);
	ssize_t length = channel.mailbox < 0 ? -1
					     : receive_with_descriptors(channel.mailbox, item, sizeof(*item), fd, 1, close_on_exec, 0);
	pthread_mutex_unlock(&channel.lock);
	if (length == sizeof(*item))
		return true;
	close_if_open(*fd);
	return false;
}

void channel_tell(uint32_t number, enum message_type type, uint64_t connection, uint32_t value, uint32_t requests)
{
	pthread_mutex_lock(&channel.lock);
	if (number != 0 && number == channel_number())
		send_message(type, connection, value, requests, NULL, 0);
	pthread_mutex_unlock(&channel.lock);
}

bool channel_return(uint32_t number, uint64_t connection, int fd)
{
	pthread_mutex_lock(&channel.lock);
	bool sent = number != 0 && number == channel_number() &&
		    send_with_descriptor(channel.return_socket, &connection, sizeof(connection), fd);
	pthread_mutex_unlock(&channel.lock);
	return sent;
}

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
			drop_channel();
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
		drop_channel();
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
		answered = send_message(MESSAGE_ASK, connection, question, requests, head, length) &&
			   wait_for_verdict(question, now + channel.ask_microseconds, verdict);
		if (answered) {
			channel.ask_pause = FIRST_PAUSE_MICROSECONDS;
		} else {
			channel.ask_after = now_microseconds() + channel.ask_pause;
			if (channel.ask_pause < LAST_PAUSE_MICROSECONDS)
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

void channel_flush(void)
{
	if (channel_number() == 0 || outbox_is_empty(&outbox))
		return;
	pthread_mutex_lock(&channel.lock);
	if (channel.fd >= 0 && !outbox_flush(&outbox, channel.fd))
		drop_channel();
	pthread_mutex_unlock(&channel.lock);
}

int channel_descriptor(void)
{
	return channel_number() == 0 ? -1 : channel.fd;
}

static bool is_own(unsigned first, unsigned last)
{
	const int fds[] = {channel.fd, channel.mailbox, channel.return_socket};
	bool own = false;
	for (int index = 0; index < 3; index++)
		own = own || (fds[index] >= 0 && (unsigned)fds[index] >= first && (unsigned)fds[index] <= last);
	return own;
}

void channel_forget_descriptors(unsigned first, unsigned last)
{
	if (!is_own(first, last) || !shim_owns_memory())
		return;
	pthread_mutex_lock(&channel.lock);
	if (is_own(first, last))
		drop_channel();
	pthread_mutex_unlock(&channel.lock);
}

void channel_before_fork(void)
{
	pthread_mutex_lock(&channel.lock);
}

void channel_after_fork(bool is_child)
{
	/* The channel is the parent's: it ends when the last process closes it. */
	if (is_child)
		drop_channel();
	pthread_mutex_unlock(&channel.lock);
}
