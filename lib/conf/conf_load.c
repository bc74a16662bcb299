/*
 * conf_load.c - a set of settings from a directory on disk.
 *
 * The supervisor and posternctl call it; children never read files. Takes what
 * the host knows as defaults: its name and its name servers.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_commit.h"
#include "lib/conf/conf_int.h"

/* Whole regular file, at most max bytes, with a NUL behind it. */
static int
read_fd(int fd, size_t max, uint8_t **ret_data, size_t *ret_len)
{
	struct stat st;
	uint8_t *data = NULL, *bigger;
	size_t len = 0, cap;
	ssize_t n;

	if (fstat(fd, &st) == -1)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (!S_ISREG(st.st_mode))
		return -EINVAL; /* a pipe or device could stall the start */
	if ((uint64_t)st.st_size > max)
		return -EFBIG;
	cap = (size_t)st.st_size + 2;
	for (;;) {
		bigger = realloc(data, cap);
		if (bigger == NULL) {
			free(data);
			return -ENOMEM;
		}
		data = bigger;
		n = read(fd, data + len, cap - len - 1);
		if (n == -1 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (len > max) {
			n = -1;
			errno = EFBIG;
			break;
		}
		if (cap - len - 1 == 0)
			cap *= 2;
	}
	if (n == -1) {
		n = -errno;
		free(data);
		return (int)n;
	}
	data[len] = '\0';
	*ret_data = data;
	*ret_len = len;
	return 0;
}

static int
read_path(int dir_fd, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	/* O_NONBLOCK: opening a pipe must not wait for its writer */
	int fd = openat(dir_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd == -1)
		return -errno;
	r = read_fd(fd, max, ret_data, ret_len);
	(void)close(fd); /* read only: nothing to lose */
	return r;
}

/* A directory, and other tables than those in it, or NULL. */
struct from {
	int dir_fd;
	const struct conf_tables *tables;
};

static int
source_read(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	const struct from *from = arg;
	const struct conf_tables *t = from->tables;
	size_t i;

	for (i = CONF_T_POSTERN + 1; t != NULL && i < CONF_T_COUNT; i++) {
		if (strcmp(path, conf_table_file[i]) != 0)
			continue;
		if (t->len[i] > max)
			return -EFBIG;
		*ret_data = malloc(t->len[i] + 1);
		if (*ret_data == NULL)
			return -ENOMEM;
		memcpy(*ret_data, t->text[i], t->len[i] + 1);
		*ret_len = t->len[i];
		return 0;
	}
	return read_path(from->dir_fd, path, max, ret_data, ret_len);
}

static const char *
source_env(void *arg, const char *name)
{
	(void)arg;
	return getenv(name);
}

/*
 * The host's full name without asking DNS: gethostname(), or the first name
 * with a dot on the line of /etc/hosts that has the short one.
 */
static void
host_name(char *out, size_t len)
{
	uint8_t *data = NULL;
	size_t n;
	char *line, *next, *word, *dotted;
	bool here;

	if (gethostname(out, len) == -1)
		out[0] = '\0';
	out[len - 1] = '\0';
	if (out[0] == '\0' || strchr(out, '.') != NULL ||
	    read_path(AT_FDCWD, "/etc/hosts", (size_t)1 << 20, &data, &n) < 0)
		return;
	next = (char *)data;
	while ((line = strsep(&next, "\n")) != NULL) {
		line[strcspn(line, "#")] = '\0';
		dotted = NULL;
		here = false;
		(void)strsep(&line, " \t"); /* the address */
		while ((word = strsep(&line, " \t\r")) != NULL) {
			if (strcmp(word, out) == 0)
				here = true;
			if (dotted == NULL && strchr(word, '.') != NULL)
				dotted = word;
		}
		if (here && dotted != NULL && strlen(dotted) < len) {
			memcpy(out, dotted, strlen(dotted) + 1);
			break;
		}
	}
	free(data);
}

/* "192.0.2.1, [2001:db8::1]:53" from /etc/resolv.conf; 127.0.0.1 without. */
static void
host_nameservers(char *out, size_t len)
{
	uint8_t *data = NULL, ip[16];
	size_t n, used = 0;
	char *line, *next, *word;

	(void)snprintf(out, len, "127.0.0.1"); /* as the C library does */
	if (read_path(
		AT_FDCWD, "/etc/resolv.conf", (size_t)1 << 20, &data, &n) < 0)
		return;
	next = (char *)data;
	while ((line = strsep(&next, "\n")) != NULL) {
		word = strsep(&line, " \t\r");
		if (strcmp(word, "nameserver") != 0)
			continue;
		while ((word = strsep(&line, " \t\r")) != NULL && *word == '\0')
			;
		/* one with a scope (fe80::1%eth0) is of no use here */
		if (word == NULL ||
		    (inet_pton(AF_INET, word, ip) != 1 &&
			inet_pton(AF_INET6, word, ip) != 1))
			continue;
		if (used + strlen(word) + 3 > len)
			break;
		used += (size_t)snprintf(
		    out + used, len - used, "%s%s", used > 0 ? ", " : "", word);
	}
	free(data);
}

/* Tables of a commit that was not finished: it counts (conf_commit.h). */
static int
unfinished(int dir_fd, struct conf_tables *ret, struct conf_errors *errs)
{
	int r;

	if (faccessat(dir_fd, CONF_COMMIT_FILE, F_OK, 0) == -1)
		return -ENOENT;
	r = conf_tables_read(dir_fd, ret);
	if (r == 0 || r == -ENOMEM || r == -ENOENT)
		return r;
	conf_errors_tell(errs, CONF_COMMIT_FILE,
	    "cannot read what a commit left here: %s; the supervisor finishes "
	    "it when it starts; if it is damaged, remove it",
	    err_str(r));
	return PE_CONFIG;
}

int
conf_load_dir(const char *dir, struct conf_errors *errs, struct conf **ret_conf)
{
	return conf_load_tables(dir, NULL, errs, ret_conf);
}

int
conf_load_tables(const char *dir, const struct conf_tables *tables,
    struct conf_errors *errs, struct conf **ret_conf)
{
	struct conf_tables left = { 0 };
	struct from from = { -1, tables };
	char host[256], servers[512], whole[PATH_MAX];
	struct conf_source src = { .read = source_read,
		.env = source_env,
		.hostname = host,
		.nameservers = servers,
		.named_files = true };
	int dir_fd, r;

	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd == -1 || realpath(dir, whole) == NULL) {
		r = errno;
		if (dir_fd != -1)
			(void)close(dir_fd);
		conf_errors_tell(errs, "postern.conf",
		    "cannot read the directory: %s", strerror(r));
		return PE_CONFIG;
	}
	from.dir_fd = dir_fd;
	r = tables != NULL ? -ENOENT : unfinished(dir_fd, &left, errs);
	if (r == 0)
		from.tables = &left;
	if (r < 0 && r != -ENOENT) {
		(void)close(dir_fd);
		return r;
	}
	host_name(host, sizeof(host));
	host_nameservers(servers, sizeof(servers));
	src.arg = &from;
	src.dir = whole;
	r = conf_load(&src, errs, ret_conf);
	(void)close(dir_fd);
	conf_tables_done(&left);
	return r;
}
