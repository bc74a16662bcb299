/*
 * staging.h - what staging.c and staging_call.c share: the one staged set.
 */
#ifndef POSTERN_SUPERVISOR_STAGING_H
#define POSTERN_SUPERVISOR_STAGING_H

#include "lib/conf/conf_commit.h"

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

struct buf;
struct json;
struct node;

struct staging {
	int history_fd;
	bool unfinished; /* the last commit's tables are still to be written */
	uv_timer_t timer;
	bool staged;		 /* the two below differ, or have */
	struct conf_tables base; /* as read when editing began */
	struct conf_edit *old[CONF_T_COUNT], *edit[CONF_T_COUNT];
	char base_version[CONF_VERSION];
	char who[CONF_WHO_MAX + 1];    /* who began */
	char others[CONF_WHO_MAX + 1]; /* the last other one who edited */

	struct {
		struct buf *text; /* the parts so far, or NULL */
		const struct staging_kin *kin;
		uint64_t next; /* part */
		char who[CONF_WHO_MAX + 1];
	} import;
};

/* A command and the table it edits; prefix: what section names begin with. */
struct staging_kin {
	const char *name;
	enum conf_table table;
	const char *prefix;
};
const struct staging_kin *staging_kin(const char *name);
const struct staging_kin *staging_kin_of(enum conf_table table);

void staging_drop(struct staging *s);
void staging_import_drop(struct staging *s);
int staging_begin(struct node *n, char *why, size_t len);
int staging_tables(const struct staging *s, struct conf_tables *ret);
void staging_touched(struct node *n, const char *who);
void staging_listed(struct node *n);
void staging_forget(struct node *n);
struct conf;
struct conf *staging_check(
    struct node *n, const struct conf_tables *t, struct json *j);
void staging_impact(const struct conf *from, const struct conf *to,
    const char *text, struct json *j);
int staging_commit(struct node *n, const struct conf_tables *t,
    const char *base, const char *who, const char *message, struct json *j,
    char *why, size_t len);

#endif
