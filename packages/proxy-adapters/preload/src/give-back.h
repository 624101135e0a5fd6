/* Giving an adopted connection back to the agent. */
#ifndef XOFFLOAD_GIVE_BACK_H
#define XOFFLOAD_GIVE_BACK_H

#include "connections.h"

/*
 * Sends the locked connection's socket to the agent, and puts a stream that has ended in its place. When it returns true, the connection
 * is not locked and not to be used any more; else nothing has changed.
 */
bool give_back(struct connection *connection);

#endif
