/*
 * test_conf_commit.c - a commit is there whole or not at all.
 *
 * A child commits and dies at its first, second, third ... step to the disk;
 * whoever reads then, before and after the work is finished, finds the old
 * tables or the new ones, and the new ones once the commit counts.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf_commit.h"

struct place {
	char dir[64], sub[80], history[80];
	struct conf_commit c;
};

static void
place_open(struct place *p)
{
	memset(p, 0, sizeof(*p));
	(void)snprintf(p->dir, sizeof(p->dir), "/tmp/conf_commit.XXXXXX");
	assert_non_null(mkdtemp(p->dir));
	(void)snprintf(p->sub, sizeof(p->sub), "%s/etc", p->dir);
	(void)snprintf(p->history, sizeof(p->history), "%s/history", p->dir);
	assert_int_equal(mkdir(p->sub, 0700), 0);
	assert_int_equal(mkdir(p->history, 0700), 0);
	p->c.dir_fd = open(p->sub, O_RDONLY | O_DIRECTORY);
	p->c.history_fd = open(p->history, O_RDONLY | O_DIRECTORY);
	assert_true(p->c.dir_fd >= 0 && p->c.history_fd >= 0);
}

static void
place_close(struct place *p)
{
	char cmd[128];

	(void)close(p->c.dir_fd);
	(void)close(p->c.history_fd);
	(void)snprintf(cmd, sizeof(cmd), "rm -r %s", p->dir);
	assert_int_equal(system(cmd), 0);
}

static void
put(struct place *p, const char *name, const char *text, mode_t mode)
{
	int fd = openat(p->c.dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	(void)close(fd);
}

/* A revision whose four tables say the same word. */
static void
revision(struct conf_revision *rev, uint64_t number, const char *word)
{
	size_t i;

	memset(rev, 0, sizeof(*rev));
	rev->number = number;
	rev->time_s = 1800000000;
	(void)snprintf(rev->who, sizeof(rev->who), "alice");
	(void)snprintf(rev->message, sizeof(rev->message), "because %s", word);
	for (i = CONF_T_POSTERN + 1; i < CONF_T_COUNT; i++) {
		rev->tables.text[i] = strdup(word);
		rev->tables.len[i] = strlen(word);
	}
}

/* All four say this word? */
static bool
says(struct place *p, const char *word)
{
	struct conf_tables t;
	size_t i, n = 0;

	assert_int_equal(conf_tables_read(p->c.dir_fd, &t), 0);
	for (i = CONF_T_POSTERN + 1; i < CONF_T_COUNT; i++)
		n += strcmp(t.text[i], word) == 0;
	conf_tables_done(&t);
	if (n != 0 && n != 4)
		fail_msg("a mixture: %zu of 4 tables say %s", n, word);
	return n == 4;
}

struct killer {
	int left;
};

static void
on_step(void *arg, const char *what)
{
	struct killer *k = arg;

	(void)what;
	if (k->left-- == 0)
		_exit(9);
}

/* Both steps, as the supervisor makes them. */
static int
commit(const struct conf_commit *c, const struct conf_revision *rev)
{
	int r = conf_commit_write(c, rev);

	return r < 0 ? r : conf_commit_finish(c);
}

/* Commit in a child that dies at step n. True: it came to the end. */
static bool
commit_until(struct place *p, const struct conf_revision *rev, int n)
{
	struct killer k = { n };
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		p->c.on_step = on_step;
		p->c.step_arg = &k;
		_exit(commit(&p->c, rev) == 0 ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_true(WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == 9);
	return WEXITSTATUS(status) == 0;
}

static void
start_old(struct place *p)
{
	struct conf_revision old;

	place_open(p);
	revision(&old, 1, "old");
	assert_int_equal(commit(&p->c, &old), 0);
	assert_true(says(p, "old"));
	conf_tables_done(&old.tables);
}

static void
test_every_step(void **state)
{
	struct conf_revision rev, kept;
	struct place p;
	struct conf_commit fresh;
	bool done = false, was_new = false, is_new;
	int n;

	(void)state;
	revision(&rev, 2, "new");
	for (n = 0; !done; n++) {
		start_old(&p);
		fresh = p.c;
		done = commit_until(&p, &rev, n);
		is_new = says(&p, "new");
		assert_true(is_new || says(&p, "old"));
		/* once it counts at step n it counts at every later one */
		assert_true(is_new || !was_new);
		was_new = is_new;
		/* die at each step of the finishing, too */
		assert_int_equal(conf_commit_finish(&fresh), 0);
		assert_int_equal(says(&p, "new"), is_new);
		assert_int_equal(
		    faccessat(p.c.dir_fd, CONF_COMMIT_FILE, F_OK, 0), -1);
		if (is_new) {
			assert_int_equal(
			    conf_history_read(p.c.history_fd, 2, &kept), 0);
			assert_string_equal(kept.message, "because new");
			conf_tables_done(&kept.tables);
		}
		place_close(&p);
		assert_true(n < 200);
	}
	assert_true(was_new);
	print_message("%d steps\n", n);
	assert_true(n > 20);
	conf_tables_done(&rev.tables);
}

/* Finishing what was left dies as well, again and again. */
static void
test_finish_dies(void **state)
{
	struct conf_revision rev;
	struct killer k;
	struct place p;
	int n, m, status = 9;
	pid_t pid;

	(void)state;
	revision(&rev, 2, "new");
	for (n = 0;; n++) {
		start_old(&p);
		if (commit_until(&p, &rev, n))
			break;
		for (m = 0; says(&p, "new") && status != 0; m++) {
			pid = fork();
			if (pid == 0) {
				k.left = m;
				p.c.on_step = on_step;
				p.c.step_arg = &k;
				_exit(conf_commit_finish(&p.c) == 0 ? 0 : 1);
			}
			assert_int_equal(waitpid(pid, &status, 0), pid);
			status = WEXITSTATUS(status);
			assert_true(status == 0 || status == 9);
			assert_true(says(&p, "new"));
		}
		status = 9;
		place_close(&p);
	}
	place_close(&p);
	conf_tables_done(&rev.tables);
}

/* A commit that counts but is not finished, and the next one cannot even be
 * begun (a full disk): the first one stays, whole. */
static void
test_a_failure_after_an_unfinished_one(void **state)
{
	struct conf_revision rev, next;
	struct place p;
	bool done = false;
	int n, unfinished = 0;

	(void)state;
	revision(&rev, 2, "new");
	revision(&next, 3, "next");
	for (n = 0; !done; n++) {
		start_old(&p);
		done = commit_until(&p, &rev, n);
		if (faccessat(p.c.dir_fd, CONF_COMMIT_FILE, F_OK, 0) == 0) {
			unfinished++;
			(void)unlinkat(p.c.dir_fd, CONF_COMMIT_FILE ".new", 0);
			assert_int_equal(
			    mkdirat(p.c.dir_fd, CONF_COMMIT_FILE ".new", 0700),
			    0);
			assert_true(conf_commit_write(&p.c, &next) < 0);
			assert_true(says(&p, "new"));
		}
		place_close(&p);
	}
	assert_true(unfinished > 5);
	conf_tables_done(&rev.tables);
	conf_tables_done(&next.tables);
}

/* No length in a file leads out of it. */
static void
test_lengths_are_believed_to_the_end(void **state)
{
	static const char *const lengths[] = { "18446744073709551615",
		"18446744073709551614", "99999999999999999999", "4294967295",
		"4" };
	struct conf_revision rev;
	char text[200];
	size_t i;
	int n;

	(void)state;
	for (i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		n = snprintf(text, sizeof(text),
		    "POSTERN-SETTINGS 1\nnumber 1\ntime 1\nwho a\nmessage b\n"
		    "table bounce.conf %s\nxx\n",
		    lengths[i]);
		assert_int_equal(conf_revision_decode(
				     (const uint8_t *)text, (size_t)n, &rev),
		    PE_CORRUPT);
	}
}

static void
test_a_loader_sees_it(void **state)
{
	struct conf_errors errs = { 0 };
	struct conf_revision rev;
	struct conf *conf = NULL;
	struct place p;
	bool done;
	int n, seen_old = 0, seen_new = 0;

	(void)state;
	for (n = 0, done = false; !done; n++) {
		place_open(&p);
		put(&p, "postern.conf",
		    "[postern]\nhostname = a.example\n[trust]\nca_file =\n",
		    0600);
		put(&p, "destinations.conf",
		    "[x.example]\nmax_connections = 1\n", 0600);
		put(&p, "routes.conf", "[r.example]\nhosts = a.example\n",
		    0600);
		revision(&rev, 1, "");
		free(rev.tables.text[CONF_T_DESTINATIONS]);
		rev.tables.text[CONF_T_DESTINATIONS] =
		    strdup("[x.example]\nmax_connections = 2\n");
		rev.tables.len[CONF_T_DESTINATIONS] =
		    strlen(rev.tables.text[CONF_T_DESTINATIONS]);
		done = commit_until(&p, &rev, n);
		assert_int_equal(conf_load_dir(p.sub, &errs, &conf), 0);
		conf_errors_done(&errs);
		if (conf_dest_lookup(conf, "x.example")->max_connections == 1) {
			seen_old++;
			assert_int_equal(conf->n_routes, 1);
		} else {
			seen_new++;
			assert_int_equal(conf->n_routes, 0);
		}
		conf_unref(conf);
		conf_tables_done(&rev.tables);
		place_close(&p);
	}
	assert_true(seen_old > 3 && seen_new > 10);
}

static void
test_modes_and_refusals(void **state)
{
	struct conf_revision rev;
	struct conf_tables t;
	struct place p;
	struct stat st;
	char why[300] = "", v1[CONF_VERSION], v2[CONF_VERSION];

	(void)state;
	place_open(&p);
	put(&p, "destinations.conf", "[x.example]\n", 0640);
	assert_int_equal(conf_commit_possible(&p.c, why, sizeof(why)), 0);
	assert_int_equal(conf_tables_read(p.c.dir_fd, &t), 0);
	conf_tables_version(&t, v1);
	conf_tables_done(&t);
	revision(&rev, 1, "# w\n");
	assert_int_equal(commit(&p.c, &rev), 0);
	assert_int_equal(fstatat(p.c.dir_fd, "destinations.conf", &st, 0), 0);
	assert_int_equal(st.st_mode & 0777, 0640);
	assert_string_not_equal(conf_tables_version(&rev.tables, v2), v1);
	conf_tables_done(&rev.tables);
	/* a symbolic link is somebody else's */
	assert_int_equal(unlinkat(p.c.dir_fd, "routes.conf", 0), 0);
	assert_int_equal(symlinkat("x", p.c.dir_fd, "routes.conf"), 0);
	assert_int_equal(conf_commit_possible(&p.c, why, sizeof(why)), -ELOOP);
	assert_non_null(strstr(why, "routes.conf is a symbolic link"));
	/* a damaged revision is said, and nothing is taken from it */
	put(&p, CONF_COMMIT_FILE, "POSTERN-SETTINGS 1\nnumber 3\n", 0600);
	assert_int_equal(conf_tables_read(p.c.dir_fd, &t), PE_CORRUPT);
	assert_int_equal(conf_commit_finish(&p.c), PE_CORRUPT);
	place_close(&p);
}

static void
test_history(void **state)
{
	struct conf_revision rev, back;
	uint64_t v[64];
	struct place p;
	uint64_t i;

	(void)state;
	place_open(&p);
	for (i = 1; i <= CONF_REVISIONS + 5; i++) {
		revision(&rev, i, i % 2 ? "odd" : "even");
		assert_int_equal(commit(&p.c, &rev), 0);
		conf_tables_done(&rev.tables);
	}
	assert_int_equal(
	    conf_history_list(p.c.history_fd, v, 64), CONF_REVISIONS);
	assert_int_equal(v[0], CONF_REVISIONS + 5);
	assert_int_equal(v[CONF_REVISIONS - 1], 6);
	assert_int_equal(conf_history_read(p.c.history_fd, v[0], &back), 0);
	assert_string_equal(back.who, "alice");
	assert_string_equal(back.tables.text[CONF_T_BOUNCE], "odd");
	conf_tables_done(&back.tables);
	assert_int_equal(conf_history_read(p.c.history_fd, 1, &back), -ENOENT);
	place_close(&p);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_step),
		cmocka_unit_test(test_finish_dies),
		cmocka_unit_test(test_a_failure_after_an_unfinished_one),
		cmocka_unit_test(test_lengths_are_believed_to_the_end),
		cmocka_unit_test(test_a_loader_sees_it),
		cmocka_unit_test(test_modes_and_refusals),
		cmocka_unit_test(test_history),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
