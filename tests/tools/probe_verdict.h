/*
 * probe_verdict.h - the `verdict` question of probe: facts and settings in, the
 * verdict out. Part of probe.c, which includes it once; docs/probe.md lists the
 * fields. Strict: a word that is not known, or a field too many, is an error.
 */
#ifndef POSTERN_TESTS_TOOLS_PROBE_VERDICT_H
#define POSTERN_TESTS_TOOLS_PROBE_VERDICT_H

#include <arpa/inet.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "lib/proto/submit.h"
#include "lib/verdict/verdict.h"

enum { PV_HOSTS = 64, PV_ADDRS = 8, PV_TLSA = 16, PV_MX = 32 };

struct pv {
	const char *why; /* the first thing that is wrong */
	struct verdict_settings set;
	struct facts facts;
	struct facts_host hosts[PV_HOSTS];
	union conf_addr addrs[PV_HOSTS][PV_ADDRS];
	struct facts_tlsa_rr tlsa[PV_HOSTS][PV_TLSA];
	uint8_t tlsa_data[PV_HOSTS][PV_TLSA][128];
	const char *mx[PV_MX];
	uint32_t flags;
};

/* ---- words ---- */

struct pv_word {
	const char *word;
	int value;
};

static const struct pv_word pv_tls[] = { { "none", CONF_TLS_NONE },
	{ "preferred", CONF_TLS_PREFERRED }, { "required", CONF_TLS_REQUIRED },
	{ "preferred-verify", CONF_TLS_PREFERRED_VERIFY },
	{ "required-verify", CONF_TLS_REQUIRED_VERIFY },
	{ "required-verify-hosted", CONF_TLS_REQUIRED_VERIFY_HOSTED },
	{ NULL, 0 } };
static const struct pv_word pv_dane[] = { { "none", CONF_DANE_NONE },
	{ "opportunistic", CONF_DANE_OPPORTUNISTIC },
	{ "mandatory", CONF_DANE_MANDATORY }, { NULL, 0 } };
static const struct pv_word pv_sts_set[] = { { "off", CONF_STS_OFF },
	{ "on", CONF_STS_ON }, { "mandatory", CONF_STS_MANDATORY },
	{ NULL, 0 } };
static const struct pv_word pv_via[] = { { "mx", FACTS_VIA_MX },
	{ "implicit-mx", FACTS_VIA_IMPLICIT }, { "route", FACTS_VIA_ROUTE },
	{ "literal", FACTS_VIA_LITERAL }, { "discard", FACTS_VIA_DISCARD },
	{ NULL, 0 } };
static const struct pv_word pv_state[] = { { "secure", DNS_SECURE },
	{ "insecure", DNS_INSECURE }, { "indeterminate", DNS_INDETERMINATE },
	{ NULL, 0 } };
static const struct pv_word pv_kind[] = { { "none", DNS_NONE },
	{ "data", DNS_DATA }, { "nodata", DNS_NODATA },
	{ "nxdomain", DNS_NXDOMAIN }, { NULL, 0 } };
static const struct pv_word pv_addr[] = { { "data", FACTS_ADDR_DATA },
	{ "none", FACTS_ADDR_NONE },
	{ "indeterminate", FACTS_ADDR_INDETERMINATE }, { NULL, 0 } };
static const struct pv_word pv_tlsa_state[] = { { "indeterminate",
						    FACTS_TLSA_INDETERMINATE },
	{ "not-asked", FACTS_TLSA_NOT_ASKED },
	{ "insecure", FACTS_TLSA_INSECURE }, { "absent", FACTS_TLSA_ABSENT },
	{ "unusable", FACTS_TLSA_UNUSABLE }, { "usable", FACTS_TLSA_USABLE },
	{ NULL, 0 } };
static const struct pv_word pv_policy[] = { { "indeterminate",
						FACTS_STS_INDETERMINATE },
	{ "not-asked", FACTS_STS_NOT_ASKED }, { "none", FACTS_STS_NONE },
	{ "policy", FACTS_STS_POLICY }, { NULL, 0 } };
static const struct pv_word pv_mode[] = { { "enforce", FACTS_STS_ENFORCE },
	{ "testing", FACTS_STS_TESTING }, { "none", FACTS_STS_MODE_NONE },
	{ NULL, 0 } };
static const struct pv_word pv_flag[] = { { "requiretls", MSG_REQUIRETLS },
	{ "tls-required-no", MSG_TLS_OPTIONAL }, { NULL, 0 } };

/* The value of a word; dflt when the field is absent. */
static int
pv_word(struct pv *p, const json_t *obj, const char *name,
    const struct pv_word *words, int dflt)
{
	const json_t *v = json_object_get(obj, name);

	if (v == NULL)
		return dflt;
	for (; words->word != NULL && json_is_string(v); words++)
		if (strcmp(words->word, json_string_value(v)) == 0)
			return words->value;
	if (p->why == NULL)
		p->why = name;
	return dflt;
}

static const char *
pv_text(struct pv *p, const json_t *obj, const char *name, const char *dflt)
{
	const json_t *v = json_object_get(obj, name);

	if (v == NULL)
		return dflt;
	if (!json_is_string(v) && p->why == NULL)
		p->why = name;
	return json_is_string(v) ? json_string_value(v) : dflt;
}

static uint32_t
pv_number(struct pv *p, const json_t *obj, const char *name, uint32_t max,
    uint32_t dflt)
{
	const json_t *v = json_object_get(obj, name);

	if (v == NULL)
		return dflt;
	if (json_is_integer(v) && json_integer_value(v) >= 0 &&
	    json_integer_value(v) <= (json_int_t)max)
		return (uint32_t)json_integer_value(v);
	if (p->why == NULL)
		p->why = name;
	return dflt;
}

/* A list, or NULL; at most max elements. */
static const json_t *
pv_list(struct pv *p, const json_t *obj, const char *name, size_t max)
{
	const json_t *v = json_object_get(obj, name);

	if (v != NULL && (!json_is_array(v) || json_array_size(v) > max)) {
		if (p->why == NULL)
			p->why = name;
		return NULL;
	}
	return v;
}

static void
pv_known(struct pv *p, json_t *obj, const char *const *names)
{
	const char *name;
	json_t *value;
	size_t i;

	json_object_foreach(obj, name, value) {
		for (i = 0; names[i] != NULL; i++)
			if (strcmp(names[i], name) == 0)
				break;
		if (names[i] == NULL && p->why == NULL)
			p->why = name;
	}
}

/* ---- facts ---- */

static void
pv_address(struct pv *p, union conf_addr *a, const char *text, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	if (text != NULL && inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
	} else if (text != NULL &&
	    inet_pton(AF_INET6, text, &a->in6.sin6_addr) == 1) {
		a->in6.sin6_family = AF_INET6;
		a->in6.sin6_port = htons(port);
	} else if (p->why == NULL) {
		p->why = "addresses";
	}
}

/* "3 1 1 HEX" */
static void
pv_record(
    struct pv *p, struct facts_tlsa_rr *rr, uint8_t *data, const char *text)
{
	unsigned u, s, m, byte;
	int at = 0;

	if (text == NULL ||
	    sscanf(text, "%3u %3u %3u %n", &u, &s, &m, &at) != 3 || u > 255 ||
	    s > 255 || m > 255 || at == 0 || strlen(text + at) % 2 != 0 ||
	    strlen(text + at) > 256) {
		if (p->why == NULL)
			p->why = "records";
		return;
	}
	rr->usage = (uint8_t)u;
	rr->selector = (uint8_t)s;
	rr->mtype = (uint8_t)m;
	rr->data = data;
	for (text += at; *text != '\0'; text += 2) {
		if (sscanf(text, "%2x", &byte) != 1) {
			if (p->why == NULL)
				p->why = "records";
			return;
		}
		data[rr->data_len++] = (uint8_t)byte;
	}
}

static void
pv_host(struct pv *p, json_t *in, size_t at)
{
	static const char *const names[] = { "host", "via", "rank", "turn",
		"preference", "port", "bad", "address_state", "addresses",
		"security", "tlsa", NULL };
	struct facts_host *h = &p->hosts[at];
	const json_t *list, *tlsa;
	size_t i;

	if (!json_is_object(in)) {
		if (p->why == NULL)
			p->why = "hosts";
		return;
	}
	pv_known(p, in, names);
	h->name = pv_text(p, in, "host", "");
	h->via = pv_text(p, in, "via", NULL);
	h->preference = (uint16_t)pv_number(p, in, "preference", 65535, 0);
	h->rank = pv_number(p, in, "rank", UINT32_MAX, h->preference);
	h->shuffle = pv_number(p, in, "turn", UINT32_MAX, (uint32_t)at);
	h->port = (uint16_t)pv_number(p, in, "port", 65535, 25);
	h->bad = pv_text(p, in, "bad", NULL);
	list = pv_list(p, in, "addresses", PV_ADDRS);
	h->addrs = p->addrs[at];
	h->n_addrs = list == NULL ? 0 : json_array_size(list);
	for (i = 0; i < h->n_addrs; i++)
		pv_address(p, &p->addrs[at][i],
		    json_string_value(json_array_get(list, i)), h->port);
	h->addr = (enum facts_addr)pv_word(p, in, "address_state", pv_addr,
	    h->n_addrs > 0 ? FACTS_ADDR_DATA : FACTS_ADDR_NONE);
	h->addr_security =
	    (enum dns_state)pv_word(p, in, "security", pv_state, DNS_INSECURE);
	tlsa = json_object_get(in, "tlsa");
	h->tlsa = (enum facts_tlsa)pv_word(
	    p, tlsa, "state", pv_tlsa_state, FACTS_TLSA_INSECURE);
	list = pv_list(p, tlsa, "records", PV_TLSA);
	h->tlsa_rrs = p->tlsa[at];
	h->n_tlsa_rrs = list == NULL ? 0 : json_array_size(list);
	for (i = 0; i < h->n_tlsa_rrs; i++)
		pv_record(p, &p->tlsa[at][i], p->tlsa_data[at][i],
		    json_string_value(json_array_get(list, i)));
}

static void
pv_facts(struct pv *p, json_t *in)
{
	static const char *const names[] = { "domain", "via", "mx_security",
		"mx_kind", "null_mx", "hosts", "sts", NULL };
	struct facts *f = &p->facts;
	const json_t *list, *sts = json_object_get(in, "sts");
	size_t i;

	pv_known(p, in, names);
	f->domain = pv_text(p, in, "domain", "example.com");
	f->via = (enum facts_via)pv_word(p, in, "via", pv_via, FACTS_VIA_MX);
	f->mx_state = (enum dns_state)pv_word(
	    p, in, "mx_security", pv_state, DNS_INSECURE);
	f->mx_kind = (enum dns_kind)pv_word(p, in, "mx_kind", pv_kind,
	    f->mx_state == DNS_INDETERMINATE ? DNS_NONE : DNS_DATA);
	f->null_mx = json_is_true(json_object_get(in, "null_mx"));
	list = pv_list(p, in, "hosts", PV_HOSTS);
	f->hosts = p->hosts;
	f->n_hosts = list == NULL ? 0 : json_array_size(list);
	for (i = 0; i < f->n_hosts; i++)
		pv_host(p, json_array_get(list, i), i);
	f->sts.state = (enum facts_sts)pv_word(
	    p, sts, "state", pv_policy, FACTS_STS_NOT_ASKED);
	f->sts.mode = (enum facts_sts_mode)pv_word(
	    p, sts, "mode", pv_mode, FACTS_STS_ENFORCE);
	f->sts.id = pv_text(p, sts, "id", "1");
	list = pv_list(p, sts, "mx", PV_MX);
	f->sts.mx = p->mx;
	f->sts.n_mx = list == NULL ? 0 : json_array_size(list);
	for (i = 0; i < f->sts.n_mx; i++) {
		p->mx[i] = json_string_value(json_array_get(list, i));
		if (p->mx[i] == NULL) {
			p->mx[i] = "";
			if (p->why == NULL)
				p->why = "mx";
		}
	}
}

static void
pv_settings(struct pv *p, json_t *in)
{
	static const char *const names[] = { "tls", "dane", "mta_sts",
		"hostname", "max_hosts", NULL };

	pv_known(p, in, names);
	p->set.tls =
	    (enum conf_tls)pv_word(p, in, "tls", pv_tls, CONF_TLS_PREFERRED);
	p->set.dane = (enum conf_dane)pv_word(
	    p, in, "dane", pv_dane, CONF_DANE_OPPORTUNISTIC);
	p->set.mta_sts =
	    (enum conf_sts)pv_word(p, in, "mta_sts", pv_sts_set, CONF_STS_ON);
	p->set.own_names[0] = pv_text(p, in, "hostname", "gw.example.net");
	p->set.max_hosts = pv_number(p, in, "max_hosts", 1000, 0);
	p->set.tls_source = "tls";
}

static void
pv_flags(struct pv *p, const json_t *in)
{
	size_t i;
	const struct pv_word *w;
	const char *text;

	for (i = 0; i < json_array_size(in); i++) {
		text = json_string_value(json_array_get(in, i));
		for (w = pv_flag; w->word != NULL && text != NULL; w++)
			if (strcmp(w->word, text) == 0)
				break;
		if (text == NULL || w->word == NULL) {
			if (p->why == NULL)
				p->why = "flags";
			return;
		}
		p->flags |= (uint32_t)w->value;
	}
}

static const char *
pv_answer(struct pv *p, json_t *out)
{
	struct verdict *v = NULL;
	struct json j;
	struct buf b;
	json_t *doc = NULL;
	bool loop;

	loop = !verdict_order_hosts(&p->set, &p->facts);
	if (verdict_make(&p->set, &p->facts, loop, p->flags, &v) < 0)
		return "out of memory";
	buf_init(&b, 16 * 1024 * 1024);
	json_init(&j, &b);
	json_put_obj(&j, NULL);
	verdict_json(&j, &p->facts, v);
	json_put_end_obj(&j);
	if (j.err == 0)
		doc = json_loadb(
		    (const char *)buf_data(&b), buf_len(&b), 0, NULL);
	if (doc != NULL)
		(void)json_object_update(out, doc);
	json_decref(doc);
	buf_done(&b);
	verdict_free(v);
	return doc == NULL ? "the verdict could not be written" : NULL;
}

static const char *
run_verdict(json_t *in, json_t *out)
{
	static char text[160]; /* one question at a time */
	struct pv *p = calloc(1, sizeof(*p));
	const char *why = NULL;

	if (p == NULL)
		return "out of memory";
	pv_settings(p, json_object_get(in, "settings"));
	pv_facts(p, json_object_get(in, "facts"));
	pv_flags(p, json_object_get(in, "flags"));
	if (p->why != NULL) {
		(void)snprintf(text, sizeof(text),
		    "%.100s: not known, or not of its form", p->why);
		why = text;
	} else {
		why = pv_answer(p, out);
	}
	free(p);
	return why;
}

#endif
