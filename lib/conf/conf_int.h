/*
 * conf_int.h - what the files of lib/conf share. Nobody else includes it.
 */
#ifndef POSTERN_CONF_CONF_INT_H
#define POSTERN_CONF_CONF_INT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/base/buf.h"
#include "lib/conf/conf.h"

/* ---- memory of a set (conf.c) -------------------------------------------- */

struct conf_file_copy {
	const char *path;
	uint8_t *data; /* malloc; wiped at the end */
	size_t len;
};

struct conf_chunk;
struct conf_store {
	unsigned refs;
	struct conf_chunk *chunks;
	size_t n_files;
	struct conf_file_copy *files;
	bool keep_text;
	struct buf text[CONF_T_COUNT]; /* normalised; only with keep_text */
};

struct conf *conf_new(void);
/* From the set's arena, zeroed; NULL: no memory. */
void *conf_alloc(struct conf *conf, size_t size);
char *conf_strndup(struct conf *conf, const char *text, size_t len);
/* Takes data. 0, or -ENOMEM (data is freed). */
int conf_file_add(
    struct conf *conf, const char *path, uint8_t *data, size_t len);

/* ---- lookup tables (conf_lookup.c) --------------------------------------- */

struct conf_map_entry {
	const void *key; /* borrowed */
	uint32_t len;
	uint32_t value_plus_1; /* 0: free slot */
};
struct conf_map {
	size_t n, cap; /* cap is a power of two, or 0 */
	struct conf_map_entry *v;
};
/* 0, 1 when the key is there already (*ret_value then), or -ENOMEM. */
int conf_map_put(struct conf_map *map, const void *key, size_t len,
    uint32_t value, uint32_t *ret_value);
bool conf_map_get(const struct conf_map *map, const void *key, size_t len,
    uint32_t *ret_value);
void conf_map_done(struct conf_map *map);

struct conf_index {
	struct conf_map dests;	 /* domain, .partial */
	struct conf_map sites;	 /* host, .partial, of mx: entries */
	struct conf_map routes;	 /* domain, .partial, ALL */
	struct conf_map senders; /* user@domain, user@, @domain, @.partial */
	struct conf_map tagged;	 /* the same; 1: tagged, 0: not */
	struct conf_map clients; /* conf_net_key() */
	struct conf_map gateways, profiles, listeners;
	bool expiring;			/* some destination has an end */
	bool prefix4[33], prefix6[129]; /* lengths that clients uses */
};
void conf_index_free(struct conf_index *index);

#define CONF_NET_KEY 18
void conf_net_key(const struct conf_net *net, uint8_t out[CONF_NET_KEY]);
/* The address as a network of full length; an IPv4-mapped one as IPv4. */
bool conf_net_from_sa(const struct sockaddr *sa, struct conf_net *ret_net);
/* Clear the bits behind the prefix. */
void conf_net_mask(struct conf_net *net, unsigned prefix);

/* ---- errors -------------------------------------------------------------- */

/* Add one; never fails loudly: without memory it is only counted. */
void conf_error_add(struct conf_errors *errs, const char *file, uint32_t line,
    uint32_t column, bool warning, const char *fmt, va_list ap)
    __attribute__((format(printf, 6, 0)));
/* Sort, and keep what CONF_ERRORS_KEPT allows. */
void conf_errors_finish(struct conf_errors *errs);
/* ", did you mean 'x'?" or "", for a mistyped word. */
const char *conf_hint(const char *word, const char *const *words, size_t n,
    char *buf, size_t len);

/* ---- values and their table (conf_value.c, conf_schema.c) ---------------- */

enum conf_type {
	CONF_V_BOOL,	 /* bool */
	CONF_V_INT,	 /* uint32_t */
	CONF_V_INT64,	 /* uint64_t */
	CONF_V_AUTO,	 /* uint32_t; auto is 0 */
	CONF_V_PORT,	 /* uint16_t */
	CONF_V_MS,	 /* int64_t milliseconds */
	CONF_V_S,	 /* int64_t seconds */
	CONF_V_SIZE,	 /* uint64_t bytes */
	CONF_V_ENUM,	 /* an enum; words in order, by '|' */
	CONF_V_STRING,	 /* const char *; one line */
	CONF_V_TEXT,	 /* const char *; lines kept */
	CONF_V_NAME,	 /* const char *; name of another section */
	CONF_V_HOST,	 /* const char *; a host name */
	CONF_V_HOSTPORT, /* const char *; HOST:PORT */
	CONF_V_URL,	 /* const char *; http://HOST:PORT */
	CONF_V_MAILBOX,	 /* const char *; user@domain, words[0] is NULL */
	CONF_V_PATH,	 /* const char *; absolute */
	CONF_V_STRINGS,	 /* struct conf_strs */
	CONF_V_SENDERS,	 /* struct conf_strs */
	CONF_V_ADDRS,	 /* struct conf_addrs; min: port when none is given */
	CONF_V_IP4,	 /* union conf_addr */
	CONF_V_IP6,	 /* union conf_addr */
	CONF_V_NETS,	 /* struct conf_nets; words: also "none", "special" */
	CONF_V_RATE,	 /* struct conf_rate */
	CONF_V_ROUTE,	 /* struct conf_route: kind, hosts */
	CONF_V_TARGET,	 /* struct conf_log: target, path */
	CONF_V_TIME,	 /* int64_t Unix seconds; 0: none */
	CONF_V_LATER /* only words[0] is possible yet; bool or const char * */
};

struct conf_key {
	const char *name;
	enum conf_type type;
	int64_t min, max;  /* in units of the stored value */
	const char *def;   /* as one would write it; NULL: empty */
	const char *words; /* CONF_V_ENUM, CONF_V_BOOL, ... */
	size_t offset;	   /* in the section's struct */
	const char *help;
};

/* Also the order in which sections are taken: what is referred to first. */
enum conf_section_id {
	CONF_S_CERTIFICATE,
	CONF_S_CREDENTIAL,
	CONF_S_PROFILE,
	CONF_S_POSTERN,
	CONF_S_TRUST,
	CONF_S_RESOLVER,
	CONF_S_MTA_STS,
	CONF_S_QUEUE,
	CONF_S_DELIVERY,
	CONF_S_LOG,
	CONF_S_ADMIN,
	CONF_S_CLUSTER,
	CONF_S_VERIFICATION,
	CONF_S_LISTENER,
	CONF_S_GATEWAY,
	CONF_S_DEFAULT, /* [DEFAULT] of destinations.conf */
	CONF_S_DESTINATION,
	CONF_S_ROUTE,
	CONF_S_COUNT
};
struct conf_section {
	const char *title; /* as documents show it: "listener NAME" */
	const char *kind;  /* first word of the header; NULL: a domain */
	bool named;	   /* the header has a name */
	enum conf_table table;
	const struct conf_key *keys;
	size_t n_keys; /* at most CONF_KEYS_MAX */
	size_t size;   /* of the section's struct */
	const char *help;
};
#define CONF_KEYS_MAX 32
extern const struct conf_section conf_schema[CONF_S_COUNT];

/* Index of a key, or -1. */
int conf_key_find(const struct conf_section *s, const char *name, size_t len);

/*
 * Read one value (text is terminated and may be scribbled on) into the struct
 * at base. 0; PE_SYNTAX with what was found and wanted in err; or -ENOMEM.
 * dir makes relative paths absolute; NULL leaves them.
 */
int conf_value_parse(struct conf *conf, const struct conf_key *key, char *text,
    const char *dir, void *base, char *err, size_t err_len);
/*
 * Host or domain name: U-labels to A-labels, lower case, no trailing dot.
 * out holds 256 bytes. false when it is no name; *ret_why then says so.
 */
bool conf_domain_normalise(
    const char *text, size_t len, char *out, const char **ret_why);

/* ---- formatting (conf_format.c) ------------------------------------------ */

struct conf_unit {
	const char *suffix;
	uint64_t factor;
};
extern const struct conf_unit conf_units_ms[], conf_units_s[],
    conf_units_size[]; /* ended by suffix NULL */
/* The shortest exact way to write it: 90 s is "90s", 120 s is "2m". */
void conf_unit_format(
    const struct conf_unit *units, uint64_t n, char *buf, size_t len);
/* "from 1s to 1h" */
void conf_unit_range(const struct conf_unit *units, const struct conf_key *key,
    char *buf, size_t len);
/* The index-th of "a|b|c", or NULL. */
const char *conf_word_at(const char *words, int index, char *buf, size_t len);
/* "a, b or c" */
void conf_words_list(const char *words, char *buf, size_t len);
/* The value as it would be written. Cut at len. Returns buf. */
const char *conf_value_format(
    const struct conf_key *key, const void *base, char *buf, size_t len);
/* "2027-01-31T00:00:00Z", "" for 0. 24 bytes are enough. Returns buf. */
const char *conf_time_format(int64_t unix_s, char *buf, size_t len);
/* "whole number from 1 to 10000", "none | offered": for documents. */
const char *conf_value_type(const struct conf_key *key, char *buf, size_t len);

/* ---- building (conf_build.c) --------------------------------------------- */

/* A name fit for certificates, gateways, listeners, profiles. */
bool conf_name_ok(const char *name);

#endif
