/*
 * test_check_doc.c - sts check, policyd's part: each way that discovery can end,
 * and what is told of each step. What was not tried is never "ok".
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#include "lib/base/buf.h"
#include "lib/json/json.h"
#include "policyd/check_doc.h"

/* "txt=ok address=skipped ..." of a document. */
static void
results(const char *doc, char *out, size_t len)
{
	const char *step = doc, *result;
	size_t at = 0;

	out[0] = '\0';
	while ((step = strstr(step, "\"step\":\"")) != NULL) {
		step += 8;
		result = strstr(step, "\"result\":\"");
		assert_non_null(result);
		result += 10;
		at += (size_t)snprintf(out + at, len - at, "%s%.*s=%.*s",
		    at > 0 ? " " : "", (int)strcspn(step, "\""), step,
		    (int)strcspn(result, "\""), result);
	}
}

static const struct {
	const char *name;
	struct check_found found;
	const char *want;
	const char *says; /* somewhere */
} cases[] = {
	{ "good",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_USABLE, .announced = 1, .id = "7" },
		.tried = true,
		.stage = CHECK_POLICY,
		.why = STS_FETCH_OK,
		.addresses = "192.0.2.1",
		.policy = { .mode = STS_MODE_NONE, .max_age_s = 60 } },
	    "txt=ok address=ok connect=ok certificate=ok policy=ok",
	    "192.0.2.1" },
	{ "by a proxy",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_USABLE, .announced = 1, .id = "7" },
		.tried = true,
		.stage = CHECK_POLICY,
		.why = STS_FETCH_STATUS,
		.reason = "HTTP status 404" },
	    "txt=ok address=ok connect=ok certificate=ok policy=error",
	    "by the proxy" },
	{ "not used",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_NONE, .reason = "no TXT record" },
		.tried = true,
		.stage = CHECK_ADDRESS,
		.why = STS_FETCH_DNS,
		.reason = "address of mta-sts.a.example: nxdomain" },
	    "txt=warning address=skipped connect=skipped certificate=skipped "
	    "policy=skipped",
	    "does not use MTA-STS" },
	{ "two records",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_NONE,
		    .announced = 2,
		    .reason = "2 records" },
		.tried = true,
		.stage = CHECK_ADDRESS,
		.why = STS_FETCH_DNS,
		.reason = "x" },
	    "txt=error address=error connect=skipped certificate=skipped "
	    "policy=skipped",
	    "exactly one record" },
	{ "a certificate",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_USABLE, .announced = 1, .id = "7" },
		.tried = true,
		.stage = CHECK_CERTIFICATE,
		.why = STS_FETCH_CERT,
		.reason = "expired",
		.addresses = "192.0.2.1" },
	    "txt=ok address=ok connect=ok certificate=error policy=skipped",
	    "from a public CA" },
	{ "TXT hangs: nothing was tried",
	    { .stage = CHECK_ADDRESS,
		.why = STS_FETCH_TIMEOUT,
		.reason = "no policy within 18 s" },
	    "txt=error address=error connect=skipped certificate=skipped "
	    "policy=skipped",
	    "no answer in time" },
	{ "the policy host hangs: its address was found",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_USABLE, .announced = 1, .id = "7" },
		.tried = true,
		.stage = CHECK_CONNECT,
		.why = STS_FETCH_TIMEOUT,
		.reason = "no policy within 18 s" },
	    "txt=ok address=ok connect=error certificate=skipped "
	    "policy=skipped",
	    "\"found\"" },
	{ "our own trouble: no step is good",
	    { .have_txt = true,
		.txt = { .outcome = STS_TXT_USABLE, .announced = 1, .id = "7" },
		.stage = CHECK_POLICY,
		.why = STS_FETCH_INTERNAL,
		.reason = "this node has no CA certificates" },
	    "txt=ok address=skipped connect=skipped certificate=skipped "
	    "policy=error",
	    "no fault of the owner" },
};

static void
test_steps(void **state)
{
	char got[512], text[64 * 1024];
	struct check_found f;
	struct buf doc;
	struct json j;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f = cases[i].found;
		(void)snprintf(f.domain, sizeof(f.domain), "a.example");
		buf_init(&doc, sizeof(text) - 1);
		json_init(&j, &doc);
		check_put(&j, &f, 1000);
		assert_int_equal(j.err, 0);
		memcpy(text, buf_data(&doc), buf_len(&doc));
		text[buf_len(&doc)] = '\0';
		buf_done(&doc);
		results(text, got, sizeof(got));
		if (strcmp(got, cases[i].want) != 0)
			fail_msg("%s: %s", cases[i].name, got);
		if (strstr(text, cases[i].says) == NULL)
			fail_msg("%s: %s", cases[i].name, text);
	}
}

/* Every end has a step that it belongs to, and something to do. */
static void
test_stages(void **state)
{
	int why;

	(void)state;
	for (why = 0; why < STS_FETCH_WHY_COUNT; why++)
		assert_true(
		    check_stage((enum sts_fetch_why)why) < CHECK_STAGES);
	assert_int_equal(check_stage(STS_FETCH_REFUSED), CHECK_ADDRESS);
	assert_int_equal(check_stage(STS_FETCH_PROXY), CHECK_CONNECT);
	assert_int_equal(check_stage(STS_FETCH_CERT), CHECK_CERTIFICATE);
	assert_int_equal(check_stage(STS_FETCH_REDIRECT), CHECK_POLICY);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_steps),
		cmocka_unit_test(test_stages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
