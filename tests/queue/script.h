/*
 * script.h - one scripted run of the queue: accept, defer, deliver, bounce,
 * remove, hold, suspend, expire; small and large. Tests let it die anywhere and
 * look at what is left; script_told hears what the world was told meanwhile.
 */
#ifndef POSTERN_TESTS_QUEUE_SCRIPT_H
#define POSTERN_TESTS_QUEUE_SCRIPT_H

#include "tests/queue/rig.h"

struct told {
	enum {
		TOLD_KEPT = 'A', /* 250 was given */
		TOLD_END = 'E',	 /* an end is about to be told to us */
	} what;
	uint64_t mid, len;
};

static void (*script_told)(const struct told *t);

static UNUSED_FN void
tell(int what, uint64_t mid, uint64_t len)
{
	struct told t;

	memset(&t, 0, sizeof(t));
	t.what = what;
	t.mid = mid;
	t.len = len;
	script_told(&t);
}

/* Differs from page to page. */
static UNUSED_FN void
script_body(char *p, size_t len)
{
	size_t i;

	for (i = 0; i < len; i++)
		p[i] = (char)('a' + (i / 100) % 26);
}

static UNUSED_FN uint64_t
told_send(struct rig *r, const char *to, size_t len)
{
	uint32_t before = r->n_ok;
	char *body = malloc(len);
	uint64_t mid = rig_begin(r, "a@b.example", 1, DSN_RET_NONE, 0);

	script_body(body, len);
	rig_rcpt(r, mid, 0, to, 0, "");
	rig_data(r, mid, body, len);
	rig_commit(r, mid, len, 0);
	RIG_UNTIL(r, r->n_ok > before);
	tell(TOLD_KEPT, mid, len);
	free(body);
	return mid;
}

/* Accept, defer, deliver, bounce, remove, hold, expire; small and large. */
static UNUSED_FN void
script(struct rig *r)
{
	uint64_t held, removed;

	rig_worker_up(r, 0, 100);
	(void)told_send(r, "ok@one.example", 500);
	(void)told_send(r, "large@two.example", 50000);
	RIG_UNTIL(r, r->w[0].n_offers == 2);
	rig_pull(r, 0, r->w[0].offers[0].dest_id, 1, 1);
	tell(TOLD_END, r->w[0].got[0].mid, 0);
	rig_result(r, 0, &r->w[0].got[0], OUTCOME_DELIVERED);
	rig_pull(r, 0, r->w[0].offers[1].dest_id, 1, 1);
	rig_result(r, 0, &r->w[0].got[1], OUTCOME_DEFERRED);
	rig_advance(r, 70);
	rig_pull(r, 0, r->w[0].offers[1].dest_id, 1, 1);
	tell(TOLD_END, r->w[0].got[2].mid, 0);
	rig_result(r, 0, &r->w[0].got[2], OUTCOME_DELIVERED);
	(void)told_send(r, "bad@one.example", 30000);
	rig_pull(r, 0, r->w[0].offers[0].dest_id, 1, 1);
	tell(TOLD_END, r->w[0].got[3].mid, 0);
	rig_result(r, 0, &r->w[0].got[3], OUTCOME_FAILED);
	RIG_UNTIL(r, writer_counters(r->q.writer)->generated == 1);
	held = told_send(r, "held@three.example", 500);
	removed = told_send(r, "removed@three.example", 50000);
	(void)rig_ask(r, ADM_HOLD, held, "", "");
	tell(TOLD_END, removed, 0);
	(void)rig_ask(r, ADM_REMOVEMESSAGE, removed, "", "");
	(void)rig_ask(r, ADM_UNHOLD, held, "", "");
	(void)rig_ask(r, ADM_SUSPENDDEL, 0, "three.example", "");
	tell(TOLD_END, held, 0);
	rig_advance(r, 4 * 86400);
	RIG_UNTIL(r, writer_counters(r->q.writer)->expired >= 1);
	rig_settle(r);
}

#endif
