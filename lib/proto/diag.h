/*
 * diag.h - one step of a diagnosis, as every process tells it: what was looked
 * at, how it stands, and what to do.
 *
 * {step, subject, result: "ok"|"warning"|"error"|"skipped", text, do}; do is
 * null where there is nothing to do. The words of `step` are a contract
 * (docs/api.md). Used by policyd and deliver for `posternctl sts check`,
 * `tlsverify` and `explain --live`. Never looks at anything itself.
 */
#ifndef POSTERN_PROTO_DIAG_H
#define POSTERN_PROTO_DIAG_H

struct json;

enum diag_result { DIAG_OK, DIAG_SKIPPED, DIAG_WARNING, DIAG_ERROR };

enum { DIAG_TEXT = 1024 };

/* "ok", "skipped", "warning", "error". */
const char *diag_word(enum diag_result result);

/* todo: for the operator, or NULL. Texts over DIAG_TEXT are cut. */
void diag_put(struct json *j, const char *step, const char *subject,
    enum diag_result result, const char *todo, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));

#endif
