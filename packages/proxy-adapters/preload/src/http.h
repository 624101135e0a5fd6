/*
 * Where HTTP/1.1 messages begin and end in a stream of bytes (RFC 9112). It looks at bytes that somebody else serves and answers, so it is
 * strict: whatever two readers could understand differently makes the scanner BROKEN, and the connection stays where it is.
 */
#ifndef XOFFLOAD_HTTP_H
#define XOFFLOAD_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum scan_phase {
	/* Between two messages: no byte of the next one was seen. */
	SCAN_START,
	SCAN_START_LINE,
	SCAN_START_LINE_LF,
	SCAN_LINE_BEGIN,
	SCAN_NAME,
	SCAN_VALUE,
	SCAN_VALUE_LF,
	SCAN_SECTION_LF,
	/* `left` bytes of content, or of a chunk. */
	SCAN_BODY,
	SCAN_CHUNK_SIZE,
	SCAN_CHUNK_EXTENSION,
	SCAN_CHUNK_SIZE_LF,
	SCAN_CHUNK_DATA,
	SCAN_CHUNK_DATA_CR,
	SCAN_CHUNK_DATA_LF,
	SCAN_BROKEN,
};

enum scan_event {
	/* All bytes were taken. */
	SCAN_MORE,
	/* The head is complete: the caller looks at it, then goes on. */
	SCAN_HEAD,
	/* The message is complete. */
	SCAN_MESSAGE,
};

enum scan_field {
	FIELD_OTHER,
	FIELD_CONTENT_LENGTH,
	FIELD_TRANSFER_ENCODING,
	FIELD_CONNECTION,
	FIELD_HOST,
};

#define SCAN_TEXT_LENGTH 24

struct scanner {
	uint8_t phase; /* enum scan_phase */
	bool is_response;
	/* Of the head. */
	uint8_t field; /* enum scan_field: whose value is being read */
	bool has_length;
	bool has_host;
	bool is_chunked;
	/* Of this message or an earlier one: the connection does not go on, or not as HTTP/1.1. */
	bool is_last;
	bool in_trailers;
	/* The request's method is HEAD. */
	bool is_head_request;
	/* A response's status code. */
	uint16_t status;
	uint8_t text_length;
	bool text_is_cut;
	uint32_t section_length;
	uint64_t left;
	/* Of a request line: its last eight bytes, the spaces in it, and the bytes after the last of these. */
	uint64_t tail;
	uint8_t spaces;
	uint32_t word_length;
	/* The beginning of what is being read: start line, name, or one element of a value. */
	char text[SCAN_TEXT_LENGTH];
};

/*
 * Looks at bytes up to the next event, and says how many these were. After SCAN_HEAD of a response the caller says with
 * scanner_no_body whether the response has no content because of its request.
 */
enum scan_event scan(struct scanner *scanner, const uint8_t *bytes, size_t length, size_t *used);

/* The message whose head just came has no content. */
void scanner_no_body(struct scanner *scanner);

/* `length` bytes went by unseen. Only content may: false when these could have been anything else, and then the scanner is broken. */
bool scan_unseen(struct scanner *scanner, uint64_t length, enum scan_event *event);

#endif
