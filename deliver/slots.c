/*
 * slots.c - how many destinations this worker takes at one time.
 *
 * It asks queue for DEST_SLOTS. When all of them are in use, one where nothing
 * came about for SLOW_MS no longer counts, and another is asked for: a crowd of
 * slow servers must not stop the mail to all others. Up to DEST_SLOW_MAX may
 * wait like that; the connections of the node have their own limit.
 *
 * Called by dest.c and conn.c, and by a timer that runs while there are any.
 */
#include "deliver/deliver.h"

#include "lib/base/clock.h"

static void
on_tick(uv_timer_t *timer)
{
	struct deliver *d = timer->data;

	slots_check(d);
	if (d->n_dests == 0)
		(void)uv_timer_stop(timer);
}

void
slots_init(struct deliver *d)
{
	(void)uv_timer_init(d->child->loop, &d->slots_timer); /* never fails */
	d->slots_timer.data = d;
}

void
slots_take(struct dest *dst)
{
	struct deliver *d = dst->d;

	d->n_dests++;
	dst->moved_ms = clock_mono_ms();
	if (!uv_is_active((uv_handle_t *)&d->slots_timer))
		(void)uv_timer_start(
		    &d->slots_timer, on_tick, SLOTS_TICK_MS, SLOTS_TICK_MS);
}

void
slots_moved(struct dest *dst)
{
	dst->moved_ms = clock_mono_ms();
}

bool
slots_give(struct dest *dst)
{
	dst->d->n_dests--;
	dst->d->n_slow -= dst->slow;
	return !dst->slow;
}

void
slots_check(struct deliver *d)
{
	int64_t before_ms = clock_mono_ms() - SLOW_MS;
	struct dest *dst;
	uint32_t n = 0;

	if (d->n_dests - d->n_slow < DEST_SLOTS)
		return;
	LIST_FOREACH(dst, &d->dests, all) {
		if (d->n_slow >= DEST_SLOW_MAX)
			break;
		if (dst->slow || dst->moved_ms > before_ms)
			continue;
		dst->slow = true;
		d->n_slow++;
		n++;
	}
	queue_want(d, n);
}
