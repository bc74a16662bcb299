/*
 * err.c - the one table behind err_str(). Never allocates, never logs.
 */
#include "lib/base/err.h"

#include <stddef.h>
#include <string.h>

static const struct {
	int code;
	const char *text;
} table[] = {
	{ PE_PROTO, "protocol broken by peer" },
	{ PE_VERSION, "protocol version differs" },
	{ PE_SYNTAX, "syntax error" },
	{ PE_TOO_LONG, "over the limit" },
	{ PE_FULL, "a bound was reached" },
	{ PE_GONE, "peer is gone" },
	{ PE_NOT_FOUND, "not found" },
	{ PE_TLS, "TLS error" },
	{ PE_CONFIG, "settings do not fit" },
	{ PE_CORRUPT, "stored data is corrupt" },
	{ PE_DENIED, "not permitted" },
};

const char *
err_str(int code)
{
	size_t i;

	for (i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].code == code)
			return table[i].text;
	if (code < 0 && code > -4096)
		return strerror(-code);
	return code == 0 ? "no error" : "unknown error";
}
