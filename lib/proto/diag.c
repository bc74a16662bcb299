/*
 * diag.c - steps of a diagnosis as JSON (diag.h).
 */
#include "lib/proto/diag.h"
#include "lib/json/json.h"

#include <stdarg.h>
#include <stdio.h>

const char *
diag_word(enum diag_result result)
{
	static const char *const words[] = {
		[DIAG_OK] = "ok",
		[DIAG_SKIPPED] = "skipped",
		[DIAG_WARNING] = "warning",
		[DIAG_ERROR] = "error",
	};

	return words[result];
}

void
diag_put(struct json *j, const char *step, const char *subject,
    enum diag_result result, const char *todo, const char *fmt, ...)
{
	char text[DIAG_TEXT];
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	json_put_obj(j, NULL);
	json_put_str(j, "step", step);
	json_put_str(j, "subject", subject);
	json_put_str(j, "result", diag_word(result));
	json_put_str(j, "text", text);
	json_put_str(j, "do", todo);
	json_put_end_obj(j);
}
