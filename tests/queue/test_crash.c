/*
 * Power cuts: the script's writes are recorded with their syncs, and for each
 * point between two of them images are built of what a disk may have kept:
 * nothing of what was not synced, all of it, or some of it, torn. Each image is
 * opened by the real code and the crash table of docs/queue.md is checked.
 * CRASH_SEEDS=n takes n random images per point instead of two.
 */
#include "tests/queue/disk.h"
#include "tests/queue/rig.h"
#include "tests/queue/script.h"

#include <signal.h>
#include <sys/wait.h>

enum { MAP = 16 << 20, SCRIPT_S = 70 + 4 * 86400 };

/* ---- the run ------------------------------------------------------------------- */

static void
note(const struct told *t)
{
	disk_add(DISK_NOTE, "", 0, t, sizeof(*t), false);
}

/* Ids up to here were given away. */
static void
note_lease(struct rig *r)
{
	struct told t = { .what = 'L', .mid = r->end_mid };

	note(&t);
}

static struct rig *
record(void)
{
	struct rig *r = rig_new(RIG_SETTINGS, NULL, MAP);

	/* from an empty directory on */
	rig_settle(r);
	rig_stop(r);
	(void)close(r->dir_fd);
	(void)nftw(r->dir, rig_rm, 16, FTW_DEPTH | FTW_PHYS);
	assert_int_equal(mkdir(r->dir, 0700), 0);
	r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(r->dir_fd >= 0);
	snprintf(disk.dir, sizeof(disk.dir), "%s", r->dir);
	disk.dir_len = strlen(disk.dir);
	disk.on = true;
	script_told = note;
	rig_start(r);
	note_lease(r);
	script(r);
	rig_stop(r);
	disk.on = false;
	clock_test_advance_ms(-(int64_t)SCRIPT_S * 1000);
	return r;
}

/* ---- one image, in a process of its own --------------------------------------------- */

static bool
same_body(struct rig *r, struct sview *v, uint64_t mid, uint64_t len)
{
	char *want = malloc(len), *got = malloc(len);
	struct rec_msg m;
	struct key k;
	MDB_val val;
	bool same = false;
	int fd;

	script_body(want, len);
	key_u64(&k, mid);
	if (sview_msg(v, mid, &m) == 0 && m.size == len) {
		if (m.body == REC_BODY_INLINE)
			same = sview_get(v, DB_BODY, &k, &val) == 0 &&
			    val.mv_size == len &&
			    memcmp(val.mv_data, want, len) == 0;
		else if (body_open(r->dir_fd, mid, len, &fd) == 0)
			same = pread(fd, got, len, 0) == (ssize_t)len &&
			    memcmp(got, want, len) == 0;
	}
	free(want);
	free(got);
	return same;
}

/* Everything for which 250 was given before the cut, and that had not begun to
 * end, is there whole. */
static void
check_kept(struct rig *r, size_t cut)
{
	struct told a, b;
	struct sview v;
	size_t i, k;
	bool ended;

	assert_int_equal(store_read_begin(r->store, &v), 0);
	for (i = 0; i < cut; i++) {
		if (disk.ops[i].kind != DISK_NOTE)
			continue;
		memcpy(&a, disk.ops[i].data, sizeof(a));
		if ((int)a.what == 'L' && r->first_mid < a.mid)
			fail_msg("ids up to %" PRIu64 " are given away again",
			    a.mid);
		if (a.what != TOLD_KEPT)
			continue;
		ended = false;
		for (k = i; k < cut; k++) {
			if (disk.ops[k].kind != DISK_NOTE)
				continue;
			memcpy(&b, disk.ops[k].data, sizeof(b));
			ended = ended || (b.what == TOLD_END && b.mid == a.mid);
		}
		if (!ended && !same_body(r, &v, a.mid, a.len))
			fail_msg("MID %" PRIu64 " is lost", a.mid);
	}
	store_read_end(&v);
}

/* Nothing half-there: each message has its body, each file its message. */
static void
check_whole(struct rig *r)
{
	struct body_sweep s;
	struct rec_msg m;
	struct siter it;
	struct sview v;
	struct key k;
	MDB_val val;
	uint64_t mid;
	int e, fd;

	RIG_UNTIL(r, !r->q.sweeping);
	assert_int_equal(store_read_begin(r->store, &v), 0);
	e = siter_first(&it, v.txn, v.st, DB_MSG, NULL);
	for (; e == 0; e = siter_next(&it)) {
		assert_int_equal(
		    key_u64_parse(it.k.mv_data, it.k.mv_size, &mid), 0);
		assert_int_equal(
		    rec_msg_decode(it.v.mv_data, it.v.mv_size, &m), 0);
		if (m.body == REC_BODY_FILE) {
			assert_int_equal(
			    body_open(r->dir_fd, mid, m.size, &fd), 0);
			(void)close(fd);
		} else {
			key_u64(&k, mid);
			assert_int_equal(sview_get(&v, DB_BODY, &k, &val), 0);
			assert_int_equal(val.mv_size, m.size);
		}
	}
	siter_end(&it);
	body_sweep_init(&s, r->dir_fd);
	while (body_sweep_next(&s, &mid) == 1)
		assert_int_equal(sview_msg(&v, mid, &m), 0);
	body_sweep_done(&s);
	assert_int_equal(sview_count(&v, DB_BAD), 0);
	store_read_end(&v);
}

static void
check_image(struct rig *r, const char *dir, size_t cut)
{
	(void)setenv("CMOCKA_TEST_ABORT", "1", 1);
	(void)alarm(60);
	snprintf(r->dir, sizeof(r->dir), "%s", dir);
	r->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	/* the parent's loop is the parent's */
	memset(&r->loop, 0, sizeof(r->loop));
	assert_int_equal(uv_loop_init(&r->loop), 0);
	assert_int_equal(ipc_hub_init(&r->hub, &r->loop), 0);
	r->n_ok = r->n_later = r->n_grants = 0;
	rig_start(r);
	check_kept(r, cut);
	rig_settle(r);
	rig_check_law(r);
	check_whole(r);
	/* and it works */
	(void)rig_send(r, "a@b.example", "new@d.example");
	rig_check_law(r);
	_exit(0);
}

/* True when the crash table holds for it. */
static bool
image_holds(struct rig *r, struct disk_state *image, size_t cut, FILE *log)
{
	char dir[DISK_PATH];
	int status;
	pid_t pid;

	snprintf(dir, sizeof(dir), "%.50s-cut", r->dir);
	assert_int_equal(mkdir(dir, 0700), 0);
	disk_write_out(image, dir);
	(void)fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		(void)dup2(fileno(log), 1);
		(void)dup2(fileno(log), 2);
		check_image(r, dir, cut);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	(void)nftw(dir, rig_rm, 16, FTW_DEPTH | FTW_PHYS);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* ---- all of them ----------------------------------------------------------------------- */

struct sum {
	unsigned points, images, failed;
};

static void
tell_failure(struct disk_state *s, size_t cut, enum disk_luck luck,
    uint64_t seed, FILE *log)
{
	static const char *const words[] = { "nothing", "all", "some" };
	char text[2000];
	size_t n;

	rewind(log);
	n = fread(text, 1, sizeof(text) - 1, log);
	text[n] = '\0';
	print_message(
	    "cut before op %zu of %zu, %s of %zu unsynced, seed %llu: "
	    "%s\n",
	    cut, disk.n, words[luck], s->n_pending, (unsigned long long)seed,
	    text);
}

/* One image of this point. */
static void
cut_once(struct rig *r, struct disk_state *s, size_t cut, enum disk_luck luck,
    uint64_t seed, bool quiet, struct sum *sum)
{
	struct disk_state *image = malloc(sizeof(*image));
	FILE *log = tmpfile();

	assert_non_null(image);
	assert_non_null(log);
	disk_cut(s, luck, seed, image);
	sum->images++;
	if (!image_holds(r, image, cut, log)) {
		sum->failed++;
		if (!quiet)
			tell_failure(s, cut, luck, seed, log);
	}
	disk_state_done(image);
	free(image);
	(void)fclose(log);
}

/*
 * Every prefix with all of what is unsynced; with nothing of it, when that
 * differs from the last time or more was promised since; and before each sync,
 * when most is open, with parts of it.
 */
static struct sum
cut_everywhere(struct rig *r, unsigned seeds)
{
	struct disk_state *s = malloc(sizeof(*s));
	struct sum sum = { 0, 0, 0 };
	const struct disk_op *op;
	bool fresh = true;
	unsigned k;
	size_t i;

	assert_non_null(s);
	disk_state_init(s);
	for (i = 0; i <= disk.n; i++) {
		op = i < disk.n ? &disk.ops[i] : NULL;
		/* one directory made more or less tells nothing new */
		if (op == NULL ||
		    (op->kind != DISK_NOTE &&
			(op->kind != DISK_DIR || i % 64 == 0))) {
			sum.points++;
			if (fresh)
				cut_once(r, s, i, DISK_NOTHING, 0, false, &sum);
			if (s->n_pending > 0)
				cut_once(r, s, i, DISK_ALL, 0, false, &sum);
			fresh = false;
		}
		for (k = 0; op != NULL && op->kind == DISK_SYNC && k < seeds &&
		     s->n_pending > 0;
		     k++)
			cut_once(r, s, i, DISK_SOME, i * 1000 + k, false, &sum);
		if (op == NULL)
			break;
		disk_step(s, i, NULL);
		fresh = fresh || op->kind == DISK_SYNC ||
		    op->kind == DISK_NOTE ||
		    (op->kind == DISK_WRITE && op->dsync);
	}
	disk_state_done(s);
	free(s);
	return sum;
}

/* The first cut at which something is lost because some syncs do not count;
 * 0: there is none. Looked for after each promise. */
static size_t
first_loss(struct rig *r, const struct disk_blind *blind)
{
	struct disk_state *s = malloc(sizeof(*s));
	struct sum sum = { 0, 0, 0 };
	size_t i;

	assert_non_null(s);
	disk_state_init(s);
	for (i = 0; i < disk.n && sum.failed == 0; i++) {
		disk_step(s, i, blind);
		if (disk.ops[i].kind != DISK_NOTE)
			continue;
		cut_once(r, s, i + 1, DISK_NOTHING, 0, true, &sum);
		if (sum.failed == 0)
			cut_once(r, s, i + 1, DISK_SOME, i, true, &sum);
	}
	disk_state_done(s);
	free(s);
	return sum.failed == 0 ? 0 : i;
}

static struct rig *recorded;

static int
setup(void **state)
{
	(void)state;
	recorded = record();
	return 0;
}

static int
teardown(void **state)
{
	size_t i;

	(void)state;
	for (i = 0; i < disk.n; i++)
		free(disk.ops[i].data);
	free(disk.ops);
	rig_free(recorded);
	return 0;
}

static void
test_power_cut_anywhere(void **state)
{
	const char *n = getenv("CRASH_SEEDS");
	struct sum sum;

	(void)state;
	sum = cut_everywhere(recorded, n == NULL ? 2 : (unsigned)atoi(n));
	print_message("%zu operations, %u points, %u images, %u failed\n",
	    disk.n, sum.points, sum.images, sum.failed);
	assert_int_equal(sum.failed, 0);
	assert_true(sum.points > 200);
}

/* The test can fail: without any one kind of sync something is lost. */
static void
test_each_sync_is_needed(void **state)
{
	static const struct disk_blind blind[] = {
		{ "body files", "bodies/", false, true, false },
		{ "directories of body files", "bodies/", true, false, false },
		{ "the store's directory", "", true, false, false },
		{ "the store's pages", "data.mdb", false, true, false },
		{ "the store's meta page", "data.mdb", false, false, true },
	};
	size_t i, at;

	(void)state;
	for (i = 0; i < sizeof(blind) / sizeof(blind[0]); i++) {
		at = first_loss(recorded, &blind[i]);
		if (at == 0)
			fail_msg("nothing is lost without syncs of %s",
			    blind[i].name);
		print_message("without syncs of %s: loss at operation %zu\n",
		    blind[i].name, at);
	}
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_power_cut_anywhere),
		cmocka_unit_test(test_each_sync_is_needed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
