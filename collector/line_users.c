#include "line_impl.h"

#include "crash.h"
#include "filter.h"
#include "log.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- references ---- */

static uint32_t nobody(uint64_t dn)
{
	return OBJECTS_NOBODY | (uint32_t)dn;
}

static void waiting_free(struct line *l, struct waiting *w)
{
	for (size_t i = 0; i < w->users.n; i++)
		for (size_t k = 0; k < objects_references(l->objects); k++)
			if (objects_reference(l->objects, w->users.p[i], k) == nobody(w->dn))
				objects_set_reference(l->objects, w->users.p[i], k, 0);
	numbers_done(&w->users);
	free(w);
}

void line_forget_waiting(struct line *l)
{
	struct waiting *w = l->waiting, *next;

	HASH_CLEAR(hh, l->waiting);
	for (; w != NULL; w = next) {
		next = w->hh.next;
		waiting_free(l, w);
	}
}

/* It may be there already, under a name that the server has not written here yet: it is also read again later, once.
 * NOLINTNEXTLINE(readability-function-size): uthash */
static void wait_for(struct line *l, size_t which, uint64_t dn)
{
	struct waiting *w;

	if (objects_reference(l->objects, l->building, which) == nobody(dn))
		return;
	objects_set_reference(l->objects, l->building, which, nobody(dn));
	line_verify(l, l->building);
	HASH_FIND(hh, l->waiting, &dn, sizeof(dn), w);
	if (w == NULL) {
		w = mem_alloc(sizeof(*w));
		w->dn = dn;
		HASH_ADD(hh, l->waiting, dn, sizeof(dn), w);
	}
	numbers_add(&w->users, l->building);
}

bool line_resolve(void *arg, size_t which, struct slice value, struct id *ret_id)
{
	struct line *l = arg;
	struct slice dn = {0};
	uint64_t hash;
	uint32_t n = 0;

	if (value.n > 0 && dn_extended(value, ret_id, &dn)) {
		objects_set_reference(l->objects, l->building, which,
				      objects_find(l->objects, ret_id));
		return true;
	}
	hash = value.n > 0 ? dn_hash(dn.p) : 0;
	if (hash != 0)
		n = objects_by_dn(l->objects, hash);
	if (n != 0 && objects_at(l->objects, n)->class == ENTRY_USER) {
		objects_set_reference(l->objects, l->building, which, n);
		*ret_id = objects_at(l->objects, n)->id;
		return true;
	}
	if (hash != 0)
		wait_for(l, which, hash);
	else
		objects_set_reference(l->objects, l->building, which, 0);
	return false;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void wake_waiting(struct line *l, uint64_t dn)
{
	struct waiting *w;

	HASH_FIND(hh, l->waiting, &dn, sizeof(dn), w);
	if (w == NULL)
		return;
	HASH_DELETE(hh, l->waiting, w);
	for (size_t i = 0; i < w->users.n; i++)
		line_dirty(l, w->users.p[i]);
	waiting_free(l, w);
}

/* ---- names ---- */

static uint64_t uid_of(struct line *l, const struct entry *e)
{
	const struct entry_attr *a = entry_attr(e, "uid");

	return !l->ad && groups_watched(l->groups) > 0 && a != NULL && a->n > 0
		       ? text_key(a->values[0])
		       : 0;
}

/* Takes the entry's name over; true: it is another one than before. */
static bool take_name(struct line *l, uint32_t n, const struct entry *e)
{
	struct object *o = objects_at(l->objects, n);
	uint64_t own, parent, before = o->dn;
	uint64_t uid = e->class == ENTRY_USER ? uid_of(l, e) : 0;
	const char *primary = entry_first(e, "primaryGroupID");
	bool was = o->class == (uint8_t)e->class && !(o->flags & OBJECT_GONE);

	dn_hashes(e->dn, &own, &parent);
	o->class = (uint8_t)e->class;
	o->flags &= (uint16_t)~OBJECT_GONE;
	o->aux = l->ad ? (uint32_t)(primary != NULL ? strtoul(primary, NULL, 10) : 0)
		       : (uint32_t)parent;
	objects_set_dn(l->objects, n, own);
	if (uid != 0)
		objects_set_uid(l->objects, n, uid);
	if (e->origin == ENTRY_SURVEY || (was && before == own))
		return false;
	groups_appeared(l->groups, n, uid);
	wake_waiting(l, own);
	if (before != 0) {
		groups_listing(l->groups, n, line_verify_id, l);
		line_moved(l, n);
	}
	return true;
}

/* ---- users ---- */

/* A server applies base and filter itself, except with DirSync, which reports the whole domain. */
static bool is_in_source(struct line *l, const struct entry *e)
{
	CLEANUP(buf_cleanup) struct buf normal = {0};

	if (!l->ad)
		return true;
	if (dn_normal(e->dn, &normal) != 0 ||
	    !dn_normal_within(buf_slice(&normal), buf_slice(&l->base)))
		return false;
	return l->user_filter == NULL || filter_fits(l->user_filter, e);
}

uint32_t line_in(struct line *l, uint32_t n)
{
	const struct object *o = objects_at(l->objects, n);

	return route_in(l->routes, l->route_sets, o->routes, l->group_sets, o->groups,
			l->target_sets);
}

static void refuse(struct line *l, const struct id *id, const char *what, const char *attr)
{
	struct log_line line = log_begin(LOG_WARN_, "DP-1113", what);

	l->bad++;
	if (id != NULL)
		log_id(&line, "user", id);
	log_text(&line, "attribute", attr);
	log_end(&line);
}

static void offer(struct line *l, uint32_t n, const struct fp *fp)
{
	switch (diff_offer(l->diff, n, fp, &l->record, !l->distrust)) {
	case DIFF_SAME:
		l->unchanged++;
		break;
	case DIFF_FULL:
		line_dirty(
			l,
			n); /* the queue is full: remembered by number alone, read again when there is room */
		break;
	case DIFF_QUEUED:
	case DIFF_REPLACED:
	case DIFF_OUTCOMES:
		break;
	}
	line_ask_turn(l);
}

/* Why each target's scope does not hold the user. */
static uint32_t add_causes(struct line *l, const struct object *o, const struct entry *e,
			   struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf cause = {0};
	uint32_t n = 0;

	if (!(o->flags & OBJECT_KNOWN))
		return 0; /* who never was in is nobody's leaver */
	for (size_t i = 0; i < route_targets(l->routes); i++) {
		if (sets_has(l->target_sets, o->in, (uint16_t)i))
			continue;
		if (l->reconfigured) {
			buf_clear(&cause);
			buf_adds(&cause, "config");
		} else {
			route_why_not(l->routes, i, l->route_sets, o->routes, e, &cause);
		}
		wire_add_out(out, &(struct wire_out){slice_of(route_target(l->routes, i)),
						     buf_slice(&cause)});
		n++;
	}
	return n;
}

static void publish_image(struct line *l, uint32_t n, const struct entry *e)
{
	struct object *o = objects_at(l->objects, n);
	const char *groups[1024], *targets[256];
	struct image_scope scope = {.groups = groups, .targets = targets, .policy = &l->policy};
	CLEANUP(buf_cleanup) struct buf out = {0};
	size_t k;
	const uint16_t *items = sets_items(l->group_sets, o->groups, &k);
	const char *attr = NULL;
	struct fp fp;
	int rc;

	for (size_t i = 0; i < k && scope.groups_n < 1024; i++)
		groups[scope.groups_n++] = groups_name(l->groups, items[i]);
	items = sets_items(l->target_sets, o->in, &k);
	for (size_t i = 0; i < k && scope.targets_n < 256; i++)
		targets[scope.targets_n++] = route_target(l->routes, items[i]);
	scope.out = wire_list_of(&out, add_causes(l, o, e, &out));
	buf_clear(&l->record);
	l->building = n;
	rc = image_build(l->maker, e, &scope, &l->record, &fp, &attr);
	if (rc != 0)
		refuse(l, &o->id,
		       rc == -E2BIG ? "a user is left as it was: it is larger than 16 MiB"
				    : "a user is left as it was: an attribute is not UTF-8",
		       attr);
	else
		offer(l, n, &fp);
	l->building = 0;
}

static void take_user(struct line *l, uint32_t n, struct entry *e)
{
	struct object *o = objects_at(l->objects, n);
	uint32_t in;

	take_name(l, n, e);
	o->routes = is_in_source(l, e) ? (uint16_t)route_fitting(l->routes, l->route_sets, e)
				       : SETS_EMPTY;
	if (e->origin == ENTRY_SURVEY)
		return;
	o->groups = groups_of(l->groups, n);
	in = line_in(l, n);
	o->in = (uint16_t)in;
	if (in == SETS_EMPTY && !(o->flags & (OBJECT_KNOWN | OBJECT_QUEUED))) {
		l->filtered++;
		return;
	}
	publish_image(l, n, e);
}

/* ---- what a driver says ---- */

static bool is_stale(struct line *l, uint32_t n, const struct entry *e)
{
	struct object *o = objects_at(l->objects, n);

	if (e->origin == ENTRY_REREAD)
		return (o->flags & OBJECT_TOUCHED) != 0;
	if (e->origin == ENTRY_LIVE)
		line_touch(l, n);
	return false;
}

static void take_container(struct line *l, uint32_t n, const struct entry *e)
{
	bool renamed = take_name(l, n, e);

	/* Only the container is reported; all names below it are old (or, moved in from elsewhere, unknown). */
	if (renamed && e->origin == ENTRY_LIVE)
		line_subtree(l, e->dn);
}

void line_image(void *arg, struct entry *e)
{
	struct line *l = arg;
	uint32_t n = objects_add(l->objects, &e->id);
	struct object *o = objects_at(l->objects, n);

	CRASH_POINT("collector.read");
	l->ad = e->schema->id_is_guid;
	if (!is_stale(l, n, e)) {
		l->read++;
		o->flags |= OBJECT_SEEN |
			    (e->origin == ENTRY_SURVEY ? OBJECT_SURVEYED : OBJECT_MENTIONED);
		if (o->flags & OBJECT_HELD)
			line_unhold(l, o);
		if (e->class == ENTRY_USER) {
			take_user(l, n, e);
		} else if (e->class == ENTRY_GROUP) {
			take_name(l, n, e);
			groups_image(l->groups, n, e);
			line_ask_turn(l);
		} else if (e->class == ENTRY_CONTAINER) {
			take_container(l, n, e);
		} else if (o->flags & OBJECT_KNOWN) { /* was a user, is something else now */
			take_name(l, n, e);
			line_publish_gone(l, n);
		}
	}
	entry_free(e);
}

void line_publish_gone(struct line *l, uint32_t n)
{
	struct object *o = objects_at(l->objects, n);
	struct fp fp;

	groups_listing(l->groups, n, line_verify_id, l);
	line_moved(l, n);
	groups_user_gone(l->groups, n);
	objects_set_dn(l->objects, n, 0);
	o->flags |= OBJECT_GONE;
	o->flags &= (uint16_t)~OBJECT_HELD;
	o->groups = SETS_EMPTY;
	o->in = o->routes = SETS_EMPTY;
	if (!(o->flags & OBJECT_KNOWN)) {
		diff_drop(l->diff, n); /* nobody has heard of it */
		return;
	}
	buf_clear(&l->record);
	image_gone(l->maker, &o->id, l->ad, &l->record, &fp);
	offer(l, n, &fp);
}

void line_gone(void *arg, const struct id *id)
{
	struct line *l = arg;
	uint32_t n = objects_find(l->objects, id);
	struct object *o;
	uint64_t dn;

	if (n == 0) /* delete sets also name what never matched the filter */
		return;
	CRASH_POINT("collector.gone");
	line_touch(l, n);
	o = objects_at(l->objects, n);
	o->flags |= OBJECT_MENTIONED;
	if (o->flags & OBJECT_GONE)
		return;
	dn = o->dn;
	if (o->class == ENTRY_USER || o->class == ENTRY_CLASSES) {
		line_publish_gone(l, n);
		return;
	}
	o->flags |= OBJECT_GONE;
	if (o->class == ENTRY_GROUP)
		groups_gone(l->groups, n);
	objects_set_dn(l->objects, n, 0);
	if (o->class == ENTRY_CONTAINER && !l->ad && dn != 0)
		line_suspect_below(l, dn);
	line_ask_turn(l);
}
