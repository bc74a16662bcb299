/*
 * conf_blob.c - a set of settings as one buffer, for the children.
 *
 * The supervisor builds one for each kind of process, with the file contents
 * that kind is entitled to, and hands it over in a sealed memory file. A child
 * reads it with the same reader that checked the original.
 *
 * Layout, numbers in network order: "POSTCONF", u32 version, u32 length of the
 * rest; then records u8 type, u32 name length, u32 data length, name, data; the
 * last is of type END, whose data is the FNV-1a sum of all bytes before it (it
 * finds mistakes, not malice: the channel is private).
 */
#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_int.h"

#define BLOB_VERSION 1U
#define BLOB_HEAD    16U
#define REC_HEAD     9U
#define BLOB_MAX     ((size_t)1 << 30)

enum {
	REC_END,
	REC_TABLE,	/* name: settings file, data: its normalised text */
	REC_FILE,	/* name: path, data: contents */
	REC_HOSTNAME,	/* data: default of [postern] hostname */
	REC_NAMESERVERS /* data: default of [resolver] nameservers */
};

static uint64_t
checksum(const uint8_t *p, size_t len)
{
	uint64_t h = 0xcbf29ce484222325ULL;
	size_t i;

	for (i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ULL;
	return h;
}

static int
put_record(struct buf *out, uint8_t type, const char *name, const void *data,
    size_t len)
{
	uint32_t head[2];
	int r;

	head[0] = htobe32((uint32_t)strlen(name));
	head[1] = htobe32((uint32_t)len);
	r = buf_put(out, &type, 1);
	if (r == 0)
		r = buf_put(out, head, sizeof(head));
	if (r == 0)
		r = buf_put(out, name, strlen(name));
	return r == 0 ? buf_put(out, data, len) : r;
}

/* A file's contents, unless it is in out already. */
static int
put_file(struct buf *out, const struct conf *conf, const char *path, bool *done)
{
	const struct conf_store *st = conf->store;
	size_t i;

	for (i = 0; path != NULL && i < st->n_files; i++) {
		if (done[i] || strcmp(st->files[i].path, path) != 0)
			continue;
		done[i] = true;
		return put_record(
		    out, REC_FILE, path, st->files[i].data, st->files[i].len);
	}
	return 0;
}

static int
put_certificate(struct buf *out, const struct conf *conf,
    const struct conf_certificate *cert, bool *done)
{
	int r;

	if (cert == NULL)
		return 0;
	r = put_file(out, conf, cert->cert_file, done);
	return r == 0 ? put_file(out, conf, cert->key_file, done) : r;
}

/* Here, and only here, stands who sees which secret. */
static int
put_files(
    struct buf *out, const struct conf *conf, enum conf_for who, bool *done)
{
	const struct conf_certificate *last = NULL;
	const struct conf_listener *l;
	size_t i;
	int r = 0;

	for (i = 0; (who & CONF_FOR_SMTPD) && r == 0 && i < conf->n_listeners;
	     i++) {
		l = &conf->listeners[i];
		r = put_file(out, conf, l->auth_file, done);
		if (r == 0)
			r = put_file(out, conf, l->client_ca_file, done);
		if (r == 0 && l->tls != CONF_LTLS_NONE)
			r = put_certificate(out, conf, l->cert, done);
	}
	if ((who & (CONF_FOR_SMTPD | CONF_FOR_DELIVER)) && r == 0)
		r = put_file(out, conf, conf->verification.key_file, done);
	if ((who & CONF_FOR_DELIVER) && r == 0)
		r = put_file(out, conf, conf->trust.ca_file, done);
	for (i = 0; (who & CONF_FOR_DELIVER) && r == 0 && i < conf->n_dests;
	     i++) {
		if (conf->dests[i].cert == last)
			continue; /* nearly always DEFAULT's */
		last = conf->dests[i].cert;
		r = put_certificate(out, conf, last, done);
	}
	for (i = 0; (who & CONF_FOR_DELIVER) && r == 0 && i < conf->n_routes;
	     i++)
		if (conf->routes[i].cred != NULL)
			r = put_file(
			    out, conf, conf->routes[i].cred->secret_file, done);
	if ((who & CONF_FOR_POLICYD) && r == 0)
		r = put_file(out, conf, conf->mta_sts.ca_file, done);
	if ((who & CONF_FOR_RESOLVER) && r == 0 &&
	    conf->resolver.dnssec == CONF_DNSSEC_VALIDATE)
		r = put_file(out, conf, conf->resolver.trust_anchor, done);
	if ((who & CONF_FOR_ADMIN) && r == 0)
		r = put_file(out, conf, conf->admin.users_file, done);
	if ((who & CONF_FOR_ADMIN) && r == 0)
		r = put_certificate(out, conf, conf->admin.cert, done);
	return r;
}

static int
put_nameservers(struct buf *out, const struct conf *conf)
{
	char list[1024], one[64];
	size_t i, used = 0;

	list[0] = '\0';
	for (i = 0; i < conf->resolver.nameservers.n && i < 16; i++)
		used += (size_t)snprintf(list + used, sizeof(list) - used,
		    "%s%s", i > 0 ? ", " : "",
		    conf_addr_format(
			&conf->resolver.nameservers.v[i], one, sizeof(one)));
	return put_record(out, REC_NAMESERVERS, "", list, used);
}

int
conf_blob_build(const struct conf *conf, enum conf_for who, uint8_t **ret_data,
    size_t *ret_len)
{
	const struct conf_store *st = conf->store;
	struct buf out;
	uint8_t head[BLOB_HEAD] = "POSTCONF", *copy = NULL;
	bool *done = NULL;
	uint32_t n;
	uint64_t sum;
	size_t i;
	int r;

	buf_init(&out, BLOB_MAX);
	done = calloc(st->n_files + 1, sizeof(*done));
	r = done == NULL ? -ENOMEM : buf_put(&out, head, sizeof(head));
	if (r == 0)
		r = put_record(&out, REC_HOSTNAME, "", conf->node.hostname,
		    strlen(conf->node.hostname));
	if (r == 0)
		r = put_nameservers(&out, conf);
	for (i = 0; r == 0 && i < CONF_T_COUNT; i++)
		r = put_record(&out, REC_TABLE, conf_table_file[i],
		    buf_data(&st->text[i]), buf_len(&st->text[i]));
	if (r == 0)
		r = put_files(&out, conf, who, done);
	if (r == 0) {
		n = htobe32(BLOB_VERSION);
		memcpy(buf_data(&out) + 8, &n, 4);
		n = htobe32(
		    (uint32_t)(buf_len(&out) - BLOB_HEAD + REC_HEAD + 8));
		memcpy(buf_data(&out) + 12, &n, 4);
		sum = htobe64(checksum(buf_data(&out), buf_len(&out)));
		r = put_record(&out, REC_END, "", &sum, sizeof(sum));
	}
	if (r == 0) {
		copy = malloc(buf_len(&out));
		r = copy == NULL ? -ENOMEM : 0;
	}
	if (r == 0) {
		memcpy(copy, buf_data(&out), buf_len(&out));
		*ret_data = copy;
		*ret_len = buf_len(&out);
	}
	if (out.mem != NULL)
		explicit_bzero(out.mem, out.cap);
	buf_done(&out);
	free(done);
	return r == 0 ? 0 : -ENOMEM;
}

/* ---- the child's side ---------------------------------------------------- */

struct record {
	uint8_t type;
	const char *name; /* not terminated */
	size_t name_len;
	const uint8_t *data;
	size_t len;
};

struct blob {
	const uint8_t *p;
	size_t left;
};

/* The next record; false when the bytes do not hold one. */
static bool
next_record(struct blob *in, struct record *ret)
{
	uint32_t n[2];

	if (in->left < REC_HEAD)
		return false;
	ret->type = in->p[0];
	memcpy(n, in->p + 1, sizeof(n));
	ret->name_len = be32toh(n[0]);
	ret->len = be32toh(n[1]);
	in->p += REC_HEAD;
	in->left -= REC_HEAD;
	if (ret->name_len > in->left || ret->len > in->left - ret->name_len)
		return false;
	ret->name = (const char *)in->p;
	ret->data = in->p + ret->name_len;
	in->p += ret->name_len + ret->len;
	in->left -= ret->name_len + ret->len;
	return true;
}

static int
blob_read(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	struct blob in = *(struct blob *)arg;
	struct record rec;
	uint8_t *copy;

	while (next_record(&in, &rec) && rec.type != REC_END) {
		if (rec.type != REC_TABLE || rec.name_len != strlen(path) ||
		    memcmp(rec.name, path, rec.name_len) != 0)
			continue;
		if (rec.len > max)
			return -EFBIG;
		copy = malloc(rec.len + 1);
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, rec.data, rec.len);
		copy[rec.len] = '\0';
		*ret_data = copy;
		*ret_len = rec.len;
		return 0;
	}
	return -ENOENT;
}

/* Check the frame: 0 and *ret_in at the first record, or why not. */
static int
check_frame(const uint8_t *data, size_t len, struct blob *ret_in)
{
	struct blob in;
	struct record rec;
	uint32_t n;
	uint64_t sum;
	size_t at;

	if (len < BLOB_HEAD || memcmp(data, "POSTCONF", 8) != 0)
		return PE_CORRUPT;
	memcpy(&n, data + 8, 4);
	if (be32toh(n) != BLOB_VERSION)
		return PE_VERSION;
	memcpy(&n, data + 12, 4);
	if (be32toh(n) != len - BLOB_HEAD)
		return PE_CORRUPT;
	in = (struct blob){ data + BLOB_HEAD, len - BLOB_HEAD };
	*ret_in = in;
	do {
		at = (size_t)(in.p - data);
		if (!next_record(&in, &rec))
			return PE_CORRUPT;
	} while (rec.type != REC_END);
	if (in.left != 0 || rec.len != sizeof(sum))
		return PE_CORRUPT;
	memcpy(&sum, rec.data, sizeof(sum));
	return be64toh(sum) == checksum(data, at) ? 0 : PE_CORRUPT;
}

static int
take_files(struct conf *conf, struct blob in)
{
	struct record rec;
	char path[1200];
	uint8_t *copy;
	int r = 0;

	while (r == 0 && next_record(&in, &rec) && rec.type != REC_END) {
		if (rec.type != REC_FILE)
			continue;
		if (rec.name_len >= sizeof(path))
			return PE_CORRUPT;
		memcpy(path, rec.name, rec.name_len);
		path[rec.name_len] = '\0';
		copy = malloc(rec.len + 1);
		if (copy == NULL)
			return -ENOMEM;
		memcpy(copy, rec.data, rec.len);
		copy[rec.len] = '\0';
		r = conf_file_add(conf, path, copy, rec.len);
	}
	return r;
}

int
conf_blob_parse(const uint8_t *data, size_t len, struct conf **ret_conf)
{
	struct conf_source src = { .read = blob_read };
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	struct record rec;
	struct blob in, walk;
	char hostname[300] = "", servers[1024] = "";
	int r;

	r = check_frame(data, len, &in);
	if (r < 0)
		return r;
	walk = in;
	while (next_record(&walk, &rec) && rec.type != REC_END) {
		if (rec.type == REC_HOSTNAME && rec.len < sizeof(hostname))
			memcpy(hostname, rec.data, rec.len);
		if (rec.type == REC_NAMESERVERS && rec.len < sizeof(servers))
			memcpy(servers, rec.data, rec.len);
	}
	src.arg = &in;
	src.hostname = hostname;
	src.nameservers = servers;
	r = conf_load(&src, &errs, &conf);
	conf_errors_done(&errs);
	if (r == 0)
		r = take_files(conf, in);
	if (r < 0) {
		conf_unref(conf);
		return r;
	}
	*ret_conf = conf;
	return 0;
}
