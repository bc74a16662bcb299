/*
 * sts.c - sts txt, parse, match, fetch: the parts of MTA-STS, asked one thing
 * each. For people and corpora, without a node; the same code as in the node.
 */
#include "ctl/ctl.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/dns/dns.h"
#include "lib/mail/addr.h"
#include "lib/sts/fetch.h"
#include "lib/sts/match.h"
#include "lib/sts/policy.h"
#include "lib/sts/txt.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* ---- sts txt ---------------------------------------------------------------------------- */

enum { RECORDS_MAX = 256, RECORD_MAX = 64 * 1024 };

static const struct ctl_field txt_fields[] = {
	{ "rr", CTL_LISTS, false },
	{ "dns", CTL_ONE, false },
	{ NULL, CTL_ONE, false },
};

static const struct {
	const char *word;
	enum sts_txt_outcome outcome;
} dns_words[] = {
	{ "SERVFAIL", STS_TXT_TEMPORARY },
	{ "TIMEOUT", STS_TXT_TEMPORARY },
	{ "REFUSED", STS_TXT_TEMPORARY },
	{ "NXDOMAIN", STS_TXT_NONE },
	{ "NODATA", STS_TXT_NONE },
};

/* The strings of one record, joined (STS-02). From malloc(), or NULL. */
static char *
join_record(const json_t *strings, size_t *ret_len)
{
	size_t i, len = 0, n = json_array_size(strings);
	const json_t *s;
	char *text;

	for (i = 0; i < n; i++) {
		s = json_array_get(strings, i);
		if (!json_is_string(s) || json_string_length(s) > RECORD_MAX)
			return NULL;
		len += json_string_length(s);
	}
	if (!json_is_array(strings) || len > RECORD_MAX)
		return NULL;
	text = malloc(len + 1);
	if (text == NULL)
		return NULL;
	*ret_len = 0;
	for (i = 0; i < n; i++) {
		s = json_array_get(strings, i);
		memcpy(text + *ret_len, json_string_value(s),
		    json_string_length(s));
		*ret_len += json_string_length(s);
	}
	return text;
}

/* 0, or -1: not as it should be. */
static int
select_records(const json_t *list, struct sts_txt *ret)
{
	struct sts_record rr[RECORDS_MAX];
	char *text[RECORDS_MAX];
	size_t i, n = 0, want = json_array_size(list), len = 0;

	while (n < want && n < RECORDS_MAX) {
		text[n] = join_record(json_array_get(list, n), &len);
		if (text[n] == NULL)
			break;
		rr[n].data = text[n];
		rr[n++].len = len;
	}
	if (n == want)
		sts_txt_select(rr, n, ret);
	for (i = 0; i < n; i++)
		free(text[i]);
	return n == want ? 0 : -1;
}

static int
dns_word(const char *word, struct sts_txt *ret)
{
	size_t i;

	memset(ret, 0, sizeof(*ret));
	for (i = 0; i < sizeof(dns_words) / sizeof(dns_words[0]); i++)
		if (strcmp(dns_words[i].word, word) == 0) {
			ret->outcome = dns_words[i].outcome;
			(void)snprintf(ret->reason, sizeof(ret->reason),
			    ret->outcome == STS_TXT_NONE
				? "no TXT record (%s)"
				: "TXT lookup failed: %s",
			    word);
			return 0;
		}
	return -1;
}

static json_t *
answer_txt(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	const json_t *rr = json_object_get(question, "rr"),
		     *dns = json_object_get(question, "dns");
	struct sts_txt txt;
	json_t *out;

	(void)ctl;
	if ((rr == NULL) == (dns == NULL)) {
		(void)snprintf(
		    why, why_len, "one of rr (records) and dns (a failure)");
		return NULL;
	}
	if (dns != NULL && dns_word(json_string_value(dns), &txt) < 0) {
		(void)snprintf(why, why_len,
		    "dns: found '%.64s', wanted SERVFAIL, TIMEOUT, REFUSED, "
		    "NXDOMAIN or NODATA",
		    json_string_value(dns));
		return NULL;
	}
	if (rr != NULL && select_records(rr, &txt) < 0) {
		(void)snprintf(why, why_len,
		    "rr: wanted a list of records, each a list of strings");
		return NULL;
	}
	out = json_pack("{s:s, s:s}", "outcome",
	    sts_txt_outcome_word(txt.outcome), "reason", txt.reason);
	if (txt.outcome == STS_TXT_USABLE)
		(void)json_object_set_new(out, "id", json_string(txt.id));
	*ret_code = txt.outcome == STS_TXT_USABLE ? CTL_DONE : CTL_NO;
	return out;
}

int
cmd_sts_txt(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, txt_fields, answer_txt);
}

/* ---- sts parse --------------------------------------------------------------------------- */

static const struct ctl_field parse_fields[] = {
	{ "policy_file", CTL_ONE, false },
	{ "policy", CTL_ONE, false },
	{ NULL, CTL_ONE, false },
};

static json_t *
patterns(const struct sts_policy *p)
{
	json_t *list = json_array(), *s;
	const char *text;
	size_t at = 0;

	while ((text = sts_list_next(p->list, p->list_len, &at)) != NULL) {
		s = json_string(text); /* the parser let only UTF-8 through */
		(void)json_array_append_new(list, s != NULL ? s : json_null());
	}
	return list;
}

/* A whole file, but not more than is needed to see that it is too long. */
static char *
read_file(const char *path, size_t *ret_len)
{
	char *text = malloc(STS_TEXT_MAX + 1);
	FILE *f = fopen(path, "re");

	if (text == NULL || f == NULL) {
		if (f != NULL)
			(void)fclose(f);
		free(text);
		return NULL;
	}
	*ret_len = fread(text, 1, STS_TEXT_MAX + 1, f);
	if (ferror(f)) {
		free(text);
		text = NULL;
	}
	(void)fclose(f);
	return text;
}

static json_t *
parsed(const char *text, size_t len, int *ret_code)
{
	struct sts_policy p;
	char reason[128];
	json_t *out;
	int r = sts_policy_parse(text, len, &p, reason, sizeof(reason));

	*ret_code = r == 0 ? CTL_DONE : CTL_NO;
	if (r < 0)
		return json_pack("{s:s, s:n, s:n, s:[], s:s}", "verdict",
		    "invalid", "mode", "max_age", "mx", "reason", reason);
	out = json_pack("{s:s, s:s, s:I, s:o, s:s}", "verdict", "valid", "mode",
	    sts_mode_word(p.mode), "max_age", (json_int_t)p.max_age_s, "mx",
	    patterns(&p), "reason", "");
	sts_policy_done(&p);
	return out;
}

static json_t *
answer_parse(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	const json_t *file = json_object_get(question, "policy_file"),
		     *policy = json_object_get(question, "policy");
	size_t len = 0;
	char *text;
	json_t *out;

	(void)ctl;
	if ((file == NULL) == (policy == NULL)) {
		(void)snprintf(
		    why, why_len, "one of policy_file and policy (the text)");
		return NULL;
	}
	if (policy != NULL)
		return parsed(json_string_value(policy),
		    json_string_length(policy), ret_code);
	text = read_file(json_string_value(file), &len);
	if (text == NULL) {
		(void)snprintf(why, why_len, "%.160s: %s",
		    json_string_value(file), strerror(errno));
		return NULL;
	}
	out = parsed(text, len, ret_code);
	free(text);
	return out;
}

int
cmd_sts_parse(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, parse_fields, answer_parse);
}

/* ---- sts match ---------------------------------------------------------------------------- */

static const struct ctl_field match_fields[] = {
	{ "pattern", CTL_LIST, true },
	{ "mx", CTL_ONE, true },
	{ NULL, CTL_ONE, false },
};

static json_t *
answer_match(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	const json_t *list = json_object_get(question, "pattern"), *p,
		     *mx = json_object_get(question, "mx");
	const char *found = NULL;
	size_t i;

	(void)ctl;
	for (i = 0; i < json_array_size(list); i++) {
		p = json_array_get(list, i);
		if (!json_is_string(p)) {
			(void)snprintf(
			    why, why_len, "pattern: wanted a list of strings");
			return NULL;
		}
		/* a NUL inside is in no pattern and no host name */
		if (found == NULL &&
		    strlen(json_string_value(p)) == json_string_length(p) &&
		    strlen(json_string_value(mx)) == json_string_length(mx) &&
		    sts_pattern_match(
			json_string_value(p), json_string_value(mx)))
			found = json_string_value(p);
	}
	*ret_code = found != NULL ? CTL_DONE : CTL_NO;
	return json_pack(
	    "{s:b, s:s?}", "match", found != NULL, "pattern", found);
}

int
cmd_sts_match(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, match_fields, answer_match);
}

/* ---- sts fetch ---------------------------------------------------------------------------- */

enum {
	FETCH_TOTAL_MS = 60 * 1000,
	FETCH_CONNECT_MS = 10 * 1000,
	CA_MAX = 16 * 1024 * 1024,
};

static const char default_ca[] = "/etc/ssl/certs/ca-certificates.crt";

static const struct ctl_field fetch_fields[] = {
	{ "domain", CTL_ONE, true },
	{ "connect", CTL_ONE, false },
	{ "ca", CTL_ONE, false },
	{ NULL, CTL_ONE, false },
};

struct fetch_plan {
	char domain[ADDR_DOMAIN_MAX + 1];
	struct sts_addr addrs[STS_FETCH_ADDRS_MAX];
	size_t n_addrs;
	const struct conf_nets *allow;
	struct sts_fetch_settings set;
	uint8_t *ca;
	json_t *out;
};

/* "127.0.0.1:443", "[::1]:443" */
static int
parse_connect(const char *text, struct sts_addr *ret_addr, uint16_t *ret_port)
{
	const char *colon = strrchr(text, ':');
	char ip[64], *end;
	unsigned long port;
	size_t len;

	if (colon == NULL || colon[1] < '0' || colon[1] > '9')
		return -1;
	port = strtoul(colon + 1, &end, 10);
	len = (size_t)(colon - text);
	if (text[0] == '[' && len > 2 && text[len - 1] == ']') {
		text++;
		len -= 2;
	}
	if (*end != '\0' || port == 0 || port > 65535 || len >= sizeof(ip))
		return -1;
	memcpy(ip, text, len);
	ip[len] = '\0';
	*ret_port = (uint16_t)port;
	return sts_addr_parse(ip, ret_addr);
}

static int
read_ca(struct fetch_plan *plan, const char *path)
{
	FILE *f = fopen(path, "re");
	int r = -1;

	if (f == NULL)
		return -1;
	plan->ca = malloc(CA_MAX);
	if (plan->ca != NULL) {
		plan->set.ca = plan->ca;
		plan->set.ca_len = fread(plan->ca, 1, CA_MAX, f);
		r = ferror(f) ? -1 : 0;
	}
	(void)fclose(f);
	return r;
}

/* The system's own resolver: this program is no part of a node. */
static void
look_up(struct fetch_plan *plan, const struct sts_fetcher *fetcher)
{
	char buf[STS_HOST_SIZE];
	const char *host = sts_fetcher_host(fetcher, plan->domain, buf);
	struct addrinfo hints = { .ai_socktype = SOCK_STREAM }, *list = NULL,
			*ai;
	struct sts_addr *a;

	if (host == NULL || getaddrinfo(host, NULL, &hints, &list) != 0)
		return;
	for (ai = list; ai != NULL && plan->n_addrs < STS_FETCH_ADDRS_MAX;
	     ai = ai->ai_next) {
		a = &plan->addrs[plan->n_addrs++];
		a->family = ai->ai_family;
		if (ai->ai_family == AF_INET)
			memcpy(a->ip,
			    &((struct sockaddr_in *)(void *)ai->ai_addr)
				 ->sin_addr,
			    4);
		else
			memcpy(a->ip,
			    &((struct sockaddr_in6 *)(void *)ai->ai_addr)
				 ->sin6_addr,
			    16);
	}
	freeaddrinfo(list);
}

static void
on_fetched(void *arg, struct sts_fetch_result *res)
{
	struct fetch_plan *plan = arg;
	const char *outcome = res->why == STS_FETCH_OK ? "policy"
	    : res->why == STS_FETCH_INVALID	       ? "policy-invalid"
						       : "fetch-error";

	plan->out = json_pack("{s:s, s:s?, s:s, s:s}", "outcome", outcome,
	    "tlsrpt_result", sts_fetch_tlsrpt(res->why), "result",
	    sts_fetch_why_word(res->why), "reason", res->reason);
	if (res->why != STS_FETCH_OK) {
		(void)json_object_set_new(plan->out, "mode", json_null());
		(void)json_object_set_new(plan->out, "max_age", json_null());
		(void)json_object_set_new(plan->out, "mx", json_array());
		return;
	}
	(void)json_object_set_new(
	    plan->out, "mode", json_string(sts_mode_word(res->policy.mode)));
	(void)json_object_set_new(plan->out, "max_age",
	    json_integer((json_int_t)res->policy.max_age_s));
	(void)json_object_set_new(plan->out, "mx", patterns(&res->policy));
}

/* Allows the address that the caller named, whatever it is. */
static int
take_connect(struct fetch_plan *plan, const char *text)
{
	static const struct conf_net any[] = { { .family = AF_INET },
		{ .family = AF_INET6 } };
	static const struct conf_nets all = { .n = 2, .v = any };

	plan->allow = &all;
	plan->n_addrs = 1;
	return parse_connect(text, &plan->addrs[0], &plan->set.port);
}

static int
plan_fetch(struct fetch_plan *plan, json_t *question, char *why, size_t why_len)
{
	const json_t *domain = json_object_get(question, "domain"),
		     *connect = json_object_get(question, "connect"),
		     *ca = json_object_get(question, "ca");
	const char *ca_file = ca != NULL ? json_string_value(ca) : default_ca;

	plan->set.total_ms = FETCH_TOTAL_MS;
	plan->set.connect_ms = FETCH_CONNECT_MS;
	plan->set.port = 443;
	if (addr_domain_normalise(json_string_value(domain),
		json_string_length(domain), plan->domain) < 0 ||
	    plan->domain[0] == '[' || strlen(plan->domain) > DNS_NAME_MAX)
		(void)snprintf(why, why_len, "domain: '%.128s' is none",
		    json_string_value(domain));
	else if (connect != NULL &&
	    take_connect(plan, json_string_value(connect)) < 0)
		(void)snprintf(why, why_len,
		    "connect: found '%.128s', wanted IP:PORT",
		    json_string_value(connect));
	else if (read_ca(plan, ca_file) < 0)
		(void)snprintf(
		    why, why_len, "%.128s: %s", ca_file, strerror(errno));
	else
		return 0;
	return -1;
}

static json_t *
answer_fetch(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	struct fetch_plan plan = { .n_addrs = 0 };
	struct sts_fetcher *fetcher = NULL;
	struct sts_fetch *fetch;
	uv_loop_t loop;
	int r;

	(void)ctl;
	if (plan_fetch(&plan, question, why, why_len) < 0) {
		free(plan.ca);
		return NULL;
	}
	(void)uv_loop_init(&loop);
	r = sts_fetch_library_init();
	if (r == 0)
		r = sts_fetcher_new(&loop, &plan.set, &fetcher);
	if (r == 0 && plan.n_addrs == 0)
		look_up(&plan, fetcher);
	if (r == 0)
		r = sts_fetch_start(fetcher, plan.domain, plan.addrs,
		    plan.n_addrs, plan.allow, on_fetched, &plan, &fetch);
	while (r == 0 && plan.out == NULL)
		(void)uv_run(&loop, UV_RUN_ONCE);
	sts_fetcher_free(fetcher);
	(void)uv_run(&loop, UV_RUN_DEFAULT);
	(void)uv_loop_close(&loop);
	free(plan.ca);
	if (r < 0)
		(void)snprintf(why, why_len, "%s%s",
		    r == PE_TLS ? "no certificate in the CA file: " : "",
		    err_str(r));
	else
		*ret_code = strcmp(json_string_value(
				       json_object_get(plan.out, "outcome")),
				"policy") == 0
		    ? CTL_DONE
		    : CTL_NO;
	return plan.out;
}

int
cmd_sts_fetch(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, fetch_fields, answer_fetch);
}
