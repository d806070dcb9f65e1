/* What time asks for. */
#include "queue_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- clocks ---- */

static int64_t distance(int64_t a, int64_t b)
{
	return a > b ? a - b : b - a;
}

/* The calendar goes by the world's clock again: every timer anew. */
static void calendar_follows(struct queue *q, int64_t drift_ms)
{
	q->drift_ms = drift_ms;
	for (unsigned t = 0; t < q->targets_n; t++) {
		for (uint32_t i = 0; i < q->users.used; i++) {
			struct ref r;

			if (entry_find(q, t, i, &r) && r.e->rare)
				timer_set(q, &r);
		}
	}
}

void clock_take(struct queue *q, int64_t now_ms, int64_t now_unix_ms)
{
	int64_t offset = now_unix_ms - now_ms, known;

	if (!q->based) {
		q->based = true;
		q->base_ms = q->offset_ms = offset;
		for (unsigned i = 0; i < q->targets_n; i++)
			q->targets[i]->pace.tokens_at_ms = now_ms + offset;
	}
	if (now_ms + q->base_ms > q->now_ms)
		q->now_ms = now_ms + q->base_ms;
	known = q->base_ms + q->drift_ms;
	if (distance(offset, q->offset_ms) > JUMP_MS) {
		q->jumped = true;
		q->jumped_ms = q->now_ms;
	}
	q->offset_ms = offset;
	if (distance(offset, known) <= JUMP_MS) {
		q->jumped = false;
		q->drift_ms = offset - q->base_ms;
	} else if (q->jumped && q->now_ms - q->jumped_ms >= JUMP_HEALS_MS) {
		q->jumped = false;
		calendar_follows(q, offset - q->base_ms);
	} else if (!q->jumped) { /* crept away in small steps */
		calendar_follows(q, offset - q->base_ms);
	}
}

int64_t unix_now(const struct queue *q)
{
	return q->now_ms + q->drift_ms;
}

void queue_clock_off(struct queue *q, bool off)
{
	q->clock_off = off;
}

/* ---- pauses ---- */

void pause_put(struct queue *q, unsigned target, struct slice why)
{
	struct target *t = q->targets[target];
	struct queue_effect *f;
	char text[32];

	free(t->why);
	t->why = slice_dup(why);
	if (pace_paused(&t->pace)) {
		f = page_effect(q, QUEUE_PUT_PAUSE);
		f->target = (uint16_t)target;
		f->pause = (struct queue_pause_row){
			.kind = (uint8_t)t->pace.pause,
			.tries = t->pace.tries,
			.until_unix_ms = t->pace.until_ms,
			.since_unix_ms = t->pace.since_ms,
			.why = page_copy(q, why),
		};
		return;
	}
	f = page_effect(q, QUEUE_DEL_PAUSE);
	f->target = (uint16_t)target;
	(void)snprintf(text, sizeof(text), "%" PRId64, t->pace.paused_total_ms);
	guard_put(q, target, "paused", slice_of(text));
}

/* ---- timers ---- */

static void expire(struct queue *q, const struct ref *r)
{
	struct target *t = q->targets[r->target];
	struct was was = entry_was(q, r);
	struct rare *x = rare_get(q, r);

	lost_add(q, lease_of(q, r));
	pace_lost(&t->pace);
	t->counts.lease_expired++;
	t->counts.redelivered++;
	r->e->verify = QUEUE_VERIFY_NOW;
	x->verify_ms = q->now_ms; /* what was written is unknown */
	entry_land(q, r,
		   &(struct landing){.to = QUEUE_DUE,
				     .verdict = VERDICTS,
				     .reason = SLICE("lease_expired"),
				     .was = was,
				     .undone = true});
}

static void look_again(struct queue *q, const struct ref *r)
{
	struct was was = entry_was(q, r);

	rare_get(q, r)->look_again_ms = 0;
	entry_put(q, r, was);
	entry_cause(q, r, CAUSE_OTHER | CAUSE_LIVE);
	timer_set(q, r);
	rare_trim(q, r);
}

static void verify_again(struct queue *q, const struct ref *r)
{
	struct was was = entry_was(q, r);

	rare_get(q, r)->verify_ms = 0;
	r->e->verify = QUEUE_VERIFY_NOW;
	entry_put(q, r, was);
	entry_cause(q, r, CAUSE_OTHER);
	timer_set(q, r);
	rare_trim(q, r);
}

static void fire(struct queue *q, struct rare *x)
{
	struct ref r = {x->user, x->target, entry_at(q, x->target, x->user)};
	const struct lease *l = lease_of(q, &r);

	if (l && l->deadline_ms <= q->now_ms)
		expire(q, &r);
	else if (x->blocked_ms && x->blocked_ms <= q->now_ms)
		entry_unblock(q, &r);
	else if (r.e->state == QUEUE_RETRY && x->due_ms <= q->now_ms)
		entry_wake(q, &r);
	else if (r.e->verify == QUEUE_VERIFY_AT && x->verify_ms <= q->now_ms)
		verify_again(q, &r);
	else if (!x->look_again_ms || x->look_again_ms > unix_now(q))
		timer_set(q, &r);
	else if (q->jumped || q->clock_off)
		timer_put(q, x, q->now_ms + 10000);
	else
		look_again(q, &r);
}

void timers_run(struct queue *q)
{
	for (unsigned i = 0; i < TIMERS_STEP; i++) {
		if (q->heap_n == 0 || q->heap[0].at_ms > q->now_ms)
			return;
		fire(q, rare_at(q, q->heap[0].rare));
	}
	q->more = true;
}

/* ---- walks over everybody ---- */

void walk_start(struct queue *q, unsigned target, unsigned walk)
{
	q->targets[target]->walk |= walk;
	q->targets[target]->walk_at = 0;
}

static void walk_end(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];
	struct queue_effect *f;

	if (t->walk & WALK_VERIFY)
		guard_del(q, target, "verify_all");
	if (t->walk & WALK_CONFIG) {
		f = page_effect(q, QUEUE_PUT_CONF);
		f->target = (uint16_t)target;
		f->fp = t->conf.config;
		t->stored_conf = t->conf.config;
	}
	t->walk = 0;
}

void walk_step(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];
	unsigned n = 0;
	struct ref r;

	if (!t->walk)
		return;
	for (; t->walk_at < q->users.used && n < WALK_STEP; t->walk_at++) {
		if (!entry_find(q, target, t->walk_at, &r) ||
		    (!r.e->in && !r.e->touched && r.e->link_state == LINK_NONE))
			continue;
		n++;
		if (t->walk & WALK_VERIFY)
			entry_verify(q, &r, CAUSE_NEWER);
		else
			entry_cause(q, &r, CAUSE_NEWER);
	}
	if (t->walk_at < q->users.used)
		q->more = true;
	else
		walk_end(q, target);
}

/* Who has caught up is trusted again, but not before the quiet time is over: as long as somebody is distrusted the store
 * is told that its tail was lost, so that a restart in between keeps the quiet, too. */
void trust_again(struct queue *q)
{
	for (unsigned i = 0; i < q->sources_n; i++) {
		if (q->sources[i].caught_up && q->now_ms >= q->quiet_until_ms)
			q->sources[i].distrusted = false;
	}
}

/* ---- when next ---- */

static void sooner(int64_t *at_ms, int64_t other_ms)
{
	if (other_ms < *at_ms)
		*at_ms = other_ms;
}

static int64_t target_next(const struct queue *q, unsigned target)
{
	const struct pace *p = &q->targets[target]->pace;
	int64_t at_ms = INT64_MAX;

	sooner(&at_ms, wakes_next(q, target));
	sooner(&at_ms, guard_next(q, target));
	if (q->now_ms < q->quiet_until_ms)
		sooner(&at_ms, q->quiet_until_ms);
	else if (q->targets[target]->approved.n > 0 && pace_allowed_approved(p, q->now_ms) <= 0 &&
		 dispatch_possible(q, target))
		sooner(&at_ms, pace_next_approved(p, q->now_ms));
	else if (pace_paused(p) ||
		 (pace_allowed(p, q->now_ms) <= 0 && dispatch_possible(q, target)))
		sooner(&at_ms, pace_next(p, q->now_ms));
	return at_ms;
}

int64_t time_next(struct queue *q)
{
	int64_t at_ms = INT64_MAX;

	if (q->more)
		return q->page->now_ms;
	if (q->heap_n > 0)
		sooner(&at_ms, q->heap[0].at_ms);
	if (q->jumped)
		sooner(&at_ms, q->now_ms + 10000);
	for (unsigned i = 0; i < q->targets_n; i++)
		sooner(&at_ms, target_next(q, i));
	return at_ms == INT64_MAX ? at_ms : at_ms - q->base_ms;
}
