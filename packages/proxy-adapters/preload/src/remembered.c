#include "remembered.h"

#include "shim.h"

#include <pthread.h>
#include <string.h>
#include <strings.h>

#define ENTRIES 1024
/* Longer ones are asked about each time. */
#define KEY_LENGTH 240

struct entry {
	uint64_t until;
	uint16_t length;
	uint8_t key[KEY_LENGTH];
};

static struct entry entries[ENTRIES];
static pthread_mutex_t entries_lock = PTHREAD_MUTEX_INITIALIZER;

/* The line that begins at `at`, without its CRLF. */
static size_t line_length(const uint8_t *at, const uint8_t *end)
{
	const uint8_t *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
	return (size_t)((line_end == NULL ? end : line_end) - at);
}

/* Request line and Host, one after the other. 0 when that is too long. */
static size_t key_of(const uint8_t *head, size_t length, uint8_t *key)
{
	const uint8_t *end = head + length;
	size_t first = line_length(head, end), host = 0;
	const uint8_t *line = head + first + 2;
	for (; line < end; line += host + 2) {
		host = line_length(line, end);
		if (host >= 5 && strncasecmp((const char *)line, "host:", 5) == 0)
			break;
	}
	if (line >= end)
		host = 0;
	if (first + host > KEY_LENGTH)
		return 0;
	memcpy(key, head, first);
	memcpy(key + first, line, host);
	return first + host;
}

/* FNV-1a. Whole keys are compared afterwards. */
static struct entry *entry_of(const uint8_t *key, size_t length)
{
	uint64_t hash = UINT64_C(14695981039346656037);
	for (size_t index = 0; index < length; index++)
		hash = (hash ^ key[index]) * UINT64_C(1099511628211);
	return &entries[(hash ^ hash >> 32) % ENTRIES];
}

bool is_remembered(const uint8_t *head, size_t length)
{
	uint8_t key[KEY_LENGTH];
	size_t key_length = key_of(head, length, key);
	if (key_length == 0)
		return false;
	const struct entry *entry = entry_of(key, key_length);
	pthread_mutex_lock(&entries_lock);
	bool found = entry->length == key_length && memcmp(entry->key, key, key_length) == 0 && now_microseconds() < entry->until;
	pthread_mutex_unlock(&entries_lock);
	return found;
}

void remember(const uint8_t *head, size_t length, uint32_t milliseconds)
{
	uint8_t key[KEY_LENGTH];
	size_t key_length = key_of(head, length, key);
	if (key_length == 0)
		return;
	struct entry *entry = entry_of(key, key_length);
	pthread_mutex_lock(&entries_lock);
	memcpy(entry->key, key, key_length);
	entry->length = (uint16_t)key_length;
	entry->until = now_microseconds() + (uint64_t)milliseconds * 1000;
	pthread_mutex_unlock(&entries_lock);
}
