/*
 * disk.h - a disk that forgets: records what the process writes below one
 * directory, with its syncs, and builds what a power cut would have left.
 *
 * The wrappers stand in the test's executable, so that liblmdb's calls come here
 * as well as ours. The model, on purpose no kinder than POSIX: a write is there
 * for good after an fsync or fdatasync of its file (or at once, with O_DSYNC); a
 * name or its removal after an fsync of its directory; anything else may be
 * there or not, each on its own, whatever order it came in, and a write may be
 * there in part. Parts are sectors of 512 bytes: smaller ones are taken as
 * whole, which LMDB's meta pages rely on. Not modelled: a disk that lies about a
 * sync, or that damages what it had.
 */
#ifndef POSTERN_TESTS_QUEUE_DISK_H
#define POSTERN_TESTS_QUEUE_DISK_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SECTOR = 512, DISK_PATH = 64, DISK_FILES = 600 };

/* ---- recording --------------------------------------------------------------- */

struct disk_op {
	enum {
		DISK_WRITE,
		DISK_NAME,   /* a file, made */
		DISK_DIR,    /* a directory, made */
		DISK_UNNAME, /* a name, removed */
		DISK_RENAME, /* to path; data is the old name */
		DISK_SYNC,   /* of a file or a directory */
		DISK_NOTE,   /* the test's own */
	} kind;
	char path[DISK_PATH]; /* below the directory; "" itself */
	uint64_t at;
	size_t len;
	uint8_t *data; /* WRITE: bytes; NOTE: the test's */
	bool dsync;    /* WRITE: durable when it returned */
};

static struct {
	pthread_mutex_t mutex;
	bool on;
	char dir[DISK_PATH];
	size_t dir_len;
	struct disk_op *ops;
	size_t n, cap;
} disk = { .mutex = PTHREAD_MUTEX_INITIALIZER };

static void
disk_add(int kind, const char *path, uint64_t at, const void *data, size_t len,
    bool dsync)
{
	struct disk_op *op;

	(void)pthread_mutex_lock(&disk.mutex);
	if (disk.n == disk.cap) {
		disk.cap = disk.cap == 0 ? 1024 : disk.cap * 2;
		disk.ops = realloc(disk.ops, disk.cap * sizeof(*disk.ops));
		if (disk.ops == NULL)
			abort();
	}
	op = &disk.ops[disk.n++];
	memset(op, 0, sizeof(*op));
	op->kind = kind;
	snprintf(op->path, sizeof(op->path), "%s", path);
	op->at = at;
	op->len = len;
	op->dsync = dsync;
	if (len > 0) {
		op->data = malloc(len);
		if (op->data == NULL)
			abort();
		memcpy(op->data, data, len);
	}
	(void)pthread_mutex_unlock(&disk.mutex);
}

/* Path below the directory. lock.mdb is no part of it: LMDB makes it anew. */
static bool
disk_below(const char *full, char *ret)
{
	if (!disk.on || strncmp(full, disk.dir, disk.dir_len) != 0 ||
	    (full[disk.dir_len] != '/' && full[disk.dir_len] != '\0'))
		return false;
	full += disk.dir_len;
	if (*full == '/')
		full++;
	snprintf(ret, DISK_PATH, "%.63s", full);
	return strstr(ret, "lock.mdb") == NULL;
}

static bool
disk_fd(int fd, char *ret)
{
	char link[40], full[256];
	ssize_t n;

	if (!disk.on)
		return false;
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, full, sizeof(full) - 1);
	if (n <= 0)
		return false;
	full[n] = '\0';
	return disk_below(full, ret);
}

static bool
disk_at(int dir_fd, const char *name, char *ret)
{
	char dir[DISK_PATH];

	if (name[0] == '/' || dir_fd == AT_FDCWD)
		return disk_below(name, ret);
	if (!disk_fd(dir_fd, dir))
		return false;
	return snprintf(ret, DISK_PATH, "%s%s%s", dir,
		   dir[0] == '\0' ? "" : "/", name) < DISK_PATH;
}

static void
disk_written(int fd, uint64_t at, const void *data, ssize_t n)
{
	char path[DISK_PATH];
	int flags;

	if (n <= 0 || !disk_fd(fd, path))
		return;
	flags = fcntl(fd, F_GETFL);
	disk_add(DISK_WRITE, path, at, data, (size_t)n, (flags & O_DSYNC) != 0);
}

/* ---- the calls, as libc has them ----------------------------------------------- */

ssize_t
write(int fd, const void *data, size_t len)
{
	off_t at = disk.on ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t n = syscall(SYS_write, fd, data, len);

	disk_written(fd, at < 0 ? 0 : (uint64_t)at, data, n);
	return n;
}

ssize_t
pwrite(int fd, const void *data, size_t len, off_t at)
{
	ssize_t n = syscall(SYS_pwrite64, fd, data, len, at);

	disk_written(fd, (uint64_t)at, data, n);
	return n;
}

ssize_t
writev(int fd, const struct iovec *iov, int n_iov)
{
	char path[DISK_PATH];
	bool mine = disk_fd(fd, path);
	off_t at = mine ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t n = syscall(SYS_writev, fd, iov, n_iov), left = n;
	int i;

	/* each piece on its own: the disk does not know that they were one */
	for (i = 0; mine && i < n_iov && left > 0; i++) {
		size_t len = iov[i].iov_len < (size_t)left ? iov[i].iov_len
							   : (size_t)left;

		disk_written(fd, (uint64_t)at, iov[i].iov_base, (ssize_t)len);
		at += (off_t)len;
		left -= (ssize_t)len;
	}
	return n;
}

static int
disk_sync(int fd, long call)
{
	char path[DISK_PATH];
	int r = (int)syscall(call, fd);

	if (r == 0 && disk_fd(fd, path))
		disk_add(DISK_SYNC, path, 0, NULL, 0, false);
	return r;
}

int
fsync(int fd)
{
	return disk_sync(fd, SYS_fsync);
}

int
fdatasync(int fd)
{
	return disk_sync(fd, SYS_fdatasync);
}

static int
disk_open(int dir_fd, const char *name, int flags, mode_t mode)
{
	char path[DISK_PATH];
	bool mine = (flags & O_CREAT) != 0 && disk_at(dir_fd, name, path);
	struct stat sb;
	bool was = mine && fstatat(dir_fd, name, &sb, 0) == 0;
	int fd = (int)syscall(SYS_openat, dir_fd, name, flags, mode);

	if (fd >= 0 && mine && !was)
		disk_add(DISK_NAME, path, 0, NULL, 0, false);
	return fd;
}

int
openat(int dir_fd, const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return disk_open(dir_fd, name, flags, mode);
}

int
open(const char *name, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(ap, mode_t) : 0;
	va_end(ap);
	return disk_open(AT_FDCWD, name, flags, mode);
}

int
mkdirat(int dir_fd, const char *name, mode_t mode)
{
	char path[DISK_PATH];
	int r = (int)syscall(SYS_mkdirat, dir_fd, name, mode);

	if (r == 0 && disk_at(dir_fd, name, path))
		disk_add(DISK_DIR, path, 0, NULL, 0, false);
	return r;
}

int
unlinkat(int dir_fd, const char *name, int flags)
{
	char path[DISK_PATH];
	int r = (int)syscall(SYS_unlinkat, dir_fd, name, flags);

	if (r == 0 && disk_at(dir_fd, name, path))
		disk_add(DISK_UNNAME, path, 0, NULL, 0, false);
	return r;
}

int
renameat(int from_fd, const char *from, int to_fd, const char *to)
{
	char old[DISK_PATH], path[DISK_PATH];
	int r = (int)syscall(SYS_renameat2, from_fd, from, to_fd, to, 0);

	if (r == 0 && disk_at(from_fd, from, old) && disk_at(to_fd, to, path))
		disk_add(DISK_RENAME, path, 0, old, sizeof(old), false);
	return r;
}

/* Neither is used on the store; a version of LMDB that begins to must not go
 * unseen. */
int
msync(void *p, size_t len, int flags)
{
	if (disk.on)
		abort();
	return (int)syscall(SYS_msync, p, len, flags);
}

int
ftruncate(int fd, off_t len)
{
	char path[DISK_PATH];

	if (disk_fd(fd, path))
		abort();
	return (int)syscall(SYS_ftruncate, fd, len);
}

/* ---- what is there for good ------------------------------------------------------- */

struct disk_file {
	char path[DISK_PATH];
	bool is_dir, named; /* its name is there */
	uint8_t *data;
	size_t len;
};

struct disk_state {
	struct disk_file f[DISK_FILES];
	size_t n;
	/* not synced yet: indexes of ops, in order */
	size_t *pending, n_pending;
};

/* Syncs that do not count: what a mistake in the code would leave out. */
struct disk_blind {
	const char *name;
	const char *prefix; /* of the path */
	bool dirs, files, dsync;
};

static struct disk_file *
disk_file(struct disk_state *s, const char *path)
{
	size_t i;

	for (i = s->n; i-- > 0;)
		if (strcmp(s->f[i].path, path) == 0)
			return &s->f[i];
	if (s->n == DISK_FILES)
		abort();
	snprintf(s->f[s->n].path, DISK_PATH, "%s", path);
	return &s->f[s->n++];
}

static void
disk_put(struct disk_file *f, uint64_t at, const uint8_t *data, size_t len)
{
	if (at + len > f->len) {
		f->data = realloc(f->data, at + len);
		if (f->data == NULL)
			abort();
		memset(f->data + f->len, 0, at + len - f->len);
		f->len = at + len;
	}
	memcpy(f->data + at, data, len);
}

/* The name moves at once; with it what is there of the file for good. */
static void
disk_move(struct disk_state *s, const char *from, struct disk_file *to)
{
	struct disk_file *f = disk_file(s, from);

	free(to->data);
	to->data = f->data;
	to->len = f->len;
	to->named = true;
	f->data = NULL;
	f->len = 0;
	f->named = false;
}

static void
disk_apply(struct disk_state *s, const struct disk_op *op)
{
	struct disk_file *f = disk_file(s, op->path);

	switch (op->kind) {
	case DISK_WRITE:
		disk_put(f, op->at, op->data, op->len);
		break;
	case DISK_NAME:
	case DISK_DIR:
		f->named = true;
		f->is_dir = op->kind == DISK_DIR;
		break;
	case DISK_UNNAME:
		f->named = false;
		break;
	case DISK_RENAME:
		disk_move(s, (const char *)op->data, f);
		break;
	default:
		break;
	}
}

/* Is op made durable by a sync of path? */
static bool
disk_covered(const struct disk_op *op, const char *path)
{
	const char *slash;
	size_t len;

	if (op->kind == DISK_WRITE)
		return strcmp(op->path, path) == 0;
	slash = strrchr(op->path, '/');
	len = slash == NULL ? 0 : (size_t)(slash - op->path);
	return strlen(path) == len && strncmp(op->path, path, len) == 0;
}

static bool
disk_is_blind(
    const struct disk_blind *b, const struct disk_op *op, struct disk_state *s)
{
	bool is_dir;

	if (b == NULL || strncmp(op->path, b->prefix, strlen(b->prefix)) != 0)
		return false;
	if (op->kind == DISK_WRITE)
		return b->dsync;
	is_dir = op->path[0] == '\0' || disk_file(s, op->path)->is_dir;
	return is_dir ? b->dirs : b->files;
}

/* The next op happens: pending, or what it makes durable. */
static void
disk_step(struct disk_state *s, size_t i, const struct disk_blind *blind)
{
	const struct disk_op *op = &disk.ops[i];
	size_t k, n = 0;

	if (op->kind == DISK_DIR) /* known as one, there or not */
		disk_file(s, op->path)->is_dir = true;
	if (op->kind == DISK_WRITE && op->dsync &&
	    !disk_is_blind(blind, op, s)) {
		disk_apply(s, op);
		return;
	}
	if (op->kind != DISK_SYNC) {
		if (op->kind != DISK_NOTE)
			s->pending[s->n_pending++] = i;
		return;
	}
	if (disk_is_blind(blind, op, s))
		return;
	for (k = 0; k < s->n_pending; k++) {
		if (disk_covered(&disk.ops[s->pending[k]], op->path))
			disk_apply(s, &disk.ops[s->pending[k]]);
		else
			s->pending[n++] = s->pending[k];
	}
	s->n_pending = n;
}

static void
disk_state_init(struct disk_state *s)
{
	memset(s, 0, sizeof(*s));
	s->pending = calloc(disk.n + 1, sizeof(*s->pending));
	if (s->pending == NULL)
		abort();
}

static void
disk_state_done(struct disk_state *s)
{
	size_t i;

	for (i = 0; i < s->n; i++)
		free(s->f[i].data);
	free(s->pending);
}

/* ---- what a power cut leaves ------------------------------------------------------- */

enum disk_luck { DISK_NOTHING, DISK_ALL, DISK_SOME };

static uint64_t
disk_dice(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 33;
}

/* One write that was on its way, perhaps only some of its sectors. */
static void
disk_apply_torn(struct disk_state *s, const struct disk_op *op, uint64_t *seed)
{
	struct disk_file *f = disk_file(s, op->path);
	size_t at = 0, n;

	while (at < op->len) {
		n = SECTOR - (op->at + at) % SECTOR;
		if (n > op->len - at)
			n = op->len - at;
		if (disk_dice(seed) % 2 == 0)
			disk_put(f, op->at + at, op->data + at, n);
		at += n;
	}
}

/* s with what is pending: none of it, all, or some. A copy in ret. */
static void
disk_cut(const struct disk_state *s, enum disk_luck luck, uint64_t seed,
    struct disk_state *ret)
{
	size_t i;

	*ret = *s;
	ret->pending = NULL;
	ret->n_pending = 0;
	for (i = 0; i < s->n; i++) {
		if (s->f[i].len == 0)
			continue;
		ret->f[i].data = malloc(s->f[i].len);
		if (ret->f[i].data == NULL)
			abort();
		memcpy(ret->f[i].data, s->f[i].data, s->f[i].len);
	}
	for (i = 0; i < s->n_pending && luck != DISK_NOTHING; i++) {
		const struct disk_op *op = &disk.ops[s->pending[i]];

		if (luck == DISK_ALL || disk_dice(&seed) % 3 == 0)
			disk_apply(ret, op);
		else if (op->kind == DISK_WRITE && disk_dice(&seed) % 2 == 0)
			disk_apply_torn(ret, op, &seed);
	}
}

/* Is it there, with the directories above it? */
static bool
disk_there(struct disk_state *s, const struct disk_file *f)
{
	char up[DISK_PATH];
	char *slash;

	if (!f->named)
		return false;
	snprintf(up, sizeof(up), "%s", f->path);
	slash = strrchr(up, '/');
	if (slash == NULL)
		return true;
	*slash = '\0';
	return disk_there(s, disk_file(s, up));
}

/* Write it out below to, an empty directory. The order of s is the order in
 * which the names were made, so that directories come first. */
static void
disk_write_out(struct disk_state *s, const char *to)
{
	char path[2 * DISK_PATH];
	size_t i;
	int fd;

	for (i = 0; i < s->n; i++) {
		struct disk_file *f = &s->f[i];

		if (!disk_there(s, f))
			continue;
		snprintf(path, sizeof(path), "%s/%s", to, f->path);
		if (f->is_dir) {
			if (mkdir(path, 0700) < 0)
				abort();
			continue;
		}
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
		if (fd < 0 ||
		    (f->len > 0 &&
			write(fd, f->data, f->len) != (ssize_t)f->len))
			abort();
		(void)close(fd);
	}
}

#endif
