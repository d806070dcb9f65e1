/* What watched groups mean for the users: each carries the set of those that hold it. */
#include "groups_impl.h"

#include <stdlib.h>

/* A group outside AD has no rid, so that the other meaning of aux fits nobody. */
static bool is_primary(const struct watched *w, const struct object *o)
{
	if (o->aux == 0)
		return false;
	for (size_t i = 0; i < w->n; i++)
		if (w->closure[i]->rid == o->aux)
			return true;
	return false;
}

static uint32_t set_with(struct groups *g, uint32_t set, uint16_t item, bool in)
{
	size_t n, k = 0;
	const uint16_t *items = sets_items(g->s.sets, set, &n);
	uint16_t *more = mem_array(n + 1, sizeof(*more));
	uint32_t result;

	for (size_t i = 0; i < n && items[i] < item; i++)
		more[k++] = items[i];
	if (in)
		more[k++] = item;
	for (size_t i = 0; i < n; i++)
		if (items[i] > item)
			more[k++] = items[i];
	result = sets_intern(g->s.sets, more, k);
	free(more);
	return result;
}

uint32_t groups_of(struct groups *g, uint32_t user)
{
	const struct object *o = objects_at(g->s.objects, user);
	uint32_t set = o->groups;

	for (size_t i = 0; i < g->n; i++) {
		struct watched *w = &g->watched[i];
		bool had = sets_has(g->s.sets, set, (uint16_t)i);
		bool in;

		if (w->dirty)
			groups_walk(g, w);
		in = is_primary(w, o);
		for (size_t k = 0; k < w->n && !in; k++)
			in = group_has_member(w->closure[k], user);
		if (in && !had)
			set = set_with(g, set, (uint16_t)i, true);
		if (!in && had && !w->held)
			w->dirty = g->dirty = true;
	}
	return set;
}

struct tally {
	uint8_t *in; /* one bit per object */
	uint64_t was, lost;
};

static bool is_in(const struct tally *t, uint32_t n)
{
	return (t->in[n / 8] & (1u << (n % 8))) != 0;
}

static bool is_user(const struct object *o)
{
	return o->class == ENTRY_USER && !(o->flags & OBJECT_GONE);
}

static void count(struct groups *g, struct watched *w, uint16_t item, struct tally *t)
{
	uint32_t n = objects_count(g->s.objects);

	t->in = mem_array(n / 8 + 1, 1);
	for (size_t i = 0; i < w->n; i++)
		for (size_t k = 0; k < w->closure[i]->n; k++)
			t->in[w->closure[i]->members[k] / 8] |=
				(uint8_t)(1u << (w->closure[i]->members[k] % 8));
	for (uint32_t i = 1; i <= n; i++) {
		const struct object *o = objects_at(g->s.objects, i);

		if (!is_user(o))
			continue;
		if (is_primary(w, o))
			t->in[i / 8] |= (uint8_t)(1u << (i % 8));
		if (!sets_has(g->s.sets, o->groups, item))
			continue;
		t->was++;
		t->lost += !is_in(t, i);
	}
}

static bool is_past_guard(const struct groups *g, const struct tally *t)
{
	return t->lost > g->s.guard_min && t->lost * 100 > g->s.guard_percent * t->was;
}

static void judge(struct groups *g, struct watched *w, const struct tally *t)
{
	bool hold = !w->incomplete && !w->confirmed && is_past_guard(g, t);
	bool held = w->held;

	if (w->incomplete)
		return;
	w->held = hold;
	w->confirmed = false;
	if (hold != held || hold)
		g->s.hold(g->s.arg, w->name, hold, t->was, t->was - t->lost);
}

static void apply(struct groups *g, struct watched *w, uint16_t item)
{
	struct tally t = {0};
	uint32_t n = objects_count(g->s.objects);

	groups_walk(g, w);
	w->dirty = false;
	count(g, w, item, &t);
	judge(g, w, &t);
	for (uint32_t i = 1; i <= n; i++) {
		struct object *o = objects_at(g->s.objects, i);
		bool had, in;

		if (!is_user(o))
			continue;
		had = sets_has(g->s.sets, o->groups, item);
		in = is_in(&t, i) || (had && (w->held || w->incomplete));
		if (in == had)
			continue;
		o->groups = set_with(g, o->groups, item, in);
		g->s.changed(g->s.arg, i);
	}
	free(t.in);
}

bool groups_has_work(const struct groups *g)
{
	return g->dirty;
}

void groups_work(struct groups *g)
{
	g->dirty = false;
	for (size_t i = 0; i < g->n; i++)
		if (g->watched[i].dirty)
			apply(g, &g->watched[i], (uint16_t)i);
}

void groups_confirm(struct groups *g, struct slice name)
{
	uint32_t i = groups_index(g, name);

	if (i == UINT32_MAX || !g->watched[i].held)
		return;
	g->watched[i].confirmed = true;
	g->watched[i].dirty = g->dirty = true;
}
