/*
 * conf.h - one whole, checked, immutable set of settings.
 *
 * The supervisor loads a directory with conf_load_dir(), and gives each child
 * the same set by conf_blob_build(); the child takes it with conf_blob_parse().
 * A set never changes after it was made: a reload makes a new one, and whoever
 * still works under the old one keeps a reference. Nothing here logs or keeps
 * state outside the set. Every key, its range, default and help stand in one
 * table (conf_schema.c); docs/settings.md is printed from it.
 *
 * Strings are UTF-8, owned by the set, and NULL when a setting is empty. Host
 * and domain names are lower-case A-labels without a trailing dot.
 * Durations end in _ms or _s; sizes are bytes.
 */
#ifndef POSTERN_CONF_CONF_H
#define POSTERN_CONF_CONF_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct prvs_keys; /* lib/mail/prvs.h */

/* The five settings files. */
enum conf_table {
	CONF_T_POSTERN,
	CONF_T_BOUNCE,
	CONF_T_GATEWAYS,
	CONF_T_DESTINATIONS,
	CONF_T_ROUTES,
	CONF_T_COUNT
};
extern const char *const conf_table_file[CONF_T_COUNT];

/* ---- values -------------------------------------------------------------- */

/* An IP address and a port; sa.sa_family is AF_UNSPEC when not set. */
union conf_addr {
	struct sockaddr sa;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};
struct conf_addrs {
	size_t n;
	const union conf_addr *v;
};

/* Bytes to pass to bind() or connect() for this family; 0 when not set. */
socklen_t conf_addr_len(const union conf_addr *addr);

/* A network; bits beyond prefix are zero. */
struct conf_net {
	uint8_t family; /* AF_INET or AF_INET6 */
	uint8_t prefix; /* 0-32 or 0-128 */
	uint8_t bits[16];
};
struct conf_nets {
	size_t n;
	const struct conf_net *v;
	bool special; /* the word was there: see lib/base/special.h */
};

/* The network that holds the address (the longest), or NULL. An IPv4 address
 * mapped into IPv6 counts as IPv4. The port does not matter. */
const struct conf_net *conf_nets_match(
    const struct conf_nets *nets, const struct sockaddr *sa);

/* "10.0.0.0/8", as log lines want it. 48 bytes are enough. Returns buf. */
const char *conf_net_format(const struct conf_net *net, char *buf, size_t len);

/* "192.0.2.1:25", "[::1]:25"; without the port when it is 0. 64 bytes are
 * enough. Returns buf. */
bool conf_addr_is_loopback(const union conf_addr *addr);
const char *conf_addr_format(
    const union conf_addr *addr, char *buf, size_t len);

struct conf_strs {
	size_t n;
	const char *const *v;
};

/* At most count in any interval of that many minutes. */
struct conf_rate {
	bool limited; /* false: no limit */
	uint32_t count;
	uint32_t minutes; /* 1-60 */
};

enum conf_auth { CONF_AUTH_NO, CONF_AUTH_OFFERED, CONF_AUTH_REQUIRED };
enum conf_listener_tls {
	CONF_LTLS_NONE,
	CONF_LTLS_OFFERED,
	CONF_LTLS_REQUIRED, /* no MAIL before STARTTLS */
	CONF_LTLS_IMPLICIT  /* TLS from the first byte */
};
enum conf_tls_version { CONF_TLS_1_2, CONF_TLS_1_3 };
enum conf_dnssec {
	CONF_DNSSEC_TRUST,
	CONF_DNSSEC_REQUIRE,
	CONF_DNSSEC_VALIDATE, /* we do it: no server's AD is believed */
	CONF_DNSSEC_OFF
};
enum conf_trust_ad { CONF_AD_LOOPBACK, CONF_AD_YES, CONF_AD_NO };
enum conf_log_target { CONF_LOG_STDOUT, CONF_LOG_SYSLOG, CONF_LOG_FILE };
enum conf_on_loss { CONF_LOSS_DIVIDE, CONF_LOSS_LOCAL, CONF_LOSS_STOP };

enum conf_ip_preference {
	CONF_IP_PREFER_IPV4,
	CONF_IP_PREFER_IPV6,
	CONF_IP_REQUIRE_IPV4,
	CONF_IP_REQUIRE_IPV6
};
enum conf_tls {
	CONF_TLS_NONE,
	CONF_TLS_PREFERRED,
	CONF_TLS_REQUIRED,
	CONF_TLS_PREFERRED_VERIFY,
	CONF_TLS_REQUIRED_VERIFY,
	CONF_TLS_REQUIRED_VERIFY_HOSTED
};
enum conf_dane { CONF_DANE_NONE, CONF_DANE_OPPORTUNISTIC, CONF_DANE_MANDATORY };
enum conf_sts { CONF_STS_OFF, CONF_STS_ON, CONF_STS_MANDATORY };
enum conf_limit_scope { CONF_SCOPE_DOMAIN, CONF_SCOPE_MX_IP };
enum conf_limit_apply {
	CONF_APPLY_SYSTEM,
	CONF_APPLY_GATEWAY,
	CONF_APPLY_CLUSTER
};
enum conf_hard_bounces { CONF_BOUNCE_DSN, CONF_BOUNCE_NONE };

/* The setting's own word: conf_tls_name(CONF_TLS_REQUIRED) is "required". */
const char *conf_tls_name(enum conf_tls tls);
const char *conf_dane_name(enum conf_dane dane);
const char *conf_sts_name(enum conf_sts sts);

/* ---- postern.conf -------------------------------------------------------- */

struct conf_node {	      /* [postern] */
	const char *hostname; /* never NULL: EHLO, Received, DSN */
	const char *state_dir;
	const char *run_dir;
	const char *user_prefix; /* users PREFIX_smtpd, ... */
	const char *user;	 /* one account for all children, or NULL */
	uint32_t smtpd_workers;	 /* 0: as many as processors */
	int64_t drain_deadline_ms;
};

struct conf_certificate { /* [certificate NAME] */
	const char *name;
	const char *cert_file; /* PEM chain; contents by conf_file() */
	const char *key_file;
};

struct
    conf_credential { /* [credential NAME]: how we log in to a route's host */
	const char *name;
	const char *user;
	const char *secret_file; /* first line is the password */
};

struct conf_listener { /* [listener NAME] */
	const char *name;
	struct conf_addrs address;
	struct conf_nets relay_from;
	enum conf_auth auth;
	const char *auth_file; /* lines name:hash; contents by conf_file() */
	enum conf_listener_tls tls;
	enum conf_tls_version tls_min;
	const char *certificate;
	const struct conf_certificate *cert; /* NULL only with tls none */
	const char
	    *client_ca_file; /* CAs whose client certificates may relay */
	struct conf_strs
	    client_cert_names; /* DNS names or addresses; none: any */
	const char *hostname;  /* in greeting; NULL: the node's */
	const char *banner;    /* text behind the host name; NULL: "ESMTP" */
	uint64_t max_message_size;
	uint32_t max_recipients;
	uint32_t max_connections;
	uint32_t max_connections_per_client;
	struct conf_rate max_auth_failures_per_client;
	uint32_t max_messages_per_connection;
	uint32_t max_command_errors;
	uint32_t max_line_length; /* of message text, without CRLF */
	uint32_t max_received;	  /* Received lines above which mail loops */
	int64_t command_timeout_ms;
	int64_t data_timeout_ms;    /* between two pieces of message data */
	uint32_t min_data_rate;	    /* bytes a second; 0: any */
	int64_t session_timeout_ms; /* without a message accepted */
	int64_t tls_timeout_ms;	    /* whole handshake */
	bool accept_bounces;	    /* tagged ones, from anybody */
	const char *bounce_profile;
	const struct conf_profile *profile; /* never NULL */
};

struct conf_trust { /* [trust] */
	const char *ca_file;
};

struct conf_resolver {		       /* [resolver] */
	struct conf_addrs nameservers; /* empty only with VALIDATE: ask from
					* the root down */
	enum conf_dnssec dnssec;
	enum conf_trust_ad trust_ad;
	const char *trust_anchor; /* for VALIDATE; contents by conf_file() */
	int64_t timeout_ms;	  /* one question, all servers and tries */
	uint32_t tries;		  /* per server */
	int64_t min_ttl_s, max_ttl_s, negative_ttl_s;
	uint64_t cache_size;	/* bytes */
	uint32_t max_queries;	/* in flight */
	bool mix_case;		/* 0x20 towards servers over a network */
	const char *probe_good; /* signed name that must come back with AD */
	const char *probe_bad;	/* broken name that must not come back */
};

/* Is the word of this name server on DNSSEC (the AD bit) believed? */
bool conf_resolver_trusts(
    const struct conf_resolver *rs, const union conf_addr *server);

struct conf_mta_sts {	     /* [mta-sts] */
	const char *ca_file; /* never NULL unless [trust] has none */
	const char *proxy;
	struct conf_nets policy_host_allow;
	int64_t discovery_grace_ms;
	int64_t refresh_ms;
	int64_t fetch_timeout_ms, connect_timeout_ms;
	uint32_t max_policies;
	uint32_t max_fetches; /* at one time */
	uint16_t port;	      /* of policy hosts */
};

struct conf_queue {		  /* [queue] */
	uint64_t min_free_space;  /* less on the disk: intake answers 452 */
	uint64_t store_map_size;  /* LMDB map at start */
	uint64_t inline_body_max; /* larger bodies go to files */
	uint64_t max_messages;	  /* more: intake answers 452 */
	uint32_t max_in_memory;	  /* index entries kept in memory */
	int64_t host_down_retry_ms, host_down_max_retry_ms;
};

struct conf_delivery {		  /* [delivery] */
	uint32_t workers;	  /* 0: as many as processors */
	uint32_t max_connections; /* of the whole node */
	uint32_t max_tls_connections;
	uint16_t port;
	uint32_t max_hosts;		     /* MX hosts tried in one round */
	uint32_t max_recipients_per_message; /* in one transaction */
	/* where names in DNS may not lead to, and may all the same */
	struct conf_nets deny_networks, allow_networks;
	int64_t idle_ms; /* an unused connection stays open */
	/* RFC 5321 section 4.5.3.2 */
	int64_t connect_timeout_ms, greeting_timeout_ms, ehlo_timeout_ms,
	    tls_timeout_ms, mail_timeout_ms, rcpt_timeout_ms, data_timeout_ms,
	    data_block_timeout_ms, final_dot_timeout_ms, quit_timeout_ms;
	/* all of one message: so long, and its size at this rate */
	int64_t transaction_timeout_ms;
	uint32_t min_data_rate; /* bytes a second; 0: any time */
};

struct conf_log {   /* [log] */
	int format; /* enum log_format of lib/log */
	enum conf_log_target target;
	const char *path; /* with CONF_LOG_FILE */
	int level;	  /* enum log_level of lib/log */
	bool subjects;	  /* log Subject lines */
};

struct conf_admin {		  /* [admin] */
	struct conf_addrs listen; /* empty: no HTTP */
	const char *users_file;
	bool metrics;
	const char *certificate;
	const struct conf_certificate *cert; /* NULL: clear text */
};

/* What becomes of a bounce that is no answer to mail of ours. */
enum conf_untagged {
	CONF_UNTAGGED_ACCEPT,
	CONF_UNTAGGED_MARK,
	CONF_UNTAGGED_REJECT
};

struct conf_bounce_verification { /* [bounce-verification] */
	const char *key_file; /* lines DIGIT SECRET; NULL: no verification */
	struct conf_strs senders; /* who is tagged, and whose bounces count */
	struct conf_strs except;  /* of them, who is not */
	int64_t lifetime_s;	  /* of a tag; whole days count */
	enum conf_untagged untagged;
};

struct conf_cluster {	   /* [cluster] */
	const char *redis; /* HOST:PORT, or NULL: a single node */
	enum conf_on_loss on_loss;
};

/* ---- tables -------------------------------------------------------------- */

/* bounce.conf [profile NAME]; an absent key has its built-in default. */
struct conf_profile {
	const char *name;
	uint32_t max_retries; /* after the first attempt */
	int64_t max_queue_time_s;
	int64_t initial_retry_s, max_retry_s; /* doubling */
	uint32_t retry_jitter;		      /* percent, both ways */
	enum conf_hard_bounces hard_bounces;
	const char *bounce_recipient; /* NULL: the envelope sender */
	bool delay_warnings;
	int64_t delay_warning_interval_s;
	uint32_t delay_warning_count;
	const char *subject;  /* NULL: built in */
	const char *template; /* text of the notice; NULL: built in */
	uint64_t max_copy;    /* longer originals: headers only */
	const char *sign;     /* DKIM key name, or NULL */
};

/* gateways.conf [gateway NAME]; "default" always exists. */
struct conf_gateway {
	const char *name;
	uint32_t index;	      /* position in conf->gateways; default is 0 */
	const char *hostname; /* never NULL */
	union conf_addr ipv4, ipv6; /* source addresses, port 0, or unset */
	struct conf_strs senders;
	struct conf_nets clients;
};

enum conf_dest_kind {
	CONF_DEST_DEFAULT,
	CONF_DEST_DOMAIN,  /* example.com */
	CONF_DEST_PARTIAL, /* .example.com: any depth below */
	CONF_DEST_MX_SITE  /* mx:HOST, mx:*.example.com (any depth below) */
};

/*
 * destinations.conf. All keys hold what applies: where the entry is silent,
 * DEFAULT's value. conf_dest_given() tells which it set itself.
 */
struct conf_dest {
	const char *name; /* as in the section header, normalised */
	enum conf_dest_kind kind;
	uint32_t given; /* bit i: key i of the schema stands in this entry */
	enum conf_ip_preference ip_preference;
	uint32_t max_connections;
	uint32_t max_messages_per_connection;
	struct conf_rate recipient_limit;
	enum conf_limit_scope limit_scope;
	enum conf_limit_apply limit_apply;
	enum conf_tls tls;
	enum conf_dane dane;
	enum conf_sts mta_sts;
	bool bounce_tagging;
	const char *certificate;
	const struct conf_certificate *cert; /* client certificate or NULL */
	const char *bounce_profile;	    /* NULL: listener's, else default */
	const struct conf_profile *profile; /* of bounce_profile, or NULL */
	int64_t until_s;		    /* Unix seconds; 0: for good */
	const char *ticket;		    /* or NULL */
};

enum conf_route_kind {
	CONF_ROUTE_HOSTS,
	CONF_ROUTE_USEDNS, /* ordinary MX; DANE and MTA-STS stay on */
	CONF_ROUTE_DISCARD /* /dev/null: accept, log, forget */
};
struct conf_route_host {
	const char *name;     /* host name; of a literal: its text */
	union conf_addr addr; /* of a literal, else unset */
	uint16_t port;	      /* filled in: [delivery] port when absent */
	uint16_t priority;    /* lower first; equal ones take turns */
	bool no_mx;	      /* [name]: addresses only */
};
/* routes.conf */
struct conf_route {
	const char *name; /* "example.com", ".example.com" or "ALL" */
	enum conf_route_kind kind;
	size_t n_hosts; /* sorted by priority; order in the file kept */
	const struct conf_route_host *hosts;
	const char *credential;
	const struct conf_credential *cred; /* SMTP AUTH, or NULL */
	bool has_tls;			    /* else the destination's */
	enum conf_tls tls;
};

/* ---- the set ------------------------------------------------------------- */

struct conf_index; /* lookup tables; conf_lookup.c */
struct conf_store; /* memory and file contents; conf.c */

struct conf {
	struct conf_node node;
	struct conf_trust trust;
	struct conf_resolver resolver;
	struct conf_mta_sts mta_sts;
	struct conf_queue queue;
	struct conf_delivery delivery;
	struct conf_log log;
	struct conf_admin admin;
	struct conf_cluster cluster;
	struct conf_bounce_verification verification;

	size_t n_listeners, n_certificates, n_credentials, n_gateways,
	    n_profiles, n_dests, n_routes;
	struct conf_listener *listeners;
	struct conf_certificate *certificates;
	struct conf_credential *credentials;
	struct conf_gateway *gateways; /* [0] is "default" */
	struct conf_profile *profiles; /* [0] is "default" */
	struct conf_dest *dests;       /* [0] is DEFAULT */
	struct conf_route *routes;

	const char *dir; /* where it was loaded from, or NULL */
	struct conf_index *index;
	struct conf_store *store;
};

/* Counted by atomic operations: threads may share a set. The last unref frees
 * it and wipes the secrets. NULL is fine. */
struct conf *conf_ref(struct conf *conf);
void conf_unref(struct conf *conf);

/* ---- lookups (never fail, never allocate) -------------------------------- */

/*
 * The destination control of a domain (lower-case A-labels; literals as
 * "[192.0.2.1]", "[ipv6:2001:db8::1]"): exact entry, else the longest partial one, else DEFAULT.
 * An entry whose time is over is passed by; _at says by which clock. Never
 * NULL. Sites are asked for apart, when the MX host is known.
 */
const struct conf_dest *conf_dest_lookup_at(
    const struct conf *conf, const char *domain, int64_t now_s);
const struct conf_dest *conf_dest_lookup(
    const struct conf *conf, const char *domain);

/* The entry with exactly this name ("DEFAULT", "example.com", ".example.com",
 * "mx:*.example.com"), whatever its time; NULL when there is none. */
const struct conf_dest *conf_dest_entry(
    const struct conf *conf, const char *name);

/* The mx: entry for an MX host (exact, else longest), or NULL. Its limits are
 * checked in addition to the domain's own. */
const struct conf_dest *conf_mx_site_lookup(
    const struct conf *conf, const char *mx_host);

/* The route of a domain: exact, longest partial, ALL; NULL: none. A caller
 * looks at kind: CONF_ROUTE_USEDNS also means ordinary delivery. */
const struct conf_route *conf_route_lookup(
    const struct conf *conf, const char *domain);

/*
 * The virtual gateway of a message: client address, client network (longest),
 * full sender, user@, @domain, @.partial (longest), else default. sender is ""
 * for the null sender; sa may be NULL. Never NULL.
 */
const struct conf_gateway *conf_gateway_choose(
    const struct conf *conf, const char *sender, const struct sockaddr *sa);

/* Does [bounce-verification] say that this envelope sender (without a tag) is
 * tagged, and bounces to it checked? */
bool conf_bounce_verifies(const struct conf *conf, const char *address);

/* The keys of it; current is -1 when there are none, or no contents of files.
 * The caller wipes them (explicit_bzero). */
void conf_bounce_keys(const struct conf *conf, struct prvs_keys *ret_keys);

/* By name; NULL when there is none of that name. */
const struct conf_gateway *conf_gateway_lookup(
    const struct conf *conf, const char *name);
const struct conf_profile *conf_profile_lookup(
    const struct conf *conf, const char *name);
const struct conf_listener *conf_listener_lookup(
    const struct conf *conf, const char *name);

/* Profile of a recipient: the destination's, else the one named (listener's;
 * may be NULL or unknown by now), else default. Never NULL. */
const struct conf_profile *conf_profile_choose(const struct conf *conf,
    const struct conf_dest *dest, const char *listener_profile);

/*
 * The keys of an entry for explain and listings, in the order of the schema:
 * name, value as it would be written, and whether the entry says it itself.
 */
size_t conf_dest_keys(void);
const char *conf_dest_key_name(size_t key);
/* Has an entry without this key DEFAULT's value? Not until and ticket. */
bool conf_dest_inherits(size_t key);
bool conf_dest_given(const struct conf_dest *dest, size_t key);
/* Writes the value, cut at len; returns buf. 128 bytes hold every value. */
const char *conf_dest_value(
    const struct conf_dest *dest, size_t key, char *buf, size_t len);

/* ---- loading ------------------------------------------------------------- */

#define CONF_ERRORS_KEPT 20

struct conf_error {
	char *file;	 /* as named to the reader: "postern.conf" */
	uint32_t line;	 /* from 1; 0: the file as a whole */
	uint32_t column; /* in bytes, from 1; 0: the line as a whole */
	bool warning;
	char *text; /* what was found, what was wanted */
};
/* Sorted by file and line. Up to CONF_ERRORS_KEPT of each severity. */
struct conf_errors {
	size_t n;
	struct conf_error *v;
	size_t errors, warnings; /* all that were found, kept or not */
};
/* Zero-initialise before use. */
void conf_errors_done(struct conf_errors *errs);
/* Add a problem that concerns a file as a whole. */
void conf_errors_tell(struct conf_errors *errs, const char *file,
    const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* {"ok", "errors": [{file, line, column, message}], "warnings": [...], ...} */
void conf_errors_print_json(const struct conf_errors *errs, FILE *out);
/* One line each, "DIR/FILE:LINE: error: TEXT", then "and N more" where so. */
void conf_errors_print(
    const struct conf_errors *errs, const char *dir, FILE *out);

/*
 * Where the reader gets its texts from. read: contents of a settings file or a
 * file that a setting names, *ret_data from malloc() (the reader takes it); at
 * most max bytes, else -EFBIG; a missing one is -ENOENT. env: value of an
 * environment variable or NULL; when the pointer is NULL, "${" stays as it is.
 */
struct conf_source {
	void *arg;
	int (*read)(void *arg, const char *path, size_t max, uint8_t **ret_data,
	    size_t *ret_len);
	const char *(*env)(void *arg, const char *name);
	const char *dir;      /* relative paths start here; NULL: kept */
	const char *hostname; /* default of [postern] hostname, or NULL */
	const char
	    *nameservers; /* default of [resolver] nameservers, or NULL */
	bool named_files; /* read certificate, key and secret files too */
};

/*
 * Read a whole set. 0 and *ret_conf (one reference, the caller's; warnings may
 * be in errs), PE_CONFIG with the problems in errs, or -ENOMEM.
 */
int conf_load(const struct conf_source *src, struct conf_errors *errs,
    struct conf **ret_conf);

/*
 * The same from a directory, with this process's environment, host name and
 * /etc/resolv.conf. Reads files; supervisor, posternctl and tests only.
 * Missing table files are empty; a missing postern.conf is an error.
 */
int conf_load_dir(
    const char *dir, struct conf_errors *errs, struct conf **ret_conf);

/* The same with other tables than those in the directory; postern.conf and what
 * they include come from there. */
struct conf_tables; /* conf_commit.h */
int conf_load_tables(const char *dir, const struct conf_tables *tables,
    struct conf_errors *errs, struct conf **ret_conf);

/* ---- giving it to a child ------------------------------------------------ */

/* Who is entitled to which file contents. */
enum conf_for {
	CONF_FOR_NONE = 0,	   /* queue: settings only */
	CONF_FOR_SMTPD = 1 << 0,   /* listeners' certificates, keys, auth, CA */
	CONF_FOR_DELIVER = 1 << 1, /* CA, client certificates, credentials */
	CONF_FOR_POLICYD = 1 << 2, /* CA of policy hosts */
	CONF_FOR_ADMIN = 1 << 3,   /* its users file and certificate */
	CONF_FOR_RESOLVER = 1 << 4 /* its trust anchor, no secret */
};

/*
 * One buffer with the normalised texts of all settings files (includes merged,
 * ${NAME} replaced, host defaults filled in) and the files this kind of process
 * is entitled to. *ret_data is from malloc() and may hold secrets: wipe it.
 * 0 or -ENOMEM. The set must come from conf_load*() with named_files.
 */
int conf_blob_build(const struct conf *conf, enum conf_for who,
    uint8_t **ret_data, size_t *ret_len);

/* The child's side; borrows data, copies what it keeps. 0, PE_CORRUPT or
 * PE_VERSION when the bytes are not such a buffer, PE_CONFIG, -ENOMEM. */
int conf_blob_parse(const uint8_t *data, size_t len, struct conf **ret_conf);

/*
 * Contents of a file that a setting names, by the path in the set. 0, or
 * PE_NOT_FOUND when this process is not entitled to it or nothing names it.
 * *ret_data is owned by the set and followed by a NUL byte outside the length.
 */
int conf_file(const struct conf *conf, const char *path,
    const uint8_t **ret_data, size_t *ret_len);

/* ---- what `postern defaults` does ----------------------------------------- */

/* Every key with file, section, type, range, default, unit and help: text, JSON
 * (an array of objects), or the Markdown of docs/settings.md. */
enum conf_print {
	CONF_PRINT_TEXT,
	CONF_PRINT_JSON,
	CONF_PRINT_MARKDOWN,
	CONF_PRINT_MAN
};
void conf_defaults_print(enum conf_print how, FILE *out);

#endif
