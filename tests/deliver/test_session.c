/*
 * test_session.c - the SMTP client session against scripted servers: each
 * dialogue is fed whole replies and then a byte at a time, and must end the
 * same. The ids are lines of the standards checklist.
 *
 * A script is text: "S: " lines are what the server says, "C: " what the
 * client must send, in order. Special lines:
 *   C* TEXT	 what the client sends begins with TEXT
 *   TLS	 the client asks for the handshake; it succeeds
 *   EOF	 the server closes      TIMEOUT	 the timer runs out
 *   READY	 the session is ready: the message is sent (or QUIT, when there
 *		 is none left)
 *   CLOSE	 the session is over
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "deliver/session.h"

static const struct conf_delivery delivery = {
	.greeting_timeout_ms = 1,
	.ehlo_timeout_ms = 2,
	.tls_timeout_ms = 3,
	.mail_timeout_ms = 4,
	.rcpt_timeout_ms = 5,
	.data_timeout_ms = 6,
	.data_block_timeout_ms = 7,
	.final_dot_timeout_ms = 8,
	.quit_timeout_ms = 9,
};

static const struct prvs_keys tag_keys = { .key[3] = { 16, "0123456789abcdef" },
	.current = 3 };

struct test {
	const char *name;
	const char *script;
	/* one letter a recipient: D delivered, d deferred, F failed, a deferred
	 * and may come again at once; with - a slash parts messages */
	const char *want;
	const char *body;
	enum session_tls tls;
	uint32_t flags;
	const char *rcpts[5];
	uint32_t notify;
	const char *envid, *orcpt, *sender;
	enum reason end;
	int messages; /* 0 counts as 1 */
	const char *user;
	enum reason reason; /* of the first recipient; NONE: not looked at */
	const char *status; /* the same */
	bool tag;	    /* bounce verification, on day 0 for a week */
};

#define EHLO(ext)                                                   \
	"S: 220 mx ESMTP\nC: EHLO gw1.example.net\nS: 250-mx\n" ext \
	"S: 250 HELP\n"
#define PIPE "S: 250-PIPELINING\n"
#define GROUP1                                                          \
	"READY\nC: MAIL FROM:<a@b.example>\nC: RCPT TO:<c@d.example>\n" \
	"C: DATA\n"
#define BYE "READY\nC: QUIT\nS: 221 bye\nCLOSE\n"

static const struct test tests[] = {
	/* ---- opening ---- */
	{ "one by one, no extension",
	    EHLO("") "READY\n"
		     "C: MAIL FROM:<a@b.example>\nS: 250 ok\n"
		     "C: RCPT TO:<c@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
		     "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 2.0.0 "
		     "queued\n" BYE,
	    "D", .status = "2.0.0" },
	/* the tag is over the address as this host gets it: with A-labels */
	{ "BATV-01 the sender is tagged",
	    EHLO("") "READY\n"
		     "C: MAIL FROM:<prvs=3007f4af95=A@B.example>\nS: 250 ok\n"
		     "C: RCPT TO:<c@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
		     "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .sender = "A@B.example", .tag = true },
	{ "BATV-02 an IDN sender is tagged as it goes",
	    EHLO("") "READY\n"
		     "C: MAIL "
		     "FROM:<prvs=300739c5e7=a@xn--bcher-kva.example>\nS: 250 "
		     "ok\n"
		     "C: RCPT TO:<c@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
		     "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .sender = "a@b\303\274cher.example", .tag = true },
	{ "BATV-04 no tag on the null sender",
	    EHLO("") "READY\n"
		     "C: MAIL FROM:<>\nS: 250 ok\n"
		     "C: RCPT TO:<c@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
		     "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .sender = "", .tag = true },
	{ "SMTP-05 HELO",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 502 what\nC: HELO gw1.example.net\nS: 250 mx\nREADY\n"
	    "C: MAIL FROM:<a@b.example>\nS: 250 ok\n"
	    "C: RCPT TO:<c@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = NULL },
	{ "8BIT-01 a host that does not know EHLO",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 502 what\nC: HELO gw1.example.net\nS: 250 mx\nREADY\n" BYE,
	    "F", .flags = MSG_8BIT, .status = "5.6.3" },
	{ "8BIT-01 a host that refused EHLO did not say what it offers",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 550 busy\nC: HELO gw1.example.net\nS: 250 mx\nREADY\n" BYE,
	    "d", .flags = MSG_8BIT, .status = "4.6.3" },
	{ "HELO refused too",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 502 what\nC: HELO gw1.example.net\nS: 550 no\nC: QUIT\n"
	    "S: 221 bye\nCLOSE\n",
	    "-", .end = REASON_REMOTE_5XX },
	{ "SMTP-04 554 greeting",
	    "S: 554 no mail here\nC: QUIT\n"
	    "S: 221 bye\nCLOSE\n",
	    "-", .end = REASON_REMOTE_5XX },
	{ "SMTP-04 521 greeting", "S: 521 never\nC: QUIT\nEOF\nCLOSE\n", "-",
	    .end = REASON_REMOTE_5XX },
	{ "SMTP-04 4yz greeting", "S: 450 later\nC: QUIT\nS: 221 x\nCLOSE\n",
	    "-", .end = REASON_REMOTE_4XX },
	{ "421 greeting closes", "S: 421 busy\nCLOSE\n", "-",
	    .end = REASON_REMOTE_4XX },
	{ "greeting never comes", "TIMEOUT\nCLOSE\n", "-",
	    .end = REASON_CONNECTION_LOST },
	{ "closed before the greeting", "EOF\nCLOSE\n", "-",
	    .end = REASON_CONNECTION_LOST },
	{ "SMTP-17 not SMTP at all", "S: HTTP/1.1 400 Bad Request\nCLOSE\n",
	    "-", .end = REASON_PROTOCOL },
	{ "EHLO answered by 4yz",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 451 later\nC: QUIT\nS: 221 x\nCLOSE\n",
	    "-", .end = REASON_REMOTE_4XX },
	{ "SMTP-16 codes of a reply differ",
	    "S: 220 mx\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 550 no\nCLOSE\n",
	    "-", .end = REASON_PROTOCOL },
	{ "SMTP-19 a code without text",
	    "S: 220\nC: EHLO gw1.example.net\n"
	    "S: 250\nREADY\nC: MAIL FROM:<a@b.example>\nS: 250\n"
	    "C: RCPT TO:<c@d.example>\nS: 250\nC: DATA\nS: 354\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250\n" BYE,
	    "D", .status = "2.0.0" },

	/* ---- STARTTLS ---- */
	{ "TLS-05 TLS-06 all is learnt anew inside",
	    "S: 220 mx\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250-SIZE 5\n"
	    "S: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 PIPELINING\n" GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .tls = SESSION_TLS_MUST },
	{ "TLS-07 replies injected behind 220",
	    "S: 220 mx\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 STARTTLS\n"
	    "C: STARTTLS\nS+ 220 go\nS: 250 evil\nCLOSE\n",
	    "-", .tls = SESSION_TLS_MAY, .end = REASON_PROTOCOL },
	{ "TLS-14 not offered, required",
	    EHLO("") "C: QUIT\nS: 221 x\n"
		     "CLOSE\n",
	    "-", .tls = SESSION_TLS_MUST, .end = REASON_STARTTLS_MISSING },
	{ "refused, required",
	    EHLO("S: 250-STARTTLS\n") "C: STARTTLS\n"
				      "S: 454 not now\nC: QUIT\nS: 221 "
				      "x\nCLOSE\n",
	    "-", .tls = SESSION_TLS_MUST, .end = REASON_STARTTLS_MISSING },
	{ "TLS-13 refused, preferred: clear text here",
	    EHLO(
		"S: 250-STARTTLS\n" PIPE) "C: STARTTLS\nS: 454 not now\n" GROUP1
					  "S: 250 ok\nS: 250 ok\nS: 354 go\n"
					  "C: Subject: x\nC: \nC: hi\nC: .\nS: "
					  "250 ok\n" BYE,
	    "D", .tls = SESSION_TLS_MAY },
	{ "not used when it may not be",
	    EHLO("S: 250-STARTTLS\n" PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = NULL },
	{ "TLS-09 never inside TLS",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 STARTTLS\nREADY\n"
	    "C: MAIL FROM:<a@b.example>\nS: 550 5.7.1 no\n"
	    "C: RSET\nS: 250 ok\n" BYE,
	    "F", .tls = SESSION_TLS_MUST },

	/* ---- AUTH ---- */
	{ "AUTH PLAIN and AUTH=<>",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250-PIPELINING\n"
	    "S: 250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AHVzZXIAc2VjcmV0\n"
	    "S: 235 ok\nREADY\nC: MAIL FROM:<a@b.example> AUTH=<>\n"
	    "C: RCPT TO:<c@d.example>\nC: DATA\nS: 250 ok\nS: 250 ok\n"
	    "S: 354 go\nC: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .tls = SESSION_TLS_MUST, .user = "user" },
	{ "AUTH LOGIN",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 AUTH LOGIN\n"
	    "C: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: dXNlcg==\n"
	    "S: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\nS: 235 ok\n" BYE,
	    "-", .tls = SESSION_TLS_MUST, .user = "user", .messages = -1 },
	{ "AUTH-06 535 defers",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 AUTH PLAIN\n"
	    "C* AUTH PLAIN \nS: 535 5.7.8 no\nC: QUIT\nS: 221 x\nCLOSE\n",
	    "-", .tls = SESSION_TLS_MUST, .user = "user",
	    .end = REASON_REMOTE_4XX },
	{ "challenges without end are cancelled once",
	    "S: 220 mx\nC: EHLO gw1.example.net\n"
	    "S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 AUTH PLAIN\n"
	    "C* AUTH PLAIN \nS: 334 more\nC: *\nS: 334 more\nCLOSE\n",
	    "-", .tls = SESSION_TLS_MUST, .user = "user",
	    .end = REASON_PROTOCOL },
	{ "AUTH-04 no password in clear text",
	    EHLO("S: 250-AUTH PLAIN\n") "C: QUIT\nS: 221 x\nCLOSE\n", "-",
	    .user = "user", .end = REASON_CERT_UNTRUSTED },

	/* ---- the envelope ---- */
	{ "SMTP-20 each recipient its own",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<r0@d.example>\n"
		       "C: RCPT TO:<r1@d.example>\nC: RCPT "
		       "TO:<r2@d.example>\nC: DATA\n"
		       "S: 250 ok\nS: 250 ok\nS: 550 5.1.1 who\nS: 450 4.2.1 "
		       "later\n"
		       "S: 354 go\nC: Subject: x\nC: \nC: hi\nC: .\nS: 250 "
		       "ok\n" BYE,
	    "DFd",
	    .rcpts = { "r0@d.example", "r1@d.example", "r2@d.example" } },
	{ "MAIL refused for good",
	    EHLO(PIPE) GROUP1 "S: 550 5.7.1 no\n"
			      "S: 503 x\nS: 503 x\nC: RSET\nS: 250 ok\n" BYE,
	    "F", .reason = REASON_REMOTE_5XX, .status = "5.7.1" },
	{ "MAIL refused for now",
	    EHLO(PIPE) GROUP1 "S: 451 4.7.1 no\n"
			      "S: 503 x\nS: 503 x\nC: RSET\nS: 250 ok\n" BYE,
	    "d", .reason = REASON_REMOTE_4XX, .status = "4.7.1" },
	{ "SMTP-22 all refused, no pipelining: no DATA",
	    EHLO("") "READY\n"
		     "C: MAIL FROM:<a@b.example>\nS: 250 ok\n"
		     "C: RCPT TO:<c@d.example>\nS: 550 no\nC: RSET\nS: 250 "
		     "ok\n" BYE,
	    "F", .status = "5.0.0" },
	{ "PIPE-03 354 for nobody: a lone dot",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 550 no\nS: 354 go\nC: .\nS: 250 ok\n" BYE,
	    "F", .body = NULL },
	{ "PIPE-03 refused dot changes nothing",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 450 no\nS: 354 go\nC: .\nS: 554 no rcpts\n" BYE,
	    "d", .body = NULL },
	{ "SMTP-23 452 after one was taken",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<r0@d.example>\n"
		       "C: RCPT TO:<r1@d.example>\nC: DATA\nS: 250 ok\nS: 250 "
		       "ok\n"
		       "S: 452 4.5.3 too many\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "Da", .rcpts = { "r0@d.example", "r1@d.example" } },
	{ "SMTP-23 552 after one was taken is 452",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<r0@d.example>\n"
		       "C: RCPT TO:<r1@d.example>\nC: DATA\nS: 250 ok\nS: 250 "
		       "ok\n"
		       "S: 552 too many\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "Da", .rcpts = { "r0@d.example", "r1@d.example" } },
	{ "552 5.2.2 is a full mailbox all the same",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<r0@d.example>\n"
		       "C: RCPT TO:<r1@d.example>\nC: DATA\nS: 250 ok\nS: 250 "
		       "ok\n"
		       "S: 552 5.2.2 full\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "DF", .rcpts = { "r0@d.example", "r1@d.example" } },
	{ "552 to the first is for good",
	    EHLO(PIPE) GROUP1 "S: 250 ok\n"
			      "S: 552 no\nS: 503 x\nC: RSET\nS: 250 ok\n" BYE,
	    "F", .body = NULL },
	{ "452 4.2.2 is of the mailbox: no hurry",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<r0@d.example>\n"
		       "C: RCPT TO:<r1@d.example>\nC: DATA\nS: 250 ok\nS: 250 "
		       "ok\n"
		       "S: 452 4.2.2 full\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "Dd", .rcpts = { "r0@d.example", "r1@d.example" } },
	{ "SMTP-38 421 to RCPT is no verdict",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT TO:<r0@d.example>\n"
		       "C: RCPT TO:<r1@d.example>\nC: DATA\nS: 250 ok\nS: 550 "
		       "no\n"
		       "S: 421 4.3.2 going down\nCLOSE\n",
	    "Fd", .rcpts = { "r0@d.example", "r1@d.example" },
	    .end = REASON_REMOTE_4XX },
	{ "SMTP-37 5yz, then close",
	    EHLO(PIPE) GROUP1 "S: 250 ok\n"
			      "S+ 550 5.1.1 no\nEOF\nCLOSE\n",
	    "F", .end = REASON_CONNECTION_LOST },
	{ "SMTP-37 5yz to MAIL, then close",
	    EHLO(PIPE) GROUP1 "S: 554 5.7.1 blocked\nEOF\nCLOSE\n", "F",
	    .end = REASON_CONNECTION_LOST },
	{ "SMTP-33 lost in the envelope",
	    EHLO(PIPE) GROUP1 "S: 250 ok\n"
			      "EOF\nCLOSE\n",
	    "d", .end = REASON_CONNECTION_LOST,
	    .reason = REASON_CONNECTION_LOST, .status = "4.4.2" },
	{ "ESC-01 a class that contradicts is dropped",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 550 4.1.1 no\nS: 503 x\nC: RSET\nS: 250 ok\n" BYE,
	    "F", .status = "5.0.0" },
	{ "unknown 5yz by its first digit",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 599 what\nS: 503 x\nC: RSET\nS: 250 ok\n" BYE,
	    "F", .body = NULL },
	{ "3yz where none belongs is doubt",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 354 what\nS: 503 x\nC: RSET\nS: 250 ok\n" BYE,
	    "d", .reason = REASON_PROTOCOL },
	{ "SMTP-39 251 is a yes",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 251 moved\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = NULL },

	/* ---- data ---- */
	{ "DATA refused for good",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 554 5.6.0 no\nC: RSET\nS: 250 ok\n" BYE,
	    "F", .body = NULL },
	{ "SMTP-10 250 to DATA is no 354",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 250 ok\nC: RSET\nS: 250 ok\n" BYE,
	    "d", .body = NULL },
	{ "SMTP-21 refused after the dot, not those refused before",
	    EHLO(PIPE) "READY\nC: MAIL FROM:<a@b.example>\n"
		       "C: RCPT TO:<r0@d.example>\nC: RCPT "
		       "TO:<r1@d.example>\nC: DATA\n"
		       "S: 250 ok\nS: 450 later\nS: 250 ok\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 554 5.7.1 "
		       "spam\n" BYE,
	    "dF", .rcpts = { "r0@d.example", "r1@d.example" } },
	{ "4yz after the dot",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\n"
	    "S: 354 go\nC: Subject: x\nC: \nC: hi\nC: .\nS: 451 4.3.0 x\n" BYE,
	    "d", .body = NULL },
	{ "SMTP-33 lost after the dot is doubt",
	    EHLO(PIPE) GROUP1 "S: 250 ok\nS: 250 ok\nS: 354 go\n"
			      "C: Subject: x\nC: \nC: hi\nC: .\nEOF\nCLOSE\n",
	    "d", .end = REASON_CONNECTION_LOST, .status = "4.4.2" },
	{ "no answer after the dot is doubt",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nTIMEOUT\nCLOSE\n",
	    "d", .end = REASON_CONNECTION_LOST },
	{ "421 after the dot",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\n"
	    "S: 354 go\nC: Subject: x\nC: \nC: hi\nC: .\nS: 421 x\nCLOSE\n",
	    "d", .end = REASON_REMOTE_4XX },
	{ "SMTP-14 a failed QUIT undoes nothing",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\nREADY\nC: QUIT\n"
	    "EOF\nCLOSE\n",
	    "D", .body = NULL },
	{ "SMTP-12 dots",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\n"
	    "S: 354 go\nC: ..\nC: ..a\nC: b.\nC: ...\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = ".\r\n.a\r\nb.\r\n..\r\n" },
	{ "SMTP-13 a last line without its end",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\nC: a\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = "a" },
	{ "SMUG-03 nothing stored smuggles",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\nC: a\nC: ..\nC: MAIL\nC: ..\n"
	    "C: x\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = "a\n.\nMAIL\r.\rx\r\n" },
	{ "an empty body",
	    EHLO(PIPE) GROUP1 "S: 250 ok\nS: 250 ok\n"
			      "S: 354 go\nC: .\nS: 250 ok\n" BYE,
	    "D", .body = "" },

	/* ---- two messages ---- */
	{ "SMTP-11 SMTP-34 the next message after a refusal",
	    EHLO(PIPE) GROUP1
	    "S: 550 5.7.1 not you\nS: 503 x\nS: 503 x\nC: RSET\nS: 250 "
	    "ok\n" GROUP1 "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "F/D", .messages = 2 },
	{ "no RSET after a final answer",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 554 no\n" GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "F/D", .messages = 2 },
	{ "RSET refused: leave",
	    EHLO(PIPE) GROUP1
	    "S: 550 no\nS: 503 x\nS: 503 x\nC: RSET\nS: 500 what\nC: QUIT\n"
	    "S: 221 x\nCLOSE\n",
	    "F", .end = REASON_PROTOCOL },
	{ "421 between messages", EHLO(PIPE) "READY0\nS: 421 idle\nCLOSE\n",
	    "-", .end = REASON_REMOTE_4XX },
	{ "a reply that nothing asked for, at once",
	    "S: 220 mx\nC: EHLO gw1.example.net\nS+ 250 mx\nS: 250 ok\n"
	    "CLOSE\n",
	    "-", .end = REASON_PROTOCOL },
	{ "a reply that nothing asked for",
	    EHLO(PIPE) "READY0\nS: 250 ok\n"
		       "CLOSE\n",
	    "-", .end = REASON_PROTOCOL },

	/* ---- BDAT ---- */
	{ "BDAT-01 in one chunk, no dots",
	    EHLO(PIPE
		"S: 250-CHUNKING\n") "READY\nC: MAIL FROM:<a@b.example>\nC: "
				     "RCPT TO:<c@d.example>\n"
				     "S: 250 ok\nS: 250 ok\nC: BDAT 6 LAST\nC: "
				     ".\nC: a\n"
				     "S: 250 ok\n" BYE,
	    "D", .body = ".\r\na\r\n" },
	{ "BDAT of nothing",
	    EHLO(PIPE
		"S: 250-CHUNKING\n") "READY\nC: MAIL FROM:<a@b.example>\nC: "
				     "RCPT TO:<c@d.example>\n"
				     "S: 250 ok\nS: 250 ok\nC: BDAT 0 LAST\nS: "
				     "250 ok\n" BYE,
	    "D", .body = "" },
	{ "BDAT refused",
	    EHLO(PIPE
		"S: 250-CHUNKING\n") "READY\nC: MAIL FROM:<a@b.example>\nC: "
				     "RCPT TO:<c@d.example>\n"
				     "S: 250 ok\nS: 250 ok\nC: BDAT 3 LAST\nC: "
				     "a\nS: 554 no\n"
				     "C: RSET\nS: 250 ok\n" BYE,
	    "F", .body = "a\r\n" },
	{ "no BDAT for nobody",
	    EHLO(PIPE
		"S: 250-CHUNKING\n") "READY\nC: MAIL FROM:<a@b.example>\nC: "
				     "RCPT TO:<c@d.example>\n"
				     "S: 250 ok\nS: 550 no\nC: RSET\nS: 250 "
				     "ok\n" BYE,
	    "F", .body = NULL },

	/* ---- parameters ---- */
	{ "SMTP-08 SIZE, BODY, DSN when offered",
	    EHLO(PIPE
		"S: 250-SIZE 1000\nS: 250-8BITMIME\nS: 250-DSN\n") "READY\nC: "
								   "MAIL "
								   "FROM:<a@b."
								   "example> "
								   "SIZE=18 "
								   "BODY="
								   "8BITMIME "
								   "RET=HDRS "
								   "ENVID="
								   "e1\nC: "
								   "RCPT "
								   "TO:<c@d."
								   "example> "
								   "NOTIFY="
								   "SUCCESS,"
								   "DELAY "
								   "ORCPT="
								   "rfc822;C@d."
								   "example\nC:"
								   " DATA\n"
								   "S: 250 "
								   "ok\nS: 250 "
								   "ok\nS: 354 "
								   "go\n"
								   "C: "
								   "Subject: "
								   "x\nC: \nC: "
								   "hi\nC: "
								   ".\nS: 250 "
								   "ok\n" BYE,
	    "D", .flags = MSG_8BIT,
	    .notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY, .envid = "e1",
	    .orcpt = "rfc822;C@d.example" },
	{ "RTLS-10 REQUIRETLS where TLS offers it",
	    "S: 220 mx\nC: EHLO gw1.example.net\nS: 250-mx\n"
	    "S: 250 STARTTLS\nC: STARTTLS\nS: 220 go\nTLS\n"
	    "C: EHLO gw1.example.net\nS: 250-mx\nS: 250 REQUIRETLS\nREADY\n"
	    "C: MAIL FROM:<a@b.example> REQUIRETLS\nS: 250 ok\n"
	    "C: RCPT TO:<c@d.example>\nS: 250 ok\nC: DATA\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .tls = SESSION_TLS_MAY, .flags = MSG_REQUIRETLS },
	{ "RTLS-01 never in clear, whoever offers it",
	    EHLO(
		"S: 250-REQUIRETLS\n") "READY\n"
				       "C: MAIL FROM:<a@b.example>\nS: 250 ok\n"
				       "C: RCPT TO:<c@d.example>\nS: 250 "
				       "ok\nC: DATA\nS: 354 go\n"
				       "C: Subject: x\nC: \nC: hi\nC: .\nS: "
				       "250 ok\n" BYE,
	    "D", .flags = MSG_REQUIRETLS },
	{ "DSN-07 none of it when not offered",
	    EHLO(PIPE) GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .notify = DSN_NOTIFY_SUCCESS, .envid = "e1",
	    .orcpt = "rfc822;C@d.example" },
	{ "SIZE-02 above the maximum",
	    EHLO(PIPE "S: 250-SIZE 10\n") "READY\n" BYE, "F",
	    .reason = REASON_CONTENT, .status = "5.3.4" },
	{ "SIZE 0 is no limit",
	    EHLO(PIPE
		"S: 250-SIZE 0\n") "READY\n"
				   "C: MAIL FROM:<a@b.example> SIZE=18\nC: "
				   "RCPT TO:<c@d.example>\n"
				   "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
				   "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 "
				   "ok\n" BYE,
	    "D", .body = NULL },
	{ "8BIT-01 not offered", EHLO(PIPE) "READY\n" BYE, "F",
	    .flags = MSG_8BIT, .reason = REASON_CONTENT, .status = "5.6.3" },
	{ "UTF8-02 not offered", EHLO(PIPE "S: 250-8BITMIME\n") "READY\n" BYE,
	    "F", .flags = MSG_SMTPUTF8, .rcpts = { "\xc3\xbc@d.example" },
	    .reason = REASON_CONTENT, .status = "5.6.7" },
	{ "UTF8-01 offered and needed",
	    EHLO(PIPE
		"S: 250-8BITMIME\nS: 250-SMTPUTF8\n") "READY\n"
						      "C: MAIL "
						      "FROM:<a@b.example> "
						      "SMTPUTF8\n"
						      "C: RCPT "
						      "TO:<\xc3\xbc@d.example>"
						      "\nC: DATA\nS: 250 "
						      "ok\nS: 250 ok\n"
						      "S: 354 go\nC: Subject: "
						      "x\nC: \nC: hi\nC: .\nS: "
						      "250 ok\n" BYE,
	    "D", .flags = MSG_SMTPUTF8, .rcpts = { "\xc3\xbc@d.example" } },
	{ "UTF8-01 offered, not needed",
	    EHLO(PIPE "S: 250-SMTPUTF8\n") GROUP1
	    "S: 250 ok\nS: 250 ok\nS: 354 go\n"
	    "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .flags = MSG_SMTPUTF8 },
	{ "UTF8-02 a U-label alone goes as A-label",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT "
		       "TO:<c@xn--bcher-kva.example>\n"
		       "C: DATA\nS: 250 ok\nS: 250 ok\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D",
	    .rcpts = { "c@b\xc3\xbc"
		       "cher.example" } },
	{ "SMUG-04 an address that is none",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<a@b.example>\nC: RCPT "
		       "TO:<r1@d.example>\nC: DATA\n"
		       "S: 250 ok\nS: 250 ok\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "FD", .rcpts = { "a>\r\nRCPT TO:<b@c", "r1@d.example" } },
	{ "SMTP-35 the null sender",
	    EHLO(PIPE) "READY\n"
		       "C: MAIL FROM:<>\nC: RCPT TO:<c@d.example>\nC: DATA\n"
		       "S: 250 ok\nS: 250 ok\nS: 354 go\n"
		       "C: Subject: x\nC: \nC: hi\nC: .\nS: 250 ok\n" BYE,
	    "D", .sender = "" },
};

/* ---- the player ------------------------------------------------------------------------ */

enum { RCPTS = 5 };

struct play {
	const struct test *t;
	bool bytewise;
	struct session *s;
	struct session_msg msg;
	struct session_rcpt rcpts[RCPTS];
	int left;   /* messages still to be sent */
	bool ready; /* READY came and is not used */
	bool tls, closed;
	char got[64]; /* outcomes */
	char why[1024];
};

static const char *
body_of(const struct test *t)
{
	return t->body != NULL ? t->body : "Subject: x\r\n\r\nhi\r\n";
}

static ssize_t
read_body(void *arg, uint64_t at, uint8_t *buf, size_t cap)
{
	const struct test *t = arg;

	/* in small pieces, so that their borders are everywhere */
	(void)cap;
	buf[0] = (uint8_t)body_of(t)[at];
	return 1;
}

static void
fill_msg(struct play *p)
{
	const struct test *t = p->t;
	size_t i;

	memset(&p->msg, 0, sizeof(p->msg));
	memset(p->rcpts, 0, sizeof(p->rcpts));
	p->msg.sender = t->sender != NULL ? t->sender : "a@b.example";
	p->msg.envid = t->envid != NULL ? t->envid : "";
	p->msg.ret = t->envid != NULL ? DSN_RET_HDRS : DSN_RET_NONE;
	p->msg.flags = t->flags;
	p->msg.size = strlen(body_of(t));
	p->msg.rcpts = p->rcpts;
	p->msg.tag = (struct session_tag){ t->tag ? &tag_keys : NULL, 0, 7 };
	p->msg.read = read_body;
	/* the callback only reads */
	p->msg.arg = (void *)(uintptr_t)t;
	for (i = 0; i < RCPTS && t->rcpts[i] != NULL; i++)
		p->rcpts[i].address = t->rcpts[i];
	if (i == 0)
		p->rcpts[i++].address = "c@d.example";
	p->msg.n_rcpts = i;
	for (i = 0; i < p->msg.n_rcpts; i++) {
		p->rcpts[i].rid = (uint32_t)i;
		p->rcpts[i].notify = t->notify;
		p->rcpts[i].orcpt = t->orcpt != NULL ? t->orcpt : "";
	}
}

static void
note_results(struct play *p)
{
	size_t i, n = strlen(p->got);

	if (n > 0)
		p->got[n++] = '/';
	for (i = 0; i < p->msg.n_rcpts; i++) {
		const struct session_rcpt *rc = &p->rcpts[i];

		assert_true(rc->settled);
		assert_true(rc->status[0] != '\0');
		p->got[n++] = rc->outcome == OUTCOME_DELIVERED ? 'D'
		    : rc->outcome == OUTCOME_FAILED	       ? 'F'
		    : rc->again				       ? 'a'
							       : 'd';
	}
	p->got[n] = '\0';
	if (p->t->reason != REASON_NONE && p->rcpts[0].reason != p->t->reason)
		(void)snprintf(p->why, sizeof(p->why), "reason '%s'",
		    reason_word(p->rcpts[0].reason));
	if (p->t->status != NULL &&
	    strcmp(p->rcpts[0].status, p->t->status) != 0)
		(void)snprintf(
		    p->why, sizeof(p->why), "status %s", p->rcpts[0].status);
	session_msg_done(&p->msg);
}

static void
take_events(struct play *p)
{
	enum session_event ev;

	while ((ev = session_next(p->s)) != SESSION_EV_NONE) {
		assert_false(p->closed);
		switch (ev) {
		case SESSION_EV_READY:
			p->ready = true;
			break;
		case SESSION_EV_STARTTLS:
			p->tls = true;
			break;
		case SESSION_EV_DONE:
			note_results(p);
			break;
		case SESSION_EV_CLOSE:
			p->closed = true;
			break;
		case SESSION_EV_NONE:
			break;
		}
	}
	session_pump(p->s);
}

static void
feed(struct play *p, const char *data, size_t len)
{
	size_t i;

	if (!p->bytewise) {
		session_input(p->s, data, len);
		take_events(p);
		return;
	}
	for (i = 0; i < len; i++) {
		session_input(p->s, data + i, 1);
		take_events(p);
	}
}

/* The client's next line (or its beginning). */
static bool
expect(struct play *p, const char *text, size_t len, bool whole)
{
	struct buf *out = session_out(p->s);
	size_t have;

	session_pump(p->s);
	have = buf_len(out);
	if (have < len || memcmp(buf_data(out), text, len) != 0 ||
	    (whole &&
		(have < len + 2 ||
		    memcmp(buf_data(out) + len, "\r\n", 2) != 0))) {
		(void)snprintf(p->why, sizeof(p->why),
		    "wanted '%.*s', the client says '%.*s'", (int)len, text,
		    (int)have, have > 0 ? (char *)buf_data(out) : "");
		return false;
	}
	if (!whole) {
		const uint8_t *lf = memchr(buf_data(out), '\n', have);

		len = lf == NULL ? have : (size_t)(lf - buf_data(out)) + 1;
		buf_drop(out, len);
	} else {
		buf_drop(out, len + 2);
	}
	session_pump(p->s);
	return true;
}

static bool
is_silent(struct play *p)
{
	struct buf *out = session_out(p->s);

	if (buf_len(out) == 0)
		return true;
	(void)snprintf(p->why, sizeof(p->why), "the client also says '%.*s'",
	    (int)buf_len(out), (char *)buf_data(out));
	return false;
}

static bool
step(struct play *p, const char *line, size_t len)
{
	static char held[4096]; /* "S+": goes out with the next */
	static size_t n_held;
	char wire[8192];
	int n;

	if (len >= 3 &&
	    (strncmp(line, "S: ", 3) == 0 || strncmp(line, "S+ ", 3) == 0)) {
		if (!is_silent(p))
			return false;
		n = snprintf(wire, sizeof(wire), "%.*s%.*s\r\n", (int)n_held,
		    held, (int)(len - 3), line + 3);
		n_held = 0;
		if (line[1] == '+') {
			n_held = (size_t)n;
			memcpy(held, wire, n_held);
		} else {
			feed(p, wire, (size_t)n);
		}
		return true;
	}
	if (len >= 3 && strncmp(line, "C: ", 3) == 0)
		return expect(p, line + 3, len - 3, true);
	if (len >= 3 && strncmp(line, "C* ", 3) == 0)
		return expect(p, line + 3, len - 3, false);
	if (strncmp(line, "EOF", len) == 0) {
		if (n_held > 0)
			feed(p, held, n_held);
		n_held = 0;
		session_lost(p->s, "closed by the host");
		take_events(p);
		return true;
	}
	if (strncmp(line, "TIMEOUT", len) == 0) {
		assert_true(session_timeout_ms(p->s) > 0);
		session_timeout(p->s);
		take_events(p);
		return true;
	}
	if (strncmp(line, "CLOSE", len) == 0) {
		if (!p->closed)
			(void)snprintf(p->why, sizeof(p->why), "not closed");
		return p->closed;
	}
	if (strncmp(line, "TLS", len) == 0) {
		if (!p->tls || !is_silent(p))
			return false;
		p->tls = false;
		session_tls_done(p->s, true);
		take_events(p);
		return true;
	}
	/* READY, READY0 */
	if (!p->ready) {
		(void)snprintf(p->why, sizeof(p->why), "not ready");
		return false;
	}
	p->ready = false;
	if (len == 6) {
		assert_int_equal(session_timeout_ms(p->s), 0);
	} else if (p->left > 0) {
		p->left--;
		fill_msg(p);
		session_send(p->s, &p->msg);
	} else {
		session_quit(p->s);
	}
	take_events(p);
	return true;
}

static bool
play(const struct test *t, bool bytewise, char *why, size_t why_len)
{
	struct session_conf conf = { .ehlo_name = "gw1.example.net",
		.tls = t->tls,
		.delivery = &delivery,
		.auth_user = t->user,
		.auth_secret = "secret" };
	struct play p = { .t = t, .bytewise = bytewise };
	const char *line = t->script, *end;
	bool ok = true;

	p.left = t->messages == 0 ? 1 : t->messages < 0 ? 0 : t->messages;
	p.s = session_new(&conf);
	while (ok && *line != '\0') {
		end = strchrnul(line, '\n');
		ok = step(&p, line, (size_t)(end - line)) && p.why[0] == '\0';
		if (!ok)
			(void)snprintf(why, why_len, "at '%.*s': %s",
			    (int)(end - line), line, p.why);
		line = *end == '\0' ? end : end + 1;
	}
	if (ok && strcmp(p.got[0] == '\0' ? "-" : p.got, t->want) != 0) {
		(void)snprintf(
		    why, why_len, "outcomes %s, wanted %s", p.got, t->want);
		ok = false;
	}
	if (ok && session_end(p.s)->reason != t->end) {
		(void)snprintf(why, why_len, "ended by '%s': %s",
		    reason_word(session_end(p.s)->reason),
		    session_end(p.s)->text);
		ok = false;
	}
	session_free(p.s);
	return ok;
}

static void
dialogues(void **state)
{
	bool bytewise = *(bool *)*state;
	char why[2048];
	size_t i, bad = 0;

	for (i = 0; i < sizeof(tests) / sizeof(tests[0]); i++)
		if (!play(&tests[i], bytewise, why, sizeof(why))) {
			print_error("%s: %s\n", tests[i].name, why);
			bad++;
		}
	if (bad > 0)
		fail_msg("%zu dialogues failed", bad);
}

/* ---- apart ------------------------------------------------------------------------------- */

static struct session *
open_session(const char *ehlo)
{
	struct session_conf conf = { .ehlo_name = "gw1.example.net",
		.delivery = &delivery };
	struct session *s = session_new(&conf);

	session_input(s, "220 mx\r\n", 8);
	session_input(s, ehlo, strlen(ehlo));
	buf_drop(session_out(s), buf_len(session_out(s)));
	assert_int_equal(session_next(s), SESSION_EV_READY);
	return s;
}

static ssize_t
read_zeros(void *arg, uint64_t at, uint8_t *buf, size_t cap)
{
	uint64_t *reads = arg;

	(void)at;
	(*reads)++;
	memset(buf, 'x', cap);
	return (ssize_t)cap;
}

/* Memory stays bounded however large the body: nothing more is read while the
 * socket takes nothing, and every byte goes out once. */
static void
large_body_is_read_as_it_goes(void **state)
{
	const char *ehlo = *state;
	struct session *s = open_session(ehlo);
	struct session_rcpt rc = { .address = "c@d.example", .orcpt = "" };
	uint64_t reads = 0, out_bytes = 0, before;
	struct session_msg m = { .sender = "",
		.envid = "",
		.size = 5 * 1000 * 1000,
		.n_rcpts = 1,
		.rcpts = &rc,
		.read = read_zeros,
		.arg = &reads };
	bool bdat = strstr(ehlo, "CHUNKING") != NULL;
	size_t n;
	int turns = 0;

	session_send(s, &m);
	buf_drop(session_out(s), buf_len(session_out(s)));
	session_input(s, "250 ok\r\n250 ok\r\n", 16);
	if (!bdat)
		session_input(s, "354 go\r\n", 8);
	before = reads;
	session_pump(s);
	session_pump(s);
	assert_int_equal(reads, before); /* nothing was taken meanwhile */
	while ((n = buf_len(session_out(s))) > 0 && turns++ < 1000) {
		assert_true(n <= 3 * (size_t)SESSION_PIECE);
		out_bytes += n;
		buf_drop(session_out(s), n);
		session_pump(s);
		if (bdat && buf_len(session_out(s)) == 0)
			session_input(s, "250 ok\r\n", 8);
	}
	assert_true(out_bytes >= m.size);
	if (!bdat)
		session_input(s, "250 ok\r\n", 8);
	while (bdat && session_next(s) == SESSION_EV_NONE)
		session_input(s, "250 ok\r\n", 8);
	assert_int_equal(rc.outcome, OUTCOME_DELIVERED);
	session_msg_done(&m);
	session_free(s);
}

static ssize_t
read_nothing(void *arg, uint64_t at, uint8_t *buf, size_t cap)
{
	(void)arg;
	(void)at;
	(void)buf;
	(void)cap;
	return -EIO;
}

/* A body that cannot be read is never ended by a dot. */
static void
broken_body_is_cut(void **state)
{
	struct session *s = open_session("250 mx\r\n");
	struct session_rcpt rc = { .address = "c@d.example", .orcpt = "" };
	struct session_msg m = { .sender = "",
		.envid = "",
		.size = 100,
		.n_rcpts = 1,
		.rcpts = &rc,
		.read = read_nothing };

	(void)state;
	session_send(s, &m);
	session_input(s, "250 ok\r\n", 8);
	session_input(s, "250 ok\r\n", 8);
	buf_drop(session_out(s), buf_len(session_out(s)));
	session_input(s, "354 go\r\n", 8);
	assert_int_equal(buf_len(session_out(s)), 0);
	assert_int_equal(session_next(s), SESSION_EV_DONE);
	assert_int_equal(session_next(s), SESSION_EV_CLOSE);
	assert_int_equal(rc.outcome, OUTCOME_DEFERRED);
	assert_int_equal(rc.reason, REASON_STORE);
	session_msg_done(&m);
	session_free(s);
}

/* An answer to the data before all of it was sent is no answer to it. */
static void
early_answers(void **state)
{
	static const struct {
		const char *reply;
		enum outcome outcome;
	} rows[] = { { "250 ok\r\n", OUTCOME_DEFERRED },
		{ "552 5.3.4 too big\r\n", OUTCOME_FAILED },
		{ "451 no\r\n", OUTCOME_DEFERRED },
		{ "421 bye\r\n", OUTCOME_DEFERRED } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session *s = open_session("250 mx\r\n");
		struct session_rcpt rc = { .address = "c@d.example",
			.orcpt = "" };
		uint64_t reads = 0;
		struct session_msg m = { .sender = "",
			.envid = "",
			.size = 1000 * 1000,
			.n_rcpts = 1,
			.rcpts = &rc,
			.read = read_zeros,
			.arg = &reads };

		session_send(s, &m);
		session_input(s, "250 ok\r\n", 8);
		session_input(s, "250 ok\r\n", 8);
		session_input(s, "354 go\r\n", 8);
		session_input(s, rows[i].reply, strlen(rows[i].reply));
		assert_int_equal(session_next(s), SESSION_EV_DONE);
		assert_int_equal(session_next(s), SESSION_EV_CLOSE);
		assert_int_equal(rc.outcome, rows[i].outcome);
		session_msg_done(&m);
		session_free(s);
	}
}

/* A megabyte of reply costs a session, never memory. */
static void
endless_replies_are_bounded(void **state)
{
	static const char *const pieces[] = { "250-and so on\r\n", "2",
		"250 xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" };
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		struct session_conf conf = { .ehlo_name = "gw1.example.net",
			.delivery = &delivery };
		struct session *s = session_new(&conf);

		for (k = 0; k < 100000; k++)
			session_input(s, pieces[i], strlen(pieces[i]));
		assert_int_equal(session_next(s), SESSION_EV_CLOSE);
		assert_int_equal(session_end(s)->reason, REASON_PROTOCOL);
		session_free(s);
	}
}

static void
limits_and_dsn_are_kept(void **state)
{
	struct session *s = open_session(
	    "250-mx\r\n250 LIMITS MAILMAX=3 RCPTMAX=7 RCPTDOMAINMAX=1\r\n");

	(void)state;
	assert_int_equal(session_ehlo(s)->mailmax, 3);
	assert_int_equal(session_ehlo(s)->rcptmax, 7);
	session_free(s);
}

/* DSN-08: a hop that does not know DSN makes the delivery `relayed`. */
static void
relayed_without_dsn(void **state)
{
	static const struct {
		const char *ehlo;
		bool relayed;
	} rows[] = { { "250 mx\r\n", true },
		{ "250-mx\r\n250 DSN\r\n", false } };
	static const char *const replies[] = { "250 ok\r\n", "250 ok\r\n",
		"354 go\r\n", "250 ok\r\n" };
	size_t i, k;

	(void)state;
	for (i = 0; i < 2; i++) {
		struct session *s = open_session(rows[i].ehlo);
		struct session_rcpt rc = { .address = "c@d.example",
			.orcpt = "" };
		struct session_msg m = { .sender = "",
			.envid = "",
			.n_rcpts = 1,
			.rcpts = &rc,
			.read = read_nothing };

		session_send(s, &m);
		for (k = 0; k < 4; k++) {
			buf_drop(session_out(s), buf_len(session_out(s)));
			session_input(s, replies[k], strlen(replies[k]));
		}
		assert_int_equal(rc.outcome, OUTCOME_DELIVERED);
		assert_int_equal(rc.relayed, rows[i].relayed);
		session_msg_done(&m);
		session_free(s);
	}
}

/* SMTP-26: each wait has its own time. */
static void
timeouts_by_state(void **state)
{
	struct session_conf conf = { .ehlo_name = "gw1.example.net",
		.delivery = &delivery };
	struct session *s = session_new(&conf);
	struct session_rcpt rc = { .address = "c@d.example", .orcpt = "" };
	struct session_msg m = { .sender = "",
		.envid = "",
		.n_rcpts = 1,
		.rcpts = &rc,
		.read = read_nothing };
	uint64_t progress;

	(void)state;
	assert_int_equal(session_timeout_ms(s), 1);
	progress = session_progress(s);
	session_input(s, "220", 3);
	assert_int_equal(
	    session_progress(s), progress); /* drips do not count */
	session_input(s, " mx\r\n", 5);
	assert_true(session_progress(s) != progress);
	assert_int_equal(session_timeout_ms(s), 2);
	session_input(s, "250 mx\r\n", 8);
	assert_int_equal(session_timeout_ms(s), 0);
	session_send(s, &m);
	assert_int_equal(session_timeout_ms(s), 4);
	session_input(s, "250 ok\r\n", 8);
	assert_int_equal(session_timeout_ms(s), 5);
	session_input(s, "250 ok\r\n", 8);
	assert_int_equal(session_timeout_ms(s), 6);
	buf_drop(session_out(s), buf_len(session_out(s)));
	session_input(s, "354 go\r\n", 8);
	assert_int_equal(session_timeout_ms(s), 8);
	buf_drop(session_out(s), buf_len(session_out(s)));
	session_input(s, "250 ok\r\n", 8);
	session_quit(s);
	assert_int_equal(session_timeout_ms(s), 9);
	session_msg_done(&m);
	session_free(s);
}

/* And all of them together have one, which the size of the message moves. */
static void
time_for_all(void **state)
{
	static const struct {
		const char *name;
		int64_t timeout_ms;
		uint32_t rate;
		uint64_t size;
		int64_t opening_ms, message_ms;
	} cases[] = {
		{ "small", 1800000, 2000, 100, 1800000, 1800000 },
		{ "10 MB", 1800000, 2000, 10000000, 1800000, 6800000 },
		{ "any rate", 1800000, 0, 10000000, 1800000, 0 },
		{ "largest", 86400000, 1, UINT64_C(1) << 40, 86400000,
		    (INT64_C(1) << 40) * 1000 + 86400000 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct session_rcpt rc = { .address = "c@d.example",
			.orcpt = "" };
		struct session_msg m = { .sender = "",
			.envid = "",
			.n_rcpts = 1,
			.rcpts = &rc,
			.size = cases[i].size,
			.read = read_nothing };
		struct conf_delivery d = delivery;
		struct session_conf conf = { .ehlo_name = "gw1.example.net",
			.delivery = &d };
		struct session *s;

		d.transaction_timeout_ms = cases[i].timeout_ms;
		d.min_data_rate = cases[i].rate;
		s = session_new(&conf);
		if (session_total_ms(s) != cases[i].opening_ms)
			fail_msg("%s: opening", cases[i].name);
		session_input(s, "220 mx\r\n250 mx\r\n", 16);
		assert_int_equal(session_total_ms(s), 0); /* idle */
		session_send(s, &m);
		if (session_total_ms(s) != cases[i].message_ms)
			fail_msg("%s: %lld", cases[i].name,
			    (long long)session_total_ms(s));
		session_overdue(s);
		assert_int_equal(
		    session_end(s)->reason, REASON_CONNECTION_LOST);
		assert_int_equal(rc.outcome, OUTCOME_DEFERRED);
		assert_non_null(strstr(rc.reply, " for one message"));
		assert_int_equal(session_total_ms(s), 0);
		session_msg_done(&m);
		session_free(s);
	}
}

/* Whether the message may go over another connection at once. */
static void
untouched_before_an_answer(void **state)
{
	static const struct {
		const char *reply;
		bool untouched;
	} rows[] = { { "", true }, { "421 4.3.2 enough\r\n", true },
		{ "250 ok\r\n", false }, { "450 no\r\n", false } };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct session *s =
		    open_session("250-mx\r\n250 PIPELINING\r\n");
		struct session_rcpt rc = { .address = "c@d.example",
			.orcpt = "" };
		struct session_msg m = { .sender = "",
			.envid = "",
			.n_rcpts = 1,
			.rcpts = &rc,
			.read = read_nothing };

		session_send(s, &m);
		session_input(s, rows[i].reply, strlen(rows[i].reply));
		session_lost(s, "closed");
		assert_int_equal(rc.outcome, OUTCOME_DEFERRED);
		assert_int_equal(m.untouched, rows[i].untouched);
		session_msg_done(&m);
		session_free(s);
	}
}

int
main(void)
{
	static bool whole = false, bytewise = true;
	static char plain[] = "250-mx\r\n250 PIPELINING\r\n",
		    chunking[] = "250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n";
	const struct CMUnitTest all[] = {
		{ "dialogues, whole replies", dialogues, NULL, NULL, &whole },
		{ "dialogues, byte by byte", dialogues, NULL, NULL, &bytewise },
		{ "large_body_is_read_as_it_goes (DATA)",
		    large_body_is_read_as_it_goes, NULL, NULL, plain },
		{ "large_body_is_read_as_it_goes (BDAT)",
		    large_body_is_read_as_it_goes, NULL, NULL, chunking },
		cmocka_unit_test(broken_body_is_cut),
		cmocka_unit_test(early_answers),
		cmocka_unit_test(endless_replies_are_bounded),
		cmocka_unit_test(limits_and_dsn_are_kept),
		cmocka_unit_test(relayed_without_dsn),
		cmocka_unit_test(timeouts_by_state),
		cmocka_unit_test(time_for_all),
		cmocka_unit_test(untouched_before_an_answer),
	};

	return cmocka_run_group_tests(all, NULL, NULL);
}
