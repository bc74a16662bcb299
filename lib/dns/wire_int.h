/*
 * wire_int.h - what the files of the packet code share. Nobody else includes it.
 */
#ifndef POSTERN_DNS_WIRE_INT_H
#define POSTERN_DNS_WIRE_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	HEADER = 12,
	CLASS_IN = 1,
	TYPE_OPT = 41,
	NAME_WIRE_MAX = 255,
};

struct pkt {
	const uint8_t *p;
	size_t len;
};

/* An uncompressed, lower-case name. */
struct name {
	uint8_t w[NAME_WIRE_MAX];
	size_t len;
};

static inline uint16_t
wire_u16_at(const uint8_t *p)
{
	return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t
wire_u32_at(const uint8_t *p)
{
	return (uint32_t)wire_u16_at(p) << 16 | wire_u16_at(p + 2);
}

static inline uint8_t
wire_lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

/*
 * Read the name at *off, following pointers; *off moves behind it. A pointer
 * must aim before the segment that it ends, so the walk terminates.
 */
bool wire_name_read(const struct pkt *k, size_t *off, struct name *ret);

/* The same without keeping it. */
bool wire_name_skip(const struct pkt *k, size_t *off);

bool wire_name_eq(const struct name *a, const struct name *b);

/* True when n is parent or below it. */
bool wire_name_under(const struct name *n, const struct name *parent);

/* Text form, escaped; at most 4 * 255 bytes, so DNS_TEXT_SIZE is enough.
 * Returns the length without terminator; ret may be NULL to measure. */
size_t wire_name_text(const struct name *n, char *ret);

#endif
