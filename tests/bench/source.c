/*
 * source.c - an SMTP load generator: many parallel sessions from one thread.
 *
 * Started by tests/bench/bench.py and by crash and soak tests. Each message has
 * a header X-Seq with a number of its own, so that a run can be accounted for
 * against what the sink recorded. Commands are pipelined as mail servers do it:
 * MAIL, RCPT and DATA in one write, then the data, then after the reply the
 * next group. Accept latency runs from the moment the kernel has the final dot
 * to its reply. Sources: RFC 5321, 2920, 3207, 4954.
 *
 *	source -t 127.0.0.1:2525 [options]
 *
 *	-n N           messages (1000)
 *	-s BYTES       size of a message (4096)
 *	-m M           messages per connection (1)
 *	-c C           parallel sessions (20)
 *	-k K           recipient domains: d0.bench.test, d1... (1)
 *	-r R           recipients per message (1)
 *	--seq N        first sequence number (0)
 *	--domain NAME  instead of bench.test
 *	--from A:P     connect from this address; port 0: any
 *	--starttls     encrypt; the server's certificate is not verified
 *	--resume       take up the TLS session of an earlier connection
 *	--auth U:P     AUTH PLAIN
 *	--rate R       at most so many messages a second (no limit)
 *	--time S       stop beginning messages after so many seconds
 *	--retry MS     after a 4xx or a lost connection try again so much later;
 *	               without it such a message has failed
 *	--accepted F   append the number of each accepted message to this file
 *	--doubt F      and here those whose final reply never came
 *	--ledger F     append "SEQ LENGTH SUM -I -J" for each accepted message: bytes
 *	               from X-Seq to the end, their sum, recipients not accepted;
 *	               "SEQ doubt NS" when its final reply did not come, "SEQ CODE NS"
 *	               when that was a refusal
 *
 * A message with several recipients goes to those that were accepted. SIGTERM:
 * begin no more messages; again: end at once. The output is one line of JSON.
 * Exit 0 when all were accepted, else 1. Times are of CLOCK_MONOTONIC,
 * comparable with those of sink.
 */
#include "tests/bench/net.h"

#include <getopt.h>
#include <signal.h>

enum {
	IN_MAX = 4096,	/* one reply line is at most 512 octets */
	FIFO_MAX = 128, /* replies awaited, a power of two */
	RCPTS_MAX = 100,
	SESSIONS_MAX = 20000,
	RECONNECT_MS = 20, /* first wait after a refused connection */
	RECONNECT_MAX_MS = 500,
};

enum step {
	AT_GREETING,
	AT_EHLO,
	AT_STARTTLS,
	AT_AUTH,
	AT_MAIL,
	AT_RCPT,
	AT_DATA,
	AT_DOT,
	AT_RSET,
	AT_QUIT,
};

enum state {
	ST_PARKED, /* no connection, or an open one that waits for its turn */
	ST_CONNECTING,
	ST_BUSY,
	ST_OVER,
};

struct session {
	struct conn c;
	enum state state;
	bool has_msg;	/* seq is ours to finish */
	bool dot_sent;	/* some of the final dot may have left */
	bool dot_timed; /* dot_ns is the moment it left */
	bool tls_done, authed, quitting, pipelining;
	unsigned rcpts_ok;
	int refusal;	  /* first refusal of this message */
	unsigned at_rcpt; /* the recipient whose reply is next */
	bool refused[RCPTS_MAX];
	uint64_t seq;
	unsigned in_conn; /* messages begun in this connection */
	int64_t due_ns;	  /* when parked: not before */
	unsigned wait_ms; /* after refused connections */
	int64_t dot_ns, connect_ns;
	struct session *next_parked;
	unsigned fifo_in, fifo_out;
	size_t in_len;
	uint8_t fifo[FIFO_MAX];
	char in[IN_MAX];
};

struct again {
	uint64_t seq;
	int64_t due_ns;
};

/* One instance is one program: its settings, its counts, its loop. */
static struct {
	uint64_t messages, seq, size, per_conn, sessions, domains, rcpts, rate,
	    time_s, retry_ms;
	const char *domain;
	bool retry, starttls, resume;
	char auth[512]; /* base64 */
	struct sockaddr_storage to;
	socklen_t to_len;
	struct sockaddr_storage from;
	socklen_t from_len; /* 0: the system chooses */
} set = {
	.messages = 1000,
	.size = 4096,
	.per_conn = 1,
	.sessions = 20,
	.domains = 1,
	.rcpts = 1,
	.domain = "bench.test",
};

static struct {
	uint64_t begun, accepted, failed, doubt, conns, tls_conns, resumed,
	    conn_errors, retries, rcpts_refused;
	uint64_t codes[600];
	int64_t start_ns, first_ns, last_ns;
	uint32_t *latency_us, *greeting_us;
	size_t latencies, greetings;
} count;

static int epfd;
static SSL_CTX *tls_ctx;
static SSL_SESSION *tls_session;
static FILE *accepted_file, *doubt_file, *ledger_file;
static char *body;
static size_t body_len;
static uint32_t body_sum;
static struct session *parked_first, **parked_last = &parked_first;
static struct again *again; /* a ring, in order of due_ns: one constant delay */
static size_t again_in, again_out, again_cap;
static bool stopped;

static void session_turn(struct session *s);

/* ---- what is to be sent ---- */

static void
again_put(uint64_t seq, int64_t due_ns)
{
	if (again_in - again_out == again_cap)
		die("retry", "more messages than there are");
	again[again_in++ % again_cap] =
	    (struct again){ .seq = seq, .due_ns = due_ns };
}

/*
 * The next sequence number that may begin now. 1 and *ret, or 0 and the moment
 * to ask again in *ret_due, or -1 when nothing is left to begin.
 */
static int
next_seq(int64_t t, uint64_t *ret, int64_t *ret_due)
{
	int64_t due = INT64_MAX;

	if (again_out != again_in) {
		struct again *a = &again[again_out % again_cap];

		if (a->due_ns <= t) {
			again_out++;
			*ret = a->seq;
			return 1;
		}
		due = a->due_ns;
	}
	if (!stopped && count.begun < set.messages) {
		int64_t slot = t;

		if (set.rate > 0)
			slot = count.start_ns +
			    (int64_t)(count.begun * 1000000000 / set.rate);
		if (slot <= t) {
			*ret = set.seq + count.begun++;
			return 1;
		}
		due = slot < due ? slot : due;
	} else if (due == INT64_MAX) {
		return -1;
	}
	*ret_due = due;
	return 0;
}

static uint64_t
finished(void)
{
	return count.accepted + count.failed;
}

static bool
all_done(void)
{
	return finished() == count.begun &&
	    (stopped || count.begun == set.messages);
}

static int
make_head(uint64_t seq, char *buf, size_t len)
{
	/* fixed width: each message has the same size */
	int n = snprintf(buf, len,
	    "X-Seq: %010llu\r\n"
	    "Message-ID: <%010llu.%ld@source.%s>\r\n",
	    (unsigned long long)seq, (unsigned long long)seq, (long)getpid(),
	    set.domain);

	if (n < 0 || (size_t)n >= len)
		die("output", "domain too long");
	return n;
}

static void
ledger_add(const struct session *s)
{
	char head[512];
	int n = make_head(s->seq, head, sizeof(head));

	/* without the dot and its CRLF */
	fprintf(ledger_file, "%llu %zu %u", (unsigned long long)s->seq,
	    (size_t)n + body_len - 3, sum_bytes(body_sum, head, (size_t)n));
	for (unsigned i = 0; i < set.rcpts; i++)
		if (s->refused[i])
			fprintf(ledger_file, " -%u", i);
	fputc('\n', ledger_file);
}

/* The final dot was sent, and what came was no 250. code 0: nothing came. */
static void
ledger_doubt(const struct session *s, int code)
{
	fprintf(ledger_file, "%llu ", (unsigned long long)s->seq);
	if (code == 0)
		fputs("doubt", ledger_file);
	else
		fprintf(ledger_file, "%d", code);
	fprintf(ledger_file, " %lld\n", (long long)now_ns());
}

static void
message_accepted(struct session *s)
{
	int64_t t = now_ns();

	count.accepted++;
	count.last_ns = t;
	if (s->dot_timed)
		count.latency_us[count.latencies++] =
		    (uint32_t)((t - s->dot_ns) / 1000);
	if (accepted_file != NULL)
		fprintf(accepted_file, "%llu\n", (unsigned long long)s->seq);
	if (ledger_file != NULL)
		ledger_add(s);
	s->has_msg = false;
}

/* The message in hand was not accepted. */
static void
message_refused(struct session *s, bool temporary)
{
	s->has_msg = false;
	if (set.retry && temporary) {
		count.retries++;
		again_put(s->seq, now_ns() + (int64_t)set.retry_ms * 1000000);
	} else {
		count.failed++;
	}
}

/* ---- sessions ---- */

static void
park(struct session *s, int64_t due_ns)
{
	s->state = ST_PARKED;
	s->due_ns = due_ns;
	s->next_parked = NULL;
	*parked_last = s;
	parked_last = &s->next_parked;
}

/* The connection is gone, by whoever's wish. */
static void
session_lost(struct session *s)
{
	bool wish = s->quitting;
	int64_t due_ns;

	conn_close(&s->c);
	s->fifo_in = s->fifo_out = 0;
	s->in_len = 0;
	s->in_conn = 0;
	s->tls_done = s->authed = s->quitting = s->pipelining = false;
	if (!wish)
		count.conn_errors++;
	if (s->has_msg) {
		if (s->dot_sent) {
			count.doubt++;
			if (doubt_file != NULL)
				fprintf(doubt_file, "%llu\n",
				    (unsigned long long)s->seq);
			if (ledger_file != NULL)
				ledger_doubt(s, 0);
		}
		message_refused(s, true);
	}
	if (!wish) {
		s->wait_ms = s->wait_ms == 0 ? RECONNECT_MS : s->wait_ms * 2;
		if (s->wait_ms > RECONNECT_MAX_MS)
			s->wait_ms = RECONNECT_MAX_MS;
	}
	due_ns = now_ns() + (wish ? 0 : (int64_t)s->wait_ms * 1000000);
	if (s->state == ST_PARKED)
		s->due_ns = due_ns; /* it is in the list already */
	else
		park(s, due_ns);
}

static void
expect(struct session *s, enum step step)
{
	if (s->fifo_in - s->fifo_out == FIFO_MAX)
		die("pipeline", "too many commands in one group");
	s->fifo[s->fifo_in++ % FIFO_MAX] = (uint8_t)step;
}

static void
say(struct session *s, const char *text)
{
	if (buf_puts(&s->c.out, text) < 0)
		die("output", "no memory");
}

static void
say_group(struct session *s)
{
	int r;

	s->dot_sent = s->dot_timed = false;
	s->rcpts_ok = s->at_rcpt = 0;
	s->refusal = 0;
	s->in_conn++;
	r = buf_printf(&s->c.out, "MAIL FROM:<s%llu@source.%s>\r\n",
	    (unsigned long long)(s->seq % 1000), set.domain);
	expect(s, AT_MAIL);
	for (unsigned i = 0; r >= 0 && i < set.rcpts; i++) {
		r = buf_printf(&s->c.out, "RCPT TO:<r%u.%llu@d%llu.%s>\r\n", i,
		    (unsigned long long)s->seq,
		    (unsigned long long)((s->seq + i) % set.domains),
		    set.domain);
		expect(s, AT_RCPT);
	}
	if (r < 0)
		die("output", "no memory");
	say(s, "DATA\r\n");
	expect(s, AT_DATA);
}

static void
say_data(struct session *s)
{
	char head[512];
	int n = make_head(s->seq, head, sizeof(head));

	s->dot_sent = true;
	if (buf_put(&s->c.out, head, (size_t)n) < 0 ||
	    buf_put(&s->c.out, body, body_len) < 0)
		die("output", "no memory");
	expect(s, AT_DOT);
}

/* An empty message ends a DATA that no recipient survived. */
static void
say_nothing(struct session *s)
{
	say(s, ".\r\n");
	expect(s, AT_RSET);
}

/* Between two messages: begin the next, wait, or leave. */
static void
session_next(struct session *s)
{
	uint64_t seq;
	int64_t due;
	int r = -1;

	if (s->in_conn < set.per_conn)
		r = next_seq(now_ns(), &seq, &due);
	if (r == 1) {
		s->state = ST_BUSY;
		s->seq = seq;
		s->has_msg = true;
		say_group(s);
	} else if (r == 0) {
		park(s, due);
	} else {
		s->state = ST_BUSY;
		s->quitting = true;
		say(s, "QUIT\r\n");
		expect(s, AT_QUIT);
	}
}

static void
session_connect(struct session *s)
{
	int fd = socket(
	    set.to.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("socket", strerror(errno));
	if (set.from_len > 0 &&
	    bind(fd, (struct sockaddr *)&set.from, set.from_len) < 0)
		die("bind", strerror(errno));
	s->state = ST_CONNECTING;
	s->connect_ns = now_ns();
	expect(s, AT_GREETING);
	if (connect(fd, (struct sockaddr *)&set.to, set.to_len) < 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		session_lost(s);
		return;
	}
	count.conns++;
	if (conn_open(&s->c, epfd, fd, true, s) < 0)
		die("epoll_ctl", strerror(errno));
}

/* A session without a connection: open one when there is something to send. */
static void
session_turn(struct session *s)
{
	uint64_t seq;
	int64_t due;
	int r;

	if (s->c.fd != -1) {
		session_next(s);
		if (s->state == ST_BUSY && conn_flush(&s->c, epfd, s) < 0)
			session_lost(s);
		return;
	}
	r = next_seq(now_ns(), &seq, &due);
	if (r == 1) {
		/* it keeps the message over its own login */
		s->seq = seq;
		s->has_msg = true;
		s->dot_sent = false;
		session_connect(s);
	} else if (r == 0) {
		park(s, due);
	} else if (all_done()) {
		s->state = ST_OVER;
	} else {
		/* others still work; one of theirs may come back */
		park(s, now_ns() + 20 * 1000000);
	}
}

/* ---- replies ---- */

static void
after_login(struct session *s)
{
	s->state = ST_BUSY;
	s->wait_ms = 0;
	say_group(s);
}

static void
say_ehlo(struct session *s)
{
	say(s, "EHLO source.bench.test\r\n");
	expect(s, AT_EHLO);
}

/* The message of this session ended with this code. */
static void
on_end_of_message(struct session *s, int code)
{
	if (code / 100 == 2)
		message_accepted(s);
	else
		message_refused(s, code / 100 == 4);
	session_next(s);
}

static void
on_refusal(struct session *s, int code)
{
	if (s->refusal == 0)
		s->refusal = code;
}

/* One reply. 0, or -1 when the connection is of no use any more. */
static int
on_reply(struct session *s, int code)
{
	enum step step;

	if (s->fifo_in == s->fifo_out)
		return -1; /* nobody asked; a 421 before the server closes */
	step = s->fifo[s->fifo_out++ % FIFO_MAX];
	count.codes[code]++;
	if (code == 421)
		return -1;
	switch (step) {
	case AT_GREETING:
		if (code != 220)
			return -1;
		count.greeting_us[count.greetings++ % set.messages] =
		    (uint32_t)((now_ns() - s->connect_ns) / 1000);
		say_ehlo(s);
		break;
	case AT_EHLO:
		if (code != 250)
			return -1;
		if (!s->pipelining)
			die("EHLO", "the server offers no PIPELINING");
		if (set.starttls && !s->tls_done) {
			say(s, "STARTTLS\r\n");
			expect(s, AT_STARTTLS);
		} else if (set.auth[0] != '\0' && !s->authed) {
			say(s, "AUTH PLAIN ");
			say(s, set.auth);
			say(s, "\r\n");
			expect(s, AT_AUTH);
		} else {
			after_login(s);
		}
		break;
	case AT_STARTTLS:
		if (code != 220 || conn_tls(&s->c, tls_ctx, false) < 0)
			return -1;
		if (set.resume && tls_session != NULL)
			SSL_set_session(s->c.ssl, tls_session);
		break;
	case AT_AUTH:
		if (code != 235)
			return -1;
		s->authed = true;
		after_login(s);
		break;
	case AT_MAIL:
		if (code / 100 != 2)
			on_refusal(s, code);
		break;
	case AT_RCPT:
		s->refused[s->at_rcpt++] = code / 100 != 2;
		if (code / 100 == 2) {
			s->rcpts_ok++;
		} else {
			count.rcpts_refused++;
			on_refusal(s, code);
		}
		break;
	case AT_DATA:
		if (code == 354 && s->rcpts_ok > 0) {
			say_data(s);
		} else if (code == 354) {
			say_nothing(s);
		} else {
			on_refusal(s, code);
			say(s, "RSET\r\n");
			expect(s, AT_RSET);
		}
		break;
	case AT_DOT:
		if (code / 100 != 2 && ledger_file != NULL)
			ledger_doubt(s, code);
		on_end_of_message(s, code);
		break;
	case AT_RSET:
		on_end_of_message(s, s->refusal != 0 ? s->refusal : 451);
		break;
	case AT_QUIT:
		return -1;
	}
	return 0;
}

/* Whole lines of s->in; 0 or -1. */
static int
on_input(struct session *s)
{
	char *line = s->in, *nl;
	size_t left = s->in_len;

	while ((nl = memchr(line, '\n', left)) != NULL) {
		size_t len = (size_t)(nl - line) + 1;
		int code = 0;

		for (int i = 0; i < 3; i++) {
			if (len < 5 || line[i] < '0' || line[i] > '9')
				return -1;
			code = code * 10 + line[i] - '0';
		}
		if (code < 200 || code > 599)
			return -1;
		if (len >= 14 && memcmp(line + 4, "PIPELINING", 10) == 0)
			s->pipelining = true;
		/* the last line of a reply has no hyphen */
		if (line[3] != '-' && on_reply(s, code) < 0)
			return -1;
		line += len;
		left -= len;
	}
	if (left == sizeof(s->in))
		return -1;
	memmove(s->in, line, left);
	s->in_len = left;
	return 0;
}

static int
session_handshake(struct session *s)
{
	int r = conn_handshake(&s->c, epfd, s);

	if (r == 1) {
		s->tls_done = true;
		count.tls_conns++;
		if (SSL_session_reused(s->c.ssl))
			count.resumed++;
		say_ehlo(s);
	}
	return r;
}

static int
session_flush(struct session *s)
{
	int r = conn_flush(&s->c, epfd, s);

	if (r == 1 && s->has_msg && s->dot_sent && !s->dot_timed) {
		s->dot_timed = true;
		s->dot_ns = now_ns();
	}
	return r;
}

static int
session_event(struct session *s)
{
	ssize_t n;
	int r;

	if (s->state == ST_CONNECTING && s->c.wants_out) {
		int err = 0;
		socklen_t len = sizeof(err);

		if (getsockopt(s->c.fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0 ||
		    err != 0)
			return -1;
	}
	do {
		if (s->c.ssl != NULL && s->c.handshake) {
			r = session_handshake(s);
			if (r <= 0)
				return r;
		}
		n = conn_read(
		    &s->c, s->in + s->in_len, sizeof(s->in) - s->in_len);
		if (n < 0)
			return -1;
		s->in_len += (size_t)n;
		if (n > 0 && on_input(s) < 0)
			return -1;
		/* our STARTTLS has been answered: the client speaks first */
	} while (s->c.ssl != NULL && (n > 0 || s->c.handshake));
	return session_flush(s);
}

/* ---- the run ---- */

static int
on_new_session(SSL *ssl, SSL_SESSION *session)
{
	SSL_SESSION_free(tls_session);
	tls_session = session;
	return 1; /* ours now */
}

static void
make_tls(void)
{
	tls_ctx = SSL_CTX_new(TLS_client_method());
	if (tls_ctx == NULL)
		die("TLS", "no context");
	SSL_CTX_set_mode(tls_ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	if (set.resume) {
		SSL_CTX_set_session_cache_mode(tls_ctx,
		    SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
		SSL_CTX_sess_set_new_cb(tls_ctx, on_new_session);
	}
}

/* Everything behind the two headers that differ: the same for all messages. */
static void
make_body(void)
{
	static const char head[] =
	    "From: Load Generator <source@bench.test>\r\n"
	    "To: Sink <sink@bench.test>\r\n"
	    "Subject: a message of the bench\r\n"
	    "Date: Tue, 24 Nov 2026 07:40:00 +0000\r\n"
	    "MIME-Version: 1.0\r\n"
	    "Content-Type: text/plain; charset=us-ascii\r\n"
	    "\r\n";
	static const char text[] =
	    "The quick brown fox jumps over the lazy dog, again and again.\r\n";
	size_t varying = strlen("X-Seq: 0123456789\r\nMessage-ID: "
				"<0123456789.12345@source.>\r\n") +
	    strlen(set.domain);
	size_t want = set.size > varying + sizeof(head) ? set.size - varying
							: sizeof(head);

	body = malloc(want + sizeof(text) + 8);
	if (body == NULL)
		die("malloc", "no memory");
	memcpy(body, head, sizeof(head) - 1);
	body_len = sizeof(head) - 1;
	while (body_len + sizeof(text) - 1 <= want) {
		memcpy(body + body_len, text, sizeof(text) - 1);
		body_len += sizeof(text) - 1;
	}
	while (body_len + 2 < want)
		body[body_len++] = '-';
	memcpy(body + body_len, "\r\n.\r\n", 5);
	/* a text line has just ended: its CRLF serves for the dot too */
	if (memcmp(body + body_len - 2, "\r\n", 2) == 0) {
		memcpy(body + body_len, ".\r\n", 3);
		body_len += 3;
	} else {
		body_len += 5;
	}
	body_sum = sum_bytes(0, body, body_len - 3);
}

static int
by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void
print_times(const char *name, uint32_t *v, size_t n)
{
	double sum = 0;

	qsort(v, n, sizeof(*v), by_value);
	for (size_t i = 0; i < n; i++)
		sum += v[i];
#define AT(p) (n == 0 ? 0 : v[(size_t)((double)(n - 1) * (p))])
	printf("\"%s\": {\"n\": %zu, \"mean\": %.0f, \"p50\": %u, \"p90\": %u, "
	       "\"p99\": %u, \"max\": %u}, ",
	    name, n, n == 0 ? 0 : sum / (double)n, AT(0.5), AT(0.9), AT(0.99),
	    AT(1.0));
#undef AT
}

static void
report(void)
{
	double s = (double)(count.last_ns - count.start_ns) / 1e9;
	bool first = true;

	printf("{\"messages\": %llu, \"accepted\": %llu, \"failed\": %llu, "
	       "\"unfinished\": %llu, \"doubt\": %llu, \"retries\": %llu, "
	       "\"recipients_refused\": %llu, "
	       "\"connections\": %llu, \"connection_errors\": %llu, "
	       "\"tls_connections\": %llu, \"tls_resumed\": %llu, "
	       "\"start_ns\": %lld, \"last_ns\": %lld, \"seconds\": %.6f, "
	       "\"rate\": %.1f, ",
	    (unsigned long long)count.begun, (unsigned long long)count.accepted,
	    (unsigned long long)count.failed,
	    (unsigned long long)(count.begun - finished()),
	    (unsigned long long)count.doubt, (unsigned long long)count.retries,
	    (unsigned long long)count.rcpts_refused,
	    (unsigned long long)count.conns,
	    (unsigned long long)count.conn_errors,
	    (unsigned long long)count.tls_conns,
	    (unsigned long long)count.resumed, (long long)count.start_ns,
	    (long long)count.last_ns, s > 0 ? s : 0,
	    s > 0 ? (double)count.accepted / s : 0);
	print_times("accept_us", count.latency_us, count.latencies);
	print_times("greeting_us", count.greeting_us,
	    count.greetings < set.messages ? count.greetings : set.messages);
	printf("\"replies\": {");
	for (int i = 200; i < 600; i++) {
		if (count.codes[i] == 0)
			continue;
		printf("%s\"%d\": %llu", first ? "" : ", ", i,
		    (unsigned long long)count.codes[i]);
		first = false;
	}
	printf("}}\n");
	fflush(stdout);
}

/* Sessions whose time has come; returns the milliseconds until the next. */
static int
run_parked(uint64_t *ret_over)
{
	int64_t t = now_ns(), next = INT64_MAX;
	struct session *s = parked_first;

	parked_first = NULL;
	parked_last = &parked_first;
	while (s != NULL) {
		struct session *later = s->next_parked;

		if (s->due_ns <= t || (stopped && all_done())) {
			session_turn(s);
			if (s->state == ST_OVER)
				++*ret_over;
		} else {
			park(s, s->due_ns);
		}
		s = later;
	}
	for (s = parked_first; s != NULL; s = s->next_parked)
		if (s->due_ns < next)
			next = s->due_ns;
	if (next == INT64_MAX)
		return -1;
	next = (next - now_ns() + 999999) / 1000000;
	return next < 0 ? 0 : (int)next;
}

static volatile sig_atomic_t told_to_stop;

static void
on_signal(int sig)
{
	told_to_stop++;
}

static void
run(void)
{
	static struct epoll_event evs[512];
	struct session *sessions = calloc(set.sessions, sizeof(*sessions));
	uint64_t over = 0;

	if (sessions == NULL)
		die("calloc", "no memory");
	count.start_ns = now_ns();
	count.last_ns = count.start_ns;
	for (uint64_t i = 0; i < set.sessions; i++) {
		conn_init(&sessions[i].c, (1 << 16) + set.size);
		park(&sessions[i], 0);
	}
	while (over < set.sessions) {
		int ms = run_parked(&over), n;

		if (over == set.sessions)
			break;
		if (set.time_s > 0 && (ms < 0 || ms > 100))
			ms = 100;
		n = epoll_wait(epfd, evs, 512, ms);
		for (int i = 0; i < n; i++) {
			struct session *s = evs[i].data.ptr;

			if (session_event(s) < 0)
				session_lost(s);
		}
		if (accepted_file != NULL)
			fflush(accepted_file);
		if (doubt_file != NULL)
			fflush(doubt_file);
		if (ledger_file != NULL)
			fflush(ledger_file);
		if (told_to_stop > 1)
			break;
		if (told_to_stop == 1 ||
		    (set.time_s > 0 &&
			now_ns() - count.start_ns >=
			    (int64_t)set.time_s * 1000000000))
			stopped = true;
	}
	for (uint64_t i = 0; i < set.sessions; i++) {
		conn_close(&sessions[i].c); /* told to end at once */
		buf_done(&sessions[i].c.out);
	}
	free(sessions);
	SSL_SESSION_free(tls_session);
	SSL_CTX_free(tls_ctx);
}

static void
set_auth(const char *text)
{
	unsigned char plain[256];
	const char *colon = strchr(text, ':');
	size_t user, pass;

	if (colon == NULL)
		die("auth", "wanted USER:PASSWORD");
	user = (size_t)(colon - text);
	pass = strlen(colon + 1);
	if (user + pass + 2 > sizeof(plain))
		die("auth", "too long");
	plain[0] = '\0';
	memcpy(plain + 1, text, user);
	plain[1 + user] = '\0';
	memcpy(plain + 2 + user, colon + 1, pass);
	EVP_EncodeBlock(
	    (unsigned char *)set.auth, plain, (int)(user + pass + 2));
}

static FILE *
open_list(const char *path)
{
	FILE *f = fopen(path, "ae");

	if (f == NULL)
		die(path, strerror(errno));
	return f;
}

int
main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "to", required_argument, NULL, 't' },
		{ "seq", required_argument, NULL, 'q' },
		{ "domain", required_argument, NULL, 'd' },
		{ "from", required_argument, NULL, 'F' },
		{ "starttls", no_argument, NULL, 'S' },
		{ "resume", no_argument, NULL, 'R' },
		{ "auth", required_argument, NULL, 'a' },
		{ "rate", required_argument, NULL, 'v' },
		{ "time", required_argument, NULL, 'T' },
		{ "retry", required_argument, NULL, 'y' },
		{ "accepted", required_argument, NULL, 'A' },
		{ "doubt", required_argument, NULL, 'D' },
		{ "ledger", required_argument, NULL, 'L' },
		{ NULL, 0, NULL, 0 },
	};
	struct sigaction sa = { .sa_handler = on_signal };
	int o;

	while (
	    (o = getopt_long(argc, argv, "t:n:s:m:c:k:r:", opts, NULL)) != -1) {
		switch (o) {
		case 't':
			set.to_len = address(optarg, &set.to);
			break;
		case 'n':
			set.messages = number("-n", optarg, 1, 1000000000);
			break;
		case 's':
			set.size = number("-s", optarg, 1, 1 << 30);
			break;
		case 'm':
			set.per_conn = number("-m", optarg, 1, 1000000000);
			break;
		case 'c':
			set.sessions = number("-c", optarg, 1, SESSIONS_MAX);
			break;
		case 'k':
			set.domains = number("-k", optarg, 1, 1000000000);
			break;
		case 'r':
			set.rcpts = number("-r", optarg, 1, RCPTS_MAX);
			break;
		case 'q':
			set.seq = number("--seq", optarg, 0, UINT32_MAX);
			break;
		case 'd':
			set.domain = optarg;
			break;
		case 'F':
			set.from_len = address(optarg, &set.from);
			break;
		case 'S':
			set.starttls = true;
			break;
		case 'R':
			set.resume = true;
			break;
		case 'a':
			set_auth(optarg);
			break;
		case 'v':
			set.rate = number("--rate", optarg, 1, 1000000000);
			break;
		case 'T':
			set.time_s = number("--time", optarg, 1, 1000000);
			break;
		case 'y':
			set.retry = true;
			set.retry_ms = number("--retry", optarg, 0, 3600000);
			break;
		case 'A':
			accepted_file = open_list(optarg);
			break;
		case 'D':
			doubt_file = open_list(optarg);
			break;
		case 'L':
			ledger_file = open_list(optarg);
			break;
		default:
			return 2;
		}
	}
	if (set.to_len == 0 || optind != argc)
		die("usage", "source -t ADDRESS:PORT [options]; see source.c");
	if (set.sessions > set.messages)
		set.sessions = set.messages;
	raise_fd_limit();
	signal(SIGPIPE, SIG_IGN);
	sigaction(SIGTERM, &sa, NULL);
	sigaction(SIGINT, &sa, NULL);
	make_tls();
	make_body();
	again_cap = set.sessions + (set.retry ? set.messages : 0);
	again = malloc(again_cap * sizeof(*again));
	count.latency_us = malloc(set.messages * sizeof(uint32_t));
	count.greeting_us = malloc(set.messages * sizeof(uint32_t));
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (again == NULL || count.latency_us == NULL ||
	    count.greeting_us == NULL || epfd < 0)
		die("start", "no memory");
	run();
	report();
	return count.accepted == count.begun && count.begun > 0 ? 0 : 1;
}
