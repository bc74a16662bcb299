/*
 * test_host.c - which questions are asked for the TLSA records of a host, in
 * which order, and what the answers make of it.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/dane/host.h"

static const uint8_t digest32[32] = { 7 };
static const struct dns_rr usable[] = { { .usage = 3,
    .selector = 1,
    .mtype = 1,
    .host = "",
    .data = digest32,
    .data_len = 32 } };
static const struct dns_rr unusable[] = { { .usage = 1,
    .selector = 1,
    .mtype = 1,
    .host = "",
    .data = digest32,
    .data_len = 32 } };
static const struct dns_rr ip[] = {
	{ .host = "", .data = (const uint8_t *)"\x7f\0\0\1", .data_len = 4 }
};
static const struct dns_rr alias[] = { { .host = "step.example" } };

/* The kinds of answers, as one letter each. */
static struct dns_answer
answer(uint16_t type, const char *name, const char *canon, char what)
{
	struct dns_answer a = { .state = DNS_SECURE,
		.kind = DNS_DATA,
		.type = type,
		.ede = DNS_EDE_NONE,
		.ttl_s = 60,
		.name = name,
		.canon = canon != NULL ? canon : name,
		.chain = canon != NULL,
		.reason = "",
		.rrs = type == DNS_TLSA ? usable
		    : type == DNS_CNAME ? alias
					: ip,
		.rrs_len = 1 };

	switch (what) {
	case 'S': /* secure data */
		return a;
	case 'U': /* secure, none usable */
		a.rrs = unusable;
		return a;
	case 'I': /* insecure data */
		a.state = DNS_INSECURE;
		return a;
	case 'n': /* secure absence */
	case 'x':
	case 'i': /* insecure absence */
		a.kind = what == 'x' ? DNS_NXDOMAIN : DNS_NODATA;
		a.state = what == 'i' ? DNS_INSECURE : DNS_SECURE;
		break;
	default: /* '?': could not be found out */
		a.state = DNS_INDETERMINATE;
		a.kind = DNS_NONE;
		a.why = DNS_WHY_SERVFAIL;
		a.reason = "SERVFAIL";
		break;
	}
	a.rrs = NULL;
	a.rrs_len = 0;
	return a;
}

#define T1 "TLSA _25._tcp.mx.example;"
#define TC "TLSA _25._tcp.real.example;"
#define CN "CNAME mx.example;"

static const struct {
	const char *name;
	char a, aaaa;	     /* kinds of the address answers; 0: not asked */
	const char *canon;   /* where the addresses' chain ends, or NULL */
	const char *answers; /* to the questions, in order */
	const char *asked;
	enum facts_tlsa want;
	const char *base;
} rows[] = {
	/* DANE-14: without an address there is no TLSA question */
	{ "no address", 'n', 'n', NULL, "", "", FACTS_TLSA_NOT_ASKED, NULL },
	{ "addresses in doubt", '?', '?', NULL, "", "", FACTS_TLSA_NOT_ASKED,
	    NULL },
	/* DANE-15 (!): not for an insecure address */
	{ "insecure address", 'I', 'i', NULL, "", "", FACTS_TLSA_INSECURE,
	    NULL },
	{ "insecure, other family in doubt", 'I', '?', NULL, "", "",
	    FACTS_TLSA_INSECURE, NULL },
	/* no alias */
	{ "usable", 'S', 'n', NULL, "S", T1, FACTS_TLSA_USABLE, "mx.example" },
	{ "IPv6 alone", 'n', 'S', NULL, "S", T1, FACTS_TLSA_USABLE,
	    "mx.example" },
	{ "IPv6 not asked", 'S', 0, NULL, "S", T1, FACTS_TLSA_USABLE,
	    "mx.example" },
	{ "IPv6 secure, IPv4 not", 'I', 'S', NULL, "S", T1, FACTS_TLSA_USABLE,
	    "mx.example" },
	{ "IPv6 in doubt", 'S', '?', NULL, "S", T1, FACTS_TLSA_USABLE,
	    "mx.example" },
	{ "unusable", 'S', 'n', NULL, "U", T1, FACTS_TLSA_UNUSABLE,
	    "mx.example" },
	{ "nodata", 'S', 'n', NULL, "n", T1, FACTS_TLSA_ABSENT, NULL },
	{ "nxdomain", 'S', 'n', NULL, "x", T1, FACTS_TLSA_ABSENT, NULL },
	{ "insecure records are none", 'S', 'n', NULL, "I", T1,
	    FACTS_TLSA_INSECURE, NULL },
	{ "insecure absence", 'S', 'n', NULL, "i", T1, FACTS_TLSA_INSECURE,
	    NULL },
	/* DANE-06 */
	{ "TLSA in doubt", 'S', 'n', NULL, "?", T1, FACTS_TLSA_INDETERMINATE,
	    NULL },
	/* DANE-18: expanded first, then the original, nothing between */
	{ "alias, records at its end", 'S', 'n', "real.example", "S", TC,
	    FACTS_TLSA_USABLE, "real.example" },
	{ "alias, none usable at its end", 'S', 'n', "real.example", "U", TC,
	    FACTS_TLSA_UNUSABLE, "real.example" },
	{ "alias, records at itself", 'S', 'n', "real.example", "xS", TC T1,
	    FACTS_TLSA_USABLE, "mx.example" },
	{ "alias, insecure at its end", 'S', 'n', "real.example", "IS", TC T1,
	    FACTS_TLSA_USABLE, "mx.example" },
	{ "alias, nothing", 'S', 'n', "real.example", "nx", TC T1,
	    FACTS_TLSA_ABSENT, NULL },
	{ "alias, one insecure", 'S', 'n', "real.example", "in", TC T1,
	    FACTS_TLSA_INSECURE, NULL },
	{ "alias, doubt at its end", 'S', 'n', "real.example", "?", TC,
	    FACTS_TLSA_INDETERMINATE, NULL },
	{ "alias, doubt at itself", 'S', 'n', "real.example", "n?", TC T1,
	    FACTS_TLSA_INDETERMINATE, NULL },
	/* DANE-19: insecure on the way: is the name itself secure? */
	{ "insecure alias", 'I', 'n', "real.example", "I", CN,
	    FACTS_TLSA_INSECURE, NULL },
	{ "secure alias of something insecure", 'I', 'n', "real.example", "SS",
	    CN T1, FACTS_TLSA_USABLE, "mx.example" },
	{ "the same without records", 'I', 'n', "real.example", "Sn", CN T1,
	    FACTS_TLSA_ABSENT, NULL },
	{ "the same, records in doubt", 'I', 'n', "real.example", "S?", CN T1,
	    FACTS_TLSA_INDETERMINATE, NULL },
	{ "alias in doubt", 'I', 'n', "real.example", "?", CN,
	    FACTS_TLSA_INDETERMINATE, NULL },
	{ "no alias after all, in a signed zone", 'I', 'n', "real.example",
	    "nS", CN T1, FACTS_TLSA_USABLE, "mx.example" },
	{ "no alias after all", 'I', 'n', "real.example", "i", CN,
	    FACTS_TLSA_INSECURE, NULL },
	/* what cannot be asked for */
	{ "alias of no host name", 'S', 'n', "r\\032eal.example", "", "",
	    FACTS_TLSA_INDETERMINATE, NULL },
};

static void
run(size_t i)
{
	const char *answers = rows[i].answers;
	struct dns_answer a = answer(
			      DNS_A, "mx.example", rows[i].canon, rows[i].a),
			  aaaa = answer(DNS_AAAA, "mx.example", rows[i].canon,
			      rows[i].aaaa),
			  t;
	struct dane_question q;
	struct dane_host h;
	char asked[512] = "";
	size_t at = 0;

	dane_host_start(&h, "mx.example", 25, rows[i].a != 0 ? &a : NULL,
	    rows[i].aaaa != 0 ? &aaaa : NULL);
	while (dane_host_next(&h, &q)) {
		at += (size_t)snprintf(asked + at, sizeof(asked) - at, "%s %s;",
		    dns_type_str(q.type), q.name);
		if (*answers == '\0')
			fail_msg("%s: asks too much: %s", rows[i].name, asked);
		t = answer(q.type, q.name, NULL, *answers++);
		assert_int_equal(dane_host_take(&h, &t), 0);
	}
	if (h.state != rows[i].want || strcmp(asked, rows[i].asked) != 0 ||
	    *answers != '\0')
		fail_msg("%s: state %d, asked %s", rows[i].name, (int)h.state,
		    asked);
	if ((h.base == NULL) != (rows[i].base == NULL) ||
	    (h.base != NULL && strcmp(h.base, rows[i].base) != 0))
		fail_msg("%s: base %s", rows[i].name, h.base);
	assert_true((h.n_rrs > 0) == (h.state == FACTS_TLSA_USABLE));
	assert_true((h.n_found > 0) ==
	    (h.state == FACTS_TLSA_USABLE || h.state == FACTS_TLSA_UNUSABLE));
	/* doubt and loss are told */
	if (h.state == FACTS_TLSA_INDETERMINATE ||
	    h.state == FACTS_TLSA_INSECURE)
		assert_true(h.reason[0] != '\0');
	dane_host_done(&h);
}

static void
steps(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		run(i);
}

/* DANE-20 */
static void
port_is_part_of_the_name(void **state)
{
	struct dns_answer a = answer(DNS_A, "mx.example", NULL, 'S');
	struct dane_question q;
	struct dane_host h;

	(void)state;
	dane_host_start(&h, "mx.example", 2525, &a, NULL);
	assert_true(dane_host_next(&h, &q));
	assert_string_equal(q.name, "_2525._tcp.mx.example");
	assert_int_equal(q.type, DNS_TLSA);
	dane_host_done(&h);
}

/* A name too long for a TLSA record in front of it has none. */
static void
long_name(void **state)
{
	char name[DNS_NAME_SIZE];
	struct dns_answer a;
	struct dane_question q;
	struct dane_host h;
	size_t i;

	(void)state;
	memset(name, 'a', DNS_NAME_MAX);
	name[DNS_NAME_MAX] = '\0';
	for (i = 60; i < DNS_NAME_MAX; i += 60)
		name[i] = '.';
	assert_true(dns_name_is_normal(name));
	a = answer(DNS_A, name, NULL, 'S');
	dane_host_start(&h, name, 25, &a, NULL);
	assert_false(dane_host_next(&h, &q));
	assert_int_equal(h.state, FACTS_TLSA_ABSENT);
	dane_host_done(&h);
	/* the end of the alias is too long, the alias is not */
	a = answer(DNS_A, "mx.example", name, 'S');
	dane_host_start(&h, "mx.example", 25, &a, NULL);
	assert_true(dane_host_next(&h, &q));
	assert_string_equal(q.name, "_25._tcp.mx.example");
	dane_host_done(&h);
}

/* Only the answer that was asked for counts. */
static void
other_answers_are_refused(void **state)
{
	struct dns_answer a = answer(DNS_A, "mx.example", NULL, 'S'), t;
	struct dane_host h;

	(void)state;
	dane_host_start(&h, "mx.example", 25, &a, NULL);
	t = answer(DNS_TLSA, "_25._tcp.other.example", NULL, 'n');
	assert_int_equal(dane_host_take(&h, &t), -EINVAL);
	t = answer(DNS_CNAME, "_25._tcp.mx.example", NULL, 'n');
	assert_int_equal(dane_host_take(&h, &t), -EINVAL);
	assert_int_equal(h.step, DANE_STEP_TLSA);
	t = answer(DNS_TLSA, "_25._tcp.mx.example", NULL, 'n');
	assert_int_equal(dane_host_take(&h, &t), 0);
	assert_int_equal(dane_host_take(&h, &t), -EINVAL);
	dane_host_done(&h);
}

static void
facts_and_ttl(void **state)
{
	static const uint8_t nothing[FACTS_TLSA_DIGEST_LEN];
	struct dns_answer a = answer(DNS_A, "mx.example", NULL, 'S'), t;
	struct facts_host fh = { .name = "mx.example" };
	struct dane_host h;

	(void)state;
	dane_host_start(&h, "mx.example", 25, &a, NULL);
	t = answer(DNS_TLSA, "_25._tcp.mx.example", NULL, 'S');
	t.ttl_s = 5;
	assert_int_equal(dane_host_take(&h, &t), 0);
	dane_host_facts(&h, &fh);
	assert_int_equal(h.ttl_s, 5);
	assert_int_equal(fh.tlsa, FACTS_TLSA_USABLE);
	assert_string_equal(fh.tlsa_base, "mx.example");
	assert_int_equal(fh.n_tlsa_rrs, 1);
	assert_memory_equal(fh.tlsa_rrs[0].data, digest32, 32);
	assert_memory_not_equal(fh.tlsa_digest, nothing, sizeof(nothing));
	dane_host_done(&h);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steps),
		cmocka_unit_test(port_is_part_of_the_name),
		cmocka_unit_test(long_name),
		cmocka_unit_test(other_answers_are_refused),
		cmocka_unit_test(facts_and_ttl),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
