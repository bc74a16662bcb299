/*
 * conf_value.h - what the readers of single values share.
 */
#ifndef POSTERN_CONF_CONF_VALUE_H
#define POSTERN_CONF_CONF_VALUE_H

#include "lib/conf/conf_int.h"

struct conf_value {
	struct conf *conf;
	const struct conf_key *key;
	const char *dir;
	void *base; /* the section's struct */
	void *out;  /* the field in it */
	char *err;
	size_t err_len;
};

/* Say what was found and what was wanted. Returns PE_SYNTAX. */
int conf_value_bad(struct conf_value *v, const char *found, const char *fmt,
    ...) __attribute__((format(printf, 3, 4)));

/* Decimal digits only, no more than max. */
bool conf_value_digits(const char *s, size_t len, uint64_t max, uint64_t *ret);

/* A copy in the set. 0 or -ENOMEM. */
int conf_value_keep(struct conf_value *v, const char *text, const char **ret);

/* Position of text in "a|b|c", or -1. */
int conf_word_index(const char *words, const char *text);

/* How many elements a list has, at most. */
size_t conf_value_count(const char *text);

/*
 * Elements of size each into the arena, each read by one(); an empty element
 * is refused except behind the last comma.
 */
int conf_value_list(struct conf_value *v, char *text, size_t size,
    int (*one)(struct conf_value *v, char *text, void *out), size_t *ret_n,
    void **ret_v);

/* Readers of conf_value_net.c: 0, PE_SYNTAX (told) or -ENOMEM. */
int conf_read_host(struct conf_value *v, char *text);
int conf_read_hostport(struct conf_value *v, char *text);
int conf_read_url(struct conf_value *v, char *text);
int conf_read_mailbox(struct conf_value *v, char *text);
int conf_read_senders(struct conf_value *v, char *text);
int conf_read_addrs(struct conf_value *v, char *text);
int conf_read_ip(struct conf_value *v, char *text);
int conf_read_nets(struct conf_value *v, char *text);
int conf_read_route(struct conf_value *v, char *text);
/* conf_value_time.c */
int conf_read_time(struct conf_value *v, char *text);

#endif
