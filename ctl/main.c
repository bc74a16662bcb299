/*
 * main.c - posternctl: look at a node and steer it. See posternctl(1).
 *
 * An untrusted client like any other: it reads the settings only to find the
 * control socket, and asks the node for everything else.
 */
#include "ctl/ctl.h"

#include <signal.h>
#include <unistd.h>

int
main(int argc, char **argv)
{
	int code;

	(void)signal(SIGPIPE, SIG_IGN); /* a closed pager is no crash */
	code = ctl_main(argc, argv, stdin, stdout, stderr);
	if (fflush(stdout) != 0 && code == CTL_DONE)
		code = CTL_NO; /* the answer was not written */
	return code;
}
