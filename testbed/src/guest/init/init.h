/* SPDX-License-Identifier: GPL-2.0 */
/* The guest's first process. Its frames and their payloads are those of frame.ts. */
#ifndef XOFFLOAD_INIT_H
#define XOFFLOAD_INIT_H

#include <stddef.h>
#include <stdint.h>

#define MAX_PAYLOAD (1 << 20)

enum frame_type { SETUP = 1, RUN = 2, KILL = 3, READY = 16, MOUNTED = 17, STDOUT = 18, STDERR = 19, EXIT = 20 };

struct frame_header {
	uint32_t type;
	uint32_t id;
	uint32_t length;
};

/* channel.c: the command port, whose other end the host has. */
extern int port;
void open_port(void);
void send_frame(uint32_t type, uint32_t id, const void *payload, uint32_t length);
struct frame_header receive_frame(char *payload);
/* Says why on the console, and ends the machine. */
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* mounts.c */
void mount_or_die(const char *source, const char *target, const char *type, unsigned long flags, const char *data);
void mount_root(const char *share, const char *modules);

/* commands.c */
void serve(char *payload);

#endif
