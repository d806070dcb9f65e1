/* Who refers to whom (manager and the like), as last published. Whoever refers to an account that gets another remote id or is
 * deleted is due again: its document names what is there no more. Made from the users' own rows, so nothing of it is stored. */
#include "queue_impl.h"

static struct edge *edge_at(const struct queue *q, uint32_t i)
{
	return (struct edge *)pool_at(&q->edges, i);
}

/* Half a hash is enough: one that is woken for nothing costs no request. */
static uint32_t hash_of(const struct id *id)
{
	return (uint32_t)mix(id_hash(id));
}

static uint32_t *of_link(void *arg, uint32_t i)
{
	return &edge_at(arg, i)->next;
}

static uint64_t of_hash(void *arg, uint32_t i)
{
	return mix(edge_at(arg, i)->of);
}

static uint32_t *from_link(void *arg, uint32_t i)
{
	return &edge_at(arg, i)->from_next;
}

static uint64_t from_hash(void *arg, uint32_t i)
{
	return mix(edge_at(arg, i)->from);
}

static void forget(struct queue *q, uint32_t user)
{
	const struct chain_of by_of = {of_link, of_hash, q}, by_from = {from_link, from_hash, q};
	uint32_t i = chain_head(&q->edges_by_from, mix(user)), next;

	for (; i != NONE; i = next) {
		next = edge_at(q, i)->from_next;
		if (edge_at(q, i)->from != user)
			continue;
		chain_remove(&q->edges_by_of, &by_of, i);
		chain_remove(&q->edges_by_from, &by_from, i);
		pool_give(&q->edges, i);
	}
}

void refs_set(struct queue *q, uint32_t user, struct wire_list refs)
{
	const struct chain_of by_of = {of_link, of_hash, q}, by_from = {from_link, from_hash, q};
	struct wire_ref ref;

	forget(q, user);
	for (unsigned n = 0; n < LIST_MAX && wire_next_ref(&refs, &ref); n++) {
		uint32_t i;

		if (id_equal(&ref.id, &user_at(q, user)->id))
			continue;
		i = pool_take(&q->edges);
		edge_at(q, i)->from = user;
		edge_at(q, i)->of = hash_of(&ref.id);
		chain_add(&q->edges_by_of, &by_of, i);
		chain_add(&q->edges_by_from, &by_from, i);
	}
}

void referrers_wake(struct queue *q, const struct ref *r)
{
	uint32_t of = hash_of(&user_at(q, r->user)->id);
	uint32_t i = chain_head(&q->edges_by_of, mix(of));
	struct ref from;

	for (; i != NONE; i = edge_at(q, i)->next) {
		if (edge_at(q, i)->of == of &&
		    entry_find(q, r->target, edge_at(q, i)->from, &from) && from.e->touched)
			entry_cause(q, &from, CAUSE_OTHER);
	}
}
