/*
 * node.c - what a node has on its host: directories, the lock, the log target,
 * limits; and what the supervisor gives up once it has them.
 *
 * Everything that needs the full rights of the starting user happens here,
 * before the first child exists.
 */
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/exit.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- directories --------------------------------------------------------------- */

/* Make it where the parent allows; an existing one must be ours and closed to
 * others' writing. 0 or an exit code. */
static int
own_dir(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	struct stat st;

	if (mkdir(path, mode) == 0) {
		/* the umask had its say, and as root the owner is another */
		if (chmod(path, mode) < 0 || chown(path, uid, gid) < 0) {
			(void)fprintf(
			    stderr, "postern: %s: %s\n", path, strerror(errno));
			return EXIT_CODE_START;
		}
	} else if (errno != EEXIST) {
		(void)fprintf(stderr, "postern: cannot make %s: %s\n", path,
		    strerror(errno));
		return EXIT_CODE_START;
	}
	if (lstat(path, &st) < 0 || !S_ISDIR(st.st_mode)) {
		(void)fprintf(stderr, "postern: %s is not a directory\n", path);
		return EXIT_CODE_START;
	}
	if (st.st_uid != uid) {
		(void)fprintf(stderr,
		    "postern: %s belongs to uid %u; wanted %u: chown %u %s\n",
		    path, st.st_uid, uid, uid, path);
		return EXIT_CODE_START;
	}
	if ((st.st_mode & 022) != 0) {
		(void)fprintf(stderr,
		    "postern: %s has mode %03o and others may write; wanted "
		    "%03o: chmod %03o %s\n",
		    path, st.st_mode & 0777, mode, mode, path);
		return EXIT_CODE_START;
	}
	return 0;
}

/* Parents of a path that do not exist yet, plain and without checks. */
static void
make_parents(const char *path)
{
	char part[4096];
	size_t i;

	for (i = 1; i < sizeof(part) - 1 && path[i] != '\0'; i++) {
		if (path[i] != '/')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		(void)mkdir(part, 0755); /* own_dir() tells what fails */
	}
}

static int
join(char *ret, size_t len, const char *dir, const char *name)
{
	int n = snprintf(ret, len, "%s/%s", dir, name);

	if (n > 0 && (size_t)n < len)
		return 0;
	(void)fprintf(stderr, "postern: path %s/%s is too long\n", dir, name);
	return EXIT_CODE_CONFIG;
}

/* Which processes keep state;
 * nobody else opens it. */
static const struct {
	enum role role;
	const char *name;
} state_dirs[NODE_DIRS] = {
	{ ROLE_QUEUE, "queue" },
	{ ROLE_POLICYD, "policy" },
	{ ROLE_RESOLVER, "resolver" },
};

const struct node_dir *
node_dir_of(const struct node *n, enum role role)
{
	size_t i;

	for (i = 0; i < NODE_DIRS; i++)
		if (n->dirs[i].role == role)
			return &n->dirs[i];
	return NULL;
}

static int
open_state_dir(struct node *n, size_t i)
{
	struct node_dir *d = &n->dirs[i];
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int r;

	d->role = state_dirs[i].role;
	if (n->as_root && !setup_find_user(n->conf, d->role, &uid, &gid))
		return EXIT_CODE_CONFIG;
	r = join(d->path, sizeof(d->path), n->conf->node.state_dir,
	    state_dirs[i].name);
	if (r == 0)
		r = own_dir(d->path, 0700, uid, gid);
	if (r != 0)
		return r;
	d->fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->fd < 0) {
		(void)fprintf(
		    stderr, "postern: %s: %s\n", d->path, strerror(errno));
		return EXIT_CODE_START;
	}
	return 0;
}

static int
open_dirs(struct node *n)
{
	const struct conf_node *cn = &n->conf->node;
	size_t i;
	int r;

	make_parents(cn->state_dir);
	make_parents(cn->run_dir);
	r = own_dir(cn->state_dir, 0755, geteuid(), getegid());
	if (r == 0)
		r = own_dir(cn->run_dir, 0755, geteuid(), getegid());
	if (r == 0)
		r = join(n->empty_path, sizeof(n->empty_path), cn->state_dir,
		    "empty");
	if (r == 0)
		r = join(n->socket_path, sizeof(n->socket_path), cn->run_dir,
		    "control.sock");
	for (i = 0; i < NODE_DIRS && r == 0; i++)
		r = open_state_dir(n, i);
	if (r == 0 && n->as_root)
		r = own_dir(n->empty_path, 0755, 0, 0);
	return r;
}

/* One node per directory of its kind; the kernel lets go when we end. */
static int
take_lock(const char *dir, const char *setting, int *ret_fd)
{
	char path[4200];
	int r;

	r = join(path, sizeof(path), dir, "lock");
	if (r != 0)
		return r;
	*ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (*ret_fd < 0) {
		(void)fprintf(
		    stderr, "postern: %s: %s\n", path, strerror(errno));
		return EXIT_CODE_START;
	}
	if (flock(*ret_fd, LOCK_EX | LOCK_NB) < 0) {
		(void)fprintf(stderr,
		    "postern: %s is in use by another running node (lock on "
		    "%s); one node per %s\n",
		    dir, path, setting);
		return EXIT_CODE_START;
	}
	return 0;
}

static int
take_locks(struct node *n)
{
	const struct conf_node *cn = &n->conf->node;
	int r = take_lock(cn->state_dir, "state_dir", &n->lock_fd);

	/* one directory for both is locked once */
	if (r == 0 && strcmp(cn->state_dir, cn->run_dir) != 0)
		r = take_lock(cn->run_dir, "run_dir", &n->run_lock_fd);
	return r;
}

/* ---- log target ------------------------------------------------------------------ */

static int
open_syslog(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX,
		.sun_path = "/dev/log" };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int saved;

	if (fd >= 0 && connect(fd, (struct sockaddr *)&sun, sizeof(sun)) == 0)
		return fd;
	saved = errno;
	if (fd >= 0)
		(void)close(fd);
	errno = saved;
	return -1;
}

int
node_open_log(const struct node *n)
{
	const struct conf_log *l = &n->conf->log;

	switch (l->target) {
	case CONF_LOG_SYSLOG:
		return open_syslog();
	case CONF_LOG_FILE:
		return open(
		    l->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
	case CONF_LOG_STDOUT:
	default:
		return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10);
	}
}

static int
open_log(struct node *n)
{
	const struct conf_log *l = &n->conf->log;

	n->log_fd = node_open_log(n);
	if (n->log_fd < 0) {
		(void)fprintf(stderr, "postern: log target %s: %s\n",
		    l->target == CONF_LOG_FILE	       ? l->path
			: l->target == CONF_LOG_SYSLOG ? "syslog (/dev/log)"
						       : "stdout",
		    strerror(errno));
		return EXIT_CODE_CONFIG;
	}
	log_init(n->log_fd,
	    l->target == CONF_LOG_SYSLOG ? LOG_SYSLOG
					 : (enum log_format)l->format,
	    (enum log_level)l->level, "postern");
	return 0;
}

/* ---- limits and rights ------------------------------------------------------------ */

static void
raise_fds(struct node *n)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0)
		return;
	if (n->as_root && rl.rlim_max < FDS_WANTED) {
		struct rlimit more = { FDS_WANTED, FDS_WANTED };

		if (setrlimit(RLIMIT_NOFILE, &more) == 0)
			rl = more;
	}
	if (rl.rlim_max > FDS_WANTED)
		rl.rlim_max = FDS_WANTED;
	rl.rlim_cur = rl.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &rl); /* the old limit stays */
	if (getrlimit(RLIMIT_NOFILE, &rl) == 0)
		n->max_fds = (uint32_t)rl.rlim_cur;
	if (n->max_fds < FDS_WANTED)
		log_warn("fds_limited",
		    "open files are limited to %u per process; wanted %u "
		    "(ulimit -n): fewer connections are possible",
		    n->max_fds, FDS_WANTED);
}

/*
 * As root: keep what restarting children and reading the settings again need,
 * nothing else, for good. CAP_DAC_READ_SEARCH is for keys and lists that belong
 * to whoever renews them: a start reads them, and so must a reload. It gives
 * away nothing: who has CAP_SETUID reads the same files as their owner.
 */
static int
drop_capabilities(void)
{
	static const int keep[] = { CAP_SETUID, CAP_SETGID, CAP_SYS_CHROOT,
		CAP_KILL, CAP_DAC_READ_SEARCH };
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3
	};
	struct __user_cap_data_struct data[2];
	uint32_t mask[2] = { 0, 0 };
	size_t i;
	int cap;

	for (i = 0; i < sizeof(keep) / sizeof(keep[0]); i++)
		mask[keep[i] / 32] |= 1u << (keep[i] % 32);
	for (cap = 0; cap <= CAP_LAST_CAP; cap++)
		if ((mask[cap / 32] & 1u << (cap % 32)) == 0)
			/* unknown to an older kernel: it has none to give */
			(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	/* a container may have been given less; what is not there is not kept */
	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	for (i = 0; i < 2; i++) {
		data[i].permitted &= mask[i];
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

int
node_lock_down(struct node *n)
{
	int r = 0;

	if (n->as_root)
		r = drop_capabilities();
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = -errno;
	if (r < 0) {
		(void)fprintf(stderr, "postern: lock-down: %s\n", err_str(r));
		return EXIT_CODE_START;
	}
	return 0;
}

int
node_open(struct node *n)
{
	int r;

	n->as_root = geteuid() == 0;
	r = open_dirs(n);
	if (r == 0)
		r = take_locks(n);
	if (r == 0)
		r = open_log(n);
	if (r == 0)
		raise_fds(n);
	return r;
}

void
node_close(struct node *n)
{
	size_t i;

	for (i = 0; i < n->n_sockets; i++)
		if (n->sockets[i].fd >= 0)
			(void)close(n->sockets[i].fd);
	if (n->has_socket)
		(void)unlink(n->socket_path); /* gone or not: harmless */
	for (i = 0; i < NODE_DIRS; i++)
		if (n->dirs[i].fd >= 0)
			(void)close(n->dirs[i].fd);
	if (n->lock_fd >= 0)
		(void)close(n->lock_fd);
	if (n->run_lock_fd >= 0)
		(void)close(n->run_lock_fd);
	permits_done(n);
	conf_unref(n->conf);
}
