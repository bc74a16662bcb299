/*
 * test_api.c - the whole interface over real sockets: a forked admin with
 * scripted processes behind it, and clients that are polite, rude or slow.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include <jansson.h>

#include "admin/admin.h"
#include "lib/base/hash.h"
#include "lib/json/json.h"
#include "tests/admin/fake.h"

enum { SMTPDS = 2 };

static char sock_path[108];
static uint16_t http_port;
static pid_t server;

/* ---- the server's side ---------------------------------------------------------------- */

static void
put_metric(struct ipc_wr *w, const char *name, const char *labels,
    enum metric_kind kind, int64_t value)
{
	const struct metric m = { name, labels, "Help.", kind, value };

	metric_encode(w, &m);
}

static void
metrics_of(struct fake *f, struct buf *doc)
{
	struct ipc_wr w = { doc, 0 };

	if (f->role == ROLE_SMTPD)
		put_metric(&w, "postern_smtpd_connections_total", "",
		    METRIC_COUNTER, 10 + f->instance);
	if (f->role != ROLE_QUEUE)
		return;
	put_metric(
	    &w, "postern_recipients_accepted_total", "", METRIC_COUNTER, 100);
	put_metric(
	    &w, "postern_recipients_generated_total", "", METRIC_COUNTER, 3);
	put_metric(
	    &w, "postern_recipients_delivered_total", "", METRIC_COUNTER, 90);
	put_metric(
	    &w, "postern_recipients_bounced_total", "", METRIC_COUNTER, 2);
	put_metric(
	    &w, "postern_recipients_expired_total", "", METRIC_COUNTER, 1);
	put_metric(
	    &w, "postern_recipients_removed_total", "", METRIC_COUNTER, 0);
	put_metric(&w, "postern_recipients_queued", "", METRIC_GAUGE, 10);
}

/* The call itself comes back, so that a test sees what was asked. */
static void
echo(const struct adm_call *m, struct buf *doc)
{
	struct json j;

	json_init(&j, doc);
	json_put_obj(&j, NULL);
	json_put_uint(&j, "op", m->op);
	json_put_uint(&j, "num", m->num);
	json_put_str(&j, "a0", m->args[0]);
	json_put_str(&j, "a1", m->args[1]);
	json_put_str(&j, "a2", m->args[2]);
	json_put_end_obj(&j);
}

static int
script(struct fake *f, const struct adm_call *m, struct buf *doc)
{
	if (strcmp(m->args[0], "die.example") == 0)
		return -2;
	if (strcmp(m->args[0], "unknown.example") == 0 && f->role == ROLE_QUEUE)
		return 404;
	if (strcmp(m->args[0], "garbage.example") == 0) {
		(void)buf_puts(doc, "{\"broken");
		return 0;
	}
	if (m->num == 404)
		return 404;
	if (m->num == 777)
		return 777; /* no status at all */
	if (m->num == 5000) {
		while (buf_len(doc) < 5000000)
			(void)buf_puts(doc, "[\"0123456789\"]");
		return 0;
	}
	switch (m->op) {
	case ADM_METRICS:
		metrics_of(f, doc);
		break;
	case ADM_STATUS:
		(void)buf_puts(doc, "{\"state\":\"fine\"}");
		break;
	case ADM_HOSTSTATUS:
		if (f->role == ROLE_QUEUE)
			(void)buf_puts(doc,
			    "{\"destinations\":[{\"gateway\":\"default\","
			    "\"state\":\"down\",\"next_attempt\":\"T\"}]}");
		else if (strcmp(m->args[0], "unknown.example") == 0)
			(void)buf_puts(doc, "{\"destinations\":[]}");
		else
			(void)buf_puts(doc,
			    "{\"destinations\":[{\"gateway\":\"default\","
			    "\"connections\":2}]}");
		break;
	case ADM_EXPLAIN:
		(void)buf_puts(doc,
		    "{\"domain\":\"d\",\"gateway\":\"default\","
		    "\"state\":null,\"outcome\":\"deliver\"}");
		break;
	default:
		echo(m, doc);
	}
	return 0;
}

static struct {
	struct admin admin;
	struct ipc_hub hub;
	struct fake fakes[4 + SMTPDS];
	size_t n;
} srv;

static void
add_fake(enum role role, uint32_t instance)
{
	struct fake *f = &srv.fakes[srv.n++];

	f->role = role;
	f->instance = instance;
	f->script = script;
	if (owners_peer(
		srv.admin.owners, role, instance, fake_start(f, &srv.hub)) < 0)
		abort();
}

static void
on_drained(void *arg)
{
	size_t i;

	(void)arg;
	admin_close(&srv.admin);
	for (i = 0; i < srv.n; i++)
		fake_stop(&srv.fakes[i]);
}

static void
on_sigterm(uv_signal_t *sig, int signum)
{
	(void)signum;
	uv_close((uv_handle_t *)sig, NULL);
	admin_drain(&srv.admin, on_drained, NULL);
}

static void
serve(int control_fd, int web_fd, uid_t owner, int ready_fd)
{
	struct owners_hooks hooks = { NULL, NULL, NULL };
	uv_loop_t loop;
	uv_signal_t sig;
	int i;

	hash_seed();
	if (uv_loop_init(&loop) < 0 || ipc_hub_init(&srv.hub, &loop) < 0 ||
	    admin_open(&srv.admin, &loop, &srv.hub, &hooks) < 0)
		abort();
	srv.admin.metrics = true;
	(void)snprintf(
	    srv.admin.hostname, sizeof(srv.admin.hostname), "gw.example");
	add_fake(ROLE_QUEUE, 0);
	add_fake(ROLE_RESOLVER, 0);
	add_fake(ROLE_DELIVER, 0);
	for (i = 0; i < SMTPDS; i++)
		add_fake(ROLE_SMTPD, (uint32_t)i);
	if (admin_listen(&srv.admin, HTTP_CONTROL, control_fd, owner) < 0 ||
	    admin_listen(&srv.admin, HTTP_WEB, web_fd, owner) < 0)
		abort();
	(void)uv_signal_init(&loop, &sig);
	(void)uv_signal_start(&sig, on_sigterm, SIGTERM);
	if (write(ready_fd, "r", 1) != 1)
		abort();
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	ipc_hub_done(&srv.hub);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	if (uv_loop_close(&loop) < 0)
		abort(); /* a handle was left behind */
}

static int
listen_unix(void)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	(void)snprintf(
	    sock_path, sizeof(sock_path), "/tmp/postern-api-%d", (int)getpid());
	(void)unlink(sock_path);
	memcpy(sun.sun_path, sock_path, sizeof(sun.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 64), 0);
	return fd;
}

static int
listen_tcp(void)
{
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(sin);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	assert_int_equal(listen(fd, 64), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&sin, &len), 0);
	http_port = ntohs(sin.sin_port);
	return fd;
}

static void
start_server(uid_t owner)
{
	int u = listen_unix(), t = listen_tcp(), p[2];
	char c;

	assert_int_equal(pipe(p), 0);
	(void)fflush(NULL);
	server = fork();
	assert_true(server >= 0);
	if (server == 0) {
		(void)close(p[0]);
		serve(u, t, owner, p[1]);
		exit(0); /* the leak checker looks here */
	}
	(void)close(u);
	(void)close(t);
	(void)close(p[1]);
	assert_int_equal(read(p[0], &c, 1), 1);
	(void)close(p[0]);
}

static void
stop_server(void)
{
	int status = -1;

	assert_int_equal(kill(server, SIGTERM), 0);
	assert_int_equal(waitpid(server, &status, 0), server);
	(void)unlink(sock_path);
	assert_int_equal(status, 0);
}

static int
set_up(void **state)
{
	(void)state;
	start_server(getuid());
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	stop_server();
	return 0;
}

/* ---- the client's side ----------------------------------------------------------------- */

static int
dial(enum http_kind kind)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	struct sockaddr_in sin = { .sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
		.sin_port = htons(http_port) };
	int fd;

	if (kind == HTTP_CONTROL) {
		memcpy(sun.sun_path, sock_path, sizeof(sun.sun_path));
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		assert_int_equal(
		    connect(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	} else {
		fd = socket(AF_INET, SOCK_STREAM, 0);
		assert_int_equal(
		    connect(fd, (struct sockaddr *)&sin, sizeof(sin)), 0);
	}
	return fd;
}

static void
say(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = send(fd, data, len, MSG_NOSIGNAL);

		if (n <= 0)
			return; /* refused early: the answer tells */
		data += n;
		len -= (size_t)n;
	}
}

/* Everything until the server closes. */
static char *
hear(int fd)
{
	static char text[8 * 1024 * 1024];
	size_t len = 0;
	ssize_t n;

	while ((n = recv(fd, text + len, sizeof(text) - 1 - len, 0)) > 0)
		len += (size_t)n;
	text[len] = '\0';
	(void)close(fd);
	return text;
}

static char *
raw(enum http_kind kind, const char *request)
{
	int fd = dial(kind);

	say(fd, request, strlen(request));
	return hear(fd);
}

static int
status_of(const char *answer)
{
	int status = 0;

	if (sscanf(answer, "HTTP/1.1 %d ", &status) != 1)
		return -1;
	return status;
}

/* One request; the document, and its status. */
static json_t *
ask_on(enum http_kind kind, const char *method, const char *target,
    const char *body, int *ret_status)
{
	char request[8192];
	char *answer, *doc;

	(void)snprintf(request, sizeof(request),
	    "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
	    "Content-Length: %zu\r\n\r\n%s",
	    method, target, strlen(body), body);
	answer = raw(kind, request);
	*ret_status = status_of(answer);
	doc = strstr(answer, "\r\n\r\n");
	return doc == NULL ? NULL : json_loads(doc, 0, NULL);
}

static json_t *
get(const char *target, int *ret_status)
{
	return ask_on(HTTP_CONTROL, "GET", target, "", ret_status);
}

static const char *
str(json_t *doc, const char *key)
{
	const char *s = json_string_value(json_object_get(doc, key));

	return s == NULL ? "" : s;
}

/* ---- tests -------------------------------------------------------------------------------- */

/* What each resource asks of whom. */
static void
test_calls(void **state)
{
	static const struct {
		const char *method, *target, *body;
		enum adm_op op;
		uint64_t num;
		const char *a0, *a1;
	} rows[] = {
		{ "GET", "/v1/tophosts", "", ADM_TOPHOSTS, 100, "active", "" },
		{ "GET", "/v1/tophosts?sort=hard&limit=7", "", ADM_TOPHOSTS, 7,
		    "hard", "" },
		{ "GET", "/v1/recipients?host=Example.COM", "",
		    ADM_SHOWRECIPIENTS, 100, "host", "example.com" },
		{ "GET", "/v1/recipients?from=a%40b&limit=10000", "",
		    ADM_SHOWRECIPIENTS, 10000, "from", "a@b" },
		{ "GET", "/v1/recipients?from=%3C%3E", "", ADM_SHOWRECIPIENTS,
		    100, "from", "" },
		{ "GET", "/v1/recipients?all=1", "", ADM_SHOWRECIPIENTS, 100,
		    "all", "" },
		{ "GET", "/v1/messages/72057594037927937", "", ADM_SHOWMESSAGE,
		    72057594037927937u, "", "" },
		{ "DELETE", "/v1/messages/9223372036854775807", "",
		    ADM_REMOVEMESSAGE, INT64_MAX, "", "" },
		{ "GET", "/v1/why/5", "", ADM_WHY, 5, "", "" },
		{ "GET", "/v1/oldmessage", "", ADM_OLDMESSAGE, 0, "", "" },
		{ "GET", "/v1/body/7", "", ADM_BODY, 7, "0", "" },
		{ "GET", "/v1/body/7?offset=262144", "", ADM_BODY, 7, "262144",
		    "" },
		{ "POST", "/v1/deliver", "{\"all\":true}", ADM_DELIVERNOW, 0,
		    "", "" },
		{ "POST", "/v1/suspend",
		    "{\"host\":\"b\xc3\xbc"
		    "cher.example\"}",
		    ADM_SUSPENDDEL, 0, "xn--bcher-kva.example", "" },
		{ "POST", "/v1/resume", "{\"host\":\"[192.0.2.1]\"}",
		    ADM_RESUMEDEL, 0, "[192.0.2.1]", "" },
		{ "POST", "/v1/hold", "{\"mid\":6}", ADM_HOLD, 6, "", "" },
		{ "POST", "/v1/unhold", "{\"mid\":\"9\"}", ADM_UNHOLD, 9, "",
		    "" },
		{ "POST", "/v1/deleterecipients", "{\"host\":\"A.example\"}",
		    ADM_ENDRECIPIENTS, 0, "host", "a.example" },
		{ "POST", "/v1/deleterecipients",
		    "{\"all\":true,\"dry_run\":true}", ADM_ENDRECIPIENTS,
		    ADM_END_DRY_RUN, "all", "" },
		{ "POST", "/v1/bouncerecipients",
		    "{\"from\":\"<>\",\"dry_run\":false}", ADM_ENDRECIPIENTS,
		    ADM_END_BOUNCE, "from", "" },
		{ "POST", "/v1/dnsflush", "", ADM_DNSFLUSH, 0, "", "" },
		{ "POST", "/v1/dnsflush", "{\"name\":\"a.example\"}",
		    ADM_DNSFLUSH, 0, "a.example", "" },
	};
	json_t *doc;
	size_t i;
	int status;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		doc = ask_on(HTTP_CONTROL, rows[i].method, rows[i].target,
		    rows[i].body, &status);
		if (status != 200)
			fail_msg("%s: status %d", rows[i].target, status);
		assert_int_equal(
		    json_integer_value(json_object_get(doc, "op")), rows[i].op);
		assert_int_equal(
		    json_integer_value(json_object_get(doc, "num")),
		    rows[i].num);
		assert_string_equal(str(doc, "a0"), rows[i].a0);
		assert_string_equal(str(doc, "a1"), rows[i].a1);
		json_decref(doc);
	}
}

static void
test_refusals(void **state)
{
	static const struct {
		const char *method, *target, *body;
		int want;
	} rows[] = {
		{ "GET", "/", "", 404 },
		{ "GET", "/v1/nothing", "", 404 },
		{ "GET", "/v1/hosts/", "", 404 },
		{ "GET", "/v1/messages/5/6", "", 404 },
		{ "POST", "/v1/status", "", 405 },
		{ "GET", "/v1/reload", "", 405 },
		{ "PUT", "/v1/messages/5", "", 405 },
		{ "GET", "/v1/messages/5x", "", 400 },
		{ "GET", "/v1/messages/0", "", 400 },
		{ "GET", "/v1/messages/18446744073709551616", "", 400 },
		{ "GET", "/v1/tophosts?sort=size", "", 400 },
		{ "GET", "/v1/tophosts?limit=10001", "", 400 },
		{ "GET", "/v1/tophosts?limti=5", "", 400 },
		{ "GET", "/v1/recipients", "", 400 },
		{ "GET", "/v1/recipients?all=1&host=a.example", "", 400 },
		{ "GET", "/v1/recipients?host=a..b", "", 400 },
		{ "GET", "/v1/explain", "", 400 },
		{ "GET", "/v1/explain?target=a%40", "", 400 },
		{ "POST", "/v1/deliver", "", 400 },
		{ "POST", "/v1/suspendlistener", "{}", 400 },
		{ "POST", "/v1/suspendlistener", "{\"name\":\"\"}", 400 },
		{ "POST", "/v1/deleterecipients", "{}", 400 },
		{ "POST", "/v1/deleterecipients", "{\"all\":false}", 400 },
		{ "POST", "/v1/deleterecipients",
		    "{\"all\":true,\"from\":\"a@b\"}", 400 },
		{ "POST", "/v1/bouncerecipients", "{\"from\":\"\"}", 400 },
		{ "POST", "/v1/bouncerecipients", "{\"host\":\"a b\"}", 400 },
		{ "POST", "/v1/bouncerecipients",
		    "{\"all\":true,\"dry_run\":1}", 400 },
		{ "GET", "/v1/body/0", "", 400 },
		{ "GET", "/v1/body/5?offset=-1", "", 400 },
		{ "POST", "/v1/deliver", "{}", 400 },
		{ "POST", "/v1/deliver", "[]", 400 },
		{ "POST", "/v1/deliver", "{\"all\":false}", 400 },
		{ "POST", "/v1/deliver", "{\"all\":true,\"host\":\"a.b\"}",
		    400 },
		{ "POST", "/v1/deliver", "{\"all\":true,\"al\":1}", 400 },
		{ "POST", "/v1/deliver", "{\"all\":true,\"all\":true}", 400 },
		{ "POST", "/v1/deliver", "{\"all\":tr", 400 },
		{ "POST", "/v1/hold", "{\"mid\":-5}", 400 },
		{ "POST", "/v1/hold", "{\"mid\":1.5}", 400 },
		{ "GET", "/v1/messages/404", "", 404 },
		{ "GET", "/v1/messages/777", "", 502 },
		{ "GET", "/v1/hosts/unknown.example", "", 404 },
		{ "GET", "/v1/hosts/garbage.example", "", 502 },
		{ "POST", "/v1/reload", "", 503 }, /* no supervisor here */
		{ "POST", "/v1/drain", "{\"deadline_ms\":-1}", 400 },
	};
	json_t *doc, *e;
	size_t i;
	int status;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		doc = ask_on(HTTP_CONTROL, rows[i].method, rows[i].target,
		    rows[i].body, &status);
		if (status != rows[i].want)
			fail_msg("%s %s %s: status %d, wanted %d",
			    rows[i].method, rows[i].target, rows[i].body,
			    status, rows[i].want);
		e = json_object_get(doc, "error");
		assert_int_equal(
		    json_integer_value(json_object_get(e, "code")), status);
		assert_true(strlen(str(e, "process")) > 0);
		assert_true(strlen(str(e, "text")) > 0);
		json_decref(doc);
	}
}

static void
test_views(void **state)
{
	json_t *doc, *d;
	int status;

	(void)state;
	doc = get("/v1/hosts/d.example", &status);
	assert_int_equal(status, 200);
	assert_string_equal(str(doc, "domain"), "d.example");
	d = json_array_get(json_object_get(doc, "destinations"), 0);
	assert_string_equal(str(d, "state"), "down");
	d = json_array_get(json_object_get(doc, "workers"), 0);
	d = json_array_get(json_object_get(d, "destinations"), 0);
	assert_int_equal(
	    json_integer_value(json_object_get(d, "connections")), 2);
	json_decref(doc);

	/* state and next_attempt are filled in from queue */
	doc = get("/v1/explain?target=a%40d.example&from=x%40y", &status);
	assert_int_equal(status, 200);
	assert_string_equal(str(doc, "outcome"), "deliver");
	assert_string_equal(str(doc, "state"), "down");
	assert_string_equal(str(doc, "next_attempt"), "T");
	json_decref(doc);

	doc = get("/v1/version", &status);
	assert_string_equal(str(doc, "version"), POSTERN_VERSION);
	json_decref(doc);
}

static void
test_status(void **state)
{
	json_t *doc, *c;
	int status;

	(void)state;
	doc = get("/v1/status", &status);
	assert_int_equal(status, 200);
	assert_string_equal(str(doc, "status"), "ok");
	assert_string_equal(str(doc, "hostname"), "gw.example");
	/* queue, resolver, deliver, smtpd x 2, admin */
	assert_int_equal(
	    json_array_size(json_object_get(doc, "processes")), 4 + SMTPDS);
	c = json_object_get(doc, "counters");
	assert_int_equal(json_integer_value(json_object_get(
			     c, "postern_smtpd_connections_total")),
	    21);
	c = json_object_get(doc, "conservation");
	assert_true(json_is_true(json_object_get(c, "holds")));
	assert_int_equal(json_integer_value(json_object_get(c, "queued")), 10);
	json_decref(doc);
	doc = get("/v1/status?detail=1", &status);
	c = json_array_get(json_object_get(doc, "processes"), 0);
	assert_string_equal(str(json_object_get(c, "status"), "state"), "fine");
	json_decref(doc);
}

static void
test_metrics(void **state)
{
	char *text;
	int status;

	(void)state;
	text = raw(HTTP_WEB, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_int_equal(status_of(text), 200);
	assert_non_null(strstr(text, "text/plain; version=0.0.4"));
	assert_non_null(strstr(text, "\npostern_smtpd_connections_total 21\n"));
	assert_non_null(
	    strstr(text, "\npostern_up{process=\"smtpd\",instance=\"1\"} 1\n"));
	assert_non_null(strstr(text, "\npostern_recipients_unaccounted 0\n"));
	/* a dead process: partial, and said */
	json_decref(get("/v1/hosts/die.example", &status));
	text = raw(HTTP_WEB, "GET /metrics HTTP/1.0\r\n\r\n");
	assert_int_equal(status_of(text), 200);
	assert_non_null(strstr(text, "\npostern_smtpd_connections_total 21\n"));
	assert_non_null(
	    strstr(text, "\npostern_up{process=\"queue\",instance=\"0\"} 0\n"));
	assert_null(strstr(text, "postern_recipients_unaccounted"));
}

/* The process that would answer dies while it is asked: 503, by name. */
static void
test_dead(void **state)
{
	json_t *doc;
	int status;

	(void)state;
	doc = ask_on(HTTP_CONTROL, "POST", "/v1/suspend",
	    "{\"host\":\"die.example\"}", &status);
	assert_int_equal(status, 503);
	assert_string_equal(
	    str(json_object_get(doc, "error"), "process"), "queue");
	json_decref(doc);
	doc = get("/healthz", &status);
	assert_int_equal(status, 503);
	assert_string_equal(str(doc, "status"), "degraded");
	json_decref(doc);
	/* explain needs no queue */
	doc = get("/v1/explain?target=d.example", &status);
	assert_int_equal(status, 200);
	assert_true(json_is_null(json_object_get(doc, "next_attempt")));
	json_decref(doc);
}

/* Nothing that acts, and nothing that tells much, over TCP. */
static void
test_web_is_closed(void **state)
{
	static const char *const targets[][2] = { { "GET", "/v1/status" },
		{ "GET", "/v1/recipients?all=1" }, { "POST", "/v1/reload" },
		{ "POST", "/v1/suspend" }, { "DELETE", "/v1/messages/5" },
		{ "GET", "/v1/reload" } };
	json_t *doc;
	int status;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		doc =
		    ask_on(HTTP_WEB, targets[i][0], targets[i][1], "", &status);
		if (status != 403)
			fail_msg("%s: %d", targets[i][1], status);
		json_decref(doc);
	}
	doc = ask_on(HTTP_WEB, "GET", "/healthz", "", &status);
	assert_int_equal(status, 200);
	assert_null(json_object_get(
	    json_array_get(json_object_get(doc, "processes"), 0), "status"));
	json_decref(doc);
}

static void
test_bad_heads(void **state)
{
	static const struct {
		const char *in;
		int want;
	} rows[] = {
		{ "POST /v1/hold HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n"
		  "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		    400 },
		{ "GET /v1/version HTTP/1.1\nHost: a\n\n", 400 },
		{ "GET /v1/version HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
		    400 },
		{ "GET /v1/version HTTP/1.1\r\n\r\n", 400 },
		{ "GET /v1/version HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n",
		    400 },
		{ "POST /v1/hold HTTP/1.1\r\nHost: a\r\n"
		  "Content-Length: 1048577\r\n\r\n",
		    413 },
		{ "\x16\x03\x01\x02", -1 }, /* cut off: nothing to say */
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = dial(HTTP_WEB);

		say(fd, rows[i].in, strlen(rows[i].in));
		if (rows[i].want < 0)
			(void)shutdown(fd, SHUT_WR);
		assert_int_equal(status_of(hear(fd)), rows[i].want);
	}
}

/* Several requests at once on one connection, the last one bad: each has its
 * answer, in order. */
static void
test_pipeline(void **state)
{
	const char *in = "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n"
			 "POST /v1/hold HTTP/1.1\r\nHost: a\r\n"
			 "Content-Length: 10\r\n\r\n{\"mid\": 7}"
			 "GET /v1/tophosts HTTP/1.1\r\nHost: a\r\n\r\n"
			 "GET /v1/version HTTP/1.1\r\nA: b\r\n\r\n";
	char *text = raw(HTTP_CONTROL, in), *p;

	(void)state;
	p = strstr(text, "\"version\":");
	assert_non_null(p);
	p = strstr(p, "\"num\":7,");
	assert_non_null(p);
	p = strstr(p, "\"a0\":\"active\"");
	assert_non_null(p);
	p = strstr(p, "HTTP/1.1 400 Bad Request\r\n");
	assert_non_null(p);
	assert_non_null(strstr(p, "no Host"));
}

/* A byte at a time gives the same answer. */
static void
test_slow_writer(void **state)
{
	const char *in = "POST /v1/hold HTTP/1.1\r\nHost: a\r\n"
			 "Connection: close\r\n"
			 "Content-Length: 9\r\n\r\n{\"mid\":7}";
	int fd = dial(HTTP_WEB), status;
	size_t i;

	(void)state;
	(void)close(fd);
	fd = dial(HTTP_CONTROL);
	for (i = 0; i < strlen(in); i++)
		say(fd, in + i, 1);
	status = status_of(hear(fd));
	assert_int_equal(status, 200);
}

/* 5 MB of answer and a client that reads late. */
static void
test_large(void **state)
{
	const char *in = "GET /v1/recipients?all=1&limit=5000 HTTP/1.1\r\n"
			 "Host: a\r\nConnection: close\r\n\r\n";
	int fd = dial(HTTP_CONTROL);
	struct pollfd pfd = { fd, POLLIN, 0 };
	char *text;

	(void)state;
	say(fd, in, strlen(in));
	assert_int_equal(poll(&pfd, 1, 10000), 1);
	text = hear(fd);
	assert_int_equal(status_of(text), 200);
	assert_true(strlen(text) > 5000000);
	assert_non_null(strstr(text + 4999990, "]\n"));
}

/* The client goes away while its question is under way: nothing breaks. */
static void
test_gone_client(void **state)
{
	const char *in = "GET /v1/status HTTP/1.1\r\nHost: a\r\n\r\n";
	int i, fd, status;

	(void)state;
	for (i = 0; i < 50; i++) {
		fd = dial(HTTP_CONTROL);
		say(fd, in, strlen(in));
		(void)close(fd);
	}
	json_decref(get("/v1/status", &status));
	assert_int_equal(status, 200);
}

/* Over the bound per client: 503 at once, and room again afterwards. */
static void
test_many(void **state)
{
	int fds[FRONT_CONNS_PER_CLIENT], i, fd;
	char c;

	(void)state;
	for (i = 0; i < FRONT_CONNS_PER_CLIENT; i++)
		fds[i] = dial(HTTP_WEB);
	fd = dial(HTTP_WEB);
	assert_int_equal(status_of(hear(fd)), 503);
	for (i = 0; i < FRONT_CONNS_PER_CLIENT; i++) {
		(void)shutdown(fds[i], SHUT_WR);
		assert_int_equal(read(fds[i], &c, 1), 0);
		(void)close(fds[i]);
	}
	assert_int_equal(
	    status_of(raw(HTTP_WEB, "GET /healthz HTTP/1.0\r\n\r\n")), 200);
}

/* The socket belongs to somebody else, and we are not root. */
static void
test_peer_uid(void **state)
{
	char *text;
	int status;
	pid_t pid;

	(void)state;
	start_server(getuid() + 1);
	if (getuid() != 0) {
		text = raw(HTTP_CONTROL,
		    "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n");
		assert_int_equal(status_of(text), 403);
		stop_server();
		return;
	}
	assert_int_equal(chmod(sock_path, 0777), 0);
	pid = fork();
	if (pid == 0) {
		if (setuid(4242) < 0)
			_exit(9);
		text = raw(HTTP_CONTROL,
		    "GET /v1/version HTTP/1.1\r\nHost: a\r\n\r\n");
		_exit(status_of(text) == 403 &&
			    strstr(text, "user id 4242") != NULL
			? 0
			: 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* root may */
	text = raw(HTTP_CONTROL,
	    "GET /v1/version HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
	assert_int_equal(status_of(text), 200);
	stop_server();
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_calls),
		T(test_refusals),
		T(test_views),
		T(test_status),
		T(test_metrics),
		T(test_dead),
		T(test_web_is_closed),
		T(test_bad_heads),
		T(test_pipeline),
		T(test_slow_writer),
		T(test_large),
		T(test_gone_client),
		T(test_many),
		cmocka_unit_test(test_peer_uid),
	};

	(void)signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
