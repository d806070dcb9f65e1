/* The broker as the model runs it: pages that wait for the store, crashes that lose them, and the collector. */
#ifndef DIRPIPE_MODEL_BROKER_H
#define DIRPIPE_MODEL_BROKER_H

#include <errno.h>

#include "model_world.h"

enum { UNDER_WAY = 3, HISTORY = 3, PEER = 200 };

/* A row of a plan; version 0: none. */
struct approved {
	uint64_t version;
	bool begun;
};

struct sheet {
	struct queue_page page;
	bool approved; /* an operator approved something in it */
	bool hello;
	bool paused[TARGETS];		      /* by the operator, when it was built */
	struct approved rows[USERS][TARGETS]; /* then */
};

struct collector {
	bool open, welcomed;
	uint64_t session, acked, peer;
	bool sent; /* a batch waits for COMMITTED */
	uint32_t dirty;
	struct {
		uint64_t batch, cursor;
		bool caught_up;
		unsigned users[2], n;
		struct image images[2];
	} batch;
};

struct grant {
	uint64_t page;
	unsigned target;
	int64_t at_ms;
};

struct model {
	struct world w;
	struct queue *q;
	struct mirror store, history[HISTORY];
	unsigned history_n;
	struct sheet sheets[UNDER_WAY + 1];
	unsigned first, sheets_n;
	uint64_t epoch, number;
	int64_t next_ms;
	bool unsettled; /* the store says lost_tail until all have caught up after it */
	struct queue_conf conf;
	uint32_t config[TARGETS];
	bool paused[TARGETS];
	struct collector c;
	struct grant grants[GRANTS];
	unsigned grants_n;
	struct approved rows[USERS][TARGETS];
	unsigned rows_done;
	int64_t window_ms[TARGETS], wanted_ms[TARGETS];
	uint64_t grants_seen, done_seen;
};

static const struct queue_target_conf model_target = {
	.guard_count = 1,
	.guard_percent = 40,
	.guard_most = 100,
	.settle_ms = 10000,
	.settle_most_ms = 300000,
	.retry_first_ms = 1000,
	.retry_cap_ms = 60000,
	.dead_after_ms = 86400000,
	.concurrency = 10,
};

static inline struct queue *model_engine(struct model *m)
{
	struct queue *q = queue_new(&m->conf, m->w.random);
	static const char *const names[TARGETS] = {"a", "b"};

	for (unsigned t = 0; t < TARGETS; t++) {
		struct queue_target_conf conf = model_target;

		conf.name = names[t];
		conf.config = (struct fp){{1, (uint8_t)m->config[t]}};
		(void)queue_target_add(q, &conf);
	}
	(void)queue_source_add(q, "corp");
	return q;
}

/* ---- pages ---- */

static void model_commit(struct model *m);

static inline struct sheet *model_begin(struct model *m)
{
	struct sheet *s;

	if (m->sheets_n == UNDER_WAY)
		model_commit(m);
	s = &m->sheets[(m->first + m->sheets_n) % (UNDER_WAY + 1)];
	s->approved = s->hello = false;
	queue_page_begin(m->q, &s->page, m->epoch, ++m->number, m->w.now_ms,
			 1700000000000 + m->w.now_ms + m->w.leap_ms);
	return s;
}

static inline void model_end(struct model *m, struct sheet *s)
{
	m->next_ms = queue_page_end(m->q, &s->page, m->w.calm ? 100 : chance(&m->w, 6));
	memcpy(s->paused, m->paused, sizeof(s->paused));
	memcpy(s->rows, m->rows, sizeof(s->rows));
	m->sheets_n++;
}

static inline bool model_permit(const struct queue_task_head *head, const char *name, bool approved,
				const struct mirror_held *held)
{
	struct wire_list list = head->permits;
	struct wire_op op;
	bool found = false;

	while (wire_next_op(&list, &op))
		found |= slice_is(op.op, name);
	CHECK(!found || approved || (held->present && held->phase == QUEUE_GRANTED),
	      "a permit that was not granted", n_of(&head->id), 0);
	return found;
}

/* Who waits for a seat, as the store has it: the one who came first and is not kept back. -1: nobody; USERS: two came at once. */
static inline int model_front(const struct mirror *m, unsigned t)
{
	int64_t first = INT64_MAX;
	int front = -1;

	for (int i = 0; i < ROWS; i++) {
		const char *field = m->guard[t][i].field;
		struct id id;
		int64_t at;

		if (strncmp(field, "seat:", 5) != 0 || id_parse(slice_of(field + 5), &id) < 0 ||
		    m->cells[n_of(&id)][t].row.state == QUEUE_RETRY)
			continue;
		at = strtoll(m->guard[t][i].text, NULL, 10);
		if (at == first)
			front = USERS;
		else if (at < first)
			front = (int)n_of(&id);
		if (at < first)
			first = at;
	}
	return front;
}

/* Only the front of the line may ask for a seat; everybody else is told. */
static inline void model_line(const struct model *m, const struct queue_task_head *head, unsigned t)
{
	int front = model_front(&m->store, t), user = (int)n_of(&head->id);
	struct wire_list list = head->permits;
	struct wire_op op;
	bool told = false;

	while (wire_next_op(&list, &op))
		told |= slice_is(op.op, "no_seat") && slice_is(op.what, "E3");
	CHECK(front == USERS || told == (front >= 0 && front != user),
	      "the line for a seat is not kept", (unsigned)user, t);
}

/* The parts of a task are as the store has them when the page is written. */
static inline void model_task(struct model *m, const struct queue_effect *f, const struct sheet *s)
{
	const struct queue_answer *a = &s->page.answers[f->answer];
	unsigned u = n_of(&f->user), t = f->target;
	const struct cell *c = &m->store.cells[u][t];
	unsigned worker = (unsigned)(a->peer - PEER);
	const struct queue_task_head *head = NULL;
	struct frame *frame;

	for (uint32_t i = 0; i < a->tasks_n; i++) {
		if (a->tasks[i].lease.index == f->lease.index)
			head = &a->tasks[i];
	}
	CHECK(head && id_equal(&head->id, &f->user), "a dispatch without its task", u, t);
	CHECK(head->version == m->store.users[u].version, "a task of another version", u, t);
	CHECK(head->gone == m->store.users[u].gone, "a task that does not say gone", u, t);
	bool row = s->rows[u][t].version == head->version;

	model_line(m, head, t);

	bool serial = model_permit(head, WIRE_SERIAL, false, &m->store.serial[u][t]);
	bool permit = model_permit(head, "disable", row, &m->store.held[u][t]);

	struct mirror_held asked = {.present = m->store.yields[u][t], .phase = QUEUE_GRANTED};

	(void)model_permit(head, "yield", false, &asked);
	for (unsigned i = 0; serial && i < USERS; i++)
		CHECK(i == u || !m->store.serial[i][t].present ||
			      m->store.serial[i][t].phase != QUEUE_GRANTED,
		      "granted to two at once", i, t);
	CHECK(!head->noted || (c->link_state == LINK_CREATING && c->rid[0] == '\0' &&
			       c->row.link_revision == 1),
	      "told that a creation is noted, and it is not, or is not the first", u, t);
	CHECK(!head->noted || (head->in && !head->gone), "a creation is noted of who left", u, t);
	CHECK(!head->noted || m->w.workers[worker].nonce != f->lease.worker ||
		      m->w.workers[worker].creates,
	      "noted for a worker that did not ask", u, t);
	CHECK(!s->paused[t] || row, "a task while the operator paused the target", u, t);
	CHECK(!row || s->rows[u][t].begun || !fp_is_none(&head->expect),
	      "an approved row without its hash", u, t);
	CHECK(fp_is_none(&head->expect) ||
		      (row && head->expect.b[0] == 0xa0 && head->expect.b[1] == u &&
		       head->expect.b[2] == (uint8_t)head->version),
	      "the hash of another row", u, t);
	frame = frame_new(&m->w, F_TASK, worker);
	frame->nonce = f->lease.worker;
	frame->job = (struct job){.lease = f->lease,
				  .user = u,
				  .target = t,
				  .image = m->store.users[u].image,
				  .in = head->in,
				  .gone = head->gone,
				  .verify = head->verify || fp_is_none(&c->applied),
				  .permit = permit,
				  .serial = serial,
				  .expects = !fp_is_none(&head->expect),
				  .manager = manager_rid(&m->store, u, t),
				  .applied = c->applied,
				  .link_state = c->link_state};
	memcpy(frame->job.rid, c->rid, sizeof(c->rid));
	queue_dispatched(m->q, &f->lease, slice_of(c->rid));
}

/* No grant without settling, none over the threshold: counted here from what was stored. */
static inline void check_grants(struct model *m, const struct sheet *s, unsigned t,
				const bool was[USERS])
{
	uint64_t n = 0, in_scope = 0, fresh = 0;

	for (unsigned u = 0; u < USERS; u++) {
		in_scope += m->store.cells[u][t].present && m->store.cells[u][t].row.in;
		fresh += was[u] && m->store.held[u][t].present &&
			 m->store.held[u][t].phase == QUEUE_GRANTED;
	}
	if (fresh == 0 || s->approved)
		return;
	for (unsigned i = 0; i < m->grants_n; i++)
		n += m->grants[i].target == t && m->grants[i].at_ms > s->page.now_ms - 59 * 60000LL;
	n += fresh;
	m->grants_seen += fresh;
	CHECK(n <= 1 || n * 100 <= 40 * in_scope, "granted over the threshold", 0, t);
	CHECK(s->page.now_ms - m->wanted_ms[t] >= 10000 ||
		      s->page.now_ms - m->window_ms[t] >= 300000,
	      "granted before it settled", 0, t);
	for (; fresh > 0 && m->grants_n < GRANTS; fresh--)
		m->grants[m->grants_n++] = (struct grant){m->store.page, t, s->page.now_ms};
}

static inline bool any_wanted(const struct mirror *store, unsigned t, bool ret[USERS])
{
	bool any = false;

	for (unsigned u = 0; u < USERS; u++) {
		ret[u] = store->held[u][t].present && store->held[u][t].phase == QUEUE_WANTED;
		any |= ret[u];
	}
	return any;
}

static inline void model_answer(struct model *m, const struct queue_answer *a)
{
	enum frame_kind kind = F_ANSWERED;
	struct frame *f;

	if (a->verb == WIRE_VERB_committed) {
		if (m->c.open && a->a == m->c.session && m->c.sent && a->b == m->c.batch.batch &&
		    !fault(&m->w, 10)) {
			m->c.sent = false;
			m->c.acked = a->b;
		}
		return;
	}
	if (a->verb == WIRE_VERB_noted)
		kind = F_NOTED;
	else if (a->verb == WIRE_VERB_refused)
		kind = F_REFUSED;
	else if (a->verb != WIRE_VERB_accepted && a->verb != WIRE_VERB_stale)
		return;
	f = frame_new(&m->w, kind, (unsigned)(a->peer - PEER));
	f->job.lease = (struct queue_lease){.epoch = a->a, .page = a->b, .index = a->index};
}

static inline void history_add(struct model *m)
{
	if (m->history_n == HISTORY) {
		memmove(m->history, m->history + 1, (HISTORY - 1) * sizeof(*m->history));
		m->history_n--;
	}
	m->history[m->history_n++] = m->store;
}

static inline void collector_welcomed(struct model *m)
{
	m->c.welcomed = true;
	m->c.dirty = 0;
	for (unsigned u = 0; u < USERS; u++) {
		if (m->w.images[u].version &&
		    (m->w.changed[u] > m->store.cursor || queue_source_distrusted(m->q, 0)))
			m->c.dirty |= 1U << u;
	}
}

static void model_commit(struct model *m)
{
	struct sheet *s = &m->sheets[m->first];
	bool was[TARGETS][USERS], wanted[TARGETS];

	history_add(m);
	for (unsigned t = 0; t < TARGETS; t++)
		wanted[t] = any_wanted(&m->store, t, was[t]);
	for (size_t i = 0; i < s->page.effects_n; i++) {
		const struct queue_effect *f = &s->page.effects[i];

		if (f->kind == QUEUE_DISPATCH)
			model_task(m, f, s);
		if (f->kind == QUEUE_PUT_HELD && f->held.phase == QUEUE_WANTED &&
		    slice_is(f->held.op, "disable")) {
			m->wanted_ms[f->target] = s->page.now_ms;
			was[f->target][n_of(&f->user)] = true;
		}
		mirror_effect(&m->store, f);
	}
	m->store.page = s->page.number;
	mirror_check(&m->store);
	for (unsigned t = 0; t < TARGETS; t++) {
		bool now[USERS];

		check_grants(m, s, t, was[t]);
		if (any_wanted(&m->store, t, now) && !wanted[t])
			m->window_ms[t] = s->page.now_ms;
	}
	for (size_t i = 0; i < s->page.answers_n; i++)
		model_answer(m, &s->page.answers[i]);
	if (s->hello && m->c.open)
		collector_welcomed(m);
	m->first = (m->first + 1) % (UNDER_WAY + 1);
	m->sheets_n--;
	m->unsettled &= queue_source_distrusted(m->q, 0);
}

/* ---- crashes ---- */

static inline void model_load(struct model *m, struct queue *q, bool lost_tail)
{
	struct sheet *s;

	m->q = q;
	m->epoch++;
	m->number = m->store.page;
	m->sheets_n = 0;
	m->c.open = m->c.welcomed = m->c.sent = false;
	memset(m->rows, 0, sizeof(m->rows));
	for (unsigned i = 0; i < WORKERS; i++)
		m->w.workers[i].known = false;
	for (unsigned t = 0; t < TARGETS; t++)
		m->paused[t] = m->store.pause[t].present &&
			       m->store.pause[t].row.kind == QUEUE_BY_OPERATOR;
	m->unsettled |= lost_tail;
	lost_tail = m->unsettled;
	s = model_begin(m);
	queue_loaded(m->q, &s->page, lost_tail, false, lost_tail ? LEASE_MS + GRACE_MS : 0);
	model_end(m, s);
}

/* lost: so many pages that were on disk are no more. lived: the broker's process did not end. */
static inline void model_crash(struct model *m, unsigned lost, bool lived)
{
	struct queue *before = m->q, *q;

	if (lost > m->history_n)
		lost = m->history_n;
	if (lost > 0) {
		m->store = m->history[m->history_n - lost];
		m->w.lost_tail = true;
	}
	m->history_n = 0;
	while (m->grants_n > 0 && m->grants[m->grants_n - 1].page > m->store.page)
		m->grants_n--;
	q = model_engine(m);
	mirror_load(&m->store, q);
	if (lived)
		queue_keep_leases(q, before);
	queue_free(before);
	model_load(m, q, lost > 0);
}

static inline bool same_row(const struct queue_entry_row *a, const struct queue_entry_row *b)
{
	return a->state == b->state && a->lane == b->lane && a->verify == b->verify &&
	       a->link_state == b->link_state && a->in == b->in && a->touched == b->touched &&
	       a->want == b->want && a->attempts == b->attempts &&
	       a->link_revision == b->link_revision && a->since_unix_ms == b->since_unix_ms &&
	       a->due_unix_ms == b->due_unix_ms && a->failing_unix_ms == b->failing_unix_ms &&
	       a->verify_unix_ms == b->verify_unix_ms &&
	       a->look_again_unix_ms == b->look_again_unix_ms;
}

/* A fresh engine says of every user what this one does. */
static inline void model_compare(struct model *m)
{
	struct queue *q;

	while (m->sheets_n > 0)
		model_commit(m);
	q = model_engine(m);
	mirror_load(&m->store, q);
	for (unsigned i = 0; i < USERS * TARGETS; i++) {
		struct id id = id_n(i / TARGETS);
		struct queue_entry_row a = {0}, b = {0};
		int rc = queue_peek(m->q, i % TARGETS, &id, &a);

		CHECK(rc == queue_peek(q, i % TARGETS, &id, &b), "an entry that no load finds",
		      i / TARGETS, i % TARGETS);
		CHECK(same_row(&a, &b), "loaded and live disagree", i / TARGETS, i % TARGETS);
	}
	queue_free(q);
	queue_check(m->q);
}

/* ---- what reaches the broker ---- */

static inline void model_note(struct model *m, struct sheet *s, const struct frame *f)
{
	struct wire_note n = {.lease_epoch = f->job.lease.epoch,
			      .lease_page = f->job.lease.page,
			      .lease_index = f->job.lease.index,
			      .kind = 0};

	queue_note(m->q, &s->page, PEER + f->worker, &n);
}

/* Of an approved row: what is over may give no further task at a paused target. */
static inline void model_row_ends(struct model *m, unsigned u, unsigned t,
				  const struct wire_result *r)
{
	struct approved *row = &m->rows[u][t];
	struct queue_entry_row now = {0};
	struct slice why;
	struct id id = id_n(u);
	enum queue_approval said = queue_approval(m->q, t, &id, &why);

	if (!row->version || queue_peek(m->q, t, &id, &now) < 0 || now.state == QUEUE_FLIGHT)
		return; /* an old worker's word */
	if (said == QUEUE_APPROVED) {
		row->begun |= r->ops.n > 0 || r->unknown_outcome;
		return;
	}
	CHECK(said != QUEUE_APPLIED || r->verdict == VERDICT_DONE, "applied, and not done", u, t);
	CHECK(said != QUEUE_CHANGED || slice_is(r->reason, WIRE_CHANGED) ||
		      slice_is(why, "newer_version") || slice_is(why, "out_of_scope"),
	      "changed, and nobody said so", u, t);
	m->rows_done += said == QUEUE_APPLIED;
	row->version = 0;
}

static inline void model_result(struct model *m, struct sheet *s, const struct frame *f)
{
	CLEANUP(buf_cleanup) struct buf wants = {0}, owed = {0};
	const struct answer *a = &f->answer;
	struct wire_result r = {.lease_epoch = f->job.lease.epoch,
				.lease_page = f->job.lease.page,
				.lease_index = f->job.lease.index,
				.verdict = a->verdict,
				.after_ms = a->after_ms,
				.applied = a->applied,
				.rid = slice_of(a->rid),
				.link_state = a->link_state,
				.unknown_outcome = a->unknown,
				.waits = slice_of(a->waits),
				.ops = slice_of(a->ops),
				.requests = 1,
				.charged = 1};

	if (a->wants)
		wire_add_op(&wants, &(struct wire_op){SLICE("disable"), SLICE("")});
	if (a->serial)
		wire_add_op(&wants, &(struct wire_op){SLICE(WIRE_SERIAL), SLICE("")});
	if (a->owed)
		wire_add_id(&owed, &(struct wire_id){id_n(manager_of(f->job.user))});
	if (a->look_again)
		r.look_again_unix_ms = s->page.now_unix_ms + 100000;
	r.wants = wire_list_of(&wants, (uint32_t)a->wants + a->serial);
	r.owed = wire_list_of(&owed, a->owed);
	if (a->changed)
		r.reason = SLICE(WIRE_CHANGED);
	queue_result(m->q, &s->page, PEER + f->worker, &r);
	model_row_ends(m, f->job.user, f->job.target, &r);
	m->w.stuck[f->job.user][f->job.target] = f->job.image;
}

static inline void model_hears(struct model *m, const struct frame *f)
{
	struct model_worker *w = &m->w.workers[f->worker];
	struct wire_ready ready = {.nonce = f->nonce,
				   .credits = 2,
				   .batch = 2,
				   .creates = w->creates,
				   .clock_boot_ms = clock_of(&m->w, f->worker)};
	struct sheet *s;

	if (f->nonce != w->nonce || (f->kind != F_READY && f->epoch != m->epoch))
		return;
	s = model_begin(m);
	switch (f->kind) {
	case F_READY:
		CHECK(queue_ready(m->q, &s->page, PEER + f->worker, w->target, &ready) == 0,
		      "a worker was not taken", f->worker, w->target);
		w->known = true;
		w->epoch = m->epoch;
		break;
	case F_BEAT:
		queue_worker_beat(m->q, PEER + f->worker, clock_of(&m->w, f->worker));
		break;
	case F_NOTE:
		model_note(m, s, f);
		break;
	case F_RESULT:
		model_result(m, s, f);
		break;
	case F_TASK:
	case F_NOTED:
	case F_REFUSED:
	case F_ANSWERED:
		break;
	}
	model_end(m, s);
}

/* ---- the collector ---- */

static inline void collector_hello(struct model *m)
{
	struct sheet *s = model_begin(m);

	m->c = (struct collector){.open = true, .peer = m->c.peer + 1};
	m->c.session = queue_hello(m->q, &s->page, 0, m->c.peer);
	s->hello = true;
	model_end(m, s);
}

static inline void collector_batch(struct model *m)
{
	struct collector *c = &m->c;

	memset(&c->batch, 0, sizeof(c->batch));
	c->batch.batch = c->acked + 1;
	c->batch.cursor = m->w.seq;
	for (unsigned u = 0; u < USERS && c->batch.n < 2; u++) {
		if (!(c->dirty >> u & 1))
			continue;
		c->dirty &= ~(1U << u);
		c->batch.users[c->batch.n] = u;
		c->batch.images[c->batch.n++] = m->w.images[u];
	}
	c->batch.caught_up = c->dirty == 0;
	c->sent = true;
}

static inline void collector_send(struct model *m)
{
	CLEANUP(buf_cleanup) struct buf in = {0}, refs = {0}, users = {0};
	static const struct wire_name names[TARGETS] = {{SLICE("a")}, {SLICE("b")}};
	const struct collector *c = &m->c;
	struct wire_publish p = {.session = c->session,
				 .batch = c->batch.batch,
				 .caught_up = c->batch.caught_up,
				 .has_cursor = c->batch.caught_up,
				 .cursor = {(const char *)&c->batch.cursor, 8}};
	struct sheet *s = model_begin(m);
	int rc;

	for (unsigned i = 0; i < c->batch.n; i++) {
		const struct image *image = &c->batch.images[i];
		uint32_t n = 0;

		buf_clear(&in);
		buf_clear(&refs);
		wire_add_ref(&refs, &(struct wire_ref){SLICE("manager"),
						       id_n(manager_of(c->batch.users[i]))});
		for (unsigned t = 0; t < TARGETS; t++) {
			if (image->in >> t & 1) {
				wire_add_name(&in, &names[t]);
				n++;
			}
		}
		wire_add_user(&users,
			      &(struct wire_user){
				      .id = id_n(c->batch.users[i]),
				      .gone = image->gone,
				      .in = wire_list_of(&in, n),
				      .refs = wire_list_of(&refs, 1),
				      .fingerprint = {{1, image->content, image->in, image->gone}},
				      .snapshot = {(const char *)image, sizeof(*image)}});
	}
	p.users = wire_list_of(&users, c->batch.n);
	rc = queue_publish(m->q, &s->page, c->peer, &p, (struct fp){{3}});
	CHECK(rc == 0, "a batch was not taken", 0, 0);
	model_end(m, s);
}

static inline void collector_step(struct model *m)
{
	struct collector *c = &m->c;

	if (!c->open) {
		collector_hello(m);
		return;
	}
	if (!c->welcomed)
		return;
	if (!c->sent && c->dirty == 0 && c->acked > 0)
		return;
	if (!c->sent)
		collector_batch(m);
	collector_send(m);
}

#endif
