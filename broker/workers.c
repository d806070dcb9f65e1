#include "log.h"
#include "session_impl.h"

#include <errno.h>
#include <string.h>

static bool config_seen(const struct target_view *v, const struct fp *config)
{
	for (size_t i = 0; i < v->configs_n; i++)
		if (fp_equal(&v->configs[i], config))
			return true;
	return false;
}

void workers_config(struct session *s, unsigned target, const struct fp *config)
{
	struct target_view *v = &s->targets[target];

	v->configs = mem_resize(v->configs, (v->configs_n + 1) * sizeof(*v->configs));
	v->configs[v->configs_n++] = *config;
	v->config = *config;
	s->conf.turn.targets[target].config = *config;
}

/* Hash of a worker's mapping, policy and driver. The newest wins: one that this broker has not heard of yet. In a
 * rolling restart the old workers go on saying the old one, which must not turn everybody around again. */
static void newer_config(struct session *s, unsigned target, const struct peer *p)
{
	struct target_view *v = &s->targets[target];
	struct log_line l;

	if (fp_is_none(&p->config) || fp_equal(&v->config, &p->config))
		return;
	if (config_seen(v, &p->config) || v->configs_n == CONFIGS_MAX) {
		session_log_peer(s, p, LOG_INFO_, "DP-1205", "worker with an older configuration",
				 NULL);
		return;
	}
	workers_config(s, target, &p->config);
	l = log_begin(LOG_INFO_, "DP-1206", "newer configuration of the workers");
	log_text(&l, "target", s->conf.turn.targets[target].name);
	log_text(&l, "peer", p->name);
	log_int(&l, "seen", (int64_t)v->configs_n);
	log_end(&l);
	turn_target_changed(s->turn, target);
}

bool session_config_is(const struct session *s, unsigned target, const struct fp *config)
{
	return fp_equal(&s->targets[target].config, config);
}

/* The same process on a new connection: its old route is dead, whatever the silence says. */
static void same_process_gone(struct session *s, const struct peer *p)
{
	struct peer *old, *next;

	HASH_ITER (by_number, s->by_number, old, next) {
		if (old != p && old->kind == PEER_WORKER && old->nonce == p->nonce &&
		    old->key == p->key && strcmp(old->name, p->name) == 0)
			session_peer_gone(s, old, "connected anew");
	}
}

static void enlist(struct session *s, const struct bus_message *m, struct peer *p, unsigned target,
		   const struct wire_ready *r)
{
	bool first = !p->known;
	int rc;

	p->kind = PEER_WORKER;
	p->index = target;
	p->heard_ms = loop_now_ms(s->loop);
	p->nonce = r->nonce;
	p->config = r->config;
	p->credits = r->credits;
	p->batch = r->batch;
	session_remember(&p->name, r->worker);
	session_remember(&p->driver, r->driver);
	same_process_gone(s, p);
	newer_config(s, target, p);
	rc = queue_ready(turn_queue(s->turn), turn_page(s->turn), p->number, target, r);
	if (rc < 0) {
		session_refuse(s, m,
			       rc == -EBUSY ? "another worker process has this nonce"
					    : "no room for another worker");
		session_peer_forget(s, p);
		return;
	}
	p->known = true;
	if (first)
		session_log_peer(s, p, LOG_INFO_, "DP-1207", "worker connected", NULL);
	/* So that it knows the epoch before the first task. */
	answers_beat(s, p);
}

void workers_ready(struct session *s, const struct bus_message *m)
{
	struct wire_ready r;
	struct peer *p;
	unsigned target;

	if (wire_get_ready(m->body, &r) < 0 || r.epoch_seen >> STORE_EPOCH_BITS) {
		session_malformed(s, m, WIRE_VERB_ready, "malformed ready");
		return;
	}
	store_epoch_seen(turn_store(s->turn), r.epoch_seen);
	if (!turn_page(s->turn)) {
		session_wait(s, m);
		return;
	}
	target = queue_target_named(turn_queue(s->turn), r.target);
	if (target == QUEUE_NOBODY || !session_may_speak_for(m, r.target)) {
		session_refuse(s, m,
			       target == QUEUE_NOBODY
				       ? "no such target in the broker's configuration"
				       : "this key may not speak for that target");
		return;
	}
	p = session_routed(s, m->peer);
	if (p && (p->kind == PEER_COLLECTOR || (p->kind == PEER_WORKER && p->index != target))) {
		session_refuse(s, m, "this connection has another part already");
		return;
	}
	if (!p)
		p = session_peer_new(s, m);
	if (p)
		enlist(s, m, p, target, &r);
	else
		session_refuse(s, m, "too many peers");
}

static void note(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_note w;

	if (wire_get_note(m->body, &w) < 0) {
		session_malformed(s, m, WIRE_VERB_note, "malformed note");
		return;
	}
	queue_note(turn_queue(s->turn), turn_page(s->turn), p->number, &w);
}

static void result(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_result w;

	if (wire_get_result(m->body, &w) < 0 || w.verdict >= VERDICTS) {
		session_malformed(s, m, WIRE_VERB_result, "malformed result");
		return;
	}
	gauges_result(s, p->index, &w);
	queue_result(turn_queue(s->turn), turn_page(s->turn), p->number, &w);
}

static void leave(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_leave w;

	if (wire_get_leave(m->body, &w) < 0) {
		session_malformed(s, m, WIRE_VERB_leave, "malformed leave");
		return;
	}
	queue_leave(turn_queue(s->turn), turn_page(s->turn), p->number);
	p->credits = 0;
	session_log_peer(s, p, LOG_INFO_, "DP-1208", "worker leaves", NULL);
}

static void beat(struct session *s, const struct bus_message *m, struct peer *p)
{
	struct wire_beat b;

	if (wire_get_beat(m->body, &b) < 0)
		session_malformed(s, m, WIRE_VERB_beat, "malformed beat");
	else
		queue_worker_beat(turn_queue(s->turn), p->number, b.clock_boot_ms);
}

bool workers_frame(struct session *s, const struct bus_message *m, struct peer *p)
{
	if (m->header.verb == WIRE_VERB_result)
		result(s, m, p);
	else if (m->header.verb == WIRE_VERB_note)
		note(s, m, p);
	else if (m->header.verb == WIRE_VERB_beat)
		beat(s, m, p);
	else if (m->header.verb == WIRE_VERB_leave)
		leave(s, m, p);
	else
		return false;
	return true;
}
