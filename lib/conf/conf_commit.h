/*
 * conf_commit.h - replace the tables of a settings directory all at once.
 *
 * A commit is one file, the revision, which holds all tables. It is written
 * beside them as CONF_COMMIT_FILE, synced, and renamed into place: from that
 * line on the new set is what every reader sees (conf_load_dir() and
 * conf_tables_read() take the tables from it). Then the tables themselves are
 * replaced one by one, and the file goes. Whoever finds one finishes the work.
 *
 *   on disk                       readers see   cleaned up by
 *   CONF_COMMIT_FILE.new, torn    old           the next commit
 *   CONF_COMMIT_FILE              new           conf_commit_finish()
 *   + some tables replaced        new           conf_commit_finish()
 *   neither                       the tables    -
 *
 * Only the supervisor writes. postern.conf is never touched.
 */
#ifndef POSTERN_CONF_CONF_COMMIT_H
#define POSTERN_CONF_CONF_COMMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/conf/conf.h"

struct buf;

#define CONF_COMMIT_FILE  ".postern-commit"
#define CONF_REVISIONS	  20 /* kept in the history */
#define CONF_REVISION_MAX ((size_t)128 << 20)
enum { CONF_WHO_MAX = 128, CONF_MESSAGE_MAX = 1000, CONF_VERSION = 17 };

/* The texts of the tables; [CONF_T_POSTERN] is not used. */
struct conf_tables {
	char *text[CONF_T_COUNT]; /* malloc, terminated; never NULL once read */
	size_t len[CONF_T_COUNT];
};
void conf_tables_done(struct conf_tables *t);
/* A word that differs when any text does. out holds CONF_VERSION bytes. */
const char *conf_tables_version(const struct conf_tables *t, char *out);
/* As readers see them. 0, PE_CORRUPT (CONF_COMMIT_FILE is damaged), -errno. */
int conf_tables_read(int dir_fd, struct conf_tables *ret);

struct conf_revision {
	uint64_t number; /* from 1 */
	int64_t time_s;
	char who[CONF_WHO_MAX + 1];
	char message[CONF_MESSAGE_MAX + 1]; /* one line */
	struct conf_tables tables;
};
/* Append to out. 0, PE_FULL, -ENOMEM. */
int conf_revision_encode(const struct conf_revision *rev, struct buf *out);
/* 0 (then conf_tables_done(&ret->tables)), PE_CORRUPT, -ENOMEM. */
int conf_revision_decode(
    const uint8_t *data, size_t len, struct conf_revision *ret);

/* Called before each step that reaches the disk, by tests; NULL: nobody. */
typedef void conf_commit_step(void *arg, const char *what);
struct conf_commit {
	int dir_fd;	/* the settings */
	int history_fd; /* revisions by number; -1: none are kept */
	conf_commit_step *on_step;
	void *step_arg;
};

/*
 * Can the tables be written here? 0, or -errno and a sentence in why (a
 * read-only file system, a directory of somebody else, a table that is a
 * symbolic link).
 */
int conf_commit_possible(
    const struct conf_commit *c, char *why, size_t why_len);
/* Make rev the set. 0: it is on disk, and readers take the tables from it until
 * conf_commit_finish() has replaced them. Else -errno, and the old set stays. */
int conf_commit_write(
    const struct conf_commit *c, const struct conf_revision *rev);
/* Replace the tables by what conf_commit_write() has put there, now or in a
 * process that died; 0 also when there is nothing. An error: the set still
 * counts, and the next call tries again. */
int conf_commit_finish(const struct conf_commit *c);

/* Put a revision into the history without making it the set. */
int conf_history_add(
    const struct conf_commit *c, const struct conf_revision *rev);
/* The staged set beside the history: under no number, replaced as a whole. */
int conf_staged_save(int history_fd, const struct conf_revision *rev);
int conf_staged_load(int history_fd, struct conf_revision *ret);
int conf_staged_remove(int history_fd);
/* Numbers of the history, newest first. Returns how many, or -errno. */
int conf_history_list(int history_fd, uint64_t *ret, size_t max);
int conf_history_read(
    int history_fd, uint64_t number, struct conf_revision *ret);

#endif
