/*
 * What the shim and the agent say to each other. Both run on one machine: numbers are in its byte order, and this file and
 * src/preload/protocol.ts must agree.
 *
 * The agent listens on a Unix stream socket. A process of the server program connects when it first accepts a knock, and the two
 * check each other's user with SO_PEERCRED: the shim takes an agent that runs as root, or as the user that the environment names, by
 * default the one under which the program was started; the agent takes users that it was told. Then:
 *
 *   shim  -> agent  HELLO
 *   agent -> shim   WELCOME, with two descriptors: the mailbox and the return socket (both SOCK_SEQPACKET)
 *
 * An adoption. The mailbox is one socket, shared by all processes of the server program, so that whoever accepts finds the item
 * there without asking:
 *
 *   agent -> mailbox   struct mailbox_item with the connection's descriptor
 *   agent -> listener  a TCP connection over loopback that carries `struct knock`
 *   shim               accepts it, sees magic and secret, takes one item out of the mailbox and returns that from accept(2)
 *   shim  -> agent     ADOPTED
 *
 * Any knock may take any item. A knock that finds no item is closed, and accept(2) goes on as if it had not been.
 *
 * A request boundary of an adopted connection: the shim sends ASK with the head of the request that is next, and waits for VERDICT no
 * longer than WELCOME says. When that is VERDICT_RETURN, or the agent had sent RECALL:
 *
 *   shim -> return socket   the connection's number (8 bytes) with its descriptor
 *   shim -> agent           RETURNED
 *
 * and the server program reads the end of the stream. Whatever breaks these rules, or comes too late, costs the channel: it is closed, and
 * connections that were adopted before go on as ordinary ones.
 */
#ifndef XOFFLOAD_PROTOCOL_H
#define XOFFLOAD_PROTOCOL_H

#include <stdint.h>

#define PROTOCOL_VERSION 1

#define SECRET_LENGTH 16

/* The first 16 bytes of a knock: no HTTP request begins like this. */
#define KNOCK_MAGIC "xoffload-knock\r\n"
#define KNOCK_MAGIC_LENGTH 16

struct knock {
	uint8_t magic[KNOCK_MAGIC_LENGTH];
	uint8_t secret[SECRET_LENGTH];
};

/* The item's connection is watched for request boundaries. */
#define ITEM_WATCH 1u

struct mailbox_item {
	uint64_t connection;
	uint32_t flags;
	/* The shim does not ask about so many requests. */
	uint32_t requests;
};

enum message_type {
	/* From the shim. */
	MESSAGE_HELLO = 1,
	MESSAGE_ADOPTED = 2,
	MESSAGE_CLOSED = 3,
	MESSAGE_ASK = 4,
	MESSAGE_RETURNED = 5,
	/* The item could not be given to the server program: its descriptor did not arrive, or is no TCP connection. */
	MESSAGE_LOST = 6,
	/* From the agent. */
	MESSAGE_WELCOME = 16,
	MESSAGE_VERDICT = 17,
	MESSAGE_RECALL = 18,
	MESSAGE_END = 19,
};

/* The longest request head that goes along with ASK. */
#define MAXIMUM_HEAD_LENGTH 16384

/* A message from the shim, followed by `length` bytes. */
struct shim_message {
	uint32_t type;
	uint32_t length;
	uint64_t connection;
	/* HELLO: the version. ADOPTED: the descriptor's number in the process. ASK: the question's number. */
	uint32_t value;
	/* ASK and RETURNED: the requests that have arrived on the connection before. */
	uint32_t requests;
};

enum verdict {
	VERDICT_SERVE = 0,
	VERDICT_RETURN = 1,
};

/* A message from the agent. */
struct agent_message {
	uint32_t type;
	/* WELCOME: the version. VERDICT: the question's number. RECALL, END: the descriptor's number. */
	uint32_t value;
	uint64_t connection;
	/* VERDICT: enum verdict. WELCOME: the longest wait for a verdict, microseconds. RECALL: 1, or 0 to take it back. */
	uint32_t argument;
	/* VERDICT_SERVE: the shim does not ask about so many further requests of the connection. */
	uint32_t requests;
	/* VERDICT_SERVE: as long as this, the same request is served here on every connection without asking; milliseconds. */
	uint32_t milliseconds;
	uint32_t reserved;
	/* WELCOME. */
	uint8_t secret[SECRET_LENGTH];
};

#endif
