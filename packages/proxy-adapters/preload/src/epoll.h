#ifndef XOFFLOAD_EPOLL_H
#define XOFFLOAD_EPOLL_H

#include <stdbool.h>

/* For each read: whether the program waits in epoll sets that the agent's orders wake, and obeys them there. False now and then. */
bool epoll_obeys_orders(void);

#endif
