#include "queue_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* Blocks of bytes that live as long as the page; kept for the next page that is built in the same place. */
struct queue_arena {
	struct block {
		struct block *next;
		size_t cap, n;
		char bytes[];
	} * first, *at;
};

enum { BLOCK = 64 << 10 };

char *page_room(struct queue *q, size_t n)
{
	struct queue_arena *a = q->page->arena;
	char *p;

	n = (n + 7) & ~(size_t)7; /* structs lie here, too */
	while (a->at->cap - a->at->n < n) {
		if (!a->at->next) {
			size_t cap = n > BLOCK ? n : BLOCK;

			a->at->next = mem_alloc(sizeof(struct block) + cap);
			a->at->next->cap = cap;
		}
		a->at = a->at->next;
		a->at->n = 0;
	}
	p = a->at->bytes + a->at->n;
	a->at->n += n;
	return p;
}

struct slice page_copy(struct queue *q, struct slice text)
{
	char *p;

	if (text.n == 0)
		return (struct slice){0};
	p = page_room(q, text.n);
	memcpy(p, text.p, text.n);
	return (struct slice){p, text.n};
}

struct slice page_text(struct queue *q, struct buf *b)
{
	struct slice text = page_copy(q, buf_slice(b));

	buf_clear(b);
	return text;
}

static void *grown(void *items, size_t n, size_t *cap, size_t size)
{
	if (n < *cap)
		return items;
	*cap = *cap ? 2 * *cap : 64;
	return mem_resize(items, *cap * size);
}

struct queue_effect *page_effect(struct queue *q, enum queue_effect_kind kind)
{
	struct queue_page *p = q->page;
	struct queue_effect *e;

	p->effects = grown(p->effects, p->effects_n, &p->effects_cap, sizeof(*p->effects));
	e = &p->effects[p->effects_n++];
	memset(e, 0, sizeof(*e));
	e->kind = kind;
	e->target = QUEUE_NOBODY;
	e->source = QUEUE_NOBODY;
	return e;
}

struct queue_effect *page_user_effect(struct queue *q, enum queue_effect_kind kind,
				      const struct ref *r)
{
	struct queue_effect *e = page_effect(q, kind);

	e->target = r->target;
	e->user = user_at(q, r->user)->id;
	return e;
}

struct queue_answer *page_answer(struct queue *q, uint64_t peer, enum wire_verb verb)
{
	struct queue_page *p = q->page;
	struct queue_answer *a;

	p->answers = grown(p->answers, p->answers_n, &p->answers_cap, sizeof(*p->answers));
	a = &p->answers[p->answers_n++];
	memset(a, 0, sizeof(*a));
	a->peer = peer;
	a->verb = verb;
	return a;
}

struct queue_move *page_move(struct queue *q)
{
	struct queue_page *p = q->page;
	struct queue_move *m;

	p->moves = grown(p->moves, p->moves_n, &p->moves_cap, sizeof(*p->moves));
	m = &p->moves[p->moves_n++];
	memset(m, 0, sizeof(*m));
	m->verdict = VERDICTS;
	return m;
}

/* The store writes in this order: queue entries, users and links, what is given to workers (it reads what the same
 * page wrote about the user), cursors. Were the page cut in between, the cursor is behind and finds its work. */
static unsigned place(enum queue_effect_kind kind)
{
	switch (kind) {
	case QUEUE_PUT_ENTRY:
	case QUEUE_DEL_ENTRY:
	case QUEUE_DEL_LEASE:
	case QUEUE_PUT_STUCK:
	case QUEUE_DEL_STUCK:
	case QUEUE_PUT_HELD:
	case QUEUE_DEL_HELD:
	case QUEUE_PUT_WAITER:
	case QUEUE_DEL_WAITER:
	case QUEUE_PUT_GUARD:
	case QUEUE_DEL_GUARD:
	case QUEUE_PUT_PAUSE:
	case QUEUE_DEL_PAUSE:
		return 0;
	case QUEUE_PUT_USER:
	case QUEUE_PUT_LINK:
	case QUEUE_PUT_APPLIED:
	case QUEUE_PUT_RID:
	case QUEUE_DEL_RID:
	case QUEUE_PUT_ERROR:
	case QUEUE_PUT_CAUSE:
	case QUEUE_LOG:
		return 1;
	case QUEUE_DISPATCH:
		return 2;
	case QUEUE_PUT_CONF:
	case QUEUE_PUT_SESSION:
	case QUEUE_PUT_CURSOR:
	case QUEUE_EFFECT_KINDS:
		break;
	}
	return kind == QUEUE_PUT_CURSOR ? 4 : 3;
}

void page_sort(struct queue *q)
{
	struct queue_page *p = q->page;
	struct queue_effect *swap = p->effects;
	size_t at = 0;

	if (q->sorted_cap < p->effects_cap) {
		q->sorted_cap = p->effects_cap;
		q->sorted = mem_resize(q->sorted, q->sorted_cap * sizeof(*q->sorted));
	}
	for (unsigned k = 0; k <= 4 && at < p->effects_n; k++) {
		for (size_t i = 0; i < p->effects_n; i++) {
			if (place(p->effects[i].kind) == k)
				q->sorted[at++] = p->effects[i];
		}
	}
	assert(at == p->effects_n);
	/* The page takes the sorted array, the engine keeps the other for its next page. */
	p->effects = q->sorted;
	q->sorted = swap;
	at = p->effects_cap;
	p->effects_cap = q->sorted_cap;
	q->sorted_cap = at;
}

void page_restart(struct queue_page *page)
{
	if (!page->arena) {
		page->arena = mem_alloc(sizeof(*page->arena));
		page->arena->first = mem_alloc(sizeof(struct block) + BLOCK);
		page->arena->first->cap = BLOCK;
	}
	page->arena->at = page->arena->first;
	page->arena->first->n = 0;
	page->effects_n = page->answers_n = page->moves_n = 0;
	/* What one huge page took is not kept for ever. */
	for (struct block *b = page->arena->first; b->next;) {
		struct block *big = b->next;

		if (big->cap <= BLOCK) {
			b = big;
			continue;
		}
		b->next = big->next;
		free(big);
	}
}

void queue_rest(struct queue *q)
{
	free(q->sorted);
	q->sorted = NULL;
	q->sorted_cap = 0;
}

void queue_page_done(struct queue_page *page)
{
	if (page->arena) {
		for (struct block *b = page->arena->first, *next; b; b = next) {
			next = b->next;
			free(b);
		}
	}
	free(page->arena);
	free(page->effects);
	free(page->answers);
	free(page->moves);
	*page = (struct queue_page){0};
}
