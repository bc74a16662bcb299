/*
 * err.h - the error codes of Postern beside errno, and their one table of names.
 *
 * What can fail returns 0 or a count, or a negative errno or PE_* code.
 */
#ifndef POSTERN_BASE_ERR_H
#define POSTERN_BASE_ERR_H

/* Negative, and far below any -errno. Add at the end of the list only. */
enum {
	PE_PROTO = -10001,    /* a peer broke the rules of a protocol */
	PE_VERSION = -10002,  /* the peer speaks another protocol version */
	PE_SYNTAX = -10003,   /* bytes that are not what they should be */
	PE_TOO_LONG = -10004, /* over a limit; the limit is in the contract */
	PE_FULL = -10005,     /* a bound was reached: slow down, try later */
	PE_GONE = -10006,     /* the other side is no longer there */
	PE_NOT_FOUND = -10007,
	PE_TLS = -10008,     /* the TLS library refused */
	PE_CONFIG = -10009,  /* settings do not fit; the errors say where */
	PE_CORRUPT = -10010, /* stored bytes that fail their own check */
	PE_DENIED = -10011,  /* a permission table says no */
};

/* Text for a negative errno or PE_* code; static storage. */
const char *err_str(int code);

#endif
