#include "line_impl.h"

#include "crash.h"
#include "log.h"

#include <assert.h>
#include <stdlib.h>

/* The line's own requests: objects to be read again, in chunks, and subtrees below renamed containers. Only one is under
 * way at a time, so that "something newer came meanwhile" is one flag per object. */

void numbers_add(struct numbers *list, uint32_t n)
{
	if ((list->n & (list->n - 1)) == 0)
		list->p = mem_resize(list->p, (list->n == 0 ? 1 : list->n * 2) * sizeof(*list->p));
	list->p[list->n++] = n;
}

void numbers_done(struct numbers *list)
{
	free(list->p);
	*list = (struct numbers){0};
}

void line_dirty(struct line *l, uint32_t n)
{
	struct object *o = objects_at(l->objects, n);

	if (o->flags & (OBJECT_DIRTY | OBJECT_GONE))
		return;
	o->flags |= OBJECT_DIRTY;
	numbers_add(&l->dirty, n);
	l->rereads_asked++;
	line_ask_turn(l);
}

void line_dirty_id(void *arg, const struct id *id)
{
	struct line *l = arg;
	uint32_t n = objects_find(l->objects, id);

	if (n != 0)
		line_dirty(l, n);
}

/* A live image is newer than a read that was asked for before it came. */
void line_touch(struct line *l, uint32_t n)
{
	struct object *o = objects_at(l->objects, n);

	if (l->token == 0 || (o->flags & OBJECT_TOUCHED))
		return;
	o->flags |= OBJECT_TOUCHED;
	numbers_add(&l->touched, n);
}

void line_subtree(struct line *l, const char *dn)
{
	l->subtrees = mem_resize(l->subtrees, (l->subtrees_n + 1) * sizeof(char *));
	l->subtrees[l->subtrees_n++] = mem_dup(dn);
	l->subtrees_asked++;
	line_ask_turn(l);
}

static void forget_touched(struct line *l)
{
	for (size_t i = 0; i < l->touched.n; i++)
		objects_at(l->objects, l->touched.p[i])->flags &= (uint16_t)~OBJECT_TOUCHED;
	l->touched.n = 0;
}

static void fill_chunk(struct line *l)
{
	while (l->dirty_next < l->dirty.n && l->chunk.n < LINE_REREAD_IDS)
		numbers_add(&l->chunk, l->dirty.p[l->dirty_next++]);
	if (l->dirty_next == l->dirty.n) {
		numbers_done(&l->dirty);
		l->dirty_next = 0;
	}
}

static void ask_chunk(struct line *l)
{
	struct id ids[LINE_REREAD_IDS];

	for (size_t i = 0; i < l->chunk.n; i++) {
		struct object *o = objects_at(l->objects, l->chunk.p[i]);

		o->flags &= (uint16_t)~OBJECT_DIRTY;
		ids[i] = o->id;
	}
	l->token = ++l->last_token;
	l->token_is_subtree = false;
	CRASH_POINT("collector.reread");
	l->driver->reread(l->source, l->token, ids, l->chunk.n);
}

/* Rereads keep pace with the broker: nothing is asked for while the queue is half full. */
void line_pump(struct line *l)
{
	if (!l->running || !l->connected || !l->surveyed)
		return;
	line_sweep_pump(l);
	if (l->token != 0 || l->draining || !diff_is_roomy(l->diff))
		return;
	if (l->chunk.n == 0)
		fill_chunk(l);
	if (l->chunk.n > 0) {
		forget_touched(l);
		ask_chunk(l);
	} else if (l->subtrees_n > 0) {
		forget_touched(l);
		l->token = ++l->last_token;
		l->token_is_subtree = true;
		l->driver->reread_below(l->source, l->token, l->subtrees[0]);
	}
}

static void subtree_ended(struct line *l)
{
	free(l->subtrees[0]);
	l->subtrees_n--;
	for (size_t i = 0; i < l->subtrees_n; i++)
		l->subtrees[i] = l->subtrees[i + 1];
	l->subtrees_done++;
}

void line_answer(void *arg, uint64_t token, bool ok, const struct id *missing, size_t n)
{
	struct line *l = arg;

	if (token == l->sweep_token && token != 0) {
		line_sweep_answer(l, ok, missing, n);
		return;
	}
	if (token != l->token || token == 0)
		return;
	l->token = 0;
	forget_touched(l);
	if (!ok) {
		loop_timer_set(l->retry, LINE_RETRY_MS);
		return;
	}
	if (l->token_is_subtree) {
		subtree_ended(l);
	} else {
		l->rereads_done += l->chunk.n;
		l->chunk.n = 0;
	}
	line_ask_turn(l);
}

static void clear_flags(struct line *l, const struct numbers *list)
{
	for (size_t i = 0; i < list->n; i++)
		objects_at(l->objects, list->p[i])->flags &=
			(uint16_t) ~(OBJECT_DIRTY | OBJECT_TOUCHED);
}

void line_forget_work(struct line *l)
{
	clear_flags(l, &l->dirty);
	clear_flags(l, &l->chunk);
	clear_flags(l, &l->touched);
	numbers_done(&l->dirty);
	numbers_done(&l->chunk);
	numbers_done(&l->touched);
	l->dirty_next = 0;
	while (l->subtrees_n > 0)
		free(l->subtrees[--l->subtrees_n]);
	free(l->subtrees);
	l->subtrees = NULL;
	l->token = 0;
	l->rereads_done = l->rereads_asked;
	l->subtrees_done = l->subtrees_asked;
	loop_timer_set(l->retry, -1);
	line_forget_later(l);
}
