/*
 * test_dest.c - a destination from offer to release, in one process: the test
 * plays queue, resolver, policyd and supervisor over real channels, and is the SMTP
 * host, all on one loop. The clock is the test's.
 *
 * Each fact is waited for with until(); a guard ends a test that hangs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/log/log.h"
#include "lib/proto/resolve.h"
#include "tests/lib/conf/memory.h"

int deliver_main(int argc, char **argv);
#define main deliver_main
#include "deliver/main.c"
#undef main

static uv_loop_t loop;
static uv_timer_t guard;
static struct child child;
static struct deliver deliver;

/* What the others saw and how they answer. */
static struct world {
	struct ipc_chan *queue, *resolver, *policyd, *ctl_there, *ctl_here;
	bool queue_down;
	/* queue */
	unsigned wants, slots, offers, pulls, results, returns, releases;
	unsigned states[DEST_DISCARD + 1];
	bool hold_pulls; /* pulls are not answered */
	uint64_t pull_req;
	uint32_t due; /* messages to give */
	enum outcome outcome;
	char status[16], text[512];
	uint32_t ready_after;
	/* supervisor */
	unsigned asks, frees, cancels;
	bool hold_permits;
	uint64_t permit_req;
	/* DNS */
	enum { MX_ONE, MX_TWO, MX_EQUAL, MX_MANY, MX_SERVFAIL, MX_NULL } mx;
	unsigned questions, answers;
	bool hold_answers;
	struct held {
		uint64_t req_id;
		char name[64];
	} * held;
	/* MTA-STS: the answer, and the one after a fresh look */
	struct policy_answer policy, policy_fresh;
	unsigned policy_asks, policy_fresh_asks;
	/* SMTP */
	uv_tcp_t listener;
	uint16_t port;
	unsigned conns, open, mails, quits;
	char at[128]; /* last digit of the address of each connection */
	const char *mail_reply;
	const char *greetings[3]; /* by that digit, NULL: 220 */
	unsigned max_open;	  /* over it the greeting is 421; 0: no limit */
	bool starttls;		  /* at .1 it is garbage, at .2 refused */
	unsigned starttls_at[3];
	bool two_addresses, many_addresses;
	bool mapped;	       /* no A, and AAAA is ::ffff:127.0.0.1 */
	const char *listen_at; /* address of ours, NULL: there is none */
	const char *deny;      /* more lines of [delivery] */
	char host[256];	       /* of the last word on the destination */
	int64_t greeting_ms;   /* so long each greeting takes */
	/* so long it takes for the answer to this, and gives no more */
	const char *slow_at;
	int64_t slow_ms;
	bool mute;
	bool new_names; /* the MX host has another name each time */
} w;

#define until(expr)                                       \
	do {                                              \
		while (!(expr))                           \
			(void)uv_run(&loop, UV_RUN_ONCE); \
	} while (0)

/* ---- the host --------------------------------------------------------------------------- */

struct peer {
	uv_tcp_t tcp;
	char line[2048];
	size_t len;
	bool data;
	unsigned at;  /* last digit of its address */
	bool garbage; /* what comes is answered by what is no TLS */
};

static void
on_peer_closed(uv_handle_t *h)
{
	w.open--;
	free(h->data);
}

static void
say(struct peer *p, const char *text)
{
	uv_buf_t b =
	    uv_buf_init((char *)(uintptr_t)text, (unsigned)strlen(text));

	(void)uv_try_write((uv_stream_t *)&p->tcp, &b, 1);
}

static void
on_line(struct peer *p)
{
	if (w.mute)
		return;
	if (w.slow_at != NULL && !p->data &&
	    strncmp(p->line, w.slow_at, strlen(w.slow_at)) == 0) {
		clock_test_advance_ms(w.slow_ms);
		w.mute = true; /* after this answer */
	}
	if (p->data) {
		if (strcmp(p->line, ".") == 0) {
			p->data = false;
			w.mails++;
			say(p, "250 2.0.0 taken\r\n");
		}
	} else if (strncmp(p->line, "EHLO", 4) == 0) {
		say(p, "250-mx\r\n250-PIPELINING\r\n");
		say(p, w.starttls ? "250 STARTTLS\r\n" : "250 DSN\r\n");
	} else if (strcmp(p->line, "STARTTLS") == 0) {
		w.starttls_at[p->at]++;
		say(p, p->at == 1 ? "220 go\r\n" : "454 not now\r\n");
		p->garbage = p->at == 1;
	} else if (strncmp(p->line, "MAIL", 4) == 0) {
		say(p, w.mail_reply != NULL ? w.mail_reply : "250 ok\r\n");
	} else if (strcmp(p->line, "DATA") == 0) {
		p->data = w.mail_reply == NULL;
		say(p, p->data ? "354 go\r\n" : "503 no\r\n");
	} else if (strcmp(p->line, "QUIT") == 0) {
		w.quits++;
		say(p, "221 bye\r\n");
	} else {
		say(p, w.mail_reply == NULL ? "250 ok\r\n" : "503 no\r\n");
	}
}

static void
on_peer_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	static char buf[4096];

	(void)h;
	(void)n;
	*b = uv_buf_init(buf, sizeof(buf));
}

static void
on_peer_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct peer *p = s->data;
	ssize_t i;

	if (n < 0) {
		if (!uv_is_closing((uv_handle_t *)s))
			uv_close((uv_handle_t *)s, on_peer_closed);
		return;
	}
	if (p->garbage) {
		say(p, "no TLS at all\r\n");
		return;
	}
	for (i = 0; i < n; i++) {
		if (b->base[i] == '\n') {
			p->line[p->len > 0 ? p->len - 1 : 0] = '\0';
			p->len = 0;
			on_line(p);
		} else if (p->len < sizeof(p->line) - 1) {
			p->line[p->len++] = b->base[i];
		}
	}
}

static void
on_peer_new(uv_stream_t *server, int status)
{
	struct peer *p = calloc(1, sizeof(*p));
	struct sockaddr_in a;
	int len = sizeof(a);

	assert_int_equal(status, 0);
	assert_non_null(p);
	assert_int_equal(uv_tcp_init(&loop, &p->tcp), 0);
	p->tcp.data = p;
	assert_int_equal(uv_accept(server, (uv_stream_t *)&p->tcp), 0);
	assert_int_equal(
	    uv_read_start((uv_stream_t *)&p->tcp, on_peer_alloc, on_peer_read),
	    0);
	assert_int_equal(
	    uv_tcp_getsockname(&p->tcp, (struct sockaddr *)&a, &len), 0);
	p->at = ntohl(a.sin_addr.s_addr) & 3;
	assert_in_range(p->at, 1, 2);
	if (w.conns < sizeof(w.at) - 1)
		w.at[w.conns] = (char)('0' + p->at);
	w.conns++;
	w.open++;
	clock_test_advance_ms(w.greeting_ms);
	say(p,
	    w.max_open > 0 && w.open > w.max_open ? "421 too many\r\n"
		: w.greetings[p->at] != NULL	  ? w.greetings[p->at]
						  : "220 mx\r\n");
}

static void
start_host(void)
{
	struct sockaddr_in a;
	int len = sizeof(a);

	assert_int_equal(uv_tcp_init(&loop, &w.listener), 0);
	assert_int_equal(uv_ip4_addr("0.0.0.0", 0, &a), 0);
	assert_int_equal(uv_tcp_bind(&w.listener, (struct sockaddr *)&a, 0), 0);
	assert_int_equal(
	    uv_tcp_getsockname(&w.listener, (struct sockaddr *)&a, &len), 0);
	w.port = ntohs(a.sin_port);
	assert_int_equal(
	    uv_listen((uv_stream_t *)&w.listener, 16, on_peer_new), 0);
}

/* ---- queue ---------------------------------------------------------------------------------- */

enum { DEST_ID = 77 };

static int
on_want(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct hand_want msg;

	(void)peer;
	(void)m;
	assert_int_equal(hand_want_decode(rd, &msg), 0);
	w.wants++;
	w.slots += msg.slots;
	return 0;
}

static void
offer(uint32_t ready)
{
	struct hand_offer m = { DEST_ID, "example.com", "default", ready, 0,
		0 };

	w.offers++;
	hand_offer_encode(ipc_send_begin(w.queue, HAND_OFFER, 0), &m);
	assert_int_equal(ipc_send_end(w.queue, -1), 0);
}

static void
more(uint32_t ready)
{
	struct hand_more m = { DEST_ID, ready };

	hand_more_encode(ipc_send_begin(w.queue, HAND_MORE, 0), &m);
	assert_int_equal(ipc_send_end(w.queue, -1), 0);
}

static void
close_dest(void)
{
	struct hand_dest m = { DEST_ID };

	hand_dest_encode(ipc_send_begin(w.queue, HAND_CLOSE, 0), &m);
	assert_int_equal(ipc_send_end(w.queue, -1), 0);
}

static void
give(uint64_t req_id, uint32_t n)
{
	static uint64_t mid = 1000;
	static const char body[] = "Subject: x\r\n\r\nhi\r\n";
	struct hand_message m = { .dest_id = DEST_ID,
		.sender = "a@b.example",
		.envid = "",
		.size = sizeof(body) - 1,
		.n_rcpts = 1,
		.body = (const uint8_t *)body,
		.body_len = sizeof(body) - 1 };
	struct hand_pull_end e = { DEST_ID, 0 };

	m.rcpts[0].address = "c@example.com";
	m.rcpts[0].orcpt = "";
	for (; n > 0 && w.due > 0; n--, w.due--) {
		m.mid = mid++;
		hand_message_encode(
		    ipc_send_begin(w.queue, HAND_MESSAGE, req_id), &m);
		assert_int_equal(ipc_send_end(w.queue, -1), 0);
	}
	e.ready = w.due;
	hand_pull_end_encode(
	    ipc_send_begin(w.queue, HAND_PULL_END, req_id), &e);
	assert_int_equal(ipc_send_end(w.queue, -1), 0);
}

static int
on_pull(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct hand_pull msg;

	(void)peer;
	assert_int_equal(hand_pull_decode(rd, &msg), 0);
	assert_int_equal(msg.dest_id, DEST_ID);
	w.pulls++;
	w.pull_req = m->req_id;
	if (!w.hold_pulls)
		give(m->req_id, msg.max_messages);
	return 0;
}

static int
on_result(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	static struct hand_result msg;

	(void)peer;
	(void)m;
	assert_int_equal(hand_result_decode(rd, &msg), 0);
	assert_int_equal(msg.n_rcpts, 1);
	assert_int_equal(strncmp(msg.address, "127.0.0.", 8), 0);
	assert_true(msg.dcid >= 5000);
	w.results++;
	w.outcome = msg.rcpts[0].outcome;
	(void)snprintf(w.status, sizeof(w.status), "%s", msg.rcpts[0].status);
	return 0;
}

static int
on_return(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct hand_return msg;

	(void)peer;
	(void)m;
	assert_int_equal(hand_return_decode(rd, &msg), 0);
	w.returns++;
	return 0;
}

static int
on_state(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct hand_dest_state msg;

	(void)peer;
	(void)m;
	assert_int_equal(hand_dest_state_decode(rd, &msg), 0);
	w.states[msg.verdict]++;
	(void)snprintf(w.host, sizeof(w.host), "%s", msg.host);
	(void)snprintf(w.status, sizeof(w.status), "%s", msg.status);
	(void)snprintf(w.text, sizeof(w.text), "%.511s", msg.text);
	return 0;
}

static int
on_release(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct hand_dest msg;

	(void)peer;
	(void)m;
	assert_int_equal(hand_dest_decode(rd, &msg), 0);
	w.releases++;
	return 0;
}

static int
on_ids_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	static uint64_t first = 5000;
	struct ids_ask msg;
	struct ids_grant g;

	(void)peer;
	(void)m;
	assert_int_equal(ids_ask_decode(rd, &msg), 0);
	g = (struct ids_grant){ msg.kind, first, msg.count };
	first += msg.count;
	ids_grant_encode(ipc_send_begin(w.queue, IDS_GRANT, 0), &g);
	return ipc_send_end(w.queue, -1);
}

static void
on_queue_down(void *peer, int why, const char *text)
{
	(void)peer;
	(void)why;
	(void)text;
	w.queue_down = true;
}

static const struct ipc_rule queue_rules[] = {
	{ HAND_WANT, 0, 99, IPC_ANY, 0, on_want },
	{ HAND_PULL, 0, 99, IPC_ANY, 0, on_pull },
	{ HAND_RESULT, 0, 999999, IPC_ANY, 0, on_result },
	{ HAND_RETURN, 0, 9999, IPC_ANY, 0, on_return },
	{ HAND_DEST_STATE, 0, 9999, IPC_ANY, 0, on_state },
	{ HAND_RELEASE, 0, 99, IPC_ANY, 0, on_release },
	{ IDS_ASK, 0, 99, IPC_ANY, 0, on_ids_ask },
};
static const struct ipc_spec queue_spec = { .name = "deliver",
	.rules = queue_rules,
	.n_rules = 7,
	.on_down = on_queue_down };

static void
start_queue(void)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_chan_new(&child.hub, fd[0], &queue_spec, &w, &w.queue), 0);
	queue_peer_new(&deliver, 0, fd[1]);
}

/* ---- resolver --------------------------------------------------------------------------------- */

static int
answer_dns(uint64_t req_id, const struct resolve_ask *ask)
{
	static const uint8_t mapped[16] = { [10] = 0xff, 0xff, 127, 0, 0, 1 };
	static const uint8_t here[] = { 127, 0, 0, 1 },
			     there[] = { 127, 0, 0, 2 };
	static struct dns_rr many[VERDICT_HOSTS_MAX + 2];
	static char names[VERDICT_HOSTS_MAX + 2][40];
	struct dns_rr rr[2] = { { .preference = 10, .host = "mx1.example.com" },
		{ .preference = 20, .host = "mx2.example.com" } };
	struct dns_answer a = { .state = DNS_INSECURE,
		.kind = DNS_DATA,
		.ede = DNS_EDE_NONE,
		.ttl_s = 300,
		.reason = "",
		.rrs = rr,
		.rrs_len = 1 };
	char name[32];
	struct buf b;

	w.answers++;
	a.name = a.canon = ask->name;
	a.type = ask->type;
	if (ask->type == DNS_MX && w.mx == MX_TWO)
		rr[0].host = "other.example.com";
	if (ask->type == DNS_MX && w.new_names) {
		(void)snprintf(
		    name, sizeof(name), "mx%u.example.com", w.answers);
		rr[0].host = name;
	}
	if (ask->type == DNS_MX && w.mx == MX_MANY) {
		a.rrs = many;
		a.rrs_len = VERDICT_HOSTS_MAX + 2;
		for (size_t i = 0; i < a.rrs_len; i++) {
			(void)snprintf(names[i], sizeof(names[i]),
			    "m%zu.example.com", a.rrs_len - i);
			many[i] = (struct dns_rr){ .host = names[i],
				.preference = (uint16_t)(a.rrs_len - i) };
		}
	}
	if (ask->type == DNS_MX && w.mx == MX_EQUAL) {
		rr[1].preference = rr[0].preference;
		a.rrs_len = 2;
	}
	if (ask->type == DNS_MX && w.mx == MX_NULL)
		rr[0].host = "";
	if (ask->type == DNS_MX && w.mx == MX_SERVFAIL) {
		a.state = DNS_INDETERMINATE;
		a.kind = DNS_NONE;
		a.why = DNS_WHY_SERVFAIL;
		a.reason = "servfail";
		a.rrs_len = 0;
	}
	if (w.many_addresses && ask->type == DNS_A) {
		a.rrs = many;
		a.rrs_len = ADDRS_PER_HOST + 2;
		for (size_t i = 0; i < a.rrs_len; i++)
			many[i] = (struct dns_rr){
				.host = "", .data = here, .data_len = 4
			};
	} else if (w.mapped && ask->type == DNS_AAAA) {
		rr[0] = (struct dns_rr){
			.host = "", .data = mapped, .data_len = 16
		};
	} else if (ask->type == DNS_A && !w.mapped) {
		rr[0] =
		    (struct dns_rr){ .host = "", .data = here, .data_len = 4 };
		rr[1] = rr[0];
		rr[1].data = there;
		a.rrs_len = w.two_addresses ? 2 : 1;
		if (strcmp(ask->name, "mx2.example.com") == 0)
			rr[0].data = there;
	} else if (ask->type != DNS_MX) {
		a.kind = DNS_NODATA;
		a.rrs_len = 0;
	}
	buf_init(&b, DNS_ANSWER_MAX);
	assert_int_equal(dns_answer_encode(&a, &b), 0);
	assert_int_equal(
	    buf_put(ipc_send_begin(w.resolver, RESOLVE_ANSWER, req_id)->b,
		buf_data(&b), buf_len(&b)),
	    0);
	buf_done(&b);
	return ipc_send_end(w.resolver, -1);
}

static int
on_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct resolve_ask ask;
	struct held *h;

	(void)peer;
	assert_int_equal(resolve_ask_decode(rd, &ask), 0);
	w.questions++;
	if (!w.hold_answers)
		return answer_dns(m->req_id, &ask);
	assert_in_range(w.questions - w.answers, 1, RESOLVE_IN_FLIGHT_MAX);
	h = &w.held[w.questions - 1];
	h->req_id = m->req_id;
	(void)snprintf(h->name, sizeof(h->name), "%s", ask.name);
	return 0;
}

static void
on_other_down(void *peer, int why, const char *text)
{
	(void)peer;
	(void)why;
	(void)text;
}

static const struct ipc_rule resolver_rules[] = {
	{ RESOLVE_ASK, 0, 999, IPC_ANY, 0, on_ask },
};
static const struct ipc_spec resolver_spec = { .name = "deliver",
	.rules = resolver_rules,
	.n_rules = 1,
	.on_down = on_other_down };

/* ---- policyd ------------------------------------------------------------------------------------ */

static int
on_policy_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct policy_ask ask;

	(void)peer;
	assert_int_equal(policy_ask_decode(rd, &ask), 0);
	assert_string_equal(ask.domain, "example.com");
	w.policy_asks++;
	if ((ask.flags & POLICY_FRESH) != 0) {
		w.policy_fresh_asks++;
		w.policy = w.policy_fresh;
	}
	policy_answer_encode(
	    ipc_send_begin(w.policyd, POLICY_ANSWER, m->req_id), &w.policy);
	return ipc_send_end(w.policyd, -1);
}

static const struct ipc_rule policyd_rules[] = {
	{ POLICY_ASK, 0, 999, IPC_ANY, 0, on_policy_ask },
};
static const struct ipc_spec policyd_spec = { .name = "deliver",
	.rules = policyd_rules,
	.n_rules = 1,
	.on_down = on_other_down };

static void
start_policyd(void)
{
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_chan_new(&child.hub, fd[0], &policyd_spec, &w, &w.policyd), 0);
	policyd_peer_new(&deliver, 0, fd[1]);
}

/* ---- supervisor ------------------------------------------------------------------------------------ */

static void
grant(void)
{
	static uint64_t id = 1;
	struct ctl_permit_grant g = { id++ };

	ctl_permit_grant_encode(
	    ipc_send_begin(w.ctl_there, CTL_PERMIT_GRANT, w.permit_req), &g);
	assert_int_equal(ipc_send_end(w.ctl_there, -1), 0);
}

static int
on_permit_ask(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct ctl_connect_ask ask;

	(void)peer;
	assert_int_equal(ctl_connect_ask_decode(rd, &ask), 0);
	assert_string_equal(ask.domain, "example.com");
	assert_string_equal(ask.gateway, "default");
	w.asks++;
	w.permit_req = m->req_id;
	if (!w.hold_permits)
		grant();
	return 0;
}

static int
on_permit_free(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct ctl_permit_free f;

	(void)peer;
	(void)m;
	assert_int_equal(ctl_permit_free_decode(rd, &f), 0);
	w.frees += f.permit_id != 0;
	w.cancels += f.permit_id == 0;
	return 0;
}

static int
on_granted(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	struct ctl_permit_grant g;

	(void)peer;
	assert_int_equal(ctl_permit_grant_decode(rd, &g), 0);
	permits_granted(&deliver, m->req_id, g.permit_id);
	return 0;
}

static const struct ipc_rule there_rules[] = {
	{ CTL_CONNECT_ASK, 0, 9999, IPC_ANY, 0, on_permit_ask },
	{ CTL_PERMIT_FREE, 0, 99, IPC_ANY, 0, on_permit_free },
};
static const struct ipc_rule here_rules[] = {
	{ CTL_PERMIT_GRANT, 0, 99, IPC_ANY, 0, on_granted },
};
static const struct ipc_spec there_spec = { .name = "deliver",
	.rules = there_rules,
	.n_rules = 2,
	.on_down = on_other_down };
static const struct ipc_spec here_spec = { .name = "supervisor",
	.rules = here_rules,
	.n_rules = 1,
	.on_down = on_other_down };

/* ---- set-up ------------------------------------------------------------------------------------------ */

static void
on_guard(uv_timer_t *t)
{
	(void)t;
	(void)fprintf(stderr, "the test hangs\n");
	abort();
}

static struct conf *
settings(const char *destinations, const char *routes)
{
	char text[512], listener[128] = "";
	/* the hosts of these tests are on loopback */
	const char *deny = w.deny != NULL ? w.deny : "deny_networks = none\n";
	const struct memory_file files[] = { { "postern.conf", text },
		{ "destinations.conf", destinations },
		{ "routes.conf", routes }, { NULL, NULL } };
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;

	if (w.listen_at != NULL)
		(void)snprintf(listener, sizeof(listener),
		    "[listener l]\naddress = %s:%u\ntls = none\n", w.listen_at,
		    w.port);
	(void)snprintf(text, sizeof(text),
	    "[postern]\n[trust]\nca_file =\n[delivery]\nport = %u\n"
	    "idle = 60s\n%s%s",
	    w.port, deny, listener);
	if (conf_load(&src, &errs, &conf) != 0) {
		conf_errors_print(&errs, "", stderr);
		fail();
	}
	conf_errors_done(&errs);
	return conf;
}

static int
setup(void **state)
{
	int fd[2];

	(void)state;
	memset(&w, 0, sizeof(w));
	memset(&deliver, 0, sizeof(deliver));
	memset(&child, 0, sizeof(child));
	log_init(open("/dev/null", O_WRONLY), LOG_TEXT, LOG_DEBUG, "test");
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(uv_timer_init(&loop, &guard), 0);
	assert_int_equal(uv_timer_start(&guard, on_guard, 20000, 0), 0);
	child.loop = &loop;
	assert_int_equal(ipc_hub_init(&child.hub, &loop), 0);
	start_host();
	child.conf = settings("", "");
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_chan_new(&child.hub, fd[0], &here_spec, &child, &w.ctl_here),
	    0);
	assert_int_equal(
	    ipc_chan_new(&child.hub, fd[1], &there_spec, &w, &w.ctl_there), 0);
	child.ctl = w.ctl_here;
	init(&deliver, &child);
	assert_int_equal(on_setup(&child, &deliver), 0);
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_chan_new(&child.hub, fd[0], &resolver_spec, &w, &w.resolver),
	    0);
	resolver_peer_new(&deliver, 0, fd[1]);
	w.policy = (struct policy_answer){ .state = POLICY_NONE, .id = "" };
	start_policyd();
	start_queue();
	assert_int_equal(on_start(&child, &deliver), 0);
	until(w.slots == DEST_SLOTS);
	return 0;
}

/* Everything must be given back by a drain, whatever the test left open. */
static int
teardown(void **state)
{
	(void)state;
	w.hold_pulls = false;
	/* a pull that was held back is answered with nothing */
	if (w.pull_req != 0 && deliver.n_dests > 0) {
		w.due = 0;
		if (LIST_FIRST(&deliver.dests)->open_pulls > 0)
			give(w.pull_req, 0);
	}
	on_drain(&child, &deliver, 1000);
	until(child.stopping);
	assert_int_equal(deliver.n_conns, 0);
	assert_int_equal(deliver.n_dests, 0);
	until(w.open == 0);
	ipc_chan_free(w.queue);
	ipc_chan_free(w.resolver);
	ipc_chan_free(w.policyd);
	ipc_chan_free(w.ctl_here);
	ipc_chan_free(w.ctl_there);
	ipc_hub_done(&child.hub);
	uv_close((uv_handle_t *)&w.listener, NULL);
	uv_close((uv_handle_t *)&guard, NULL);
	uv_close((uv_handle_t *)&deliver.resolver.timer, NULL);
	uv_close((uv_handle_t *)&deliver.policyd.timer, NULL);
	uv_close((uv_handle_t *)&deliver.done_timer, NULL);
	uv_close((uv_handle_t *)&deliver.slots_timer, NULL);
	while (uv_run(&loop, UV_RUN_DEFAULT) != 0)
		continue; /* the end of the process stopped it once */
	assert_int_equal(uv_loop_close(&loop), 0);
	conf_unref(child.conf);
	return 0;
}

static void
reload(const char *destinations, const char *routes)
{
	struct conf *old = child.conf, *conf = settings(destinations, routes);

	assert_int_equal(on_reload(&child, &deliver, old, conf), 0);
	child.conf = conf;
	conf_unref(old);
}

/* One message goes through, and its connection stays open, idle. */
static void
deliver_one(void)
{
	unsigned results = w.results;

	w.due = 1;
	offer(1);
	until(w.results == results + 1);
	assert_int_equal(w.outcome, OUTCOME_DELIVERED);
	until(deliver.n_conns == 1 &&
	    LIST_FIRST(&LIST_FIRST(&deliver.dests)->conns)->state == CONN_IDLE);
}

/* ---- tests ------------------------------------------------------------------------------------------------ */

static void
from_offer_to_release(void **state)
{
	(void)state;
	deliver_one();
	assert_int_equal(w.states[DEST_UP], 1);
	assert_int_equal(w.asks, 1);
	assert_int_equal(w.frees, 0);
	assert_int_equal(w.releases, 0);
	/* more mail goes over the same connection, without new questions */
	w.due = 3;
	more(3);
	until(w.results == 4);
	assert_int_equal(w.conns, 1);
	assert_int_equal(w.questions, 3);
	close_dest();
	until(w.releases == 1);
	assert_int_equal(w.frees, 1);
	assert_int_equal(w.quits, 1);
	until(w.slots == DEST_SLOTS + 1);
}

/* A release behind an open pull would leave its messages to nobody. */
static void
release_waits_for_the_open_pull(void **state)
{
	(void)state;
	w.hold_pulls = true;
	offer(1);
	until(w.pulls == 1);
	close_dest();
	until(w.quits == 1 && w.open == 0);
	assert_int_equal(w.releases, 0);
	w.due = 2;
	give(w.pull_req, 2);
	until(w.releases == 1);
	assert_int_equal(w.returns, 2);
	assert_int_equal(w.results, 0);
}

/* Waiting for a permit is given up when there is no more need for it. */
static void
a_permit_that_waits_is_cancelled(void **state)
{
	(void)state;
	w.hold_permits = true;
	offer(1);
	until(w.asks == 1);
	close_dest();
	until(w.releases == 1);
	assert_int_equal(w.cancels, 1);
	/* the grant crossed: it belongs to nobody, and nothing connects */
	grant();
	w.hold_permits = false;
	deliver_one();
	assert_int_equal(w.conns, 1);
}

/* The facts run out: they are asked for anew before the next message, and the
 * open connection goes on when they are the same. */
static void
facts_are_renewed(void **state)
{
	(void)state;
	deliver_one();
	assert_int_equal(w.questions, 3);
	clock_test_advance_ms(301 * 1000);
	w.due = 1;
	more(1);
	until(w.results == 2);
	assert_int_equal(w.questions, 6);
	assert_int_equal(w.conns, 1);
}

/* They changed: the host is no longer one of the domain's. */
static void
a_host_that_is_gone_gets_no_more(void **state)
{
	(void)state;
	deliver_one();
	clock_test_advance_ms(301 * 1000);
	w.mx = MX_TWO;
	w.due = 1;
	more(1);
	until(w.results == 2);
	assert_int_equal(w.conns, 2);
	until(w.quits == 1);
}

static void
a_domain_that_takes_no_more_mail(void **state)
{
	(void)state;
	deliver_one();
	clock_test_advance_ms(301 * 1000);
	w.mx = MX_NULL;
	w.due = 1;
	more(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_FAILED], 1);
	assert_string_equal(w.status, "5.1.10");
	assert_int_equal(w.results, 1);
}

/* Doubt ends no connection that is good, and makes no new one. */
static void
doubt_spares_what_is_open(void **state)
{
	(void)state;
	deliver_one();
	clock_test_advance_ms(301 * 1000);
	w.mx = MX_SERVFAIL;
	w.due = 60;
	more(60);
	until(w.results == 50); /* then the connection is used up */
	assert_int_equal(w.conns, 1);
	until(w.states[DEST_DEFER] == 1 && w.releases == 1);
	assert_int_equal(w.conns, 1);
	assert_string_equal(w.status, "4.4.3");
}

/* Without any connection doubt defers the destination at once. */
static void
doubt_defers(void **state)
{
	(void)state;
	w.mx = MX_SERVFAIL;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_int_equal(w.conns, 0);
	assert_int_equal(w.asks, 0);
}

/* A host that ends the connection at MAIL: on a used one nothing was attempted,
 * on a fresh one the message is deferred and the host is down. */
static void
a_421_at_mail(void **state)
{
	(void)state;
	deliver_one();
	w.mail_reply = "421 4.3.2 enough\r\n";
	w.due = 1;
	more(1);
	until(w.returns == 1);
	assert_int_equal(w.results, 1);
	until(w.open == 0);
	/* its ready count is 0 now, so it goes back, and comes again */
	until(w.releases == 1);
	w.due = 1;
	offer(1);
	until(w.results == 2 && w.releases == 2);
	assert_int_equal(w.outcome, OUTCOME_DEFERRED);
	assert_int_equal(w.states[DEST_DOWN], 0);
}

/* A lost queue takes everything with it; the next one starts afresh. */
static void
the_queue_goes_and_comes(void **state)
{
	(void)state;
	deliver_one();
	ipc_chan_free(w.queue);
	until(deliver.n_dests == 0 && deliver.n_conns == 0);
	until(w.open == 0);
	assert_int_equal(w.frees, 1);
	w.slots = 0;
	start_queue();
	until(w.slots == DEST_SLOTS);
	deliver_one();
	assert_int_equal(w.mails, 2);
}

/* What the settings demand now holds for the next message, although a connection
 * is open and the facts are fresh. */
static void
a_reload_holds_at_once(void **state)
{
	(void)state;
	deliver_one();
	reload("[example.com]\ntls = required\n", "");
	until(w.quits == 1);
	until(w.releases == 1);
	w.due = 1;
	offer(1);
	until(w.releases == 2);
	assert_int_equal(w.results, 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_non_null(strstr(w.text, "STARTTLS"));
}

/* Limits that change end no connection that works, and hold for it: here it has
 * one message left. */
static void
a_reload_of_limits_keeps_what_works(void **state)
{
	(void)state;
	deliver_one();
	reload("[example.com]\nmax_connections = 3\nrecipient_limit = none\n"
	       "max_messages_per_connection = 2\nticket = x\n",
	    "");
	assert_int_equal(deliver.n_conns, 1);
	w.due = 1;
	more(1);
	until(w.results == 2);
	assert_int_equal(w.outcome, OUTCOME_DELIVERED);
	assert_int_equal(w.conns, 1);
	until(w.quits == 1); /* its second was its last */
	until(w.releases == 1);
	/* what the connection itself was made by does end it */
	deliver_one();
	assert_int_equal(w.conns, 2);
	reload("[example.com]\nip_preference = require-ipv4\n", "");
	until(w.quits == 2);
}

/* One message over one connection that ends with it, in a hold of its own. */
static void
one_hold(void)
{
	unsigned releases = w.releases;

	w.due = 1;
	offer(1);
	until(w.releases == releases + 1);
	assert_int_equal(w.outcome, OUTCOME_DELIVERED);
	until(w.open == 0);
}

/* n messages over n connections, one after the other, in one hold. */
static void
same_hold(unsigned n)
{
	unsigned results = w.results, releases = w.releases;

	w.due = n;
	offer(n);
	until(w.results == results + n && w.releases == releases + 1);
}

/* Does each connection go to the other one of two places? */
static void
assert_in_turn(const char *at, size_t n)
{
	size_t i;

	assert_int_equal(strlen(at), n);
	for (i = 0; i < n; i++)
		assert_true(at[i] == '1' || at[i] == '2');
	for (i = 1; i < n; i++)
		assert_int_not_equal(at[i], at[i - 1]);
}

static const char one_by_one[] = "[example.com]\n"
				 "max_messages_per_connection = 1\n"
				 "max_connections = 1\n";

/* Destination controls, section 2: equal hosts of a route take turns by
 * connection, also when the destination goes back to queue in between. */
static void
equal_route_hosts_take_turns(void **state)
{
	char routes[80];
	unsigned i;

	(void)state;
	(void)snprintf(routes, sizeof(routes),
	    "[example.com]\nhosts = 127.0.0.1:%u, 127.0.0.2:%u\n", w.port,
	    w.port);
	reload(one_by_one, routes);
	for (i = 0; i < 40; i++)
		one_hold();
	assert_in_turn(w.at, 40);
	same_hold(20);
	assert_in_turn(w.at, 60);
}

/* SMTP-32, RFC 5321 5.1: equal MX hosts at random, in turn within a hold. */
static void
equal_mx_hosts_share_the_load(void **state)
{
	unsigned i, first = 0;

	(void)state;
	w.mx = MX_EQUAL;
	reload(one_by_one, "");
	for (i = 0; i < 64; i++)
		one_hold();
	for (i = 0; i < 64; i++)
		first += w.at[i] == '1';
	assert_in_range(first, 1, 63); /* missed once in 2^63 */
	memset(w.at, 0, sizeof(w.at));
	w.conns = 0;
	same_hold(20);
	assert_in_turn(w.at, 20);
}

static unsigned
conns_at(char digit)
{
	const char *p;
	unsigned n = 0;

	for (p = w.at; *p != '\0'; p++)
		n += *p == digit;
	return n;
}

static const char long_lived[] = "[example.com]\n"
				 "max_messages_per_connection = 1000\n";

/* A host that is away says nothing of how many connections the others take.
 * Which of them is first is chance, so there are a few rounds. */
static void
a_dead_equal_host_does_not_hold_back_the_other(void **state)
{
	unsigned i;

	(void)state;
	w.mx = MX_EQUAL;
	w.greetings[2] = "421 4.3.2 not now\r\n";
	reload(long_lived, "");
	for (i = 1; i <= 10; i++) {
		memset(w.at, 0, sizeof(w.at));
		w.conns = 0;
		w.due = 200;
		offer(200);
		until(w.results == i * 200);
		assert_int_equal(w.outcome, OUTCOME_DELIVERED);
		assert_in_range(conns_at('2'), 1, 5);
		assert_true(conns_at('1') > 1);
		close_dest();
		until(w.releases == i);
	}
}

/* One that takes no more than it has is left at that, and is not down. */
static void
a_host_that_takes_one_connection(void **state)
{
	(void)state;
	w.max_open = 1;
	reload(long_lived, "");
	w.due = 200;
	offer(200);
	until(w.results == 200);
	assert_int_equal(w.conns, 2);
	assert_int_equal(w.states[DEST_DOWN], 0);
}

/* Clear text is the second try of an address whose TLS fails, not the first of
 * the host's next one. */
static void
each_address_is_tried_with_tls(void **state)
{
	(void)state;
	w.two_addresses = w.starttls = true;
	w.greetings[1] = "220 mx\r\n";
	w.due = 1;
	offer(1);
	until(w.starttls_at[1] == 1);
	w.greetings[1] = "421 4.3.2 not now\r\n";
	until(w.results == 1);
	assert_int_equal(w.outcome, OUTCOME_DELIVERED);
	assert_string_equal(w.at, "112");
	assert_int_equal(w.starttls_at[1], 1);
	assert_int_equal(w.starttls_at[2], 1);
}

/* RFC 5321, 5.1: what one machine of a host cannot do another one may. */
static void
each_address_is_tried_before_mail_waits(void **state)
{
	(void)state;
	w.two_addresses = w.starttls = true;
	reload("[example.com]\ntls = required\n", "");
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_string_equal(w.at, "12");
	assert_int_equal(w.starttls_at[1], 1);
	assert_int_equal(w.starttls_at[2], 1);
	assert_int_equal(w.mails, 0);
}

static struct policy_answer enforce_other(void);

/* The second one is only away: the reason is still that TLS failed. */
static void
failed_tls_outweighs_an_outage(void **state)
{
	static const char list[] = "*.example.com";

	(void)state;
	w.two_addresses = w.starttls = true;
	w.policy = enforce_other();
	w.policy.list = list;
	w.policy.list_len = sizeof(list);
	w.policy_fresh = w.policy;
	w.greetings[2] = "421 4.3.2 not now\r\n";
	offer(1);
	until(w.releases == 1);
	assert_string_equal(w.at, "12");
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_string_equal(w.status, "4.7.5");
	/* and it was looked for a changed policy */
	assert_int_equal(w.policy_fresh_asks, 1);
}

/* Facts that are over before the first host has failed: the second one is tried
 * all the same, and the hold comes to an end. */
static void
slow_hosts_and_short_facts(void **state)
{
	(void)state;
	w.two_addresses = true;
	w.greetings[1] = w.greetings[2] = "421 4.3.2 not now\r\n";
	w.greeting_ms = 301 * 1000;
	offer(1);
	until(w.releases == 1);
	assert_string_equal(w.at, "12");
	assert_int_equal(w.states[DEST_DOWN], 1);
}

/* Also when there are other hosts each time. */
static void
slow_hosts_without_end(void **state)
{
	(void)state;
	w.new_names = true;
	w.greetings[1] = "421 4.3.2 not now\r\n";
	w.greeting_ms = 1300 * 1000;
	offer(1);
	until(w.releases == 1);
	/* after 1300, 2600, 3900 s, and by then a failure is an hour old */
	assert_string_equal(w.at, "1111");
	assert_int_equal(w.states[DEST_DOWN], 1);
}

static void
more_addresses_than_are_used(void **state)
{
	(void)state;
	w.many_addresses = true;
	deliver_one();
	assert_int_equal(
	    LIST_FIRST(&deliver.dests)->plan->facts.hosts[0].n_addrs,
	    ADDRS_PER_HOST);
}

/* Of more hosts than are kept the best ones are, wherever they stand. */
static void
more_hosts_than_are_kept(void **state)
{
	char routes[80];

	(void)state;
	w.mx = MX_MANY;
	deliver_one();
	assert_string_equal(w.host, "m1.example.com");
	close_dest();
	until(w.releases == 1);
	/* and of what a route's host leads to */
	(void)snprintf(routes, sizeof(routes),
	    "[example.com]\nhosts = r1.example.com:%u\n", w.port);
	w.host[0] = '\0';
	reload("", routes);
	deliver_one();
	assert_string_equal(w.host, "m1.example.com");
}

/* RFC 7504: the whole domain's mail fails when all its hosts say so. */
static void
a_host_that_never_takes_mail(void **state)
{
	(void)state;
	w.greetings[1] = "521 never\r\n";
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_FAILED], 1);
	assert_string_equal(w.status, "5.3.2");
}

/* DNS-08: an MX that leads to our own listener, by whatever name. */
static void
an_address_of_our_own(void **state)
{
	static const char *const listeners[] = { "127.0.0.1", "0.0.0.0" };
	unsigned i;

	(void)state;
	for (i = 0; i < 2; i++) {
		w.listen_at = listeners[i];
		reload("", "");
		offer(1);
		until(w.releases == i + 1);
		assert_int_equal(w.states[DEST_FAILED], i + 1);
		assert_string_equal(w.status, "5.4.6");
	}
	assert_int_equal(w.conns, 0);
}

/* Another one on this machine is none of ours. */
static void
an_address_next_to_our_own(void **state)
{
	(void)state;
	w.listen_at = "127.0.0.2";
	reload("", "");
	deliver_one();
	assert_string_equal(w.at, "1");
}

/* A route that leads here is a mistake, found when it is connected to. */
static void
a_route_to_ourselves(void **state)
{
	char routes[80];

	(void)state;
	(void)snprintf(routes, sizeof(routes),
	    "[example.com]\nhosts = [host.example]:%u\n", w.port);
	w.listen_at = "127.0.0.1";
	reload("", routes);
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DOWN], 1);
	assert_non_null(strstr(w.text, "this host itself"));
	assert_int_equal(w.mails, 0);
}

/* An IPv4 address that says it is IPv6 is none that mail goes to. */
static void
an_address_of_the_wrong_family(void **state)
{
	(void)state;
	w.mapped = true;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_string_equal(w.status, "4.4.4");
	assert_int_equal(w.conns, 0);
}

/* Each answer comes in time, but all together take too long: the host is as
 * good as down, and the permit is free. */
static void
an_opening_that_takes_too_long(void **state)
{
	(void)state;
	w.starttls = true;
	w.slow_at = "EHLO";
	w.slow_ms = 30 * 60 * 1000;
	w.due = 1;
	offer(1);
	until(w.frees == 1 && w.releases == 1);
	assert_int_equal(w.states[DEST_DOWN], 1);
	assert_non_null(
	    strstr(w.text, "more than 1800 s until it was ready for mail"));
	assert_int_equal(w.mails, 0);
	w.due = 0;
}

/* The same in a transaction: what has no reply is tried again. */
static void
a_message_that_takes_too_long(void **state)
{
	(void)state;
	w.slow_at = "DATA";
	w.slow_ms = 30 * 60 * 1000;
	w.outcome = OUTCOME_DELIVERED;
	w.due = 1;
	offer(1);
	until(w.results == 1 && w.frees == 1);
	assert_int_equal(w.outcome, OUTCOME_DEFERRED);
	assert_string_equal(w.status, "4.4.2");
	assert_int_equal(w.mails, 0);
}

/* By default nobody's DNS leads inside; one host of two may be all right. */
static void
addresses_that_are_denied(void **state)
{
	static const struct {
		const char *deny, *at, *status;
	} cases[] = {
		{ "", "", "5.4.4" },
		{ "deny_networks = special\n", "", "5.4.4" },
		{ "deny_networks = 127.0.0.0/30\n", "", "5.4.4" },
		{ "deny_networks = 127.0.0.1, 192.0.2.0/24\n", "2", "" },
		{ "allow_networks = 127.0.0.2/32\n", "2", "" },
		{ "deny_networks = 10.0.0.0/8\n", "1", "" },
	};
	size_t i;

	(void)state;
	w.two_addresses = true;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		unsigned released = w.releases, failed = w.states[DEST_FAILED];
		unsigned results = w.results;

		w.deny = cases[i].deny;
		w.conns = 0;
		memset(w.at, 0, sizeof(w.at));
		reload("", "");
		w.due = 1;
		offer(1);
		if (cases[i].at[0] == '\0') {
			until(w.releases == released + 1);
			assert_int_equal(w.states[DEST_FAILED], failed + 1);
			assert_string_equal(w.status, cases[i].status);
			assert_string_equal(w.text,
			    "mx1.example.com skipped: address 127.0.0.1 is in "
			    "deny_networks");
			assert_int_equal(w.conns, 0);
			continue;
		}
		until(w.results == results + 1);
		assert_int_equal(w.outcome, OUTCOME_DELIVERED);
		assert_string_equal(w.at, cases[i].at);
		close_dest();
		until(w.releases == released + 1);
	}
}

/* An IPv4 address in IPv6 clothes is the IPv4 address. */
static void
a_denied_address_in_disguise(void **state)
{
	(void)state;
	w.deny = "";
	reload("", "");
	w.mapped = true;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_FAILED], 1);
	assert_non_null(strstr(w.text, "::ffff:127.0.0.1 is in deny_networks"));
	assert_int_equal(w.conns, 0);
}

/* A route is the operator's own word: it may lead anywhere. */
static void
a_route_inside(void **state)
{
	char routes[80];

	(void)state;
	w.deny = "";
	(void)snprintf(routes, sizeof(routes),
	    "[example.com]\nhosts = inside.example:%u\n", w.port);
	reload("", routes);
	deliver_one();
	assert_string_equal(w.at, "1");
}

/* Where we listen ourselves under an address that is denied: what RFC 5321 5.1
 * says of worse hosts holds. */
static void
a_denied_address_of_our_own(void **state)
{
	(void)state;
	w.deny = "allow_networks = 127.0.0.2/32\n";
	w.two_addresses = true;
	w.listen_at = "127.0.0.1";
	reload("", "");
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_FAILED], 1);
	assert_string_equal(w.status, "5.4.6");
	assert_int_equal(w.conns, 0);
}

static void
on_asked(void *arg, const struct dns_answer *answer)
{
	struct ask **a = arg;

	assert_int_equal(answer->kind, DNS_DATA);
	*a = NULL;
}

/* Questions over the bound wait here; what was cancelled is still owed by the
 * resolver, and makes room when its answer comes. */
static void
questions_are_bounded(void **state)
{
	enum { N = 6000, CANCELLED = 2500 };
	static struct ask *asks[N];
	static struct held held[N];
	struct resolve_ask q = { .type = DNS_MX };
	char name[64];
	unsigned i, most = 0;

	(void)state;
	w.hold_answers = true;
	w.held = held;
	for (i = 0; i < N; i++) {
		(void)snprintf(name, sizeof(name), "d%u.example", i);
		asks[i] =
		    ask_start(&deliver, name, DNS_MX, 0, on_asked, &asks[i]);
		assert_non_null(asks[i]);
	}
	for (i = 0; i < CANCELLED; i++)
		ask_cancel(asks[i]);
	until(w.questions == RESOLVE_IN_FLIGHT_MAX / 2);
	for (i = 0; i < N - CANCELLED + RESOLVE_IN_FLIGHT_MAX / 2; i++) {
		until(w.questions > w.answers);
		if (w.questions - w.answers > most)
			most = w.questions - w.answers;
		q.name = held[w.answers].name;
		assert_int_equal(answer_dns(held[w.answers].req_id, &q), 0);
	}
	until(asks[N - 1] == NULL);
	for (i = CANCELLED; i < N; i++)
		assert_null(asks[i]);
	assert_in_range(most, 1, RESOLVE_IN_FLIGHT_MAX / 2);
}

/* A policy in force that does not list the host. */
static struct policy_answer
enforce_other(void)
{
	static const char list[] = "mx.other.example";
	const struct policy_answer a = { .state = POLICY_FOUND,
		.source = POLICY_FROM_CACHE,
		.mode = STS_MODE_ENFORCE,
		.id = "1",
		.reason = "",
		.age_s = 10,
		.max_age_s = 86400,
		.list = list,
		.list_len = sizeof(list) };

	return a;
}

/* STS-42, STS-45: no connection to a host that is not listed; one fresh look. */
static void
a_policy_that_leaves_the_host_out(void **state)
{
	(void)state;
	w.policy = w.policy_fresh = enforce_other();
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_non_null(strstr(w.text, "does not list"));
	assert_non_null(strstr(w.text, "mx.other.example"));
	assert_int_equal(w.conns, 0);
	assert_int_equal(w.policy_asks, 2);
	assert_int_equal(w.policy_fresh_asks, 1);
}

/* STS-53: the fresh look finds another policy, and mail goes at once. */
static void
a_policy_that_has_changed(void **state)
{
	(void)state;
	w.policy = w.policy_fresh = enforce_other();
	w.policy_fresh.id = "2";
	w.policy_fresh.mode = STS_MODE_NONE;
	deliver_one();
	assert_int_equal(w.policy_fresh_asks, 1);
	assert_int_equal(w.states[DEST_DEFER], 0);
}

/* STS-43: listed, but without STARTTLS nothing is sent; it is looked at again
 * once, and found the same. */
static void
a_policy_and_no_starttls(void **state)
{
	static const char list[] = "*.example.com";

	(void)state;
	w.policy = enforce_other();
	w.policy.list = list;
	w.policy.list_len = sizeof(list);
	w.policy_fresh = w.policy;
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_non_null(strstr(w.text, "STARTTLS"));
	assert_int_equal(w.mails, 0);
	assert_int_equal(w.policy_fresh_asks, 1);
}

/* STS-45: also where the operator demands a verified name himself, which is then
 * the rule that set the level. */
static void
a_policy_beside_a_demand(void **state)
{
	static const char list[] = "*.example.com";

	(void)state;
	reload("[example.com]\ntls = required-verify-hosted\n", "");
	w.policy = enforce_other();
	w.policy.list = list;
	w.policy.list_len = sizeof(list);
	w.policy_fresh = w.policy;
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.mails, 0);
	assert_int_equal(w.policy_fresh_asks, 1);
}

/* A connection that is never out of work is held to new facts as well: else a
 * stream of messages would keep an old verdict in force for ever. */
static void
a_busy_connection_and_new_facts(void **state)
{
	unsigned mails;

	(void)state;
	reload("[example.com]\nmax_connections = 1\n", "");
	w.due = 1000;
	offer(1000);
	until(w.mails >= 2);
	assert_int_equal(w.policy_asks, 1);
	w.policy = w.policy_fresh = enforce_other();
	clock_test_advance_ms(301 * 1000);
	mails = w.mails;
	/* what the new policy leaves out gets no more than was under way */
	until(w.releases == 1);
	assert_in_range(w.mails - mails, 0, 10);
	assert_int_equal(w.states[DEST_DEFER], 1);
}

/* STS-51: nor does the connection go on where the host is still one to be used,
 * but what it proved (nothing: there is no TLS) is not enough any more. */
static void
a_busy_connection_and_a_policy_that_lists_it(void **state)
{
	static const char list[] = "*.example.com";
	unsigned mails;

	(void)state;
	reload("[example.com]\nmax_connections = 1\n", "");
	w.due = 1000;
	offer(1000);
	until(w.mails >= 2);
	w.policy = enforce_other();
	w.policy.list = list;
	w.policy.list_len = sizeof(list);
	w.policy_fresh = w.policy;
	clock_test_advance_ms(301 * 1000);
	mails = w.mails;
	until(w.releases == 1);
	assert_in_range(w.mails - mails, 0, 10);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_non_null(strstr(w.text, "STARTTLS"));
}

/* An exception ends on time: the facts that were gathered under it end with it,
 * not when their own time is over. */
static void
an_exception_ends_on_time(void **state)
{
	char when[32], text[128];
	unsigned mails;

	(void)state;
	(void)clock_format_rfc3339(
	    clock_now_ms() + INT64_C(100000), when, sizeof(when));
	memcpy(strchr(when, '.'), "Z", 2); /* whole seconds */
	(void)snprintf(text, sizeof(text),
	    "[example.com]\nmta_sts = off\nuntil = %s\n"
	    "[DEFAULT]\nmax_connections = 1\n",
	    when);
	reload(text, "");
	w.due = 1000;
	w.policy = w.policy_fresh = enforce_other();
	offer(1000);
	until(w.mails >= 2);
	assert_int_equal(w.policy_asks, 0);
	clock_test_advance_ms(101 * 1000);
	mails = w.mails;
	until(w.releases == 1);
	assert_in_range(w.mails - mails, 0, 10);
	assert_true(w.policy_asks > 0);
	assert_int_equal(w.states[DEST_DEFER], 1);
}

/* And its limits do, for a connection that goes on: one message is left here. */
static void
an_exception_ends_for_open_connections(void **state)
{
	char text[256], when[32];

	(void)state;
	(void)clock_format_rfc3339(
	    clock_now_ms() + INT64_C(100000), when, sizeof(when));
	memcpy(strchr(when, '.'), "Z", 2); /* whole seconds */
	(void)snprintf(text, sizeof(text),
	    "[DEFAULT]\nmax_messages_per_connection = 2\n"
	    "[example.com]\nmax_messages_per_connection = 100\nuntil = %s\n",
	    when);
	reload(text, "");
	deliver_one();
	clock_test_advance_ms(101 * 1000);
	w.due = 1;
	more(1);
	until(w.results == 2);
	assert_int_equal(w.conns, 1);
	until(w.quits == 1);
	until(w.releases == 1);
}

/* Where the host must prove itself, whoever sits in between must not be able to
 * bounce the domain's mail by a greeting in clear text. */
static void
a_policy_and_a_521_in_clear_text(void **state)
{
	static const char list[] = "*.example.com";

	(void)state;
	w.policy = enforce_other();
	w.policy.list = list;
	w.policy.list_len = sizeof(list);
	w.policy_fresh = w.policy;
	w.greetings[1] = "521 never\r\n";
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_FAILED], 0);
	assert_int_equal(w.states[DEST_DOWN], 1);
	assert_int_equal(w.status[0], '4');
}

/* STS-13: in doubt nothing is connected to, and nobody looks past a cache. */
static void
discovery_in_doubt(void **state)
{
	(void)state;
	w.policy.state = POLICY_INDETERMINATE;
	w.policy.reason = "TXT lookup failed: servfail";
	w.due = 1;
	offer(1);
	until(w.releases == 1);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_int_equal(w.conns, 0);
	assert_int_equal(w.policy_fresh_asks, 0);
}

/* policyd dies: its successor is asked; without one there is doubt. */
static void
policyd_goes(void **state)
{
	(void)state;
	ipc_chan_free(w.policyd);
	w.policyd = NULL;
	until(deliver.policyd.chan == NULL);
	w.due = 1;
	offer(1);
	until(w.questions == 1);
	assert_int_equal(w.conns, 0);
	start_policyd();
	until(w.results == 1);
	close_dest();
	until(w.releases == 1);

	ipc_chan_free(w.policyd);
	w.policyd = NULL;
	until(deliver.policyd.chan == NULL);
	w.due = 1;
	offer(1);
	until(w.questions == 4);
	clock_test_advance_ms(16 * 1000);
	until(w.releases == 2);
	assert_int_equal(w.states[DEST_DEFER], 1);
	assert_int_equal(w.results, 1);
}

static void
tell_many(uint16_t type, uint64_t from, uint64_t to)
{
	for (uint64_t id = from; id < to; id++) {
		struct hand_offer o = { id, "example.com", "default", 1, 0, 0 };
		struct hand_dest c = { id };
		struct ipc_wr *wr = ipc_send_begin(w.queue, type, 0);

		if (type == HAND_OFFER)
			hand_offer_encode(wr, &o);
		else
			hand_dest_encode(wr, &c);
		assert_int_equal(ipc_send_end(w.queue, -1), 0);
	}
}

/* A crowd of slow servers does not keep others out, up to its own bound. */
static void
slow_ones_make_room(void **state)
{
	unsigned all = DEST_SLOTS;

	(void)state;
	w.hold_permits = true;
	until(w.slots == all);
	tell_many(HAND_OFFER, 1000, 1000 + DEST_SLOTS);
	until(w.asks == DEST_SLOTS);
	clock_test_advance_ms(SLOW_MS);
	slots_check(&deliver);
	until(w.slots == all + DEST_SLOTS);
	/* as many again, and so on, until the bound of the slow ones */
	for (unsigned i = 1; i < 6; i++) {
		tell_many(HAND_OFFER, 1000 + i * DEST_SLOTS,
		    1000 + (i + 1) * DEST_SLOTS);
		until(w.asks == (i + 1) * DEST_SLOTS ||
		    deliver.n_dests == (i + 1) * DEST_SLOTS);
		clock_test_advance_ms(SLOW_MS);
		slots_check(&deliver);
		if (i * DEST_SLOTS >= DEST_SLOW_MAX)
			break;
		until(w.slots == all + (i + 1) * DEST_SLOTS);
	}
	assert_int_equal(deliver.n_slow, DEST_SLOW_MAX);
	assert_int_equal(deliver.n_dests, DEST_SLOTS + DEST_SLOW_MAX);
	until(w.slots == all + DEST_SLOW_MAX);
	/* they leave: only those with a slot are replaced */
	tell_many(HAND_CLOSE, 1000, 1000 + DEST_SLOTS + DEST_SLOW_MAX);
	until(w.releases == DEST_SLOTS + DEST_SLOW_MAX);
	until(w.slots == all + DEST_SLOW_MAX + DEST_SLOTS);
	assert_int_equal(deliver.n_slow, 0);
}

int
main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(from_offer_to_release),
		T(release_waits_for_the_open_pull),
		T(a_permit_that_waits_is_cancelled),
		T(facts_are_renewed),
		T(a_host_that_is_gone_gets_no_more),
		T(a_domain_that_takes_no_more_mail),
		T(doubt_spares_what_is_open),
		T(doubt_defers),
		T(a_421_at_mail),
		T(the_queue_goes_and_comes),
		T(a_reload_holds_at_once),
		T(a_reload_of_limits_keeps_what_works),
		T(equal_route_hosts_take_turns),
		T(equal_mx_hosts_share_the_load),
		T(a_dead_equal_host_does_not_hold_back_the_other),
		T(a_host_that_takes_one_connection),
		T(each_address_is_tried_with_tls),
		T(each_address_is_tried_before_mail_waits),
		T(failed_tls_outweighs_an_outage),
		T(slow_hosts_and_short_facts),
		T(slow_hosts_without_end),
		T(more_hosts_than_are_kept),
		T(more_addresses_than_are_used),
		T(a_host_that_never_takes_mail),
		T(a_policy_and_a_521_in_clear_text),
		T(an_address_of_our_own),
		T(an_address_next_to_our_own),
		T(a_route_to_ourselves),
		T(an_address_of_the_wrong_family),
		T(an_opening_that_takes_too_long),
		T(a_message_that_takes_too_long),
		T(addresses_that_are_denied),
		T(a_denied_address_in_disguise),
		T(a_route_inside),
		T(a_denied_address_of_our_own),
		T(questions_are_bounded),
		T(a_policy_that_leaves_the_host_out),
		T(a_policy_that_has_changed),
		T(a_policy_and_no_starttls),
		T(a_policy_beside_a_demand),
		T(a_busy_connection_and_new_facts),
		T(a_busy_connection_and_a_policy_that_lists_it),
		T(an_exception_ends_on_time),
		T(an_exception_ends_for_open_connections),
		T(discovery_in_doubt),
		T(policyd_goes),
		T(slow_ones_make_room),
	};

	hash_seed();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
