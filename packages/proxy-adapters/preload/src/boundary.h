/* What happens to an adopted connection between two requests. */
#ifndef XOFFLOAD_BOUNDARY_H
#define XOFFLOAD_BOUNDARY_H

#include "connections.h"

/*
 * The program is about to read from the locked connection. When that stands at a boundary and the agent wants it, it is given back: the
 * descriptor is then that of a stream that has ended, and the connection is not to be used any more (true).
 */
bool boundary_before_read(struct connection *connection);

/* Does what the agent has ordered meanwhile. */
void boundary_obey_orders(void);

#endif
