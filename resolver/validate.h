/*
 * validate.h - answers that this process validates itself (dnssec = validate):
 * libunbound asks the name servers that are set, or the root and down where
 * none is, and checks every signature from the trust anchor on.
 *
 * Called by local.c and resolver.c. Nobody's AD bit is believed here. A build
 * without libunbound has these functions too; validator_new() then fails.
 *
 * libunbound keeps keys and delegations. Answers are kept in cache.c alone: its
 * own cache of messages is made as small as it goes, so that "ask past the
 * cache" and dnsflush mean what they say.
 */
#ifndef POSTERN_RESOLVER_VALIDATE_H
#define POSTERN_RESOLVER_VALIDATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct resolver_settings;
struct validation; /* one question on its way */
struct validator;

enum validated {
	VALIDATED_FAILED,   /* no answer was to be had: an outage */
	VALIDATED_BOGUS,    /* an answer came and is not to be believed */
	VALIDATED_INSECURE, /* proven to be unsigned */
	VALIDATED_SECURE,
};

/* pkt is the whole reply when secure or insecure, else NULL; text says why a
 * bogus one is bogus, else "". Borrowed. */
typedef void validation_cb(void *arg, enum validated how, const uint8_t *pkt,
    size_t len, const char *text);

/* Opens no file; sockets at the first question. 0, -ENOMEM, -EINVAL (a trust
 * anchor that is none), PE_NOT_FOUND (built without libunbound). */
int validator_new(uv_loop_t *loop, const struct resolver_settings *settings,
    struct validator **ret_validator);

/* No callback follows. Not from inside one. NULL is fine. */
void validator_free(struct validator *v);

/*
 * Ask. *slot is the question on its way, and NULL before cb is called, which may
 * be from inside this call. 0; PE_FULL, -ENOMEM: nothing was asked.
 */
int validator_ask(struct validator *v, const char *name, uint16_t type,
    struct validation **slot, validation_cb *cb, void *arg);

/* The callback will not come any more; libunbound goes on by itself, and that is
 * counted until it ends. NULL is fine. */
void validation_forget(struct validation *q);

/* How many it works on, forgotten ones too. */
size_t validator_open(const struct validator *v);

#endif
