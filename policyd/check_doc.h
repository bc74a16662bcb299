/*
 * check_doc.h - what a check found out, and its document: facts and steps.
 *
 * Pure. Field names and step words are a contract (docs/api.md). Says what was
 * seen and whose turn it is; what was not tried is never told as good.
 */
#ifndef POSTERN_POLICYD_CHECK_DOC_H
#define POSTERN_POLICYD_CHECK_DOC_H

#include "lib/sts/fetch.h"
#include "lib/sts/txt.h"
#include "policyd/record.h"

#include <stdbool.h>
#include <stdint.h>

struct json;

/* How far the fetch came: where it failed, or the last when it did not. */
enum check_stage {
	CHECK_ADDRESS,
	CHECK_CONNECT,
	CHECK_CERTIFICATE,
	CHECK_POLICY,
	CHECK_STAGES
};

struct check_found {
	bool have_txt;
	struct sts_txt txt;
	bool tried; /* the steps before stage were gone through */
	enum check_stage stage;
	enum sts_fetch_why why;
	char reason[256], addresses[512];
	struct sts_policy policy; /* when why is OK */
	bool stored;
	struct policy_record rec; /* when stored */
	char domain[DNS_NAME_SIZE];
};

/* Where a fetch stops that ends like this. */
enum check_stage check_stage(enum sts_fetch_why why);

void check_put(struct json *j, const struct check_found *found, int64_t now_s);

#endif
