/*
 * look.c - commands that show what the node holds and does.
 *
 * Called by ctl.c. Each asks one resource and prints it; --json prints the
 * document as it came. A field that is missing shows as "-".
 */
#include "ctl/ctl.h"
#include "ctl/show.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LABEL_WIDTH = 14 };

/* Print the fields of obj that are in the list, in this order. */
struct field {
	const char *label, *key;
};

static void
show_fields(FILE *out, const json_t *obj, const struct field *f, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		show_line(out, LABEL_WIDTH, f[i].label,
		    json_object_get(obj, f[i].key));
}

/* A table of the objects in a list: a column for each key. */
struct list_column {
	struct show_column column;
	const char *key;
};

static char *
cell_of(const json_t *item, const char *key)
{
	const json_t *v = json_object_get(item, key);

	if (strcmp(key, "sender") == 0 && json_is_string(v) &&
	    json_string_length(v) == 0)
		return strdup("<>"); /* a notice */
	return json_is_string(v) || strcmp(key, "mid") == 0 ? show_value(v)
							    : show_count(v);
}

static void
show_list(FILE *out, const json_t *list, const struct list_column *cols,
    size_t n, int indent)
{
	struct show_column heads[16];
	struct show_table *t;
	size_t i, k;

	for (k = 0; k < n; k++)
		heads[k] = cols[k].column;
	t = show_table_new(heads, n);
	for (i = 0; i < json_array_size(list); i++)
		for (k = 0; k < n; k++)
			show_cell(
			    t, cell_of(json_array_get(list, i), cols[k].key));
	show_table_print(t, out, indent);
}

#define N(a) (sizeof(a) / sizeof((a)[0]))

/* path + escaped text; from malloc(). */
static char *
path_of(const char *before, const char *text)
{
	char *esc = ctl_escape(text), *path = NULL;

	if (esc == NULL || asprintf(&path, "%s%s", before, esc) < 0) {
		(void)fputs("posternctl: out of memory\n", stderr);
		exit(CTL_NO);
	}
	free(esc);
	return path;
}

/* A whole number in decimal, or a sentence and false. */
static bool
want_number(struct ctl *ctl, const char *what, const char *text)
{
	if (text[0] != '\0' && strspn(text, "0123456789") == strlen(text) &&
	    strlen(text) <= 20)
		return true;
	(void)fprintf(
	    ctl->err, "posternctl: %s is a number, not '%s'\n", what, text);
	return false;
}

/* ---- status ----------------------------------------------------------------------------- */

static const struct {
	const char *label, *key;
} known_counters[] = {
	{ "clients", "postern_smtpd_connections_total" },
	{ "messages accepted",
	    "postern_smtpd_messages_total{result=\"accepted\"}" },
	{ "messages refused",
	    "postern_smtpd_messages_total{result=\"refused\"}" },
	{ "connections out", "postern_delivery_connections_total" },
	{ "attempts deferred", "postern_deferrals_total" },
	{ "recipients accepted", "postern_recipients_accepted_total" },
	{ "  generated (notices)", "postern_recipients_generated_total" },
	{ "  delivered", "postern_recipients_delivered_total" },
	{ "  bounced", "postern_recipients_bounced_total" },
	{ "  expired", "postern_recipients_expired_total" },
	{ "  removed", "postern_recipients_removed_total" },
};

static const struct show_column counter_cols[] = { { "", false },
	{ "total", true }, { "1 min", true }, { "5 min", true },
	{ "15 min", true } };

static void
counter_row(
    struct show_table *t, const json_t *doc, const char *label, const char *key)
{
	static const char *const windows[] = { "1m", "5m", "15m" };
	const json_t *rate =
	    json_object_get(json_object_get(doc, "rates_per_hour"), key);
	size_t i;

	show_cell_text(t, label);
	show_cell(t,
	    show_count(json_object_get(json_object_get(doc, "counters"), key)));
	for (i = 0; i < N(windows); i++)
		show_cell(t, show_value(json_object_get(rate, windows[i])));
}

static void
show_counters(FILE *out, const json_t *doc, bool detail)
{
	struct show_table *t = show_table_new(counter_cols, N(counter_cols));
	json_t *all = json_object_get(doc, "counters"), *v;
	const char *key;
	size_t i;

	if (detail)
		json_object_foreach(all, key, v)
			counter_row(t, doc, key, key);
	else
		for (i = 0; i < N(known_counters); i++)
			if (json_object_get(all, known_counters[i].key) != NULL)
				counter_row(t, doc, known_counters[i].label,
				    known_counters[i].key);
	(void)fputs(
	    "\nCounters since the processes started, rates per hour\n", out);
	show_table_print(t, out, 2);
}

static void
show_gauges(FILE *out, const json_t *doc)
{
	static const struct show_column cols[] = { { "gauge", false },
		{ "now", true } };
	struct show_table *t = show_table_new(cols, N(cols));
	const json_t *v;
	const char *key;

	json_object_foreach(json_object_get(doc, "gauges"), key, v) {
		if (strncmp(key, "postern_up{", 11) == 0)
			continue; /* the processes stand above */
		show_cell_text(t, key);
		show_cell(t, show_count(v));
	}
	(void)fputc('\n', out);
	show_table_print(t, out, 2);
}

static void
show_law(FILE *out, const json_t *doc)
{
	static const char *const terms[] = { "accepted", "generated",
		"delivered", "bounced", "expired", "removed", "queued" };
	static const char *const signs[] = { "", " + ", " = ", " + ", " + ",
		" + ", " + " };
	const json_t *law = json_object_get(doc, "conservation");
	size_t i;

	(void)fputs("\nRecipients    ", out);
	if (!json_is_object(law)) {
		(void)fputs("unknown: queue did not answer\n", out);
		return;
	}
	for (i = 0; i < N(terms); i++) {
		char *n = show_count(json_object_get(law, terms[i]));

		(void)fprintf(out, "%s%s %s", signs[i], n, terms[i]);
		free(n);
	}
	if (json_is_true(json_object_get(law, "holds"))) {
		(void)fputs(": holds\n", out);
	} else {
		char *n = show_count(json_object_get(law, "difference"));

		(void)fprintf(out, ": DOES NOT HOLD, %s unaccounted for\n", n);
		free(n);
	}
}

static void
show_alerts(FILE *out, const json_t *doc)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(doc, "alerts"), i, p) {
		char *name = show_value(json_object_get(p, "process"));
		char *text = show_value(json_object_get(p, "text"));

		(void)fprintf(out, "ALERT %s: %s\n", name, text);
		free(name);
		free(text);
	}
}

/* Destination controls that end by themselves. */
static void
show_exceptions(FILE *out, const json_t *doc)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(doc, "exceptions"), i, p) {
		char *entry = show_value(json_object_get(p, "entry"));
		char *until = show_value(json_object_get(p, "until"));
		char *ticket = show_value(json_object_get(p, "ticket"));

		(void)fprintf(out, "exception [%s] %s %s%s%s\n", entry,
		    json_is_true(json_object_get(p, "active")) ? "until"
							       : "was over at",
		    until, ticket[0] != '\0' ? ", " : "", ticket);
		free(entry);
		free(until);
		free(ticket);
	}
}

/* Whose clients get 421 by an operator's word. */
static void
show_suspended(FILE *out, const json_t *doc)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(doc, "suspended_listeners"), i, p) {
		char *name = show_value(p);

		(void)fprintf(out, "listener %s is suspended\n", name);
		free(name);
	}
}

static void
show_processes(FILE *out, const json_t *doc)
{
	static const struct show_column cols[] = { { "process", false },
		{ "no", true }, { "state", false } };
	struct show_table *t = show_table_new(cols, N(cols));
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(doc, "processes"), i, p) {
		show_cell(t, show_value(json_object_get(p, "process")));
		show_cell(t, show_value(json_object_get(p, "instance")));
		if (json_is_true(json_object_get(p, "up")))
			show_cell_text(t, "up");
		else
			show_cell(t, show_value(json_object_get(p, "error")));
	}
	(void)fputc('\n', out);
	show_table_print(t, out, 2);
}

/* What each process says of itself. */
static void
show_own_views(FILE *out, const json_t *doc)
{
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(doc, "processes"), i, p) {
		char *name = show_value(json_object_get(p, "process"));
		char *no = show_value(json_object_get(p, "instance"));

		(void)fprintf(out, "\n%s %s\n", name, no);
		show_tree(out, 2, json_object_get(p, "status"));
		free(name);
		free(no);
	}
}

/* Is everything as it should be? */
static int
verdict(const json_t *doc)
{
	const json_t *law = json_object_get(doc, "conservation");
	const char *s = json_string_value(json_object_get(doc, "status"));

	return s != NULL && strcmp(s, "ok") == 0 &&
		!json_is_false(json_object_get(law, "holds"))
	    ? CTL_DONE
	    : CTL_NO;
}

int
cmd_status(struct ctl *ctl, const struct args *a)
{
	static const struct field head[] = { { "node", "hostname" },
		{ "version", "version" }, { "status", "status" },
		{ "time", "time" }, { "up, seconds", "uptime_s" } };
	bool detail = a->n_pos == 1;
	json_t *doc;
	int code;

	if (detail && strcmp(a->pos[0], "detail") != 0) {
		(void)fprintf(ctl->err,
		    "posternctl: status knows 'detail', not '%s'\n", a->pos[0]);
		return CTL_USAGE;
	}
	code = ctl_ask(ctl, "GET",
	    detail ? "/v1/status?detail=1" : "/v1/status", NULL, &doc);
	if (code != CTL_DONE)
		return code;
	code = verdict(doc);
	if (ctl->json) {
		ctl_print_json(ctl, doc);
	} else {
		show_fields(ctl->out, doc, head, N(head));
		show_alerts(ctl->out, doc);
		show_exceptions(ctl->out, doc);
		show_suspended(ctl->out, doc);
		show_processes(ctl->out, doc);
		show_counters(ctl->out, doc, detail);
		if (detail) {
			show_gauges(ctl->out, doc);
			show_own_views(ctl->out, doc);
		}
		show_law(ctl->out, doc);
	}
	json_decref(doc);
	return code;
}

/* ---- rate ------------------------------------------------------------------------------- */

struct tick {
	json_int_t in, done, queued;
};

static bool
tick_of(const json_t *doc, struct tick *ret)
{
	const json_t *law = json_object_get(doc, "conservation");
	static const char *const done[] = { "delivered", "bounced", "expired",
		"removed" };
	size_t i;

	if (!json_is_object(law))
		return false;
	ret->in = json_integer_value(json_object_get(law, "accepted")) +
	    json_integer_value(json_object_get(law, "generated"));
	ret->queued = json_integer_value(json_object_get(law, "queued"));
	ret->done = 0;
	for (i = 0; i < N(done); i++)
		ret->done += json_integer_value(json_object_get(law, done[i]));
	return true;
}

static void
tick_print(struct ctl *ctl, const json_t *doc, const struct tick *now,
    const struct tick *before)
{
	const char *t = json_string_value(json_object_get(doc, "time"));
	json_t *line;

	if (t == NULL)
		t = "-";
	if (ctl->json) {
		line = json_pack("{s:s, s:I, s:I, s:I}", "time", t, "in",
		    now->in - before->in, "finished", now->done - before->done,
		    "queued", now->queued);
		ctl_print_json(ctl, line);
		json_decref(line);
	} else {
		(void)fprintf(ctl->out,
		    "%-25.25s %12" JSON_INTEGER_FORMAT
		    " %12" JSON_INTEGER_FORMAT " %12" JSON_INTEGER_FORMAT "\n",
		    t, now->in - before->in, now->done - before->done,
		    now->queued);
	}
	(void)fflush(ctl->out);
}

static void
wait_seconds(long seconds)
{
	struct timespec ts = { seconds, 0 };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		continue;
}

int
cmd_rate(struct ctl *ctl, const struct args *a)
{
	const char *every = a->n_pos > 0 ? a->pos[0] : "10";
	const char *count = args_opt(a, "--count");
	struct tick now, before = { 0, 0, 0 };
	long seconds, left;
	bool first = true;
	json_t *doc;
	int code;

	if (!want_number(ctl, "SECONDS", every) ||
	    (count != NULL && !want_number(ctl, "--count", count)))
		return CTL_USAGE;
	seconds = strtol(every, NULL, 10);
	left = count != NULL ? strtol(count, NULL, 10) : -1;
	if (seconds < 1 || seconds > 86400 || left == 0) {
		(void)fputs("posternctl: rate: SECONDS is 1 to 86400, "
			    "--count at least 1\n",
		    ctl->err);
		return CTL_USAGE;
	}
	if (!ctl->json)
		(void)fprintf(ctl->out, "%-25s %12s %12s %12s\n", "time", "in",
		    "finished", "queued");
	while (left != 0 && !ferror(ctl->out)) {
		code = ctl_ask(ctl, "GET", "/v1/status", NULL, &doc);
		if (code != CTL_DONE)
			return code;
		if (!tick_of(doc, &now)) {
			json_decref(doc);
			(void)fputs(
			    "posternctl: queue does not answer\n", ctl->err);
			return CTL_UNREACHABLE;
		}
		if (!first) {
			tick_print(ctl, doc, &now, &before);
			left -= left > 0;
		}
		first = false;
		before = now;
		json_decref(doc);
		if (left != 0)
			wait_seconds(seconds);
	}
	return CTL_DONE;
}

/* ---- destinations ------------------------------------------------------------------------- */

int
cmd_tophosts(struct ctl *ctl, const struct args *a)
{
	static const struct list_column cols[] = {
		{ { "domain", false }, "domain" },
		{ { "gateway", false }, "gateway" },
		{ { "state", false }, "state" },
		{ { "active", true }, "active" },
		{ { "conns", true }, "connections" },
		{ { "delivered", true }, "delivered" },
		{ { "soft", true }, "soft" },
		{ { "hard", true }, "hard" },
	};
	const char *sort = args_opt(a, "--sort");
	const char *limit = args_opt(a, "--limit");
	char path[256];
	char *word;
	json_t *doc, *list;
	int code;

	if (limit != NULL && !want_number(ctl, "--limit", limit))
		return CTL_USAGE;
	word = path_of("", sort != NULL ? sort : "active");
	(void)snprintf(path, sizeof(path), "/v1/tophosts?sort=%.64s&limit=%s",
	    word, limit != NULL ? limit : "20");
	free(word);
	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	if (doc == NULL)
		return code;
	list = json_object_get(doc, "hosts");
	if (json_array_size(list) == 0)
		(void)fputs("no destinations\n", ctl->out);
	else
		show_list(ctl->out, list, cols, N(cols), 0);
	json_decref(doc);
	return CTL_DONE;
}

static void
show_errors(struct ctl *ctl, const json_t *doc)
{
	const json_t *e;
	size_t i;

	json_array_foreach(json_object_get(doc, "errors"), i, e) {
		char *p = show_value(json_object_get(e, "process"));
		char *t = show_value(json_object_get(e, "text"));

		(void)fprintf(ctl->err, "posternctl: %s: %s\n", p, t);
		free(p);
		free(t);
	}
}

int
cmd_hoststatus(struct ctl *ctl, const struct args *a)
{
	char *path = path_of("/v1/hosts/", a->pos[0]);
	json_t *doc, *d, *w;
	size_t i, k;
	int code;

	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	free(path);
	if (doc == NULL)
		return code;
	show_line(
	    ctl->out, LABEL_WIDTH, "domain", json_object_get(doc, "domain"));
	json_array_foreach(json_object_get(doc, "destinations"), i, d) {
		(void)fputs("\nqueue\n", ctl->out);
		show_tree(ctl->out, 2, d);
	}
	json_array_foreach(json_object_get(doc, "workers"), i, w)
		json_array_foreach(json_object_get(w, "destinations"), k, d) {
			(void)fputc('\n', ctl->out);
			show_line(ctl->out, 0, "deliver",
			    json_object_get(w, "instance"));
			show_tree(ctl->out, 2, d);
		}
	d = json_object_get(doc, "policy");
	if (json_is_object(d)) {
		(void)json_object_del(d, "text"); /* that is for sts show */
		(void)fputs("\nMTA-STS policy\n", ctl->out);
		show_tree(ctl->out, 2, d);
	}
	show_errors(ctl, doc);
	json_decref(doc);
	return CTL_DONE;
}

/* ---- messages ---------------------------------------------------------------------------------- */

int
cmd_showrecipients(struct ctl *ctl, const struct args *a)
{
	static const struct list_column cols[] = {
		{ { "mid", true }, "mid" },
		{ { "rid", true }, "rid" },
		{ { "state", false }, "state" },
		{ { "tries", true }, "attempts" },
		{ { "next attempt", false }, "next_attempt" },
		{ { "sender", false }, "sender" },
		{ { "recipient", false }, "address" },
	};
	const char *host = args_opt(a, "--host"), *from = args_opt(a, "--from");
	const char *all = args_opt(a, "--all"), *limit = args_opt(a, "--limit");
	char *path, *whole = NULL;
	json_t *doc, *list;
	int code;

	if ((host != NULL) + (from != NULL) + (all != NULL) != 1) {
		(void)fputs("posternctl: showrecipients: one of --host D, "
			    "--from A and --all\n",
		    ctl->err);
		return CTL_USAGE;
	}
	if (limit != NULL && !want_number(ctl, "--limit", limit))
		return CTL_USAGE;
	path = host != NULL ? path_of("/v1/recipients?host=", host)
	    : from != NULL  ? path_of("/v1/recipients?from=", from)
			    : path_of("/v1/recipients?all=", "1");
	if (asprintf(
		&whole, "%s&limit=%s", path, limit != NULL ? limit : "100") < 0)
		abort();
	code = ctl_ask_show(ctl, "GET", whole, NULL, &doc);
	free(path);
	free(whole);
	if (doc == NULL)
		return code;
	list = json_object_get(doc, "recipients");
	if (json_array_size(list) == 0)
		(void)fputs("no recipients\n", ctl->out);
	else
		show_list(ctl->out, list, cols, N(cols), 0);
	if (json_is_true(json_object_get(doc, "truncated")))
		(void)fputs("there are more: --limit N\n", ctl->out);
	json_decref(doc);
	return CTL_DONE;
}

static void
show_recipients_of(struct ctl *ctl, const json_t *doc)
{
	static const struct field fields[] = { { "  state", "state" },
		{ "  reason", "reason" }, { "  attempts", "attempts" },
		{ "  last reply", "last_reply" },
		{ "  next attempt", "next_attempt" },
		{ "  expires", "expires" } };
	const json_t *r;
	size_t i;

	json_array_foreach(json_object_get(doc, "recipients"), i, r) {
		char *rid = show_value(json_object_get(r, "rid"));
		char *address = show_value(json_object_get(r, "address"));

		(void)fprintf(ctl->out, "\nrecipient %s  %s\n", rid, address);
		show_fields(ctl->out, r, fields, N(fields));
		if (json_object_get(r, "limits") != NULL)
			show_flat(ctl->out, LABEL_WIDTH, "  limits",
			    json_object_get(r, "limits"), "-");
		free(rid);
		free(address);
	}
}

static int
show_message(struct ctl *ctl, const char *path)
{
	static const struct field head[] = { { "message", "mid" },
		{ "sender", "sender" }, { "size", "size" },
		{ "accepted", "accepted" }, { "expires", "expires" },
		{ "held", "held" }, { "listener", "listener" } };
	json_t *doc;
	int code;

	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	if (doc == NULL)
		return code;
	show_fields(ctl->out, doc, head, N(head));
	show_recipients_of(ctl, doc);
	json_decref(doc);
	return CTL_DONE;
}

int
cmd_showmessage(struct ctl *ctl, const struct args *a)
{
	char *path;
	int code;

	if (!want_number(ctl, "MID", a->pos[0]))
		return CTL_USAGE;
	path = path_of("/v1/messages/", a->pos[0]);
	code = show_message(ctl, path);
	free(path);
	return code;
}

int
cmd_oldmessage(struct ctl *ctl, const struct args *a)
{
	(void)a;
	return show_message(ctl, "/v1/oldmessage");
}

int
cmd_why(struct ctl *ctl, const struct args *a)
{
	char *path;
	json_t *doc;
	int code;

	if (!want_number(ctl, "MID", a->pos[0]))
		return CTL_USAGE;
	path = path_of("/v1/why/", a->pos[0]);
	code = ctl_ask_show(ctl, "GET", path, NULL, &doc);
	free(path);
	if (doc == NULL)
		return code;
	show_line(
	    ctl->out, LABEL_WIDTH, "message", json_object_get(doc, "mid"));
	show_recipients_of(ctl, doc);
	json_decref(doc);
	return CTL_DONE;
}

int
cmd_version(struct ctl *ctl, const struct args *a)
{
	json_t *doc, *both;
	char *v;
	int code;

	(void)a;
	if (!ctl->json)
		(void)fprintf(ctl->out, "posternctl %s\n", POSTERN_VERSION);
	code = ctl_ask(ctl, "GET", "/v1/version", NULL, &doc);
	if (code != CTL_DONE)
		return code;
	if (ctl->json) {
		both = json_pack(
		    "{s:s, s:O}", "posternctl", POSTERN_VERSION, "node", doc);
		ctl_print_json(ctl, both);
		json_decref(both);
	} else {
		v = show_value(json_object_get(doc, "version"));
		(void)fprintf(ctl->out, "node       %s\n", v);
		free(v);
	}
	json_decref(doc);
	return CTL_DONE;
}
