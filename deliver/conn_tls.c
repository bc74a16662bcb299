/*
 * conn_tls.c - STARTTLS of a connection: what is wanted of the host, what the
 * handshake proved, and whether that is enough for the verdict.
 *
 * Called by conn.c and conn_io.c. No command follows a handshake before it was
 * judged here (RFC 3207, 4.1). Never decides what is demanded: lib/verdict.
 */
#include "deliver/conn_int.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/dane/ssl.h"
#include "lib/log/log.h"
#include "lib/tls/tls.h"

void
conn_shadow(struct conn *c, enum reason known, const char *text)
{
	enum reason why =
	    verdict_shadow(&c->plan->facts, conn_host(c), &c->proof);

	if (why == REASON_NONE || why == REASON_STS_MX_MISMATCH || c->clear)
		return;
	c->d->n.testing_failures++;
	report_shadow(c, known != REASON_NONE ? known : why, text);
}

void
conn_fail_tls(struct conn *c, const char *text)
{
	c->d->n.tls_failed++;
	report_tls_refused(c, REASON_TLS_HANDSHAKE_FAILED, text);
	conn_shadow(c, REASON_TLS_HANDSHAKE_FAILED, text);
	conn_fail(c, REASON_TLS_HANDSHAKE_FAILED, "4.7.5", text, false);
}

/* ---- TLS ----------------------------------------------------------------------------------------------- */

/* A route's host may be an address; it has no name to show or to prove. */
static bool
is_address(const char *host)
{
	uint8_t ip[16];

	return host[0] == '[' || inet_pton(AF_INET, host, ip) == 1 ||
	    inet_pton(AF_INET6, host, ip) == 1;
}

/* All that tls_link_new() borrows. */
struct want_parts {
	char peer[64];
	struct dane_want dane;
};

/* Level dane, and no record that asks for a name: then the recipient's domain is
 * no part of the proof, and a session of the host serves all domains there. What
 * a probe shows, it has looked at itself. */
static bool
without_names(const struct conn *c)
{
	const struct verdict_host *vh = conn_host(c);

	return vh->level == LEVEL_DANE && c->probe == NULL &&
	    !dane_needs_name(vh->host->tlsa_rrs, vh->host->n_tlsa_rrs);
}

/* Level dane: the records that the facts hold, and the names that a certificate
 * under DANE-TA may have; the base domain is the first. A session serves this
 * set, and no longer than the facts do (DANE-39). */
static void
fill_dane(struct conn *c, struct tls_want *want, struct dane_want *dane)
{
	const struct verdict_host *vh = conn_host(c);
	int64_t left_s = (c->plan->until_ms - clock_mono_ms()) / 1000;
	size_t i;

	for (i = 0; i < vh->n_names; i++)
		if (vh->names[i].group == NAMES_DANE)
			dane->names[dane->n_names++] = vh->names[i].name;
	dane->rrs = vh->host->tlsa_rrs;
	dane->n_rrs = vh->host->n_tlsa_rrs;
	want->dane = dane;
	want->dane_label = vh->host->tlsa_digest;
	want->life_s = left_s > 1 ? (uint32_t)left_s : 1;
}

static void
fill_want(struct conn *c, struct tls_want *want, struct want_parts *parts)
{
	const struct verdict_host *vh = conn_host(c);
	const char *host = vh->host->name;
	bool literal = is_address(host);
	size_t i, n = 0;

	memset(want, 0, sizeof(*want));
	memset(parts, 0, sizeof(*parts));
	(void)conf_addr_format(&c->addr, parts->peer, sizeof(parts->peer));
	want->peer = parts->peer;
	want->sni = literal ? NULL : verdict_sni(vh);
	/* a probe sees the certificate itself, whatever was proved before */
	want->claim =
	    c->probe != NULL ? "probe" : verdict_level_name(vh->level);
	for (i = 0; i < vh->n_names && !without_names(c); i++)
		want->names[n++] = vh->names[i].name;
	if (!literal)
		want->names[n++] = host; /* for the log, and for AUTH */
	want->identity = env_identity(c->plan->env, c->plan->control->cert);
	want->any_strength = vh->level <= LEVEL_OPPORTUNISTIC;
	if (vh->level == LEVEL_DANE)
		fill_dane(c, want, &parts->dane);
}

_Static_assert(VERDICT_NAMES_MAX + 2 <= TLS_WANT_NAMES, "names to look for");

void
conn_start_tls(struct conn *c)
{
	struct want_parts parts;
	struct tls_want want;
	int r;

	fill_want(c, &want, &parts);
	r = tls_link_new(c->plan->env->tls, &want, &c->link_tls);
	if (r < 0) {
		c->link_tls = NULL;
		conn_fail_tls(c, err_str(r));
		return;
	}
	if (tls_handshake(tls_link_pump(c->link_tls)) < 0)
		conn_fail_tls(c, tls_error(tls_link_pump(c->link_tls)));
}

static void
set_proof(struct conn *c, const struct tls_proved *p, const char *protocol)
{
	struct verdict_proof *out = &c->proof;
	size_t i;

	memset(out, 0, sizeof(*out));
	out->tls = true;
	out->tls12 = strcmp(protocol, "TLSv1.2") == 0 ||
	    strcmp(protocol, "TLSv1.3") == 0;
	out->trusted = p->trusted;
	out->expired = p->expired;
	/* by the set that this connection was made for */
	out->dane = p->dane;
	if (p->dane)
		memcpy(out->tlsa_digest, conn_host(c)->host->tlsa_digest,
		    sizeof(out->tlsa_digest));
	for (i = 0; i < p->n_names && i < VERDICT_NAMES_MAX; i++)
		(void)snprintf(out->names[out->n_names++], DNS_NAME_SIZE,
		    "%.*s", DNS_NAME_SIZE - 1, p->names[i]);
}

static bool
proved_name(const struct conn *c, const char *name)
{
	size_t i;

	for (i = 0; i < c->proof.n_names; i++)
		if (strcmp(c->proof.names[i], name) == 0)
			return true;
	return false;
}

enum { JUDGE_TEXT = 256 };

/* What a certificate lacks, for people. */
static const char *
judge_text(struct conn *c, enum reason why, bool peer_cert,
    const struct tls_info *info, char text[JUDGE_TEXT])
{
	char names[160];

	if (why == REASON_DANE_FAILED)
		(void)snprintf(text, JUDGE_TEXT,
		    "no TLSA record of %s matches the certificate%s%s",
		    verdict_sni(conn_host(c)), peer_cert ? ": " : "",
		    peer_cert ? info->verify_text : " (there is none)");
	else if (why == REASON_CERT_NAME_MISMATCH)
		(void)snprintf(text, JUDGE_TEXT, "certificate of %s is for %s",
		    conn_host(c)->host->name,
		    tls_link_cert_names(c->link_tls, names, sizeof(names)));
	else
		(void)snprintf(text, JUDGE_TEXT, "%s",
		    peer_cert ? info->verify_text : "no certificate");
	return text;
}

/* The handshake is done: is what it proved enough? (RFC 3207, 4.1) */
static void
judge_tls(struct conn *c)
{
	const struct verdict_host *vh = conn_host(c);
	struct tls *t = tls_link_pump(c->link_tls);
	struct tls_proved proved;
	struct tls_info info;
	char text[JUDGE_TEXT];
	enum reason why;

	tls_info(t, &info);
	tls_link_prove(c->link_tls, &proved);
	set_proof(c, &proved, info.protocol);
	c->resumed = proved.resumed;
	if (proved.dane)
		(void)snprintf(c->dane, sizeof(c->dane), "%u %u %u depth %d",
		    proved.dane_rr[0], proved.dane_rr[1], proved.dane_rr[2],
		    proved.dane_depth);
	if (vh->level == LEVEL_DANE && proved.dane_unusable)
		/* lib/dane took what OpenSSL does not: the gate stays shut */
		log_warn("dane_records",
		    "DCID %llu: no TLSA record of %s can be used by OpenSSL",
		    (unsigned long long)c->dcid, verdict_sni(vh));
	if (c->probe != NULL)
		probe_tls(c->probe, c, &info, &proved);
	why = verdict_satisfied(vh, &c->proof);
	if (why == REASON_NONE || why == REASON_REQUIRETLS_MISSING) {
		/* what EHLO offers from here on is looked at when it did */
		c->d->n.tls_ok++;
		c->d->n.dane_ok += vh->level == LEVEL_DANE;
		if (c->probe == NULL)
			tls_link_keep(c->link_tls);
		report_tls(c, vh, info.protocol, info.cipher, REASON_NONE);
		why = verdict_shadow(&c->plan->facts, vh, &c->proof);
		if (why != REASON_NONE)
			conn_shadow(c, why,
			    judge_text(c, why, proved.peer_cert, &info, text));
		session_tls_done(c->session,
		    c->proof.trusted && proved_name(c, vh->host->name));
		return;
	}
	c->d->n.verify_failed++;
	(void)judge_text(c, why, proved.peer_cert, &info, text);
	report_tls_refused(c, why, text);
	session_refuse(c->session, why, text);
}

bool
conn_offers_enough(struct conn *c)
{
	static const char text[] = "REQUIRETLS: this host does not offer it";

	c->proof.requiretls = c->proof.tls &&
	    (session_ehlo(c->session)->ext & SMTP_EXT_REQUIRETLS) != 0;
	if (!conn_host(c)->requiretls || c->proof.requiretls)
		return true;
	report_requiretls(c);
	session_refuse(c->session, REASON_REQUIRETLS_MISSING, text);
	return false;
}

/* Ciphertext came. */
void
conn_feed_tls(struct conn *c, const void *data, size_t len)
{
	struct tls *t = tls_link_pump(c->link_tls);
	uint8_t plain[16 * 1024];
	ssize_t n;
	int r;

	if (tls_feed(t, data, len) < 0) {
		session_lost(c->session, "more TLS records than can be kept");
		return;
	}
	if (!tls_is_up(t)) {
		r = tls_handshake(t);
		if (r < 0) {
			conn_flush(c); /* the alert */
			if (c->state != CONN_CLOSING)
				conn_fail_tls(c, tls_error(t));
			return;
		}
		if (r == 0)
			return;
		judge_tls(c);
	}
	while ((n = tls_read(t, plain, sizeof(plain))) > 0)
		session_input(c->session, plain, (size_t)n);
	if (n == PE_GONE)
		session_lost(c->session, "closed by the host");
	else if (n < 0)
		session_lost(c->session, tls_error(t));
}

bool
conn_in_handshake(const struct conn *c)
{
	return c->link_tls != NULL && !tls_is_up(tls_link_pump(c->link_tls));
}
