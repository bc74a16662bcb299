/*
 * test_validate.c - dnssec = validate: libunbound on the loop, in front of a
 * scripted name server. Nothing here is signed: what is under the anchor is
 * bogus, all else insecure. Secure answers: tests/e2e/test_dane_validate.py.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/err.h"
#include "lib/dns/dns.h"
#include "resolver/resolver.h"
#include "tests/resolver/dnsd.h"

#ifdef POSTERN_UNBOUND

#define ANCHOR                              \
	"; whose key nobody has\n\n"        \
	"signed.example. IN DS 12345 13 2 " \
	"000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n"

static uv_loop_t loop;
static uv_timer_t guard;
static struct dnsd s;
static struct resolver *res;
static struct resolver_settings set;

struct ask {
	struct resolver_req req;
	struct dns_answer *a; /* a copy */
	int calls;
};

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	(void)fprintf(stderr, "the test hangs\n");
	abort();
}

static void
prepare(dnsd_script *script)
{
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_timer_init(&loop, &guard), 0);
	assert_int_equal(uv_timer_start(&guard, on_guard, 60000, 0), 0);
	dnsd_start(&s, &loop, script);
	set = (struct resolver_settings){ .n_servers = 1,
		.timeout_ms = 20000,
		.tries = 2,
		.max_ttl_s = 86400,
		.negative_ttl_s = 900,
		.cache_size = 1 << 20,
		.max_queries = 200,
		.anchors = ANCHOR };
	memcpy(set.servers[0].text, s.text, sizeof(s.text));
}

static void
begin(dnsd_script *script)
{
	prepare(script);
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
}

static void
end(void)
{
	resolver_free(res);
	dnsd_stop(&s);
	uv_close((uv_handle_t *)&guard, NULL);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0); /* nothing is left open */
}

static void
on_answer(void *arg, const struct dns_answer *a)
{
	struct ask *k = arg;

	k->calls++;
	assert_int_equal(dns_answer_dup(a, &k->a), 0);
}

static void
ask_flags(struct ask *k, const char *name, uint16_t type, unsigned flags)
{
	const struct dns_answer *now = NULL;
	int r;

	memset(k, 0, sizeof(*k));
	r = resolver_ask(res, &k->req, name, type, flags, on_answer, k, &now);
	assert_true(r >= 0);
	assert_int_equal(k->calls, 0); /* never from inside */
	if (r == 1)
		on_answer(k, now);
}

static void
wait_for(struct ask *k)
{
	while (k->calls == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(k->calls, 1);
}

static struct dns_answer *
ask(const char *name, uint16_t type)
{
	struct ask k;

	ask_flags(&k, name, type, 0);
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
	dns_answer_free(a);
}

static void
expect_a(const char *name, unsigned last)
{
	struct dns_answer *a = ask(name, DNS_A);

	if (a->state == DNS_INDETERMINATE)
		print_message("%s: %s\n", dns_why_str(a->why), a->reason);
	assert_int_equal(a->state, DNS_INSECURE);
	assert_int_equal(a->kind, DNS_DATA);
	assert_int_equal(a->rrs_len, 1);
	assert_int_equal(a->rrs[0].data[3], last);
	assert_string_equal(a->name, name);
	dns_answer_free(a);
}

static size_t
entries(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	(void)closedir(d);
	return n;
}

/* ---- scripts ---------------------------------------------------------------
 */

/* AD, as from a server that lies: it must not matter. */
static void
address(struct dnsd_query *q, struct packet *pk)
{
	assert_true(q->dopt); /* signatures are asked for */
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	if (q->type == DNS_A)
		pk_a(pk, "@", 300, 1);
	else
		pk_soa(pk, "example", 7200, 3600);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
nxdomain(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 3);
	pk_soa(pk, "example", 7200, 3600);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
servfail(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 2);
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
chain(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA, 0);
	if (strcmp(q->name, "a.example") == 0)
		pk_cname(pk, "@", 60, "b.example");
	else
		pk_a(pk, "@", 300, 7);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

static void
over_tcp(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, q->tcp ? F_RA : F_RA | F_TC, 0);
	if (q->tcp)
		pk_a(pk, "@", 300, 9);
	pk_opt(pk, 0, -1, "");
	dnsd_send(q, pk);
}

/* ---- tests -----------------------------------------------------------------
 */

static void
test_insecure(void **state)
{
	struct resolver_stats st;
	struct dns_answer *a;
	struct ask k;
	unsigned asked;

	(void)state;
	begin(address);
	expect_a("www.example", 1);
	asked = s.udp_queries;
	expect_a("www.example", 1);
	assert_int_equal(s.udp_queries, asked); /* our cache */
	/* past the cache means: of the server, and not of libunbound's cache */
	ask_flags(&k, "www.example", DNS_A, RESOLVER_FRESH);
	wait_for(&k);
	assert_int_equal(k.a->state, DNS_INSECURE);
	dns_answer_free(k.a);
	assert_int_equal(s.udp_queries, asked + 1);
	a = ask("www.example", DNS_TLSA);
	assert_int_equal(a->state, DNS_INSECURE);
	assert_int_equal(a->kind, DNS_NODATA);
	assert_int_equal(a->ttl_s, 900);
	dns_answer_free(a);
	resolver_stats(res, &st);
	assert_true(st.validates && !st.closed && !st.outage && !st.mixed);
	assert_int_equal(st.insecure, 3);
	assert_int_equal(st.secure, 0);
	assert_int_equal(st.validating, 0);
	/* neither a thread nor a process */
	assert_int_equal(entries("/proc/self/task"), 3);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	end();
}

static void
test_negative(void **state)
{
	struct dns_answer *a;

	(void)state;
	begin(nxdomain);
	a = ask("www.example", DNS_MX);
	assert_int_equal(a->state, DNS_INSECURE);
	assert_int_equal(a->kind, DNS_NXDOMAIN);
	dns_answer_free(a);
	end();
}

/* Under the anchor an answer without signatures is none, whatever AD says; again
 * and again. */
static void
test_bogus(void **state)
{
	struct resolver_stats st;
	struct dns_answer *a;
	struct ask k;
	int i;

	(void)state;
	begin(address);
	for (i = 0; i < 2; i++) {
		ask_flags(&k, "mx.signed.example", DNS_A, RESOLVER_FRESH);
		wait_for(&k);
		a = k.a;
		assert_int_equal(a->state, DNS_INDETERMINATE);
		assert_int_equal(a->why, DNS_WHY_BOGUS);
		assert_int_equal(a->ede, 6);
		assert_int_equal(a->rrs_len, 0);
		assert_non_null(strstr(a->reason, "validation failure"));
		dns_answer_free(a);
	}
	s.script = nxdomain;
	expect_failed("no.signed.example", DNS_TLSA, DNS_WHY_BOGUS);
	resolver_stats(res, &st);
	assert_int_equal(st.bogus, 3);
	assert_false(st.outage);
	end();
}

static void
test_outage(void **state)
{
	static const char *const names[] = { "a.example", "b.example",
		"c.example", "d.example" };
	struct resolver_stats st;
	size_t i;

	(void)state;
	begin(servfail);
	for (i = 0; i < 4; i++)
		expect_failed(names[i], DNS_A, DNS_WHY_SERVFAIL);
	resolver_stats(res, &st);
	assert_true(st.outage);
	s.script = address;
	expect_a("e.example", 1);
	resolver_stats(res, &st);
	assert_false(st.outage);
	end();
}

/* libunbound goes on with a question that we gave up: these are counted, and
 * bounded. */
static void
test_silent(void **state)
{
	struct resolver_stats st;
	struct dns_answer *a;
	struct ask k[4];
	char name[48];
	int i, round;

	(void)state;
	prepare(silent);
	set.timeout_ms = 300;
	set.max_queries = 4;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < 4; i++) {
			(void)snprintf(
			    name, sizeof(name), "n%d-%d.example", round, i);
			ask_flags(&k[i], name, DNS_A, 0);
		}
		for (i = 0; i < 4; i++) {
			wait_for(&k[i]);
			assert_int_equal(k[i].a->why, DNS_WHY_TIMEOUT);
			dns_answer_free(k[i].a);
		}
	}
	resolver_stats(res, &st);
	assert_int_equal(st.in_flight, 0);
	assert_int_equal(st.validating, 8);
	assert_true(st.outage);
	a = ask("full.example", DNS_A);
	assert_int_equal(a->why, DNS_WHY_BUSY);
	assert_non_null(strstr(a->reason, "too many validations"));
	dns_answer_free(a);
	end(); /* with eight open */
}

static void
test_chain_and_tcp(void **state)
{
	struct dns_answer *a;

	(void)state;
	begin(chain);
	a = ask("a.example", DNS_A);
	assert_int_equal(a->state, DNS_INSECURE);
	assert_true(a->chain);
	assert_string_equal(a->canon, "b.example");
	assert_int_equal(a->ttl_s, 60);
	assert_int_equal(a->rrs[0].data[3], 7);
	dns_answer_free(a);
	s.script = over_tcp;
	expect_a("large.example", 9);
	assert_int_equal(s.tcp_queries, 1);
	end();
}

/* More than it has sockets: all are answered. */
static void
test_many(void **state)
{
	enum { MANY = 600 };
	static struct ask k[MANY];
	struct resolver_stats st;
	char name[48];
	int i;

	(void)state;
	prepare(address);
	set.max_queries = MANY;
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	for (i = 0; i < MANY; i++) {
		(void)snprintf(name, sizeof(name), "n%d.example", i);
		ask_flags(&k[i], name, DNS_A, 0);
	}
	for (i = 0; i < MANY; i++) {
		wait_for(&k[i]);
		assert_int_equal(k[i].a->state, DNS_INSECURE);
		assert_int_equal(k[i].a->rrs_len, 1);
		dns_answer_free(k[i].a);
	}
	resolver_stats(res, &st);
	assert_int_equal(st.validating, 0);
	end();
}

/* What is open is asked again; what libunbound knew is gone. */
static void
test_flush(void **state)
{
	struct ask k;

	(void)state;
	begin(silent);
	ask_flags(&k, "www.example", DNS_A, 0);
	while (s.udp_queries == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	s.script = address;
	assert_int_equal(resolver_flush(res, NULL), 0);
	wait_for(&k);
	assert_int_equal(k.a->state, DNS_INSECURE);
	dns_answer_free(k.a);
	end();
}

static void
test_configure(void **state)
{
	struct ask k;

	(void)state;
	begin(silent);
	/* the same set: nothing is asked again */
	assert_int_equal(resolver_configure(res, &set), 0);
	ask_flags(&k, "www.example", DNS_A, 0);
	while (s.udp_queries == 0)
		(void)uv_run(&loop, UV_RUN_ONCE);
	s.script = address;
	/* servers' own validation, and back */
	set.anchors = NULL;
	set.servers[0].trust_ad = true;
	s.script = nxdomain;
	assert_int_equal(resolver_configure(res, &set), 0);
	wait_for(&k);
	assert_int_equal(k.a->state, DNS_SECURE);
	dns_answer_free(k.a);
	s.script = address;
	set.anchors = ANCHOR;
	assert_int_equal(resolver_configure(res, &set), 0);
	expect_a("www.example", 1);
	/* no anchor, no change */
	set.anchors = "signed.example. IN DS nonsense\n";
	assert_int_equal(resolver_configure(res, &set), -EINVAL);
	set.anchors = "; none\n";
	assert_int_equal(resolver_configure(res, &set), -EINVAL);
	expect_a("other.example", 1);
	end();
}

/* From the root down when no server is set: with nobody to ask it cannot be found
 * out, and that is said in time. */
static void
test_no_servers(void **state)
{
	(void)state;
	prepare(silent);
	set.n_servers = 0;
	set.timeout_ms = 300;
	/* the servers of the root as they are, wherever the tests run */
	assert_int_equal(resolver_new(&loop, &set, &res), 0);
	resolver_free(res);
	set.anchors = NULL;
	assert_int_equal(resolver_new(&loop, &set, &res), -EINVAL);
	res = NULL;
	end();
}

static void
empty_root(const char *dir)
{
	if (chroot(dir) < 0 || chdir("/") < 0)
		_exit(3);
	begin(address);
	expect_a("a.example", 1);
	expect_failed("mx.signed.example", DNS_A, DNS_WHY_BOGUS);
	assert_int_equal(resolver_flush(res, NULL), 2);
	expect_a("b.example", 1);
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
		cmocka_unit_test(test_insecure),
		cmocka_unit_test(test_negative),
		cmocka_unit_test(test_bogus),
		cmocka_unit_test(test_outage),
		cmocka_unit_test(test_silent),
		cmocka_unit_test(test_chain_and_tcp),
		cmocka_unit_test(test_many),
		cmocka_unit_test(test_flush),
		cmocka_unit_test(test_configure),
		cmocka_unit_test(test_no_servers),
		cmocka_unit_test(test_empty_root),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static void
test_built_without(void **state)
{
	struct resolver_settings set = { .n_servers = 1,
		.timeout_ms = 1000,
		.tries = 1,
		.cache_size = 1 << 20,
		.max_queries = 1,
		.anchors = ". IN DS 1 13 2 00\n" };
	struct resolver *res;
	uv_loop_t loop;

	(void)state;
	(void)snprintf(
	    set.servers[0].text, sizeof(set.servers[0].text), "127.0.0.1:9");
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(resolver_new(&loop, &set, &res), PE_NOT_FOUND);
	assert_int_equal(uv_run(&loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_built_without),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
