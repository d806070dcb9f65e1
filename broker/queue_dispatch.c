/* Who gets which user next. */
#include "queue_impl.h"

enum { ROUND = 256 }; /* users of one target before the next has its turn */

static bool has_room(const struct worker *w, unsigned target)
{
	return w->target == target && !w->away && w->out < w->credits;
}

/* The next worker of the target that has room; they take turns. */
static struct worker *worker_next(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];

	for (size_t i = 0; i < q->workers_n; i++) {
		size_t at = (t->next_worker + i) % q->workers_n;

		if (has_room(&q->workers[at], target)) {
			t->next_worker = at + 1;
			return &q->workers[at];
		}
	}
	return NULL;
}

bool dispatch_possible(const struct queue *q, unsigned target)
{
	if (!entry_waiting(q, target))
		return false;
	for (size_t i = 0; i < q->workers_n; i++) {
		if (has_room(&q->workers[i], target))
			return true;
	}
	return false;
}

/* Who never had a link will be created: that is written with the lease, which spares the worker a NOTE and its wait. After
 * a lease that ran out the link says `creating` already, and the account is looked for. True: noted. */
static bool note_creating(struct queue *q, const struct ref *r, const struct worker *w)
{
	if (!w->creates || !r->e->in || r->e->link_state != LINK_NONE || r->e->link_revision != 0)
		return false;
	link_creating(q, r);
	return true;
}

static void give(struct queue *q, const struct ref *r, struct worker *w, size_t answer)
{
	const struct user *u = user_at(q, r->user);
	const struct queue_lease lease = {
		.epoch = q->page->epoch,
		.page = q->page->number,
		.index = q->page_index++,
		.worker = w->nonce,
		.want = r->e->want,
		.version = u->version,
		.stamp_ms = w->clock_ms,
		.deadline_unix_ms = q->now_ms + q->conf.lease_ms + q->conf.grace_ms,
	};
	struct was was = entry_was(q, r);
	bool noted = note_creating(q, r, w);
	struct queue_answer *a;
	struct queue_effect *f;

	entry_fly(q, r, &lease);
	w->out++;
	pace_dispatched(&q->targets[r->target]->pace, q->now_ms);
	f = page_user_effect(q, QUEUE_DISPATCH, r);
	f->old_state = was.state;
	f->old_lane = was.lane;
	f->old_calendar = was.calendar;
	f->entry = entry_row(q, r);
	f->lease = lease;
	f->answer = (uint32_t)answer;
	a = &q->page->answers[answer];
	a->tasks[a->tasks_n++] = (struct queue_task_head){
		.id = u->id,
		.lease = lease,
		.version = u->version,
		.gone = u->gone,
		.in = r->e->in,
		.verify = r->e->verify == QUEUE_VERIFY_NOW,
		.noted = noted,
		.attempts = f->entry.attempts,
		.permits = held_permits(q, r),
	};
	approval_give(q, r, &a->tasks[a->tasks_n - 1]);
}

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* One TASKS for one worker; 0 when nobody or nothing is there. */
static size_t give_batch(struct queue *q, unsigned target, size_t most)
{
	struct worker *w;
	struct queue_answer *a;
	size_t answer, n = 0;
	struct ref r;

	if (most == 0 || !entry_take(q, target, &r))
		return 0;
	w = worker_next(q, target);
	if (!w) {
		entry_ring(q, &r, true);
		return 0;
	}
	most = least(most, least(w->batch, w->credits - w->out));
	a = page_answer(q, w->peer, WIRE_VERB_tasks);
	answer = (size_t)(a - q->page->answers);
	a->tasks = (struct queue_task_head *)(void *)page_room(q, most * sizeof(*a->tasks));
	do {
		give(q, &r, w, answer);
		n++;
	} while (n < most && entry_take(q, target, &r));
	return n;
}

static size_t allowed(const struct queue *q, unsigned target)
{
	const struct target *t = q->targets[target];
	int64_t n = t->approved.n > 0 ? pace_allowed_approved(&t->pace, q->now_ms)
				      : pace_allowed(&t->pace, q->now_ms);

	return n > 0 ? (size_t)n : 0;
}

bool dispatch(struct queue *q, size_t most)
{
	bool any = most > 0;

	if (q->now_ms < q->quiet_until_ms)
		return false;
	while (any && most > 0) {
		any = false;
		for (unsigned i = 0; i < q->targets_n && most > 0; i++) {
			unsigned target = (q->next_target + i) % q->targets_n;
			size_t n = give_batch(q, target,
					      least(least(most, ROUND), allowed(q, target)));

			most -= n;
			any |= n > 0;
		}
	}
	q->next_target = q->targets_n ? (q->next_target + 1) % q->targets_n : 0;
	for (unsigned i = 0; any && i < q->targets_n; i++) {
		if (allowed(q, i) > 0 && dispatch_possible(q, i))
			return true;
	}
	return false;
}
