/* What the parts of the scanner share. http.c calls those for start lines and fields for each byte. */
#ifndef XOFFLOAD_HTTP_PARTS_H
#define XOFFLOAD_HTTP_PARTS_H

#include "http.h"

enum byte_class {
	/* RFC 9110, section 5.6.2. */
	TOKEN = 1,
	/* No control character, bare CR or LF: parsers differ in what they do with those. */
	TEXT = 2,
	/* Of a request's target. */
	VISIBLE = 4,
};

extern const uint8_t byte_classes[256];

static inline bool is_token(uint8_t byte)
{
	return (byte_classes[byte] & TOKEN) != 0;
}

static inline bool is_text(uint8_t byte)
{
	return (byte_classes[byte] & TEXT) != 0;
}

/* How many of the first bytes are of the class. */
size_t count_of_class(enum byte_class class, const uint8_t *bytes, size_t length);

void scanner_break(struct scanner *scanner);

/* `text` of the scanner: the beginning of what is being read. */
void text_clear(struct scanner *scanner);
void text_add(struct scanner *scanner, uint8_t byte);
void text_append(struct scanner *scanner, const uint8_t *bytes, size_t length);
bool text_equals(const struct scanner *scanner, const char *what, size_t length);
/* Whether it is a literal, in any case of letters. */
#define text_is(scanner, literal) text_equals(scanner, literal, sizeof(literal) - 1)
bool text_starts(const struct scanner *scanner, const char *what);

/* The length of "HTTP/1.1 200". */
#define STATUS_CODE_END 12

/* Of a request line or a status line. */
void start_line_byte(struct scanner *scanner, uint8_t byte);

/* Of a field's name, and of its value. */
void name_byte(struct scanner *scanner, uint8_t byte);
void value_byte(struct scanner *scanner, uint8_t byte);

#endif
