/*
 * conf_take.c - what a section of postern.conf means: references, rules between
 * keys, lookup tables, and the files that settings name. The other files' stand
 * in conf_take_tables.c.
 *
 * conf_build.c calls conf_take() once for each section, in the order of the
 * schema, so that a reference only looks back. A broken rule is told and the
 * set refused later; nothing here stops at the first.
 */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/base/err.h"
#include "lib/conf/conf_take.h"
#include "lib/mail/prvs.h"

#define SECRET_MAX  ((size_t)1 << 20)  /* certificates, keys, passwords */
#define LIST_MAX    ((size_t)64 << 20) /* authorities, users */
#define LISTENS_MAX 1000

int
conf_push(struct conf_build *b, enum conf_section_id id, void *array_ptr,
    size_t *n, const void *elem)
{
	size_t size = conf_schema[id].size;
	void *array, *bigger;

	memcpy(&array, array_ptr, sizeof(array));
	if (*n == b->cap[id]) {
		b->cap[id] = b->cap[id] == 0 ? 8 : b->cap[id] * 2;
		bigger = reallocarray(array, b->cap[id], size);
		if (bigger == NULL)
			return -ENOMEM;
		array = bigger;
		memcpy(array_ptr, &array, sizeof(array));
	}
	memcpy((char *)array + *n * size, elem, size);
	return (int)(*n)++;
}

int
conf_put_name(struct conf_map *map, const char *name, int index)
{
	uint32_t other;

	if (index < 0)
		return index;
	return conf_map_put(map, name, strlen(name), (uint32_t)index, &other) <
		0
	    ? -ENOMEM
	    : 0;
}

const char *
conf_sect_name(const struct conf_where *w)
{
	return w->sect == NULL ? "default" : w->sect->name;
}

/* Was the value of this key refused already? */
static bool
is_bad(const struct conf_where *w, const char *key)
{
	return (w->bad >> conf_key_find(w->schema, key, strlen(key)) & 1) != 0;
}

/* A key that has no default and must be given. */
void
conf_need(const struct conf_where *w, const char *key, bool there)
{
	if (!there && !is_bad(w, key))
		conf_where_error(w, conf_where_given(w, key) ? key : NULL,
		    false, "found no %s in [%s], wanted one", key,
		    w->schema->title);
}

/* Why a file is closed to us, and what to do: "" when it is not that. */
static const char *
closed_to_us(int error, const char *path, char *buf, size_t len)
{
	struct stat st;

	buf[0] = '\0';
	if (error != -EACCES)
		return buf;
	if (stat(path, &st) == 0)
		(void)snprintf(buf, len,
		    "; it belongs to uid %u and has mode %03o, and postern "
		    "reads it as uid %u: change its owner or group, or add "
		    "CAP_DAC_READ_SEARCH",
		    st.st_uid, st.st_mode & 0777, geteuid());
	else
		(void)snprintf(buf, len,
		    "; a directory above it is closed to uid %u, as which "
		    "postern reads it",
		    geteuid());
	return buf;
}

/*
 * Read a file that a setting names into the set, once. Missing ones are told,
 * unless missing is not NULL: then it says so.
 */
static int
need_file(const struct conf_where *w, const char *key, const char *path,
    size_t max, bool *ret_missing)
{
	const struct conf_source *src = w->b->src;
	uint8_t *data = NULL;
	const uint8_t *have;
	char closed[200];
	size_t len = 0;
	int r;

	if (!src->named_files || path == NULL ||
	    conf_file(w->b->conf, path, &have, &len) == 0)
		return 0;
	r = src->read(src->arg, path, max, &data, &len);
	if (r == 0)
		return conf_file_add(w->b->conf, path, data, len);
	if (r == -ENOMEM)
		return r;
	if (r == -ENOENT && ret_missing != NULL)
		*ret_missing = true;
	else
		conf_where_error(w, key, false, "%s: cannot read '%s': %s%s",
		    key, path, err_str(r),
		    closed_to_us(r, path, closed, sizeof(closed)));
	return 0;
}

const struct conf_certificate *
conf_find_certificate(const struct conf *conf, const char *name)
{
	size_t i;

	for (i = 0; name != NULL && i < conf->n_certificates; i++)
		if (strcmp(conf->certificates[i].name, name) == 0)
			return &conf->certificates[i];
	return NULL;
}

/* "[certificate x]" named by a key does not exist. */
void
conf_dangling(const struct conf_where *w, const char *key, const char *kind,
    const char *file, const char *name)
{
	conf_where_error(w, key, false,
	    "%s: found '%s', wanted a [%s NAME] that exists in %s", key, name,
	    kind, file);
}

/* ---- postern.conf -------------------------------------------------------- */

static int
take_certificate(struct conf_where *w, void *base)
{
	struct conf_certificate *c = base;
	struct conf *conf = w->b->conf;
	int r;

	c->name = conf_sect_name(w);
	conf_need(w, "cert_file", c->cert_file != NULL);
	conf_need(w, "key_file", c->key_file != NULL);
	r = need_file(w, "cert_file", c->cert_file, SECRET_MAX, NULL);
	if (r == 0)
		r = need_file(w, "key_file", c->key_file, SECRET_MAX, NULL);
	if (r == 0)
		r = conf_push(
		    w->b, w->id, &conf->certificates, &conf->n_certificates, c);
	return r < 0 ? r : 0;
}

static int
take_credential(struct conf_where *w, void *base)
{
	struct conf_credential *c = base;
	struct conf *conf = w->b->conf;
	int r;

	c->name = conf_sect_name(w);
	conf_need(w, "user", c->user != NULL);
	conf_need(w, "secret_file", c->secret_file != NULL);
	r = need_file(w, "secret_file", c->secret_file, SECRET_MAX, NULL);
	if (r == 0)
		r = conf_push(
		    w->b, w->id, &conf->credentials, &conf->n_credentials, c);
	return r < 0 ? r : 0;
}

static int
take_postern(struct conf_where *w, void *base)
{
	struct conf_node *n = base;
	const char *why, *host = w->b->src->hostname;
	char name[256];

	conf_need(w, "state_dir", n->state_dir != NULL);
	conf_need(w, "run_dir", n->run_dir != NULL);
	conf_need(w, "user_prefix", n->user_prefix != NULL || n->user != NULL);
	if (n->hostname == NULL && !is_bad(w, "hostname")) {
		if (host == NULL ||
		    !conf_domain_normalise(host, strlen(host), name, &why)) {
			conf_where_error(w, "hostname", false,
			    "hostname: found none, and the host's own name is "
			    "no help, wanted a full host name");
			(void)snprintf(name, sizeof(name), "localhost");
		} else if (strchr(name, '.') == NULL) {
			conf_where_error(w, "hostname", true,
			    "hostname: the host calls itself '%s', which is "
			    "not a full name; many servers refuse it",
			    name);
		}
		n->hostname = conf_strndup(w->b->conf, name, strlen(name));
		if (n->hostname == NULL)
			return -ENOMEM;
	}
	w->b->conf->node = *n;
	return 0;
}

static int
take_trust(struct conf_where *w, void *base)
{
	struct conf_trust *t = base;
	bool missing = false;
	int r;

	r = need_file(w, "ca_file", t->ca_file, LIST_MAX,
	    conf_where_given(w, "ca_file") ? NULL : &missing);
	if (missing) {
		conf_where_error(w, "ca_file", true,
		    "ca_file: the default '%s' does not exist; no certificate "
		    "can be verified, and mail to domains with an MTA-STS "
		    "policy waits",
		    t->ca_file);
		t->ca_file = NULL;
		r = conf_where_emit(w, "ca_file", "");
	}
	w->b->conf->trust = *t;
	return r;
}

/* Is there a name server whose word on DNSSEC is believed? */
static bool
some_trusted(const struct conf_resolver *rs)
{
	size_t i;

	for (i = 0; i < rs->nameservers.n; i++)
		if (conf_resolver_trusts(rs, &rs->nameservers.v[i]))
			return true;
	return rs->nameservers.n == 0; /* another error tells */
}

/* Without comments and empty lines: is a DS or a DNSKEY record there? */
static bool
has_anchor(const char *text)
{
	char line[512];
	size_t len;

	while (*text != '\0') {
		len = strcspn(text, "\n");
		(void)snprintf(line, sizeof(line), "%.*s", (int)len, text);
		line[strcspn(line, ";")] = '\0';
		if (strstr(line, " DS ") != NULL ||
		    strstr(line, "\tDS\t") != NULL ||
		    strstr(line, " DNSKEY ") != NULL ||
		    strstr(line, "\tDNSKEY\t") != NULL)
			return true;
		text += len + (text[len] == '\n');
	}
	return false;
}

/* What dnssec = validate needs. */
static int
take_validate(struct conf_where *w, const struct conf_resolver *rs)
{
	bool missing = false;
	const uint8_t *text;
	size_t len;
	int r;

#ifndef POSTERN_UNBOUND
	conf_where_error(w, "dnssec", false,
	    "dnssec: found validate, but this build is without libunbound; "
	    "install libunbound-dev and build again, or use trust with a name "
	    "server on this host that validates");
	return 0;
#endif
	conf_need(w, "trust_anchor", rs->trust_anchor != NULL);
	r = need_file(w, "trust_anchor", rs->trust_anchor, SECRET_MAX,
	    conf_where_given(w, "trust_anchor") ? NULL : &missing);
	if (missing)
		conf_where_error(w, "trust_anchor", false,
		    "trust_anchor: the default '%s' does not exist; install "
		    "dns-root-data, or name a file with the key of the root",
		    rs->trust_anchor);
	if (r == 0 && rs->trust_anchor != NULL &&
	    conf_file(w->b->conf, rs->trust_anchor, &text, &len) == 0 &&
	    !has_anchor((const char *)text))
		conf_where_error(w, "trust_anchor", false,
		    "trust_anchor: found no record in '%s', wanted DS or "
		    "DNSKEY records, one a line",
		    rs->trust_anchor);
	return r;
}

static int
take_resolver(struct conf_where *w, void *base)
{
	struct conf_resolver *rs = base;
	const char *list = w->b->src->nameservers;
	char text[1024], err[600];
	bool validate = rs->dnssec == CONF_DNSSEC_VALIDATE;
	int i, r = 0;

	if (rs->nameservers.n == 0 && list != NULL && !validate &&
	    strlen(list) < sizeof(text)) {
		i = conf_key_find(w->schema, "nameservers", 11);
		memcpy(text, list, strlen(list) + 1);
		if (conf_value_parse(w->b->conf, &w->schema->keys[i], text,
			NULL, rs, err, sizeof(err)) < 0)
			rs->nameservers.n = 0;
	}
	if (rs->nameservers.n == 0 && !validate && !is_bad(w, "nameservers"))
		conf_where_error(w, "nameservers", false,
		    "nameservers: found none, here or in the system's "
		    "settings, wanted at least one");
	if (rs->dnssec == CONF_DNSSEC_REQUIRE && !some_trusted(rs))
		conf_where_error(w, "dnssec", false,
		    "dnssec: found require, but trust_ad covers no name "
		    "server, wanted one on a loopback address or trust_ad = "
		    "yes");
	if (validate)
		r = take_validate(w, rs);
	if (rs->min_ttl_s > rs->max_ttl_s)
		conf_where_error(w,
		    conf_where_given(w, "min_ttl") ? "min_ttl" : "max_ttl",
		    false, "found min_ttl above max_ttl, wanted it below");
	w->b->conf->resolver = *rs;
	return r;
}

static int
take_mta_sts(struct conf_where *w, void *base)
{
	struct conf_mta_sts *m = base;
	int r;

	r = need_file(w, "ca_file", m->ca_file, LIST_MAX, NULL);
	if (m->ca_file == NULL)
		m->ca_file = w->b->conf->trust.ca_file;
	w->b->conf->mta_sts = *m;
	return r;
}

static int
take_queue(struct conf_where *w, void *base)
{
	struct conf_queue *q = base;

	if (q->host_down_retry_ms > q->host_down_max_retry_ms)
		conf_where_error(w,
		    conf_where_given(w, "host_down_retry")
			? "host_down_retry"
			: "host_down_max_retry",
		    false,
		    "found host_down_retry above host_down_max_retry, wanted "
		    "it below");
	w->b->conf->queue = *q;
	return 0;
}

static int
take_delivery(struct conf_where *w, void *base)
{
	w->b->conf->delivery = *(struct conf_delivery *)base;
	return 0;
}

static int
take_log(struct conf_where *w, void *base)
{
	w->b->conf->log = *(struct conf_log *)base;
	return 0;
}

/* Do two sockets get in each other's way? A wildcard takes all of its family;
 * IPv6 listeners are IPv6 only. */
static bool
addrs_clash(const union conf_addr *a, const union conf_addr *b)
{
	static const struct in6_addr any6 = IN6ADDR_ANY_INIT;

	if (a->sa.sa_family != b->sa.sa_family ||
	    a->in.sin_port != b->in.sin_port)
		return false;
	if (a->sa.sa_family == AF_INET)
		return a->in.sin_addr.s_addr == b->in.sin_addr.s_addr ||
		    a->in.sin_addr.s_addr == INADDR_ANY ||
		    b->in.sin_addr.s_addr == INADDR_ANY;
	return memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, 16) == 0 ||
	    memcmp(&a->in6.sin6_addr, &any6, 16) == 0 ||
	    memcmp(&b->in6.sin6_addr, &any6, 16) == 0;
}

/* Note listening addresses; refuse one that is taken. */
static int
take_addrs(
    const struct conf_where *w, const char *key, const struct conf_addrs *addrs)
{
	struct conf_build *b = w->b;
	const struct conf_doc *doc;
	const struct conf_ini_item *item;
	struct conf_listen *v, *l;
	char ip[64], first[64];
	size_t i, k;

	if (addrs->n == 0)
		return 0;
	doc = &b->docs[w->sect->doc];
	item = w->at[conf_key_find(w->schema, key, strlen(key))];
	for (i = 0; i < addrs->n; i++) {
		if (b->n_listens >= LISTENS_MAX) {
			conf_where_error(w, key, false,
			    "%s: found more than %d addresses in all, wanted "
			    "fewer",
			    key, LISTENS_MAX);
			return 0;
		}
		for (k = 0; k < b->n_listens; k++) {
			l = &b->listens[k];
			if (!addrs_clash(&l->addr, &addrs->v[i]))
				continue;
			conf_where_error(w, key, false,
			    "%s: found %s, which %s (%s line %u) has already, "
			    "wanted another address or port",
			    key, conf_addr_format(&addrs->v[i], ip, sizeof(ip)),
			    conf_addr_format(&l->addr, first, sizeof(first)),
			    l->file, l->line);
			break;
		}
		v = reallocarray(b->listens, b->n_listens + 1, sizeof(*v));
		if (v == NULL)
			return -ENOMEM;
		b->listens = v;
		v[b->n_listens++] = (struct conf_listen){ addrs->v[i],
			doc->name, item->line, item->column };
	}
	return 0;
}

static int
take_admin(struct conf_where *w, void *base)
{
	struct conf_admin *a = base;
	int r;

	a->cert = conf_find_certificate(w->b->conf, a->certificate);
	if (a->certificate != NULL && a->cert == NULL)
		conf_dangling(w, "certificate", "certificate", "postern.conf",
		    a->certificate);
	r = need_file(w, "users_file", a->users_file, LIST_MAX, NULL);
	if (r == 0)
		r = take_addrs(w, "listen", &a->listen);
	w->b->conf->admin = *a;
	return r;
}

/* The keys themselves: told here, so that no process meets a bad file. */
static void
check_keys(const struct conf_where *w, const struct conf_bounce_verification *v)
{
	struct prvs_keys keys;
	const uint8_t *text;
	const char *why;
	unsigned line;
	size_t len;

	if (v->key_file == NULL ||
	    conf_file(w->b->conf, v->key_file, &text, &len) < 0)
		return; /* told before, or nobody reads files here */
	if (prvs_keys_parse((const char *)text, len, &keys, &line, &why) < 0)
		conf_where_error(w, "key_file", false,
		    "key_file: %s:%u: %s; wanted lines DIGIT SECRET",
		    v->key_file, line, why);
	explicit_bzero(&keys, sizeof(keys));
}

static int
put_tagged(const struct conf_where *w, const char *key,
    const struct conf_strs *patterns, bool tagged)
{
	uint32_t other;
	size_t i;
	int r;

	for (i = 0; i < patterns->n; i++) {
		r = conf_map_put(&w->b->conf->index->tagged, patterns->v[i],
		    strlen(patterns->v[i]), tagged, &other);
		if (r < 0)
			return r;
		if (r == 1)
			conf_where_error(w, key, false,
			    "%s: found '%s' again, wanted it once, in senders "
			    "or in except",
			    key, patterns->v[i]);
	}
	return 0;
}

static int
take_verification(struct conf_where *w, void *base)
{
	struct conf_bounce_verification *v = base;
	int r;

	if (v->key_file != NULL)
		conf_need(w, "senders", v->senders.n > 0);
	r = need_file(w, "key_file", v->key_file, SECRET_MAX, NULL);
	if (r == 0)
		r = put_tagged(w, "senders", &v->senders, true);
	if (r == 0)
		r = put_tagged(w, "except", &v->except, false);
	check_keys(w, v);
	w->b->conf->verification = *v;
	return r;
}

static int
take_cluster(struct conf_where *w, void *base)
{
	w->b->conf->cluster = *(struct conf_cluster *)base;
	return 0;
}

/* TLS of a listener: is there a certificate for it? */
static void
check_listener_tls(const struct conf_where *w, struct conf_listener *l)
{
	l->cert = conf_find_certificate(w->b->conf, l->certificate);
	if (w->bad != 0)
		return; /* what follows would only confuse */
	if (l->cert == NULL && l->certificate != NULL &&
	    conf_where_given(w, "certificate")) {
		conf_dangling(w, "certificate", "certificate", "postern.conf",
		    l->certificate);
		return;
	}
	if (l->cert == NULL && !conf_where_given(w, "tls")) {
		l->tls = CONF_LTLS_NONE;
		conf_where_error(w, NULL, true,
		    "listener %s has no certificate: TLS is not offered",
		    l->name);
	} else if (l->cert == NULL && l->tls != CONF_LTLS_NONE) {
		conf_where_error(w, "tls", false,
		    "found tls without a certificate, wanted a [certificate "
		    "default] or tls = none");
	}
	if (l->auth != CONF_AUTH_NO && l->tls == CONF_LTLS_NONE)
		conf_where_error(w, "auth", false,
		    "found auth without TLS, wanted a certificate and tls = "
		    "offered, required or implicit (AUTH only inside TLS)");
	if (l->client_ca_file != NULL && l->tls == CONF_LTLS_NONE)
		conf_where_error(w, "client_ca_file", false,
		    "found client_ca_file without TLS, wanted a certificate "
		    "and tls = offered, required or implicit");
}

static int
take_listener(struct conf_where *w, void *base)
{
	struct conf_listener *l = base;
	struct conf *conf = w->b->conf;
	union conf_addr *addrs = (union conf_addr *)l->address.v;
	uint16_t port;
	size_t i;
	int r;

	l->name = conf_sect_name(w);
	conf_need(w, "address", l->address.n > 0);
	check_listener_tls(w, l);
	if (l->auth != CONF_AUTH_NO && l->auth_file == NULL &&
	    !is_bad(w, "auth_file"))
		conf_where_error(w, "auth", false,
		    "found auth without auth_file, wanted one");
	l->profile = l->bounce_profile == NULL
	    ? &conf->profiles[0]
	    : conf_profile_lookup(conf, l->bounce_profile);
	if (l->profile == NULL)
		conf_dangling(w, "bounce_profile", "profile", "bounce.conf",
		    l->bounce_profile);
	if (l->accept_bounces && conf->verification.key_file == NULL)
		conf_where_error(w, "accept_bounces", false,
		    "accept_bounces: found yes, but [bounce-verification] has "
		    "no key_file, wanted one, or no");
	port = l->tls == CONF_LTLS_IMPLICIT ? 465 : 25;
	for (i = 0; i < l->address.n; i++)
		if (addrs[i].in.sin_port == 0) /* same place in IPv6 */
			addrs[i].in.sin_port = htons(port);
	r = need_file(w, "auth_file", l->auth_file, LIST_MAX, NULL);
	if (r == 0)
		r = need_file(
		    w, "client_ca_file", l->client_ca_file, LIST_MAX, NULL);
	if (r == 0)
		r = take_addrs(w, "address", &l->address);
	if (r == 0)
		r = conf_push(
		    w->b, w->id, &conf->listeners, &conf->n_listeners, l);
	return r < 0 ? r : conf_put_name(&conf->index->listeners, l->name, r);
}

/* ---- by kind ------------------------------------------------------------- */

static int (*const takers[CONF_S_COUNT])(struct conf_where *, void *) = {
	[CONF_S_CERTIFICATE] = take_certificate,
	[CONF_S_CREDENTIAL] = take_credential,
	[CONF_S_PROFILE] = conf_take_profile,
	[CONF_S_POSTERN] = take_postern,
	[CONF_S_TRUST] = take_trust,
	[CONF_S_RESOLVER] = take_resolver,
	[CONF_S_MTA_STS] = take_mta_sts,
	[CONF_S_QUEUE] = take_queue,
	[CONF_S_DELIVERY] = take_delivery,
	[CONF_S_LOG] = take_log,
	[CONF_S_ADMIN] = take_admin,
	[CONF_S_CLUSTER] = take_cluster,
	[CONF_S_VERIFICATION] = take_verification,
	[CONF_S_LISTENER] = take_listener,
	[CONF_S_GATEWAY] = conf_take_gateway,
	[CONF_S_DEFAULT] = conf_take_default,
	[CONF_S_DESTINATION] = conf_take_destination,
	[CONF_S_ROUTE] = conf_take_route,
};

int
conf_take(struct conf_where *w, void *base)
{
	return takers[w->id](w, base);
}

int
conf_take_before(struct conf_build *b, enum conf_section_id id)
{
	struct conf_where w = { .b = b, .id = id, .schema = &conf_schema[id] };

	/* "default" of these exists in any case, at index 0 */
	if (id != CONF_S_PROFILE && id != CONF_S_GATEWAY)
		return 0;
	memcpy(b->room, b->proto[id], w.schema->size);
	return conf_take(&w, b->room);
}

void
conf_take_end(struct conf_build *b)
{
	if (b->conf->n_listeners == 0 && b->errs->errors == 0)
		conf_build_error(b, conf_table_file[CONF_T_POSTERN], 0, 0, true,
		    "there is no [listener NAME]: no mail comes in over SMTP");
}
