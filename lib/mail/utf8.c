/*
 * utf8.c - UTF-8, one code point at a time. Pure. Source: RFC 3629.
 */
#include "lib/mail/utf8.h"

#include <string.h>

size_t
utf8_decode(const char *text, size_t len, uint32_t *ret_cp)
{
	const unsigned char *b = (const unsigned char *)text;
	static const uint32_t smallest[] = { 0, 0, 0x80, 0x800, 0x10000 };
	uint32_t cp;
	size_t need, i;

	*ret_cp = 0;
	if (len == 0)
		return 0;
	if (b[0] < 0x80) {
		*ret_cp = b[0];
		return 1;
	}
	if (b[0] < 0xc2 || b[0] > 0xf4)
		return 0;
	need = b[0] < 0xe0 ? 2 : b[0] < 0xf0 ? 3 : 4;
	if (len < need)
		return 0;
	cp = b[0] & (0xffu >> (need + 1));
	for (i = 1; i < need; i++) {
		if ((b[i] & 0xc0) != 0x80)
			return 0;
		cp = cp << 6 | (b[i] & 0x3f);
	}
	if (cp < smallest[need] || !utf8_is_scalar(cp))
		return 0;
	*ret_cp = cp;
	return need;
}

size_t
utf8_encode(uint32_t cp, char out[UTF8_MAX])
{
	if (cp < 0x80) {
		out[0] = (char)cp;
		return 1;
	}
	if (cp < 0x800) {
		out[0] = (char)(0xc0 | cp >> 6);
		out[1] = (char)(0x80 | (cp & 0x3f));
		return 2;
	}
	if (cp < 0x10000) {
		out[0] = (char)(0xe0 | cp >> 12);
		out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
		out[2] = (char)(0x80 | (cp & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | cp >> 18);
	out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
	out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
	out[3] = (char)(0x80 | (cp & 0x3f));
	return 4;
}

bool
utf8_valid(const char *text, size_t len)
{
	uint32_t cp;
	size_t at = 0, used;

	while (at < len) {
		used = utf8_decode(text + at, len - at, &cp);
		if (used == 0)
			return false;
		at += used;
	}
	return true;
}

bool
utf8_has_8bit(const char *text, size_t len)
{
	uint64_t word;

	for (; len >= sizeof(word); text += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, text, sizeof(word));
		if ((word & 0x8080808080808080u) != 0)
			return true;
	}
	for (; len > 0; text++, len--) {
		if ((unsigned char)*text > 127)
			return true;
	}
	return false;
}
