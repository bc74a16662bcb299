/*
 * conf_print.c - what `postern check` and `postern defaults` print, and the
 * reference in docs/settings.md and the manual page, all from the schema.
 */
#include <string.h>

#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/conf/conf_int.h"

/* A JSON string. Settings texts are UTF-8 already. */
static void
json_string(FILE *out, const char *s)
{
	fputc('"', out);
	for (; *s != '\0'; s++) {
		if (*s == '"' || *s == '\\')
			fprintf(out, "\\%c", *s);
		else if ((unsigned char)*s < 0x20)
			fprintf(out, "\\u%04x", (unsigned char)*s);
		else
			fputc(*s, out);
	}
	fputc('"', out);
}

void
conf_errors_print_json(const struct conf_errors *errs, FILE *out)
{
	const struct conf_error *e;
	size_t i, n;
	int warnings;

	fprintf(out, "{\"ok\": %s", errs->errors == 0 ? "true" : "false");
	for (warnings = 0; warnings < 2; warnings++) {
		fprintf(out, ", \"%s\": [", warnings ? "warnings" : "errors");
		for (i = n = 0; i < errs->n; i++) {
			e = &errs->v[i];
			if (e->warning != (warnings == 1))
				continue;
			fprintf(out, "%s{\"file\": ", n++ > 0 ? ", " : "");
			json_string(out, e->file);
			fprintf(out,
			    ", \"line\": %u, \"column\": %u, \"message\": ",
			    e->line == 0 ? 1 : e->line, e->column);
			json_string(out, e->text);
			fputc('}', out);
		}
		fputc(']', out);
	}
	fprintf(out, ", \"error_count\": %zu, \"warning_count\": %zu}\n",
	    errs->errors, errs->warnings);
}

/* ---- the reference ------------------------------------------------------- */

/* In the order a reader wants them; the schema's serves the builder. */
static const enum conf_section_id order[CONF_S_COUNT] = { CONF_S_POSTERN,
	CONF_S_LISTENER, CONF_S_CERTIFICATE, CONF_S_CREDENTIAL, CONF_S_TRUST,
	CONF_S_RESOLVER, CONF_S_MTA_STS, CONF_S_QUEUE, CONF_S_DELIVERY,
	CONF_S_LOG, CONF_S_ADMIN, CONF_S_CLUSTER, CONF_S_VERIFICATION,
	CONF_S_DEFAULT, CONF_S_DESTINATION, CONF_S_ROUTE, CONF_S_GATEWAY,
	CONF_S_PROFILE };

/* Entries of destinations have DEFAULT's keys: said once is enough. */
static bool
keys_said(enum conf_section_id id)
{
	return id == CONF_S_DESTINATION;
}

static void
print_text(FILE *out)
{
	const struct conf_section *s;
	const struct conf_key *k;
	char type[256];
	size_t i, n;

	for (i = 0; i < CONF_S_COUNT; i++) {
		s = &conf_schema[order[i]];
		fprintf(out, "%s# %s\n# %s\n[%s]\n", i > 0 ? "\n" : "",
		    conf_table_file[s->table], s->help, s->title);
		if (keys_said(order[i]))
			fputs("# The keys of [DEFAULT].\n", out);
		for (n = 0; !keys_said(order[i]) && n < s->n_keys; n++) {
			k = &s->keys[n];
			fprintf(out, "# %s\n# Type: %s.\n%s =%s%s\n", k->help,
			    conf_value_type(k, type, sizeof(type)), k->name,
			    k->def != NULL ? " " : "",
			    k->def != NULL ? k->def : "");
		}
	}
}

static const char *
type_name(enum conf_type type)
{
	static const char *const names[] = {
		[CONF_V_BOOL] = "bool",
		[CONF_V_INT] = "integer",
		[CONF_V_INT64] = "integer",
		[CONF_V_AUTO] = "integer-or-auto",
		[CONF_V_PORT] = "port",
		[CONF_V_MS] = "duration",
		[CONF_V_S] = "duration",
		[CONF_V_SIZE] = "size",
		[CONF_V_ENUM] = "enum",
		[CONF_V_STRING] = "string",
		[CONF_V_TEXT] = "text",
		[CONF_V_NAME] = "name",
		[CONF_V_HOST] = "hostname",
		[CONF_V_HOSTPORT] = "host-port",
		[CONF_V_URL] = "url",
		[CONF_V_MAILBOX] = "mailbox",
		[CONF_V_PATH] = "path",
		[CONF_V_STRINGS] = "string-list",
		[CONF_V_SENDERS] = "sender-list",
		[CONF_V_ADDRS] = "address-list",
		[CONF_V_IP4] = "ipv4",
		[CONF_V_IP6] = "ipv6",
		[CONF_V_NETS] = "network-list",
		[CONF_V_RATE] = "rate",
		[CONF_V_ROUTE] = "route",
		[CONF_V_TARGET] = "log-target",
		[CONF_V_TIME] = "time",
		[CONF_V_LATER] = "enum",
	};

	return names[type];
}

/* "ms", "s", "bytes" for min and max, or NULL when they mean nothing. */
static const char *
range_unit(const struct conf_key *k)
{
	switch (k->type) {
	case CONF_V_MS:
		return "ms";
	case CONF_V_S:
		return "s";
	case CONF_V_SIZE:
		return "bytes";
	case CONF_V_INT:
	case CONF_V_INT64:
	case CONF_V_AUTO:
		return "";
	default:
		return NULL;
	}
}

static void
print_json(FILE *out)
{
	const struct conf_section *s;
	const struct conf_key *k;
	char type[256], word[64];
	size_t i, n;
	int w;
	const char *sep = "[";

	for (i = 0; i < CONF_S_COUNT; i++) {
		s = &conf_schema[order[i]];
		for (n = 0; n < s->n_keys; n++) {
			k = &s->keys[n];
			fprintf(out,
			    "%s\n{\"file\": \"%s\", \"section\": ", sep,
			    conf_table_file[s->table]);
			json_string(out, s->title);
			fprintf(out, ", \"key\": \"%s\", \"type\": \"%s\"",
			    k->name, type_name(k->type));
			fputs(", \"wanted\": ", out);
			json_string(
			    out, conf_value_type(k, type, sizeof(type)));
			fputs(", \"default\": ", out);
			if (k->def != NULL)
				json_string(out, k->def);
			else
				fputs("null", out);
			if (range_unit(k) != NULL)
				fprintf(out,
				    ", \"min\": %lld, \"max\": %lld, "
				    "\"unit\": \"%s\"",
				    (long long)k->min, (long long)k->max,
				    range_unit(k));
			for (w = 0; k->words != NULL &&
			     conf_word_at(k->words, w, word, sizeof(word)) !=
				 NULL;
			     w++)
				fprintf(out, "%s\"%s\"",
				    w == 0 ? ", \"words\": [" : ", ", word);
			fprintf(out, "%s, \"help\": ", w > 0 ? "]" : "");
			json_string(out, k->help);
			fputc('}', out);
			sep = ",";
		}
	}
	fputs("\n]\n", out);
}

/* A cell of a Markdown table: bars would end it. */
static void
cell(FILE *out, const char *s)
{
	for (; *s != '\0'; s++) {
		if (*s == '|')
			fputc('\\', out);
		fputc(*s, out);
	}
}

static void
print_markdown(FILE *out)
{
	const struct conf_section *s;
	const struct conf_key *k;
	char type[256];
	size_t i, n;
	int table = -1;

	for (i = 0; i < CONF_S_COUNT; i++) {
		s = &conf_schema[order[i]];
		if ((int)s->table != table)
			fprintf(out, "\n## %s\n", conf_table_file[s->table]);
		table = (int)s->table;
		fprintf(out, "\n### `[%s]`\n\n%s\n", s->title, s->help);
		if (keys_said(order[i])) {
			fputs("\nThe keys are those of `[DEFAULT]`.\n", out);
			continue;
		}
		fputs("\n| key | default | type | meaning |\n"
		      "|---|---|---|---|\n",
		    out);
		for (n = 0; n < s->n_keys; n++) {
			k = &s->keys[n];
			fprintf(out, "| `%s` | %s%s%s | ", k->name,
			    k->def != NULL ? "`" : "",
			    k->def != NULL ? k->def : "",
			    k->def != NULL ? "`" : "");
			cell(out, conf_value_type(k, type, sizeof(type)));
			fputs(" | ", out);
			cell(out, k->help);
			fputs(" |\n", out);
		}
	}
}

/* Text for roff: no line starts a request, backslashes and hyphens are plain.
 */
static void
roff(FILE *out, const char *s)
{
	if (*s == '.' || *s == '\'')
		fputs("\\&", out);
	for (; *s != '\0'; s++) {
		if (*s == '\\')
			fputs("\\e", out);
		else if (*s == '-')
			fputs("\\-", out);
		else
			fputc(*s, out);
	}
}

static void
print_man(FILE *out)
{
	const struct conf_section *s;
	const struct conf_key *k;
	char type[256];
	size_t i, n;
	int table = -1;

	for (i = 0; i < CONF_S_COUNT; i++) {
		s = &conf_schema[order[i]];
		if ((int)s->table != table)
			fprintf(out, ".SH %s\n", conf_table_file[s->table]);
		table = (int)s->table;
		fputs(".SS [", out);
		roff(out, s->title);
		fputs("]\n", out);
		roff(out, s->help);
		fputc('\n', out);
		if (keys_said(order[i])) {
			fputs("The keys are those of [DEFAULT].\n", out);
			continue;
		}
		for (n = 0; n < s->n_keys; n++) {
			k = &s->keys[n];
			fputs(".TP\n.B ", out);
			roff(out, k->name);
			if (k->def != NULL) {
				fputs(" = ", out);
				roff(out, k->def);
			}
			fputc('\n', out);
			roff(out, k->help);
			fputs("\n.br\nType: ", out);
			roff(out, conf_value_type(k, type, sizeof(type)));
			fputs(".\n", out);
		}
	}
}

void
conf_defaults_print(enum conf_print how, FILE *out)
{
	switch (how) {
	case CONF_PRINT_TEXT:
		print_text(out);
		break;
	case CONF_PRINT_JSON:
		print_json(out);
		break;
	case CONF_PRINT_MARKDOWN:
		print_markdown(out);
		break;
	case CONF_PRINT_MAN:
		print_man(out);
		break;
	}
}
