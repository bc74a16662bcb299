/*
 * fuzz_sts_policy.c - policy texts and patterns. Holds: a valid policy has a
 * version line, patterns unless its mode is none, and a bounded list that ends
 * in NUL; what is valid stays valid with CRLF for LF and says the same; every
 * pattern is either none at all or names at least one host.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/sts/match.h"
#include "lib/sts/policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int good)
{
	if (!good)
		abort();
}

static void
check_patterns(const struct sts_policy *p)
{
	char norm[STS_PATTERN_SIZE], host[STS_PATTERN_SIZE + 8];
	const char *text;
	size_t at = 0;
	uint32_t n = 0;

	while ((text = sts_list_next(p->list, p->list_len, &at)) != NULL) {
		if (n++ >= 64)
			continue;
		if (sts_pattern_normalise(text, strlen(text), norm) < 0)
			continue;
		(void)snprintf(host, sizeof(host), "%s%s",
		    norm[0] == '*' ? "m" : "",
		    norm[0] == '*' ? norm + 1 : norm);
		/* one label more may be too long for a name */
		check(sts_pattern_match(text, host) || strlen(host) > 253);
		check(sts_list_match(p->list, p->list_len, host) != NULL ||
		    strlen(host) > 253);
	}
	check(n == p->n_mx && at == p->list_len);
}

/* The same text with CRLF. */
static void
check_crlf(const uint8_t *data, size_t size, const struct sts_policy *want)
{
	char *copy = malloc(2 * size + 1);
	struct sts_policy p;
	size_t i, n = 0;

	if (copy == NULL)
		return;
	for (i = 0; i < size; i++) {
		if (data[i] == '\n' && (i == 0 || data[i - 1] != '\r'))
			copy[n++] = '\r';
		copy[n++] = (char)data[i];
	}
	if (n <= STS_TEXT_MAX) {
		check(sts_policy_parse(copy, n, &p, NULL, 0) == 0);
		check(p.mode == want->mode && p.max_age_s == want->max_age_s &&
		    p.list_len == want->list_len &&
		    (p.list_len == 0 ||
			memcmp(p.list, want->list, p.list_len) == 0));
		sts_policy_done(&p);
	}
	free(copy);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sts_policy p;
	char reason[64], text[64];

	if (sts_policy_parse(
		(const char *)data, size, &p, reason, sizeof(reason)) < 0) {
		check(p.list == NULL && reason[0] != '\0');
		return 0;
	}
	check(size <= STS_TEXT_MAX && memmem(data, size, "version:", 8));
	check(p.max_age_s <= STS_MAX_AGE_MAX && p.list_len <= STS_LIST_MAX);
	check(p.n_mx > 0 || p.mode == STS_MODE_NONE);
	(void)sts_list_text(p.list, p.list_len, text, sizeof(text));
	check_patterns(&p);
	check_crlf(data, size, &p);
	sts_policy_done(&p);
	return 0;
}
