#include "http-parts.h"

#include <string.h>
#include <strings.h>

#define IN_TARGET (TEXT | VISIBLE)
#define IN_TOKEN (TEXT | VISIBLE | TOKEN)

/* clang-format off */
const uint8_t byte_classes[256] = {
	['\t'] = TEXT, [' '] = TEXT, [0x80 ... 0xff] = TEXT,
	['!'] = IN_TOKEN, ['"'] = IN_TARGET, ['#' ... '\''] = IN_TOKEN, ['(' ... ')'] = IN_TARGET, ['*' ... '+'] = IN_TOKEN,
	[','] = IN_TARGET, ['-' ... '.'] = IN_TOKEN, ['/'] = IN_TARGET, ['0' ... '9'] = IN_TOKEN, [':' ... '@'] = IN_TARGET,
	['A' ... 'Z'] = IN_TOKEN, ['[' ... ']'] = IN_TARGET, ['^' ... 'z'] = IN_TOKEN, ['{'] = IN_TARGET, ['|'] = IN_TOKEN,
	['}'] = IN_TARGET, ['~'] = IN_TOKEN,
};
/* clang-format on */

#define EACH_BYTE UINT64_C(0x0101010101010101)

/* Whether one of eight bytes is 0x7f or below 0x20: of those only a tab is TEXT. */
static bool may_have_control(const uint8_t *bytes)
{
	uint64_t eight;
	memcpy(&eight, bytes, sizeof(eight));
	uint64_t low = (eight - 0x20 * EACH_BYTE) & ~eight, delete = eight ^ 0x7f * EACH_BYTE;
	return ((low | ((delete - EACH_BYTE) & ~delete)) & 0x80 * EACH_BYTE) != 0;
}

size_t count_of_class(enum byte_class class, const uint8_t *bytes, size_t length)
{
	size_t count = 0;
	while (class == TEXT && length - count >= sizeof(uint64_t) && !may_have_control(bytes + count))
		count += sizeof(uint64_t);
	while (count < length && (byte_classes[bytes[count]] & class) != 0)
		count++;
	return count;
}

void scanner_break(struct scanner *scanner)
{
	scanner->phase = SCAN_BROKEN;
}

void text_clear(struct scanner *scanner)
{
	scanner->text_length = 0;
	scanner->text_is_cut = false;
}

void text_add(struct scanner *scanner, uint8_t byte)
{
	if (scanner->text_length < SCAN_TEXT_LENGTH)
		scanner->text[scanner->text_length++] = (char)byte;
	else
		scanner->text_is_cut = true;
}

bool text_equals(const struct scanner *scanner, const char *what, size_t length)
{
	return !scanner->text_is_cut && scanner->text_length == length && strncasecmp(scanner->text, what, length) == 0;
}

bool text_starts(const struct scanner *scanner, const char *what)
{
	size_t length = strlen(what);
	return scanner->text_length >= length && memcmp(scanner->text, what, length) == 0;
}

void text_append(struct scanner *scanner, const uint8_t *bytes, size_t length)
{
	size_t room = SCAN_TEXT_LENGTH - scanner->text_length, kept = length < room ? length : room;
	memcpy(scanner->text + scanner->text_length, bytes, kept);
	scanner->text_length += (uint8_t)kept;
	if (kept < length)
		scanner->text_is_cut = true;
}
