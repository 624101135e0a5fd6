#ifndef XOFFLOAD_DESCRIPTORS_H
#define XOFFLOAD_DESCRIPTORS_H

/* The descriptor is closed, or was closed unseen: its connection, if it had one, is over for the shim, and the agent hears of it. */
void forget_descriptor(int fd);

#endif
