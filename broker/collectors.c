#include "clock.h"
#include "log.h"
#include "session_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A new session says again what it holds. */
void collectors_forget_holds(struct source_view *v)
{
	while (v->holds) {
		struct hold *h = v->holds;

		v->holds = h->next;
		free(h->name);
		free(h);
	}
}

static void view_session(struct source_view *v, const struct peer *p, const struct wire_hello *h)
{
	v->peer = p->number;
	v->session = p->session;
	v->beaten = false;
	v->clock_off_ms = h->clock_unix_ms ? clock_unix_ms() - h->clock_unix_ms : INT64_MIN;
	session_remember(&v->driver, h->driver);
	collectors_forget_holds(v);
}

/* One collector serves a source; a second stands by. Whether the first is still there is asked of the connection: a
 * process that was killed does not keep its successor waiting. */
static bool taken_by_another(struct session *s, struct peer *p, unsigned source, uint64_t nonce)
{
	uint64_t number = s->sources[source].peer;
	struct peer *other = number && number != p->number ? session_peer(s, number) : NULL;

	if (!other || other->nonce == nonce)
		return false;
	answers_beat(s, other);
	if (!session_peer(s, number))
		return false;
	answers_fenced(s, p, s->sources[source].session);
	/* It has no part yet. */
	if (p->kind == PEER_NEW)
		session_peer_forget(s, p);
	return true;
}

void collectors_hello(struct session *s, const struct bus_message *m)
{
	struct wire_hello h;
	struct queue_page *page;
	struct peer *p;
	unsigned source;

	if (wire_get_hello(m->body, &h) < 0 || h.epoch_seen >> STORE_EPOCH_BITS) {
		session_malformed(s, m, WIRE_VERB_hello, "malformed hello");
		return;
	}
	store_epoch_seen(turn_store(s->turn), h.epoch_seen);
	page = turn_page(s->turn);
	if (!page) {
		session_wait(s, m);
		return;
	}
	source = queue_source_named(turn_queue(s->turn), h.source);
	if (source == QUEUE_NOBODY || !session_may_speak_for(m, h.source)) {
		session_refuse(s, m,
			       source == QUEUE_NOBODY
				       ? "no such source in the broker's configuration"
				       : "this key may not speak for that source");
		return;
	}
	p = session_routed(s, m->peer);
	if (p && (p->kind == PEER_WORKER || (p->kind == PEER_COLLECTOR && p->index != source))) {
		session_refuse(s, m, "this connection has another part already");
		return;
	}
	if (!p)
		p = session_peer_new(s, m);
	if (!p) {
		session_refuse(s, m, "too many peers");
		return;
	}
	if (taken_by_another(s, p, source, h.nonce))
		return;
	/* A repeated HELLO while the first is being answered changes nothing. */
	if (p->known && p->nonce == h.nonce && welcome_unsent(p))
		return;
	welcome_end(p);
	p->kind = PEER_COLLECTOR;
	p->index = source;
	p->heard_ms = loop_now_ms(s->loop);
	p->nonce = h.nonce;
	p->config = h.config;
	p->known = true;
	session_remember(&p->driver, h.driver);
	p->session = queue_hello(turn_queue(s->turn), page, source, p->number);
	view_session(&s->sources[source], p, &h);
	session_log_peer(s, p, LOG_INFO_, "DP-1203", "collector connected", NULL);
	welcome_begin(s, p);
}

static void publish(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_publish w;
	int rc;

	if (wire_get_publish(m->body, &w) < 0) {
		session_malformed(s, m, WIRE_VERB_publish, "malformed publish");
		return;
	}
	rc = queue_publish(turn_queue(s->turn), turn_page(s->turn), p->number, &w, p->config);
	if (rc == -EPROTO)
		session_malformed(s, m, WIRE_VERB_publish, "a gap in the batches");
}

static void view_hold(struct source_view *v, const struct wire_hold *w)
{
	struct hold **at = &v->holds, *h;

	while (*at && !((*at)->kind == w->kind && slice_is(w->name, (*at)->name)))
		at = &(*at)->next;
	h = *at;
	if (!w->active) {
		if (h) {
			*at = h->next;
			free(h->name);
			free(h);
		}
		return;
	}
	if (!h) {
		h = mem_alloc(sizeof(*h));
		h->kind = w->kind;
		h->name = slice_dup(w->name);
		h->since_unix_ms = clock_unix_ms();
		*at = h;
	}
	h->was = w->was;
	h->now = w->now;
}

static void hold(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_hold w;
	struct log_line l;

	if (wire_get_hold(m->body, &w) < 0 || w.kind > 1 || w.active > 1) {
		session_malformed(s, m, WIRE_VERB_hold, "malformed hold");
		return;
	}
	if (w.session != p->session)
		return; /* an older one: its PUBLISH is told so */
	queue_hold(turn_queue(s->turn), turn_page(s->turn), p->index, &w);
	view_hold(&s->sources[p->index], &w);
	l = log_begin(w.active ? LOG_WARN_ : LOG_INFO_, "DP-1204",
		      w.active ? "shrank past the guard: members kept until confirmed"
			       : "no longer held");
	log_text(&l, "source", session_subject(s, p));
	log_text(&l, "kind", w.kind ? "source" : "group");
	log_slice(&l, "name", w.name);
	log_int(&l, "was", (int64_t)w.was);
	log_int(&l, "now", (int64_t)w.now);
	log_end(&l);
}

/* BEAT says whether the directory is there and the newest trouble, not how often: each new one is counted once. A new
 * session that is not yet connected has lost nothing. */
static void count_errors(struct source_view *v, const struct wire_beat *b)
{
	bool lost = v->beaten && v->directory && !b->state;
	bool told = b->text.n > 0 && !(v->error && slice_is(b->text, v->error));

	if (!b->state)
		v->unavailable += lost || told;
	else
		v->reported += told;
}

static void view_beat(struct session *s, unsigned source, const struct wire_beat *b)
{
	struct source_view *v = &s->sources[source];

	if (b->lag_ms >= 0)
		metrics_observe(s->metrics, "source_lag_seconds",
				metrics_labels("source", s->conf.turn.store.sources[source], NULL),
				(double)b->lag_ms / 1000);
	count_errors(v, b);
	v->beaten = true;
	v->directory = b->state != 0;
	v->lag_ms = b->lag_ms;
	v->clock_off_ms = b->clock_unix_ms ? clock_unix_ms() - b->clock_unix_ms : INT64_MIN;
	v->read = b->read;
	v->published = b->published;
	v->unchanged = b->unchanged;
	v->total = b->total;
	session_remember(&v->server, b->server);
	session_remember(&v->error, b->text);
}

static void beat(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_beat b;

	if (wire_get_beat(m->body, &b) < 0)
		session_malformed(s, m, WIRE_VERB_beat, "malformed beat");
	else if (s->sources[p->index].peer == p->number)
		view_beat(s, p->index, &b);
}

bool collectors_frame(struct session *s, const struct bus_message *m, struct peer *p)
{
	if (m->header.verb == WIRE_VERB_publish)
		publish(s, m, p);
	else if (m->header.verb == WIRE_VERB_hold)
		hold(s, m, p);
	else if (m->header.verb == WIRE_VERB_beat)
		beat(s, m, p);
	else
		return false;
	return true;
}
