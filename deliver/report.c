/*
 * report.c - the log lines of connections and attempts, in the words that
 * operators of this field search for (docs/operator.md). One line per end of
 * an attempt: "Message done", "Delayed" or "Bounced".
 *
 * Text from outside goes through LOG_Q or report_reply(). Never decides.
 */
#include "deliver/deliver.h"

#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/log/log.h"

/* ---- connections -------------------------------------------------------------------- */

static struct log_fields
conn_fields(const struct conn *c)
{
	struct log_fields f = { .dcid = c->dcid,
		.domain = c->plan->domain,
		.gateway = c->plan->gateway->name,
		.host = conn_host(c)->host->name,
		.address = c->address,
		.port = c->port };

	return f;
}

void
report_open(const struct conn *c)
{
	struct log_fields f = conn_fields(c);

	log_event(LOG_INFO, "delivery_open", &f,
	    "New SMTP DCID %llu interface %s address %s port %u",
	    (unsigned long long)c->dcid, c->interface, c->address, c->port);
}

void
report_connect_error(
    const struct conn *c, const char *details, const char *reason)
{
	struct log_fields f = conn_fields(c);

	f.reason = reason;
	log_event(LOG_INFO, "connection_error", &f,
	    "Connection Error: DCID %llu domain: %s IP: %s port: %u details: "
	    "%s interface: %s reason: %s",
	    (unsigned long long)c->dcid, c->plan->domain, c->address, c->port,
	    LOG_Q(details), c->interface, reason);
}

void
report_close(const struct conn *c)
{
	struct log_fields f = conn_fields(c);

	log_event(LOG_INFO, "delivery_close", &f, "DCID %llu close",
	    (unsigned long long)c->dcid);
}

void
report_denied(const struct plan *plan)
{
	const struct verdict *v = plan->verdict;
	struct log_fields f = { .domain = plan->domain };
	size_t i;

	for (i = 0; i < v->n_hosts; i++) {
		const struct facts_host *h = v->hosts[i].host;
		bool skipped = h->addr == FACTS_ADDR_DENIED;

		if (h->denied == NULL)
			continue;
		f.host = h->name;
		f.address = h->denied;
		f.reason = reason_word(REASON_ADDRESS_DENIED);
		log_event(LOG_INFO, "address_denied", &f,
		    "Host %s of domain %s %s: address %s is in deny_networks",
		    LOG_Q(h->name), plan->domain,
		    skipped ? "skipped" : "has an address that is not used",
		    h->denied);
	}
}

/* Strength in the sense of the line: what was proven, by which rule. */
void
report_tls(const struct conn *c, const struct verdict_host *vh,
    const char *protocol, const char *cipher, enum reason weak)
{
	struct log_fields f = conn_fields(c);
	enum verdict_level proven = verdict_proven(&c->proof);
	bool named = c->proof.n_names > 0 &&
	    (c->proof.trusted || (c->proof.dane && c->dane[0] == '2'));
	char name[DNS_NAME_SIZE + 8] = "", record[sizeof(c->dane) + 8] = "";
	const char *unverified = "";

	if (proven == LEVEL_ENCRYPT && vh->record)
		unverified = " unverified";
	if (c->proof.dane && c->dane[0] != '\0')
		(void)snprintf(record, sizeof(record), " record %s", c->dane);
	if (named)
		(void)snprintf(
		    name, sizeof(name), " name %s", c->proof.names[0]);
	f.level_wanted = verdict_level_name(vh->level);
	f.level_proven = verdict_level_name(proven);
	f.protocol = protocol;
	f.cipher = cipher;
	f.rule = vh->rule;
	f.peer_name = c->proof.n_names > 0 ? c->proof.names[0] : NULL;
	if (weak != REASON_NONE)
		f.reason = reason_word(weak);
	log_event(LOG_INFO, "tls_success", &f,
	    "DCID %llu TLS success protocol %s cipher %s for %s level %s%s%s%s "
	    "rule %s%s",
	    (unsigned long long)c->dcid, protocol, cipher, c->plan->domain,
	    verdict_level_name(proven), unverified, record, name, vh->rule,
	    c->resumed ? " resumed" : "");
	report_met(c, vh);
}

void
report_requiretls(const struct conn *c)
{
	struct log_fields f = conn_fields(c);

	f.reason = reason_word(REASON_REQUIRETLS_MISSING);
	log_event(LOG_INFO, "requiretls", &f,
	    "DCID %llu deferring: %s does not offer REQUIRETLS for %s",
	    (unsigned long long)c->dcid, conn_host(c)->host->name,
	    c->plan->domain);
}

void
report_tls_refused(const struct conn *c, enum reason reason, const char *text)
{
	struct log_fields f = conn_fields(c);
	const struct verdict_host *vh = conn_host(c);

	f.level_wanted = verdict_level_name(vh->level);
	f.level_proven = verdict_level_name(verdict_proven(&c->proof));
	f.rule = vh->rule;
	f.reason = reason_word(reason);
	if (vh->level == LEVEL_DANE)
		report_dane_failed(c->plan, vh, text);
	switch (reason) {
	case REASON_CERT_NAME_MISMATCH:
		log_event(LOG_INFO, "tls_refused", &f,
		    "DCID %llu TLS deferring: verify error: peer cert does not "
		    "match domain %s: %s",
		    (unsigned long long)c->dcid, c->plan->domain, LOG_Q(text));
		break;
	case REASON_CERT_UNTRUSTED:
	case REASON_CERT_EXPIRED:
	case REASON_DANE_FAILED:
		log_event(LOG_INFO, "tls_refused", &f,
		    "DCID %llu TLS deferring: verify error: %s for %s rule %s",
		    (unsigned long long)c->dcid, LOG_Q(text), c->plan->domain,
		    vh->rule);
		break;
	default:
		if (vh->level >= LEVEL_ENCRYPT)
			log_event(LOG_WARNING, "tls_failed", &f,
			    "DCID %llu TLS was required but could not be "
			    "successfully negotiated: %s for %s rule %s",
			    (unsigned long long)c->dcid, LOG_Q(text),
			    c->plan->domain, vh->rule);
		else
			log_event(LOG_INFO, "tls_failed", &f,
			    "DCID %llu TLS failed: %s for %s: once more in "
			    "clear text",
			    (unsigned long long)c->dcid, LOG_Q(text),
			    c->plan->domain);
		break;
	}
}

/* ---- replies -------------------------------------------------------------------------- */

const char *
report_reply(uint16_t code, const char *reply, char *buf, size_t len)
{
	const char *line = reply == NULL ? "" : reply, *end;
	char quoted[320];
	size_t at;
	bool first = true;

	at = (size_t)snprintf(buf, len, "('%03u', [", code);
	do {
		end = strchrnul(line, '\n');
		if (at < len)
			at += (size_t)snprintf(buf + at, len - at, "%s'%s'",
			    first ? "" : ", ",
			    log_quote_bytes(quoted, sizeof(quoted), line,
				(size_t)(end - line)));
		first = false;
		line = end + 1;
	} while (*end != '\0');
	if (at < len)
		(void)snprintf(buf + at, len - at, "])");
	return buf;
}

const char *
report_status_words(const char *status)
{
	static const struct {
		const char *detail, *words;
	} table[] = {
		{ "1.0", "Unknown address error" },
		{ "1.1", "Bad destination email address" },
		{ "1.2", "Bad destination host" },
		{ "1.3", "Bad destination email address syntax" },
		{ "1.4", "Destination mailbox address ambiguous" },
		{ "1.6", "Mailbox has moved" },
		{ "1.7", "Bad sender's mailbox address syntax" },
		{ "1.8", "Bad sender's system address" },
		{ "1.10", "Recipient address has null MX" },
		{ "2.0", "Other or undefined mailbox status" },
		{ "2.1", "Mailbox disabled, not accepting messages" },
		{ "2.2", "Mailbox full" },
		{ "2.3", "Message length exceeds administrative limit" },
		{ "3.0", "Other mail system problem" },
		{ "3.1", "Mail system full" },
		{ "3.2", "Not accepting messages at this time" },
		{ "3.4", "Message too big for system" },
		{ "4.0", "Other network problem" },
		{ "4.1", "No answer from host" },
		{ "4.2", "Bad connection" },
		{ "4.3", "Directory server failure" },
		{ "4.4", "Unable to route" },
		{ "4.5", "Mail system congestion" },
		{ "4.6", "Routing loop detected" },
		{ "4.7", "Delivery expired (message too old)" },
		{ "5.0", "Other protocol problem" },
		{ "5.1", "Invalid command" },
		{ "5.2", "Syntax error" },
		{ "5.3", "Too many recipients" },
		{ "5.4", "Invalid command arguments" },
		{ "6.0", "Other media error" },
		{ "6.3", "Conversion required but not supported" },
		{ "6.7", "Non-ASCII addresses not permitted" },
		{ "7.0", "Other security problem" },
		{ "7.1", "Delivery not authorized, message refused" },
		{ "7.5", "Cryptographic failure" },
		{ "7.8", "Authentication credentials invalid" },
		{ "7.10", "Encryption needed" },
		{ "7.30", "REQUIRETLS support required" },
	};
	const char *detail = strchr(status, '.');
	size_t i;

	for (i = 0; detail != NULL && i < sizeof(table) / sizeof(table[0]); i++)
		if (strcmp(table[i].detail, detail + 1) == 0)
			return table[i].words;
	return "Other or undefined status";
}

/* ---- messages ----------------------------------------------------------------------------- */

/* "[0, 1]" of the recipients for which want holds. */
static const char *
rid_list(const struct mail *m, bool (*want)(const struct session_rcpt *),
    char *buf, size_t len)
{
	size_t i, at = 1;
	bool first = true;

	(void)snprintf(buf, len, "[");
	for (i = 0; i < m->msg.n_rcpts && at < len; i++) {
		if (want != NULL && !want(&m->msg.rcpts[i]))
			continue;
		at += (size_t)snprintf(buf + at, len - at, "%s%u",
		    first ? "" : ", ", m->msg.rcpts[i].rid);
		first = false;
	}
	if (at < len)
		(void)snprintf(buf + at, len - at, "]");
	return buf;
}

void
report_start(const struct conn *c, const struct mail *m)
{
	struct log_fields f = conn_fields(c);
	char rids[1200];

	f.mid = m->mid;
	f.from = m->msg.sender;
	log_event(LOG_INFO, "delivery_start", &f,
	    "Delivery start DCID %llu MID %llu to RID %s",
	    (unsigned long long)c->dcid, (unsigned long long)m->mid,
	    rid_list(m, NULL, rids, sizeof(rids)));
}

static bool
is_delivered(const struct session_rcpt *rc)
{
	return rc->outcome == OUTCOME_DELIVERED;
}

/* Since acceptance; the clock may have been set back meanwhile. */
static int64_t
age_ms(const struct mail *m)
{
	int64_t ms = clock_now_ms() - m->accepted_ms;

	return ms > 0 ? ms : 0;
}

/* The delivered ones share the final reply, and one line each way. */
static void
report_delivered(const struct conn *c, const struct mail *m)
{
	const struct session_rcpt *rc = NULL;
	struct log_fields f = conn_fields(c);
	char rids[1200], quoted[700];
	size_t i;

	for (i = 0; i < m->msg.n_rcpts && rc == NULL; i++)
		if (is_delivered(&m->msg.rcpts[i]))
			rc = &m->msg.rcpts[i];
	if (rc == NULL)
		return;
	(void)rid_list(m, is_delivered, rids, sizeof(rids));
	f.mid = m->mid;
	f.from = m->msg.sender;
	log_event(LOG_INFO, "message_done", &f,
	    "Message done DCID %llu MID %llu to RID %s",
	    (unsigned long long)c->dcid, (unsigned long long)m->mid, rids);
	/* the outcome stands in one event of an attempt, this one */
	if (m->msg.n_rcpts == 1) {
		f.has_rid = true;
		f.rid = rc->rid;
		f.to = rc->address;
	}
	f.outcome = outcome_word(OUTCOME_DELIVERED);
	f.status = rc->status;
	f.reply = rc->reply;
	f.has_delay = true;
	f.delay_ms = age_ms(m);
	f.has_size = true;
	f.size = m->msg.size;
	log_event(LOG_INFO, "response", &f, "MID %llu RID %s Response '%s'",
	    (unsigned long long)m->mid, rids,
	    log_quote(
		quoted, sizeof(quoted), rc->reply != NULL ? rc->reply : ""));
}

static void
report_other(
    const struct conn *c, const struct mail *m, const struct session_rcpt *rc)
{
	struct log_fields f = conn_fields(c);
	bool failed = rc->outcome == OUTCOME_FAILED;
	char reply[1200];

	f.mid = m->mid;
	f.rid = rc->rid;
	f.has_rid = true;
	f.from = m->msg.sender;
	f.to = rc->address;
	f.outcome = outcome_word(rc->outcome);
	f.reason = reason_word(rc->reason);
	f.status = rc->status;
	f.reply = rc->reply;
	f.has_delay = true;
	f.delay_ms = age_ms(m);
	log_event(LOG_INFO, failed ? "bounced" : "delayed", &f,
	    "%s: DCID %llu MID %llu From: <%s> To: <%s> RID %u - %s - %s %s",
	    failed ? "Bounced" : "Delayed", (unsigned long long)c->dcid,
	    (unsigned long long)m->mid, LOG_Q(m->msg.sender),
	    LOG_Q(rc->address), rc->rid, rc->status,
	    report_status_words(rc->status),
	    report_reply(rc->code, rc->reply, reply, sizeof(reply)));
}

void
report_result(const struct conn *c, const struct mail *m)
{
	size_t i;

	report_delivered(c, m);
	for (i = 0; i < m->msg.n_rcpts; i++) {
		const struct session_rcpt *rc = &m->msg.rcpts[i];

		/* those that go back at once were not attempted */
		if (!is_delivered(rc) && !rc->again)
			report_other(c, m, rc);
	}
}
