/*
 * conf_value_time.c - a moment in settings: a date, or a date and a time.
 *
 * A date alone is the whole of that day, UTC: it ends at midnight. Called by
 * the reader's table in conf_value.c and by conf_format.c. Pure.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "lib/conf/conf_value.h"

/* Exactly n digits at p; *ret their number. */
static bool
digits(const char *p, size_t n, int lo, int hi, int *ret)
{
	size_t i;

	*ret = 0;
	for (i = 0; i < n; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*ret = *ret * 10 + (p[i] - '0');
	}
	return *ret >= lo && *ret <= hi;
}

static bool
read_date(const char *p, struct tm *tm)
{
	struct tm back;
	time_t t;
	int year, month, day;

	if (!digits(p, 4, 1970, 9999, &year) || p[4] != '-' ||
	    !digits(p + 5, 2, 1, 12, &month) || p[7] != '-' ||
	    !digits(p + 8, 2, 1, 31, &day))
		return false;
	*tm = (struct tm){
		.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day
	};
	back = *tm;
	t = timegm(&back); /* moves 31 February on to March */
	(void)t;
	return back.tm_mday == day;
}

/* Seconds that "+02:00" is ahead of UTC; false when it is no zone. */
static bool
read_zone(const char *p, int64_t *ret_s)
{
	int hours, minutes;

	*ret_s = 0;
	if (strcasecmp(p, "Z") == 0)
		return true;
	if ((p[0] != '+' && p[0] != '-') || !digits(p + 1, 2, 0, 23, &hours) ||
	    p[3] != ':' || !digits(p + 4, 2, 0, 59, &minutes) || p[6] != '\0')
		return false;
	*ret_s = (hours * 3600 + minutes * 60) * (p[0] == '-' ? -1 : 1);
	return true;
}

int
conf_read_time(struct conf_value *v, char *text)
{
	static const char wanted[] =
	    "a date (2027-01-31, to its end in UTC) or a time "
	    "(2027-01-31T18:00Z, 2027-01-31T18:00:00+02:00)";
	int64_t zone_s = 0, t;
	struct tm tm;
	char *p = text + 10;

	if (!read_date(text, &tm))
		return conf_value_bad(v, text, "%s", wanted);
	if (*p == '\0') {
		t = (int64_t)timegm(&tm) + 86400;
	} else {
		if ((*p != 'T' && *p != 't' && *p != ' ') ||
		    !digits(p + 1, 2, 0, 23, &tm.tm_hour) || p[3] != ':' ||
		    !digits(p + 4, 2, 0, 59, &tm.tm_min))
			return conf_value_bad(v, text, "%s", wanted);
		p += 6;
		if (*p == ':') {
			if (!digits(p + 1, 2, 0, 59, &tm.tm_sec))
				return conf_value_bad(v, text, "%s", wanted);
			p += 3;
		}
		if (!read_zone(p, &zone_s))
			return conf_value_bad(v, text, "%s", wanted);
		t = (int64_t)timegm(&tm) - zone_s;
	}
	*(int64_t *)v->out = t;
	return 0;
}

const char *
conf_time_format(int64_t unix_s, char *buf, size_t len)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	buf[0] = '\0';
	if (unix_s != 0 && gmtime_r(&t, &tm) != NULL)
		(void)strftime(buf, len, "%Y-%m-%dT%H:%M:%SZ", &tm);
	return buf;
}
