/*
 * dane.c - dane verify and dane plan: the parts of DANE, asked one thing each.
 * For people and corpora, without a node; the same code as in the node.
 */
#include "ctl/ctl.h"
#include "ctl/dns.h"
#include "lib/base/clock.h"
#include "lib/base/err.h"
#include "lib/dane/plan.h"
#include "lib/dane/ssl.h"
#include "lib/mail/addr.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

enum { RECORDS_MAX = 256, RECORD_MAX = 16 * 1024, CHAIN_MAX = 32 };

/* "example.com", also with a dot at its end or as a U-label. */
static int
take_name(const char *text, char ret[DNS_NAME_SIZE])
{
	char name[ADDR_DOMAIN_MAX + 1];

	if (dns_name_normalise(text, ret) == 0)
		return 0;
	if (addr_domain_normalise(text, strlen(text), name) < 0 ||
	    name[0] == '[')
		return -1;
	return dns_name_normalise(name, ret);
}

/* A number from 0 to max, or of digits; false when it is none. */
static bool
take_number(const json_t *value, json_int_t max, json_int_t *ret)
{
	char *end;

	if (json_is_integer(value)) {
		*ret = json_integer_value(value);
		return *ret >= 0 && *ret <= max;
	}
	if (json_string_value(value) == NULL ||
	    json_string_value(value)[0] < '0' ||
	    json_string_value(value)[0] > '9')
		return false;
	errno = 0;
	*ret = strtoll(json_string_value(value), &end, 10);
	return errno == 0 && *end == '\0' && *ret <= max;
}

static json_t *
record_text(const struct facts_tlsa_rr *rr)
{
	char *text = malloc(16 + 2 * rr->data_len);
	json_t *out;
	size_t i;
	int at;

	if (text == NULL)
		return json_null();
	at = sprintf(text, "%u %u %u ", rr->usage, rr->selector, rr->mtype);
	for (i = 0; i < rr->data_len; i++)
		at += sprintf(text + at, "%02x", rr->data[i]);
	out = json_string(text);
	free(text);
	return out;
}

/* ---- dane verify ------------------------------------------------------------------- */

static const struct ctl_field verify_fields[] = {
	{ "chain", CTL_ONE, false },
	{ "chain_pem", CTL_ONE, false },
	{ "tlsa", CTL_LIST, true },
	{ "base_domain", CTL_ONE, true },
	{ "name", CTL_LIST, false },
	{ "now", CTL_NUMBER, false },
	{ NULL, CTL_ONE, false },
};

struct check {
	struct facts_tlsa_rr rrs[RECORDS_MAX], kept[DANE_RECORDS_MAX];
	enum dane_fate fates[RECORDS_MAX];
	size_t n, n_kept;
	uint8_t *data; /* of all records */
	char names[DANE_SSL_NAMES_MAX][DNS_NAME_SIZE];
	size_t n_names;
	STACK_OF(X509) * chain;
	json_int_t now_s;
};

static void
check_free(struct check *c)
{
	free(c->data);
	sk_X509_pop_free(c->chain, X509_free);
	free(c);
}

static int
take_records(struct check *c, const json_t *list, char *why, size_t why_len)
{
	size_t i, used = 0, n = json_array_size(list);
	const char *text;

	if (n > RECORDS_MAX) {
		(void)snprintf(
		    why, why_len, "tlsa: over %d records", RECORDS_MAX);
		return -1;
	}
	c->data = malloc(n * RECORD_MAX + 1);
	for (i = 0; i < n && c->data != NULL; i++) {
		text = json_string_value(json_array_get(list, i));
		if (text == NULL ||
		    dane_text_parse(
			text, c->data + used, RECORD_MAX, &c->rrs[i]) < 0) {
			(void)snprintf(why, why_len,
			    "tlsa: found '%.100s', wanted \"3 1 1 HEX\"",
			    text != NULL ? text : "");
			return -1;
		}
		used += c->rrs[i].data_len;
	}
	c->n = i;
	c->n_kept = dane_select(c->rrs, c->n, c->kept, c->fates);
	return 0;
}

static int
add_name(struct check *c, const json_t *value, char *why, size_t why_len)
{
	const char *text = json_string_value(value);

	if (c->n_names == DANE_SSL_NAMES_MAX) {
		(void)snprintf(why, why_len, "name: over %d names",
		    DANE_SSL_NAMES_MAX - 1);
		return -1;
	}
	if (text == NULL || take_name(text, c->names[c->n_names]) < 0) {
		(void)snprintf(why, why_len, "'%.128s' is no domain name",
		    text != NULL ? text : "");
		return -1;
	}
	c->n_names++;
	return 0;
}

/* Borrows text. The reason goes to why. */
static int
take_chain(struct check *c, BIO *bio, const char *what, char *why, size_t len)
{
	X509 *cert;
	unsigned long e;

	if (bio == NULL) {
		(void)snprintf(
		    why, len, "chain: %.160s: %s", what, strerror(errno));
		ERR_clear_error();
		return -1;
	}
	c->chain = sk_X509_new_null();
	while (c->chain != NULL && sk_X509_num(c->chain) < CHAIN_MAX &&
	    (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL)) != NULL)
		if (sk_X509_push(c->chain, cert) <= 0) {
			X509_free(cert);
			break;
		}
	e = ERR_peek_last_error();
	ERR_clear_error();
	if (sk_X509_num(c->chain) > 0 &&
	    (e == 0 || ERR_GET_REASON(e) == PEM_R_NO_START_LINE))
		return 0;
	(void)snprintf(
	    why, len, "chain: %.160s: no chain of certificates in PEM", what);
	return -1;
}

static int
take_check(struct check *c, json_t *q, char *why, size_t why_len)
{
	const json_t *file = json_object_get(q, "chain"),
		     *pem = json_object_get(q, "chain_pem"),
		     *names = json_object_get(q, "name"),
		     *now = json_object_get(q, "now");
	BIO *bio;
	size_t i;
	int r;

	if ((file == NULL) == (pem == NULL)) {
		(void)snprintf(why, why_len,
		    "one of chain (a file) and chain_pem (its text)");
		return -1;
	}
	c->now_s = clock_now_s();
	if (now != NULL &&
	    !take_number(now, INT32_MAX * (json_int_t)1000, &c->now_s)) {
		(void)snprintf(why, why_len, "now: wanted Unix seconds");
		return -1;
	}
	if (take_records(c, json_object_get(q, "tlsa"), why, why_len) < 0 ||
	    add_name(c, json_object_get(q, "base_domain"), why, why_len) < 0)
		return -1;
	for (i = 0; i < json_array_size(names); i++)
		if (add_name(c, json_array_get(names, i), why, why_len) < 0)
			return -1;
	errno = 0;
	bio = file != NULL ? BIO_new_file(json_string_value(file), "r")
			   : BIO_new_mem_buf(json_string_value(pem),
				 (int)json_string_length(pem));
	r = take_chain(c, bio,
	    file != NULL ? json_string_value(file) : "chain_pem", why, why_len);
	BIO_free(bio);
	return r;
}

/* No record counts: why not, of the first. */
static json_t *
unusable(const struct check *c)
{
	char text[128] = "there is no TLSA record";

	if (c->n > 0)
		(void)snprintf(text, sizeof(text), "%u %u %u: %s",
		    c->rrs[0].usage, c->rrs[0].selector, c->rrs[0].mtype,
		    dane_fate_text(c->fates[0]));
	return json_pack(
	    "{s:s, s:s, s:n}", "outcome", "unusable", "reason", text, "depth");
}

static json_t *
answer_verify(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	struct check *c = calloc(1, sizeof(*c));
	struct dane_want want = { .n_names = 0 };
	struct dane_proof p;
	json_t *out = NULL;
	int r = -ENOMEM;
	size_t i;

	(void)ctl;
	if (c == NULL || take_check(c, question, why, why_len) < 0) {
		if (c != NULL)
			check_free(c);
		return NULL;
	}
	for (i = 0; i < c->n_names; i++)
		want.names[want.n_names++] = c->names[i];
	want.rrs = c->kept;
	want.n_rrs = c->n_kept;
	r = dane_chain_verify(&want, c->chain, c->now_s, &p);
	*ret_code = r > 0 && p.ok ? CTL_DONE : CTL_NO;
	if (r < 0)
		(void)snprintf(why, why_len, "%s", err_str(r));
	else if (r == 0)
		out = unusable(c);
	else if (p.ok)
		out = json_pack("{s:s, s:s, s:i, s:s, s:o}", "outcome",
		    "authenticated", "reason", "", "depth", p.depth, "name",
		    p.name, "record", record_text(&c->kept[p.record]));
	else
		out = json_pack("{s:s, s:s, s:n, s:s}", "outcome", "fail",
		    "reason", X509_verify_cert_error_string(p.verify), "depth",
		    "tlsrpt_result", dane_tlsrpt(p.verify));
	check_free(c);
	return out;
}

int
cmd_dane_verify(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, verify_fields, answer_verify);
}

/* ---- dane plan --------------------------------------------------------------------- */

static const struct ctl_field plan_fields[] = {
	{ "domain", CTL_ONE, true },
	{ "resolver", CTL_ONE, true },
	{ "port", CTL_NUMBER, false },
	{ "trust_ad", CTL_ONE, false },
	{ NULL, CTL_ONE, false },
};

/* What is found where nothing is configured but DANE. */
static const struct verdict_settings plan_settings = {
	.tls = CONF_TLS_PREFERRED,
	.dane = CONF_DANE_OPPORTUNISTIC,
	.mta_sts = CONF_STS_OFF,
	.tls_source = "tls = preferred",
};

static const char *
action_of(const struct verdict_host *vh)
{
	if (!vh->attempt)
		return "skip";
	return verdict_level_name(vh->level);
}

/* The records that count; with all, each with what becomes of it. */
static void
put_records(json_t *out, const struct dane_host *h)
{
	json_t *tlsa = json_array(), *all = json_array();
	size_t i;

	for (i = 0; i < h->n_rrs; i++)
		(void)json_array_append_new(tlsa, record_text(&h->rrs[i]));
	for (i = 0; i < h->n_found; i++)
		(void)json_array_append_new(all,
		    json_pack("{s:o, s:b, s:s}", "record",
			record_text(&h->found[i]), "usable",
			h->fates[i] == DANE_COUNTS, "text",
			dane_fate_text(h->fates[i])));
	(void)json_object_set_new(out, "tlsa", tlsa);
	(void)json_object_set_new(out, "tlsa_found", all);
}

static const char *
tlsa_word(const struct facts_host *h)
{
	static const char *const words[] = {
		[FACTS_TLSA_INDETERMINATE] = "indeterminate",
		[FACTS_TLSA_NOT_ASKED] = "not-asked",
		[FACTS_TLSA_INSECURE] = "insecure",
		[FACTS_TLSA_ABSENT] = "absent",
		[FACTS_TLSA_UNUSABLE] = "unusable",
		[FACTS_TLSA_USABLE] = "usable",
	};

	return words[h->tlsa];
}

static json_t *
host_json(const struct verdict_host *vh, const struct dane_host *dh)
{
	const struct facts_host *h = vh->host;
	json_t *addrs = json_array(), *names = json_array(), *out;
	char text[64];
	size_t i;

	for (i = 0; i < h->n_addrs; i++) {
		union conf_addr a = h->addrs[i];

		a.in.sin_port = 0; /* the same place in both families */
		(void)json_array_append_new(addrs,
		    json_string(conf_addr_format(&a, text, sizeof(text))));
	}
	for (i = 0; i < vh->n_names; i++)
		(void)json_array_append_new(
		    names, json_string(vh->names[i].name));
	out = json_pack("{s:s, s:i, s:s, s:o, s:s?, s:o}", "host", h->name,
	    "preference", (int)h->preference, "security",
	    dns_state_str(h->addr_security), "addresses", addrs, "base_domain",
	    h->tlsa_base, "names", names);
	put_records(out, dh);
	(void)json_object_set_new(out, "tlsa_state", json_string(tlsa_word(h)));
	(void)json_object_set_new(out, "action", json_string(action_of(vh)));
	(void)json_object_set_new(
	    out, "reason", json_string(reason_word(vh->reason)));
	(void)json_object_set_new(out, "text",
	    json_string(!vh->attempt || h->tlsa_text == NULL
		    ? vh->rules[!vh->attempt ? vh->n_rules - 1 : 0].text
		    : h->tlsa_text));
	return out;
}

static json_t *
plan_json(const struct dane_plan *p, int *ret_code)
{
	static const char *const outcomes[] = {
		[VERDICT_DEFER] = "defer",
		[VERDICT_DELIVER] = "ok",
		[VERDICT_FAIL] = "fail",
		[VERDICT_DISCARD] = "fail",
	};
	const struct facts *f = dane_plan_facts(p);
	json_t *hosts = json_array(), *out;
	struct verdict *v;
	size_t i;

	if (verdict_make(&plan_settings, f, false, 0, &v) < 0) {
		json_decref(hosts);
		return NULL;
	}
	for (i = 0; i < v->n_hosts; i++)
		(void)json_array_append_new(
		    hosts, host_json(&v->hosts[i], dane_plan_host(p, i)));
	out = json_pack("{s:s, s:s, s:s, s:s, s:s, s:b, s:o}", "domain",
	    f->domain, "mx_security", dns_state_str(f->mx_state), "outcome",
	    outcomes[v->outcome], "reason", reason_word(v->reason), "text",
	    v->text, "implicit_mx", f->via == FACTS_VIA_IMPLICIT, "hosts",
	    hosts);
	*ret_code = v->outcome == VERDICT_DELIVER ? CTL_DONE : CTL_NO;
	verdict_free(v);
	return out;
}

/* Ask what the plan wants to know. 0 or a negative code. */
static int
run_plan(struct dane_plan *p, struct ctl_dns *dns)
{
	struct dane_question q;
	struct dns_answer *a;
	int r = 0;

	while (r == 0 && dane_plan_next(p, &q)) {
		a = ctl_dns_ask(dns, q.name, q.type);
		if (a == NULL)
			return -ENOMEM;
		r = dane_plan_take(p, a);
		dns_answer_free(a);
	}
	return r;
}

static json_t *
answer_plan(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	const char *domain =
	    json_string_value(json_object_get(question, "domain"));
	const char *server =
	    json_string_value(json_object_get(question, "resolver"));
	const json_t *trust = json_object_get(question, "trust_ad"),
		     *port_text = json_object_get(question, "port");
	json_int_t port = 25;
	char name[DNS_NAME_SIZE];
	struct dane_plan *plan = NULL;
	struct ctl_dns *dns = NULL;
	json_t *out = NULL;
	int r;

	(void)ctl;
	if (take_name(domain, name) < 0) {
		(void)snprintf(
		    why, why_len, "domain: '%.128s' is none", domain);
		return NULL;
	}
	if (port_text != NULL &&
	    (!take_number(port_text, 65535, &port) || port == 0)) {
		(void)snprintf(why, why_len, "port: wanted 1 to 65535");
		return NULL;
	}
	r = ctl_dns_open(server,
	    trust != NULL ? json_string_value(trust) : "loopback", &dns);
	if (r == -EINVAL)
		(void)snprintf(why, why_len,
		    "resolver: found '%.100s', wanted IP:PORT (and trust_ad "
		    "loopback, yes or no)",
		    server);
	if (r == 0)
		r = dane_plan_new(name, (uint16_t)port, &plan);
	if (r == 0)
		r = run_plan(plan, dns);
	if (r == 0)
		out = plan_json(plan, ret_code);
	if (out == NULL && why[0] == '\0')
		(void)snprintf(
		    why, why_len, "%s", err_str(r < 0 ? r : -ENOMEM));
	dane_plan_free(plan);
	ctl_dns_close(dns);
	return out;
}

int
cmd_dane_plan(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, plan_fields, answer_plan);
}
