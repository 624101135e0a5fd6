/*
 * Shows what the shim's scanner finds. Reads connections from stdin, each a 4-byte length and that many bytes of a client (in this
 * machine's byte order), and a 4-byte number of bytes that are looked at at once. Prints a line for each: the offsets at which the next
 * request begins.
 */
#include "../../preload/src/exchange.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void show(const uint8_t *bytes, uint32_t length, uint32_t step)
{
	struct exchange exchange;
	exchange_begin(&exchange);
	for (uint32_t at = 0; at < length && !exchange.stays;) {
		uint32_t part = length - at < step ? length - at : step;
		/* A copy of its own: a read beyond it is found. */
		uint8_t *copy = malloc(part);
		for (uint32_t index = 0; index < part; index++)
			copy[index] = bytes[at + index];
		exchange_received(&exchange, copy, part);
		free(copy);
		at += part;
		if (!exchange.stays && exchange.request.phase == SCAN_START)
			printf("%u ", at);
	}
	printf("%u\n", exchange.received);
}

int main(void)
{
	uint32_t length, step;
	while (fread(&length, sizeof(length), 1, stdin) == 1) {
		uint8_t *bytes = malloc(length + 1);
		if (fread(bytes, 1, length, stdin) != length || fread(&step, sizeof(step), 1, stdin) != 1)
			return 1;
		show(bytes, length, step);
		free(bytes);
	}
	return 0;
}
