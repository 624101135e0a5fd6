#include "channel-state.h"

#include "real.h"
#include "shim.h"
#include "unix-socket.h"

#include <string.h>

/* An agent that listens answers at once. */
#define WELCOME_MICROSECONDS 50000
/* Between two attempts to connect, doubled after each that failed. */
#define FIRST_RECONNECT_MICROSECONDS 100000
#define LAST_RECONNECT_MICROSECONDS 8000000
/* No verdict is waited for longer, whatever the agent says. */
#define LONGEST_ASK_MICROSECONDS 1000000

struct channel channel = {
	.lock = PTHREAD_MUTEX_INITIALIZER,
	.fd = -1,
	.mailbox = -1,
	.return_socket = -1,
	.reconnect_pause = FIRST_RECONNECT_MICROSECONDS,
	.ask_pause = FIRST_ASK_PAUSE_MICROSECONDS,
};

struct outbox channel_outbox;

static void close_if_open(int fd)
{
	if (fd >= 0)
		real()->close(fd);
}

void channel_drop(void)
{
	atomic_store(&channel.number, 0);
	close_if_open(atomic_exchange(&channel.fd, -1));
	close_if_open(atomic_exchange(&channel.mailbox, -1));
	close_if_open(atomic_exchange(&channel.return_socket, -1));
	channel.incoming_length = 0;
	channel.order_count = 0;
	outbox_clear(&channel_outbox);
	memset(channel.secret, 0, sizeof(channel.secret));
}

uint32_t channel_number(void)
{
	return atomic_load_explicit(&channel.number, memory_order_acquire);
}

bool channel_send(enum message_type type, uint64_t connection, uint32_t value, uint32_t requests, const void *payload, size_t length)
{
	struct shim_message message = {.type = type, .connection = connection, .value = value, .requests = requests, .length = (uint32_t)length};
	if (channel.fd < 0)
		return false;
	if (outbox_send(&channel_outbox, channel.fd, &message, sizeof(message), payload, length))
		return true;
	channel_drop();
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
	channel_drop();
	channel.fd = connect_to_agent(shim_agent_path(), shim_trusted_user());
	if (channel.fd >= 0 && channel_send(MESSAGE_HELLO, 0, PROTOCOL_VERSION, 0, NULL, 0) &&
	    receive_welcome(channel.fd, now + WELCOME_MICROSECONDS)) {
		if (++channel.last_number == 0)
			channel.last_number = 1;
		atomic_store(&channel.number, channel.last_number);
		channel.connect_after = 0;
		channel.reconnect_pause = FIRST_RECONNECT_MICROSECONDS;
		channel.ask_after = 0;
		channel.ask_pause = FIRST_ASK_PAUSE_MICROSECONDS;
		return true;
	}
	channel_drop();
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
		channel_send(type, connection, value, requests, NULL, 0);
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

void channel_flush(void)
{
	if (channel_number() == 0 || outbox_is_empty(&channel_outbox))
		return;
	pthread_mutex_lock(&channel.lock);
	if (channel.fd >= 0 && !outbox_flush(&channel_outbox, channel.fd))
		channel_drop();
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
		channel_drop();
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
		channel_drop();
	pthread_mutex_unlock(&channel.lock);
}
