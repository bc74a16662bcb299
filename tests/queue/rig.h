/*
 * rig.h - the queue process inside a test: real store in a temporary directory,
 * real writer thread, real channels; the test plays smtpd, deliver and admin.
 */
#ifndef POSTERN_TESTS_QUEUE_RIG_H
#define POSTERN_TESTS_QUEUE_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/buf.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/base/hash.h"
#include "lib/conf/conf.h"
#include "lib/ipc/chan.h"
#include "queue/queue.h"
#include "tests/lib/conf/memory.h"

#define UNUSED_FN __attribute__((unused))

enum { GOT_MAX = 20000, DONE_MAX = 4096 };

/* A message that the worker was given. */
struct got {
	uint64_t dest_id, mid;
	uint32_t rids[HAND_RCPTS_MAX], n;
	uint32_t attempts;
	char sender[128], address[256];
	uint32_t flags;
	uint8_t *body; /* NULL: fd */
	size_t body_len;
	int64_t fd_size; /* -1: inline */
};

struct rig_worker {
	struct rig *rig;
	struct ipc_chan *chan;
	struct got got[GOT_MAX];
	uint32_t n_got, taken;
	struct hand_offer offers[GOT_MAX];
	char offer_domain[64]; /* of the last one */
	uint32_t n_offers, n_more, n_ends, n_close;
	uint32_t last_ready;
	bool down;
};

struct rig {
	char dir[64];
	int dir_fd;
	uv_loop_t loop;
	struct ipc_hub hub;
	struct conf *conf;
	struct store *store;
	struct queue q;
	bool up;
	size_t map_size;
	int broken; /* peers that broke a rule */
	bool drained;
	/* smtpd */
	struct ipc_chan *smtpd;
	bool smtpd_down, accepting;
	uint64_t first_mid, next_mid, end_mid;
	uint32_t n_grants, n_ok, n_later;
	uint16_t last_code;
	/* deliver */
	struct rig_worker w[2];
	/* admin */
	struct ipc_chan *admin;
	struct buf doc;
	bool answered;
	uint16_t answer_code;
};

/* ---- playing smtpd --------------------------------------------------------- */

static int
rig_on_done(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig *r = peer;
	struct submit_done m;

	(void)im;
	assert_int_equal(submit_done_decode(rd, &m), 0);
	if (m.result == SUBMIT_OK)
		r->n_ok++;
	else
		r->n_later++;
	r->last_code = m.code;
	return 0;
}

static int
rig_on_grant(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig *r = peer;
	struct ids_grant m;

	(void)im;
	assert_int_equal(ids_grant_decode(rd, &m), 0);
	if (m.kind == ID_MID) {
		r->first_mid = r->next_mid = m.first;
		r->end_mid = m.first + m.count;
	}
	r->n_grants++;
	return 0;
}

static int
rig_on_state(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig *r = peer;
	struct queue_state m;

	(void)im;
	assert_int_equal(queue_state_decode(rd, &m), 0);
	r->accepting = m.accepting;
	return 0;
}

static void
rig_smtpd_down(void *peer, int why, const char *text)
{
	struct rig *r = peer;

	(void)why;
	(void)text;
	r->smtpd_down = true;
}

static const struct ipc_rule rig_smtpd_rules[] = {
	{ SUBMIT_DONE, 1, 4096, IPC_ANY, 0, rig_on_done },
	{ IDS_GRANT, 1, 64, IPC_ANY, 0, rig_on_grant },
	{ QUEUE_STATE, 1, 4096, IPC_ANY, 0, rig_on_state },
};
static const struct ipc_spec rig_smtpd_spec = { .name = "queue",
	.rules = rig_smtpd_rules,
	.n_rules = 3,
	.on_down = rig_smtpd_down };

/* ---- playing deliver ------------------------------------------------------- */

static int
rig_on_offer(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig_worker *w = peer;
	struct hand_offer m;

	(void)im;
	assert_int_equal(hand_offer_decode(rd, &m), 0);
	snprintf(w->offer_domain, sizeof(w->offer_domain), "%s", m.domain);
	m.domain = m.gateway = NULL;
	w->offers[w->n_offers++ % GOT_MAX] = m;
	return 0;
}

static int
rig_on_more(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig_worker *w = peer;
	struct hand_more m;

	(void)im;
	assert_int_equal(hand_more_decode(rd, &m), 0);
	w->n_more++;
	return 0;
}

static int
rig_on_message(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	static struct hand_message m;
	struct rig_worker *w = peer;
	struct got *g = &w->got[w->n_got % GOT_MAX];
	struct stat sb;
	uint32_t i;

	assert_int_equal(hand_message_decode(rd, &m), 0);
	free(g->body);
	memset(g, 0, sizeof(*g));
	w->n_got++;
	g->dest_id = m.dest_id;
	g->mid = m.mid;
	g->flags = m.flags;
	g->n = m.n_rcpts;
	for (i = 0; i < m.n_rcpts; i++)
		g->rids[i] = m.rcpts[i].rid;
	g->attempts = m.rcpts[0].attempts;
	snprintf(g->sender, sizeof(g->sender), "%s", m.sender);
	snprintf(g->address, sizeof(g->address), "%s", m.rcpts[0].address);
	g->fd_size = -1;
	if (im->fd >= 0) {
		assert_int_equal(fstat(im->fd, &sb), 0);
		assert_int_equal(fcntl(im->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
		g->fd_size = sb.st_size;
		assert_int_equal((uint64_t)sb.st_size, m.size);
	} else {
		assert_int_equal(m.body_len, m.size);
		g->body = malloc(m.body_len + 1);
		memcpy(g->body, m.body, m.body_len);
		g->body[m.body_len] = 0;
		g->body_len = m.body_len;
	}
	return 0;
}

static int
rig_on_end(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig_worker *w = peer;
	struct hand_pull_end m;

	(void)im;
	assert_int_equal(hand_pull_end_decode(rd, &m), 0);
	w->last_ready = m.ready;
	w->n_ends++;
	return 0;
}

static int
rig_on_close(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig_worker *w = peer;
	struct hand_dest m;

	(void)im;
	assert_int_equal(hand_dest_decode(rd, &m), 0);
	w->n_close++;
	return 0;
}

static int
rig_on_worker_grant(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct ids_grant m;

	(void)im;
	(void)peer;
	assert_int_equal(ids_grant_decode(rd, &m), 0);
	return 0;
}

static void
rig_worker_down(void *peer, int why, const char *text)
{
	struct rig_worker *w = peer;

	(void)why;
	(void)text;
	w->down = true;
}

static const struct ipc_rule rig_worker_rules[] = {
	{ HAND_OFFER, 1, 4096, IPC_ANY, 0, rig_on_offer },
	{ HAND_MORE, 1, 64, IPC_ANY, 0, rig_on_more },
	{ HAND_MESSAGE, 1, 1 << 20, IPC_ANY, 0, rig_on_message },
	{ HAND_MESSAGE_FD, 1, 1 << 20, IPC_ANY, IPC_FD, rig_on_message },
	{ HAND_PULL_END, 1, 64, IPC_ANY, 0, rig_on_end },
	{ HAND_CLOSE, 1, 64, IPC_ANY, 0, rig_on_close },
	{ IDS_GRANT, 1, 64, IPC_ANY, 0, rig_on_worker_grant },
};
static const struct ipc_spec rig_worker_spec = { .name = "queue",
	.rules = rig_worker_rules,
	.n_rules = 7,
	.on_down = rig_worker_down };

/* ---- playing admin --------------------------------------------------------- */

static int
rig_on_adm_data(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig *r = peer;

	return buf_put(&r->doc, rd->p, im->len);
}

static int
rig_on_adm_end(void *peer, struct ipc_msg *im, struct ipc_rd *rd)
{
	struct rig *r = peer;
	struct adm_end m;

	(void)im;
	assert_int_equal(adm_end_decode(rd, &m), 0);
	r->answered = true;
	r->answer_code = m.code;
	return 0;
}

static void
rig_admin_down(void *peer, int why, const char *text)
{
	(void)peer;
	(void)why;
	(void)text;
}

static const struct ipc_rule rig_admin_rules[] = {
	{ ADM_DATA, 0, ADM_PIECE_MAX, IPC_ANY, IPC_CREDIT, rig_on_adm_data },
	{ ADM_END, 1, 4096, IPC_ANY, 0, rig_on_adm_end },
};
static const struct ipc_spec rig_admin_spec = { .name = "queue",
	.rules = rig_admin_rules,
	.n_rules = 2,
	.on_down = rig_admin_down };

/* ---- life ------------------------------------------------------------------- */

static void
rig_on_broken(void *arg, enum role role, uint32_t instance, const char *text)
{
	struct rig *r = arg;

	(void)role;
	(void)instance;
	(void)text;
	r->broken++;
}

static void
rig_on_drained(void *arg)
{
	struct rig *r = arg;

	r->drained = true;
}

/* Turn the loop until cond holds; fail after twenty seconds. */
#define RIG_UNTIL(r, cond)                                     \
	do {                                                   \
		uint64_t end_ns_ = uv_hrtime() + 20000000000u; \
		while (!(cond)) {                              \
			uv_run(&(r)->loop, UV_RUN_ONCE);       \
			if (uv_hrtime() > end_ns_)             \
				fail_msg("no end: %s", #cond); \
		}                                              \
	} while (0)

static bool
rig_idle(const struct rig *r)
{
	return writer_waiting(r->q.writer) == 0 && pool_waiting(r->q.pool) == 0;
}

/* Everything that is under way has come back. */
static UNUSED_FN void
rig_settle(struct rig *r)
{
	int quiet = 0;

	/* all ends of all channels are on this loop: when some turns in a row
	 * leave the threads idle, nothing is under way any more */
	while (quiet < 12) {
		RIG_UNTIL(r, rig_idle(r));
		uv_run(&r->loop, UV_RUN_NOWAIT);
		quiet = rig_idle(r) ? quiet + 1 : 0;
	}
}

static UNUSED_FN void
rig_worker_up(struct rig *r, int i, uint32_t slots)
{
	struct rig_worker *w = &r->w[i];
	struct hand_want m = { slots };
	int fd[2];

	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(queue_peer_deliver(&r->q, (uint32_t)i, fd[0]), 0);
	w->rig = r;
	w->down = false;
	assert_int_equal(
	    ipc_chan_new(&r->hub, fd[1], &rig_worker_spec, w, &w->chan), 0);
	RIG_UNTIL(r, ipc_chan_is_up(w->chan));
	hand_want_encode(ipc_send_begin(w->chan, HAND_WANT, 0), &m);
	assert_int_equal(ipc_send_end(w->chan, -1), 0);
}

static UNUSED_FN void
rig_worker_kill(struct rig *r, int i)
{
	ipc_chan_free(r->w[i].chan);
	r->w[i].chan = NULL;
	RIG_UNTIL(r, LIST_EMPTY(&r->q.workers) || i > 0);
	rig_settle(r);
}

static UNUSED_FN void
rig_ask_ids(struct rig *r, uint32_t n)
{
	struct ids_ask m = { ID_MID, n };
	uint32_t before = r->n_grants;

	ids_ask_encode(ipc_send_begin(r->smtpd, IDS_ASK, 1), &m);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
	RIG_UNTIL(r, r->n_grants > before);
}

/* Store and loop's side; again after rig_stop(). */
static UNUSED_FN void
rig_start(struct rig *r)
{
	char err[256];
	int fd[2];

	memset(&r->q, 0, sizeof(r->q));
	assert_int_equal(body_dirs_make(r->dir_fd), 0);
	if (store_open(r->dir, r->dir_fd, r->map_size, &r->store, err,
		sizeof(err)) != 0)
		fail_msg("store: %s", err);
	assert_int_equal(queue_threads_start(&r->q, &r->loop, r->store), 0);
	r->q.arg = r;
	r->q.on_broken = rig_on_broken;
	r->q.on_drained = rig_on_drained;
	assert_int_equal(
	    queue_init(&r->q, &r->loop, &r->hub, r->conf, r->store), 0);
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(queue_peer_smtpd(&r->q, 0, fd[0]), 0);
	r->smtpd_down = false;
	r->broken = 0;
	assert_int_equal(
	    ipc_chan_new(&r->hub, fd[1], &rig_smtpd_spec, r, &r->smtpd), 0);
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(queue_peer_admin(&r->q, 0, fd[0]), 0);
	assert_int_equal(
	    ipc_chan_new(&r->hub, fd[1], &rig_admin_spec, r, &r->admin), 0);
	RIG_UNTIL(r, ipc_chan_is_up(r->smtpd) && ipc_chan_is_up(r->admin));
	r->up = true;
	rig_ask_ids(r, 2000);
}

/* destinations.conf of the rigs to come, when a test wants one. */
static const char *rig_destinations;

static UNUSED_FN struct rig *
rig_new(const char *settings, const char *bounce, size_t map_size)
{
	struct rig *r = calloc(1, sizeof(*r));
	struct memory_file files[4] = { { "postern.conf", settings } }, *f;
	struct conf_source src = memory_source(files);
	struct conf_errors errs = { 0 };

	assert_non_null(r);
	f = &files[1];
	if (bounce != NULL)
		*f++ = (struct memory_file){ "bounce.conf", bounce };
	if (rig_destinations != NULL)
		*f = (struct memory_file){ "destinations.conf",
			rig_destinations };
	hash_seed();
	if (getenv("RIG_LOG") == NULL)
		log_init(open("/dev/null", O_WRONLY), LOG_TEXT, LOG_CRITICAL,
		    "queue");
	else
		log_init(2, LOG_TEXT, LOG_DEBUG, "queue");
	if (conf_load(&src, &errs, &r->conf) != 0)
		fail_msg("%s", errs.v[0].text);
	conf_errors_done(&errs);
	/* in memory where there is such a place: syncs cost nothing there, and
	 * no test here cuts the power */
	snprintf(r->dir, sizeof(r->dir), "%s/postern-queue-XXXXXX",
	    getenv("RIG_DIR") != NULL		? getenv("RIG_DIR")
		: access("/dev/shm", W_OK) == 0 ? "/dev/shm"
						: "/tmp");
	assert_non_null(mkdtemp(r->dir));
	r->dir_fd = open(r->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_true(r->dir_fd >= 0);
	assert_int_equal(uv_loop_init(&r->loop), 0);
	assert_int_equal(ipc_hub_init(&r->hub, &r->loop), 0);
	buf_init(&r->doc, 16 << 20);
	r->map_size = map_size;
	rig_start(r);
	return r;
}

/* Ends what is in memory. Committed is what the writer had finished. */
static UNUSED_FN void
rig_stop(struct rig *r)
{
	int i;

	if (!r->up)
		return;
	r->up = false;
	for (i = 0; i < 2; i++) {
		ipc_chan_free(r->w[i].chan);
		r->w[i].chan = NULL;
	}
	ipc_chan_free(r->smtpd);
	ipc_chan_free(r->admin);
	queue_close(&r->q);
	for (i = 0; i < 5; i++)
		uv_run(&r->loop, UV_RUN_NOWAIT);
	store_close(r->store);
}

static int
rig_rm(const char *path, const struct stat *sb, int type, struct FTW *ftw)
{
	(void)sb;
	(void)type;
	(void)ftw;
	return remove(path);
}

static UNUSED_FN void
rig_free(struct rig *r)
{
	uint32_t i, k;

	rig_stop(r);
	ipc_hub_done(&r->hub);
	while (uv_run(&r->loop, UV_RUN_NOWAIT) != 0)
		continue;
	assert_int_equal(uv_loop_close(&r->loop), 0);
	(void)close(r->dir_fd);
	(void)nftw(r->dir, rig_rm, 16, FTW_DEPTH | FTW_PHYS);
	for (k = 0; k < 2; k++)
		for (i = 0; i < GOT_MAX && i < r->w[k].n_got; i++)
			free(r->w[k].got[i].body);
	conf_unref(r->conf);
	buf_done(&r->doc);
	free(r);
}

/* ---- acts ------------------------------------------------------------------------ */

static UNUSED_FN uint64_t
rig_begin(struct rig *r, const char *sender, uint32_t n_rcpts, enum dsn_ret ret,
    uint32_t flags)
{
	struct submit_begin m = { .icid = 5,
		.listener = "in",
		.gateway = "default",
		.sender = sender,
		.envid = "",
		.client = "192.0.2.1",
		.profile = "default",
		.ret = ret,
		.flags = flags,
		.n_rcpts = n_rcpts };
	uint64_t mid;

	if (r->next_mid == r->end_mid)
		rig_ask_ids(r, 20000);
	mid = r->next_mid++;
	submit_begin_encode(ipc_send_begin(r->smtpd, SUBMIT_BEGIN, mid), &m);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
	return mid;
}

static UNUSED_FN void
rig_rcpt(struct rig *r, uint64_t mid, uint32_t rid, const char *address,
    uint32_t notify, const char *orcpt)
{
	const char *at = strrchr(address, '@');
	struct submit_rcpt m = { rid, address, at + 1, orcpt, notify };

	submit_rcpt_encode(ipc_send_begin(r->smtpd, SUBMIT_RCPT, mid), &m);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
}

static UNUSED_FN void
rig_data(struct rig *r, uint64_t mid, const void *data, size_t len)
{
	const uint8_t *p = data;
	size_t n;
	struct ipc_wr *w;

	while (len > 0) {
		n = len < 32768 ? len : 32768;
		RIG_UNTIL(r, ipc_chan_credit(r->smtpd) >= n);
		w = ipc_send_begin_credit(r->smtpd, SUBMIT_DATA, mid);
		if (w->err == 0)
			w->err = buf_put(w->b, p, n);
		assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
		p += n;
		len -= n;
	}
}

static UNUSED_FN void
rig_commit(struct rig *r, uint64_t mid, size_t size, uint32_t flags)
{
	struct submit_commit m = { size, flags, "<1@x>", "test" };

	submit_commit_encode(ipc_send_begin(r->smtpd, SUBMIT_COMMIT, mid), &m);
	assert_int_equal(ipc_send_end(r->smtpd, -1), 0);
}

static const char rig_text[] = "From: a@b.example\r\nSubject: test\r\n\r\n"
			       "Hello.\r\n";

/* One message to one recipient, without waiting. */
static UNUSED_FN uint64_t
rig_post(struct rig *r, const char *sender, const char *rcpt)
{
	uint64_t mid = rig_begin(r, sender, 1, DSN_RET_NONE, 0);

	rig_rcpt(r, mid, 0, rcpt, 0, "");
	rig_data(r, mid, rig_text, sizeof(rig_text) - 1);
	rig_commit(r, mid, sizeof(rig_text) - 1, 0);
	return mid;
}

/* The same, and its 250. */
static UNUSED_FN uint64_t
rig_send(struct rig *r, const char *sender, const char *rcpt)
{
	uint32_t before = r->n_ok;
	uint64_t mid = rig_post(r, sender, rcpt);

	RIG_UNTIL(r, r->n_ok > before);
	return mid;
}

static UNUSED_FN void
rig_pull(struct rig *r, int i, uint64_t dest, uint32_t max, uint32_t rcpts)
{
	struct rig_worker *w = &r->w[i];
	struct hand_pull m = { dest, max, rcpts };
	uint32_t before = w->n_ends;

	hand_pull_encode(ipc_send_begin(w->chan, HAND_PULL, 7), &m);
	assert_int_equal(ipc_send_end(w->chan, -1), 0);
	RIG_UNTIL(r, w->n_ends > before || w->down);
}

/* Wait for an offer of any destination after the first n; its id. */
static UNUSED_FN uint64_t
rig_offer(struct rig *r, int i, uint32_t n)
{
	RIG_UNTIL(r, r->w[i].n_offers > n);
	return r->w[i].offers[n % GOT_MAX].dest_id;
}

static UNUSED_FN void
rig_result_full(struct rig *r, int i, const struct got *g, enum outcome o,
    enum reason reason, uint16_t code, const char *status, const char *reply,
    bool relayed)
{
	static struct hand_result m;
	uint32_t k;

	memset(&m, 0, sizeof(m));
	m.dest_id = g->dest_id;
	m.mid = g->mid;
	m.dcid = 8;
	m.host = code == 0 ? "" : "mx1.c.example";
	m.address = "192.0.2.10";
	m.n_rcpts = g->n;
	for (k = 0; k < g->n; k++)
		m.rcpts[k] = (struct hand_rcpt_result){ g->rids[k], o, reason,
			code, status, reply, relayed };
	hand_result_encode(ipc_send_begin(r->w[i].chan, HAND_RESULT, 0), &m);
	assert_int_equal(ipc_send_end(r->w[i].chan, -1), 0);
}

static UNUSED_FN void
rig_result(struct rig *r, int i, const struct got *g, enum outcome o)
{
	if (o == OUTCOME_DELIVERED)
		rig_result_full(
		    r, i, g, o, REASON_NONE, 250, "2.0.0", "ok", false);
	else if (o == OUTCOME_DEFERRED)
		rig_result_full(r, i, g, o, REASON_REMOTE_4XX, 451, "4.3.2",
		    "try again later", false);
	else
		rig_result_full(r, i, g, o, REASON_REMOTE_5XX, 550, "5.1.1",
		    "no such user", false);
	rig_settle(r);
}

static UNUSED_FN void
rig_release(struct rig *r, int i, uint64_t dest)
{
	struct hand_dest m = { dest };

	hand_dest_encode(ipc_send_begin(r->w[i].chan, HAND_RELEASE, 0), &m);
	assert_int_equal(ipc_send_end(r->w[i].chan, -1), 0);
	rig_settle(r);
}

static UNUSED_FN void
rig_dest_state(struct rig *r, int i, uint64_t dest, enum dest_verdict v,
    enum reason reason)
{
	struct hand_dest_state m = { dest, v, reason, "4.4.1",
		"no answer from mx1", "mx1.c.example", 0 };

	if (v == DEST_FAILED) {
		m.status = "5.1.10";
		m.text = "the domain has a null MX";
	}
	hand_dest_state_encode(
	    ipc_send_begin(r->w[i].chan, HAND_DEST_STATE, 0), &m);
	assert_int_equal(ipc_send_end(r->w[i].chan, -1), 0);
	rig_settle(r);
}

/* Ask as admin; the document (terminated) is in r->doc. */
static UNUSED_FN const char *
rig_ask(
    struct rig *r, enum adm_op op, uint64_t num, const char *a0, const char *a1)
{
	struct adm_call m = { op, num, { a0, a1, "" } };

	buf_reset(&r->doc, 1 << 20);
	r->answered = false;
	adm_call_encode(ipc_send_begin(r->admin, ADM_CALL, 3), &m);
	assert_int_equal(ipc_send_end(r->admin, -1), 0);
	RIG_UNTIL(r, r->answered);
	assert_int_equal(buf_put(&r->doc, "", 1), 0);
	return (const char *)buf_data(&r->doc);
}

/* Time goes by, and the timers' work is done at once. */
static UNUSED_FN void
rig_advance(struct rig *r, int64_t s)
{
	rig_settle(r);
	clock_test_advance_ms(s * 1000);
	queue_expire(&r->q);
	queue_notices(&r->q);
	r->q.sched_rescan = true;
	queue_sched(&r->q);
	queue_offer(&r->q);
	rig_settle(r);
}

/* Young and old tables have no key in common, and come as one in order. */
static UNUSED_FN void
rig_check_keys(struct sview *v)
{
	struct key last;
	struct siter it;
	uint64_t n;
	size_t len;
	int db, e, cmp;

	for (db = 0; db < DB_COUNT; db++) {
		n = last.len = 0;
		e = siter_first(&it, v->txn, v->st, (enum store_db)db, NULL);
		for (; e == 0; e = siter_next(&it), n++) {
			len = last.len < it.k.mv_size ? last.len : it.k.mv_size;
			cmp = memcmp(last.b, it.k.mv_data, len);
			assert_true(
			    cmp < 0 || (cmp == 0 && last.len < it.k.mv_size));
			last.len = it.k.mv_size;
			memcpy(last.b, it.k.mv_data, last.len);
		}
		assert_int_equal(e, PE_NOT_FOUND);
		siter_end(&it);
		assert_int_equal(n, sview_count(v, (enum store_db)db));
	}
}

/* The law, and that the tables agree with it. */
static UNUSED_FN void
rig_check_law(struct rig *r)
{
	const struct rec_counters *c = writer_counters(r->q.writer);
	struct rec_rcpt rc;
	struct rec_dest rd;
	struct siter it;
	struct sview v;
	uint64_t queued = 0, dq = 0, dest_queued = 0, in_dq = 0;
	int e;

	assert_int_equal(c->accepted + c->generated,
	    c->delivered + c->bounced + c->expired + c->removed + c->queued);
	assert_int_equal(store_read_begin(r->store, &v), 0);
	rig_check_keys(&v);
	e = siter_first(&it, v.txn, v.st, DB_RCPT, NULL);
	for (; e == 0; e = siter_next(&it)) {
		assert_int_equal(
		    rec_rcpt_decode(it.v.mv_data, it.v.mv_size, &rc), 0);
		queued += rc.state == RCPT_QUEUED;
		in_dq += rc.due_s != 0;
	}
	siter_end(&it);
	dq = sview_count(&v, DB_DQ);
	e = siter_first(&it, v.txn, v.st, DB_DEST, NULL);
	for (; e == 0; e = siter_next(&it)) {
		assert_int_equal(
		    rec_dest_decode(it.v.mv_data, it.v.mv_size, &rd), 0);
		dest_queued += rd.queued;
	}
	siter_end(&it);
	store_read_end(&v);
	assert_int_equal(queued, c->queued);
	assert_int_equal(dq, in_dq);
	assert_int_equal(dest_queued, c->queued);
}

static UNUSED_FN uint64_t
rig_count(struct rig *r, enum store_db db)
{
	struct sview v;
	uint64_t n;

	assert_int_equal(store_read_begin(r->store, &v), 0);
	n = sview_count(&v, db);
	store_read_end(&v);
	return n;
}

static UNUSED_FN bool
rig_body_exists(struct rig *r, uint64_t mid)
{
	char path[128];

	snprintf(
	    path, sizeof(path), "bodies/%02x/%" PRIu64, body_dir_of(mid), mid);
	return faccessat(r->dir_fd, path, F_OK, 0) == 0;
}

#define RIG_SETTINGS                                            \
	"[postern]\nhostname = gw.example.net\n[listener in]\n" \
	"address = 127.0.0.1:2525\n[queue]\nmin_free_space = 0\n"

#endif
