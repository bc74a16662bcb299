/*
 * clock.h - the only place that asks what time it is.
 *
 * Intervals use the monotonic clock in milliseconds; stored times are Unix
 * seconds. Tests move both with clock_test_advance_ms().
 */
#ifndef POSTERN_BASE_CLOCK_H
#define POSTERN_BASE_CLOCK_H

#include <stddef.h>
#include <stdint.h>

#define CLOCK_DAY_MS INT64_C(86400000)

int64_t clock_mono_ms(void); /* never goes back */
int64_t clock_now_s(void);   /* Unix seconds; may jump */
int64_t clock_now_ms(void);  /* Unix milliseconds; may jump */

/* Move this process's clocks forward (or the wall clock back). Tests only. */
void clock_test_advance_ms(int64_t delta_ms);
void clock_test_jump_wall_s(int64_t delta_s);

/* RFC 5322 date with numeric zone, always UTC: "Tue, 24 Nov 2026 07:40:00 +0000".
 * Writes at most len bytes with terminator; 32 are enough. Returns buf. */
const char *clock_format_rfc5322(int64_t unix_s, char *buf, size_t len);

/* The frame of the text log: "Tue Nov 24 07:40:00 2026", local zone as UTC. */
const char *clock_format_log(int64_t unix_s, char *buf, size_t len);

/* RFC 3339 with milliseconds and Z: "2026-11-24T07:40:00.123Z"; 25 bytes. */
const char *clock_format_rfc3339(int64_t unix_ms, char *buf, size_t len);

#endif
