/*
 * body.c - files of large bodies. Called by the loop (create, open, sweep) and
 * by the writer thread (sync, unlink). Never follows links, never leaves the
 * directory it was given.
 */
#include "queue/body.h"

#include "lib/base/err.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_LEN = 64, DIR_SHIFT = 10 };

unsigned
body_dir_of(uint64_t mid)
{
	return (unsigned)(mid >> DIR_SHIFT) % BODY_DIRS;
}

static void
body_path(uint64_t mid, char path[PATH_LEN])
{
	(void)snprintf(
	    path, PATH_LEN, "bodies/%02x/%" PRIu64, body_dir_of(mid), mid);
}

static void
dir_path(unsigned dir, char path[PATH_LEN])
{
	(void)snprintf(path, PATH_LEN, "bodies/%02x", dir);
}

static int
sync_at(int dir_fd, const char *path)
{
	int fd, r = 0;

	fd = openat(
	    dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	if (fsync(fd) < 0)
		r = -errno;
	(void)close(fd);
	return r;
}

int
body_dirs_make(int dir_fd)
{
	char path[PATH_LEN];
	unsigned i;

	if (mkdirat(dir_fd, "bodies", 0700) < 0 && errno != EEXIST)
		return -errno;
	for (i = 0; i < BODY_DIRS; i++) {
		dir_path(i, path);
		if (mkdirat(dir_fd, path, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	/* always: one that is here may be of a start that died before this */
	return fsync(dir_fd) < 0 ? -errno : sync_at(dir_fd, "bodies");
}

int
body_create(int dir_fd, uint64_t mid, int *ret_fd)
{
	char path[PATH_LEN];
	int fd;

	body_path(mid, path);
	fd = openat(dir_fd, path,
	    O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int
body_open(int dir_fd, uint64_t mid, uint64_t size, int *ret_fd)
{
	char path[PATH_LEN];
	struct stat sb;
	int fd;

	body_path(mid, path);
	fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? PE_NOT_FOUND : -errno;
	if (fstat(fd, &sb) < 0 || !S_ISREG(sb.st_mode) ||
	    (uint64_t)sb.st_size != size) {
		(void)close(fd);
		return PE_CORRUPT;
	}
	*ret_fd = fd;
	return 0;
}

int
body_unlink(int dir_fd, uint64_t mid)
{
	char path[PATH_LEN];

	body_path(mid, path);
	if (unlinkat(dir_fd, path, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int
body_sync_dir(int dir_fd, unsigned dir)
{
	char path[PATH_LEN];

	dir_path(dir, path);
	return sync_at(dir_fd, path);
}

void
body_sweep_init(struct body_sweep *s, int dir_fd)
{
	memset(s, 0, sizeof(*s));
	s->dir_fd = dir_fd;
}

static int
sweep_open(struct body_sweep *s)
{
	char path[PATH_LEN];
	int fd, r;

	dir_path(s->dir, path);
	fd = openat(
	    s->dir_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	s->open = fdopendir(fd);
	if (s->open == NULL) {
		r = -errno;
		(void)close(fd);
		return r;
	}
	return 0;
}

/* Only names that body_path() writes. */
static bool
parse_name(const char *name, unsigned dir, uint64_t *ret_mid)
{
	char *end;

	if (name[0] < '1' || name[0] > '9')
		return false;
	errno = 0;
	*ret_mid = strtoull(name, &end, 10);
	return errno == 0 && *end == '\0' && body_dir_of(*ret_mid) == dir;
}

int
body_sweep_next(struct body_sweep *s, uint64_t *ret_mid)
{
	struct dirent *de;
	int r;

	while (s->dir < BODY_DIRS) {
		if (s->open == NULL) {
			r = sweep_open(s);
			if (r < 0) {
				s->dir++;
				return r;
			}
		}
		while ((de = readdir(s->open)) != NULL)
			if (parse_name(de->d_name, s->dir, ret_mid))
				return 1;
		(void)closedir(s->open);
		s->open = NULL;
		s->dir++;
	}
	return 0;
}

void
body_sweep_done(struct body_sweep *s)
{
	if (s->open != NULL)
		(void)closedir(s->open);
	s->open = NULL;
	s->dir = BODY_DIRS;
}
