/* Text into XML: whatever the bytes are, what is written is text that XML 1.0 can hold (§2.2), in UTF-8,
 * without markup; and text that needs no escape is written as it is. */
#include "api/xml.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);

/* Length of what stands at p for one character, 0: nothing that may stand there. */
static size_t character(const char *p, size_t left)
{
	static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#13;"};
	const u8 *b = (const u8 *)p;
	size_t n;

	for (unsigned i = 0; i < ARRAY_SIZE(entities); i++)
		if (left >= strlen(entities[i]) && !memcmp(p, entities[i], strlen(entities[i])))
			return strlen(entities[i]);
	if (b[0] < 0x80)
		return (b[0] >= 0x20 || b[0] == '\t' || b[0] == '\n') && !strchr("&<>\"", b[0]);
	n = b[0] >= 0xf0 ? 4 : b[0] >= 0xe0 ? 3 : 2;
	if (b[0] < 0xc2 || b[0] > 0xf4 || n > left)
		return 0;
	for (size_t i = 1; i < n; i++)
		if ((b[i] & 0xc0) != 0x80)
			return 0;
	/* overlong forms, surrogates, beyond the last, and the two that are no characters */
	if ((b[0] == 0xe0 && b[1] < 0xa0) || (b[0] == 0xed && b[1] > 0x9f) || (b[0] == 0xf0 && b[1] < 0x90) ||
	    (b[0] == 0xf4 && b[1] > 0x8f) || (b[0] == 0xef && b[1] == 0xbf && b[2] >= 0xbe))
		return 0;
	return n;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size)
{
	struct buffer b = {0};
	bool plain = true;

	xml_text(&b, (const char *)data, size);
	for (size_t i = 0, n; i < b.length; i += n) {
		n = character(b.bytes + i, b.length - i);
		if (!n)
			abort();
	}
	for (size_t i = 0; i < size; i++)
		plain &= data[i] >= ' ' && data[i] < 0x7f && !strchr("&<>\"", data[i]);
	if (plain && (b.length != size || (size && memcmp(b.bytes, data, size))))
		abort();
	buffer_release(&b);
	return 0;
}
