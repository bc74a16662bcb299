/*
 * clock.c - time for everyone, movable by tests. Never allocates. All text is
 * UTC and C locale, whatever the environment says.
 */
#include "lib/base/clock.h"

#include <stdio.h>
#include <time.h>

/* File scope on purpose: one process has one idea of time. */
static int64_t mono_shift_ms;
static int64_t wall_shift_ms;

static int64_t
read_ms(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

int64_t
clock_mono_ms(void)
{
	return read_ms(CLOCK_MONOTONIC) + mono_shift_ms;
}

int64_t
clock_now_ms(void)
{
	return read_ms(CLOCK_REALTIME) + wall_shift_ms;
}

int64_t
clock_now_s(void)
{
	return clock_now_ms() / 1000;
}

void
clock_test_advance_ms(int64_t delta_ms)
{
	mono_shift_ms += delta_ms;
	wall_shift_ms += delta_ms;
}

void
clock_test_jump_wall_s(int64_t delta_s)
{
	wall_shift_ms += delta_s * 1000;
}

static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri",
	"Sat" };
static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
	"Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

static void
split(int64_t unix_s, struct tm *ret_tm)
{
	time_t t = (time_t)unix_s;

	if (gmtime_r(&t, ret_tm) == NULL) {
		t = 0;
		(void)gmtime_r(&t, ret_tm); /* 1970 always converts */
	}
}

const char *
clock_format_rfc5322(int64_t unix_s, char *buf, size_t len)
{
	struct tm tm;

	split(unix_s, &tm);
	(void)snprintf(buf, len, "%s, %d %s %d %02d:%02d:%02d +0000",
	    days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
	    tm.tm_hour, tm.tm_min, tm.tm_sec);
	return buf;
}

const char *
clock_format_log(int64_t unix_s, char *buf, size_t len)
{
	struct tm tm;

	split(unix_s, &tm);
	(void)snprintf(buf, len, "%s %s %2d %02d:%02d:%02d %d",
	    days[tm.tm_wday], months[tm.tm_mon], tm.tm_mday, tm.tm_hour,
	    tm.tm_min, tm.tm_sec, tm.tm_year + 1900);
	return buf;
}

const char *
clock_format_rfc3339(int64_t unix_ms, char *buf, size_t len)
{
	struct tm tm;

	split(unix_ms / 1000, &tm);
	(void)snprintf(buf, len, "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
	    tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min,
	    tm.tm_sec, (int)(unix_ms % 1000));
	return buf;
}
