/* Remote ids, links, and who waits for the link of another user. */
#include "queue_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

/* ---- remote ids ---- */

uint64_t rid_hash(const struct queue *q, struct slice rid)
{
	uint64_t hash;

	crypto_shorthash((unsigned char *)&hash, (const unsigned char *)(rid.n ? rid.p : ""), rid.n,
			 q->rid_key);
	return hash;
}

bool rid_free(const struct queue *q, const struct ref *r, struct slice rid)
{
	uint32_t owner = rids_get(&q->targets[r->target]->rids, rid_hash(q, rid));

	return owner == NONE || owner == r->user;
}

int queue_rid_owner(const struct queue *q, unsigned target, struct slice rid, struct id *ret)
{
	uint32_t owner = rids_get(&q->targets[target]->rids, rid_hash(q, rid));

	if (owner == NONE)
		return -ENOENT;
	*ret = user_at(q, owner)->id;
	return 0;
}

bool rid_claim(struct queue *q, const struct ref *r, struct slice rid)
{
	struct rids *rids = &q->targets[r->target]->rids;
	uint64_t hash = rid_hash(q, rid);
	uint32_t owner = rids_get(rids, hash);

	if (owner == NONE) {
		struct queue_effect *f = page_user_effect(q, QUEUE_PUT_RID, r);

		f->rid = page_copy(q, rid);
		rids_put(rids, hash, r->user);
		return true;
	}
	return owner == r->user;
}

void rid_release(struct queue *q, const struct ref *r, struct slice rid)
{
	struct rids *rids = &q->targets[r->target]->rids;
	uint64_t hash = rid_hash(q, rid);

	if (rid.n == 0 || rids_get(rids, hash) != r->user)
		return;
	page_user_effect(q, QUEUE_DEL_RID, r)->rid = page_copy(q, rid);
	rids_drop(rids, hash);
}

/* ---- links ---- */

static void change_note(struct queue *q, const struct ref *r)
{
	struct target *t = q->targets[r->target];

	if (!t->changes)
		t->changes = mem_array(CHANGES, sizeof(*t->changes));
	t->changes[t->changes_n++ % CHANGES] = (struct change){r->user, q->page->number};
}

bool link_changed_since(const struct queue *q, unsigned target, uint32_t user,
			const struct queue_lease *dispatch)
{
	const struct target *t = q->targets[target];

	if (dispatch->epoch != q->page->epoch || dispatch->page < q->loaded_page)
		return true;
	for (uint64_t i = t->changes_n; i-- > 0;) {
		const struct change *c = &t->changes[i % CHANGES];

		if (t->changes_n - i > CHANGES)
			return true;
		if (c->page <= dispatch->page)
			return false;
		if (c->user == user)
			return true;
	}
	return false;
}

void queue_dispatched(struct queue *q, const struct queue_lease *lease, struct slice rid)
{
	struct lease *l = lease_find(q, lease->epoch, lease->page, lease->index);

	if (!l || l->rid || rid.n == 0)
		return;
	l->rid = slice_dup(rid);
}

static bool same_text(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* Another remote id takes the place of the link's (or none does): the old one is free. True: so it is. */
static bool rid_replaced(struct queue *q, const struct ref *r, const struct link_news *news)
{
	struct lease *l = lease_of(q, r);
	struct slice rid = news->rid;
	char *old = l ? l->rid : NULL;

	if (!l) {
		if (news->was.n == 0 || same_text(news->was, rid))
			return false;
		rid_release(q, r, news->was);
		return true;
	}
	if (!old && rid.n > 0)
		l->rid = slice_dup(rid);
	if (!old || slice_is(rid, old))
		return false;
	l->rid = rid.n > 0 ? slice_dup(rid) : NULL;
	rid_release(q, r, slice_of(old));
	free(old);
	return true;
}

/* May others refer to it? */
static bool is_referable(const struct entry *e)
{
	return e->has_rid && e->link_state != LINK_DELETED;
}

void link_change(struct queue *q, const struct ref *r, const struct link_news *news)
{
	bool was = is_referable(r->e), replaced = rid_replaced(q, r, news);
	struct queue_effect *f = page_user_effect(q, QUEUE_PUT_LINK, r);

	r->e->link_revision++;
	r->e->link_state = news->state & 7U;
	r->e->has_rid = news->rid.n > 0;
	f->rid = page_copy(q, news->rid);
	f->memory = page_copy(q, news->memory);
	f->link_state = news->state;
	f->link_revision = r->e->link_revision;
	change_note(q, r);
	if (is_referable(r->e))
		waiters_wake(q, r, WAKE_OWED);
	if (was && (replaced || !is_referable(r->e)))
		referrers_wake(q, r);
}

/* What a worker would NOTE. */
void link_creating(struct queue *q, const struct ref *r)
{
	CLEANUP(buf_cleanup) struct buf memory = {0};

	if (r->e->link_state != LINK_NONE || r->e->link_revision != 0)
		return;
	buf_addf(&memory, "{\"creating_ms\":%" PRId64 "}", q->page->now_unix_ms);
	link_change(q, r,
		    &(struct link_news){.memory = buf_slice(&memory), .state = LINK_CREATING});
}

/* ---- waiters for one user's link ---- */

static struct waiter *waiter_at(const struct queue *q, uint32_t i)
{
	return (struct waiter *)pool_at(&q->waiters, i);
}

static uint64_t of_hash_of(unsigned target, const struct id *of)
{
	return mix(id_hash(of) + target);
}

static uint64_t pair_hash_of(unsigned target, const struct id *of, uint32_t user)
{
	return mix(of_hash_of(target, of) ^ user);
}

static uint32_t *of_link(void *arg, uint32_t i)
{
	return &waiter_at(arg, i)->next;
}

static uint64_t of_hash(void *arg, uint32_t i)
{
	return of_hash_of(waiter_at(arg, i)->target, &waiter_at(arg, i)->of);
}

static uint32_t *pair_link(void *arg, uint32_t i)
{
	return &waiter_at(arg, i)->pair_next;
}

static uint64_t pair_hash(void *arg, uint32_t i)
{
	const struct waiter *w = waiter_at(arg, i);

	return pair_hash_of(w->target, &w->of, w->user);
}

bool waiter_add(struct queue *q, const struct ref *r, const struct id *of, bool stored)
{
	const struct chain_of by_of = {of_link, of_hash, q}, by_pair = {pair_link, pair_hash, q};
	uint32_t i = chain_head(&q->waiters_by_pair, pair_hash_of(r->target, of, r->user));
	struct waiter *w;

	for (; i != NONE; i = waiter_at(q, i)->pair_next) {
		w = waiter_at(q, i);
		if (w->user == r->user && w->target == r->target && w->stored == stored &&
		    id_equal(&w->of, of))
			return false;
	}
	i = pool_take(&q->waiters);
	w = waiter_at(q, i);
	w->user = r->user;
	w->target = r->target;
	w->stored = stored;
	w->of = *of;
	chain_add(&q->waiters_by_of, &by_of, i);
	chain_add(&q->waiters_by_pair, &by_pair, i);
	return true;
}

static void waiter_store(struct queue *q, const struct ref *r, const struct id *of, bool put)
{
	struct queue_effect *f = page_user_effect(q, put ? QUEUE_PUT_WAITER : QUEUE_DEL_WAITER, r);

	f->of = *of;
}

static void waiter_end(struct queue *q, uint32_t i)
{
	const struct chain_of by_of = {of_link, of_hash, q}, by_pair = {pair_link, pair_hash, q};

	chain_remove(&q->waiters_by_of, &by_of, i);
	chain_remove(&q->waiters_by_pair, &by_pair, i);
	pool_give(&q->waiters, i);
}

static void waiter_wake(struct queue *q, uint32_t i)
{
	struct waiter w = *waiter_at(q, i);
	const struct rare *x;
	struct ref r;

	waiter_end(q, i);
	if (w.stored && entry_find(q, w.target, w.user, &r)) {
		waiter_store(q, &r, &w.of, false);
		entry_cause(q, &r, CAUSE_OTHER);
		return;
	}
	if (w.stored || !entry_find(q, w.target, w.user, &r))
		return;
	x = rare_get(q, &r);
	if (r.e->state == QUEUE_PARKED && x && x->wait == WAIT_RID)
		entry_cause(q, &r, CAUSE_OTHER | CAUSE_LIVE);
}

void waiters_wake(struct queue *q, const struct ref *r, enum wake_whom whom)
{
	struct id of = user_at(q, r->user)->id;
	uint32_t i = chain_head(&q->waiters_by_of, of_hash_of(r->target, &of)), next;

	for (; i != NONE; i = next) {
		const struct waiter *w = waiter_at(q, i);

		next = w->next;
		if (w->target == r->target && w->stored == (whom == WAKE_OWED) &&
		    id_equal(&w->of, &of))
			waiter_wake(q, i);
	}
}

static bool ref_came(const struct queue *q, unsigned target, const struct id *of,
		     const struct queue_lease *dispatch)
{
	uint32_t user = user_find(q, of);
	const struct entry *e = user == NONE ? NULL : entry_at(q, target, user);

	return e && is_referable(e) && link_changed_since(q, target, user, dispatch);
}

/* One that is parked or owed: true when the rid came after the dispatch, so that nobody will wake it. */
static bool ref_wait(struct queue *q, const struct ref *r, const struct id *of,
		     const struct queue_lease *dispatch)
{
	if (ref_came(q, r->target, of, dispatch))
		return true;
	if (waiter_add(q, r, of, true))
		waiter_store(q, r, of, true);
	return false;
}

void owed_take(struct queue *q, const struct ref *r, struct wire_list owed,
	       const struct queue_lease *dispatch)
{
	struct wire_id record;

	for (unsigned i = 0; i < LIST_MAX && wire_next_id(&owed, &record); i++) {
		if (id_equal(&record.id, &user_at(q, r->user)->id))
			continue;
		if (ref_wait(q, r, &record.id, dispatch))
			entry_cause(q, r, CAUSE_OTHER);
	}
}

bool text_has(struct slice words, const char *word)
{
	size_t n = strlen(word), from = 0;

	for (size_t i = 0; i <= words.n; i++) {
		if (i < words.n && words.p[i] != ' ')
			continue;
		if (i - from == n && memcmp(words.p + from, word, n) == 0)
			return true;
		from = i + 1;
	}
	return false;
}

/* ---- what a parked one waits for ---- */

static bool after(struct slice text, const char *prefix, struct slice *ret_rest)
{
	size_t n = strlen(prefix);

	if (text.n <= n || memcmp(text.p, prefix, n) != 0)
		return false;
	*ret_rest = (struct slice){text.p + n, text.n - n};
	return true;
}

static void name_wait(struct queue *q, const struct ref *r, const struct queue_lease *dispatch)
{
	struct target *t = q->targets[r->target];
	struct rare *x = rare_need(q, r);

	x->wait = WAIT_NAME;
	if (!x->listed)
		ring_push(&t->names, r->user);
	x->listed = true;
	if (dispatch && (dispatch->epoch != q->page->epoch || t->name_wake.page > dispatch->page))
		t->name_wake.changed = true;
}

/* The holder of a rid will be done again some day, or has been since the dispatch. */
static bool rid_wait(struct queue *q, const struct ref *r, struct slice rid,
		     const struct queue_lease *dispatch)
{
	uint32_t owner = rids_get(&q->targets[r->target]->rids, rid_hash(q, rid));
	struct rare *x;

	if (owner == NONE || owner == r->user) {
		name_wait(q, r, dispatch);
		return false;
	}
	if (dispatch && link_changed_since(q, r->target, owner, dispatch))
		return true;
	waiter_add(q, r, &user_at(q, owner)->id, false);
	x = rare_need(q, r);
	x->wait = WAIT_RID;
	x->wait_on = owner;
	return false;
}

/* Who left, and has nothing to do any more, gives way. */
static bool gives_way(const struct queue *q, unsigned target, const struct entry *e)
{
	return !q->targets[target]->conf.leavers_keep_names && !e->in && e->state == QUEUE_CLEAN &&
	       e->link_state == LINK_DISABLED;
}

/* Does that one wait, over others or not, for a name of r's? */
static bool in_circle(const struct queue *q, const struct ref *r, uint32_t user)
{
	struct ref other;

	for (unsigned i = 0; i < CIRCLE_MOST && user != r->user; i++) {
		const struct rare *x;

		if (!entry_find(q, r->target, user, &other) || other.e->state != QUEUE_PARKED)
			return false;
		x = rare_get(q, &other);
		if (!x || x->wait != WAIT_RID)
			return false;
		user = x->wait_on;
	}
	return user == r->user;
}

/* A service that confirms another name and does not write it must not be asked without end. */
static bool ask_for_name(struct queue *q, const struct ref *r, struct slice field)
{
	struct target *t = q->targets[r->target];

	for (unsigned i = 0; i < YIELDS; i++)
		if (t->yields[i].user == r->user && t->yields[i].at_ms != 0 &&
		    q->now_ms - t->yields[i].at_ms < YIELD_AGAIN_MS)
			return false;
	t->yields[t->yields_n++ % YIELDS] = (struct yield){r->user, q->now_ms};
	held_yield(q, r, field);
	return true;
}

/* "FIELD=RID": that account has the name that the user needs. */
static bool holder_wait(struct queue *q, const struct ref *r, struct slice rest,
			const struct queue_lease *dispatch)
{
	const char *sign = memchr(rest.p, '=', rest.n);
	struct slice field, rid;
	struct ref owner;
	uint32_t user;

	if (!sign)
		return false;
	field = (struct slice){rest.p, (size_t)(sign - rest.p)};
	rid = (struct slice){sign + 1, rest.n - field.n - 1};
	user = rids_get(&q->targets[r->target]->rids, rid_hash(q, rid));
	if (dispatch && user != NONE && user != r->user && in_circle(q, r, user) &&
	    ask_for_name(q, r, field))
		return true;
	if (rid_wait(q, r, rid, dispatch))
		return true;
	if (dispatch && user != NONE && entry_find(q, r->target, user, &owner) &&
	    gives_way(q, r->target, owner.e) && ask_for_name(q, &owner, field))
		entry_cause(q, &owner, CAUSE_OTHER | CAUSE_LIVE);
	return false;
}

bool wait_begin(struct queue *q, const struct ref *r, struct slice waits,
		const struct queue_lease *dispatch)
{
	struct slice rest;
	struct id of;

	if (after(waits, "name:", &rest))
		name_wait(q, r, dispatch);
	else if (after(waits, "seat:", &rest))
		seat_wait(q, r, rest, dispatch);
	else if (after(waits, "rid:", &rest))
		return rid_wait(q, r, rest, dispatch);
	else if (after(waits, "holder:", &rest))
		return holder_wait(q, r, rest, dispatch);
	else if (after(waits, "ref:", &rest) && id_parse(rest, &of) == 0) {
		if (dispatch && ref_wait(q, r, &of, dispatch))
			return true;
		rare_need(q, r)->wait = WAIT_REF; /* at a load its waiter has a row of its own */
	}
	return false;
}

void wait_later(struct queue *q, const struct ref *r, struct slice waits)
{
	if (q->pending_n == q->pending_cap) {
		q->pending_cap = q->pending_cap ? 2 * q->pending_cap : 16;
		q->pending = mem_resize(q->pending, q->pending_cap * sizeof(*q->pending));
	}
	q->pending[q->pending_n++] = (struct pending_wait){r->user, r->target, slice_dup(waits)};
}

void wait_resolve(struct queue *q)
{
	for (size_t i = 0; i < q->pending_n; i++) {
		struct ref r;

		entry_find(q, q->pending[i].target, q->pending[i].user, &r);
		if (r.e->state == QUEUE_PARKED)
			wait_begin(q, &r, slice_of(q->pending[i].waits), NULL);
		free_cleanup(&q->pending[i].waits);
	}
	free_cleanup(&q->pending);
	q->pending = NULL;
	q->pending_n = q->pending_cap = 0;
}

/* ---- names and seats ---- */

static void changed(struct queue *q, struct wake *wake)
{
	wake->changed = true;
	wake->page = q->page->number;
}

void name_freed(struct queue *q, unsigned target)
{
	changed(q, &q->targets[target]->name_wake);
}

void ops_done(struct queue *q, unsigned target, struct slice ops)
{
	static const char *const frees[] = {"update", "rename",	 "disable",
					    "delete", "restore", "yield"};
	static const char *const seats[] = {"licence_revoke", "disable", "delete"};
	struct target *t = q->targets[target];

	for (size_t i = 0; i < sizeof(frees) / sizeof(*frees); i++) {
		if (text_has(ops, frees[i])) {
			changed(q, &t->name_wake);
			break;
		}
	}
	for (size_t i = 0; i < sizeof(seats) / sizeof(*seats); i++) {
		if (text_has(ops, seats[i])) {
			seats_freed(q, target);
			break;
		}
	}
}

/* Waking all for one that may go now costs requests that the others need: so many a second, and no more. */
static int64_t names_wake_at(const struct target *t)
{
	const struct wake *wake = &t->name_wake;

	if (t->names.n == 0 || !wake->changed)
		return INT64_MAX;
	return wake->last_ms + NAME_WAKE_MS + (int64_t)t->names.n * WAKE_EACH_MS;
}

static void names_run(struct queue *q, unsigned target)
{
	struct target *t = q->targets[target];
	uint32_t n = t->names.n;

	if (n == 0)
		t->name_wake.changed = false;
	if (q->now_ms < names_wake_at(t))
		return;
	for (unsigned i = 0; i < WAKE_STEP && n > 0; i++, n--) {
		struct rare *x;
		struct ref r;

		entry_find(q, target, ring_pop(&t->names), &r);
		x = rare_get(q, &r);
		x->listed = false;
		if (r.e->state == QUEUE_PARKED && x->wait == WAIT_NAME)
			entry_cause(q, &r, CAUSE_OTHER | CAUSE_LIVE);
		else
			rare_trim(q, &r);
	}
	if (n > 0) {
		q->more = true;
		return;
	}
	t->name_wake.changed = false;
	t->name_wake.last_ms = q->now_ms;
}

void wakes_run(struct queue *q, unsigned target)
{
	names_run(q, target);
	seats_run(q, target);
}

int64_t wakes_next(const struct queue *q, unsigned target)
{
	int64_t names = names_wake_at(q->targets[target]), seats = seats_next(q, target);

	return names < seats ? names : seats;
}
