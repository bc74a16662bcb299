/*
 * record_doc.c - a stored policy as JSON (record_doc.h).
 *
 * Called by peer_admin.c and check_doc.c.
 */
#include "policyd/record_doc.h"

#include "lib/base/clock.h"
#include "lib/json/json.h"
#include "policyd/record.h"

static void
put_time(struct json *j, const char *name, int64_t unix_s)
{
	char text[32];

	json_put_str(
	    j, name, clock_format_rfc3339(unix_s * 1000, text, sizeof(text)));
}

void
record_doc_facts(struct json *j, const struct policy_record *rec, int64_t now_s)
{
	json_put_str(j, "mode", sts_mode_word(rec->policy.mode));
	json_put_str(j, "id", rec->id);
	json_put_int(j, "age_s", now_s - rec->fetched_s);
	json_put_uint(j, "max_age_s", rec->policy.max_age_s);
	json_put_uint(j, "failures", rec->failures);
}

void
record_doc_error(struct json *j, const struct policy_record *rec)
{
	json_put_str(
	    j, "last_error", rec->error[0] != '\0' ? rec->error : NULL);
}

void
record_doc_mx(struct json *j, const char *list, size_t len)
{
	const char *text;
	size_t at = 0;

	json_put_arr(j, "mx");
	while ((text = sts_list_next(list, len, &at)) != NULL)
		json_put_str(j, NULL, text);
	json_put_end_arr(j);
}

static void
put_head(struct json *j, const struct policy_record *rec, int64_t now_s)
{
	json_put_str(j, "domain", rec->domain);
	record_doc_facts(j, rec, now_s);
	put_time(j, "expires", record_expires_s(rec));
}

void
record_doc_line(struct json *j, const struct policy_record *rec, int64_t now_s)
{
	json_put_obj(j, NULL);
	put_head(j, rec, now_s);
	json_put_end_obj(j);
}

void
record_doc_whole(struct json *j, const struct policy_record *rec, int64_t now_s)
{
	json_put_obj(j, NULL);
	put_head(j, rec, now_s);
	put_time(j, "fetched", rec->fetched_s);
	put_time(j, "used", rec->used_s);
	put_time(j, "next_refresh", rec->refresh_s);
	record_doc_error(j, rec);
	record_doc_mx(j, rec->policy.list, rec->policy.list_len);
	json_put_strn(j, "text", rec->text, rec->text_len);
	json_put_bool(j, "text_truncated", rec->text_len >= RECORD_TEXT_MAX);
	json_put_end_obj(j);
}
