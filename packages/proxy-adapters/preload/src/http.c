#include "http.h"

#include <string.h>
#include <strings.h>

/* A head that is longer is nobody's ordinary request. */
#define MAXIMUM_SECTION_LENGTH (256 * 1024)
/* More digits could overflow 64 bits. */
#define MAXIMUM_LENGTH_DIGITS 15
#define MAXIMUM_CHUNK_DIGITS 13

#define LAST_EIGHT(text)                                                                                                         \
	((uint64_t)(text)[0] << 56 | (uint64_t)(text)[1] << 48 | (uint64_t)(text)[2] << 40 | (uint64_t)(text)[3] << 32 |        \
	 (uint64_t)(text)[4] << 24 | (uint64_t)(text)[5] << 16 | (uint64_t)(text)[6] << 8 | (uint64_t)(text)[7])

enum byte_class {
	/* RFC 9110, section 5.6.2. */
	TOKEN = 1,
	/* No control character, bare CR or LF: parsers differ in what they do with those. */
	TEXT = 2,
	/* Of a request's target. */
	VISIBLE = 4,
};

#define IN_TARGET (TEXT | VISIBLE)
#define IN_TOKEN (TEXT | VISIBLE | TOKEN)

/* clang-format off */
static const uint8_t classes[256] = {
	['\t'] = TEXT, [' '] = TEXT, [0x80 ... 0xff] = TEXT,
	['!'] = IN_TOKEN, ['"'] = IN_TARGET, ['#' ... '\''] = IN_TOKEN, ['(' ... ')'] = IN_TARGET, ['*' ... '+'] = IN_TOKEN,
	[','] = IN_TARGET, ['-' ... '.'] = IN_TOKEN, ['/'] = IN_TARGET, ['0' ... '9'] = IN_TOKEN, [':' ... '@'] = IN_TARGET,
	['A' ... 'Z'] = IN_TOKEN, ['[' ... ']'] = IN_TARGET, ['^' ... 'z'] = IN_TOKEN, ['{'] = IN_TARGET, ['|'] = IN_TOKEN,
	['}'] = IN_TARGET, ['~'] = IN_TOKEN,
};
/* clang-format on */

static bool is_token(uint8_t byte)
{
	return (classes[byte] & TOKEN) != 0;
}

static bool is_text(uint8_t byte)
{
	return (classes[byte] & TEXT) != 0;
}

static size_t count_of_class(enum byte_class class, const uint8_t *bytes, size_t length)
{
	size_t count = 0;
	while (count < length && (classes[bytes[count]] & class) != 0)
		count++;
	return count;
}

static void break_off(struct scanner *scanner)
{
	scanner->phase = SCAN_BROKEN;
}

static void text_clear(struct scanner *scanner)
{
	scanner->text_length = 0;
	scanner->text_is_cut = false;
}

static void text_add(struct scanner *scanner, uint8_t byte)
{
	if (scanner->text_length < SCAN_TEXT_LENGTH)
		scanner->text[scanner->text_length++] = (char)byte;
	else
		scanner->text_is_cut = true;
}

static bool text_is(const struct scanner *scanner, const char *what)
{
	size_t length = strlen(what);
	return !scanner->text_is_cut && scanner->text_length == length && strncasecmp(scanner->text, what, length) == 0;
}

static bool text_starts(const struct scanner *scanner, const char *what)
{
	size_t length = strlen(what);
	return scanner->text_length >= length && memcmp(scanner->text, what, length) == 0;
}

static void begin(struct scanner *scanner)
{
	scanner->has_length = scanner->has_host = scanner->is_chunked = scanner->in_trailers = scanner->is_head_request = false;
	scanner->left = scanner->tail = 0;
	scanner->status = 0;
	scanner->spaces = 0;
	scanner->word_length = 0;
	scanner->section_length = 0;
	text_clear(scanner);
	scanner->phase = SCAN_START_LINE;
}

/* Three words with one space between them: method, target and version. */
static bool is_request_line_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte == ' ') {
		bool is_word = scanner->word_length > 0;
		scanner->word_length = 0;
		return is_word && ++scanner->spaces <= 2;
	}
	scanner->word_length++;
	return (classes[byte] & (scanner->spaces > 0 ? VISIBLE : TOKEN)) != 0;
}

static void end_of_request_line(struct scanner *scanner)
{
	if (scanner->spaces != 2 || scanner->word_length != strlen("HTTP/1.1")) {
		break_off(scanner);
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
	bool valid = text_starts(scanner, "HTTP/1.1 ") && scanner->text_length >= 12;
	for (int index = 9; valid && index < 12; index++)
		valid = text[index] >= '0' && text[index] <= '9';
	if (!valid) {
		break_off(scanner);
		return;
	}
	scanner->status = (uint16_t)((text[9] - '0') * 100 + (text[10] - '0') * 10 + (text[11] - '0'));
	if (scanner->status == 101)
		scanner->is_last = true;
	scanner->phase = SCAN_START_LINE_LF;
}

static void start_line_byte(struct scanner *scanner, uint8_t byte)
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
		break_off(scanner);
		return;
	}
	text_add(scanner, byte);
	scanner->tail = scanner->tail << 8 | byte;
}

static void name_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte != ':') {
		if (is_token(byte))
			text_add(scanner, byte);
		else
			break_off(scanner);
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
		break_off(scanner);
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

static void value_byte(struct scanner *scanner, uint8_t byte)
{
	if (byte == '\r') {
		if (take_value(scanner))
			scanner->phase = SCAN_VALUE_LF;
		else
			break_off(scanner);
		return;
	}
	if (!is_text(byte)) {
		break_off(scanner);
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

/* The empty line of a head. */
static enum scan_event end_of_head(struct scanner *scanner)
{
	if ((scanner->has_length && scanner->is_chunked) || (!scanner->is_response && !scanner->has_host)) {
		break_off(scanner);
		return SCAN_MORE;
	}
	scanner->phase = scanner->is_chunked ? SCAN_CHUNK_SIZE : SCAN_BODY;
	text_clear(scanner);
	return SCAN_HEAD;
}

static enum scan_event end_of_section(struct scanner *scanner)
{
	if (!scanner->in_trailers)
		return end_of_head(scanner);
	scanner->phase = SCAN_START;
	return SCAN_MESSAGE;
}

static int hexadecimal(uint8_t byte)
{
	if (byte >= '0' && byte <= '9')
		return byte - '0';
	byte |= 0x20;
	return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

static void chunk_size_byte(struct scanner *scanner, uint8_t byte)
{
	int digit = hexadecimal(byte);
	if (digit >= 0 && scanner->text_length < MAXIMUM_CHUNK_DIGITS) {
		scanner->left = scanner->left << 4 | (uint64_t)digit;
		scanner->text_length++;
	} else if (scanner->text_length == 0) {
		break_off(scanner);
	} else if (byte == '\r') {
		scanner->phase = SCAN_CHUNK_SIZE_LF;
	} else if (byte == ';') {
		scanner->phase = SCAN_CHUNK_EXTENSION;
	} else {
		break_off(scanner);
	}
}

static void end_of_chunk_size(struct scanner *scanner)
{
	text_clear(scanner);
	if (scanner->left > 0) {
		scanner->phase = SCAN_CHUNK_DATA;
		return;
	}
	scanner->in_trailers = true;
	scanner->section_length = 0;
	scanner->phase = SCAN_LINE_BEGIN;
}

static void expect(struct scanner *scanner, uint8_t byte, uint8_t expected, enum scan_phase next)
{
	scanner->phase = byte == expected ? (uint8_t)next : SCAN_BROKEN;
}

static enum scan_event take_byte(struct scanner *scanner, uint8_t byte)
{
	switch (scanner->phase) {
	case SCAN_START:
		begin(scanner);
		start_line_byte(scanner, byte);
		break;
	case SCAN_START_LINE:
		start_line_byte(scanner, byte);
		break;
	case SCAN_START_LINE_LF:
	case SCAN_VALUE_LF:
		expect(scanner, byte, '\n', SCAN_LINE_BEGIN);
		break;
	case SCAN_LINE_BEGIN:
		text_clear(scanner);
		scanner->phase = byte == '\r' ? SCAN_SECTION_LF : SCAN_NAME;
		if (byte != '\r')
			name_byte(scanner, byte == ':' ? 0 : byte);
		break;
	case SCAN_NAME:
		name_byte(scanner, byte);
		break;
	case SCAN_VALUE:
		value_byte(scanner, byte);
		break;
	case SCAN_SECTION_LF:
		if (byte == '\n')
			return end_of_section(scanner);
		break_off(scanner);
		break;
	case SCAN_CHUNK_SIZE:
		chunk_size_byte(scanner, byte);
		break;
	case SCAN_CHUNK_EXTENSION:
		if (byte == '\r')
			scanner->phase = SCAN_CHUNK_SIZE_LF;
		else if (!is_text(byte))
			break_off(scanner);
		break;
	case SCAN_CHUNK_SIZE_LF:
		if (byte == '\n')
			end_of_chunk_size(scanner);
		else
			break_off(scanner);
		break;
	case SCAN_CHUNK_DATA_CR:
		expect(scanner, byte, '\r', SCAN_CHUNK_DATA_LF);
		break;
	case SCAN_CHUNK_DATA_LF:
		expect(scanner, byte, '\n', SCAN_CHUNK_SIZE);
		scanner->left = 0;
		break;
	default:
		break_off(scanner);
	}
	return SCAN_MORE;
}

static bool is_in_section(const struct scanner *scanner)
{
	return scanner->phase >= SCAN_START_LINE && scanner->phase <= SCAN_SECTION_LF;
}

/* Content that needs no look. Returns how much of it there is. */
static size_t skip(struct scanner *scanner, size_t length)
{
	size_t skipped = scanner->left < length ? (size_t)scanner->left : length;
	scanner->left -= skipped;
	if (scanner->phase == SCAN_CHUNK_DATA && scanner->left == 0)
		scanner->phase = SCAN_CHUNK_DATA_CR;
	return skipped;
}

static void text_append(struct scanner *scanner, const uint8_t *bytes, size_t length)
{
	size_t room = SCAN_TEXT_LENGTH - scanner->text_length, kept = length < room ? length : room;
	memcpy(scanner->text + scanner->text_length, bytes, kept);
	scanner->text_length += (uint8_t)kept;
	if (kept < length)
		scanner->text_is_cut = true;
}

/* Takes bytes after which the scanner is where it was, all at once. What it has of the rest of a line is not needed: of a request's
 * target, and of the values of fields that say nothing of the message's end. Returns how many there are. */
static size_t take_alike(struct scanner *scanner, const uint8_t *bytes, size_t length)
{
	size_t count;
	if (scanner->phase == SCAN_BODY || scanner->phase == SCAN_CHUNK_DATA)
		return skip(scanner, length);
	if (length > MAXIMUM_SECTION_LENGTH)
		length = MAXIMUM_SECTION_LENGTH;
	if (scanner->phase == SCAN_VALUE && scanner->field == FIELD_OTHER) {
		count = count_of_class(TEXT, bytes, length);
	} else if (scanner->phase == SCAN_NAME) {
		count = count_of_class(TOKEN, bytes, length);
		text_append(scanner, bytes, count);
	} else if (scanner->phase == SCAN_START_LINE && !scanner->is_response && scanner->spaces == 1) {
		count = count_of_class(VISIBLE, bytes, length);
		scanner->word_length += (uint32_t)count;
	} else {
		return 0;
	}
	scanner->section_length += (uint32_t)count;
	return count;
}

enum scan_event scan(struct scanner *scanner, const uint8_t *bytes, size_t length, size_t *used)
{
	size_t at = 0;
	enum scan_event event = SCAN_MORE;
	while (event == SCAN_MORE && scanner->phase != SCAN_BROKEN) {
		if (scanner->phase == SCAN_BODY && scanner->left == 0) {
			scanner->phase = SCAN_START;
			event = SCAN_MESSAGE;
			break;
		}
		if (at == length)
			break;
		size_t alike = take_alike(scanner, bytes + at, length - at);
		if (alike == 0) {
			event = take_byte(scanner, bytes[at++]);
			scanner->section_length++;
		} else {
			at += alike;
		}
		if (is_in_section(scanner) && scanner->section_length > MAXIMUM_SECTION_LENGTH)
			break_off(scanner);
	}
	*used = at;
	return event;
}

void scanner_no_body(struct scanner *scanner)
{
	scanner->left = 0;
	scanner->phase = SCAN_BODY;
}

bool scan_unseen(struct scanner *scanner, uint64_t length, enum scan_event *event)
{
	*event = SCAN_MORE;
	bool is_content = scanner->phase == SCAN_BODY || scanner->phase == SCAN_CHUNK_DATA;
	if (!is_content || length > scanner->left) {
		break_off(scanner);
		return false;
	}
	skip(scanner, length);
	if (scanner->phase == SCAN_BODY && scanner->left == 0) {
		scanner->phase = SCAN_START;
		*event = SCAN_MESSAGE;
	}
	return true;
}
