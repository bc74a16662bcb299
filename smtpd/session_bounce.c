/*
 * session_bounce.c - bounce verification at intake: is this recipient one whose
 * mail leaves tagged, and does the tag show that the bounce answers such mail?
 *
 * Called by session_cmd.c for each RCPT. What a tag is stands in
 * lib/mail/prvs.h; whose mail is tagged in [bounce-verification]. A tag that is
 * wrong is refused whoever brings it. A bounce without one is looked at only
 * where the client may not relay: our own hosts send each other notices that
 * never passed here. Never refuses mail that is no bounce for want of a tag.
 */
#include <stdio.h>
#include <string.h>

#include "lib/base/clock.h"
#include "lib/conf/conf.h"
#include "lib/log/log.h"
#include "lib/mail/prvs.h"
#include "smtpd/session_int.h"

static enum bounce
refuse(struct session *s, const char *address, const char *why)
{
	log_event(LOG_INFO, "bounce_refused",
	    &(struct log_fields){
		.icid = s->c.icid, .mid = s->txn->mid, .to = address },
	    "MID %llu ICID %llu To: <%s> Rejected by bounce verification: %s",
	    (unsigned long long)s->txn->mid, (unsigned long long)s->c.icid,
	    LOG_Q(address), why);
	session_mistake(s, 550, SMTP_STATUS(5, 7, 1), why);
	return BOUNCE_REFUSED;
}

/* A null sender, and no tag. */
static enum bounce
untagged(struct session *s, const char *address)
{
	switch (s->c.conf->verification.untagged) {
	case CONF_UNTAGGED_MARK:
		s->txn->untagged = true;
		break;
	case CONF_UNTAGGED_ACCEPT:
		break;
	case CONF_UNTAGGED_REJECT:
	default:
		return refuse(s, address,
		    "The bounce is no answer to a message from here");
	}
	return BOUNCE_TAKEN;
}

enum bounce
session_bounce(struct session *s, char address[ADDR_MAX + 1])
{
	const struct conf *conf = s->c.conf;
	bool bounce = s->txn->sender[0] == '\0';
	char plain[ADDR_MAX + 1];
	enum prvs_result tag;

	if (s->c.bounce_keys == NULL || s->c.bounce_keys->current < 0)
		return BOUNCE_NOT_OURS;
	tag =
	    prvs_check(s->c.bounce_keys, address, clock_now_ms() / CLOCK_DAY_MS,
		(unsigned)(conf->verification.lifetime_s * 1000 / CLOCK_DAY_MS),
		plain);
	if (!conf_bounce_verifies(conf, tag == PRVS_UNTAGGED ? address : plain))
		return BOUNCE_NOT_OURS;
	if (tag == PRVS_UNTAGGED)
		return bounce && !s->may_relay ? untagged(s, address)
					       : BOUNCE_NOT_OURS;
	if (tag == PRVS_FORGED)
		return refuse(s, address, "The tag of the address is not ours");
	/* who answers a person may take longer (BATV-05) */
	if (tag == PRVS_EXPIRED && (bounce || !s->may_relay))
		return refuse(s, address, "The tag of the address has expired");
	memcpy(address, plain, strlen(plain) + 1);
	return BOUNCE_VERIFIED;
}
