/*
 * test_cold.c - mail that is on the disk only does not hold up the loop.
 *
 * Two ways to make the disk slow: a hook that makes the first opening of each
 * body file hang, and a real disk with the store out of the page cache; then
 * the kernel counts how often this thread had to wait for a page.
 */
#include "tests/queue/rig.h"

#include <linux/magic.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/vfs.h>

enum { LARGE = 20000, MIDS = 4096, HANG_MS = 300, N_FILES = 24 };

/* ---- body files that take their time ------------------------------------------- */

/* The first opening of a file hangs, wherever it is done; then its inode is in
 * memory. */
static struct {
	pthread_mutex_t mutex;
	bool opened[MIDS];
	uint32_t n;
} slow = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void
on_open(void *arg, uint64_t mid)
{
	bool first;

	(void)arg;
	(void)pthread_mutex_lock(&slow.mutex);
	first = !slow.opened[mid % MIDS];
	slow.opened[mid % MIDS] = true;
	(void)pthread_mutex_unlock(&slow.mutex);
	if (!first)
		return;
	(void)usleep(HANG_MS * 1000);
	(void)pthread_mutex_lock(&slow.mutex);
	slow.n++;
	(void)pthread_mutex_unlock(&slow.mutex);
}

static uint32_t
n_opened(void)
{
	uint32_t n;

	(void)pthread_mutex_lock(&slow.mutex);
	n = slow.n;
	(void)pthread_mutex_unlock(&slow.mutex);
	return n;
}

static void
post_large(struct rig *r, const char *sender, const char *rcpt)
{
	static uint8_t body[LARGE];
	uint64_t mid = rig_begin(r, sender, 1, DSN_RET_NONE, 0);

	memset(body, 'x', sizeof(body));
	memcpy(body, "A: b\r\n\r\n", 8);
	rig_rcpt(r, mid, 0, rcpt, 0, "");
	rig_data(r, mid, body, sizeof(body));
	rig_commit(r, mid, sizeof(body), 0);
}

static struct rig *
with_files(const char *sender)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, (size_t)1 << 30);
	int i;

	for (i = 0; i < N_FILES; i++)
		post_large(r, sender, "c@d.example");
	RIG_UNTIL(r, r->n_ok == N_FILES);
	rig_settle(r);
	rig_stop(r);
	rig_start(r);
	rig_settle(r);
	/* what the start read is forgotten, as after a minute */
	clock_test_advance_ms(61000);
	memset(slow.opened, 0, sizeof(slow.opened));
	slow.n = 0;
	r->store->on_body_open = on_open;
	return r;
}

/* One turn of the loop: how long it took at most, so far. */
static void
turn(struct rig *r, int64_t *worst_ms)
{
	uint64_t begin, took;

	(void)usleep(1000);
	begin = uv_hrtime();
	(void)uv_run(&r->loop, UV_RUN_NOWAIT);
	took = (uv_hrtime() - begin) / 1000000;
	if ((int64_t)took > *worst_ms)
		*worst_ms = (int64_t)took;
}

static void
test_delivery_of_cold_files(void **state)
{
	struct rig *r = with_files("a@b.example");
	struct hand_pull m = { 0, N_FILES, 1 };
	uint64_t end_ns = uv_hrtime() + 60000000000u;
	uint32_t i, pulls = 0;
	int64_t worst_ms = 0;

	(void)state;
	r->n_ok = 0;
	rig_worker_up(r, 0, 10);
	/* seven seconds of hanging, of which clients see none */
	(void)rig_send(r, "a@b.example", "x@d.example");
	assert_in_range(n_opened(), 0, N_FILES / 2);
	while (r->w[0].n_got < N_FILES + 1) {
		assert_true(uv_hrtime() < end_ns);
		turn(r, &worst_ms);
		if (r->w[0].n_offers == 0 || pulls > r->w[0].n_ends)
			continue;
		m.dest_id = r->w[0].offers[0].dest_id;
		hand_pull_encode(
		    ipc_send_begin(r->w[0].chan, HAND_PULL, ++pulls), &m);
		assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	}
	assert_int_equal(n_opened(), N_FILES);
	assert_in_range(worst_ms, 0, N_FILES * HANG_MS / 2);
	for (i = 0; i < r->w[0].n_got; i++)
		rig_result(r, 0, &r->w[0].got[i], OUTCOME_DELIVERED);
	rig_check_law(r);
	rig_free(r);
}

/* A pull that came before its messages are there waits, and those of others do
 * not. */
static void
test_pull_waits(void **state)
{
	struct rig *r = with_files("a@b.example");
	struct hand_pull m = { 0, 4, 1 };
	uint64_t fresh, cold;

	(void)state;
	rig_worker_up(r, 0, 10);
	cold = rig_offer(r, 0, 0);
	/* all that was read is forgotten, as after a minute */
	clock_test_advance_ms(61000);
	memset(slow.opened, 0, sizeof(slow.opened));
	slow.n = 0;
	m.dest_id = cold;
	hand_pull_encode(ipc_send_begin(r->w[0].chan, HAND_PULL, 7), &m);
	assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	r->n_ok = 0;
	(void)rig_send(r, "a@b.example", "x@fresh.example");
	fresh = rig_offer(r, 0, 1);
	m.dest_id = fresh;
	hand_pull_encode(ipc_send_begin(r->w[0].chan, HAND_PULL, 8), &m);
	assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	RIG_UNTIL(r, r->w[0].n_got == 1);
	assert_int_equal(r->w[0].got[0].dest_id, fresh);
	assert_in_range(n_opened(), 0, N_FILES / 2);
	RIG_UNTIL(r, r->w[0].n_ends == 2);
	assert_int_equal(r->w[0].n_got, 5);
	/* and one whose worker goes while it waits */
	clock_test_advance_ms(61000);
	m.dest_id = cold;
	hand_pull_encode(ipc_send_begin(r->w[0].chan, HAND_PULL, 9), &m);
	assert_int_equal(ipc_send_end(r->w[0].chan, -1), 0);
	(void)rig_send(r, "a@b.example", "z@other.example");
	rig_worker_kill(r, 0);
	assert_int_equal(r->broken, 0);
	rig_check_law(r);
	rig_free(r);
}

/* What expires at once and is told of takes as long. */
static void
test_notices_of_cold_files(void **state)
{
	struct rig *r = with_files("a@b.example");

	(void)state;
	rig_settle(r); /* what is due was read */
	memset(slow.opened, 0, sizeof(slow.opened));
	slow.n = 0;
	clock_test_advance_ms((int64_t)4 * 86400 * 1000);
	r->n_ok = 0;
	r->q.n_noticing = NOTICES_AT_ONCE; /* not yet */
	queue_expire(&r->q);
	(void)rig_send(r, "a@b.example", "x@fresh.example");
	assert_in_range(n_opened(), 0, N_FILES / 2);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired == N_FILES);
	rig_settle(r);
	memset(slow.opened, 0, sizeof(slow.opened));
	slow.n = 0;
	r->q.n_noticing = 0;
	clock_test_advance_ms((NOTICE_COLLECT_S + 1) * 1000);
	queue_notices(&r->q);
	(void)rig_send(r, "a@b.example", "y@fresh.example");
	assert_in_range(n_opened(), 0, N_FILES / 2);
	RIG_UNTIL(r, writer_counters(r->q.writer)->generated == N_FILES);
	rig_check_law(r);
	rig_free(r);
}

/* ---- a disk ---------------------------------------------------------------------- */

static long
faults_of_loop(void)
{
	struct rusage ru;

	assert_int_equal(getrusage(RUSAGE_THREAD, &ru), 0);
	return ru.ru_majflt;
}

static long
faults_of_all(void)
{
	struct rusage ru;

	assert_int_equal(getrusage(RUSAGE_SELF, &ru), 0);
	return ru.ru_majflt;
}

static void
drop_cache(struct rig *r)
{
	int fd = openat(r->dir_fd, "data.mdb", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	(void)close(fd);
}

static void
test_pages_of_the_store(void **state)
{
	enum { N = 3000, DESTS = 60, TEXT = 4000 };
	static uint8_t body[TEXT];
	const char *dir = getenv("RIG_DIR");
	struct statfs sfs;
	struct rig *r;
	char addr[64];
	long loop, all;
	uint32_t i, at = 0;
	uint64_t mid;

	(void)state;
	(void)setenv("RIG_DIR", "/var/tmp", 0);
	if (statfs(getenv("RIG_DIR"), &sfs) < 0 || sfs.f_type == TMPFS_MAGIC) {
		print_message("no disk here: nothing to see\n");
		skip();
	}
	r = rig_new(RIG_SETTINGS, NULL, (size_t)1 << 30);
	if (dir == NULL)
		(void)unsetenv("RIG_DIR");
	memset(body, 'x', sizeof(body));
	memcpy(body, "A: b\r\n\r\n", 8);
	for (i = 0; i < N; i++) {
		snprintf(addr, sizeof(addr), "u@h%u.example", i % DESTS);
		mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);
		rig_rcpt(r, mid, 0, addr, 0, "");
		rig_data(r, mid, body, sizeof(body));
		rig_commit(r, mid, sizeof(body), 0);
	}
	RIG_UNTIL(r, r->n_ok == N);
	rig_settle(r);
	rig_stop(r);
	drop_cache(r);
	loop = faults_of_loop();
	all = faults_of_all();
	rig_start(r);
	loop = faults_of_loop() - loop; /* the start reads on its own */
	print_message("start: %ld waits\n", loop);
	loop = faults_of_loop();
	rig_worker_up(r, 0, 1000);
	while (r->w[0].n_got < N) {
		RIG_UNTIL(r, r->w[0].n_offers > 0);
		rig_pull(r, 0, r->w[0].offers[at++ % r->w[0].n_offers].dest_id,
		    20, 10);
	}
	loop = faults_of_loop() - loop;
	all = faults_of_all() - all;
	print_message("%d messages: the loop waited for %ld pages, all threads "
		      "for %ld\n",
	    N, loop, all);
	if (all < 100) {
		print_message("the page cache cannot be emptied here\n");
		rig_free(r);
		skip();
	}
	assert_in_range(loop, 0, all / 20);
	rig_free(r);
}

/* One more than there are slots for takes the place of the first one. */
static void
test_slots(void **state)
{
	enum { SLOTS = 32768 };
	struct rig *r = rig_new(RIG_SETTINGS, NULL, (size_t)1 << 24);
	uint64_t mid;

	(void)state;
	for (mid = 1; mid <= SLOTS; mid++)
		queue_warm_note(&r->q, mid);
	assert_true(queue_is_warm(&r->q, 1));
	assert_true(queue_is_warm(&r->q, SLOTS));
	queue_warm_note(&r->q, SLOTS + 1);
	assert_false(queue_is_warm(&r->q, 1));
	assert_true(queue_is_warm(&r->q, SLOTS + 1));
	rig_free(r);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_delivery_of_cold_files),
		cmocka_unit_test(test_pull_waits),
		cmocka_unit_test(test_notices_of_cold_files),
		cmocka_unit_test(test_pages_of_the_store),
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
