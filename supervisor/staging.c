/*
 * staging.c - settings that are staged, compared, committed and rolled back.
 *
 * The supervisor owns the settings directory, so it is the owner that admin
 * asks. One staged set for the node: table texts under the editor of lib/conf,
 * saved beside the history soon after each edit. A commit is checked as a start
 * would check it, written whole (conf_commit.h), and then loaded. Never touches
 * postern.conf.
 */
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_commit.h"
#include "lib/conf/conf_edit.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "lib/proc/exit.h"
#include "supervisor/staging.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SAVE_MS = 500, LISTED_MS = 5000 };

static const struct staging_kin kins[] = {
	{ "destconfig", CONF_T_DESTINATIONS, "" },
	{ "smtproutes", CONF_T_ROUTES, "" },
	{ "altsrchost", CONF_T_GATEWAYS, "gateway " },
	{ "bounceconfig", CONF_T_BOUNCE, "profile " },
};

const struct staging_kin *
staging_kin(const char *name)
{
	size_t i;

	for (i = 0; i < sizeof(kins) / sizeof(kins[0]); i++)
		if (strcmp(kins[i].name, name) == 0)
			return &kins[i];
	return NULL;
}

const struct staging_kin *
staging_kin_of(enum conf_table table)
{
	size_t i;

	for (i = 0; i < sizeof(kins) / sizeof(kins[0]); i++)
		if (kins[i].table == table)
			return &kins[i];
	return &kins[0];
}

/* ---- the set --------------------------------------------------------------- */

void
staging_drop(struct staging *s)
{
	size_t i;

	for (i = 0; i < CONF_T_COUNT; i++) {
		conf_edit_free(s->edit[i]);
		conf_edit_free(s->old[i]);
		s->edit[i] = s->old[i] = NULL;
	}
	conf_tables_done(&s->base);
	s->staged = false;
	s->who[0] = s->others[0] = '\0';
	(void)uv_timer_stop(&s->timer);
}

void
staging_import_drop(struct staging *s)
{
	if (s->import.text != NULL)
		buf_done(s->import.text);
	free(s->import.text);
	memset(&s->import, 0, sizeof(s->import));
}

static int
open_tables(
    const struct conf_tables *t, struct conf_edit **out, char *why, size_t len)
{
	char text[200];
	size_t i;
	int r;

	for (i = CONF_T_POSTERN + 1; i < CONF_T_COUNT; i++) {
		r = conf_edit_new((enum conf_table)i, t->text[i], t->len[i],
		    text, sizeof(text), &out[i]);
		if (r < 0) {
			(void)snprintf(why, len, "%s: %s", conf_table_file[i],
			    r == PE_SYNTAX ? text : err_str(r));
			return r == PE_SYNTAX ? 409 : 503;
		}
	}
	return 0;
}

/* The tables on disk, when nothing is staged. 0 or a code. */
int
staging_begin(struct node *n, char *why, size_t len)
{
	struct staging *s = n->staging;
	int fd, r;

	if (s->staged || s->old[CONF_T_DESTINATIONS] != NULL)
		return 0;
	fd = open(n->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = fd < 0 ? -errno : conf_tables_read(fd, &s->base);
	if (fd >= 0)
		(void)close(fd);
	if (r < 0) {
		(void)snprintf(why, len, "%s: %s", n->conf_dir, err_str(r));
		return 503;
	}
	(void)conf_tables_version(&s->base, s->base_version);
	r = open_tables(&s->base, s->old, why, len);
	if (r == 0)
		r = open_tables(&s->base, s->edit, why, len);
	if (r != 0)
		staging_drop(s);
	return r;
}

/* The staged texts. 0 or -ENOMEM. */
int
staging_tables(const struct staging *s, struct conf_tables *ret)
{
	struct buf b;
	size_t i;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	for (i = CONF_T_POSTERN + 1; r == 0 && i < CONF_T_COUNT; i++) {
		buf_init(&b, CONF_EDIT_MAX);
		r = conf_edit_text(s->edit[i], &b);
		if (r == 0)
			r = buf_put(&b, "", 1);
		ret->text[i] = r == 0 ? malloc(buf_len(&b)) : NULL;
		if (ret->text[i] != NULL) {
			memcpy(ret->text[i], buf_data(&b), buf_len(&b));
			ret->len[i] = buf_len(&b) - 1;
		} else {
			r = -ENOMEM;
		}
		buf_done(&b);
	}
	if (r < 0)
		conf_tables_done(ret);
	return r;
}

/* ---- kept over a restart ----------------------------------------------------- */

static void
save(struct node *n)
{
	struct staging *s = n->staging;
	struct conf_revision rev = { .time_s = clock_now_s() };
	int r;

	if (!s->staged) {
		(void)conf_staged_remove(s->history_fd); /* there is none */
		return;
	}
	(void)snprintf(rev.who, sizeof(rev.who), "%s", s->who);
	(void)snprintf(rev.message, sizeof(rev.message), "%s", s->base_version);
	r = staging_tables(s, &rev.tables);
	if (r == 0)
		r = conf_staged_save(s->history_fd, &rev);
	conf_tables_done(&rev.tables);
	if (r < 0)
		log_warn("staged_not_saved",
		    "staged settings could not be saved and end with this "
		    "process: %s",
		    err_str(r));
}

static void
on_time(uv_timer_t *timer)
{
	struct node *n = timer->data;

	if (n->staging->staged)
		save(n);
	else
		staging_drop(n->staging);
}

/* A page of what nobody edits was told: the next ones are of the same set, and
 * do not read it again. */
void
staging_listed(struct node *n)
{
	(void)uv_timer_start(&n->staging->timer, on_time, LISTED_MS, 0);
}

/* Something changed: noted, and saved a moment later (an import is many). */
void
staging_touched(struct node *n, const char *who)
{
	struct staging *s = n->staging;

	if (!s->staged)
		(void)snprintf(s->who, sizeof(s->who), "%s", who);
	else if (strcmp(s->who, who) != 0)
		(void)snprintf(s->others, sizeof(s->others), "%s", who);
	s->staged = true;
	if (!uv_is_active((uv_handle_t *)&s->timer))
		(void)uv_timer_start(&s->timer, on_time, SAVE_MS, 0);
}

void
staging_forget(struct node *n)
{
	staging_drop(n->staging);
	staging_import_drop(n->staging);
	save(n);
}

/* Take up what was staged before a restart; what does not fit any more is told
 * at the commit. */
static void
take_up(struct node *n)
{
	struct staging *s = n->staging;
	struct conf_revision rev;
	struct conf_edit *edit[CONF_T_COUNT] = { NULL };
	char why[200] = "", version[CONF_VERSION];
	size_t i;
	int code;

	if (conf_staged_load(s->history_fd, &rev) < 0)
		return;
	code = staging_begin(n, why, sizeof(why));
	(void)conf_tables_version(&rev.tables, version);
	if (code == 0 && strcmp(version, s->base_version) == 0) {
		/* committed, and the node died before it could say so here */
		staging_forget(n);
	} else if (code == 0 &&
	    open_tables(&rev.tables, edit, why, sizeof(why)) == 0) {
		for (i = 0; i < CONF_T_COUNT; i++) {
			conf_edit_free(s->edit[i]);
			s->edit[i] = edit[i];
		}
		s->staged = true;
		(void)snprintf(s->who, sizeof(s->who), "%s", rev.who);
		(void)snprintf(s->base_version, sizeof(s->base_version),
		    "%.16s", rev.message);
	} else {
		for (i = 0; i < CONF_T_COUNT; i++)
			conf_edit_free(edit[i]);
		log_warn("staged_lost",
		    "staged settings cannot be taken up again: %s", why);
	}
	conf_tables_done(&rev.tables);
}

/* A revision that counts, but whose tables could not be replaced: a full disk. */
static void
finish(struct node *n, const struct conf_commit *c)
{
	struct staging *s = n->staging;
	int r = conf_commit_finish(c);

	if (r < 0)
		log_warn("commit_unfinished",
		    "a commit in %s is in force, but its tables could not be "
		    "written, and edits of them by hand are not seen; it is "
		    "tried again at reload, commit and start: %s",
		    n->conf_dir, err_str(r));
	else if (s->unfinished)
		log_info("commit_finished",
		    "the tables of the commit in %s are written now",
		    n->conf_dir);
	s->unfinished = r < 0;
}

void
staging_finish(struct node *n)
{
	struct conf_commit c = { .history_fd = n->staging->history_fd };

	c.dir_fd = open(n->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c.dir_fd < 0)
		return; /* reading the settings tells it */
	finish(n, &c);
	(void)close(c.dir_fd);
}

int
staging_open(struct node *n)
{
	struct staging *s = calloc(1, sizeof(*s));
	char path[4200];

	if (s == NULL)
		return EXIT_CODE_START;
	n->staging = s;
	(void)snprintf(
	    path, sizeof(path), "%s/settings", n->conf->node.state_dir);
	if (mkdir(path, 0700) == -1 && errno != EEXIST) {
		(void)fprintf(
		    stderr, "postern: %s: %s\n", path, strerror(errno));
		return EXIT_CODE_START;
	}
	s->history_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->history_fd < 0) {
		(void)fprintf(
		    stderr, "postern: %s: %s\n", path, strerror(errno));
		return EXIT_CODE_START;
	}
	staging_finish(n);
	if (uv_timer_init(uv_default_loop(), &s->timer) < 0)
		return EXIT_CODE_START;
	s->timer.data = n;
	take_up(n);
	return 0;
}

void
staging_close(struct node *n)
{
	struct staging *s = n->staging;

	if (s == NULL)
		return;
	if (uv_is_active((uv_handle_t *)&s->timer))
		save(n);
	staging_drop(s);
	staging_import_drop(s);
	if (s->history_fd >= 0)
		(void)close(s->history_fd);
	/* the timer is in the loop to the end: s stays with it */
}

/* ---- committing --------------------------------------------------------------- */

static void
put_errors(struct json *j, const struct conf_errors *errs, bool warnings)
{
	const struct conf_error *e;
	size_t i;

	json_put_arr(j, warnings ? "warnings" : "errors");
	for (i = 0; i < errs->n; i++) {
		e = &errs->v[i];
		if (e->warning != warnings)
			continue;
		json_put_obj(j, NULL);
		json_put_str(j, "file", e->file);
		json_put_uint(j, "line", e->line);
		json_put_str(j, "text", e->text);
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
}

/* The set that a start would make of these tables, or NULL when it would not.
 * Puts ok, errors, warnings. */
struct conf *
staging_check(struct node *n, const struct conf_tables *t, struct json *j)
{
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	int r = settings_load_tables(n->conf_dir, t, &errs, &conf);

	if (r < 0 && errs.errors == 0)
		conf_errors_tell(&errs, "postern.conf", "%s", err_str(r));
	json_put_bool(j, "ok", r == 0);
	put_errors(j, &errs, false);
	put_errors(j, &errs, true);
	conf_errors_done(&errs);
	return conf;
}

static uint64_t
newest(const struct staging *s)
{
	uint64_t v[1];

	return conf_history_list(s->history_fd, v, 1) > 0 ? v[0] : 0;
}

/* What is on disk becomes a revision of its own, unless the newest one is it:
 * a rollback can go back to what somebody wrote by hand. */
static int
keep_found(const struct conf_commit *c, const struct staging *s,
    const struct conf_tables *found, const char *version)
{
	struct conf_revision rev;
	char last[CONF_VERSION] = "";
	uint64_t number = newest(s);

	if (number > 0 && conf_history_read(s->history_fd, number, &rev) == 0) {
		(void)conf_tables_version(&rev.tables, last);
		conf_tables_done(&rev.tables);
	}
	if (strcmp(last, version) == 0)
		return 0;
	rev = (struct conf_revision){ .number = number + 1,
		.time_s = clock_now_s(),
		.who = "-",
		.message = "the files as they were found",
		.tables = *found };
	return conf_history_add(c, &rev);
}

/*
 * Write tables and put them in force: the very set that was checked, so that
 * nothing can refuse it any more once it is on disk. base: the version they
 * were made from; "" when that does not matter. 0 with the answer in j, or a
 * code.
 */
int
staging_commit(struct node *n, const struct conf_tables *t, const char *base,
    const char *who, const char *message, struct json *j, char *why, size_t len)
{
	struct staging *s = n->staging;
	struct conf_commit c = { .history_fd = s->history_fd };
	struct conf_revision rev = { .time_s = clock_now_s(), .tables = *t };
	struct conf_tables found = { 0 };
	struct conf *conf = NULL;
	char version[CONF_VERSION];
	size_t left;
	int code = 0, r;

	c.dir_fd = open(n->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = c.dir_fd < 0 ? -errno : conf_tables_read(c.dir_fd, &found);
	if (r < 0) {
		(void)snprintf(why, len, "%s: %s", n->conf_dir, err_str(r));
		code = 503;
		goto out;
	}
	(void)conf_tables_version(&found, version);
	if (base[0] != '\0' && strcmp(version, base) != 0) {
		(void)snprintf(why, len,
		    "somebody has changed the files since these edits began: "
		    "clearchanges, then edit again");
		code = 409;
		goto out;
	}
	if (conf_commit_possible(&c, why, len) < 0) {
		code = 409;
		goto out;
	}
	json_put_obj(j, NULL);
	conf = staging_check(n, t, j);
	if (conf == NULL) {
		json_put_end_obj(j);
		goto out;
	}
	r = keep_found(&c, s, &found, version);
	rev.number = newest(s) + 1;
	(void)snprintf(rev.who, sizeof(rev.who), "%s", who);
	(void)snprintf(rev.message, sizeof(rev.message), "%s", message);
	if (r == 0)
		r = conf_commit_write(&c, &rev);
	if (r < 0) {
		(void)snprintf(why, len, "%s: %s", n->conf_dir, err_str(r));
		code = 503;
		goto out;
	}
	log_info("committed",
	    "settings committed: revision %" PRIu64 " by %s: %s", rev.number,
	    who, message);
	finish(n, &c);
	left = node_take(n, conf);
	conf = NULL; /* the node's now */
	json_put_uint(j, "revision", rev.number);
	json_put_bool(j, "in_force", left == 0);
	json_put_end_obj(j);
	staging_forget(n);
out:
	conf_unref(conf);
	if (c.dir_fd >= 0)
		(void)close(c.dir_fd);
	conf_tables_done(&found);
	return code;
}
