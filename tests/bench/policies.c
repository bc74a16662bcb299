/*
 * policies.c - a rig for policyd's store: N policies in a directory, then what
 * opening it costs, and a look-up.
 *
 *	policies DIR N
 *
 * Writes by the store's own code, forgets all it has in memory by opening the
 * store anew, and prints one line of key=value. The page cache stays warm, as it
 * is on a node that runs. Not part of the product.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "lib/base/err.h"
#include "policyd/store.h"
#include "policyd/store_db.h"

enum {
	LOOKUPS = 200000,
	MEDIAN = LOOKUPS / 2,
	P99 = LOOKUPS / 100 * 99,
	DUE = 256,
	AHEAD = 20000
};

#define NOW 1800000000

static uint64_t n_done;

static uint64_t
now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void
die(const char *what, int r)
{
	(void)fprintf(stderr, "policies: %s: %s\n", what, err_str(r));
	exit(1);
}

static void
on_done(void *arg, int result)
{
	(void)arg;
	if (result < 0)
		die("write", result);
	n_done++;
}

static struct store *
open_store(uv_loop_t *loop, const char *dir, uint32_t max)
{
	struct store *st;
	struct store_clock clock;
	char err[4200];
	int r = store_open(loop, dir, max, &st, &clock, err, sizeof(err));

	if (r < 0)
		die(err, r);
	return st;
}

static void
name(char buf[DNS_NAME_SIZE], uint64_t i)
{
	/* spread over the tree, as names are */
	(void)snprintf(buf, DNS_NAME_SIZE, "d%08llx.example",
	    (unsigned long long)(i * 2654435761u & 0xffffffff));
}

static void
fill(uv_loop_t *loop, struct store *st, uint32_t n)
{
	static const char text[] =
	    "version: STSv1\nmode: enforce\nmx: mx1.mail.example\n"
	    "mx: *.backup.mail.example\nmax_age: 604800\n";
	struct policy_record rec = { .id = "20261124T000000" };
	uint32_t i;
	int r;

	rec.text = (char *)(uintptr_t)text;
	rec.text_len = sizeof(text) - 1;
	r = sts_policy_parse(text, sizeof(text) - 1, &rec.policy, NULL, 0);
	if (r < 0)
		die("policy", r);
	for (i = 0; i < n; i++) {
		name(rec.domain, i);
		rec.fetched_s = rec.used_s = NOW - i % 86400;
		rec.refresh_s = rec.fetched_s + 86400;
		r = store_put(st, &rec, NOW, on_done, NULL);
		if (r < 0)
			die("put", r);
		while (i - n_done > AHEAD)
			(void)uv_run(loop, UV_RUN_ONCE);
	}
	while (n_done < n)
		(void)uv_run(loop, UV_RUN_ONCE);
	sts_policy_done(&rec.policy);
}

static int
by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

int
main(int argc, char **argv)
{
	static uint64_t took[LOOKUPS];
	static struct store_due due[DUE];
	struct policy_record rec;
	char domain[DNS_NAME_SIZE];
	uint64_t t0, fill_ns, open_ns, due_ns, i;
	uv_loop_t loop;
	struct store *st;
	uv_async_t keep; /* the loop waits for the writer */
	uint32_t n;
	size_t n_due;
	int r;

	if (argc != 3 || (n = (uint32_t)strtoul(argv[2], NULL, 10)) == 0) {
		(void)fprintf(stderr, "usage: policies DIR N\n");
		return 2;
	}
	(void)uv_loop_init(&loop);
	(void)uv_async_init(&loop, &keep, NULL);
	(void)mkdir(argv[1], 0700);
	st = open_store(&loop, argv[1], n + 1000);
	t0 = now_ns();
	fill(&loop, st, n);
	fill_ns = now_ns() - t0;
	store_free(st);
	t0 = now_ns();
	st = open_store(&loop, argv[1], n + 1000);
	open_ns = now_ns() - t0;
	for (i = 0; i < LOOKUPS; i++) {
		name(domain, (i * 7919) % n);
		t0 = now_ns();
		r = store_get(st, domain, &rec);
		took[i] = now_ns() - t0;
		if (r < 0)
			die(domain, r);
		record_done(&rec);
	}
	qsort(took, LOOKUPS, sizeof(took[0]), by_value);
	t0 = now_ns();
	n_due = store_due(st, NOW + 86400, DUE, due);
	due_ns = now_ns() - t0;
	(void)printf(
	    "policies=%u fill_s=%.1f open_us=%.0f lookup_us_median=%.1f "
	    "lookup_us_p99=%.1f due=%zu due_us=%.0f\n",
	    n, (double)fill_ns / 1e9, (double)open_ns / 1e3,
	    (double)took[MEDIAN] / 1e3, (double)took[P99] / 1e3, n_due,
	    (double)due_ns / 1e3);
	store_free(st);
	uv_close((uv_handle_t *)&keep, NULL);
	while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
		continue;
	return 0;
}
