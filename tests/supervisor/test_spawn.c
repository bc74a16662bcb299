/*
 * test_spawn.c - what a child inherits from the supervisor.
 *
 * The child is a script in the place of postern-smtpd that writes down what it
 * finds.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "supervisor/supervisor.h"

static struct node node;
static struct process *const child = &node.processes[0];
static char script[4200];
static int strays[2]; /* a handler of ours that ran in a child tells here */
static pid_t own_pid;

/* A node whose smtpd is this script; its output goes to a new file. */
static void
program(const char *text)
{
	FILE *f;

	(void)snprintf(
	    script, sizeof(script), "%s/postern-smtpd", node.bin_dir);
	f = fopen(script, "we");
	assert_non_null(f);
	(void)fprintf(f, "#!/bin/sh\n%s\n", text);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(chmod(script, 0700), 0);
	assert_int_equal(ftruncate(node.log_fd, 0), 0);
	assert_int_equal(lseek(node.log_fd, 0, SEEK_SET), 0);
}

static int
run(void)
{
	int pair[2], status = -1;
	pid_t pid;

	assert_int_equal(ipc_pair(pair), 0);
	pid = process_spawn(child, pair[1]);
	assert_true(pid > 0);
	(void)close(pair[0]);
	(void)close(pair[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

/* What the script wrote. */
static const char *
output(void)
{
	static char text[16384];
	ssize_t n = pread(node.log_fd, text, sizeof(text) - 1, 0);

	assert_true(n >= 0);
	text[n] = '\0';
	return text;
}

static int
set_up(void **state)
{
	char name[4200];

	(void)state;
	(void)snprintf(node.bin_dir, sizeof(node.bin_dir),
	    "/tmp/postern-spawn-%d", (int)getpid());
	assert_int_equal(mkdir(node.bin_dir, 0700), 0);
	(void)snprintf(name, sizeof(name), "%s/out", node.bin_dir);
	node.log_fd = open(name, O_RDWR | O_CREAT | O_CLOEXEC | O_APPEND, 0600);
	assert_true(node.log_fd >= 0);
	child->node = &node;
	child->role = ROLE_SMTPD;
	child->instance = 7;
	own_pid = getpid();
	return 0;
}

static int
tear_down(void **state)
{
	char name[4200];

	(void)state;
	(void)snprintf(name, sizeof(name), "%s/out", node.bin_dir);
	(void)unlink(name);
	(void)unlink(script);
	(void)close(node.log_fd);
	return rmdir(node.bin_dir);
}

/* Blocked and ignored signals of ours are not the child's. */
static void
test_signals(void **state)
{
	unsigned long long blocked, ignored;
	sigset_t usr2, now;

	(void)state;
	program("grep -E '^Sig(Blk|Ign)' /proc/self/status");
	(void)signal(SIGPIPE, SIG_IGN);
	(void)sigemptyset(&usr2);
	(void)sigaddset(&usr2, SIGUSR2);
	(void)sigprocmask(SIG_BLOCK, &usr2, NULL);
	assert_int_equal(run(), 0);
	(void)sigprocmask(SIG_UNBLOCK, &usr2, &now);
	assert_int_equal(sigismember(&now, SIGUSR2), 1); /* as it was */
	(void)signal(SIGPIPE, SIG_DFL);
	assert_int_equal(
	    sscanf(output(), "SigBlk: %llx SigIgn: %llx", &blocked, &ignored),
	    2);
	assert_int_equal(blocked, 0);
	/* 32 and 33 are glibc's own: signal() refuses them, and whoever started
	 * this test may have left them ignored */
	assert_int_equal(ignored & ~0x180000000ULL, 0);
}

/* A secret in the environment, and what libraries would obey, stay here. */
static void
test_environment(void **state)
{
	const char *text;

	(void)state;
	program("tr '\\0' '\\n' </proc/$$/environ; echo \"$0 $1\"");
	(void)setenv("DB_PASSWORD", "secret", 1);
	(void)setenv("https_proxy", "http://192.0.2.1", 1);
	(void)setenv("RES_OPTIONS", "trust-ad", 1);
	assert_int_equal(run(), 0);
	text = output();
	assert_non_null(strstr(text, "PATH=/"));
	assert_null(strstr(text, "DB_PASSWORD"));
	assert_null(strstr(text, "proxy"));
	assert_null(strstr(text, "RES_OPTIONS"));
	assert_non_null(strstr(text, "/postern-smtpd 7\n"));
}

/* Its own session: our terminal is nothing it can control. */
static void
test_session(void **state)
{
	(void)state;
	program("set -- $(cat /proc/$$/stat); [ $6 = $$ ] && echo own");
	assert_int_equal(run(), 0);
	assert_string_equal(output(), "own\n");
}

static void
on_usr1(int signum)
{
	(void)signum;
	if (getpid() != own_pid)
		(void)!write(strays[1], "!", 1);
}

/* Signals come at every moment between fork and exec: no handler of ours runs
 * in the child. */
static void
test_no_handler_in_child(void **state)
{
	pid_t bomber;
	char c;
	int i;

	(void)state;
	program("exit 0");
	assert_int_equal(pipe2(strays, O_NONBLOCK | O_CLOEXEC), 0);
	(void)setpgid(0, 0);
	(void)signal(SIGUSR1, SIG_IGN);
	bomber = fork();
	assert_true(bomber >= 0);
	if (bomber == 0) {
		(void)alarm(60); /* also when the test fails */
		while (getppid() == own_pid) {
			(void)kill(-getpgrp(), SIGUSR1);
			(void)usleep(20);
		}
		_exit(0);
	}
	(void)signal(SIGUSR1, on_usr1);
	for (i = 0; i < 300; i++)
		(void)run(); /* some are killed by it: that is the default */
	(void)kill(bomber, SIGKILL);
	(void)waitpid(bomber, NULL, 0);
	(void)signal(SIGUSR1, SIG_DFL);
	assert_int_equal(read(strays[0], &c, 1), -1);
	(void)close(strays[0]);
	(void)close(strays[1]);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_signals),
		cmocka_unit_test(test_environment),
		cmocka_unit_test(test_session),
		cmocka_unit_test(test_no_handler_in_child),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
