/*
 * conn_ops.c - what a session asks of its surroundings, for one client.
 *
 * Called by the session that conn.c drives, and by auth.c with its answers.
 * Never touches the socket, and never calls back into the session from within
 * one of its calls.
 */
#include <assert.h>

#include "smtpd/smtpd.h"

static enum session_queue
op_queue_state(void *arg, const char **ret_text)
{
	struct conn *c = arg;

	return peer_queue_state(&c->d->queue, ret_text);
}

static uint64_t
op_mid_take(void *arg)
{
	struct conn *c = arg;

	return peer_queue_id(&c->d->queue, ID_MID);
}

static bool
op_envelope_room(void *arg)
{
	struct conn *c = arg;

	return peer_queue_envelope_room(&c->d->queue);
}

static size_t
op_data_room(void *arg)
{
	struct conn *c = arg;

	return peer_queue_data_room(&c->d->queue);
}

static int
op_begin(void *arg, uint64_t mid, const struct submit_begin *m)
{
	struct conn *c = arg;

	return peer_queue_begin(&c->d->queue, c, mid, m);
}

static int
op_rcpt(void *arg, uint64_t mid, const struct submit_rcpt *m)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	return peer_queue_rcpt(&c->d->queue, c->sub, m);
}

static int
op_data(void *arg, uint64_t mid, const struct iovec *iov, size_t n)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	return peer_queue_data(&c->d->queue, c->sub, iov, n);
}

static int
op_commit(void *arg, uint64_t mid, const struct submit_commit *m)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	return peer_queue_commit(&c->d->queue, c->sub, m);
}

static void
op_abort(void *arg, uint64_t mid)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	peer_queue_abort(&c->d->queue, c->sub);
}

static void
op_leave(void *arg, uint64_t mid)
{
	struct conn *c = arg;

	assert(c->sub != NULL && c->sub->mid == mid);
	peer_queue_leave(&c->d->queue, c->sub);
}

static void
count_auth(struct smtpd *d, enum session_auth result)
{
	if (result == SESSION_AUTH_OK)
		d->stats.auth_ok++;
	else if (result == SESSION_AUTH_FAILED)
		d->stats.auth_failed++;
	else if (result == SESSION_AUTH_BUSY)
		d->stats.auth_busy++;
}

/* Too many wrong ones from this client: whatever it says now is not looked at,
 * so that a right guess does not show. */
static bool
may_guess(struct conn *c)
{
	const struct conf_rate *rate =
	    &c->site->l->max_auth_failures_per_client;
	uint32_t skipped = 0;

	if (guesses_take(
		c->d->guesses, c->limit->listener, c->limit->key, rate))
		return true;
	c->d->stats.auth_limited++;
	if (log_limit_ok(&c->d->guess_log, 5, 60 * 1000, &skipped))
		log_event(LOG_WARNING, "auth_limited",
		    &(struct log_fields){
			.icid = c->icid, .address = c->address },
		    "ICID %llu authentication of %s not tried: %u failures in "
		    "%u minutes from there (%u more not logged)",
		    (unsigned long long)c->icid, c->address, rate->count,
		    rate->minutes, skipped);
	return false;
}

/* What did not fail is no guess. */
static void
no_guess(struct conn *c, enum session_auth result)
{
	if (result != SESSION_AUTH_FAILED && result != SESSION_AUTH_PENDING)
		guesses_give_back(
		    c->d->guesses, c->limit->listener, c->limit->key);
}

static enum session_auth
op_auth(void *arg, const char *user, const char *password)
{
	struct conn *c = arg;
	enum session_auth result;

	if (c->site->users == NULL)
		return SESSION_AUTH_FAILED;
	if (!may_guess(c))
		return SESSION_AUTH_BUSY;
	result =
	    auth_check(c->d->auth, c->site->users, user, password, c, &c->job);
	count_auth(c->d, result);
	no_guess(c, result);
	return result;
}

static void
op_auth_cancel(void *arg)
{
	struct conn *c = arg;

	if (c->job != NULL)
		auth_job_cancel(c->job);
	c->job = NULL;
}

void
conn_auth_done(void *owner, enum session_auth result)
{
	struct conn *c = owner;

	c->job = NULL;
	count_auth(c->d, result);
	no_guess(c, result);
	session_auth_done(c->s, result);
	conn_turn(c);
}

static bool
op_reserve(void *arg, ptrdiff_t bytes)
{
	struct smtpd *d = ((struct conn *)arg)->d;

	if (bytes < 0) {
		d->envelopes -= (size_t)-bytes;
		return true;
	}
	if (d->envelopes + (size_t)bytes > ENVELOPES_MAX)
		return false;
	d->envelopes += (size_t)bytes;
	return true;
}

const struct session_ops conn_ops = {
	.queue_state = op_queue_state,
	.mid_take = op_mid_take,
	.envelope_room = op_envelope_room,
	.data_room = op_data_room,
	.begin = op_begin,
	.rcpt = op_rcpt,
	.data = op_data,
	.commit = op_commit,
	.abort = op_abort,
	.leave = op_leave,
	.auth = op_auth,
	.auth_cancel = op_auth_cancel,
	.reserve = op_reserve,
};
