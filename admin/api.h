/*
 * api.h - what the handlers of the HTTP interface share: a request on its way,
 * and the questions it puts.
 */
#ifndef POSTERN_ADMIN_API_H
#define POSTERN_ADMIN_API_H

#include "admin/admin.h"
#include "lib/mail/addr.h"

#include <jansson.h>

struct work {
	struct admin *admin;
	struct http_req *req;
	struct ask *ask;
	void (*finish)(struct work *w);
	const char *param; /* what stands for * in the path; "" */
	char domain[ADDR_DOMAIN_MAX + 1];
	bool detail;
};

/* w->ask is there; false after the answer 503. */
bool api_want_ask(struct work *w);
/* The questions are put: finish now, or when the last answer is here. */
void api_go(struct work *w, void (*finish)(struct work *w));
/* One owner's document as it is. */
void api_pass(struct work *w);
/* Answers 400 and returns false. */
bool api_bad(struct work *w, const char *text);
bool api_parse_u64(const char *text, uint64_t max, uint64_t *ret);
/* At most ADM_ARG_MAX bytes, or api_bad(). */
bool api_fits(struct work *w, const char *text);
/* The body as an object with no fields but these; NULL after the answer. */
json_t *api_want_body(struct work *w, const char *const *known);

/* operate.c: more than one recipient, or the text of a message. */
void operate_oldest(struct work *w);
void operate_body(struct work *w);
void operate_delete(struct work *w);
void operate_bounce(struct work *w);
void operate_suspend_listener(struct work *w);
void operate_resume_listener(struct work *w);

/* config.c: settings that are staged, committed, rolled back. */
void config_get(struct work *w);
void config_post(struct work *w);
void config_changes(struct work *w);
void config_impact(struct work *w);
void config_commit(struct work *w);
void config_discard(struct work *w);
void config_rollback(struct work *w);
void config_history(struct work *w);

#endif
