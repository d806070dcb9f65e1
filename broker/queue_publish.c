/* What collectors say. */
#include "json.h"
#include "queue_impl.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct source *source_of_peer(const struct queue *q, uint64_t peer)
{
	for (unsigned i = 0; i < q->sources_n; i++) {
		if (q->sources[i].connected && q->sources[i].peer == peer)
			return &q->sources[i];
	}
	return NULL;
}

static void fence(struct queue *q, uint64_t peer, uint64_t session)
{
	struct queue_answer *a = page_answer(q, peer, WIRE_VERB_fenced);

	a->a = session;
	a->text = SLICE("another session of this source is open");
}

static void session_put(struct queue *q, const struct source *s)
{
	struct queue_effect *f = page_effect(q, QUEUE_PUT_SESSION);

	f->source = (uint16_t)(s - q->sources);
	f->session = s->session;
	f->batch = s->batch;
}

uint64_t queue_hello(struct queue *q, struct queue_page *page, unsigned source, uint64_t peer)
{
	struct source *s = &q->sources[source];

	assert(q->page == page);
	if (s->connected && s->peer != peer)
		fence(q, s->peer, s->session);
	s->session++;
	s->batch = 0;
	s->peer = peer;
	s->connected = true;
	s->caught_up = false;
	for (size_t i = 0; i < s->holds_n; i++)
		s->holds[i].said = false;
	session_put(q, s);
	return s->session;
}

void queue_collector_gone(struct queue *q, unsigned source, uint64_t peer)
{
	struct source *s = &q->sources[source];

	if (s->connected && s->peer == peer)
		s->connected = false;
}

/* ---- one user ---- */

struct published {
	unsigned source;
	bool newer; /* than what is stored */
	bool changed, distrusted;
	unsigned lane; /* CAUSE_LIVE or 0 */
	struct wire_list out;
	uint64_t in[TARGETS_MAX / 64];
};

static bool in_target(const struct published *p, unsigned target)
{
	return p->in[target / 64] >> (target % 64) & 1;
}

static void user_put(struct queue *q, uint32_t i, const struct wire_user *w,
		     enum queue_change change)
{
	struct queue_effect *f = page_effect(q, QUEUE_PUT_USER);
	const struct user *u = user_at(q, i);
	struct slice in = page_copy(q, (struct slice){w->in.p, w->in.n});
	struct slice refs = page_copy(q, (struct slice){w->refs.p, w->refs.n});

	f->user = u->id;
	f->source = u->source;
	f->change = (uint8_t)change;
	f->row = (struct queue_user_row){
		.id = u->id,
		.source = page_copy(q, slice_of(q->sources[u->source].name)),
		.version = u->version,
		.gone = u->gone,
		.fingerprint = w->fingerprint,
		.in = {w->in.count, in.p, in.n},
		.refs = {w->refs.count, refs.p, refs.n},
		.groups = page_copy(q, w->groups),
		.snapshot = page_copy(q, w->snapshot),
	};
}

static struct slice cause_at(const struct queue *q, unsigned target, struct wire_list out)
{
	struct wire_out record;

	while (wire_next_out(&out, &record))
		if (slice_is(record.target, q->targets[target]->name))
			return record.cause;
	return (struct slice){0};
}

/* The user at one target: due wherever it is not clean at the stored version. */
static void publish_at(struct queue *q, uint32_t user, unsigned target, const struct published *p)
{
	struct target *t = q->targets[target];
	bool in = in_target(p, target), fresh, moved;
	unsigned causes = CAUSE_NEWER | p->lane;
	struct ref r;

	fresh = !entry_find(q, target, user, &r);
	if (fresh && !in)
		return;
	if (fresh)
		r = entry_add(q, target, user);
	moved = r.e->in != in;
	if (!p->changed && !moved)
		return;
	if (moved) {
		t->counts.in_scope += in ? 1 : (uint64_t)-1;
		r.e->in = in;
		if (!in)
			page_user_effect(q, QUEUE_PUT_CAUSE, &r)->detail =
				page_copy(q, cause_at(q, target, p->out));
	}
	if (!in && !r.e->touched && (moved || r.e->state == QUEUE_DUE) &&
	    (p->distrusted || r.e->verify == QUEUE_VERIFY_NOW))
		link_creating(q, &r); /* a lost page may have given it out: it is looked for */
	if (!in && !r.e->touched && r.e->link_state == LINK_NONE) {
		/* Nobody ever told the target of it. */
		if (r.e->state == QUEUE_DUE)
			entry_forget(q, &r);
		else if (moved)
			entry_put(q, &r, entry_was(q, &r));
		return;
	}
	if (!p->distrusted) {
		entry_cause(q, &r, causes);
		return;
	}
	/* A lost page may have given it out: what was written then is unknown, and may be committed later still. */
	if (p->newer || r.e->state != QUEUE_CLEAN)
		rare_need(q, &r)->verify_ms = q->now_ms;
	entry_verify(q, &r, causes);
}

static void foreign(struct queue *q, struct source *s, const struct id *id)
{
	struct queue_move *m = page_move(q);

	s->foreign++;
	m->user = *id;
	m->target = QUEUE_NOBODY;
	m->reason = SLICE("foreign_id");
}

/* A user of a distrusted source is stored again, which is no change by itself. */
static enum queue_change change_of(const struct user *u, const struct wire_user *w, bool fresh)
{
	uint64_t fp;

	memcpy(&fp, w->fingerprint.b, sizeof(fp));
	if (w->gone)
		return fresh || !u->gone ? QUEUE_DELETED : QUEUE_SAME;
	if (fresh)
		return QUEUE_ADDED;
	return fp == 0 || u->fp != fp || u->gone ? QUEUE_MODIFIED : QUEUE_SAME;
}

static void publish_user(struct queue *q, const struct wire_user *w, struct published *p)
{
	struct source *s = &q->sources[p->source];
	uint32_t i = user_find(q, &w->id);
	struct wire_list in = w->in;
	struct wire_name name;
	bool fresh = i == NONE;
	struct user *u;
	uint64_t fp;

	if (!fresh && user_at(q, i)->source != p->source) {
		foreign(q, s, &w->id);
		return;
	}
	if (fresh) {
		i = user_add(q, &w->id);
		user_at(q, i)->source = p->source & 63;
		s->users++;
	}
	u = user_at(q, i);
	memcpy(&fp, w->fingerprint.b, sizeof(fp));
	p->newer = fresh || fp == 0 || u->fp != fp || u->gone != (w->gone != 0);
	p->changed = p->newer || p->distrusted;
	if (p->changed) {
		enum queue_change change = change_of(u, w, fresh);

		u->fp = fp;
		u->gone = w->gone != 0;
		u->version++;
		assert(u->version != 0); /* 33 million versions of one user */
		user_put(q, i, w, change);
		refs_set(q, i, w->refs);
	}
	p->out = w->out;
	memset(p->in, 0, sizeof(p->in));
	while (!w->gone && wire_next_name(&in, &name)) {
		unsigned target = queue_target_named(q, name.text);

		if (target != QUEUE_NOBODY)
			p->in[target / 64] |= 1ULL << (target % 64);
	}
	for (unsigned t = 0; t < q->targets_n; t++)
		publish_at(q, i, t, p);
}

/* ---- what is held ---- */

static void hold_effect(struct queue *q, const struct source *s, const struct hold *h, bool put)
{
	struct queue_effect *f = page_effect(q, put ? QUEUE_PUT_GUARD : QUEUE_DEL_GUARD);
	CLEANUP(buf_cleanup) struct buf b = {0};

	f->source = (uint16_t)(s - q->sources);
	buf_addf(&b, "hold:%u:%s", h->kind, h->name);
	f->field = page_text(q, &b);
	if (!put)
		return;
	buf_addf(&b,
		 "{\"was\":%" PRIu64 ",\"now\":%" PRIu64 ",\"since\":%" PRId64 ",\"confirmed\":%s}",
		 h->was, h->now, h->since_ms, h->confirmed ? "true" : "false");
	f->detail = page_text(q, &b);
}

static void hold_end(struct queue *q, struct source *s, struct hold *h)
{
	hold_effect(q, s, h, false);
	free(h->name);
	*h = s->holds[--s->holds_n];
}

/* Who has caught up has said again what is held. The rest recovered while nobody looked, and a word that was given for it must
 * not count for another day. */
static void holds_recovered(struct queue *q, struct source *s)
{
	for (size_t i = s->holds_n; i-- > 0;) {
		if (!s->holds[i].said)
			hold_end(q, s, &s->holds[i]);
	}
}

/* ---- a batch ---- */

static void batch_take(struct queue *q, struct source *s, const struct wire_publish *p,
		       struct fp config)
{
	struct published published = {
		.source = (unsigned)(s - q->sources),
		.distrusted = s->distrusted,
		.lane = s->caught_up ? CAUSE_LIVE : 0,
	};
	struct wire_list users = p->users;
	struct wire_user user;

	while (wire_next_user(&users, &user))
		publish_user(q, &user, &published);
	s->batch = p->batch;
	if (p->caught_up && !s->caught_up)
		holds_recovered(q, s);
	s->caught_up |= p->caught_up != 0;
	session_put(q, s);
	if (p->has_cursor) {
		struct queue_effect *f = page_effect(q, QUEUE_PUT_CURSOR);

		f->source = (uint16_t)(s - q->sources);
		f->session = s->session;
		f->batch = s->batch;
		f->cookie = page_copy(q, p->cursor);
		f->server = page_copy(q, p->server);
		f->config = config;
	}
}

int queue_publish(struct queue *q, struct queue_page *page, uint64_t peer,
		  const struct wire_publish *p, struct fp config)
{
	struct source *s = source_of_peer(q, peer);
	struct queue_answer *a;

	assert(q->page == page);
	if (!s || s->session != p->session) {
		fence(q, peer, p->session);
		return -ESTALE;
	}
	if (p->batch == 0 || p->batch > s->batch + 1)
		return -EPROTO;
	if (p->batch == s->batch + 1)
		batch_take(q, s, p, config);
	a = page_answer(q, peer, WIRE_VERB_committed);
	a->a = p->session;
	a->b = p->batch;
	return 0;
}

/* ---- groups and sources that shrank ---- */

static struct hold *hold_find(struct source *s, uint8_t kind, struct slice name)
{
	for (size_t i = 0; i < s->holds_n; i++) {
		if (s->holds[i].kind == kind && slice_is(name, s->holds[i].name))
			return &s->holds[i];
	}
	return NULL;
}

static struct hold *hold_add(struct source *s, uint8_t kind, struct slice name)
{
	struct hold *h;

	if (s->holds_n == HOLDS_MAX)
		return NULL;
	s->holds = mem_resize(s->holds, (s->holds_n + 1) * sizeof(*s->holds));
	h = &s->holds[s->holds_n++];
	*h = (struct hold){.name = slice_dup(name), .kind = kind};
	return h;
}

static void confirm(struct queue *q, const struct source *s, const struct hold *h)
{
	struct queue_answer *a;

	if (!s->connected)
		return;
	a = page_answer(q, s->peer, WIRE_VERB_confirm);
	a->kind = h->kind;
	a->text = page_copy(q, slice_of(h->name));
}

int queue_read_all(struct queue *q, struct queue_page *page, unsigned source)
{
	const struct source *s = &q->sources[source];
	struct queue_answer *a;

	assert(q->page == page);
	if (!s->connected)
		return -ENOENT;
	a = page_answer(q, s->peer, WIRE_VERB_confirm);
	a->kind = WIRE_CONFIRM_READ_ALL;
	return 0;
}

void queue_hold(struct queue *q, struct queue_page *page, unsigned source,
		const struct wire_hold *w)
{
	struct source *s = &q->sources[source];
	struct hold *h = hold_find(s, w->kind, w->name);

	assert(q->page == page);
	if (w->session != s->session)
		return;
	if (!w->active) {
		if (h)
			hold_end(q, s, h);
		return;
	}
	if (!h) {
		h = hold_add(s, w->kind, w->name);
		if (!h)
			return;
		h->since_ms = q->now_ms;
	}
	/* The word was given for what it was then; fewer still need another one. */
	if (w->now < h->now)
		h->confirmed = false;
	h->said = true;
	h->was = w->was;
	h->now = w->now;
	hold_effect(q, s, h, true);
	if (h->confirmed)
		confirm(q, s, h);
}

int queue_confirm(struct queue *q, struct queue_page *page, unsigned source, uint8_t kind,
		  struct slice name)
{
	struct source *s = &q->sources[source];
	struct hold *h = hold_find(s, kind, name);

	assert(q->page == page);
	if (!h)
		return -ENOENT;
	/* Kept until the collector says that it is over: it may not be there now. */
	h->confirmed = true;
	hold_effect(q, s, h, true);
	confirm(q, s, h);
	return 0;
}

void hold_load(struct queue *q, unsigned source, struct slice field, struct slice text)
{
	struct source *s = &q->sources[source];
	cJSON *json = json_parse(text, NULL);
	struct hold *h;

	if (json && field.n > 7 && memcmp(field.p, "hold:", 5) == 0 && field.p[6] == ':') {
		h = hold_add(s, (uint8_t)(field.p[5] - '0'),
			     (struct slice){field.p + 7, field.n - 7});
		if (h) {
			h->was = (uint64_t)json_int(json, "was", 0);
			h->now = (uint64_t)json_int(json, "now", 0);
			h->since_ms = json_int(json, "since", 0);
			h->confirmed = json_true(json, "confirmed", false);
		}
	}
	cJSON_Delete(json);
}

uint64_t queue_foreign(const struct queue *q, unsigned source)
{
	return q->sources[source].foreign;
}
