/* Workers: who they are, how much they take, what they let run out. */
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

struct worker *worker_of_peer(const struct queue *q, uint64_t peer)
{
	for (size_t i = 0; i < q->workers_n; i++) {
		if (q->workers[i].peer == peer)
			return &q->workers[i];
	}
	return NULL;
}

struct worker *worker_of_nonce(const struct queue *q, uint64_t nonce)
{
	for (size_t i = 0; i < q->workers_n; i++) {
		if (q->workers[i].nonce == nonce)
			return &q->workers[i];
	}
	return NULL;
}

static void forget(struct queue *q, struct worker *w)
{
	*w = q->workers[--q->workers_n];
}

void worker_landed(struct queue *q, uint64_t nonce)
{
	struct worker *w = worker_of_nonce(q, nonce);

	if (w && w->out > 0)
		w->out--;
}

static uint32_t outstanding(const struct queue *q, uint64_t nonce)
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < q->leases.used; i++) {
		const struct lease *l = pool_at(&q->leases, i);

		n += l->runs && l->row.worker == nonce;
	}
	return n;
}

static bool let_run_out(const struct queue *q, uint64_t nonce)
{
	for (size_t i = 0; i < q->lost_n; i++) {
		if (q->lost[i].worker == nonce)
			return true;
	}
	return false;
}

/* Room for one more: those that are gone and hold nothing make it. */
static struct worker *worker_new(struct queue *q)
{
	for (size_t i = q->workers_n; i-- > 0;) {
		if (q->workers[i].away && q->workers[i].out == 0)
			forget(q, &q->workers[i]);
	}
	if (q->workers_n == WORKERS_MAX)
		return NULL;
	if (!q->workers)
		q->workers = mem_array(WORKERS_MAX, sizeof(*q->workers));
	return &q->workers[q->workers_n++];
}

int queue_ready(struct queue *q, struct queue_page *page, uint64_t peer, unsigned target,
		const struct wire_ready *r)
{
	struct worker *w = worker_of_nonce(q, r->nonce);
	struct worker *old = worker_of_peer(q, peer);

	assert(q->page == page);
	if (w && w->peer != peer && !w->away)
		return -EBUSY;
	if (old && old != w) { /* another process behind the same peer */
		old->away = true;
		old->peer = UINT64_MAX;
	}
	if (!w) {
		w = worker_new(q);
		if (!w)
			return -EBUSY;
		*w = (struct worker){.nonce = r->nonce, .clock_ms = r->clock_boot_ms};
		w->out = outstanding(q, r->nonce);
		w->has_lost = let_run_out(q, r->nonce);
	}
	w->peer = peer;
	w->target = (uint16_t)target;
	w->credits = r->credits;
	w->batch = r->batch ? r->batch : 1;
	w->creates = r->creates;
	w->away = false;
	w->spoke = true;
	if (r->clock_boot_ms > w->clock_ms)
		w->clock_ms = r->clock_boot_ms;
	return 0;
}

void queue_worker_beat(struct queue *q, uint64_t peer, int64_t clock_boot_ms)
{
	struct worker *w = worker_of_peer(q, peer);

	if (!w)
		return;
	w->spoke = true;
	if (clock_boot_ms > w->clock_ms)
		w->clock_ms = clock_boot_ms;
}

void queue_worker_gone(struct queue *q, uint64_t peer)
{
	struct worker *w = worker_of_peer(q, peer);

	if (w)
		w->away = true;
}

void queue_leave(struct queue *q, struct queue_page *page, uint64_t peer)
{
	assert(q->page == page);
	queue_worker_gone(q, peer);
}

/* ---- leases that ran out ---- */

static void verify_lost(struct queue *q, const struct lost *l)
{
	struct ref r;

	if (entry_find(q, l->target, l->user, &r))
		entry_verify(q, &r, CAUSE_OTHER);
}

void lost_add(struct queue *q, const struct lease *l)
{
	struct worker *w = worker_of_nonce(q, l->row.worker);

	if (w)
		w->has_lost = true;
	if (!q->lost)
		q->lost = mem_array(LOST_MAX, sizeof(*q->lost));
	if (q->lost_n ==
	    LOST_MAX) { /* too many to remember: looked at again now, not when it speaks */
		verify_lost(q, &q->lost[0]);
		memmove(q->lost, q->lost + 1, --q->lost_n * sizeof(*q->lost));
	}
	q->lost[q->lost_n++] = (struct lost){l->row.worker, l->row, l->user, l->target};
}

static void lost_speak(struct queue *q, uint64_t nonce)
{
	size_t keep = 0;

	for (size_t i = 0; i < q->lost_n; i++) {
		struct lost l = q->lost[i];

		if (l.worker == nonce)
			verify_lost(q, &l);
		else
			q->lost[keep++] = l;
	}
	q->lost_n = keep;
}

void workers_tick(struct queue *q)
{
	for (size_t i = 0; i < q->workers_n; i++) {
		struct worker *w = &q->workers[i];

		if (w->spoke && w->has_lost) {
			lost_speak(q, w->nonce);
			w->has_lost = false;
		}
		w->spoke = false;
	}
}
