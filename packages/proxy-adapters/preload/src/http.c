#include "http-parts.h"

/* A head that is longer is nobody's ordinary request. */
#define MAXIMUM_SECTION_LENGTH (256 * 1024)
/* More digits could overflow 64 bits. */
#define MAXIMUM_CHUNK_DIGITS 13

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

/* The empty line of a head. */
static enum scan_event end_of_head(struct scanner *scanner)
{
	if ((scanner->has_length && scanner->is_chunked) || (!scanner->is_response && !scanner->has_host)) {
		scanner_break(scanner);
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
		scanner_break(scanner);
	} else if (byte == '\r') {
		scanner->phase = SCAN_CHUNK_SIZE_LF;
	} else if (byte == ';') {
		scanner->phase = SCAN_CHUNK_EXTENSION;
	} else {
		scanner_break(scanner);
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
		scanner_break(scanner);
		break;
	case SCAN_CHUNK_SIZE:
		chunk_size_byte(scanner, byte);
		break;
	case SCAN_CHUNK_EXTENSION:
		if (byte == '\r')
			scanner->phase = SCAN_CHUNK_SIZE_LF;
		else if (!is_text(byte))
			scanner_break(scanner);
		break;
	case SCAN_CHUNK_SIZE_LF:
		if (byte == '\n')
			end_of_chunk_size(scanner);
		else
			scanner_break(scanner);
		break;
	case SCAN_CHUNK_DATA_CR:
		expect(scanner, byte, '\r', SCAN_CHUNK_DATA_LF);
		break;
	case SCAN_CHUNK_DATA_LF:
		expect(scanner, byte, '\n', SCAN_CHUNK_SIZE);
		scanner->left = 0;
		break;
	default:
		scanner_break(scanner);
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

/* Takes bytes after which the scanner is where it was, all at once. What it has of the rest of a line is not needed: of a request's
 * target, of a status line behind the status code, and of the values of fields that say nothing of the message's end. Returns how many
 * there are. */
static size_t take_alike(struct scanner *scanner, const uint8_t *bytes, size_t length)
{
	size_t count;
	if (scanner->phase == SCAN_BODY || scanner->phase == SCAN_CHUNK_DATA)
		return skip(scanner, length);
	if (length > MAXIMUM_SECTION_LENGTH)
		length = MAXIMUM_SECTION_LENGTH;
	if (scanner->phase == SCAN_VALUE && (scanner->field == FIELD_OTHER || scanner->field == FIELD_HOST)) {
		count = count_of_class(TEXT, bytes, length);
	} else if (scanner->phase == SCAN_NAME) {
		count = count_of_class(TOKEN, bytes, length);
		text_append(scanner, bytes, count);
	} else if (scanner->phase == SCAN_START_LINE && !scanner->is_response && scanner->spaces == 1) {
		count = count_of_class(VISIBLE, bytes, length);
		scanner->word_length += (uint32_t)count;
	} else if (scanner->phase == SCAN_START_LINE && scanner->is_response && scanner->text_length >= STATUS_CODE_END) {
		count = count_of_class(TEXT, bytes, length);
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
			scanner_break(scanner);
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
		scanner_break(scanner);
		return false;
	}
	skip(scanner, length);
	if (scanner->phase == SCAN_BODY && scanner->left == 0) {
		scanner->phase = SCAN_START;
		*event = SCAN_MESSAGE;
	}
	return true;
}
