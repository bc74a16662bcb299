/*
 * addr.c - addr check: is this a mail address? Offline, for people and corpora.
 */
#include "ctl/ctl.h"
#include "lib/mail/addr.h"

#include <string.h>

static const struct ctl_field fields[] = {
	{ "address", CTL_ONE, true },
	{ NULL, CTL_ONE, false },
};

static json_t *
answer(
    struct ctl *ctl, json_t *question, int *ret_code, char *why, size_t why_len)
{
	json_t *address = json_object_get(question, "address");
	struct addr_verdict v;

	(void)ctl;
	(void)why;
	(void)why_len;
	addr_check(json_string_value(address), json_string_length(address), &v);
	*ret_code = v.valid ? CTL_DONE : CTL_NO;
	return json_pack("{s:b, s:b, s:s}", "smtp_valid", v.valid,
	    "needs_smtputf8", v.needs_utf8, "reason",
	    v.reason != NULL ? v.reason : "");
}

int
cmd_addr_check(struct ctl *ctl, const struct args *a)
{
	return ctl_check(ctl, a, fields, answer);
}
