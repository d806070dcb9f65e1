#include "clock.h"
#include "log.h"
#include "session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { COMPLAINT_MS = 1000 };

/* ---- peers ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
struct peer *session_peer(struct session *s, uint64_t number)
{
	struct peer *p;

	HASH_FIND(by_number, s->by_number, &number, sizeof(number), p);
	return p;
}

// NOLINTNEXTLINE(readability-function-size): uthash
struct peer *session_routed(struct session *s, struct slice route)
{
	struct peer *p;

	HASH_FIND(by_route, s->by_route, route.p, route.n, p);
	return p;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void session_peer_forget(struct session *s, struct peer *p)
{
	HASH_DELETE(by_route, s->by_route, p);
	HASH_DELETE(by_number, s->by_number, p); // NOLINT(clang-analyzer-unix.Malloc): uthash
	welcome_end(p);
	buf_done(&p->waiting);
	buf_done(&p->noted);
	buf_done(&p->accepted);
	free(p->route);
	free(p->name);
	free(p->driver);
	free(p);
}

const char *session_subject(const struct session *s, const struct peer *p)
{
	const struct store_conf *names = &s->conf.turn.store;

	if (p->kind == PEER_COLLECTOR)
		return p->index < names->sources_n ? names->sources[p->index] : NULL;
	return p->index < names->targets_n ? names->targets[p->index] : NULL;
}

void session_log_peer(const struct session *s, const struct peer *p, enum log_level level,
		      const char *code, const char *msg, const char *reason)
{
	struct log_line l = log_begin(level, code, msg);

	log_text(&l, p->kind == PEER_COLLECTOR ? "source" : "target", session_subject(s, p));
	log_text(&l, "peer", p->name);
	log_text(&l, "key", p->key ? p->key->name : NULL);
	log_text(&l, "driver", p->driver);
	log_text(&l, "reason", reason);
	log_end(&l);
}

/* The engine forgets it; of a source only if no newer session has begun. */
static void engine_forgets(struct session *s, struct peer *p)
{
	struct queue *q = turn_queue(s->turn);

	if (q && p->known && p->kind == PEER_COLLECTOR)
		queue_collector_gone(q, p->index, p->number);
	else if (q && p->known && p->kind == PEER_WORKER)
		queue_worker_gone(q, p->number);
	p->known = false;
	if (p->kind == PEER_COLLECTOR && p->index < s->conf.turn.store.sources_n &&
	    s->sources[p->index].peer == p->number)
		s->sources[p->index].peer = 0;
}

void session_peer_gone(struct session *s, struct peer *p, const char *why)
{
	session_log_peer(s, p, LOG_INFO_, "DP-1201", "peer gone", why);
	engine_forgets(s, p);
	session_peer_forget(s, p);
}

// NOLINTNEXTLINE(readability-function-size): uthash
struct peer *session_peer_new(struct session *s, const struct bus_message *m)
{
	struct peer *p;

	if (HASH_CNT(by_route, s->by_route) >= PEERS_MAX)
		return NULL;
	p = mem_alloc(sizeof(*p));
	p->number = ++s->last_peer;
	p->route = slice_dup(m->peer);
	p->route_n = m->peer.n;
	p->key = m->key;
	p->index = QUEUE_NOBODY;
	HASH_ADD_KEYPTR(by_route, s->by_route, p->route, p->route_n, p);
	HASH_ADD(by_number, s->by_number, number, sizeof(p->number), p);
	return p;
}

/* ---- complaints: counted all, told once a second ---- */

static void complain(struct session *s, const struct bus_message *m, uint8_t verb,
		     const char *reason)
{
	int64_t now = loop_now_ms(s->loop);
	struct log_line l;

	answers_error(s, m->peer, verb, reason);
	if (now - s->complained_ms < COMPLAINT_MS) {
		s->complaints_kept++;
		return;
	}
	l = log_begin(LOG_WARN_, "DP-1202", "frame refused");
	if (m->key)
		log_text(&l, "key", m->key->name);
	if (m->peer.n > 0) {
		struct buf hex = {0};

		for (size_t i = 0; i < m->peer.n && i < 32; i++)
			buf_addf(&hex, "%02x", (uint8_t)m->peer.p[i]);
		log_text(&l, "route", hex.p);
		buf_done(&hex);
	}
	log_text(&l, "verb", wire_verb_name(verb));
	log_text(&l, "reason", reason);
	log_int(&l, "more", (int64_t)s->complaints_kept);
	log_end(&l);
	s->complained_ms = now;
	s->complaints_kept = 0;
}

void session_malformed(struct session *s, const struct bus_message *m, uint8_t verb,
		       const char *reason)
{
	s->malformed++;
	complain(s, m, verb, reason);
}

void session_refuse(struct session *s, const struct bus_message *m, const char *reason)
{
	s->refused++;
	complain(s, m, m->header.verb, reason);
}

void session_remember(char **at, struct slice text)
{
	free(*at);
	*at = slice_dup(text);
}

/* The frame waits in the peer for the store; a newer one takes its place. */
void session_wait(struct session *s, const struct bus_message *m)
{
	struct peer *p = session_routed(s, m->peer);

	if (!p)
		p = session_peer_new(s, m);
	if (!p) {
		session_refuse(s, m, "too many peers");
		return;
	}
	p->heard_ms = loop_now_ms(s->loop);
	p->waiting_verb = m->header.verb;
	buf_clear(&p->waiting);
	buf_add(&p->waiting, m->body.p, m->body.n);
}

bool session_may_speak_for(const struct bus_message *m, struct slice name)
{
	return !m->key || !m->key->only || slice_is(name, m->key->only);
}

/* ---- frames ---- */

static const char *role_refusal(const struct bus_message *m)
{
	bool collector = false, worker = false;

	switch (m->header.verb) {
	case WIRE_VERB_hello:
	case WIRE_VERB_publish:
	case WIRE_VERB_hold:
		collector = true;
		break;
	case WIRE_VERB_ready:
	case WIRE_VERB_note:
	case WIRE_VERB_result:
	case WIRE_VERB_leave:
		worker = true;
		break;
	case WIRE_VERB_beat:
		return NULL;
	default:
		return "a verb that a peer does not say";
	}
	if (!m->key)
		return NULL;
	if ((collector && !(m->key->roles & BUS_COLLECTOR)) ||
	    (worker && !(m->key->roles & BUS_WORKER)))
		return "this key's role does not allow that";
	return NULL;
}

/* NULL when the frame is of our epoch and from somebody whom this epoch's engine knows. */
static const char *epoch_refusal(struct session *s, const struct bus_message *m,
				 const struct peer *p)
{
	struct wire_epoch ours = store_epoch(turn_store(s->turn));

	if (m->header.epoch.number >> STORE_EPOCH_BITS)
		return "no such epoch";
	if (m->header.epoch.number > ours.number)
		store_epoch_seen(turn_store(s->turn), m->header.epoch.number);
	if (!turn_queue(s->turn))
		return "the broker is not active";
	if (m->header.epoch.number != ours.number || m->header.epoch.nonce != ours.nonce)
		return "another epoch";
	if (!p || !p->known)
		return "hello or ready first";
	return NULL;
}

static void known_frame(struct session *s, const struct bus_message *m, struct peer *p)
{
	bool known = p->kind == PEER_COLLECTOR ? collectors_frame(s, m, p) : workers_frame(s, m, p);

	if (!known)
		session_refuse(s, m, "not this peer's part");
}

static void bad_frame(struct session *s, int rc, const struct bus_message *m)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	if (rc == -EPROTONOSUPPORT)
		buf_addf(&why, "version %u of the protocol: this broker speaks %d",
			 m->header.version, WIRE_VERSION);
	else
		buf_adds(&why, "malformed");
	session_malformed(s, m, 0, why.p);
}

static void frame(void *arg, int rc, const struct bus_message *m)
{
	struct session *s = arg;
	struct peer *p;
	const char *no;

	if (rc < 0) {
		bad_frame(s, rc, m);
		return;
	}
	no = role_refusal(m);
	if (no) {
		session_refuse(s, m, no);
		return;
	}
	if (s->stopping)
		return; /* what is said now is said again to the next broker */
	p = session_routed(s, m->peer);
	if (p)
		p->heard_ms = loop_now_ms(s->loop);
	if (m->header.verb == WIRE_VERB_hello) {
		collectors_hello(s, m);
	} else if (m->header.verb == WIRE_VERB_ready) {
		workers_ready(s, m);
	} else {
		no = epoch_refusal(s, m, p);
		if (p && !no)
			known_frame(s, m, p);
		else
			session_refuse(s, m, no ? no : "hello or ready first");
	}
	turn_fed(s->turn);
}

/* ---- the engine's life ---- */

static void answer_peer(struct session *s, struct peer *p)
{
	CLEANUP(buf_cleanup) struct buf body = p->waiting;
	/* p may go while its frame is taken. */
	CLEANUP(free_cleanup) char *route = slice_dup((struct slice){p->route, p->route_n});
	struct bus_message m = {.peer = {route, p->route_n},
				.key = p->key,
				.header.verb = p->waiting_verb,
				.body = buf_slice(&body)};

	p->waiting = (struct buf){0};
	p->waiting_verb = 0;
	if (m.header.verb == WIRE_VERB_hello)
		collectors_hello(s, &m);
	else
		workers_ready(s, &m);
}

/* Taking one frame may end another peer, so each is looked up by its number. */
static void answer_waiting(struct session *s)
{
	size_t n = 0;
	CLEANUP(free_cleanup)
	uint64_t *numbers = mem_array(HASH_CNT(by_number, s->by_number) + 1, sizeof(*numbers));
	struct peer *p, *next;

	HASH_ITER (by_number, s->by_number, p, next)
		if (p->waiting_verb)
			numbers[n++] = p->number;
	for (size_t i = 0; i < n; i++) {
		p = session_peer(s, numbers[i]);
		if (p)
			answer_peer(s, p);
	}
}

/* Everybody hears of the new epoch by a BEAT and begins anew. */
static void state_changed(void *arg, enum store_state state, const char *why)
{
	static const char *const names[STORE_STATES] = {"down", "standby", "loading", "ready"};
	struct session *s = arg;
	struct peer *p, *next;
	struct log_line l =
		log_begin(state == STORE_DOWN ? LOG_WARN_ : LOG_INFO_, "DP-1101", "broker");

	log_text(&l, "state", names[state]);
	log_text(&l, "reason", why);
	log_int(&l, "epoch", (int64_t)store_epoch(turn_store(s->turn)).number);
	log_end(&l);
	HASH_ITER (by_number, s->by_number, p, next) {
		if (state != STORE_READY) {
			welcome_end(p);
			p->known = false;
		} else {
			answers_beat(s, p);
		}
	}
	if (state == STORE_READY)
		answer_waiting(s);
	else
		gauges_forget_flights(s);
}

/* After a start nothing is known of the workers but what the store says; otherwise what they said meanwhile is newer. */
static void stored_conf(void *arg, unsigned target, const struct fp *config)
{
	struct session *s = arg;

	if (fp_is_none(&s->targets[target].config))
		workers_config(s, target, config);
}

static void page_written(void *arg, const struct queue_page *page, const struct store_task *tasks,
			 size_t tasks_n)
{
	struct session *s = arg;

	gauges_page(s, page);
	answers_written(s, page, tasks, tasks_n);
}

static bool far_off(int64_t ms)
{
	return ms != INT64_MIN && (ms > SESSION_CLOCK_OFF_MS || ms < -SESSION_CLOCK_OFF_MS);
}

/* A clock that is far off Redis' or a directory's must not decide what is over. */
static void check_clocks(struct session *s)
{
	bool off = far_off(store_clock_off_ms(turn_store(s->turn)));

	for (size_t i = 0; i < s->conf.turn.store.sources_n; i++)
		off |= s->sources[i].peer && far_off(s->sources[i].clock_off_ms);
	if (turn_queue(s->turn))
		queue_clock_off(turn_queue(s->turn), off);
	if (off != s->clock_off)
		log_msg(off ? LOG_ERROR_ : LOG_INFO_, "DP-1209", "%s",
			off ? "the clock is more than a minute off Redis' or a directory's: "
			      "nothing "
			      "time-driven and destructive is done"
			    : "the clock agrees again");
	s->clock_off = off;
}

static void every_second(void *arg)
{
	struct session *s = arg;
	int64_t now = loop_now_ms(s->loop);
	struct peer *p, *next;

	loop_timer_set(s->beat, SESSION_BEAT_MS);
	HASH_ITER (by_number, s->by_number, p, next) {
		if (now - p->heard_ms > SESSION_SILENT_MS)
			session_peer_gone(s, p, "silent");
		else
			answers_beat(s, p);
	}
	gauges_sample(s);
	check_clocks(s);
	turn_rest(s->turn);
}

struct session *session_new(struct loop *loop, const struct session_conf *conf, struct buf *why)
{
	struct session *s = mem_alloc(sizeof(*s));
	struct turn_host host = {s, state_changed, stored_conf, page_written};

	s->loop = loop;
	s->conf = *conf;
	s->started_ms = loop_now_ms(loop);
	s->complained_ms = s->started_ms - COMPLAINT_MS;
	s->sources = mem_array(conf->turn.store.sources_n + 1, sizeof(*s->sources));
	for (size_t i = 0; i < conf->turn.store.sources_n; i++)
		s->sources[i].lag_ms = s->sources[i].clock_off_ms = INT64_MIN;
	s->targets = mem_array(conf->turn.store.targets_n + 1, sizeof(*s->targets));
	s->metrics = metrics_new();
	gauges_declare(s);
	s->bus =
		bus_router_new(loop, conf->endpoints, conf->endpoints_n, conf->keys, frame, s, why);
	if (!s->bus) {
		session_free(s);
		return NULL;
	}
	s->turn = turn_new(loop, &s->conf.turn, &host);
	s->beat = loop_timer_new(loop, every_second, s);
	loop_timer_set(s->beat, SESSION_BEAT_MS);
	return s;
}

static void view_free(struct source_view *v)
{
	collectors_forget_holds(v);
	free(v->server);
	free(v->error);
	free(v->driver);
	free(v->shown);
}

void session_free(struct session *s)
{
	struct peer *p, *next;

	if (!s)
		return;
	turn_free(s->turn);
	HASH_ITER (by_number, s->by_number, p, next)
		session_peer_forget(s, p);
	bus_free(s->bus);
	loop_timer_free(s->beat);
	for (size_t i = 0; i < s->conf.turn.store.sources_n; i++)
		view_free(&s->sources[i]);
	for (size_t i = 0; i < s->conf.turn.store.targets_n; i++)
		gauges_target_done(&s->targets[i]);
	free(s->sources);
	free(s->targets);
	gauges_forget_flights(s);
	metrics_free(s->metrics);
	free(s);
}

struct turn *session_turn(struct session *s)
{
	return s->turn;
}

const struct session_conf *session_conf(const struct session *s)
{
	return &s->conf;
}

void session_reload(struct session *s, unsigned target)
{
	turn_target_changed(s->turn, target);
}

static void given_up(void *arg)
{
	struct session *s = arg;

	s->stopped(s->stopped_arg);
}

static void pages_ended(void *arg)
{
	struct session *s = arg;

	store_release(turn_store(s->turn), given_up, s);
}

void session_stop(struct session *s, loop_fn fn, void *arg)
{
	s->stopping = true;
	s->stopped = fn;
	s->stopped_arg = arg;
	turn_stop(s->turn, pages_ended, s);
}
