#include "clock.h"
#include "session_impl.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A user in flight: how long it was due before, so that the end-to-end time is known when it is done. */
struct flight {
	struct flight_key {
		struct id user;
		uint32_t target;
	} key;
	uint8_t lane;
	int64_t due_ms;
	UT_hash_handle hh;
};

enum { DESIRED_MOST = 64, BACKLOG_GOAL_S = 60 };

static const struct {
	enum metrics_kind kind;
	const char *name, *help;
} families[] = {
	{METRICS_GAUGE, "build_info", "Version of the broker; always 1."},
	{METRICS_GAUGE, "config_generation",
	 "How often the configuration was read, reloads included."},
	{METRICS_GAUGE, "config_last_reload_successful", "1 when the last reload was taken."},
	{METRICS_GAUGE, "config_last_reload_timestamp_seconds",
	 "When the configuration was last taken."},
	{METRICS_GAUGE, "source_connected",
	 "1 when the collector is there and its directory answers."},
	{METRICS_GAUGE, "source_users", "Users known of the source."},
	{METRICS_GAUGE, "source_distrusted", "1 until the source has caught up after a loss."},
	{METRICS_COUNTER, "source_read_total", "Entries that the collector read."},
	{METRICS_COUNTER, "source_published_total", "Users that the collector published."},
	{METRICS_COUNTER, "source_unchanged_total",
	 "Entries read that were equal to what was known."},
	{METRICS_COUNTER, "source_changes_total",
	 "Changes committed: add (an id seen for the first time), modify, delete (gone). A "
	 "rename is a modify: it cannot be told apart here."},
	{METRICS_COUNTER, "source_errors_total",
	 "Troubles: unavailable (the directory was lost or could not be reached), reported (said "
	 "while connected), foreign_id (an id that another source owns was refused)."},
	{METRICS_GAUGE, "source_last_change_timestamp_seconds",
	 "When a change of the source was last committed by this broker."},
	{METRICS_GAUGE, "source_cursor_timestamp_seconds",
	 "When a cursor of the source was last committed by this broker."},
	{METRICS_HISTOGRAM, "source_lag_seconds", "How far the collector is behind the directory."},
	{METRICS_GAUGE, "queue_messages", "Users at a target by state of the queue."},
	{METRICS_GAUGE, "queue_oldest_message_age_seconds", "Age of the oldest change that waits."},
	{METRICS_COUNTER, "queue_enqueued_total", "Users that became due."},
	{METRICS_COUNTER, "queue_coalesced_total",
	 "Changes that fell together with one that waited."},
	{METRICS_COUNTER, "queue_redelivered_total", "Tasks given out again."},
	{METRICS_COUNTER, "queue_lease_expired_total", "Leases that ran out."},
	{METRICS_COUNTER, "queue_dead_lettered_total", "Users given up until something changes."},
	{METRICS_COUNTER, "queue_parked_total", "Users that wait for a condition."},
	{METRICS_COUNTER, "queue_errors_total", "Lines of the error log."},
	{METRICS_COUNTER, "queue_stale_results_total", "Results whose lease was over."},
	{METRICS_COUNTER, "operations_total", "What workers did, by operation and result."},
	{METRICS_HISTOGRAM, "operation_duration_seconds", "Time of a worker for one user."},
	{METRICS_HISTOGRAM, "end_to_end_seconds",
	 "From the change's arrival to the target's answer."},
	{METRICS_COUNTER, "target_http_requests_total", "Requests to the target, by last status."},
	{METRICS_COUNTER, "target_throttled_total", "How often the target asked for a pause."},
	{METRICS_GAUGE, "target_state",
	 "1 for the state that the target is in: ok, degraded (over 40 % of the last 200 results "
	 "failed), quarantined (it refuses the credentials) or paused."},
	{METRICS_GAUGE, "target_budget_tokens",
	 "Requests that the target's budget allows at once; negative when more were sent than was "
	 "foreseen."},
	{METRICS_GAUGE, "target_throttle_remaining_ratio",
	 "Share of those that is left; 0 while the target itself asked for a pause, 1 without a "
	 "budget."},
	{METRICS_GAUGE, "guard_held_operations", "Destructive operations that wait for a word."},
	{METRICS_GAUGE, "licences",
	 "People from whom a licence was taken (revoked), or who wait for a seat (waiting)."},
	{METRICS_GAUGE, "divergent_objects",
	 "Accounts that were not as the directory says, when all were compared last."},
	{METRICS_GAUGE, "unowned_objects", "Accounts then that are nobody's: never touched."},
	{METRICS_GAUGE, "reconcile_last_success_timestamp_seconds",
	 "When all accounts were compared last; 0: never."},
	{METRICS_GAUGE, "workers", "Workers that are there."},
	{METRICS_GAUGE, "worker_info",
	 "1 when a worker with this driver is there, whose configuration is the newest or an "
	 "older one."},
	{METRICS_GAUGE, "desired_workers",
	 "Workers that would empty the queue in a minute, within the target's budget."},
	{METRICS_GAUGE, "redis_up", "1 when this broker is active and Redis answers."},
	{METRICS_HISTOGRAM, "redis_roundtrip_seconds", "Time of a page until it is stored."},
	{METRICS_COUNTER, "store_quarantined_total", "Foreign or broken records set aside."},
	{METRICS_COUNTER, "frames_malformed_total", "Frames that could not be read."},
	{METRICS_COUNTER, "frames_refused_total", "Frames of another epoch, role or part."},
	{METRICS_GAUGE, "loop_lag_seconds", "Worst lateness of a timer in the last second."},
	{METRICS_GAUGE, "broker_state", "1 for the state that this broker is in."},
};

void gauges_declare(struct session *s)
{
	for (size_t i = 0; i < sizeof(families) / sizeof(families[0]); i++)
		metrics_declare(s->metrics, families[i].kind, families[i].name, families[i].help);
	metrics_set(s->metrics, "build_info", metrics_labels("version", DIRPIPE_VERSION, NULL), 1);
	metrics_set(s->metrics, "loop_lag_seconds", "", 0);
}

/* ---- results ---- */

static const char *const operations[] = {
	"create",     "update",	       "delete", "disable",	      "enable",
	"password",   "restore",       "claim",	 "licence_assign",    "licence_revoke",
	"member_add", "member_remove", "read",	 "licence_reinstate", "revoke_sessions"};

/* A name that is not in the list would let a worker make as many series as it likes. */
static const char *operation(struct slice name)
{
	for (size_t i = 0; i < sizeof(operations) / sizeof(operations[0]); i++)
		if (slice_is(name, operations[i]))
			return operations[i];
	return "other";
}

static const char *result_name(uint8_t verdict, bool nothing_done)
{
	switch ((enum wire_verdict)verdict) {
	case VERDICT_DONE:
		return nothing_done ? "skipped" : "success";
	case VERDICT_PARKED:
		return "parked";
	case VERDICT_REJECTED:
		return "dead";
	case VERDICT_RETRY:
	case VERDICT_THROTTLED:
	case VERDICT_AUTH_FAILED:
	case VERDICT_DOWN:
	case VERDICTS:
		break;
	}
	return "retry";
}

static void count_operations(struct session *s, const char *target, const struct wire_result *r)
{
	struct slice rest = r->ops;
	const char *result = result_name(r->verdict, rest.n == 0);
	double seconds = (double)r->took_ms / 1000;

	if (rest.n == 0)
		metrics_add(s->metrics, "operations_total",
			    metrics_labels("target", target, "op", "none", "result", result, NULL),
			    1);
	while (rest.n > 0) {
		const char *space = memchr(rest.p, ' ', rest.n);
		size_t n = space ? (size_t)(space - rest.p) : rest.n;
		const char *op = operation((struct slice){rest.p, n});

		if (n > 0) {
			metrics_add(
				s->metrics, "operations_total",
				metrics_labels("target", target, "op", op, "result", result, NULL),
				1);
			metrics_observe(s->metrics, "operation_duration_seconds",
					metrics_labels("target", target, "op", op, NULL), seconds);
		}
		n += space != NULL;
		rest = (struct slice){rest.p + n, rest.n - n};
	}
}

void gauges_result(struct session *s, unsigned target, const struct wire_result *r)
{
	const char *name = s->conf.turn.store.targets[target];
	char code[16] = "none";

	count_operations(s, name, r);
	if (r->status >= 100 && r->status <= 599)
		snprintf(code, sizeof(code), "%" PRIu32, r->status);
	if (r->requests > 0)
		metrics_add(s->metrics, "target_http_requests_total",
			    metrics_labels("target", name, "code", code, NULL), r->requests);
	if (r->verdict == VERDICT_THROTTLED)
		metrics_add(s->metrics, "target_throttled_total",
			    metrics_labels("target", name, NULL), 1);
	s->targets[target].requests += r->requests;
}

/* Throttling and parking say nothing about how well it goes. */
static void outcome(struct target_view *v, uint8_t verdict)
{
	bool *slot = &v->failed[v->outcomes % OUTCOMES];
	bool failed = verdict != VERDICT_DONE;

	if (verdict >= VERDICTS || verdict == VERDICT_PARKED || verdict == VERDICT_THROTTLED)
		return;
	v->failures += failed;
	v->failures -= *slot;
	*slot = failed;
	v->outcomes++;
}

static bool degraded(const struct target_view *v)
{
	uint64_t n = v->outcomes < OUTCOMES ? v->outcomes : OUTCOMES;

	return n >= OUTCOMES_LEAST && 100UL * v->failures > n * DEGRADED_PERCENT;
}

const char *gauges_state(const struct session *s, unsigned target, const struct queue_counts *c)
{
	if (c->pause == QUEUE_AUTH_FAILED)
		return "quarantined";
	if (c->pause != QUEUE_RUNNING)
		return "paused";
	return degraded(&s->targets[target]) ? "degraded" : "ok";
}

/* ---- pages ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
static struct flight *flight_of(struct session *s, const struct id *user, unsigned target,
				bool make)
{
	struct flight_key key;
	struct flight *f;

	memset(&key, 0, sizeof(key));
	key.user = *user;
	key.target = target;
	HASH_FIND(hh, s->flights, &key, sizeof(key), f);
	if (f || !make)
		return f;
	f = mem_alloc(sizeof(*f));
	f->key = key;
	HASH_ADD(hh, s->flights, key, sizeof(f->key), f);
	return f;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void landed(struct session *s, const struct queue_move *m)
{
	struct flight *f = flight_of(s, &m->user, m->target, false);

	if (!f)
		return;
	if (m->verdict == VERDICT_DONE)
		metrics_observe(s->metrics, "end_to_end_seconds",
				metrics_labels("target", s->conf.turn.store.targets[m->target],
					       "priority", f->lane == QUEUE_LIVE ? "live" : "bulk",
					       NULL),
				(double)(f->due_ms + m->took_ms) / 1000);
	HASH_DEL(s->flights, f);
	free(f);
}

static void committed(struct source_view *v, const struct queue_effect *e, int64_t now)
{
	if (e->kind == QUEUE_PUT_CURSOR) {
		v->cursor_unix_ms = now;
	} else if (e->change != QUEUE_SAME) {
		v->changes[e->change]++;
		v->changed_unix_ms = now;
	}
}

void gauges_page(struct session *s, const struct queue_page *page)
{
	int64_t now = clock_unix_ms();

	for (size_t i = 0; i < page->moves_n; i++) {
		const struct queue_move *m = &page->moves[i];

		if (m->target >= s->conf.turn.store.targets_n)
			continue;
		if (m->from == QUEUE_FLIGHT) {
			s->targets[m->target].done += m->verdict == VERDICT_DONE;
			outcome(&s->targets[m->target], m->verdict);
			landed(s, m);
		}
		if (m->to == QUEUE_FLIGHT)
			flight_of(s, &m->user, m->target, true)->due_ms = m->took_ms;
	}
	for (size_t i = 0; i < page->effects_n; i++) {
		const struct queue_effect *e = &page->effects[i];

		if (e->kind == QUEUE_DISPATCH)
			flight_of(s, &e->user, e->target, true)->lane = e->old_lane;
		else if (e->kind == QUEUE_PUT_USER || e->kind == QUEUE_PUT_CURSOR)
			committed(&s->sources[e->source], e, now);
	}
	if (page->effects_n > 0)
		metrics_observe(s->metrics, "redis_roundtrip_seconds", "",
				(double)store_roundtrip_ms(turn_store(s->turn)) / 1000);
}

// NOLINTNEXTLINE(readability-function-size): uthash
void gauges_forget_flights(struct session *s)
{
	struct flight *f, *next;

	HASH_ITER (hh, s->flights, f, next) {
		HASH_DEL(s->flights, f); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(f);
	}
}

/* ---- once a second ---- */

void gauges_sample(struct session *s)
{
	for (size_t i = 0; i < s->conf.turn.store.targets_n; i++) {
		struct target_view *v = &s->targets[i];

		memmove(&v->samples[1], &v->samples[0], RATE_SECONDS * sizeof(v->samples[0]));
		v->samples[0] = (struct rate_sample){v->requests, v->done};
		if (v->samples_n <= RATE_SECONDS)
			v->samples_n++;
	}
	metrics_set(s->metrics, "loop_lag_seconds", "", (double)loop_lag_ms(s->loop) / 1000);
}

struct rates gauges_rates(const struct session *s, unsigned target)
{
	const struct target_view *v = &s->targets[target];
	const struct rate_sample *oldest;
	double seconds = v->samples_n;

	if (v->samples_n < 1)
		return (struct rates){0};
	oldest = &v->samples[v->samples_n - 1];
	return (struct rates){(double)(v->done - oldest->done) / seconds,
			      (double)(v->requests - oldest->requests) / seconds};
}

/* min(what empties the queue in a minute at today's rate per worker, what the budget of requests feeds, most). */
unsigned gauges_desired(const struct session *s, unsigned target, const struct queue_counts *c)
{
	const struct queue_target_conf *conf = &s->conf.turn.targets[target];
	struct rates now = gauges_rates(s, target);
	double workers = c->workers > 0 ? (double)c->workers : 1;
	double each = now.done_per_s / workers, want = 1, fed = DESIRED_MOST;
	uint64_t backlog = c->ready + c->states[QUEUE_FLIGHT];

	if (backlog == 0)
		return 0;
	if (each > 0)
		want = (double)backlog / (each * BACKLOG_GOAL_S);
	if (conf->budget > 0 && now.requests_per_s > 0)
		fed = (double)conf->budget * 1000 / (double)conf->budget_per_ms /
		      (now.requests_per_s / workers);
	if (want >= DESIRED_MOST)
		want = DESIRED_MOST;
	want = (unsigned)want + ((double)(unsigned)want < want);
	if (want > fed)
		want = (unsigned)fed;
	return want < 1 ? 1 : (unsigned)want;
}

/* ---- the text ---- */

enum { DRIVERS = 2 };

static const char *const drivers[DRIVERS + 1] = {"graph", "scim", "other"};

static void set(struct session *s, const char *name, const char *labels, double value)
{
	metrics_set(s->metrics, name, labels, value);
}

static void set_pace(struct session *s, unsigned t, const struct queue_counts *c)
{
	static const char *const states[] = {"ok", "degraded", "quarantined", "paused"};
	const char *name = s->conf.turn.store.targets[t], *state = gauges_state(s, t, c);
	const char *label = metrics_labels("target", name, NULL);
	double tokens, full, left = 1;

	if (queue_tokens(turn_queue(s->turn), t, loop_now_ms(s->loop), &tokens, &full)) {
		set(s, "target_budget_tokens", label, tokens);
		left = tokens > 0 ? tokens / full : 0;
	} else {
		metrics_forget(s->metrics, "target_budget_tokens", label);
	}
	set(s, "target_throttle_remaining_ratio", label, c->pause == QUEUE_THROTTLED ? 0 : left);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		set(s, "target_state", metrics_labels("target", name, "state", states[i], NULL),
		    strcmp(states[i], state) == 0);
}

/* A worker says its driver's name: what is not ours goes under one label. */
static unsigned driver(const struct peer *p)
{
	unsigned i = 0;

	while (i < DRIVERS && !(p->driver && strcmp(p->driver, drivers[i]) == 0))
		i++;
	return i;
}

static void set_worker_info(struct session *s, unsigned t)
{
	static const char *const configs[] = {"older", "newest"};
	bool there[DRIVERS + 1][2] = {{0}};
	struct peer *p, *next;

	HASH_ITER (by_number, s->by_number, p, next) {
		if (p->kind == PEER_WORKER && p->index == t)
			there[driver(p)][fp_equal(&p->config, &s->targets[t].config)] = true;
	}
	for (unsigned i = 0; i < 2 * (DRIVERS + 1); i++) {
		const char *labels =
			metrics_labels("target", s->conf.turn.store.targets[t], "driver",
				       drivers[i / 2], "config", configs[i % 2], NULL);

		if (there[i / 2][i % 2])
			set(s, "worker_info", labels, 1);
		else
			metrics_forget(s->metrics, "worker_info", labels);
	}
}

static void set_licence(struct session *s, unsigned t, const char *item, const char *state,
			uint64_t people)
{
	struct target_view *v = &s->targets[t];
	const char *labels = metrics_labels("target", s->conf.turn.store.targets[t], "sku", item,
					    "state", state, NULL);

	v->licences = mem_resize((void *)v->licences, (v->licences_n + 1) * sizeof(*v->licences));
	v->licences[v->licences_n++] = mem_dup(labels);
	set(s, "licences", labels, (double)people);
}

static void forget_licences(struct session *s, struct target_view *v)
{
	for (size_t i = 0; i < v->licences_n; i++) {
		if (s)
			metrics_forget(s->metrics, "licences", v->licences[i]);
		free(v->licences[i]);
	}
	v->licences_n = 0;
}

void gauges_target_done(struct target_view *v)
{
	forget_licences(NULL, v);
	free((void *)v->licences);
	free(v->configs);
}

static void set_licences(struct session *s, unsigned t)
{
	struct queue_taken taken;
	struct slice sku;
	uint64_t n;

	forget_licences(s, &s->targets[t]);
	for (unsigned i = 0; (n = queue_seats(turn_queue(s->turn), t, &i, &sku)) > 0;) {
		CLEANUP(free_cleanup) char *text = slice_dup(sku);

		set_licence(s, t, text, "waiting", n);
	}
	queue_taken(turn_queue(s->turn), t, &taken);
	for (size_t i = 0; i < taken.n; i++)
		set_licence(s, t, taken.items[i].name, "revoked", taken.items[i].people);
	queue_taken_done(&taken);
}

static void set_target(struct session *s, unsigned t, int64_t now)
{
	const char *name = s->conf.turn.store.targets[t], *label;
	struct queue_counts c;

	queue_counts(turn_queue(s->turn), t, &c);
	const struct {
		const char *state;
		uint64_t n;
	} states[] = {{"ready", c.ready},
		      {"delayed", c.delayed},
		      {"in_flight", c.states[QUEUE_FLIGHT]},
		      {"parked", c.states[QUEUE_PARKED]},
		      {"held", c.held},
		      {"dead", c.states[QUEUE_DEAD]}};

	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		set(s, "queue_messages",
		    metrics_labels("target", name, "state", states[i].state, NULL),
		    (double)states[i].n);
	label = metrics_labels("target", name, NULL);
	set(s, "queue_oldest_message_age_seconds", label,
	    c.oldest_due_unix_ms && now > c.oldest_due_unix_ms
		    ? (double)(now - c.oldest_due_unix_ms) / 1000
		    : 0);
	set(s, "queue_enqueued_total", label, (double)c.enqueued);
	set(s, "queue_coalesced_total", label, (double)c.coalesced);
	set(s, "queue_redelivered_total", label, (double)c.redelivered);
	set(s, "queue_lease_expired_total", label, (double)c.lease_expired);
	set(s, "queue_dead_lettered_total", label, (double)c.dead_lettered);
	set(s, "queue_parked_total", label, (double)c.parked);
	set(s, "queue_errors_total", label, (double)c.errors);
	set(s, "queue_stale_results_total", label, (double)c.stale);
	set(s, "guard_held_operations", label, (double)c.held);
	set(s, "divergent_objects", label, (double)c.divergent);
	set(s, "unowned_objects", label, (double)c.unowned);
	set(s, "reconcile_last_success_timestamp_seconds", label,
	    (double)c.reconciled_unix_ms / 1000);
	set(s, "workers", label, (double)c.workers);
	set(s, "desired_workers", label, gauges_desired(s, t, &c));
	set_pace(s, t, &c);
	set_worker_info(s, t);
	set_licences(s, t);
}

static void set_instant(struct session *s, const char *name, const char *labels, int64_t unix_ms)
{
	if (unix_ms)
		set(s, name, labels, (double)unix_ms / 1000);
}

static void set_changes(struct session *s, const struct source_view *v, const char *source)
{
	static const char *const kinds[QUEUE_CHANGES] = {NULL, "add", "modify", "delete"};
	const char *labels = metrics_labels("source", source, NULL);

	set_instant(s, "source_last_change_timestamp_seconds", labels, v->changed_unix_ms);
	set_instant(s, "source_cursor_timestamp_seconds", labels, v->cursor_unix_ms);
	for (unsigned i = QUEUE_ADDED; i < QUEUE_CHANGES; i++)
		set(s, "source_changes_total",
		    metrics_labels("source", source, "kind", kinds[i], NULL),
		    (double)v->changes[i]);
}

static void set_errors(struct session *s, const char *source, const char *reason, uint64_t n)
{
	set(s, "source_errors_total", metrics_labels("source", source, "reason", reason, NULL),
	    (double)n);
}

static void set_source(struct session *s, unsigned i)
{
	struct source_view *v = &s->sources[i];
	const char *name = s->conf.turn.store.sources[i];
	const char *labels =
		metrics_labels("source", name, "server", v->server ? v->server : "", NULL);

	if (v->shown && strcmp(v->shown, labels) != 0)
		metrics_forget(s->metrics, "source_connected", v->shown);
	free(v->shown);
	v->shown = mem_dup(labels);
	set(s, "source_connected", labels, v->peer != 0 && v->directory);
	labels = metrics_labels("source", name, NULL);
	set(s, "source_read_total", labels, (double)v->read);
	set(s, "source_published_total", labels, (double)v->published);
	set(s, "source_unchanged_total", labels, (double)v->unchanged);
	if (turn_queue(s->turn)) {
		set(s, "source_users", labels, (double)queue_users(turn_queue(s->turn), i));
		set(s, "source_distrusted", labels,
		    queue_source_distrusted(turn_queue(s->turn), i));
		set_errors(s, name, "foreign_id", queue_foreign(turn_queue(s->turn), i));
	}
	set_errors(s, name, "unavailable", v->unavailable);
	set_errors(s, name, "reported", v->reported);
	set_changes(s, v, name);
}

struct metrics *session_metrics(struct session *s)
{
	return s->metrics;
}

void session_print_metrics(struct session *s, struct buf *out)
{
	static const char *const states[STORE_STATES] = {"down", "standby", "loading", "ready"};
	struct store *store = turn_store(s->turn);

	for (unsigned i = 0; i < s->conf.turn.store.sources_n; i++)
		set_source(s, i);
	for (unsigned i = 0; turn_queue(s->turn) && i < s->conf.turn.store.targets_n; i++)
		set_target(s, i, clock_unix_ms());
	for (unsigned i = 0; i < STORE_STATES; i++)
		set(s, "broker_state", metrics_labels("state", states[i], NULL),
		    i == store_state(store));
	set(s, "redis_up", "", store_state(store) == STORE_READY);
	set(s, "store_quarantined_total", "", (double)store_quarantined(store));
	set(s, "frames_malformed_total", "", (double)s->malformed);
	set(s, "frames_refused_total", "", (double)s->refused);
	metrics_print(s->metrics, out);
}
