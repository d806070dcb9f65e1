#include "crash.h"
#include "store_redis.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { WAIT_MS = 500 };

struct store_write {
	struct store *s;
	uint64_t turn;
	struct queue_page *page;
	struct store_task *tasks;
	size_t tasks_n;
	struct buf kept; /* what tasks point into while replicas are awaited */
	int64_t sent_ms;
	unsigned calls;	   /* unanswered: freed with the last one */
	bool stored, gone; /* on the server; no longer in the list */
	struct store_write *next;
};

void store_forget_writes(struct store *s)
{
	for (struct store_write *w = s->first; w; w = w->next)
		w->gone = true;
	s->first = NULL;
	s->last = &s->first;
	s->under_way = 0;
}

static void write_free(struct store_write *w)
{
	free(w->tasks);
	buf_done(&w->kept);
	free(w);
}

static void deliver(struct store *s, struct store_write *w)
{
	s->first = w->next;
	if (!s->first)
		s->last = &s->first;
	s->under_way--;
	w->gone = true;
	s->host.written(s->host.arg, w->page, w->tasks, w->tasks_n);
}

static void keep(struct buf *b, struct slice s)
{
	buf_add(b, s.p, s.n);
}

static void kept(const char **at, struct slice *s)
{
	s->p = *at;
	*at += s->n;
}

/* The answer's bytes end with its callback; while replicas are awaited the tasks need their own. */
static void keep_tasks(struct store_write *w)
{
	const char *at;

	for (size_t i = 0; i < w->tasks_n; i++) {
		struct store_task *t = &w->tasks[i];

		keep(&w->kept, t->source);
		keep(&w->kept, t->snapshot);
		keep(&w->kept, t->rid);
		keep(&w->kept, t->memory);
		keep(&w->kept, (struct slice){t->rids.p, t->rids.n});
	}
	at = w->kept.p;
	for (size_t i = 0; i < w->tasks_n; i++) {
		struct store_task *t = &w->tasks[i];

		kept(&at, &t->source);
		kept(&at, &t->snapshot);
		kept(&at, &t->rid);
		kept(&at, &t->memory);
		t->rids.p = at;
		at += t->rids.n;
	}
}

static void replicated(void *arg, enum redis_class class, const redisReply *reply);

static void await_replicas(struct store_write *w)
{
	char count[16], ms[16];

	snprintf(count, sizeof(count), "%d", w->s->conf.replicas);
	snprintf(ms, sizeof(ms), "%d", WAIT_MS);

	struct slice argv[] = {SLICE("WAIT"), slice_of(count), slice_of(ms)};

	w->calls++;
	redis_call(w->s->redis, argv, 3, replicated, w);
}

static void replicated(void *arg, enum redis_class class, const redisReply *reply)
{
	struct store_write *w = arg;
	struct store *s = w->s;

	w->calls--;
	if (!w->gone && w->turn == s->turn && store_good(s, "WAIT for replicas", class, reply)) {
		if (reply->type != REDIS_REPLY_INTEGER)
			store_unreadable(s, "WAIT for replicas");
		else if (reply->integer < s->conf.replicas)
			await_replicas(w);
		else
			/* One connection: what was written before this page is there too. */
			while (!w->gone && w->turn == s->turn)
				deliver(s, s->first);
	}
	if (w->gone && w->calls == 0)
		write_free(w);
}

static void page_stored(struct store *s, struct store_write *w, const redisReply *reply)
{
	CRASH_POINT("broker.page_written");
	s->roundtrip_ms = loop_now_ms(s->loop) - w->sent_ms;
	w->tasks = mem_array(w->tasks_n, sizeof(*w->tasks));
	if (store_page_tasks(s, w->page, reply, w->tasks, w->tasks_n) < 0) {
		store_unreadable(s, "writing a page");
		return;
	}
	w->stored = true;
	if (s->conf.replicas == 0) {
		deliver(s, w);
		return;
	}
	keep_tasks(w);
}

static void page_answered(void *arg, enum redis_class class, const redisReply *reply)
{
	struct store_write *w = arg;
	struct store *s = w->s;

	w->calls--;
	if (!w->gone && w->turn == s->turn && store_good(s, "writing a page", class, reply))
		page_stored(s, w, reply);
	if (w->gone && w->calls == 0)
		write_free(w);
}

void store_write(struct store *s, struct queue_page *page)
{
	struct store_write *w = mem_alloc(sizeof(*w));
	struct store_args args = {0};
	struct slice *argv;

	assert(s->state == STORE_READY && page->number == s->page);
	*w = (struct store_write){.s = s, .turn = s->turn, .page = page, .calls = 1};
	w->tasks_n = store_page_dispatches(page);
	w->sent_ms = loop_now_ms(s->loop);
	*s->last = w;
	s->last = &w->next;
	s->under_way++;
	s->page++;
	store_page_args(s, page, &args);
	argv = store_args_slices(&args);
	redis_call(s->redis, argv, args.n, page_answered, w);
	if (s->conf.replicas > 0)
		await_replicas(w);
	CRASH_POINT("broker.page_sent");
	free(argv);
	store_args_done(&args);
}
