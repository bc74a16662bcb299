/*
 * exit.h - exit codes of the children: an interface to the supervisor.
 */
#ifndef POSTERN_PROC_EXIT_H
#define POSTERN_PROC_EXIT_H

enum {
	EXIT_CODE_DONE = 0, /* drained as asked */
	EXIT_CODE_FATAL =
	    70, /* an invariant no longer holds: restart, back off */
	EXIT_CODE_START = 71,  /* could not start: restart slowly */
	EXIT_CODE_ORPHAN = 72, /* the supervisor is gone; nobody reads this */
	EXIT_CODE_CONFIG = 78, /* settings it cannot work with: stop the node */
};

#endif
