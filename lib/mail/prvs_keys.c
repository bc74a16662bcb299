/*
 * prvs_keys.c - read the keys of bounce verification. Apart from prvs.c, so
 * that who only checks settings (the supervisor) needs no libcrypto.
 */
#include <ctype.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/mail/prvs.h"

/* One line without its end; NULL when it is fine, or why not. */
static const char *
key_line(struct prvs_keys *keys, const char *line, size_t len)
{
	int digit;
	size_t i;

	if (len < 3 || !isdigit((unsigned char)line[0]) ||
	    (line[1] != ' ' && line[1] != '\t'))
		return "wanted DIGIT SECRET";
	digit = line[0] - '0';
	for (i = 1; i < len && (line[i] == ' ' || line[i] == '\t'); i++)
		continue;
	if (len - i < PRVS_SECRET_MIN)
		return "the secret is shorter than 16 bytes";
	if (len - i > PRVS_SECRET_MAX)
		return "the secret is longer than 128 bytes";
	if (keys->key[digit].len != 0)
		return "this digit has a key already";
	keys->key[digit].len = len - i;
	memcpy(keys->key[digit].secret, line + i, len - i);
	if (keys->current < 0)
		keys->current = digit;
	return NULL;
}

int
prvs_keys_parse(const char *text, size_t len, struct prvs_keys *ret_keys,
    unsigned *ret_line, const char **ret_why)
{
	const char *end = text + len, *nl, *stop;
	unsigned line = 0;

	memset(ret_keys, 0, sizeof(*ret_keys));
	ret_keys->current = -1;
	for (; text < end; text = nl + 1) {
		line++;
		nl = memchr(text, '\n', (size_t)(end - text));
		if (nl == NULL)
			nl = end;
		for (stop = nl; stop > text && isspace((unsigned char)stop[-1]);
		     stop--)
			continue;
		if (stop == text || *text == '#')
			continue;
		*ret_why = key_line(ret_keys, text, (size_t)(stop - text));
		if (*ret_why != NULL) {
			*ret_line = line;
			return PE_SYNTAX;
		}
	}
	if (ret_keys->current >= 0)
		return 0;
	*ret_line = 0;
	*ret_why = "there is no key in it";
	return PE_SYNTAX;
}
