/*
 * commands.c - every command of posternctl: one table.
 *
 * Names are those that operators of mail gateways know. A new command is a row
 * here and a small function in look.c, explain.c, act.c or addr.c.
 */
#include "ctl/ctl.h"

static const struct opt rate_opts[] = {
	{ "--count", "N", "stop after N lines (default: until interrupted)" },
	{ NULL, NULL, NULL },
};

static const struct opt tophosts_opts[] = {
	{ "--sort", "WORD",
	    "active (default), connections, delivered, soft or hard" },
	{ "--limit", "N", "at most N destinations (default 20)" },
	{ NULL, NULL, NULL },
};

static const struct opt recipients_opts[] = {
	{ "--host", "D", "recipients at this domain" },
	{ "--from", "A",
	    "recipients of messages from this sender; <> for "
	    "notices" },
	{ "--all", NULL, "every recipient" },
	{ "--limit", "N", "at most N recipients (default 100)" },
	{ NULL, NULL, NULL },
};

static const struct opt end_opts[] = {
	{ "--host", "D", "recipients at this domain" },
	{ "--from", "A",
	    "recipients of messages from this sender; <> for notices" },
	{ "--all", NULL, "every recipient" },
	{ "--dry-run", NULL, "only say how many there are" },
	{ NULL, NULL, NULL },
};

static const struct opt deliver_opts[] = {
	{ "--all", NULL, "every destination" },
	{ NULL, NULL, NULL },
};

static const struct opt explain_opts[] = {
	{ "--from", "S", "as if this sender had sent it; <> for a notice" },
	{ "--client", "IP", "as if it had come from this client" },
	{ "--live", NULL, "connect to the hosts too; no mail is sent" },
	{ "--with", "F=V",
	    "another fact: sts=none, sts=indeterminate, sts.mode=enforce, "
	    "sts.id=ID, sts.mx=PATTERN,…, mx=secure, tlsa=absent, "
	    "tlsa='3 1 1 HEX', message=requiretls; repeats" },
	{ NULL, NULL, NULL },
};

static const struct opt drain_opts[] = {
	{ "--deadline", "T", "stop after T at the latest: 30s, 5m" },
	{ NULL, NULL, NULL },
};

static const struct opt addr_opts[] = {
	{ "--address", "A", "the address to look at" },
	{ "--stdin", NULL,
	    "JSON lines {\"id\": …, \"address\": …}, one answer each" },
	{ NULL, NULL, NULL },
};

static const struct opt sts_txt_opts[] = {
	{ "--rr", "S…", "the strings of one record; once for each record" },
	{ "--dns", "WORD",
	    "instead: SERVFAIL, TIMEOUT, REFUSED, NXDOMAIN, NODATA" },
	{ "--stdin", NULL, "JSON lines {\"rr\": [[…]], \"dns\": …}" },
	{ NULL, NULL, NULL },
};

static const struct opt sts_parse_opts[] = {
	{ "--policy-file", "F", "the text of the policy" },
	{ "--stdin", NULL,
	    "JSON lines {\"policy_file\": …} or {\"policy\": TEXT}" },
	{ NULL, NULL, NULL },
};

static const struct opt sts_match_opts[] = {
	{ "--pattern", "P…", "an mx pattern; several, or once for each" },
	{ "--mx", "HOST", "the name in the MX record" },
	{ "--stdin", NULL, "JSON lines {\"pattern\": […], \"mx\": …}" },
	{ NULL, NULL, NULL },
};

static const struct opt sts_fetch_opts[] = {
	{ "--domain", "D", "the recipient domain" },
	{ "--connect", "IP:PORT", "connect there, whatever DNS says" },
	{ "--ca", "F",
	    "trusted certificates (/etc/ssl/certs/ca-certificates.crt)" },
	{ "--stdin", NULL,
	    "JSON lines {\"domain\": …, \"connect\": …, \"ca\": …}" },
	{ NULL, NULL, NULL },
};

static const struct opt dane_verify_opts[] = {
	{ "--chain", "F", "the server's certificates in PEM, its own first" },
	{ "--tlsa", "R…", "a record, \"3 1 1 HEX\"; once for each" },
	{ "--base-domain", "B", "the domain at which the records lie" },
	{ "--name", "N…", "a further name for DANE-TA; once for each" },
	{ "--now", "EPOCH", "as at this time, in Unix seconds" },
	{ "--stdin", NULL,
	    "JSON lines {\"chain\": …, \"tlsa\": […], \"base_domain\": …, "
	    "…}" },
	{ NULL, NULL, NULL },
};

static const struct opt dane_plan_opts[] = {
	{ "--domain", "D", "the recipient domain" },
	{ "--resolver", "IP:PORT", "the validating DNS server to ask" },
	{ "--port", "N", "of the MX hosts (default 25)" },
	{ "--trust-ad", "WORD",
	    "believe its AD bit: loopback (default), yes, no" },
	{ "--stdin", NULL,
	    "JSON lines {\"domain\": …, \"resolver\": …, \"port\": …}" },
	{ NULL, NULL, NULL },
};

static const struct opt sts_list_opts[] = {
	{ "--limit", "N", "at most N policies (default 100)" },
	{ "--after", "D", "those behind this domain" },
	{ NULL, NULL, NULL },
};

static const struct opt commit_opts[] = {
	{ "-m", "TEXT", "why, for the log and the history" },
	{ NULL, NULL, NULL },
};

#define CONFIG_ARGS                                                        \
	"[list | show NAME | new NAME K=V... | edit NAME K=V... | delete " \
	"NAME | clear | import FILE | export [FILE]]"
#define CONFIG_HELP                                                           \
	"Nothing is in force before commit. K= takes a key away, so that "    \
	"its\n"                                                               \
	"default applies. Values are checked at once, rules between entries " \
	"at\n"                                                                \
	"showchanges and commit. Without arguments, at a terminal: a "        \
	"dialogue."

const struct command ctl_commands[] = {
	{ "status", "[detail]", "counters, rates, gauges, processes",
	    "What the node has done, how fast, what it holds, which of its\n"
	    "processes run, and whether every recipient is accounted for.\n"
	    "With detail: every counter and gauge, and each process's own "
	    "view.\n"
	    "Exit status 1 when a process is away, one gives an alert, or the "
	    "account does not hold.",
	    "  posternctl status\n"
	    "  posternctl status detail --json\n",
	    0, 1, NULL, cmd_status },
	{ "rate", "[SECONDS]", "recipients in and out, line by line",
	    "One line every SECONDS (default 10): recipients accepted, "
	    "finished\n"
	    "and queued since the line before. Ends when interrupted.",
	    "  posternctl rate\n"
	    "  posternctl rate 5 --count 12\n",
	    0, 1, rate_opts, cmd_rate },
	{ "tophosts", "", "the busiest destinations",
	    "Destinations with the most active recipients, connections,\n"
	    "delivered recipients, soft or hard bounces.",
	    "  posternctl tophosts\n"
	    "  posternctl tophosts --sort hard --limit 5\n",
	    0, 0, tophosts_opts, cmd_tophosts },
	{ "hoststatus", "DOMAIN", "everything about one destination",
	    "State, queue, connections, last errors and next attempt of a\n"
	    "recipient domain, on each virtual gateway, and its MTA-STS "
	    "policy as\n"
	    "stored. Exit status 1 when "
	    "the\n"
	    "node knows nothing about it.",
	    "  posternctl hoststatus example.com\n", 1, 1, NULL,
	    cmd_hoststatus },
	{ "showrecipients", "", "recipients in the queue",
	    "Recipients that wait, by domain, by sender, or all.",
	    "  posternctl showrecipients --host example.com\n"
	    "  posternctl showrecipients --from news@example.net --limit 500\n"
	    "  posternctl showrecipients --all --json\n",
	    0, 0, recipients_opts, cmd_showrecipients },
	{ "showmessage", "MID", "one message and its recipients",
	    "Sender, size, times and every recipient that is not finished yet.",
	    "  posternctl showmessage 72057594037927937\n", 1, 1, NULL,
	    cmd_showmessage },
	{ "oldmessage", "", "the oldest message in the queue",
	    "As showmessage, of the message that was accepted first. Exit "
	    "status 1\n"
	    "when the queue is empty.",
	    "  posternctl oldmessage\n", 0, 0, NULL, cmd_oldmessage },
	{ "archivemessage", "MID FILE", "the text of a message into a file",
	    "Writes the message as it was accepted to FILE, which must not "
	    "exist\n"
	    "yet; only its owner may read it. The message stays in the queue. "
	    "When\n"
	    "something fails, there is no file.",
	    "  posternctl archivemessage 72057594037927937 message.eml\n", 2, 2,
	    NULL, cmd_archivemessage },
	{ "why", "MID", "what a message waits for",
	    "For each recipient: state, reason, attempts, the last reply, the\n"
	    "next attempt, and when it expires.",
	    "  posternctl why 72057594037927937\n", 1, 1, NULL, cmd_why },
	{ "explain", "ADDRESS|DOMAIN", "how mail there would be delivered",
	    "Route, gateway, destination control, hosts with their DNSSEC "
	    "state,\n"
	    "and the verdict for each host with the rules that led to it. "
	    "Looks\n"
	    "names up; connects to nobody, unless --live is given. --with "
	    "asks\n"
	    "what would be if a fact were another. Exit status 1 when nothing "
	    "would\n"
	    "be delivered now.",
	    "  posternctl explain user@example.com\n"
	    "  posternctl explain example.com --from news@example.net\n"
	    "  posternctl explain example.com --client 10.1.2.3 --json\n"
	    "  posternctl explain example.com --live\n"
	    "  posternctl explain example.com --with sts.mode=enforce --with "
	    "sts.mx='*.example.net'\n",
	    1, 1, explain_opts, cmd_explain },
	{ "delivernow", "[HOST]", "try again now",
	    "What is deferred at HOST, or everywhere, is due at once.",
	    "  posternctl delivernow example.com\n"
	    "  posternctl delivernow --all\n",
	    0, 1, deliver_opts, cmd_delivernow },
	{ "suspenddel", "[HOST]", "stop delivering",
	    "No new connection to HOST, or to anybody; mail is still "
	    "accepted.\n"
	    "Lasts until resumedel, also over a restart.",
	    "  posternctl suspenddel example.com\n"
	    "  posternctl suspenddel\n",
	    0, 1, NULL, cmd_suspenddel },
	{ "resumedel", "[HOST]", "deliver again",
	    "Takes back suspenddel for HOST, or for everybody.",
	    "  posternctl resumedel example.com\n"
	    "  posternctl resumedel\n",
	    0, 1, NULL, cmd_resumedel },
	{ "suspendlistener", "[NAME]", "take no mail from new clients",
	    "New clients of a [listener NAME], or of every one, get 421; who "
	    "is\n"
	    "connected goes on. Lasts until resumelistener or the end of the "
	    "node,\n"
	    "also over a reload. status tells it.",
	    "  posternctl suspendlistener internal\n"
	    "  posternctl suspendlistener\n",
	    0, 1, NULL, cmd_suspendlistener },
	{ "resumelistener", "[NAME]", "take mail again",
	    "Takes back suspendlistener for NAME, or for every listener.",
	    "  posternctl resumelistener internal\n"
	    "  posternctl resumelistener\n",
	    0, 1, NULL, cmd_resumelistener },
	{ "hold", "MID", "keep one message back",
	    "The message stays in the queue and is not attempted until "
	    "unhold;\n"
	    "its expiry goes on.",
	    "  posternctl hold 72057594037927937\n", 1, 1, NULL, cmd_hold },
	{ "unhold", "MID", "let a held message go on",
	    "The message is due at once.",
	    "  posternctl unhold 72057594037927937\n", 1, 1, NULL, cmd_unhold },
	{ "removemessage", "MID", "delete one message",
	    "Its recipients end as removed; nobody is told.",
	    "  posternctl removemessage 72057594037927937\n", 1, 1, NULL,
	    cmd_removemessage },
	{ "deleterecipients", "", "delete recipients",
	    "They end as removed; nobody is told. Held ones too; those that "
	    "are\n"
	    "being delivered at this moment are left alone and counted. In a "
	    "large\n"
	    "queue it goes on behind an answer that came too late.",
	    "  posternctl deleterecipients --host example.com --dry-run\n"
	    "  posternctl deleterecipients --from news@example.net\n",
	    0, 0, end_opts, cmd_deleterecipients },
	{ "bouncerecipients", "", "return recipients to their senders",
	    "They fail with 5.0.0, and the sender gets a notice as his bounce\n"
	    "profile has it. Otherwise as deleterecipients.",
	    "  posternctl bouncerecipients --host example.com --dry-run\n"
	    "  posternctl bouncerecipients --host example.com\n",
	    0, 0, end_opts, cmd_bouncerecipients },
	{ "dnsflush", "[NAME]", "forget DNS answers",
	    "NAME, or everything, is asked for again when it is needed.",
	    "  posternctl dnsflush example.com\n"
	    "  posternctl dnsflush\n",
	    0, 1, NULL, cmd_dnsflush },
	{ "destconfig", CONFIG_ARGS, "destination controls",
	    "The entries of destinations.conf, as staged. NAME is a domain,\n"
	    "a partial one (.example.com), an MX site (mx:*.example.com) or "
	    "DEFAULT;\n"
	    "default K=V... edits the latter. import replaces the table by "
	    "one of the\n"
	    "other gateway's format (- is stdin) and tells what became of "
	    "each line;\n"
	    "export writes that format. " CONFIG_HELP,
	    "  posternctl destconfig list\n"
	    "  posternctl destconfig new bank.example tls=required-verify "
	    "max_connections=20\n"
	    "  posternctl destconfig edit bank.example tls= until=2027-01-31 "
	    "ticket='CHG 7'\n"
	    "  posternctl destconfig default recipient_limit=1000/60m\n"
	    "  posternctl destconfig import table.txt\n",
	    0, 32, NULL, cmd_config },
	{ "smtproutes", CONFIG_ARGS, "routes: next hops instead of MX",
	    "The entries of routes.conf, as staged. NAME is a domain, a "
	    "partial one\n"
	    "or ALL. " CONFIG_HELP,
	    "  posternctl smtproutes new .internal.example "
	    "hosts='relay1.example:2525, relay2.example/pri=10'\n"
	    "  posternctl smtproutes delete .internal.example\n",
	    0, 32, NULL, cmd_config },
	{ "altsrchost", CONFIG_ARGS, "virtual gateways",
	    "The entries of gateways.conf, as staged. " CONFIG_HELP,
	    "  posternctl altsrchost new marketing ipv4=192.0.2.10 "
	    "senders=@news.example.net\n",
	    0, 32, NULL, cmd_config },
	{ "bounceconfig", CONFIG_ARGS, "bounce profiles",
	    "The entries of bounce.conf, as staged. " CONFIG_HELP,
	    "  posternctl bounceconfig new quick max_queue_time=4h "
	    "max_retry=10m\n",
	    0, 32, NULL, cmd_config },
	{ "showchanges", "", "what is staged, and whether it holds together",
	    "Every entry that commit would change, key by key, the errors for\n"
	    "which it would be refused (exit status 1), and what it would "
	    "change\nfor mail that waits.",
	    "  posternctl showchanges\n"
	    "  posternctl showchanges --json\n",
	    0, 0, NULL, cmd_showchanges },
	{ "commit", "", "put what is staged in force",
	    "The whole set is checked, written at once and loaded; comments "
	    "and\n"
	    "order in the files stay. With an error nothing changes (exit "
	    "status 1).\n"
	    "Refused when the files have changed since the edits began.",
	    "  posternctl commit -m 'CHG 7: TLS for bank.example'\n", 0, 0,
	    commit_opts, cmd_commit },
	{ "clearchanges", "", "forget what is staged",
	    "The files and what is in force stay as they are.",
	    "  posternctl clearchanges\n", 0, 0, NULL, cmd_clearchanges },
	{ "rollbackconfig", "[REVISION]",
	    "an earlier revision is in force again",
	    "Without a number the one before the last. It becomes a new "
	    "revision;\n"
	    "what is staged must be committed or cleared first.",
	    "  posternctl rollbackconfig\n"
	    "  posternctl rollbackconfig 12\n",
	    0, 1, NULL, cmd_rollbackconfig },
	{ "history", "", "who committed what, when and why",
	    "The last 20 revisions, newest first.", "  posternctl history\n", 0,
	    0, NULL, cmd_history },
	{ "reload", "", "read the settings again",
	    "The whole new set comes into force, or it is refused and the old\n"
	    "one stays (exit status 1); postern check says what is wrong.",
	    "  posternctl reload\n", 0, 0, NULL, cmd_reload },
	{ "drain", "", "finish and stop the node",
	    "No new mail is taken, what is open is finished, the node exits.\n"
	    "What is queued stays queued.",
	    "  posternctl drain\n"
	    "  posternctl drain --deadline 5m\n",
	    0, 0, drain_opts, cmd_drain },
	{ "version", "", "versions of this program and of the node",
	    "Exit status 3 when the node does not answer; the program's own\n"
	    "version is told all the same.",
	    "  posternctl version\n", 0, 0, NULL, cmd_version },
	{ "addr check", "", "is this a mail address? (offline)",
	    "Judges an address by RFC 5321 and RFC 6531. Needs no node. "
	    "Always\n"
	    "prints JSON. Exit status 0 yes, 1 no, 2 a wrong call; with "
	    "--stdin\n"
	    "the worst of all lines.",
	    "  posternctl addr check --address 'user@example.com'\n"
	    "  printf '{\"id\":1,\"address\":\"a@b\"}\\n' | "
	    "posternctl addr check --stdin\n",
	    0, 0, addr_opts, cmd_addr_check },
	{ "dane verify", "", "does a chain match TLSA records? (offline)",
	    "Checks certificates against TLSA records as RFC 7672 section 3 "
	    "has it:\nDANE-EE without names and dates, DANE-TA with both. "
	    "Records that\ncannot be used are left out; where none is left "
	    "the outcome is unusable.\nNeeds no node. Always prints JSON. "
	    "Exit status 0 authenticated, 1 not,\n2 a wrong call.",
	    "  posternctl dane verify --chain mx.pem --tlsa '3 1 1 0F3C…' \\\n"
	    "    --base-domain mx1.example.com\n"
	    "  posternctl dane verify --chain mx.pem --tlsa '2 0 1 88AB…' \\\n"
	    "    --base-domain mx1.example.com --name example.com --now "
	    "1767225600\n",
	    0, 0, dane_verify_opts, cmd_dane_verify },
	{ "dane plan", "", "what DANE demands of a domain's hosts, from DNS",
	    "Asks a validating DNS server for MX, addresses and TLSA records, "
	    "in\nthe order and under the conditions of RFC 7672 section 2.2, "
	    "and tells\nfor each host what a connection would have to prove. "
	    "Knows no policy,\nno route and no setting. Needs no node. Always "
	    "prints JSON. Exit\nstatus 0 a host may be attempted, 1 none, 2 a "
	    "wrong call.",
	    "  posternctl dane plan --domain example.com --resolver "
	    "127.0.0.1:53\n"
	    "  posternctl dane plan --domain example.com --resolver "
	    "192.0.2.53:53 --trust-ad yes\n",
	    0, 0, dane_plan_opts, cmd_dane_plan },
	{ "tlsverify", "DOMAIN [HOST]", "connect and prove TLS; no mail",
	    "Connects to the hosts of a domain, or to one of them, as for "
	    "mail, and\n"
	    "tells protocol, cipher, certificate, verified name, level wanted "
	    "and\n"
	    "proven, and each step with what to do. Exit status 1 when mail "
	    "would\n"
	    "not be sent over one of the connections.",
	    "  posternctl tlsverify example.com\n"
	    "  posternctl tlsverify example.com mx1.example.com --json\n",
	    1, 2, NULL, cmd_tlsverify },
	{ "dane check", "DOMAIN", "the whole diagnosis of DANE",
	    "Is DANE used here? Are the MX records signed? For each MX host: "
	    "TLSA\nrecords, the connection, STARTTLS, and does the certificate "
	    "match? Each step\nis ok, warning or error, with what to do. "
	    "Connects to the MX hosts, in the\nway of a delivery; sends no "
	    "mail. Exit status 0 all is well, 1 a warning or\nan error.",
	    "  posternctl dane check example.com\n"
	    "  posternctl dane check example.com --json\n",
	    1, 1, NULL, cmd_dane_check },
	{ "sts check", "DOMAIN", "the whole diagnosis of MTA-STS",
	    "TXT record, policy host, its certificate, the policy, what is in "
	    "force\n"
	    "here, and for each MX host: listed? STARTTLS? certificate? Each "
	    "step is\n"
	    "ok, warning or error, with what to do. Looks past the DNS cache "
	    "and\n"
	    "connects to policy host and MX hosts; sends no mail. Exit status "
	    "0 all\n"
	    "is well, 1 a warning or an error.",
	    "  posternctl sts check example.com\n"
	    "  posternctl sts check example.com --json\n",
	    1, 1, NULL, cmd_sts_check },
	{ "sts list", "", "the MTA-STS policies that the node holds",
	    "In order of domains, with mode, id, age and failed refreshes.",
	    "  posternctl sts list --limit 20\n"
	    "  posternctl sts list --after example.com --json\n",
	    0, 0, sts_list_opts, cmd_sts_list },
	{ "sts show", "DOMAIN", "the stored MTA-STS policy of a domain",
	    "Mode, id, patterns, times, the last error and the text. Exit "
	    "status 1\nwhen none is stored.",
	    "  posternctl sts show example.com\n", 1, 1, NULL, cmd_sts_show },
	{ "sts refresh", "DOMAIN", "fetch the MTA-STS policy of a domain now",
	    "Past the DNS cache and every pause. What is stored stays in force "
	    "when\nthe fetch fails (exit status 1).",
	    "  posternctl sts refresh example.com\n", 1, 1, NULL,
	    cmd_sts_refresh },
	{ "sts txt", "", "what do these _mta-sts TXT records say? (offline)",
	    "Selects and reads the record as RFC 8461 section 3.1 has it. "
	    "Needs "
	    "no\nnode. Always prints JSON. Exit status 0 usable, 1 not, 2 a "
	    "wrong "
	    "call.",
	    "  posternctl sts txt --rr 'v=STSv1; id=20240101;'\n"
	    "  posternctl sts txt --rr 'v=STSv1; ' 'id=1;' --rr 'v=spf1 -all'\n"
	    "  posternctl sts txt --dns SERVFAIL\n",
	    0, 0, sts_txt_opts, cmd_sts_txt },
	{ "sts parse", "", "is this an MTA-STS policy? (offline)",
	    "Reads a policy text as RFC 8461 section 3.2 has it. Needs no "
	    "node.\n"
	    "Always prints JSON. Exit status 0 valid, 1 invalid, 2 a wrong "
	    "call.",
	    "  posternctl sts parse --policy-file mta-sts.txt\n", 0, 0,
	    sts_parse_opts, cmd_sts_parse },
	{ "sts match", "", "do these patterns name the host? (offline)",
	    "Compares mx patterns of a policy with the name of an MX host, in\n"
	    "order. Needs no node. Always prints JSON. Exit status 0 yes, 1 "
	    "no,\n"
	    "2 a wrong call.",
	    "  posternctl sts match --pattern '*.example.net' --mx "
	    "mx1.example.net\n",
	    0, 0, sts_match_opts, cmd_sts_match },
	{ "sts fetch", "", "get a domain's MTA-STS policy now",
	    "Fetches https://mta-sts.DOMAIN/.well-known/mta-sts.txt as the "
	    "node\n"
	    "would, with its checks and limits, from this machine. Needs no "
	    "node,\n"
	    "asks for no TXT record. Always prints JSON. Exit status 0 a "
	    "valid\n"
	    "policy, 1 none, 2 a wrong call.",
	    "  posternctl sts fetch --domain example.com\n"
	    "  posternctl sts fetch --domain example.com --connect "
	    "192.0.2.1:443\n",
	    0, 0, sts_fetch_opts, cmd_sts_fetch },
};

const size_t ctl_n_commands = sizeof(ctl_commands) / sizeof(ctl_commands[0]);
