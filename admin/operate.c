/*
 * operate.c - resources for operators that concern more than one recipient, or
 * the text of a message. As api.c: check, ask the owner, pass its answer on.
 */
#include "admin/api.h"

#include <string.h>

static void
ask_queue(struct work *w, const struct adm_call *call)
{
	if (!api_want_ask(w))
		return;
	/* walks over the whole queue take their time */
	if (ask_one(w->ask, ROLE_QUEUE, 0, call, ASK_EXPLAIN_TIMEOUT_MS) < 0)
		http_error(w->req, 503, "admin", "out of memory");
	else
		api_go(w, api_pass);
}

void
operate_oldest(struct work *w)
{
	const struct adm_call call = { .op = ADM_OLDMESSAGE,
		.args = { "", "", "", "" } };

	ask_queue(w, &call);
}

void
operate_body(struct work *w)
{
	const char *offset = http_arg(w->req, "offset");
	struct adm_call call = { .op = ADM_BODY,
		.args = { offset != NULL ? offset : "0", "", "", "" } };
	uint64_t n;

	if (!api_parse_u64(w->param, UINT64_MAX, &call.num) || call.num == 0)
		(void)api_bad(w, "a MID is a number in decimal");
	else if (!api_parse_u64(call.args[0], INT64_MAX, &n))
		(void)api_bad(w, "offset is a number of bytes");
	else
		ask_queue(w, &call);
}
