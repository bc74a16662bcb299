/*
 * conf_take.h - what conf_take.c (postern.conf) and conf_take_tables.c (the
 * other files) share. Nobody else includes this.
 */
#ifndef POSTERN_CONF_CONF_TAKE_H
#define POSTERN_CONF_CONF_TAKE_H

#include "lib/conf/conf_build.h"

/* Append elem to one of the set's arrays. Its index, or -ENOMEM. */
int conf_push(struct conf_build *b, enum conf_section_id id, void *array_ptr,
    size_t *n, const void *elem);

/* Find index by name later; a negative index is handed on. */
int conf_put_name(struct conf_map *map, const char *name, int index);

/* Name in the header; "default" for an entry that is in no file. */
const char *conf_sect_name(const struct conf_where *w);

/* Tell that a key that has no default is missing, unless it is there. */
void conf_need(const struct conf_where *w, const char *key, bool there);

/* NULL when there is none of this name. */
const struct conf_certificate *conf_find_certificate(
    const struct conf *conf, const char *name);

/* Tell that the [kind NAME] that a key names does not exist in file. */
void conf_dangling(const struct conf_where *w, const char *key,
    const char *kind, const char *file, const char *name);

/* One section each; see conf_take(). conf_take_tables.c */
int conf_take_profile(struct conf_where *w, void *base);
int conf_take_gateway(struct conf_where *w, void *base);
int conf_take_default(struct conf_where *w, void *base);
int conf_take_destination(struct conf_where *w, void *base);
int conf_take_route(struct conf_where *w, void *base);

#endif
