/*
 * fuzz_mail_addr.c - addresses, domains, paths, xtext. Holds: the parts make
 * up the whole; the normal form is normal; a path is an address in brackets;
 * the encodings come back.
 */
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/mail/addr.h"
#include "lib/mail/utf8.h"
#include "lib/smtp/xtext.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void
check(int good)
{
	if (!good)
		abort();
}

static void
check_domain(const char *p, size_t len)
{
	char once[ADDR_DOMAIN_MAX + 1], twice[ADDR_DOMAIN_MAX + 1];
	uint8_t ip[16], ip2[16];
	int family, family2;
	size_t i;
	int r;

	r = addr_domain_normalise(p, len, once);
	if (addr_literal_parse(p, len, &family, ip) == 0) {
		check(r == 0);
		check(
		    addr_literal_parse(once, strlen(once), &family2, ip2) == 0);
		check(family == family2 &&
		    memcmp(ip, ip2, family == AF_INET ? 4 : 16) == 0);
	} else {
		check((r == 0) == addr_domain_valid(p, len, ADDR_UTF8));
	}
	if (r < 0)
		return;
	for (i = 0; once[i] != '\0'; i++)
		check(once[i] > ' ' && once[i] < 0x7f &&
		    !(once[i] >= 'A' && once[i] <= 'Z'));
	check(addr_domain_normalise(once, i, twice) == 0);
	check(strcmp(once, twice) == 0);
}

static void
check_path(const char *text, size_t len, const struct addr *a)
{
	char path[ADDR_PATH_MAX + 8];
	struct addr b;

	path[0] = '<';
	memcpy(path + 1, text, len);
	memcpy(path + 1 + len, "> X=Y", 5);
	check(addr_parse_path(path, len + 6, ADDR_UTF8, &b, NULL) ==
	    (ssize_t)len + 2);
	check(b.len == a->len && memcmp(b.text, a->text, a->len) == 0);
	check(b.local_len == a->local_len && b.domain_len == a->domain_len);
	check(addr_equal(a, &b));
}

static void
check_xtext(const char *text, size_t len)
{
	char *out = malloc(8 * len + 8), *back = malloc(8 * len + 8);
	ssize_t n, m;
	bool bad;
	int ascii;

	if (out == NULL || back == NULL)
		abort();
	n = smtp_xtext_encode(text, len, out, 8 * len + 8);
	check(n >= (ssize_t)len && out[n] == '\0');
	bad = memchr(text, '\0', len) || memchr(text, '\r', len) ||
	    memchr(text, '\n', len);
	m = smtp_xtext_decode(out, (size_t)n, back, 8 * len + 8);
	check(bad ? m == PE_SYNTAX
		  : m == (ssize_t)len && memcmp(back, text, len) == 0);
	n = smtp_xtext_decode(text, len, out, len + 1);
	check((n >= 0) == smtp_xtext_valid(text, len));
	if (n >= 0) {
		m = smtp_xtext_encode(out, (size_t)n, back, 8 * len + 8);
		check(m >= 0);
		m = smtp_xtext_decode(back, (size_t)m, back, 8 * len + 8);
		check(m == n && memcmp(back, out, (size_t)n) == 0);
	}
	n = smtp_utf8_addr_decode(text, len, out, len + 1);
	if (n >= 0) {
		check(utf8_valid(out, (size_t)n));
		for (ascii = 0; ascii < 2; ascii++) {
			m = smtp_utf8_addr_encode(
			    out, (size_t)n, ascii, back, 8 * len + 8);
			check(m >= 0);
			if (ascii)
				check(!utf8_has_8bit(back, (size_t)m));
			m = smtp_utf8_addr_decode(
			    back, (size_t)m, back, 8 * len + 8);
			check(m == n && memcmp(back, out, (size_t)n) == 0);
		}
	}
	free(out);
	free(back);
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct addr_verdict v;
	struct addr a, plain;
	char local[ADDR_LOCAL_MAX + 1], *text;
	const char *why = NULL;
	ssize_t used;
	size_t i;

	if (size > 1000)
		return 0;
	text = malloc(size + (size == 0));
	if (text == NULL)
		return 0;
	memcpy(text, data, size);
	check_domain(text, size);
	check_xtext(text, size);
	used = addr_parse_path(text, size, ADDR_UTF8, &a, &why);
	check(used < 0 ? why != NULL : used >= 2 && used <= (ssize_t)size);
	addr_check(text, size, &v);
	check(v.reason != NULL);
	check((addr_parse(text, size, 0, &plain, NULL) == 0) ==
	    (v.valid && !v.needs_utf8));
	if (v.valid) {
		check(addr_parse(text, size, ADDR_UTF8, &a, NULL) == 0);
		check(a.text == text && a.len == size && size <= ADDR_MAX);
		check(a.local == text && text[a.local_len] == '@');
		check(a.domain == text + a.local_len + 1 &&
		    a.local_len + 1 + a.domain_len == size);
		check(a.local_len >= 1 && a.local_len <= ADDR_LOCAL_MAX);
		check(utf8_valid(text, size));
		for (i = 0; i < size; i++)
			check((unsigned char)text[i] >= ' ' && text[i] != 0x7f);
		check(addr_local_unquote(&a, local) <= a.local_len);
		check(addr_equal(&a, &a));
		check(a.literal ==
		    addr_domain_is_literal(a.domain, a.domain_len));
		check_domain(a.domain, a.domain_len);
		check_path(text, size, &a);
	}
	free(text);
	return 0;
}
