/*
 * base64.h - bytes as text in JSON (RFC 4648 section 4), with padding.
 */
#ifndef POSTERN_BASE_BASE64_H
#define POSTERN_BASE_BASE64_H

#include <stddef.h>
#include <stdint.h>

/* Characters for len bytes, without a terminator. */
#define BASE64_LEN(len) (((len) + 2) / 3 * 4)

/* Writes BASE64_LEN(len) characters and no terminator. */
void base64_encode(const uint8_t *in, size_t len, char *out);

/* Decodes strictly: no blanks, padding where it belongs, spare bits zero. out
 * has room for len / 4 * 3 bytes. Returns 0 or -EBADMSG. */
int base64_decode(const char *in, size_t len, uint8_t *out, size_t *ret_len);

#endif
