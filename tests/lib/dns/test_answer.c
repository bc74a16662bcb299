/*
 * test_answer.c - the flat form: what goes in comes out, and nothing that breaks
 * a rule of dns.h goes through in either direction.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/dns/dns.h"

#define N(x) (sizeof(x) / sizeof((x)[0]))

static const uint8_t v4[4] = { 192, 0, 2, 1 };
static const uint8_t digest[32] = { 0xab, 0, 0xcd };
static const struct dns_rr rr_a[] = { { .host = "", .data = v4, .data_len = 4 },
	{ .host = "", .data = v4, .data_len = 4 } };
static const struct dns_rr rr_mx[] = { { .preference = 10,
					   .host = "mx1.example" },
	{ .preference = 20, .host = "we\\032ird.example" } };
static const struct dns_rr rr_null_mx[] = { { .host = "" } };
static const struct dns_rr rr_txt[] = {
	{ .host = "",
	    .data = (const uint8_t *)"v=STSv1;\0\xff",
	    .data_len = 10 },
	{ .host = "" }
};
static const struct dns_rr rr_tlsa[] = { { .usage = 3,
    .selector = 1,
    .mtype = 1,
    .host = "",
    .data = digest,
    .data_len = 32 } };

#define NAMED .name = "a.example", .canon = "a.example", .reason = ""
#define DATA(t, r)                                                    \
	.state = DNS_INSECURE, .kind = DNS_DATA, .type = t, .rrs = r, \
	.rrs_len = N(r), .ede = DNS_EDE_NONE, .ttl_s = 0x01020304

static const struct dns_answer good[] = {
	{ NAMED, DATA(DNS_A, rr_a) },
	{ NAMED, DATA(DNS_MX, rr_mx) },
	{ NAMED, DATA(DNS_MX, rr_null_mx) },
	{ NAMED, DATA(DNS_TXT, rr_txt) },
	{ NAMED, DATA(DNS_TLSA, rr_tlsa) },
	{ NAMED, .state = DNS_SECURE, .kind = DNS_NODATA, .type = DNS_AAAA },
	{ .name = "a.example",
	    .canon = "b.example",
	    .chain = true,
	    .reason = "",
	    .state = DNS_SECURE,
	    .kind = DNS_NXDOMAIN,
	    .type = DNS_AAAA },
	{ .name = "a.example",
	    .canon = "a.example",
	    .reason = "no one there",
	    .why = DNS_WHY_BOGUS,
	    .ede = 9,
	    .type = DNS_TLSA },
};

static const struct {
	const char *name;
	struct dns_answer a;
} bad[] = {
	{ "indeterminate with data",
	    { NAMED, .kind = DNS_DATA, .type = DNS_A, .rrs = rr_a,
		.rrs_len = 2 } },
	{ "indeterminate nodata",
	    { NAMED, .kind = DNS_NODATA, .type = DNS_A } },
	{ "indeterminate with records",
	    { .name = "a",
		.canon = "a",
		.reason = "r",
		.why = DNS_WHY_BUSY,
		.type = DNS_A,
		.rrs = rr_a,
		.rrs_len = 2 } },
	{ "indeterminate without why",
	    { .name = "a", .canon = "a", .reason = "r", .type = DNS_A } },
	{ "secure with why",
	    { NAMED, .state = DNS_SECURE, .kind = DNS_NODATA,
		.why = DNS_WHY_BUSY, .type = DNS_A } },
	{ "secure none",
	    { NAMED, .state = DNS_SECURE, .kind = DNS_NONE, .type = DNS_A } },
	{ "data without records",
	    { NAMED, .state = DNS_SECURE, .kind = DNS_DATA, .type = DNS_A } },
	{ "unknown type",
	    { NAMED, .state = DNS_SECURE, .kind = DNS_NODATA, .type = 255 } },
	{ "name not normal",
	    { .name = "A.example",
		.canon = "A.example",
		.reason = "",
		.state = DNS_SECURE,
		.kind = DNS_NODATA,
		.type = DNS_A } },
	{ "chain without flag",
	    { .name = "a",
		.canon = "b",
		.reason = "",
		.state = DNS_SECURE,
		.kind = DNS_NODATA,
		.type = DNS_A } },
	{ "A of 3 bytes",
	    { NAMED, .state = DNS_SECURE, .kind = DNS_DATA, .type = DNS_A,
		.rrs_len = 1,
		.rrs =
		    &(const struct dns_rr){
			.host = "", .data = v4, .data_len = 3 } } },
	{ "A of 4 as AAAA", { NAMED, DATA(DNS_AAAA, rr_a) } },
	{ "MX as A", { NAMED, DATA(DNS_A, rr_mx) } },
	{ "control byte in host",
	    { NAMED, .state = DNS_SECURE, .kind = DNS_DATA, .type = DNS_MX,
		.rrs_len = 1,
		.rrs = &(const struct dns_rr){ .host = "a\nb" } } },
	{ "control byte in reason",
	    { .name = "a",
		.canon = "a",
		.reason = "a\nb",
		.why = DNS_WHY_BUSY,
		.type = DNS_A } },
};

static void
same(const struct dns_answer *a, const struct dns_answer *b)
{
	size_t i;

	assert_int_equal(a->state, b->state);
	assert_int_equal(a->kind, b->kind);
	assert_int_equal(a->why, b->why);
	assert_int_equal(a->type, b->type);
	assert_int_equal(a->ede, b->ede);
	assert_int_equal(a->ttl_s, b->ttl_s);
	assert_int_equal(a->chain, b->chain);
	assert_string_equal(a->name, b->name);
	assert_string_equal(a->canon, b->canon);
	assert_string_equal(a->reason, b->reason);
	assert_int_equal(a->rrs_len, b->rrs_len);
	for (i = 0; i < a->rrs_len; i++) {
		assert_int_equal(a->rrs[i].preference, b->rrs[i].preference);
		assert_int_equal(a->rrs[i].usage, b->rrs[i].usage);
		assert_int_equal(a->rrs[i].selector, b->rrs[i].selector);
		assert_int_equal(a->rrs[i].mtype, b->rrs[i].mtype);
		assert_string_equal(a->rrs[i].host, b->rrs[i].host);
		assert_int_equal(a->rrs[i].data_len, b->rrs[i].data_len);
		if (a->rrs[i].data_len > 0)
			assert_memory_equal(
			    a->rrs[i].data, b->rrs[i].data, a->rrs[i].data_len);
	}
}

static void
test_round_trip(void **state)
{
	struct dns_answer *out, *copy;
	struct buf b;
	size_t i;

	(void)state;
	for (i = 0; i < N(good); i++) {
		buf_init(&b, DNS_ANSWER_MAX);
		assert_int_equal(dns_answer_encode(&good[i], &b), 0);
		assert_int_equal(
		    dns_answer_decode(buf_data(&b), buf_len(&b), &out), 0);
		same(&good[i], out);
		assert_int_equal(dns_answer_dup(out, &copy), 0);
		assert_int_equal(dns_answer_size(copy), dns_answer_size(out));
		dns_answer_free(out);
		same(&good[i], copy);
		dns_answer_free(copy);
		buf_done(&b);
	}
	dns_answer_free(NULL);
}

static void
test_rules(void **state)
{
	struct dns_answer *out = NULL;
	struct buf b;
	size_t i;

	(void)state;
	buf_init(&b, DNS_ANSWER_MAX);
	for (i = 0; i < N(bad); i++) {
		if (dns_answer_encode(&bad[i].a, &b) != -EINVAL ||
		    dns_answer_dup(&bad[i].a, &out) != -EINVAL)
			fail_msg("%s was accepted", bad[i].name);
		assert_int_equal(buf_len(&b), 0);
	}
	buf_done(&b);
}

/* Every cut and every extra byte is refused, and so is any changed byte that
 * would give an answer that encodes to something else. */
static void
test_bytes(void **state)
{
	struct dns_answer *out;
	uint8_t bytes[1024];
	struct buf b, again;
	size_t i, k, n;
	unsigned v;

	(void)state;
	for (i = 0; i < N(good); i++) {
		buf_init(&b, sizeof(bytes));
		assert_int_equal(dns_answer_encode(&good[i], &b), 0);
		n = buf_len(&b);
		for (k = 0; k < n; k++) {
			/* an exact block, so that a sanitizer sees over-reads */
			uint8_t *cut = malloc(k + 1);

			assert_non_null(cut);
			memcpy(cut, buf_data(&b), k);
			assert_int_equal(
			    dns_answer_decode(cut, k, &out), PE_SYNTAX);
			free(cut);
		}
		memcpy(bytes, buf_data(&b), n);
		bytes[n] = 0;
		assert_int_equal(
		    dns_answer_decode(bytes, n + 1, &out), PE_SYNTAX);
		for (k = 0; k < n; k++) {
			for (v = 1; v < 256; v = v * 3 + 1) {
				bytes[k] ^= (uint8_t)v;
				if (dns_answer_decode(bytes, n, &out) == 0) {
					buf_init(&again, sizeof(bytes));
					assert_int_equal(
					    dns_answer_encode(out, &again), 0);
					assert_int_equal(buf_len(&again), n);
					assert_memory_equal(
					    buf_data(&again), bytes, n);
					buf_done(&again);
					dns_answer_free(out);
				}
				bytes[k] ^= (uint8_t)v;
			}
		}
		buf_done(&b);
	}
}

static void
test_bounds(void **state)
{
	static uint8_t big[UINT16_MAX];
	struct dns_rr rrs[5];
	struct dns_answer a = { NAMED, .state = DNS_SECURE, .kind = DNS_DATA,
		.type = DNS_TXT, .rrs = rrs },
			  *out;
	struct buf b;
	size_t i;

	(void)state;
	for (i = 0; i < N(rrs); i++)
		rrs[i] = (struct dns_rr){
			.host = "", .data = big, .data_len = sizeof(big)
		};
	buf_init(&b, 10 * DNS_ANSWER_MAX);
	a.rrs_len = 3;
	assert_int_equal(dns_answer_encode(&a, &b), 0);
	a.rrs_len = 5;
	assert_int_equal(dns_answer_encode(&a, &b), PE_FULL);
	assert_int_equal(dns_answer_dup(&a, &out), PE_TOO_LONG);
	buf_done(&b);
	buf_init(&b, 1000);
	a.rrs_len = 3;
	assert_int_equal(dns_answer_encode(&a, &b), PE_FULL);
	assert_int_equal(buf_len(&b), 0);
	buf_done(&b);
}

static void
test_failed(void **state)
{
	char huge[2000];
	struct dns_answer *a;

	(void)state;
	a = dns_answer_failed(
	    "a.example", DNS_MX, DNS_WHY_SERVFAIL, 22, "line\none\xff");
	assert_non_null(a);
	assert_int_equal(a->state, DNS_INDETERMINATE);
	assert_int_equal(a->kind, DNS_NONE);
	assert_string_equal(a->reason, "line?one?");
	dns_answer_free(a);
	a = dns_answer_failed(
	    "bad..name \n", DNS_MX, DNS_WHY_NAME, DNS_EDE_NONE, NULL);
	assert_non_null(a);
	assert_string_equal(a->name, "bad..name??");
	assert_string_equal(a->reason, "name");
	dns_answer_free(a);
	memset(huge, 'a', sizeof(huge) - 1);
	huge[sizeof(huge) - 1] = '\0';
	a = dns_answer_failed(huge, DNS_MX, DNS_WHY_NAME, DNS_EDE_NONE, huge);
	assert_non_null(a);
	dns_answer_free(a);
	assert_null(dns_answer_failed(
	    "a..b", DNS_MX, DNS_WHY_BUSY, DNS_EDE_NONE, NULL));
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_failed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
