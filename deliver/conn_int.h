/*
 * conn_int.h - what the files of a connection share: conn.c, conn_io.c,
 * conn_tls.c, conn_mail.c. Nobody else includes it.
 */
#ifndef POSTERN_DELIVER_CONN_INT_H
#define POSTERN_DELIVER_CONN_INT_H

#include "deliver/deliver.h"

/* ---- conn.c ---- */

/* After anything happened: events, output, timer. c may be closing after. */
void conn_drive(struct conn *c);
/* Over 0: armed anew; else stopped. */
void conn_set_timer(struct conn *c, int64_t ms);
/* The end, once. The destination has heard why, or does not care. */
void conn_close(struct conn *c);
/* It failed before it was any use: told, and closed. */
void conn_fail(struct conn *c, enum reason reason, const char *status,
    const char *text, bool next_host);
void conn_fail_connect(struct conn *c, const char *details);

/* ---- conn_io.c ---- */

void conn_on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf);
void conn_on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);
/* Give the socket what waits, as far as it takes it. */
void conn_flush(struct conn *c);

/* ---- conn_tls.c ---- */

/* The session may begin TLS now. */
void conn_start_tls(struct conn *c);
/* Ciphertext came. */
void conn_feed_tls(struct conn *c, const void *data, size_t len);
bool conn_in_handshake(const struct conn *c);
/* The session is ready for the first time: does EHLO offer what the verdict needs
 * (REQUIRETLS)? False: it leaves. */
bool conn_offers_enough(struct conn *c);
/* The handshake did not succeed. Without a demand: once more in clear text, on
 * a new connection (dest.c). */
void conn_fail_tls(struct conn *c, const char *text);
/*
 * A policy in mode testing is held against what the connection proved: said and
 * counted, once for a connection, never acted upon (STS-47). known: the reason
 * where it is not the lack of TLS. A host that is not listed was told with the
 * plan, and a second try in clear text with the first.
 */
void conn_shadow(struct conn *c, enum reason known, const char *text);

/* ---- conn_mail.c ---- */

/* The session is ready: the next message, or more of them, or leave. */
void conn_next_message(struct conn *c);
void conn_transaction_done(struct conn *c);
/* Give back what was pulled and not begun. */
void conn_return_mails(struct conn *c);

#endif
