#include "groups_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct groups *groups_new(const struct groups_settings *settings)
{
	struct groups *g = mem_alloc(sizeof(*g));

	g->s = *settings;
	g->n = settings->n;
	g->watched = mem_array(g->n + 1, sizeof(*g->watched));
	for (size_t i = 0; i < g->n; i++)
		g->watched[i] = (struct watched){.name = mem_dup(settings->names[i]),
						 .dn = dn_hash(settings->dns[i])};
	return g;
}

static void forget_members(struct group *p)
{
	free(p->members);
	free(p->loose);
	p->members = NULL;
	p->loose = NULL;
	p->n = p->loose_n = 0;
	p->known = false;
}

void groups_free(struct groups *g)
{
	struct group *p, *next;

	if (g == NULL)
		return;
	p = g->by_object;
	HASH_CLEAR(hh, g->by_object);
	for (; p != NULL; p = next) {
		next = p->hh.next;
		forget_members(p);
		free(p);
	}
	for (size_t i = 0; i < g->n; i++) {
		free(g->watched[i].name);
		free(g->watched[i].closure);
	}
	free(g->watched);
	free(g);
}

size_t groups_watched(const struct groups *g)
{
	return g->n;
}

const char *groups_name(const struct groups *g, size_t i)
{
	return g->watched[i].name;
}

uint32_t groups_index(const struct groups *g, struct slice name)
{
	for (size_t i = 0; i < g->n; i++)
		if (slice_is(name, g->watched[i].name))
			return (uint32_t)i;
	return UINT32_MAX;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct group *find(const struct groups *g, uint32_t object)
{
	struct group *p;

	HASH_FIND(hh, g->by_object, &object, sizeof(object), p);
	return p;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct group *get(struct groups *g, uint32_t object)
{
	struct group *p = find(g, object);

	if (p != NULL)
		return p;
	p = mem_alloc(sizeof(*p));
	p->object = object;
	HASH_ADD(hh, g->by_object, object, sizeof(object), p);
	return p;
}

/* ---- members ---- */

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int by_key(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

bool group_has_member(const struct group *p, uint32_t object)
{
	return p->n > 0 && bsearch(&object, p->members, p->n, sizeof(object), by_number) != NULL;
}

static bool has_loose(const struct group *p, uint64_t key)
{
	return key != 0 && p->loose_n > 0 &&
	       bsearch(&key, p->loose, p->loose_n, sizeof(key), by_key) != NULL;
}

static void tidy(struct group *p)
{
	size_t n = 0;

	if (p->n > 1)
		qsort(p->members, p->n, sizeof(*p->members), by_number);
	for (size_t i = 0; i < p->n; i++)
		if (n == 0 || p->members[n - 1] != p->members[i])
			p->members[n++] = p->members[i];
	p->n = n;
	if (p->loose_n > 1)
		qsort(p->loose, p->loose_n, sizeof(*p->loose), by_key);
}

static uint32_t resolve(struct groups *g, uint64_t key)
{
	uint32_t object = objects_by_dn(g->s.objects, key);

	return object != 0 ? object : objects_by_uid(g->s.objects, key);
}

/* was: the names that were nobody before; a new one may be an old name of somebody whom the server has not followed yet. */
static void take_values(struct groups *g, struct group *p, const struct group *was,
			const struct entry_attr *a, bool uids)
{
	p->members = mem_resize(p->members, (p->n + a->n + 1) * sizeof(*p->members));
	p->loose = mem_resize(p->loose, (p->loose_n + a->n + 1) * sizeof(*p->loose));
	for (size_t i = 0; i < a->n; i++) {
		struct slice dn;
		struct id id;
		uint64_t key;
		uint32_t object;

		if (!uids && dn_extended(a->values[i], &id, &dn)) {
			p->members[p->n++] = objects_add(g->s.objects, &id);
			continue;
		}
		key = uids ? text_key(a->values[i]) : dn_hash(a->values[i].p);
		object = g->surveying || key == 0 ? 0 : resolve(g, key);
		if (object != 0) {
			p->members[p->n++] = object;
		} else if (key != 0) {
			p->loose[p->loose_n++] = key;
			p->unsure = p->unsure || (!uids && !has_loose(was, key));
		}
	}
}

/* The relative id is the last sub-authority of the SID, little-endian (MS-DTYP 2.4.2.2). */
static uint32_t rid_of(const struct entry *e)
{
	const struct entry_attr *a = entry_attr(e, "objectSid");
	const uint8_t *p;

	if (a == NULL || a->n != 1 || a->values[0].n < 12)
		return 0;
	p = (const uint8_t *)a->values[0].p + a->values[0].n - 4;
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void mark_above(struct groups *g, const struct group *p)
{
	for (size_t i = 0; i < g->n; i++) {
		struct watched *w = &g->watched[i];
		bool in = w->object == p->object;

		for (size_t k = 0; k < w->n && !in; k++)
			in = w->closure[k] == p;
		w->dirty = w->dirty || in;
		g->dirty = g->dirty || in;
	}
}

static void find_watched(struct groups *g, uint32_t object)
{
	const struct object *o = objects_at(g->s.objects, object);

	for (size_t i = 0; i < g->n; i++) {
		struct watched *w = &g->watched[i];

		/* Once found it is followed by id: a rename does not lose it. */
		if (w->object == 0 && o->dn != 0 && w->dn == o->dn) {
			w->object = object;
			get(g, object)->reached = true;
			w->dirty = g->dirty = true;
		}
	}
}

void groups_image(struct groups *g, uint32_t group, const struct entry *e)
{
	static const char *const names[] = {"member", "uniqueMember", "memberUid"};
	struct group *p, was;

	if (g->n == 0)
		return;
	find_watched(g, group);
	p = get(g, group);
	p->rid = rid_of(e);
	if (!g->surveying && !p->reached)
		return;
	was = *p;
	p->members = NULL;
	p->loose = NULL;
	forget_members(p);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const struct entry_attr *a = entry_attr(e, names[i]);

		if (a != NULL)
			take_values(g, p, &was, a, i == 2);
	}
	forget_members(&was);
	tidy(p);
	p->known = true;
	p->asked = false;
	if (p->verifying)
		p->unsure = p->verifying = false;
	if (!g->surveying)
		mark_above(g, p);
}

void groups_gone(struct groups *g, uint32_t group)
{
	struct group *p = find(g, group);

	if (p == NULL)
		return;
	mark_above(g, p);
	forget_members(p);
	p->known = true; /* known to have none */
	p->unsure = false;
	p->rid = 0;
	for (size_t i = 0; i < g->n; i++) {
		if (g->watched[i].object == group)
			g->watched[i].object = 0; /* the next one of that name is watched */
	}
}

/* ---- objects that come, change their name or go ---- */

static void take_loose(struct groups *g, struct group *p, uint64_t key, uint32_t object)
{
	size_t n = 0;

	for (size_t i = 0; i < p->loose_n; i++)
		if (p->loose[i] != key)
			p->loose[n++] = p->loose[i];
	p->loose_n = n;
	p->unsure = p->unsure && n > 0;
	p->members = mem_resize(p->members, (p->n + 1) * sizeof(*p->members));
	p->members[p->n++] = object;
	tidy(p);
	mark_above(g, p);
}

void groups_appeared(struct groups *g, uint32_t object, uint64_t uid)
{
	struct object *o = objects_at(g->s.objects, object);
	struct group *p, *next;

	if (g->n == 0 || g->surveying)
		return;
	if (o->class == ENTRY_GROUP)
		find_watched(g, object);
	HASH_ITER (hh, g->by_object, p, next) {
		if (has_loose(p, o->dn))
			take_loose(g, p, o->dn, object);
		if (has_loose(p, uid))
			take_loose(g, p, uid, object);
		if (group_has_member(p, object))
			mark_above(g, p);
	}
}

void groups_user_gone(struct groups *g, uint32_t user)
{
	uint64_t dn = objects_at(g->s.objects, user)->dn;
	struct group *p, *next;

	HASH_ITER (hh, g->by_object, p, next) {
		size_t n = 0;

		if (!group_has_member(p, user))
			continue;
		for (size_t i = 0; i < p->n; i++)
			if (p->members[i] != user)
				p->members[n++] = p->members[i];
		p->n = n;
		if (dn == 0)
			continue;
		p->loose = mem_resize(p->loose, (p->loose_n + 1) * sizeof(*p->loose));
		p->loose[p->loose_n++] = dn;
		tidy(p);
	}
}

/* ---- closure ---- */

static void add_to_closure(struct watched *w, struct group *p)
{
	if (w->n % 16 == 0)
		w->closure = mem_resize(w->closure, (w->n + 16) * sizeof(struct group *));
	w->closure[w->n++] = p;
}

/* Breadth first; a group that was met in this round is not entered again, so cycles end. */
void groups_walk(struct groups *g, struct watched *w)
{
	w->n = 0;
	w->incomplete = false;
	if (w->object == 0)
		return;
	g->round++;
	get(g, w->object)->round = g->round;
	add_to_closure(w, get(g, w->object));
	for (size_t i = 0; i < w->n; i++) {
		struct group *p = w->closure[i];

		p->reached = true;
		w->incomplete = w->incomplete || !p->known || p->unsure;
		for (size_t k = 0; k < p->n; k++) {
			struct group *child =
				objects_at(g->s.objects, p->members[k])->class == ENTRY_GROUP
					? get(g, p->members[k])
					: NULL;

			if (child == NULL || child->round == g->round)
				continue;
			child->round = g->round;
			add_to_closure(w, child);
		}
	}
}

void groups_survey_begin(struct groups *g)
{
	struct group *p, *next;

	g->surveying = true;
	HASH_ITER (hh, g->by_object, p, next) {
		forget_members(p);
		p->reached = p->asked = p->unsure = p->doubted = p->verifying = false;
	}
	for (size_t i = 0; i < g->n; i++)
		g->watched[i].object = 0;
}

void groups_survey_end(struct groups *g)
{
	struct group *p, *next;

	g->surveying = false;
	HASH_ITER (hh, g->by_object, p, next) {
		size_t n = 0;

		p->members = mem_resize(p->members, (p->n + p->loose_n + 1) * sizeof(*p->members));
		for (size_t i = 0; i < p->loose_n; i++) {
			uint32_t object = resolve(g, p->loose[i]);

			if (object != 0)
				p->members[p->n++] = object;
			else
				p->loose[n++] = p->loose[i];
		}
		p->loose_n = n;
		p->unsure = n > 0; /* what it listed before nobody knows */
		tidy(p);
	}
	for (size_t i = 0; i < g->n; i++) {
		g->watched[i].dirty = g->dirty = true;
		groups_walk(g, &g->watched[i]);
	}
	HASH_ITER (hh, g->by_object, p, next)
		if (!p->reached)
			forget_members(p);
}

bool groups_is_missing(const struct groups *g, size_t i)
{
	return g->watched[i].object == 0;
}

void groups_unknown(struct groups *g, void (*fn)(void *arg, const struct id *id), void *arg)
{
	struct group *p, *next;

	HASH_ITER (hh, g->by_object, p, next) {
		if (!p->reached || p->known || p->asked)
			continue;
		p->asked = true;
		fn(arg, &objects_at(g->s.objects, p->object)->id);
	}
}

void groups_unsure(struct groups *g, void (*fn)(void *arg, const struct id *id), void *arg)
{
	struct group *p, *next;

	HASH_ITER (hh, g->by_object, p, next) {
		if (!p->reached || !p->unsure || p->doubted)
			continue;
		p->doubted = true;
		fn(arg, &objects_at(g->s.objects, p->object)->id);
	}
}

void groups_verify(struct groups *g, uint32_t group)
{
	struct group *p = find(g, group);

	if (p == NULL || !p->unsure)
		return;
	p->doubted = false;
	p->verifying = true;
}

void groups_listing(struct groups *g, uint32_t object, void (*fn)(void *arg, const struct id *id),
		    void *arg)
{
	struct group *p, *next;

	HASH_ITER (hh, g->by_object, p, next)
		if (group_has_member(p, object))
			fn(arg, &objects_at(g->s.objects, p->object)->id);
}
