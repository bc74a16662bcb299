/*
 * test_store.c - policies on disk: written, read, killed, damaged, evicted.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <lmdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "policyd/store.h"
#include "policyd/store_db.h"

enum { NOW = 1800000000 };

static char dir[] = "/tmp/postern-store-XXXXXX";
static uv_loop_t loop;
static struct store *st;
static struct store_clock stored_clock;
static unsigned done;
static int last;

static void
open_store(uint32_t max)
{
	char err[256] = "";

	assert_int_equal(uv_loop_init(&loop), 0);
	if (store_open(&loop, dir, max, &st, &stored_clock, err, sizeof(err)) <
	    0)
		fail_msg("%s", err);
	done = 0;
}

static void
close_store(void)
{
	store_free(st);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	assert_int_equal(uv_loop_close(&loop), 0);
}

static void
on_done(void *arg, int result)
{
	(void)arg;
	done++;
	last = result;
}

/* Until n writes are on disk. A timer that never ends keeps the loop alive. */
static void
on_never(uv_timer_t *t)
{
	(void)t;
}

static void
on_closed(uv_handle_t *h)
{
	(void)h;
}

static void
wait_done(unsigned n)
{
	static uv_timer_t alive;

	(void)uv_timer_init(&loop, &alive);
	(void)uv_timer_start(&alive, on_never, 60000, 60000);
	while (done < n)
		(void)uv_run(&loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&alive, on_closed);
	while (uv_is_closing((uv_handle_t *)&alive) &&
	    uv_run(&loop, UV_RUN_NOWAIT) != 0)
		;
}

static void
fill(struct policy_record *rec, const char *domain, const char *mode,
    int64_t used_s, int64_t refresh_s)
{
	char text[256];

	memset(rec, 0, sizeof(*rec));
	(void)snprintf(text, sizeof(text),
	    "version: STSv1\nmode: %s\nmax_age: 86400\nmx: *.a.example\n"
	    "mx: mx.%s\n",
	    mode, domain);
	assert_int_equal(
	    sts_policy_parse(text, strlen(text), &rec->policy, NULL, 0), 0);
	(void)snprintf(rec->domain, sizeof(rec->domain), "%s", domain);
	(void)snprintf(rec->id, sizeof(rec->id), "20270101");
	(void)snprintf(rec->error, sizeof(rec->error), "none yet");
	rec->fetched_s = NOW;
	rec->used_s = used_s;
	rec->refresh_s = refresh_s;
	rec->failures = 3;
	rec->text = strdup(text);
	rec->text_len = strlen(text);
}

static void
put(const char *domain, const char *mode, int64_t used_s, int64_t refresh_s)
{
	struct policy_record rec;

	fill(&rec, domain, mode, used_s, refresh_s);
	assert_int_equal(store_put(st, &rec, NOW, on_done, NULL), 0);
	record_done(&rec);
}

static bool
has(const char *domain)
{
	struct policy_record rec;
	int r = store_get(st, domain, &rec);

	if (r == 0)
		record_done(&rec);
	return r == 0;
}

static void
wipe(void)
{
	char path[128];

	(void)snprintf(path, sizeof(path), "%s/data.mdb", dir);
	(void)unlink(path);
	(void)snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	(void)unlink(path);
}

/* ---- tests ------------------------------------------------------------------
 */

/* STS-40: everything comes back, after the process has gone as well. */
static void
test_round_trip(void **state)
{
	struct policy_record rec, want;
	int i;

	(void)state;
	wipe();
	open_store(100);
	assert_int_equal(stored_clock.stored_s, 0);
	assert_int_equal(store_get(st, "a.example", &rec), PE_NOT_FOUND);
	assert_int_equal(store_get(st, "", &rec), PE_NOT_FOUND);
	put("a.example", "enforce", NOW, NOW + 100);
	wait_done(1);
	assert_int_equal(last, 0);
	fill(&want, "a.example", "enforce", NOW, NOW + 100);
	for (i = 0; i < 2; i++) {
		assert_int_equal(store_get(st, "a.example", &rec), 0);
		assert_string_equal(rec.domain, want.domain);
		assert_string_equal(rec.id, want.id);
		assert_string_equal(rec.error, want.error);
		assert_int_equal(rec.policy.mode, STS_MODE_ENFORCE);
		assert_int_equal(rec.policy.max_age_s, 86400);
		assert_int_equal(rec.policy.n_mx, 2);
		assert_int_equal(rec.fetched_s, want.fetched_s);
		assert_int_equal(rec.used_s, want.used_s);
		assert_int_equal(rec.refresh_s, want.refresh_s);
		assert_int_equal(rec.failures, 3);
		assert_int_equal(rec.text_len, want.text_len);
		assert_memory_equal(rec.text, want.text, want.text_len);
		assert_int_equal(rec.policy.list_len, want.policy.list_len);
		assert_memory_equal(
		    rec.policy.list, want.policy.list, want.policy.list_len);
		record_done(&rec);
		close_store();
		open_store(100);
		assert_int_equal(stored_clock.stored_s, NOW);
	}
	record_done(&want);
	assert_int_equal(store_delete(st, "a.example", NOW - 50), 0);
	close_store(); /* writes what waits */
	open_store(100);
	assert_false(has("a.example"));
	assert_int_equal(stored_clock.stored_s, NOW); /* never back */
	assert_true(stored_clock.wall_s > 1700000000);
	close_store();
}

/* kill -9 at any moment: what was told to be written is there. */
static void
test_kill(void **state)
{
	char domain[32];
	int fds[2], status, n = 0;
	uint32_t i, told = 0;
	pid_t pid;

	(void)state;
	wipe();
	assert_int_equal(pipe(fds), 0);
	pid = fork();
	if (pid == 0) {
		open_store(10000);
		for (i = 0;; i++) {
			(void)snprintf(
			    domain, sizeof(domain), "d%u.example", i);
			put(domain, "enforce", NOW, NOW);
			wait_done(i + 1);
			(void)!write(fds[1], &i, sizeof(i));
		}
	}
	(void)close(fds[1]);
	while (n++ < 20 && read(fds[0], &told, sizeof(told)) > 0)
		;
	(void)kill(pid, SIGKILL);
	(void)waitpid(pid, &status, 0);
	while (read(fds[0], &told, sizeof(told)) > 0)
		;
	(void)close(fds[0]);
	assert_true(told >= 19);
	open_store(10000);
	for (i = 0; i <= told; i++) {
		(void)snprintf(domain, sizeof(domain), "d%u.example", i);
		if (!has(domain))
			fail_msg("%s of %u is lost", domain, told);
	}
	close_store();
}

/* The same policies by age: all are young, then none is. */
static void
assert_ages(uint64_t enforce, uint64_t none, uint64_t testing)
{
	static const int64_t later[AGE_CLASSES] = { 3600, 3 * 86400, 20 * 86400,
		300 * 86400 };
	struct store_stats s;
	int c, k;

	for (c = 0; c < AGE_CLASSES; c++) {
		store_stats(st, NOW + later[c], &s);
		for (k = 0; k < AGE_CLASSES; k++) {
			assert_int_equal(s.by_age[STS_MODE_ENFORCE][k],
			    k == c ? enforce : 0);
			assert_int_equal(
			    s.by_age[STS_MODE_NONE][k], k == c ? none : 0);
			assert_int_equal(s.by_age[STS_MODE_TESTING][k],
			    k == c ? testing : 0);
		}
	}
}

/* Over the bound: mode none first, then testing, then enforce; of each what
 * was used longest ago. */
static void
test_evict(void **state)
{
	struct store_stats s;

	(void)state;
	wipe();
	open_store(4);
	put("e-old.example", "enforce", NOW - STORE_KEEP_S - 1, NOW);
	put("e-new.example", "enforce", NOW, NOW);
	put("n-old.example", "none", NOW - 10, NOW);
	put("t-old.example", "testing", NOW - 800, NOW);
	put("n-new.example", "none", NOW, NOW);
	wait_done(5);
	assert_false(has("n-old.example"));
	put("t-new.example", "testing", NOW, NOW);
	wait_done(6);
	assert_false(has("n-new.example"));
	put("e-mid.example", "enforce", NOW - 5, NOW);
	wait_done(7);
	assert_false(has("t-old.example"));
	put("e-two.example", "enforce", NOW - 4, NOW);
	wait_done(8);
	assert_false(has("t-new.example"));
	put("e-six.example", "enforce", NOW - 3, NOW);
	wait_done(9);
	assert_false(has("e-old.example"));
	assert_true(has("e-new.example") && has("e-mid.example") &&
	    has("e-two.example") && has("e-six.example"));
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], 4);
	assert_int_equal(s.by_mode[STS_MODE_NONE], 0);
	assert_int_equal(s.evicted, 5);
	/* writing one again is no second one */
	put("e-new.example", "testing", NOW + 1, NOW + 2);
	wait_done(10);
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], 3);
	assert_int_equal(s.by_mode[STS_MODE_TESTING], 1);
	assert_ages(3, 0, 1);
	/* a smaller bound holds from the next new one on */
	store_set_max(st, 1);
	put("t-two.example", "testing", NOW + 9, NOW);
	wait_done(11);
	assert_false(has("e-new.example"));
	/* but what is enforced and in use stays: then nothing new is stored */
	assert_int_equal(last, 0);
	put("e-end.example", "enforce", NOW + 9, NOW);
	wait_done(12);
	assert_int_equal(last, 0);
	assert_false(has("t-two.example"));
	put("e-not.example", "enforce", NOW + 9, NOW);
	wait_done(13);
	assert_int_equal(last, PE_FULL);
	assert_false(has("e-not.example"));
	assert_true(has("e-mid.example") && has("e-two.example") &&
	    has("e-six.example") && has("e-end.example"));
	store_stats(st, 0, &s);
	assert_int_equal(s.refused, 1);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], 4);
	assert_int_equal(s.by_mode[STS_MODE_TESTING], 0);
	assert_ages(4, 0, 0);
	/* which is no reason not to renew what is there */
	put("e-two.example", "none", NOW + 9, NOW);
	wait_done(14);
	assert_int_equal(last, 0);
	assert_ages(3, 1, 0);
	close_store();
}

/* What has expired goes before everything else, whatever its mode. */
static void
test_evict_expired(void **state)
{
	struct policy_record rec;

	(void)state;
	wipe();
	open_store(3);
	put("n.example", "none", NOW - 99, NOW + 50);
	fill(&rec, "e-expired.example", "enforce", NOW, NOW - 1);
	rec.fetched_s = NOW - 86400;
	assert_int_equal(store_put(st, &rec, NOW, on_done, NULL), 0);
	record_done(&rec);
	/* due for a refresh before it, but alive */
	put("e.example", "enforce", NOW, NOW - 2);
	put("e-new.example", "enforce", NOW, NOW + 50);
	wait_done(4);
	assert_false(has("e-expired.example"));
	assert_true(has("n.example") && has("e.example"));
	close_store();
}

static void
test_owner(void **state)
{
	static const struct {
		const char *domain, *want;
	} cases[] = {
		{ "a.example", "a.example" },
		{ "b.a.example", "a.example" },
		{ "d.c.b.a.example", "a.example" },
		{ "example", "example" },
		{ "co.uk", "co.uk" },
		{ "a.co.uk", "a.co.uk" },
		{ "b.a.co.uk", "a.co.uk" },
		{ "c.b.a.com.au", "a.com.au" },
		{ "b.a.long.uk", "long.uk" },
		{ "b.abc.de", "b.abc.de" },
		{ "", "" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		if (strcmp(store_db_owner(cases[i].domain), cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].domain,
			    store_db_owner(cases[i].domain));
}

/* One owner invents names: his own policies go, nobody else's, even those that
 * matter least; and so it is after a restart. */
static void
test_flood(void **state)
{
	enum { SHARE = STORE_OWNER_MIN, N = 3 * SHARE };
	struct store_stats s;
	char domain[64];
	unsigned i;

	(void)state;
	wipe();
	open_store(2 * SHARE);
	put("n-old.example", "none", NOW - 9000000, NOW + 50);
	put("e-old.example", "enforce", NOW - 9000000, NOW + 50);
	for (i = 0; i < N; i++) {
		(void)snprintf(domain, sizeof(domain), "%s%u.evil.example",
		    i % 2 == 0 ? "a.b." : "", i);
		put(domain, "enforce", NOW - N + i, NOW + 50);
	}
	wait_done(2 + N);
	assert_true(has("n-old.example") && has("e-old.example"));
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], SHARE + 1);
	assert_int_equal(s.evicted, N - SHARE);
	assert_false(has("a.b.0.evil.example"));
	(void)snprintf(domain, sizeof(domain), "%d.evil.example", N - 1);
	assert_true(has(domain));
	close_store();
	open_store(2 * SHARE);
	put("once-more.evil.example", "enforce", NOW, NOW + 50);
	wait_done(1);
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], SHARE + 1);
	/* what he deletes makes room for him */
	assert_int_equal(store_delete(st, domain, NOW), 0);
	put("and-again.evil.example", "enforce", NOW, NOW + 50);
	wait_done(2);
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], SHARE + 1);
	assert_true(has("once-more.evil.example"));
	close_store();
}

/* A large policy takes the room of several. */
static void
test_large(void **state)
{
	enum { PATTERNS = 1600, UNITS = 1 + PATTERNS * 40 / STORE_UNIT };
	struct policy_record rec;
	struct store_stats s;
	char domain[64], *list;
	unsigned i;

	(void)state;
	wipe();
	open_store(100);
	list = malloc(PATTERNS * 40);
	assert_non_null(list);
	for (i = 0; i < PATTERNS; i++)
		(void)snprintf(list + i * 40, 40,
		    "mx%04u.a-long-name-of-a-host.example.", i);
	for (i = 0; i < 20; i++) {
		(void)snprintf(domain, sizeof(domain), "o%u.example", i);
		fill(&rec, domain, "testing", NOW + i, NOW + 50);
		free(rec.policy.list);
		rec.policy.list = list;
		rec.policy.list_len = PATTERNS * 40;
		rec.policy.n_mx = PATTERNS;
		assert_int_equal(store_put(st, &rec, NOW, on_done, NULL), 0);
		rec.policy.list = NULL;
		record_done(&rec);
	}
	free(list);
	wait_done(20);
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_TESTING], 100 / UNITS);
	close_store();
}

static void
test_due(void **state)
{
	struct store_due names[4];

	(void)state;
	wipe();
	open_store(100);
	put("c.example", "enforce", NOW, NOW + 30);
	put("a.example", "enforce", NOW, NOW + 20);
	put("b.example", "none", NOW, NOW + 10);
	wait_done(3);
	assert_int_equal(store_due(st, NOW + 9, 4, names), 0);
	assert_int_equal(store_due(st, NOW + 20, 4, names), 2);
	assert_string_equal(names[0].domain, "b.example");
	assert_string_equal(names[1].domain, "a.example");
	assert_int_equal(store_due(st, NOW + 99, 1, names), 1);
	/* rewritten: due then, and only then */
	put("b.example", "none", NOW, NOW + 50);
	wait_done(4);
	assert_int_equal(store_due(st, NOW + 49, 4, names), 2);
	assert_int_equal(store_drop_due(st, &names[0], NOW + 49), 0);
	put("x.example", "none", NOW, NOW + 90);
	wait_done(5);
	/* it did not lie */
	assert_int_equal(store_due(st, NOW + 49, 4, names), 2);
	assert_int_equal(names[0].at_s, NOW + 20);
	assert_string_equal(names[0].domain, "a.example");
	close_store();
}

/* Change the stored bytes of a domain behind the store's back. */
static void
damage(const char *domain, size_t at)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = { strlen(domain), (void *)(uintptr_t)domain }, val;
	uint8_t copy[4096];

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
	assert_int_equal(mdb_env_open(env, dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "policy", 0, &dbi), 0);
	assert_int_equal(mdb_get(txn, dbi, &key, &val), 0);
	assert_true(val.mv_size < sizeof(copy) && at < val.mv_size);
	memcpy(copy, val.mv_data, val.mv_size);
	copy[at] ^= 0x40;
	val.mv_data = copy;
	assert_int_equal(mdb_put(txn, dbi, &key, &val, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

/* STS-58 */
static void
test_damage(void **state)
{
	enum { OLD = NOW - STORE_KEEP_S - 1 };
	struct store_due names[4];
	struct policy_record rec;
	struct store_stats s;

	(void)state;
	wipe();
	open_store(100);
	put("a.example", "enforce", OLD, NOW + 10);
	put("b.example", "enforce", OLD, NOW + 20);
	wait_done(2);
	close_store();
	damage("a.example", 40);
	open_store(100);
	assert_int_equal(store_get(st, "a.example", &rec), PE_CORRUPT);
	assert_true(has("b.example"));
	assert_int_equal(store_delete(st, "a.example", NOW), 0);
	put("b.example", "enforce", OLD, NOW + 20);
	wait_done(1);
	assert_int_equal(store_get(st, "a.example", &rec), PE_NOT_FOUND);
	/* its index entry lies, and goes when someone says so */
	assert_int_equal(store_due(st, NOW + 10, 4, names), 1);
	assert_int_equal(store_drop_due(st, &names[0], NOW + 10), 0);
	put("b.example", "enforce", OLD, NOW + 20);
	wait_done(2);
	assert_int_equal(store_due(st, NOW + 10, 4, names), 0);
	/* so it does when it is the next to be evicted */
	store_set_max(st, 1);
	put("c.example", "enforce", NOW + 1, NOW + 20);
	wait_done(3);
	assert_true(has("c.example"));
	assert_false(has("b.example"));
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], 1);
	close_store();
}

/* Every byte of a record counts. */
static void
test_record(void **state)
{
	struct policy_record rec, got;
	struct buf b;
	size_t i, len;

	(void)state;
	buf_init(&b, RECORD_MAX);
	fill(&rec, "a.example", "testing", NOW, NOW);
	assert_int_equal(record_encode(&rec, &b), 0);
	record_done(&rec);
	len = buf_len(&b);
	for (i = 0; i < len; i++) {
		buf_data(&b)[i] ^= 1;
		assert_int_equal(
		    record_decode("a.example", buf_data(&b), len, &got),
		    PE_CORRUPT);
		buf_data(&b)[i] ^= 1;
		assert_int_equal(
		    record_decode("a.example", buf_data(&b), i, &got),
		    PE_CORRUPT);
	}
	/* under another name it is another record */
	assert_int_equal(
	    record_decode("b.example", buf_data(&b), len, &got), PE_CORRUPT);
	assert_int_equal(
	    record_decode("a.example", buf_data(&b), len, &got), 0);
	record_done(&got);
	buf_done(&b);
}

struct seen {
	unsigned n, stop;
	char names[128];
};

static bool
on_each(void *arg, const struct policy_record *rec)
{
	struct seen *s = arg;

	size_t n = strlen(s->names);

	(void)snprintf(
	    s->names + n, sizeof(s->names) - n, "%.30s ", rec->domain);
	return ++s->n != s->stop;
}

static void
test_list(void **state)
{
	struct seen s = { 0 };

	(void)state;
	wipe();
	open_store(100);
	put("b.example", "enforce", NOW, NOW);
	put("a.example", "enforce", NOW, NOW);
	put("c.example", "enforce", NOW, NOW);
	wait_done(3);
	assert_int_equal(store_list(st, "", on_each, &s), 0);
	assert_string_equal(s.names, "a.example b.example c.example ");
	memset(&s, 0, sizeof(s));
	s.stop = 1;
	assert_int_equal(store_list(st, "a.example", on_each, &s), 0);
	assert_string_equal(s.names, "b.example ");
	memset(&s, 0, sizeof(s));
	assert_int_equal(store_list(st, "bb", on_each, &s), 0);
	assert_string_equal(s.names, "c.example ");
	close_store();
}

/* Many at once share commits; a lookup among them costs microseconds. */
static void
test_many(void **state)
{
	enum { MANY = 5000 };
	struct store_stats s;
	char domain[32];
	int64_t start_ms;
	unsigned i;

	(void)state;
	wipe();
	open_store(1000000);
	for (i = 0; i < MANY; i++) {
		(void)snprintf(domain, sizeof(domain), "d%u.example", i);
		put(domain, "enforce", NOW + i, NOW + i);
	}
	wait_done(MANY);
	store_stats(st, 0, &s);
	assert_int_equal(s.by_mode[STS_MODE_ENFORCE], MANY);
	/* how many share one is up to the disk and the sanitizer: they share */
	assert_in_range(s.commits, 1, MANY / 2);
	start_ms = clock_mono_ms();
	for (i = 0; i < MANY; i++) {
		(void)snprintf(domain, sizeof(domain), "d%u.example", i);
		assert_true(has(domain));
	}
	/* microseconds each; the bound is for a busy machine and sanitizers */
	assert_in_range(clock_mono_ms() - start_ms, 0, MANY);
	close_store();
}

static int
setup(void **state)
{
	(void)state;
	return mkdtemp(dir) != NULL ? 0 : -1;
}

static int
teardown(void **state)
{
	(void)state;
	wipe();
	return rmdir(dir);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_kill),
		cmocka_unit_test(test_evict),
		cmocka_unit_test(test_evict_expired),
		cmocka_unit_test(test_owner),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_due),
		cmocka_unit_test(test_damage),
		cmocka_unit_test(test_record),
		cmocka_unit_test(test_list),
		cmocka_unit_test(test_many),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
