#include "http-parts.h"

#include <string.h>

#define LAST_EIGHT(text)                                                                                                         \
	((uint64_t)(text)[0] << 56 | (uint64_t)(text)[1] << 48 | (uint64_t)(text)[2] << 40 | (uint64_t)(text)[3] << 32 |        \
	 (uint64_t)(text)[4] << 24 | (uint64_t)(text)[5] << 16 | (uint64_t)(text)[6] << 8 | (uint64_t)(text)[7])

/* Three words with one space between them: method, target and version. */
static bool is_request_line_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte == ' ') {
		bool is_word = scanner->word_length > 0;
		scanner->word_length = 0;
		return is_word && ++scanner->spaces <= 2;
	}
	scanner->word_length++;
	return (byte_classes[byte] & (scanner->spaces > 0 ? VISIBLE : TOKEN)) != 0;
}

static void end_of_request_line(struct scanner *scanner)
{
	if (scanner->spaces != 2 || scanner->word_length != strlen("HTTP/1.1")) {
		scanner_break(scanner);
		return;
	}
	/* After CONNECT there is no HTTP any more; of HTTP/1.0 clients and servers think differently whether the connection goes on. */
	if (scanner->tail != LAST_EIGHT("HTTP/1.1") || text_starts(scanner, "CONNECT "))
		scanner->is_last = true;
	scanner->is_head_request = text_starts(scanner, "HEAD ");
	scanner->phase = SCAN_START_LINE_LF;
}

static void end_of_status_line(struct scanner *scanner)
{
	const char *text = scanner->text;
	bool valid = text_starts(scanner, "HTTP/1.1 ") && scanner->text_length >= STATUS_CODE_END;
	for (int index = 9; valid && index < STATUS_CODE_END; index++)
		valid = text[index] >= '0' && text[index] <= '9';
	if (!valid) {
		scanner_break(scanner);
		return;
	}
	scanner->status = (uint16_t)((text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0'));
	if (scanner->status == 101)
		scanner->is_last = true;
	scanner->phase = SCAN_START_LINE_LF;
}

void start_line_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte == '\r') {
		if (scanner->is_response)
			end_of_status_line(scanner);
		else
			end_of_request_line(scanner);
		return;
	}
	if (!is_text(byte) || (scanner->text_length == 0 && !is_token(byte)) ||
	    (!scanner->is_response && !is_request_line_byte(scanner, byte))) {
		scanner_break(scanner);
		return;
	}
	text_add(scanner, byte);
	scanner->tail = scanner->tail << 8 | byte;
}
