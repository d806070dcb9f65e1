/* The store as the model keeps it: plain rows that take the effects of committed pages, and give them back to a fresh
 * engine. It keeps the indexes (live, bulk, retry, calendar) only by what effects say of the old and the new row. */
#ifndef DIRPIPE_MODEL_STORE_H
#define DIRPIPE_MODEL_STORE_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"

enum { USERS = 5, TARGETS = 2, ROWS = 64, RIDS = 20, LIVES = RIDS / USERS };

static inline void model_fail(const char *what, unsigned user, unsigned target)
{
	(void)fprintf(stderr, "model: %s (user %u, target %u)\n", what, user, target);
	abort();
}

#define CHECK(condition, what, user, target)                                                       \
	do {                                                                                       \
		if (!(condition))                                                                  \
			model_fail(what, user, target);                                            \
	} while (0)

static inline struct id id_n(unsigned n)
{
	struct id id = {{1}};

	id.b[15] = (uint8_t)n;
	return id;
}

static inline unsigned n_of(const struct id *id)
{
	return id->b[15];
}

static inline unsigned manager_of(unsigned user)
{
	return (user + 1) % USERS;
}

struct text {
	char p[240];
	uint16_t n;
};

static inline struct text text_of(struct slice s)
{
	struct text t = {.n = (uint16_t)s.n};

	CHECK(s.n < sizeof(t.p), "a text longer than the model's", 0, 0);
	if (s.n)
		memcpy(t.p, s.p, s.n);
	return t;
}

static inline struct slice slice_of_text(const struct text *t)
{
	return (struct slice){t->p, t->n};
}

/* A snapshot is what the directory said. The content may be once more what it was: only the version tells. */
struct image {
	uint32_t version;
	uint8_t content, in;
	bool gone;
};

struct cell {				     /* a user at a target */
	bool present, has_lease, indexed[4]; /* live, bulk, retry, calendar */
	struct queue_entry_row row;
	struct queue_lease lease;
	char rid[8];
	uint8_t link_state;
	uint64_t link_revision;
	struct fp applied;
	struct text stuck;
};

struct mirror_held {
	bool present;
	uint8_t phase;
	int64_t since;
};

struct mirror {
	uint64_t page;
	struct {
		bool present, gone;
		uint64_t version;
		struct fp fingerprint;
		struct image image;
	} users[USERS];
	struct cell cells[USERS][TARGETS];
	struct mirror_held held[USERS]
			       [TARGETS],  /* disable: the model's only destructive operation */
		serial[USERS][TARGETS];	   /* what one user at a time may have done */
	bool yields[USERS][TARGETS];	   /* asked to give a name up */
	bool waits[TARGETS][USERS][USERS]; /* of, user */
	uint8_t rid_owner[TARGETS][RIDS];  /* user + 1 */
	struct {
		char field[48], text[48];
	} guard[TARGETS][ROWS];
	struct {
		bool present;
		struct queue_pause_row row;
	} pause[TARGETS];
	struct fp conf[TARGETS];
	uint64_t session, batch, cursor;
};

/* ---- effects ---- */

static inline void mirror_index(struct mirror *m, const struct queue_effect *f)
{
	struct cell *c = &m->cells[n_of(&f->user)][f->target];
	const struct queue_entry_row *e = &f->entry;
	bool calendar = e->verify == QUEUE_VERIFY_AT || e->look_again_unix_ms != 0;

	if (f->old_state == QUEUE_DUE)
		c->indexed[f->old_lane] = false;
	if (f->old_state == QUEUE_RETRY)
		c->indexed[2] = false;
	if (f->old_calendar)
		c->indexed[3] = false;
	if (e->state == QUEUE_DUE)
		c->indexed[e->lane] = true;
	if (e->state == QUEUE_RETRY)
		c->indexed[2] = true;
	if (calendar)
		c->indexed[3] = true;
}

static inline void mirror_guard(struct mirror *m, const struct queue_effect *f)
{
	int room = -1;

	for (int i = 0; i < ROWS; i++) {
		char *field = m->guard[f->target][i].field;

		if (f->field.n == strlen(field) && memcmp(field, f->field.p, f->field.n) == 0)
			field[0] = '\0';
		if (!*field)
			room = i;
	}
	if (f->kind == QUEUE_DEL_GUARD)
		return;
	CHECK(room >= 0 && f->field.n < 48 && f->detail.n < 48, "guard rows grow", 0, f->target);
	memset(&m->guard[f->target][room], 0, sizeof(m->guard[0][0]));
	memcpy(m->guard[f->target][room].field, f->field.p, f->field.n);
	memcpy(m->guard[f->target][room].text, f->detail.p, f->detail.n);
}

static inline void mirror_user(struct mirror *m, const struct queue_effect *f)
{
	unsigned u = n_of(&f->user);

	CHECK(f->row.version > m->users[u].version, "a version that did not rise", u, 0);
	m->users[u].present = true;
	m->users[u].gone = f->row.gone;
	m->users[u].version = f->row.version;
	m->users[u].fingerprint = f->row.fingerprint;
	CHECK(f->row.snapshot.n == sizeof(struct image), "a snapshot was changed", u, 0);
	memcpy(&m->users[u].image, f->row.snapshot.p, sizeof(struct image));
}

static inline bool image_same(const struct image *a, const struct image *b)
{
	return a->content == b->content && a->in == b->in && a->gone == b->gone;
}

static inline void mirror_link(struct mirror *m, const struct queue_effect *f)
{
	unsigned u = n_of(&f->user);
	struct cell *c = &m->cells[u][f->target];

	CHECK(f->link_revision > c->link_revision, "a link's revision did not rise", u, f->target);
	CHECK(f->rid.n < sizeof(c->rid), "a long rid", u, f->target);
	memset(c->rid, 0, sizeof(c->rid));
	if (f->rid.n)
		memcpy(c->rid, f->rid.p, f->rid.n);
	c->link_state = f->link_state;
	c->link_revision = f->link_revision;
}

static inline unsigned rid_n(struct slice rid)
{
	unsigned n = rid.n == 2 && rid.p[0] == 'R' ? (unsigned)(rid.p[1] - 'a') : RIDS;

	CHECK(n < RIDS, "a rid that nobody gave", 0, 0);
	return n;
}

static inline void mirror_rid(struct mirror *m, const struct queue_effect *f)
{
	uint8_t *owner = &m->rid_owner[f->target][rid_n(f->rid)];

	CHECK(*owner == 0 || *owner == n_of(&f->user) + 1, "a claim was overwritten",
	      n_of(&f->user), f->target);
	*owner = (uint8_t)(n_of(&f->user) + 1);
}

static inline void mirror_rid_free(struct mirror *m, const struct queue_effect *f)
{
	uint8_t *owner = &m->rid_owner[f->target][rid_n(f->rid)];

	CHECK(*owner == n_of(&f->user) + 1, "another one's claim was taken away", n_of(&f->user),
	      f->target);
	*owner = 0;
}

static inline struct mirror_held *held_of(struct mirror *m, const struct queue_effect *f)
{
	unsigned u = n_of(&f->user), t = f->target;

	return slice_is(f->held.op, "serial") ? &m->serial[u][t] : &m->held[u][t];
}

/* One case per kind of effect. NOLINTNEXTLINE(readability-function-size) */
static inline void mirror_effect(struct mirror *m, const struct queue_effect *f)
{
	unsigned u = n_of(&f->user), t = f->target < TARGETS ? f->target : 0;
	struct cell *c = &m->cells[u < USERS ? u : 0][t];

	switch (f->kind) {
	case QUEUE_PUT_ENTRY:
		mirror_index(m, f);
		c->present = true;
		c->row = f->entry;
		break;
	case QUEUE_DEL_ENTRY:
		c->present = false;
		break;
	case QUEUE_DISPATCH:
		CHECK(!c->has_lease, "a second lease", u, t);
		c->has_lease = true;
		c->lease = f->lease;
		memset(&c->applied, 0, sizeof(c->applied));
		break;
	case QUEUE_DEL_LEASE:
		c->has_lease = false;
		break;
	case QUEUE_PUT_USER:
		mirror_user(m, f);
		break;
	case QUEUE_PUT_LINK:
		mirror_link(m, f);
		break;
	case QUEUE_PUT_APPLIED:
		c->applied = f->fp;
		break;
	case QUEUE_PUT_RID:
		mirror_rid(m, f);
		break;
	case QUEUE_PUT_STUCK:
		c->stuck = text_of(f->detail);
		break;
	case QUEUE_DEL_STUCK:
		c->stuck.n = 0;
		break;
	case QUEUE_PUT_HELD:
		if (slice_is(f->held.op, "yield")) {
			CHECK(f->held.phase == QUEUE_GRANTED && slice_is(f->held.what, "n"),
			      "asked for a name otherwise than by a permit", u, t);
			m->yields[u][t] = true;
			break;
		}
		held_of(m, f)->present = true;
		held_of(m, f)->phase = f->held.phase;
		held_of(m, f)->since = f->held.since_unix_ms;
		break;
	case QUEUE_DEL_HELD:
		if (slice_is(f->held.op, "yield")) {
			m->yields[u][t] = false;
			break;
		}
		held_of(m, f)->present = false;
		break;
	case QUEUE_PUT_WAITER:
	case QUEUE_DEL_WAITER:
		m->waits[t][n_of(&f->of)][u] = f->kind == QUEUE_PUT_WAITER;
		break;
	case QUEUE_PUT_GUARD:
	case QUEUE_DEL_GUARD:
		mirror_guard(m, f);
		break;
	case QUEUE_PUT_PAUSE:
		m->pause[t].present = true;
		m->pause[t].row = f->pause;
		m->pause[t].row.why = (struct slice){0};
		break;
	case QUEUE_DEL_PAUSE:
		m->pause[t].present = false;
		break;
	case QUEUE_PUT_CONF:
		m->conf[t] = f->fp;
		break;
	case QUEUE_PUT_SESSION:
		m->session = f->session;
		m->batch = f->batch;
		break;
	case QUEUE_PUT_CURSOR:
		memcpy(&m->cursor, f->cookie.p, sizeof(m->cursor));
		break;
	case QUEUE_DEL_RID:
		mirror_rid_free(m, f);
		break;
	case QUEUE_PUT_ERROR:
	case QUEUE_PUT_CAUSE:
		break;
	case QUEUE_LOG: /* refusals are told, successes never */
		CHECK(f->failed ||
			      !(memmem(f->detail.p, f->detail.n, "\"rejected\"", 10) ||
				memmem(f->detail.p, f->detail.n, "\"verdict\":\"parked\"", 18)),
		      "a refusal is not told", 0, f->target);
		CHECK(!f->failed || !memmem(f->detail.p, f->detail.n, "\"verdict\":\"done\"", 16),
		      "a success is told as an error", 0, f->target);
		break;
	case QUEUE_EFFECT_KINDS:
		break;
	}
}

/* What is claimed is what the links name. */
static inline void mirror_check_rids(const struct mirror *m)
{
	for (unsigned t = 0; t < TARGETS; t++) {
		for (unsigned r = 0; r < RIDS; r++) {
			unsigned u = m->rid_owner[t][r];

			CHECK(u == 0 || (m->cells[u - 1][t].rid[0] &&
					 rid_n(slice_of(m->cells[u - 1][t].rid)) == r),
			      "a claim of what no link names", u, t);
		}
	}
}

/* What must hold in the store after every page. */
static inline void mirror_check(const struct mirror *m)
{
	mirror_check_rids(m);
	for (unsigned u = 0; u < USERS; u++) {
		for (unsigned t = 0; t < TARGETS; t++) {
			const struct cell *c = &m->cells[u][t];
			const struct queue_entry_row *e = &c->row;
			bool stuck =
				c->present && (e->state == QUEUE_PARKED || e->state == QUEUE_DEAD);

			CHECK(stuck == (c->stuck.n > 0),
			      "stuck without its row, or a row without it", u, t);
			CHECK(c->has_lease == (c->present && e->state == QUEUE_FLIGHT),
			      "in flight without a lease, or a lease without flight", u, t);
			for (unsigned lane = 0; lane < QUEUE_LANES; lane++)
				CHECK(c->indexed[lane] == (c->present && e->state == QUEUE_DUE &&
							   e->lane == lane),
				      "a due index is wrong", u, t);
			CHECK(c->indexed[2] == (c->present && e->state == QUEUE_RETRY),
			      "the retry index is wrong", u, t);
			CHECK(c->indexed[3] == (c->present && (e->verify == QUEUE_VERIFY_AT ||
							       e->look_again_unix_ms != 0)),
			      "the calendar index is wrong", u, t);
			CHECK(!c->present || (e->link_state == c->link_state &&
					      e->link_revision == c->link_revision),
			      "entry and link disagree", u, t);
			CHECK(!c->rid[0] || m->rid_owner[t][rid_n(slice_of(c->rid))] == u + 1,
			      "a link to what another one claimed", u, t);
			CHECK(!c->has_lease || fp_is_none(&c->applied) || c->lease.epoch == 0,
			      "in flight with an applied fingerprint", u, t);
		}
	}
}

/* What may refer to the user's manager: a number + 1; 0: nothing. */
static inline uint8_t manager_rid(const struct mirror *m, unsigned user, unsigned target)
{
	const struct cell *c = &m->cells[manager_of(user)][target];

	return c->rid[0] && c->link_state != LINK_DELETED ? (uint8_t)(rid_n(slice_of(c->rid)) + 1)
							  : 0;
}

/* ---- back into an engine ---- */

static inline void mirror_load_cell(const struct mirror *m, struct queue *q, unsigned u, unsigned t)
{
	const struct cell *c = &m->cells[u][t];
	struct id id = id_n(u);

	if (!c->present)
		return;
	queue_load_entry(q, &id, t, &c->row, slice_of(c->rid));
	if (c->has_lease)
		queue_load_lease(q, &id, t, &c->lease);
	if (c->stuck.n)
		queue_load_stuck(q, t, &id, slice_of_text(&c->stuck));
	if (m->yields[u][t])
		queue_load_held(q, t,
				&(struct queue_held_row){.id = id,
							 .op = SLICE("yield"),
							 .what = SLICE("n"),
							 .phase = QUEUE_GRANTED,
							 .since_unix_ms = 1});
	if (m->held[u][t].present)
		queue_load_held(q, t,
				&(struct queue_held_row){.id = id,
							 .op = SLICE("disable"),
							 .phase = m->held[u][t].phase,
							 .since_unix_ms = m->held[u][t].since});
	if (m->serial[u][t].present)
		queue_load_held(q, t,
				&(struct queue_held_row){.id = id,
							 .op = SLICE("serial"),
							 .phase = m->serial[u][t].phase,
							 .since_unix_ms = m->serial[u][t].since});
}

static inline void mirror_load_target(const struct mirror *m, struct queue *q, unsigned t)
{
	for (unsigned r = 0; r < RIDS; r++) {
		char rid[] = {'R', (char)('a' + (char)r), '\0'};
		struct id id = id_n(m->rid_owner[t][r] - 1U);

		if (m->rid_owner[t][r])
			queue_load_rid(q, t, slice_of(rid), &id);
	}
	for (unsigned i = 0; i < USERS * USERS; i++) {
		struct id of = id_n(i / USERS), user = id_n(i % USERS);

		if (m->waits[t][i / USERS][i % USERS])
			queue_load_waiter(q, t, &of, &user);
	}
	for (int i = 0; i < ROWS; i++) {
		if (m->guard[t][i].field[0])
			queue_load_guard(q, false, t, slice_of(m->guard[t][i].field),
					 slice_of(m->guard[t][i].text));
	}
	if (m->pause[t].present)
		queue_load_pause(q, t, &m->pause[t].row);
	if (!fp_is_none(&m->conf[t]))
		queue_load_conf(q, t, &m->conf[t]);
}

static inline void mirror_load(const struct mirror *m, struct queue *q)
{
	for (unsigned u = 0; u < USERS; u++) {
		CLEANUP(buf_cleanup) struct buf refs = {0};

		if (!m->users[u].present)
			continue;
		wire_add_ref(&refs, &(struct wire_ref){SLICE("manager"), id_n(manager_of(u))});
		queue_load_user(q, &(struct queue_user_row){.id = id_n(u),
							    .source = SLICE("corp"),
							    .version = m->users[u].version,
							    .gone = m->users[u].gone,
							    .fingerprint = m->users[u].fingerprint,
							    .refs = wire_list_of(&refs, 1)});
		for (unsigned t = 0; t < TARGETS; t++)
			mirror_load_cell(m, q, u, t);
	}
	for (unsigned t = 0; t < TARGETS; t++)
		mirror_load_target(m, q, t);
	queue_load_session(q, 0, m->session, m->batch);
}

#endif
