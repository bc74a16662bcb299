/*
 * peer_admin.h - shared by the files that answer admin (peer_admin*.c) only.
 */
#ifndef POSTERN_QUEUE_PEER_ADMIN_H
#define POSTERN_QUEUE_PEER_ADMIN_H

#include "queue/queue.h"

#include "lib/json/json.h"

enum {
	DOC_MAX = 8 << 20, /* bytes of one document */
	LIST_DEFAULT = 1000,
	LIST_MAX = 10000,
	ACTS_MAX = 64,	   /* calls under way on one channel */
	SCAN_SLICE = 4000, /* records looked at in one turn */
};

struct qact;

struct qadmin {
	LIST_ENTRY(qadmin) link;
	struct queue *q;
	uint32_t instance;
	struct adm_peer peer;
	struct ipc_chan *chan;
	LIST_HEAD(qact_list, qact)
	acts; /* calls that take more than one turn */
	uint32_t n_acts;
};

/* A call under way; outlives its channel (admin is then NULL). */
struct qact {
	LIST_ENTRY(qact) link;
	struct qadmin *admin;
	struct queue *q;
	uint64_t req_id;
};

typedef int admin_handler(
    struct qadmin *a, uint64_t req_id, const struct adm_call *m);

/* look (peer_admin_look.c, peer_admin_top.c) */
admin_handler admin_tophosts, admin_hoststatus, admin_showrecipients,
    admin_showmessage, admin_why;
/* peer_admin_msg.c */
admin_handler admin_oldmessage, admin_body;
/* suspended, down or up */
const char *admin_dest_state(const struct queue *q, const struct rec_dest *d);
/* The word for a class of messages (msg_class()); NULL for ordinary ones. */
const char *admin_class(uint32_t cls);
/* act (peer_admin_act.c) */
admin_handler admin_message, admin_delivernow, admin_suspend;
/* act on many (peer_admin_mass.c) */
admin_handler admin_end_recipients;
/* numbers (peer_admin.c) */
admin_handler admin_metrics, admin_status;

/* Begin an act; NULL when there are too many. end: the answer is given (or
 * nobody is there to get it) and its channel forgets it. */
struct qact *admin_act_new(struct qadmin *a, uint64_t req_id, size_t size);
void admin_act_end(struct qact *act);
void admin_act_changed(struct qact *act, uint64_t n); /* answers and ends */
void admin_act_refuse(struct qact *act, uint16_t code, const char *text);

/* Answer with a message's recipients, and its envelope; 404. */
int admin_one_message(
    struct qadmin *a, uint64_t req_id, uint64_t mid, bool envelope);

/* Send doc, or say why it could not be made. */
int admin_answer(
    struct qadmin *a, uint64_t req_id, const struct json *j, struct buf *doc);

/* RFC 3339 or null for 0. */
void admin_json_time(struct json *j, const char *name, int64_t unix_s);
uint32_t admin_limit(uint64_t num);

#endif
