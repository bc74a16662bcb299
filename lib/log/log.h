/*
 * log.h - one line per event, as text in the manner of mail_logs or as JSON.
 *
 * Every process calls log_init() once with the descriptor it inherited. Lines
 * are gathered and written once per turn of the loop (log_flush()). This is the
 * one place that escapes text from outside: control bytes and broken UTF-8 can
 * never start a new line or a false field.
 */
#ifndef POSTERN_LOG_LOG_H
#define POSTERN_LOG_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum log_level { LOG_CRITICAL, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_TRACE };
enum log_format { LOG_TEXT, LOG_JSON, LOG_SYSLOG };

/*
 * The named fields of one event (specification: control.md, "Log"). Zero, NULL
 * and has_* false mean absent. Strings are borrowed for the call.
 */
struct log_fields {
	uint64_t icid, mid, dcid;
	uint32_t rid;
	bool has_rid, has_size, has_delay, has_preference;
	uint16_t port;
	const char *from, *to, *domain, *gateway, *host, *address;
	const char *level_wanted, *level_proven, *protocol, *cipher, *peer_name;
	const char *rule, *policy_id, *outcome, *reply, *status, *reason;
	uint64_t size;	  /* bytes */
	int64_t delay_ms; /* since acceptance */
};

/* fd is kept, not owned. proc names the process in JSON and syslog lines. */
void log_init(
    int fd, enum log_format format, enum log_level level, const char *proc);

/* Another target, or the same descriptor that leads elsewhere now. */
void log_set_fd(int fd);

/* Nobody reads at the other end any more, and never will: a new target is
 * wanted. */
bool log_target_gone(void);

/* After a reload. */
void log_set(enum log_format format, enum log_level level);

bool log_wants(enum log_level level);

/*
 * One event. event is a stable snake_case name (JSON field `event`); f may be
 * NULL; fmt is the text line, which JSON carries as `text`. Text from outside
 * inside the line goes through LOG_Q().
 */
void log_event(enum log_level level, const char *event,
    const struct log_fields *f, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* Without named fields. */
#define log_info(event, ...)  log_event(LOG_INFO, event, NULL, __VA_ARGS__)
#define log_warn(event, ...)  log_event(LOG_WARNING, event, NULL, __VA_ARGS__)
#define log_debug(event, ...) log_event(LOG_DEBUG, event, NULL, __VA_ARGS__)

/* Write what is gathered. Cheap when there is nothing. */
void log_flush(void);

/* Lines that could not be written since the start (log target full or gone). The
 * log says so by itself when it takes lines again. */
uint64_t log_lost(void);

/*
 * Copy text for use between single quotes: quotes, backslashes, control bytes
 * and bytes over 0x7e become backslash escapes; cut with "..." at len. Valid
 * UTF-8 is kept. Returns buf.
 */
const char *log_quote(char *buf, size_t len, const char *text);
const char *log_quote_bytes(char *buf, size_t len, const void *data, size_t n);
#define LOG_Q(text) log_quote((char[320]){ 0 }, 320, (text))

/*
 * At most burst lines of one kind in each window; the rest are counted and the
 * next line that passes says how many were left out. Returns true when the
 * caller may log; *ret_skipped is then the number left out before it.
 */
struct log_limit {
	int64_t window_start_ms;
	uint32_t in_window, skipped;
};
bool log_limit_ok(struct log_limit *l, uint32_t burst, int64_t window_ms,
    uint32_t *ret_skipped);

/* Say why at Critical, flush, exit with EXIT_CODE_FATAL of lib/proc/exit.h. */
_Noreturn void fatal(const char *fmt, ...)
    __attribute__((format(printf, 1, 2)));

#endif
