/*
 * fuzz_smtp_reply.c - replies of servers. Holds: the answer does not depend on
 * how the bytes arrive; what was read can be written and read again.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/smtp/reply.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int good)
{
	if (!good)
		abort();
}

static int
is_text(const char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++) {
		if ((p[i] < ' ' || p[i] > '~') && p[i] != '\n')
			return 0;
	}
	return 1;
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct smtp_reply whole, parts;
	static char bare[SMTP_REPLY_MAX];
	struct buf b;
	uint8_t *copy;
	const char *line;
	ssize_t got, again = 0;
	size_t n, at = 0, len, sum = 0, step = size < 600 ? 1 : 97;
	unsigned lines = 0;

	if (size > 2 * SMTP_REPLY_MAX)
		return 0;
	got = smtp_reply_parse(data, size, &whole);
	/* by the byte while it is short, else by steps */
	for (n = 0; again == 0; n += step) {
		n = n < size ? n : size;
		copy = malloc(n + (n == 0));
		if (copy == NULL)
			return 0;
		memcpy(copy, data, n);
		again = smtp_reply_parse(copy, n, &parts);
		free(copy);
		if (n == size)
			break;
	}
	check(got == again);
	check(got <= (ssize_t)size && got <= SMTP_REPLY_MAX);
	if (got < 0)
		check(whole.error != NULL);
	if (got <= 0)
		return 0;
	check(whole.code == parts.code && whole.text_len == parts.text_len &&
	    memcmp(whole.text, parts.text, whole.text_len + 1) == 0);
	check(whole.code >= 200 && whole.code <= 599);
	check(whole.status.cls == 0 || whole.status.cls == whole.code / 100);
	while ((line = smtp_reply_line(&whole, &at, &len)) != NULL) {
		check(line + len <= whole.text + whole.text_len);
		sum += len + 1;
		lines++;
	}
	check(lines == whole.lines && sum == whole.text_len + 1);
	n = smtp_reply_bare_text(&whole, bare, sizeof(bare));
	check(n <= whole.text_len && bare[n] == '\0');
	n = smtp_reply_bare_text(&whole, bare, 5);
	check(n <= 4 && bare[n] == '\0');

	if (!is_text(whole.text, whole.text_len))
		return 0;
	buf_init(&b, 1 << 20);
	check(smtp_reply_format(
		  &b, whole.code, SMTP_STATUS(0, 0, 0), whole.text) == 0);
	/* long lines were cut, so there may be too many of them */
	if (buf_len(&b) <= SMTP_REPLY_MAX) {
		again = smtp_reply_parse(buf_data(&b), buf_len(&b), &parts);
		check(again == (ssize_t)buf_len(&b) || parts.lines == 0);
		if (again > 0 && parts.lines == whole.lines)
			check(strcmp(parts.text, whole.text) == 0);
	}
	buf_done(&b);
	return 0;
}
