/* The state machine of one user at one target. queue_move() is the only writer of a state; the picture is in
 * queue.h. */
#include "queue_impl.h"

#include <assert.h>

static const bool legal[QUEUE_STATES][QUEUE_STATES] = {
	[QUEUE_CLEAN] = {[QUEUE_DUE] = true},
	[QUEUE_DUE] = {[QUEUE_FLIGHT] = true, [QUEUE_CLEAN] = true},
	[QUEUE_FLIGHT] = {[QUEUE_CLEAN] = true,
			  [QUEUE_DUE] = true,
			  [QUEUE_RETRY] = true,
			  [QUEUE_PARKED] = true,
			  [QUEUE_DEAD] = true},
	[QUEUE_RETRY] = {[QUEUE_DUE] = true},
	[QUEUE_PARKED] = {[QUEUE_DUE] = true},
	[QUEUE_DEAD] = {[QUEUE_DUE] = true, [QUEUE_CLEAN] = true},
};

const char *queue_state_name(enum queue_state s)
{
	switch (s) {
	case QUEUE_CLEAN:
		return "clean";
	case QUEUE_DUE:
		return "due";
	case QUEUE_FLIGHT:
		return "in_flight";
	case QUEUE_RETRY:
		return "retry";
	case QUEUE_PARKED:
		return "parked";
	case QUEUE_DEAD:
		return "dead";
	case QUEUE_STATES:
		break;
	}
	return "?";
}

/* ---- rows ---- */

struct was entry_was(const struct queue *q, const struct ref *r)
{
	const struct rare *x = rare_get(q, r);

	return (struct was){
		.state = (uint8_t)r->e->state,
		.lane = (uint8_t)r->e->lane,
		.calendar = r->e->verify == QUEUE_VERIFY_AT || (x && x->look_again_ms),
	};
}

void entry_put(struct queue *q, const struct ref *r, struct was was)
{
	struct queue_effect *f = page_user_effect(q, QUEUE_PUT_ENTRY, r);

	f->old_state = was.state;
	f->old_lane = was.lane;
	f->old_calendar = was.calendar;
	f->entry = entry_row(q, r);
}

/* ---- the mover ---- */

struct step {
	enum queue_state to;
	int64_t since_ms;
	struct was was;
	uint8_t verdict;
	struct slice reason;
};

static void queue_move(struct queue *q, const struct ref *r, const struct step *s)
{
	struct queue_counts *c = &q->targets[r->target]->counts;
	const struct rare *x = rare_get(q, r);
	struct queue_move *m = page_move(q);
	enum queue_state from = (enum queue_state)r->e->state;

	assert(legal[from][s->to]);
	assert(c->states[from] > 0);
	c->states[from]--;
	c->states[s->to]++;
	m->user = user_at(q, r->user)->id;
	m->target = r->target;
	m->from = (uint8_t)from;
	m->to = (uint8_t)s->to;
	m->verdict = s->verdict;
	m->attempts = x ? x->attempts : 0;
	m->took_ms = q->now_ms - entry_since(r->e);
	m->reason = page_copy(q, s->reason);
	r->e->state = (unsigned)s->to & 7U;
	entry_set_since(r->e, s->since_ms);
	entry_put(q, r, s->was);
}

void entry_load_state(struct queue *q, const struct ref *r, uint8_t state, uint8_t lane)
{
	struct queue_counts *c = &q->targets[r->target]->counts;

	assert(q->loading && state < QUEUE_STATES);
	c->states[r->e->state]--;
	c->states[state]++;
	r->e->state = state & 7U;
	r->e->lane = lane & 1U;
}

/* ---- due ---- */

void entry_ring(struct queue *q, const struct ref *r, bool head)
{
	struct ring *ring = &q->targets[r->target]->due[r->e->lane];
	const struct rare *x = rare_get(q, r);
	unsigned bit = 1U << r->e->lane;

	approval_ring(q, r);
	if ((x && x->blocked_ms) || r->e->ringed & bit)
		return;
	r->e->ringed = (r->e->ringed | bit) & 3;
	if (head)
		ring_push_front(ring, r->user);
	else
		ring_push(ring, r->user);
}

static void trim(struct queue *q, const struct ref *r)
{
	timer_set(q, r);
	rare_trim(q, r);
}

/* What was stuck is so no more: it starts afresh. */
static void unstick(struct queue *q, const struct ref *r)
{
	struct rare *x = rare_get(q, r);

	page_user_effect(q, QUEUE_DEL_STUCK, r);
	if (x) {
		x->wait = WAIT_NONE;
		x->attempts = 0;
		x->failing_ms = 0;
	}
}

static void become_due(struct queue *q, const struct ref *r, struct was was, unsigned causes)
{
	struct rare *x = rare_get(q, r);

	if (r->e->state == QUEUE_PARKED || r->e->state == QUEUE_DEAD)
		unstick(q, r);
	if (r->e->state != QUEUE_RETRY || causes & CAUSE_LIVE)
		r->e->lane = causes & CAUSE_LIVE ? QUEUE_LIVE : QUEUE_BULK;
	if (x)
		x->due_ms = 0;
	queue_move(
		q, r,
		&(struct step){
			.to = QUEUE_DUE, .since_ms = q->now_ms, .was = was, .verdict = VERDICTS});
	entry_ring(q, r, causes & CAUSE_HEAD);
	trim(q, r);
}

static bool promote(const struct ref *r, unsigned causes)
{
	if (!(causes & CAUSE_LIVE) || r->e->lane == QUEUE_LIVE)
		return false;
	r->e->lane = QUEUE_LIVE;
	return true;
}

static void cause_in_flight(struct queue *q, const struct ref *r)
{
	struct queue_counts *c = &q->targets[r->target]->counts;
	struct lease *l = lease_of(q, r);

	if (l && !l->cause_ms) {
		l->cause_ms = q->now_ms;
		c->enqueued++;
	} else {
		c->coalesced++;
	}
}

void entry_cause(struct queue *q, const struct ref *r, unsigned causes)
{
	struct queue_counts *c = &q->targets[r->target]->counts;
	struct was was = entry_was(q, r);
	bool revives = false;

	r->e->want++;
	switch ((enum queue_state)r->e->state) {
	case QUEUE_CLEAN:
	case QUEUE_PARKED:
		revives = true;
		break;
	case QUEUE_DEAD:
		revives = causes & CAUSE_NEWER;
		break;
	case QUEUE_RETRY:
		revives = causes & CAUSE_NO_WAIT;
		promote(r, causes);
		c->coalesced += !revives;
		break;
	case QUEUE_DUE:
		c->coalesced++;
		if (promote(r, causes))
			entry_ring(q, r, false);
		break;
	case QUEUE_FLIGHT:
		cause_in_flight(q, r);
		promote(r, causes);
		break;
	case QUEUE_STATES:
		break;
	}
	if (!revives) {
		entry_put(q, r, was);
		return;
	}
	c->enqueued++;
	become_due(q, r, was, causes);
}

/* An outcome that is still unknown (verify_ms without VERIFY_AT) stays so: the next DONE schedules its look. */
void entry_verify(struct queue *q, const struct ref *r, unsigned causes)
{
	struct was was = entry_was(q, r);

	r->e->verify = QUEUE_VERIFY_NOW;
	timer_set(q, r);
	if (was.calendar != entry_was(q, r).calendar)
		entry_put(q, r, was);
	entry_cause(q, r, causes);
}

void entry_forget(struct queue *q, const struct ref *r)
{
	struct was was = entry_was(q, r);

	approval_over(q, r);
	r->e->verify = QUEUE_VERIFY_NONE; /* there is nothing to look at */
	queue_move(
		q, r,
		&(struct step){
			.to = QUEUE_CLEAN, .since_ms = q->now_ms, .was = was, .verdict = VERDICTS});
	trim(q, r);
}

void entry_drop(struct queue *q, const struct ref *r)
{
	struct was was = entry_was(q, r);

	assert(r->e->state == QUEUE_DEAD);
	unstick(q, r);
	queue_move(
		q, r,
		&(struct step){
			.to = QUEUE_CLEAN, .since_ms = q->now_ms, .was = was, .verdict = VERDICTS});
	trim(q, r);
}

void entry_wake(struct queue *q, const struct ref *r)
{
	struct was was = entry_was(q, r);

	assert(r->e->state == QUEUE_RETRY);
	become_due(q, r, was, 0);
}

void entry_unblock(struct queue *q, const struct ref *r)
{
	struct rare *x = rare_get(q, r);
	struct was was = entry_was(q, r);

	x->blocked_ms = 0;
	r->e->verify = QUEUE_VERIFY_NOW; /* as after a lease that ran out */
	x->verify_ms = q->now_ms;
	link_creating(q, r);
	entry_put(q, r, was);
	if (r->e->state == QUEUE_DUE)
		entry_ring(q, r, true);
	else
		entry_cause(q, r, CAUSE_OTHER);
	timer_set(q, r);
	trim(q, r);
}

/* ---- in flight and back ---- */

void entry_fly(struct queue *q, const struct ref *r, const struct queue_lease *row)
{
	struct was was = entry_was(q, r);
	struct lease *l = lease_add(q, r, row);

	l->due_since_ms = entry_since(r->e);
	l->deadline_ms = q->now_ms + q->conf.lease_ms + q->conf.grace_ms;
	r->e->touched = 1;
	queue_move(q, r,
		   &(struct step){.to = QUEUE_FLIGHT,
				  .since_ms = q->now_ms,
				  .was = was,
				  .verdict = VERDICTS});
	timer_set(q, r);
}

void entry_land(struct queue *q, const struct ref *r, const struct landing *l)
{
	const struct lease *lease = lease_of(q, r);
	int64_t since_ms = q->now_ms;

	assert(lease && r->e->state == QUEUE_FLIGHT);
	if (l->to == QUEUE_DUE && l->undone)
		since_ms = lease->due_since_ms;
	else if (l->to == QUEUE_DUE && lease->cause_ms)
		since_ms = lease->cause_ms;
	worker_landed(q, lease->row.worker);
	lease_end(q, r);
	page_user_effect(q, QUEUE_DEL_LEASE, r);
	queue_move(q, r,
		   &(struct step){.to = l->to,
				  .since_ms = since_ms,
				  .was = l->was,
				  .verdict = l->verdict,
				  .reason = l->reason});
	if (l->to == QUEUE_DUE)
		entry_ring(q, r, l->head);
	trim(q, r);
}

/* ---- the next one ---- */

/* Drops from the ring's head what is due no more or has changed lanes. */
static bool ring_ready(struct queue *q, unsigned target, unsigned lane)
{
	struct ring *ring = &q->targets[target]->due[lane];

	while (ring->n > 0) {
		struct entry *e = entry_at(q, target, ring_at(ring, 0));

		if (e->state == QUEUE_DUE && e->lane == lane)
			return true;
		e->ringed = (e->ringed & ~(1U << lane)) & 3;
		ring_pop(ring);
	}
	return false;
}

bool entry_take(struct queue *q, unsigned target, struct ref *ret)
{
	struct target *t = q->targets[target];
	bool live, bulk;
	unsigned lane;

	if (approval_take(q, target, ret))
		return true;
	if (pace_paused(&t->pace) && !pace_probing(&t->pace, q->now_ms))
		return false; /* paused for all but those */
	live = ring_ready(q, target, QUEUE_LIVE);
	bulk = ring_ready(q, target, QUEUE_BULK);
	lane = live ? QUEUE_LIVE : QUEUE_BULK;
	if (!live && !bulk)
		return false;
	if (live && bulk && t->turn++ % 5 == 4)
		lane = QUEUE_BULK;
	entry_find(q, target, ring_pop(&t->due[lane]), ret);
	ret->e->ringed = (ret->e->ringed & ~(1U << lane)) & 3;
	return true;
}

bool entry_waiting(const struct queue *q, unsigned target)
{
	const struct target *t = q->targets[target];

	if (t->approved.n > 0)
		return true;
	for (unsigned lane = 0; lane < QUEUE_LANES; lane++) {
		for (uint32_t i = 0; i < t->due[lane].n; i++) {
			const struct entry *e = entry_at(q, target, ring_at(&t->due[lane], i));

			if (e->state == QUEUE_DUE && e->lane == lane)
				return true;
		}
	}
	return false;
}
