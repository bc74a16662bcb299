/*
 * terminal.c - see terminal.h. Only the dialogues use it.
 */
#include "ctl/terminal.h"
#include "ctl/ctl.h"

#include <histedit.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct terminal {
	struct ctl *ctl;
	EditLine *el;
	History *history;
	char prompt[160];
};

static char *
on_prompt(EditLine *el)
{
	struct terminal *t = NULL;

	(void)el_get(el, EL_CLIENTDATA, &t);
	return t->prompt;
}

bool
terminal_is(const struct ctl *ctl)
{
	int in = fileno(ctl->in), out = fileno(ctl->out);

	return in >= 0 && out >= 0 && isatty(in) == 1 && isatty(out) == 1;
}

struct terminal *
terminal_new(struct ctl *ctl)
{
	struct terminal *t = calloc(1, sizeof(*t));
	HistEvent ev;

	if (t == NULL)
		return NULL;
	t->ctl = ctl;
	t->el = el_init("posternctl", ctl->in, ctl->out, ctl->err);
	t->history = history_init();
	if (t->el == NULL || t->history == NULL) {
		terminal_free(t);
		return NULL;
	}
	/* our own constants: none of these can fail */
	(void)history(t->history, &ev, H_SETSIZE, 100);
	(void)el_set(t->el, EL_CLIENTDATA, t);
	(void)el_set(t->el, EL_PROMPT, on_prompt);
	(void)el_set(t->el, EL_EDITOR, "emacs");
	(void)el_set(t->el, EL_SIGNAL, 1);
	(void)el_set(t->el, EL_HIST, history, t->history);
	return t;
}

void
terminal_free(struct terminal *t)
{
	if (t == NULL)
		return;
	if (t->el != NULL)
		el_end(t->el);
	if (t->history != NULL)
		history_end(t->history);
	free(t);
}

bool
terminal_ask(struct terminal *t, const char *def, char *out, size_t len)
{
	const char *line;
	HistEvent ev;
	int n = 0;
	size_t end;

	(void)snprintf(t->prompt, sizeof(t->prompt), "[%.150s]> ", def);
	(void)fflush(t->ctl->out);
	line = el_gets(t->el, &n);
	if (line == NULL || n <= 0)
		return false;
	while (*line == ' ' || *line == '\t')
		line++;
	end = strcspn(line, "\r\n");
	while (end > 0 && (line[end - 1] == ' ' || line[end - 1] == '\t'))
		end--;
	if (end == 0) {
		if (out != def) /* a caller may offer what it has */
			(void)snprintf(out, len, "%s", def);
	} else {
		(void)snprintf(out, len, "%.*s", (int)end, line);
		(void)history(t->history, &ev, H_ENTER, out);
	}
	return true;
}
