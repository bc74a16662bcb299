/*
 * spawn.c - from fork to exec: what a child inherits, and nothing else.
 *
 * Called by process.c. A child gets its control channel, the log as its output,
 * default signals, and an environment of our own. Never returns in the child.
 */
#include "lib/proc/exit.h"
#include "supervisor/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

enum { CTL_FD = 3 };

/*
 * Handlers of this process must not run in the child: libuv's write into a pipe
 * that both share, and a SIGTERM meant for the child would stop the node.
 */
static void
default_signals(void)
{
	sigset_t none;
	int s;

	for (s = 1; s < NSIG; s++)
		(void)signal(s, SIG_DFL); /* KILL and STOP are so anyway */
	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
}

/*
 * What a child finds in its environment: nothing of ours. Settings may name
 * secrets there (${NAME}), and c-ares, curl, OpenSSL and libc take orders from
 * theirs, past all settings. Debug builds let sanitizers and tests through.
 */
enum { ENV_MAX = 32 };

static void
small_environment(char *ret_env[ENV_MAX])
{
	static char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
	size_t n = 0;

	ret_env[n++] = path;
#ifdef POSTERN_DEBUG
	static const char *const wanted[] = { "ASAN_", "UBSAN_", "LSAN_",
		"TSAN_", "GCOV_", "POSTERN_" };
	size_t i, k;

	for (i = 0; environ[i] != NULL && n < ENV_MAX - 1; i++)
		for (k = 0; k < sizeof(wanted) / sizeof(wanted[0]); k++)
			if (strncmp(environ[i], wanted[k], strlen(wanted[k])) ==
			    0) {
				ret_env[n++] = environ[i];
				break;
			}
#endif
	ret_env[n] = NULL;
}

/* In the new process: only its channel and the log stay open. */
static _Noreturn void
become_child(const struct process *p, int fd)
{
	char path[4200], instance[16];
	char *argv[] = { path, instance, NULL };
	char *env[ENV_MAX];
	int null;

	default_signals();
	/* a terminal as the log is not its terminal: no signals from there, and
	 * no way to type into the shell that started us (TIOCSTI) */
	(void)setsid();
	small_environment(env);
	(void)snprintf(path, sizeof(path), "%s/postern-%s", p->node->bin_dir,
	    role_name(p->role));
	(void)snprintf(instance, sizeof(instance), "%u", p->instance);
	null = open("/dev/null", O_RDONLY);
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(p->node->log_fd, STDOUT_FILENO) < 0 ||
	    dup2(p->node->log_fd, STDERR_FILENO) < 0 || dup2(fd, CTL_FD) < 0)
		_exit(EXIT_CODE_START);
	if (fd == CTL_FD) /* dup2 did nothing: it would close on exec */
		(void)fcntl(CTL_FD, F_SETFD, 0);
	(void)close_range(CTL_FD + 1, ~0u, 0);
	(void)execve(path, argv, env);
	_exit(EXIT_CODE_START);
}

pid_t
process_spawn(const struct process *p, int fd)
{
	sigset_t all, old;
	pid_t pid;

	(void)sigfillset(&all);
	(void)sigprocmask(SIG_SETMASK, &all, &old);
	pid = fork();
	if (pid == 0)
		become_child(p, fd);
	(void)sigprocmask(SIG_SETMASK, &old, NULL);
	return pid;
}
