/* Timers: a binary heap of rare records; each knows its place. */
#include "queue_impl.h"

#include <assert.h>

static void settle_at(struct queue *q, uint32_t i, struct timer t)
{
	q->heap[i] = t;
	rare_at(q, t.rare)->heap = i + 1;
}

static void sift_up(struct queue *q, uint32_t i, struct timer t)
{
	while (i > 0 && q->heap[(i - 1) / 2].at_ms > t.at_ms) {
		settle_at(q, i, q->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	settle_at(q, i, t);
}

static void sift_down(struct queue *q, uint32_t i, struct timer t)
{
	for (;;) {
		uint32_t child = 2 * i + 1;

		if (child + 1 < q->heap_n && q->heap[child + 1].at_ms < q->heap[child].at_ms)
			child++;
		if (child >= q->heap_n || q->heap[child].at_ms >= t.at_ms)
			break;
		settle_at(q, i, q->heap[child]);
		i = child;
	}
	settle_at(q, i, t);
}

static void remove_at(struct queue *q, uint32_t i)
{
	struct timer last = q->heap[--q->heap_n];

	rare_at(q, q->heap[i].rare)->heap = 0;
	if (i == q->heap_n)
		return;
	if (i > 0 && q->heap[(i - 1) / 2].at_ms > last.at_ms)
		sift_up(q, i, last);
	else
		sift_down(q, i, last);
}

static void insert(struct queue *q, struct timer t)
{
	if (q->heap_n == q->heap_cap) {
		q->heap_cap = q->heap_cap ? 2 * q->heap_cap : 64;
		q->heap = mem_resize(q->heap, q->heap_cap * sizeof(*q->heap));
	}
	sift_up(q, q->heap_n++, t);
}

static void move_to(struct queue *q, uint32_t i, struct timer t)
{
	if (i > 0 && q->heap[(i - 1) / 2].at_ms > t.at_ms)
		sift_up(q, i, t);
	else
		sift_down(q, i, t);
}

void timer_put(struct queue *q, struct rare *x, int64_t at_ms)
{
	struct ref r = {x->user, x->target, entry_at(q, x->target, x->user)};
	struct timer t = {at_ms, rare_index(q, &r)};

	assert(rare_at(q, t.rare) == x);
	if (at_ms == INT64_MAX) {
		if (x->heap)
			remove_at(q, x->heap - 1);
	} else if (x->heap) {
		move_to(q, x->heap - 1, t);
	} else {
		insert(q, t);
	}
}

static void sooner(int64_t *at_ms, int64_t other_ms)
{
	if (other_ms < *at_ms)
		*at_ms = other_ms;
}

void timer_set(struct queue *q, const struct ref *r)
{
	struct rare *x = rare_get(q, r);
	int64_t at_ms = INT64_MAX;
	const struct lease *l;

	if (!x)
		return;
	l = lease_of(q, r);
	if (l)
		sooner(&at_ms, l->deadline_ms);
	if (r->e->state == QUEUE_RETRY)
		sooner(&at_ms, x->due_ms);
	if (x->blocked_ms)
		sooner(&at_ms, x->blocked_ms);
	/* The calendar goes by the world's clock. */
	if (r->e->verify == QUEUE_VERIFY_AT)
		sooner(&at_ms, x->verify_ms);
	if (x->look_again_ms)
		sooner(&at_ms, x->look_again_ms - q->drift_ms);
	timer_put(q, x, at_ms);
}
