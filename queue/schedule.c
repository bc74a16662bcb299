/*
 * schedule.c - retry times. Pure. Source: destination-controls, section 4.
 */
#include "queue/schedule.h"

enum { WAIT_MIN_MS = 1000 };

/* Spread the bits of a seed (splitmix64 by Sebastiano Vigna, public domain). */
static uint64_t
mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15ULL;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
	x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
	return x ^ (x >> 31);
}

int64_t
schedule_wait_ms(const struct schedule *s, uint32_t attempts, uint64_t seed)
{
	int64_t wait = s->first_ms, span;
	uint32_t i;

	for (i = 1; i < attempts && wait < s->max_ms; i++)
		wait = wait > s->max_ms / 2 ? s->max_ms : wait * 2;
	if (wait > s->max_ms)
		wait = s->max_ms;
	/* a number of milliseconds in -jitter % .. +jitter % */
	span = wait / 100 * s->jitter;
	if (span > 0)
		wait += (int64_t)(mix(seed) % (uint64_t)(2 * span + 1)) - span;
	return wait < WAIT_MIN_MS ? WAIT_MIN_MS : wait;
}

bool
schedule_over(uint32_t attempts, uint32_t max_retries)
{
	return attempts > max_retries;
}

bool
schedule_delay_notice(int64_t now_s, int64_t accepted_s, int64_t interval_s,
    uint32_t sent, uint32_t max, uint32_t attempts)
{
	if (interval_s <= 0 || sent >= max || attempts < 2)
		return false;
	return now_s - accepted_s >= interval_s * ((int64_t)sent + 1);
}
