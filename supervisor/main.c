/*
 * main.c - postern(8): run a node, check settings, print defaults, make users.
 *
 * The supervisor reads settings, binds sockets, starts the other processes and
 * keeps the ledger of outbound connections. It never parses a byte from the
 * network. Reads like a table of contents; the work is in the other files.
 */
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/proc/exit.h"
#include "supervisor/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EXIT_USAGE_CODE = 2 };

static const char usage_text[] =
    "postern - outbound mail gateway\n"
    "\n"
    "usage: postern COMMAND [-c DIR]\n"
    "\n"
    "  run        run the node in the foreground; SIGHUP loads the settings\n"
    "             anew, SIGTERM drains and ends\n"
    "  check      read the settings and print every problem\n"
    "  defaults   print every setting with its default, range and meaning\n"
    "             (--json, --markdown)\n"
    "  setup      make the system users that a start as root needs\n"
    "  version    print the version\n"
    "\n"
    "  -c DIR     the settings directory (default /etc/postern)\n"
    "\n"
    "examples:\n"
    "  postern check -c /etc/postern\n"
    "  postern run -c ./run/etc\n"
    "  posternctl status        see what a running node does\n";

struct options {
	const char *command;
	const char *dir;
	bool json, markdown, man;
};

/* ---- run ------------------------------------------------------------------- */

static void
on_sigchld(uv_signal_t *handle, int signum)
{
	struct node *n = handle->data;
	int status;
	pid_t pid;

	(void)signum;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		process_exited(n, pid, status);
}

static void
on_stop(uv_signal_t *handle, int signum)
{
	struct node *n = handle->data;

	if (n->state == NODE_DRAINING || n->state == NODE_LEAVING) {
		log_warn(
		    "stop_now", "second signal %d: stopping at once", signum);
		node_drain(n, 0);
		return;
	}
	node_drain(n, n->conf->node.drain_deadline_ms);
}

static void
on_sighup(uv_signal_t *handle, int signum)
{
	size_t left;

	(void)signum;
	(void)node_reload(handle->data, &left); /* says itself what happened */
}

static void
on_turn(void *arg)
{
	log_flush();
	if (log_target_gone())
		node_log_gone(arg);
}

static int
watch(struct node *n, uv_signal_t *handle, uv_signal_cb cb, int signum)
{
	int r = uv_signal_init(n->loop, handle);

	handle->data = n;
	if (r == 0)
		r = uv_signal_start(handle, cb, signum);
	return r;
}

static int
open_loop(struct node *n)
{
	int r;

	n->loop = uv_default_loop();
	r = ipc_hub_init(&n->hub, n->loop);
	n->hub.on_turn = on_turn;
	n->hub.arg = n;
	if (r == 0)
		r = uv_timer_init(n->loop, &n->drain_timer);
	if (r == 0)
		r = uv_timer_init(n->loop, &n->log_timer);
	if (r == 0)
		r = uv_timer_init(n->loop, &n->exception_timer);
	if (r == 0)
		r = watch(n, &n->sigchld, on_sigchld, SIGCHLD);
	if (r == 0)
		r = watch(n, &n->sigterm, on_stop, SIGTERM);
	if (r == 0)
		r = watch(n, &n->sigint, on_stop, SIGINT);
	if (r == 0)
		r = watch(n, &n->sighup, on_sighup, SIGHUP);
	n->drain_timer.data = n->log_timer.data = n->exception_timer.data = n;
	return r;
}

static int
run(const char *dir)
{
	static struct node node; /* large, and one per process */
	struct node *n = &node;
	struct conf_errors errs = { 0 };
	size_t i;
	int r;

	n->conf_dir = dir;
	n->lock_fd = n->run_lock_fd = n->log_fd = -1;
	for (i = 0; i < NODE_DIRS; i++)
		n->dirs[i].fd = -1;
	n->started_s = clock_now_s();
	n->started_mono_ms = clock_mono_ms();
	hash_seed(); /* before the tables of the settings are made */
	r = settings_load(dir, &errs, &n->conf);
	conf_errors_print(&errs, dir, stderr);
	conf_errors_done(&errs);
	if (r < 0) {
		(void)fprintf(stderr,
		    "postern: the settings in %s cannot be used: %s\n", dir,
		    err_str(r));
		return EXIT_CODE_CONFIG;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	r = node_open(n);
	if (r == 0)
		r = staging_open(n);
	if (r == 0)
		r = node_listen(n);
	if (r == 0)
		r = processes_plan(n);
	if (r == 0)
		r = node_lock_down(n);
	if (r != 0)
		goto out;
	if (open_loop(n) < 0 || permits_init(n) < 0)
		fatal("event loop: %s", strerror(errno));
	for (i = 0; i < n->n_processes; i++)
		process_start(&n->processes[i]);
	exceptions_loaded(n, NULL);
	while (n->state != NODE_LEAVING || processes_running(n))
		if (uv_run(n->loop, UV_RUN_ONCE) == 0)
			break;
	r = n->exit_code;
	log_event(LOG_INFO, "stopped", NULL, "postern stopped");
out:
	staging_close(n);
	log_flush();
	node_close(n);
	return r;
}

/* ---- command line ------------------------------------------------------------ */

static int
cmd_run(const struct options *o)
{
	return run(o->dir);
}

static int
cmd_check(const struct options *o)
{
	return settings_check(o->dir, o->json, stdout);
}

static int
cmd_defaults(const struct options *o)
{
	conf_defaults_print(o->json ? CONF_PRINT_JSON
		: o->markdown	    ? CONF_PRINT_MARKDOWN
		: o->man	    ? CONF_PRINT_MAN
				    : CONF_PRINT_TEXT,
	    stdout);
	return 0;
}

static int
cmd_setup(const struct options *o)
{
	return setup_users(o->dir);
}

static int
cmd_version(const struct options *o)
{
	(void)o;
	(void)printf("postern %s\n", POSTERN_VERSION);
	return 0;
}

static int
cmd_help(const struct options *o)
{
	(void)o;
	(void)fputs(usage_text, stdout);
	return 0;
}

static const struct {
	const char *name;
	int (*handler)(const struct options *o);
} commands[] = {
	{ "run", cmd_run },
	{ "check", cmd_check },
	{ "defaults", cmd_defaults },
	{ "setup", cmd_setup },
	{ "version", cmd_version },
	{ "help", cmd_help },
};

static int
usage_error(const char *what, const char *found)
{
	(void)fprintf(stderr,
	    "postern: %s '%s'; wanted: postern "
	    "run|check|defaults|setup|version [-c DIR]; see postern --help\n",
	    what, found);
	return EXIT_USAGE_CODE;
}

/*
 * Who starts us may have closed these. The next socket or file would then be
 * 0, 1 or 2, and get what is meant for the output.
 */
static void
open_standard_fds(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		_exit(EXIT_CODE_START); /* nowhere to say it */
	(void)close(fd);
}

int
main(int argc, char **argv)
{
	struct options o = { .dir = "/etc/postern" };
	size_t k;
	int i;

	open_standard_fds();
	for (i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-c") == 0) {
			if (++i == argc)
				return usage_error(
				    "-c without a directory", "");
			o.dir = argv[i];
		} else if (strcmp(argv[i], "--json") == 0) {
			o.json = true;
		} else if (strcmp(argv[i], "--markdown") == 0) {
			o.markdown = true;
		} else if (strcmp(argv[i], "--man") == 0) {
			o.man = true;
		} else if (strcmp(argv[i], "--help") == 0 ||
		    strcmp(argv[i], "-h") == 0) {
			o.command = "help";
		} else if (strcmp(argv[i], "--version") == 0) {
			o.command = "version";
		} else if (argv[i][0] == '-') {
			return usage_error("unknown option", argv[i]);
		} else if (o.command == NULL) {
			o.command = argv[i];
		} else {
			return usage_error("one word too many", argv[i]);
		}
	}
	if (o.command == NULL)
		return usage_error("no command", "");
	for (k = 0; k < sizeof(commands) / sizeof(commands[0]); k++)
		if (strcmp(commands[k].name, o.command) == 0)
			return commands[k].handler(&o);
	return usage_error("unknown command", o.command);
}
