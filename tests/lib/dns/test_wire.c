/*
 * test_wire.c - questions as bytes, and hand-made replies: every outcome that
 * standards DNS-03..06 and DANE-07 name.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/dns/wire.h"
#include "tests/lib/dns/packet.h"

static struct packet pk;
static uint8_t query[DNS_QUERY_SIZE];
static size_t query_len;

static void
ask(const char *name, uint16_t type)
{
	int n = dns_query_build(
	    name, type, 0x1234, DNS_Q_AD | DNS_Q_DO, NULL, query);

	assert_true(n > 0);
	query_len = (size_t)n;
}

/* From an exact block, so that a sanitizer sees over-reads. */
static int
parse(struct dns_reply *ret)
{
	uint8_t *exact = malloc(pk.len);
	int r;

	assert_non_null(exact);
	memcpy(exact, pk.b, pk.len);
	r = dns_reply_parse(exact, pk.len, query, query_len, ret);
	free(exact);
	return r;
}

static void
test_query(void **state)
{
	static const uint8_t want[] = { 0x12, 0x34, 0x01, 0x20, 0, 1, 0, 0, 0,
		0, 0, 1, 2, 'm', 'x', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0,
		0, 52, 0, 1, 0, 0, 41, 0x04, 0xd0, 0, 0, 0x80, 0, 0, 0 };
	uint8_t mix[32], q[DNS_QUERY_SIZE];

	(void)state;
	ask("mx.example", DNS_TLSA);
	assert_int_equal(query_len, sizeof(want));
	assert_memory_equal(query, want, sizeof(want));
	assert_int_equal(
	    dns_query_build("mx.example", DNS_A, 1, DNS_Q_CD, NULL, q), 39);
	assert_int_equal(q[3], 0x10);
	assert_int_equal(q[35], 0);
	assert_int_equal(
	    dns_query_build("mx.example", DNS_A, 1, DNS_Q_NO_OPT, NULL, q), 28);
	assert_int_equal(q[11], 0);
	memset(mix, 0x55, sizeof(mix));
	assert_int_equal(dns_query_build("ab1c.de", DNS_A, 1, 0, mix, q), 36);
	assert_memory_equal(&q[12],
	    "\x04"
	    "Ab1c"
	    "\x02"
	    "dE",
	    9);
	assert_int_equal(
	    dns_query_build("Mx.example", DNS_A, 1, 0, NULL, q), -EINVAL);
	assert_int_equal(dns_query_build("", DNS_A, 1, 0, NULL, q), -EINVAL);
}

/* ---- a table of replies ----------------------------------------------------
 */

static void
r_a(void)
{
	pk_reply(&pk, query, F_RA | F_AD, 0);
	pk_a(&pk, "@", 300, 1);
	pk_a(&pk, "@", 200, 2);
}

static void
r_other_owner(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_a(&pk, "other.example", 300, 1);
	pk_a(&pk, "@", 300, 2);
	pk_rr(&pk, SEC_AN, "@", 28, 1);
	pk_rr_end(&pk); /* a broken AAAA that nobody asked for */
	pk_rr(&pk, SEC_AN, "@", 1, 1);
	pk_bytes(&pk, "xx", 2);
	pk_rr_end(&pk);
	pk.b[pk.rd_at - 5] = 3; /* class CHAOS */
}

static void
r_mixed_case(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_cname(&pk, "WWW.Example", 60, "Target.EXAMPLE");
	pk_a(&pk, "tarGet.example", 300, 9);
}

static void
r_chain(void)
{
	pk_reply(&pk, query, F_RA | F_AD, 0);
	/* out of order on purpose */
	pk_a(&pk, "c.example", 300, 1);
	pk_cname(&pk, "b.example", 30, "c.example");
	pk_cname(&pk, "@", 600, "b.example");
}

static void
r_chain_incomplete(void)
{
	pk_reply(&pk, query, F_RA | F_AD, 0);
	pk_cname(&pk, "@", 600, "b.example");
	pk_cname(&pk, "b.example", 30, "c.example");
}

static void
r_chain_nodata(void)
{
	r_chain_incomplete();
	pk_soa(&pk, "example", 20, 900);
}

static void
r_chain_foreign_soa(void)
{
	r_chain_incomplete();
	pk_soa(&pk, "other", 20, 900);
}

static void
r_chain_nxdomain(void)
{
	pk_reply(&pk, query, F_RA, 3);
	pk_cname(&pk, "@", 600, "b.example");
	pk_soa(&pk, "example", 900, 120);
}

static void
r_loop(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_cname(&pk, "@", 600, "b.example");
	pk_cname(&pk, "b.example", 600, "www.example");
}

static void
chain_of(int n)
{
	char from[32], to[32];
	int i;

	pk_reply(&pk, query, F_RA, 0);
	pk_cname(&pk, "@", 600, "c1.example");
	for (i = 1; i < n; i++) {
		(void)snprintf(from, sizeof(from), "c%d.example", i);
		(void)snprintf(to, sizeof(to), "c%d.example", i + 1);
		pk_cname(&pk, from, 600, to);
	}
	(void)snprintf(from, sizeof(from), "c%d.example", n);
	pk_a(&pk, from, 600, 1);
}

static void
r_chain16(void)
{
	chain_of(16);
}

static void
r_chain17(void)
{
	chain_of(17);
}

static void
r_two_cnames(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_cname(&pk, "@", 600, "b.example");
	pk_cname(&pk, "@", 600, "c.example");
	pk_a(&pk, "b.example", 600, 1);
}

static void
r_nodata(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_soa(&pk, "example", 900, 120);
}

static void
r_nodata_no_soa(void)
{
	pk_reply(&pk, query, F_RA, 0);
}

static void
r_nxdomain(void)
{
	pk_reply(&pk, query, F_RA | F_AD, 3);
	pk_soa(&pk, "", 100, 86400);
}

static void
r_nxdomain_with_data(void)
{
	pk_reply(&pk, query, F_RA, 3);
	pk_a(&pk, "@", 300, 1);
}

static void
r_referral(void)
{
	pk_reply(&pk, query, 0, 0);
	pk_rr(&pk, SEC_NS, "example", 2, 300);
	pk_name(&pk, "ns.example");
	pk_rr_end(&pk);
}

static void
r_servfail(void)
{
	pk_reply(&pk, query, F_RA, 2);
	pk_opt(&pk, 0, -1, "");
}

static void
r_bogus(void)
{
	pk_reply(&pk, query, F_RA, 2);
	pk_opt(&pk, 0, 9, "no key\nhere");
}

static void
r_refused(void)
{
	pk_reply(&pk, query, 0, 5);
}

static void
r_badvers(void)
{
	pk_reply(&pk, query, 0, 0);
	pk_opt(&pk, 1, -1, "");
}

static void
r_tc(void)
{
	r_a();
	pk.b[2] |= 2;
	pk.len -= 3; /* truncated in the middle of a record */
}

static void
r_two_opts(void)
{
	r_a();
	pk_opt(&pk, 0, -1, "");
	pk_opt(&pk, 0, -1, "");
}

static void
r_short_a(void)
{
	r_a();
	pk_rr(&pk, SEC_AN, "@", 1, 300);
	pk_bytes(&pk, "xxx", 3);
	pk_rr_end(&pk);
}

static void
r_count_lies(void)
{
	r_a();
	pk.b[7]++;
}

static void
r_rdlen_lies(void)
{
	r_a();
	pk.b[pk.rd_at + 1]++;
}

static void
r_pointer_self(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_a(&pk, "@", 300, 1);
	/* its owner points at itself */
	pk.b[pk.len - 16] = 0xc0;
	pk.b[pk.len - 15] = (uint8_t)(pk.len - 16);
}

static void
r_pointer_forward(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_a(&pk, "@", 300, 1);
	pk.b[pk.len - 15] = (uint8_t)(pk.len - 2);
}

static void
r_pointer_header(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_a(&pk, "@", 300, 1);
	pk.b[pk.len - 15] = 4;
}

static void
r_ttl_negative(void)
{
	pk_reply(&pk, query, F_RA, 0);
	pk_a(&pk, "@", 0x80000001u, 1);
}

static void
r_soa_broken(void)
{
	r_nodata();
	pk.b[pk.rd_at + 1]--;
	pk.len--;
}

static const struct {
	const char *name;
	void (*make)(void);
	enum dns_reply_kind kind;
	enum dns_why why;
	enum dns_kind answer;
	uint32_t ttl_s;
	size_t rrs;
	const char *canon;
} replies[] = {
	{ "two addresses", r_a, DNS_REPLY_ANSWER, 0, DNS_DATA, 200, 2,
	    "www.example" },
	{ "wrong owner, type, class", r_other_owner, DNS_REPLY_ANSWER, 0,
	    DNS_DATA, 300, 1, "www.example" },
	{ "case", r_mixed_case, DNS_REPLY_ANSWER, 0, DNS_DATA, 60, 1,
	    "target.example" },
	{ "chain", r_chain, DNS_REPLY_ANSWER, 0, DNS_DATA, 30, 1, "c.example" },
	{ "chain leaves", r_chain_incomplete, DNS_REPLY_CHAIN, 0, DNS_NODATA,
	    30, 0, "c.example" },
	{ "chain nodata", r_chain_nodata, DNS_REPLY_ANSWER, 0, DNS_NODATA, 20,
	    0, "c.example" },
	{ "chain, SOA of another zone", r_chain_foreign_soa, DNS_REPLY_CHAIN, 0,
	    DNS_NODATA, 30, 0, "c.example" },
	{ "chain nxdomain", r_chain_nxdomain, DNS_REPLY_ANSWER, 0, DNS_NXDOMAIN,
	    120, 0, "b.example" },
	{ "chain loop", r_loop, DNS_REPLY_ERROR, DNS_WHY_CHAIN, 0, 0, 0, "" },
	{ "chain of 16", r_chain16, DNS_REPLY_ANSWER, 0, DNS_DATA, 600, 1,
	    "c16.example" },
	{ "chain of 17", r_chain17, DNS_REPLY_ERROR, DNS_WHY_CHAIN, 0, 0, 0,
	    "" },
	{ "two CNAMEs", r_two_cnames, DNS_REPLY_ERROR, DNS_WHY_MALFORMED, 0, 0,
	    0, "" },
	{ "nodata", r_nodata, DNS_REPLY_ANSWER, 0, DNS_NODATA, 120, 0,
	    "www.example" },
	{ "nodata without SOA", r_nodata_no_soa, DNS_REPLY_ANSWER, 0,
	    DNS_NODATA, 0, 0, "www.example" },
	{ "nxdomain", r_nxdomain, DNS_REPLY_ANSWER, 0, DNS_NXDOMAIN, 100, 0,
	    "www.example" },
	{ "nxdomain with data", r_nxdomain_with_data, DNS_REPLY_ERROR,
	    DNS_WHY_MALFORMED, 0, 0, 0, "" },
	{ "referral", r_referral, DNS_REPLY_ERROR, DNS_WHY_REFUSED, 0, 0, 0,
	    "" },
	{ "servfail", r_servfail, DNS_REPLY_ERROR, DNS_WHY_SERVFAIL, 0, 0, 0,
	    "" },
	{ "bogus", r_bogus, DNS_REPLY_ERROR, DNS_WHY_BOGUS, 0, 0, 0, "" },
	{ "refused", r_refused, DNS_REPLY_ERROR, DNS_WHY_REFUSED, 0, 0, 0, "" },
	{ "badvers", r_badvers, DNS_REPLY_ERROR, DNS_WHY_REFUSED, 0, 0, 0, "" },
	{ "truncated", r_tc, DNS_REPLY_ERROR, DNS_WHY_TRUNCATED, 0, 0, 0, "" },
	{ "two OPTs", r_two_opts, DNS_REPLY_ERROR, DNS_WHY_MALFORMED, 0, 0, 0,
	    "" },
	{ "one short A", r_short_a, DNS_REPLY_ERROR, DNS_WHY_MALFORMED, 0, 0, 0,
	    "" },
	{ "count lies", r_count_lies, DNS_REPLY_ERROR, DNS_WHY_MALFORMED, 0, 0,
	    0, "" },
	{ "rdlength lies", r_rdlen_lies, DNS_REPLY_ERROR, DNS_WHY_MALFORMED, 0,
	    0, 0, "" },
	{ "pointer to itself", r_pointer_self, DNS_REPLY_ERROR,
	    DNS_WHY_MALFORMED, 0, 0, 0, "" },
	{ "pointer forward", r_pointer_forward, DNS_REPLY_ERROR,
	    DNS_WHY_MALFORMED, 0, 0, 0, "" },
	{ "pointer into header", r_pointer_header, DNS_REPLY_ERROR,
	    DNS_WHY_MALFORMED, 0, 0, 0, "" },
	{ "ttl over 2^31", r_ttl_negative, DNS_REPLY_ANSWER, 0, DNS_DATA, 0, 1,
	    "www.example" },
	{ "broken SOA", r_soa_broken, DNS_REPLY_ERROR, DNS_WHY_MALFORMED, 0, 0,
	    0, "" },
};

static void
test_replies(void **state)
{
	struct dns_reply out;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		ask("www.example", DNS_A);
		replies[i].make();
		print_message("%s\n", replies[i].name);
		assert_int_equal(parse(&out), 0);
		assert_int_equal(out.kind, replies[i].kind);
		assert_int_equal(out.why, replies[i].why);
		if (out.kind == DNS_REPLY_ERROR) {
			assert_null(out.answer);
			assert_true(out.detail[0] != '\0');
			continue;
		}
		assert_int_equal(out.answer->state, DNS_INSECURE);
		assert_int_equal(out.answer->kind, replies[i].answer);
		assert_int_equal(out.answer->ttl_s, replies[i].ttl_s);
		assert_int_equal(out.answer->rrs_len, replies[i].rrs);
		assert_string_equal(out.answer->name, "www.example");
		assert_string_equal(out.answer->canon, replies[i].canon);
		dns_reply_done(&out);
	}
}

/* No reply may be read differently when cut: it is malformed, or no reply. */
static void
test_cut(void **state)
{
	struct dns_reply out;
	size_t i, len;

	(void)state;
	for (i = 0; i < sizeof(replies) / sizeof(replies[0]); i++) {
		ask("www.example", DNS_A);
		replies[i].make();
		pk_opt(&pk, 0, -1, "");
		for (len = pk.len - 1; len > 0; len--) {
			pk.len = len;
			if (parse(&out) != 0)
				continue;
			assert_int_equal(out.kind, DNS_REPLY_ERROR);
			dns_reply_done(&out);
		}
	}
}

static void
test_flags(void **state)
{
	struct dns_reply out;

	(void)state;
	ask("www.example", DNS_A);
	r_bogus();
	assert_int_equal(parse(&out), 0);
	assert_true(out.has_opt);
	assert_int_equal(out.rcode, 2);
	assert_int_equal(out.ede, 9);
	assert_string_equal(out.ede_text, "no key?here");
	r_badvers();
	assert_int_equal(parse(&out), 0);
	assert_int_equal(out.rcode, 16);
	r_a();
	assert_int_equal(parse(&out), 0);
	assert_true(out.ad);
	assert_false(out.has_opt);
	dns_reply_done(&out);
	r_other_owner();
	assert_int_equal(parse(&out), 0);
	assert_false(out.ad);
	dns_reply_done(&out);
	assert_true(dns_ede_is_bogus(6) && dns_ede_is_bogus(25));
	assert_false(dns_ede_is_bogus(22) || dns_ede_is_bogus(DNS_EDE_NONE));
	assert_string_equal(dns_ede_str(22), "No Reachable Authority");
	assert_string_equal(dns_ede_str(DNS_EDE_NONE), "");
}

static void
test_not_ours(void **state)
{
	static const struct {
		const char *name;
		size_t at;
		uint8_t value;
	} rows[] = {
		{ "id", 1, 0x35 },
		{ "a question, not a reply", 2, 0x01 },
		{ "opcode", 2, 0xa8 },
		{ "no question", 5, 0 },
		{ "two questions", 5, 2 },
		{ "name", 13, 'x' },
		{ "type", 26, 28 },
		{ "class", 28, 3 },
	};
	uint8_t mix[32];
	struct dns_reply out;
	size_t i;
	int n;

	(void)state;
	ask("www.example", DNS_A);
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r_a();
		assert_int_not_equal(pk.b[rows[i].at], rows[i].value);
		pk.b[rows[i].at] = rows[i].value;
		if (parse(&out) != PE_NOT_FOUND)
			fail_msg("%s was accepted", rows[i].name);
	}
	/* other case is fine, unless the case was the secret */
	r_a();
	pk.b[13] = 'W';
	assert_int_equal(parse(&out), 0);
	dns_reply_done(&out);
	memset(mix, 0xff, sizeof(mix));
	n = dns_query_build("www.example", DNS_A, 1, 0, mix, query);
	query_len = (size_t)n;
	r_a();
	assert_int_equal(parse(&out), 0);
	dns_reply_done(&out);
	pk.b[13] = 'w';
	assert_int_equal(parse(&out), PE_NOT_FOUND);
	assert_int_equal(
	    dns_reply_parse(pk.b, pk.len, query, 14, &out), -EINVAL);
}

/* ---- records ---------------------------------------------------------------
 */

static void
answer_one(struct dns_reply *out)
{
	assert_int_equal(parse(out), 0);
	assert_int_equal(out->kind, DNS_REPLY_ANSWER);
	assert_int_equal(out->answer->kind, DNS_DATA);
}

static void
malformed(void)
{
	struct dns_reply out;

	assert_int_equal(parse(&out), 0);
	assert_int_equal(out.kind, DNS_REPLY_ERROR);
	assert_int_equal(out.why, DNS_WHY_MALFORMED);
}

static void
test_mx(void **state)
{
	struct dns_reply out;

	(void)state;
	ask("www.example", DNS_MX);
	pk_reply(&pk, query, F_RA, 0);
	pk_mx(&pk, "@", 60, 65535, "MX1.Example");
	pk_mx(&pk, "@", 60, 0, "");
	pk_mx(&pk, "@", 60, 5, "bad host.a\\b");
	pk_rr(&pk, SEC_AN, "@", 15, 60);
	pk_u16(&pk, 7);
	pk_u8(&pk, 3);
	pk_bytes(&pk, "a.b", 3); /* a dot inside a label */
	pk_u16(&pk, 0xc00c);
	pk_rr_end(&pk);
	answer_one(&out);
	assert_int_equal(out.answer->rrs_len, 4);
	assert_int_equal(out.answer->rrs[0].preference, 65535);
	assert_string_equal(out.answer->rrs[0].host, "mx1.example");
	assert_string_equal(out.answer->rrs[1].host, "");
	assert_string_equal(out.answer->rrs[2].host, "bad\\032host.a\\092b");
	assert_string_equal(out.answer->rrs[3].host, "a\\046b.www.example");
	dns_reply_done(&out);

	pk_rr(&pk, SEC_AN, "@", 15, 60);
	pk_u16(&pk, 1);
	pk_rr_end(&pk);
	malformed(); /* no host */
	pk_reply(&pk, query, F_RA, 0);
	pk_mx(&pk, "@", 60, 1, "mx.example");
	pk_u8(&pk, 0);
	pk_rr_end(&pk);
	malformed(); /* a byte too many */
}

static void
test_long_names(void **state)
{
	struct dns_reply out;
	int i;

	(void)state;
	/* 4 labels of 63 bytes 0x01: 257 octets, one label too long */
	ask("www.example", DNS_CNAME);
	for (i = 3; i <= 4; i++) {
		int k, j;

		pk_reply(&pk, query, F_RA, 0);
		pk_rr(&pk, SEC_AN, "@", 5, 60);
		for (k = 0; k < i; k++) {
			pk_u8(&pk, 63);
			for (j = 0; j < 63; j++)
				pk_u8(&pk, 1);
		}
		pk_u8(&pk, 0);
		pk_rr_end(&pk);
		if (i == 4) {
			malformed();
			continue;
		}
		answer_one(&out);
		assert_int_equal(
		    strlen(out.answer->rrs[0].host), 3 * 63 * 4 + 2);
		/* CNAME itself was asked for: not followed */
		assert_false(out.answer->chain);
		dns_reply_done(&out);
	}
	pk_reply(&pk, query, F_RA, 0);
	pk_rr(&pk, SEC_AN, "@", 5, 60);
	pk_u8(&pk, 0x40); /* a label type that does not exist */
	pk_u8(&pk, 0);
	pk_rr_end(&pk);
	malformed();
}

static void
test_txt(void **state)
{
	static const uint8_t want[] = "v=STSv1; id=1;\0\xff";
	struct dns_reply out;
	unsigned i;

	(void)state;
	ask("_mta-sts.example", DNS_TXT);
	pk_reply(&pk, query, F_RA, 0);
	pk_rr(&pk, SEC_AN, "@", 16, 60);
	pk_u8(&pk, 8);
	pk_bytes(&pk, "v=STSv1;", 8);
	pk_u8(&pk, 0);
	pk_u8(&pk, 8);
	pk_bytes(&pk, " id=1;\0\xff", 8);
	pk_rr_end(&pk);
	pk_rr(&pk, SEC_AN, "@", 16, 60);
	pk_u8(&pk, 0);
	pk_rr_end(&pk);
	pk_rr(&pk, SEC_AN, "@", 16, 60);
	for (i = 0; i < 100; i++) {
		pk_u8(&pk, 255);
		memset(&pk.b[pk.len], 'x', 255);
		pk.len += 255;
	}
	pk_rr_end(&pk);
	answer_one(&out);
	assert_int_equal(out.answer->rrs_len, 3);
	assert_int_equal(out.answer->rrs[0].data_len, 16);
	assert_memory_equal(out.answer->rrs[0].data, want, 16);
	assert_int_equal(out.answer->rrs[1].data_len, 0);
	assert_int_equal(out.answer->rrs[2].data_len, 25500);
	dns_reply_done(&out);

	pk_rr(&pk, SEC_AN, "@", 16, 60);
	pk_u8(&pk, 3);
	pk_bytes(&pk, "xx", 2);
	pk_rr_end(&pk);
	malformed(); /* a string over the end */
	pk_reply(&pk, query, F_RA, 0);
	pk_rr(&pk, SEC_AN, "@", 16, 60);
	pk_rr_end(&pk);
	malformed(); /* no string */
}

static void
test_tlsa(void **state)
{
	struct dns_reply out;

	(void)state;
	ask("_25._tcp.mx.example", DNS_TLSA);
	pk_reply(&pk, query, F_RA | F_AD, 0);
	pk_cname(&pk, "@", 60, "tlsa.example");
	pk_rr(&pk, SEC_AN, "tlsa.example", 52, 30);
	pk_bytes(&pk, "\x03\x01\x01\xaa\x00\xbb", 6);
	pk_rr_end(&pk);
	pk_rr(&pk, SEC_AN, "tlsa.example", 52, 30);
	pk_bytes(&pk, "\xff\x00\x02", 3); /* unusable, still a record */
	pk_rr_end(&pk);
	answer_one(&out);
	assert_true(out.answer->chain);
	assert_int_equal(out.answer->rrs_len, 2);
	assert_int_equal(out.answer->rrs[0].usage, 3);
	assert_int_equal(out.answer->rrs[0].selector, 1);
	assert_int_equal(out.answer->rrs[0].mtype, 1);
	assert_int_equal(out.answer->rrs[0].data_len, 3);
	assert_memory_equal(out.answer->rrs[0].data, "\xaa\x00\xbb", 3);
	assert_int_equal(out.answer->rrs[1].usage, 255);
	assert_int_equal(out.answer->rrs[1].data_len, 0);
	dns_reply_done(&out);

	pk_rr(&pk, SEC_AN, "tlsa.example", 52, 30);
	pk_bytes(&pk, "\x03\x01", 2);
	pk_rr_end(&pk);
	malformed();
}

static void
test_many(void **state)
{
	struct dns_reply out;
	unsigned i;

	(void)state;
	ask("www.example", DNS_A);
	pk_reply(&pk, query, F_RA, 0);
	for (i = 0; i < DNS_ANSWER_RRS_MAX; i++)
		pk_a(&pk, "@", 60, i & 0xff);
	answer_one(&out);
	assert_int_equal(out.answer->rrs_len, DNS_ANSWER_RRS_MAX);
	dns_reply_done(&out);
	pk_a(&pk, "@", 60, 1);
	malformed();
	while (pk.len < sizeof(pk.b) - 32)
		pk_a(&pk, "@", 60, 1);
	malformed();
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_query),
		cmocka_unit_test(test_replies),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_flags),
		cmocka_unit_test(test_not_ours),
		cmocka_unit_test(test_mx),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_txt),
		cmocka_unit_test(test_tlsa),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
