/* What a target bears for one user at a time, all workers together (WIRE_SERIAL): wanted like a destructive operation, granted
 * without a judgement to whoever has waited longest, and given back with the user's next result, whatever it says. A lost lease
 * keeps it: the user is due, and what was begun is settled by the next task.
 *
 *	wanted --oldest of those who are clean or due, nobody holds it--> granted --result, or no longer due--> wanted, or gone */
#include "queue_impl.h"

#include <assert.h>
#include <string.h>

static struct held *held_at(const struct queue *q, uint32_t i)
{
	return (struct held *)pool_at(&q->held, i);
}

bool serial_is(struct slice op)
{
	return slice_is(op, WIRE_SERIAL);
}

void serial_count(struct queue *q, uint32_t i, int by)
{
	const struct held *h = held_at(q, i);
	struct target *t = q->targets[h->target];

	if (h->phase == QUEUE_WANTED)
		t->serial_wanted += (uint64_t)by;
	if (h->phase == QUEUE_GRANTED) {
		assert(t->serial_holder == (by > 0 ? NONE : i));
		t->serial_holder = by > 0 ? i : NONE;
	}
}

/* At a load: one that was granted is so still; more than one were never. */
void serial_load(struct queue *q, uint32_t i)
{
	struct held *h = held_at(q, i);

	if (h->phase != QUEUE_GRANTED || q->targets[h->target]->serial_holder != NONE)
		h->phase = QUEUE_WANTED;
	serial_count(q, i, 1);
}

/* May it be granted now, would the grant lead to a task at once? */
static bool is_ready(const struct queue *q, const struct held *h)
{
	struct ref r;

	return entry_find(q, h->target, h->user, &r) &&
	       (r.e->state == QUEUE_CLEAN || r.e->state == QUEUE_DUE);
}

static bool is_held(const struct queue *q, const struct target *t)
{
	const struct held *h = held_at(q, t->serial_holder);
	struct ref r;

	return entry_find(q, h->target, h->user, &r) &&
	       (r.e->state == QUEUE_DUE || r.e->state == QUEUE_FLIGHT);
}

void serial_tick(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];
	uint32_t oldest = NONE;

	if (t->serial_holder != NONE && !is_held(q, t)) { /* to the end of the row */
		held_at(q, t->serial_holder)->since_ms = q->now_ms;
		held_set(q, t->serial_holder, QUEUE_WANTED);
	}
	if (t->serial_holder != NONE || t->serial_wanted == 0)
		return;
	for (uint32_t i = 0; i < q->held.used; i++) {
		const struct held *h = held_at(q, i);

		if (h->op && h->serial && h->target == target && h->phase == QUEUE_WANTED &&
		    (oldest == NONE || h->since_ms < held_at(q, oldest)->since_ms) &&
		    is_ready(q, h))
			oldest = i;
	}
	if (oldest != NONE)
		held_grant(q, oldest);
}
