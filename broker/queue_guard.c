/* Destructive operations wait here, one by one, until they are few enough or a person says yes. */
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct held *held_at(const struct queue *q, uint32_t i)
{
	return (struct held *)pool_at(&q->held, i);
}

static uint64_t held_hash_of(uint32_t user, unsigned target)
{
	return mix((uint64_t)target << 32 | user);
}

static uint32_t *held_link(void *arg, uint32_t i)
{
	return &held_at(arg, i)->next;
}

static uint64_t held_hash(void *arg, uint32_t i)
{
	return held_hash_of(held_at(arg, i)->user, held_at(arg, i)->target);
}

static uint32_t held_first(const struct queue *q, const struct ref *r)
{
	return chain_head(&q->held_by_user, held_hash_of(r->user, r->target));
}

static bool held_of(const struct held *h, const struct ref *r)
{
	return h->user == r->user && h->target == r->target;
}

static bool is_licence(const struct held *h)
{
	return strcmp(h->op, "licence_revoke") == 0;
}

static void count(struct queue *q, uint32_t i, int by)
{
	const struct held *h = held_at(q, i);
	struct target *t = q->targets[h->target];

	if (h->serial) {
		serial_count(q, i, by);
		return;
	}
	if (h->phase == QUEUE_WANTED)
		t->wanted += (uint64_t)by;
	if (h->phase == QUEUE_WANTED && is_licence(h))
		t->licences_wanted += (uint64_t)by;
	if (h->phase == QUEUE_HELD)
		t->counts.held += (uint64_t)by;
}

uint32_t held_add(struct queue *q, const struct ref *r, struct slice op, struct slice what)
{
	const struct chain_of of = {held_link, held_hash, q};
	uint32_t i = pool_take(&q->held);
	struct held *h = held_at(q, i);

	h->user = r->user;
	h->target = r->target;
	h->op = slice_dup(op);
	h->what = slice_dup(what);
	h->serial = serial_is(op);
	chain_add(&q->held_by_user, &of, i);
	return i;
}

static void held_effect(struct queue *q, const struct held *h, enum queue_effect_kind kind)
{
	struct queue_effect *f = page_effect(q, kind);

	f->target = h->target;
	f->user = user_at(q, h->user)->id;
	f->held = (struct queue_held_row){
		.id = f->user,
		.op = page_copy(q, slice_of(h->op)),
		.what = page_copy(q, slice_of(h->what)),
		.phase = h->phase,
		.since_unix_ms = h->since_ms,
	};
}

void held_set(struct queue *q, uint32_t i, enum queue_held_phase phase)
{
	struct held *h = held_at(q, i);

	count(q, i, -1);
	h->phase = (uint8_t)phase;
	count(q, i, 1);
	held_effect(q, h, QUEUE_PUT_HELD);
}

static void held_end(struct queue *q, uint32_t i)
{
	const struct chain_of of = {held_link, held_hash, q};
	struct held *h = held_at(q, i);

	held_effect(q, h, QUEUE_DEL_HELD);
	count(q, i, -1);
	chain_remove(&q->held_by_user, &of, i);
	free(h->op);
	free(h->what);
	pool_give(&q->held, i);
}

static void want(struct queue *q, const struct ref *r, const struct wire_op *op)
{
	struct target *t = q->targets[r->target];
	struct held *h;
	uint32_t i;

	for (i = held_first(q, r); i != NONE; i = h->next) {
		h = held_at(q, i);
		if (held_of(h, r) && slice_is(op->op, h->op) && slice_is(op->what, h->what)) {
			h->seen = true;
			return;
		}
	}
	if (!serial_is(op->op)) {
		if (t->wanted == 0)
			t->wanted_since_ms = q->now_ms;
		t->settled_ms = 0;
	}
	i = held_add(q, r, op->op, op->what);
	h = held_at(q, i);
	h->phase = QUEUE_WANTED;
	h->since_ms = q->now_ms;
	h->seen = true;
	count(q, i, 1);
	held_effect(q, h, QUEUE_PUT_HELD);
}

void held_yield(struct queue *q, const struct ref *r, struct slice field)
{
	struct held *h;
	uint32_t i;

	for (i = held_first(q, r); i != NONE; i = h->next) {
		h = held_at(q, i);
		if (held_of(h, r) && strcmp(h->op, "yield") == 0 && slice_is(field, h->what))
			return;
	}
	h = held_at(q, held_add(q, r, SLICE("yield"), field));
	h->phase = QUEUE_GRANTED;
	h->since_ms = q->now_ms;
	held_effect(q, h, QUEUE_PUT_HELD);
}

/* planned: the result tells all that the user wants now, so what it does not name is wanted no more. */
void held_take(struct queue *q, const struct ref *r, struct wire_list wants, bool planned)
{
	struct wire_op op;
	uint32_t next;

	for (uint32_t i = held_first(q, r); i != NONE; i = held_at(q, i)->next)
		held_at(q, i)->seen = !planned;
	for (unsigned i = 0; i < LIST_MAX && wire_next_op(&wants, &op); i++)
		want(q, r, &op);
	for (uint32_t i = held_first(q, r); i != NONE; i = next) {
		next = held_at(q, i)->next;
		if (held_of(held_at(q, i), r) && !held_at(q, i)->seen)
			held_end(q, i);
	}
}

void held_permit(struct queue *q, const struct ref *r, struct slice op)
{
	struct held *h;

	for (uint32_t i = held_first(q, r); i != NONE; i = held_at(q, i)->next) {
		h = held_at(q, i);
		if (held_of(h, r) && slice_is(op, h->op) && h->phase == QUEUE_GRANTED)
			return;
	}
	h = held_at(q, held_add(q, r, op, (struct slice){0}));
	h->phase = QUEUE_GRANTED;
	h->since_ms = q->now_ms;
	held_effect(q, h, QUEUE_PUT_HELD);
}

struct wire_list held_permits(struct queue *q, const struct ref *r)
{
	CLEANUP(buf_cleanup) struct buf b = {0};
	struct wire_list list = {0};
	uint32_t n = seat_words(q, r, &b);

	for (uint32_t i = held_first(q, r); i != NONE; i = held_at(q, i)->next) {
		const struct held *h = held_at(q, i);

		if (!held_of(h, r) || h->phase != QUEUE_GRANTED)
			continue;
		wire_add_op(&b, &(struct wire_op){slice_of(h->op), slice_of(h->what)});
		n++;
	}
	if (n > 0) {
		struct slice text = page_text(q, &b);

		list = (struct wire_list){n, text.p, text.n};
	}
	return list;
}

bool queue_held_next(const struct queue *q, unsigned target, const struct id *user,
		     uint32_t *cursor, struct queue_held_row *ret)
{
	uint32_t u = user_find(q, user), i;
	struct ref r;

	if (u == NONE || !entry_find(q, target, u, &r))
		return false;
	/* the cursor is the last one's place, and one */
	for (i = *cursor ? held_at(q, *cursor - 1)->next : held_first(q, &r);
	     i != NONE && !held_of(held_at(q, i), &r); i = held_at(q, i)->next)
		;
	if (i == NONE)
		return false;
	const struct held *h = held_at(q, i);

	*cursor = i + 1;
	*ret = (struct queue_held_row){.id = *user,
				       .op = slice_of(h->op),
				       .what = slice_of(h->what),
				       .phase = h->phase,
				       .since_unix_ms = h->since_ms};
	return true;
}

/* ---- guard fields ---- */

void guard_put(struct queue *q, unsigned target, const char *field, struct slice text)
{
	struct queue_effect *f = page_effect(q, QUEUE_PUT_GUARD);

	f->target = (uint16_t)target;
	f->field = page_copy(q, slice_of(field));
	f->detail = page_copy(q, text);
}

void guard_del(struct queue *q, unsigned target, const char *field)
{
	struct queue_effect *f = page_effect(q, QUEUE_DEL_GUARD);

	f->target = (uint16_t)target;
	f->field = page_copy(q, slice_of(field));
}

/* A whole decimal number; -1: none. */
static int64_t number(struct slice text)
{
	int64_t n = 0;

	if (text.n == 0 || text.n > 18)
		return -1;
	for (size_t i = 0; i < text.n; i++) {
		if (text.p[i] < '0' || text.p[i] > '9')
			return -1;
		n = n * 10 + (text.p[i] - '0');
	}
	return n;
}

enum { OTHERS, LICENCES };
enum { MINUTES = sizeof(((struct target *)0)->grants[0]) / sizeof(struct grant) };

static struct grant *grant_of(struct target *t, int which, int64_t minute)
{
	return &t->grants[which][(uint64_t)minute % MINUTES];
}

/* "MS DIVERGENT UNOWNED" */
static void reconciled_load(struct target *t, struct slice text)
{
	int64_t values[3];

	for (size_t i = 0; i < 3; i++) {
		const char *space = memchr(text.p, ' ', text.n);
		size_t n = space ? (size_t)(space - text.p) : text.n;

		values[i] = number((struct slice){text.p, n});
		if (values[i] < 0 || (!space && i < 2))
			return;
		text.p += n + (space != NULL);
		text.n -= n + (space != NULL);
	}
	t->counts.reconciled_unix_ms = values[0];
	t->counts.divergent = (uint64_t)values[1];
	t->counts.unowned = (uint64_t)values[2];
}

void guard_load(struct queue *q, unsigned target, struct slice field, struct slice text)
{
	struct target *t = q->targets[target];
	int64_t value = number(text), minute;

	if (slice_is(field, "paused") && value >= 0) {
		t->pace.paused_total_ms = value;
	} else if (slice_is(field, "reconciled")) {
		reconciled_load(t, text);
	} else if (slice_is(field, "hold_all")) {
		t->hold_all = true;
	} else if (slice_is(field, "verify_all")) {
		t->walk |= WALK_VERIFY;
	} else if (seat_load(q, target, field, text) || taken_load(q, target, field, text)) {
		return;
	} else if (field.n > 2 && (field.p[0] == 'g' || field.p[0] == 'l') && field.p[1] == ':' &&
		   value > 0) {
		struct grant *g;

		minute = number((struct slice){field.p + 2, field.n - 2});
		g = grant_of(t, field.p[0] == 'l' ? LICENCES : OTHERS, minute);
		if (minute > g->minute)
			*g = (struct grant){minute, (uint64_t)value};
	}
}

static uint64_t granted(const struct queue *q, const struct target *t, int which)
{
	int64_t minute = unix_now(q) / 60000;
	uint64_t n = 0;

	for (size_t i = 0; i < MINUTES; i++) {
		if (t->grants[which][i].minute > minute - 60)
			n += t->grants[which][i].n;
	}
	return n;
}

uint64_t guard_granted(const struct queue *q, const struct target *t)
{
	return granted(q, t, OTHERS);
}

static void grant_count(struct queue *q, unsigned target, int which, uint64_t n)
{
	int64_t minute = unix_now(q) / 60000;
	struct grant *g = grant_of(q->targets[target], which, minute);
	char field[32], text[32];

	if (n == 0)
		return;
	if (g->minute != minute) {
		if (g->n > 0) {
			(void)snprintf(field, sizeof(field), "%c:%" PRId64, "gl"[which],
				       g -> minute);
			guard_del(q, target, field);
		}
		*g = (struct grant){minute, 0};
	}
	g->n += n;
	(void)snprintf(field, sizeof(field), "%c:%" PRId64, "gl"[which], g -> minute);
	(void)snprintf(text, sizeof(text), "%" PRIu64, g->n);
	guard_put(q, target, field, slice_of(text));
}

/* ---- the judgement ---- */

static bool too_many(const struct queue *q, const struct target *t, uint64_t lately)
{
	uint64_t n = t->wanted - t->licences_wanted + lately + guard_granted(q, t);
	uint64_t most = (uint64_t)t->conf.guard_most, few = (uint64_t)t->conf.guard_count;

	if (t->hold_all)
		return true;
	return n > few &&
	       (n * 100 > (uint64_t)t->conf.guard_percent * t->counts.in_scope || n > most);
}

void held_grant(struct queue *q, uint32_t i)
{
	const struct held *h = held_at(q, i);
	struct ref r;

	held_set(q, i, QUEUE_GRANTED);
	if (entry_find(q, h->target, h->user, &r))
		entry_cause(q, &r, CAUSE_OTHER | CAUSE_LIVE);
}

/* What was held within the hour is wanted still: a massacre in small bites is one. */
static uint64_t held_lately(const struct queue *q, unsigned target)
{
	uint64_t n = 0;

	for (uint32_t i = 0; i < q->held.used; i++) {
		const struct held *h = held_at(q, i);

		n += h->op && h->target == target && h->phase == QUEUE_HELD &&
		     h->since_ms > q->now_ms - HOUR_MS && !is_licence(h);
	}
	return n;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

/* How many people lose a licence, each once; held: those whose loss was held within the hour, too. */
static uint64_t losers(const struct queue *q, unsigned target, bool lately)
{
	uint32_t *users = mem_array(q->held.used + 1, sizeof(*users));
	uint64_t people = 0;
	size_t n = 0;

	for (uint32_t i = 0; i < q->held.used; i++) {
		const struct held *h = held_at(q, i);

		if (!h->op || h->target != target || !is_licence(h))
			continue;
		if (h->phase == QUEUE_WANTED ||
		    (lately && h->phase == QUEUE_HELD && h->since_ms > q->now_ms - HOUR_MS))
			users[n++] = h->user;
	}
	qsort(users, n, sizeof(*users), by_number);
	for (size_t i = 0; i < n; i++)
		people += i == 0 || users[i] != users[i - 1];
	free(users);
	return people;
}

static bool too_many_losers(const struct queue *q, unsigned target)
{
	const struct target *t = q->targets[target];
	uint64_t n = losers(q, target, true) + granted(q, t, LICENCES);

	return t->hold_all || (n > (uint64_t)t->conf.guard_count &&
			       n * 100 > (uint64_t)t->conf.licence_percent * t->counts.in_scope);
}

bool queue_guard_holds(const struct queue *q, unsigned target, uint64_t more)
{
	return too_many(q, q->targets[target], held_lately(q, target) + more);
}

static void judge(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];
	uint64_t others = t->wanted - t->licences_wanted, people = losers(q, target, false);
	bool hold = too_many(q, t, held_lately(q, target));
	bool hold_licences = too_many_losers(q, target);

	for (uint32_t i = 0; i < q->held.used; i++) {
		const struct held *h = held_at(q, i);

		if (!h->op || h->serial || h->target != target || h->phase != QUEUE_WANTED)
			continue;
		if (is_licence(h) ? hold_licences : hold)
			held_set(q, i, QUEUE_HELD);
		else
			held_grant(q, i);
	}
	if (!hold)
		grant_count(q, target, OTHERS, others);
	if (!hold_licences)
		grant_count(q, target, LICENCES, people);
	t->wanted_since_ms = t->settled_ms = 0;
}

static bool clock_bad(const struct queue *q)
{
	return q->jumped || q->clock_off || q->now_ms < q->quiet_until_ms;
}

void guard_tick(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];

	if (t->settling)
		t->settled_ms += q->now_ms - t->settle_seen_ms;
	t->settle_seen_ms = q->now_ms;
	if (t->wanted == 0 || clock_bad(q))
		return;
	if (t->settled_ms >= t->conf.settle_ms ||
	    q->now_ms - t->wanted_since_ms >= t->conf.settle_most_ms)
		judge(q, target);
}

static bool sources_settled(const struct queue *q)
{
	for (unsigned i = 0; i < q->sources_n; i++) {
		if (q->sources[i].distrusted ||
		    (q->sources[i].connected && !q->sources[i].caught_up))
			return false;
	}
	return true;
}

void guard_mark(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];

	t->settling = t->wanted > 0 && !pace_paused(&t->pace) && t->counts.states[QUEUE_DUE] == 0 &&
		      t->counts.states[QUEUE_FLIGHT] == 0 && sources_settled(q);
	t->settle_seen_ms = q->now_ms;
}

int64_t guard_next(const struct queue *q, unsigned target)
{
	const struct target *t = q->targets[target];
	int64_t most, settled;

	if (t->wanted == 0)
		return INT64_MAX;
	if (clock_bad(q))
		return q->now_ms + 10000;
	most = t->wanted_since_ms + t->conf.settle_most_ms;
	settled = q->now_ms + t->conf.settle_ms - t->settled_ms;
	return t->settling && settled < most ? settled : most;
}

/* ---- a person's word ---- */

/* What waits for its turn, or is asked of an account for another's sake, needs nobody's word. */
static bool needs_word(const struct held *h)
{
	return !h->serial && strcmp(h->op, "yield") != 0;
}

static bool judge_one(struct queue *q, uint32_t i, bool approve)
{
	const struct held *h = held_at(q, i);

	if (!needs_word(h))
		return false;
	if (approve && h->phase != QUEUE_GRANTED)
		held_grant(q, i);
	else if (!approve && h->phase != QUEUE_REJECTED)
		held_set(q, i, QUEUE_REJECTED);
	return true;
}

static bool is_op(const struct held *h, const struct wire_op *op)
{
	return !op || (slice_is(op->op, h->op) && slice_is(op->what, h->what));
}

static bool judge_user(struct queue *q, const struct ref *r, const struct wire_op *op, bool approve)
{
	bool any = false;

	for (uint32_t i = held_first(q, r); i != NONE; i = held_at(q, i)->next)
		if (held_of(held_at(q, i), r) && is_op(held_at(q, i), op))
			any |= judge_one(q, i, approve);
	return any;
}

static bool judge_all(struct queue *q, unsigned target, bool approve)
{
	struct target *t = q->targets[target];
	bool any = false;

	if (approve && t->hold_all) {
		t->hold_all = false;
		guard_del(q, target, "hold_all");
		any = true;
	}
	for (uint32_t i = 0; i < q->held.used; i++)
		if (held_at(q, i)->op && held_at(q, i)->target == target)
			any |= judge_one(q, i, approve);
	return any;
}

int queue_judge_held(struct queue *q, struct queue_page *page, unsigned target,
		     const struct id *user, const struct wire_op *op, bool approve)
{
	struct ref r;
	uint32_t i;

	assert(q->page == page);
	if (!user)
		return judge_all(q, target, approve) ? 0 : -ENOENT;
	i = user_find(q, user);
	if (i == NONE || !entry_find(q, target, i, &r))
		return -ENOENT;
	return judge_user(q, &r, op, approve) ? 0 : -ENOENT;
}

bool queue_held_walk(const struct queue *q, unsigned target, uint32_t *at,
		     struct queue_held_row *ret)
{
	while (*at < q->held.used) {
		const struct held *h = held_at(q, (*at)++);

		if (!h->op || !needs_word(h) || h->target != target)
			continue;
		*ret = (struct queue_held_row){.id = user_at(q, h->user)->id,
					       .op = slice_of(h->op),
					       .what = slice_of(h->what),
					       .phase = h->phase,
					       .since_unix_ms = h->since_ms};
		return true;
	}
	return false;
}

bool queue_holds_all(const struct queue *q, unsigned target)
{
	return q->targets[target]->hold_all;
}
