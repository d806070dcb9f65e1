#include "line_impl.h"

#include "crash.h"
#include "log.h"

#include <stdlib.h>
#include <string.h>

/* Absence means deletion only after an enumeration that ended properly, each missing id confirmed by a search, within the
 * guard (DESIGN, "The collector"). Suspects are confirmed in chunks; what is confirmed missing is published as gone in one
 * go, or held in one go. */

enum { SWEEP_IDS = 500 };

static bool may_be_user(const struct object *o)
{
	return (o->flags & OBJECT_KNOWN) && !(o->flags & OBJECT_GONE) &&
	       (o->class == ENTRY_USER || o->class == ENTRY_CLASSES);
}

static void start(struct line *l)
{
	if (!l->sweeping) {
		l->sweeping = true;
		l->sweeps_asked++;
	}
	line_ask_turn(l);
}

/* all: the enumeration named everything. Else only who was in nobody's mouth since the session began: unknown to the
 * survey too. */
void line_sweep_begin(struct line *l, bool all)
{
	uint32_t count = objects_count(l->objects);

	for (uint32_t n = 1; n <= count; n++) {
		const struct object *o = objects_at(l->objects, n);

		if (!may_be_user(o) || (o->flags & (OBJECT_MENTIONED | OBJECT_HELD)))
			continue;
		if (all || !(o->flags & OBJECT_SURVEYED))
			numbers_add(&l->suspects, n);
	}
	if (l->suspects.n > 0)
		start(l);
}

/* slapd that is killed forgets the CSN of a deletion that came last: it answers the old cookie with success and nothing. So a while after
 * a connection ended everybody is asked for by id; whoever is not there any more was deleted. */
void line_presence_later(struct line *l)
{
	int64_t wait_ms = LINE_PRESENCE_SHARE * l->presence_took;

	if (strcmp(l->driver->name, "syncrepl") != 0 || !l->first_end_done || l->presence_waits)
		return;
	l->presence_waits = true;
	loop_timer_set(l->presence_timer, wait_ms > LINE_PRESENCE_MS ? wait_ms : LINE_PRESENCE_MS);
}

void line_presence(void *arg)
{
	struct line *l = arg;

	l->presence_waits = false;
	if (!l->connected || !l->begun || l->sweeping) {
		line_presence_later(l);
		return;
	}
	for (uint32_t n = 1; n <= objects_count(l->objects); n++) {
		struct object *o = objects_at(l->objects, n);

		if (!may_be_user(o) || (o->flags & OBJECT_HELD))
			continue;
		o->flags &=
			(uint16_t)~OBJECT_MENTIONED; /* who is mentioned from here on is there */
		numbers_add(&l->suspects, n);
	}
	if (l->suspects.n == 0)
		return;
	l->presence = true;
	l->presence_began = loop_now_ms(l->loop);
	start(l);
}

/* A container left the search (OpenLDAP reports it alone): whoever was below it may have left too. */
void line_suspect_below(struct line *l, uint64_t container_dn)
{
	uint32_t count = objects_count(l->objects);

	for (uint32_t n = 1; n <= count; n++) {
		struct object *o = objects_at(l->objects, n);

		if (o->aux != (uint32_t)container_dn || (o->flags & OBJECT_GONE))
			continue;
		if (o->class == ENTRY_CONTAINER && o->dn != container_dn)
			line_suspect_below(l, o->dn);
		else if (may_be_user(o))
			numbers_add(&l->suspects, n);
	}
	if (l->suspects.n > 0)
		start(l);
}

void line_sweep_cancel(struct line *l)
{
	numbers_done(&l->suspects);
	numbers_done(&l->missing);
	l->suspects_next = 0;
	l->sweep_token = 0;
	l->sweep_approved = false;
	if (l->sweeping)
		l->sweeps_done++;
	if (l->presence)
		l->presence_took = loop_now_ms(l->loop) - l->presence_began;
	l->presence = false;
	l->sweeping = false;
}

static uint64_t known_users(struct line *l)
{
	uint64_t known = 0;

	for (uint32_t n = 1; n <= objects_count(l->objects); n++)
		known += may_be_user(objects_at(l->objects, n));
	return known;
}

static bool is_past_guard(struct line *l, uint64_t missing, uint64_t known)
{
	const struct conf_node *guard = conf_section(l->conf, "guard");

	return missing > (uint64_t)conf_int(guard, "min_users") &&
	       missing * 100 > (uint64_t)conf_int(guard, "percent") * known;
}

static void say_hold(struct line *l, bool active, uint64_t was, uint64_t now)
{
	struct wire_hold hold = {
		.kind = 1, .active = active, .name = slice_of(l->name), .was = was, .now = now};
	struct log_line line = log_begin(LOG_WARN_, "DP-1111",
					 active ? "the source shrank past the guard: nobody is "
						  "taken away until it recovers or a "
						  "person confirms"
						: "the source has recovered");

	log_int(&line, "was", (int64_t)was);
	log_int(&line, "now", (int64_t)now);
	log_end(&line);
	publish_hold(l->publish, &hold);
}

static void hold_missing(struct line *l, uint64_t known)
{
	for (size_t i = 0; i < l->missing.n; i++) {
		objects_at(l->objects, l->missing.p[i])->flags |= OBJECT_HELD;
		numbers_add(&l->held, l->missing.p[i]);
	}
	say_hold(l, true, known, known - l->missing.n);
	loop_timer_set(l->held_timer, LINE_HELD_MS);
}

/* Rights that come back are no change that a server tells. */
void line_look_for_held(void *arg)
{
	struct line *l = arg;

	for (size_t i = 0; i < l->held.n; i++)
		if (objects_at(l->objects, l->held.p[i])->flags & OBJECT_HELD)
			line_dirty(l, l->held.p[i]);
	if (l->held.n > 0)
		loop_timer_set(l->held_timer, LINE_HELD_MS);
}

static void judge(struct line *l)
{
	uint64_t known = known_users(l);
	size_t n = 0;

	for (size_t i = 0; i < l->missing.n; i++) /* who came back meanwhile is not missing */
		if (!(objects_at(l->objects, l->missing.p[i])->flags &
		      (OBJECT_MENTIONED | OBJECT_GONE)))
			l->missing.p[n++] = l->missing.p[i];
	l->missing.n = n;
	if (n > 0 && !l->sweep_approved && is_past_guard(l, n, known)) {
		hold_missing(l, known);
	} else {
		for (size_t i = 0; i < n; i++)
			line_publish_gone(l, l->missing.p[i]);
		if (n > 0)
			log_msg(LOG_INFO_, "DP-1112", "%zu users are no longer in the directory",
				n);
	}
	line_sweep_cancel(l);
	line_ask_turn(l);
}

void line_sweep_pump(struct line *l)
{
	struct id ids[SWEEP_IDS];
	size_t n = 0;

	if (!l->sweeping || l->sweep_token != 0)
		return;
	for (size_t i = l->suspects_next; i < l->suspects.n && n < SWEEP_IDS; i++)
		ids[n++] = objects_at(l->objects, l->suspects.p[i])->id;
	if (n == 0) {
		judge(l);
		return;
	}
	l->sweep_asked = n;
	l->sweep_token = ++l->last_token;
	CRASH_POINT("collector.confirm");
	l->driver->confirm(l->source, l->sweep_token, ids, n);
}

void line_sweep_answer(struct line *l, bool ok, const struct id *missing, size_t n)
{
	l->sweep_token = 0;
	if (!ok) {
		loop_timer_set(l->retry, LINE_RETRY_MS);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		uint32_t number = objects_find(l->objects, &missing[i]);

		if (number != 0)
			numbers_add(&l->missing, number);
	}
	l->suspects_next += l->sweep_asked;
	line_ask_turn(l);
}

static void suspect_held(struct line *l)
{
	for (size_t i = 0; i < l->held.n; i++) {
		struct object *o = objects_at(l->objects, l->held.p[i]);

		if (!(o->flags & OBJECT_HELD))
			continue;
		o->flags &= (uint16_t) ~(OBJECT_HELD | OBJECT_MENTIONED);
		numbers_add(&l->suspects, l->held.p[i]);
	}
	numbers_done(&l->held);
	start(l);
}

/* A person says that they are gone indeed: confirmed once more by id, then without the guard. */
void line_sweep_confirm(struct line *l)
{
	if (l->held.n == 0)
		return;
	l->sweep_approved = true;
	suspect_held(l);
}

/* Somebody who was held has been seen again. */
void line_unhold(struct line *l, struct object *o)
{
	uint64_t known, left = 0;

	o->flags &= (uint16_t)~OBJECT_HELD;
	for (size_t i = 0; i < l->held.n; i++)
		left += (objects_at(l->objects, l->held.p[i])->flags & OBJECT_HELD) != 0;
	known = known_users(l);
	if (is_past_guard(l, left, known))
		return;
	say_hold(l, false, known, known - left);
	suspect_held(l);
}
