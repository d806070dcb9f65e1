/* The engine as a whole: its making, its parts by name, and the page. */
#include "queue_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct queue *queue_new(const struct queue_conf *conf, uint64_t seed)
{
	struct queue *q = mem_alloc(sizeof(*q));

	q->conf = *conf;
	q->random = seed;
	q->loading = true;
	for (size_t i = 0; i < sizeof(q->rid_key); i += 8) {
		uint64_t word = pace_random(&q->random);

		memcpy(q->rid_key + i, &word, 8);
	}
	q->sources = mem_array(SOURCES_MAX, sizeof(*q->sources));
	q->targets = mem_array(TARGETS_MAX, sizeof(struct target *));
	q->recent = mem_array(RECENT, sizeof(*q->recent));
	pool_init(&q->users, sizeof(struct user), 4096);
	pool_init(&q->rares, sizeof(struct rare), 256);
	pool_init(&q->leases, sizeof(struct lease), 256);
	pool_init(&q->held, sizeof(struct held), 256);
	pool_init(&q->waiters, sizeof(struct waiter), 256);
	approvals_init(q);
	pool_init(&q->edges, sizeof(struct edge), 1024);
	return q;
}

static void target_free(struct target *t)
{
	for (uint32_t i = 0; i < t->chunks_n; i++)
		free(t->chunks[i]);
	free(t->chunks);
	for (unsigned lane = 0; lane < QUEUE_LANES; lane++)
		ring_done(&t->due[lane]);
	ring_done(&t->approved);
	ring_done(&t->names);
	seats_done(t);
	rids_done(&t->rids);
	free(t->changes);
	free(t->why);
	free(t->name);
	free(t);
}

static void source_done(struct source *s)
{
	for (size_t i = 0; i < s->holds_n; i++)
		free(s->holds[i].name);
	free(s->holds);
	free(s->name);
}

void queue_free(struct queue *q)
{
	if (!q)
		return;
	for (unsigned i = 0; i < q->targets_n; i++)
		target_free(q->targets[i]);
	for (unsigned i = 0; i < q->sources_n; i++)
		source_done(&q->sources[i]);
	for (uint32_t i = 0; i < q->held.used; i++) {
		free(((struct held *)pool_at(&q->held, i))->op);
		free(((struct held *)pool_at(&q->held, i))->what);
	}
	for (uint32_t i = 0; i < q->leases.used; i++)
		free(((struct lease *)pool_at(&q->leases, i))->rid);
	for (size_t i = 0; i < q->pending_n; i++)
		free(q->pending[i].waits);
	free(q->pending);
	approvals_done(q);
	pool_done(&q->users);
	takens_done(q);
	pool_done(&q->rares);
	pool_done(&q->leases);
	pool_done(&q->held);
	pool_done(&q->waiters);
	pool_done(&q->edges);
	chain_done(&q->users_by_id);
	chain_done(&q->rares_by_user);
	chain_done(&q->leases_by_id);
	chain_done(&q->held_by_user);
	chain_done(&q->waiters_by_of);
	chain_done(&q->waiters_by_pair);
	chain_done(&q->edges_by_of);
	chain_done(&q->edges_by_from);
	free(q->heap);
	free(q->recent);
	free(q->lost);
	free(q->sorted);
	free(q->workers);
	free(q->sources);
	free(q->targets);
	free(q);
}

/* ---- by name ---- */

unsigned queue_target_named(const struct queue *q, struct slice name)
{
	for (unsigned i = 0; i < q->targets_n; i++) {
		if (slice_is(name, q->targets[i]->name))
			return i;
	}
	return QUEUE_NOBODY;
}

unsigned queue_source_named(const struct queue *q, struct slice name)
{
	for (unsigned i = 0; i < q->sources_n; i++) {
		if (slice_is(name, q->sources[i].name))
			return i;
	}
	return QUEUE_NOBODY;
}

static struct pace_conf pace_of(const struct queue_target_conf *conf)
{
	return (struct pace_conf){conf->budget, conf->budget_per_ms, conf->concurrency};
}

static void target_configure(struct queue *q, unsigned i, const struct queue_target_conf *conf)
{
	struct target *t = q->targets[i];
	struct pace_conf pace = pace_of(conf);

	t->conf = *conf;
	t->conf.name = t->name;
	pace_configure(&t->pace, &pace);
	if (!q->loading && !fp_equal(&t->stored_conf, &conf->config))
		walk_start(q, i, WALK_CONFIG);
}

unsigned queue_target_add(struct queue *q, const struct queue_target_conf *conf)
{
	unsigned i = queue_target_named(q, slice_of(conf->name));
	struct pace_conf pace = pace_of(conf);
	struct target *t;

	if (i == QUEUE_NOBODY) {
		assert(q->targets_n < TARGETS_MAX);
		t = mem_alloc(sizeof(*t));
		t->name = mem_dup(conf->name);
		t->serial_holder = NONE;
		pace_start(&t->pace, &pace, pace_random(&q->random), q->now_ms);
		i = q->targets_n++;
		q->targets[i] = t;
	}
	target_configure(q, i, conf);
	return i;
}

unsigned queue_source_add(struct queue *q, const char *name)
{
	unsigned i = queue_source_named(q, slice_of(name));

	if (i != QUEUE_NOBODY)
		return i;
	assert(q->sources_n < SOURCES_MAX);
	q->sources[q->sources_n].name = mem_dup(name);
	return q->sources_n++;
}

/* ---- a page ---- */

void queue_page_begin(struct queue *q, struct queue_page *page, uint64_t epoch, uint64_t number,
		      int64_t now_ms, int64_t now_unix_ms)
{
	page_restart(page);
	page->epoch = epoch;
	page->number = number;
	page->now_ms = now_ms;
	page->now_unix_ms = now_unix_ms;
	q->page = page;
	q->page_index = 0;
	clock_take(q, now_ms, now_unix_ms);
}

int64_t queue_page_end(struct queue *q, struct queue_page *page, size_t most)
{
	int64_t next;

	assert(q->page == page);
	q->loading = false;
	q->more = false;
	trust_again(q);
	workers_tick(q);
	timers_run(q);
	for (unsigned i = 0; i < q->targets_n; i++) {
		if (pace_tick(&q->targets[i]->pace, q->now_ms))
			pause_put(q, i, (struct slice){0});
		wakes_run(q, i);
		walk_step(q, i);
		guard_tick(q, i);
		serial_tick(q, i);
	}
	q->more |= dispatch(q, most);
	for (unsigned i = 0; i < q->targets_n; i++)
		guard_mark(q, i);
	page_sort(q);
	next = time_next(q);
	q->page = NULL;
	return next;
}
