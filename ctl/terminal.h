/*
 * terminal.h - one line at a time from somebody at a terminal (libedit).
 */
#ifndef POSTERN_CTL_TERMINAL_H
#define POSTERN_CTL_TERMINAL_H

#include <stdbool.h>
#include <stddef.h>

struct ctl;
struct terminal;

/* Are both ends of this call a terminal? */
bool terminal_is(const struct ctl *ctl);
/* NULL without memory. */
struct terminal *terminal_new(struct ctl *ctl);
void terminal_free(struct terminal *t);

/* "[def]> " and a line, without blanks around it; def when it is empty. false
 * at the end of input, after which everything is over. */
bool terminal_ask(struct terminal *t, const char *def, char *out, size_t len);

#endif
