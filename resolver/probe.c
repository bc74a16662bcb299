/*
 * probe.c - two questions that tell whether DNSSEC works through the servers.
 *
 * Never changes what an answer is worth: an untrusted or lazy server gives
 * insecure answers by itself. This is for the operator, who may have asked for
 * DANE in vain.
 */
#include "resolver/probe.h"

#include <string.h>

#include "lib/log/log.h"

const char *
probe_str(enum probe_finding finding)
{
	switch (finding) {
	case PROBE_NONE:
		return "not probed";
	case PROBE_RUNNING:
		return "running";
	case PROBE_VALIDATES:
		return "validates";
	case PROBE_UNSIGNED:
		return "signed name came back insecure";
	case PROBE_LETS_BOGUS:
		return "broken name was answered";
	case PROBE_UNREACHABLE:
		return "signed name could not be looked up";
	}
	return "?";
}

static void probe_run(struct probe *p);

static void
on_timer(uv_timer_t *t)
{
	probe_run(t->data);
}

static void
finish(struct probe *p)
{
	if (p->next != p->now) {
		if (p->next == PROBE_VALIDATES)
			log_info(
			    "dnssec_probe", "DNSSEC: the resolver validates");
		else
			log_warn("dnssec_probe",
			    "DNSSEC: %s: DANE is not available",
			    probe_str(p->next));
	}
	p->now = p->next;
	(void)uv_timer_start(&p->timer, on_timer,
	    p->now == PROBE_VALIDATES ? PROBE_EVERY_MS : PROBE_AGAIN_MS, 0);
}

static void
on_good(void *arg, const struct dns_answer *a)
{
	struct probe *p = arg;

	if (a->state == DNS_INDETERMINATE)
		p->next = PROBE_UNREACHABLE;
	else if (a->state == DNS_INSECURE)
		p->next = PROBE_UNSIGNED;
	if (--p->open == 0)
		finish(p);
}

static void
on_bad(void *arg, const struct dns_answer *a)
{
	struct probe *p = arg;

	if (a->state != DNS_INDETERMINATE && p->next == PROBE_VALIDATES)
		p->next = PROBE_LETS_BOGUS;
	if (--p->open == 0)
		finish(p);
}

static void
ask(struct probe *p, struct resolver_req *req, const char *name,
    resolver_cb *cb)
{
	const struct dns_answer *now;

	if (name[0] == '\0')
		return;
	/* FRESH: never answered from the cache, so never at once */
	if (resolver_ask(p->r, req, name, DNS_A, RESOLVER_FRESH, cb, p, &now) ==
	    0)
		p->open++;
}

static void
probe_run(struct probe *p)
{
	p->next = PROBE_VALIDATES;
	p->open = 0;
	ask(p, &p->good_req, p->good, on_good);
	ask(p, &p->bad_req, p->bad, on_bad);
	if (p->open == 0) /* busy: later */
		(void)uv_timer_start(&p->timer, on_timer, PROBE_AGAIN_MS, 0);
}

void
probe_init(struct probe *p, uv_loop_t *loop, struct resolver *r)
{
	memset(p, 0, sizeof(*p));
	p->r = r;
	(void)uv_timer_init(loop, &p->timer); /* cannot fail */
	p->timer.data = p;
	uv_unref((uv_handle_t *)&p->timer);
}

void
probe_start(struct probe *p, const char *good, const char *bad)
{
	(void)uv_timer_stop(&p->timer);
	resolver_cancel(p->r, &p->good_req);
	resolver_cancel(p->r, &p->bad_req);
	p->good[0] = p->bad[0] = '\0';
	/* a name that is no name is as good as none */
	if (good != NULL)
		(void)dns_name_normalise(good, p->good);
	if (bad != NULL)
		(void)dns_name_normalise(bad, p->bad);
	p->now = PROBE_NONE;
	/* without a signed name nothing can be said in favour */
	if (p->good[0] == '\0')
		return;
	p->now = PROBE_RUNNING;
	probe_run(p);
}
