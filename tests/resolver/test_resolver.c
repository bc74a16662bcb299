/*
 * test_resolver.c - the real resolver against scripted servers on loopback.
 *
 * Two servers, s[0] and s[1], asked in this order. Nothing sleeps: the loop runs
 * until what the test waits for has happened; a guard ends a test that hangs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/dns/dns.h"
#include "resolver/resolver.h"
#include "tests/resolver/dnsd.h"

static uv_loop_t loop;
static uv_timer_t guard;
static struct dnsd s[2];
static struct resolver *res;
static struct resolver_settings set;

/* One request and what came of it. */
struct ask {
	struct resolver_req req;
	struct dns_answer *a; /* a copy */
	int calls;
	bool inside; /* still inside resolver_ask() */
	int r;
};

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	(void)fprintf(stderr, "the test hangs\n");
	abort();
}

static void
setup_servers(dnsd_script *a, dnsd_script *b)
{
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_timer_init(&loop, &guard), 0);
	dnsd_start(&s[0], &loop, a);
	dnsd_start(&s[1], &loop, b);
	assert_int_equal(uv_timer_start(&guard, on_guard, 20000, 0), 0);
	set = (struct resolver_settings){ .n_servers = 2,
		.timeout_ms = 2000,
		.tries = 2,
		.max_ttl_s = 86400,
		.negative_ttl_s = 900,
		.cache_size = 1 << 20,
		.max_queries = 200 };
	memcpy(set.servers[0].text, s[0].text, sizeof(s[0].text));
	memcpy(set.servers[1].text, s[1].text, sizeof(s[1].text));
	set.servers[0].trust_ad = set.servers[1].trust_ad = true;
}

static void
begin(dnsd_script *a, dnsd_script *b)
{
	setup_servers(a, b);
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
}

static void
end(void)
{
	resolver_free(res);
	dnsd_stop(&s[0]);
	dnsd_stop(&s[1]);
	uv_close((uv_handle_t *)&guard, NULL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0); /* nothing is left open */
}

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct ask *k = arg;

	assert_false(k->inside);
	k->calls++;
	assert_int_equal(dns_answer_dup(a, &k->a), 0);
}

static void
ask_flags(struct ask *k, const char *name, uint16_t type, unsigned flags)
{
	const struct dns_answer *now = NULL;

	memset(k, 0, sizeof(*k));
	k->inside = true;
	k->r =
	    resolver_ask(res, &k->req, name, type, flags, on_answer, k, &now);
	k->inside = false;
	if (k->r == 1)
		on_answer(k, now);
}

static void
wait_for(struct ask *k)
{
	while (k->r == 0 && k->calls == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(k->calls, 1);
}

static struct dns_answer *
ask(const char *name, uint16_t type)
{
	struct ask k;

	ask_flags(&k, name, type, 0);
	assert_true(k.r >= 0);
	wait_for(&k);
	return k.a;
}

static void
expect_failed(const char *name, uint16_t type, enum dns_why why)
{
	struct dns_answer *a = ask(name, type);

	if (a->why != why)
		print_message("%s: %s\n", dns_why_str(a->why), a->reason);
	assert_int_equal(a->why, why);
	assert_int_equal(a->state, DNS_INDETERMINATE);
	assert_int_equal(a->kind, DNS_NONE);
	assert_int_equal(a->rrs_len, 0);
	assert_string_not_equal(a->reason, "");
	dns_answer_free(a);
}

static void
expect_a(const char *name, enum dns_state state, unsigned last)
{
	struct dns_answer *a = ask(name, DNS_A);

	if (a->state == DNS_INDETERMINATE)
		print_message("%s: %s\n", dns_why_str(a->why), a->reason);
	assert_int_equal(a->state, state);
	assert_int_equal(a->kind, DNS_DATA);
	assert_int_equal(a->rrs_len, 1);
	assert_int_equal(a->rrs[0].data[3], last);
	assert_string_equal(a->name, name);
	dns_answer_free(a);
}

/* ---- scripts ---------------------------------------------------------------
 */

static void
secure_1(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	pk_a(pk, "@", 300, 1);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
insecure_2(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 0);
	pk_a(pk, "@", 300, 2);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
silent(struct dnsd_query *q, struct packet *pk)
{
	(void)q;
	(void)pk;
}

static void
rcode(struct dnsd_query *q, struct packet *pk, unsigned code)
{
	pk_reply(pk, q->b, F_RA, code);
	if (q->opt)
		pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
servfail(struct dnsd_query *q, struct packet *pk)
{
	rcode(q, pk, 2);
}

static void
refused(struct dnsd_query *q, struct packet *pk)
{
	rcode(q, pk, 5);
}

static void
notimp(struct dnsd_query *q, struct packet *pk)
{
	rcode(q, pk, 4);
}

static void
formerr_with_opt(struct dnsd_query *q, struct packet *pk)
{
	rcode(q, pk, 1);
}

static void
nxdomain(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 3);
	pk_soa(pk, "example", 7200, 3600);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

/* ---- tests -----------------------------------------------------------------
 */

static void
check_flags(struct dnsd_query *q, struct packet *pk)
{
	assert_true(q->ad && q->dopt && q->opt && !q->cd);
	secure_1(q, pk);
}

static void
test_secure_and_cached(void **state)
{
	struct resolver_stats st;
	struct ask k;

	(void)state;
	begin(check_flags, silent);
	expect_a("www.example", DNS_SECURE, 1);
	assert_int_equal(s[0].udp_queries, 1);
	expect_a("www.example", DNS_SECURE, 1);
	assert_int_equal(s[0].udp_queries, 1);
	clock_test_advance_ms(299 * 1000);
	ask_flags(&k, "www.example", DNS_A, 0);
	assert_int_equal(k.r, 1); /* at once */
	assert_in_range(k.a->ttl_s, 0, 1);
	dns_answer_free(k.a);
	ask_flags(&k, "www.example", DNS_A, RESOLVER_FRESH);
	assert_int_equal(k.r, 0);
	wait_for(&k);
	assert_int_equal(k.a->ttl_s, 300);
	dns_answer_free(k.a);
	clock_test_advance_ms(301 * 1000);
	expect_a("www.example", DNS_SECURE, 1);
	assert_int_equal(s[0].udp_queries, 3);
	assert_int_equal(s[0].tcp_queries + s[1].udp_queries, 0);
	resolver_stats(res, &st);
	assert_int_equal(st.asked, 5);
	assert_int_equal(st.hits, 2);
	assert_int_equal(st.secure, 3);
	assert_true(st.servers[0].seen_ad && !st.servers[1].seen_ad);
	end();
}

static void
test_trust(void **state)
{
	(void)state;
	setup_servers(secure_1, silent);
	set.servers[0].trust_ad = false;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_a("www.example", DNS_INSECURE, 1);
	/* another trust: the cache must not answer with the old state */
	set.servers[0].trust_ad = true;
	assert_int_equal(resolver_configure(res, &set), 0);
	expect_a("www.example", DNS_SECURE, 1);
	end();
	begin(insecure_2, silent);
	expect_a("www.example", DNS_INSECURE, 2);
	end();
}

static void
test_negative(void **state)
{
	struct dns_answer *a;

	(void)state;
	begin(nxdomain, silent);
	a = ask("www.example", DNS_TLSA);
	assert_int_equal(a->state, DNS_SECURE);
	assert_int_equal(a->kind, DNS_NXDOMAIN);
	assert_int_equal(a->ttl_s, 900); /* the setting's bound */
	dns_answer_free(a);
	end();
}

static void
test_ttl_bounds(void **state)
{
	struct dns_answer *a;

	(void)state;
	setup_servers(secure_1, silent);
	set.max_ttl_s = 100;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	a = ask("a.example", DNS_A);
	assert_int_equal(a->ttl_s, 100);
	dns_answer_free(a);
	set.max_ttl_s = 86400;
	set.min_ttl_s = 1000;
	assert_int_equal(resolver_configure(res, &set), 0);
	a = ask("b.example", DNS_A);
	assert_int_equal(a->ttl_s, 1000);
	dns_answer_free(a);
	end();
}

static void
tlsa_60(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	pk_rr(pk, SEC_AN, "@", DNS_TLSA, 60);
	pk_bytes(pk, "\x03\x01\x01", 3);
	memset(&pk->b[pk->len], 0xab, 32);
	pk->len += 32;
	pk_rr_end(pk);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

/* TLSA records are not kept past their time, whatever min_ttl says (RFC 6698,
 * 8.2); less is always allowed. */
static void
test_ttl_of_tlsa(void **state)
{
	struct dns_answer *a;

	(void)state;
	setup_servers(tlsa_60, silent);
	set.min_ttl_s = 1000;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	a = ask("_25._tcp.a.example", DNS_TLSA);
	assert_int_equal(a->state, DNS_SECURE);
	assert_int_equal(a->ttl_s, 60);
	dns_answer_free(a);
	clock_test_advance_ms(61 * 1000);
	a = ask("_25._tcp.a.example", DNS_TLSA);
	dns_answer_free(a);
	assert_int_equal(s[0].udp_queries, 2);
	set.min_ttl_s = 0;
	set.max_ttl_s = 10;
	assert_int_equal(resolver_configure(res, &set), 0);
	a = ask("_25._tcp.b.example", DNS_TLSA);
	assert_int_equal(a->ttl_s, 10);
	dns_answer_free(a);
	end();
}

static void
test_timeout_failover(void **state)
{
	struct resolver_stats st;
	int i;

	(void)state;
	begin(silent, insecure_2);
	expect_a("n0.example", DNS_INSECURE, 2);
	assert_int_equal(s[0].udp_queries, 1);
	assert_int_equal(s[1].udp_queries, 1);
	/* after three failures in a row nobody waits for it any more */
	expect_a("n1.example", DNS_INSECURE, 2);
	expect_a("n2.example", DNS_INSECURE, 2);
	resolver_stats(res, &st);
	assert_false(st.servers[0].up);
	assert_int_equal(st.servers[0].timeouts, 3);
	for (i = 0; i < 20; i++) {
		char name[32];

		(void)snprintf(name, sizeof(name), "m%d.example", i);
		expect_a(name, DNS_INSECURE, 2);
	}
	assert_int_equal(s[0].udp_queries, 3);
	/* later one question tries it, and it is back */
	s[0].script = secure_1;
	clock_test_advance_ms(2000);
	expect_a("back.example", DNS_SECURE, 1);
	resolver_stats(res, &st);
	assert_true(st.servers[0].up);
	end();
}

static void
test_all_silent(void **state)
{
	struct ask k;

	(void)state;
	setup_servers(silent, silent);
	set.timeout_ms = 400;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_failed("www.example", DNS_MX, DNS_WHY_TIMEOUT);
	assert_int_equal(s[0].udp_queries, 2);
	assert_int_equal(s[1].udp_queries, 2);
	/* kept for a moment only */
	ask_flags(&k, "www.example", DNS_MX, 0);
	assert_int_equal(k.r, 1);
	assert_int_equal(k.a->why, DNS_WHY_TIMEOUT);
	dns_answer_free(k.a);
	clock_test_advance_ms(RESOLVER_FAIL_TTL_S * 1000 + 1);
	s[0].script = s[1].script = secure_1;
	expect_a("www.example", DNS_SECURE, 1);
	end();
}

static void
test_nobody_there(void **state)
{
	(void)state;
	setup_servers(silent, silent);
	/* closed ports: the kernel says so at once */
	(void)snprintf(set.servers[0].text, 64, "127.0.0.1:1");
	(void)snprintf(set.servers[1].text, 64, "127.0.0.1:1");
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_failed("www.example", DNS_MX, DNS_WHY_NETWORK);
	end();
}

static const struct {
	const char *name;
	dnsd_script *script;
	enum dns_why why;
} errors[] = {
	{ "servfail", servfail, DNS_WHY_SERVFAIL },
	{ "refused", refused, DNS_WHY_REFUSED },
	{ "notimp", notimp, DNS_WHY_REFUSED },
	{ "formerr", formerr_with_opt, DNS_WHY_REFUSED },
};

static void
test_errors(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		print_message("%s\n", errors[i].name);
		begin(errors[i].script, insecure_2);
		expect_a("www.example", DNS_INSECURE, 2);
		end();
		begin(errors[i].script, errors[i].script);
		expect_failed("www.example", DNS_A, errors[i].why);
		/* each server once, and for SERVFAIL once more with CD */
		assert_int_equal(s[0].udp_queries - s[0].cd_queries, 1);
		assert_int_equal(s[1].udp_queries - s[1].cd_queries, 1);
		end();
	}
}

static void
servfail_unless_cd(struct dnsd_query *q, struct packet *pk)
{
	if (q->cd)
		insecure_2(q, pk);
	else
		servfail(q, pk);
}

static void
ede_bogus(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 2);
	pk_opt(pk, 0, 9, "no key");
	dnsd_send(q, pk);
}

static void
ede_outage(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 2);
	pk_opt(pk, 0, 22, "");
	dnsd_send(q, pk);
}

/* What a validating server calls bogus is asked of nobody else. */
static void
test_bogus(void **state)
{
	struct dns_answer *a;

	(void)state;
	begin(ede_bogus, insecure_2);
	a = ask("www.example", DNS_A);
	assert_int_equal(a->why, DNS_WHY_BOGUS);
	assert_int_equal(a->ede, 9);
	assert_non_null(strstr(a->reason, "DNSKEY Missing: no key"));
	dns_answer_free(a);
	assert_int_equal(s[0].udp_queries, 1);
	assert_int_equal(s[1].udp_queries, 0);
	end();
	begin(servfail_unless_cd, insecure_2);
	expect_failed("www.example", DNS_A, DNS_WHY_BOGUS);
	assert_int_equal(s[0].cd_queries, 1);
	assert_int_equal(s[1].udp_queries, 0);
	end();
	begin(ede_outage, ede_outage);
	a = ask("www.example", DNS_A);
	assert_int_equal(a->why, DNS_WHY_SERVFAIL);
	assert_int_equal(a->ede, 22);
	dns_answer_free(a);
	end();
}

/* Validates: names that begin with "signed" are. */
static void
validates_2(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b,
	    F_RA | (strncmp(q->name, "signed", 6) == 0 ? F_AD : 0), 0);
	pk_a(pk, "@", 300, 2);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static const char *
validates(size_t i)
{
	static struct resolver_stats st;

	resolver_stats(res, &st);
	return st.servers[i].validates;
}

/*
 * An outage of the server that validates must not turn "secure" into "insecure"
 * by the one that does not (tls-policy, section 2).
 */
static void
test_mixed_servers(void **state)
{
	struct resolver_stats st;
	unsigned before;

	(void)state;
	begin(secure_1, insecure_2);
	expect_a("signed.example", DNS_SECURE, 1);
	resolver_stats(res, &st);
	assert_false(st.mixed);
	assert_string_equal(validates(1), "unknown");
	s[0].script = silent;
	expect_failed("a.example", DNS_A, DNS_WHY_UNVALIDATED);
	resolver_stats(res, &st);
	assert_true(st.mixed);
	assert_int_equal(st.doubted, 1);
	assert_string_equal(validates(0), "yes");
	assert_string_equal(validates(1), "no");
	/* found out once: asked, and asked for a name known to be signed */
	assert_int_equal(s[1].udp_queries, 2);
	expect_failed("b.example", DNS_A, DNS_WHY_UNVALIDATED);
	assert_int_equal(s[1].udp_queries, 3);
	/* a reload does not forget it */
	assert_int_equal(resolver_configure(res, &set), 0);
	expect_failed("c.example", DNS_A, DNS_WHY_UNVALIDATED);
	assert_int_equal(s[1].udp_queries, 4);
	/* later it is looked at again, and has learnt to validate */
	s[1].script = validates_2;
	clock_test_advance_ms(60001);
	expect_a("d.example", DNS_INSECURE, 2);
	assert_string_equal(validates(1), "yes");
	resolver_stats(res, &st);
	assert_false(st.mixed);
	before = s[1].udp_queries;
	expect_a("e.example", DNS_INSECURE, 2);
	/* looked at each time, unless it showed it in that very moment */
	assert_in_range(s[1].udp_queries, before + 1, before + 2);
	expect_a("signed2.example", DNS_SECURE, 2);
	end();
}

static void
expect_plain(const char *name, enum dns_state state, enum dns_why why)
{
	struct ask k;

	ask_flags(&k, name, DNS_A, RESOLVER_PLAIN);
	assert_true(k.r >= 0);
	wait_for(&k);
	assert_int_equal(k.a->state, state);
	assert_int_equal(k.a->why, why);
	dns_answer_free(k.a);
}

/* Who does not need the state gets what would be doubted; nobody else does, and
 * what failed validation is for nobody. */
static void
test_plain(void **state)
{
	struct ask k, p;

	(void)state;
	setup_servers(validates_2, silent);
	set.n_servers = 1;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_a("signed.example", DNS_SECURE, 2);
	expect_plain("signed.example", DNS_SECURE, DNS_WHY_NONE); /* kept */
	s[0].script = insecure_2;
	clock_test_advance_ms(10);
	/* also after the failure, which is kept for a moment */
	expect_failed("a.example", DNS_A, DNS_WHY_UNVALIDATED);
	expect_plain("a.example", DNS_INSECURE, DNS_WHY_NONE);
	expect_failed("a.example", DNS_A, DNS_WHY_UNVALIDATED);
	expect_plain("b.example", DNS_INSECURE, DNS_WHY_NONE);
	expect_failed("b.example", DNS_A, DNS_WHY_UNVALIDATED);
	/* both at once: two questions */
	ask_flags(&k, "c.example", DNS_A, 0);
	ask_flags(&p, "c.example", DNS_A, RESOLVER_PLAIN);
	wait_for(&k);
	wait_for(&p);
	assert_int_equal(k.a->why, DNS_WHY_UNVALIDATED);
	assert_int_equal(p.a->state, DNS_INSECURE);
	dns_answer_free(k.a);
	dns_answer_free(p.a);
	s[0].script = servfail;
	expect_plain("d.example", DNS_INDETERMINATE, DNS_WHY_SERVFAIL);
	s[0].script = validates_2;
	clock_test_advance_ms(5001);
	/* an ordinary answer is kept for all */
	expect_plain("e.example", DNS_INSECURE, DNS_WHY_NONE);
	ask_flags(&k, "e.example", DNS_A, 0);
	assert_int_equal(k.r, 1);
	dns_answer_free(k.a);
	end();
}

/* Secure, until it is exchanged for one that does not validate. */
static void
test_stops_validating(void **state)
{
	struct resolver_stats st;

	(void)state;
	setup_servers(validates_2, silent);
	set.n_servers = 1;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_a("a.example", DNS_INSECURE, 2); /* it may never validate */
	assert_int_equal(s[0].udp_queries, 1);
	expect_a("signed.example", DNS_SECURE, 2);
	clock_test_advance_ms(10);
	expect_a("b.example", DNS_INSECURE, 2); /* it still does */
	assert_int_equal(s[0].udp_queries, 4);
	s[0].script = insecure_2;
	clock_test_advance_ms(10);
	expect_failed("c.example", DNS_A, DNS_WHY_UNVALIDATED);
	expect_failed("signed2.example", DNS_A, DNS_WHY_UNVALIDATED);
	resolver_stats(res, &st);
	assert_true(st.expected && st.closed && !st.mixed);
	assert_string_equal(validates(0), "no");
	/* other settings of the same server do not forget it */
	assert_int_equal(resolver_configure(res, &set), 0);
	expect_failed("d.example", DNS_A, DNS_WHY_UNVALIDATED);
	/* neither does a failing server count as an answer */
	s[0].script = servfail;
	expect_failed("e.example", DNS_A, DNS_WHY_SERVFAIL);
	s[0].script = validates_2;
	clock_test_advance_ms(5001);
	expect_a("f.example", DNS_INSECURE, 2);
	resolver_stats(res, &st);
	assert_false(st.closed);
	/* a name that must not come back did */
	resolver_lets_bogus(res, true);
	expect_failed("g.example", DNS_A, DNS_WHY_UNVALIDATED);
	resolver_stats(res, &st);
	assert_true(st.closed);
	resolver_lets_bogus(res, false);
	expect_a("h.example", DNS_INSECURE, 2);
	end();
}

static void
count_seen(void *arg)
{
	++*(int *)arg;
}

/* What an earlier process saw; what the settings demand. */
static void
test_expected(void **state)
{
	struct resolver_stats st;
	uint16_t type;
	int seen = 0;

	(void)state;
	setup_servers(insecure_2, insecure_2);
	set.n_servers = 1;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	resolver_on_seen(res, count_seen, &seen);
	resolver_remember(res, "192.0.2.1:53", "signed.example", DNS_A);
	expect_a("a.example", DNS_INSECURE, 2);
	resolver_remember(res, s[0].text, "signed.example", DNS_MX);
	expect_failed("b.example", DNS_A, DNS_WHY_UNVALIDATED);
	assert_string_equal(resolver_signed(res, &type), "signed.example");
	assert_int_equal(type, DNS_MX);
	assert_int_equal(seen, 0); /* it was known */
	end();

	setup_servers(insecure_2, insecure_2);
	set.n_servers = 1;
	set.demand = true;
	(void)strcpy(set.check_name, "signed");
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	resolver_on_seen(res, count_seen, &seen);
	expect_failed("a.example", DNS_A, DNS_WHY_UNVALIDATED);
	resolver_stats(res, &st);
	assert_true(st.closed);
	s[0].script = validates_2;
	clock_test_advance_ms(5001);
	expect_a("b.example", DNS_INSECURE, 2);
	assert_int_equal(seen, 1);
	/* a name of which nobody is sure may be down or unsigned: the next one */
	expect_a("signed2.example", DNS_SECURE, 2);
	end();

	/* nobody is trusted: nothing can be demanded of them */
	setup_servers(insecure_2, insecure_2);
	set.demand = true;
	set.servers[0].trust_ad = set.servers[1].trust_ad = false;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_a("a.example", DNS_INSECURE, 2);
	end();
}

/* One that is not trusted needs no look: its AD would not be believed. */
static void
test_mixed_trust(void **state)
{
	struct resolver_stats st;

	(void)state;
	setup_servers(secure_1, validates_2);
	set.servers[1].trust_ad = false;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_a("signed.example", DNS_SECURE, 1);
	resolver_stats(res, &st);
	assert_true(st.mixed);
	s[0].script = servfail;
	expect_failed("signed2.example", DNS_A, DNS_WHY_UNVALIDATED);
	assert_int_equal(s[1].udp_queries, 1);
	s[0].script = secure_1;
	expect_a("signed3.example", DNS_SECURE, 1);
	end();
}

/* A chain that was insecure before the other server came in stays an answer. */
static void
chain_insecure(struct dnsd_query *q, struct packet *pk)
{
	if (strcmp(q->name, "signed.example") == 0) {
		secure_1(q, pk);
		return;
	}
	if (strcmp(q->name, "alias.example") != 0)
		return; /* silent */
	pk_reply(pk, q->b, F_RA, 0);
	pk_rr(pk, SEC_AN, "@", 5, 300);
	pk_name(pk, "target.example");
	pk_rr_end(pk);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
test_mixed_chain(void **state)
{
	(void)state;
	begin(chain_insecure, insecure_2);
	expect_a("signed.example", DNS_SECURE, 1);
	expect_a("alias.example", DNS_INSECURE, 2);
	end();
}

static void
tc_unless_tcp(struct dnsd_query *q, struct packet *pk)
{
	unsigned i;

	if (!q->tcp) {
		pk_reply(pk, q->b, F_RA | F_TC, 0);
		dnsd_send(q, pk);
		return;
	}
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	for (i = 0; i < 200; i++) { /* 7 KB */
		pk_rr(pk, SEC_AN, "@", 52, 60);
		pk_bytes(pk, "\x03\x01\x01", 3);
		memset(&pk->b[pk->len], (int)i, 32);
		pk->len += 32;
		pk_rr_end(pk);
	}
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
tc_always(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_TC, 0);
	dnsd_send(q, pk);
}

static void
test_truncated(void **state)
{
	struct dns_answer *a;

	(void)state;
	begin(tc_unless_tcp, silent);
	a = ask("_25._tcp.mx.example", DNS_TLSA);
	assert_int_equal(a->state, DNS_SECURE);
	assert_int_equal(a->rrs_len, 200);
	assert_int_equal(a->rrs[199].data[31], 199);
	dns_answer_free(a);
	assert_int_equal(s[0].udp_queries, 1);
	assert_int_equal(s[0].tcp_queries, 1);
	end();
	begin(tc_always, tc_always);
	expect_failed("www.example", DNS_A, DNS_WHY_TRUNCATED);
	end();
}

/* Between 512 and 1232 bytes UDP is enough (EDNS). */
static void
large_udp(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 0);
	pk_rr(pk, SEC_AN, "@", 16, 60);
	for (int i = 0; i < 4; i++) {
		pk_u8(pk, 250);
		memset(&pk->b[pk->len], 'x', 250);
		pk->len += 250;
	}
	pk_rr_end(pk);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
test_edns_size(void **state)
{
	struct dns_answer *a;

	(void)state;
	begin(large_udp, silent);
	a = ask("txt.example", DNS_TXT);
	assert_int_equal(a->kind, DNS_DATA);
	assert_int_equal(a->rrs[0].data_len, 1000);
	dns_answer_free(a);
	assert_int_equal(s[0].tcp_queries, 0);
	end();
}

/* Lies first, the truth after: another id, another name, then ours. */
static void
spoofed(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	pk_a(pk, "@", 300, 66);
	pk->b[1] ^= 1;
	dnsd_send(q, pk);
	pk->b[1] ^= 1;
	pk->b[13] = 'x';
	dnsd_send(q, pk);
	insecure_2(q, pk);
}

static void
test_wrong_id(void **state)
{
	(void)state;
	begin(spoofed, silent);
	expect_a("www.example", DNS_INSECURE, 2);
	end();
}

static void
broken(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	pk_a(pk, "@", 300, 1);
	pk->len -= 2;
	dnsd_send(q, pk);
}

static void
test_malformed(void **state)
{
	(void)state;
	begin(broken, insecure_2);
	expect_a("www.example", DNS_INSECURE, 2);
	end();
	begin(broken, broken);
	expect_failed("www.example", DNS_A, DNS_WHY_MALFORMED);
	end();
}

static unsigned mixed_queries;

static void
mixed(struct dnsd_query *q, struct packet *pk)
{
	size_t i;

	for (i = 12; q->b[i] != 0; i++)
		if (q->b[i] >= 'A' && q->b[i] <= 'Z') {
			mixed_queries++;
			break;
		}
	secure_1(q, pk);
}

static void
test_mixed_case(void **state)
{
	(void)state;
	setup_servers(secure_1, silent);
	set.mix_case = true;
	set.servers[0].network = true;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	mixed_queries = 0;
	s[0].script = mixed;
	expect_a("www.some-longer-name.example", DNS_SECURE, 1);
	assert_int_equal(mixed_queries, 1);
	/* not on this host's own addresses */
	set.servers[0].network = false;
	assert_int_equal(resolver_configure(res, &set), 0);
	expect_a("www.another-long-name.example", DNS_SECURE, 1);
	assert_int_equal(mixed_queries, 1);
	end();
}

/* A server that changes the case is found out, and asked without. */
static void
lowers(struct dnsd_query *q, struct packet *pk)
{
	size_t i;

	pk_reply(pk, q->b, F_RA | F_AD, 0);
	pk_a(pk, "@", 300, 1);
	pk_opt(pk, 0, -1, "");
	for (i = 12; pk->b[i] != 0; i++)
		if (pk->b[i] >= 'A' && pk->b[i] <= 'Z')
			pk->b[i] |= 0x20;
	dnsd_send(q, pk);
}

static void
test_case_changed(void **state)
{
	(void)state;
	setup_servers(lowers, silent);
	set.mix_case = true;
	set.n_servers = 1;
	set.servers[0].network = true;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	expect_failed("www.some-longer-name.example", DNS_A, DNS_WHY_MALFORMED);
	expect_failed(
	    "www.third-longer-name.example", DNS_A, DNS_WHY_MALFORMED);
	expect_a("www.other-longer-name.example", DNS_SECURE, 1);
	end();
}

static void
test_single_flight(void **state)
{
	struct ask k[50];
	struct resolver_stats st;
	int i;

	(void)state;
	begin(secure_1, silent);
	for (i = 0; i < 50; i++) {
		ask_flags(&k[i], "www.example", DNS_A,
		    i % 2 == 0 ? 0 : RESOLVER_FRESH);
		assert_int_equal(k[i].r, 0);
	}
	resolver_cancel(res, &k[7].req);
	resolver_cancel(res, &k[7].req); /* again is fine */
	for (i = 0; i < 50; i++) {
		if (i == 7)
			continue;
		wait_for(&k[i]);
		assert_int_equal(k[i].a->state, DNS_SECURE);
		dns_answer_free(k[i].a);
	}
	assert_int_equal(k[7].calls, 0);
	assert_int_equal(s[0].udp_queries, 1);
	resolver_stats(res, &st);
	assert_int_equal(st.joined, 49);
	/* one that nobody waits for any more is not even sent */
	ask_flags(&k[0], "nobody.example", DNS_A, 0);
	resolver_cancel(res, &k[0].req);
	expect_a("other.example", DNS_SECURE, 1);
	assert_int_equal(s[0].udp_queries, 2);
	end();
}

/* ---- chains ----------------------------------------------------------------
 */

/* alias -> b (a server that stops half way), b -> c, c has the address; AD on
 * each step as the arg says: bit 0 alias, 1 b, 2 c. */
static void
chain_steps(struct dnsd_query *q, struct packet *pk)
{
	unsigned ad = *(unsigned *)q->d->arg;

	if (strcmp(q->name, "alias.example") == 0) {
		pk_reply(pk, q->b, F_RA | (ad & 1 ? F_AD : 0), 0);
		pk_cname(pk, "@", 50, "b.example");
	} else if (strcmp(q->name, "b.example") == 0) {
		pk_reply(pk, q->b, F_RA | (ad & 2 ? F_AD : 0), 0);
		pk_cname(pk, "@", 300, "c.example");
	} else {
		pk_reply(pk, q->b, F_RA | (ad & 4 ? F_AD : 0), 0);
		pk_a(pk, "@", 300, 3);
	}
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
test_chain(void **state)
{
	struct dns_answer *a;
	unsigned ad;

	(void)state;
	for (ad = 0; ad < 8; ad++) {
		begin(chain_steps, silent);
		s[0].arg = &ad;
		a = ask("alias.example", DNS_A);
		/* one insecure link makes all of it insecure */
		assert_int_equal(a->state, ad == 7 ? DNS_SECURE : DNS_INSECURE);
		assert_int_equal(a->ttl_s, 50);
		assert_true(a->chain);
		assert_string_equal(a->name, "alias.example");
		assert_string_equal(a->canon, "c.example");
		assert_int_equal(a->rrs[0].data[3], 3);
		dns_answer_free(a);
		/* one more for a link without AD behind one with: does it
		 * validate? Not when it did so in this millisecond. */
		assert_in_range(
		    s[0].udp_queries, 3, ad == 0 || ad == 7 ? 3 : 4);
		end();
	}
}

static void
chain_then_servfail(struct dnsd_query *q, struct packet *pk)
{
	static unsigned ad = 7;

	q->d->arg = &ad;
	if (strcmp(q->name, "c.example") == 0)
		servfail(q, pk);
	else
		chain_steps(q, pk);
}

static void
ping_pong(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 0);
	pk_cname(pk, "@", 50,
	    strcmp(q->name, "a.example") == 0 ? "b.example" : "a.example");
	dnsd_send(q, pk);
}

static void
odd_target(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 0);
	pk_cname(pk, "@", 50, "not a name.example");
	dnsd_send(q, pk);
}

static void
test_chain_errors(void **state)
{
	(void)state;
	/* an error anywhere fails the whole lookup (DANE-07) */
	begin(chain_then_servfail, chain_then_servfail);
	expect_failed("alias.example", DNS_A, DNS_WHY_SERVFAIL);
	end();
	begin(ping_pong, silent);
	expect_failed("a.example", DNS_A, DNS_WHY_CHAIN);
	assert_int_equal(s[0].udp_queries, DNS_CHAIN_MAX + 1);
	end();
	begin(odd_target, silent);
	expect_failed("a.example", DNS_A, DNS_WHY_MALFORMED);
	end();
}

/* ---- bounds ----------------------------------------------------------------
 */

static void
test_bounds(void **state)
{
	struct ask k[6], more;
	struct resolver_stats st;
	char name[32];
	int i;

	(void)state;
	setup_servers(secure_1, silent);
	set.max_queries = 2;
	set.max_waiting = 5;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	for (i = 0; i < 5; i++) {
		(void)snprintf(name, sizeof(name), "n%d.example", i);
		ask_flags(&k[i], name, DNS_A, 0);
		assert_int_equal(k[i].r, 0);
	}
	ask_flags(&more, "n5.example", DNS_A, 0);
	assert_int_equal(more.r, PE_FULL);
	ask_flags(&k[5], "n4.example", DNS_A, 0); /* joining needs no place */
	assert_int_equal(k[5].r, 0);
	for (i = 0; i < 6; i++) {
		wait_for(&k[i]);
		assert_int_equal(k[i].a->state, DNS_SECURE);
		dns_answer_free(k[i].a);
		resolver_stats(res, &st);
		assert_true(st.in_flight <= 2);
	}
	assert_int_equal(st.refused, 1);
	assert_int_equal(st.in_flight + st.waiting, 0);
	end();
}

static uint16_t ports[64]; /* that queries came from */
static size_t n_ports;

/* More than fits into one turn, all on their way together. */
static void
hold(struct dnsd_query *q, struct packet *pk)
{
	const struct sockaddr_in *from =
	    (const struct sockaddr_in *)(const void *)q->to;
	size_t i;

	for (i = 0; i < n_ports && ports[i] != from->sin_port; i++)
		continue;
	if (i == n_ports && n_ports < 64)
		ports[n_ports++] = from->sin_port;
	if (q->d->udp_queries >= 1000)
		q->d->script = secure_1;
	if (q->d->script == secure_1)
		secure_1(q, pk);
}

static void
test_many(void **state)
{
	static struct ask k[1000];
	struct resolver_stats st;
	char name[32];
	int i;

	(void)state;
	setup_servers(hold, silent);
	set.n_servers = 1;
	set.timeout_ms = 30000; /* a busy machine asks many of them twice */
	set.max_queries = 1000;
	n_ports = 0;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	for (i = 0; i < 1000; i++) {
		(void)snprintf(name, sizeof(name), "n%d.example", i);
		ask_flags(&k[i], name, DNS_A, 0);
	}
	for (i = 0; i < 1000; i++) {
		wait_for(&k[i]);
		assert_int_equal(k[i].a->state, DNS_SECURE);
		dns_answer_free(k[i].a);
	}
	resolver_stats(res, &st);
	assert_int_equal(st.secure, 1000);
	assert_int_equal(st.servers[0].errors, 0);
	assert_int_equal(s[0].tcp_queries, 0);
	/* not all from one port, though there was always one on its way */
	assert_true(n_ports >= 4);
	end();
}

static void
test_busy(void **state)
{
	struct ask first, second;

	(void)state;
	setup_servers(silent, silent);
	set.max_queries = 1;
	set.timeout_ms = 400;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	ask_flags(&first, "a.example", DNS_A, 0);
	ask_flags(&second, "b.example", DNS_A, 0);
	wait_for(&first);
	assert_int_equal(first.a->why, DNS_WHY_TIMEOUT);
	wait_for(&second);
	assert_true(
	    second.a->why == DNS_WHY_BUSY || second.a->why == DNS_WHY_TIMEOUT);
	dns_answer_free(first.a);
	dns_answer_free(second.a);
	end();
}

/* RESOLVER_WAITING_MAX, RESOLVER_IN_FLIGHT_MAX (whatever is set) and
 * RESOLVER_ASKERS_MAX: what is beyond is refused, and nothing is lost. */
static void
test_hard_bounds(void **state)
{
	struct resolver_stats st;
	struct ask *k, more;
	const struct dns_answer *now;
	char name[32];
	size_t i, n = 0;

	(void)state;
	setup_servers(silent, silent);
	set.n_servers = 1;
	set.max_queries = 65535;
	set.timeout_ms = 15000;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	k = calloc(RESOLVER_ASKERS_MAX, sizeof(*k));
	assert_non_null(k);
	for (; n < RESOLVER_WAITING_MAX; n++) {
		(void)snprintf(name, sizeof(name), "n%zu.example", n);
		ask_flags(&k[n], name, DNS_A, 0);
		assert_int_equal(k[n].r, 0);
	}
	ask_flags(&more, "more.example", DNS_A, 0);
	assert_int_equal(more.r, PE_FULL);
	do {
		(void)uv_run(&loop, UV_RUN_ONCE);
		resolver_stats(res, &st);
	} while (st.waiting > 0);
	assert_int_equal(st.in_flight, RESOLVER_IN_FLIGHT_MAX);
	/* there is room to wait again, not to be asked */
	ask_flags(&k[n++], "last.example", DNS_A, 0);
	(void)uv_run(&loop, UV_RUN_NOWAIT);
	resolver_stats(res, &st);
	assert_int_equal(st.waiting, 1);
	assert_int_equal(st.in_flight, RESOLVER_IN_FLIGHT_MAX);
	for (; n < RESOLVER_ASKERS_MAX; n++)
		ask_flags(&k[n], "last.example", DNS_A, 0);
	assert_int_equal(k[n - 1].r, 0);
	assert_int_equal(resolver_ask(res, &more.req, "last.example", DNS_A, 0,
			     on_answer, &more, &now),
	    PE_FULL);
	resolver_stats(res, &st);
	assert_int_equal(st.refused, 2);
	end();
	for (i = 0; i < n; i++) {
		assert_int_equal(k[i].calls, 1);
		dns_answer_free(k[i].a);
	}
	free(k);
	/* more servers than there is room for */
	set.n_servers = RESOLVER_SERVERS_MAX + 1;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(resolver_new(&loop, &set, &res), -EINVAL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void
test_bad_names(void **state)
{
	static const char *const names[] = { "", ".", "WWW.example",
		"www.example.", "a..b", "a b", "xn--\xc3\xbc" };
	struct ask k;
	size_t i;

	(void)state;
	begin(secure_1, silent);
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		ask_flags(&k, names[i], DNS_A, 0);
		assert_int_equal(k.r, -EINVAL);
	}
	ask_flags(&k, "www.example", 255, 0);
	assert_int_equal(k.r, -EINVAL);
	end();
}

static void
test_flush(void **state)
{
	struct ask k;

	(void)state;
	begin(secure_1, silent);
	expect_a("www.example", DNS_SECURE, 1);
	assert_int_equal(resolver_flush(res, "other"), 0);
	assert_int_equal(resolver_flush(res, "example"), 1);
	expect_a("www.example", DNS_SECURE, 1);
	assert_int_equal(s[0].udp_queries, 2);
	assert_int_equal(resolver_flush(res, NULL), 1);
	/* what is on its way when the operator flushes is not kept either */
	ask_flags(&k, "www.example", DNS_A, 0);
	while (s[0].udp_queries < 3)
		(void)uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(k.calls, 0);
	assert_int_equal(resolver_flush(res, "www.example"), 0);
	wait_for(&k);
	dns_answer_free(k.a);
	ask_flags(&k, "www.example", DNS_A, 0);
	assert_int_equal(k.r, 0);
	wait_for(&k);
	dns_answer_free(k.a);
	end();
}

/* ---- changes while it runs -------------------------------------------------
 */

static void
formerr_to_edns(struct dnsd_query *q, struct packet *pk)
{
	unsigned *with_opt = q->d->arg;

	if (!q->opt) {
		pk_reply(pk, q->b, F_RA, 0);
		pk_a(pk, "@", 300, 4);
		dnsd_send(q, pk);
		return;
	}
	++*with_opt;
	pk_reply(pk, q->b, F_RA, 1); /* without OPT */
	dnsd_send(q, pk);
}

static void
with_edns(struct dnsd_query *q, struct packet *pk)
{
	assert_true(q->opt);
	insecure_2(q, pk);
}

/* c-ares drops EDNS for the whole channel; the next question has it again. */
static void
test_formerr(void **state)
{
	unsigned with_opt = 0;

	(void)state;
	begin(formerr_to_edns, silent);
	s[0].arg = &with_opt;
	expect_a("a.example", DNS_INSECURE, 4);
	assert_int_equal(with_opt, 1);
	s[0].script = with_edns;
	expect_a("b.example", DNS_INSECURE, 2);
	/* a server without EDNS costs a new channel now and then, not always */
	s[0].script = formerr_to_edns;
	expect_a("c.example", DNS_INSECURE, 4);
	expect_a("d.example", DNS_INSECURE, 4);
	assert_int_equal(with_opt, 2);
	clock_test_advance_ms(10001);
	expect_a("e.example", DNS_INSECURE, 4);
	expect_a("f.example", DNS_INSECURE, 4);
	assert_int_equal(with_opt, 3);
	end();
}

static void
test_configure(void **state)
{
	struct ask k;

	(void)state;
	setup_servers(silent, insecure_2);
	set.n_servers = 1;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	ask_flags(&k, "www.example", DNS_A, 0);
	while (s[0].udp_queries == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	set.servers[0] = set.servers[1];
	assert_int_equal(resolver_configure(res, &set), 0);
	wait_for(&k);
	assert_int_equal(k.a->rrs[0].data[3], 2);
	dns_answer_free(k.a);
	set.n_servers = 0;
	assert_int_equal(resolver_configure(res, &set), -EINVAL);
	set.n_servers = 1;
	(void)snprintf(set.servers[0].text, 64, "nonsense");
	assert_int_equal(resolver_configure(res, &set), -EINVAL);
	expect_a("still.example", DNS_INSECURE, 2);
	end();
}

static void
test_gone(void **state)
{
	struct ask k[3];

	(void)state;
	begin(silent, silent);
	ask_flags(&k[0], "a.example", DNS_A, 0);
	ask_flags(&k[1], "a.example", DNS_A, 0);
	while (s[0].udp_queries == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ask_flags(&k[2], "b.example", DNS_A, 0);
	end();
	for (int i = 0; i < 3; i++) {
		assert_int_equal(k[i].calls, 1);
		assert_int_equal(k[i].a->why, DNS_WHY_GONE);
		dns_answer_free(k[i].a);
	}
	resolver_free(NULL);
}

/*
 * Everything again in an empty root directory, where neither /etc/resolv.conf
 * nor /dev/urandom exists: new channels, a lost EDNS, a reload.
 */
static void
empty_root(const char *dir)
{
	unsigned with_opt = 0;

	if (chroot(dir) < 0 || chdir("/") < 0)
		_exit(3);
	begin(formerr_to_edns, silent);
	s[0].arg = &with_opt;
	expect_a("a.example", DNS_INSECURE, 4);
	s[0].script = secure_1;
	expect_a("b.example", DNS_SECURE, 1);
	assert_int_equal(resolver_configure(res, &set), 0);
	expect_a("c.example", DNS_SECURE, 1);
	end();
}

static void
test_empty_root(void **state)
{
	char dir[] = "/tmp/postern-test-XXXXXX";
	int status;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip(); /* chroot(2) needs root */
	assert_non_null(mkdtemp(dir));
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		empty_root(dir);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(rmdir(dir), 0); /* still empty */
	assert_int_equal(status, 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_secure_and_cached),
		cmocka_unit_test(test_trust),
		cmocka_unit_test(test_negative),
		cmocka_unit_test(test_ttl_bounds),
		cmocka_unit_test(test_ttl_of_tlsa),
		cmocka_unit_test(test_timeout_failover),
		cmocka_unit_test(test_all_silent),
		cmocka_unit_test(test_nobody_there),
		cmocka_unit_test(test_errors),
		cmocka_unit_test(test_bogus),
		cmocka_unit_test(test_mixed_servers),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_stops_validating),
		cmocka_unit_test(test_expected),
		cmocka_unit_test(test_mixed_trust),
		cmocka_unit_test(test_mixed_chain),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_edns_size),
		cmocka_unit_test(test_wrong_id),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_mixed_case),
		cmocka_unit_test(test_case_changed),
		cmocka_unit_test(test_single_flight),
		cmocka_unit_test(test_chain),
		cmocka_unit_test(test_chain_errors),
		cmocka_unit_test(test_bounds),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_busy),
		cmocka_unit_test(test_hard_bounds),
		cmocka_unit_test(test_bad_names),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_formerr),
		cmocka_unit_test(test_configure),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_empty_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
