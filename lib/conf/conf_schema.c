/*
 * conf_schema.c - every key: type, range, default, help. The one table.
 *
 * Reader, error messages, `postern defaults`, docs/settings.md and the manual
 * page come from it. To add a key: a field in conf.h and a row here. Defaults
 * are written as an operator would write them, and read by the same reader.
 */
#include <string.h>

#include "lib/conf/conf_int.h"

/* clang-format off */
#define K(s, f, t, lo, hi, def, words, help) \
	{ #f, CONF_V_##t, lo, hi, def, words, offsetof(struct s, f), help }
#define KN(s, n, f, t, lo, hi, def, words, help) \
	{ n, CONF_V_##t, lo, hi, def, words, offsetof(struct s, f), help }

#define SEC  1000LL	    /* of CONF_V_MS */
#define MIN  (60 * SEC)
#define HOUR (60 * MIN)
#define DAY  (24 * HOUR)
#define S_DAY 86400LL	    /* of CONF_V_S */
#define KIB  1024LL
#define MIB  (1024 * KIB)
#define GIB  (1024 * MIB)
#define TIB  (1024 * GIB)

#define TLS_WORDS "none|preferred|required|preferred-verify|required-verify|" \
	"required-verify-hosted"

static const struct conf_key postern_keys[] = {
	K(conf_node, hostname, HOST, 0, 0, NULL, NULL,
	    "Name in EHLO, Received and bounces. When empty: the host's full name."),
	K(conf_node, state_dir, PATH, 0, 0, "/var/lib/postern", NULL,
	    "Queue, policies and staged settings. One node per directory; it is locked."),
	K(conf_node, run_dir, PATH, 0, 0, "/run/postern", NULL,
	    "Control socket."),
	K(conf_node, user_prefix, NAME, 0, 0, "_postern", NULL,
	    "Each child runs as PREFIX_NAME, such as _postern_smtpd. Ignored when not started as root."),
	K(conf_node, user, NAME, 0, 0, NULL, NULL,
	    "One account for all children instead. Ignored when not started as root."),
	K(conf_node, smtpd_workers, AUTO, 1, 16, "auto", NULL,
	    "Intake processes; auto: one per processor."),
	KN(conf_node, "drain_deadline", drain_deadline_ms, MS, 0, HOUR, "30s", NULL,
	    "At shutdown, sessions may go on for so long."),
};

static const struct conf_key certificate_keys[] = {
	K(conf_certificate, cert_file, PATH, 0, 0, NULL, NULL,
	    "PEM certificate and the chain above it. Required."),
	K(conf_certificate, key_file, PATH, 0, 0, NULL, NULL,
	    "PEM private key. Required."),
};

static const struct conf_key credential_keys[] = {
	K(conf_credential, user, STRING, 0, 255, NULL, NULL,
	    "User name for SMTP AUTH at a route's host. Required."),
	K(conf_credential, secret_file, PATH, 0, 0, NULL, NULL,
	    "File whose first line is the password. Required."),
};

static const struct conf_key listener_keys[] = {
	K(conf_listener, address, ADDRS, 0, 0, NULL, NULL,
	    "Where to listen. Port: 25 when not given, 465 with tls = implicit. Required."),
	K(conf_listener, relay_from, NETS, 0, 0, "127.0.0.0/8, ::1", NULL,
	    "Clients in these networks may relay."),
	K(conf_listener, auth, ENUM, 0, 0, "no", "no|offered|required",
	    "SMTP AUTH, only inside TLS. Who has logged in may relay."),
	K(conf_listener, auth_file, PATH, 0, 0, NULL, NULL,
	    "Lines name:yescrypt-hash. Needed unless auth = no."),
	K(conf_listener, tls, ENUM, 0, 0, "offered", "none|offered|required|implicit",
	    "When not set and there is no certificate: none, with a warning."),
	K(conf_listener, tls_min, ENUM, 0, 0, "1.2", "1.2|1.3",
	    "Oldest TLS version taken from clients."),
	K(conf_listener, certificate, NAME, 0, 0, "default", NULL,
	    "A [certificate NAME]."),
	K(conf_listener, client_ca_file, PATH, 0, 0, NULL, NULL,
	    "Clients with a certificate of these authorities may relay. Empty: none are asked for."),
	K(conf_listener, client_cert_names, STRINGS, 0, 0, NULL, NULL,
	    "Only certificates with one of these DNS names or mail addresses. Empty: any."),
	K(conf_listener, hostname, HOST, 0, 0, NULL, NULL,
	    "Name in the greeting. Empty: that of [postern]."),
	K(conf_listener, banner, STRING, 0, 200, NULL, NULL,
	    "Text of the greeting behind the name. Empty: ESMTP."),
	K(conf_listener, max_message_size, SIZE, KIB, 2 * GIB, "50m", NULL,
	    "Larger messages are refused; told to clients as SIZE."),
	K(conf_listener, max_recipients, INT, 1, 1000000, "1000", NULL,
	    "Recipients of one message; more get 452. RFC 5321 wants at least 100."),
	K(conf_listener, max_connections, INT, 1, 1000000, "1000", NULL,
	    "At one time; more get 421."),
	K(conf_listener, max_connections_per_client, INT, 1, 1000000, "50", NULL,
	    "At one time from one IPv4 address or one IPv6 /64; more get 421."),
	K(conf_listener, max_auth_failures_per_client, RATE, 0, 0, "30/10m", NULL,
	    "Wrong passwords from one IPv4 address or one IPv6 /64, counted by each intake process. Beyond it AUTH gets 454 unseen until enough time has passed; a connection has three in any case."),
	K(conf_listener, max_messages_per_connection, INT, 1, 1000000, "10000", NULL,
	    "Then 421; told to clients as LIMITS MAILMAX."),
	K(conf_listener, max_command_errors, INT, 1, 1000, "20", NULL,
	    "Refused commands in a connection, then 421."),
	K(conf_listener, max_line_length, INT, 998, 1000000, "998", NULL,
	    "Bytes of a text line without its end; messages with longer ones are refused (RFC 5321 section 4.5.3.1.6). Raise it for senders that cannot keep to it; lines are passed on as they are."),
	K(conf_listener, max_received, INT, 1, 1000, "100", NULL,
	    "Messages with more Received lines are loops and refused (RFC 5321 section 6.3)."),
	KN(conf_listener, "command_timeout", command_timeout_ms, MS, SEC, HOUR, "5m", NULL,
	    "Wait for a command (RFC 5321 section 4.5.3.2.7)."),
	KN(conf_listener, "data_timeout", data_timeout_ms, MS, SEC, HOUR, "5m", NULL,
	    "Wait for the next piece of message data."),
	K(conf_listener, min_data_rate, INT, 0, 1000000, "500", NULL,
	    "Bytes a second that message data must have on average, after a first data_timeout that is free. Slower clients get 421, so that none holds a connection for ever. 0: any rate."),
	KN(conf_listener, "session_timeout", session_timeout_ms, MS, SEC, DAY, "1h", NULL,
	    "Longest stay of a client since it came, or since its last message was accepted, whatever it does meanwhile; then 421. Message data that is coming in has min_data_rate instead."),
	KN(conf_listener, "tls_timeout", tls_timeout_ms, MS, SEC, HOUR, "1m", NULL,
	    "Whole TLS handshake."),
	K(conf_listener, accept_bounces, BOOL, 0, 0, "no", "no|yes",
	    "Clients that may not relay may bring bounces to the senders of [bounce-verification]; these go on as other mail, by route or MX."),
	K(conf_listener, bounce_profile, NAME, 0, 0, "default", NULL,
	    "A [profile NAME] of bounce.conf, unless the destination has its own."),
};

static const struct conf_key trust_keys[] = {
	K(conf_trust, ca_file, PATH, 0, 0, "/etc/ssl/certs/ca-certificates.crt", NULL,
	    "PEM authorities for MX hosts, and for policy hosts unless [mta-sts] says otherwise."),
};

static const struct conf_key resolver_keys[] = {
	K(conf_resolver, nameservers, ADDRS, 53, 0, NULL, NULL,
	    "When empty: those of /etc/resolv.conf; with dnssec = validate none: names are looked up from the root down."),
	K(conf_resolver, dnssec, ENUM, 0, 0, "trust", "trust|require|validate|off",
	    "Who validates: trust: servers that trust_ad covers, and one that was seen to validate must go on; require: they must from the start, else mail waits; validate: Postern itself, by libunbound, whatever the servers say; off: nobody, no DANE."),
	K(conf_resolver, trust_anchor, PATH, 0, 0, "/usr/share/dns/root.key", NULL,
	    "For dnssec = validate: keys that are believed, DS or DNSKEY records, one a line. The default is Debian's dns-root-data. Read at start and reload."),
	K(conf_resolver, trust_ad, ENUM, 0, 0, "loopback", "loopback|yes|no",
	    "Whose word on DNSSEC (the AD bit) is believed: servers on loopback addresses, all, none."),
	KN(conf_resolver, "timeout", timeout_ms, MS, 100, MIN, "5s", NULL,
	    "For one question, all tries together."),
	K(conf_resolver, tries, INT, 1, 10, "2", NULL,
	    "Tries per name server."),
	KN(conf_resolver, "min_ttl", min_ttl_s, S, 0, 3600, "0s", NULL,
	    "Answers are kept at least so long."),
	KN(conf_resolver, "max_ttl", max_ttl_s, S, 1, 7 * S_DAY, "1d", NULL,
	    "Answers are kept at most so long."),
	KN(conf_resolver, "negative_ttl", negative_ttl_s, S, 0, S_DAY, "15m", NULL,
	    "Upper bound for \"there is none\"."),
	K(conf_resolver, cache_size, SIZE, MIB, 64 * GIB, "64m", NULL,
	    "Memory for answers."),
	K(conf_resolver, max_queries, INT, 1, 65535, "2000", NULL,
	    "Questions in flight; more wait."),
	K(conf_resolver, mix_case, BOOL, 0, 0, "yes", "no|yes",
	    "Mix the case of names towards servers that are not on loopback, against forged answers (0x20)."),
	K(conf_resolver, probe_good, HOST, 0, 0, NULL, NULL,
	    "A signed name that must come back as secure; naming one makes trust mean require. Empty: arpa is asked, and the finding only told."),
	K(conf_resolver, probe_bad, HOST, 0, 0, NULL, NULL,
	    "A name with broken signatures that must not come back at all; naming one makes trust mean require."),
};

static const struct conf_key mta_sts_keys[] = {
	K(conf_mta_sts, ca_file, PATH, 0, 0, NULL, NULL,
	    "PEM authorities for policy hosts. Empty: those of [trust]."),
	K(conf_mta_sts, proxy, URL, 0, 0, NULL, NULL,
	    "HTTP proxy for policy fetches."),
	K(conf_mta_sts, policy_host_allow, NETS, 0, 0, NULL, NULL,
	    "Private and loopback networks in which a policy host may be all the same."),
	KN(conf_mta_sts, "discovery_grace", discovery_grace_ms, MS, 0, 3 * DAY, "15m", NULL,
	    "How long mail waits while it cannot be found out whether there is a policy."),
	KN(conf_mta_sts, "refresh", refresh_ms, MS, SEC, 30 * DAY, "24h", NULL,
	    "Policies in use are fetched again after so long, or half their lifetime."),
	KN(conf_mta_sts, "fetch_timeout", fetch_timeout_ms, MS, SEC, 10 * MIN, "60s", NULL,
	    "Whole fetch of a policy (RFC 8461 section 3.3)."),
	KN(conf_mta_sts, "connect_timeout", connect_timeout_ms, MS, 100, MIN, "10s", NULL,
	    "Connection to a policy host."),
	K(conf_mta_sts, max_policies, INT, 100, 100000000, "1000000", NULL,
	    "Policies kept."),
	K(conf_mta_sts, max_fetches, INT, 1, 1000, "50", NULL,
	    "Fetches at one time."),
	K(conf_mta_sts, port, PORT, 0, 0, "443", NULL,
	    "Port of policy hosts; other than 443 only for tests."),
};

static const struct conf_key queue_keys[] = {
	K(conf_queue, min_free_space, SIZE, 0, 16 * TIB, "256m", NULL,
	    "With less left on the disk, intake answers 452."),
	K(conf_queue, store_map_size, SIZE, 16 * MIB, 16 * TIB, "64g", NULL,
	    "Size of the LMDB map at start (address space, not disk); it grows when full."),
	K(conf_queue, inline_body_max, SIZE, 0, MIB, "16k", NULL,
	    "Longer messages are files beside the store."),
	K(conf_queue, max_messages, INT64, 1, 1000000000000, "100000000", NULL,
	    "Messages in the queue; then intake answers 452."),
	K(conf_queue, max_in_memory, INT, 1000, 100000000, "500000", NULL,
	    "Entries of the index kept in memory; the rest is read when it is due."),
	KN(conf_queue, "host_down_retry", host_down_retry_ms, MS, SEC, DAY, "60s", NULL,
	    "First probe of a destination that is down; doubling."),
	KN(conf_queue, "host_down_max_retry", host_down_max_retry_ms, MS, SEC, DAY, "1h", NULL,
	    "Longest wait between two probes."),
};

static const struct conf_key delivery_keys[] = {
	K(conf_delivery, workers, AUTO, 1, 16, "auto", NULL,
	    "Delivery processes; auto: one per processor."),
	K(conf_delivery, max_connections, INT, 1, 1000000, "10000", NULL,
	    "Outbound connections of the whole node."),
	K(conf_delivery, max_tls_connections, INT, 1, 1000000, "1000000", NULL,
	    "Of these, with TLS. Not separately limited by default."),
	K(conf_delivery, port, PORT, 0, 0, "25", NULL,
	    "Port of MX hosts and address literals, default of routes, and port in the TLSA name."),
	K(conf_delivery, max_hosts, INT, 1, 100, "20", NULL,
	    "Host addresses tried in one round."),
	K(conf_delivery, max_recipients_per_message, INT, 1, 10000, "100", NULL,
	    "Recipients in one transaction, unless the peer announces less."),
	K(conf_delivery, deny_networks, NETS, 0, 0, "special", "none|special",
	    "Addresses to which mail never goes because DNS names them, in MX hosts and address literals; hosts of routes are not asked about. special: what is not of the public internet (loopback, link-local, private, unique local, multicast, reserved, and IPv6 addresses that hide such a one)."),
	K(conf_delivery, allow_networks, NETS, 0, 0, NULL, NULL,
	    "Exceptions from deny_networks, such as an internal network whose hosts are found by MX."),
	KN(conf_delivery, "idle", idle_ms, MS, 0, 5 * MIN, "5s", NULL,
	    "An unused connection stays open for so long."),
	KN(conf_delivery, "connect_timeout", connect_timeout_ms, MS, 100, 10 * MIN, "30s", NULL,
	    "TCP connection to one address."),
	KN(conf_delivery, "greeting_timeout", greeting_timeout_ms, MS, 100, HOUR, "5m", NULL,
	    "Greeting (RFC 5321 section 4.5.3.2.1)."),
	KN(conf_delivery, "ehlo_timeout", ehlo_timeout_ms, MS, 100, HOUR, "5m", NULL,
	    "Reply to EHLO, HELO, STARTTLS and AUTH."),
	KN(conf_delivery, "tls_timeout", tls_timeout_ms, MS, 100, HOUR, "1m", NULL,
	    "Whole TLS handshake."),
	KN(conf_delivery, "mail_timeout", mail_timeout_ms, MS, 100, HOUR, "5m", NULL,
	    "Reply to MAIL (section 4.5.3.2.2)."),
	KN(conf_delivery, "rcpt_timeout", rcpt_timeout_ms, MS, 100, HOUR, "5m", NULL,
	    "Reply to RCPT (section 4.5.3.2.3)."),
	KN(conf_delivery, "data_timeout", data_timeout_ms, MS, 100, HOUR, "2m", NULL,
	    "Reply to DATA (section 4.5.3.2.4)."),
	KN(conf_delivery, "data_block_timeout", data_block_timeout_ms, MS, 100, HOUR, "3m", NULL,
	    "Peer takes a piece of the data (section 4.5.3.2.5)."),
	KN(conf_delivery, "final_dot_timeout", final_dot_timeout_ms, MS, 100, HOUR, "10m", NULL,
	    "Reply to the end of the data (section 4.5.3.2.6)."),
	KN(conf_delivery, "quit_timeout", quit_timeout_ms, MS, 100, HOUR, "10s", NULL,
	    "Reply to QUIT and RSET."),
	KN(conf_delivery, "transaction_timeout", transaction_timeout_ms, MS, 100, DAY, "30m", NULL,
	    "One message, from MAIL to the reply to its data, all waits together, besides the time that its size takes at min_data_rate. Also the opening of a connection, until it is ready for mail. Then it is cut, and what has no reply is tried again: no host holds a connection for ever by answering just in time."),
	K(conf_delivery, min_data_rate, INT, 0, 1000000, "2000", NULL,
	    "Bytes a second at which a host must take message data on average; see transaction_timeout. 0: a transaction may take any time."),
};

static const struct conf_key log_keys[] = {
	K(conf_log, format, ENUM, 0, 0, "text", "text|json",
	    "Lines in the manner of mail_logs, or one JSON object a line."),
	K(conf_log, target, TARGET, 0, 0, "stdout", NULL,
	    "Where the lines go."),
	K(conf_log, level, ENUM, 0, 0, "info", "critical|warning|info|debug|trace",
	    "Least weight of lines that are written."),
	K(conf_log, subjects, BOOL, 0, 0, "yes", "no|yes",
	    "Write Subject lines of messages."),
};

static const struct conf_key admin_keys[] = {
	K(conf_admin, listen, ADDRS, 8025, 0, NULL, NULL,
	    "HTTP API, web pages and /metrics. Empty: only the control socket."),
	K(conf_admin, users_file, PATH, 0, 0, NULL, NULL,
	    "Who may use the HTTP API; lines name:yescrypt-hash."),
	K(conf_admin, metrics, BOOL, 0, 0, "yes", "no|yes",
	    "Serve /metrics for Prometheus."),
	K(conf_admin, certificate, NAME, 0, 0, NULL, NULL,
	    "A [certificate NAME] for HTTPS. Empty: clear text."),
};

static const struct conf_key cluster_keys[] = {
	K(conf_cluster, redis, HOSTPORT, 0, 0, NULL, NULL,
	    "Redis or Valkey with the shared counters. Empty: a single node."),
	K(conf_cluster, on_loss, ENUM, 0, 0, "divide", "divide|local|stop",
	    "While it is away: a share of each limit by the last number of nodes, the whole limit, nothing."),
};

static const struct conf_key verification_keys[] = {
	K(conf_bounce_verification, key_file, PATH, 0, 0, NULL, NULL,
	    "Lines DIGIT SECRET, 16 bytes or more; the first tags, all are good for checking. Empty: no bounce verification."),
	K(conf_bounce_verification, senders, SENDERS, 0, 0, NULL, NULL,
	    "Envelope senders that get a tag where the destination has bounce_tagging = on, and whose bounces are checked: user@domain, user@, @domain or @.partial."),
	K(conf_bounce_verification, except, SENDERS, 0, 0, NULL, NULL,
	    "Of them, those that get none, such as mailing lists that know members by it. The longest match of senders and except counts."),
	KN(conf_bounce_verification, "lifetime", lifetime_s, S, S_DAY, 30 * S_DAY, "7d", NULL,
	    "Bounces are taken so long after the message left. Whole days."),
	K(conf_bounce_verification, untagged, ENUM, 0, 0, "mark", "accept|mark|reject",
	    "A bounce without a tag to such a sender: accepted, accepted with a field X-Postern-Bounce: untagged, or refused with 550. Wrong and expired tags are always refused."),
};

static const struct conf_key profile_keys[] = {
	K(conf_profile, max_retries, INT, 0, 10000, "100", NULL,
	    "Attempts after the first."),
	KN(conf_profile, "max_queue_time", max_queue_time_s, S, 1, 365 * S_DAY, "3d", NULL,
	    "Then what is left bounces, whatever the destination does."),
	KN(conf_profile, "initial_retry", initial_retry_s, S, 1, S_DAY, "60s", NULL,
	    "Wait after the first attempt; doubling."),
	KN(conf_profile, "max_retry", max_retry_s, S, 1, 7 * S_DAY, "1h", NULL,
	    "Longest wait between two attempts."),
	K(conf_profile, retry_jitter, INT, 0, 50, "10", NULL,
	    "Each wait is up to so many percent shorter or longer."),
	K(conf_profile, hard_bounces, ENUM, 0, 0, "dsn", "dsn|none",
	    "Notice to the sender (RFC 3464), or nothing."),
	K(conf_profile, bounce_recipient, MAILBOX, 0, 0, "sender", "sender",
	    "Who gets it: the envelope sender, or a fixed address."),
	K(conf_profile, delay_warnings, BOOL, 0, 0, "off", "off|on",
	    "Tell the sender that a message is late."),
	KN(conf_profile, "delay_warning_interval", delay_warning_interval_s, S, 1, 30 * S_DAY, "4h", NULL,
	    "After so long, and again."),
	K(conf_profile, delay_warning_count, INT, 1, 100, "1", NULL,
	    "At most so many for a message."),
	K(conf_profile, subject, STRING, 0, 200, NULL, NULL,
	    "Subject of notices. Empty: built in."),
	K(conf_profile, template, TEXT, 0, 0, NULL, NULL,
	    "Text of notices. Empty: built in."),
	K(conf_profile, max_copy, SIZE, 0, 10 * MIB, "10k", NULL,
	    "Longer messages come back as headers only."),
	K(conf_profile, sign, LATER, 0, 0, "off", "off",
	    "DKIM key for notices."),
};

static const struct conf_key gateway_keys[] = {
	K(conf_gateway, hostname, HOST, 0, 0, NULL, NULL,
	    "Name in EHLO. Empty: that of [postern]."),
	K(conf_gateway, ipv4, IP4, 0, 0, NULL, NULL,
	    "Source address. Empty: the system chooses."),
	K(conf_gateway, ipv6, IP6, 0, 0, NULL, NULL,
	    "Source address. Empty: the system chooses."),
	K(conf_gateway, senders, SENDERS, 0, 0, NULL, NULL,
	    "Messages with these envelope senders leave here."),
	K(conf_gateway, clients, NETS, 0, 0, NULL, NULL,
	    "Messages from these clients leave here."),
};

static const struct conf_key dest_keys[] = {
	K(conf_dest, ip_preference, ENUM, 0, 0, "prefer-ipv4",
	    "prefer-ipv4|prefer-ipv6|require-ipv4|require-ipv6",
	    "Which addresses of a host come first, or alone."),
	K(conf_dest, max_connections, INT, 1, 10000, "500", NULL,
	    "Connections at one time."),
	K(conf_dest, max_messages_per_connection, INT, 1, 1000, "50", NULL,
	    "Then the connection closes and a new one opens."),
	K(conf_dest, recipient_limit, RATE, 0, 0, "none", NULL,
	    "In no interval of M minutes more than N recipients."),
	K(conf_dest, limit_scope, ENUM, 0, 0, "domain", "domain|mx-ip",
	    "One limit for the domain, or one per address connected to."),
	K(conf_dest, limit_apply, ENUM, 0, 0, "system", "system|gateway|cluster",
	    "The limit holds for this host, each virtual gateway, or all nodes."),
	K(conf_dest, tls, ENUM, 0, 0, "preferred", TLS_WORDS,
	    "What a connection must prove."),
	K(conf_dest, certificate, NAME, 0, 0, "default", NULL,
	    "Client certificate: a [certificate NAME]."),
	K(conf_dest, dane, ENUM, 0, 0, "opportunistic", "none|opportunistic|mandatory",
	    "DANE (RFC 7672)."),
	K(conf_dest, mta_sts, ENUM, 0, 0, "on", "off|on|mandatory",
	    "MTA-STS (RFC 8461); mandatory: without an enforced policy nothing is sent."),
	K(conf_dest, bounce_tagging, BOOL, 0, 0, "off", "off|on",
	    "Tag envelope senders (BATV) that [bounce-verification] of postern.conf names."),
	K(conf_dest, bounce_profile, NAME, 0, 0, NULL, NULL,
	    "A [profile NAME]. Empty: the listener's."),
	KN(conf_dest, "until", until_s, TIME, 0, 0, NULL, NULL,
	    "The entry holds until then and is as if it were not there afterwards; a date: to its end, UTC. Not in DEFAULT, and not inherited."),
	K(conf_dest, ticket, STRING, 0, 200, NULL, NULL,
	    "Why, for those who read status and the log. Not inherited."),
};

static const struct conf_key route_keys[] = {
	{ "hosts", CONF_V_ROUTE, 0, 0, NULL, NULL, 0,
	    "Where mail goes instead of to MX; lower pri first, equal ones take turns. USEDNS: ordinary MX. /dev/null: discard. [NAME]: no MX lookup. Required." },
	K(conf_route, credential, NAME, 0, 0, NULL, NULL,
	    "Log in as this [credential NAME] of postern.conf."),
	K(conf_route, tls, ENUM, 0, 0, NULL, TLS_WORDS,
	    "When not set: the destination's."),
};

#define KEYS(k) k, sizeof(k) / sizeof((k)[0])

const struct conf_section conf_schema[CONF_S_COUNT] = {
	[CONF_S_CERTIFICATE] = { "certificate NAME", "certificate", true,
	    CONF_T_POSTERN, KEYS(certificate_keys), sizeof(struct conf_certificate),
	    "A certificate for listeners, the admin interface or, as a client, destinations. Without a name elsewhere, default is meant." },
	[CONF_S_CREDENTIAL] = { "credential NAME", "credential", true,
	    CONF_T_POSTERN, KEYS(credential_keys), sizeof(struct conf_credential),
	    "User and secret for a route whose hosts want SMTP AUTH. It stands in postern.conf because tables cannot name files." },
	[CONF_S_PROFILE] = { "profile NAME", "profile", true,
	    CONF_T_BOUNCE, KEYS(profile_keys), sizeof(struct conf_profile),
	    "Retries and notices. A destination's profile applies, else the listener's, else default, which always exists." },
	[CONF_S_POSTERN] = { "postern", "postern", false,
	    CONF_T_POSTERN, KEYS(postern_keys), sizeof(struct conf_node),
	    "The node." },
	[CONF_S_TRUST] = { "trust", "trust", false,
	    CONF_T_POSTERN, KEYS(trust_keys), sizeof(struct conf_trust),
	    "Whom to believe." },
	[CONF_S_RESOLVER] = { "resolver", "resolver", false,
	    CONF_T_POSTERN, KEYS(resolver_keys), sizeof(struct conf_resolver),
	    "DNS." },
	[CONF_S_MTA_STS] = { "mta-sts", "mta-sts", false,
	    CONF_T_POSTERN, KEYS(mta_sts_keys), sizeof(struct conf_mta_sts),
	    "Policies of RFC 8461." },
	[CONF_S_QUEUE] = { "queue", "queue", false,
	    CONF_T_POSTERN, KEYS(queue_keys), sizeof(struct conf_queue),
	    "The store and its bounds." },
	[CONF_S_DELIVERY] = { "delivery", "delivery", false,
	    CONF_T_POSTERN, KEYS(delivery_keys), sizeof(struct conf_delivery),
	    "Outbound connections." },
	[CONF_S_LOG] = { "log", "log", false,
	    CONF_T_POSTERN, KEYS(log_keys), sizeof(struct conf_log),
	    "Logging." },
	[CONF_S_ADMIN] = { "admin", "admin", false,
	    CONF_T_POSTERN, KEYS(admin_keys), sizeof(struct conf_admin),
	    "HTTP API and metrics." },
	[CONF_S_CLUSTER] = { "cluster", "cluster", false,
	    CONF_T_POSTERN, KEYS(cluster_keys), sizeof(struct conf_cluster),
	    "Limits shared with other nodes." },
	[CONF_S_VERIFICATION] = { "bounce-verification", "bounce-verification",
	    false, CONF_T_POSTERN, KEYS(verification_keys),
	    sizeof(struct conf_bounce_verification),
	    "Bounce verification (BATV): envelope senders leave as prvs=KDDDSSSSSS=user@domain, and bounces are checked for it." },
	[CONF_S_LISTENER] = { "listener NAME", "listener", true,
	    CONF_T_POSTERN, KEYS(listener_keys), sizeof(struct conf_listener),
	    "SMTP intake." },
	[CONF_S_GATEWAY] = { "gateway NAME", "gateway", true,
	    CONF_T_GATEWAYS, KEYS(gateway_keys), sizeof(struct conf_gateway),
	    "A virtual gateway. Choice: client address, client network (longest), full sender, user@, @domain, @.partial (longest), else default, which always exists." },
	[CONF_S_DEFAULT] = { "DEFAULT", "DEFAULT", false,
	    CONF_T_DESTINATIONS, KEYS(dest_keys), sizeof(struct conf_dest),
	    "What holds for all destinations, each with its own copy of the limits, unless its entry says otherwise." },
	[CONF_S_DESTINATION] = { "DOMAIN | .PARTIAL | mx:HOST | mx:*.PARTIAL", NULL, true,
	    CONF_T_DESTINATIONS, KEYS(dest_keys), sizeof(struct conf_dest),
	    "Exact domain, else the longest partial one (any depth below). A key that is absent has DEFAULT's value. mx: entries bind all domains whose chosen MX host matches, together and in addition, by what they say themselves, never by DEFAULT; they hold limits only: max_connections, max_messages_per_connection, recipient_limit, limit_apply, and until, ticket." },
	[CONF_S_ROUTE] = { "DOMAIN | .PARTIAL | ALL", NULL, true,
	    CONF_T_ROUTES, KEYS(route_keys), sizeof(struct conf_route),
	    "A next hop instead of MX: exact domain, else the longest partial one, else ALL. DANE and MTA-STS are off for routed domains, except with USEDNS." },
};
/* clang-format on */

int
conf_key_find(const struct conf_section *s, const char *name, size_t len)
{
	size_t i;

	for (i = 0; i < s->n_keys; i++)
		if (strlen(s->keys[i].name) == len &&
		    memcmp(s->keys[i].name, name, len) == 0)
			return (int)i;
	return -1;
}

size_t
conf_dest_keys(void)
{
	return conf_schema[CONF_S_DEFAULT].n_keys;
}

const char *
conf_dest_key_name(size_t key)
{
	return dest_keys[key].name;
}

bool
conf_dest_inherits(size_t key)
{
	return dest_keys[key].offset != offsetof(struct conf_dest, until_s) &&
	    dest_keys[key].offset != offsetof(struct conf_dest, ticket);
}

bool
conf_dest_given(const struct conf_dest *dest, size_t key)
{
	return (dest->given >> key & 1) != 0;
}

const char *
conf_dest_value(const struct conf_dest *dest, size_t key, char *buf, size_t len)
{
	return conf_value_format(&dest_keys[key], dest, buf, len);
}

const char *
conf_tls_name(enum conf_tls tls)
{
	static const char *const words[] = { "none", "preferred", "required",
		"preferred-verify", "required-verify",
		"required-verify-hosted" };

	return words[tls];
}

const char *
conf_dane_name(enum conf_dane dane)
{
	static const char *const words[] = { "none", "opportunistic",
		"mandatory" };

	return words[dane];
}

const char *
conf_sts_name(enum conf_sts sts)
{
	static const char *const words[] = { "off", "on", "mandatory" };

	return words[sts];
}
