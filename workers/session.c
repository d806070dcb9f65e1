#include "session.h"

#include "clock.h"
#include "crash.h"
#include "log.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

enum {
	BEAT_MS =
		1000, /* the broker stamps leases with the clock in it: the younger, the longer the lease */
	AGAIN_MS = 2000, /* READY and RESULT that nobody answers */
	SILENCE_MS = 6000,
	DEAF_MS = 15000, /* then the connection is made anew */
	PACK_BYTES =
		256 << 10 /* gathered NOTEs or RESULTs go at once when they have grown to this */
};

/* Bodies of one verb that go out together at the end of the turn. */
struct pack {
	struct buf bodies;
	unsigned n;
};

/* A RESULT that was not answered. */
struct pending {
	struct task_lease lease;
	struct buf body;
	int64_t sent_ms;
	UT_hash_handle hh;
};

struct session {
	struct session_conf conf;
	struct bus *bus;
	struct loop_timer *beat;
	enum session_state state;
	struct wire_epoch epoch; /* the highest seen */
	uint64_t nonce;
	uint32_t credits;
	struct pending *pending;
	int64_t heard_ms, ready_ms, reconnected_ms;
	uint64_t dropped, stale;
	struct buf out; /* for bodies */
	struct pack notes, results;
	struct loop_after *flush;
};

/* ---- RESULTs that wait, by lease ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
static struct pending *pending_find(const struct session *s, uint64_t epoch, uint64_t page,
				    uint32_t index)
{
	struct task_lease lease = {0}; /* hashed with its padding */
	struct pending *p;

	lease.epoch = epoch;
	lease.page = page;
	lease.index = index;
	HASH_FIND(hh, s->pending, &lease, sizeof(lease), p);
	return p;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct pending *pending_add(struct session *s, const struct wire_result *r)
{
	struct pending *p = mem_alloc(sizeof(*p));

	p->lease.epoch = r->lease_epoch;
	p->lease.page = r->lease_page;
	p->lease.index = r->lease_index;
	wire_put_result(&p->body, r);
	HASH_ADD(hh, s->pending, lease, sizeof(p->lease), p);
	return p;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void pending_drop(struct session *s, struct pending *p)
{
	HASH_DEL(s->pending, p);
	buf_done(&p->body);
	free(p);
}

/* ---- the state ---- */

static void session_move(struct session *s, enum session_state to)
{
	static const char *const names[SESSION_STATES] = {"away", "ready", "leaving"};
	static const bool legal[SESSION_STATES][SESSION_STATES] = {
		[SESSION_AWAY] = {[SESSION_READY] = true, [SESSION_LEAVING] = true},
		[SESSION_READY] = {[SESSION_AWAY] = true, [SESSION_LEAVING] = true},
	};
	struct log_line l;

	if (s->state == to)
		return;
	assert(legal[s->state][to]);
	l = log_begin(LOG_INFO_, "DP-3101", "broker session");
	log_text(&l, "from", names[s->state]);
	log_text(&l, "to", names[to]);
	log_int(&l, "epoch", (int64_t)s->epoch.number);
	log_end(&l);
	s->state = to;
}

enum session_state session_state(const struct session *s)
{
	return s->state;
}

size_t session_unanswered(const struct session *s)
{
	return HASH_COUNT(s->pending);
}

/* ---- sending ---- */

static int send_body(struct session *s, uint8_t verb, const struct buf *body)
{
	return bus_send(s->bus, (struct slice){NULL, 0}, verb, s->epoch, body);
}

static void send_ready(struct session *s)
{
	struct wire_ready r = {.target = slice_of(s->conf.target),
			       .worker = slice_of(s->conf.worker),
			       .nonce = s->nonce,
			       .credits = s->credits,
			       .batch = s->conf.batch,
			       .creates = s->conf.creates,
			       .clock_boot_ms = clock_boot_ms(),
			       .epoch_seen = s->epoch.number,
			       .config = s->conf.config,
			       .driver = slice_of(s->conf.driver)};

	s->ready_ms = r.clock_boot_ms;
	buf_clear(&s->out);
	wire_put_ready(&s->out, &r);
	send_body(s, WIRE_VERB_ready, &s->out);
}

static void send_beat(struct session *s)
{
	struct wire_beat b = {.session = s->nonce,
			      .clock_boot_ms = clock_boot_ms(),
			      .clock_unix_ms = clock_unix_ms(),
			      .state = s->state == SESSION_READY};

	buf_clear(&s->out);
	wire_put_beat(&s->out, &b);
	send_body(s, WIRE_VERB_beat, &s->out);
}

/* What does not get out is not kept: NOTE and RESULT are sent again until they are answered. */
static unsigned pack_send(struct session *s, uint8_t verb, struct pack *p)
{
	unsigned n = p->n;

	if (n && bus_send_packed(s->bus, (struct slice){NULL, 0}, verb, s->epoch, &p->bodies) < 0)
		n = 0;
	buf_clear(&p->bodies);
	p->n = 0;
	return n;
}

static void on_flush(void *arg)
{
	struct session *s = arg;

	pack_send(s, WIRE_VERB_note, &s->notes);
	for (unsigned n = pack_send(s, WIRE_VERB_result, &s->results); n > 0; n--)
		CRASH_POINT("worker.result_sent");
}

static void pack_add(struct session *s, struct pack *p, const struct buf *body)
{
	wire_pack(&p->bodies, body);
	p->n++;
	loop_after_ask(s->flush);
	if (p->bodies.n > PACK_BYTES)
		on_flush(s);
}

static void send_pending(struct session *s, struct pending *p)
{
	p->sent_ms = clock_boot_ms();
	pack_add(s, &s->results, &p->body);
}

static void send_all_pending(struct session *s)
{
	struct pending *p, *next;

	buf_clear(&s->results.bodies); /* they are all among the pending */
	s->results.n = 0;
	HASH_ITER (hh, s->pending, p, next)
		send_pending(s, p);
}

void session_note(struct session *s, const struct wire_note *note)
{
	if (s->state == SESSION_LEAVING)
		return;
	buf_clear(&s->out);
	wire_put_note(&s->out, note);
	pack_add(s, &s->notes, &s->out);
}

void session_report(struct session *s, const struct wire_result *r)
{
	send_pending(s, pending_add(s, r));
}

/* ---- receiving ---- */

static void take_tasks(struct session *s, struct slice body)
{
	struct wire_tasks w;
	struct wire_task task;

	if (wire_get_tasks(body, &w) < 0) {
		s->dropped++;
		return;
	}
	while (wire_next_task(&w.tasks, &task)) {
		if (task.worker != s->nonce) {
			s->dropped++;
			log_msg(LOG_WARN_, "DP-3102", "a task for another process was refused");
			continue;
		}
		if (!pending_find(s, task.lease_epoch, task.lease_page, task.lease_index))
			s->conf.task(s->conf.arg, &task, w.now_unix_ms);
	}
}

static void take_answer(struct session *s, uint64_t epoch, uint64_t page, uint32_t index)
{
	struct pending *p = pending_find(s, epoch, page, index);

	if (!p)
		return;
	pending_drop(s, p);
	s->conf.settled(s->conf.arg);
}

static void take_accepted(struct session *s, struct slice body)
{
	struct wire_accepted w;

	if (wire_get_accepted(body, &w) == 0)
		take_answer(s, w.lease_epoch, w.lease_page, w.lease_index);
}

static void take_stale(struct session *s, struct slice body)
{
	struct wire_stale w;

	if (wire_get_stale(body, &w) < 0)
		return;
	s->stale++;
	log_msg(LOG_INFO_, "DP-3103", "a result came too late: the lease had ended");
	take_answer(s, w.lease_epoch, w.lease_page, w.lease_index);
}

static void take_noted(struct session *s, struct slice body)
{
	struct wire_noted w;

	if (wire_get_noted(body, &w) == 0)
		s->conf.noted(s->conf.arg,
			      (struct task_lease){w.lease_epoch, w.lease_page, w.lease_index},
			      w.kind, true, (struct slice){NULL, 0});
}

static void take_refused(struct session *s, struct slice body)
{
	struct wire_refused w;

	if (wire_get_refused(body, &w) == 0)
		s->conf.noted(s->conf.arg,
			      (struct task_lease){w.lease_epoch, w.lease_page, w.lease_index},
			      w.kind, false, w.reason);
}

static void take_error(struct session *s, struct slice body)
{
	struct wire_error w;
	struct log_line l;

	if (wire_get_error(body, &w) < 0)
		return;
	l = log_begin(LOG_WARN_, "DP-3104", "the broker refused a frame");
	log_text(&l, "verb", wire_verb_name(w.verb));
	log_slice(&l, "reason", w.reason);
	log_end(&l);
	if (s->state == SESSION_READY && w.verb != WIRE_VERB_ready)
		session_move(
			s,
			SESSION_AWAY); /* it does not know us (any more): READY comes with the next beat */
}

/* False: the frame is of a broker that is over. A higher epoch is a new broker: all begins anew with it. */
static bool epoch_counts(struct session *s, const struct wire_epoch *e)
{
	if (e->number < s->epoch.number)
		return false;
	if (e->number == s->epoch.number)
		return e->nonce == s->epoch.nonce;
	s->epoch = *e;
	if (s->state == SESSION_LEAVING)
		return true;
	send_ready(s);
	send_all_pending(s);
	return true;
}

static bool broker_is_active(const struct bus_message *m)
{
	struct wire_beat b;

	if (m->header.verb == WIRE_VERB_error)
		return false;
	return m->header.verb != WIRE_VERB_beat || (wire_get_beat(m->body, &b) == 0 && b.state);
}

static void dispatch(struct session *s, const struct bus_message *m)
{
	/* a broker answers READY by letting us hear from it at all */
	if (s->state == SESSION_AWAY && s->ready_ms && broker_is_active(m)) {
		session_move(s, SESSION_READY);
		send_beat(s);
		send_all_pending(s);
	}
	if (m->header.verb == WIRE_VERB_tasks)
		take_tasks(s, m->body);
	else if (m->header.verb == WIRE_VERB_noted)
		take_noted(s, m->body);
	else if (m->header.verb == WIRE_VERB_refused)
		take_refused(s, m->body);
	else if (m->header.verb == WIRE_VERB_accepted)
		take_accepted(s, m->body);
	else if (m->header.verb == WIRE_VERB_stale)
		take_stale(s, m->body);
	else if (m->header.verb == WIRE_VERB_error)
		take_error(s, m->body);
	else if (m->header.verb != WIRE_VERB_beat)
		s->dropped++;
}

static void on_message(void *arg, int rc, const struct bus_message *m)
{
	struct session *s = arg;

	if (rc < 0) {
		s->dropped++;
		if (rc == -EPROTONOSUPPORT)
			log_msg(LOG_ERROR_, "DP-3105",
				"the broker speaks version %u, this worker %d", m->header.version,
				WIRE_VERSION);
		return;
	}
	s->heard_ms = clock_boot_ms();
	if (!epoch_counts(s, &m->header.epoch)) {
		s->dropped++;
		return;
	}
	dispatch(s, m);
}

/* ---- time ---- */

static void resend(struct session *s, int64_t now)
{
	struct pending *p, *next;

	HASH_ITER (hh, s->pending, p, next) {
		if (now - p->sent_ms >= AGAIN_MS)
			send_pending(s, p);
	}
}

/* A standby hears READY and has nothing to say; where there is one broker it may be the connection. */
static bool is_wrong_place(const struct session *s, int64_t now, int64_t silent)
{
	if (bus_has_choice(s->bus))
		return s->ready_ms != 0 && now - s->ready_ms >= AGAIN_MS;
	return silent > DEAF_MS && now - s->reconnected_ms > DEAF_MS;
}

static void on_beat(void *arg)
{
	struct session *s = arg;
	int64_t now = clock_boot_ms(), silent = now - s->heard_ms;

	loop_timer_set(s->beat, BEAT_MS);
	if (s->state == SESSION_LEAVING)
		return;
	if (s->state == SESSION_READY && silent > SILENCE_MS)
		session_move(s, SESSION_AWAY);
	if (s->state == SESSION_AWAY && is_wrong_place(s, now, silent)) {
		s->reconnected_ms = now;
		bus_reconnect(s->bus);
		s->ready_ms = 0;
	}
	if (s->state == SESSION_READY) {
		send_beat(s);
		resend(s, now);
	} else if (now - s->ready_ms >= AGAIN_MS) {
		send_ready(s);
	}
}

/* ---- life ---- */

struct session *session_new(const struct session_conf *conf, struct buf *why)
{
	struct session *s = mem_alloc(sizeof(*s));

	s->conf = *conf;
	s->credits = conf->credits;
	randombytes_buf(&s->nonce, sizeof(s->nonce));
	s->bus = bus_dealer_new(conf->loop, conf->endpoints, conf->endpoints_n, conf->keys,
				on_message, s, why);
	if (!s->bus) {
		free(s);
		return NULL;
	}
	s->heard_ms = clock_boot_ms();
	s->flush = loop_after_new(conf->loop, on_flush, s);
	s->beat = loop_timer_new(conf->loop, on_beat, s);
	loop_timer_set(s->beat, BEAT_MS);
	send_ready(s);
	return s;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	struct pending *p = s->pending, *next;

	HASH_CLEAR(hh, s->pending);
	for (; p; p = next) {
		next = p->hh.next;
		buf_done(&p->body);
		free(p);
	}
	bus_free(s->bus);
	loop_timer_free(s->beat);
	loop_after_free(s->flush);
	buf_done(&s->out);
	buf_done(&s->notes.bodies);
	buf_done(&s->results.bodies);
	free(s);
}

void session_drain(struct session *s)
{
	s->credits = 0;
	if (s->state != SESSION_LEAVING)
		send_ready(s);
}

void session_leave(struct session *s)
{
	struct wire_leave l = {.nonce = s->nonce};

	if (s->state == SESSION_LEAVING)
		return;
	on_flush(s); /* LEAVE is the last */
	buf_clear(&s->out);
	wire_put_leave(&s->out, &l);
	send_body(s, WIRE_VERB_leave, &s->out);
	session_move(s, SESSION_LEAVING);
}
