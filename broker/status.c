#include "clock.h"
#include "session_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const state_names[STORE_STATES] = {"down", "standby", "loading", "ready"};

/* ---- values ---- */

static void number(cJSON *to, const char *name, double value)
{
	cJSON_AddNumberToObject(to, name, value);
}

static void text(cJSON *to, const char *name, const char *value)
{
	cJSON_AddStringToObject(to, name, value ? value : "");
}

static void slice(cJSON *to, const char *name, struct slice value)
{
	char *owned = slice_dup(value);

	text(to, name, owned);
	free(owned);
}

static void instant(cJSON *to, const char *name, int64_t unix_ms)
{
	char at[CLOCK_RFC3339];

	if (unix_ms == 0) {
		cJSON_AddNullToObject(to, name);
		return;
	}
	clock_rfc3339(unix_ms, at);
	text(to, name, at);
}

/* A time that may not be known. */
static void maybe(cJSON *to, const char *name, int64_t ms)
{
	if (ms == INT64_MIN)
		cJSON_AddNullToObject(to, name);
	else
		number(to, name, (double)ms);
}

/* ---- targets ---- */

static void add_states(cJSON *to, const struct queue_counts *c)
{
	cJSON *queue = cJSON_AddObjectToObject(to, "queue");

	number(queue, "clean", (double)c->states[QUEUE_CLEAN]);
	number(queue, "ready", (double)c->ready);
	number(queue, "delayed", (double)c->delayed);
	number(queue, "in_flight", (double)c->states[QUEUE_FLIGHT]);
	number(queue, "parked", (double)c->states[QUEUE_PARKED]);
	number(queue, "held", (double)c->held);
	number(queue, "dead", (double)c->states[QUEUE_DEAD]);
}

static double oldest_age_s(const struct queue_counts *c)
{
	int64_t age = clock_unix_ms() - c->oldest_due_unix_ms;

	return c->oldest_due_unix_ms && age > 0 ? (double)age / 1000 : 0;
}

static void add_reconcile(cJSON *to, const struct queue_counts *c)
{
	cJSON *object;

	if (!c->reconciled_unix_ms) {
		cJSON_AddNullToObject(to, "reconcile");
		return;
	}
	object = cJSON_AddObjectToObject(to, "reconcile");
	instant(object, "at", c->reconciled_unix_ms);
	number(object, "at_ms", (double)c->reconciled_unix_ms);
	number(object, "divergent", (double)c->divergent);
	number(object, "unowned", (double)c->unowned);
}

/* What `queue` and `status` say alike. */
static void add_queue(struct session *s, cJSON *to, unsigned t, const struct queue_counts *c)
{
	struct rates rates = gauges_rates(s, t);
	uint64_t backlog = c->ready + c->delayed + c->states[QUEUE_FLIGHT];
	cJSON *object;

	text(to, "name", s->conf.turn.store.targets[t]);
	text(to, "state", gauges_state(s, t, c));
	add_states(to, c);
	number(to, "in_scope", (double)c->in_scope);
	number(to, "oldest_age_s", oldest_age_s(c));
	object = cJSON_AddObjectToObject(to, "rates");
	number(object, "done_per_s", rates.done_per_s);
	number(object, "requests_per_s", rates.requests_per_s);
	if (backlog == 0 || rates.done_per_s <= 0)
		cJSON_AddNullToObject(to, "eta_s");
	else
		number(to, "eta_s", (double)backlog / rates.done_per_s);
	add_reconcile(to, c);
}

static void add_pause(struct session *s, cJSON *to, unsigned t, const struct queue_counts *c)
{
	static const char *const kinds[QUEUE_PAUSE_KINDS] = {"running", "throttled", "auth_failed",
							     "down", "by_operator"};
	cJSON *pause;

	if (c->pause == QUEUE_RUNNING) {
		cJSON_AddNullToObject(to, "pause");
		return;
	}
	pause = cJSON_AddObjectToObject(to, "pause");
	text(pause, "kind", kinds[c->pause]);
	slice(pause, "why", queue_pause_why(turn_queue(s->turn), t));
	instant(pause, "until", c->pause_until_unix_ms);
}

static void add_totals(struct session *s, cJSON *to, unsigned t, const struct queue_counts *c)
{
	cJSON *totals = cJSON_AddObjectToObject(to, "totals"), *verdicts;

	number(totals, "enqueued", (double)c->enqueued);
	number(totals, "coalesced", (double)c->coalesced);
	number(totals, "redelivered", (double)c->redelivered);
	number(totals, "lease_expired", (double)c->lease_expired);
	number(totals, "dead_lettered", (double)c->dead_lettered);
	number(totals, "errors", (double)c->errors);
	number(totals, "parked", (double)c->parked);
	number(totals, "stale", (double)c->stale);
	number(totals, "refused", (double)c->refused);
	number(totals, "requests", (double)s->targets[t].requests);
	verdicts = cJSON_AddObjectToObject(totals, "verdicts");
	for (unsigned i = 0; i < VERDICTS; i++)
		number(verdicts, wire_verdict_name((uint8_t)i), (double)c->verdicts[i]);
}

static void add_workers(struct session *s, cJSON *to, unsigned t)
{
	cJSON *list = cJSON_AddArrayToObject(to, "workers");
	struct peer *p, *next;

	HASH_ITER (by_number, s->by_number, p, next) {
		cJSON *worker;

		if (p->kind != PEER_WORKER || p->index != t)
			continue;
		worker = cJSON_CreateObject();
		text(worker, "name", p->name);
		number(worker, "silent_ms", (double)(loop_now_ms(s->loop) - p->heard_ms));
		number(worker, "credits", p->credits);
		number(worker, "batch", p->batch);
		cJSON_AddBoolToObject(worker, "config_is_new",
				      fp_equal(&p->config, &s->targets[t].config));
		cJSON_AddItemToArray(list, worker);
	}
}

static cJSON *target_status(struct session *s, unsigned t)
{
	cJSON *to = cJSON_CreateObject();
	struct queue_counts c;

	queue_counts(turn_queue(s->turn), t, &c);
	add_queue(s, to, t, &c);
	add_pause(s, to, t, &c);
	number(to, "concurrency", (double)c.concurrency);
	number(to, "credits", (double)c.credits);
	number(to, "desired_workers", gauges_desired(s, t, &c));
	add_totals(s, to, t, &c);
	add_workers(s, to, t);
	return to;
}

/* ---- sources ---- */

static void add_holds(const struct source_view *v, cJSON *to)
{
	cJSON *list = cJSON_AddArrayToObject(to, "holds");

	for (const struct hold *h = v->holds; h; h = h->next) {
		cJSON *hold = cJSON_CreateObject();

		text(hold, "kind", h->kind ? "source" : "group");
		text(hold, "name", h->name);
		number(hold, "was", (double)h->was);
		number(hold, "now", (double)h->now);
		instant(hold, "since", h->since_unix_ms);
		cJSON_AddItemToArray(list, hold);
	}
}

static cJSON *source_status(struct session *s, unsigned i)
{
	const struct source_view *v = &s->sources[i];
	const struct peer *p = v->peer ? session_peer(s, v->peer) : NULL;
	struct queue *q = turn_queue(s->turn);
	cJSON *to = cJSON_CreateObject();

	text(to, "name", s->conf.turn.store.sources[i]);
	cJSON_AddBoolToObject(to, "connected", p && v->directory);
	cJSON_AddBoolToObject(to, "collector", p != NULL);
	text(to, "driver", v->driver);
	maybe(to, "silent_ms", p ? loop_now_ms(s->loop) - p->heard_ms : INT64_MIN);
	number(to, "session", (double)v->session);
	text(to, "server", v->server);
	maybe(to, "lag_ms", v->lag_ms >= 0 ? v->lag_ms : INT64_MIN);
	text(to, "error", v->error);
	number(to, "read", (double)v->read);
	number(to, "published", (double)v->published);
	number(to, "unchanged", (double)v->unchanged);
	number(to, "total", (double)v->total);
	number(to, "users", q ? (double)queue_users(q, i) : 0);
	number(to, "foreign", q ? (double)queue_foreign(q, i) : 0);
	cJSON_AddBoolToObject(to, "distrusted", q && queue_source_distrusted(q, i));
	cJSON_AddBoolToObject(to, "caught_up", q && queue_source_caught_up(q, i));
	maybe(to, "clock_off_ms", v->clock_off_ms);
	add_holds(v, to);
	return to;
}

/* ---- health ---- */

struct checks {
	cJSON *list;
	bool all; /* those that pass, too */
};

/* why: NULL when it passes. */
static void check(const struct checks *to, const char *check, const char *name, const char *why)
{
	cJSON *item;
	struct buf full = {0};

	if (!why && !to->all)
		return;
	item = cJSON_CreateObject();
	buf_addf(&full, "%s%s%s", check, name ? ":" : "", name ? name : "");
	text(item, "check", full.p);
	if (to->all)
		cJSON_AddBoolToObject(item, "ok", !why);
	text(item, "why", why);
	cJSON_AddItemToArray(to->list, item);
	buf_done(&full);
}

static const char *redis_trouble(const struct session *s)
{
	struct store *store = turn_store(s->turn);

	if (store_state(store) == STORE_READY && turn_queue(s->turn))
		return NULL;
	return store_why(store)[0] ? store_why(store) : state_names[store_state(store)];
}

static const char *source_trouble(const struct source_view *v)
{
	if (!v->peer)
		return "no collector";
	if (v->directory)
		return NULL;
	return v->error && v->error[0] ? v->error : "directory not connected";
}

/* A target that throttles is a state, not an illness; neither is a worker that is not there when nothing is due. */
static cJSON *checks(struct session *s, bool all)
{
	const struct checks to = {cJSON_CreateArray(), all};
	const struct store_conf *names = &s->conf.turn.store;
	const char *trouble = redis_trouble(s);
	struct queue_counts c;

	check(&to, "redis", NULL, trouble);
	if (trouble)
		return to.list;
	check(&to, "clock", NULL,
	      s->clock_off ? "more than a minute off Redis' or a directory's clock" : NULL);
	for (unsigned i = 0; i < names->sources_n; i++)
		check(&to, "source", names->sources[i], source_trouble(&s->sources[i]));
	for (unsigned t = 0; t < names->targets_n; t++) {
		queue_counts(turn_queue(s->turn), t, &c);
		check(&to, "target", names->targets[t],
		      c.workers == 0 && c.ready > 0 ? "no worker" : NULL);
	}
	return to.list;
}

cJSON *session_failed(struct session *s)
{
	return checks(s, false);
}

cJSON *session_checks(struct session *s)
{
	return checks(s, true);
}

/* ---- whole answers ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(json_text(*(cJSON *const *)a, "name"), json_text(*(cJSON *const *)b, "name"));
}

/* Adds the objects sorted by name, and takes them. */
static void add_sorted(cJSON *list, cJSON **objects, size_t n)
{
	qsort((void *)objects, n, sizeof(void *), by_name);
	for (size_t i = 0; i < n; i++)
		cJSON_AddItemToArray(list, objects[i]);
}

static void add_broker(struct session *s, cJSON *to)
{
	struct store *store = turn_store(s->turn);
	struct wire_epoch epoch = store_epoch(store);
	char nonce[20];
	cJSON *object;

	text(to, "realm", s->conf.turn.store.realm);
	text(to, "version", DIRPIPE_VERSION);
	number(to, "pid", getpid());
	number(to, "uptime_s", (double)(loop_now_ms(s->loop) - s->started_ms) / 1000);
	instant(to, "now", clock_unix_ms());
	text(to, "state", state_names[store_state(store)]);
	text(to, "why", store_why(store));
	object = cJSON_AddObjectToObject(to, "epoch");
	number(object, "number", (double)epoch.number);
	snprintf(nonce, sizeof(nonce), "%016" PRIx64, epoch.nonce);
	text(object, "nonce", nonce);
	number(to, "page", turn_queue(s->turn) ? (double)(store_next_page(store) - 1) : 0);
	number(to, "pages_under_way", (double)store_under_way(store));
	object = cJSON_AddObjectToObject(to, "redis");
	cJSON_AddBoolToObject(object, "up", store_state(store) != STORE_DOWN);
	number(object, "roundtrip_ms", (double)store_roundtrip_ms(store));
	number(object, "quarantined", (double)store_quarantined(store));
}

static void add_peers(struct session *s, cJSON *to)
{
	cJSON *object = cJSON_AddObjectToObject(to, "peers");
	double kinds[PEER_KINDS] = {0};
	struct peer *p, *next;

	HASH_ITER (by_number, s->by_number, p, next)
		kinds[p->kind]++;
	number(object, "collectors", kinds[PEER_COLLECTOR]);
	number(object, "workers", kinds[PEER_WORKER]);
	number(object, "malformed", (double)s->malformed);
	number(object, "refused", (double)s->refused);
}

cJSON *session_status(struct session *s)
{
	cJSON *to = cJSON_CreateObject(), *health, *failed;
	size_t sources_n = s->conf.turn.store.sources_n, targets_n = s->conf.turn.store.targets_n;
	cJSON **objects = mem_array(sources_n + targets_n + 1, sizeof(void *));

	add_broker(s, to);
	health = cJSON_AddObjectToObject(to, "health");
	failed = session_failed(s);
	cJSON_AddBoolToObject(health, "ok", cJSON_GetArraySize(failed) == 0);
	cJSON_AddItemToObject(health, "failed", failed);
	add_peers(s, to);
	for (unsigned i = 0; i < sources_n; i++)
		objects[i] = source_status(s, i);
	add_sorted(cJSON_AddArrayToObject(to, "sources"), objects, sources_n);
	for (unsigned t = 0; turn_queue(s->turn) && t < targets_n; t++)
		objects[t] = target_status(s, t);
	add_sorted(cJSON_AddArrayToObject(to, "targets"), objects,
		   turn_queue(s->turn) ? targets_n : 0);
	free((void *)objects);
	return to;
}

cJSON *session_queue(struct session *s, struct slice target)
{
	size_t n = 0, targets_n = s->conf.turn.store.targets_n;
	cJSON **objects = mem_array(targets_n + 1, sizeof(void *));
	cJSON *to = NULL;
	struct queue_counts c;

	for (unsigned t = 0; t < targets_n; t++) {
		if (target.n > 0 && !slice_is(target, s->conf.turn.store.targets[t]))
			continue;
		queue_counts(turn_queue(s->turn), t, &c);
		objects[n] = cJSON_CreateObject();
		add_queue(s, objects[n++], t, &c);
	}
	if (n > 0 || target.n == 0) {
		to = cJSON_CreateObject();
		add_sorted(cJSON_AddArrayToObject(to, "targets"), objects, n);
	}
	free((void *)objects);
	return to;
}

cJSON *session_stats(struct session *s)
{
	cJSON *to = cJSON_CreateObject();
	cJSON *targets = cJSON_AddObjectToObject(to, "targets");
	struct queue_counts c;

	for (unsigned t = 0; turn_queue(s->turn) && t < s->conf.turn.store.targets_n; t++) {
		cJSON *target = cJSON_AddObjectToObject(targets, s->conf.turn.store.targets[t]);

		queue_counts(turn_queue(s->turn), t, &c);
		number(target, "ready", (double)c.ready);
		number(target, "delayed", (double)c.delayed);
		number(target, "in_flight", (double)c.states[QUEUE_FLIGHT]);
		number(target, "parked", (double)c.states[QUEUE_PARKED]);
		number(target, "held", (double)c.held);
		number(target, "dead", (double)c.states[QUEUE_DEAD]);
		number(target, "oldest_age_seconds", oldest_age_s(&c));
		number(target, "desired_workers", gauges_desired(s, t, &c));
	}
	return to;
}
