/*
 * conf_edit.h - change a settings table and leave the rest of its text alone.
 *
 * Text in, text out: comments, order, spacing and line ends of what is not
 * changed stay byte for byte. Sections are found by hash, so that a thousand
 * changes of a table with 100,000 sections cost a thousand sections. Knows the
 * grammar but no key; does no I/O.
 */
#ifndef POSTERN_CONF_CONF_EDIT_H
#define POSTERN_CONF_CONF_EDIT_H

#include <stdbool.h>
#include <stddef.h>

#include "lib/conf/conf.h"

struct buf;
struct conf_edit;

/*
 * Take a table's text apart; borrows it for the call. 0; PE_SYNTAX with the
 * first problem in why ("line 3: found ..."); -EFBIG over CONF_EDIT_MAX bytes
 * or sections; -ENOMEM.
 */
#define CONF_EDIT_MAX	   ((size_t)64 << 20) /* bytes of one table */
#define CONF_EDIT_SECTIONS 250000U
int conf_edit_new(enum conf_table table, const char *text, size_t len,
    char *why, size_t why_len, struct conf_edit **ret_edit);
void conf_edit_free(struct conf_edit *edit);

/* The text as it is now, appended to out. 0, PE_FULL or -ENOMEM. */
int conf_edit_text(const struct conf_edit *edit, struct buf *out);

/*
 * The name of a section in its one form: "example.com", ".example.com",
 * "mx:*.example.com", "DEFAULT", "ALL", "gateway marketing". false and the
 * reason when it can be none. out holds CONF_EDIT_NAME bytes.
 */
#define CONF_EDIT_NAME 300
bool conf_edit_name(enum conf_table table, const char *text, size_t len,
    char *out, char *why, size_t why_len);

/* Sections in the order of the file. Numbers stay the same until free; of a
 * removed section the name is NULL. */
size_t conf_edit_count(const struct conf_edit *edit);
const char *conf_edit_at(const struct conf_edit *edit, size_t i);
/* By its name in that form: a number, or -1. */
long conf_edit_find(const struct conf_edit *edit, const char *name);

/* Each key of a section in order, its value joined by '\n'. Borrowed. */
typedef void conf_edit_on_key(void *arg, const char *key, const char *value);
int conf_edit_keys(
    const struct conf_edit *edit, size_t i, conf_edit_on_key *cb, void *arg);

/*
 * Set a key; the section is made when there is none, at the end or where it was. name is in its
 * one form. The value may have lines; blanks around each are dropped. 0;
 * PE_SYNTAX and why when no file can hold it (control bytes, not UTF-8, too
 * long, "${", an empty line inside); PE_FULL; -ENOMEM.
 */
int conf_edit_set(struct conf_edit *edit, const char *name, const char *key,
    const char *value, char *why, size_t why_len);
/*
 * Make e's sections those of want: what is on both sides keeps its place and
 * its comments, and only keys that differ are written; what is new comes at the
 * end; the rest goes. Costs the sections of both, once. 0; PE_SYNTAX with a
 * sentence in why; PE_FULL, -ENOMEM. After an error e is neither.
 */
struct conf_merged {
	size_t added, changed, removed, same;
};
int conf_edit_merge(struct conf_edit *e, const struct conf_edit *want,
    struct conf_merged *ret, char *why, size_t why_len);
/* Another one that says the same. 0 or -errno. */
int conf_edit_dup(const struct conf_edit *e, struct conf_edit **ret_edit);
/* Make a section that is not there, with the text that it has in from. */
int conf_edit_copy(
    struct conf_edit *e, const struct conf_edit *from, const char *name);
/* Would the reader take this key and value in such a section? PE_SYNTAX and
 * what was found and wanted; rules between keys are not looked at. */
int conf_edit_check(enum conf_table table, const char *name, const char *key,
    const char *value, char *why, size_t why_len);
/* Make a section without keys, unless it is there. */
int conf_edit_add(struct conf_edit *edit, const char *name);
/* Remove a key or a section. PE_NOT_FOUND when there is none. The comment right
 * above a section's header goes with it. */
int conf_edit_unset(struct conf_edit *edit, const char *name, const char *key);
int conf_edit_remove(struct conf_edit *edit, const char *name);

#endif
