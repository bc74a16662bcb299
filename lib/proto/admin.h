/*
 * admin.h - admin -> every process: look and act, answered as JSON or metrics.
 *
 * One CALL, answered by DATA × n (IPC_CREDIT, pieces of one JSON document, or of
 * one encoded metrics list for ADM_METRICS) and END, all under the request id
 * of the call. admin never acts without asking the owner. The operations are
 * the commands of posternctl; which process answers which is in adm_op_owner().
 */
#ifndef POSTERN_PROTO_ADMIN_H
#define POSTERN_PROTO_ADMIN_H

#include "lib/ipc/wire.h"
#include "lib/proto/roles.h"

#include <stdint.h>

enum {
	ADM_CALL = 96, /* admin -> owner */
	ADM_DATA,      /* owner -> admin, IPC_CREDIT, raw bytes */
	ADM_END,       /* owner -> admin */
};

enum {
	ADM_ARGS = 4,
	ADM_ARG_MAX = 1024,
	ADM_TEXT_ARG = 2,	  /* of ADM_CONFIG this one may be longer: */
	ADM_TEXT_MAX = 60 * 1024, /* a part of a text to import */
	ADM_PIECE_MAX = 64 * 1024,
	ADM_BODY_PIECE = 256 * 1024, /* bytes of a message in one answer */
};

enum adm_op {
	ADM_METRICS,	    /* everyone; payload of DATA: metrics_encode() */
	ADM_STATUS,	    /* everyone: a JSON object about itself */
	ADM_TOPHOSTS,	    /* queue: arg0 sort word, num limit */
	ADM_HOSTSTATUS,	    /* queue, deliver: arg0 domain */
	ADM_SHOWRECIPIENTS, /* queue: arg0 "host"|"from"|"all", arg1 value, num
			     * limit */
	ADM_SHOWMESSAGE,    /* queue: num MID */
	ADM_REMOVEMESSAGE,  /* queue: num MID */
	ADM_HOLD,	    /* queue: num MID */
	ADM_UNHOLD,	    /* queue: num MID */
	ADM_DELIVERNOW,	    /* queue: arg0 domain or "" for all */
	ADM_SUSPENDDEL,	    /* queue: arg0 domain or "" for all */
	ADM_RESUMEDEL,	    /* queue: the same */
	ADM_WHY,	    /* queue: num MID */
	ADM_EXPLAIN,	   /* deliver: arg0 address or domain, arg1 sender, arg2
			     * client address, arg3 facts to replace
			     * ("NAME=VALUE" lines), num 1: connect too */
	ADM_DNSFLUSH,	   /* resolver: arg0 name or "" */
	ADM_RELOAD,	   /* supervisor */
	ADM_DRAIN,	   /* supervisor: num deadline in ms */
	ADM_STS_LIST,	   /* policyd: arg0 names behind this one, num limit */
	ADM_STS_SHOW,	   /* policyd: arg0 domain */
	ADM_STS_REFRESH,   /* policyd: arg0 domain */
	ADM_STS_CHECK,	   /* policyd, then deliver: arg0 domain */
	ADM_DANE_CHECK,	   /* deliver: arg0 domain */
	ADM_TLSVERIFY,	   /* deliver: arg0 domain, arg1 host or "" */
	ADM_CONFIG,	   /* supervisor: num verb | number << 8, arg0 kin, arg1
			  * entry or message, arg2 pairs, arg3 who */
	ADM_OLDMESSAGE,	   /* queue */
	ADM_BODY,	   /* queue: num MID, arg0 offset in decimal */
	ADM_ENDRECIPIENTS, /* queue: arg0, arg1 as SHOWRECIPIENTS, num ADM_END_ */
	ADM_SUSPENDLISTENER, /* supervisor: arg0 name or "" for all */
	ADM_RESUMELISTENER,
	ADM_OP_COUNT
};

/* Of ADM_ENDRECIPIENTS: bounced, not removed; only counted. */
enum { ADM_END_BOUNCE = 1, ADM_END_DRY_RUN = 2 };

/*
 * Verbs of ADM_CONFIG. kin: "destconfig", "smtproutes", "altsrchost",
 * "bounceconfig". pairs: "key=value", separated by CONFIG_PAIR_END; an empty
 * value behind '=' is one, a key without '=' is taken away.
 */
enum config_verb {
	CONFIG_LIST, /* arg0 kin, arg1 names behind this one, number limit */
	CONFIG_SHOW, /* arg0, arg1 */
	CONFIG_NEW,
	CONFIG_EDIT,
	CONFIG_DELETE,
	CONFIG_CLEAR,	 /* arg0: every entry but DEFAULT */
	CONFIG_CHANGES,	 /* what is staged, and does it hold together; arg2:
			  * lines "recipients domain" of mail that waits, for
			  * what it would change for them */
	CONFIG_COMMIT,	 /* arg1 message */
	CONFIG_DISCARD,	 /* what is staged */
	CONFIG_ROLLBACK, /* number revision, 0: the one before */
	CONFIG_HISTORY,
	CONFIG_IMPORT, /* arg0, arg2 a part of a table's text, number: 1 when it
			* is the last | which part, from 0, << 1. The table
			* becomes this text's sections, as one edit */
	CONFIG_VERBS
};
#define CONFIG_PAIR_END '\x1e'

/*
 * The documents. Fields may be added, none changed; times are RFC 3339 text,
 * null where there is none; "state" of a destination is "up", "down",
 * "throttled", "suspended" or "unknown"; of a recipient "queued" (due now),
 * "deferred", "active" (with a worker), "held", "suspended". posternctl prints
 * them, docs/api.md tells them to everyone else.
 *
 * STATUS        what the process thinks of itself; free, flat where possible
 * TOPHOSTS      {hosts: [{domain, gateway, class (null, "requiretls" or
 *               "tls-required-no"), state, active, connections,
 *               delivered, soft, hard}]} sorted by the word in arg0 ("active",
 *               "connections", "delivered", "soft", "hard"), at most num
 * HOSTSTATUS    queue: {domain, destinations: [{gateway, class, state, active (queued
 *               recipients), deferred, in_flight, delivered, soft, hard,
 *               suspended, retries, next_attempt, last_error}]}, 404 when it
 *               knows none; deliver: {domain, destinations: [{gateway,
 *               connections, last_5xx, last_tls_error, hosts: [{host, address,
 *               state}]}]}, an empty list when it knows none
 * SHOWRECIPIENTS {recipients: [{mid, rid, sender, address, gateway, state,
 *               attempts, next_attempt, size}], truncated: bool}
 * SHOWMESSAGE   {mid, sender, size, accepted, expires, held, listener,
 *               recipients: [as in WHY]}
 * OLDMESSAGE    as SHOWMESSAGE, of the message that was accepted first; 404 when
 *               there is none
 * BODY          {mid, size, offset, data: base64 of at most ADM_BODY_PIECE
 *               bytes}; fewer only at the end
 * ENDRECIPIENTS {changed, recipients, messages, in_flight, dry_run}: ended, how
 *               many were chosen, of how many messages, left alone
 * WHY           {mid, recipients: [{rid, address, state, reason, attempts,
 *               last_reply, next_attempt, expires}]}
 * EXPLAIN       control.md, "JSON that others rely on"
 * SUSPENDLISTENER, RESUMELISTENER {changed: how many listeners}, 404
 * REMOVEMESSAGE, HOLD, UNHOLD, DELIVERNOW, SUSPENDDEL, RESUMEDEL, DNSFLUSH
 *               {changed: how many recipients, destinations or cache entries}
 * RELOAD        {generation, warnings: [text]}; refused with 409 and the first
 *               problem as text
 * DRAIN         {deadline_ms}, before anything stops
 * STS_LIST      {policies: [{domain, mode, id, age_s, max_age_s, expires,
 *               failures}], truncated: bool} in order of names
 * STS_SHOW      {domain, mode, id, fetched, age_s, max_age_s, expires, used,
 *               next_refresh, failures, last_error, mx: [text], text}, 404
 *               when there is none
 * STS_REFRESH   {domain, state, reason, source, mode, id, age_s, max_age_s,
 *               mx}, when the fetch has ended
 * STS_CHECK     policyd: {domain, txt: {outcome, id, reason}, fetch: {result,
 *               reason, mode, max_age_s, mx} or null, stored: {…} or null,
 *               steps}; deliver: {domain, sts (as in EXPLAIN), steps}; steps
 *               are those of lib/proto/diag.h, answered within 20 and 25 s
 * DANE_CHECK    {domain, gateway, outcome, reason, text, steps} within 25 s
 * TLSVERIFY     {domain, gateway, sts, outcome, reason, text, hosts: [{host,
 *               address, port, verdict, result, reason, text, rule,
 *               level_wanted, level_proven, protocol, cipher, names_wanted,
 *               verified_name, certificate: {names, trusted, error} or null,
 *               steps}]}, 404 when the host is none of the domain; EXPLAIN has
 *               the same list as "live" when it was asked to connect
 */
struct adm_call {
	enum adm_op op;
	uint64_t num;
	const char *args[ADM_ARGS]; /* "" when absent */
};
void adm_call_encode(struct ipc_wr *w, const struct adm_call *m);
int adm_call_decode(struct ipc_rd *r, struct adm_call *ret);

/* code 0: done. Else an HTTP-like number (400, 404, 409, 503) and the reason;
 * what came as DATA before is then void. */
struct adm_end {
	uint16_t code;
	const char *text;
};
void adm_end_encode(struct ipc_wr *w, const struct adm_end *m);
int adm_end_decode(struct ipc_rd *r, struct adm_end *ret);

struct ipc_chan;
struct buf;

/*
 * Owner's side: answer call req_id with the whole document in doc, in pieces,
 * then END{0}. When the credit is short the rest waits in the adm_reply below
 * and goes out in the channel's on_room. A document over the bound of doc is
 * the caller's to avoid (limits on lists).
 */
struct adm_reply {
	struct adm_reply *next;
	uint64_t req_id;
	size_t sent, len;
	uint8_t data[]; /* len bytes */
};
struct adm_peer {
	struct ipc_chan *chan;
	struct adm_reply *first, **last; /* replies that wait for credit */
};
void adm_peer_init(struct adm_peer *p, struct ipc_chan *chan);
void adm_peer_done(struct adm_peer *p);
int adm_reply(struct adm_peer *p, uint64_t req_id, const struct buf *doc);
int adm_refuse(
    struct adm_peer *p, uint64_t req_id, uint16_t code, const char *text);
void adm_peer_room(struct adm_peer *p); /* from on_room */

#endif
