/*
 * verdict_json.c - a verdict and its facts as `explain` shows them. The field
 * names are a contract (docs/api.md): add freely, change none.
 */
#include "lib/verdict/verdict.h"
#include "lib/json/json.h"

#include <stdio.h>

static const char *
tlsa_state(enum facts_tlsa s)
{
	static const char *const words[] = {
		[FACTS_TLSA_INDETERMINATE] = "indeterminate",
		[FACTS_TLSA_NOT_ASKED] = "not-asked",
		[FACTS_TLSA_INSECURE] = "insecure",
		[FACTS_TLSA_ABSENT] = "absent",
		[FACTS_TLSA_UNUSABLE] = "unusable",
		[FACTS_TLSA_USABLE] = "usable",
	};

	return words[s];
}

static void
put_tlsa(struct json *j, const struct facts_host *h)
{
	char text[3 * 4 + 2 * 128 + 1];
	size_t i, k, n;
	int at;

	json_put_obj(j, "tlsa");
	json_put_str(j, "state", tlsa_state(h->tlsa));
	if (h->tlsa_base != NULL)
		json_put_str(j, "base_domain", h->tlsa_base);
	if (h->tlsa_text != NULL)
		json_put_str(j, "text", h->tlsa_text);
	json_put_arr(j, "records");
	for (i = 0; i < h->n_tlsa_rrs; i++) {
		const struct facts_tlsa_rr *rr = &h->tlsa_rrs[i];

		at = snprintf(text, sizeof(text), "%u %u %u ", rr->usage,
		    rr->selector, rr->mtype);
		n = rr->data_len < 128 ? rr->data_len : 120;
		for (k = 0; k < n; k++)
			at += snprintf(text + at, sizeof(text) - (size_t)at,
			    "%02x", rr->data[k]);
		json_put_str(j, NULL, text);
	}
	json_put_end_arr(j);
	json_put_end_obj(j);
}

static void
put_sts(struct json *j, const struct facts_sts_policy *p)
{
	static const char *const modes[] = { "enforce", "testing", "none" };

	json_put_obj(j, "sts");
	switch (p->state) {
	case FACTS_STS_POLICY:
		json_put_str(j, "state", "policy");
		json_put_str(j, "mode", modes[p->mode]);
		json_put_str(j, "id", p->id);
		json_put_int(j, "age_s", p->age_s);
		json_put_int(j, "max_age", p->max_age_s);
		json_put_bool(j, "stale", p->stale);
		json_put_str(j, "source", p->source);
		break;
	case FACTS_STS_INDETERMINATE:
		json_put_str(j, "state", "indeterminate");
		break;
	case FACTS_STS_NOT_ASKED:
		json_put_str(j, "state", "none");
		json_put_str(j, "source", "not-asked");
		break;
	case FACTS_STS_NONE:
		json_put_str(j, "state", "none");
		break;
	}
	json_put_str(j, "reason",
	    p->reason != NULL && p->reason[0] != '\0' ? p->reason : NULL);
	json_put_end_obj(j);
}

static void
put_host(struct json *j, const struct verdict_host *vh)
{
	const struct facts_host *h = vh->host;
	char text[64];
	size_t i;

	json_put_obj(j, NULL);
	json_put_str(j, "host", h->name);
	if (h->via != NULL)
		json_put_str(j, "route_host", h->via);
	json_put_uint(j, "preference", h->preference);
	json_put_uint(j, "port", h->port);
	json_put_arr(j, "addresses");
	for (i = 0; i < h->n_addrs; i++) {
		union conf_addr a = h->addrs[i];

		a.in.sin_port = 0; /* the same place in both families */
		json_put_str(j, NULL, conf_addr_format(&a, text, sizeof(text)));
	}
	json_put_end_arr(j);
	json_put_str(j, "security", dns_state_str(h->addr_security));
	put_tlsa(j, h);
	json_put_str(j, "verdict", vh->attempt ? "attempt" : "skip");
	json_put_str(j, "level", verdict_level_name(vh->level));
	json_put_arr(j, "names");
	for (i = 0; i < vh->n_names; i++)
		json_put_str(j, NULL, vh->names[i].name);
	json_put_end_arr(j);
	if (vh->requiretls)
		json_put_bool(j, "requiretls", true);
	json_put_str(j, "reason", reason_word(vh->reason));
	json_put_str(j, "rule", vh->rule);
	json_put_arr(j, "rules");
	for (i = 0; i < vh->n_rules; i++) {
		json_put_obj(j, NULL);
		json_put_str(j, "id", vh->rules[i].id);
		json_put_str(j, "source", vh->rules[i].source);
		json_put_str(j, "text", vh->rules[i].text);
		json_put_bool(j, "won", vh->rules[i].won);
		json_put_end_obj(j);
	}
	json_put_end_arr(j);
	json_put_end_obj(j);
}

void
verdict_json_head(
    struct json *j, const struct facts *f, const struct verdict *v)
{
	static const char *const outcomes[] = {
		[VERDICT_DEFER] = "defer",
		[VERDICT_DELIVER] = "deliver",
		[VERDICT_FAIL] = "fail",
		[VERDICT_DISCARD] = "deliver", /* accepted, and gone */
	};
	static const char *const vias[] = {
		[FACTS_VIA_MX] = "mx",
		[FACTS_VIA_IMPLICIT] = "implicit-mx",
		[FACTS_VIA_ROUTE] = "route",
		[FACTS_VIA_LITERAL] = "literal",
		[FACTS_VIA_DISCARD] = "discard",
	};
	bool asked = f->via == FACTS_VIA_MX || f->via == FACTS_VIA_IMPLICIT;

	json_put_str(j, "via", vias[f->via]);
	json_put_str(j, "mx_security",
	    !asked		  ? NULL
		: f->mx_unchecked ? "unchecked"
				  : dns_state_str(f->mx_state));
	put_sts(j, &f->sts);
	json_put_str(j, "outcome", outcomes[v->outcome]);
	json_put_str(j, "reason", reason_word(v->reason));
	json_put_str(j, "status", v->status);
	json_put_str(j, "text", v->text);
}

void
verdict_json(struct json *j, const struct facts *f, const struct verdict *v)
{
	size_t i;

	verdict_json_head(j, f, v);
	json_put_arr(j, "hosts");
	for (i = 0; i < v->n_hosts; i++)
		put_host(j, &v->hosts[i]);
	json_put_end_arr(j);
}
