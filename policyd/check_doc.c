/*
 * check_doc.c - the document of policyd's part of sts check (check_doc.h).
 */
#include "policyd/check_doc.h"

#include <stdio.h>

#include "lib/json/json.h"
#include "lib/proto/diag.h"
#include "policyd/record_doc.h"

static const char *const stage_words[CHECK_STAGES] = { "address", "connect",
	"certificate", "policy" };

/* Nobody says that there is a policy: then it is no fault either. */
static bool
not_used(const struct check_found *f)
{
	return f->have_txt && f->txt.outcome == STS_TXT_NONE &&
	    f->txt.announced == 0 && !f->stored && f->addresses[0] == '\0';
}

static void
put_txt(struct json *j, const struct check_found *f)
{
	char name[DNS_NAME_SIZE + 16], todo[2 * DNS_NAME_SIZE];

	(void)snprintf(name, sizeof(name), "_mta-sts.%s", f->domain);
	(void)snprintf(todo, sizeof(todo),
	    "ask its name servers: dig TXT %s; meanwhile %s", name,
	    f->stored ? "the stored policy holds"
		      : "no policy can be found, and mail waits");
	if (!f->have_txt)
		diag_put(j, "txt", name, DIAG_ERROR, todo,
		    "TXT lookup failed: no answer in time");
	else if (f->txt.outcome == STS_TXT_USABLE)
		diag_put(j, "txt", name, DIAG_OK, NULL, "id %s", f->txt.id);
	else if (f->txt.outcome == STS_TXT_TEMPORARY)
		diag_put(j, "txt", name, DIAG_ERROR, todo, "%s", f->txt.reason);
	else if (not_used(f))
		diag_put(j, "txt", name, DIAG_WARNING,
		    "nothing, if the domain is not meant to use MTA-STS; else "
		    "its owner publishes \"v=STSv1; id=...;\" there, and a "
		    "policy on its policy host",
		    "%s: the domain does not use MTA-STS", f->txt.reason);
	else
		diag_put(j, "txt", name, DIAG_ERROR,
		    "its owner publishes exactly one record that begins with "
		    "v=STSv1; and has an id; until then a policy that is not "
		    "stored yet is not used",
		    "%s", f->txt.reason);
}

enum check_stage
check_stage(enum sts_fetch_why why)
{
	switch (why) {
	case STS_FETCH_DNS:
	case STS_FETCH_REFUSED:
		return CHECK_ADDRESS;
	case STS_FETCH_CONNECT:
	case STS_FETCH_TIMEOUT:
	case STS_FETCH_TLS:
	case STS_FETCH_PROXY:
		return CHECK_CONNECT;
	case STS_FETCH_CERT:
		return CHECK_CERTIFICATE;
	default:
		return CHECK_POLICY;
	}
}

static const char *
fetch_todo(enum sts_fetch_why why)
{
	static const char *const texts[STS_FETCH_WHY_COUNT] = {
		[STS_FETCH_DNS] = "the owner publishes an address (or a CNAME) "
				  "for this name",
		[STS_FETCH_REFUSED] =
		    "the owner publishes public addresses; if a private one is "
		    "meant here: [mta-sts] policy_host_allow",
		[STS_FETCH_CONNECT] =
		    "the owner repairs the policy host; from "
		    "this node: curl -v with the address below",
		[STS_FETCH_TIMEOUT] =
		    "the owner repairs the policy host, or a "
		    "firewall on the way drops port 443; "
		    "from this node: curl -v with the address below",
		[STS_FETCH_TLS] = "the owner enables TLS 1.2 or later on the "
				  "policy host",
		[STS_FETCH_CERT] = "the owner installs a valid certificate "
				   "from a public CA that names the policy "
				   "host",
		[STS_FETCH_PROXY] = "look at the proxy of [mta-sts] proxy",
		[STS_FETCH_REDIRECT] = "the owner serves the policy at exactly "
				       "this address: redirects are never "
				       "followed",
		[STS_FETCH_STATUS] = "the owner serves the policy at this "
				     "address with status 200",
		[STS_FETCH_TYPE] = "the owner serves it as text/plain",
		[STS_FETCH_SIZE] = "the owner makes the policy smaller than "
				   "64 KiB",
		[STS_FETCH_HTTP] = "the owner repairs the web server of the "
				   "policy host",
		[STS_FETCH_INVALID] = "the owner repairs the text (RFC 8461, "
				      "3.2); posternctl sts parse judges a "
				      "new one",
		[STS_FETCH_INTERNAL] =
		    "this node's own trouble, and no fault of the owner: "
		    "posternctl status and the log say more",
	};

	return texts[why];
}

static void
put_policy(struct json *j, const struct check_found *f, const char *url)
{
	char mx[DIAG_TEXT / 2];

	(void)sts_list_text(f->policy.list, f->policy.list_len, mx, sizeof(mx));
	diag_put(j, "policy", url, DIAG_OK, NULL,
	    "mode %s, max_age %u s, mx %s", sts_mode_word(f->policy.mode),
	    f->policy.max_age_s, mx[0] != '\0' ? mx : "-");
}

/* A step that the fetch has passed. */
static void
put_passed(struct json *j, const struct check_found *f, enum check_stage stage,
    const char *subject)
{
	if (!f->tried)
		diag_put(j, stage_words[stage], subject, DIAG_SKIPPED, NULL,
		    "not tried");
	else if (stage == CHECK_ADDRESS)
		diag_put(j, stage_words[stage], subject, DIAG_OK, NULL, "%s",
		    f->addresses[0] != '\0'	      ? f->addresses
			: f->why == STS_FETCH_TIMEOUT ? "found"
						      : "by the proxy");
	else if (stage == CHECK_CONNECT)
		diag_put(j, stage_words[stage], subject, DIAG_OK, NULL,
		    "connected, TLS 1.2 or later");
	else
		diag_put(j, stage_words[stage], subject, DIAG_OK, NULL,
		    "trusted, and names %s", subject);
}

static void
put_fetch(struct json *j, const struct check_found *f)
{
	char host[STS_HOST_SIZE], url[STS_HOST_SIZE + 64];
	bool absent = not_used(f) && f->why == STS_FETCH_DNS;
	int i;

	(void)snprintf(host, sizeof(host), "mta-sts.%s", f->domain);
	(void)snprintf(
	    url, sizeof(url), "https://%s/.well-known/mta-sts.txt", host);
	for (i = 0; i < CHECK_STAGES; i++) {
		const char *subject = i == CHECK_POLICY ? url : host;

		if (i > (int)f->stage)
			diag_put(j, stage_words[i], subject, DIAG_SKIPPED, NULL,
			    "not reached");
		else if (i < (int)f->stage)
			put_passed(j, f, (enum check_stage)i, subject);
		else if (f->why == STS_FETCH_OK)
			put_policy(j, f, url);
		else
			diag_put(j, stage_words[i], subject,
			    absent ? DIAG_SKIPPED : DIAG_ERROR,
			    absent ? NULL : fetch_todo(f->why), "%s",
			    f->reason);
	}
}

static void
put_facts(struct json *j, const struct check_found *f, int64_t now_s)
{
	bool ok = f->why == STS_FETCH_OK;

	json_put_obj(j, "txt");
	json_put_str(j, "outcome",
	    sts_txt_outcome_word(
		f->have_txt ? f->txt.outcome : STS_TXT_TEMPORARY));
	json_put_str(j, "id",
	    f->have_txt && f->txt.outcome == STS_TXT_USABLE ? f->txt.id : NULL);
	json_put_str(j, "reason", f->txt.reason);
	json_put_end_obj(j);
	json_put_obj(j, "fetch");
	json_put_str(j, "result", sts_fetch_why_word(f->why));
	json_put_str(j, "reason", f->reason);
	json_put_str(j, "mode", ok ? sts_mode_word(f->policy.mode) : NULL);
	if (ok)
		json_put_uint(j, "max_age_s", f->policy.max_age_s);
	else
		json_put_null(j, "max_age_s");
	record_doc_mx(j, f->policy.list, f->policy.list_len);
	json_put_end_obj(j);
	if (!f->stored) {
		json_put_null(j, "stored");
		return;
	}
	json_put_obj(j, "stored");
	record_doc_facts(j, &f->rec, now_s);
	record_doc_error(j, &f->rec);
	record_doc_mx(j, f->rec.policy.list, f->rec.policy.list_len);
	json_put_end_obj(j);
}

void
check_put(struct json *j, const struct check_found *f, int64_t now_s)
{
	json_put_obj(j, NULL);
	json_put_str(j, "domain", f->domain);
	put_facts(j, f, now_s);
	json_put_arr(j, "steps");
	put_txt(j, f);
	put_fetch(j, f);
	json_put_end_arr(j);
	json_put_end_obj(j);
}
