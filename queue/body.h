/*
 * body.h - bodies that are too large for the store: one file per message,
 * DIR/bodies/HH/MID, MID in decimal.
 *
 * A file is written as the data arrives, made durable by the writer thread
 * before the transaction that names it, and deleted after the transaction that
 * forgets it. What a crash leaves without a record is an orphan; the sweep
 * finds it after the start, in small steps.
 */
#ifndef POSTERN_QUEUE_BODY_H
#define POSTERN_QUEUE_BODY_H

#include <dirent.h>
#include <stdbool.h>
#include <stdint.h>

enum { BODY_DIRS = 256 };

/* Neighbours in time share a directory, so that a batch syncs few of them. */
unsigned body_dir_of(uint64_t mid);

/* Make the directories; before the lock-down. 0 or a negative errno. */
int body_dirs_make(int dir_fd);

/* A new file for writing; -EEXIST when the message has one. */
int body_create(int dir_fd, uint64_t mid, int *ret_fd);
/* For the worker: read-only, with size checked. PE_CORRUPT, PE_NOT_FOUND. */
int body_open(int dir_fd, uint64_t mid, uint64_t size, int *ret_fd);
/* A file that is not there is fine. */
int body_unlink(int dir_fd, uint64_t mid);
int body_sync_dir(int dir_fd, unsigned dir);

/* The walk over all files, some at a time. */
struct body_sweep {
	int dir_fd;
	unsigned dir; /* BODY_DIRS: finished */
	DIR *open;
};
void body_sweep_init(struct body_sweep *s, int dir_fd);
/* The next file: 1, 0 at the end, or a negative errno for a directory that
 * cannot be read (the walk goes on with the next one). */
int body_sweep_next(struct body_sweep *s, uint64_t *ret_mid);
void body_sweep_done(struct body_sweep *s);

#endif
