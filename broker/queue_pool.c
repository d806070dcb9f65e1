#include "queue_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- pool ---- */

void pool_init(struct pool *p, size_t item, uint32_t per_chunk)
{
	*p = (struct pool){.item = item, .per_chunk = per_chunk, .free = NONE};
}

void pool_done(struct pool *p)
{
	for (uint32_t i = 0; i * (uint64_t)p->per_chunk < p->used; i++)
		free(p->chunks[i]);
	free(p->chunks);
	pool_init(p, p->item, p->per_chunk);
}

uint32_t pool_take(struct pool *p)
{
	uint32_t i = p->free;

	p->live++;
	if (i != NONE) {
		memcpy(&p->free, pool_at(p, i), sizeof(p->free));
		memset(pool_at(p, i), 0, p->item);
		return i;
	}
	i = p->used;
	assert(i < NONE - 1);
	if (i % p->per_chunk == 0) {
		uint32_t chunk = i / p->per_chunk;

		if ((chunk & (chunk - 1)) == 0)
			p->chunks = mem_resize(p->chunks,
					       (chunk ? 2 * (size_t)chunk : 1) * sizeof(char *));
		p->chunks[chunk] = mem_array(p->per_chunk, p->item);
	}
	p->used++;
	return i;
}

void pool_give(struct pool *p, uint32_t i)
{
	assert(p->live > 0);
	p->live--;
	memset(pool_at(p, i), 0, p->item);
	memcpy(pool_at(p, i), &p->free, sizeof(p->free));
	p->free = i;
}

/* ---- chain ---- */

void chain_done(struct chain *c)
{
	free(c->heads);
	*c = (struct chain){0};
}

uint32_t chain_head(const struct chain *c, uint64_t hash)
{
	return c->heads ? c->heads[(uint32_t)hash & c->mask] : NONE;
}

static void chain_grow(struct chain *c, const struct chain_of *of)
{
	uint32_t size = c->heads ? 2 * (c->mask + 1) : 16;
	uint32_t *old = c->heads, old_size = old ? c->mask + 1 : 0;

	c->heads = mem_array(size, sizeof(*c->heads));
	memset(c->heads, 0xff, size * sizeof(*c->heads));
	c->mask = size - 1;
	for (uint32_t h = 0; h < old_size; h++) {
		for (uint32_t i = old[h], next; i != NONE; i = next) {
			uint32_t *head = &c->heads[(uint32_t)of->hash(of->arg, i) & c->mask];

			next = *of->link(of->arg, i);
			*of->link(of->arg, i) = *head;
			*head = i;
		}
	}
	free(old);
}

void chain_add(struct chain *c, const struct chain_of *of, uint32_t i)
{
	uint32_t *head;

	if (!c->heads || c->n / 2 > c->mask) /* two to a head, for the memory of a million */
		chain_grow(c, of);
	head = &c->heads[(uint32_t)of->hash(of->arg, i) & c->mask];
	*of->link(of->arg, i) = *head;
	*head = i;
	c->n++;
}

void chain_remove(struct chain *c, const struct chain_of *of, uint32_t i)
{
	uint32_t *at = &c->heads[(uint32_t)of->hash(of->arg, i) & c->mask];

	while (*at != i) {
		assert(*at != NONE);
		at = of->link(of->arg, *at);
	}
	*at = *of->link(of->arg, i);
	c->n--;
}

/* ---- ring ---- */

void ring_done(struct ring *r)
{
	free(r->p);
	*r = (struct ring){0};
}

static void ring_grow(struct ring *r)
{
	uint32_t cap = r->cap ? 2 * r->cap : 16, tail;

	r->p = mem_resize(r->p, cap * sizeof(*r->p));
	/* What had wrapped around goes behind the old end. */
	tail = r->head + r->n > r->cap ? r->head + r->n - r->cap : 0;
	memcpy(r->p + r->cap, r->p, tail * sizeof(*r->p));
	r->cap = cap;
}

void ring_push(struct ring *r, uint32_t value)
{
	if (r->n == r->cap)
		ring_grow(r);
	r->p[(r->head + r->n++) & (r->cap - 1)] = value;
}

void ring_push_front(struct ring *r, uint32_t value)
{
	if (r->n == r->cap)
		ring_grow(r);
	r->head = (r->head - 1) & (r->cap - 1);
	r->p[r->head] = value;
	r->n++;
}

uint32_t ring_pop(struct ring *r)
{
	uint32_t value;

	if (r->n == 0)
		return NONE;
	value = r->p[r->head];
	r->head = (r->head + 1) & (r->cap - 1);
	r->n--;
	if (r->n == 0 && r->cap > 4096)
		ring_done(r);
	return value;
}

/* ---- remote ids ---- */

void rids_done(struct rids *r)
{
	free(r->slots);
	*r = (struct rids){0};
}

static struct rid_slot *rids_slot(const struct rids *r, uint64_t hash)
{
	uint32_t i = (uint32_t)mix(hash) & r->mask;

	while (r->slots[i].user != NONE &&
	       (r->slots[i].low != (uint32_t)hash || r->slots[i].high != (uint32_t)(hash >> 32)))
		i = (i + 1) & r->mask;
	return &r->slots[i];
}

uint32_t rids_get(const struct rids *r, uint64_t hash)
{
	return r->slots ? rids_slot(r, hash)->user : NONE;
}

static void rids_resize(struct rids *r, uint32_t size)
{
	struct rids old = *r;

	r->slots = mem_array(size, sizeof(*r->slots));
	memset(r->slots, 0xff, size * sizeof(*r->slots));
	r->mask = size - 1;
	for (uint32_t i = 0; old.slots && i <= old.mask; i++) {
		const struct rid_slot *s = &old.slots[i];

		if (s->user != NONE)
			*rids_slot(r, (uint64_t)s->high << 32 | s->low) = *s;
	}
	free(old.slots);
}

/* Those behind it move up, so that no probe ends at the gap. */
void rids_drop(struct rids *r, uint64_t hash)
{
	uint32_t gap, i;

	if (rids_get(r, hash) == NONE)
		return;
	gap = i = (uint32_t)(rids_slot(r, hash) - r->slots);
	r->n--;
	for (;;) {
		const struct rid_slot *s = &r->slots[i = (i + 1) & r->mask];
		uint32_t home = (uint32_t)mix((uint64_t)s->high << 32 | s->low) & r->mask;

		if (s->user == NONE)
			break;
		if (((i - home) & r->mask) < ((i - gap) & r->mask))
			continue; /* it stands between its home and here */
		r->slots[gap] = *s;
		gap = i;
	}
	r->slots[gap].user = NONE;
}

void rids_put(struct rids *r, uint64_t hash, uint32_t user)
{
	struct rid_slot *s;

	if (!r->slots || r->n * 10ULL >= (r->mask + 1ULL) * 8)
		rids_resize(r, r->slots ? 2 * (r->mask + 1) : 16);
	s = rids_slot(r, hash);
	if (s->user == NONE)
		r->n++;
	*s = (struct rid_slot){(uint32_t)hash, (uint32_t)(hash >> 32), user};
}
