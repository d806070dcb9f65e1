/* What the engine shows of itself. */
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>

static int64_t oldest(const struct queue *q, unsigned target)
{
	const struct target *t = q->targets[target];
	int64_t oldest_ms = 0;

	for (unsigned lane = 0; lane < QUEUE_LANES; lane++) {
		for (uint32_t i = 0; i < t->due[lane].n; i++) {
			const struct entry *e = entry_at(q, target, ring_at(&t->due[lane], i));

			if (e->state != QUEUE_DUE || e->lane != lane)
				continue;
			if (oldest_ms == 0 || entry_since(e) < oldest_ms)
				oldest_ms = entry_since(e);
			break;
		}
	}
	return oldest_ms;
}

void queue_counts(const struct queue *q, unsigned target, struct queue_counts *ret)
{
	const struct target *t = q->targets[target];
	int64_t most = (int64_t)t->pace.window;

	*ret = t->counts;
	ret->ready = t->counts.states[QUEUE_DUE];
	ret->delayed = t->counts.states[QUEUE_RETRY];
	ret->oldest_due_unix_ms = oldest(q, target);
	ret->pause = (enum queue_pause_kind)t->pace.pause;
	ret->pause_until_unix_ms = t->pace.until_ms;
	if (t->conf.concurrency > 0 && most > t->conf.concurrency)
		most = t->conf.concurrency;
	ret->concurrency = pace_paused(&t->pace) ? 0 : most;
	ret->clock_jumped = q->jumped || q->clock_off;
	for (size_t i = 0; i < q->workers_n; i++) {
		const struct worker *w = &q->workers[i];

		if (w->target != target || w->away)
			continue;
		ret->workers++;
		ret->credits += w->credits > w->out ? w->credits - w->out : 0;
	}
}

bool queue_tokens(const struct queue *q, unsigned target, int64_t now_ms, double *ret_tokens,
		  double *ret_full)
{
	return pace_tokens(&q->targets[target]->pace, now_ms + q->base_ms, ret_tokens, ret_full);
}

struct slice queue_pause_why(const struct queue *q, unsigned target)
{
	return slice_of(q->targets[target]->why);
}

uint64_t queue_users(const struct queue *q, unsigned source)
{
	return q->sources[source].users;
}

bool queue_source_distrusted(const struct queue *q, unsigned source)
{
	return q->sources[source].distrusted;
}

bool queue_source_caught_up(const struct queue *q, unsigned source)
{
	return q->sources[source].connected && q->sources[source].caught_up;
}

bool queue_walk(const struct queue *q, unsigned source, uint64_t *cursor, struct id *ret_id)
{
	for (; *cursor < q->users.used; ++*cursor) {
		const struct user *u = user_at(q, (uint32_t)*cursor);

		if (u->source == source) {
			*ret_id = u->id;
			++*cursor;
			return true;
		}
	}
	return false;
}

int queue_peek(const struct queue *q, unsigned target, const struct id *user,
	       struct queue_entry_row *ret)
{
	uint32_t i = user_find(q, user);
	struct ref r;

	if (target >= q->targets_n || i == NONE || !entry_find(q, target, i, &r))
		return -ENOENT;
	*ret = entry_row(q, &r);
	return 0;
}

bool queue_config_settled(const struct queue *q, unsigned target, const struct fp *config)
{
	const struct target *t = q->targets[target];

	return !t->walk && fp_equal(&t->stored_conf, config) && fp_equal(&t->conf.config, config);
}

/* ---- invariants ---- */

struct tally {
	uint64_t states[QUEUE_STATES], in_scope, leases, approved;
};

static void check_entry(const struct queue *q, const struct ref *r, struct tally *n)
{
	const struct rare *x = rare_get(q, r);
	const struct lease *l = lease_of(q, r);
	const struct entry *e = r->e;

	n->states[e->state]++;
	n->in_scope += e->in;
	n->leases += l != NULL;
	n->approved += e->approved;
	assert((e->state == QUEUE_FLIGHT) == (l != NULL));
	assert(!l || (l->runs && l->user == r->user && l->target == r->target));
	assert(!l || e->touched || l->row.epoch == 0);
	assert(e->state != QUEUE_DUE || (x && x->blocked_ms) || e->ringed >> e->lane & 1);
	assert(e->state != QUEUE_RETRY || (x && x->heap));
	assert(e->state == QUEUE_PARKED || !x || x->wait == WAIT_NONE);
	assert(e->verify != QUEUE_VERIFY_AT || (x && x->verify_ms && x->heap));
	assert(!x || !l || x->heap);
	assert(!x || (x->user == r->user && x->target == r->target));
	assert(!x || !x->look_again_ms || x->heap);
}

static void check_target(const struct queue *q, unsigned target, uint64_t *leases)
{
	const struct target *t = q->targets[target];
	struct tally n = {0};
	struct ref r;

	for (uint32_t i = 0; i < q->users.used; i++) {
		if (entry_find(q, target, i, &r))
			check_entry(q, &r, &n);
	}
	for (unsigned s = 0; s < QUEUE_STATES; s++)
		assert(n.states[s] == t->counts.states[s]);
	assert(n.in_scope == t->counts.in_scope);
	assert(n.approved == t->approvals);
	assert((int64_t)n.leases == t->pace.flight);
	for (unsigned lane = 0; lane < QUEUE_LANES; lane++) {
		assert(t->due[lane].n <= q->users.used);
		for (uint32_t i = 0; i < t->due[lane].n; i++) {
			const struct entry *e = entry_at(q, target, ring_at(&t->due[lane], i));

			assert(e && e->ringed >> lane & 1);
		}
	}
	*leases += n.leases;
}

static void check_guard(const struct queue *q)
{
	for (unsigned target = 0; target < q->targets_n; target++) {
		const struct target *t = q->targets[target];
		uint64_t wanted = 0, held = 0, serial = 0;

		for (uint32_t i = 0; i < q->held.used; i++) {
			const struct held *h = pool_at(&q->held, i);

			if (!h->op || h->target != target)
				continue;
			assert(!h->serial ||
			       (h->phase == QUEUE_GRANTED) == (t->serial_holder == i));
			serial += h->serial && h->phase == QUEUE_WANTED;
			wanted += !h->serial && h->phase == QUEUE_WANTED;
			held += !h->serial && h->phase == QUEUE_HELD;
		}
		assert(wanted == t->wanted && held == t->counts.held);
		assert(serial == t->serial_wanted);
	}
}

static void check_workers(const struct queue *q)
{
	for (size_t i = 0; i < q->workers_n; i++) {
		const struct worker *w = &q->workers[i];
		uint32_t n = 0;

		for (uint32_t k = 0; k < q->leases.used; k++) {
			const struct lease *l = pool_at(&q->leases, k);

			n += l->runs && l->row.worker == w->nonce;
		}
		assert(n == w->out);
	}
}

void queue_check(const struct queue *q)
{
	uint64_t leases = 0;

	for (unsigned t = 0; t < q->targets_n; t++)
		check_target(q, t, &leases);
	assert(leases == q->leases.live && q->leases_by_id.n == q->leases.live);
	assert(q->rares_by_user.n == q->rares.live);
	assert(q->waiters_by_of.n == q->waiters.live && q->waiters_by_pair.n == q->waiters.live);
	assert(q->held_by_user.n == q->held.live);
	for (uint32_t i = 0; i < q->heap_n; i++) {
		assert(rare_at(q, q->heap[i].rare)->heap == i + 1);
		assert(i == 0 || q->heap[(i - 1) / 2].at_ms <= q->heap[i].at_ms);
	}
	check_guard(q);
	check_workers(q);
}
