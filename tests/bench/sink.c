/*
 * sink.c - an SMTP server that takes everything and counts it.
 *
 * Started by tests/bench/bench.py and by crash and soak tests, which account
 * for each message by its X-Seq header. One thread, epoll, no copy of the body.
 * It never stores mail. Sources: RFC 5321, 2920, 3207.
 *
 *	sink -l 127.0.0.1:2525 [-l ...] [options]
 *
 *	--cert FILE --key FILE   offer STARTTLS
 *	--record FILE            append one line "SEQ" for each message taken
 *	--ledger FILE            append "LOCAL-PART NS LENGTH SUM" for each recipient
 *	                         of it: the moment, bytes from X-Seq on, their sum
 *	--trace FILE             append what a limit is about, one event a line:
 *	    O ID NS LOCAL-ADDRESS        a connection is there
 *	    E ID NS NAME                 its EHLO
 *	    R ID NS DOMAIN               a RCPT
 *	    M ID NS                      a message was taken
 *	    C ID NS                      its other side has closed it
 *	--defer PERCENT          answer so many RCPT with 450
 *	--defer-domain TEXT      answer 450 to each RCPT that has TEXT in it
 *	--fail PERCENT           answer so many RCPT with 550
 *	--defer-data PERCENT     answer so many messages with 451
 *	--delay MS               wait before the reply to the end of data
 *	--no-pipelining          do not announce it
 *	--control                take commands on stdin, end when it ends:
 *	    start N    forget all counts; report when N messages are in
 *	    report     report now
 *
 * A report is one line of JSON on stdout. SIGUSR1 makes one, SIGTERM and SIGINT
 * make the last one. Before the first it prints "ready". Times are of
 * CLOCK_MONOTONIC, comparable with those of source.
 */
#include "tests/bench/net.h"

#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <sys/queue.h>
#include <sys/signalfd.h>

enum {
	LISTENERS_MAX = 256,
	CHUNK = 256 * 1024,
	LINE_MAX_ = 2048,
	HEAD_MAX = 4096, /* X-Seq is looked for in so many first bytes */
	SECONDS_MAX = 24 * 3600,
	CONNS_TRACED = 16384,
};

enum kind { KIND_LISTENER, KIND_CONTROL, KIND_SIGNAL, KIND_CONN };

struct client {
	enum kind kind; /* first: tells what an epoll event is about */
	LIST_ENTRY(client) link;
	struct conn c;
	bool in_data;
	bool quit;
	bool starttls; /* handshake begins once the reply is sent */
	bool waiting;  /* its reply is delayed */
	unsigned rcpts, rcpts_ok;
	uint64_t id, messages;
	bool told_end; /* in the trace */
	int64_t due_ns;
	struct client *next_waiting;
	char last4[4]; /* the last bytes of data seen */
	size_t head_len, line_len;
	uint64_t data_len;
	uint32_t data_sum;
	struct buf names; /* local parts taken, one a line; for the ledger */
	char line[LINE_MAX_];
	char head[HEAD_MAX];
};

struct listener {
	enum kind kind;
	int fd;
	char address[INET6_ADDRSTRLEN];
};

static struct {
	uint64_t messages, rcpts, bytes, conns, tls_conns, resumed;
	uint64_t deferred, failed, duplicates, unique, without_seq, lost;
	uint64_t most_per_conn;
	int64_t first_ns, last_ns, start_ns;
	uint32_t *per_second;
	size_t seconds;
	struct seen seen;
} count;

/* One instance is one program: its settings and its loop. */
static int epfd;
static SSL_CTX *tls_ctx;
static FILE *record, *ledger, *trace;
static const char *defer_domain;
static unsigned defer_pct, fail_pct, defer_data_pct;
static int64_t delay_ns;
static bool pipelining = true;
static LIST_HEAD(client_list, client) clients = LIST_HEAD_INITIALIZER(clients);
static struct listener listeners[LISTENERS_MAX];
static bool over;
static uint64_t open_conns, report_at, last_id;
static struct client *waiting_first, **waiting_last = &waiting_first;
static uint32_t random_state = 1;

static unsigned
percent(void)
{
	/* xorshift: the same sequence in each run */
	random_state ^= random_state << 13;
	random_state ^= random_state >> 17;
	random_state ^= random_state << 5;
	return random_state % 100;
}

static void
report(void)
{
	printf("{\"messages\": %llu, \"recipients\": %llu, \"bytes\": %llu, "
	       "\"connections\": %llu, \"tls_connections\": %llu, "
	       "\"tls_resumed\": %llu, \"open\": %llu, \"unique\": %llu, "
	       "\"duplicates\": %llu, \"without_seq\": %llu, "
	       "\"deferred\": %llu, \"failed\": %llu, \"lost\": %llu, "
	       "\"most_per_connection\": %llu, \"first_ns\": %lld, "
	       "\"last_ns\": %lld, \"per_second\": [",
	    (unsigned long long)count.messages, (unsigned long long)count.rcpts,
	    (unsigned long long)count.bytes, (unsigned long long)count.conns,
	    (unsigned long long)count.tls_conns,
	    (unsigned long long)count.resumed, (unsigned long long)open_conns,
	    (unsigned long long)count.unique,
	    (unsigned long long)count.duplicates,
	    (unsigned long long)count.without_seq,
	    (unsigned long long)count.deferred,
	    (unsigned long long)count.failed, (unsigned long long)count.lost,
	    (unsigned long long)count.most_per_conn, (long long)count.first_ns,
	    (long long)count.last_ns);
	for (size_t i = 0; i < count.seconds; i++)
		printf("%s%u", i == 0 ? "" : ", ", count.per_second[i]);
	printf("]}\n");
	fflush(stdout);
	if (record != NULL)
		fflush(record);
	if (ledger != NULL)
		fflush(ledger);
	if (trace != NULL)
		fflush(trace);
}

/* ---- the trace ---- */

static void
trace_event(char what, const struct client *cl, const char *text, size_t len)
{
	if (trace != NULL)
		fprintf(trace, "%c %llu %lld %.*s\n", what,
		    (unsigned long long)cl->id, (long long)now_ns(), (int)len,
		    text);
}

static void
trace_end(struct client *cl)
{
	if (!cl->told_end)
		trace_event('C', cl, "", 0);
	cl->told_end = true;
}

/* Connections whose end the kernel knows of, though we did not read as far: it
 * came before that of a connection that is accepted now. */
static void
trace_ends(void)
{
	static struct pollfd fds[CONNS_TRACED];
	static struct client *of[CONNS_TRACED];
	struct client *cl;
	nfds_t n = 0, i;

	LIST_FOREACH(cl, &clients, link) {
		if (cl->told_end)
			continue;
		if (n == CONNS_TRACED)
			die("trace", "too many connections at one time");
		fds[n] = (struct pollfd){ .fd = cl->c.fd, .events = POLLRDHUP };
		of[n++] = cl;
	}
	if (poll(fds, n, 0) < 0)
		die("poll", strerror(errno));
	for (i = 0; i < n; i++)
		if (fds[i].revents != 0)
			trace_end(of[i]);
}

static void
trace_rcpt(const struct client *cl, const char *line, size_t len)
{
	const char *from = memrchr(line, '@', len);
	const char *to = from == NULL
	    ? NULL
	    : memchr(from, '>', len - (size_t)(from - line));

	if (to != NULL)
		trace_event('R', cl, from + 1, (size_t)(to - from) - 1);
}

static void
start_over(void)
{
	uint32_t *per_second = count.per_second;

	free(count.seen.bits);
	memset(&count, 0, sizeof(count));
	count.per_second = per_second;
	memset(per_second, 0, SECONDS_MAX * sizeof(*per_second));
	count.start_ns = now_ns();
}

/* Where X-Seq stands in cl->head, or NULL. */
static const char *
seq_at(const struct client *cl)
{
	static const char name[] = "\nX-Seq:";
	const char *at;

	/* it may be the first line */
	if (cl->head_len >= 6 && memcmp(cl->head, name + 1, 6) == 0)
		return cl->head;
	at = memmem(cl->head, cl->head_len, name, sizeof(name) - 1);
	return at == NULL ? NULL : at + 1;
}

/* X-Seq of the message whose first bytes are in cl->head, or UINT64_MAX. */
static uint64_t
seq_of(const struct client *cl)
{
	const char *at = seq_at(cl), *end = cl->head + cl->head_len;
	uint64_t v = 0;

	if (at == NULL)
		return UINT64_MAX;
	for (at += sizeof("X-Seq:") - 1; at < end && *at == ' '; at++)
		;
	if (at >= end || *at < '0' || *at > '9')
		return UINT64_MAX;
	for (; at < end && *at >= '0' && *at <= '9'; at++)
		v = v * 10 + (uint64_t)(*at - '0');
	return v;
}

static void
say(struct client *cl, const char *text)
{
	if (buf_puts(&cl->c.out, text) < 0)
		die("output", "a client sends commands and reads no replies");
}

static void
no_recipients(struct client *cl)
{
	cl->rcpts = cl->rcpts_ok = 0;
	buf_reset(&cl->names, 4096);
}

/* Who got the message, and was it whole? */
static void
ledger_add(struct client *cl, int64_t t)
{
	static const char dot[] = ".\r\n";
	const char *from = seq_at(cl);
	size_t before = from == NULL ? 0 : (size_t)(from - cl->head);
	uint32_t sum = cl->data_sum - sum_bytes(0, cl->head, before) -
	    sum_bytes(0, dot, 3);

	while (buf_len(&cl->names) > 0) {
		const char *name = (const char *)buf_data(&cl->names);
		const char *nl = memchr(name, '\n', buf_len(&cl->names));

		fprintf(ledger, "%.*s %lld %llu %u\n", (int)(nl - name), name,
		    (long long)t,
		    (unsigned long long)(cl->data_len - 3 - before), sum);
		buf_drop(&cl->names, (size_t)(nl - name) + 1);
	}
}

static void
message_taken(struct client *cl)
{
	int64_t t = now_ns();
	size_t second = (size_t)((t - count.start_ns) / 1000000000);
	uint64_t seq = seq_of(cl);

	if (count.messages++ == 0)
		count.first_ns = t;
	count.last_ns = t;
	count.rcpts += cl->rcpts_ok;
	count.bytes += cl->data_len;
	if (second < SECONDS_MAX) {
		count.per_second[second]++;
		if (second + 1 > count.seconds)
			count.seconds = second + 1;
	}
	trace_event('M', cl, "", 0);
	if (++cl->messages > count.most_per_conn)
		count.most_per_conn = cl->messages;
	if (seq == UINT64_MAX)
		count.without_seq++;
	else if (seen_add(&count.seen, seq))
		count.unique++;
	else
		count.duplicates++;
	if (record != NULL && seq != UINT64_MAX)
		fprintf(record, "%llu\n", (unsigned long long)seq);
	if (ledger != NULL)
		ledger_add(cl, t);
}

static void
data_end(struct client *cl)
{
	cl->in_data = false;
	if (defer_data_pct > 0 && percent() < defer_data_pct) {
		count.deferred++;
		say(cl, "451 4.3.0 try again\r\n");
	} else {
		message_taken(cl);
		say(cl, "250 2.0.0 taken\r\n");
	}
	no_recipients(cl);
	if (delay_ns > 0) {
		cl->waiting = true;
		cl->due_ns = now_ns() + delay_ns;
		cl->next_waiting = NULL;
		*waiting_last = cl;
		waiting_last = &cl->next_waiting;
	}
}

/* Message data in buf[0..len); returns how many bytes belonged to it. */
static size_t
on_data(struct client *cl, const char *buf, size_t len)
{
	static const char stop[] = "\r\n.\r\n";
	char seam[8];
	const char *at;
	size_t used, first = len < 4 ? len : 4;

	/* the end may lie across two reads */
	memcpy(seam, cl->last4, 4);
	memcpy(seam + 4, buf, first);
	at = memmem(seam, 4 + first, stop, 5);
	if (at != NULL)
		used = (size_t)(at - seam) + 5 - 4;
	else if ((at = memmem(buf, len, stop, 5)) != NULL)
		used = (size_t)(at - buf) + 5;
	else
		used = len;
	if (cl->head_len < HEAD_MAX) {
		size_t n = HEAD_MAX - cl->head_len;

		n = n < used ? n : used;
		memcpy(cl->head + cl->head_len, buf, n);
		cl->head_len += n;
	}
	cl->data_len += used;
	if (ledger != NULL)
		cl->data_sum = sum_bytes(cl->data_sum, buf, used);
	if (at != NULL) {
		data_end(cl);
		return used;
	}
	if (len >= 4) {
		memcpy(cl->last4, buf + len - 4, 4);
	} else {
		memmove(cl->last4, cl->last4 + len, 4 - len);
		memcpy(cl->last4 + 4 - len, buf, len);
	}
	return len;
}

static void
keep_name(struct client *cl, const char *line, size_t len)
{
	const char *from = memchr(line, '<', len), *to;

	to = from == NULL ? NULL
			  : memchr(from, '@', len - (size_t)(from - line));
	if (to == NULL)
		return; /* a postmaster without a domain is nobody of ours */
	if (buf_put(&cl->names, from + 1, (size_t)(to - from) - 1) < 0 ||
	    buf_puts(&cl->names, "\n") < 0)
		die("RCPT", "no memory for the names");
}

static void
on_rcpt(struct client *cl, const char *line, size_t len)
{
	cl->rcpts++;
	trace_rcpt(cl, line, len);
	if ((defer_pct > 0 && percent() < defer_pct) ||
	    (defer_domain != NULL &&
		memmem(line, len, defer_domain, strlen(defer_domain)) !=
		    NULL)) {
		count.deferred++;
		say(cl, "450 4.2.0 try again\r\n");
	} else if (fail_pct > 0 && percent() < fail_pct) {
		count.failed++;
		say(cl, "550 5.1.1 no such user\r\n");
	} else {
		cl->rcpts_ok++;
		if (ledger != NULL)
			keep_name(cl, line, len);
		say(cl, "250 2.1.5 ok\r\n");
	}
}

static void
on_line(struct client *cl, const char *line, size_t len)
{
#define IS(verb)                    \
	(len >= sizeof(verb) - 1 && \
	    strncasecmp(line, verb, sizeof(verb) - 1) == 0)
	if (IS("RCPT TO:")) {
		on_rcpt(cl, line, len);
	} else if (IS("MAIL FROM:")) {
		no_recipients(cl);
		say(cl, "250 2.1.0 ok\r\n");
	} else if (IS("DATA")) {
		if (cl->rcpts_ok == 0) {
			say(cl, "554 5.5.1 no valid recipients\r\n");
			return;
		}
		cl->in_data = true;
		cl->head_len = 0;
		cl->data_len = 0;
		cl->data_sum = 0;
		/* the CRLF of the command can be the one before the dot */
		memcpy(cl->last4, "\0\0\r\n", 4);
		say(cl, "354 go on\r\n");
	} else if (IS("EHLO")) {
		trace_event('E', cl, line + 5, strcspn(line + 5, "\r\n"));
		say(cl, "250-sink.bench.test\r\n");
		if (pipelining)
			say(cl, "250-PIPELINING\r\n");
		if (tls_ctx != NULL && cl->c.ssl == NULL)
			say(cl, "250-STARTTLS\r\n");
		say(cl,
		    "250-SIZE 0\r\n250-ENHANCEDSTATUSCODES\r\n"
		    "250-SMTPUTF8\r\n250 8BITMIME\r\n");
	} else if (IS("HELO")) {
		say(cl, "250 sink.bench.test\r\n");
	} else if (IS("STARTTLS") && tls_ctx != NULL && cl->c.ssl == NULL) {
		cl->starttls = true;
		say(cl, "220 2.0.0 go ahead\r\n");
	} else if (IS("RSET")) {
		no_recipients(cl);
		say(cl, "250 2.0.0 ok\r\n");
	} else if (IS("NOOP")) {
		say(cl, "250 2.0.0 ok\r\n");
	} else if (IS("QUIT")) {
		cl->quit = true;
		say(cl, "221 2.0.0 bye\r\n");
	} else {
		say(cl, "502 5.5.1 what?\r\n");
	}
#undef IS
}

/* Commands in buf[0..len); returns how many bytes were used. */
static size_t
on_command(struct client *cl, const char *buf, size_t len)
{
	const char *nl = memchr(buf, '\n', len);
	size_t used = nl == NULL ? len : (size_t)(nl - buf) + 1;

	if (cl->line_len == 0 && nl != NULL) {
		on_line(cl, buf, used);
		return used;
	}
	if (cl->line_len + used > LINE_MAX_)
		die("input", "a client sent an endless command");
	memcpy(cl->line + cl->line_len, buf, used);
	cl->line_len += used;
	if (nl != NULL) {
		size_t n = cl->line_len;

		cl->line_len = 0;
		on_line(cl, cl->line, n);
	}
	return used;
}

static void
client_free(struct client *cl)
{
	if (cl->in_data)
		count.lost++;
	trace_end(cl);
	if (cl->waiting) {
		struct client **p = &waiting_first;

		while (*p != cl)
			p = &(*p)->next_waiting;
		*p = cl->next_waiting;
		if (waiting_last == &cl->next_waiting)
			waiting_last = p;
	}
	LIST_REMOVE(cl, link);
	conn_close(&cl->c);
	buf_done(&cl->c.out);
	buf_done(&cl->names);
	free(cl);
	open_conns--;
}

/* Replies out; then the handshake or the end, if it is time. 0, or -1 ended. */
static int
client_flush(struct client *cl)
{
	int r = conn_flush(&cl->c, epfd, cl);

	if (r < 0)
		return -1;
	if (r == 1 && cl->quit)
		return -1;
	if (r == 1 && cl->starttls) {
		cl->starttls = false;
		cl->line_len = 0;
		if (conn_tls(&cl->c, tls_ctx, true) < 0)
			return -1;
	}
	return 0;
}

static int
client_handshake(struct client *cl)
{
	int r = conn_handshake(&cl->c, epfd, cl);

	if (r == 1) {
		count.tls_conns++;
		if (SSL_session_reused(cl->c.ssl))
			count.resumed++;
	}
	return r;
}

static int
client_event(struct client *cl)
{
	static char chunk[CHUNK];
	ssize_t n;

	if (cl->c.ssl != NULL && cl->c.handshake) {
		n = client_handshake(cl);
		if (n <= 0)
			return (int)n;
	}
	/* a delayed client waits with its input: level-triggered epoll would
	 * spin, so it is read and its replies queue behind the delayed one */
	do {
		size_t off = 0;

		n = conn_read(&cl->c, chunk, sizeof(chunk));
		if (n < 0)
			return -1;
		while (off < (size_t)n && !cl->starttls && !cl->quit)
			off += cl->in_data
			    ? on_data(cl, chunk + off, (size_t)n - off)
			    : on_command(cl, chunk + off, (size_t)n - off);
	} while (n > 0 && cl->c.ssl != NULL);
	return cl->waiting ? 0 : client_flush(cl);
}

static void
on_accept(struct listener *l)
{
	for (int i = 0; i < 64; i++) {
		struct client *cl;
		int fd =
		    accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		cl = malloc(sizeof(*cl));
		if (cl == NULL)
			die("malloc", "no memory");
		/* not calloc: the buffers need no zeroes */
		memset(cl, 0, offsetof(struct client, line));
		cl->kind = KIND_CONN;
		conn_init(&cl->c, 1 << 20);
		buf_init(&cl->names, 1 << 20);
		if (trace != NULL)
			trace_ends();
		cl->id = ++last_id;
		cl->c.fd = fd;
		trace_event('O', cl, l->address, strlen(l->address));
		LIST_INSERT_HEAD(&clients, cl, link);
		open_conns++;
		count.conns++;
		say(cl, "220 sink.bench.test ESMTP\r\n");
		if (conn_open(&cl->c, epfd, fd, false, cl) < 0 ||
		    client_flush(cl) < 0)
			client_free(cl);
	}
}

static void
on_control(void)
{
	static char line[256];
	static size_t len;
	ssize_t n = read(0, line + len, sizeof(line) - 1 - len);
	char *nl;

	if (n <= 0) {
		over = true; /* whoever gave commands is gone */
		return;
	}
	len += (size_t)n;
	line[len] = '\0';
	while ((nl = strchr(line, '\n')) != NULL) {
		*nl = '\0';
		if (strncmp(line, "start ", 6) == 0) {
			start_over();
			report_at = number("start", line + 6, 1, UINT32_MAX);
			printf("started\n");
			fflush(stdout);
		} else if (strcmp(line, "report") == 0) {
			report();
		} else {
			die(line, "no such command");
		}
		len -= (size_t)(nl + 1 - line);
		memmove(line, nl + 1, len + 1);
	}
	if (len == sizeof(line) - 1)
		die("control", "line too long");
}

static void
run_waiting(void)
{
	int64_t t = now_ns();

	while (waiting_first != NULL && waiting_first->due_ns <= t) {
		struct client *cl = waiting_first;

		waiting_first = cl->next_waiting;
		if (waiting_first == NULL)
			waiting_last = &waiting_first;
		cl->waiting = false;
		if (client_flush(cl) < 0)
			client_free(cl);
	}
}

static int
wait_ms(void)
{
	int64_t ms;

	if (waiting_first == NULL)
		return -1;
	ms = (waiting_first->due_ns - now_ns() + 999999) / 1000000;
	return ms < 0 ? 0 : (int)ms;
}

static void
watch(int fd, void *what)
{
	struct epoll_event ev = { .events = EPOLLIN, .data.ptr = what };

	if (epoll_ctl(epfd, EPOLL_CTL_ADD, fd, &ev) < 0)
		die("epoll_ctl", strerror(errno));
}

static void
listen_on(const char *text, struct listener *l)
{
	struct sockaddr_storage ss;
	socklen_t len = address(text, &ss);
	int one = 1;

	l->kind = KIND_LISTENER;
	(void)snprintf(l->address, sizeof(l->address), "%.*s",
	    (int)(strrchr(text, ':') - text), text);
	l->fd =
	    socket(ss.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (l->fd < 0 ||
	    setsockopt(l->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) <
		0 ||
	    bind(l->fd, (struct sockaddr *)&ss, len) < 0 ||
	    listen(l->fd, 4096) < 0)
		die(text, strerror(errno));
	watch(l->fd, l);
}

static SSL_CTX *
make_tls(const char *cert, const char *key)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (ctx == NULL || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 ||
	    SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		die(cert, "cannot use certificate and key");
	SSL_CTX_set_mode(ctx,
	    SSL_MODE_ENABLE_PARTIAL_WRITE |
		SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
	/* one ticket is what a mail client uses; two cost twice */
	SSL_CTX_set_num_tickets(ctx, 1);
	return ctx;
}

static void
loop(int sigfd)
{
	struct epoll_event evs[256];

	while (!over) {
		int n = epoll_wait(epfd, evs, 256, wait_ms());

		for (int i = 0; i < n; i++) {
			enum kind *kind = evs[i].data.ptr;
			struct signalfd_siginfo si;

			switch (*kind) {
			case KIND_LISTENER:
				on_accept((struct listener *)kind);
				break;
			case KIND_CONTROL:
				on_control();
				break;
			case KIND_SIGNAL:
				if (read(sigfd, &si, sizeof(si)) != sizeof(si))
					break;
				report();
				if (si.ssi_signo != SIGUSR1)
					over = true;
				break;
			case KIND_CONN:
				if (client_event((struct client *)kind) < 0)
					client_free((struct client *)kind);
				break;
			}
		}
		run_waiting();
		if (record != NULL)
			fflush(record); /* a killed sink has told all it took */
		if (ledger != NULL)
			fflush(ledger);
		if (trace != NULL)
			fflush(trace);
		if (report_at != 0 && count.unique >= report_at) {
			report_at = 0;
			report();
		}
	}
}

int
main(int argc, char **argv)
{
	static const struct option opts[] = {
		{ "listen", required_argument, NULL, 'l' },
		{ "cert", required_argument, NULL, 'C' },
		{ "key", required_argument, NULL, 'K' },
		{ "record", required_argument, NULL, 'r' },
		{ "ledger", required_argument, NULL, 'L' },
		{ "trace", required_argument, NULL, 'T' },
		{ "defer", required_argument, NULL, 'd' },
		{ "defer-domain", required_argument, NULL, 'o' },
		{ "fail", required_argument, NULL, 'f' },
		{ "defer-data", required_argument, NULL, 'D' },
		{ "delay", required_argument, NULL, 'w' },
		{ "no-pipelining", no_argument, NULL, 'P' },
		{ "control", no_argument, NULL, 'c' },
		{ NULL, 0, NULL, 0 },
	};
	static enum kind control_kind = KIND_CONTROL, signal_kind = KIND_SIGNAL;
	const char *addresses[LISTENERS_MAX], *cert = NULL, *key = NULL;
	int naddresses = 0, o, sigfd;
	bool control = false;
	sigset_t set;

	while ((o = getopt_long(argc, argv, "l:", opts, NULL)) != -1) {
		switch (o) {
		case 'l':
			if (naddresses == LISTENERS_MAX)
				die(optarg, "too many listeners");
			addresses[naddresses++] = optarg;
			break;
		case 'C':
			cert = optarg;
			break;
		case 'K':
			key = optarg;
			break;
		case 'r':
			record = fopen(optarg, "ae");
			if (record == NULL)
				die(optarg, strerror(errno));
			break;
		case 'L':
			ledger = fopen(optarg, "ae");
			if (ledger == NULL)
				die(optarg, strerror(errno));
			break;
		case 'T':
			trace = fopen(optarg, "ae");
			if (trace == NULL)
				die(optarg, strerror(errno));
			break;
		case 'd':
			defer_pct = (unsigned)number("defer", optarg, 0, 100);
			break;
		case 'o':
			defer_domain = optarg;
			break;
		case 'f':
			fail_pct = (unsigned)number("fail", optarg, 0, 100);
			break;
		case 'D':
			defer_data_pct =
			    (unsigned)number("defer-data", optarg, 0, 100);
			break;
		case 'w':
			delay_ns =
			    (int64_t)number("delay", optarg, 0, 3600000) *
			    1000000;
			break;
		case 'P':
			pipelining = false;
			break;
		case 'c':
			control = true;
			break;
		default:
			return 2;
		}
	}
	if (naddresses == 0 || optind != argc ||
	    (cert == NULL) != (key == NULL))
		die("usage", "sink -l ADDRESS:PORT [options]; see sink.c");
	raise_fd_limit();
	signal(SIGPIPE, SIG_IGN);
	count.per_second = calloc(SECONDS_MAX, sizeof(*count.per_second));
	epfd = epoll_create1(EPOLL_CLOEXEC);
	if (count.per_second == NULL || epfd < 0)
		die("start", strerror(errno));
	count.start_ns = now_ns();
	if (cert != NULL)
		tls_ctx = make_tls(cert, key);
	for (int i = 0; i < naddresses; i++)
		listen_on(addresses[i], &listeners[i]);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	sigfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	watch(sigfd, &signal_kind);
	if (control)
		watch(0, &control_kind);
	printf("ready\n");
	fflush(stdout);
	loop(sigfd);
	while (!LIST_EMPTY(&clients))
		client_free(LIST_FIRST(&clients));
	SSL_CTX_free(tls_ctx);
	return 0;
}
