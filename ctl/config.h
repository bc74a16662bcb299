/*
 * config.h - what the commands of settings tables share.
 */
#ifndef POSTERN_CTL_CONFIG_H
#define POSTERN_CTL_CONFIG_H

#include <jansson.h>
#include <stdio.h>

struct ctl;

/* Who is at the keyboard; for the record, not for a right. */
const char *config_who(void);

/* Up to 1000 entries behind one of that name ("": from the first). CTL_DONE and
 * the caller's document, or what ctl_ask() printed. */
int config_list(
    struct ctl *ctl, const char *kin, const char *after, json_t **ret_doc);

/* Print them, or one. */
int config_show_list(struct ctl *ctl, const char *kin);
int config_show(struct ctl *ctl, const char *kin, const char *name);

/* config_impact.c: what is staged, with what it would change for waiting mail;
 * CTL_DONE and the caller's document, or what ctl_ask() printed. */
int config_changes(struct ctl *ctl, json_t **ret_doc);
void config_show_impact(FILE *out, const json_t *doc);

/* dialog.c: the table at a terminal. */
int config_dialog(struct ctl *ctl, const char *kin);

/*
 * config_file.c: a whole table from a file, and to one; "-" and NULL are the
 * streams. destconfig speaks the other gateway's format, the others ours.
 */
int config_import(struct ctl *ctl, const char *kin, const char *file);
int config_export(struct ctl *ctl, const char *kin, const char *file);

#endif
