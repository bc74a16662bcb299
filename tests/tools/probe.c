/*
 * probe.c - the pure parsers, asked one question a line.
 *
 * A tool for developers and for test corpora, not installed: it calls the very
 * functions that the processes call, and knows nothing itself. Requests are
 * JSON objects, one a line on standard input, and each gets one line of JSON on
 * standard output, in order. Bytes are strings whose characters are U+0000 to
 * U+00FF, one for each byte, both ways. docs/probe.md lists the fields.
 */
#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/ipc/chan.h"
#include "lib/mail/addr.h"
#include "lib/mail/utf8.h"
#include "lib/smtp/command.h"
#include "lib/smtp/data.h"
#include "lib/smtp/ehlo.h"
#include "lib/smtp/reply.h"
#include "tests/tools/probe_verdict.h"

/* Bytes that came in or go out. */
struct bytes {
	char *p;
	size_t len;
};

struct field {
	const char *name;
	json_type type; /* JSON_TRUE stands for both booleans */
	bool needed;
};

struct subcommand {
	const char *name;
	/* Fill out, or return a text that says why not. */
	const char *(*run)(json_t *in, json_t *out);
	struct field fields[4]; /* beside id */
};

/* ---- bytes and JSON ---- */

/* The bytes of a string. False when a character is none. */
static bool
bytes_take(const json_t *value, struct bytes *ret)
{
	const char *text = json_string_value(value);
	size_t len = json_string_length(value), at = 0, used;
	uint32_t cp;

	ret->p = malloc(len + 1);
	ret->len = 0;
	if (ret->p == NULL)
		abort();
	while (at < len) {
		used = utf8_decode(text + at, len - at, &cp);
		if (used == 0 || cp > 0xff) {
			free(ret->p);
			ret->p = NULL;
			return false;
		}
		ret->p[ret->len++] = (char)cp;
		at += used;
	}
	return true;
}

static json_t *
bytes_give(const char *p, size_t len)
{
	char *text = malloc(2 * len + 1);
	json_t *value;
	size_t i, n = 0;

	if (text == NULL)
		abort();
	for (i = 0; i < len; i++)
		n += utf8_encode((unsigned char)p[i], text + n);
	value = json_stringn(text, n);
	free(text);
	return value;
}

/*
 * null. Not by jansson's function for it: lib/json has one of the same name,
 * and a program that links both gets that one.
 */
static json_t *
no_value(void)
{
	return json_loads("null", JSON_DECODE_ANY, NULL);
}

static json_t *
text_or_null(const char *text)
{
	return text == NULL || text[0] == '\0' ? no_value()
					       : bytes_give(text, strlen(text));
}

static void
put(json_t *out, const char *name, json_t *value)
{
	if (value == NULL || json_object_set_new(out, name, value) != 0)
		abort();
}

/* JSON numbers here have 63 bits. */
static json_t *
big(uint64_t value)
{
	return json_integer(value > INT64_MAX ? INT64_MAX : (json_int_t)value);
}

static json_t *
status_value(struct smtp_status st)
{
	char text[SMTP_STATUS_TEXT];

	return text_or_null(smtp_status_format(st, text));
}

static const char not_bytes[] =
    "a string of bytes has a character above U+00FF";

/* ---- subcommands ---- */

/* Parse the wire field as one reply. */
static const char *
take_reply(json_t *in, struct smtp_reply *r, ssize_t *ret_used)
{
	struct bytes wire;
	ssize_t used;

	if (!bytes_take(json_object_get(in, "wire"), &wire))
		return not_bytes;
	used = smtp_reply_parse(wire.p, wire.len, r);
	free(wire.p);
	if (used < 0)
		return r->error;
	if (used == 0)
		return "the reply is not complete";
	*ret_used = used;
	return NULL;
}

static const char *
run_reply(json_t *in, json_t *out)
{
	static struct smtp_reply r;
	static char text[SMTP_REPLY_MAX];
	json_t *lines;
	const char *why, *line;
	size_t at = 0, len;
	ssize_t used = 0;

	why = take_reply(in, &r, &used);
	if (why != NULL)
		return why;
	len = smtp_reply_bare_text(&r, text, sizeof(text));
	put(out, "code", json_integer(r.code));
	put(out, "enhanced", status_value(r.status));
	put(out, "text", bytes_give(text, len));
	lines = json_array();
	while ((line = smtp_reply_line(&r, &at, &len)) != NULL)
		(void)json_array_append_new(lines, bytes_give(line, len));
	put(out, "lines", lines);
	put(out, "consumed", json_integer(used));
	return NULL;
}

static const char *
run_ehlo(json_t *in, json_t *out)
{
	static struct smtp_reply r;
	struct smtp_ehlo e;
	json_t *list;
	const char *why, *word, *end;
	ssize_t used = 0;
	uint32_t bit;

	why = take_reply(in, &r, &used);
	if (why != NULL)
		return why;
	if (smtp_ehlo_parse(&r, &e) < 0)
		return "the reply code is not 2yz";
	put(out, "host", text_or_null(e.host));
	list = json_array();
	for (bit = 1; bit <= SMTP_EXT_ALL; bit <<= 1) {
		if (e.ext & bit)
			(void)json_array_append_new(
			    list, json_string(smtp_ext_name(bit)));
	}
	put(out, "has", list);
	list = json_array();
	for (word = e.auth; *word != '\0'; word = end + (*end == ' ')) {
		end = strchrnul(word, ' ');
		(void)json_array_append_new(
		    list, json_stringn(word, (size_t)(end - word)));
	}
	put(out, "auth", list);
	put(out, "size", e.ext & SMTP_EXT_SIZE ? big(e.size) : no_value());
	put(out, "limits", json_boolean(e.ext & SMTP_EXT_LIMITS));
	put(out, "mailmax",
	    e.mailmax > 0 ? json_integer(e.mailmax) : no_value());
	put(out, "rcptmax",
	    e.rcptmax > 0 ? json_integer(e.rcptmax) : no_value());
	put(out, "rcptdomainmax",
	    e.rcptdomainmax > 0 ? json_integer(e.rcptdomainmax) : no_value());
	return NULL;
}

static void
put_span(json_t *out, const char *name, struct smtp_span s)
{
	put(out, name, s.p == NULL ? no_value() : bytes_give(s.p, s.len));
}

static void
put_path(json_t *out, const struct smtp_command *c)
{
	const struct addr *a = &c->path;

	put(out, "path", bytes_give(a->text, a->len));
	put(out, "local", bytes_give(a->local, a->local_len));
	put(out, "domain",
	    a->domain_len > 0 ? bytes_give(a->domain, a->domain_len)
			      : no_value());
	put(out, "literal", json_boolean(a->literal));
	put(out, "quoted", json_boolean(a->quoted));
}

static void
put_mail(json_t *out, const struct smtp_command *c)
{
	static const char *const rets[] = { NULL, "FULL", "HDRS" };

	put_path(out, c);
	put(out, "null", json_boolean(c->null_path));
	put(out, "size", c->has_size ? big(c->size) : no_value());
	put(out, "body", text_or_null(smtp_body_name(c->body)));
	put(out, "smtputf8", json_boolean(c->smtputf8));
	put(out, "requiretls", json_boolean(c->requiretls));
	put(out, "ret", text_or_null(rets[c->ret]));
	put_span(out, "envid", c->envid);
	put_span(out, "auth", c->auth);
}

static void
put_rcpt(json_t *out, const struct smtp_command *c)
{
	json_t *list = json_array();
	char text[32], *word, *save = NULL;

	put_path(out, c);
	put(out, "postmaster", json_boolean(c->postmaster));
	(void)smtp_notify_format(c->notify, text);
	for (word = strtok_r(text, ",", &save); word != NULL;
	     word = strtok_r(NULL, ",", &save))
		(void)json_array_append_new(list, json_string(word));
	put(out, "notify", list);
	put_span(out, "orcpt", c->orcpt);
}

static const char *
take_offered(const json_t *list, uint32_t *ret_set)
{
	const json_t *word;
	uint32_t bit;
	size_t i;

	*ret_set = SMTP_EXT_ALL;
	if (list == NULL)
		return NULL;
	*ret_set = 0;
	json_array_foreach(list, i, word) {
		for (bit = 1; bit <= SMTP_EXT_ALL; bit <<= 1) {
			if (json_is_string(word) &&
			    strcmp(json_string_value(word),
				smtp_ext_name(bit)) == 0)
				break;
		}
		if (bit > SMTP_EXT_ALL)
			return "offered names an extension that is not known";
		*ret_set |= bit;
	}
	return NULL;
}

static void
put_command(json_t *out, const struct smtp_command *c)
{
	switch (c->verb) {
	case SMTP_VERB_MAIL:
		put_mail(out, c);
		break;
	case SMTP_VERB_RCPT:
		put_rcpt(out, c);
		break;
	case SMTP_VERB_BDAT:
		put(out, "size", big(c->chunk_len));
		put(out, "last", json_boolean(c->last));
		break;
	case SMTP_VERB_AUTH:
		put_span(out, "mechanism", c->arg);
		put_span(out, "initial", c->initial);
		break;
	default:
		put_span(out, "argument", c->arg);
		break;
	}
}

static const char *
run_command(json_t *in, json_t *out)
{
	const json_t *utf8 = json_object_get(in, "smtputf8");
	struct smtp_refusal no;
	struct smtp_command c;
	struct bytes line;
	const char *why;
	uint32_t offered;
	size_t len;

	why = take_offered(json_object_get(in, "offered"), &offered);
	if (why != NULL)
		return why;
	if (!bytes_take(json_object_get(in, "line"), &line))
		return not_bytes;
	/* the session takes the CRLF off; here it may come along */
	len = line.len;
	if (len >= 2 && memcmp(line.p + len - 2, "\r\n", 2) == 0)
		len -= 2;
	(void)smtp_command_parse(
	    line.p, len, offered, utf8 == NULL || json_is_true(utf8), &c, &no);
	put(out, "accept", json_boolean(no.code == 0));
	put(out, "verb",
	    c.verb == SMTP_VERB_NONE ? no_value()
				     : json_string(smtp_verb_name(c.verb)));
	put(out, "code", no.code == 0 ? no_value() : json_integer(no.code));
	put(out, "enhanced", status_value(no.status));
	put(out, "text", text_or_null(no.text));
	if (no.code == 0)
		put_command(out, &c);
	free(line.p);
	return NULL;
}

/* Add the slices to what was gathered. */
static void
gather(struct bytes *to, const struct iovec *iov, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++) {
		to->p = realloc(to->p, to->len + iov[i].iov_len + 1);
		if (to->p == NULL)
			abort();
		memcpy(to->p + to->len, iov[i].iov_base, iov[i].iov_len);
		to->len += iov[i].iov_len;
	}
}

static const char *
run_encode(json_t *in, json_t *out)
{
	struct bytes body, wire = { NULL, 0 };
	struct smtp_data_enc e;
	struct iovec iov[64];
	size_t at = 0, n;

	if (!bytes_take(json_object_get(in, "body"), &body))
		return not_bytes;
	smtp_data_enc_init(&e, true);
	while (at < body.len) {
		at +=
		    smtp_data_enc(&e, body.p + at, body.len - at, iov, 64, &n);
		gather(&wire, iov, n);
	}
	gather(&wire, iov, smtp_data_enc_end(&e, iov));
	put(out, "wire", bytes_give(wire.p, wire.len));
	put(out, "size", big(e.body_len));
	free(wire.p);
	free(body.p);
	return NULL;
}

static const char *
run_decode(json_t *in, json_t *out)
{
	struct bytes wire, body = { NULL, 0 };
	struct smtp_data_dec d;
	struct iovec iov[64];
	char error[32];
	size_t at = 0, n;

	if (!bytes_take(json_object_get(in, "wire"), &wire))
		return not_bytes;
	smtp_data_dec_init(&d);
	while (at < wire.len && !d.done) {
		at +=
		    smtp_data_dec(&d, wire.p + at, wire.len - at, iov, 64, &n);
		gather(&body, iov, n);
	}
	(void)snprintf(error, sizeof(error), "%s%s%s",
	    d.scan.seen & SMTP_DATA_BARE_CR ? ", bare CR" : "",
	    d.scan.seen & SMTP_DATA_BARE_LF ? ", bare LF" : "",
	    d.scan.seen & SMTP_DATA_NUL ? ", NUL" : "");
	put(out, "body", bytes_give(body.p, body.len));
	put(out, "consumed", json_integer((json_int_t)at));
	put(out, "complete", json_boolean(d.done));
	put(out, "error",
	    error[0] == '\0' ? no_value() : json_string(error + 2));
	put(out, "eight_bit", json_boolean(d.scan.seen & SMTP_DATA_8BIT));
	put(out, "longest_line", big(d.scan.line_max));
	free(body.p);
	free(wire.p);
	return NULL;
}

/* A settings file out of the request; what is not there does not exist. */
static int
settings_read(void *arg, const char *path, size_t max, uint8_t **ret_data,
    size_t *ret_len)
{
	const json_t *value = json_object_get(arg, path);
	struct bytes file;

	if (value == NULL)
		return -ENOENT;
	if (!bytes_take(value, &file))
		return -EIO; /* was checked before */
	if (file.len > max) {
		free(file.p);
		return -EFBIG;
	}
	*ret_data = (uint8_t *)file.p;
	*ret_len = file.len;
	return 0;
}

static json_t *
settings_problems(const struct conf_errors *errs, bool warnings)
{
	const struct conf_error *e;
	json_t *list = json_array(), *one;
	size_t i;

	for (i = 0; i < errs->n; i++) {
		e = &errs->v[i];
		if (e->warning != warnings)
			continue;
		one = json_object();
		put(one, "file", text_or_null(e->file));
		put(one, "line", json_integer(e->line));
		put(one, "column", json_integer(e->column));
		put(one, "message", text_or_null(e->text));
		(void)json_array_append_new(list, one);
	}
	return list;
}

/* What applies to a domain: its control and its route. */
static const char *
settings_domain(const struct conf *conf, const json_t *domain, json_t *out)
{
	const struct conf_dest *dest;
	const struct conf_route *route;
	char name[ADDR_DOMAIN_MAX + 1], text[256];
	struct bytes asked;
	json_t *control, *keys;
	size_t i;
	int r;

	if (!bytes_take(domain, &asked))
		return not_bytes;
	r = addr_domain_normalise(asked.p, asked.len, name);
	free(asked.p);
	if (r < 0)
		return "domain is no domain";
	dest = conf_dest_lookup(conf, name);
	route = conf_route_lookup(conf, name);
	control = json_object();
	keys = json_array();
	put(control, "entry", text_or_null(dest->name));
	for (i = 0; i < conf_dest_keys(); i++) {
		put(control, conf_dest_key_name(i),
		    text_or_null(conf_dest_value(dest, i, text, sizeof(text))));
		if (conf_dest_given(dest, i))
			(void)json_array_append_new(
			    keys, json_string(conf_dest_key_name(i)));
	}
	put(control, "given", keys);
	put(out, "control", control);
	put(out, "route", text_or_null(route == NULL ? NULL : route->name));
	return NULL;
}

static const char *
run_settings(json_t *in, json_t *out)
{
	json_t *files = json_object_get(in, "files"), *value;
	const json_t *domain = json_object_get(in, "domain");
	struct conf_source src = { .arg = files,
		.read = settings_read,
		.hostname = "gw.example.net",
		.nameservers = "127.0.0.1" };
	struct conf_errors errs = { 0 };
	struct conf *conf = NULL;
	struct bytes file;
	const char *name, *why = NULL;
	int r;

	json_object_foreach(files, name, value) {
		if (!json_is_string(value) || !bytes_take(value, &file))
			return "each of the files must be a string of bytes";
		free(file.p);
	}
	r = conf_load(&src, &errs, &conf);
	if (r == 0 || r == PE_CONFIG) {
		put(out, "ok", json_boolean(r == 0));
		put(out, "errors", settings_problems(&errs, false));
		put(out, "warnings", settings_problems(&errs, true));
		put(out, "error_count", big(errs.errors));
		if (r == 0 && domain != NULL)
			why = settings_domain(conf, domain, out);
	} else {
		why = err_str(r);
	}
	conf_errors_done(&errs);
	conf_unref(conf);
	return why;
}

static const char *
run_frame(json_t *in, json_t *out)
{
	struct ipc_head head;
	struct bytes wire;
	char id[24];
	size_t have;

	if (!bytes_take(json_object_get(in, "wire"), &wire))
		return not_bytes;
	if (wire.len < IPC_HEADER_LEN) {
		free(wire.p);
		return "the header is not complete";
	}
	if (ipc_head_parse((const uint8_t *)wire.p, &head) < 0) {
		free(wire.p);
		return "the header is malformed or the frame too long";
	}
	have = wire.len - IPC_HEADER_LEN;
	have = have < head.len ? have : head.len;
	/* 64 bits do not fit a number of JSON */
	(void)snprintf(id, sizeof(id), "%llu", (unsigned long long)head.req_id);
	put(out, "type", json_integer(head.type));
	put(out, "length", json_integer(head.len));
	put(out, "nfds", json_integer(head.nfds));
	put(out, "flags", json_integer(head.flags));
	put(out, "request_id", json_string(id));
	put(out, "complete", json_boolean(have == head.len));
	put(out, "payload", bytes_give(wire.p + IPC_HEADER_LEN, have));
	put(out, "consumed", json_integer((json_int_t)(IPC_HEADER_LEN + have)));
	free(wire.p);
	return NULL;
}

static const struct subcommand subcommands[] = {
	{ "smtp-reply", run_reply, { { "wire", JSON_STRING, true } } },
	{ "smtp-ehlo", run_ehlo, { { "wire", JSON_STRING, true } } },
	{ "smtp-command", run_command,
	    { { "line", JSON_STRING, true }, { "offered", JSON_ARRAY, false },
		{ "smtputf8", JSON_TRUE, false } } },
	{ "data-encode", run_encode, { { "body", JSON_STRING, true } } },
	{ "data-decode", run_decode, { { "wire", JSON_STRING, true } } },
	{ "settings", run_settings,
	    { { "files", JSON_OBJECT, true },
		{ "domain", JSON_STRING, false } } },
	{ "ipc-frame", run_frame, { { "wire", JSON_STRING, true } } },
	{ "verdict", run_verdict,
	    { { "settings", JSON_OBJECT, false },
		{ "facts", JSON_OBJECT, true },
		{ "flags", JSON_ARRAY, false } } },
};

enum { SUBCOMMANDS = sizeof(subcommands) / sizeof(subcommands[0]) };

/* ---- requests ---- */

static void
fail(json_t *out, const char *fmt, ...)
{
	json_t *id = json_object_get(out, "id");
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (id != NULL)
		json_incref(id);
	json_object_clear(out); /* an error stands alone */
	if (id != NULL)
		put(out, "id", id);
	if (!utf8_valid(text, strlen(text)))
		put(out, "error", json_string("the request is not UTF-8"));
	else
		put(out, "error", json_string(text));
}

static const struct field *
field_find(const struct subcommand *sub, const char *name)
{
	const struct field *f;

	for (f = sub->fields; f < sub->fields + 4 && f->name != NULL; f++) {
		if (strcmp(f->name, name) == 0)
			return f;
	}
	return NULL;
}

static bool
type_fits(json_type want, const json_t *value)
{
	return want == JSON_TRUE ? json_is_boolean(value)
				 : json_typeof(value) == want;
}

static const char *
type_word(json_type type)
{
	return type == JSON_STRING ? "a string"
	    : type == JSON_ARRAY   ? "a list"
	    : type == JSON_OBJECT  ? "an object"
	    : type == JSON_INTEGER ? "a whole number"
				   : "true or false";
}

/* Answer one request. False when it was no request at all. */
static bool
answer(const struct subcommand *sub, const char *line, size_t len, json_t *out)
{
	const struct field *f;
	json_error_t err;
	json_t *in, *value;
	const char *name, *why;
	bool ok = false;

	in = json_loadb(
	    line, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
	if (in == NULL) {
		fail(out, "not JSON: %s", err.text);
		return false;
	}
	if (!json_is_object(in)) {
		fail(out, "the request is no JSON object");
		goto out;
	}
	value = json_object_get(in, "id");
	if (value != NULL)
		put(out, "id", json_incref(value));
	json_object_foreach(in, name, value) {
		if (strcmp(name, "id") == 0)
			continue;
		f = field_find(sub, name);
		if (f == NULL) {
			fail(out, "unknown field \"%.64s\"", name);
			goto out;
		}
		if (!type_fits(f->type, value)) {
			fail(out, "field \"%s\" must be %s", name,
			    type_word(f->type));
			goto out;
		}
	}
	for (f = sub->fields; f < sub->fields + 4 && f->name != NULL; f++) {
		if (f->needed && json_object_get(in, f->name) == NULL) {
			fail(out, "field \"%s\" is missing", f->name);
			goto out;
		}
	}
	ok = true;
	why = sub->run(in, out);
	if (why != NULL)
		fail(out, "%s", why);
out:
	json_decref(in);
	return ok;
}

static int
usage(void)
{
	size_t i;

	fprintf(stderr, "usage: probe SUBCOMMAND --stdin\nsubcommands:");
	for (i = 0; i < SUBCOMMANDS; i++)
		fprintf(stderr, " %s", subcommands[i].name);
	fprintf(stderr, "\n");
	return 2;
}

int
main(int argc, char **argv)
{
	const struct subcommand *sub = NULL;
	char *line = NULL;
	size_t cap = 0, i;
	ssize_t len;
	json_t *out;
	int code = 0;

	if (argc != 3 || strcmp(argv[2], "--stdin") != 0)
		return usage();
	for (i = 0; i < SUBCOMMANDS; i++) {
		if (strcmp(argv[1], subcommands[i].name) == 0)
			sub = &subcommands[i];
	}
	if (sub == NULL)
		return usage();
	while ((len = getline(&line, &cap, stdin)) > 0) {
		if (len == 1 && line[0] == '\n')
			continue; /* an empty line asks nothing */
		out = json_object();
		if (!answer(sub, line, (size_t)len, out))
			code = 1;
		if (json_dumpf(out, stdout, JSON_COMPACT | JSON_ENSURE_ASCII) !=
			0 ||
		    putchar('\n') == EOF || fflush(stdout) != 0) {
			fprintf(stderr, "probe: cannot write\n");
			return 1;
		}
		json_decref(out);
	}
	free(line);
	return code;
}
