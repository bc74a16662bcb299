/*
 * utf8.h - UTF-8, one code point at a time. Source: RFC 3629.
 */
#ifndef POSTERN_MAIL_UTF8_H
#define POSTERN_MAIL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UTF8_MAX = 4 }; /* bytes of one code point */

/* Not a surrogate, not beyond U+10FFFF. */
static inline bool
utf8_is_scalar(uint32_t cp)
{
	return cp < 0xd800 || (cp > 0xdfff && cp <= 0x10ffff);
}

/*
 * The code point at text[0..len), shortest form only. Returns the bytes used,
 * or 0 when len is 0 or the bytes are no UTF-8 (then *ret_cp is 0).
 */
size_t utf8_decode(const char *text, size_t len, uint32_t *ret_cp);

/* Write cp, a scalar value. Returns the bytes written, 1 to 4. */
size_t utf8_encode(uint32_t cp, char out[UTF8_MAX]);

/* Is all of text[0..len) UTF-8? */
bool utf8_valid(const char *text, size_t len);

/* Has text[0..len) a byte over 127? */
bool utf8_has_8bit(const char *text, size_t len);

#endif
