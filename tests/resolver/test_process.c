/*
 * test_process.c - postern-resolver as a process: started, locked down and asked
 * over its real channels by a test that plays supervisor, deliver and admin.
 *
 * This file holds the program too: under the name of postern-resolver its main()
 * is the program's. As root it works under another user in an empty root
 * directory, as it will in production.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/dns/dns.h"
#include "lib/ipc/chan.h"
#include "lib/metrics/metrics.h"
#include "lib/proc/exit.h"
#include "lib/proto/admin.h"
#include "lib/proto/control.h"
#include "lib/proto/resolve.h"
#include "tests/lib/conf/memory.h"
#include "tests/resolver/dnsd.h"

int resolver_main(int argc, char **argv);
#define main resolver_main
#include "resolver/main.c"
#undef main

#define PROGRAM "postern-resolver"

static uv_loop_t loop;
static uv_timer_t guard;
static struct ipc_hub hub;
static struct dnsd dns;

/* What came back over the channels. */
static struct seen {
	bool ready, broken, ctl_down, client_down, admin_down;
	char missing[256];
	uint64_t config_done;
	bool config_ok;
	unsigned answers;
	uint64_t answer_id;
	struct dns_answer *answer; /* the last one */
	struct buf doc;
	unsigned ends;
	uint16_t end_code;
} seen;

static struct ipc_chan *ctl, *client, *admin;
static pid_t pid;
static char root[] = "/tmp/postern-test-XXXXXX";

/* ---- the other ends --------------------------------------------------------
 */

static int
on_ready(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct ctl_ready msg;

	(void)peer;
	(void)m;
	assert_int_equal(ctl_ready_decode(rd, &msg), 0);
	(void)snprintf(seen.missing, sizeof(seen.missing), "%s", msg.missing);
	seen.ready = true;
	return 0;
}

static int
on_config_done(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct ctl_config_done msg;

	(void)peer;
	(void)m;
	assert_int_equal(ctl_config_done_decode(rd, &msg), 0);
	seen.config_done = msg.generation;
	seen.config_ok = msg.ok;
	return 0;
}

static int
on_broken(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct ctl_broken msg;

	(void)peer;
	(void)m;
	assert_int_equal(ctl_broken_decode(rd, &msg), 0);
	assert_int_equal(msg.role, ROLE_DELIVER);
	seen.broken = true;
	return 0;
}

static int
on_dns_answer(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	(void)peer;
	dns_answer_free(seen.answer);
	seen.answer = NULL;
	assert_int_equal(dns_answer_decode(rd->p, m->len, &seen.answer), 0);
	seen.answers++;
	seen.answer_id = m->req_id;
	return 0;
}

static int
on_data(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	(void)peer;
	assert_int_equal(buf_put(&seen.doc, rd->p, m->len), 0);
	return 0;
}

static int
on_end(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct adm_end msg;

	(void)peer;
	(void)m;
	assert_int_equal(adm_end_decode(rd, &msg), 0);
	seen.ends++;
	seen.end_code = msg.code;
	return 0;
}

static void
on_any_down(void *peer, int why, const char *text)
{
	(void)why;
	(void)text;
	*(bool *)peer = true;
}

static const struct ipc_rule ctl_rules[] = {
	{ CTL_READY, 0, 8192, IPC_ANY, 0, on_ready },
	{ CTL_CONFIG_DONE, 0, 8192, IPC_ANY, 0, on_config_done },
	{ CTL_BROKEN, 0, 8192, IPC_ANY, 0, on_broken },
};
static const struct ipc_rule client_rules[] = {
	{ RESOLVE_ANSWER, 0, DNS_ANSWER_MAX, IPC_ANY, 0, on_dns_answer },
};
static const struct ipc_rule admin_rules[] = {
	{ ADM_DATA, 0, ADM_PIECE_MAX, IPC_ANY, IPC_CREDIT, on_data },
	{ ADM_END, 0, 8192, IPC_ANY, 0, on_end },
};
static const struct ipc_spec ctl_spec = { .name = "resolver",
	.rules = ctl_rules,
	.n_rules = 3,
	.on_down = on_any_down };
static const struct ipc_spec client_spec = { .name = "resolver",
	.rules = client_rules,
	.n_rules = 1,
	.on_down = on_any_down };
static const struct ipc_spec admin_spec = { .name = "resolver",
	.rules = admin_rules,
	.n_rules = 2,
	.on_down = on_any_down };

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	(void)fprintf(stderr, "the test hangs\n");
	abort();
}

static void
until(const bool *flag)
{
	while (!*flag)
		(void)uv_run(&loop, UV_RUN_ONCE);
}

/* ---- start -----------------------------------------------------------------
 */

static void
send_config(uint64_t generation, const char *resolver)
{
	char text[512];
	const struct memory_file files[] = { { "postern.conf", text },
		{ NULL, NULL } };
	struct conf_source src = memory_source(files);
	struct ctl_config m = { generation };
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	uint8_t *blob = NULL;
	size_t len = 0;
	int fd;

	(void)snprintf(text, sizeof(text),
	    "[postern]\n[resolver]\nnameservers = %s\n%s", dns.text, resolver);
	src.named_files = true; /* or there is no blob to make */
	if (conf_load(&src, &errs, &conf) != 0) {
		conf_errors_print(&errs, "", stderr);
		fail();
	}
	conf_errors_done(&errs);
	assert_int_equal(conf_blob_build(conf, CONF_FOR_NONE, &blob, &len), 0);
	conf_unref(conf);
	fd = memfd_create("settings", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, blob, len), (ssize_t)len);
	free(blob);
	assert_int_equal(
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE),
	    0);
	ctl_config_encode(ipc_send_begin(ctl, CTL_CONFIG, 0), &m);
	assert_int_equal(ipc_send_end(ctl, fd), 0);
}

static struct ipc_chan *
give_peer(enum role role, const struct ipc_spec *peer_spec, bool *down)
{
	struct ctl_peer m = { role, 0 };
	struct ipc_chan *chan;
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	ctl_peer_encode(ipc_send_begin(ctl, CTL_PEER, 0), &m);
	assert_int_equal(ipc_send_end(ctl, fd[1]), 0);
	*down = false;
	assert_int_equal(ipc_chan_new(&hub, fd[0], peer_spec, down, &chan), 0);
	return chan;
}

static int
setup_process(void **state)
{
	struct ctl_start start = { .chroot_dir = "", .max_fds = 1024 };
	int fd[2];

	(void)state;
	memset(&seen, 0, sizeof(seen));
	buf_init(&seen.doc, 1 << 20);
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_timer_init(&loop, &guard), 0);
	assert_int_equal(uv_timer_start(&guard, on_guard, 20000, 0), 0);
	assert_int_equal(ipc_hub_init(&hub, &loop), 0);
	dnsd_start(&dns, &loop, NULL);
	dns.ignore = PROBE_DEFAULT;
	assert_int_equal(ipc_pair(fd), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		char name[] = PROGRAM;
		char *argv[] = { name, NULL };

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (fd[1] == 3)
			(void)fcntl(3, F_SETFD, 0);
		else
			(void)dup2(fd[1], 3);
		(void)execv("/proc/self/exe", argv);
		_exit(99);
	}
	(void)close(fd[1]);
	assert_int_equal(
	    ipc_chan_new(&hub, fd[0], &ctl_spec, &seen.ctl_down, &ctl), 0);
	send_config(1, "timeout = 2s\ntries = 2\ntrust_ad = loopback\n");
	/* one peer comes before START, as at a real start */
	client = give_peer(ROLE_DELIVER, &client_spec, &seen.client_down);
	if (geteuid() == 0) {
		memcpy(root + sizeof(root) - 7, "XXXXXX", 6);
		assert_non_null(mkdtemp(root));
		start.uid = start.gid = 65534;
		start.chroot_dir = root;
	}
	ctl_start_encode(ipc_send_begin(ctl, CTL_START, 0), &start);
	assert_int_equal(ipc_send_end(ctl, -1), 0);
	until(&seen.ready);
	if (geteuid() == 0)
		assert_string_equal(seen.missing, "");
	admin = give_peer(ROLE_ADMIN, &admin_spec, &seen.admin_down);
	return 0;
}

/* Ends the process in the way of the test; want is its exit code. */
static void
finish(int want)
{
	int status;

	until(&seen.ctl_down);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), want);
}

static int
teardown_process(void **state)
{
	(void)state;
	ipc_chan_free(ctl);
	ipc_chan_free(client);
	ipc_chan_free(admin);
	ctl = client = admin = NULL;
	ipc_hub_done(&hub);
	dnsd_stop(&dns);
	uv_close((uv_handle_t *)&guard, NULL);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	dns_answer_free(seen.answer);
	buf_done(&seen.doc);
	if (geteuid() == 0)
		assert_int_equal(rmdir(root), 0);
	assert_int_equal(uv_loop_close(&loop), 0);
	return 0;
}

static void
drain_process(void)
{
	struct ctl_drain m = { 10000 };

	ctl_drain_encode(ipc_send_begin(ctl, CTL_DRAIN, 0), &m);
	assert_int_equal(ipc_send_end(ctl, -1), 0);
}

/* ---- tests -----------------------------------------------------------------
 */

static void
secure_mx(struct dnsd_query *q, struct packet *pk)
{
	pk_reply(pk, q->b, F_RA | F_AD, 0);
	if (strncmp(q->name, "bad.", 4) == 0)
		pk->b[3] |= 2; /* SERVFAIL */
	else if (q->type == DNS_MX)
		pk_mx(pk, "@", 300, 10, "mx.example");
	else
		pk_a(pk, "@", 300, 1);
	pk_opt(pk, 0, strncmp(q->name, "bad.", 4) == 0 ? 6 : -1, "");
	dnsd_send(q, pk);
}

static void
send_ask(uint64_t id, const char *name, uint16_t type)
{
	struct resolve_ask m = { name, type, 0 };

	resolve_ask_encode(ipc_send_begin(client, RESOLVE_ASK, id), &m);
	assert_int_equal(ipc_send_end(client, -1), 0);
}

static void
wait_answer(uint64_t id)
{
	unsigned before = seen.answers;

	while (seen.answers == before)
		(void)uv_run(&loop, UV_RUN_ONCE);
	assert_int_equal(seen.answer_id, id);
}

static void
call(enum adm_op op, const char *arg)
{
	struct adm_call m = { .op = op, .args = { arg, "", "" } };
	unsigned before = seen.ends;

	buf_reset(&seen.doc, 0);
	adm_call_encode(ipc_send_begin(admin, ADM_CALL, 7), &m);
	assert_int_equal(ipc_send_end(admin, -1), 0);
	while (seen.ends == before)
		(void)uv_run(&loop, UV_RUN_ONCE);
}

/* Is text in the last document? */
static bool
in_doc(const char *text)
{
	return memmem(buf_data(&seen.doc), buf_len(&seen.doc), text,
		   strlen(text)) != NULL;
}

static void
test_ask(void **state)
{
	(void)state;
	dns.script = secure_mx;
	send_ask(11, "example.org", DNS_MX);
	wait_answer(11);
	assert_int_equal(seen.answer->state, DNS_SECURE);
	assert_string_equal(seen.answer->rrs[0].host, "mx.example");
	send_ask(12, "example.org", DNS_MX); /* from the cache */
	wait_answer(12);
	assert_int_equal(dns.udp_queries, 1);
	send_ask(13, "bad.example", DNS_TLSA);
	wait_answer(13);
	assert_int_equal(seen.answer->why, DNS_WHY_BOGUS);
	assert_int_equal(seen.answer->ede, 6);
	/* a name from outside that is none is answered, not punished */
	send_ask(14, "no name\n", DNS_MX);
	wait_answer(14);
	assert_int_equal(seen.answer->why, DNS_WHY_NAME);
	send_ask(15, "", DNS_MX);
	wait_answer(15);
	assert_int_equal(seen.answer->why, DNS_WHY_NAME);
	assert_false(seen.broken);
	/* drained: it answers until its client has gone */
	drain_process();
	send_ask(16, "other.example", DNS_A);
	wait_answer(16);
	assert_int_equal(seen.answer->state, DNS_SECURE);
	assert_false(seen.ctl_down);
	ipc_chan_free(client);
	client = NULL;
	finish(0);
}

static void
test_admin(void **state)
{
	(void)state;
	dns.script = secure_mx;
	send_ask(1, "example.org", DNS_MX);
	wait_answer(1);
	call(ADM_STATUS, "");
	assert_int_equal(seen.end_code, 0);
	assert_true(in_doc(dns.text));
	while (in_doc("\"dnssec\":\"running\""))
		call(ADM_STATUS, "");
	assert_true(in_doc("\"secure\":2")); /* ours, and the probe's */
	assert_true(in_doc("\"dnssec\":\"validates\""));
	assert_true(in_doc("\"warning\":null"));
	call(ADM_METRICS, "");
	assert_int_equal(seen.end_code, 0);
	assert_true(in_doc("postern_dns_requests_total"));
	call(ADM_DNSFLUSH, "Example.ORG.");
	assert_true(in_doc("\"changed\":1"));
	call(ADM_DNSFLUSH, "");
	assert_true(in_doc("\"changed\":1")); /* the probe's */
	call(ADM_DNSFLUSH, "no name");
	assert_int_equal(seen.end_code, 400);
	send_ask(2, "example.org", DNS_MX);
	wait_answer(2);
	assert_int_equal(dns.udp_queries, 2);

	/* a reload that stops trusting */
	send_config(2, "trust_ad = no\nprobe_good = good.example\n");
	while (seen.config_done != 2)
		(void)uv_run(&loop, UV_RUN_ONCE);
	assert_true(seen.config_ok);
	send_ask(3, "example.org", DNS_MX);
	wait_answer(3);
	assert_int_equal(seen.answer->state, DNS_INSECURE);
	do
		call(ADM_STATUS, "");
	while (in_doc("\"dnssec\":\"running\""));
	assert_true(in_doc("\"dnssec\":\"no server is trusted to validate\""));
	assert_true(in_doc("\"warning\":\"DANE is configured but no"));
	send_config(4, "dnssec = off\n");
	do
		call(ADM_STATUS, "");
	while (!in_doc("\"dnssec\":\"not probed\""));
	assert_true(in_doc("\"warning\":null"));
	send_config(5, "probe_good = good.example\nprobe_bad = bad.example\n");
	do
		call(ADM_STATUS, "");
	while (!in_doc("\"dnssec\":\"validates\""));
	/* the supervisor goes away: it ends by itself */
	ipc_chan_free(client);
	ipc_chan_free(ctl);
	client = ctl = NULL;
	until(&seen.admin_down);
	seen.ctl_down = true;
	finish(EXIT_CODE_ORPHAN);
}

/* A client that breaks the rules loses its channel; the process lives on. */
static void
test_broken(void **state)
{
	(void)state;
	dns.script = secure_mx;
	send_ask(1, "example.org", 255); /* a type outside the contract */
	until(&seen.broken);
	until(&seen.client_down);
	ipc_chan_free(client);
	client = give_peer(ROLE_DELIVER, &client_spec, &seen.client_down);
	send_ask(2, "example.org", DNS_MX);
	wait_answer(2);
	assert_int_equal(seen.answer->state, DNS_SECURE);
	/* one that goes away with its question open is nobody's trouble */
	dns.script = NULL;
	send_ask(3, "never.example", DNS_MX);
	while (dns.udp_queries < 2)
		(void)uv_run(&loop, UV_RUN_ONCE);
	ipc_chan_free(client);
	client = NULL;
	call(ADM_STATUS, "");
	assert_int_equal(seen.end_code, 0);
	drain_process();
	finish(0);
}

int
main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
		    test_ask, setup_process, teardown_process),
		cmocka_unit_test_setup_teardown(
		    test_admin, setup_process, teardown_process),
		cmocka_unit_test_setup_teardown(
		    test_broken, setup_process, teardown_process),
	};

	if (strcmp(argv[0], PROGRAM) == 0)
		_exit(resolver_main(argc, argv));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
