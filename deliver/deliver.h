/*
 * deliver.h - types shared by the files of this process, and who calls whom.
 *
 *	main.c		 the table of hooks
 *	env.c		 what one set of settings means here: trust, certificates
 *	peer_queue.c	 offers, messages, results, leased DCIDs
 *	peer_resolver.c	 questions and answers
 *	peer_policyd.c	 which MTA-STS policy holds
 *	peer_admin.c	 status, metrics, hoststatus
 *	inquiry.c	 explain, tlsverify, and our part of sts check
 *	probe.c		 connections without mail, for these
 *	permits.c	 the right to hold one connection
 *	keep.c		 connections that outlive a reload
 *	pace.c		 recipients per minutes
 *	facts.c		 domain -> plan: facts and verdict, in facts_mx.c (hosts),
 *			 facts_addr.c, facts_dane.c (TLSA records) and
 *			 facts_sts.c (the policy)
 *	plan.c		 a plan as such: settings of the domain, life
 *	address.c	 addresses that are our own
 *	dest.c		 one destination held: plan, connections, state
 *	conn.c		 one connection: permit, socket, session, end; with
 *			 conn_io.c (bytes), conn_tls.c (what it proved) and
 *			 conn_mail.c (its messages)
 *	report.c	 the log lines of attempts
 *	report_policy.c	 those of DANE and MTA-STS
 *	session*.c	 the SMTP client itself, pure
 */
#ifndef POSTERN_DELIVER_DELIVER_H
#define POSTERN_DELIVER_DELIVER_H

#include "lib/base/buf.h"
#include "lib/base/err.h"
#include "lib/conf/conf.h"
#include "lib/mail/prvs.h"
#include "lib/dns/dns.h"
#include "lib/ipc/chan.h"
#include "lib/limits/limits.h"
#include "lib/log/log.h"
#include "lib/proc/child.h"
#include "lib/proto/admin.h"
#include "lib/proto/handoff.h"
#include "lib/proto/policy.h"
#include "lib/tls/client.h"
#include "lib/verdict/verdict.h"

#include "deliver/session.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <uv.h>

enum {
	DEST_SLOTS = 1000,    /* destinations one worker works at */
	DEST_SLOW_MAX = 4000, /* and those that wait for slow servers */
	FDS_KEPT = 64,	      /* descriptors for neither mail nor hosts */
	FDS_ALERT_MS = 60 * 1000,
	FDS_SHORT_MS = 3000, /* those who wait ask each second */
	SLOW_MS = 3000,	     /* without anything accepted: slow */
	SLOTS_TICK_MS = 1000,
	DEST_BUCKETS = 1024,
	PULL_BATCH = 8,	     /* messages one connection holds at most */
	RCPTS_PER_CONN = 10, /* ready recipients worth one connection */
	CAP_REST_S = 60,     /* how long a host that took no more is spared */
	DCID_LEASE = 1000,
	DCID_LOW = 250,
	ADDRS_PER_HOST = 16,
	PLAN_MIN_S = 30,
	PLAN_MAX_S = 3600,
	FRUITLESS_MAX_S = 3600, /* tries of one hold, over several plans */
	PLAN_POLICY_S = 300,	/* where MTA-STS may apply */
	ADMIN_INSTANCES = 4,
	DOC_MAX = 8 * 1024 * 1024, /* bytes of one answer to admin */
};

struct admin_peer;
struct conn;
struct dane_host;
struct dest;
struct deliver;
struct gather;
struct probe_host;
struct tls_info;
struct tls_proved;

/* ---- env.c: one set of settings at work; counted ------------------------------ */

struct env {
	unsigned refs;
	struct conf *conf;
	struct tls_client *tls;
	size_t n_cas;
	struct tls_identity **identities; /* by index in conf->certificates */
	struct conf_delivery session;	  /* timeouts as sessions want them */
	struct prvs_keys bounce_keys;	  /* current -1: nothing is tagged */
};
/* 0, or negative after having logged why. Keeps a reference to conf. */
int env_new(struct conf *conf, struct env **ret_env);
struct env *env_ref(struct env *env);
void env_unref(struct env *env);
/* The client certificate of a destination, or NULL. */
const struct tls_identity *env_identity(
    const struct env *env, const struct conf_certificate *cert);
/* First line of a credential's secret file into buf; false when unreadable. */
bool env_secret(const struct env *env, const struct conf_credential *cred,
    char *buf, size_t len);

/* ---- plan.c, facts.c: domain -> plan ---------------------------------------------------- */

/* Facts and the verdict for messages of one class; counted. Owns all it shows. */
struct plan {
	unsigned refs;
	uint32_t cls; /* msg_class() */
	struct env *env;
	char domain[TEXT_DOMAIN_MAX + 1];
	const struct conf_gateway *gateway; /* of env's settings */
	const struct conf_dest *control;
	const struct conf_route *route; /* NULL: none, or USEDNS */
	struct verdict_settings set;
	char tls_source[TEXT_DOMAIN_MAX + 32];
	struct facts facts;
	struct verdict *verdict;
	bool loop;
	int64_t until_ms; /* monotonic; facts are asked for anew after it */
	struct dane_host *dane; /* that the facts of the hosts borrow from */
	size_t n_dane;
	struct arena *arena;
};
struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p);

/* Never inside gather_start(); plan is the callee's reference, NULL when
 * memory was short. The gather is gone after it. */
typedef void gather_done(void *arg, struct plan *plan);

/* NULL when memory is short. Gateway names no longer known mean "default". */
enum { GATHER_FRESH = 1 /* look for a changed MTA-STS policy */ };
struct gather *gather_start(struct deliver *d, struct env *env,
    const char *domain, const char *gateway, uint32_t cls, unsigned flags,
    gather_done *done, void *arg);
/* Is the policy that the plan was made by the same in both? */
bool plan_same_policy(const struct plan *a, const struct plan *b);
/* keep.c: may a connection of this plan go on under other settings? Only its
 * limits differ, or nothing. */
bool plan_keeps(const struct plan *p, const struct env *env);
/* No callback follows. NULL is fine. */
void gather_cancel(struct gather *g);

/* ---- address.c ------------------------------------------------------------------ */

/* Do the settings forbid to go there because DNS says so? Not to be asked of
 * what a route names. */
bool address_denied(
    const struct conf_delivery *set, const uint8_t *ip, bool v6);
/* Address and port. Both are set. */
bool address_same(const union conf_addr *a, const union conf_addr *b);
/* Does one of our own listeners answer at this address and port? here: it is
 * known to be an address of this machine. */
bool address_is_own(
    const struct conf *conf, const union conf_addr *addr, bool here);

/* ---- peer_resolver.c ------------------------------------------------------------- */

struct ask;
/* answer is borrowed, never NULL (indeterminate when nobody answered), and
 * never inside ask_start(). */
typedef void ask_done(void *arg, const struct dns_answer *answer);
/* flags: RESOLVE_* of lib/proto/resolve.h. */
struct ask *ask_start(struct deliver *d, const char *name, uint16_t type,
    uint32_t flags, ask_done *done, void *arg);
void ask_cancel(struct ask *a);

/* ---- peer_policyd.c --------------------------------------------------------------- */

struct want;
/* answer is borrowed, never NULL (indeterminate when nobody answered), and
 * never inside want_start(). */
typedef void want_done(void *arg, const struct policy_answer *answer);
/* fresh: past the DNS cache, see POLICY_FRESH. NULL: memory is short. */
struct want *want_start(struct deliver *d, const char *domain, bool fresh,
    want_done *done, void *arg);
void want_cancel(struct want *w); /* NULL is fine */

/* ---- memo.c: what is remembered of a destination beyond its hold ------------------ */

enum { MEMOS_MAX = 2048, MEMO_TEXT = 256, MEMO_HOSTS = 16 };

struct memo {
	TAILQ_ENTRY(memo) lru; /* oldest first */
	LIST_ENTRY(memo) bucket;
	uint32_t held; /* destinations that use it now */
	uint32_t turn; /* of the next connection, among equal hosts */
	char domain[TEXT_DOMAIN_MAX + 1], gateway[TEXT_NAME_MAX + 1];
	/* "" when there was none; with the time in front */
	char last_5xx[MEMO_TEXT], last_tls_error[MEMO_TEXT],
	    last_error[MEMO_TEXT];
	const char *state; /* "up", "down", "unknown" */
	size_t n_hosts;
	struct memo_host {
		char host[128], address[64];
		const char *state; /* "up", "down", "untried" */
	} hosts[MEMO_HOSTS];
};
/* The one of a destination, made when there is none. NULL: memory is short,
 * and nothing is remembered then. Give it back with memo_drop(). */
struct memo *memo_hold(
    struct deliver *d, const char *domain, const char *gateway);
void memo_drop(struct memo *m); /* NULL is fine */
/* field is one of the texts above. memo NULL is fine. */
enum memo_field { MEMO_5XX, MEMO_TLS, MEMO_ERROR };
void memo_note(struct memo *m, enum memo_field field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void memo_done(struct deliver *d);

/* ---- messages --------------------------------------------------------------------- */

/* A message that was pulled, until its last recipient was told back. */
struct mail {
	TAILQ_ENTRY(mail) link;
	uint64_t dest_id, mid;
	int64_t accepted_ms;
	struct session_msg msg; /* msg.arg is the mail */
	int fd;			/* body file, or -1 */
	const uint8_t *body;	/* else the body, inside data */
	char *data;		/* all texts and an inline body */
	size_t *files;		/* counts fd while it is open, or NULL */
	bool paced;		/* recipients were granted for it */
};
TAILQ_HEAD(mail_list, mail);
/* Copies m once; takes fd (also on failure). NULL: memory is short. */
struct mail *mail_new(const struct hand_message *m, int fd);
void mail_free(struct mail *mail);

/* ---- dest.c ------------------------------------------------------------------------- */

/* How far a round came with one host of the plan. */
struct host_state {
	size_t addr_at; /* address in use, or next to be tried */
	bool down;	/* all addresses failed, or it refused */
	bool clear;	/* opportunistic TLS failed: clear text from now on */
	bool refused;	/* by 521: it never takes mail */
	bool temporary; /* some trouble there may pass: requiretls_final() */
	enum reason reason;
	char status[12];
	char text[TEXT_REASON_MAX];
};

enum dest_state {
	DEST_ST_GATHER, /* facts are asked for */
	DEST_ST_OPEN,
	DEST_ST_ENDING, /* no new connections; released with the last one */
};

LIST_HEAD(conn_list, conn);

struct dest {
	LIST_ENTRY(dest) all, bucket;
	struct deliver *d;
	uint64_t id;
	char domain[TEXT_DOMAIN_MAX + 1];
	char gateway[TEXT_NAME_MAX + 1];
	uint32_t cls; /* of its messages: msg_class() */
	enum dest_state state;
	struct gather *gather;
	struct plan *plan;
	struct host_state *hosts; /* as many as the verdict has */
	struct conn_list conns;
	uint32_t n_conns;
	uint32_t open_pulls; /* not answered yet; held until they are */
	uint32_t ready, retries;
	uint32_t cap;	      /* connections allowed by the ramp */
	uint32_t cap_max;     /* it took no more than these, 0: not known */
	int64_t cap_until_ms; /* monotonic; then more are tried again */
	uint32_t mailmax;     /* learnt: messages per connection, 0: unknown */
	uint32_t turn;	      /* for hosts that take turns */
	int64_t moved_ms;     /* offered, or the last message accepted */
	int64_t failing_ms;   /* first failure since a message was, or 0 */
	bool slow;	      /* counts in n_slow */
	bool looked;	      /* for a changed policy, in this hold */
	bool told_up;
	bool stale; /* DNS could not renew the plan: no new connections by it */
	bool running, rerun; /* dest_run() is at work; come back */
	struct memo *memo;
};

void dest_offer(struct deliver *d, const struct hand_offer *m);
void dest_more(struct deliver *d, const struct hand_more *m);
/* The settings changed: what is open leaves after its message, and the next
 * connections are made by the new ones. */
void dest_reload(struct deliver *d);
/* Finish what is open there and release it (CLOSE, drain, lost queue). */
void dest_close(struct dest *dst);
struct dest *dest_find(struct deliver *d, uint64_t id);
/* Decide what is next: facts, connections, state, release. */
void dest_run(struct dest *dst);
/* A pull was answered; what it gave may have been the last thing to wait for. */
void dest_pull_end(struct dest *dst, uint32_t ready);
/* Queue is gone: everything held is void. */
void dest_drop_all(struct deliver *d);

/* ---- hosts.c: what a hold knows of each host ---- */

/* For a new plan; what failed under the one before is remembered. NULL: no
 * memory. */
struct host_state *hosts_new(const struct dest *dst, const struct plan *plan);
/* A try failed; the next ones do not begin anew until a message is accepted. */
void hosts_failing(struct dest *dst);
/* Why the host is of no use. That TLS failed at one address outweighs an outage
 * of the next: it does not go by itself, and a policy may have changed. */
void hosts_mark(struct dest *dst, struct host_state *hs, enum reason reason,
    const char *status, const char *text);
/* No host took a message, and it was tried for long enough. */
bool hosts_fruitless(const struct dest *dst);

/* ---- fds.c: how many files may be open ---- */

/* May it have a socket? False: it waits, and asks again. */
bool fds_take(struct conn *c);
void fds_give(struct conn *c);
/* Of the messages that are wanted at once, how many may come; at least 1. */
uint32_t fds_for_messages(const struct deliver *d, uint32_t want);
/* Connections wait for a descriptor, so none is kept idle. */
bool fds_are_short(const struct deliver *d);
/* For status; NULL: nothing. */
const char *fds_alert(const struct deliver *d);

/* ---- slots.c: how many destinations are held ------------------------------------- */

void slots_init(struct deliver *d);
/* It came. */
void slots_take(struct dest *dst);
/* Something was accepted there. */
void slots_moved(struct dest *dst);
/* It goes. True: queue is to hear that there is room for another. */
bool slots_give(struct dest *dst);
/* Slow ones make room when all slots are used. Its timer calls it. */
void slots_check(struct deliver *d);

/* ---- requiretls.c: when mail with REQUIRETLS can go nowhere ------------------------- */

/* Does this trouble with a host stay as it is? */
bool requiretls_final(enum reason r);
/* Every host was tried. The status (RFC 8689, 4.2.1) when mail of this class has
 * no host to wait for; NULL when it waits, and for all other mail. */
const char *requiretls_over(const struct dest *dst);

/* From conn.c. The connection is still there, and is freed right after. */
void dest_conn_failed(struct conn *c, enum reason reason, const char *status,
    const char *text, bool next_host);
void dest_conn_closed(struct conn *c, bool lost);
/* A host did not do what the verdict wanted of it: counted by what wanted it. */
void dest_count_refused(
    struct deliver *d, const struct verdict_host *vh, enum reason reason);
void dest_conn_ready(struct conn *c);
void dest_conn_progress(struct conn *c); /* a message got an answer */

/* ---- conn.c ------------------------------------------------------------------------- */

enum conn_state {
	CONN_PERMIT, /* waits for the ledger */
	CONN_DCID,   /* waits for an id */
	CONN_CONNECT,
	CONN_TALK, /* greeting to QUIT, a message included */
	CONN_PULL, /* ready, waits for messages */
	CONN_IDLE, /* ready, nothing to send */
	CONN_CLOSING,
};

struct conn {
	LIST_ENTRY(conn) link;	/* of dest */
	LIST_ENTRY(conn) waits; /* of permits, by request id */
	LIST_ENTRY(conn) pulls; /* of pulls, by request id */
	LIST_ENTRY(conn) paces; /* of questions, by request id */
	struct deliver *d;
	struct dest *dest;	  /* NULL once it only closes, or by a probe */
	struct probe_host *probe; /* whose connection it is: without mail */
	struct plan *plan;
	size_t host; /* index in plan->verdict */
	size_t addr_at;
	union conf_addr addr;
	bool clear;   /* TLS is not tried */
	bool leaving; /* no more messages on it */
	bool resumed;
	enum conn_state state;

	uint64_t permit_req, permit, dcid;
	uv_tcp_t tcp;
	uv_timer_t timer;
	uv_connect_t connect_req;
	uv_write_t write_req;
	bool tcp_open, writing, logged_open;
	bool write_failed; /* nothing goes out any more; it is still read */
	unsigned handles;  /* not closed yet */
	struct buf plain, wire; /* clear text that waits; bytes being written */
	char interface[64], address[64];
	uint16_t port;

	struct session *session;
	struct env *env; /* the session's settings: the plan may change */
	struct tls_link *link_tls;
	struct verdict_proof proof;
	char dane[32];	       /* "3 1 1 depth 0": the record that matched */
	uint64_t progress;     /* of the session when the timer was set */
	bool has_fd;	       /* counts in n_open */
	uint32_t asked;	       /* messages, while pull_req is open */
	int64_t began_ms;      /* monotonic: connected, or this message */
	uint32_t max_messages; /* on this connection */
	uint32_t n_started, n_ok;
	char secret[256];

	/* pace.c: where recipient_limit holds */
	bool paced;
	uint64_t pace_req; /* open question, or 0 */
	uint32_t pace_got; /* recipients granted and not pulled yet */
	bool pull_granted; /* the open pull is for them */

	uint64_t pull_req; /* open pull, or 0 */
	bool pull_empty;   /* nothing came of it so far */
	struct mail_list mails;
	struct mail *current;
};

/* Asks for a permit. NULL when memory is short. */
struct conn *conn_new(
    struct dest *dst, size_t host, size_t addr_at, bool clear);
/* One that carries no mail, for a probe; it is told of each step. */
struct conn *conn_probe(struct deliver *d, struct plan *plan, size_t host,
    size_t addr_at, struct probe_host *probe);
void conn_permit_granted(struct conn *c, uint64_t permit_id);
void conn_permit_later(struct conn *c, uint32_t retry_ms);
void conn_have_dcid(struct conn *c); /* ids came; asks again itself */
/* Messages became due: an idle connection takes them. */
void conn_wake(struct conn *c);
/* Leave: at once when nothing is open there, else after the message. */
void conn_leave(struct conn *c);
/* The facts were asked for anew: does what this connection proved satisfy the
 * new verdict? Then it goes on under it, else it leaves. */
void conn_adopt(struct conn *c, struct plan *plan);
/* Other settings: other limits, or the end. */
void conn_reload(struct conn *c);
/* Cut off, nothing is told to anyone. */
void conn_abort(struct conn *c);
/* Answers to its pull. */
void conn_message(struct conn *c, struct mail *mail); /* takes it */
void conn_pull_end(struct conn *c);
const struct verdict_host *conn_host(const struct conn *c);
bool conn_is_good(const struct conn *c); /* ready for mail, or at it */

/* ---- probe.c: connections as for mail, without mail --------------------------------- */

enum probe_stage {
	PROBE_NOTHING,	 /* nobody answered, or nobody was asked */
	PROBE_CONNECTED, /* a connection, no TLS */
	PROBE_TLS,	 /* the handshake is done */
	PROBE_GOOD,	 /* ready for mail */
};
/* What came of one host. */
struct probe_host {
	struct probe *probe;
	size_t host; /* in the verdict */
	size_t addr_at;
	const struct verdict_host *vh; /* attempt false: not connected to */
	struct conn *conn;	       /* under way, or NULL */
	bool over;
	enum probe_stage stage;
	uint64_t dcid;
	char address[64];   /* last tried; "" when none */
	bool next_host;	    /* it was a word of the host, not of an address */
	char passed[512];   /* addresses passed over, and why; "" */
	enum reason reason; /* why it would get no mail */
	char text[TEXT_REASON_MAX];
	/* with TLS */
	struct verdict_proof proof;
	bool resumed;
	char protocol[16], cipher[64], cert_names[512];
	char cert_error[128]; /* why it is not trusted; "" when it is */
};
/* Comes once, never inside probe_start(); hosts may be used until
 * probe_cancel(), which the callee owes. */
typedef void probe_done(void *arg, const struct probe_host *hosts, size_t n);
/* All hosts of the plan, or only the one of this name, within time_ms. NULL:
 * memory is short. */
struct probe *probe_start(struct deliver *d, struct plan *plan,
    const char *only, int64_t time_ms, probe_done *done, void *arg);
void probe_cancel(struct probe *p); /* NULL is fine */

/* From conn.c. */
void probe_connected(struct probe_host *ph, const struct conn *c);
void probe_tls(struct probe_host *ph, const struct conn *c,
    const struct tls_info *info, const struct tls_proved *proved);
void probe_usable(struct probe_host *ph);
void probe_failed(struct probe_host *ph, const struct conn *c,
    enum reason reason, const char *text, bool next_host);
void probe_closed(struct probe_host *ph);

/* ---- inquiry.c ------------------------------------------------------------------------ */

/* The calls of peer_admin.c's table, and the end of its peer. */
int inquiry_call(
    struct admin_peer *p, uint64_t req_id, const struct adm_call *m);
void inquiries_drop(struct deliver *d, uint32_t instance);

/* ---- permits.c ---------------------------------------------------------------------- */

/* Where a connection goes, as the supervisor counts it. Borrows from plan and
 * address. */
void permit_place(const struct plan *plan, size_t host, const char *address,
    bool tls, struct limits_place *ret);
/* Messages allowed on one connection there. */
uint32_t permit_max_messages(const struct plan *plan, size_t host);
int permit_ask(struct conn *c);
/* Give back, or stop waiting; fine when there is neither. */
void permit_drop(struct conn *c);
void permits_granted(struct deliver *d, uint64_t req_id, uint64_t permit_id);
void permits_wait(
    struct deliver *d, uint64_t req_id, const struct ctl_permit_wait *m);

/* ---- pace.c --------------------------------------------------------------------------- */

/* Does a limit of recipients hold for this connection, by the settings now? */
bool pace_holds(const struct conn *c);
/* Connections that make sense for it; UINT32_MAX without a limit. */
uint32_t pace_conns(const struct plan *plan);
/* Ask for up to want recipients; conn_paced() follows. */
void pace_ask(struct conn *c, uint32_t want);
/* A message has taken of what was granted. */
void pace_take(struct conn *c, struct mail *m);
/* What was granted and is in no message goes back. */
void pace_rest(struct conn *c);
/* A message is over: the host saw its recipients, or certainly did not. */
void pace_done(struct conn *c, const struct mail *m, bool seen);
void pace_forget(struct conn *c); /* no answer is wanted any more */
void pace_granted(
    struct deliver *d, uint64_t req_id, const struct ctl_rcpt_grant *m);
/* conn_mail.c: n recipients may go, or none for this long. */
void conn_paced(struct conn *c, uint32_t n, uint32_t wait_ms);

/* ---- peer_queue.c ------------------------------------------------------------------- */

void queue_peer_new(struct deliver *d, uint32_t instance, int fd);
void queue_peer_close(struct deliver *d);
bool queue_is_up(const struct deliver *d);
/* We work from now on: ask for destinations when the queue is there. */
void queue_start(struct deliver *d);
void queue_want(struct deliver *d, uint32_t slots);
void queue_pull(struct deliver *d, struct conn *c, uint64_t dest_id,
    uint32_t max_messages, uint32_t max_rcpts);
void queue_forget_pull(struct deliver *d, struct conn *c);
/* Tell what came of a message; recipients marked `again` go back as returned. */
void queue_result(struct deliver *d, const struct mail *mail, uint64_t dcid,
    const char *host, const char *address);
/* Not attempted at all. */
void queue_return(struct deliver *d, const struct mail *mail);
void queue_dest_state(struct deliver *d, uint64_t dest_id,
    enum dest_verdict verdict, enum reason reason, const char *status,
    const char *text, const char *host);
/* recipient_limit: nothing for this long. */
void queue_dest_throttled(
    struct deliver *d, uint64_t dest_id, const char *text, uint32_t wait_ms);
void queue_release(struct deliver *d, uint64_t dest_id);
/* A fresh DCID; 0: none at hand, conn_have_dcid() follows. */
uint64_t queue_dcid(struct deliver *d);

/* ---- peer_resolver.c, peer_policyd.c, peer_admin.c ----------------------------------------------------- */

void resolver_peer_new(struct deliver *d, uint32_t instance, int fd);
void resolver_peer_close(struct deliver *d);
void policyd_peer_init(struct deliver *d);
void policyd_peer_new(struct deliver *d, uint32_t instance, int fd);
void policyd_peer_close(struct deliver *d);
struct admin_peer *admin_peer_of(struct deliver *d, uint32_t instance);
/* Send the document in b, or with err refuse; b is done. */
int admin_send(struct admin_peer *p, uint64_t req_id, struct buf *b, int err);
void admin_peer_new(struct deliver *d, uint32_t instance, int fd);
void admin_peers_close(struct deliver *d);

/* ---- report.c ------------------------------------------------------------------------ */

void report_open(const struct conn *c);
void report_connect_error(
    const struct conn *c, const char *details, const char *reason);
void report_close(const struct conn *c);
/* Hosts that have addresses of deny_networks. */
void report_denied(const struct plan *plan);
void report_tls(const struct conn *c, const struct verdict_host *vh,
    const char *protocol, const char *cipher, enum reason weak);
void report_requiretls(const struct conn *c);
void report_tls_refused(
    const struct conn *c, enum reason reason, const char *text);
void report_start(const struct conn *c, const struct mail *m);
void report_result(const struct conn *c, const struct mail *m);
/* Words for an enhanced status code: "Bad destination email address". */
const char *report_status_words(const char *status);
/* "('421', ['4.3.2 try again later'])" */
const char *report_reply(
    uint16_t code, const char *reply, char *buf, size_t len);

/* ---- report_policy.c --------------------------------------------------------------------- */

/* A plan was made: what DANE and MTA-STS say, and the hosts they leave out. */
void report_plan(const struct plan *plan);
/* A policy in mode testing would not have let this connection pass. */
void report_shadow(const struct conn *c, enum reason why, const char *text);
/* The host proved what DANE, or a policy in force, asked of it. */
void report_met(const struct conn *c, const struct verdict_host *vh);
/* A host that DANE would have prove itself did not. */
void report_dane_failed(
    const struct plan *plan, const struct verdict_host *vh, const char *text);

/* ---- the process ---------------------------------------------------------------------- */

struct counters {
	uint64_t connections, connect_errors, tls_ok, tls_failed, clear,
	    messages, delivered, deferred, failed, returned, bytes, dest_up,
	    dest_down, dest_deferred, dest_failed, dest_discarded,
	    verify_failed, testing_failures, permits_waited, protocol_errors,
	    dane_ok, sts_refused[REASON_COUNT], /* hosts, because of MTA-STS */
	    dane_refused[REASON_COUNT];		/* because of DANE */
};

struct queue_peer {
	struct deliver *d;
	struct ipc_chan *chan;
	uint32_t instance;
};
struct resolver_peer {
	struct deliver *d;
	struct ipc_chan *chan;
	uint32_t instance;
	uv_timer_t timer;
	TAILQ_HEAD(ask_list, ask) asks; /* open, oldest first */
	uint32_t n_waiting;		/* of those not sent yet */
	uint32_t n_owed; /* answers, also to what was cancelled since */
	uint64_t next_id;
};
struct policyd_peer {
	struct deliver *d;
	struct ipc_chan *chan;
	uint32_t instance;
	uv_timer_t timer; /* while questions are open */
	TAILQ_HEAD(want_list, want) wants;
	uint32_t n_sent;
	uint64_t next_id;
};
struct admin_peer {
	struct deliver *d;
	uint32_t instance;
	struct adm_peer adm;
	bool used;
};

LIST_HEAD(dest_list, dest);
LIST_HEAD(inquiry_list, inquiry);
TAILQ_HEAD(memo_list, memo);

struct deliver {
	struct child *child;
	struct env *env; /* of the settings in force */
	struct queue_peer queue;
	struct resolver_peer resolver;
	struct policyd_peer policyd;
	struct admin_peer admin[ADMIN_INSTANCES];
	struct dest_list dests;
	struct dest_list by_id[DEST_BUCKETS];
	uint32_t n_dests;
	uint32_t n_slow; /* of these, by slots.c */
	uv_timer_t slots_timer;
	uint32_t n_conns;   /* with a socket or waiting for one */
	uint32_t n_closing; /* handles that are being closed */
	/* fds.c: connections that asked for a permit; files of messages that
	 * are here, and messages that are asked for */
	size_t n_open, n_files, n_asked;
	int64_t fds_short_ms; /* monotonic; 0: never */
	struct log_limit fds_log;
	uint64_t next_req; /* permits and pulls; never reused */
	struct conn_list permit_waits[DEST_BUCKETS];
	struct conn_list pulls[DEST_BUCKETS];
	struct conn_list paces[DEST_BUCKETS];
	struct conn_list probes; /* connections without a destination */
	struct inquiry_list inquiries;
	size_t n_inquiries;
	uint64_t dcid_next, dcid_end;	/* lease in use */
	uint64_t dcid_next2, dcid_end2; /* the one after it */
	bool dcid_asked;
	bool started, draining, done;
	uv_timer_t done_timer; /* waits for the last bytes to queue */
	struct memo_list memos;
	LIST_HEAD(memo_bucket, memo) memo_buckets[DEST_BUCKETS];
	size_t n_memos;
	struct counters n;
};

/* Something ended: when draining and nothing is left, the process is done. */
void deliver_check_done(struct deliver *d);

#endif
