/*
 * fuzz_admin_http.c - the look at a request head: whole and in two pieces it says
 * the same, and what passes has none of the marks of smuggling.
 */
#include "admin/http_head.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct http_head h, again;
	ssize_t n, m;
	size_t half = len / 2, i;

	n = http_head_find(data, len, 0, &h);
	m = http_head_find(data, half, 0, &again);
	if (m == 0)
		m = http_head_find(data, len, half, &again);
	/* an early end or refusal stays what it was */
	if (m != n || (n < 0 && h.status != again.status))
		abort();
	if (n < 0 && (h.status < 400 || h.why == NULL))
		abort();
	if (n <= 0)
		return 0;
	if (http_head_check(data, (size_t)n, &h) < 0) {
		if (h.status < 400 || h.why == NULL)
			abort();
		return 0;
	}
	if (h.len != (size_t)n || h.body_len > HTTP_BODY_MAX ||
	    h.len > HTTP_HEAD_MAX)
		abort();
	for (i = 0; i < h.len; i++) {
		if (data[i] == '\0' ||
		    (data[i] == '\n' && (i == 0 || data[i - 1] != '\r')))
			abort();
		if (data[i] == '\n' && i + 1 < h.len &&
		    (data[i + 1] == ' ' || data[i + 1] == '\t'))
			abort();
	}
	return 0;
}
