#ifndef XOFFLOAD_EPOLL_H
#define XOFFLOAD_EPOLL_H

#include <stdbool.h>

/* Whether the program waits in epoll sets that the agent's orders wake, and that obey them. */
bool epoll_obeys_orders(void);

#endif
