/*
 * staging_call.c - ADM_CONFIG: one small handler for each verb.
 *
 * Text comes from an operator by way of admin. Names and values are checked by
 * lib/conf before they touch a text. Answers are bounded lists.
 */
#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_edit.h"
#include "lib/json/json.h"
#include "lib/log/log.h"
#include "supervisor/staging.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	LIST_MAX = 1000,    /* entries in one answer */
	CHANGES_MAX = 1000, /* told one by one */
	DOC_ROOM = 900 * 1024,
};

struct call {
	struct node *n;
	struct staging *s;
	const struct staging_kin *kin; /* NULL: the verb has none */
	uint64_t number;
	const char *args[ADM_ARGS];
	char name[CONF_EDIT_NAME]; /* of the section */
	struct buf *doc;
	struct json j;
	bool more; /* the list goes on: the caller comes again */
	char *why;
	size_t why_len;
};

static int __attribute__((format(printf, 3, 4)))
refuse(struct call *c, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(c->why, c->why_len, fmt, ap);
	va_end(ap);
	return code;
}

/* The entry that args[1] names, in c->name. */
static int
want_name(struct call *c)
{
	char text[CONF_EDIT_NAME], why[160];
	int n;

	n = snprintf(text, sizeof(text), "%s%s", c->kin->prefix, c->args[1]);
	if (n < 0 || (size_t)n >= sizeof(text) ||
	    !conf_edit_name(
		c->kin->table, text, (size_t)n, c->name, why, sizeof(why)))
		return refuse(c, 400, "found '%.60s', wanted %s", c->args[1],
		    n < 0 || (size_t)n >= sizeof(text) ? "less" : why);
	return 0;
}

static const char *
short_name(const struct staging_kin *kin, const char *name)
{
	return name + strlen(kin->prefix);
}

/* ---- looking ---------------------------------------------------------------- */

static void
on_put(void *arg, const char *key, const char *value)
{
	json_put_str(arg, key, value);
}

static void
put_entry(struct call *c, long i)
{
	const struct conf_edit *e = c->s->edit[c->kin->table];

	json_put_obj(&c->j, NULL);
	json_put_str(
	    &c->j, "name", short_name(c->kin, conf_edit_at(e, (size_t)i)));
	json_put_obj(&c->j, "keys");
	(void)conf_edit_keys(e, (size_t)i, on_put, &c->j);
	json_put_end_obj(&c->j);
	json_put_end_obj(&c->j);
}

static size_t
count(const struct conf_edit *e)
{
	size_t i, n = 0;

	for (i = 0; i < conf_edit_count(e); i++)
		n += conf_edit_at(e, i) != NULL;
	return n;
}

static int
do_list(struct call *c)
{
	const struct conf_edit *e = c->s->edit[c->kin->table];
	size_t i = 0, n = 0, max = c->number;
	long after;

	if (max == 0 || max > LIST_MAX)
		max = LIST_MAX;
	if (c->args[1][0] != '\0') {
		if (want_name(c) != 0)
			return 400;
		after = conf_edit_find(e, c->name);
		i = after < 0 ? 0 : (size_t)after + 1;
	}
	json_put_obj(&c->j, NULL);
	json_put_str(&c->j, "kin", c->kin->name);
	json_put_bool(&c->j, "staged", c->s->staged);
	json_put_uint(&c->j, "count", count(e));
	json_put_arr(&c->j, "entries");
	for (; i < conf_edit_count(e) && n < max && buf_len(c->doc) < DOC_ROOM;
	     i++) {
		if (conf_edit_at(e, i) == NULL)
			continue;
		put_entry(c, (long)i);
		n++;
	}
	json_put_end_arr(&c->j);
	c->more = i < conf_edit_count(e);
	json_put_bool(&c->j, "truncated", c->more);
	json_put_end_obj(&c->j);
	return 0;
}

static int
do_show(struct call *c)
{
	long i;

	if (want_name(c) != 0)
		return 400;
	i = conf_edit_find(c->s->edit[c->kin->table], c->name);
	if (i < 0)
		return refuse(c, 404, "there is no entry '%.100s'", c->args[1]);
	put_entry(c, i);
	return 0;
}

/* ---- editing ---------------------------------------------------------------- */

/* Each pair, first looked at, then done: an edit is made whole or not. */
static int
each_pair(struct call *c, bool do_it)
{
	struct conf_edit *e = c->s->edit[c->kin->table];
	char *copy = strdup(c->args[2]), *next = copy, *pair, *value;
	char why[120] = "", end[] = { CONFIG_PAIR_END, '\0' };
	int code = 0, r;

	if (copy == NULL)
		return refuse(c, 503, "out of memory");
	while (code == 0 && (pair = strsep(&next, end)) != NULL) {
		if (pair[0] == '\0')
			continue;
		value = strchr(pair, '=');
		if (value != NULL)
			*value++ = '\0';
		if (!do_it)
			r = value == NULL
			    ? 0
			    : conf_edit_check(c->kin->table, c->name, pair,
				  value, why, sizeof(why));
		else
			r = value == NULL ? conf_edit_unset(e, c->name, pair)
					  : conf_edit_set(e, c->name, pair,
						value, why, sizeof(why));
		if (r == PE_SYNTAX)
			code = refuse(c, 400, "%.140s", why);
		else if (r < 0 && r != PE_NOT_FOUND)
			code = refuse(c, 503, "%s", err_str(r));
	}
	free(copy);
	return code;
}

static int
can_edit(struct call *c)
{
	struct conf_commit cc = { .history_fd = -1 };
	int r;

	cc.dir_fd = open(c->n->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	r = cc.dir_fd < 0 ? -errno
			  : conf_commit_possible(&cc, c->why, c->why_len);
	if (cc.dir_fd >= 0)
		(void)close(cc.dir_fd);
	return r < 0 ? 409 : 0;
}

/* An edit was made; the answer, but for its end. */
static int
done_begin(struct call *c, const char *entry)
{
	staging_touched(c->n, c->args[3]);
	json_put_obj(&c->j, NULL);
	json_put_str(&c->j, "entry", entry);
	/* whose edits a commit would take besides the caller's */
	json_put_str(&c->j, "others",
	    strcmp(c->s->who, c->args[3]) != 0 ? c->s->who : c->s->others);
	return 0;
}

static int
done(struct call *c, const char *entry)
{
	int code = done_begin(c, entry);

	json_put_end_obj(&c->j);
	return code;
}

static int
put(struct call *c, bool must_be_new)
{
	struct conf_edit *e = c->s->edit[c->kin->table];
	bool special;
	int code, r;

	if (want_name(c) != 0)
		return 400;
	special = strcmp(c->name, "DEFAULT") == 0 ||
	    strcmp(short_name(c->kin, c->name), "default") == 0;
	if (must_be_new && conf_edit_find(e, c->name) >= 0)
		return refuse(
		    c, 409, "there is an entry '%.100s' already", c->args[1]);
	if (!must_be_new && !special && conf_edit_find(e, c->name) < 0)
		return refuse(c, 404, "there is no entry '%.100s'", c->args[1]);
	code = can_edit(c);
	if (code == 0)
		code = each_pair(c, false);
	if (code != 0)
		return code;
	r = conf_edit_add(e, c->name);
	if (r < 0)
		return refuse(c, 503, "%s", err_str(r));
	code = each_pair(c, true);
	return code == 0 ? done(c, short_name(c->kin, c->name)) : code;
}

static int
do_new(struct call *c)
{
	return put(c, true);
}

static int
do_edit(struct call *c)
{
	return put(c, false);
}

static int
do_delete(struct call *c)
{
	int code, r;

	if (want_name(c) != 0)
		return 400;
	code = can_edit(c);
	if (code != 0)
		return code;
	r = conf_edit_remove(c->s->edit[c->kin->table], c->name);
	if (r == PE_NOT_FOUND)
		return refuse(c, 404, "there is no entry '%.100s'", c->args[1]);
	return done(c, short_name(c->kin, c->name));
}

static int
do_clear(struct call *c)
{
	struct conf_edit *e = c->s->edit[c->kin->table];
	int code = can_edit(c);
	size_t i;

	for (i = 0; code == 0 && i < conf_edit_count(e); i++)
		if (conf_edit_at(e, i) != NULL &&
		    strcmp(conf_edit_at(e, i), "DEFAULT") != 0)
			(void)conf_edit_remove(e, conf_edit_at(e, i));
	return code == 0 ? done(c, "") : code;
}

/* The next part of a text. false: another import is under way, or no memory. */
static bool
take_part(struct call *c)
{
	struct staging *s = c->s;
	uint64_t part = c->number >> 1;

	if (part == 0) {
		staging_import_drop(s);
		s->import.text = calloc(1, sizeof(*s->import.text));
		if (s->import.text == NULL)
			return false;
		buf_init(s->import.text, CONF_EDIT_MAX);
		s->import.kin = c->kin;
		(void)snprintf(
		    s->import.who, sizeof(s->import.who), "%s", c->args[3]);
	}
	if (s->import.text == NULL || s->import.kin != c->kin ||
	    s->import.next != part ||
	    strncmp(s->import.who, c->args[3], CONF_WHO_MAX) != 0)
		return false;
	s->import.next++;
	return buf_puts(s->import.text, c->args[ADM_TEXT_ARG]) == 0;
}

static int
import_text(struct call *c)
{
	size_t len = buf_len(c->s->import.text);
	const char *text =
	    len > 0 ? (const char *)buf_data(c->s->import.text) : "";
	struct conf_edit *want = NULL, *next = NULL;
	struct conf_edit **edit = &c->s->edit[c->kin->table];
	struct conf_merged m;
	char why[300] = "";
	int code, r;

	/* the environment is for those who can write the files */
	if (memmem(text, len, "${", 2) != NULL)
		return refuse(c, 400,
		    "found '${', which only a file edited by hand may have");
	r = conf_edit_new(c->kin->table, text, len, why, sizeof(why), &want);
	/* half of it is no edit that anybody made: all of it, or what was */
	if (r == 0)
		r = conf_edit_dup(*edit, &next);
	if (r == 0)
		r = conf_edit_merge(next, want, &m, why, sizeof(why));
	conf_edit_free(want);
	if (r < 0) {
		conf_edit_free(next);
		return refuse(c, r == PE_SYNTAX ? 400 : 503, "%s",
		    r == PE_SYNTAX ? why : err_str(r));
	}
	conf_edit_free(*edit);
	*edit = next;
	code = done_begin(c, "");
	json_put_uint(&c->j, "added", m.added);
	json_put_uint(&c->j, "changed", m.changed);
	json_put_uint(&c->j, "removed", m.removed);
	json_put_uint(&c->j, "same", m.same);
	json_put_end_obj(&c->j);
	return code;
}

static int
do_import(struct call *c)
{
	int code = can_edit(c);

	if (code != 0)
		return code;
	if (!take_part(c)) {
		staging_import_drop(c->s);
		return refuse(c, 409,
		    "the parts are not in order, or are too many: is another "
		    "import under way? Begin again");
	}
	if ((c->number & 1) == 0) {
		json_put_obj(&c->j, NULL);
		json_put_uint(&c->j, "received", buf_len(c->s->import.text));
		json_put_end_obj(&c->j);
		return 0;
	}
	code = staging_begin(c->n, c->why, c->why_len);
	if (code == 0)
		code = import_text(c);
	staging_import_drop(c->s);
	return code;
}

/* ---- comparing ---------------------------------------------------------------- */

/* One side of an entry: up to so many keys are compared. */
struct side {
	size_t n;
	char *key[64], *value[64];
};

static void
on_side(void *arg, const char *key, const char *value)
{
	struct side *s = arg;

	if (s->n == 64)
		return;
	s->key[s->n] = strdup(key);
	s->value[s->n] = strdup(value);
	if (s->key[s->n] == NULL || s->value[s->n] == NULL) {
		free(s->key[s->n]);
		free(s->value[s->n]);
		return;
	}
	s->n++;
}

static void
side_done(struct side *s)
{
	while (s->n > 0) {
		s->n--;
		free(s->key[s->n]);
		free(s->value[s->n]);
	}
}

static const char *
side_get(const struct side *s, const char *key)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		if (strcmp(s->key[i], key) == 0)
			return s->value[i];
	return NULL;
}

static bool
side_same(const struct side *a, const struct side *b)
{
	const char *v;
	size_t i;

	for (i = 0; i < a->n; i++) {
		v = side_get(b, a->key[i]);
		if (v == NULL || strcmp(v, a->value[i]) != 0)
			return false;
	}
	return a->n == b->n;
}

static void
put_key_change(
    struct json *j, const char *key, const char *from, const char *to)
{
	if (from != NULL && to != NULL && strcmp(from, to) == 0)
		return;
	json_put_obj(j, NULL);
	json_put_str(j, "key", key);
	json_put_str(j, "from", from);
	json_put_str(j, "to", to);
	json_put_end_obj(j);
}

static void
put_change(struct call *c, enum conf_table table, const char *name,
    const char *what, const struct side *a, const struct side *b)
{
	const struct staging_kin *kin = staging_kin_of(table);
	size_t i;

	json_put_obj(&c->j, NULL);
	json_put_str(&c->j, "kin", kin->name);
	json_put_str(&c->j, "file", conf_table_file[table]);
	json_put_str(&c->j, "entry", short_name(kin, name));
	json_put_str(&c->j, "change", what);
	json_put_arr(&c->j, "keys");
	for (i = 0; i < a->n; i++)
		put_key_change(
		    &c->j, a->key[i], a->value[i], side_get(b, a->key[i]));
	for (i = 0; i < b->n; i++)
		if (side_get(a, b->key[i]) == NULL)
			put_key_change(&c->j, b->key[i], NULL, b->value[i]);
	json_put_end_arr(&c->j);
	json_put_end_obj(&c->j);
}

/* Entries of one table that are not the same on both sides. */
static size_t
compare(struct call *c, enum conf_table table, size_t told)
{
	const struct conf_edit *from = c->s->old[table],
			       *to = c->s->edit[table];
	struct side a = { 0 }, b = { 0 };
	const char *name;
	long other;
	size_t i;

	for (i = 0; i < conf_edit_count(from); i++) {
		name = conf_edit_at(from, i);
		other = name == NULL ? -1 : conf_edit_find(to, name);
		if (name == NULL)
			continue;
		(void)conf_edit_keys(from, i, on_side, &a);
		if (other >= 0)
			(void)conf_edit_keys(to, (size_t)other, on_side, &b);
		if (other < 0 || !side_same(&a, &b)) {
			if (told++ < CHANGES_MAX && buf_len(c->doc) < DOC_ROOM)
				put_change(c, table, name,
				    other < 0 ? "deleted" : "changed", &a, &b);
		}
		side_done(&a);
		side_done(&b);
	}
	for (i = 0; i < conf_edit_count(to); i++) {
		name = conf_edit_at(to, i);
		if (name == NULL || conf_edit_find(from, name) >= 0)
			continue;
		(void)conf_edit_keys(to, i, on_side, &b);
		if (told++ < CHANGES_MAX && buf_len(c->doc) < DOC_ROOM)
			put_change(c, table, name, "new", &a, &b);
		side_done(&b);
	}
	return told;
}

static int
do_changes(struct call *c)
{
	struct conf_tables t;
	struct conf *conf;
	size_t i, n = 0;

	json_put_obj(&c->j, NULL);
	json_put_bool(&c->j, "staged", c->s->staged);
	json_put_str(&c->j, "who", c->s->who);
	json_put_str(&c->j, "others", c->s->others);
	json_put_arr(&c->j, "changes");
	for (i = CONF_T_POSTERN + 1; c->s->staged && i < CONF_T_COUNT; i++)
		n = compare(c, (enum conf_table)i, n);
	json_put_end_arr(&c->j);
	json_put_uint(&c->j, "count", n);
	if (c->s->staged && staging_tables(c->s, &t) == 0) {
		conf = staging_check(c->n, &t, &c->j);
		if (conf != NULL && c->args[ADM_TEXT_ARG][0] != '\0')
			staging_impact(
			    c->n->conf, conf, c->args[ADM_TEXT_ARG], &c->j);
		conf_unref(conf);
		conf_tables_done(&t);
	}
	json_put_end_obj(&c->j);
	return 0;
}

/* ---- acting ---------------------------------------------------------------- */

static int
do_commit(struct call *c)
{
	struct conf_tables t;
	int code;

	if (!c->s->staged)
		return refuse(c, 409, "nothing is staged");
	if (staging_tables(c->s, &t) < 0)
		return refuse(c, 503, "out of memory");
	code = staging_commit(c->n, &t, c->s->base_version, c->args[3],
	    c->args[1], &c->j, c->why, c->why_len);
	conf_tables_done(&t);
	return code;
}

static int
do_discard(struct call *c)
{
	bool was = c->s->staged;

	if (was)
		log_info("discarded", "staged settings of %s cleared by %s",
		    c->s->who, c->args[3]);
	staging_forget(c->n);
	json_put_obj(&c->j, NULL);
	json_put_bool(&c->j, "cleared", was);
	json_put_end_obj(&c->j);
	return 0;
}

/* The revision before what is on disk: the newest one, unless the files are
 * that. 0 when there is none. */
static uint64_t
one_before(const struct call *c)
{
	char found[CONF_VERSION] = "", last[CONF_VERSION] = "";
	uint64_t v[CONF_REVISIONS];
	struct conf_revision rev;
	struct conf_tables t;
	int fd, n;

	n = conf_history_list(c->s->history_fd, v, CONF_REVISIONS);
	if (n < 1)
		return 0;
	fd = open(c->n->conf_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 && conf_tables_read(fd, &t) == 0) {
		(void)conf_tables_version(&t, found);
		conf_tables_done(&t);
	}
	if (fd >= 0)
		(void)close(fd);
	if (conf_history_read(c->s->history_fd, v[0], &rev) == 0) {
		(void)conf_tables_version(&rev.tables, last);
		conf_tables_done(&rev.tables);
	}
	if (strcmp(found, last) != 0)
		return v[0];
	return n > 1 ? v[1] : 0;
}

static int
do_rollback(struct call *c)
{
	uint64_t number = c->number;
	struct conf_revision rev;
	char message[100];
	int code;

	if (c->s->staged)
		return refuse(c, 409,
		    "changes of %.60s are staged: commit or clearchanges first",
		    c->s->who);
	if (number == 0)
		number = one_before(c);
	if (number == 0 ||
	    conf_history_read(c->s->history_fd, number, &rev) < 0)
		return refuse(c, 404, "there is no such revision: see history");
	(void)snprintf(
	    message, sizeof(message), "rollback to revision %" PRIu64, number);
	code = staging_commit(c->n, &rev.tables, "", c->args[3], message, &c->j,
	    c->why, c->why_len);
	conf_tables_done(&rev.tables);
	return code;
}

static int
do_history(struct call *c)
{
	uint64_t v[CONF_REVISIONS];
	struct conf_revision rev;
	char when[32];
	int i, n;

	n = conf_history_list(c->s->history_fd, v, CONF_REVISIONS);
	json_put_obj(&c->j, NULL);
	json_put_arr(&c->j, "revisions");
	for (i = 0; i < n; i++) {
		if (conf_history_read(c->s->history_fd, v[i], &rev) < 0)
			continue;
		json_put_obj(&c->j, NULL);
		json_put_uint(&c->j, "revision", rev.number);
		json_put_str(&c->j, "time",
		    clock_format_rfc3339(
			rev.time_s * 1000, when, sizeof(when)));
		json_put_str(&c->j, "who", rev.who);
		json_put_str(&c->j, "message", rev.message);
		json_put_end_obj(&c->j);
		conf_tables_done(&rev.tables);
	}
	json_put_end_arr(&c->j);
	json_put_end_obj(&c->j);
	return 0;
}

static const struct {
	int (*handler)(struct call *c);
	bool kin;    /* args[0] names one */
	bool tables; /* looks at those on disk, which must be readable then */
} verbs[CONFIG_VERBS] = {
	[CONFIG_LIST] = { do_list, true, true },
	[CONFIG_SHOW] = { do_show, true, true },
	[CONFIG_NEW] = { do_new, true, true },
	[CONFIG_EDIT] = { do_edit, true, true },
	[CONFIG_DELETE] = { do_delete, true, true },
	[CONFIG_CLEAR] = { do_clear, true, true },
	[CONFIG_CHANGES] = { do_changes, false, true },
	[CONFIG_COMMIT] = { do_commit, false, false },
	[CONFIG_DISCARD] = { do_discard, false, false },
	[CONFIG_ROLLBACK] = { do_rollback, false, false },
	[CONFIG_HISTORY] = { do_history, false, false },
	[CONFIG_IMPORT] = { do_import, true, false },
};

int
staging_call(struct node *n, const struct adm_call *m, struct buf *doc,
    char *why, size_t why_len)
{
	struct call c = { .n = n,
		.s = n->staging,
		.doc = doc,
		.why = why,
		.why_len = why_len,
		.number = m->num >> 8 };
	size_t verb = m->num & 0xff;
	int code = 0;

	memcpy(c.args, m->args, sizeof(c.args));
	if (verb >= CONFIG_VERBS)
		return refuse(
		    &c, 400, "the supervisor does not know this call");
	if (verbs[verb].kin && (c.kin = staging_kin(m->args[0])) == NULL)
		return refuse(&c, 404, "there is no such table");
	/* what nobody edits is read afresh, but for the next page of a list */
	if (!c.s->staged && (verb != CONFIG_LIST || c.args[1][0] == '\0'))
		staging_drop(c.s);
	if (verbs[verb].tables)
		code = staging_begin(n, why, why_len);
	json_init(&c.j, doc);
	if (code == 0)
		code = verbs[verb].handler(&c);
	if (code == 0 && c.j.err < 0)
		code = refuse(&c, 503, "the answer is too long");
	if (!c.s->staged && c.more)
		staging_listed(n);
	else if (!c.s->staged)
		staging_drop(c.s);
	return code;
}
