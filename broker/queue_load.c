/* From the store, before the first page. */
#include "json.h"
#include "queue_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void queue_load_user(struct queue *q, const struct queue_user_row *row)
{
	unsigned source = queue_source_named(q, row->source);
	struct user *u;

	assert(q->loading);
	if (source ==
	    QUEUE_NOBODY) /* sources that are configured no more keep their users, however many they were */
		source = queue_source_add(q, "");
	if (user_find(q, &row->id) != NONE)
		return;
	u = user_at(q, user_add(q, &row->id));
	u->source = source & 63;
	u->gone = row->gone;
	u->version = (uint32_t)row->version & 0x1ffffff;
	memcpy(&u->fp, row->fingerprint.b, sizeof(u->fp));
	q->sources[source].users++;
	refs_set(q, user_find(q, &row->id), row->refs);
}

static bool needs_rare(const struct queue_entry_row *row)
{
	return row->attempts || row->due_unix_ms || row->failing_unix_ms || row->verify_unix_ms ||
	       row->look_again_unix_ms;
}

static struct entry *flags_load(const struct ref *r, const struct queue_entry_row *row)
{
	struct entry *e = r->e;

	e->verify = row->verify & 3U;
	e->link_state = row->link_state & 7U;
	e->in = row->in;
	e->touched = row->touched;
	e->want = row->want;
	e->link_revision = (uint32_t)row->link_revision;
	e->error = row->state != QUEUE_CLEAN && row->touched;
	entry_set_since(e, row->since_unix_ms);
	return e;
}

void queue_load_entry(struct queue *q, const struct id *user, unsigned target,
		      const struct queue_entry_row *entry, struct slice rid)
{
	uint32_t i = user_find(q, user);
	struct ref r;

	assert(q->loading);
	if (i == NONE || entry->state >= QUEUE_STATES || entry->lane >= QUEUE_LANES ||
	    entry->verify >= QUEUE_VERIFIES || entry->link_state >= LINK_STATES ||
	    entry_find(q, target, i, &r))
		return;
	r = entry_add(q, target, i);
	flags_load(&r, entry);
	entry_load_state(q, &r, entry->state, entry->lane);
	q->targets[target]->counts.in_scope += entry->in;
	if (needs_rare(entry)) {
		struct rare *x = rare_need(q, &r);

		x->attempts = entry->attempts;
		x->due_ms = entry->due_unix_ms;
		x->failing_ms = entry->failing_unix_ms;
		x->verify_ms = entry->verify_unix_ms;
		x->look_again_ms = entry->look_again_unix_ms;
	}
	if (rid.n > 0) {
		r.e->has_rid = 1;
		rids_put(&q->targets[target]->rids, rid_hash(q, rid), i);
		if (entry->state == QUEUE_FLIGHT) /* its lease is loaded later */
			lease_add(q, &r, &(struct queue_lease){.want = entry->want})->rid =
				slice_dup(rid);
	}
}

void queue_load_rid(struct queue *q, unsigned target, struct slice rid, const struct id *user)
{
	struct rids *rids = &q->targets[target]->rids;
	uint32_t i = user_find(q, user);
	uint64_t hash = rid_hash(q, rid);

	assert(q->loading);
	if (i != NONE && rids_get(rids, hash) == NONE)
		rids_put(rids, hash, i);
}

static bool load_find(const struct queue *q, unsigned target, const struct id *user,
		      struct ref *ret)
{
	uint32_t i = user_find(q, user);

	assert(q->loading);
	return i != NONE && entry_find(q, target, i, ret);
}

void queue_load_lease(struct queue *q, const struct id *user, unsigned target,
		      const struct queue_lease *lease)
{
	struct lease *l;
	char *rid = NULL;
	struct ref r;

	if (!load_find(q, target, user, &r) || r.e->state != QUEUE_FLIGHT)
		return;
	l = lease_of(q, &r);
	if (l && l->row.epoch != 0)
		return;
	if (l) {
		rid = l->rid;
		l->rid = NULL;
		lease_end(q, &r);
	}
	lease_add(q, &r, lease)->rid = rid;
}

void queue_load_moved(struct queue *q, unsigned target, const struct id *user)
{
	struct ref r;

	if (load_find(q, target, user, &r))
		r.e->moved = 1;
}

void queue_load_held(struct queue *q, unsigned target, const struct queue_held_row *row)
{
	struct target *t = q->targets[target];
	struct held *h;
	struct ref r;
	uint32_t i;

	if (!load_find(q, target, &row->id, &r) || row->phase >= QUEUE_HELD_PHASES)
		return;
	i = held_add(q, &r, row->op, row->what);
	h = pool_at(&q->held, i);
	h->phase = row->phase;
	h->since_ms = row->since_unix_ms;
	if (h->serial) {
		serial_load(q, i);
		return;
	}
	t->wanted += h->phase == QUEUE_WANTED;
	t->licences_wanted += h->phase == QUEUE_WANTED && slice_is(row->op, "licence_revoke");
	t->counts.held += h->phase == QUEUE_HELD;
}

void queue_load_waiter(struct queue *q, unsigned target, const struct id *of, const struct id *user)
{
	struct ref r;

	if (load_find(q, target, user, &r))
		waiter_add(q, &r, of, true);
}

void queue_load_stuck(struct queue *q, unsigned target, const struct id *user, struct slice detail)
{
	cJSON *json = json_parse(detail, NULL);
	const char *waits = json_text(json, "waits");
	struct ref r;

	if (waits && *waits && load_find(q, target, user, &r))
		wait_later(q, &r, slice_of(waits));
	cJSON_Delete(json);
}

void queue_load_guard(struct queue *q, bool of_source, unsigned index, struct slice field,
		      struct slice text)
{
	assert(q->loading);
	if (of_source)
		hold_load(q, index, field, text);
	else
		guard_load(q, index, field, text);
}

void queue_load_pause(struct queue *q, unsigned target, const struct queue_pause_row *row)
{
	struct target *t = q->targets[target];

	assert(q->loading);
	if (row->kind >= QUEUE_PAUSE_KINDS)
		return;
	pace_restore(&t->pace, (enum pace_pause)row->kind, row->tries, row->since_unix_ms,
		     row->until_unix_ms);
	free(t->why);
	t->why = slice_dup(row->why);
}

void queue_load_conf(struct queue *q, unsigned target, const struct fp *config)
{
	q->targets[target]->stored_conf = *config;
}

void queue_load_session(struct queue *q, unsigned source, uint64_t session, uint64_t batch)
{
	q->sources[source].session = session;
	q->sources[source].batch = batch;
}

/* ---- what it means ---- */

struct old_due {
	int64_t since_ms;
	uint32_t user;
};

static int by_since(const void *a, const void *b)
{
	const struct old_due *x = a, *y = b;

	if (x->since_ms != y->since_ms)
		return x->since_ms < y->since_ms ? -1 : 1;
	return x->user < y->user ? -1 : x->user > y->user;
}

/* The oldest first, as it was. */
static void rings_fill(struct queue *q, unsigned target)
{
	uint64_t due_n = q->targets[target]->counts.states[QUEUE_DUE];
	struct old_due *due = mem_array(due_n + 1, sizeof(*due));
	size_t n = 0;
	struct ref r;

	for (uint32_t i = 0; i < q->users.used; i++) {
		if (entry_find(q, target, i, &r) && r.e->state == QUEUE_DUE)
			due[n++] = (struct old_due){entry_since(r.e), i};
	}
	qsort(due, n, sizeof(*due), by_since);
	for (size_t i = 0; i < n; i++) {
		entry_find(q, target, due[i].user, &r);
		entry_ring(q, &r, false);
	}
	free(due);
}

/* Another process's clock may say anything: its lease is over a whole lease and grace from now. */
static void flight_resume(struct queue *q, const struct ref *r)
{
	int64_t whole_ms = q->conf.lease_ms + q->conf.grace_ms;
	struct rare *x = rare_need(q, r);
	struct lease *l = lease_of(q, r);

	if (!l)
		l = lease_add(q, r, &(struct queue_lease){.want = r->e->want});
	if (!l->deadline_ms)
		l->deadline_ms = q->now_ms + whole_ms;
	l->due_since_ms = entry_since(r->e);
	q->targets[r->target]->pace.flight++;
	x->verify_ms = q->now_ms;
	entry_verify(q, r, CAUSE_OTHER);
}

static void entry_resume(struct queue *q, const struct ref *r)
{
	const struct target *t = q->targets[r->target];
	struct rare *x = rare_get(q, r);
	int64_t most = q->now_ms + AFTER_CAP_MS;

	/* A clock that was wrong then does not make anybody wait for years. */
	if (r->e->state == QUEUE_RETRY && x->due_ms > most)
		x->due_ms = q->now_ms + t->conf.retry_cap_ms;
	if (x && x->failing_ms > q->now_ms)
		x->failing_ms = q->now_ms;
	if (r->e->state == QUEUE_FLIGHT)
		flight_resume(q, r);
	timer_set(q, r);
}

static void target_resume(struct queue *q, unsigned target, bool emptied)
{
	struct target *t = q->targets[target];
	struct ref r;

	if (t->pace.pause == PACE_THROTTLED && t->pace.until_ms > q->now_ms + PACE_CAP_MS)
		t->pace.until_ms = q->now_ms + PACE_CAP_MS;
	/* No worker ever said its configuration: the target is new. */
	if (t->conf.paused && fp_is_none(&t->stored_conf) && !pace_paused(&t->pace)) {
		pace_operator(&t->pace, true, q->now_ms);
		pause_put(q, target, SLICE("paused: true, and nobody resumed it yet"));
	}
	t->wanted_since_ms = q->now_ms;
	for (uint32_t i = 0; i < q->users.used; i++) {
		/* A retry may have lost its time with its rare row: it is due when the timer looks. */
		if (!entry_find(q, target, i, &r))
			continue;
		if (r.e->rare || r.e->state == QUEUE_FLIGHT || r.e->state == QUEUE_RETRY) {
			rare_need(q, &r);
			entry_resume(q, &r);
		}
		if (r.e->moved) {
			r.e->moved = 0;
			entry_cause(q, &r, CAUSE_NEWER);
		}
	}
	rings_fill(q, target);
	if (emptied) {
		t->hold_all = true;
		guard_put(q, target, "hold_all", SLICE("1"));
		guard_put(q, target, "verify_all", SLICE("1"));
		walk_start(q, target, WALK_VERIFY);
	}
	if (!fp_equal(&t->stored_conf, &t->conf.config))
		walk_start(q, target, WALK_CONFIG);
}

void queue_loaded(struct queue *q, struct queue_page *page, bool lost_tail, bool emptied,
		  int64_t quiet_ms)
{
	assert(q->page == page && q->loading);
	q->loaded_page = page->number;
	wait_resolve(q);
	for (unsigned i = 0; i < q->targets_n; i++)
		target_resume(q, i, emptied);
	for (unsigned i = 0; i < q->sources_n; i++)
		q->sources[i].distrusted |= lost_tail || emptied;
	if (lost_tail && q->now_ms + quiet_ms > q->quiet_until_ms)
		q->quiet_until_ms = q->now_ms + quiet_ms;
	q->loading = false;
}

/* The same lease goes on to its own end. One that the store lost sight of (or a block of the kind) still keeps
 * everybody else from the user until then. */
static void keep(struct queue *q, const struct queue *before, const struct rare *x,
		 const struct lease *old)
{
	const struct id *id = &user_at(before, x->user)->id;
	unsigned target = queue_target_named(q, slice_of(before->targets[x->target]->name));
	struct lease *l;
	struct ref r;

	if (target == QUEUE_NOBODY || !load_find(q, target, id, &r))
		return;
	l = lease_of(q, &r);
	if (old && l && l->row.epoch == old->row.epoch && l->row.page == old->row.page &&
	    l->row.index == old->row.index)
		l->deadline_ms = old->deadline_ms;
	else
		rare_need(q, &r)->blocked_ms = old ? old->deadline_ms : x->blocked_ms;
}

void queue_keep_leases(struct queue *q, const struct queue *before)
{
	assert(q->loading && !q->page);
	/* The same process: its line of time goes on, and so does what an earlier loss asked for. */
	q->based = before->based;
	q->base_ms = before->base_ms;
	q->offset_ms = before->offset_ms;
	q->drift_ms = before->drift_ms;
	q->now_ms = before->now_ms;
	q->quiet_until_ms = before->quiet_until_ms;
	for (unsigned i = 0; i < before->sources_n; i++) {
		unsigned source = queue_source_named(q, slice_of(before->sources[i].name));

		if (source != QUEUE_NOBODY)
			q->sources[source].distrusted = before->sources[i].distrusted;
	}
	for (uint32_t t = 0; t < before->targets_n; t++) {
		for (uint32_t i = 0; i < before->users.used; i++) {
			struct ref r;

			if (!entry_find(before, t, i, &r) || !r.e->rare)
				continue;
			if (lease_of(before, &r) || rare_get(before, &r)->blocked_ms)
				keep(q, before, rare_get(before, &r), lease_of(before, &r));
		}
	}
}
