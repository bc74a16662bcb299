/*
 * probe.c - two questions that tell whether DNSSEC works through the servers.
 *
 * This is for the operator, who may have asked for DANE in vain. What an answer is
 * worth is decided by each answer's own server (upstream.c); only that a broken
 * name is answered is found out here.
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
	case PROBE_UNTRUSTED:
		return "no server is trusted to validate";
	}
	return "?";
}

static void probe_run(struct probe *p);

static void
on_timer(uv_timer_t *t)
{
	probe_run(t->data);
}

static const char *
todo(const struct probe *p)
{
	struct resolver_stats st;

	resolver_stats(p->r, &st);
	if (st.validates)
		return "Look at [resolver] trust_anchor, at the clock, and "
		       "whether the name servers answer with signatures";
	if (p->next == PROBE_UNREACHABLE)
		return "It is asked again";
	return st.expected
	    ? "Mail for unsigned domains waits. Mend it, or set [resolver] "
	      "dnssec = off to go on without DANE"
	    : "Mail goes on without DANE. Use a server that validates, on "
	      "this host or with [resolver] trust_ad = yes";
}

static void
finish(struct probe *p)
{
	resolver_lets_bogus(p->r, p->next == PROBE_LETS_BOGUS);
	if (p->next != p->now) {
		if (p->next == PROBE_VALIDATES)
			log_info(
			    "dnssec_probe", "DNSSEC: the resolver validates");
		else if (p->tell)
			log_warn("dnssec_probe",
			    "DANE is configured but the resolver does not "
			    "validate: %s. %s",
			    probe_str(p->next), todo(p));
	}
	p->now = p->next;
	(void)uv_timer_start(&p->timer, on_timer,
	    p->now == PROBE_VALIDATES ? PROBE_EVERY_MS : PROBE_AGAIN_MS, 0);
}

/* An answer that is not believed is one all the same. */
static bool
doubted(const struct dns_answer *a)
{
	return a->state == DNS_INDETERMINATE && a->why == DNS_WHY_UNVALIDATED;
}

static void
on_good(void *arg, const struct dns_answer *a)
{
	struct probe *p = arg;

	if (a->state == DNS_INSECURE || doubted(a))
		p->next = PROBE_UNSIGNED;
	else if (a->state == DNS_INDETERMINATE)
		p->next = PROBE_UNREACHABLE;
	if (--p->open == 0)
		finish(p);
}

static void
on_bad(void *arg, const struct dns_answer *a)
{
	struct probe *p = arg;

	/* that the name is gone says nothing */
	if ((a->kind == DNS_DATA || doubted(a)) && p->next == PROBE_VALIDATES)
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
probe_start(
    struct probe *p, bool trusted, bool tell, const char *good, const char *bad)
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
	p->tell = tell;
	p->now = PROBE_NONE;
	if (p->good[0] == '\0') {
		resolver_lets_bogus(p->r, false);
		return;
	}
	p->now = PROBE_RUNNING;
	if (trusted) {
		probe_run(p);
		return;
	}
	p->next = PROBE_UNTRUSTED;
	finish(p);
	(void)uv_timer_stop(&p->timer);
}
