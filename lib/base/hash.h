/*
 * hash.h - SipHash-1-3 with a per-process random key, for every table whose
 * keys come from outside (RFC-free: Aumasson and Bernstein, 2012).
 */
#ifndef POSTERN_BASE_HASH_H
#define POSTERN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* Take a random key from the kernel. Call once at start, before any table. */
void hash_seed(void);

/* Hash of data[0..len) under this process's key. */
uint64_t hash_bytes(const void *data, size_t len);
uint64_t hash_u64(uint64_t value);

#endif
