/*
 * fuzz_sts_txt.c - _mta-sts records, cut out of the input at newlines. Holds: an
 * id only with a usable record, of the right characters; records that do not
 * begin with the prefix change nothing.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sts/txt.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RECORDS = 16 };

static void
check(int good)
{
	if (!good)
		abort();
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sts_record rr[RECORDS + 1];
	const char *p = (const char *)data, *end = p + size, *lf;
	struct sts_txt got, again;
	size_t n = 0;

	if (size > 65536)
		return 0;
	while (p < end && n < RECORDS) {
		lf = memchr(p, '\n', (size_t)(end - p));
		rr[n].data = p;
		rr[n].len = (size_t)((lf != NULL ? lf : end) - p);
		p = lf != NULL ? lf + 1 : end;
		n++;
	}
	sts_txt_select(rr, n, &got);
	check(got.outcome != STS_TXT_TEMPORARY);
	check((got.outcome == STS_TXT_USABLE) == (got.id[0] != '\0'));
	check((got.outcome == STS_TXT_USABLE) == (got.reason[0] == '\0'));
	check(strlen(got.id) <= STS_ID_MAX);
	check(strspn(got.id,
		  "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
		  "0123456789") == strlen(got.id));
	rr[n].data = "v=spf1 -all";
	rr[n].len = 11;
	sts_txt_select(rr, n + 1, &again);
	check(again.outcome == got.outcome && strcmp(again.id, got.id) == 0);
	return 0;
}
