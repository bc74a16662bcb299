/*
 * inquiry_with.c - `explain --with`: what would be if a fact were another.
 *
 * Called by inquiry.c, with a plan that nobody else has. The words are a contract
 * (docs/api.md). Judges by the verdict of deliveries; nothing is stored.
 */
#include "deliver/inquiry.h"

#include "deliver/arena.h"

#include <stdio.h>
#include <string.h>

#include "lib/dane/tlsa.h"

static const char wanted[] =
    "message=ordinary|requiretls|tls-required-no, mx=secure|insecure, "
    "tlsa=absent|insecure|indeterminate|unusable, tlsa='3 1 1 HEX', sts=none, "
    "sts=indeterminate, sts.mode=enforce|testing|none, sts.id=ID or "
    "sts.mx=PATTERN,…";

/* Records that were given with tlsa=. */
struct given {
	struct facts_tlsa_rr rrs[DANE_RECORDS_MAX];
	size_t n;
};

/* ---- MTA-STS -------------------------------------------------------------------------- */

/* "a.example,*.b.example" */
static bool
replace_mx(struct plan *p, const char *value)
{
	struct facts_sts_policy *sts = &p->facts.sts;
	char *copy = arena_strdup(p->arena, value), *word;
	const char **mx;
	size_t n = 1, i;

	for (i = 0; value[i] != '\0'; i++)
		n += value[i] == ',';
	mx = arena_alloc(p->arena, n * sizeof(mx[0]));
	if (copy == NULL || mx == NULL)
		return false;
	n = 0;
	while ((word = strsep(&copy, ",")) != NULL)
		if (*word != '\0')
			mx[n++] = word;
	sts->mx = mx;
	sts->n_mx = n;
	return true;
}

static bool
replace_mode(struct facts_sts_policy *sts, const char *value)
{
	int i;

	for (i = FACTS_STS_ENFORCE; i <= FACTS_STS_MODE_NONE; i++)
		if (strcmp(value, inquiry_mode_word((enum facts_sts_mode)i)) ==
		    0) {
			sts->mode = (enum facts_sts_mode)i;
			return true;
		}
	return false;
}

/* A policy where there was none begins as this. */
static void
assume_policy(struct facts_sts_policy *sts)
{
	if (sts->state != FACTS_STS_POLICY) {
		memset(sts, 0, sizeof(*sts));
		sts->state = FACTS_STS_POLICY;
		sts->id = "";
		sts->max_age_s = 86400;
	}
	sts->source = "given";
}

static bool
replace_sts(struct plan *p, const char *name, const char *value)
{
	struct facts_sts_policy *sts = &p->facts.sts;

	if (strcmp(name, "sts") == 0) {
		bool none = strcmp(value, "none") == 0;

		if (!none && strcmp(value, "indeterminate") != 0)
			return false;
		memset(sts, 0, sizeof(*sts));
		sts->state = none ? FACTS_STS_NONE : FACTS_STS_INDETERMINATE;
		return true;
	}
	assume_policy(sts);
	if (strcmp(name, "sts.mode") == 0)
		return replace_mode(sts, value);
	if (strcmp(name, "sts.id") == 0)
		return (sts->id = arena_strdup(p->arena, value)) != NULL;
	return strcmp(name, "sts.mx") == 0 && replace_mx(p, value);
}

/* ---- the message, DNSSEC, DANE ----------------------------------------------------------- */

static bool
replace_message(struct plan *p, const char *value)
{
	if (strcmp(value, "requiretls") == 0)
		p->cls = MSG_REQUIRETLS;
	else if (strcmp(value, "tls-required-no") == 0)
		p->cls = MSG_TLS_OPTIONAL;
	else if (strcmp(value, "ordinary") == 0)
		p->cls = 0;
	else
		return false;
	return true;
}

static bool
replace_mx_state(struct plan *p, const char *value)
{
	if (strcmp(value, "secure") == 0)
		p->facts.mx_state = DNS_SECURE;
	else if (strcmp(value, "insecure") == 0)
		p->facts.mx_state = DNS_INSECURE;
	else
		return false;
	return true;
}

/* For all hosts: a delivery asks for each. */
static void
set_tlsa(struct plan *p, enum facts_tlsa state, const struct facts_tlsa_rr *rrs,
    size_t n)
{
	size_t i;

	for (i = 0; i < p->facts.n_hosts; i++) {
		struct facts_host *h = &p->facts.hosts[i];

		h->tlsa = state;
		h->tlsa_text = "given";
		h->tlsa_rrs = rrs;
		h->n_tlsa_rrs = n;
	}
}

static bool
replace_tlsa(struct plan *p, const char *value, struct given *given)
{
	static const struct {
		const char *word;
		enum facts_tlsa state;
	} states[] = {
		{ "absent", FACTS_TLSA_ABSENT },
		{ "insecure", FACTS_TLSA_INSECURE },
		{ "indeterminate", FACTS_TLSA_INDETERMINATE },
		{ "unusable", FACTS_TLSA_UNUSABLE },
	};
	size_t i, size = strlen(value);
	uint8_t *data;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(value, states[i].word) == 0) {
			given->n = 0;
			set_tlsa(p, states[i].state, NULL, 0);
			return true;
		}
	data = arena_alloc(p->arena, size + 1);
	if (data == NULL || given->n == DANE_RECORDS_MAX ||
	    dane_text_parse(value, data, size, &given->rrs[given->n]) < 0)
		return false;
	given->n++;
	return true;
}

/* The records that were given, as if DNS had said so, securely. */
static bool
apply_tlsa(struct plan *p, const struct given *given)
{
	struct facts_tlsa_rr *rrs;
	size_t n, i;

	if (given->n == 0)
		return true;
	rrs = arena_alloc(p->arena, DANE_RECORDS_MAX * sizeof(rrs[0]));
	if (rrs == NULL)
		return false;
	n = dane_select(given->rrs, given->n, rrs, NULL);
	set_tlsa(p, n > 0 ? FACTS_TLSA_USABLE : FACTS_TLSA_UNUSABLE, rrs, n);
	for (i = 0; i < p->facts.n_hosts; i++) {
		struct facts_host *h = &p->facts.hosts[i];

		if (dane_digest(h->tlsa_base != NULL ? h->tlsa_base : h->name,
			rrs, n, h->tlsa_digest) < 0)
			return false;
	}
	return true;
}

/* ---- all ----------------------------------------------------------------------------------- */

static bool
replace_one(
    struct plan *p, const char *name, const char *value, struct given *given)
{
	if (strcmp(name, "message") == 0)
		return replace_message(p, value);
	if (strcmp(name, "mx") == 0)
		return replace_mx_state(p, value);
	if (strcmp(name, "tlsa") == 0)
		return replace_tlsa(p, value, given);
	return replace_sts(p, name, value);
}

bool
inquiry_replace(struct plan *p, const char *lines, char *why, size_t why_len)
{
	char text[ADM_ARG_MAX + 1], *rest = text, *line, *eq;
	struct given given = { .n = 0 };
	struct verdict *v = NULL;

	(void)snprintf(text, sizeof(text), "%s", lines);
	while ((line = strsep(&rest, "\n")) != NULL) {
		eq = strchr(line, '=');
		if (eq != NULL)
			*eq = '\0';
		if (eq == NULL || !replace_one(p, line, eq + 1, &given)) {
			(void)snprintf(
			    why, why_len, "%.60s: wanted %s", line, wanted);
			return false;
		}
	}
	if (!apply_tlsa(p, &given) ||
	    verdict_make(&p->set, &p->facts, p->loop, p->cls, &v) < 0) {
		(void)snprintf(why, why_len, "out of memory");
		return false;
	}
	verdict_free(p->verdict);
	p->verdict = v;
	return true;
}
