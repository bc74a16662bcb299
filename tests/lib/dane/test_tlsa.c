/*
 * test_tlsa.c - which TLSA records count: by themselves, beside others, and the
 * digest of a set; and the names for DANE-TA.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/dane/names.h"
#include "lib/dane/tlsa.h"
#include "tests/lib/tls/tls_certs.h"

static const uint8_t zeros[128];

static struct facts_tlsa_rr
rr(uint8_t usage, uint8_t selector, uint8_t mtype, size_t len)
{
	struct facts_tlsa_rr r = { usage, selector, mtype, zeros, len };

	return r;
}

/* DANE-24, DANE-34 */
static void
one_record(void **state)
{
	static const struct {
		uint8_t usage, selector, mtype;
		size_t len;
		enum dane_fate want;
	} rows[] = {
		{ 3, 1, 1, 32, DANE_COUNTS },
		{ 3, 0, 1, 32, DANE_COUNTS },
		{ 2, 1, 1, 32, DANE_COUNTS },
		{ 2, 0, 2, 64, DANE_COUNTS },
		{ 0, 1, 1, 32, DANE_USAGE },
		{ 1, 1, 1, 32, DANE_USAGE },
		{ 4, 1, 1, 32, DANE_USAGE },
		{ 255, 1, 1, 32, DANE_USAGE },
		{ 3, 2, 1, 32, DANE_SELECTOR },
		{ 3, 255, 1, 32, DANE_SELECTOR },
		{ 3, 1, 3, 32, DANE_MATCHING },
		{ 3, 1, 255, 32, DANE_MATCHING },
		{ 3, 1, 1, 31, DANE_LENGTH },
		{ 3, 1, 1, 33, DANE_LENGTH },
		{ 3, 1, 1, 64, DANE_LENGTH },
		{ 3, 1, 2, 32, DANE_LENGTH },
		{ 3, 1, 2, 63, DANE_LENGTH },
		{ 3, 1, 1, 0, DANE_SHORT },
		{ 3, 1, 0, 0, DANE_SHORT },
		{ 3, 0, 0, 100, DANE_UNDECODED },
		{ 2, 1, 0, 100, DANE_UNDECODED },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct facts_tlsa_rr r = rr(rows[i].usage, rows[i].selector,
		    rows[i].mtype, rows[i].len);

		if (dane_rr_fate(&r) != rows[i].want)
			fail_msg(
			    "row %zu: %s", i, dane_fate_text(dane_rr_fate(&r)));
	}
}

/* Full(0) is a certificate or a key, whole and nothing behind it. */
static void
full_records(void **state)
{
	struct test_cert c = test_cert_new("a", NULL, NULL, 1, 10);
	unsigned char *cert = NULL, *key = NULL, longer[4096];
	int cert_len = i2d_X509(c.x, &cert), key_len = i2d_PUBKEY(c.key, &key);
	struct facts_tlsa_rr r = { 2, 0, 0, cert, (size_t)cert_len };

	(void)state;
	assert_int_equal(dane_rr_fate(&r), DANE_COUNTS);
	r.data_len--;
	assert_int_equal(dane_rr_fate(&r), DANE_UNDECODED);
	memcpy(longer, cert, (size_t)cert_len);
	longer[cert_len] = 0;
	r.data = longer;
	r.data_len = (size_t)cert_len + 1;
	assert_int_equal(dane_rr_fate(&r), DANE_UNDECODED);
	r = (struct facts_tlsa_rr){ 3, 1, 0, key, (size_t)key_len };
	assert_int_equal(dane_rr_fate(&r), DANE_COUNTS);
	r.selector = 0; /* a key is no certificate */
	assert_int_equal(dane_rr_fate(&r), DANE_UNDECODED);
	OPENSSL_free(cert);
	OPENSSL_free(key);
	test_cert_done(&c);
}

/* DANE-35: per usage and selector, after the malformed are gone. */
static void
agility(void **state)
{
	struct test_cert c = test_cert_new("a", NULL, NULL, 1, 10);
	unsigned char *cert = NULL;
	int len = i2d_X509(c.x, &cert);
	struct facts_tlsa_rr in[] = {
		rr(3, 1, 1, 32), /* weaker than the next */
		rr(3, 1, 2, 64),
		rr(3, 0, 1, 32), /* another selector */
		rr(2, 1, 1, 32), /* another usage; the next is malformed */
		rr(2, 1, 2, 63),
		{ 3, 1, 9, zeros, 70 },		/* unknown outranks nothing */
		{ 2, 0, 0, cert, (size_t)len }, /* Full outranks nothing */
		rr(2, 0, 1, 32),
		rr(1, 1, 2, 64),
	};
	static const enum dane_fate want[] = { DANE_WEAKER, DANE_COUNTS,
		DANE_COUNTS, DANE_COUNTS, DANE_LENGTH, DANE_MATCHING,
		DANE_COUNTS, DANE_COUNTS, DANE_USAGE };
	struct facts_tlsa_rr out[DANE_RECORDS_MAX];
	enum dane_fate fates[9];
	size_t i;

	(void)state;
	assert_int_equal(dane_select(in, 9, out, fates), 5);
	for (i = 0; i < 9; i++)
		if (fates[i] != want[i])
			fail_msg("record %zu: %s", i, dane_fate_text(fates[i]));
	assert_int_equal(out[0].mtype, 2);
	assert_int_equal(dane_select(in, 9, out, NULL), 5);
	assert_int_equal(dane_select(in, 0, out, NULL), 0);
	assert_int_equal(dane_select(&in[8], 1, out, NULL), 0);
	OPENSSL_free(cert);
	test_cert_done(&c);
}

/* A bound, not a growth: what is over it cannot match. */
static void
too_many(void **state)
{
	struct facts_tlsa_rr in[DANE_RECORDS_MAX + 3], out[DANE_RECORDS_MAX];
	enum dane_fate fates[DANE_RECORDS_MAX + 3];
	size_t i;

	(void)state;
	for (i = 0; i < DANE_RECORDS_MAX + 3; i++)
		in[i] = rr(3, 1, 1, 32);
	assert_int_equal(dane_select(in, DANE_RECORDS_MAX + 3, out, fates),
	    DANE_RECORDS_MAX);
	assert_int_equal(fates[DANE_RECORDS_MAX - 1], DANE_COUNTS);
	assert_int_equal(fates[DANE_RECORDS_MAX], DANE_OVER);
}

static void
rdata(void **state)
{
	static const uint8_t bytes[] = { 3, 1, 1, 0xab, 0xcd };
	struct facts_tlsa_rr r;

	(void)state;
	assert_int_equal(dane_rdata_parse(bytes, 0, &r), PE_SYNTAX);
	assert_int_equal(dane_rdata_parse(bytes, 2, &r), PE_SYNTAX);
	assert_int_equal(dane_rdata_parse(bytes, 3, &r), 0);
	assert_int_equal(r.data_len, 0);
	assert_int_equal(dane_rr_fate(&r), DANE_SHORT);
	assert_int_equal(dane_rdata_parse(bytes, 5, &r), 0);
	assert_int_equal(r.usage, 3);
	assert_int_equal(r.selector, 1);
	assert_int_equal(r.mtype, 1);
	assert_int_equal(r.data_len, 2);
	assert_memory_equal(r.data, bytes + 3, 2);
}

static void
text(void **state)
{
	static const struct {
		const char *in;
		int want;
		size_t len;
	} rows[] = {
		{ "3 1 1 00ff", 0, 2 },
		{ "  2\t0  2 AbCd 12", 0, 3 },
		{ "3 1 1 a b c d", 0, 2 },
		{ "3 1 1", 0, 0 },
		{ "255 255 255 00", 0, 1 },
		{ "3 1 1 0", PE_SYNTAX, 0 },
		{ "3 1 1 0g", PE_SYNTAX, 0 },
		{ "256 1 1 00", PE_SYNTAX, 0 },
		{ "0003 1 1 00", 0, 1 },
		{ "00003 1 1 00", PE_SYNTAX, 0 },
		{ "3 1", PE_SYNTAX, 0 },
		{ "3,1,1 00", PE_SYNTAX, 0 },
		{ "-3 1 1 00", PE_SYNTAX, 0 },
		{ "", PE_SYNTAX, 0 },
		{ "3 1 1 000102030405060708", PE_TOO_LONG, 0 },
	};
	uint8_t data[8];
	struct facts_tlsa_rr r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int got = dane_text_parse(rows[i].in, data, sizeof(data), &r);

		if (got != rows[i].want ||
		    (got == 0 && r.data_len != rows[i].len))
			fail_msg("'%s': %d", rows[i].in, got);
	}
	assert_int_equal(dane_text_parse("3 0 1 1fE0", data, 8, &r), 0);
	assert_memory_equal(data, "\x1f\xe0", 2);
	assert_ptr_equal(r.data, data);
}

static void
digest(void **state)
{
	struct facts_tlsa_rr a[] = { rr(3, 1, 1, 32), rr(2, 1, 1, 32) },
			     b[] = { rr(2, 1, 1, 32), rr(3, 1, 1, 32) };
	uint8_t x[FACTS_TLSA_DIGEST_LEN], y[FACTS_TLSA_DIGEST_LEN];

	(void)state;
	assert_int_equal(dane_digest("mx.example", a, 2, x), 0);
	assert_int_equal(dane_digest("mx.example", b, 2, y), 0);
	assert_memory_equal(x, y, sizeof(x)); /* whatever the order */
	assert_int_equal(dane_digest("mx.example", a, 1, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
	assert_int_equal(dane_digest("mx2.example", a, 2, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
	a[0].selector = 0;
	assert_int_equal(dane_digest("mx.example", a, 2, y), 0);
	assert_memory_not_equal(x, y, sizeof(x));
}

/* DANE-25, DANE-27 */
static void
names_matter(void **state)
{
	struct facts_tlsa_rr rrs[] = { { .usage = 3 }, { .usage = 3 },
		{ .usage = 2 } };

	(void)state;
	assert_false(dane_needs_name(rrs, 1));
	assert_false(dane_needs_name(rrs, 2));
	assert_true(dane_needs_name(rrs, 3));
}

/* DANE-30, DANE-31, DANE-32 */
static void
reference_names(void **state)
{
	static const struct {
		const char *what;
		enum facts_via via;
		enum dns_state mx;
		const char *canon, *base, *want;
	} rows[] = {
		{ "secure MX", FACTS_VIA_MX, DNS_SECURE, NULL, NULL,
		    "mx.example.net example.com" },
		{ "secure MX, alias of a host", FACTS_VIA_MX, DNS_SECURE, NULL,
		    "real.example.org", "real.example.org example.com" },
		{ "secure MX of an alias", FACTS_VIA_MX, DNS_SECURE,
		    "example.org", NULL,
		    "mx.example.net example.com example.org" },
		{ "the next hop is the host", FACTS_VIA_MX, DNS_SECURE, NULL,
		    "example.com", "example.com" },
		{ "insecure MX", FACTS_VIA_MX, DNS_INSECURE, "example.org",
		    NULL, "mx.example.net" },
		{ "no MX", FACTS_VIA_IMPLICIT, DNS_SECURE, NULL, "example.com",
		    "example.com" },
		{ "no MX, an alias", FACTS_VIA_IMPLICIT, DNS_SECURE,
		    "example.org", "example.org", "example.org example.com" },
		{ "no MX, an alias with records at itself", FACTS_VIA_IMPLICIT,
		    DNS_SECURE, "example.org", "example.com", "example.com" },
	};
	struct facts f = { .domain = "example.com" };
	struct facts_host h = { .name = "mx.example.net" };
	const char *names[DANE_NAMES_MAX];
	char got[256];
	size_t i, k, n;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		f.via = rows[i].via;
		f.mx_state = rows[i].mx;
		f.canon = rows[i].canon;
		h.tlsa_base = rows[i].base;
		n = dane_names(&f, &h, names);
		got[0] = '\0';
		for (k = 0; k < n; k++) {
			strcat(got, k > 0 ? " " : "");
			strcat(got, names[k]);
		}
		if (strcmp(got, rows[i].want) != 0)
			fail_msg("%s: %s", rows[i].what, got);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_record),
		cmocka_unit_test(full_records),
		cmocka_unit_test(agility),
		cmocka_unit_test(too_many),
		cmocka_unit_test(rdata),
		cmocka_unit_test(text),
		cmocka_unit_test(digest),
		cmocka_unit_test(names_matter),
		cmocka_unit_test(reference_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
