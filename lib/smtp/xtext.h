/*
 * xtext.h - the encodings of ENVID, ORCPT and AUTH= values.
 *
 * xtext: RFC 3461 section 4. The UTF-8 address forms: RFC 6533 section 3.
 */
#ifndef POSTERN_SMTP_XTEXT_H
#define POSTERN_SMTP_XTEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/*
 * Encode data[0..len) as xtext: '!' to '~' but '+' and '=' as they are, all
 * else "+HH" in upper-case hex. Writes into out and terminates. Returns the
 * length without terminator, or PE_TOO_LONG when cap is not enough.
 */
ssize_t smtp_xtext_encode(const void *data, size_t len, char *out, size_t cap);

/*
 * Decode strictly: every byte must be one that the encoder may write, hex in
 * upper case. Decoded CR, LF or NUL are refused. Terminates. Returns the
 * length, PE_SYNTAX or PE_TOO_LONG.
 */
ssize_t smtp_xtext_decode(const char *text, size_t len, char *out, size_t cap);

/* Would smtp_xtext_decode() take it? Empty text is fine here. */
bool smtp_xtext_valid(const char *text, size_t len);

/*
 * The value of ORCPT=utf-8;... (RFC 6533, 3): reads utf-8-addr-xtext and
 * utf-8-addr-unitext, that is "\x{HEX}" for a code point, other printable
 * ASCII as it is (no '\\', '+' or '='), and raw UTF-8. Decoded C0, C1 and DEL
 * are refused, and so are surrogates and escapes for bytes that need none.
 * Writes UTF-8, terminates. Returns the length, PE_SYNTAX or PE_TOO_LONG.
 */
ssize_t smtp_utf8_addr_decode(
    const char *text, size_t len, char *out, size_t cap);

/*
 * The other way. ascii: utf-8-addr-xtext (everything beyond ASCII escaped, for
 * a server without SMTPUTF8); else utf-8-addr-unitext. PE_SYNTAX when data is
 * no valid UTF-8.
 */
ssize_t smtp_utf8_addr_encode(
    const char *data, size_t len, bool ascii, char *out, size_t cap);

#endif
