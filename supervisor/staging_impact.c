/*
 * staging_impact.c - what staged settings would change for mail that waits.
 *
 * The queue's destinations come with the question; each is looked up in the set
 * in force and in the staged one. What the settings alone decide is told; what
 * a host would prove is not known here, and nobody is asked.
 */
#include "lib/base/buf.h"
#include "lib/conf/conf.h"
#include "lib/json/json.h"
#include "supervisor/staging.h"
#include "supervisor/supervisor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOLD_MAX = 100, TOLD_ROOM = 960 * 1024 /* of the whole answer */ };

struct impact {
	struct json *j;
	const struct conf *from, *to;
	uint64_t destinations, recipients;
};

/* "relay1.example, relay2.example", as far as it fits; NULL without a route. */
static const char *
route_text(const struct conf_route *r, char *out, size_t len)
{
	size_t i, n = 0;

	if (r == NULL)
		return NULL;
	out[0] = '\0';
	if (r->kind != CONF_ROUTE_HOSTS) {
		(void)snprintf(out, len, "%s",
		    r->kind == CONF_ROUTE_USEDNS ? "USEDNS" : "/dev/null");
		return out;
	}
	for (i = 0; i < r->n_hosts && n < len; i++)
		n += (size_t)snprintf(out + n, len - n, "%s%s:%u/pri=%u",
		    i > 0 ? ", " : "", r->hosts[i].name, r->hosts[i].port,
		    r->hosts[i].priority);
	return out;
}

static bool
same(const char *a, const char *b)
{
	return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

/* What the new settings alone make of mail there; NULL: nothing of note. */
static const char *
outcome_of(const struct conf_dest *a, const struct conf_dest *b,
    const struct conf_route *ra, const struct conf_route *rb)
{
	bool routed = rb != NULL && rb->kind == CONF_ROUTE_HOSTS;
	enum conf_tls was = ra != NULL && ra->has_tls ? ra->tls : a->tls;
	enum conf_tls now = rb != NULL && rb->has_tls ? rb->tls : b->tls;

	if (rb != NULL && rb->kind == CONF_ROUTE_DISCARD)
		return ra != NULL && ra->kind == CONF_ROUTE_DISCARD
		    ? NULL
		    : "mail is discarded";
	if (b->recipient_limit.limited && b->recipient_limit.count == 0)
		return "undeliverable: recipient_limit lets nobody through";
	if (!routed && b->dane == CONF_DANE_MANDATORY &&
	    (a->dane != CONF_DANE_MANDATORY ||
		(ra != NULL && ra->kind == CONF_ROUTE_HOSTS)))
		return "undeliverable where a host has no TLSA record: dane = "
		       "mandatory";
	if (!routed && b->mta_sts == CONF_STS_MANDATORY &&
	    (a->mta_sts != CONF_STS_MANDATORY ||
		(ra != NULL && ra->kind == CONF_ROUTE_HOSTS)))
		return "undeliverable without an enforced policy: mta_sts = "
		       "mandatory";
	/* preferred-verify goes in clear, too */
	if (now == CONF_TLS_REQUIRED && was < CONF_TLS_REQUIRED_VERIFY &&
	    was != CONF_TLS_REQUIRED)
		return "undeliverable where a host has no TLS: tls = required";
	if (now >= CONF_TLS_REQUIRED_VERIFY && was != now)
		return "undeliverable where a certificate cannot be verified";
	return NULL;
}

static void
put_change(struct json *j, const char *key, const char *from, const char *to)
{
	json_put_obj(j, NULL);
	json_put_str(j, "key", key);
	json_put_str(j, "from", from);
	json_put_str(j, "to", to);
	json_put_end_obj(j);
}

static void
put_keys(struct json *j, const struct conf_dest *a, const struct conf_dest *b)
{
	char from[300], to[300];
	size_t i;

	for (i = 0; i < conf_dest_keys(); i++) {
		if (!conf_dest_inherits(i))
			continue;
		(void)conf_dest_value(a, i, from, sizeof(from));
		(void)conf_dest_value(b, i, to, sizeof(to));
		if (strcmp(from, to) != 0)
			put_change(j, conf_dest_key_name(i), from, to);
	}
}

static bool
differs(const struct conf_dest *a, const struct conf_dest *b)
{
	char from[300], to[300];
	size_t i;

	for (i = 0; i < conf_dest_keys(); i++)
		if (conf_dest_inherits(i) &&
		    strcmp(conf_dest_value(a, i, from, sizeof(from)),
			conf_dest_value(b, i, to, sizeof(to))) != 0)
			return true;
	return false;
}

static void
one(struct impact *im, const char *domain, uint64_t recipients)
{
	const struct conf_dest *a = conf_dest_lookup(im->from, domain);
	const struct conf_dest *b = conf_dest_lookup(im->to, domain);
	const struct conf_route *ra = conf_route_lookup(im->from, domain);
	const struct conf_route *rb = conf_route_lookup(im->to, domain);
	char route_a[400], route_b[400];
	const char *from = route_text(ra, route_a, sizeof(route_a));
	const char *to = route_text(rb, route_b, sizeof(route_b));
	struct json *j = im->j;

	if (!differs(a, b) && same(from, to))
		return;
	im->recipients += recipients;
	if (im->destinations++ >= TOLD_MAX || buf_len(j->b) > TOLD_ROOM)
		return;
	json_put_obj(j, NULL);
	json_put_str(j, "domain", domain);
	json_put_uint(j, "recipients", recipients);
	json_put_str(j, "entry", b->name);
	json_put_arr(j, "keys");
	put_keys(j, a, b);
	if (!same(from, to))
		put_change(j, "route", from, to);
	json_put_end_arr(j);
	json_put_str(j, "outcome", outcome_of(a, b, ra, rb));
	json_put_end_obj(j);
}

/* Lines "recipients domain"; what is none is passed over. */
void
staging_impact(const struct conf *from, const struct conf *to, const char *text,
    struct json *j)
{
	struct impact im = { .j = j, .from = from, .to = to };
	char line[300], *end;
	uint64_t n;
	size_t len;

	json_put_obj(j, "impact");
	json_put_arr(j, "touched");
	for (; *text != '\0'; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		if (len >= sizeof(line))
			continue;
		memcpy(line, text, len);
		line[len] = '\0';
		n = strtoull(line, &end, 10);
		if (end != line && *end == ' ')
			one(&im, end + 1, n);
	}
	json_put_end_arr(j);
	json_put_uint(j, "destinations", im.destinations);
	json_put_uint(j, "recipients", im.recipients);
	json_put_end_obj(j);
}
