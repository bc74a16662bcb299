/*
 * addr.c - addr check: is this a mail address? Offline, for people and corpora.
 *
 * The contract is control.md, "Check one thing, offline": one JSON object on
 * stdout, exit 0 yes, 1 no, 2 a wrong call; --stdin: JSON lines in, one line out
 * each, in order.
 */
#include "ctl/ctl.h"
#include "lib/mail/addr.h"

#include <stdlib.h>
#include <string.h>

enum { LINE_MAX_BYTES = 1024 * 1024 };

static json_t *
answer(const char *address, size_t len, bool *ret_valid)
{
	struct addr_verdict v;

	addr_check(address, len, &v);
	*ret_valid = v.valid;
	return json_pack("{s:b, s:b, s:s}", "smtp_valid", v.valid,
	    "needs_smtputf8", v.needs_utf8, "reason",
	    v.reason != NULL ? v.reason : "");
}

static json_t *
failure(int line, const char *text)
{
	return json_pack("{s:i, s:s}", "line", line, "error", text);
}

/* One question. *ret_code: CTL_DONE, CTL_NO or CTL_USAGE. */
static json_t *
answer_line(const char *text, size_t len, int line, int *ret_code)
{
	json_error_t err;
	json_t *doc, *value, *address = NULL, *out;
	const char *key;
	char why[256] = "";
	bool valid = false;

	*ret_code = CTL_USAGE;
	doc = json_loadb(
	    text, len, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &err);
	if (!json_is_object(doc)) {
		(void)snprintf(why, sizeof(why), "%s",
		    doc == NULL ? err.text : "not a JSON object");
		json_decref(doc);
		return failure(line, why);
	}
	json_object_foreach(doc, key, value)
	{
		if (strcmp(key, "address") == 0)
			address = value;
		else if (strcmp(key, "id") != 0 && why[0] == '\0')
			(void)snprintf(
			    why, sizeof(why), "unknown field \"%.128s\"", key);
	}
	if (why[0] == '\0' && !json_is_string(address))
		(void)snprintf(why, sizeof(why), "%s",
		    address == NULL ? "no field \"address\""
				    : "\"address\" is no string");
	if (why[0] != '\0') {
		out = failure(line, why);
	} else {
		out = answer(json_string_value(address),
		    json_string_length(address), &valid);
		*ret_code = valid ? CTL_DONE : CTL_NO;
	}
	value = json_object_get(doc, "id");
	if (value != NULL)
		(void)json_object_set(out, "id", value);
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
check_stdin(struct ctl *ctl)
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
			out = answer_line(line, len, number, &code);
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

int
cmd_addr_check(struct ctl *ctl, const struct args *a)
{
	const char *address = args_opt(a, "--address");
	bool valid, from_stdin = args_opt(a, "--stdin") != NULL;
	json_t *out;

	if ((address != NULL) == from_stdin) {
		(void)fputs("posternctl: addr check: one of --address A and "
			    "--stdin\n",
		    ctl->err);
		return CTL_USAGE;
	}
	if (from_stdin)
		return check_stdin(ctl);
	out = answer(address, strlen(address), &valid);
	ctl_print_json(ctl, out);
	json_decref(out);
	return valid ? CTL_DONE : CTL_NO;
}
