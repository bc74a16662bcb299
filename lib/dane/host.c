/*
 * host.c - from the addresses of a host to its TLSA records; see host.h. Never
 * does I/O, never logs.
 */
#include "lib/dane/host.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the end --------------------------------------------------------------------- */

static void finish(struct dane_host *h, enum facts_tlsa state, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

static void
finish(struct dane_host *h, enum facts_tlsa state, const char *fmt, ...)
{
	va_list ap;

	h->step = DANE_STEP_DONE;
	h->state = state;
	va_start(ap, fmt);
	(void)vsnprintf(h->reason, sizeof(h->reason), fmt, ap);
	va_end(ap);
}

static void
finish_doubt(struct dane_host *h, const struct dns_answer *a)
{
	h->why = a->why;
	finish(h, FACTS_TLSA_INDETERMINATE, "%s of %.90s: %.80s",
	    dns_type_str(a->type), a->name, a->reason);
}

/* ---- candidates -------------------------------------------------------------------- */

static void
add_base(struct dane_host *h, const char *name)
{
	if (h->n_bases > 0 && strcmp(h->bases[0], name) == 0)
		return;
	(void)snprintf(h->bases[h->n_bases++], DNS_NAME_SIZE, "%s", name);
}

/* "_25._tcp." and the base. False: longer than any name can be, so that in DNS
 * there is nothing of that name. */
static bool
owner_name(const struct dane_host *h, char ret[DNS_NAME_SIZE])
{
	int n = snprintf(
	    ret, DNS_NAME_SIZE, "_%u._tcp.%s", h->port, h->bases[h->at]);

	return n > 0 && n <= DNS_NAME_MAX && dns_name_is_normal(ret);
}

/* To the next candidate that can be asked for, or to the end. */
static void
ask_base(struct dane_host *h)
{
	char owner[DNS_NAME_SIZE];

	h->step = DANE_STEP_TLSA;
	while (h->at < h->n_bases && !owner_name(h, owner))
		h->at++;
	if (h->at < h->n_bases)
		return;
	if (h->insecure)
		finish(h, FACTS_TLSA_INSECURE,
		    "the answer for TLSA records of %.90s is not secure",
		    h->name);
	else
		finish(h, FACTS_TLSA_ABSENT, "%s", "");
}

/* ---- addresses ---------------------------------------------------------------------- */

/* The answer that says most of how far the host's name is secure: one family
 * may have failed or be empty, and that does not weaken the other. */
static const struct dns_answer *
telling(const struct dns_answer *a, const struct dns_answer *aaaa)
{
	bool has_a = a != NULL && a->kind == DNS_DATA,
	     has_aaaa = aaaa != NULL && aaaa->kind == DNS_DATA;

	if (!has_a)
		return has_aaaa ? aaaa : NULL;
	return has_aaaa && aaaa->state > a->state ? aaaa : a;
}

void
dane_host_start(struct dane_host *h, const char *name, uint16_t port,
    const struct dns_answer *a, const struct dns_answer *aaaa)
{
	const struct dns_answer *addr = telling(a, aaaa);
	char canon[DNS_NAME_SIZE];

	memset(h, 0, sizeof(*h));
	(void)snprintf(h->name, sizeof(h->name), "%s", name);
	h->port = port;
	h->ttl_s = UINT32_MAX;
	if (addr == NULL) {
		finish(
		    h, FACTS_TLSA_NOT_ASKED, "%s", "the host has no address");
	} else if (addr->state == DNS_SECURE && addr->chain) {
		/* the fully expanded name, then the original (DANE-18) */
		if (dns_name_normalise(addr->canon, canon) < 0) {
			/* there may be records that cannot be asked for */
			h->why = DNS_WHY_NAME;
			finish(h, FACTS_TLSA_INDETERMINATE, "%s",
			    "the host is an alias of something that is no host "
			    "name");
			return;
		}
		add_base(h, canon);
		add_base(h, h->name);
		ask_base(h);
	} else if (addr->state == DNS_SECURE) {
		add_base(h, h->name);
		ask_base(h);
	} else if (addr->chain) {
		/* insecure somewhere along the chain: here already? */
		h->step = DANE_STEP_CNAME;
	} else {
		finish(h, FACTS_TLSA_INSECURE, "%s",
		    "the host's address is not secure");
	}
}

/* ---- answers ---------------------------------------------------------------------------- */

/* The alias as such. Secure: the zone of the host's own name is signed, and that
 * name alone is a candidate (DANE-19). */
static void
take_cname(struct dane_host *h, const struct dns_answer *a)
{
	if (a->state == DNS_INDETERMINATE) {
		finish_doubt(h, a);
	} else if (a->state == DNS_INSECURE) {
		finish(h, FACTS_TLSA_INSECURE, "%s",
		    "the host is an alias that is not secure");
	} else {
		add_base(h, h->name);
		ask_base(h);
	}
}

static int
keep_records(struct dane_host *h, const struct dns_answer *a)
{
	size_t i, n = a->rrs_len;
	int r;

	h->found = calloc(n, sizeof(h->found[0]));
	h->fates = calloc(n, sizeof(h->fates[0]));
	h->rrs = calloc(DANE_RECORDS_MAX, sizeof(h->rrs[0]));
	if (h->found == NULL || h->fates == NULL || h->rrs == NULL)
		return -ENOMEM;
	r = dns_answer_dup(a, &h->answer);
	if (r < 0)
		return -ENOMEM;
	for (i = 0; i < n; i++) {
		const struct dns_rr *rr = &h->answer->rrs[i];

		h->found[i].usage = rr->usage;
		h->found[i].selector = rr->selector;
		h->found[i].mtype = rr->mtype;
		h->found[i].data = rr->data;
		h->found[i].data_len = rr->data_len;
	}
	h->n_found = n;
	h->n_rrs = dane_select(h->found, n, h->rrs, h->fates);
	return dane_digest(h->bases[h->at], h->rrs, h->n_rrs, h->digest);
}

static int
take_records(struct dane_host *h, const struct dns_answer *a)
{
	int r = keep_records(h, a);

	if (r < 0) {
		dane_host_done(h);
		h->why = DNS_WHY_BUSY;
		finish(h, FACTS_TLSA_INDETERMINATE, "%s", "out of memory");
		return r;
	}
	h->base = h->bases[h->at];
	if (h->n_rrs > 0)
		finish(h, FACTS_TLSA_USABLE, "%s", "");
	else
		finish(
		    h, FACTS_TLSA_UNUSABLE, "%s", dane_fate_text(h->fates[0]));
	return 0;
}

static int
take_tlsa(struct dane_host *h, const struct dns_answer *a)
{
	if (a->state == DNS_INDETERMINATE) {
		finish_doubt(h, a);
		return 0;
	}
	if (a->state == DNS_SECURE && a->kind == DNS_DATA)
		return take_records(h, a);
	/* insecure records are none, secure absence is one (DANE-21): either
	 * way the next candidate may have some */
	h->insecure = h->insecure || a->state == DNS_INSECURE;
	h->at++;
	ask_base(h);
	return 0;
}

bool
dane_host_next(const struct dane_host *h, struct dane_question *ret_q)
{
	switch (h->step) {
	case DANE_STEP_CNAME:
		(void)snprintf(ret_q->name, sizeof(ret_q->name), "%s", h->name);
		ret_q->type = DNS_CNAME;
		return true;
	case DANE_STEP_TLSA:
		ret_q->type = DNS_TLSA;
		return owner_name(h, ret_q->name);
	case DANE_STEP_DONE:
	default:
		return false;
	}
}

int
dane_host_take(struct dane_host *h, const struct dns_answer *a)
{
	struct dane_question q;

	if (!dane_host_next(h, &q) || a->type != q.type ||
	    strcmp(a->name, q.name) != 0)
		return -EINVAL;
	if (a->ttl_s < h->ttl_s)
		h->ttl_s = a->ttl_s;
	if (h->step == DANE_STEP_TLSA)
		return take_tlsa(h, a);
	take_cname(h, a);
	return 0;
}

void
dane_host_done(struct dane_host *h)
{
	free(h->found);
	free(h->fates);
	free(h->rrs);
	dns_answer_free(h->answer);
	h->found = h->rrs = NULL;
	h->fates = NULL;
	h->answer = NULL;
	h->base = NULL;
	h->n_found = h->n_rrs = 0;
}

void
dane_host_facts(const struct dane_host *h, struct facts_host *fh)
{
	bool usable = h->state == FACTS_TLSA_USABLE;

	fh->tlsa = h->state;
	fh->tlsa_text = h->reason[0] != '\0' ? h->reason : NULL;
	fh->tlsa_base = h->base;
	/* of an unusable set all are shown: there is nothing to match */
	fh->tlsa_rrs = usable ? h->rrs : h->found;
	fh->n_tlsa_rrs = usable ? h->n_rrs : h->n_found;
	memcpy(fh->tlsa_digest, h->digest, sizeof(fh->tlsa_digest));
}
