/*
 * questions.h - what the dialogues ask: one table for each command.
 */
#ifndef POSTERN_CTL_QUESTIONS_H
#define POSTERN_CTL_QUESTIONS_H

#include "lib/conf/conf.h"

#include <stdbool.h>

enum question_kind {
	Q_VALUE,  /* a value, checked by the settings' own rules */
	Q_CHOICE, /* one of several, by number or word */
	Q_RATE,	  /* recipients, after the minutes */
	Q_YESNO,  /* on or off: the gate is the whole question */
	Q_NOTE,	  /* nothing: says what the routes mean for the domain */
};

struct choice {
	const char *value, *text; /* value NULL ends the list */
};

struct question {
	enum question_kind kind;
	const char *key;
	const char *gate; /* asked first, Y or N; NULL: no */
	bool gate_yes;	  /* its default for a new entry */
	const char *prompt;
	const struct choice *choices;
	bool needs_tls; /* passed over when TLS was just switched off */
};

struct dialog_table {
	const char *kin;
	enum conf_table table;
	const char *prefix;  /* what section names begin with */
	const char *noun;    /* "domain" */
	const char *name;    /* prompt */
	const char *special; /* the entry that always is, or NULL */
	bool other;	     /* import and export speak the other format */
	const struct question *questions; /* prompt and gate NULL ends */
};

const struct dialog_table *dialog_table(const char *kin);

#endif
