/*
 * validate.c - the one place that calls libunbound.
 *
 * Everything that it would read from a file comes as text in the settings, so it
 * works in an empty root directory; no file is opened, no thread started, and
 * nothing is asked of resolv.conf or the hosts file. What it would print goes
 * nowhere: query.c logs what became of each question.
 *
 * Sources: libunbound(3) 1.17, unbound-event.h, RFC 4035 section 4.3.
 */
#include "resolver/validate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "lib/base/err.h"
#include "resolver/resolver.h"

#ifdef POSTERN_UNBOUND

#include <unbound.h>

#include <unbound-event.h>

#include "resolver/ub_loop.h"

/* Bytes of its caches, UDP sockets and TCP connections at one time; as text for
 * libunbound below. */
#define RRSET_CACHE_SIZE (8 * 1048576)
#define KEY_CACHE_SIZE	 (4 * 1048576)
#define NEG_CACHE_SIZE	 (1 * 1048576)
#define UDP_SOCKETS	 256
#define TCP_CONNECTIONS	 32

enum {
	OPEN_PER_QUERY = 2, /* forgotten ones may be as many again */
	RCODE_SERVFAIL = 2,
	CLASS_IN = 1,
};

struct validation {
	LIST_ENTRY(validation) link;
	struct validator *v;
	struct validation **slot; /* NULL: forgotten */
	validation_cb *cb;
	void *arg;
};

struct validator {
	struct ub_ctx *ctx;
	struct ub_loop *loop;
	LIST_HEAD(validations, validation) open;
	size_t n_open, max_open;
};

/*
 * Bounds, and what would otherwise come from a file or go to one. The sizes are
 * libunbound's own where it says nothing here.
 */
static const struct {
	const char *name, *text; /* text NULL: the number */
	int number;
} options[] = {
	{ "module-config:", "validator iterator", 0 },
	{ "msg-cache-size:", NULL, 0 }, /* see validate.h */
	/* delegations, keys, DS; keys that were validated; proofs that there is
	 * no DS */
	{ "rrset-cache-size:", NULL, RRSET_CACHE_SIZE },
	{ "key-cache-size:", NULL, KEY_CACHE_SIZE },
	{ "neg-cache-size:", NULL, NEG_CACHE_SIZE },
	{ "aggressive-nsec:", "no", 0 }, /* nothing is answered unasked */
	{ "outgoing-range:", NULL, UDP_SOCKETS },
	{ "outgoing-num-tcp:", NULL, TCP_CONNECTIONS },
	/* a server that was silent is soon tried again: whose mail waits for
	 * it waits for seconds, not for a quarter of an hour */
	{ "infra-host-ttl:", NULL, 60 }, { "infra-keep-probing:", "yes", 0 },
	{ "val-bogus-ttl:", NULL, RESOLVER_FAIL_TTL_S },
	{ "serve-expired:", "no", 0 },
	{ "trust-anchor-signaling:", "no", 0 }, /* we answer nobody else */
};

/* ---- life ------------------------------------------------------------------
 */

static int
set(struct validator *v, const char *name, const char *value)
{
	switch (ub_ctx_set_option(v->ctx, name, value)) {
	case 0:
		return 0;
	case UB_NOMEM:
		return -ENOMEM;
	default:
		return -EINVAL;
	}
}

/* "192.0.2.1:53" or "[2001:db8::1]:53" as libunbound writes it. */
static int
forward_to(struct validator *v, const char *server)
{
	const char *from = server, *colon = strrchr(server, ':');
	char text[80];
	size_t len;

	if (colon == NULL)
		return -EINVAL;
	len = (size_t)(colon - server);
	if (from[0] == '[' && len > 2) {
		from++;
		len -= 2;
	}
	(void)snprintf(
	    text, sizeof(text), "%.*s@%s", (int)len, from, colon + 1);
	return ub_ctx_set_fwd(v->ctx, text) == 0 ? 0 : -EINVAL;
}

/* One record a line; ';' begins a comment. */
static int
add_anchors(struct validator *v, const char *text)
{
	char line[4096];
	size_t len, n = 0;

	while (*text != '\0') {
		len = strcspn(text, "\n");
		if (len >= sizeof(line))
			return -EINVAL;
		memcpy(line, text, len);
		line[len] = '\0';
		text += len + (text[len] == '\n');
		line[strcspn(line, ";\r")] = '\0';
		if (line[strspn(line, " \t")] == '\0')
			continue;
		if (ub_ctx_add_ta(v->ctx, line) != 0)
			return -EINVAL;
		n++;
	}
	return n > 0 ? 0 : -EINVAL;
}

static int
configure(struct validator *v, const struct resolver_settings *s)
{
	char number[16];
	size_t i;
	int r;

	(void)ub_ctx_debugout(v->ctx, NULL);
	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		(void)snprintf(number, sizeof(number), "%d", options[i].number);
		r = set(v, options[i].name,
		    options[i].text != NULL ? options[i].text : number);
		if (r < 0)
			return r;
	}
	r = set(v, "do-not-query-localhost:", s->n_servers > 0 ? "no" : "yes");
	if (r == 0)
		r = set(v, "use-caps-for-id:",
		    s->mix_case && s->n_servers == 0 ? "yes" : "no");
	for (i = 0; r == 0 && i < s->n_servers; i++)
		r = forward_to(v, s->servers[i].text);
	if (r == 0)
		r = add_anchors(v, s->anchors);
	/* It has zones of its own for names that are nobody's. "test." is asked
	 * of the servers, as without libunbound. This also makes it take all
	 * that was set, so that a wrong anchor shows now. */
	if (r == 0 && ub_ctx_zone_add(v->ctx, "test.", "transparent") != 0)
		r = -EINVAL;
	return r;
}

int
validator_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct validator **ret_validator)
{
	struct validator *v = calloc(1, sizeof(*v));
	int r = -ENOMEM;

	if (v == NULL)
		return -ENOMEM;
	LIST_INIT(&v->open);
	v->max_open = (size_t)settings->max_queries * OPEN_PER_QUERY;
	v->loop = ub_loop_new(loop);
	if (v->loop != NULL)
		v->ctx = ub_ctx_create_ub_event(ub_loop_base(v->loop));
	if (v->ctx != NULL)
		r = configure(v, settings);
	if (r < 0) {
		validator_free(v);
		return r;
	}
	*ret_validator = v;
	return 0;
}

static void
validation_free(struct validation *q)
{
	LIST_REMOVE(q, link);
	q->v->n_open--;
	free(q);
}

void
validator_free(struct validator *v)
{
	struct validation *q;

	if (v == NULL)
		return;
	LIST_FOREACH(q, &v->open, link)
		validation_forget(q);
	if (v->ctx != NULL)
		ub_ctx_delete(v->ctx);
	while ((q = LIST_FIRST(&v->open)) != NULL)
		validation_free(q);
	ub_loop_free(v->loop);
	free(v);
}

/* ---- questions -------------------------------------------------------------
 */

static void
on_result(void *arg, int rcode, void *packet, int len, int sec, char *why_bogus,
    int was_ratelimited)
{
	struct validation *q = arg;
	validation_cb *cb = q->cb;
	void *cb_arg = q->arg;
	bool wanted = q->slot != NULL;

	(void)was_ratelimited;
	if (wanted)
		*q->slot = NULL;
	validation_free(q);
	if (!wanted)
		return;
	if (sec == 1)
		cb(cb_arg, VALIDATED_BOGUS, NULL, 0,
		    why_bogus == NULL ? "" : why_bogus);
	else if (rcode == RCODE_SERVFAIL || packet == NULL || len <= 0)
		cb(cb_arg, VALIDATED_FAILED, NULL, 0, "");
	else
		cb(cb_arg, sec == 2 ? VALIDATED_SECURE : VALIDATED_INSECURE,
		    packet, (size_t)len, "");
}

int
validator_ask(struct validator *v, const char *name, uint16_t type,
    struct validation **slot, validation_cb *cb, void *arg)
{
	struct validation *q;

	if (v->n_open >= v->max_open)
		return PE_FULL;
	q = calloc(1, sizeof(*q));
	if (q == NULL)
		return -ENOMEM;
	q->v = v;
	q->slot = slot;
	q->cb = cb;
	q->arg = arg;
	*slot = q;
	LIST_INSERT_HEAD(&v->open, q, link);
	v->n_open++;
	if (ub_resolve_event(
		v->ctx, name, type, CLASS_IN, q, on_result, NULL) != 0) {
		*slot = NULL; /* nothing was called back */
		validation_free(q);
		return -ENOMEM;
	}
	return 0; /* q may be gone */
}

void
validation_forget(struct validation *q)
{
	if (q != NULL)
		q->slot = NULL;
}

size_t
validator_open(const struct validator *v)
{
	return v->n_open;
}

#else

int
validator_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct validator **ret_validator)
{
	(void)loop;
	(void)settings;
	(void)ret_validator;
	return PE_NOT_FOUND; /* the settings are refused before that */
}

void
validator_free(struct validator *v)
{
	(void)v;
}

int
validator_ask(struct validator *v, const char *name, uint16_t type,
    struct validation **slot, validation_cb *cb, void *arg)
{
	(void)v;
	(void)name;
	(void)type;
	(void)cb;
	(void)arg;
	*slot = NULL;
	return PE_FULL;
}

void
validation_forget(struct validation *q)
{
	(void)q;
}

size_t
validator_open(const struct validator *v)
{
	(void)v;
	return 0;
}

#endif
