/*
 * inquiry_dane.c - dane check: what DNSSEC and DANE are worth at a domain, step by
 * step, from the facts of a delivery and a connection to each host.
 *
 * Called by inquiry.c. Tells what the verdict found, and decides nothing; the
 * steps of the connection are those of inquiry_doc.c.
 */
#include "deliver/inquiry.h"

#include <stdio.h>

#include "lib/proto/diag.h"

static bool
by_mx(const struct plan *p)
{
	return p->facts.via == FACTS_VIA_MX ||
	    p->facts.via == FACTS_VIA_IMPLICIT;
}

/* Is DANE used for the domain at all? */
static void
put_setting(struct json *j, const struct plan *p)
{
	bool mandatory = p->set.dane == CONF_DANE_MANDATORY;

	if (!by_mx(p))
		diag_put(j, "setting", p->domain, DIAG_WARNING,
		    "nothing, if that is meant; else USEDNS in routes.conf",
		    "DANE is not used: a route or an address literal covers "
		    "the domain");
	else if (p->set.dane == CONF_DANE_NONE)
		diag_put(j, "setting", p->domain, DIAG_WARNING,
		    "nothing, if that is meant; else dane = opportunistic in "
		    "destinations.conf",
		    "DANE is not used: dane = none in [%s]", p->control->name);
	else
		diag_put(j, "setting", p->domain, DIAG_OK, NULL, "dane = %s%s",
		    conf_dane_name(p->set.dane),
		    mandatory ? ": only hosts with TLSA records get mail" : "");
}

static void
put_mx(struct json *j, const struct plan *p)
{
	const struct facts *f = &p->facts;
	bool mandatory = p->set.dane == CONF_DANE_MANDATORY;

	if (f->mx_state == DNS_INDETERMINATE)
		diag_put(j, "mx", p->domain, DIAG_ERROR,
		    "mail waits until DNS answers: delv MX of the domain from "
		    "this node; a broken signature is for its owner to mend",
		    "in doubt: %s",
		    f->mx_text != NULL ? f->mx_text : p->verdict->text);
	else if (f->n_hosts == 0)
		diag_put(j, "mx", p->domain, DIAG_ERROR,
		    "the domain takes no mail", "%s", p->verdict->text);
	else if (f->mx_unchecked)
		diag_put(j, "mx", p->domain, DIAG_SKIPPED, NULL,
		    "nobody looked whether it is signed, as nothing here "
		    "depends on it");
	else if (f->mx_state == DNS_SECURE)
		diag_put(j, "mx", p->domain, DIAG_OK, NULL,
		    "%zu host%s, signed and validated", f->n_hosts,
		    f->n_hosts == 1 ? "" : "s");
	else
		diag_put(j, "mx", p->domain,
		    mandatory ? DIAG_ERROR : DIAG_WARNING,
		    "its owner signs the zone (DNSSEC): whoever answers first "
		    "can name any host; without it TLSA records do not count",
		    "%zu host%s, not signed", f->n_hosts,
		    f->n_hosts == 1 ? "" : "s");
}

static void
put_usable(struct json *j, const struct facts_host *h)
{
	char list[DIAG_TEXT / 2] = "";
	size_t i, at = 0;

	for (i = 0; i < h->n_tlsa_rrs && at < sizeof(list); i++)
		at += (size_t)snprintf(list + at, sizeof(list) - at,
		    "%s%u %u %u", i > 0 ? ", " : "", h->tlsa_rrs[i].usage,
		    h->tlsa_rrs[i].selector, h->tlsa_rrs[i].mtype);
	diag_put(j, "tlsa", h->name, DIAG_OK, NULL,
	    "%zu record%s that count%s at %s: %s", h->n_tlsa_rrs,
	    h->n_tlsa_rrs == 1 ? "" : "s", h->n_tlsa_rrs == 1 ? "s" : "",
	    h->tlsa_base != NULL ? h->tlsa_base : h->name, list);
}

static void
put_tlsa(struct json *j, const struct plan *p, const struct facts_host *h)
{
	bool mandatory = p->set.dane == CONF_DANE_MANDATORY;
	enum diag_result miss = mandatory ? DIAG_ERROR : DIAG_WARNING;
	const char *why = h->tlsa_text != NULL ? h->tlsa_text : "";

	switch (h->tlsa) {
	case FACTS_TLSA_USABLE:
		put_usable(j, h);
		break;
	case FACTS_TLSA_INDETERMINATE:
		diag_put(j, "tlsa", h->name, DIAG_ERROR,
		    "no mail goes to this host until its TLSA lookup has an "
		    "answer, since it may have records; its owner mends the "
		    "name servers (many fail at types they do not know)",
		    "in doubt%s%s", why[0] != '\0' ? ": " : "", why);
		break;
	case FACTS_TLSA_INSECURE:
		diag_put(j, "tlsa", h->name, miss,
		    "the owner of the host signs its zone (DNSSEC), else TLSA "
		    "records cannot count",
		    "host or records not signed%s%s",
		    why[0] != '\0' ? ": " : "", why);
		break;
	case FACTS_TLSA_ABSENT:
		diag_put(j, "tlsa", h->name, miss,
		    "the owner of the host publishes one (3 1 1 with the "
		    "digest of its key)",
		    "the zone is signed, and there is no record");
		break;
	case FACTS_TLSA_UNUSABLE:
		diag_put(j, "tlsa", h->name, DIAG_WARNING,
		    "the owner of the host publishes 3 1 1 or 2 1 1; until "
		    "then TLS is a must there and nobody is authenticated",
		    "%zu record%s, none that can be used", h->n_tlsa_rrs,
		    h->n_tlsa_rrs == 1 ? "" : "s");
		break;
	case FACTS_TLSA_NOT_ASKED:
	default:
		diag_put(j, "tlsa", h->name, DIAG_SKIPPED, NULL,
		    "not asked for%s%s", why[0] != '\0' ? ": " : "", why);
		break;
	}
}

/* With TLSA records the certificate is told against them alone. */
static void
put_match(struct json *j, const struct probe_host *ph)
{
	const char *host = ph->vh->host->name;

	if (ph->vh->level != LEVEL_DANE)
		diag_put(j, "dane", host, DIAG_SKIPPED, NULL,
		    "level %s: no record to match",
		    verdict_level_name(ph->vh->level));
	else if (!ph->proof.tls)
		diag_put(j, "dane", host, DIAG_ERROR,
		    "no mail goes there until TLS works; it may also be an "
		    "attack on the way",
		    "no TLS, so nothing was proved");
	else if (ph->proof.dane)
		diag_put(
		    j, "dane", host, DIAG_OK, NULL, "the certificate matches");
	else
		diag_put(j, "dane", host, DIAG_ERROR,
		    "no mail goes there until its owner publishes the record "
		    "of this certificate (before, not after, it is installed), "
		    "or installs the one of the record; it may also be an "
		    "attack on the way",
		    "the certificate matches none of the records (names: %s)",
		    ph->cert_names);
}

void
inquiry_put_dane_check(struct json *j, const struct plan *p,
    const struct probe_host *hosts, size_t n)
{
	size_t i;

	put_setting(j, p);
	put_mx(j, p);
	for (i = 0; i < n; i++) {
		put_tlsa(j, p, hosts[i].vh->host);
		if (hosts[i].vh->attempt) {
			inquiry_put_connection(j, &hosts[i]);
			put_match(j, &hosts[i]);
		} else {
			inquiry_put_skipped(j, hosts[i].vh);
		}
	}
}
