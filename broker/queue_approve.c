/* Rows of a plan that a person approved: one user, one version, the hash of what was shown, and the permits that it takes. They are
 * worked on although the operator paused the target, before all others, and exactly as shown or not at all.
 *
 *	waiting --TASK with the hash--> (in flight) --DONE--------------------> done
 *	   ▲                                  │──changed_since_plan, newer---> changed
 *	   │                                  │──parked, dead----------------> failed
 *	   └── throttled, down, retry, lease over: the hash still counts, unless something was written under it already
 *
 * They live here alone: after a restart of the broker nobody waits, and who applies asks again. */
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

enum { KEEP_MS = 10 * 60 * 1000 }; /* how it ended is remembered so long after the last one ended */

struct approval {
	uint32_t next;
	uint32_t user;
	uint16_t target;
	uint8_t state; /* enum queue_approval */
	bool begun;    /* something was written under it: finished, whatever the hash says */
	uint64_t version;
	struct fp hash;
	uint32_t permits_n;
	struct slice permits; /* wire_op records, owned */
	char *reason;
};

static struct approval *at(const struct queue *q, uint32_t i)
{
	return (struct approval *)pool_at(&q->approvals, i);
}

static uint64_t hash_of(uint32_t user, unsigned target)
{
	return mix((uint64_t)target << 32 | user);
}

static uint32_t *link_of(void *arg, uint32_t i)
{
	return &at(arg, i)->next;
}

static uint64_t chain_hash(void *arg, uint32_t i)
{
	return hash_of(at(arg, i)->user, at(arg, i)->target);
}

static uint32_t find(const struct queue *q, unsigned target, uint32_t user)
{
	uint32_t i = chain_head(&q->approvals_by_user, hash_of(user, target));

	while (i != NONE && (at(q, i)->user != user || at(q, i)->target != target))
		i = at(q, i)->next;
	return i;
}

static struct approval *waiting(const struct queue *q, const struct ref *r)
{
	return r->e->approved ? at(q, find(q, r->target, r->user)) : NULL;
}

void approvals_init(struct queue *q)
{
	pool_init(&q->approvals, sizeof(struct approval), 256);
}

static void drop(struct queue *q, uint32_t i)
{
	const struct chain_of of = {link_of, chain_hash, q};
	struct approval *a = at(q, i);

	chain_remove(&q->approvals_by_user, &of, i);
	free((void *)(uintptr_t)a->permits.p);
	free(a->reason);
	*a = (struct approval){0};
	pool_give(&q->approvals, i);
}

void approvals_done(struct queue *q)
{
	for (uint32_t i = 0; i < q->approvals.used; i++) {
		free((void *)(uintptr_t)at(q, i)->permits.p);
		free(at(q, i)->reason);
	}
	pool_done(&q->approvals);
	chain_done(&q->approvals_by_user);
}

/* ---- how one ends ---- */

static void end(struct queue *q, const struct ref *r, enum queue_approval state, struct slice why)
{
	struct approval *a = waiting(q, r);

	a->state = (uint8_t)state;
	a->reason = slice_dup(why);
	r->e->approved = 0;
	q->targets[r->target]->approvals--;
	q->targets[r->target]->approved_ms = q->now_ms;
}

/* A lease under an approval is over. */
void approval_landed(struct queue *q, const struct ref *r, const struct wire_result *w,
		     const struct landing *l)
{
	struct approval *a = waiting(q, r);

	if (!a)
		return;
	if (l->verdict == VERDICT_DONE)
		end(q, r, QUEUE_APPLIED, (struct slice){0});
	else if (l->verdict == VERDICT_RETRY && slice_is(w->reason, WIRE_CHANGED))
		end(q, r, QUEUE_CHANGED, w->reason);
	else if (l->verdict == VERDICT_PARKED || l->verdict == VERDICT_REJECTED ||
		 l->to == QUEUE_DEAD)
		end(q, r, QUEUE_FAILED, l->reason);
	else
		a->begun |= w->ops.n > 0 || w->unknown_outcome;
}

/* There is nothing to be done for the user any more. */
void approval_over(struct queue *q, const struct ref *r)
{
	if (r->e->approved)
		end(q, r, QUEUE_CHANGED, SLICE("out_of_scope"));
}

/* ---- whose turn it is ---- */

void approval_ring(struct queue *q, const struct ref *r)
{
	if (r->e->approved)
		ring_push(&q->targets[r->target]->approved, r->user);
}

/* Is the approval still of what the user is? Ends it if not. */
static bool holds(struct queue *q, const struct ref *r)
{
	const struct approval *a = waiting(q, r);

	if (!a)
		return false;
	if (a->version == user_at(q, r->user)->version)
		return true;
	end(q, r, QUEUE_CHANGED, SLICE("newer_version"));
	return false;
}

bool approval_take(struct queue *q, unsigned target, struct ref *ret)
{
	struct ring *ring = &q->targets[target]->approved;

	while (ring->n > 0) {
		const struct rare *x;

		entry_find(q, target, ring_pop(ring), ret);
		x = rare_get(q, ret);
		if (ret->e->state == QUEUE_DUE && !(x && x->blocked_ms) && holds(q, ret))
			return true;
	}
	return false;
}

void approval_give(struct queue *q, const struct ref *r, struct queue_task_head *head)
{
	const struct approval *a;
	CLEANUP(buf_cleanup) struct buf b = {0};

	if (!holds(q, r))
		return;
	a = waiting(q, r);
	if (!a->begun)
		head->expect = a->hash;
	buf_add(&b, head->permits.p, head->permits.n);
	buf_add(&b, a->permits.p, a->permits.n);
	if (b.n == 0)
		return;
	struct slice text = page_text(q, &b);

	head->permits = (struct wire_list){head->permits.count + a->permits_n, text.p, text.n};
}

/* ---- a person's word ---- */

static void forget_old(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];

	if (t->approvals > 0 || q->now_ms - t->approved_ms < KEEP_MS)
		return;
	for (uint32_t i = 0; i < q->approvals.used; i++) {
		if (at(q, i)->state != QUEUE_NO_APPROVAL && at(q, i)->target == target)
			drop(q, i);
	}
}

static bool same(const struct approval *a, const struct queue_approved *row)
{
	return a->version == row->version && fp_equal(&a->hash, &row->hash);
}

/* What is for one user at a time has its turn afterwards: nobody can approve that two go together. */
static void take_permits(struct approval *a, struct wire_list permits)
{
	CLEANUP(buf_cleanup) struct buf b = {0};
	struct wire_op op;

	while (wire_next_op(&permits, &op)) {
		if (serial_is(op.op))
			continue;
		wire_add_op(&b, &op);
		a->permits_n++;
	}
	a->permits = (struct slice){slice_dup(buf_slice(&b)), b.n};
}

static void add(struct queue *q, const struct ref *r, const struct queue_approved *row)
{
	const struct chain_of of = {link_of, chain_hash, q};
	uint32_t i = find(q, r->target, r->user);
	struct approval *a;

	if (i != NONE)
		drop(q, i);
	i = pool_take(&q->approvals);
	a = at(q, i);
	a->user = r->user;
	a->target = r->target;
	a->state = QUEUE_APPROVED;
	a->version = row->version;
	a->hash = row->hash;
	take_permits(a, row->permits);
	chain_add(&q->approvals_by_user, &of, i);
	if (!r->e->approved)
		q->targets[r->target]->approvals++;
	r->e->approved = 1;
}

int queue_approve(struct queue *q, struct queue_page *page, unsigned target,
		  const struct queue_approved *row)
{
	uint32_t user = user_find(q, &row->user), i;
	struct ref r;

	assert(q->page == page);
	if (target >= q->targets_n || user == NONE || !entry_find(q, target, user, &r))
		return -ENOENT;
	forget_old(q, target);
	i = find(q, target, user);
	if (i != NONE && same(at(q, i), row))
		return 0; /* said again: it waits, or how it ended stands */
	if (user_at(q, user)->version != row->version)
		return -ESTALE;
	if (r.e->state == QUEUE_FLIGHT)
		return -EBUSY;
	add(q, &r, row);
	entry_cause(q, &r, CAUSE_NEWER | CAUSE_LIVE | CAUSE_NO_WAIT);
	approval_ring(q, &r);
	return 0;
}

enum queue_approval queue_approval(const struct queue *q, unsigned target, const struct id *user,
				   struct slice *ret_reason)
{
	uint32_t u = user_find(q, user), i = u == NONE ? NONE : find(q, target, u);

	*ret_reason = (struct slice){0};
	if (i == NONE)
		return QUEUE_NO_APPROVAL;
	*ret_reason = slice_of(at(q, i)->reason);
	return (enum queue_approval)at(q, i)->state;
}
