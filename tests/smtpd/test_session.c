/*
 * test_session.c - dialogues with the intake session and a scripted queue.
 *
 * Each dialogue is fed group by group, whole and then a byte at a time: replies
 * and what the queue was asked must be the same. A reply is compared by its
 * code and enhanced status.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "lib/base/clock.h"
#include "lib/base/hash.h"
#include "lib/log/log.h"
#include "lib/smtp/status.h"
#include "tests/smtpd/script.h"

#include <fcntl.h>

#define TLS_OFF "tls = none\n"
#define AUTH_ON "auth = offered\nauth_file = users\n"

#define EHLO "EHLO client.example\r\n"
#define MAIL "MAIL FROM:<a@b.example>\r\n"
#define RCPT "RCPT TO:<c@d.example>\r\n"

#define LINE_100                                                               \
	"01234567890123456789012345678901234567890123456789012345678901234567" \
	"89"                                                                   \
	"012345678901234567890123456789"
#define LINE_1000                                                      \
	LINE_100 LINE_100 LINE_100 LINE_100 LINE_100 LINE_100 LINE_100 \
	    LINE_100 LINE_100 LINE_100

enum { TURNS = 12 };

struct dialogue {
	const char *name;
	const char *settings; /* of the listener */
	const char *want;     /* replies, the greeting first */
	const char *turn[TURNS];
	const char *rec;  /* must stand in the queue's record; NULL: nothing
			   * was begun */
	const char *body; /* of the message, or NULL */
	const char *client;
	bool implicit;
};

/* most rows say nothing about client and implicit */
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
/* clang-format off */
static const struct dialogue dialogues[] = {
	{ "one message", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0 221/2.0.0",
	    { EHLO, MAIL, RCPT, "DATA\r\n",
		"Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n.\r\n", "QUIT\r\n" },
	    "commit 6 flags=0 id=<1@x> subject=hi",
	    "Subject: hi\r\nMessage-ID: <1@x>\r\n\r\nbody\r\n" },
	{ "pipelined", "", "220 250 250/2.1.0 250/2.1.5 250/2.1.5 354 250/2.0.0 221/2.0.0",
	    { EHLO, MAIL RCPT "RCPT TO:<e@f.example>\r\nDATA\r\n",
		"x\r\n.\r\nQUIT\r\n" },
	    "n=2", "x\r\n" },
	{ "two messages in one go", "",
	    "220 250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.1.0 250/2.1.5 250/2.0.0",
	    { EHLO, MAIL RCPT "BDAT 3 LAST\r\na\r\n" MAIL RCPT "BDAT 3 LAST\r\nb\r\n" },
	    "commit 7", "b\r\n" },
	{ "HELO", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { "HELO client.example\r\n", MAIL, RCPT, "DATA\r\n", ".\r\n" },
	    "with SMTP id 6", "" },
	{ "HELO knows no extensions", "", "220 250 555/5.5.4 502/5.5.1",
	    { "HELO client.example\r\n", "MAIL FROM:<a@b.example> SIZE=1\r\n",
		"STARTTLS\r\n" }, NULL, NULL },
	{ "dots", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "..a\r\n.b\r\n...\r\n.\r\n" },
	    "commit", ".a\r\nb\r\n..\r\n" },
	{ "null sender and DSN", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, "MAIL FROM:<> RET=HDRS ENVID=QQ+3D1 SIZE=100 BODY=8BITMIME\r\n"
		"RCPT TO:<c@D.Example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x@y\r\nDATA\r\n",
		"\303\244\r\n.\r\n" },
	    "begin 6 from= n=1 flags=32 gw=default envid=QQ+3D1 ret=2 size=100 "
	    "by=10.1.1.209 profile=default\n"
	    "rcpt 0 c@D.Example domain=d.example orcpt=rfc822;x@y notify=10\n",
	    "\303\244\r\n" },
	{ "8-bit is noticed", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "\303\244\r\n.\r\n" },
	    "commit 6 flags=1 ", "\303\244\r\n" },
	{ "gateway by sender", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, "MAIL FROM:<x@news.example.net>\r\n" RCPT "DATA\r\n", ".\r\n" },
	    "gw=bulk", "" },
	{ "IDN and SMTPUTF8", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, "MAIL FROM:<j\303\266rg@b.example> SMTPUTF8\r\n"
		"RCPT TO:<d\303\266rte@b\303\274cher.example>\r\nDATA\r\n", ".\r\n" },
	    "domain=xn--bcher-kva.example orcpt= notify=0\n", "" },
	{ "UTF-8 without SMTPUTF8", "", "220 250 553/5.6.7 250/2.1.0 553/5.6.7",
	    { EHLO, "MAIL FROM:<j\303\266rg@b.example>\r\n" MAIL
		"RCPT TO:<d\303\266rte@b.example>\r\n" }, NULL, NULL },
	{ "literal, route, postmaster", "",
	    "220 250 250/2.1.0 250/2.1.5 250/2.1.5 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL "RCPT TO:<c@[192.0.2.1]>\r\nRCPT TO:<@r1.example:d@e.example>\r\n"
		"RCPT TO:<PostMaster>\r\nDATA\r\n", ".\r\n" },
	    "rcpt 0 c@[192.0.2.1] domain=[192.0.2.1] orcpt= notify=0\n"
	    "rcpt 1 d@e.example domain=e.example orcpt= notify=0\n"
	    "rcpt 2 PostMaster@gw1.example.net domain=gw1.example.net orcpt= notify=0\n", "" },
	{ "TLS-Required: No", "", "220 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "TLS-Required: no\r\n\r\nx\r\n.\r\n" },
	    "commit 6 flags=8 ", "TLS-Required: no\r\n\r\nx\r\n" },
	{ "REQUIRETLS outside of TLS, with a value", "",
	    "220 250 555/5.5.4 220/2.0.0 250 501/5.5.4",
	    { EHLO, "MAIL FROM:<a@b.example> REQUIRETLS\r\n", "STARTTLS\r\n", EHLO,
		"MAIL FROM:<a@b.example> REQUIRETLS=x\r\n" }, NULL, NULL },
	{ "REQUIRETLS is stronger than TLS-Required: No", "",
	    "220 250 220/2.0.0 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, "STARTTLS\r\n", EHLO, "MAIL FROM:<a@b.example> REQUIRETLS\r\n" RCPT "DATA\r\n",
		"TLS-Required: no\r\n\r\nx\r\n.\r\n" },
	    "commit 6 flags=4 ", "TLS-Required: no\r\n\r\nx\r\n" },
	{ "REQUIRETLS inside TLS", "", "220 250 220/2.0.0 250 250/2.1.0",
	    { EHLO, "STARTTLS\r\n", EHLO, "MAIL FROM:<a@b.example> REQUIRETLS\r\n" },
	    NULL, NULL },

	/* order and errors */
	{ "order", "", "220 503/5.5.1 250 503/5.5.1 503/5.5.1 250/2.1.0 503/5.5.1 554/5.5.1 250/2.0.0",
	    { MAIL, EHLO, RCPT, "DATA\r\n", MAIL, MAIL, "DATA\r\n", "RSET\r\n" }, NULL, NULL },
	{ "state is kept after errors", "",
	    "220 250 250/2.1.0 500/5.5.1 501/5.5.4 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL, "XYZZY\r\n", "DATA now\r\n", RCPT, "DATA\r\n", ".\r\n" },
	    "commit", "" },
	{ "EHLO resets", "", "220 250 250/2.1.0 250 503/5.5.1",
	    { EHLO, MAIL, EHLO, RCPT }, NULL, NULL },
	{ "small ones", "", "220 250/2.0.0 252/2.0.0 502/5.5.1 214/2.0.0 501/5.5.4 250/2.0.0",
	    { "NOOP hi\r\n", "VRFY a\r\n", "EXPN a\r\n", "HELP\r\n", "RSET x\r\n", "RSET\r\n" },
	    NULL, NULL },
	{ "too many errors", "max_command_errors = 3\n",
	    "220 500/5.5.1 500/5.5.1 421/4.7.0",
	    { "A\r\nB\r\nC\r\nD\r\nQUIT\r\n" }, NULL, NULL },
	{ "too many recipients", "max_recipients = 1\n",
	    "220 250 250/2.1.0 250/2.1.5 452/4.5.3 354 250/2.0.0",
	    { EHLO, MAIL RCPT RCPT "DATA\r\n", ".\r\n" }, "n=1", "" },
	{ "too many messages", "max_messages_per_connection = 1\n",
	    "220 250 250/2.1.0 250/2.1.5 250/2.0.0 421/4.7.0",
	    { EHLO, MAIL RCPT "BDAT 0 LAST\r\n" MAIL RCPT }, "commit 6", "" },
	{ "long line", "", "220 500/5.5.2 250/2.0.0",
	    { "NOOP " LINE_1000 "\r\n",
		"NOOP\r\n" }, NULL, NULL },

	/* a message that comes although DATA was refused (SMUG-06) */
	{ "and it begins like commands", "",
	    "220 250 250/2.1.0 554/5.5.1 250/2.0.0 250/2.0.0 421/4.7.0",
	    { EHLO, MAIL "DATA\r\n", "RSET\r\nNOOP\r\nSubject: x\r\n" MAIL RCPT }, NULL, NULL },
	{ "and a transaction is among them", "",
	    "220 250 503/5.5.1 250/2.1.0 250/2.1.5 421/4.7.0",
	    { EHLO, "DATA\r\n", MAIL RCPT "Subject: x\r\n" }, NULL, NULL },
	{ "DATA refused for its words", "", "220 250 501/5.5.4 250/2.0.0 421/4.7.0",
	    { EHLO, "DATA now\r\n", "NOOP\r\nSubject: x\r\n" MAIL }, NULL, NULL },
	{ "after 354 all is well", "",
	    "220 250 503/5.5.1 250/2.1.0 250/2.1.5 354 250/2.0.0 500/5.5.1",
	    { EHLO, "DATA\r\n", MAIL RCPT "DATA\r\n", "x\r\n.\r\nXYZZY\r\n" },
	    "commit 6", "x\r\n" },

	/* sizes */
	{ "SIZE too large", "max_message_size = 2k\n", "220 250 552/5.3.4 250/2.1.0",
	    { EHLO, "MAIL FROM:<a@b.example> SIZE=2049\r\nMAIL FROM:<a@b.example> SIZE=2048\r\n" },
	    NULL, NULL },
	{ "larger than it said", "max_message_size = 1k\n",
	    "220 250 250/2.1.0 250/2.1.5 250/2.0.0 552/5.3.4 552/5.3.4 250/2.1.0",
	    { EHLO, MAIL RCPT "BDAT 6\r\nabcd\r\n" "BDAT 1020\r\n"
		LINE_1000 "01234567890123456789" "BDAT 0 LAST\r\n" MAIL },
	    "abort 6", NULL },
	{ "long line", "max_line_length = 1000\nmax_message_size = 4k\n",
	    "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "a\r\n" LINE_1000 "x\r\n.\r\n",
		MAIL RCPT "DATA\r\n", LINE_1000 "\r\n.\r\n" },
	    "abort 6\nbegin 7", LINE_1000 "\r\n" },
	{ "the same reason however it is cut", "",
	    "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0 250/2.1.0 250/2.1.5 554/5.6.0 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "a\001\r\nx\ry\nz" LINE_1000 "\r\n.\r\n",
		MAIL RCPT "BDAT 4\r\nx\ry\nBDAT 3 LAST\r\nz\r\n" },
	    "abort 7", NULL },
	{ "mail loop", "max_received = 2\n", "220 250 250/2.1.0 250/2.1.5 354 554/5.4.6 250/2.1.0",
	    { EHLO, MAIL RCPT "DATA\r\n",
		"Received: a\r\nReceived: b\r\nReceived: c\r\n\r\nx\r\n.\r\n", MAIL },
	    "abort 6", NULL },

	/* smuggling: nothing but CRLF.CRLF ends data, and bare ones refuse it */
	{ "LF.LF", "", "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "x\n.\n" MAIL "y\r\n.\r\n" }, "abort 6", NULL },
	{ "LF.CRLF", "", "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "x\n.\r\n" MAIL RCPT "DATA\r\ny\r\n.\r\n" },
	    "abort 6", NULL },
	{ "CR.CRLF", "", "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "x\r.\r\n" MAIL "y\r\n.\r\n" }, "abort 6", NULL },
	{ "CRLF.LF", "", "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "x\r\n.\n" MAIL "y\r\n.\r\n" }, "abort 6", NULL },
	{ "CRLF.CR", "", "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "x\r\n.\r" MAIL "y\r\n.\r\n" }, "abort 6", NULL },
	{ "LF.LF at the start", "", "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "\n.\n\r\n.\r\n" }, "abort 6", NULL },
	{ "the next message flows", "",
	    "220 250 250/2.1.0 250/2.1.5 354 554/5.6.0 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, MAIL RCPT "DATA\r\n", "x\ny\r\n.\r\n", MAIL RCPT "DATA\r\n", "z\r\n.\r\n" },
	    "commit 7", "z\r\n" },
	{ "bare LF in a command", "", "220 250 500/5.5.2 250/2.0.0",
	    { EHLO, "NOOP x\n" MAIL, "NOOP\r\n" }, NULL, NULL },
	{ "bare CR in a command", "", "220 250 500/5.5.2 250/2.0.0",
	    { EHLO, "NOOP x\r" MAIL, "NOOP\r\n" }, NULL, NULL },
	{ "LF in an address", "", "220 250 500/5.5.2 250/2.1.0 500/5.5.2",
	    { EHLO, "MAIL FROM:<a@b.example\nRCPT TO:<e@f.example>\r\n", MAIL,
		"RCPT TO:<c@d.example\n>\r\n" }, NULL, NULL },
	{ "data without 354 ends it", "", "220 250 503/5.5.1 421/4.7.0",
	    { EHLO, "DATA\r\n", "Subject: x\r\n" MAIL RCPT ".\r\n" }, NULL, NULL },
	{ "data without 354, no recipients", "", "220 250 250/2.1.0 554/5.5.1 421/4.7.0",
	    { EHLO, MAIL, "DATA\r\n", "Subject: x\r\n" RCPT }, NULL, NULL },

	/* BDAT */
	{ "chunks", "", "220 250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0 250/2.0.0 250/2.0.0",
	    { EHLO, MAIL RCPT "BDAT 4\r\na\r\n.BDAT 3\r\n\r\n.BDAT 0\r\nBDAT 2 LAST\r\n\r\n" },
	    "commit 6", "a\r\n.\r\n.\r\n" },
	{ "no MAIL: bytes are eaten", "", "220 250 503/5.5.1 250/2.0.0 250/2.1.0",
	    { EHLO, "BDAT 6\r\nRSET\r\nNOOP\r\n" MAIL }, NULL, NULL },
	{ "no RCPT: bytes are eaten", "", "220 250 250/2.1.0 503/5.5.1 503/5.5.1 250/2.1.0",
	    { EHLO, MAIL "BDAT 6\r\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\n" MAIL }, NULL, NULL },
	{ "bare LF in a chunk", "", "220 250 250/2.1.0 250/2.1.5 554/5.6.0 554/5.6.0 250/2.1.0",
	    { EHLO, MAIL RCPT "BDAT 4\r\na\nb\nBDAT 3 LAST\r\nx\r\n" MAIL }, "abort 6", NULL },
	{ "CR and LF in two chunks are one CRLF", "",
	    "220 250 250/2.1.0 250/2.1.5 250/2.0.0 250/2.0.0",
	    { EHLO, MAIL RCPT "BDAT 2\r\na\rBDAT 2 LAST\r\n\nb" }, "commit 6", "a\r\nb" },
	{ "CR at the very end", "", "220 250 250/2.1.0 250/2.1.5 554/5.6.0",
	    { EHLO, MAIL RCPT "BDAT 2 LAST\r\na\r" }, "abort 6", NULL },
	{ "no mixing", "", "220 250 250/2.1.0 250/2.1.5 250/2.0.0 503/5.5.1 503/5.5.1 250/2.0.0",
	    { EHLO, MAIL RCPT "BDAT 3\r\na\r\n", "DATA\r\n", RCPT, "RSET\r\n" }, "abort 6", NULL },
	/* nobody knows where the chunk ends, so nothing behind it may run */
	{ "BDAT without a size", "", "220 250 250/2.1.0 250/2.1.5 421/4.7.0",
	    { EHLO, MAIL RCPT "BDAT\r\nRSET\r\n" MAIL RCPT "BDAT 0 LAST\r\n" }, NULL, NULL },
	{ "BDAT with a word too many", "", "220 250 250/2.1.0 250/2.1.5 421/4.7.0",
	    { EHLO, MAIL RCPT, "BDAT 6 FIRST\r\n", "RSET\r\nNOOP\r\n" }, NULL, NULL },
	{ "BDAT with a bare LF", "", "220 250 250/2.1.0 250/2.1.5 421/4.7.0",
	    { EHLO, MAIL RCPT, "bdat 8 LAST\n", "x\r\nRSET\r\n" }, NULL, NULL },
	{ "BDAT that is too long", "", "220 250 250/2.1.0 250/2.1.5 421/4.7.0",
	    { EHLO, MAIL RCPT, "BDAT 8 " LINE_1000 LINE_1000 LINE_1000, "\r\nRSET\r\n" }, NULL, NULL },
	{ "BDAT that is not offered", "", "220 421/4.7.0",
	    { "BDAT 6\r\n", "RSET\r\nNOOP\r\n" }, NULL, NULL },
	{ "BDATA is no BDAT", "", "220 250 500/5.5.1 250/2.0.0",
	    { EHLO, "BDATA 6\r\n", "RSET\r\n" }, NULL, NULL },
	{ "DATA with a bare LF, and no 354", "", "220 250 250/2.1.0 250/2.1.5 500/5.5.2 421/4.7.0",
	    { EHLO, MAIL RCPT, "DATA\n", "x\r\nSubject: y\r\nRSET\r\n" }, NULL, NULL },

	/* relay rights */
	{ "not our network", "", "220 250 250/2.1.0 550/5.7.1 554/5.5.1",
	    { EHLO, MAIL, RCPT, "DATA\r\n" }, NULL, NULL, "192.0.2.7" },

	/* TLS */
	{ "STARTTLS forgets all", "", "220 250 220/2.0.0 503/5.5.1 250 250/2.1.0 250/2.1.5 354 250/2.0.0",
	    { EHLO, "STARTTLS\r\n", MAIL, EHLO, MAIL RCPT "DATA\r\n", ".\r\n" },
	    "with ESMTPS id 6", "" },
	{ "STARTTLS twice", "", "220 250 220/2.0.0 250 502/5.5.1",
	    { EHLO, "STARTTLS\r\n", EHLO, "STARTTLS\r\n" }, NULL, NULL },
	{ "STARTTLS with an argument", "", "220 250 501/5.5.4",
	    { EHLO, "STARTTLS now\r\n" }, NULL, NULL },
	{ "STARTTLS in a transaction", "", "220 250 250/2.1.0 503/5.5.1",
	    { EHLO, MAIL, "STARTTLS\r\n" }, NULL, NULL },
	{ "TLS required", "tls = required\n",
	    "220 250 530/5.7.0 250/2.0.0 530/5.7.0 503/5.5.1 220/2.0.0 250 250/2.1.0",
	    { EHLO, MAIL, "NOOP\r\n", RCPT, "BDAT 3 LAST\r\nx\r\n", "STARTTLS\r\n", EHLO, MAIL },
	    NULL, NULL },
	{ "implicit TLS", "tls = implicit\n", "220 250 502/5.5.1 250/2.1.0",
	    { EHLO, "STARTTLS\r\n", MAIL }, NULL, NULL, NULL, true },
	{ "no TLS", TLS_OFF, "220 250 502/5.5.1", { EHLO, "STARTTLS\r\n" }, NULL, NULL },

	/* AUTH: anna, sesam */
	{ "no AUTH outside TLS", AUTH_ON, "220 250 502/5.5.1",
	    { EHLO, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n" }, NULL, NULL },
	{ "PLAIN gives the right", AUTH_ON "tls = implicit\n",
	    "220 250 250/2.1.0 550/5.7.1 503/5.5.1 250/2.0.0 235/2.7.0 250/2.1.0 250/2.1.5 354 250/2.0.0 503/5.5.1",
	    { EHLO, MAIL, RCPT, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n", "RSET\r\n",
		"AUTH PLAIN AGFubmEAc2VzYW0=\r\n", MAIL RCPT "DATA\r\n", ".\r\n",
		"AUTH LOGIN\r\n" },
	    "with ESMTPSA id 7", "", "192.0.2.7", true },
	{ "PLAIN in two steps", AUTH_ON "tls = implicit\n", "220 250 334 235/2.7.0",
	    { EHLO, "AUTH PLAIN\r\n", "YW5uYQBhbm5hAHNlc2Ft\r\n" }, NULL, NULL, NULL, true },
	{ "LOGIN", AUTH_ON "tls = implicit\n", "220 250 334 334 235/2.7.0",
	    { EHLO, "AUTH LOGIN\r\n", "YW5uYQ==\r\n", "c2VzYW0=\r\n" }, NULL, NULL, NULL, true },
	{ "LOGIN with the name", AUTH_ON "tls = implicit\n", "220 250 334 235/2.7.0",
	    { EHLO, "auth login YW5uYQ==\r\n", "c2VzYW0=\r\n" }, NULL, NULL, NULL, true },
	{ "AUTH pipelined with initial response", AUTH_ON "tls = implicit\n",
	    "220 250 235/2.7.0 250/2.1.0 250/2.1.5",
	    { EHLO, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n" MAIL RCPT }, NULL, NULL, "192.0.2.7", true },
	{ "AUTH gone wrong", AUTH_ON "tls = implicit\n",
	    "220 250 504/5.5.4 501/5.5.2 334 501/5.7.0 334 501/5.5.2 334 501/5.5.2 501/5.5.2 535/5.7.8 535/5.7.8 501/5.5.2 421/4.7.0",
	    { EHLO, "AUTH CRAM-MD5\r\n", "AUTH PLAIN !!!!\r\n", "AUTH PLAIN\r\n*\r\n",
		"AUTH LOGIN\r\n", "YW5uYR==\r\n", "AUTH PLAIN\r\n", "AGFubmEAc2VzYW0\r\n",
		"AUTH PLAIN YW5uYQ==\r\n", "AUTH PLAIN AGFubmEAd3Jvbmc=\r\n",
		"AUTH PLAIN b3R0bwBhbm5hAHNlc2Ft\r\n", "AUTH PLAIN =\r\nAUTH PLAIN AGFubmEA\r\n" },
	    NULL, NULL, NULL, true },
	{ "AUTH with more than anybody's password", AUTH_ON "tls = implicit\n",
	    "220 250 501/5.5.2 250/2.0.0",
	    { EHLO, "AUTH PLAIN " LINE_1000 LINE_1000 "\r\n", "NOOP\r\n" },
	    NULL, NULL, NULL, true },
	{ "AUTH required", "auth = required\nauth_file = users\ntls = implicit\n",
	    "220 250 530/5.7.0 235/2.7.0 250/2.1.0",
	    { EHLO, MAIL, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n", MAIL }, NULL, NULL, NULL, true },
};
/* clang-format on */

/* Codes and statuses of all replies, one space between. */
static void
summary(const struct buf *out, char *ret, size_t cap)
{
	const char *p = (const char *)buf_data(out), *end, *lf;
	struct smtp_status st;
	size_t at = 0, n;

	end = p == NULL ? NULL : p + buf_len(out);
	ret[0] = '\0';
	while (p < end) {
		lf = memchr(p, '\n', (size_t)(end - p));
		assert_non_null(lf);
		assert_true(lf - p >= 4 && lf[-1] == '\r');
		assert_true(lf - p <= 511);
		if (p[3] == ' ') {
			n = smtp_status_parse(
			    p + 4, (size_t)(lf - 1 - p - 4), &st);
			at += (size_t)snprintf(ret + at, cap - at,
			    "%s%.3s%s%.*s", at > 0 ? " " : "", p,
			    n > 0 ? "/" : "", (int)n, p + 4);
			assert_true(at < cap);
			if (n > 0)
				assert_int_equal(st.cls, p[0] - '0');
		}
		p = lf + 1;
	}
}

static bool
run(struct script *k, const struct dialogue *d, size_t step)
{
	size_t i;

	for (i = 0; i < TURNS && d->turn[i] != NULL; i++) {
		if (!script_feed(k, d->turn[i], strlen(d->turn[i]), step))
			break;
	}
	script_collect(k);
	return true;
}

static void
test_dialogues(void **state)
{
	static const size_t steps[] = { 1 << 20, 1, 7 };
	char got[1000];
	struct buf rec, out;
	size_t i, k;

	(void)state;
	for (i = 0; i < sizeof(dialogues) / sizeof(dialogues[0]); i++) {
		const struct dialogue *d = &dialogues[i];
		struct conf *conf = script_conf(d->settings);

		buf_init(&rec, 1 << 20);
		buf_init(&out, 1 << 20);
		for (k = 0; k < 3; k++) {
			struct script s = { .client = d->client };

			script_init(&s, conf, d->implicit);
			run(&s, d, steps[k]);
			summary(&s.out, got, sizeof(got));
			if (strcmp(got, d->want) != 0)
				fail_msg("%s, step %zu:\n got %s\nwant %s",
				    d->name, steps[k], got, d->want);
			(void)buf_put(&s.rec, "", 1);
			if (d->rec == NULL)
				assert_int_equal(s.begun, 0);
			else if (strstr((char *)buf_data(&s.rec), d->rec) ==
			    NULL)
				fail_msg("%s, step %zu:\n got %s\nwant %s",
				    d->name, steps[k], buf_data(&s.rec),
				    d->rec);
			if (d->body != NULL) {
				assert_int_equal(
				    buf_len(&s.body), strlen(d->body));
				assert_true(buf_len(&s.body) == 0 ||
				    memcmp(buf_data(&s.body), d->body,
					buf_len(&s.body)) == 0);
			}
			/* the same however it was cut */
			if (k == 0) {
				(void)buf_put(
				    &out, buf_data(&s.out), buf_len(&s.out));
				(void)buf_put(
				    &rec, buf_data(&s.rec), buf_len(&s.rec));
			}
			assert_int_equal(buf_len(&out), buf_len(&s.out));
			assert_memory_equal(
			    buf_data(&out), buf_data(&s.out), buf_len(&out));
			assert_int_equal(buf_len(&rec), buf_len(&s.rec));
			assert_memory_equal(
			    buf_data(&rec), buf_data(&s.rec), buf_len(&rec));
			script_done(&s);
		}
		buf_done(&rec);
		buf_done(&out);
		conf_unref(conf);
	}
}

/* One session and its replies since the last look. */
static void
expect(struct script *k, const char *input, const char *want)
{
	char got[1000];

	buf_reset(&k->out, 0);
	if (input != NULL)
		(void)script_feed(k, input, strlen(input), 1 << 20);
	script_collect(k);
	summary(&k->out, got, sizeof(got));
	if (strcmp(got, want) != 0)
		fail_msg("after '%.60s':\n got %s\nwant %s",
		    input == NULL ? "" : input, got, want);
}

/* Input that stands behind a command whose reply decides: the session ends and
 * nothing of it runs (SMUG-06, TLS-08, PIPE-02). */
static void
test_injection(void **state)
{
	struct conf *conf = script_conf("");
	static const char *const groups[] = { "STARTTLS\r\n" MAIL,
		"STARTTLS\r\nR", MAIL RCPT "DATA\r\nSubject: x\r\n\r\n.\r\n",
		EHLO MAIL, "DATA now\r\nRSET\r\n" MAIL RCPT "BDAT 0 LAST\r\n" };
	static const char *const want[] = { "421/4.7.0", "421/4.7.0",
		"250/2.1.0 250/2.1.5 421/4.7.0", "421/4.7.0", "421/4.7.0" };
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(groups) / sizeof(groups[0]); i++) {
		struct script k = { 0 };

		script_init(&k, conf, false);
		expect(&k, NULL, "220");
		expect(&k, EHLO, "250");
		expect(&k, groups[i], want[i]);
		assert_int_equal(session_wants(k.s), SESSION_CLOSE);
		assert_int_equal(k.begun, 0);
		expect(&k, MAIL, "");
		script_done(&k);
	}
	/* a byte at a time the rest of the group is TLS, and no TLS at all */
	{
		struct script k = { 0 };

		script_init(&k, conf, false);
		expect(&k, EHLO, "220 250");
		assert_int_equal(session_input(k.s, "STARTTLS\r\n", 10), 10);
		assert_int_equal(session_wants(k.s), SESSION_STARTTLS);
		assert_int_equal(session_input(k.s, MAIL, 5), 0);
		script_done(&k);
	}
	conf_unref(conf);
}

static void
test_early(void **state)
{
	struct conf *conf = script_conf("");
	struct script k = { 0 };

	(void)state;
	script_init(&k, conf, false);
	session_start(k.s, true);
	script_collect(&k);
	assert_non_null(
	    memmem(buf_data(&k.out), buf_len(&k.out), "421 gw1", 7));
	assert_int_equal(session_wants(k.s), SESSION_CLOSE);
	script_done(&k);
	conf_unref(conf);
}

static void
test_ehlo(void **state)
{
	static const char plain[] = "250-gw1.example.net\r\n"
				    "250-PIPELINING\r\n"
				    "250-SIZE 1024\r\n"
				    "250-8BITMIME\r\n"
				    "250-SMTPUTF8\r\n"
				    "250-DSN\r\n"
				    "250-CHUNKING\r\n"
				    "250-ENHANCEDSTATUSCODES\r\n"
				    "250-STARTTLS\r\n"
				    "250 LIMITS MAILMAX=9 RCPTMAX=7\r\n";
	struct conf *conf = script_conf(
	    AUTH_ON "max_message_size = 1k\nmax_messages_per_connection = 9\n"
		    "max_recipients = 7\n");
	struct script k = { 0 };
	char *text;

	(void)state;
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	(void)buf_put(&k.out, "", 1);
	text = strstr((char *)buf_data(&k.out), "250-");
	assert_string_equal(text, plain);
	expect(&k, "STARTTLS\r\n", "220/2.0.0");
	expect(&k, EHLO, "250");
	(void)buf_put(&k.out, "", 1);
	text = (char *)buf_data(&k.out);
	assert_null(strstr(text, "STARTTLS"));
	assert_non_null(strstr(text, "REQUIRETLS\r\n"));
	assert_non_null(strstr(text, "AUTH PLAIN LOGIN\r\n"));
	script_done(&k);
	conf_unref(conf);
}

/* What the queue says, and when. */
static void
test_queue(void **state)
{
	struct conf *conf = script_conf("");
	struct script k = { .queue = SESSION_QUEUE_DOWN };

	(void)state;
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL, "451/4.3.0");
	k.queue = SESSION_QUEUE_REFUSES;
	k.queue_text = "disk full";
	expect(&k, MAIL, "452/4.3.1");
	assert_non_null(
	    memmem(buf_data(&k.out), buf_len(&k.out), "disk full", 9));
	k.queue = SESSION_QUEUE_READY;
	/* no number: MAIL waits for one, but not for ever */
	k.no_mids = true;
	expect(&k, MAIL, "");
	assert_int_equal(session_wants(k.s), SESSION_ROOM);
	assert_int_equal(session_input(k.s, RCPT, strlen(RCPT)), 0);
	k.no_mids = false;
	expect(&k, RCPT "RSET\r\n", "250/2.1.0 250/2.1.5 250/2.0.0");
	k.no_mids = true;
	expect(&k, MAIL, "");
	session_timeout(k.s);
	expect(&k, NULL, "451/4.3.0");
	k.no_mids = false;
	k.reserve_max = 100;
	expect(&k, MAIL, "452/4.3.1");
	k.reserve_max = 0;
	/* refused at the end, refused before, and the next one flows */
	k.done = (struct submit_done){ SUBMIT_LATER, 452, "4.3.1", "no room" };
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	expect(&k, "x\r\n.\r\n", "452/4.3.1");
	k.refuse_early = true;
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	expect(&k, "x\r\n.\r\n", "452/4.3.1");
	k.refuse_early = false;
	/* a class that contradicts the code is put right */
	k.done = (struct submit_done){ SUBMIT_REFUSED, 554, "4.3.1", "no" };
	expect(
	    &k, MAIL RCPT "BDAT 0 LAST\r\n", "250/2.1.0 250/2.1.5 554/5.0.0");
	k.done = (struct submit_done){ SUBMIT_LATER, 250, "2.0.0", "?" };
	expect(
	    &k, MAIL RCPT "BDAT 0 LAST\r\n", "250/2.1.0 250/2.1.5 451/4.3.0");
	k.done.code = 0;
	/* the channel goes: at commit, in the data, before the data */
	k.lose_queue = true;
	expect(
	    &k, MAIL RCPT "BDAT 0 LAST\r\n", "250/2.1.0 250/2.1.5 451/4.3.0");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	k.open_mid = 0;
	session_queue_lost(k.s);
	expect(&k, "x\r\n.\r\n", "451/4.3.0");
	expect(&k, MAIL RCPT, "250/2.1.0 250/2.1.5");
	session_queue_lost(k.s);
	k.queue = SESSION_QUEUE_DOWN;
	expect(&k, "DATA\r\n", "451/4.3.0");
	k.queue = SESSION_QUEUE_READY;
	k.lose_queue = false;
	expect(
	    &k, MAIL RCPT "BDAT 0 LAST\r\n", "250/2.1.0 250/2.1.5 250/2.0.0");
	script_done(&k);
	conf_unref(conf);
}

static void
test_room(void **state)
{
	static char big[400000];
	struct conf *conf = script_conf("");
	struct script k = { .room = 10000, .room_more = 30000 };
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(big); i++)
		big[i] = i % 70 == 68 ? '\r' : i % 70 == 69 ? '\n' : 'x';
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	assert_true(script_feed(&k, big, sizeof(big), 1 << 16));
	assert_true(k.room_used);
	expect(&k, "\r\n.\r\n", "250/2.0.0");
	assert_int_equal(buf_len(&k.body), sizeof(big) + 2);
	assert_memory_equal(buf_data(&k.body), big, sizeof(big));
	/* no room for long: 451 at the end of the data, and not before */
	k.room_more = 0;
	k.room_left = 10000;
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	k.room_left = 100;
	n = session_input(k.s, big, sizeof(big));
	assert_int_equal(n, 0);
	assert_int_equal(session_wants(k.s), SESSION_ROOM);
	clock_test_advance_ms(SESSION_QUEUE_TIMEOUT_MS - 1000);
	assert_int_equal(session_input(k.s, big, sizeof(big)), 0);
	assert_true(session_deadline_ms(k.s) - clock_mono_ms() <= 1000);
	clock_test_advance_ms(1001);
	session_timeout(k.s);
	assert_int_equal(session_wants(k.s), SESSION_READ);
	expect(&k, "x\r\n.\r\n", "451/4.3.0");
	/* who asks before reading is told, and not outside of data */
	k.room_left = 1 << 20;
	assert_true(session_can_take(k.s));
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	k.room_left = 100;
	assert_false(session_can_take(k.s));
	assert_int_equal(session_wants(k.s), SESSION_ROOM);
	assert_int_equal(session_input(k.s, NULL, 0), 0);
	assert_int_equal(session_wants(k.s), SESSION_ROOM);
	k.room_left = 1 << 20;
	assert_int_equal(session_input(k.s, NULL, 0), 0);
	assert_int_equal(session_wants(k.s), SESSION_READ);
	expect(&k, ".\r\n", "250/2.0.0");
	/* none for the envelope */
	k.room_left = 100;
	(void)session_input(k.s, MAIL RCPT, strlen(MAIL RCPT));
	(void)session_input(k.s, "DATA\r\n", 6);
	assert_int_equal(session_wants(k.s), SESSION_ROOM);
	session_timeout(k.s);
	expect(&k, NULL, "250/2.1.0 250/2.1.5 451/4.3.0");
	script_done(&k);
	conf_unref(conf);
}

/* A byte now and then keeps no session: what is too slow on average ends. */
static void
test_data_rate(void **state)
{
	struct conf *conf = script_conf("command_timeout = 60s\n"
					"data_timeout = 30s\n"
					"min_data_rate = 100\n");
	struct script k = { .room = 1 << 20 };
	static char fast[4001]; /* terminated */
	int i;

	(void)state;
	memset(fast, 'x', sizeof(fast) - 1);
	for (i = 0; i < 40; i++)
		memcpy(fast + 100 * i + 98, "\r\n", 2);
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	clock_test_advance_ms(20000);
	expect(&k, "x", "");
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	/* who sent more has more time */
	expect(&k, fast, "");
	clock_test_advance_ms(25000);
	expect(&k, "x", "");
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	/* the queue's delays do not count */
	k.room_left = 0;
	assert_int_equal(session_input(k.s, "x", 1), 0);
	assert_int_equal(session_wants(k.s), SESSION_ROOM);
	clock_test_advance_ms(100000);
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	k.room_left = 1 << 20;
	expect(&k, "x", "");
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	clock_test_advance_ms(26000);
	assert_true(session_deadline_ms(k.s) <= clock_mono_ms());
	session_timeout(k.s);
	expect(&k, NULL, "421/4.4.2");
	assert_non_null(
	    memmem(buf_data(&k.out), buf_len(&k.out), "comes too slowly", 16));
	assert_int_equal(k.aborted, 1);
	script_done(&k);

	/* chunks, and the commands between them */
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "BDAT 1\r\nx", "250/2.1.0 250/2.1.5 250/2.0.0");
	clock_test_advance_ms(20000);
	expect(&k, "BDAT 1\r\nx", "250/2.0.0");
	clock_test_advance_ms(20000);
	assert_true(session_deadline_ms(k.s) <= clock_mono_ms());
	session_timeout(k.s);
	expect(&k, NULL, "421/4.4.2");
	script_done(&k);

	/* the next message begins anew, and so does an idle session */
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "BDAT 1\r\nx", "250/2.1.0 250/2.1.5 250/2.0.0");
	clock_test_advance_ms(20000);
	expect(&k, "BDAT 0 LAST\r\n", "250/2.0.0");
	clock_test_advance_ms(50000);
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	clock_test_advance_ms(20000);
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	script_done(&k);
	conf_unref(conf);
}

/* A client that is never idle and never done does not stay for ever. */
static void
test_session_timeout(void **state)
{
	struct conf *conf = script_conf("session_timeout = 10m\n");
	struct script k = { 0 };
	int i;

	(void)state;
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	for (i = 0; i < 5; i++) {
		clock_test_advance_ms(100 * 1000);
		assert_true(session_deadline_ms(k.s) > clock_mono_ms());
		expect(&k, MAIL "RSET\r\n", "250/2.1.0 250/2.0.0");
	}
	/* a message gives it as much again */
	expect(
	    &k, MAIL RCPT "BDAT 0 LAST\r\n", "250/2.1.0 250/2.1.5 250/2.0.0");
	for (i = 0; i < 3; i++) {
		clock_test_advance_ms(190 * 1000);
		assert_true(session_deadline_ms(k.s) > clock_mono_ms());
		expect(&k, MAIL "RSET\r\n", "250/2.1.0 250/2.0.0");
	}
	/* and data that is coming is not cut by it */
	expect(&k, MAIL RCPT "BDAT 1\r\nx", "250/2.1.0 250/2.1.5 250/2.0.0");
	clock_test_advance_ms(60 * 1000);
	assert_true(session_deadline_ms(k.s) > clock_mono_ms());
	expect(&k, "RSET\r\n", "250/2.0.0");
	assert_true(session_deadline_ms(k.s) <= clock_mono_ms());
	session_timeout(k.s);
	expect(&k, NULL, "421/4.4.2");
	assert_non_null(memmem(
	    buf_data(&k.out), buf_len(&k.out), "No message for too", 18));
	script_done(&k);
	conf_unref(conf);
}

static void
test_timeouts(void **state)
{
	struct conf *conf = script_conf(
	    "command_timeout = 60s\ndata_timeout = 30s\ntls_timeout = 5s\n");
	struct script k = { .no_answer = true };

	(void)state;
	script_init(&k, conf, false);
	expect(&k, NULL, "220");
	/* time goes on between the two looks at the clock */
	assert_in_range(
	    session_deadline_ms(k.s) - clock_mono_ms(), 30000, 60000);
	/* a dripping line does not get more time */
	clock_test_advance_ms(1000);
	(void)session_input(k.s, "EH", 2);
	assert_true(session_deadline_ms(k.s) <= clock_mono_ms() + 59000);
	session_timeout(k.s);
	expect(&k, NULL, "421/4.4.2");
	assert_int_equal(session_wants(k.s), SESSION_CLOSE);
	script_done(&k);

	/* no answer to commit: 451, the connection stays, the queue may still
	 * answer */
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	assert_true(session_deadline_ms(k.s) <= clock_mono_ms() + 30000);
	expect(&k, "x\r\n.\r\n", "");
	assert_int_equal(session_wants(k.s), SESSION_WAIT);
	session_timeout(k.s);
	expect(&k, NULL, "451/4.3.0");
	assert_int_equal(k.left, 1);
	session_submit_done(
	    k.s, 6, &(struct submit_done){ SUBMIT_OK, 250, "2.0.0", "late" });
	expect(&k, NULL, "");
	/* data stops coming */
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	session_timeout(k.s);
	expect(&k, NULL, "421/4.4.2");
	assert_int_equal(k.aborted, 1);
	script_done(&k);

	/* the handshake */
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	(void)session_input(k.s, "STARTTLS\r\n", 10);
	assert_true(session_deadline_ms(k.s) <= clock_mono_ms() + 5000);
	session_timeout(k.s);
	assert_int_equal(session_wants(k.s), SESSION_CLOSE);
	script_done(&k);
	conf_unref(conf);
}

static void
test_drain_and_loss(void **state)
{
	struct conf *conf = script_conf("");
	struct script k = { 0 };

	(void)state;
	script_init(&k, conf, false);
	expect(&k, NULL, "220");
	session_drain(k.s, false);
	expect(&k, NULL, "421/4.3.2");
	script_done(&k);
	/* a message that is under way is finished first */
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	session_drain(k.s, false);
	expect(&k, "x\r\n.\r\n", "250/2.0.0 421/4.3.2");
	script_done(&k);
	/* lost in the data: the queue forgets; lost at commit: it does not */
	k = (struct script){ .no_answer = true };
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	session_lost(k.s, "connection reset");
	assert_int_equal(k.aborted, 1);
	script_done(&k);
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "BDAT 0 LAST\r\n", "250/2.1.0 250/2.1.5");
	session_lost(k.s, "connection reset");
	assert_int_equal(k.left, 1);
	assert_int_equal(k.aborted, 1);
	script_done(&k);
	conf_unref(conf);
}

static void
test_auth_busy(void **state)
{
	struct conf *conf = script_conf(AUTH_ON "tls = implicit\n");
	struct script k = { .auth_busy = true };

	(void)state;
	script_init(&k, conf, true);
	expect(&k, EHLO, "220 250");
	expect(&k, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n", "454/4.7.0");
	assert_true(session_secret_may_come(k.s));
	k.auth_busy = false;
	k.auth_now = true;
	expect(&k, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n", "235/2.7.0");
	assert_false(session_secret_may_come(k.s));
	script_done(&k);
	/* no answer, and a client that goes while it waits */
	script_init(&k, conf, true);
	k.auth_now = false;
	expect(&k, EHLO, "220 250");
	(void)session_input(k.s, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n", 29);
	assert_int_equal(session_wants(k.s), SESSION_WAIT);
	session_timeout(k.s);
	expect(&k, NULL, "454/4.7.0");
	(void)session_input(k.s, "AUTH PLAIN AGFubmEAc2VzYW0=\r\n", 29);
	assert_true(k.auth_pending);
	script_done(&k);
	conf_unref(conf);
}

static void
certificate(
    const char *settings, const char *name, long verify, const char *want)
{
	char copy[64];
	struct conf *conf = script_conf(settings);
	struct script k = { .client = "192.0.2.7" };

	(void)snprintf(copy, sizeof(copy), "%s", name);
	k.tls = (struct tls_info){ .protocol = "TLSv1.3",
		.cipher = "X",
		.peer_cert = true,
		.verify_result = verify,
		.verify_text = "because" };
	k.names.n = 1;
	k.names.v[0] = copy;
	script_init(&k, conf, true);
	expect(&k, EHLO MAIL, "220 421/4.7.0");
	script_done(&k);
	script_init(&k, conf, true);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT, want);
	script_done(&k);
	conf_unref(conf);
}

static void
test_client_certificates(void **state)
{
	static const char any[] = "tls = implicit\nclient_ca_file = ca\n";
	static const char some[] =
	    "tls = implicit\nclient_ca_file = ca\n"
	    "client_cert_names = host.example, Anna@example.net\n";

	(void)state;
	certificate(any, "x.example", 0, "250/2.1.0 250/2.1.5");
	certificate(any, "x.example", 18, "250/2.1.0 550/5.7.1");
	certificate(some, "host.example", 0, "250/2.1.0 250/2.1.5");
	certificate(some, "host.example", 10, "250/2.1.0 550/5.7.1");
	certificate(some, "Anna@example.net", 0, "250/2.1.0 250/2.1.5");
	certificate(some, "anna@example.net", 0, "250/2.1.0 550/5.7.1");
	certificate(some, "x.host.example", 0, "250/2.1.0 550/5.7.1");
	/* without the CA in the settings a certificate is nothing */
	certificate(
	    "tls = implicit\n", "host.example", 0, "250/2.1.0 550/5.7.1");
}

/* A client that reads nothing and pipelines on: input stops at the mark. */
static void
test_output_bound(void **state)
{
	static char verbs[60000];
	struct conf *conf = script_conf("");
	struct script k = { 0 };
	size_t i, n;

	(void)state;
	for (i = 0; i < sizeof(verbs); i += 8)
		memcpy(verbs + i, "VRFY x\r\n", 8);
	script_init(&k, conf, false);
	n = session_input(k.s, verbs, sizeof(verbs));
	assert_true(n < sizeof(verbs));
	assert_int_equal(session_wants(k.s), SESSION_FLUSH);
	assert_true(buf_len(session_output(k.s)) < SESSION_OUT_HIGH + 1024);
	assert_int_equal(session_input(k.s, verbs + n, sizeof(verbs) - n), 0);
	script_collect(&k);
	assert_true(session_input(k.s, verbs + n, sizeof(verbs) - n) > 0);
	/* and it does not do so for ever */
	for (i = 0; i < 10; i++) {
		script_collect(&k);
		(void)session_input(k.s, verbs, sizeof(verbs));
	}
	script_collect(&k);
	assert_int_equal(session_wants(k.s), SESSION_CLOSE);
	assert_non_null(
	    memmem(buf_data(&k.out), buf_len(&k.out), "421 4.7.0", 9));
	script_done(&k);
	conf_unref(conf);
}

/* Failed data that never ends is cut off. */
static void
test_endless(void **state)
{
	static char piece[60000];
	struct conf *conf = script_conf("max_message_size = 64k\n");
	struct script k = { 0 };
	int i;

	(void)state;
	memset(piece, 'x', sizeof(piece));
	script_init(&k, conf, false);
	expect(&k, EHLO, "220 250");
	expect(&k, MAIL RCPT "DATA\r\n", "250/2.1.0 250/2.1.5 354");
	for (i = 0; i < 1000 && session_wants(k.s) == SESSION_READ; i++)
		(void)session_input(k.s, piece, sizeof(piece));
	assert_true(i > 10 && i < 400);
	assert_int_equal(k.aborted, 1);
	assert_true(buf_len(&k.body) <= 64 * 1024);
	expect(&k, NULL, "421/4.7.0");
	script_done(&k);
	conf_unref(conf);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dialogues),
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_early),
		cmocka_unit_test(test_ehlo),
		cmocka_unit_test(test_queue),
		cmocka_unit_test(test_room),
		cmocka_unit_test(test_session_timeout),
		cmocka_unit_test(test_timeouts),
		cmocka_unit_test(test_data_rate),
		cmocka_unit_test(test_drain_and_loss),
		cmocka_unit_test(test_auth_busy),
		cmocka_unit_test(test_client_certificates),
		cmocka_unit_test(test_output_bound),
		cmocka_unit_test(test_endless),
	};

	hash_seed();
	log_init(open("/dev/null", O_WRONLY | O_CLOEXEC), LOG_TEXT, LOG_DEBUG,
	    "smtpd");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
