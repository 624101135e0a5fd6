// SPDX-License-Identifier: GPL-2.0
#define _GNU_SOURCE
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "init.h"

#define COMMAND_PORT "/dev/vport0p1"
#define PORT_TIMEOUT_MS 60000

int port;

void die(const char *format, ...)
{
	va_list args;
	int error = errno;

	va_start(args, format);
	dprintf(STDERR_FILENO, "guest init: ");
	vdprintf(STDERR_FILENO, format, args);
	dprintf(STDERR_FILENO, ": %s\n", strerror(error));
	va_end(args);
	sleep(1);
	_exit(1); // The kernel panics when its first process ends, and panic=-1 ends the machine.
}

static void write_all(int fd, const void *data, size_t length)
{
	for (const char *next = data; length > 0;) {
		ssize_t written = write(fd, next, length);

		if (written < 0 && errno == EINTR)
			continue;
		if (written <= 0)
			die("cannot write to the host");
		next += written;
		length -= written;
	}
}

static void read_all(int fd, void *data, size_t length)
{
	for (char *next = data; length > 0;) {
		ssize_t count = read(fd, next, length);

		if (count > 0) {
			next += count;
			length -= count;
			continue;
		}
		if (count < 0 && errno != EINTR && errno != EAGAIN)
			die("cannot read from the host");
		// 0: nobody is connected to the port yet, as while the machine is being restored.
		if (count == 0)
			usleep(1000);
	}
}

void send_frame(uint32_t type, uint32_t id, const void *payload, uint32_t length)
{
	struct frame_header header = { htole32(type), htole32(id), htole32(length) };

	write_all(port, &header, sizeof(header));
	write_all(port, payload, length);
}

// The payload of the returned header is in `payload`, with a zero byte behind it.
struct frame_header receive_frame(char *payload)
{
	struct frame_header header;

	read_all(port, &header, sizeof(header));
	header.type = le32toh(header.type);
	header.id = le32toh(header.id);
	header.length = le32toh(header.length);
	if (header.length > MAX_PAYLOAD) {
		errno = EMSGSIZE;
		die("frame of %u bytes", header.length);
	}
	read_all(port, payload, header.length);
	payload[header.length] = 0;
	return header;
}

void open_port(void)
{
	for (int waited = 0; (port = open(COMMAND_PORT, O_RDWR | O_CLOEXEC)) < 0; waited++) {
		if (waited >= PORT_TIMEOUT_MS)
			die("cannot open " COMMAND_PORT);
		usleep(1000);
	}
}
