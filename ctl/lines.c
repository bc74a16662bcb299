/*
 * lines.c - the offline checks: one question from options, or many as JSON lines.
 *
 * The contract is control.md, "Check one thing, offline": one JSON object on
 * stdout, exit 0 yes, 1 no, 2 a wrong call; --stdin: JSON lines in, one line out
 * each, in order, an id of any kind echoed.
 */
#include "ctl/ctl.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1024 * 1024, WHY_MAX = 256 };

static json_t *
failure(int line, const char *text)
{
	return json_pack("{s:i, s:s}", "line", line, "error", text);
}

static const struct ctl_field *
find_field(const struct ctl_field *fields, const char *name)
{
	for (; fields->name != NULL; fields++)
		if (strcmp(fields->name, name) == 0)
			return fields;
	return NULL;
}

/* ---- JSON lines ----------------------------------------------------------------------- */

/* Only fields that exist, each of its kind. */
static bool
fields_fit(json_t *doc, const struct ctl_field *fields, char why[WHY_MAX])
{
	const struct ctl_field *f;
	const char *key;
	json_t *value;

	json_object_foreach(doc, key, value) {
		if (strcmp(key, "id") == 0)
			continue;
		f = find_field(fields, key);
		if (f == NULL)
			(void)snprintf(
			    why, WHY_MAX, "unknown field \"%.128s\"", key);
		else if (f->kind == CTL_ONE && !json_is_string(value))
			(void)snprintf(
			    why, WHY_MAX, "\"%.128s\" is no string", key);
		else if (f->kind == CTL_NUMBER && !json_is_integer(value) &&
		    !json_is_string(value))
			(void)snprintf(
			    why, WHY_MAX, "\"%.128s\" is no number", key);
		else if ((f->kind == CTL_LIST || f->kind == CTL_LISTS) &&
		    !json_is_array(value))
			(void)snprintf(
			    why, WHY_MAX, "\"%.128s\" is no list", key);
		else
			continue;
		return false;
	}
	for (f = fields; f->name != NULL; f++)
		if (f->required && json_object_get(doc, f->name) == NULL) {
			(void)snprintf(
			    why, WHY_MAX, "no field \"%s\"", f->name);
			return false;
		}
	return true;
}

/* One question. *ret_code: CTL_DONE, CTL_NO or CTL_USAGE. */
static json_t *
answer_line(struct ctl *ctl, const struct ctl_field *fields, ctl_answer *answer,
    const char *text, size_t len, int line, int *ret_code)
{
	json_error_t err;
	json_t *doc, *id, *out = NULL;
	char why[WHY_MAX] = "";

	*ret_code = CTL_USAGE;
	doc = json_loadb(
	    text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
	if (!json_is_object(doc)) {
		(void)snprintf(why, sizeof(why), "%s",
		    doc == NULL ? err.text : "not a JSON object");
		json_decref(doc);
		return failure(line, why);
	}
	if (fields_fit(doc, fields, why))
		out = answer(ctl, doc, ret_code, why, sizeof(why));
	if (out == NULL) {
		out = failure(line, why);
		*ret_code = CTL_USAGE;
	}
	id = json_object_get(doc, "id");
	if (id != NULL)
		(void)json_object_set(out, "id", id);
	json_decref(doc);
	return out;
}

/* Read a line without its end. 1; 0 at the end; -1 when it is too long (it is
 * read to its end and left out). */
static int
read_line(FILE *in, char *line, size_t max, size_t *ret_len)
{
	size_t n = 0;
	bool over = false;
	int c;

	while ((c = getc_unlocked(in)) != EOF && c != '\n') {
		if (n < max)
			line[n++] = (char)c;
		else
			over = true;
	}
	if (c == EOF && n == 0)
		return 0;
	*ret_len = n;
	return over ? -1 : 1;
}

static bool
blank(const char *line, size_t len)
{
	return strspn(line, " \t\r") >= len;
}

static int
check_stdin(struct ctl *ctl, const struct ctl_field *fields, ctl_answer *answer)
{
	char *line = malloc(LINE_MAX_BYTES + 1);
	int worst = CTL_DONE, code, number = 0, r;
	size_t len = 0;
	json_t *out;

	if (line == NULL) {
		(void)fputs("posternctl: out of memory\n", ctl->err);
		return CTL_NO;
	}
	while ((r = read_line(ctl->in, line, LINE_MAX_BYTES, &len)) != 0) {
		line[len] = '\0';
		number++;
		if (r > 0 && blank(line, len))
			continue;
		if (r < 0) {
			out = failure(number, "the line is over 1 MiB");
			code = CTL_USAGE;
		} else {
			out = answer_line(
			    ctl, fields, answer, line, len, number, &code);
		}
		ctl_print_json(ctl, out);
		(void)fflush(ctl->out); /* someone may wait for each */
		json_decref(out);
		if (code > worst)
			worst = code;
	}
	free(line);
	return worst;
}

/* ---- options ---------------------------------------------------------------------------- */

/* "--policy-file" names the field "policy_file". */
static const struct ctl_field *
field_of_option(const struct ctl_field *fields, const char *option)
{
	char name[64];
	size_t i;

	(void)snprintf(name, sizeof(name), "%s", option + strspn(option, "-"));
	for (i = 0; name[i] != '\0'; i++)
		if (name[i] == '-')
			name[i] = '_';
	return find_field(fields, name);
}

static json_t *
list_of(json_t *question, const char *name)
{
	if (json_object_get(question, name) == NULL)
		(void)json_object_set_new(question, name, json_array());
	return json_object_get(question, name);
}

/* 0, or -1: the value is no UTF-8. */
static int
take_option(
    json_t *question, const struct ctl_field *f, const struct args_opt *o)
{
	json_t *value = json_string(o->value), *list;
	size_t n;

	if (value == NULL)
		return -1;
	switch (f->kind) {
	case CTL_LISTS:
		list = list_of(question, f->name);
		n = json_array_size(list);
		if (!o->more || n == 0) {
			(void)json_array_append_new(list, json_array());
			n++;
		}
		return json_array_append_new(
		    json_array_get(list, n - 1), value);
	case CTL_LIST:
		return json_array_append_new(list_of(question, f->name), value);
	case CTL_ONE:
	case CTL_NUMBER:
	default:
		return json_object_set_new(question, f->name, value);
	}
}

static int
check_options(struct ctl *ctl, const struct args *a,
    const struct ctl_field *fields, ctl_answer *answer)
{
	json_t *question = json_object(), *out = NULL;
	const struct ctl_field *f;
	char why[WHY_MAX] = "";
	int code = CTL_USAGE, i;

	for (i = 0; i < a->n_opts && why[0] == '\0'; i++) {
		f = field_of_option(fields, a->opts[i].name);
		if (f != NULL && take_option(question, f, &a->opts[i]) < 0)
			(void)snprintf(why, sizeof(why),
			    "the value of %s is not UTF-8", a->opts[i].name);
	}
	if (why[0] == '\0' && fields_fit(question, fields, why))
		out = answer(ctl, question, &code, why, sizeof(why));
	json_decref(question);
	if (out == NULL) {
		(void)fprintf(
		    ctl->err, "posternctl: %s: %s\n", a->cmd->name, why);
		return CTL_USAGE;
	}
	ctl_print_json(ctl, out);
	json_decref(out);
	return code;
}

int
ctl_check(struct ctl *ctl, const struct args *a, const struct ctl_field *fields,
    ctl_answer *answer)
{
	if (args_opt(a, "--stdin") == NULL)
		return check_options(ctl, a, fields, answer);
	if (a->n_opts == 1)
		return check_stdin(ctl, fields, answer);
	(void)fprintf(ctl->err,
	    "posternctl: %s: --stdin stands alone: the questions come as JSON "
	    "lines\n",
	    a->cmd->name);
	return CTL_USAGE;
}
