/*
 * conf_build.h - the workshop in which a set is put together: conf_build.c cuts
 * files into sections and reads their keys, conf_take.c gives them a meaning.
 */
#ifndef POSTERN_CONF_CONF_BUILD_H
#define POSTERN_CONF_CONF_BUILD_H

#include "lib/conf/conf_ini.h"
#include "lib/conf/conf_int.h"

struct conf_doc {
	char *name; /* as errors name it */
	char *text;
	struct conf_ini ini;
};

/* One section of one file. */
struct conf_sect {
	uint32_t doc, item, end; /* keys are items item + 1 .. end - 1 */
	enum conf_section_id id;
	const char *name; /* normalised; "" where the kind has none */
};

/* Where something stands that a later check may complain about. */
struct conf_listen {
	union conf_addr addr;
	const char *file;
	uint32_t line, column;
};

struct conf_build {
	struct conf *conf;
	const struct conf_source *src;
	struct conf_errors *errs;
	size_t n_docs, n_sects, n_listens;
	struct conf_doc *docs;
	struct conf_sect *sects;
	struct conf_listen *listens;
	struct conf_map seen; /* id and name of each section */
	size_t sects_cap;
	size_t cap[CONF_S_COUNT];  /* of the set's arrays */
	void *proto[CONF_S_COUNT]; /* structs with all defaults */
	void *room;		   /* scratch: the struct being read */
	char *value;		   /* scratch: one value */
	size_t value_cap;
	struct buf env; /* scratch: the value with ${NAME} replaced */
	size_t total[CONF_T_COUNT]; /* bytes of texts, includes and all */
};

/* One section while it is read. */
struct conf_where {
	struct conf_build *b;
	enum conf_section_id id;
	const struct conf_section *schema;
	const struct conf_sect *sect; /* NULL: it is in no file */
	const struct conf_ini_item *at[CONF_KEYS_MAX]; /* of given keys */
	uint32_t given;
	uint32_t bad; /* given, but the value was refused */
};

/* Problems: at a place, at the value of a key (or the section's header when
 * the key is not given). */
void conf_build_error(struct conf_build *b, const char *file, uint32_t line,
    uint32_t column, bool warning, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
void conf_where_error(const struct conf_where *w, const char *key, bool warning,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));
bool conf_where_given(const struct conf_where *w, const char *key);

/* Write "key = value" into the normalised text of the section being read. */
int conf_where_emit(
    const struct conf_where *w, const char *key, const char *value);

/*
 * A section was read into base (schema->size bytes): check it and put it into
 * the set. 0, also when problems were told, or -ENOMEM. conf_take.c
 */
int conf_take(struct conf_where *w, void *base);

/* Entries that exist unless a file has them: before a kind is read. */
int conf_take_before(struct conf_build *b, enum conf_section_id id);

/* What only the whole set shows. */
void conf_take_end(struct conf_build *b);

/* Normalise a section name in destinations.conf or routes.conf. NULL when it
 * was refused (and told) or without memory. out holds 300 bytes. */
bool conf_dest_name(const char *text, size_t len, bool sites, char *out,
    char *why, size_t why_len);

#endif
