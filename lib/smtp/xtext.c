/*
 * xtext.c - xtext and the UTF-8 address encodings. Pure.
 * Sources: RFC 3461 section 4; RFC 6533 section 3; RFC 3629.
 */
#include "lib/smtp/xtext.h"
#include "lib/base/err.h"
#include "lib/mail/utf8.h"

#include <stdint.h>
#include <string.h>

static const char hex_upper[] = "0123456789ABCDEF";

static int
hex_value(char c)
{
	const char *at = c == '\0' ? NULL : strchr(hex_upper, c);

	return at == NULL ? -1 : (int)(at - hex_upper);
}

static bool
is_xchar(unsigned char c)
{
	return c >= '!' && c <= '~' && c != '+' && c != '=';
}

ssize_t
smtp_xtext_encode(const void *data, size_t len, char *out, size_t cap)
{
	const unsigned char *in = data;
	size_t n = 0, i;

	for (i = 0; i < len; i++) {
		if (is_xchar(in[i])) {
			if (n + 1 >= cap)
				return PE_TOO_LONG;
			out[n++] = (char)in[i];
			continue;
		}
		if (n + 3 >= cap)
			return PE_TOO_LONG;
		out[n++] = '+';
		out[n++] = hex_upper[in[i] >> 4];
		out[n++] = hex_upper[in[i] & 15];
	}
	if (n >= cap)
		return PE_TOO_LONG;
	out[n] = '\0';
	return (ssize_t)n;
}

/* One byte of xtext at text[0..len): the bytes used, or 0 when malformed. */
static size_t
xtext_take(const char *text, size_t len, unsigned char *ret_byte)
{
	int hi, lo;

	if (is_xchar((unsigned char)text[0])) {
		*ret_byte = (unsigned char)text[0];
		return 1;
	}
	if (text[0] != '+' || len < 3)
		return 0;
	hi = hex_value(text[1]);
	lo = hex_value(text[2]);
	if (hi < 0 || lo < 0)
		return 0;
	*ret_byte = (unsigned char)(hi << 4 | lo);
	if (*ret_byte == '\0' || *ret_byte == '\r' || *ret_byte == '\n')
		return 0; /* would break whatever line it is put into */
	return 3;
}

ssize_t
smtp_xtext_decode(const char *text, size_t len, char *out, size_t cap)
{
	size_t n = 0, at = 0, used;
	unsigned char byte = 0;

	while (at < len) {
		used = xtext_take(text + at, len - at, &byte);
		if (used == 0)
			return PE_SYNTAX;
		if (n + 1 >= cap)
			return PE_TOO_LONG;
		out[n++] = (char)byte;
		at += used;
	}
	if (n >= cap)
		return PE_TOO_LONG;
	out[n] = '\0';
	return (ssize_t)n;
}

bool
smtp_xtext_valid(const char *text, size_t len)
{
	unsigned char byte;
	size_t at = 0, used;

	while (at < len) {
		used = xtext_take(text + at, len - at, &byte);
		if (used == 0)
			return false;
		at += used;
	}
	return true;
}

/* Printable ASCII that stands for itself in a utf-8 address (6533, 3). */
static bool
is_qchar(uint32_t cp)
{
	return cp >= '!' && cp <= '~' && cp != '\\' && cp != '+' && cp != '=';
}

static bool
is_control(uint32_t cp)
{
	return cp < 0x20 || (cp >= 0x7f && cp < 0xa0);
}

/* "\x{HEX}" at text[0..len). Returns the bytes used or 0. */
static size_t
take_escape(const char *text, size_t len, uint32_t *ret_cp)
{
	uint32_t cp = 0;
	size_t at = 3, digits = 0;
	int v;

	if (len < 6 || memcmp(text, "\\x{", 3) != 0)
		return 0;
	for (; at < len && text[at] != '}'; at++, digits++) {
		v = hex_value(text[at]);
		if (v < 0 || digits == 6 || (digits == 1 && cp == 0))
			return 0;
		cp = cp << 4 | (uint32_t)v;
	}
	/* EmbeddedUnicodeChar has no one-digit forms */
	if (at >= len || digits < 2 || !utf8_is_scalar(cp) || is_control(cp) ||
	    is_qchar(cp))
		return 0;
	*ret_cp = cp;
	return at + 1;
}

ssize_t
smtp_utf8_addr_decode(const char *text, size_t len, char *out, size_t cap)
{
	char enc[UTF8_MAX];
	uint32_t cp = 0;
	size_t at = 0, n = 0, used, enc_len;

	while (at < len) {
		if (text[at] == '\\') {
			used = take_escape(text + at, len - at, &cp);
		} else {
			used = utf8_decode(text + at, len - at, &cp);
			if (is_control(cp) || (cp < 0x80 && !is_qchar(cp)))
				used = 0;
		}
		if (used == 0)
			return PE_SYNTAX;
		enc_len = utf8_encode(cp, enc);
		if (enc_len >= cap || n >= cap - enc_len)
			return PE_TOO_LONG;
		memcpy(out + n, enc, enc_len);
		n += enc_len;
		at += used;
	}
	if (n >= cap)
		return PE_TOO_LONG;
	out[n] = '\0';
	return (ssize_t)n;
}

ssize_t
smtp_utf8_addr_encode(
    const char *data, size_t len, bool ascii, char *out, size_t cap)
{
	char esc[16];
	uint32_t cp = 0;
	size_t at = 0, n = 0, used, k, digits;
	int shift;

	while (at < len) {
		used = utf8_decode(data + at, len - at, &cp);
		if (used == 0 || is_control(cp))
			return PE_SYNTAX;
		if (is_qchar(cp) || (cp >= 0x80 && !ascii)) {
			memcpy(esc, data + at, used);
			k = used;
		} else {
			memcpy(esc, "\\x{", 3);
			k = 3;
			digits = 2;
			while (digits < 6 && cp >> (4 * digits) != 0)
				digits++;
			for (shift = (int)digits * 4 - 4; shift >= 0;
			     shift -= 4)
				esc[k++] = hex_upper[cp >> shift & 15];
			esc[k++] = '}';
		}
		if (k >= cap || n >= cap - k)
			return PE_TOO_LONG;
		memcpy(out + n, esc, k);
		n += k;
		at += used;
	}
	if (n >= cap)
		return PE_TOO_LONG;
	out[n] = '\0';
	return (ssize_t)n;
}
