/*
 * config_file.c - import and export of a settings table as one file.
 *
 * An import replaces the table, as one staged edit, and tells what became of
 * each line; nothing is in force before commit. The text goes to the node in
 * parts, which it takes together or not at all.
 */
#include "ctl/config.h"
#include "ctl/ctl.h"
#include "ctl/other_table.h"
#include "ctl/show.h"
#include "lib/base/buf.h"
#include "lib/conf/conf_edit.h"
#include "lib/proto/admin.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool
is_other(const char *kin)
{
	return strcmp(kin, "destconfig") == 0;
}

/* ---- in -------------------------------------------------------------------- */

static int
read_all(struct ctl *ctl, const char *file, struct buf *out)
{
	FILE *f = strcmp(file, "-") == 0 ? ctl->in : fopen(file, "re");
	char piece[65536];
	size_t n;
	int r = 0;

	if (f == NULL)
		return -errno;
	while (r == 0 && (n = fread(piece, 1, sizeof(piece), f)) > 0)
		r = buf_put(out, piece, n);
	if (r == 0 && ferror(f))
		r = -EIO;
	if (f != ctl->in)
		(void)fclose(f);
	return r;
}

/* The text in parts that end with a line. The answer to the last one. */
static int
send_parts(struct ctl *ctl, const char *kin, const char *text, size_t len,
    json_t **ret_doc)
{
	json_int_t part = 0;
	char path[128];
	size_t n;
	json_t *body;
	int code;

	(void)snprintf(path, sizeof(path), "/v1/config/%s", kin);
	for (;;) {
		n = len > ADM_TEXT_MAX ? ADM_TEXT_MAX : len;
		while (n < len && n > 0 && text[n - 1] != '\n')
			n--;
		if (n == 0 && len > 0) {
			(void)fputs(
			    "posternctl: a line is too long\n", ctl->err);
			return CTL_USAGE;
		}
		body = json_pack("{s:s, s:s%, s:I, s:b, s:s}", "verb", "import",
		    "text", text, n, "part", part++, "last", n == len, "who",
		    config_who());
		if (body == NULL) {
			(void)fputs("posternctl: the file is no UTF-8 text\n",
			    ctl->err);
			return CTL_USAGE;
		}
		code = ctl_ask(ctl, "POST", path, body, ret_doc);
		if (code != CTL_DONE || n == len)
			return code;
		json_decref(*ret_doc);
		text += n;
		len -= n;
	}
}

enum { LINES_SHOWN = 200 };

/* "[entry] key = value: text" of a report's line. */
static void
show_told(FILE *out, const json_t *l)
{
	char *entry = show_value(json_object_get(l, "entry"));
	char *key = show_value(json_object_get(l, "key"));
	char *value = show_value(json_object_get(l, "value"));
	char *text = show_value(json_object_get(l, "text"));

	if (json_string_length(json_object_get(l, "key")) > 0)
		(void)fprintf(
		    out, "[%s] %s = %s: %s\n", entry, key, value, text);
	else if (json_string_length(json_object_get(l, "value")) > 0)
		(void)fprintf(out, "[%s]: %s\n", value, text);
	else
		(void)fprintf(out, "[%s]: %s\n", entry, text);
	free(entry);
	free(key);
	free(value);
	free(text);
}

/* Refused lines one by one; the others are only counted, and in --json. */
static void
show_lines(struct ctl *ctl, const char *file, const json_t *lines)
{
	const json_t *l;
	size_t i, shown = 0;

	json_array_foreach(lines, i, l) {
		if (strcmp(json_string_value(json_object_get(l, "outcome")),
			"refused") != 0 ||
		    ++shown > LINES_SHOWN)
			continue;
		(void)fprintf(ctl->out, "%s:%lld: refused: ", file,
		    (long long)json_integer_value(json_object_get(l, "line")));
		show_told(ctl->out, l);
	}
	if (shown > LINES_SHOWN)
		(void)fprintf(ctl->out, "and %zu more, see --json\n",
		    shown - LINES_SHOWN);
}

static void
show_import(struct ctl *ctl, const char *file, const json_t *report,
    const json_t *staged)
{
	char *n[4];
	size_t i;
	static const char *const names[] = { "entries", "taken", "mapped",
		"refused" };
	static const char *const edits[] = { "added", "changed", "removed",
		"same" };

	show_lines(ctl, file, json_object_get(report, "lines"));
	for (i = 0; report != NULL && i < 4; i++)
		n[i] = show_count(json_object_get(report, names[i]));
	if (report != NULL)
		(void)fprintf(ctl->out,
		    "%s entries; lines: %s taken as they are, %s mapped, %s "
		    "refused\n",
		    n[0], n[1], n[2], n[3]);
	for (i = 0; report != NULL && i < 4; i++)
		free(n[i]);
	for (i = 0; i < 4; i++)
		n[i] = show_count(json_object_get(staged, edits[i]));
	(void)fprintf(ctl->out,
	    "staged: %s entries new, %s changed, %s deleted, %s as they were; "
	    "see showchanges, then commit\n",
	    n[0], n[1], n[2], n[3]);
	for (i = 0; i < 4; i++)
		free(n[i]);
}

int
config_import(struct ctl *ctl, const char *kin, const char *file)
{
	json_t *report = NULL, *staged = NULL;
	struct buf text, ours;
	int code = CTL_USAGE, r;

	buf_init(&text, CONF_EDIT_MAX);
	buf_init(&ours, CONF_EDIT_MAX);
	r = read_all(ctl, file, &text);
	if (r == 0 && is_other(kin)) {
		report = other_table_import(
		    (const char *)buf_data(&text), buf_len(&text), &ours);
		r = report == NULL ? -ENOMEM : 0;
	}
	if (r < 0) {
		(void)fprintf(ctl->err, "posternctl: %s: %s\n", file,
		    r == -EIO || r > -200 ? strerror(-r) : "too large");
	} else if (report != NULL &&
	    json_integer_value(json_object_get(report, "entries")) == 0) {
		/* another file was meant: no reason to empty the table */
		show_lines(ctl, file, json_object_get(report, "lines"));
		(void)fprintf(ctl->err,
		    "posternctl: %s: no entry in it: nothing is staged\n",
		    file);
		code = CTL_NO;
	} else {
		const struct buf *b = report != NULL ? &ours : &text;

		code = send_parts(
		    ctl, kin, (const char *)buf_data(b), buf_len(b), &staged);
	}
	if (staged != NULL && ctl->json) {
		if (report != NULL)
			(void)json_object_update(staged, report);
		ctl_print_json(ctl, staged);
	} else if (staged != NULL) {
		show_import(ctl, file, report, staged);
	}
	json_decref(report);
	json_decref(staged);
	buf_done(&text);
	buf_done(&ours);
	return code;
}

/* ---- out ------------------------------------------------------------------- */

static int
our_entry(const json_t *entry, const char *kin, struct buf *out)
{
	const char *name = json_string_value(json_object_get(entry, "name"));
	const char *key, *value, *word, *line;
	json_t *v;
	int r;

	word = strcmp(kin, "altsrchost") == 0  ? "gateway "
	    : strcmp(kin, "bounceconfig") == 0 ? "profile "
					       : "";
	r = buf_printf(out, "[%s%s]\n", word, name);
	json_object_foreach(json_object_get(entry, "keys"), key, v) {
		value = json_string_value(v);
		if (r == 0)
			r = buf_printf(out, "%s = ", key);
		/* its lines go on indented */
		for (line = value; r == 0 && *line != '\0';) {
			size_t n = strcspn(line, "\n");

			r = buf_put(out, line, n);
			line += n;
			if (r == 0 && *line == '\n') {
				r = buf_puts(out, "\n\t");
				line++;
			}
		}
		if (r == 0)
			r = buf_puts(out, "\n");
	}
	return r == 0 ? buf_puts(out, "\n") : r;
}

/* Every entry, 1000 at a time. */
static int
gather(struct ctl *ctl, const char *kin, struct buf *out, json_t *lines,
    int *ret_r)
{
	char after[CONF_EDIT_NAME] = "";
	const json_t *entry;
	json_t *doc;
	bool more = true;
	size_t i;
	int code = CTL_DONE;

	while (more && *ret_r == 0) {
		code = config_list(ctl, kin, after, &doc);
		if (doc == NULL)
			return code;
		more = json_is_true(json_object_get(doc, "truncated"));
		json_array_foreach(json_object_get(doc, "entries"), i, entry) {
			const char *name =
			    json_string_value(json_object_get(entry, "name"));

			(void)snprintf(after, sizeof(after), "%s",
			    name != NULL ? name : "");
			if (*ret_r == 0)
				*ret_r = is_other(kin)
				    ? other_table_export(entry, out, lines)
				    : our_entry(entry, kin, out);
		}
		if (i == 0)
			more = false;
		json_decref(doc);
	}
	return code;
}

static int
write_all(struct ctl *ctl, const char *file, const struct buf *text)
{
	bool stream = file == NULL || strcmp(file, "-") == 0;
	FILE *f = stream ? ctl->out : fopen(file, "we");
	int r = 0;

	if (f == NULL)
		return -errno;
	if (fwrite(buf_data(text), 1, buf_len(text), f) != buf_len(text) ||
	    fflush(f) != 0)
		r = -errno;
	if (!stream && fclose(f) != 0 && r == 0)
		r = -errno;
	return r;
}

int
config_export(struct ctl *ctl, const char *kin, const char *file)
{
	json_t *lines = json_array();
	struct buf text;
	const json_t *l;
	size_t i;
	int code, r = 0;

	buf_init(&text, CONF_EDIT_MAX);
	code = gather(ctl, kin, &text, lines, &r);
	if (code == CTL_DONE && r == 0)
		r = write_all(ctl, file, &text);
	if (r < 0) {
		(void)fprintf(ctl->err, "posternctl: %s: %s\n",
		    file == NULL ? "-" : file, strerror(-r));
		code = CTL_NO;
	}
	/* beside the table, which may go to stdout */
	json_array_foreach(lines, i, l) {
		(void)fputs("left out: ", ctl->err);
		show_told(ctl->err, l);
	}
	json_decref(lines);
	buf_done(&text);
	return code;
}
