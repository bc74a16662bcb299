/*
 * fds.c - descriptors are for connections and for the files of large messages,
 * and there may be few of them (a container allows 1024 by default).
 *
 * Called by conn.c and conn_mail.c before either is asked for. A socket that
 * cannot be had would look like a host that is down, and a file that cannot be
 * received would break the channel to queue, so both keep within what there is:
 * a third for connections, the rest for files and as many again as connections,
 * since each may have one message whatever is left.
 */
#include "deliver/deliver.h"

#include <sys/resource.h>

#include "lib/base/clock.h"

/* What all of it may use now; the limit may be moved from outside. */
static size_t
fds_usable(void)
{
	struct rlimit rl;

	if (getrlimit(RLIMIT_NOFILE, &rl) < 0 || rl.rlim_cur == RLIM_INFINITY)
		return SIZE_MAX;
	return rl.rlim_cur > FDS_KEPT ? (size_t)rl.rlim_cur - FDS_KEPT : 0;
}

bool
fds_take(struct conn *c)
{
	struct deliver *d = c->d;
	uint32_t skipped = 0;

	if (c->has_fd)
		return true;
	if (d->n_open + d->n_closing >= fds_usable() / 3 && d->n_open > 0) {
		d->fds_short_ms = clock_mono_ms();
		if (log_limit_ok(&d->fds_log, 1, 60 * 1000, &skipped))
			log_warn("out_of_descriptors",
			    "deliver: connections wait, as open files are "
			    "limited (%u more times)",
			    skipped);
		return false;
	}
	c->has_fd = true;
	d->n_open++;
	return true;
}

void
fds_give(struct conn *c)
{
	if (c->has_fd)
		c->d->n_open--;
	c->has_fd = false;
}

uint32_t
fds_for_messages(const struct deliver *d, uint32_t want)
{
	size_t used =
	    (size_t)d->n_open + d->n_closing + d->n_files + d->n_asked;
	size_t usable = fds_usable();
	size_t room = usable > used ? (usable - used) / 2 : 0;

	return room < 1 ? 1 : want < room ? want : (uint32_t)room;
}

static bool
short_since(const struct deliver *d, int64_t ms)
{
	return d->fds_short_ms != 0 && clock_mono_ms() - d->fds_short_ms < ms;
}

bool
fds_are_short(const struct deliver *d)
{
	return short_since(d, FDS_SHORT_MS);
}

const char *
fds_alert(const struct deliver *d)
{
	return short_since(d, FDS_ALERT_MS)
	    ? "as many connections as open files allow: others waited in "
	      "the last minute"
	    : NULL;
}
