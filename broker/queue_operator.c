/* What people ask for. */
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>

static int find(struct queue *q, const struct queue_page *page, unsigned target,
		const struct id *user, struct ref *ret)
{
	uint32_t i;

	assert(q->page == page);
	if (target >= q->targets_n)
		return -ENOENT;
	i = user_find(q, user);
	if (i == NONE || !entry_find(q, target, i, ret))
		return -ENOENT;
	return 0;
}

int queue_retry(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc == 0)
		entry_cause(q, &r, CAUSE_NEWER | CAUSE_LIVE | CAUSE_NO_WAIT);
	return rc;
}

int queue_drop(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc < 0)
		return rc;
	if (r.e->state != QUEUE_DEAD)
		return -ENOENT;
	entry_drop(q, &r);
	return 0;
}

int queue_resync(struct queue *q, struct queue_page *page, unsigned target, const struct id *user)
{
	struct ref r;
	int rc = find(q, page, target, user, &r);

	if (rc == 0)
		entry_verify(q, &r, CAUSE_NEWER | CAUSE_LIVE);
	return rc;
}

int queue_set_pause(struct queue *q, struct queue_page *page, unsigned target, bool paused,
		    struct slice why)
{
	assert(q->page == page);
	if (target >= q->targets_n)
		return -ENOENT;
	if (pace_operator(&q->targets[target]->pace, paused, q->now_ms))
		pause_put(q, target, why);
	return 0;
}
