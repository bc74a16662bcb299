/*
 * ctl.h - what the files of posternctl share.
 */
#ifndef POSTERN_CTL_CTL_H
#define POSTERN_CTL_CTL_H

#include "ctl/args.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

/* Exit codes: an interface (posternctl(1)). */
enum {
	CTL_DONE = 0,
	CTL_NO = 1,	     /* the answer is no, or problems were found */
	CTL_USAGE = 2,	     /* a wrong call */
	CTL_UNREACHABLE = 3, /* the node, or the process that would answer */
};

struct ctl {
	FILE *in, *out, *err;
	bool json;
	char socket[512]; /* "" until it was looked for */
	const struct args *args;
};

extern const struct command ctl_commands[];
extern const size_t ctl_n_commands;

/* The whole program; returns the exit code. Borrows the streams. */
int ctl_main(int argc, char *const *argv, FILE *in, FILE *out, FILE *err);

/* ---- client.c: one question over the control socket ------------------------------- */

/*
 * path with its query, already escaped; body is taken, or NULL. CTL_DONE and
 * *ret_doc (the caller's); else the reason was printed: as {"error": …} with
 * --json, and as a sentence.
 */
int ctl_ask(struct ctl *ctl, const char *method, const char *path, json_t *body,
    json_t **ret_doc);

/* The same, and why it failed is not printed. */
int ctl_ask_quiet(struct ctl *ctl, const char *method, const char *path,
    json_t *body, json_t **ret_doc);

/* The same, and print the document with --json; *ret_doc is then NULL. */
int ctl_ask_show(struct ctl *ctl, const char *method, const char *path,
    json_t *body, json_t **ret_doc);

/* Escape one part of a path or query. From malloc(), or NULL. */
char *ctl_escape(const char *text);

/* The path of the control socket, by --socket, the settings, or the default. */
const char *ctl_socket(struct ctl *ctl);

void ctl_print_json(struct ctl *ctl, const json_t *doc);

/* ---- lines.c: the offline checks --------------------------------------------------- */

enum ctl_kind {
	CTL_ONE,    /* a string */
	CTL_NUMBER, /* a number, or its digits as a string */
	CTL_LIST,   /* a list of strings; the option repeats */
	CTL_LISTS,  /* a list of lists; the option takes several words */
};

/* What a question may hold; the option has '-' for '_'. */
struct ctl_field {
	const char *name; /* NULL ends the list */
	enum ctl_kind kind;
	bool required;
};

/*
 * Answer one question, whose fields are as listed (elements of lists are for
 * the callee to check). Returns the answer and CTL_DONE or CTL_NO; or NULL and
 * why the question is none, for people.
 */
typedef json_t *ctl_answer(struct ctl *ctl, json_t *question, int *ret_code,
    char *why, size_t why_len);

/* Ask it the question of the options, or with --stdin those of JSON lines. */
int ctl_check(struct ctl *ctl, const struct args *a,
    const struct ctl_field *fields, ctl_answer *answer);

/* ---- the commands ------------------------------------------------------------------ */

int cmd_status(struct ctl *ctl, const struct args *a);
int cmd_rate(struct ctl *ctl, const struct args *a);
int cmd_tophosts(struct ctl *ctl, const struct args *a);
int cmd_hoststatus(struct ctl *ctl, const struct args *a);
int cmd_showrecipients(struct ctl *ctl, const struct args *a);
int cmd_showmessage(struct ctl *ctl, const struct args *a);
int cmd_oldmessage(struct ctl *ctl, const struct args *a);
int cmd_deleterecipients(struct ctl *ctl, const struct args *a);
int cmd_bouncerecipients(struct ctl *ctl, const struct args *a);
int cmd_suspendlistener(struct ctl *ctl, const struct args *a);
int cmd_resumelistener(struct ctl *ctl, const struct args *a);
int cmd_archivemessage(struct ctl *ctl, const struct args *a);
int cmd_why(struct ctl *ctl, const struct args *a);
int cmd_explain(struct ctl *ctl, const struct args *a);
int cmd_version(struct ctl *ctl, const struct args *a);
int cmd_removemessage(struct ctl *ctl, const struct args *a);
int cmd_hold(struct ctl *ctl, const struct args *a);
int cmd_unhold(struct ctl *ctl, const struct args *a);
int cmd_delivernow(struct ctl *ctl, const struct args *a);
int cmd_suspenddel(struct ctl *ctl, const struct args *a);
int cmd_resumedel(struct ctl *ctl, const struct args *a);
int cmd_reload(struct ctl *ctl, const struct args *a);
int cmd_drain(struct ctl *ctl, const struct args *a);
int cmd_dnsflush(struct ctl *ctl, const struct args *a);
int cmd_config(struct ctl *ctl, const struct args *a);
int cmd_showchanges(struct ctl *ctl, const struct args *a);
int cmd_commit(struct ctl *ctl, const struct args *a);
int cmd_clearchanges(struct ctl *ctl, const struct args *a);
int cmd_rollbackconfig(struct ctl *ctl, const struct args *a);
int cmd_history(struct ctl *ctl, const struct args *a);
int cmd_addr_check(struct ctl *ctl, const struct args *a);
int cmd_sts_txt(struct ctl *ctl, const struct args *a);
int cmd_sts_parse(struct ctl *ctl, const struct args *a);
int cmd_sts_match(struct ctl *ctl, const struct args *a);
int cmd_sts_fetch(struct ctl *ctl, const struct args *a);
int cmd_dane_verify(struct ctl *ctl, const struct args *a);
int cmd_dane_plan(struct ctl *ctl, const struct args *a);
int cmd_sts_list(struct ctl *ctl, const struct args *a);
int cmd_sts_show(struct ctl *ctl, const struct args *a);
int cmd_sts_refresh(struct ctl *ctl, const struct args *a);
int cmd_dane_check(struct ctl *ctl, const struct args *a);
int cmd_sts_check(struct ctl *ctl, const struct args *a);
int cmd_tlsverify(struct ctl *ctl, const struct args *a);

/* ---- config.c ----------------------------------------------------------------------- */

/* Stage one edit (verb new, edit, delete, clear). keys is taken: texts, or null
 * for keys to take away. As ctl_ask(). */
int config_edit(struct ctl *ctl, const char *kin, const char *verb,
    const char *name, json_t *keys, json_t **ret_doc);

/* ---- steps.c ------------------------------------------------------------------------ */

/* Steps of a diagnosis, one or two lines each. */
void show_steps(FILE *out, int indent, const json_t *steps);
/* Hosts of tlsverify, or "live" of explain. */
void show_live(FILE *out, const json_t *hosts);

#endif
