/*
 * test_log.c - what a log line may and may not contain, in text and JSON.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/log/log.h"

/* Runs one event through a pipe; returns what was written. */
static const char *
written(enum log_format format, const struct log_fields *f, const char *text)
{
	static char out[16384];
	int fd[2];
	ssize_t n;

	assert_int_equal(pipe(fd), 0);
	log_init(fd[1], format, LOG_INFO, "test");
	log_event(LOG_INFO, "something", f, "%s", text);
	log_event(LOG_DEBUG, "hidden", f, "hidden");
	log_flush();
	close(fd[1]);
	n = read(fd[0], out, sizeof(out) - 1);
	close(fd[0]);
	assert_true(n > 0);
	out[n] = '\0';
	log_init(2, LOG_TEXT, LOG_INFO, "test");
	return out;
}

static void
test_text(void **state)
{
	const char *line = written(LOG_TEXT, NULL, "MID 6 a\r\nInfo: forged");

	(void)state;
	assert_non_null(strstr(line, " Info: MID 6 a\\x0d\\x0aInfo: forged\n"));
	assert_ptr_equal(strchr(line, '\n') + 1, line + strlen(line));
	assert_null(strstr(line, "hidden"));
}

static void
test_json(void **state)
{
	struct log_fields f = { .mid = 6,
		.has_rid = true,
		.from = "a\"\x01\xff@b",
		.outcome = "delivered" };
	const char *line = written(LOG_JSON, &f, "t");

	(void)state;
	assert_non_null(strstr(line, "\"mid\":6,\"rid\":0,"));
	assert_non_null(strstr(line, "\"from\":\"a\\\"\\u0001\\u00ff@b\""));
	assert_non_null(strstr(line, "\"event\":\"something\""));
	assert_non_null(strstr(line, "\"outcome\":\"delivered\""));
	assert_null(strstr(line, "icid"));
}

static void
test_long(void **state)
{
	static char big[100000];
	const char *line;

	(void)state;
	memset(big, '\x02', sizeof(big) - 1);
	line = written(LOG_JSON, NULL, big);
	assert_true(strlen(line) < 16000);
	assert_string_equal(line + strlen(line) - 3, "\"}\n");
	line = written(LOG_TEXT, NULL, big);
	assert_true(strlen(line) <= 4096);
}

static void
test_quote(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{ "plain", "plain" }, { "it's", "it\\'s" },
		{ "a\\b", "a\\\\b" }, { "tab\there", "tab\\x09here" },
		{ "b\xc3\xbc"
		  "cher",
		    "b\xc3\xbc"
		    "cher" },
		{ "\xc0\xaf", "\\xc0\\xaf" },
		{ "\xe2\x80\xa8", "\\xe2\\x80\\xa8" }, /* U+2028 ends lines */
		{ "\xc2\x85", "\\xc2\\x85" },	       /* NEL */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(LOG_Q(cases[i].in), cases[i].want);
}

/* Fill a pipe so that nothing more fits. */
static void
stuff(int fd)
{
	static const char zeros[PIPE_BUF];

	while (write(fd, zeros, sizeof(zeros)) > 0)
		continue;
	while (write(fd, zeros, 1) > 0)
		continue;
}

/* Every line that is lost is counted, and the log says so when it can. */
static void
test_lost(void **state)
{
	static char out[1 << 20];
	uint64_t before = log_lost();
	int fd[2], i;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe2(fd, O_NONBLOCK), 0);
	stuff(fd[1]);
	log_init(fd[1], LOG_TEXT, LOG_INFO, "test");
	for (i = 0; i < 100; i++)
		log_info("something", "line %d\n", i);
	log_flush();
	assert_int_equal(log_lost() - before, 100);
	assert_false(log_target_gone()); /* it is only slow */
	while (read(fd[0], out, sizeof(out)) > 0)
		continue;
	log_info("something", "here again");
	log_flush();
	n = read(fd[0], out, sizeof(out) - 1);
	assert_true(n > 0);
	out[n] = '\0';
	assert_non_null(strstr(out, "Info: here again\n"));
	assert_non_null(strstr(out, "Warning: 100 log lines were lost\n"));
	log_info("something", "once");
	log_flush();
	n = read(fd[0], out, sizeof(out) - 1);
	assert_true(n > 0);
	out[n] = '\0';
	assert_null(strstr(out, "lost"));
	(void)close(fd[0]);
	log_info("something", "nobody reads it");
	log_flush();
	assert_true(log_target_gone());
	(void)close(fd[1]);
	log_init(2, LOG_TEXT, LOG_INFO, "test");
}

static int
syslog_daemon(struct sockaddr_un *ret_sun)
{
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r;

	memset(ret_sun, 0, sizeof(*ret_sun));
	ret_sun->sun_family = AF_UNIX;
	(void)snprintf(ret_sun->sun_path, sizeof(ret_sun->sun_path),
	    "/tmp/postern-log-%d", (int)getpid());
	(void)unlink(ret_sun->sun_path);
	r = bind(fd, (struct sockaddr *)ret_sun, sizeof(*ret_sun));
	assert_int_equal(r, 0);
	return fd;
}

/* A daemon that was restarted: the old socket leads nowhere for ever. */
static void
test_datagrams(void **state)
{
	struct sockaddr_un sun;
	int daemon_fd = syslog_daemon(&sun), fd, i;
	uint64_t before;
	char out[8192];
	ssize_t n;

	(void)state;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	log_init(fd, LOG_SYSLOG, LOG_INFO, "test");
	log_info("something", "one");
	log_info("something", "two");
	log_flush();
	n = recv(daemon_fd, out, sizeof(out), 0); /* a line, a datagram */
	assert_int_equal(n, strlen("<22>test: Info: one\n"));
	(void)close(daemon_fd);
	before = log_lost();
	for (i = 0; i < 10; i++)
		log_info("something", "%d", i);
	log_flush();
	assert_int_equal(log_lost() - before, 10);
	assert_true(log_target_gone());

	daemon_fd = syslog_daemon(&sun);
	(void)close(fd);
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	log_set_fd(fd);
	assert_false(log_target_gone());
	log_info("something", "back");
	log_flush();
	n = recv(daemon_fd, out, sizeof(out), 0);
	assert_int_equal(n, strlen("<22>test: Info: back\n"));
	n = recv(daemon_fd, out, sizeof(out) - 1, 0);
	assert_true(n > 0);
	out[n] = '\0';
	assert_non_null(strstr(out, " log lines were lost\n"));
	(void)close(daemon_fd);
	(void)close(fd);
	(void)unlink(sun.sun_path);
	log_init(2, LOG_TEXT, LOG_INFO, "test");
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),
		cmocka_unit_test(test_json),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_quote),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_datagrams),
	};

	(void)signal(SIGPIPE, SIG_IGN); /* as every process of ours */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
