/*
 * test_commands.c - every command against a scripted node on a real socket: what
 * it asks, what it prints, with which exit status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "ctl/show.h"
#include "tests/ctl/run.h"

/* What the scripted node answers next, and what it was asked. Shared with it. */
static struct {
	int status;
	char answer[16384];
	char asked[4096];
} * node;

static char path[108];
static pid_t server;

/* ---- the node ----------------------------------------------------------------------------- */

static void
serve_one(int fd)
{
	char in[8192], head[256], *end, *length;
	size_t n = 0, want = 0;
	ssize_t got;

	for (;;) {
		got = recv(fd, in + n, sizeof(in) - 1 - n, 0);
		if (got <= 0)
			return;
		n += (size_t)got;
		in[n] = '\0';
		end = strstr(in, "\r\n\r\n");
		if (end == NULL)
			continue;
		length = strcasestr(in, "content-length:");
		if (length != NULL)
			want = strtoul(length + 15, NULL, 10);
		if (n >= (size_t)(end + 4 - in) + want)
			break;
	}
	/* "GET /path BODY" */
	(void)snprintf(node->asked, sizeof(node->asked), "%.*s %s",
	    (int)(strstr(in, " HTTP/1.1") - in), in, end + 4);
	(void)snprintf(head, sizeof(head),
	    "HTTP/1.1 %d X\r\nContent-Length: %zu\r\nConnection: close\r\n"
	    "\r\n",
	    node->status, strlen(node->answer));
	(void)send(fd, head, strlen(head), MSG_NOSIGNAL);
	(void)send(fd, node->answer, strlen(node->answer), MSG_NOSIGNAL);
}

static int
set_up(void **state)
{
	struct sockaddr_un sun = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), c;

	(void)state;
	node = mmap(NULL, sizeof(*node), PROT_READ | PROT_WRITE,
	    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(node != MAP_FAILED);
	(void)snprintf(
	    path, sizeof(path), "/tmp/postern-ctl-%d", (int)getpid());
	(void)unlink(path);
	memcpy(sun.sun_path, path, sizeof(sun.sun_path));
	assert_int_equal(bind(fd, (struct sockaddr *)&sun, sizeof(sun)), 0);
	assert_int_equal(listen(fd, 8), 0);
	(void)fflush(NULL);
	server = fork();
	if (server == 0) {
		while ((c = accept(fd, NULL, NULL)) >= 0) {
			serve_one(c);
			(void)close(c);
		}
		_exit(0);
	}
	(void)close(fd);
	return 0;
}

static int
tear_down(void **state)
{
	(void)state;
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	(void)unlink(path);
	(void)munmap(node, sizeof(*node));
	return 0;
}

static void
answers(int status, const char *text)
{
	node->status = status;
	(void)snprintf(node->answer, sizeof(node->answer), "%s", text);
	node->asked[0] = '\0';
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
test_requests(void **state)
{
	static const struct {
		const char *words[8];
		const char *want;
	} rows[] = {
		{ { "status" }, "GET /v1/status " },
		{ { "status", "detail" }, "GET /v1/status?detail=1 " },
		{ { "tophosts" }, "GET /v1/tophosts?sort=active&limit=20 " },
		{ { "tophosts", "--sort", "a&b", "--limit", "5" },
		    "GET /v1/tophosts?sort=a%26b&limit=5 " },
		{ { "hoststatus", "a/b" }, "GET /v1/hosts/a%2Fb " },
		{ { "showrecipients", "--host", "d" },
		    "GET /v1/recipients?host=d&limit=100 " },
		{ { "showrecipients", "--from", "<>" },
		    "GET /v1/recipients?from=%3C%3E&limit=100 " },
		{ { "showrecipients", "--all", "--limit", "7" },
		    "GET /v1/recipients?all=1&limit=7 " },
		{ { "showmessage", "5" }, "GET /v1/messages/5 " },
		{ { "oldmessage" }, "GET /v1/oldmessage " },
		{ { "removemessage", "5" }, "DELETE /v1/messages/5 " },
		{ { "why", "18446744073709551615" },
		    "GET /v1/why/18446744073709551615 " },
		{ { "explain", "a@b", "--from", "c@d", "--client", "::1" },
		    "GET /v1/explain?target=a%40b&from=c%40d&client=%3A%3A1 " },
		{ { "delivernow", "d" }, "POST /v1/deliver {\"host\":\"d\"}" },
		{ { "delivernow", "--all" },
		    "POST /v1/deliver {\"all\":true}" },
		{ { "suspenddel" }, "POST /v1/suspend {\"all\":true}" },
		{ { "suspenddel", "d\"" },
		    "POST /v1/suspend {\"host\":\"d\\\"\"}" },
		{ { "resumedel", "d" }, "POST /v1/resume {\"host\":\"d\"}" },
		{ { "suspendlistener" },
		    "POST /v1/suspendlistener {\"all\":true}" },
		{ { "resumelistener", "in" },
		    "POST /v1/resumelistener {\"name\":\"in\"}" },
		{ { "hold", "6" }, "POST /v1/hold {\"mid\":\"6\"}" },
		{ { "unhold", "6" }, "POST /v1/unhold {\"mid\":\"6\"}" },
		{ { "deleterecipients", "--host", "d", "--dry-run" },
		    "POST /v1/deleterecipients "
		    "{\"host\":\"d\",\"dry_run\":true}" },
		{ { "bouncerecipients", "--from", "<>" },
		    "POST /v1/bouncerecipients {\"from\":\"<>\"}" },
		{ { "bouncerecipients", "--all" },
		    "POST /v1/bouncerecipients {\"all\":true}" },
		{ { "reload" }, "POST /v1/reload {}" },
		{ { "drain" }, "POST /v1/drain {}" },
		{ { "drain", "--deadline", "2m" },
		    "POST /v1/drain {\"deadline_ms\":120000}" },
		{ { "dnsflush" }, "POST /v1/dnsflush {}" },
		{ { "dnsflush", "n" }, "POST /v1/dnsflush {\"name\":\"n\"}" },
		{ { "version" }, "GET /v1/version " },
	};
	const char *words[12];
	struct run r;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		words[0] = "--socket";
		words[1] = path;
		for (k = 0; k < 8; k++)
			words[2 + k] = rows[i].words[k];
		answers(200,
		    "{\"outcome\":\"deliver\",\"status\":\"ok\","
		    "\"extra\":[\"\xc3\xa4\"]}");
		run_ctl(&r, "", 0, words); /* for people */
		if (r.code != 0)
			fail_msg("%s: %d %s", rows[i].want, r.code, r.err);
		assert_string_equal(node->asked, rows[i].want);
		assert_true(strlen(r.out) > 0);
		run_done(&r);
		words[1] = path;
		for (k = 0; rows[i].words[k] != NULL; k++)
			continue;
		words[2 + k] = "--json";
		words[3 + k] = NULL;
		run_ctl(&r, "", 0, words); /* and as JSON, once */
		assert_int_equal(r.code, 0);
		if (strstr(r.out, "\"extra\":[\"\xc3\xa4\"]") == NULL ||
		    strchr(r.out, '\n') != r.out + strlen(r.out) - 1)
			fail_msg("%s: %s", rows[i].want, r.out);
		run_done(&r);
	}
}

static void
test_exit_codes(void **state)
{
	static const struct {
		int status, want;
	} rows[] = { { 400, 2 }, { 403, 3 }, { 404, 1 }, { 409, 1 }, { 500, 1 },
		{ 502, 1 }, { 503, 3 }, { 504, 3 } };
	struct run r;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		answers(rows[i].status,
		    "{\"error\":{\"code\":1,\"process\":\"queue\","
		    "\"text\":\"no such\\u001b message\"}}");
		RUN(&r, "why", "5", "--socket", path);
		assert_int_equal(r.code, rows[i].want);
		assert_string_equal(
		    r.err, "posternctl: queue: no such\\x1b message\n");
		assert_string_equal(r.out, "");
		run_done(&r);
		RUN(&r, "why", "5", "--json", "--socket", path);
		assert_int_equal(r.code, rows[i].want);
		assert_non_null(strstr(r.out, "\"process\":\"queue\""));
		run_done(&r);
	}
	answers(200, "<html>");
	RUN(&r, "why", "5", "--socket", path);
	assert_int_equal(r.code, 3);
	run_done(&r);
}

static void
test_wrong_calls(void **state)
{
	static const char *const rows[][6] = { { "why", "5x" },
		{ "deleterecipients" }, { "deleterecipients", "--dry-run" },
		{ "bouncerecipients", "--all", "--from", "a" },
		{ "bouncerecipients", "--host", "\xff" },
		{ "archivemessage", "5" }, { "archivemessage", "x", "f" },
		{ "removemessage", "" }, { "hold", "999999999999999999999" },
		{ "showrecipients" },
		{ "showrecipients", "--all", "--host", "d" }, { "delivernow" },
		{ "delivernow", "d", "--all" },
		{ "drain", "--deadline", "soon" }, { "rate", "0" },
		{ "rate", "x" }, { "tophosts", "--limit", "many" },
		{ "status", "short" }, { "suspenddel", "\xff" } };
	const char *words[12] = { "--socket", path };
	struct run r;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		answers(200, "{}");
		for (k = 0; k < 6; k++)
			words[2 + k] = rows[i][k];
		run_ctl(&r, "", 0, words);
		if (r.code != 2 || strlen(r.err) == 0)
			fail_msg("%s: %d %s", rows[i][0], r.code, r.err);
		assert_string_equal(node->asked, ""); /* nobody was asked */
		run_done(&r);
	}
}

static void
test_archive(void **state)
{
	char file[128];
	struct stat st;
	struct run r;
	FILE *f;
	char text[16] = "";

	(void)state;
	(void)snprintf(file, sizeof(file), "%s.eml", path);
	(void)unlink(file);
	answers(404, "{\"error\":{\"code\":404,\"text\":\"no\"}}");
	RUN(&r, "archivemessage", "5", file, "--socket", path);
	assert_int_equal(r.code, 1);
	assert_int_equal(access(file, F_OK), -1);
	run_done(&r);
	/* a second piece that never comes: no file is left */
	answers(200, "{\"mid\":5,\"size\":9,\"offset\":0,\"data\":\"\"}");
	RUN(&r, "archivemessage", "5", file, "--socket", path);
	assert_int_equal(r.code, 3);
	assert_int_equal(access(file, F_OK), -1);
	run_done(&r);
	answers(
	    200, "{\"mid\":5,\"size\":5,\"offset\":0,\"data\":\"aGUACv8=\"}");
	RUN(&r, "archivemessage", "5", file, "--socket", path);
	assert_int_equal(r.code, 0);
	assert_string_equal(node->asked, "GET /v1/body/5?offset=0 ");
	run_done(&r);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	f = fopen(file, "r");
	assert_non_null(f);
	assert_int_equal(fread(text, 1, sizeof(text), f), 5);
	assert_memory_equal(text, "he\0\n\xff", 5);
	(void)fclose(f);
	/* never over what is there */
	RUN(&r, "archivemessage", "5", file, "--socket", path);
	assert_int_equal(r.code, 1);
	assert_non_null(strstr(r.err, "File exists"));
	run_done(&r);
	assert_int_equal(stat(file, &st), 0);
	assert_int_equal(st.st_size, 5);
	(void)unlink(file);
}

static void
test_unreachable(void **state)
{
	struct run r;

	(void)state;
	RUN(&r, "status", "--socket", "/nonexistent/control.sock");
	assert_int_equal(r.code, 3);
	assert_non_null(strstr(r.err, "/nonexistent/control.sock"));
	assert_non_null(strstr(r.err, "no such socket"));
	run_done(&r);
	RUN(&r, "status", "--json", "--socket", "/nonexistent/control.sock");
	assert_int_equal(r.code, 3);
	assert_non_null(strstr(r.out, "\"error\""));
	run_done(&r);
	(void)kill(server, SIGKILL);
	(void)waitpid(server, NULL, 0);
	RUN(&r, "status", "--socket", path);
	assert_int_equal(r.code, 3);
	assert_non_null(strstr(r.err, "nobody listens"));
	run_done(&r);
	/* its own version is told all the same */
	RUN(&r, "version", "--socket", path);
	assert_int_equal(r.code, 3);
	assert_non_null(strstr(r.out, "posternctl " POSTERN_VERSION));
	run_done(&r);
	server = fork(); /* for tear_down */
	if (server == 0)
		_exit(0);
}

static void
test_status(void **state)
{
	struct run r;

	(void)state;
	answers(200,
	    "{\"hostname\":\"gw\",\"version\":\"1\",\"status\":\"degraded\","
	    "\"time\":\"T\",\"uptime_s\":5,\"processes\":[{\"process\":"
	    "\"queue\",\"instance\":0,\"up\":true},{\"process\":\"smtpd\","
	    "\"instance\":1,\"up\":false,\"error\":\"no answer\"}],"
	    "\"counters\":{\"postern_recipients_accepted_total\":1234567},"
	    "\"gauges\":{},\"rates_per_hour\":{"
	    "\"postern_recipients_accepted_total\":{\"1m\":60.5,\"5m\":12.0,"
	    "\"15m\":null}},\"conservation\":{\"accepted\":5,\"generated\":1,"
	    "\"delivered\":3,\"bounced\":0,\"expired\":0,\"removed\":0,"
	    "\"queued\":3,\"difference\":0,\"holds\":true}}");
	RUN(&r, "status", "--socket", path);
	assert_int_equal(r.code, 1); /* a process is away */
	assert_non_null(strstr(r.out,
	    "  process  no  state\n"
	    "  queue     0  up\n"
	    "  smtpd     1  no answer\n"));
	assert_non_null(strstr(r.out,
	    "                           total  1 min  5 min  15 min\n"
	    "  recipients accepted  1,234,567   60.5   12.0       -\n"));
	assert_non_null(strstr(r.out,
	    "5 accepted + 1 generated = 3 delivered + 0 bounced + 0 expired + "
	    "0 removed + 3 queued: holds\n"));
	run_done(&r);
	answers(200,
	    "{\"status\":\"ok\",\"conservation\":{\"difference\":-2,"
	    "\"holds\":false}}");
	RUN(&r, "status", "--socket", path);
	assert_int_equal(r.code, 1);
	assert_non_null(strstr(r.out, "DOES NOT HOLD, -2 unaccounted for"));
	run_done(&r);
}

static void
test_lists(void **state)
{
	struct run r;

	(void)state;
	answers(200,
	    "{\"recipients\":[{\"mid\":72057594037927937,\"rid\":0,"
	    "\"state\":\"deferred\",\"attempts\":3,\"next_attempt\":null,"
	    "\"sender\":\"\",\"address\":\"b\\u00fc@x\\u001b[2J\"},"
	    "{\"mid\":5,\"rid\":10,\"state\":\"queued\",\"attempts\":0,"
	    "\"sender\":\"a@b\",\"address\":\"c@d\"}],\"truncated\":true}");
	RUN(&r, "showrecipients", "--all", "--socket", path);
	assert_int_equal(r.code, 0);
	assert_string_equal(r.out,
	    "              mid  rid  state     tries  next attempt  sender  "
	    "recipient\n"
	    "72057594037927937    0  deferred      3  -             <>      "
	    "b\xc3\xbc@x\\x1b[2J\n"
	    "                5   10  queued        0  -             a@b     "
	    "c@d\n"
	    "there are more: --limit N\n");
	run_done(&r);
}

static void
test_explain(void **state)
{
	struct run r;

	(void)state;
	answers(200,
	    "{\"recipient\":null,\"domain\":\"d\",\"route\":null,\"gateway\":"
	    "\"default\",\"control\":{\"entry\":\"DEFAULT\",\"tls\":"
	    "\"preferred\"},\"mx_security\":\"secure\",\"outcome\":\"defer\","
	    "\"reason\":\"dane-required\",\"hosts\":[{\"host\":\"mx1.d\","
	    "\"preference\":10,\"addresses\":[\"192.0.2.1\"],\"security\":"
	    "\"secure\",\"tlsa\":{\"state\":\"usable\",\"records\":[]},"
	    "\"verdict\":\"attempt\",\"level\":\"dane\",\"names\":[\"mx1.d\"],"
	    "\"rules\":[{\"id\":\"dane\",\"source\":\"RFC 7672\",\"text\":"
	    "\"usable TLSA\",\"won\":true},{\"id\":\"mode\",\"source\":\"tls\","
	    "\"text\":\"preferred\",\"won\":false}]},{\"host\":\"mx2.d\","
	    "\"preference\":20,\"verdict\":\"skip\",\"reason\":"
	    "\"tlsa-indeterminate\"}]}");
	RUN(&r, "explain", "d", "--socket", path);
	assert_int_equal(r.code, 1); /* not delivered now */
	assert_non_null(strstr(r.out, "route          none\n"));
	assert_non_null(
	    strstr(r.out, "control\n  entry  DEFAULT\n  tls    preferred\n"));
	assert_non_null(strstr(r.out, "  10 mx1.d: attempt, TLS level dane\n"));
	assert_non_null(strstr(r.out, "won   dane  RFC 7672  usable TLSA\n"));
	assert_non_null(
	    strstr(r.out, "  20 mx2.d: skip (tlsa-indeterminate)\n"));
	run_done(&r);
}

static void
test_rate(void **state)
{
	struct run r;

	(void)state;
	answers(200,
	    "{\"time\":\"T\",\"conservation\":{\"accepted\":7,\"generated\":1,"
	    "\"delivered\":3,\"bounced\":1,\"expired\":0,\"removed\":0,"
	    "\"queued\":4}}");
	RUN(&r, "rate", "1", "--count", "1", "--json", "--socket", path);
	assert_int_equal(r.code, 0);
	assert_string_equal(
	    r.out, "{\"time\":\"T\",\"in\":0,\"finished\":0,\"queued\":4}\n");
	run_done(&r);
	answers(200, "{\"conservation\":null}");
	RUN(&r, "rate", "1", "--count", "1", "--socket", path);
	assert_int_equal(r.code, 3);
	run_done(&r);
}

/* Settings decide where the socket is; a broken set falls back, and says so. */
static void
test_socket_of_settings(void **state)
{
	char dir[] = "/tmp/postern-ctl-conf-XXXXXX", file[128], text[256];
	struct run r;
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	(void)snprintf(file, sizeof(file), "%s/postern.conf", dir);
	f = fopen(file, "w");
	(void)fprintf(f,
	    "[postern]\nhostname = gw.example.net\nrun_dir = %s/run\n"
	    "[listener a]\naddress = 127.0.0.1:2525\ntls = offered\n"
	    "certificate = c\n[certificate c]\n"
	    "cert_file = /nonexistent/cert.pem\n"
	    "key_file = /nonexistent/key.pem\n",
	    dir);
	(void)fclose(f);
	RUN(&r, "status", "-c", dir);
	assert_int_equal(r.code, 3);
	(void)snprintf(text, sizeof(text), "%s/run/control.sock", dir);
	if (strstr(r.err, text) == NULL)
		fail_msg("%s", r.err);
	run_done(&r);
	/* mistakes elsewhere do not hide a running node */
	f = fopen(file, "w");
	(void)fprintf(f,
	    "[other]\nrun_dir = /other\n[postern]\nhostnmae = x\n"
	    "run_dir  =  %s/run\n[listener x]\n",
	    dir);
	(void)fclose(f);
	RUN(&r, "status", "-c", dir);
	assert_int_equal(r.code, 3);
	if (strstr(r.err, text) == NULL)
		fail_msg("%s", r.err);
	run_done(&r);
	f = fopen(file, "w");
	(void)fputs("[postern]\nhostnmae = x\n", f);
	(void)fclose(f);
	RUN(&r, "status", "-c", dir);
	assert_int_equal(r.code, 3);
	assert_non_null(strstr(r.err, "postern check"));
	assert_non_null(strstr(r.err, "/run/postern/control.sock"));
	run_done(&r);
	(void)unlink(file);
	(void)rmdir(dir);
}

static void
test_show(void **state)
{
	static const struct {
		const char *json, *want, *count;
	} rows[] = {
		{ "null", "-", "-" },
		{ "\"\"", "-", "-" },
		{ "true", "yes", "yes" },
		{ "1234567", "1234567", "1,234,567" },
		{ "-123456", "-123456", "-123,456" },
		{ "999", "999", "999" },
		{ "1000", "1000", "1,000" },
		{ "1.25", "1.2", "1.2" },
		{ "[]", "-", "-" },
		{ "[1,\"a\",null]", "1, a, -", "1, a, -" },
		{ "{\"a\":1}", "{\"a\":1}", "{\"a\":1}" },
		{ "\"a\\tb\\u0085\\u00e4\"", "a\\x09b\\u0085\xc3\xa4",
		    "a\\x09b\\u0085\xc3\xa4" },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *v = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);
		char *text = show_value(v), *count = show_count(v);

		assert_string_equal(text, rows[i].want);
		assert_string_equal(count, rows[i].count);
		free(text);
		free(count);
		json_decref(v);
	}
}

static void
test_tree(void **state)
{
	json_t *v =
	    json_loads("{\"a\":1,\"longer\":[1,2],\"in\":{\"b\\u001b\":null},"
		       "\"l\":[{\"c\":true},{}]}",
		0, NULL);
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	show_tree(f, 2, v);
	show_tree(f, 2, NULL); /* a process that is away has none */
	(void)fclose(f);
	assert_string_equal(text,
	    "  a       1\n"
	    "  longer  1, 2\n"
	    "  in\n"
	    "    b\\x1b  -\n"
	    "  l 1\n"
	    "    c  yes\n"
	    "  l 2\n");
	free(text);
	json_decref(v);
}

/* The manual page knows every command and every option of it. */
static void
test_manual(void **state)
{
	static char text[65536], plain[65536];
	const struct opt *o;
	FILE *f = fopen("docs/man/posternctl.1", "r");
	size_t i, n, k = 0;

	(void)state;
	assert_non_null(f);
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	for (i = 0; i < n; i++) /* without the escapes of man(7) */
		if (text[i] == '\\' && text[i + 1] == 'f')
			i += 2;
		else if (text[i] != '\\')
			plain[k++] = text[i];
	for (i = 0; i < ctl_n_commands; i++) {
		if (strstr(plain, ctl_commands[i].name) == NULL)
			fail_msg("no %s", ctl_commands[i].name);
		for (o = ctl_commands[i].opts; o != NULL && o->name != NULL;
		     o++)
			if (strstr(plain, o->name) == NULL)
				fail_msg("no %s", o->name);
	}
}

static void
test_help(void **state)
{
	struct run r;
	size_t i;

	(void)state;
	RUN(&r, "--help");
	assert_int_equal(r.code, 0);
	for (i = 0; i < ctl_n_commands; i++)
		assert_non_null(strstr(r.out, ctl_commands[i].name));
	run_done(&r);
	RUN(&r, "help", "addr", "check");
	assert_int_equal(r.code, 0);
	assert_non_null(strstr(r.out, "--stdin"));
	run_done(&r);
	RUN(&r, "help", "nothing");
	assert_int_equal(r.code, 2);
	run_done(&r);
	run_ctl(&r, "", 0, (const char *const[]){ NULL });
	assert_int_equal(r.code, 2);
	assert_string_equal(r.out, "");
	run_done(&r);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_requests),
		T(test_exit_codes),
		T(test_wrong_calls),
		T(test_archive),
		T(test_unreachable),
		T(test_status),
		T(test_lists),
		T(test_explain),
		T(test_rate),
		cmocka_unit_test(test_socket_of_settings),
		cmocka_unit_test(test_show),
		cmocka_unit_test(test_tree),
		cmocka_unit_test(test_manual),
		cmocka_unit_test(test_help),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
