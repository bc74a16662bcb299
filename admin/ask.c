/*
 * ask.c - one question to several owners, and their answers side by side.
 *
 * Used by api.c and rates.c. A process that is away or silent costs its own
 * answer, never the others'.
 */
#include "admin/ask.h"
#include "lib/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct part {
	struct ask *ask;
	struct owner_call *call; /* under way, else NULL */
	struct ask_answer answer;
};

struct ask {
	struct owners *owners;
	ask_cb *cb;
	void *arg;
	struct part *parts[ASK_MAX];
	size_t n, open;
	bool waiting;
};

struct ask *
ask_new(struct owners *owners, ask_cb *cb, void *arg)
{
	struct ask *ask = calloc(1, sizeof(*ask));

	if (ask == NULL)
		return NULL;
	ask->owners = owners;
	ask->cb = cb;
	ask->arg = arg;
	return ask;
}

static void
on_reply(void *arg, const struct owner_reply *r)
{
	struct part *p = arg;
	struct ask *ask = p->ask;

	p->call = NULL;
	p->answer.code = r->code;
	(void)snprintf(p->answer.text, sizeof(p->answer.text), "%s", r->text);
	if (r->code == 0) {
		p->answer.doc = *r->doc;
		buf_init(r->doc, 0);
	}
	if (--ask->open == 0 && ask->waiting)
		ask->cb(ask->arg, ask);
}

static const char *
cannot(int r)
{
	switch (r) {
	case PE_NOT_FOUND:
		return "there is no such process on this node";
	case PE_FULL:
		return "too many questions at one time";
	default:
		return "not running; it is being restarted";
	}
}

int
ask_one(struct ask *ask, enum role role, uint32_t instance,
    const struct adm_call *m, int64_t timeout_ms)
{
	struct part *p;
	int r;

	if (ask->n == ASK_MAX)
		return PE_FULL;
	p = calloc(1, sizeof(*p));
	if (p == NULL)
		return -ENOMEM;
	p->ask = ask;
	p->answer.role = role;
	p->answer.instance = instance;
	p->answer.op = m->op;
	buf_init(&p->answer.doc, 0);
	ask->parts[ask->n++] = p;
	r = owners_call(
	    ask->owners, role, instance, m, timeout_ms, on_reply, p, &p->call);
	if (r < 0) {
		p->answer.code = 503;
		(void)snprintf(
		    p->answer.text, sizeof(p->answer.text), "%s", cannot(r));
		return 0;
	}
	ask->open++;
	return 0;
}

int
ask_all(struct ask *ask, enum role role, const struct adm_call *m,
    int64_t timeout_ms)
{
	size_t i, n = owners_count(ask->owners);
	int r = 0;

	for (i = 0; i < n && r == 0; i++) {
		enum role at;
		uint32_t instance;
		bool running;

		owners_at(ask->owners, i, &at, &instance, &running);
		if (role == ROLE_COUNT || role == at)
			r = ask_one(ask, at, instance, m, timeout_ms);
	}
	return r;
}

bool
ask_wait(struct ask *ask)
{
	ask->waiting = ask->open > 0;
	return ask->waiting;
}

size_t
ask_count(const struct ask *ask)
{
	return ask->n;
}

struct ask_answer *
ask_at(struct ask *ask, size_t i)
{
	return &ask->parts[i]->answer;
}

void
ask_free(struct ask *ask)
{
	size_t i;

	if (ask == NULL)
		return;
	for (i = 0; i < ask->n; i++) {
		owner_call_cancel(ask->parts[i]->call);
		buf_done(&ask->parts[i]->answer.doc);
		free(ask->parts[i]);
	}
	free(ask);
}
