#include "line_impl.h"

/* What a server may rewrite silently, and a little later than it says why (refint on OpenLDAP: no message, no new entryCSN) is read
 * again after some time: groups that listed somebody who was renamed or deleted, or that list nobody's name; users whose reference
 * names nobody, or somebody who was renamed or deleted. Nothing is read again before LINE_VERIFY_MS have passed. */

static void arm(struct line *l)
{
	loop_timer_set(l->verify_timer, LINE_VERIFY_MS);
}

static bool is_idle(const struct line *l)
{
	return l->later.verify.n + l->later.moved.n + l->after.verify.n + l->after.moved.n == 0;
}

void line_verify(struct line *l, uint32_t n)
{
	struct object *o = objects_at(l->objects, n);

	if (is_idle(l)) {
		numbers_add(&l->later.verify, n);
		arm(l);
	} else if (!(o->flags & OBJECT_VERIFY)) {
		o->flags |= OBJECT_VERIFY;
		numbers_add(&l->after.verify, n);
	}
}

void line_verify_id(void *arg, const struct id *id)
{
	struct line *l = arg;
	uint32_t n = objects_find(l->objects, id);

	if (n != 0)
		line_verify(l, n);
}

void line_moved(struct line *l, uint32_t n)
{
	bool idle = is_idle(l);

	numbers_add(idle ? &l->later.moved : &l->after.moved, n);
	if (idle)
		arm(l);
}

static void flag_moved(struct line *l, bool set)
{
	for (size_t i = 0; i < l->later.moved.n; i++) {
		struct object *o = objects_at(l->objects, l->later.moved.p[i]);

		o->flags = (uint16_t)((o->flags & ~OBJECT_MOVED) | (set ? OBJECT_MOVED : 0));
	}
}

static bool refers_to_moved(struct line *l, uint32_t n)
{
	for (size_t i = 0; i < objects_references(l->objects); i++) {
		uint32_t to = objects_reference(l->objects, n, i);

		if (to != 0 && !(to & OBJECTS_NOBODY) &&
		    (objects_at(l->objects, to)->flags & OBJECT_MOVED))
			return true;
	}
	return false;
}

static void read_referrers(struct line *l)
{
	if (l->later.moved.n == 0)
		return;
	flag_moved(l, true);
	for (uint32_t n = 1; n <= objects_count(l->objects); n++)
		if (refers_to_moved(l, n))
			line_dirty(l, n);
	flag_moved(l, false);
}

void line_later(void *arg)
{
	struct line *l = arg;

	for (size_t i = 0; i < l->later.verify.n; i++) {
		groups_verify(l->groups, l->later.verify.p[i]);
		line_dirty(l, l->later.verify.p[i]);
	}
	read_referrers(l);
	numbers_done(&l->later.verify);
	numbers_done(&l->later.moved);
	l->later = l->after;
	l->after = (struct later){0};
	for (size_t i = 0; i < l->later.verify.n; i++)
		objects_at(l->objects, l->later.verify.p[i])->flags &= (uint16_t)~OBJECT_VERIFY;
	if (!is_idle(l))
		arm(l);
}

void line_forget_later(struct line *l)
{
	for (size_t i = 0; i < l->after.verify.n; i++)
		objects_at(l->objects, l->after.verify.p[i])->flags &= (uint16_t)~OBJECT_VERIFY;
	numbers_done(&l->later.verify);
	numbers_done(&l->later.moved);
	numbers_done(&l->after.verify);
	numbers_done(&l->after.moved);
	loop_timer_set(l->verify_timer, -1);
}
