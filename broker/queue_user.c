#include "queue_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1024 }; /* entries that are allocated together */

uint64_t mix(uint64_t x)
{
	x = (x ^ (x >> 33)) * 0xff51afd7ed558ccd;
	x = (x ^ (x >> 33)) * 0xc4ceb9fe1a85ec53;
	return x ^ (x >> 33);
}

/* ---- users ---- */

static uint32_t *user_link(void *arg, uint32_t i)
{
	return &user_at(arg, i)->next;
}

static uint64_t user_hash(void *arg, uint32_t i)
{
	return id_hash(&user_at(arg, i)->id);
}

uint32_t user_find(const struct queue *q, const struct id *id)
{
	uint32_t i = chain_head(&q->users_by_id, id_hash(id));

	while (i != NONE && !id_equal(&user_at(q, i)->id, id))
		i = user_at(q, i)->next;
	return i;
}

uint32_t user_add(struct queue *q, const struct id *id)
{
	const struct chain_of of = {user_link, user_hash, q};
	uint32_t i = pool_take(&q->users);

	user_at(q, i)->id = *id;
	chain_add(&q->users_by_id, &of, i);
	return i;
}

/* ---- entries ---- */

struct entry *entry_at(const struct queue *q, unsigned target, uint32_t user)
{
	const struct target *t = q->targets[target];
	uint32_t chunk = user / CHUNK;
	struct entry *e;

	if (chunk >= t->chunks_n || !t->chunks[chunk])
		return NULL;
	e = &t->chunks[chunk][user % CHUNK];
	return e->exists ? e : NULL;
}

bool entry_find(const struct queue *q, unsigned target, uint32_t user, struct ref *ret)
{
	*ret = (struct ref){user, (uint16_t)target, entry_at(q, target, user)};
	return ret->e != NULL;
}

struct ref entry_add(struct queue *q, unsigned target, uint32_t user)
{
	struct target *t = q->targets[target];
	uint32_t chunk = user / CHUNK;
	struct ref r = {user, (uint16_t)target, NULL};

	if (chunk >= t->chunks_n) {
		uint32_t n = t->chunks_n ? t->chunks_n : 1;

		while (n <= chunk)
			n *= 2;
		t->chunks = mem_resize(t->chunks, n * sizeof(struct entry *));
		memset(t->chunks + t->chunks_n, 0, (n - t->chunks_n) * sizeof(struct entry *));
		t->chunks_n = n;
	}
	if (!t->chunks[chunk])
		t->chunks[chunk] = mem_array(CHUNK, sizeof(struct entry));
	r.e = &t->chunks[chunk][user % CHUNK];
	if (!r.e->exists) {
		r.e->exists = 1;
		t->counts.states[QUEUE_CLEAN]++;
	}
	return r;
}

int64_t entry_since(const struct entry *e)
{
	return (int64_t)((uint64_t)e->since_high << 32 | e->since_low);
}

void entry_set_since(struct entry *e, int64_t since_ms)
{
	uint64_t ms = since_ms > 0 ? (uint64_t)since_ms : 0;

	e->since_low = (uint32_t)ms;
	e->since_high = (uint32_t)(ms >> 32) & 0xfff;
}

/* ---- rare data ---- */

static uint64_t pair_hash(uint32_t user, unsigned target)
{
	return mix((uint64_t)target << 32 | user);
}

static uint32_t *rare_link(void *arg, uint32_t i)
{
	return &rare_at(arg, i)->next;
}

static uint64_t rare_hash(void *arg, uint32_t i)
{
	return pair_hash(rare_at(arg, i)->user, rare_at(arg, i)->target);
}

uint32_t rare_index(const struct queue *q, const struct ref *r)
{
	uint32_t i;

	if (!r->e->rare)
		return NONE;
	i = chain_head(&q->rares_by_user, pair_hash(r->user, r->target));
	while (rare_at(q, i)->user != r->user || rare_at(q, i)->target != r->target)
		i = rare_at(q, i)->next;
	return i;
}

struct rare *rare_get(const struct queue *q, const struct ref *r)
{
	uint32_t i = rare_index(q, r);

	return i == NONE ? NULL : rare_at(q, i);
}

struct rare *rare_need(struct queue *q, const struct ref *r)
{
	const struct chain_of of = {rare_link, rare_hash, q};
	uint32_t i = rare_index(q, r);
	struct rare *x;

	if (i != NONE)
		return rare_at(q, i);
	i = pool_take(&q->rares);
	x = rare_at(q, i);
	x->user = r->user;
	x->target = r->target;
	x->lease = NONE;
	chain_add(&q->rares_by_user, &of, i);
	r->e->rare = 1;
	return x;
}

void rare_trim(struct queue *q, const struct ref *r)
{
	const struct chain_of of = {rare_link, rare_hash, q};
	uint32_t i = rare_index(q, r);
	struct rare *x;

	if (i == NONE)
		return;
	x = rare_at(q, i);
	if (x->wait || x->listed || x->seat || x->taken || x->heap || x->lease != NONE ||
	    x->attempts || x->due_ms || x->failing_ms || x->verify_ms || x->look_again_ms ||
	    x->blocked_ms)
		return;
	chain_remove(&q->rares_by_user, &of, i);
	pool_give(&q->rares, i);
	r->e->rare = 0;
}

/* ---- leases ---- */

static struct lease *lease_at(const struct queue *q, uint32_t i)
{
	return (struct lease *)pool_at(&q->leases, i);
}

static uint64_t lease_key(uint64_t epoch, uint64_t page, uint32_t index)
{
	return mix(mix(epoch ^ mix(page)) + index);
}

static uint32_t *lease_link(void *arg, uint32_t i)
{
	return &lease_at(arg, i)->next;
}

static uint64_t lease_hash(void *arg, uint32_t i)
{
	const struct queue_lease *row = &lease_at(arg, i)->row;

	return lease_key(row->epoch, row->page, row->index);
}

struct lease *lease_of(const struct queue *q, const struct ref *r)
{
	const struct rare *x = rare_get(q, r);

	return x && x->lease != NONE ? lease_at(q, x->lease) : NULL;
}

struct lease *lease_add(struct queue *q, const struct ref *r, const struct queue_lease *row)
{
	const struct chain_of of = {lease_link, lease_hash, q};
	struct rare *x = rare_need(q, r);
	struct lease *l;

	assert(x->lease == NONE);
	x->lease = pool_take(&q->leases);
	l = lease_at(q, x->lease);
	l->runs = true;
	l->user = r->user;
	l->target = r->target;
	l->row = *row;
	chain_add(&q->leases_by_id, &of, x->lease);
	return l;
}

void lease_end(struct queue *q, const struct ref *r)
{
	const struct chain_of of = {lease_link, lease_hash, q};
	struct rare *x = rare_get(q, r);

	assert(x && x->lease != NONE);
	chain_remove(&q->leases_by_id, &of, x->lease);
	free(lease_at(q, x->lease)->rid);
	pool_give(&q->leases, x->lease);
	x->lease = NONE;
}

struct lease *lease_find(const struct queue *q, uint64_t epoch, uint64_t page, uint32_t index)
{
	uint32_t i = chain_head(&q->leases_by_id, lease_key(epoch, page, index));

	for (; i != NONE; i = lease_at(q, i)->next) {
		const struct queue_lease *row = &lease_at(q, i)->row;

		if (row->epoch == epoch && row->page == page && row->index == index)
			return lease_at(q, i);
	}
	return NULL;
}

/* ---- as the store keeps it ---- */

struct queue_entry_row entry_row(const struct queue *q, const struct ref *r)
{
	const struct entry *e = r->e;
	const struct rare *x = rare_get(q, r);
	struct queue_entry_row row = {
		.state = (uint8_t)e->state,
		.lane = (uint8_t)e->lane,
		.verify = (uint8_t)e->verify,
		.link_state = (uint8_t)e->link_state,
		.in = e->in,
		.touched = e->touched,
		.want = e->want,
		.link_revision = e->link_revision,
		.since_unix_ms = entry_since(e),
	};

	if (x) {
		row.attempts = x->attempts;
		row.due_unix_ms = e->state == QUEUE_RETRY ? x->due_ms : 0;
		row.failing_unix_ms = x->failing_ms;
		row.verify_unix_ms = x->verify_ms;
		row.look_again_unix_ms = x->look_again_ms;
	}
	return row;
}
