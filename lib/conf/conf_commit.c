/*
 * conf_commit.c - the steps of a commit, in the order that makes it whole.
 *
 * The supervisor calls it; conf_load.c reads through it. See the table in the
 * header. Each file is synced before it is renamed, and the directory after.
 */
#include "lib/conf/conf_commit.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf_int.h"

#define MAGIC "POSTERN-SETTINGS 1\n"

static uint64_t
sum(uint64_t h, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

#define SUM_START 0xcbf29ce484222325ULL

/* ---- tables -------------------------------------------------------------- */

void
conf_tables_done(struct conf_tables *t)
{
	size_t i;

	for (i = 0; i < CONF_T_COUNT; i++)
		free(t->text[i]);
	memset(t, 0, sizeof(*t));
}

const char *
conf_tables_version(const struct conf_tables *t, char *out)
{
	uint64_t h = SUM_START;
	size_t i;

	for (i = CONF_T_POSTERN + 1; i < CONF_T_COUNT; i++) {
		h = sum(h, &t->len[i], sizeof(t->len[i]));
		h = sum(h, t->text[i], t->len[i]);
	}
	(void)snprintf(out, CONF_VERSION, "%016" PRIx64, h);
	return out;
}

/* A whole regular file, terminated. */
static int
read_at(int dir_fd, const char *name, size_t max, char **ret, size_t *ret_len)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct stat st;
	char *data = NULL;
	size_t n = 0;
	ssize_t got = 0;
	int r = 0;

	if (fd == -1)
		return -errno;
	if (fstat(fd, &st) == -1)
		r = -errno;
	else if (!S_ISREG(st.st_mode))
		r = -EINVAL;
	else if ((uint64_t)st.st_size > max)
		r = -EFBIG;
	else if ((data = malloc((size_t)st.st_size + 1)) == NULL)
		r = -ENOMEM;
	while (r == 0 && n < (size_t)st.st_size) {
		got = read(fd, data + n, (size_t)st.st_size - n);
		if (got < 0 && errno != EINTR)
			r = -errno;
		if (got == 0)
			break;
		n += got > 0 ? (size_t)got : 0;
	}
	(void)close(fd); /* only read */
	if (r < 0) {
		free(data);
		return r;
	}
	data[n] = '\0';
	*ret = data;
	*ret_len = n;
	return 0;
}

static int
read_journal(int dir_fd, struct conf_revision *ret)
{
	char *data = NULL;
	size_t len = 0;
	int r;

	r = read_at(dir_fd, CONF_COMMIT_FILE, CONF_REVISION_MAX, &data, &len);
	if (r == 0)
		r = conf_revision_decode((uint8_t *)data, len, ret);
	free(data);
	return r;
}

int
conf_tables_read(int dir_fd, struct conf_tables *ret)
{
	struct conf_revision rev;
	size_t i;
	int r;

	memset(ret, 0, sizeof(*ret));
	r = read_journal(dir_fd, &rev);
	if (r == 0) {
		*ret = rev.tables;
		return 0;
	}
	if (r != -ENOENT)
		return r;
	for (i = CONF_T_POSTERN + 1, r = 0; r == 0 && i < CONF_T_COUNT; i++) {
		r = read_at(dir_fd, conf_table_file[i], (size_t)64 << 20,
		    &ret->text[i], &ret->len[i]);
		if (r == -ENOENT) {
			ret->text[i] = calloc(1, 1);
			r = ret->text[i] == NULL ? -ENOMEM : 0;
		}
	}
	if (r < 0)
		conf_tables_done(ret);
	return r;
}

/* ---- revisions ----------------------------------------------------------- */

/* What ends a line would end the field. */
static void
one_line(char *out, const char *text, size_t len)
{
	size_t i;

	for (i = 0; text[i] != '\0' && i + 1 < len; i++)
		out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f
		    ? ' '
		    : text[i];
	out[i] = '\0';
}

int
conf_revision_encode(const struct conf_revision *rev, struct buf *out)
{
	char who[sizeof(rev->who)], message[sizeof(rev->message)];
	size_t i, from = buf_len(out);
	int r;

	one_line(who, rev->who, sizeof(who));
	one_line(message, rev->message, sizeof(message));
	r = buf_printf(out,
	    MAGIC "number %" PRIu64 "\ntime %" PRId64 "\nwho %s\nmessage %s\n",
	    rev->number, rev->time_s, who, message);
	for (i = CONF_T_POSTERN + 1; r == 0 && i < CONF_T_COUNT; i++) {
		r = buf_printf(out, "table %s %zu\n", conf_table_file[i],
		    rev->tables.len[i]);
		if (r == 0)
			r = buf_put(
			    out, rev->tables.text[i], rev->tables.len[i]);
		if (r == 0)
			r = buf_puts(out, "\n");
	}
	return r < 0
	    ? r
	    : buf_printf(out, "end %016" PRIx64 "\n",
		  sum(SUM_START, buf_data(out) + from, buf_len(out) - from));
}

struct cursor {
	const char *p, *end;
	bool bad;
};

/* The rest of a line that starts with word and a blank. */
static void
take_line(struct cursor *c, const char *word, char *out, size_t len)
{
	size_t n = strlen(word), rest;
	const char *lf;

	lf = c->bad ? NULL : memchr(c->p, '\n', (size_t)(c->end - c->p));
	out[0] = '\0';
	if (lf == NULL || (size_t)(lf - c->p) < n + 1 ||
	    memcmp(c->p, word, n) != 0 || c->p[n] != ' ' ||
	    (rest = (size_t)(lf - c->p) - n - 1) >= len) {
		c->bad = true;
		return;
	}
	memcpy(out, c->p + n + 1, rest);
	out[rest] = '\0';
	c->p = lf + 1;
}

static uint64_t
take_number(struct cursor *c, const char *word, int base)
{
	char text[40], *end;
	uint64_t n;

	take_line(c, word, text, sizeof(text));
	n = strtoull(text, &end, base);
	if (text[0] < '0' || *end != '\0')
		c->bad = true;
	return n;
}

static int
take_table(struct cursor *c, size_t i, struct conf_tables *t)
{
	char word[64];
	uint64_t len;

	(void)snprintf(word, sizeof(word), "table %s", conf_table_file[i]);
	len = take_number(c, word, 10);
	if (c->bad || len >= (size_t)(c->end - c->p) || c->p[len] != '\n') {
		c->bad = true;
		return 0;
	}
	t->text[i] = malloc(len + 1);
	if (t->text[i] == NULL)
		return -ENOMEM;
	memcpy(t->text[i], c->p, len);
	t->text[i][len] = '\0';
	t->len[i] = len;
	c->p += len + 1;
	return 0;
}

int
conf_revision_decode(const uint8_t *data, size_t len, struct conf_revision *ret)
{
	struct cursor c = { (const char *)data, (const char *)data + len,
		false };
	const size_t magic = strlen(MAGIC);
	uint64_t want;
	size_t i;
	int r = 0;

	memset(ret, 0, sizeof(*ret));
	if (len < magic || memcmp(data, MAGIC, magic) != 0)
		return PE_CORRUPT;
	c.p += magic;
	ret->number = take_number(&c, "number", 10);
	ret->time_s = (int64_t)take_number(&c, "time", 10);
	take_line(&c, "who", ret->who, sizeof(ret->who));
	take_line(&c, "message", ret->message, sizeof(ret->message));
	for (i = CONF_T_POSTERN + 1; r == 0 && i < CONF_T_COUNT; i++)
		r = take_table(&c, i, &ret->tables);
	want = sum(SUM_START, data, (size_t)(c.p - (const char *)data));
	if (r == 0 &&
	    (take_number(&c, "end", 16) != want || c.bad || c.p != c.end))
		r = PE_CORRUPT;
	if (r < 0)
		conf_tables_done(&ret->tables);
	return r;
}

/* ---- steps --------------------------------------------------------------- */

static void
step(const struct conf_commit *c, const char *what)
{
	if (c->on_step != NULL)
		c->on_step(c->step_arg, what);
}

static int
sync_dir(const struct conf_commit *c, int fd)
{
	step(c, "sync directory");
	return fsync(fd) == -1 ? -errno : 0;
}

static int
write_all(const struct conf_commit *c, int fd, const char *data, size_t len)
{
	/* in two halves, so that a test can stop in between */
	size_t half = len / 2, n = 0, want;
	ssize_t put;

	while (n < len) {
		want = n < half ? half - n : len - n;
		step(c, "write");
		put = write(fd, data + n, want);
		if (put == -1 && errno != EINTR)
			return -errno;
		n += put > 0 ? (size_t)put : 0;
	}
	return 0;
}

/* name in dir becomes these bytes at once. like: whose mode and owner it gets,
 * or NULL for 0600. */
static int
replace(const struct conf_commit *c, int dir_fd, const char *name,
    const struct stat *like, const char *data, size_t len)
{
	char tmp[128];
	mode_t mode;
	int fd, r;

	(void)snprintf(tmp, sizeof(tmp), "%s.new", name);
	step(c, "create");
	fd = openat(dir_fd, tmp,
	    O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd == -1)
		return -errno;
	r = write_all(c, fd, data, len);
	if (r == 0 && like != NULL) {
		mode = like->st_mode & 0777;
		/* without the right to give it away it stays ours; without the
		 * group nobody's group may read it */
		if (fchown(fd, like->st_uid, like->st_gid) == -1 &&
		    fchown(fd, (uid_t)-1, like->st_gid) == -1)
			mode &= ~(mode_t)070;
		if (fchmod(fd, mode) == -1)
			r = -errno;
	}
	step(c, "sync");
	if (r == 0 && fsync(fd) == -1)
		r = -errno;
	if (close(fd) == -1 && r == 0)
		r = -errno;
	step(c, "rename");
	if (r == 0 && renameat(dir_fd, tmp, dir_fd, name) == -1)
		r = -errno;
	if (r < 0)
		(void)unlinkat(dir_fd, tmp, 0); /* the next one would too */
	return r;
}

int
conf_commit_possible(const struct conf_commit *c, char *why, size_t why_len)
{
	struct statvfs vfs;
	struct stat st;
	size_t i;
	int r = 0;

	if (fstatvfs(c->dir_fd, &vfs) == 0 && (vfs.f_flag & ST_RDONLY) != 0) {
		(void)snprintf(why, why_len,
		    "the settings directory is on a read-only file system "
		    "(such as a ConfigMap): change the files where they come "
		    "from, then reload");
		return -EROFS;
	}
	if (faccessat(c->dir_fd, ".", W_OK | X_OK, AT_EACCESS) == -1) {
		r = -errno;
		if (fstat(c->dir_fd, &st) == -1)
			memset(&st, 0, sizeof(st));
		(void)snprintf(why, why_len,
		    "the settings directory cannot be written: it belongs to "
		    "uid %u, has mode %03o, and postern is uid %u (%s)",
		    st.st_uid, st.st_mode & 0777, geteuid(), strerror(-r));
		return r;
	}
	for (i = CONF_T_POSTERN + 1; i < CONF_T_COUNT; i++) {
		if (fstatat(c->dir_fd, conf_table_file[i], &st,
			AT_SYMLINK_NOFOLLOW) == -1 ||
		    !S_ISLNK(st.st_mode))
			continue;
		(void)snprintf(why, why_len,
		    "%s is a symbolic link, so something else manages it: "
		    "change it there, then reload",
		    conf_table_file[i]);
		return -ELOOP;
	}
	return 0;
}

int
conf_commit_write(const struct conf_commit *c, const struct conf_revision *rev)
{
	struct buf text;
	int r;

	/* one that counts already must not go down with this one: below, its
	 * file would be replaced or taken back while its tables are a mixture */
	r = conf_commit_finish(c);
	if (r < 0)
		return r;
	buf_init(&text, CONF_REVISION_MAX);
	r = conf_revision_encode(rev, &text);
	if (r == 0)
		r = replace(c, c->dir_fd, CONF_COMMIT_FILE, NULL,
		    (char *)buf_data(&text), buf_len(&text));
	buf_done(&text);
	if (r == 0)
		r = sync_dir(c, c->dir_fd);
	if (r < 0) {
		/* not known to last: take it back, the old set stays */
		(void)unlinkat(c->dir_fd, CONF_COMMIT_FILE, 0);
		return r;
	}
	return 0;
}

static int
write_tables(const struct conf_commit *c, const struct conf_tables *t)
{
	struct stat st, *like;
	char *old;
	size_t len, i;
	bool same;
	int r = 0;

	for (i = CONF_T_POSTERN + 1; r == 0 && i < CONF_T_COUNT; i++) {
		like = fstatat(c->dir_fd, conf_table_file[i], &st, 0) == 0
		    ? &st
		    : NULL;
		if (like == NULL && t->len[i] == 0)
			continue; /* missing is empty */
		if (like == NULL) {
			st = (struct stat){ .st_mode = 0644,
				.st_uid = geteuid(),
				.st_gid = getegid() };
			like = &st;
		} else if (read_at(c->dir_fd, conf_table_file[i],
			       (size_t)64 << 20, &old, &len) == 0) {
			same = len == t->len[i] &&
			    memcmp(old, t->text[i], len) == 0;
			free(old);
			if (same)
				continue;
		}
		r = replace(c, c->dir_fd, conf_table_file[i], like, t->text[i],
		    t->len[i]);
	}
	return r;
}

int
conf_commit_finish(const struct conf_commit *c)
{
	struct conf_revision rev;
	int r;

	r = read_journal(c->dir_fd, &rev);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return r;
	r = c->history_fd == -1 ? 0 : conf_history_add(c, &rev);
	if (r == 0)
		r = write_tables(c, &rev.tables);
	if (r == 0)
		r = sync_dir(c, c->dir_fd);
	/* every table is there: readers may take them from now on */
	step(c, "unlink");
	if (r == 0 && unlinkat(c->dir_fd, CONF_COMMIT_FILE, 0) == -1)
		r = -errno;
	if (r == 0)
		r = sync_dir(c, c->dir_fd);
	conf_tables_done(&rev.tables);
	return r;
}

/* ---- history ------------------------------------------------------------- */

int
conf_history_list(int history_fd, uint64_t *ret, size_t max)
{
	int fd = openat(history_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct dirent *e;
	size_t n = 0, i;
	uint64_t number;
	char *end;
	DIR *d;

	d = fd == -1 ? NULL : fdopendir(fd);
	if (d == NULL) {
		number = (uint64_t)errno;
		if (fd != -1)
			(void)close(fd);
		return -(int)number;
	}
	while ((e = readdir(d)) != NULL) {
		if (e->d_name[0] < '0' || e->d_name[0] > '9')
			continue;
		number = strtoull(e->d_name, &end, 10);
		if (*end != '\0')
			continue;
		/* sorted, newest first; the oldest fall off the end */
		for (i = n; i > 0 && ret[i - 1] < number; i--)
			if (i < max)
				ret[i] = ret[i - 1];
		if (i < max)
			ret[i] = number;
		if (n < max)
			n++;
	}
	(void)closedir(d);
	return (int)n;
}

static int
load(int history_fd, const char *name, struct conf_revision *ret)
{
	char *data = NULL;
	size_t len = 0;
	int r;

	r = read_at(history_fd, name, CONF_REVISION_MAX, &data, &len);
	if (r == 0)
		r = conf_revision_decode((uint8_t *)data, len, ret);
	free(data);
	return r;
}

int
conf_history_read(int history_fd, uint64_t number, struct conf_revision *ret)
{
	char name[32];

	(void)snprintf(name, sizeof(name), "%" PRIu64, number);
	return load(history_fd, name, ret);
}

static int
save(const struct conf_commit *c, const char *name,
    const struct conf_revision *rev)
{
	struct buf text;
	int r;

	buf_init(&text, CONF_REVISION_MAX);
	r = conf_revision_encode(rev, &text);
	if (r == 0)
		r = replace(c, c->history_fd, name, NULL,
		    (char *)buf_data(&text), buf_len(&text));
	buf_done(&text);
	return r;
}

int
conf_staged_save(int history_fd, const struct conf_revision *rev)
{
	const struct conf_commit c = { -1, history_fd, NULL, NULL };

	return save(&c, "staged", rev);
}

int
conf_staged_load(int history_fd, struct conf_revision *ret)
{
	return load(history_fd, "staged", ret);
}

int
conf_staged_remove(int history_fd)
{
	return unlinkat(history_fd, "staged", 0) == -1 && errno != ENOENT
	    ? -errno
	    : 0;
}

int
conf_history_add(const struct conf_commit *c, const struct conf_revision *rev)
{
	uint64_t v[CONF_REVISIONS + 8];
	char name[32];
	int n, i, r;

	(void)snprintf(name, sizeof(name), "%" PRIu64, rev->number);
	r = save(c, name, rev);
	if (r == 0)
		r = sync_dir(c, c->history_fd);
	n = r < 0 ? 0 : conf_history_list(c->history_fd, v, CONF_REVISIONS + 8);
	for (i = CONF_REVISIONS; i < n; i++) {
		(void)snprintf(name, sizeof(name), "%" PRIu64, v[i]);
		/* one that stays goes next time */
		(void)unlinkat(c->history_fd, name, 0);
	}
	return r;
}
