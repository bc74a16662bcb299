/*
 * script.h - surroundings of a session for tests and the fuzzer: settings in
 * memory, a queue and an AUTH check that do what a test tells them.
 */
#ifndef POSTERN_TESTS_SMTPD_SCRIPT_H
#define POSTERN_TESTS_SMTPD_SCRIPT_H

#include <arpa/inet.h>
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/proto/submit.h"
#include "lib/tls/tls.h"
#include "smtpd/session.h"
#include "tests/lib/conf/memory.h"

struct script {
	/* what a test sets */
	const char *client; /* address; NULL: 10.1.1.209 */
	enum session_queue queue;
	const char *queue_text;
	struct submit_done done; /* code 0: 250 */
	bool refuse_early;	 /* done comes before commit */
	bool no_answer;		 /* commit is never answered */
	bool lose_queue;	 /* the channel goes at commit */
	bool no_mids;
	size_t room;	  /* data_room(), used up; 0: endless */
	size_t room_more; /* added each time the session waits for room */
	size_t reserve_max;
	bool auth_busy, auth_now; /* now: no PENDING */
	struct tls_info tls;
	struct tls_names names;
	const struct prvs_keys *bounce_keys; /* NULL: none */

	/* what came of it */
	struct session *s;
	struct conf *conf;
	struct buf out;	 /* all replies */
	struct buf rec;	 /* what the queue was asked, as text */
	struct buf body; /* message bytes of the last submission, no Received */
	uint64_t mid_next, open_mid, committed;
	uint64_t sent;
	unsigned begun, aborted, left, pieces;
	bool received_next, auth_pending, auth_ok, room_used;
	size_t reserved, room_left;
};

static enum session_queue
script_queue_state(void *arg, const char **ret_text)
{
	struct script *k = arg;

	*ret_text = k->queue_text != NULL ? k->queue_text : "";
	return k->queue;
}

static uint64_t
script_mid_take(void *arg)
{
	struct script *k = arg;

	return k->no_mids ? 0 : k->mid_next++;
}

static size_t
script_data_room(void *arg)
{
	struct script *k = arg;

	return k->room == 0 ? (size_t)1 << 20 : k->room_left;
}

static bool
script_envelope_room(void *arg)
{
	return script_data_room(arg) >= 8192;
}

static int
script_begin(void *arg, uint64_t mid, const struct submit_begin *m)
{
	struct script *k = arg;

	assert(k->open_mid == 0 && m->n_rcpts > 0);
	k->open_mid = mid;
	k->begun++;
	k->sent = 0;
	k->received_next = true;
	buf_reset(&k->body, 0);
	(void)buf_printf(&k->rec,
	    "begin %llu from=%s n=%u flags=%u gw=%s envid=%s ret=%d size=%llu "
	    "by=%s profile=%s\n",
	    (unsigned long long)mid, m->sender, m->n_rcpts, m->flags,
	    m->gateway, m->envid, (int)m->ret, (unsigned long long)m->size_hint,
	    m->client, m->profile);
	return 0;
}

static int
script_rcpt(void *arg, uint64_t mid, const struct submit_rcpt *m)
{
	struct script *k = arg;

	assert(mid == k->open_mid && k->received_next);
	(void)buf_printf(&k->rec, "rcpt %u %s domain=%s orcpt=%s notify=%u\n",
	    m->rid, m->address, m->domain, m->orcpt, m->notify);
	return 0;
}

/* Received without its date, which differs from run to run, and what stands
 * behind it. */
static void
script_received(struct script *k, const char *text, size_t len)
{
	const char *date = memrchr(text, ';', len);
	const char *more =
	    memmem(date, (size_t)(text + len - date), "\r\nX-", 4);

	(void)buf_put(&k->rec, text, (size_t)(date - text));
	if (more != NULL)
		(void)buf_put(&k->rec, more, (size_t)(text + len - more));
	(void)buf_puts(&k->rec, "\n");
}

static int
script_data(void *arg, uint64_t mid, const struct iovec *iov, size_t n)
{
	struct script *k = arg;
	size_t i, len = 0;

	assert(mid == k->open_mid && k->committed != mid);
	for (i = 0; i < n; i++)
		len += iov[i].iov_len;
	assert(len <= SESSION_PIECE_MAX && len <= script_data_room(k));
	if (k->room != 0)
		k->room_left -= len;
	k->sent += len;
	k->pieces++;
	if (k->received_next) {
		assert(
		    n == 1 && memcmp(iov[0].iov_base, "Received: ", 10) == 0);
		k->received_next = false;
		script_received(k, iov[0].iov_base, iov[0].iov_len);
		return 0;
	}
	for (i = 0; i < n; i++)
		(void)buf_put(&k->body, iov[i].iov_base, iov[i].iov_len);
	return 0;
}

static int
script_commit(void *arg, uint64_t mid, const struct submit_commit *m)
{
	struct script *k = arg;

	assert(mid == k->open_mid && m->size == k->sent);
	k->committed = mid;
	(void)buf_printf(&k->rec, "commit %llu flags=%u id=%s subject=%s\n",
	    (unsigned long long)mid, m->flags, m->message_id, m->subject);
	return 0;
}

static void
script_abort(void *arg, uint64_t mid)
{
	struct script *k = arg;

	assert(mid == k->open_mid && k->committed != mid);
	k->open_mid = 0;
	k->aborted++;
	(void)buf_printf(&k->rec, "abort %llu\n", (unsigned long long)mid);
}

static void
script_leave(void *arg, uint64_t mid)
{
	struct script *k = arg;

	assert(mid == k->open_mid && k->committed == mid);
	k->open_mid = 0;
	k->left++;
	(void)buf_printf(&k->rec, "leave %llu\n", (unsigned long long)mid);
}

static enum session_auth
script_auth(void *arg, const char *user, const char *password)
{
	struct script *k = arg;
	bool ok = strcmp(user, "anna") == 0 && strcmp(password, "sesam") == 0;

	if (k->auth_busy)
		return SESSION_AUTH_BUSY;
	if (k->auth_now)
		return ok ? SESSION_AUTH_OK : SESSION_AUTH_FAILED;
	k->auth_ok = ok;
	k->auth_pending = true;
	return SESSION_AUTH_PENDING;
}

static void
script_auth_cancel(void *arg)
{
	struct script *k = arg;

	assert(k->auth_pending);
	k->auth_pending = false;
}

static bool
script_reserve(void *arg, ptrdiff_t bytes)
{
	struct script *k = arg;

	if (bytes < 0) {
		assert(k->reserved >= (size_t)-bytes);
		k->reserved -= (size_t)-bytes;
		return true;
	}
	if (k->reserve_max != 0 && k->reserved + (size_t)bytes > k->reserve_max)
		return false;
	k->reserved += (size_t)bytes;
	return true;
}

static const struct session_ops script_ops = {
	.queue_state = script_queue_state,
	.mid_take = script_mid_take,
	.envelope_room = script_envelope_room,
	.data_room = script_data_room,
	.begin = script_begin,
	.rcpt = script_rcpt,
	.data = script_data,
	.commit = script_commit,
	.abort = script_abort,
	.leave = script_leave,
	.auth = script_auth,
	.auth_cancel = script_auth_cancel,
	.reserve = script_reserve,
};

/* Settings from the text of one [listener] and what goes with it. */
static inline struct conf *
script_conf(const char *listener)
{
	char text[4096];
	struct memory_file files[] = { { "postern.conf", text },
		{ "gateways.conf",
		    "[gateway bulk]\nhostname = bulk.example.net\n"
		    "senders = @news.example.net\n" },
		{ NULL, NULL } };
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;

	(void)snprintf(text, sizeof(text),
	    "[postern]\nhostname = gw1.example.net\n"
	    "[certificate default]\ncert_file = c.pem\nkey_file = k.pem\n"
	    "[listener internal]\naddress = 127.0.0.1:2525\n"
	    "relay_from = 10.0.0.0/8\n%s",
	    listener);
	if (conf_load(&src, &errs, &conf) != 0) {
		conf_errors_print(&errs, ".", stderr);
		abort();
	}
	conf_errors_done(&errs);
	return conf;
}

static inline void
script_init(struct script *k, struct conf *conf, bool implicit)
{
	static struct sockaddr_in sa;
	struct session_client client;

	sa.sin_family = AF_INET;
	(void)inet_pton(AF_INET, k->client != NULL ? k->client : "10.1.1.209",
	    &sa.sin_addr);
	buf_init(&k->out, 1 << 22);
	buf_init(&k->rec, 1 << 22);
	buf_init(&k->body, 1 << 26);
	k->conf = conf;
	k->mid_next = k->mid_next == 0 ? 6 : k->mid_next;
	k->open_mid = k->committed = 0;
	k->room_left = k->room;
	if (k->tls.protocol == NULL) {
		k->tls.protocol = "TLSv1.3";
		k->tls.cipher = "TLS_AES_256_GCM_SHA384";
		k->tls.verify_text = "ok";
	}
	client = (struct session_client){ .icid = 5,
		.conf = conf,
		.listener = &conf->listeners[0],
		.bounce_keys = k->bounce_keys,
		.sa = (struct sockaddr *)&sa,
		.address = k->client != NULL ? k->client : "10.1.1.209",
		.local_address = "10.1.1.1" };
	assert(session_new(&client, &script_ops, k, &k->s) == 0);
	if (implicit)
		session_tls_up(k->s, &k->tls, &k->names);
	session_start(k->s, false);
}

static inline void
script_collect(struct script *k)
{
	struct buf *out = session_output(k->s);

	(void)buf_put(&k->out, buf_data(out), buf_len(out));
	buf_drop(out, buf_len(out));
}

/* Do what the session waits for. False: nothing can be done. */
static inline bool
script_serve(struct script *k)
{
	static const struct submit_done ok = { SUBMIT_OK, 250, "2.0.0", "ok" };
	uint64_t mid = k->open_mid;

	script_collect(k);
	if (k->refuse_early && mid != 0 && k->committed != mid) {
		k->open_mid = 0;
		session_submit_done(k->s, mid, &k->done);
		script_collect(k);
		return true;
	}
	switch (session_wants(k->s)) {
	case SESSION_READ:
	case SESSION_FLUSH:
		return true;
	case SESSION_ROOM:
		k->room_left += k->room_more;
		k->room_used = true;
		return k->room_more > 0;
	case SESSION_STARTTLS:
		session_tls_up(k->s, &k->tls, &k->names);
		return true;
	case SESSION_WAIT:
		if (k->auth_pending) {
			k->auth_pending = false;
			session_auth_done(k->s,
			    k->auth_ok ? SESSION_AUTH_OK : SESSION_AUTH_FAILED);
		} else if (k->no_answer) {
			return false;
		} else if (k->lose_queue) {
			k->open_mid = 0;
			session_queue_lost(k->s);
		} else {
			k->open_mid = 0;
			session_submit_done(
			    k->s, mid, k->done.code != 0 ? &k->done : &ok);
		}
		script_collect(k);
		return true;
	case SESSION_CLOSE:
		break;
	}
	return false;
}

/* Feed one group of the client in pieces of step bytes. False: it ended. */
static inline bool
script_feed(struct script *k, const void *data, size_t len, size_t step)
{
	const char *p = data;
	size_t n, have;

	while (len > 0) {
		have = len < step ? len : step;
		n = session_input(k->s, p, have);
		p += n;
		len -= n;
		if (!script_serve(k))
			return false;
		if (n == 0 && session_wants(k->s) == SESSION_READ &&
		    have == step)
			(void)session_input(k->s, p, 0);
	}
	/* answers may have to be given behind the last byte */
	while (session_wants(k->s) != SESSION_READ) {
		if (!script_serve(k))
			return false;
		(void)session_input(k->s, p, 0);
		script_collect(k);
	}
	return true;
}

static inline void
script_done(struct script *k)
{
	session_free(k->s);
	k->s = NULL;
	assert(k->reserved == 0);
	assert(!k->auth_pending);
	buf_done(&k->out);
	buf_done(&k->rec);
	buf_done(&k->body);
}

#endif
