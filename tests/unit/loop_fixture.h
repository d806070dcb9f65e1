/* A loop for a test: it stops at loop_stop, or at the deadline, which is a failure. */
#ifndef DIRPIPE_LOOP_FIXTURE_H
#define DIRPIPE_LOOP_FIXTURE_H

#include "loop.h"
#include "unit.h"

enum { DEADLINE_MS = 60000 };

static struct {
	struct loop *loop;
	struct loop_timer *deadline;
	bool late;
} t;

static inline void too_late(void *arg)
{
	(void)arg;
	t.late = true;
	loop_stop(t.loop);
}

static inline int begin(void **state)
{
	(void)state;
	t.loop = loop_new();
	t.deadline = loop_timer_new(t.loop, too_late, NULL);
	t.late = false;
	return 0;
}

static inline int end(void **state)
{
	(void)state;
	loop_free(t.loop);
	return 0;
}

static inline void run(void)
{
	loop_timer_set(t.deadline, DEADLINE_MS);
	loop_run(t.loop);
	assert_false(t.late);
}

static inline void stop(void *arg)
{
	(void)arg;
	loop_stop(t.loop);
}

#endif
