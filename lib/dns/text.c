/*
 * text.c - records and extended errors for people: logs, explain, status.
 * Never allocates.
 */
#include "lib/dns/dns.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "lib/dns/wire.h"

/* A place to write that cannot run over; cut is set when it would have. */
struct out {
	char *buf;
	size_t len, size;
	bool cut;
};

static void
add(struct out *o, const char *text)
{
	size_t n = strlen(text);

	if (o->cut || n >= o->size - o->len) {
		o->cut = true;
		return;
	}
	memcpy(o->buf + o->len, text, n + 1);
	o->len += n;
}

static void
out_init(struct out *o, char *buf, size_t size)
{
	o->buf = buf;
	o->len = 0;
	o->size = size;
	o->cut = false;
	buf[0] = '\0';
}

static void
out_end(struct out *o)
{
	if (!o->cut || o->size < 4)
		return;
	if (o->len > o->size - 4)
		o->len = o->size - 4;
	memcpy(o->buf + o->len, "...", 4);
}

static void
add_txt(struct out *o, const struct dns_rr *rr)
{
	char one[5];
	size_t i;
	uint8_t c;

	add(o, "'");
	for (i = 0; i < rr->data_len && !o->cut; i++) {
		c = rr->data[i];
		if (c >= ' ' && c <= '~' && c != '\'' && c != '\\')
			(void)snprintf(one, sizeof(one), "%c", c);
		else
			(void)snprintf(one, sizeof(one), "\\%03u", c);
		add(o, one);
	}
	add(o, "'");
}

static void
add_rr(struct out *o, uint16_t type, const struct dns_rr *rr)
{
	char text[INET6_ADDRSTRLEN];
	size_t i;

	switch (type) {
	case DNS_A:
	case DNS_AAAA:
		if (rr->data_len == (type == DNS_A ? 4 : 16) &&
		    inet_ntop(type == DNS_A ? AF_INET : AF_INET6, rr->data,
			text, sizeof(text)) != NULL)
			add(o, text);
		return;
	case DNS_MX:
		(void)snprintf(text, sizeof(text), "%u ", rr->preference);
		add(o, text);
		/* fall through */
	case DNS_CNAME:
		add(o, rr->host[0] == '\0' ? "." : rr->host);
		return;
	case DNS_TXT:
		add_txt(o, rr);
		return;
	case DNS_TLSA:
		(void)snprintf(text, sizeof(text), "%u %u %u ", rr->usage,
		    rr->selector, rr->mtype);
		add(o, text);
		for (i = 0; i < rr->data_len && !o->cut; i++) {
			(void)snprintf(text, sizeof(text), "%02x", rr->data[i]);
			add(o, text);
		}
		return;
	default:
		return;
	}
}

const char *
dns_rr_text(uint16_t type, const struct dns_rr *rr, char *buf, size_t size)
{
	struct out o;

	out_init(&o, buf, size);
	add_rr(&o, type, rr);
	out_end(&o);
	return buf;
}

const char *
dns_answer_text(const struct dns_answer *a, char *buf, size_t size)
{
	struct out o;
	size_t i;

	out_init(&o, buf, size);
	add(&o, "(");
	for (i = 0; i < a->rrs_len && !o.cut; i++) {
		if (i > 0)
			add(&o, ", ");
		add_rr(&o, a->type, &a->rrs[i]);
	}
	add(&o, ")");
	out_end(&o);
	return buf;
}

bool
dns_ede_is_bogus(uint16_t ede)
{
	return (ede >= 6 && ede <= 12) || ede == 25;
}

const char *
dns_ede_str(uint16_t ede)
{
	static const char *const text[] = { "Other",
		"Unsupported DNSKEY Algorithm", "Unsupported DS Digest Type",
		"Stale Answer", "Forged Answer", "DNSSEC Indeterminate",
		"DNSSEC Bogus", "Signature Expired", "Signature Not Yet Valid",
		"DNSKEY Missing", "RRSIGs Missing", "No Zone Key Bit Set",
		"NSEC Missing", "Cached Error", "Not Ready", "Blocked",
		"Censored", "Filtered", "Prohibited", "Stale NXDOMAIN Answer",
		"Not Authoritative", "Not Supported", "No Reachable Authority",
		"Network Error", "Invalid Data",
		"Signature Expired before Valid", "Too Early",
		"Unsupported NSEC3 Iterations Value" };

	return ede < sizeof(text) / sizeof(text[0]) ? text[ede] : "";
}
