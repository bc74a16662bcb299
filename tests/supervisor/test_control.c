/*
 * test_control.c - what a child may make the supervisor do to another child.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>
#include <cmocka.h>

#include "lib/proto/control.h"
#include "supervisor/supervisor.h"

enum { SMTPD, QUEUE };

static struct node node;
static uv_loop_t loop;
static struct ipc_hub child_hub;

static void
on_down(void *peer, int why, const char *text)
{
	(void)peer;
	(void)why;
	(void)text;
}

static int
on_drain(void *peer, struct ipc_msg *m, struct ipc_rd *rd)
{
	(void)peer;
	(void)m;
	(void)ipc_rd_u32(rd);
	return ipc_rd_end(rd);
}

static const struct ipc_rule child_rules[] = {
	{ CTL_DRAIN, 4, 4, IPC_ANY, 0, on_drain },
};

/* The child's side says things, and is told to drain at most. */
static const struct ipc_spec child_spec = { .name = "supervisor",
	.rules = child_rules,
	.n_rules = 1,
	.on_down = on_down };

static pid_t
sleeper(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		(void)alarm(30); /* also when the test fails */
		(void)pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

/* Was it killed? Reaps and replaces it, as the supervisor would. */
static bool
was_killed(struct process *p)
{
	int status = 0;

	if (waitpid(p->pid, &status, WNOHANG) != p->pid)
		return false;
	p->pid = sleeper();
	return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

static void
turn(void)
{
	int i;

	for (i = 0; i < 5; i++)
		(void)uv_run(&loop, UV_RUN_NOWAIT);
}

static void
report(struct ipc_chan *c)
{
	struct ctl_broken m = { ROLE_QUEUE, 0, "so it says" };

	ctl_broken_encode(ipc_send_begin(c, CTL_BROKEN, 0), &m);
	assert_int_equal(ipc_send_end(c, -1), 0);
	turn();
	(void)usleep(50 * 1000); /* a signal takes its time to end a process */
}

/*
 * One report ends the accused, as it must. One who goes on accusing ends too:
 * whichever of the two lies, neither can keep the other down alone.
 */
static void
test_accuser(void **state)
{
	struct process *smtpd = &node.processes[SMTPD];
	struct process *queue = &node.processes[QUEUE];
	struct ipc_chan *child = NULL;
	int fd[2];

	(void)state;
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(ipc_hub_init(&node.hub, &loop), 0);
	assert_int_equal(ipc_hub_init(&child_hub, &loop), 0);
	node.n_processes = 2;
	node.state = NODE_RUNNING;
	smtpd->node = queue->node = &node;
	smtpd->role = ROLE_SMTPD;
	queue->role = ROLE_QUEUE;
	smtpd->state = queue->state = PROCESS_READY;
	smtpd->said_ready = queue->said_ready = true;
	smtpd->pid = sleeper();
	queue->pid = sleeper();
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_chan_new(&node.hub, fd[0], &control_spec, smtpd, &smtpd->chan),
	    0);
	assert_int_equal(
	    ipc_chan_new(&child_hub, fd[1], &child_spec, NULL, &child), 0);
	turn();
	report(child);
	assert_true(was_killed(queue));
	assert_false(was_killed(smtpd));
	report(child);
	assert_true(was_killed(queue));
	assert_true(was_killed(smtpd));
	(void)kill(smtpd->pid, SIGKILL);
	(void)kill(queue->pid, SIGKILL);
	(void)waitpid(smtpd->pid, NULL, 0);
	(void)waitpid(queue->pid, NULL, 0);
	ipc_chan_free(smtpd->chan);
	ipc_chan_free(child);
	smtpd->chan = NULL;
	smtpd->pid = queue->pid = 0;
	ipc_hub_done(&node.hub);
	ipc_hub_done(&child_hub);
	turn();
	(void)uv_loop_close(&loop);
}

/* A child whose channel could not be made is killed and waits for its end. */
static void
test_drain_without_channel(void **state)
{
	struct process *smtpd = &node.processes[SMTPD];

	(void)state;
	memset(&node, 0, sizeof(node));
	assert_int_equal(uv_loop_init(&loop), 0);
	node.loop = &loop;
	assert_int_equal(uv_timer_init(&loop, &node.drain_timer), 0);
	node.drain_timer.data = &node;
	node.n_processes = 1;
	node.state = NODE_RUNNING;
	smtpd->node = &node;
	smtpd->role = ROLE_SMTPD;
	smtpd->pid = sleeper();
	node_drain(&node, 1000);
	(void)kill(smtpd->pid, SIGKILL);
	assert_int_equal(waitpid(smtpd->pid, NULL, 0), smtpd->pid);
	uv_close((uv_handle_t *)&node.drain_timer, NULL);
	turn();
	assert_int_equal(uv_loop_close(&loop), 0);
}

/* The node drains while a child still starts: what the child was about to say
 * is no broken rule. */
static void
test_ready_while_draining(void **state)
{
	struct process *smtpd = &node.processes[SMTPD];
	struct ctl_ready ready = { .missing = "" };
	struct ipc_chan *child = NULL;
	int fd[2];

	(void)state;
	memset(&node, 0, sizeof(node));
	assert_int_equal(uv_loop_init(&loop), 0);
	assert_int_equal(ipc_hub_init(&node.hub, &loop), 0);
	assert_int_equal(ipc_hub_init(&child_hub, &loop), 0);
	node.loop = &loop;
	assert_int_equal(uv_timer_init(&loop, &node.drain_timer), 0);
	node.drain_timer.data = &node;
	node.n_processes = 1;
	node.state = NODE_RUNNING;
	smtpd->node = &node;
	smtpd->role = ROLE_SMTPD;
	smtpd->state = PROCESS_STARTING;
	smtpd->pid = sleeper();
	assert_int_equal(ipc_pair(fd), 0);
	assert_int_equal(
	    ipc_chan_new(&node.hub, fd[0], &control_spec, smtpd, &smtpd->chan),
	    0);
	assert_int_equal(
	    ipc_chan_new(&child_hub, fd[1], &child_spec, NULL, &child), 0);
	turn();
	node_drain(&node, 1000);
	ctl_ready_encode(ipc_send_begin(child, CTL_READY, 0), &ready);
	assert_int_equal(ipc_send_end(child, -1), 0);
	turn();
	assert_true(smtpd->said_ready);
	assert_int_equal(smtpd->state, PROCESS_DRAINING);
	/* once is enough */
	ctl_ready_encode(ipc_send_begin(child, CTL_READY, 0), &ready);
	assert_int_equal(ipc_send_end(child, -1), 0);
	assert_false(was_killed(smtpd));
	turn();
	(void)usleep(50 * 1000); /* a signal takes its time */
	assert_true(was_killed(smtpd));
	(void)kill(smtpd->pid, SIGKILL);
	(void)waitpid(smtpd->pid, NULL, 0);
	ipc_chan_free(smtpd->chan);
	ipc_chan_free(child);
	ipc_hub_done(&node.hub);
	ipc_hub_done(&child_hub);
	uv_close((uv_handle_t *)&node.drain_timer, NULL);
	turn();
	(void)uv_loop_close(&loop);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accuser),
		cmocka_unit_test(test_drain_without_channel),
		cmocka_unit_test(test_ready_while_draining),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
