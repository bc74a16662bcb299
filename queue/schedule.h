/*
 * schedule.h - when to try again: pure arithmetic on settings.
 */
#ifndef POSTERN_QUEUE_SCHEDULE_H
#define POSTERN_QUEUE_SCHEDULE_H

#include <stdbool.h>
#include <stdint.h>

/* The first wait, doubled each time up to the longest, spread by jitter. */
struct schedule {
	int64_t first_ms, max_ms;
	uint32_t jitter; /* percent, both ways */
};

/*
 * Milliseconds to wait after this many attempts (1: after the first). The
 * jitter comes from seed, so that the recipients of one message stay together
 * and a test can know it. Never under 1000 ms.
 */
int64_t schedule_wait_ms(
    const struct schedule *s, uint32_t attempts, uint64_t seed);

/* Are the attempts used up? max_retries counts those after the first. */
bool schedule_over(uint32_t attempts, uint32_t max_retries);

/*
 * Is a delay notice due? Only from the second attempt on; the n-th when n
 * intervals have passed since acceptance; at most max of them. interval_s 0:
 * never.
 */
bool schedule_delay_notice(int64_t now_s, int64_t accepted_s,
    int64_t interval_s, uint32_t sent, uint32_t max, uint32_t attempts);

#endif
