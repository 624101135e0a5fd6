#include "http-parts.h"

/* More digits could overflow 64 bits. */
#define MAXIMUM_LENGTH_DIGITS 15

void name_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte != ':') {
		if (is_token(byte))
			text_add(scanner, byte);
		else
			scanner_break(scanner);
		return;
	}
	scanner->field = FIELD_OTHER;
	if (text_is(scanner, "content-length"))
		scanner->field = FIELD_CONTENT_LENGTH;
	else if (text_is(scanner, "transfer-encoding"))
		scanner->field = FIELD_TRANSFER_ENCODING;
	else if (text_is(scanner, "connection"))
		scanner->field = FIELD_CONNECTION;
	else if (text_is(scanner, "host"))
		scanner->field = FIELD_HOST;
	/* Framing does not belong into a trailer. */
	if (scanner->in_trailers && scanner->field != FIELD_OTHER)
		scanner_break(scanner);
	else
		scanner->phase = SCAN_VALUE;
	text_clear(scanner);
}

static void trim(struct scanner *scanner)
{
	while (scanner->text_length > 0 && (scanner->text[scanner->text_length - 1] == ' ' || scanner->text[scanner->text_length - 1] == '\t'))
		scanner->text_length--;
}

static bool take_length(struct scanner *scanner)
{
	if (scanner->has_length || scanner->text_length == 0 || scanner->text_length > MAXIMUM_LENGTH_DIGITS || scanner->text_is_cut)
		return false;
	for (int index = 0; index < scanner->text_length; index++) {
		char digit = scanner->text[index];
		if (digit < '0' || digit > '9')
			return false;
		scanner->left = scanner->left * 10 + (uint64_t)(digit - '0');
	}
	scanner->has_length = true;
	return true;
}

static bool take_value(struct scanner *scanner)
{
	trim(scanner);
	switch (scanner->field) {
	case FIELD_CONTENT_LENGTH:
		return take_length(scanner);
	case FIELD_TRANSFER_ENCODING:
		if (scanner->is_chunked || !text_is(scanner, "chunked"))
			return false;
		scanner->is_chunked = true;
		return true;
	case FIELD_CONNECTION:
		if (text_is(scanner, "close"))
			scanner->is_last = true;
		return true;
	case FIELD_HOST: {
		bool is_first = !scanner->has_host;
		scanner->has_host = true;
		return is_first;
	}
	default:
		return true;
	}
}

void value_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte == '\r') {
		if (take_value(scanner))
			scanner->phase = SCAN_VALUE_LF;
		else
			scanner_break(scanner);
		return;
	}
	if (!is_text(byte)) {
		scanner_break(scanner);
		return;
	}
	if (scanner->field == FIELD_OTHER)
		return;
	if (byte == ',' && scanner->field == FIELD_CONNECTION) {
		take_value(scanner);
		text_clear(scanner);
		return;
	}
	/* Optional white space before a value. */
	if ((byte == ' ' || byte == '\t') && scanner->text_length == 0)
		return;
	text_add(scanner, byte);
}
