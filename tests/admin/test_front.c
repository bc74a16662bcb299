/*
 * test_front.c - connections before the HTTP library: slow heads, what passes
 * byte for byte, and draining.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "admin/front.h"

struct world {
	uv_loop_t loop;
	struct front *front;
	struct front_stats stats;
	struct sockaddr_un sun;
	int lib; /* the library's end of the last connection, or -1 */
	bool empty;
};

static int
on_conn(void *arg, int fd)
{
	struct world *w = arg;

	w->lib = fd;
	return 0;
}

static void
on_empty(void *arg)
{
	struct world *w = arg;

	w->empty = true;
}

static int
set_up(void **state)
{
	struct world *w = calloc(1, sizeof(*w));
	struct front_opts opts = { .name = "test",
		.on_conn = on_conn,
		.arg = w,
		.stats = &w->stats,
		.head_timeout_ms = 50 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	w->lib = -1;
	w->sun.sun_family = AF_UNIX;
	(void)snprintf(w->sun.sun_path, sizeof(w->sun.sun_path),
	    "/tmp/postern-front-%d", (int)getpid());
	(void)unlink(w->sun.sun_path);
	assert_int_equal(
	    bind(fd, (struct sockaddr *)&w->sun, sizeof(w->sun)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_int_equal(uv_loop_init(&w->loop), 0);
	w->front = front_new(&w->loop, fd, &opts);
	assert_non_null(w->front);
	*state = w;
	return 0;
}

static int
tear_down(void **state)
{
	struct world *w = *state;

	front_free(w->front);
	assert_int_equal(uv_run(&w->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&w->loop), 0);
	if (w->lib >= 0)
		(void)close(w->lib);
	(void)unlink(w->sun.sun_path);
	free(w);
	return 0;
}

static int
dial(struct world *w)
{
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	assert_int_equal(
	    connect(fd, (struct sockaddr *)&w->sun, sizeof(w->sun)), 0);
	assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static void
say(int fd, const char *text)
{
	assert_int_equal(send(fd, text, strlen(text), 0), strlen(text));
}

/* Run until len bytes came over fd, or its end. Returns how many. */
static size_t
hear(struct world *w, const int *fd, char *text, size_t len)
{
	size_t have = 0;
	ssize_t n;

	while (have < len) {
		n = *fd < 0 ? -1
			    : recv(*fd, text + have, len - have, MSG_DONTWAIT);
		if (n > 0)
			have += (size_t)n;
		else if (n == 0)
			break;
		else
			(void)uv_run(&w->loop, UV_RUN_ONCE);
	}
	return have;
}

/* Half a head, or nothing at all, ends at the deadline without an answer. */
static void
test_slow_head(void **state)
{
	struct world *w = *state;
	int silent = dial(w), slow = dial(w);
	char c;

	say(slow, "GET / HTTP/1.1\r\nHos");
	assert_int_equal(hear(w, &slow, &c, 1), 0);
	assert_int_equal(hear(w, &silent, &c, 1), 0);
	assert_int_equal(w->stats.accepted, 2);
	assert_int_equal(w->stats.timeouts, 1); /* silence is no fault */
	assert_int_equal(w->lib, -1);
	(void)close(silent);
	(void)close(slow);
}

/* The library sees the head as it was sent and the announced bytes; what comes
 * behind is judged as the next head. */
static void
test_bytes(void **state)
{
	static const char first[] =
	    "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345";
	static const char second[] = "GET /y HTTP/1.1\r\nHost: b\r\n\r\n";
	struct world *w = *state;
	char text[512];
	size_t n = sizeof(first) - 1 + sizeof(second) - 1;
	int fd = dial(w);

	say(fd, first);
	say(fd, second);
	say(fd, "67890\r\n\r\n"); /* no head */
	assert_int_equal(hear(w, &w->lib, text, n), n);
	assert_memory_equal(text, first, sizeof(first) - 1);
	assert_memory_equal(
	    text + sizeof(first) - 1, second, sizeof(second) - 1);
	/* nothing more, and the library is told so */
	assert_int_equal(hear(w, &w->lib, text, 1), 0);
	/* its answers come first, then the refusal */
	say(w->lib, "ANSWERS");
	(void)close(w->lib);
	w->lib = -1;
	n = hear(w, &fd, text, sizeof(text) - 1);
	text[n] = '\0';
	assert_int_equal(strncmp(text, "ANSWERSHTTP/1.1 400 ", 20), 0);
	assert_int_equal(w->stats.refused_head, 1);
	(void)close(fd);
}

/* A large body passes while the library reads slowly; nothing is lost, not even
 * when the client has said that no more comes. */
static void
test_large_body(void **state)
{
	enum { BODY = 1024 * 1024 };
	struct world *w = *state;
	static char in[BODY + 128], out[BODY + 128];
	size_t n, sent = 0, have = 0;
	ssize_t k;
	int fd = dial(w);

	n = (size_t)snprintf(in, 128,
	    "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", BODY);
	for (k = 0; k < BODY; k++)
		in[n + (size_t)k] = (char)(k * 7 + k / 1000);
	n += BODY;
	while (have < n) {
		k = sent < n ? send(fd, in + sent, n - sent, 0) : -1;
		sent += k > 0 ? (size_t)k : 0;
		if (k > 0 && sent == n)
			assert_int_equal(shutdown(fd, SHUT_WR), 0);
		k = w->lib < 0
		    ? -1
		    : recv(w->lib, out + have,
			  n - have < 1000 ? n - have : 1000, MSG_DONTWAIT);
		have += k > 0 ? (size_t)k : 0;
		(void)uv_run(&w->loop, k > 0 ? UV_RUN_NOWAIT : UV_RUN_ONCE);
	}
	assert_memory_equal(in, out, n);
	assert_int_equal(hear(w, &w->lib, out, 1), 0);
	(void)close(fd);
}

/* Idle connections end; one with a question under way has its answer first. */
static void
test_drain(void **state)
{
	struct world *w = *state;
	int idle = dial(w), busy = dial(w);
	char text[64];

	say(busy, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
	assert_int_equal(hear(w, &w->lib, text, 27), 27);
	front_drain(w->front, on_empty, w);
	assert_int_equal(hear(w, &idle, text, 1), 0);
	assert_false(w->empty);
	say(w->lib, "HTTP/1.1 204 X\r\n\r\n");
	(void)close(w->lib);
	w->lib = -1;
	assert_int_equal(hear(w, &busy, text, sizeof(text)), 18);
	while (!w->empty)
		(void)uv_run(&w->loop, UV_RUN_ONCE);
	(void)close(idle);
	(void)close(busy);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_slow_head),
		T(test_bytes),
		T(test_large_body),
		T(test_drain),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
