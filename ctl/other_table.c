/*
 * other_table.c - see other_table.h. One table of keys serves both ways.
 */
#include "ctl/other_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_edit.h"
#include "lib/conf/conf_ini.h"

struct word {
	const char *theirs, *number, *ours;
};

static const struct word ip_words[] = { { "PREFER_V6", NULL, "prefer-ipv6" },
	{ "REQUIRE_v6", NULL, "require-ipv6" },
	{ "PREFER_V4", NULL, "prefer-ipv4" },
	{ "REQUIRE_v4", NULL, "require-ipv4" }, { NULL, NULL, NULL } };
static const struct word type_words[] = { { "host", "0", "domain" },
	{ "MXIP", "1", "mx-ip" }, { NULL, NULL, NULL } };
static const struct word apply_words[] = { { "system", "0", "system" },
	{ "VG", "1", "gateway" }, { NULL, NULL, NULL } };
static const struct word tls_words[] = { { "off", "0", "none" },
	{ "on", "1", "preferred" }, { "required", "2", "required" },
	{ "on_verify", "3", "preferred-verify" },
	{ "require_verify", "4", "required-verify" },
	/* as some of their releases write it */
	{ "require", NULL, "required" }, { NULL, NULL, NULL } };
static const struct word tag_words[] = { { "off", "0", "off" },
	{ "on", "1", "on" }, { "no", NULL, "off" }, { "yes", NULL, "on" },
	{ NULL, NULL, NULL } };

/* words NULL: the value as it is. ours NULL: handled by hand. */
static const struct their_key {
	const char *theirs, *ours;
	const struct word *words;
} keys[] = {
	{ "ip_sort_pref", "ip_preference", ip_words },
	{ "max_host_concurrency", "max_connections", NULL },
	{ "max_messages_per_connection", "max_messages_per_connection", NULL },
	{ "recipient_minutes", NULL, NULL },
	{ "recipient_limit", NULL, NULL },
	{ "limit_type", "limit_scope", type_words },
	{ "limit_apply", "limit_apply", apply_words },
	{ "bounce_profile", "bounce_profile", NULL },
	{ "table_tls", "tls", tls_words },
	{ "bounce_validation", "bounce_tagging", tag_words },
	{ "send_tls_req_alert", NULL, NULL },
	{ "certificate", "certificate", NULL },
};
enum { N_KEYS = sizeof(keys) / sizeof(keys[0]) };

/* ---- in -------------------------------------------------------------------- */

struct import {
	const struct conf_ini *ini;
	struct buf *out;
	json_t *lines, *seen; /* names */
	size_t entries, taken, mapped, refused;
	char entry[CONF_EDIT_NAME]; /* "" while its keys are passed over */
	/* of the entry: the line of each, and its value */
	const struct conf_ini_item *minutes, *limit;
	bool tls_off;
	int r;
};

static char *
value_of(const struct import *im, const struct conf_ini_item *it)
{
	char *v = malloc(it->value_len + 1U);

	if (v != NULL)
		(void)conf_ini_value(im->ini, it, v);
	return v;
}

static void __attribute__((format(printf, 6, 7)))
tell(struct import *im, const char *outcome, uint32_t line, const char *key,
    const char *value, const char *fmt, ...)
{
	char text[300];
	va_list ap;
	json_t *l;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (strcmp(outcome, "taken") == 0)
		im->taken++;
	else if (strcmp(outcome, "mapped") == 0)
		im->mapped++;
	else
		im->refused++;
	/* "?": what cannot be told must not make a report shorter */
	l = json_pack("{s:I, s:s, s:s, s:s?, s:s, s:s?}", "line",
	    (json_int_t)line, "entry", im->entry, "key", key, "value", value,
	    "outcome", outcome, "text", text);
	if (l == NULL)
		l = json_pack("{s:I, s:s, s:s, s:s, s:s, s:s}", "line",
		    (json_int_t)line, "entry", im->entry, "key", "?", "value",
		    "?", "outcome", outcome, "text", "no UTF-8 text");
	if (json_array_append_new(im->lines, l) < 0)
		im->r = -ENOMEM;
}

static void
put(struct import *im, const char *key, const char *value)
{
	if (im->r == 0)
		im->r = buf_printf(im->out, "%s = %s\n", key, value);
}

/* Would ours take it? Else it is refused, with the reason. */
static bool
good(struct import *im, const struct conf_ini_item *it, const char *theirs,
    const char *value, const char *key, const char *ours)
{
	char why[160] = "";
	int r;

	r = conf_edit_check(
	    CONF_T_DESTINATIONS, im->entry, key, ours, why, sizeof(why));
	if (r < 0 && r != PE_SYNTAX)
		im->r = r;
	else if (r < 0)
		tell(
		    im, "refused", it->line, theirs, value, "%s: %s", key, why);
	return r == 0;
}

static const char *
word_of(const struct word *w, const char *value)
{
	for (; w->theirs != NULL; w++)
		if (strcasecmp(w->theirs, value) == 0 ||
		    (w->number != NULL && strcmp(w->number, value) == 0))
			return w->ours;
	return NULL;
}

static void
wanted(const struct word *w, char *out, size_t len)
{
	size_t n = 0;

	out[0] = '\0';
	for (; w->theirs != NULL && n < len; w++)
		n += (size_t)snprintf(
		    out + n, len - n, "%s%s", n > 0 ? ", " : "", w->theirs);
}

static bool
is_none(const char *value)
{
	return value[0] == '\0' || strcasecmp(value, "none") == 0;
}

static void
take_key(struct import *im, const struct conf_ini_item *it,
    const struct their_key *k, const char *value)
{
	const char *ours = value;
	char text[160];

	if (k->words != NULL) {
		ours = word_of(k->words, value);
		if (ours == NULL) {
			wanted(k->words, text, sizeof(text));
			tell(im, "refused", it->line, k->theirs, value,
			    "wanted %s", text);
			return;
		}
	} else if (strcmp(k->ours, "bounce_profile") == 0 &&
	    strcasecmp(value, "default") == 0) {
		ours = "default";
	} else if (is_none(value)) {
		tell(im, "mapped", it->line, k->theirs, value,
		    "none: %s is left to DEFAULT", k->ours);
		return;
	}
	if (!good(im, it, k->theirs, value, k->ours, ours))
		return;
	put(im, k->ours, ours);
	if (strcmp(ours, value) == 0)
		tell(im, "taken", it->line, k->theirs, value, "%s = %s",
		    k->ours, ours);
	else
		tell(im, "mapped", it->line, k->theirs, value, "%s = %s",
		    k->ours, ours);
	im->tls_off |= strcmp(k->ours, "tls") == 0 && strcmp(ours, "none") == 0;
}

/* What is said once for the two keys of the recipient limit. */
static void
end_limit(struct import *im)
{
	char *minutes = NULL, *limit = NULL, ours[64];

	if (im->limit == NULL && im->minutes == NULL)
		return;
	if (im->limit != NULL)
		limit = value_of(im, im->limit);
	if (im->minutes != NULL)
		minutes = value_of(im, im->minutes);
	if ((im->limit != NULL && limit == NULL) ||
	    (im->minutes != NULL && minutes == NULL)) {
		im->r = -ENOMEM;
	} else if (limit == NULL) {
		tell(im, is_none(minutes) ? "mapped" : "refused",
		    im->minutes->line, "recipient_minutes", minutes,
		    "without recipient_limit there is nothing to count");
	} else if (is_none(limit) ||
	    (minutes != NULL &&
		(is_none(minutes) || strcmp(minutes, "0") == 0))) {
		put(im, "recipient_limit", "none");
		tell(im, "mapped", im->limit->line, "recipient_limit", limit,
		    "recipient_limit = none");
		if (minutes != NULL)
			tell(im, "mapped", im->minutes->line,
			    "recipient_minutes", minutes,
			    "recipient_limit = none");
	} else {
		(void)snprintf(ours, sizeof(ours), "%.20s/%.20sm", limit,
		    minutes != NULL ? minutes : "60");
		if (strcmp(limit, "0") == 0) {
			tell(im, "refused", im->limit->line, "recipient_limit",
			    limit,
			    "0 recipients would hold all mail: wanted none or "
			    "a number from 1");
		} else if (strlen(limit) <= 10 &&
		    (minutes == NULL || strlen(minutes) <= 2) &&
		    good(im, im->limit, "recipient_limit", limit,
			"recipient_limit", ours)) {
			put(im, "recipient_limit", ours);
			tell(im, "mapped", im->limit->line, "recipient_limit",
			    limit, "recipient_limit = %s", ours);
			if (minutes != NULL)
				tell(im, "mapped", im->minutes->line,
				    "recipient_minutes", minutes,
				    "recipient_limit = %s", ours);
		} else if (strlen(limit) > 10 ||
		    (minutes != NULL && strlen(minutes) > 2)) {
			tell(im, "refused", im->limit->line, "recipient_limit",
			    limit,
			    "wanted at most 1000000000 recipients in 1 to 60 "
			    "minutes");
		}
	}
	free(limit);
	free(minutes);
	im->limit = im->minutes = NULL;
}

static void
end_entry(struct import *im)
{
	if (im->entry[0] == '\0')
		return;
	end_limit(im);
	if (im->tls_off && strcmp(im->entry, "DEFAULT") == 0) {
		/* what they have not, and ours would ask for without TLS */
		put(im, "dane", "none");
		put(im, "mta_sts", "off");
	}
	im->tls_off = false;
	if (im->r == 0)
		im->r = buf_puts(im->out, "\n");
}

static void
begin_entry(struct import *im, const struct conf_ini_item *it)
{
	const char *name = im->ini->text + it->name_off;
	char why[160] = "", text[CONF_EDIT_NAME];

	end_entry(im);
	(void)snprintf(text, sizeof(text), "%.*s",
	    it->name_len < 250 ? (int)it->name_len : 250, name);
	if (!conf_edit_name(CONF_T_DESTINATIONS, name, it->name_len, im->entry,
		why, sizeof(why))) {
		im->entry[0] = '\0';
		tell(im, "refused", it->line, "", text,
		    "the entry with all its keys; wanted %s", why);
	} else if (json_object_get(im->seen, im->entry) != NULL) {
		tell(im, "refused", it->line, "", text,
		    "the entry a second time, with all its keys");
		im->entry[0] = '\0';
	} else {
		(void)json_object_set_new(im->seen, im->entry, json_true());
		im->entries++;
		if (im->r == 0)
			im->r = buf_printf(im->out, "[%s]\n", im->entry);
	}
}

static void
one_key(struct import *im, const struct conf_ini_item *it)
{
	char key[64], *value = value_of(im, it);
	size_t i;

	(void)snprintf(key, sizeof(key), "%.*s",
	    it->name_len < 60 ? (int)it->name_len : 60,
	    im->ini->text + it->name_off);
	for (i = 0; i < N_KEYS; i++)
		if (strcasecmp(keys[i].theirs, key) == 0)
			break;
	if (value == NULL)
		im->r = -ENOMEM;
	else if (im->entry[0] == '\0')
		tell(im, "refused", it->line, key, value,
		    "its entry is refused");
	else if (i == N_KEYS)
		tell(im, "refused", it->line, key, value,
		    "unknown key, kept out");
	else if (keys[i].ours != NULL)
		take_key(im, it, &keys[i], value);
	else if (strcmp(keys[i].theirs, "recipient_minutes") == 0)
		im->minutes = it;
	else if (strcmp(keys[i].theirs, "recipient_limit") == 0)
		im->limit = it;
	else
		tell(im, "mapped", it->line, key, value,
		    "no setting here: required TLS that fails is always told "
		    "in the log, status and metrics");
	free(value);
}

static void
on_problem(void *arg, uint32_t line, uint32_t column, const char *text)
{
	(void)column;
	tell(arg, "refused", line, "", "", "%s", text);
}

json_t *
other_table_import(const char *text, size_t len, struct buf *out)
{
	struct conf_ini ini = { 0 };
	struct import im = { .ini = &ini,
		.out = out,
		.lines = json_array(),
		.seen = json_object() };
	size_t i;
	json_t *doc = NULL;
	int r;

	r = conf_ini_parse(text, len, on_problem, &im, &ini);
	if (r < 0)
		im.r = r;
	for (i = 0; im.r == 0 && i < ini.n; i++)
		if (ini.v[i].section)
			begin_entry(&im, &ini.v[i]);
		else
			one_key(&im, &ini.v[i]);
	end_entry(&im);
	conf_ini_done(&ini);
	json_decref(im.seen);
	if (im.r == 0)
		doc = json_pack("{s:I, s:I, s:I, s:I, s:o}", "entries",
		    (json_int_t)im.entries, "taken", (json_int_t)im.taken,
		    "mapped", (json_int_t)im.mapped, "refused",
		    (json_int_t)im.refused, "lines", im.lines);
	if (doc == NULL)
		json_decref(im.lines);
	return doc;
}

/* ---- out ------------------------------------------------------------------- */

static void
left_out(json_t *lines, const char *entry, const char *key, const char *value,
    const char *text)
{
	(void)json_array_append_new(lines,
	    json_pack("{s:i, s:s, s:s, s:s, s:s, s:s}", "line", 0, "entry",
		entry, "key", key, "value", value, "outcome", "refused", "text",
		text));
}

/* N/Mm as N and M. */
static bool
split_rate(const char *value, unsigned long *ret_n, unsigned long *ret_m)
{
	char *end;

	*ret_n = strtoul(value, &end, 10);
	if (*end != '/')
		return false;
	*ret_m = strtoul(end + 1, &end, 10);
	if (strcmp(end, "h") == 0)
		*ret_m *= 60;
	return (strcmp(end, "m") == 0 || strcmp(end, "h") == 0) && *ret_m > 0 &&
	    *ret_m <= 60;
}

static int
out_key(struct buf *out, json_t *lines, const char *entry, const char *key,
    const char *value)
{
	const struct word *w;
	unsigned long n, m;
	size_t i;

	if (strcmp(key, "recipient_limit") == 0) {
		if (strcmp(value, "none") == 0)
			return buf_puts(out,
			    "recipient_minutes = 0\nrecipient_limit = none\n");
		if (split_rate(value, &n, &m))
			return buf_printf(out,
			    "recipient_minutes = %lu\nrecipient_limit = %lu\n",
			    m, n);
	}
	for (i = 0; i < N_KEYS; i++)
		if (keys[i].ours != NULL && strcmp(keys[i].ours, key) == 0)
			break;
	w = i < N_KEYS ? keys[i].words : NULL;
	while (w != NULL && w->theirs != NULL && strcmp(w->ours, value) != 0)
		w++;
	if (i < N_KEYS && (w == NULL || w->theirs != NULL))
		return buf_printf(out, "%s = %s\n", keys[i].theirs,
		    w != NULL ? w->theirs
			: strcmp(key, "bounce_profile") == 0 &&
			    strcmp(value, "default") == 0
			? "Default"
			: value);
	left_out(lines, entry, key, value, "their table has no such setting");
	return 0;
}

int
other_table_export(const json_t *entry, struct buf *out, json_t *lines)
{
	const char *name = json_string_value(json_object_get(entry, "name"));
	const char *key;
	json_t *value;
	int r;

	if (name == NULL)
		return 0;
	if (name[0] == '.' || strncmp(name, "mx:", 3) == 0) {
		left_out(lines, name, "", "",
		    "their table has no such entry: left out with all its "
		    "keys");
		return 0;
	}
	r = buf_printf(out, "[%s]\n", name);
	json_object_foreach(json_object_get(entry, "keys"), key, value)
		if (r == 0 && json_is_string(value))
			r = out_key(
			    out, lines, name, key, json_string_value(value));
	return r == 0 ? buf_puts(out, "\n") : r;
}
