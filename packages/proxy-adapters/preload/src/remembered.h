/* Requests that the agent has said are served here, for a while. */
#ifndef XOFFLOAD_REMEMBERED_H
#define XOFFLOAD_REMEMBERED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Whether a request with the same request line and the same Host is served here. */
bool is_remembered(const uint8_t *head, size_t length);

void remember(const uint8_t *head, size_t length, uint32_t milliseconds);

#endif
