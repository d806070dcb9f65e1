/* Who waits for a free seat of a licence: one line per sku, in order of arrival (whose licence was taken: since then), which outlives
 * wakes, newer versions and restarts.
 * Only its front may ask the target; whoever else would is told in his TASK (op "no_seat") that others come before him. The front
 * is woken when a seat was given back, when the one before him got his, and every minute. */
#include "queue_impl.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define FIELD "seat:"

struct place {
	uint32_t user;
	int64_t arrived_ms;
};

struct line {
	char *sku; /* NULL: nobody waits, it may be used for another */
	struct place *places;
	uint32_t n, cap;
	bool freed; /* a seat may be there: wake the front without waiting for the minute */
	int64_t failed_ms, next_ms;
};

void seats_done(struct target *t)
{
	for (unsigned i = 0; i < t->lines_n; i++) {
		free(t->lines[i].sku);
		free(t->lines[i].places);
	}
	free(t->lines);
}

/* ---- lines ---- */

static unsigned line_of(struct target *t, struct slice sku)
{
	unsigned empty = t->lines_n;

	for (unsigned i = 0; i < t->lines_n; i++) {
		if (t->lines[i].sku && slice_is(sku, t->lines[i].sku))
			return i;
		if (!t->lines[i].sku)
			empty = i;
	}
	if (empty == t->lines_n) {
		t->lines = mem_resize(t->lines, (t->lines_n + 1) * sizeof(*t->lines));
		t->lines[t->lines_n++] = (struct line){0};
	}
	t->lines[empty].sku = slice_dup(sku);
	return empty;
}

/* Behind all who came before. */
static struct place *join(struct line *l, uint32_t user, int64_t arrived_ms)
{
	uint32_t at;

	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 8;
		l->places = mem_resize(l->places, l->cap * sizeof(*l->places));
	}
	for (at = l->n++; at > 0 && l->places[at - 1].arrived_ms > arrived_ms; at--)
		l->places[at] = l->places[at - 1];
	l->places[at] = (struct place){user, arrived_ms};
	return &l->places[at];
}

/* The first who is not kept back by something else. NONE: nobody. */
static uint32_t front(const struct queue *q, unsigned target, const struct line *l)
{
	for (uint32_t i = 0; i < l->n; i++) {
		if (entry_at(q, target, l->places[i].user)->state != QUEUE_RETRY)
			return l->places[i].user;
	}
	return NONE;
}

static void field_of(const struct queue *q, uint32_t user, struct buf *out)
{
	char id[ID_TEXT];

	id_format(&user_at(q, user)->id, id);
	buf_addf(out, FIELD "%s", id);
}

static void store(struct queue *q, const struct ref *r, const struct line *l, int64_t arrived_ms)
{
	CLEANUP(buf_cleanup) struct buf field = {0}, text = {0};

	field_of(q, r->user, &field);
	buf_addf(&text, "%" PRId64 " %s", arrived_ms, l->sku);
	guard_put(q, r->target, field.p, buf_slice(&text));
}

void seat_wait(struct queue *q, const struct ref *r, struct slice sku,
	       const struct queue_lease *dispatch)
{
	struct target *t = q->targets[r->target];
	struct rare *x = rare_need(q, r);
	unsigned i = line_of(t, sku);

	if (x->seat && x->seat != i + 1)
		seat_leave(q, r);
	x->wait = WAIT_SEAT;
	if (!x->seat) {
		x->seat = (uint16_t)(i + 1);
		/* whose licence was taken came when it was taken */
		int64_t at_ms = taken_at(q, r, t->lines[i].sku);

		at_ms = join(&t->lines[i], r->user, at_ms && at_ms < q->now_ms ? at_ms : q->now_ms)
				->arrived_ms;
		store(q, r, &t->lines[i], at_ms);
	}
	if (t->lines[i].next_ms <= q->now_ms)
		t->lines[i].next_ms = q->now_ms + SEAT_WAKE_MS;
	if (front(q, r->target, &t->lines[i]) == r->user)
		t->lines[i].failed_ms = q->now_ms;
	/* one may have come free while he was asking */
	if (dispatch && (dispatch->epoch != q->page->epoch || t->seat_page > dispatch->page))
		t->lines[i].freed = true;
}

void seat_leave(struct queue *q, const struct ref *r)
{
	struct rare *x = rare_get(q, r);
	CLEANUP(buf_cleanup) struct buf field = {0};
	struct line *l;
	uint32_t at = 0;

	if (!x || !x->seat)
		return;
	l = &q->targets[r->target]->lines[x->seat - 1];
	while (l->places[at].user != r->user)
		at++;
	memmove(l->places + at, l->places + at + 1, (--l->n - at) * sizeof(*l->places));
	x->seat = 0;
	l->freed = true; /* whoever got his may have left more */
	field_of(q, r->user, &field);
	guard_del(q, r->target, field.p);
	if (l->n == 0) {
		free(l->sku);
		l->sku = NULL;
	}
}

/* ---- waking ---- */

void seats_freed(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];

	t->seat_page = q->page->number;
	for (unsigned i = 0; i < t->lines_n; i++)
		t->lines[i].freed |= t->lines[i].n > 0;
}

/* INT64_MAX: its front is not parked, or there is none. */
static int64_t wake_at(const struct queue *q, unsigned target, const struct line *l,
		       struct ref *ret)
{
	uint32_t user = front(q, target, l);

	if (user == NONE || !entry_find(q, target, user, ret) || ret->e->state != QUEUE_PARKED)
		return INT64_MAX;
	return l->freed ? l->failed_ms + NAME_WAKE_MS : l->next_ms;
}

void seats_run(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];
	struct ref r;

	for (unsigned i = 0; i < t->lines_n; i++) {
		struct line *l = &t->lines[i];

		if (q->now_ms < wake_at(q, target, l, &r))
			continue;
		l->freed = false;
		l->next_ms = q->now_ms + SEAT_WAKE_MS;
		entry_cause(q, &r, CAUSE_OTHER | CAUSE_LIVE);
	}
}

int64_t seats_next(const struct queue *q, unsigned target)
{
	const struct target *t = q->targets[target];
	int64_t at_ms = INT64_MAX, next;
	struct ref r;

	for (unsigned i = 0; i < t->lines_n; i++) {
		next = wake_at(q, target, &t->lines[i], &r);
		if (next < at_ms)
			at_ms = next;
	}
	return at_ms;
}

uint32_t seat_words(const struct queue *q, const struct ref *r, struct buf *out)
{
	const struct target *t = q->targets[r->target];
	uint32_t n = 0;

	for (unsigned i = 0; i < t->lines_n; i++) {
		const struct line *l = &t->lines[i];
		uint32_t first = l->n ? front(q, r->target, l) : NONE;

		if (first == NONE || first == r->user)
			continue;
		wire_add_op(out, &(struct wire_op){SLICE("no_seat"), slice_of(l->sku)});
		n++;
	}
	return n;
}

uint64_t queue_seats(const struct queue *q, unsigned target, unsigned *i, struct slice *ret_sku)
{
	const struct target *t = q->targets[target];

	while (*i < t->lines_n && t->lines[*i].n == 0)
		(*i)++;
	if (*i >= t->lines_n)
		return 0;
	*ret_sku = slice_of(t->lines[*i].sku);
	return t->lines[(*i)++].n;
}

/* ---- load ---- */

bool seat_load(struct queue *q, unsigned target, struct slice field, struct slice text)
{
	const size_t n = sizeof(FIELD) - 1;
	int64_t arrived = 0;
	size_t at = 0;
	struct ref r;
	struct id id;

	if (field.n <= n || memcmp(field.p, FIELD, n) != 0)
		return false;
	for (; at < text.n && at < 18 && text.p[at] >= '0' && text.p[at] <= '9'; at++)
		arrived = arrived * 10 + (text.p[at] - '0');
	if (at == 0 || at + 1 >= text.n || text.p[at] != ' ' ||
	    id_parse((struct slice){field.p + n, field.n - n}, &id) < 0)
		return true;
	uint32_t user = user_find(q, &id);

	if (user != NONE && entry_find(q, target, user, &r)) {
		struct target *t = q->targets[target];
		unsigned i = line_of(t, (struct slice){text.p + at + 1, text.n - at - 1});

		if (rare_need(q, &r)->seat)
			return true;
		rare_need(q, &r)->seat = (uint16_t)(i + 1);
		join(&t->lines[i], user, arrived);
		t->lines[i].freed = true;
	}
	return true;
}
