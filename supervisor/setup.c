/*
 * setup.c - the users of the children: find them, and make them on request.
 *
 * `postern setup` is for installations without a package that makes them. Never
 * called while a node runs.
 */
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/proc/exit.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *
user_name(const struct conf *conf, enum role role, char *buf, size_t len)
{
	if (conf->node.user != NULL)
		return conf->node.user;
	(void)snprintf(
	    buf, len, "%s_%s", conf->node.user_prefix, role_name(role));
	return buf;
}

bool
setup_find_user(
    const struct conf *conf, enum role role, uid_t *ret_uid, gid_t *ret_gid)
{
	char buf[128];
	const char *name;
	const struct passwd *pw;

	*ret_uid = 0;
	*ret_gid = 0;
	if (geteuid() != 0)
		return true;
	name = user_name(conf, role, buf, sizeof(buf));
	pw = getpwnam(name);
	if (pw == NULL) {
		(void)fprintf(stderr,
		    "postern: user '%s' for postern-%s does not exist; make it "
		    "with: postern setup -c %s\n",
		    name, role_name(role),
		    conf->dir != NULL ? conf->dir : "/etc/postern");
		return false;
	}
	if (pw->pw_uid == 0) {
		(void)fprintf(stderr,
		    "postern: user '%s' for postern-%s is root; wanted an "
		    "account without rights\n",
		    name, role_name(role));
		return false;
	}
	*ret_uid = pw->pw_uid;
	*ret_gid = pw->pw_gid;
	return true;
}

static int
add_user(const char *name)
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		(void)execl("/usr/sbin/useradd", "useradd", "--system",
		    "--user-group", "--no-create-home", "--home-dir",
		    "/nonexistent", "--shell", "/usr/sbin/nologin", name,
		    (char *)NULL);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) < 0)
		return -errno;
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
		(void)fprintf(stderr,
		    "postern: useradd could not make '%s' (is the package "
		    "passwd installed?)\n",
		    name);
		return -ECHILD;
	}
	(void)printf("made user %s\n", name);
	return 0;
}

int
setup_users(const char *conf_dir)
{
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	char buf[128];
	const char *name;
	int role, r;

	if (geteuid() != 0) {
		(void)fprintf(stderr,
		    "postern: setup makes system users and "
		    "needs root; not needed when postern "
		    "runs as an ordinary user\n");
		return 1;
	}
	r = conf_load_dir(conf_dir, &errs, &conf);
	conf_errors_print(&errs, conf_dir, stderr);
	conf_errors_done(&errs);
	if (r < 0)
		return EXIT_CODE_CONFIG;
	for (role = ROLE_SMTPD; role < ROLE_COUNT && r == 0; role++) {
		name = user_name(conf, (enum role)role, buf, sizeof(buf));
		if (getpwnam(name) != NULL)
			(void)printf("user %s exists\n", name);
		else
			r = add_user(name);
	}
	conf_unref(conf);
	return r == 0 ? 0 : 1;
}
