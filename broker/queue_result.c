/* What workers say of a user in their hands: notes and results. */
#include "json.h"
#include "queue_impl.h"

#include <assert.h>
#include <inttypes.h>
#include <string.h>

/* The lease, if that worker's process holds it. */
static struct lease *in_hand(struct queue *q, uint64_t peer, const struct recent *id)
{
	struct lease *l = lease_find(q, id->epoch, id->page, id->index);
	struct worker *w = worker_of_peer(q, peer);

	if (w)
		w->spoke = true;
	return l && w && l->row.worker == w->nonce ? l : NULL;
}

static struct queue_counts *counts_of(struct queue *q, uint64_t peer)
{
	const struct worker *w = worker_of_peer(q, peer);

	return w ? &q->targets[w->target]->counts : NULL;
}

static struct queue_answer *lease_answer(struct queue *q, uint64_t peer, enum wire_verb verb,
					 const struct recent *id)
{
	struct queue_answer *a = page_answer(q, peer, verb);

	a->a = id->epoch;
	a->b = id->page;
	a->index = id->index;
	return a;
}

/* Who holds no lease may have written all the same: the user whose lease it was is looked at again. */
static void late(struct queue *q, const struct recent *id)
{
	const struct lease *l = lease_find(q, id->epoch, id->page, id->index);
	struct ref r;

	if (l && entry_find(q, l->target, l->user, &r)) {
		entry_verify(q, &r, CAUSE_OTHER);
		return;
	}
	for (size_t i = 0; i < q->lost_n; i++) {
		const struct queue_lease *row = &q->lost[i].lease;

		if (row->epoch == id->epoch && row->page == id->page && row->index == id->index &&
		    entry_find(q, q->lost[i].target, q->lost[i].user, &r))
			entry_verify(q, &r, CAUSE_OTHER);
	}
}

/* ---- notes ---- */

static void refuse(struct queue *q, uint64_t peer, const struct wire_note *n, const char *why)
{
	const struct recent id = {n->lease_epoch, n->lease_page, n->lease_index};
	struct queue_answer *a = lease_answer(q, peer, WIRE_VERB_refused, &id);
	struct queue_counts *c = counts_of(q, peer);

	a->kind = n->kind;
	a->text = slice_of(why);
	if (c)
		c->refused++;
}

enum { NOTE_CREATING, NOTE_CLAIM, NOTE_PARTIAL, NOTES };

static void note_take(struct queue *q, const struct ref *r, const struct wire_note *n)
{
	struct was was = entry_was(q, r);
	struct link_news news = {n->rid, n->link_memory, n->link_state, {0}};

	if (n->kind == NOTE_CREATING)
		news.state = LINK_CREATING;
	else if (n->link_state == LINK_NONE)
		news.state = (uint8_t)r->e->link_state;
	link_change(q, r, &news);
	entry_put(q, r, was);
}

void queue_note(struct queue *q, struct queue_page *page, uint64_t peer, const struct wire_note *n)
{
	const struct recent id = {n->lease_epoch, n->lease_page, n->lease_index};
	const struct lease *l = in_hand(q, peer, &id);
	struct ref r;

	assert(q->page == page);
	if (!l) {
		refuse(q, peer, n, "the lease is over");
		late(q, &id);
		return;
	}
	if (n->kind >= NOTES || n->link_state >= LINK_STATES) {
		refuse(q, peer, n, "unknown kind or link state");
		return;
	}
	entry_find(q, l->target, l->user, &r);
	if (n->rid.n > 0 && !rid_claim(q, &r, n->rid)) {
		refuse(q, peer, n, "claimed by another user");
		return;
	}
	note_take(q, &r, n);
	lease_answer(q, peer, WIRE_VERB_noted, &id)->kind = n->kind;
}

/* ---- texts ---- */

static void field(struct buf *b, const char *name, struct slice text)
{
	buf_addf(b, ",\"%s\":", name);
	json_quote(text, b);
}

static void told(struct buf *b, const struct wire_result *w, struct slice reason)
{
	field(b, "reason", reason);
	field(b, "detail", w->detail);
	buf_addf(b, ",\"status\":%" PRIu32, w->status);
	field(b, "request_id", w->request_id);
}

static void stuck_put(struct queue *q, const struct ref *r, const struct wire_result *w,
		      const struct landing *l, struct slice waits)
{
	struct queue_effect *f = page_user_effect(q, QUEUE_PUT_STUCK, r);
	CLEANUP(buf_cleanup) struct buf b = {0};

	buf_addf(&b, "{\"kind\":\"%s\",\"at\":%" PRId64, queue_state_name(l->to), q->now_ms);
	told(&b, w, l->reason);
	field(&b, "waits", waits);
	buf_adds(&b, "}");
	f->detail = page_text(q, &b);
}

static void error_put(struct queue *q, const struct ref *r, const struct wire_result *w,
		      const struct landing *l)
{
	struct queue_effect *f;
	CLEANUP(buf_cleanup) struct buf b = {0};

	if (l->verdict == VERDICT_DONE && !r->e->error)
		return;
	f = page_user_effect(q, QUEUE_PUT_ERROR, r);
	r->e->error = l->verdict != VERDICT_DONE;
	if (l->verdict == VERDICT_DONE)
		return;
	buf_addf(&b, "{\"at\":%" PRId64 ",\"verdict\":\"%s\"", q->now_ms,
		 wire_verdict_name(l->verdict));
	told(&b, w, l->reason);
	buf_adds(&b, "}");
	f->detail = page_text(q, &b);
}

/* What an operator has to see: refusals, each failure once and when it is given up, and why a target stops. */
static bool is_error(const struct landing *l, const struct rare *x)
{
	switch ((enum wire_verdict)l->verdict) {
	case VERDICT_PARKED:
	case VERDICT_REJECTED:
		return true;
	case VERDICT_RETRY:
		return l->to == QUEUE_DEAD || (x && x->attempts == 1);
	case VERDICT_AUTH_FAILED:
	case VERDICT_DOWN:
		return l->pauses;
	case VERDICT_DONE:
	case VERDICT_THROTTLED:
	case VERDICTS:
		break;
	}
	return false;
}

static void log_put(struct queue *q, const struct ref *r, const struct wire_result *w,
		    const struct landing *l)
{
	struct queue_effect *f = page_user_effect(q, QUEUE_LOG, r);
	const struct user *u = user_at(q, r->user);
	const struct rare *x = rare_get(q, r);
	CLEANUP(buf_cleanup) struct buf b = {0};
	char id[ID_TEXT];

	id_format(&u->id, id);
	buf_addf(&b, "{\"at\":%" PRId64 ",\"user\":\"%s\"", q->now_ms, id);
	field(&b, "target", slice_of(q->targets[r->target]->name));
	buf_addf(&b, ",\"version\":%u,\"verdict\":\"%s\",\"state\":\"%s\",\"attempt\":%u",
		 u->version, wire_verdict_name(l->verdict), queue_state_name(l->to),
		 x ? x->attempts : 0);
	field(&b, "ops", w->ops);
	field(&b, "account", w->rid);
	told(&b, w, l->reason);
	buf_addf(&b, ",\"requests\":%" PRIu32 ",\"took_ms\":%" PRIu32 "}", w->requests, w->took_ms);
	f->detail = page_text(q, &b);
	f->failed = is_error(l, x);
	q->targets[r->target]->counts.errors += f->failed;
}

/* ---- results ---- */

/* A result in hand: what it says, of whom, and where it will leave the user. */
struct outcome {
	const struct wire_result *w;
	const struct queue_lease *lease; /* a copy */
	struct landing l;
	struct slice waits;
};

static void link_take(struct queue *q, const struct ref *r, struct outcome *o)
{
	const struct wire_result *w = o->w;
	struct link_news news = {w->rid, w->link_memory, w->link_state, {0}};
	CLEANUP(buf_cleanup) struct buf waits = {0};

	if (w->link_state >= LINK_STATES ||
	    (w->link_state == LINK_NONE && w->rid.n == 0 && w->link_memory.n == 0 &&
	     r->e->link_state == LINK_NONE))
		return; /* there is none, as before */
	if (w->rid.n == 0 || rid_claim(q, r, w->rid)) {
		link_change(q, r, &news);
		return;
	}
	buf_adds(&waits, "rid:");
	buf_add(&waits, w->rid.p, w->rid.n);
	o->l.verdict = VERDICT_PARKED;
	o->l.reason = SLICE("claimed");
	o->waits = page_text(q, &waits);
}

static bool wanted_since(const struct ref *r, const struct outcome *o)
{
	return r->e->want != o->lease->want;
}

/* Whether a write of an unknown outcome still has to be looked for. */
static bool outcome_unknown(const struct ref *r, const struct rare *x, const struct outcome *o)
{
	return o->w->unknown_outcome || (r->e->verify != QUEUE_VERIFY_AT && x->verify_ms != 0);
}

static void verify_done(struct queue *q, const struct ref *r, const struct outcome *o)
{
	struct rare *x = rare_get(q, r);
	bool unknown = outcome_unknown(r, x, o);

	if (r->e->verify == QUEUE_VERIFY_NOW && !wanted_since(r, o))
		r->e->verify = QUEUE_VERIFY_NONE;
	if (!unknown)
		return;
	if (r->e->verify == QUEUE_VERIFY_NOW) {
		x->verify_ms = q->now_ms; /* the DONE to come schedules it */
		return;
	}
	r->e->verify = QUEUE_VERIFY_AT;
	x->verify_ms = q->now_ms + q->conf.verify_after_ms;
}

/* Not done, and nobody knows what was written: remembered until the next DONE. */
static void verify_owed(struct queue *q, const struct ref *r, const struct outcome *o)
{
	if (!o->w->unknown_outcome)
		return;
	if (r->e->verify == QUEUE_VERIFY_AT)
		r->e->verify = QUEUE_VERIFY_NONE;
	rare_get(q, r)->verify_ms = q->now_ms;
}

static void done(struct queue *q, const struct ref *r, struct outcome *o)
{
	struct rare *x = rare_get(q, r);

	x->attempts = 0;
	x->failing_ms = 0;
	x->look_again_ms = o->w->look_again_unix_ms > 0 ? o->w->look_again_unix_ms : 0;
	verify_done(q, r, o);
	if (o->w->wants.count == 0 && !fp_is_none(&o->w->applied))
		page_user_effect(q, QUEUE_PUT_APPLIED, r)->fp = o->w->applied;
	waiters_wake(q, r, WAKE_PARKED);
	o->l.to = wanted_since(r, o) ? QUEUE_DUE : QUEUE_CLEAN;
}

static int64_t backoff(struct queue *q, const struct target *t, uint32_t attempts)
{
	int64_t most = t->conf.retry_first_ms;

	while (--attempts > 0 && most < t->conf.retry_cap_ms)
		most *= 2;
	if (most > t->conf.retry_cap_ms)
		most = t->conf.retry_cap_ms;
	return pace_jitter(&q->random, most);
}

/* The time that counts against a user stands still while the target is paused. */
static int64_t target_time(const struct queue *q, const struct target *t)
{
	return q->now_ms - pace_paused_ms(&t->pace, q->now_ms);
}

static void retry(struct queue *q, const struct ref *r, struct outcome *o)
{
	struct target *t = q->targets[r->target];
	struct rare *x = rare_get(q, r);
	int64_t now_ms = target_time(q, t), wait_ms, after_ms = o->w->after_ms;

	x->attempts++;
	if (x->failing_ms == 0)
		x->failing_ms = now_ms;
	if (now_ms - x->failing_ms >= t->conf.dead_after_ms) {
		o->l.to = QUEUE_DEAD;
		if (wanted_since(r, o)) { /* a newer version starts afresh */
			o->l.to = QUEUE_DUE;
			x->attempts = 0;
			x->failing_ms = 0;
		}
		return;
	}
	wait_ms = backoff(q, t, x->attempts);
	if (after_ms > AFTER_CAP_MS)
		after_ms = AFTER_CAP_MS;
	if (after_ms > wait_ms)
		wait_ms = after_ms;
	x->due_ms = q->now_ms + wait_ms;
	o->l.to = QUEUE_RETRY;
}

static void park(struct queue *q, const struct ref *r, struct outcome *o)
{
	struct rare *x = rare_get(q, r);

	x->attempts++;
	x->failing_ms = 0;
	o->l.to = QUEUE_PARKED;
	if (text_has(o->w->ops, "yield")) { /* the name is free for who waits for it */
		waiters_wake(q, r, WAKE_PARKED);
		name_freed(q, r->target);
	}
	if (wanted_since(r, o) || wait_begin(q, r, o->waits, o->lease))
		o->l.to = QUEUE_DUE;
}

static void reject(struct queue *q, const struct ref *r, struct outcome *o)
{
	struct rare *x = rare_get(q, r);

	x->attempts++;
	x->failing_ms = 0;
	o->l.to = wanted_since(r, o) ? QUEUE_DUE : QUEUE_DEAD;
}

static void target_says(struct queue *q, const struct ref *r, struct outcome *o)
{
	struct pace *p = &q->targets[r->target]->pace;
	struct pace was = *p;

	if (o->l.verdict == VERDICT_THROTTLED)
		pace_throttled(p, o->w->after_ms, q->now_ms);
	else if (o->l.verdict == VERDICT_AUTH_FAILED)
		pace_refused(p, q->now_ms);
	else
		pace_down(p, q->now_ms);
	o->l.pauses = was.pause != p->pause;
	if (was.pause != p->pause || was.until_ms != p->until_ms)
		pause_put(q, r->target, o->w->reason.n ? o->w->reason : o->w->detail);
	o->l.to = QUEUE_DUE;
	o->l.undone = o->l.head = true;
}

static void judge(struct queue *q, const struct ref *r, struct outcome *o)
{
	switch ((enum wire_verdict)o->l.verdict) {
	case VERDICT_DONE:
		done(q, r, o);
		return;
	case VERDICT_RETRY:
		if (slice_is(o->w->reason, WIRE_CHANGED)) {
			o->l.to = QUEUE_DUE; /* nothing was tried */
			o->l.undone = true;
		} else {
			retry(q, r, o);
		}
		break;
	case VERDICT_PARKED:
		park(q, r, o);
		break;
	case VERDICT_REJECTED:
		reject(q, r, o);
		break;
	case VERDICT_THROTTLED:
	case VERDICT_AUTH_FAILED:
	case VERDICT_DOWN:
		target_says(q, r, o);
		break;
	case VERDICTS:
		break;
	}
	verify_owed(q, r, o);
	if (o->w->look_again_unix_ms > 0)
		rare_get(q, r)->look_again_ms = o->w->look_again_unix_ms;
}

static bool of_target(uint8_t verdict)
{
	return verdict >= VERDICT_THROTTLED;
}

static void count(struct queue *q, const struct ref *r, const struct outcome *o)
{
	struct queue_counts *c = &q->targets[r->target]->counts;

	c->verdicts[o->l.verdict]++;
	c->parked += o->l.to == QUEUE_PARKED;
	c->dead_lettered += o->l.to == QUEUE_DEAD;
	c->redelivered += o->l.to == QUEUE_DUE && o->l.undone;
}

/* Waits for no seat any more. */
static bool over(const struct outcome *o)
{
	static const char prefix[] = "seat:";
	bool seat = o->waits.n > 5 && memcmp(o->waits.p, prefix, 5) == 0;

	return o->l.verdict == VERDICT_DONE || o->l.to == QUEUE_DEAD ||
	       (o->l.verdict == VERDICT_PARKED && !seat);
}

static void result_take(struct queue *q, const struct ref *r, const struct wire_result *w)
{
	const struct queue_lease lease = lease_of(q, r)->row;
	struct pace *pace = &q->targets[r->target]->pace;
	struct outcome o = {.w = w, .lease = &lease, .waits = w->waits};

	o.l.verdict = w->verdict < VERDICTS ? w->verdict : VERDICT_RETRY;
	o.l.reason = w->reason;
	o.l.was = entry_was(q, r);
	held_take(q, r, w->wants, w->verdict == VERDICT_DONE);
	owed_take(q, r, w->owed, &lease);
	link_take(q, r, &o);
	judge(q, r, &o);
	ops_done(q, r->target, w->ops);
	taken_take(q, r, w->taken);
	if (over(&o))
		seat_leave(q, r);
	if (!of_target(o.l.verdict) &&
	    pace_answered(pace, o.l.verdict != VERDICT_RETRY, w->charged, q->now_ms))
		pause_put(q, r->target, (struct slice){0});
	count(q, r, &o);
	error_put(q, r, w, &o.l);
	approval_landed(q, r, w, &o.l);
	entry_land(q, r, &o.l);
	if (o.l.to == QUEUE_PARKED || o.l.to == QUEUE_DEAD)
		stuck_put(q, r, w, &o.l, o.l.to == QUEUE_PARKED ? o.waits : (struct slice){0});
	log_put(q, r, w, &o.l);
}

static struct recent *recent_of(const struct queue *q, const struct recent *id)
{
	return &q->recent[mix(mix(id->epoch ^ mix(id->page)) + id->index) % RECENT];
}

void queue_result(struct queue *q, struct queue_page *page, uint64_t peer,
		  const struct wire_result *w)
{
	const struct recent id = {w->lease_epoch, w->lease_page, w->lease_index};
	const struct lease *l = in_hand(q, peer, &id);
	struct recent *recent = recent_of(q, &id);
	struct queue_counts *c = counts_of(q, peer);
	struct ref r;

	assert(q->page == page);
	if (l) {
		entry_find(q, l->target, l->user, &r);
		*recent = id;
		result_take(q, &r, w);
		lease_answer(q, peer, WIRE_VERB_accepted, &id);
		return;
	}
	/* The answer was lost, the worker says it again. */
	if (id.epoch != 0 && recent->epoch == id.epoch && recent->page == id.page &&
	    recent->index == id.index) {
		lease_answer(q, peer, WIRE_VERB_accepted, &id);
		return;
	}
	if (c)
		c->stale++;
	lease_answer(q, peer, WIRE_VERB_stale, &id);
	late(q, &id);
}
