/*
 * test_record_doc.c - a stored policy as JSON: the field names of docs/api.md,
 * to the letter.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "policyd/record.h"
#include "policyd/record_doc.h"

static char list[] = "mx.a.example\0*.b.example"; /* with its last NUL */
static char text[RECORD_TEXT_MAX];

static struct policy_record
sample(void)
{
	struct policy_record r = { .domain = "a.example",
		.id = "7",
		.fetched_s = 1000,
		.used_s = 1010,
		.refresh_s = 1050,
		.policy = { .mode = STS_MODE_ENFORCE,
		    .max_age_s = 60,
		    .n_mx = 2,
		    .list = list,
		    .list_len = sizeof(list) },
		.text = text,
		.text_len = 3 };

	memcpy(text, "v\n\x01", 3);
	return r;
}

#define HEAD                                                           \
	"{\"domain\":\"a.example\",\"mode\":\"enforce\",\"id\":\"7\"," \
	"\"age_s\":5,\"max_age_s\":60,\"failures\":0,"                 \
	"\"expires\":\"1970-01-01T00:17:40.000Z\""

static void
check(void (*put)(struct json *, const struct policy_record *, int64_t),
    const struct policy_record *rec, const char *want)
{
	struct buf doc;
	struct json j;

	buf_init(&doc, 1 << 20);
	json_init(&j, &doc);
	put(&j, rec, 1005);
	assert_int_equal(j.err, 0);
	assert_int_equal(buf_put(&doc, "", 1), 0);
	assert_string_equal((const char *)buf_data(&doc), want);
	buf_done(&doc);
}

static void
test_line(void **state)
{
	struct policy_record rec = sample();

	(void)state;
	check(record_doc_line, &rec, HEAD "}");
}

static void
test_whole(void **state)
{
	struct policy_record rec = sample();

	(void)state;
	check(record_doc_whole, &rec,
	    HEAD ",\"fetched\":\"1970-01-01T00:16:40.000Z\","
		 "\"used\":\"1970-01-01T00:16:50.000Z\","
		 "\"next_refresh\":\"1970-01-01T00:17:30.000Z\","
		 "\"last_error\":null,"
		 "\"mx\":[\"mx.a.example\",\"*.b.example\"],"
		 "\"text\":\"v\\u000a\\u0001\",\"text_truncated\":false}");
}

/* What is kept of a long text is its beginning, and that is said. */
static void
test_cut(void **state)
{
	struct policy_record rec = sample();
	struct buf doc;
	struct json j;

	(void)state;
	memset(text, 'x', sizeof(text));
	rec.text_len = sizeof(text);
	rec.failures = 2;
	memcpy(rec.error, "timeout", 8);
	buf_init(&doc, 1 << 20);
	json_init(&j, &doc);
	record_doc_whole(&j, &rec, 1005);
	assert_int_equal(j.err, 0);
	assert_int_equal(buf_put(&doc, "", 1), 0);
	assert_non_null(
	    strstr((const char *)buf_data(&doc), "\"text_truncated\":true"));
	assert_non_null(strstr((const char *)buf_data(&doc), "\"failures\":2"));
	assert_non_null(
	    strstr((const char *)buf_data(&doc), "\"last_error\":\"timeout\""));
	buf_done(&doc);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_line),
		cmocka_unit_test(test_whole),
		cmocka_unit_test(test_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
