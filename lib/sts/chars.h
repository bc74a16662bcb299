/*
 * chars.h - the character classes that the grammars of RFC 8461 share.
 * Without locale; only for the files of this folder.
 */
#ifndef POSTERN_STS_CHARS_H
#define POSTERN_STS_CHARS_H

#include <stdbool.h>
#include <stddef.h>

static inline bool
sts_is_wsp(char c)
{
	return c == ' ' || c == '\t';
}

static inline bool
sts_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool
sts_is_alnum(char c)
{
	return sts_is_digit(c) || (c >= 'a' && c <= 'z') ||
	    (c >= 'A' && c <= 'Z');
}

/* Length of a field name at p: starts alphanumeric, then also _ - and dots
 * (STS-10). 0 when there is none; may be over the 32 that are allowed. */
static inline size_t
sts_name_len(const char *p, size_t len)
{
	size_t n = 0;

	if (len == 0 || !sts_is_alnum(p[0]))
		return 0;
	while (n < len &&
	    (sts_is_alnum(p[n]) || p[n] == '_' || p[n] == '-' || p[n] == '.'))
		n++;
	return n;
}

enum { STS_NAME_MAX = 32 };

#endif
