/*
 * inquiry.h - what inquiry.c and its documents share.
 */
#ifndef POSTERN_DELIVER_INQUIRY_H
#define POSTERN_DELIVER_INQUIRY_H

#include "deliver/deliver.h"

struct inquiry;
struct json;

/* The document of explain, from facts and verdict alone, up to "limits". */
void inquiry_put_explain(struct json *j, const struct plan *p);

/* hosts of tlsverify, and "live" of explain, into the array that is open. */
void inquiry_put_host(
    struct json *j, const struct plan *p, const struct probe_host *ph);

/* Our steps of sts check, into the array that is open: the policy in force and
 * the MX hosts; n may be 0 when nothing was connected to. */
void inquiry_put_check(struct json *j, const struct plan *p,
    const struct probe_host *hosts, size_t n);

/* Steps of one connection: it, and STARTTLS. Into the array that is open. */
void inquiry_put_connection(struct json *j, const struct probe_host *ph);

/* The step of a host that no connection goes to. */
void inquiry_put_skipped(struct json *j, const struct verdict_host *vh);

/* inquiry_dane.c: the steps of dane check, as above. */
void inquiry_put_dane_check(struct json *j, const struct plan *p,
    const struct probe_host *hosts, size_t n);

const char *inquiry_mode_word(enum facts_sts_mode mode);

/*
 * inquiry_with.c: replace facts of a plan that nobody else has, by "NAME=VALUE" lines, and judge
 * anew. False, and why.
 */
bool inquiry_replace(
    struct plan *p, const char *lines, char *why, size_t why_len);

#endif
