/*
 * fuzz_deliver_session.c - the SMTP client session against a server that says
 * anything, in pieces of any size, closes or falls silent at any point.
 *
 * Input: four bytes of choices, then what the server says; 0xff is a control
 * byte, followed by one that says what happens: 'E' end, 'T' timeout, 'H' a
 * handshake that succeeds, 'R' one whose proof is refused, 'Q' our own QUIT,
 * others: the size of the next pieces. Whatever comes, each message of ours
 * ends exactly once, with every recipient settled, and the output is bounded
 * and without a bare CR or LF.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "deliver/session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct conf_delivery delivery;
static const char *const addresses[] = { "c@d.example", "\xc3\xbc@d.example",
	"e@b\xc3\xbc.example", "f>\r\nDATA\r\n" };

struct fuzz {
	struct session *s;
	struct session_msg msg;
	struct session_rcpt rcpts[4];
	uint8_t choice[4];
	int messages;
	bool open, handshake, closed, cr;
	uint64_t taken; /* replies "250 " that the server gave in all */
};

static ssize_t
read_body(void *arg, uint64_t at, uint8_t *buf, size_t cap)
{
	static const char text[] = "a\r\n.b\r\n.\r\n\n.\n";
	struct fuzz *f = arg;
	size_t i;

	if ((f->choice[3] & 7) == 7 && at > 1000)
		return -1;
	for (i = 0; i < cap; i++)
		buf[i] = (uint8_t)text[(at + i) % (sizeof(text) - 1)];
	return (ssize_t)cap;
}

static void
begin(struct fuzz *f)
{
	size_t i;

	if (f->messages++ == 3) {
		session_quit(f->s);
		return;
	}
	memset(&f->msg, 0, sizeof(f->msg));
	memset(f->rcpts, 0, sizeof(f->rcpts));
	f->msg.sender = (f->choice[1] & 1) != 0 ? "" : "a@b.example";
	f->msg.envid = "e";
	f->msg.ret = (enum dsn_ret)(f->choice[1] % 3);
	f->msg.flags = f->choice[2] & MSG_FLAGS_ALL;
	f->msg.size = (uint64_t)f->choice[3] * f->choice[3] * 7;
	f->msg.n_rcpts = 1 + f->choice[1] % 4;
	f->msg.rcpts = f->rcpts;
	f->msg.read = read_body;
	f->msg.arg = f;
	for (i = 0; i < f->msg.n_rcpts; i++) {
		f->rcpts[i].rid = (uint32_t)i;
		f->rcpts[i].address = addresses[(i + f->choice[2]) % 4];
		f->rcpts[i].orcpt = "utf-8;\xc3\xbc@d.example";
		f->rcpts[i].notify = DSN_NOTIFY_SUCCESS;
	}
	f->open = true;
	session_send(f->s, &f->msg);
}

static void
check_done(struct fuzz *f)
{
	size_t i;

	assert(f->open);
	f->open = false;
	for (i = 0; i < f->msg.n_rcpts; i++) {
		const struct session_rcpt *rc = &f->rcpts[i];

		assert(rc->settled);
		assert(rc->outcome == OUTCOME_DELIVERED ||
		    rc->outcome == OUTCOME_DEFERRED ||
		    rc->outcome == OUTCOME_FAILED);
		if (rc->outcome == OUTCOME_DELIVERED)
			assert(
			    rc->accepted && rc->code >= 200 && rc->code < 300);
		if (rc->outcome == OUTCOME_FAILED)
			assert(rc->code == 0 || rc->code >= 500);
	}
	session_msg_done(&f->msg);
}

/* What goes out: CRLF and nothing else, whatever was stored or asked. */
static void
drain(struct fuzz *f)
{
	struct buf *out = session_out(f->s);
	const uint8_t *p = buf_data(out);
	size_t i, n = buf_len(out);

	assert(n <= SESSION_OUT_MAX);
	for (i = 0; i < n; i++) {
		assert((p[i] == '\n') == f->cr);
		f->cr = p[i] == '\r';
	}
	buf_drop(out, n);
	session_pump(f->s);
}

static void
settle(struct fuzz *f)
{
	enum session_event ev;

	while ((ev = session_next(f->s)) != SESSION_EV_NONE) {
		assert(!f->closed);
		switch (ev) {
		case SESSION_EV_STARTTLS:
			f->handshake = true;
			break;
		case SESSION_EV_READY:
			begin(f);
			break;
		case SESSION_EV_DONE:
			check_done(f);
			break;
		case SESSION_EV_CLOSE:
			assert(!f->open);
			f->closed = true;
			break;
		case SESSION_EV_NONE:
			break;
		}
	}
	(void)session_timeout_ms(f->s);
	if ((f->choice[3] & 8) == 0)
		drain(f);
	else
		session_pump(f->s);
}

static void
control(struct fuzz *f, uint8_t what, size_t *piece)
{
	switch (what) {
	case 'E':
		session_lost(f->s, "closed");
		break;
	case 'T':
		session_timeout(f->s);
		break;
	case 'H':
		if (f->handshake)
			session_tls_done(f->s, (f->choice[0] & 16) != 0);
		f->handshake = false;
		break;
	case 'R':
		if (f->handshake)
			session_refuse(f->s, REASON_CERT_UNTRUSTED, "no");
		f->handshake = false;
		break;
	case 'Q':
		session_quit(f->s);
		break;
	default:
		*piece = (size_t)what + 1;
		break;
	}
}

int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct session_conf conf = { .ehlo_name = "gw1.example.net",
		.delivery = &delivery };
	struct fuzz f = { .cr = false };
	size_t at = 4, piece = 64, n;

	if (size < 4)
		return 0;
	memcpy(f.choice, data, 4);
	conf.tls = (enum session_tls)(f.choice[0] % 3);
	if ((f.choice[0] & 32) != 0) {
		conf.auth_user = "user";
		conf.auth_secret = "secret";
	}
	f.s = session_new(&conf);
	if (f.s == NULL)
		return 0;
	while (at < size && !f.closed) {
		if (data[at] == 0xff) {
			if (at + 1 < size)
				control(&f, data[at + 1], &piece);
			at += 2;
		} else {
			for (n = 0;
			     n < piece && at + n < size && data[at + n] != 0xff;
			     n++)
				continue;
			session_input(f.s, data + at, n);
			at += n;
		}
		settle(&f);
	}
	session_lost(f.s, "end of input");
	settle(&f);
	assert(f.closed && !f.open);
	session_free(f.s);
	return 0;
}
