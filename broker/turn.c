#include "turn.h"
#include "clock.h"
#include "crash.h"
#include "log.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

struct then {
	turn_then_fn fn;
	void *arg;
	struct then *next;
};

/* A page and who waits for it; pages under way form a list in the order in which they were handed over. */
struct sheet {
	struct queue_page page;
	struct then *thens;
	struct sheet *next;
};

struct turn {
	struct loop *loop;
	struct turn_conf conf;
	struct turn_host host;
	struct store *store;
	struct queue *queue, *filling, *before; /* before: lived through a reload, for its leases */
	struct sheet *open;
	struct sheet *first, **last;
	struct sheet *spare; /* as many as were under way at once */
	struct then *later;  /* to be told at the end of this turn: nothing to wait for, or lost */
	bool later_ok;
	struct loop_after *after;
	struct loop_timer *due;
	bool stopping, settled, moved; /* moved: a page was ended since turn_rest() */
	loop_fn stopped;
	void *stopped_arg;
};

/* ---- who waits ---- */

static void tell(struct then *list, bool ok)
{
	while (list) {
		struct then *next = list->next;

		list->fn(list->arg, ok);
		free(list);
		list = next;
	}
}

static void then_add(struct then **list, turn_then_fn fn, void *arg)
{
	struct then *then = mem_alloc(sizeof(*then));

	*then = (struct then){fn, arg, NULL};
	while (*list)
		list = &(*list)->next;
	*list = then;
}

static void sheet_free(struct sheet *s)
{
	queue_page_done(&s->page);
	free(s);
}

/* A page's memory is used again by one of the next. */
static void sheet_spare(struct turn *t, struct sheet *s)
{
	s->thens = NULL;
	s->next = t->spare;
	t->spare = s;
}

/* Everybody hears of the loss after all of it is gone: they may ask for something new. */
static void drop(struct turn *t)
{
	struct sheet *list = t->first;
	struct then *lost = NULL, **end = &lost;

	if (t->open) {
		*t->last = t->open;
		list = t->first;
	}
	t->open = NULL;
	t->first = NULL;
	t->last = &t->first;
	while (list) {
		struct sheet *next = list->next;

		*end = list->thens;
		while (*end)
			end = &(*end)->next;
		sheet_spare(t, list);
		list = next;
	}
	tell(lost, false);
}

/* ---- log ---- */

/* user=… target=… state=in_flight>clean attempt=2 ms=212 verdict=done */
static void log_move(struct turn *t, const struct queue_move *m)
{
	static const char *const codes[QUEUE_STATES] = {"DP-1300", "DP-1301", "DP-1302",
							"DP-1303", "DP-1304", "DP-1305"};
	bool trouble = m->to == QUEUE_DEAD || m->to == QUEUE_PARKED || m->reason.n > 0;
	bool routine = (m->to == QUEUE_DUE || m->to == QUEUE_FLIGHT ||
			(m->to == QUEUE_CLEAN && m->from == QUEUE_FLIGHT)) &&
		       !trouble;
	enum log_level level = m->to == QUEUE_DEAD ? LOG_WARN_ : routine ? LOG_DEBUG_ : LOG_INFO_;
	struct log_line line;
	char state[32];
	struct buf b = {0};

	if (!log_on(level))
		return;
	buf_addf(&b, "%s>%s", queue_state_name((enum queue_state)m->from),
		 queue_state_name((enum queue_state)m->to));
	memcpy(state, b.p, b.n < sizeof(state) ? b.n + 1 : sizeof(state));
	state[sizeof(state) - 1] = '\0';
	buf_done(&b);
	line = log_begin(level, m->to < QUEUE_STATES ? codes[m->to] : "DP-1300", "move");
	log_id(&line, "user", &m->user);
	if (m->target < t->conf.store.targets_n)
		log_text(&line, "target", t->conf.store.targets[m->target]);
	log_text(&line, "state", state);
	log_int(&line, "attempt", m->attempts);
	if (m->took_ms > 0)
		log_int(&line, "ms", m->took_ms);
	if (m->verdict < VERDICTS)
		log_text(&line, "verdict", wire_verdict_name(m->verdict));
	if (m->reason.n > 0)
		log_slice(&line, "reason", m->reason);
	log_end(&line);
}

/* ---- pages ---- */

static void open_page(struct turn *t)
{
	t->open = t->spare;
	if (t->open)
		t->spare = t->open->next;
	else
		t->open = mem_alloc(sizeof(*t->open));
	t->open->next = NULL;
	queue_page_begin(t->queue, &t->open->page, store_epoch(t->store).number,
			 store_next_page(t->store), loop_now_ms(t->loop), clock_unix_ms());
}

struct queue_page *turn_page(struct turn *t)
{
	if (!t->queue)
		return NULL;
	if (!t->open)
		open_page(t);
	loop_after_ask(t->after);
	return &t->open->page;
}

/* Once every source has caught up and what the load meant is on disk, a lost tail can matter no more. */
static void settle(struct turn *t)
{
	if (t->settled || !t->queue)
		return;
	for (unsigned i = 0; i < t->conf.store.sources_n; i++)
		if (queue_source_distrusted(t->queue, i))
			return;
	t->settled = true;
	store_settled(t->store);
}

static void check_stopped(struct turn *t)
{
	if (!t->stopping || t->first || t->open || !t->stopped)
		return;
	loop_fn fn = t->stopped;

	t->stopped = NULL;
	fn(t->stopped_arg);
}

static void answered(struct turn *t, struct sheet *s, const struct store_task *tasks,
		     size_t tasks_n)
{
	struct then *thens = s->thens;

	for (size_t i = 0; i < s->page.moves_n; i++)
		log_move(t, &s->page.moves[i]);
	t->host.written(t->host.arg, &s->page, tasks, tasks_n);
	CRASH_POINT("broker.answers_sent");
	sheet_spare(t, s);
	tell(thens, true);
	settle(t);
}

static void written(void *arg, struct queue_page *page, const struct store_task *tasks,
		    size_t tasks_n)
{
	struct turn *t = arg;
	struct sheet *s = t->first;

	assert(s && &s->page == page);
	t->first = s->next;
	if (!t->first)
		t->last = &t->first;
	s->next = NULL;
	answered(t, s, tasks, tasks_n);
	if (t->open)
		loop_after_ask(t->after);
	check_stopped(t);
}

static bool page_empty(const struct sheet *s)
{
	return s->page.effects_n == 0 && s->page.answers_n == 0 && !s->thens;
}

/* Without effects nothing has to be written; but what it answers may lean on pages that are still under way. */
static void hand_over(struct turn *t)
{
	struct sheet *s = t->open;

	t->open = NULL;
	if (page_empty(s) || (s->page.effects_n == 0 && !t->first)) {
		answered(t, s, NULL, 0);
		return;
	}
	CRASH_POINT("broker.page_built");
	*t->last = s;
	t->last = &s->next;
	store_write(t->store, &s->page);
}

static void end_page(struct turn *t)
{
	int64_t now = loop_now_ms(t->loop), next;

	t->moved = true;
	if (!t->open)
		open_page(t);
	next = queue_page_end(t->queue, &t->open->page, t->stopping ? 0 : TURN_DISPATCH);
	if (next == INT64_MAX || t->stopping)
		loop_timer_set(t->due, -1);
	else
		loop_timer_set(t->due, next > now ? next - now : 0);
	hand_over(t);
}

static void turn_ends(void *arg)
{
	struct turn *t = arg;
	struct then *later = t->later;

	t->later = NULL;
	tell(later, t->later_ok);
	if (t->queue && t->open && store_under_way(t->store) < TURN_UNDER_WAY)
		end_page(t);
	check_stopped(t);
}

void turn_fed(struct turn *t)
{
	if (t->queue && t->open && t->open->page.effects_n >= TURN_EFFECTS &&
	    store_under_way(t->store) < TURN_UNDER_WAY)
		end_page(t);
}

static void time_is_due(void *arg)
{
	turn_page(arg);
}

void turn_then(struct turn *t, turn_then_fn fn, void *arg)
{
	struct sheet *s = t->open;

	if (!t->queue) {
		t->later_ok = false;
		then_add(&t->later, fn, arg);
		loop_after_ask(t->after);
		return;
	}
	for (struct sheet *i = t->first; i && !t->open; i = i->next)
		s = i;
	if (!s) {
		turn_page(t);
		s = t->open;
	}
	then_add(&s->thens, fn, arg);
}

/* ---- the store's life ---- */

static struct queue *fresh(void *arg, struct wire_epoch epoch)
{
	struct turn *t = arg;

	queue_free(t->filling);
	t->filling = queue_new(&t->conf.queue, epoch.nonce);
	for (size_t i = 0; i < t->conf.store.targets_n; i++)
		queue_target_add(t->filling, &t->conf.targets[i]);
	for (size_t i = 0; i < t->conf.store.sources_n; i++)
		queue_source_add(t->filling, t->conf.store.sources[i]);
	return t->filling;
}

static void stored_conf(void *arg, unsigned target, const struct fp *config)
{
	struct turn *t = arg;

	t->host.stored_conf(t->host.arg, target, config);
	queue_target_add(t->filling, &t->conf.targets[target]);
}

static void begin_work(struct turn *t, bool lost_tail, bool emptied)
{
	int64_t quiet_ms = lost_tail ? t->conf.queue.lease_ms + t->conf.queue.grace_ms : 0;

	t->queue = t->filling;
	t->filling = NULL;
	t->settled = false;
	if (t->before)
		queue_keep_leases(t->queue, t->before);
	queue_free(t->before);
	t->before = NULL;
	queue_loaded(t->queue, turn_page(t), lost_tail, emptied, quiet_ms);
}

static void state_changed(void *arg, enum store_state state, const char *why, bool lost_tail,
			  bool emptied)
{
	struct turn *t = arg;

	if (state == STORE_READY) {
		begin_work(t, lost_tail, emptied);
	} else if (t->queue) {
		queue_free(t->before);
		t->before = t->queue;
		t->queue = NULL;
		loop_timer_set(t->due, -1);
		drop(t);
	}
	if (state != STORE_LOADING && state != STORE_READY) {
		queue_free(t->filling);
		t->filling = NULL;
	}
	t->host.state(t->host.arg, state, why);
	if (state != STORE_READY)
		check_stopped(t);
}

void turn_target_changed(struct turn *t, unsigned target)
{
	if (!t->queue)
		return;
	queue_target_add(t->queue, &t->conf.targets[target]);
	turn_page(t);
}

struct store *turn_store(struct turn *t)
{
	return t->store;
}

struct queue *turn_queue(struct turn *t)
{
	return t->queue;
}

static void spare_free(struct turn *t)
{
	while (t->spare) {
		struct sheet *next = t->spare->next;

		sheet_free(t->spare);
		t->spare = next;
	}
}

void turn_rest(struct turn *t)
{
	bool moved = t->moved;

	t->moved = false;
	if (moved || t->first || t->open || !t->spare)
		return;
	spare_free(t);
	if (t->queue)
		queue_rest(t->queue);
	malloc_trim(0);
}

static void nothing_left(void *arg, bool ok)
{
	(void)arg;
	(void)ok;
}

void turn_stop(struct turn *t, loop_fn fn, void *arg)
{
	t->stopping = true;
	t->stopped = fn;
	t->stopped_arg = arg;
	turn_then(t, nothing_left, t);
}

struct turn *turn_new(struct loop *loop, const struct turn_conf *conf, const struct turn_host *host)
{
	struct turn *t = mem_alloc(sizeof(*t));
	struct store_host store_host = {t, state_changed, fresh, stored_conf, written};

	t->loop = loop;
	t->conf = *conf;
	t->host = *host;
	t->last = &t->first;
	t->after = loop_after_new(loop, turn_ends, t);
	t->due = loop_timer_new(loop, time_is_due, t);
	t->store = store_new(loop, &conf->store, &store_host);
	return t;
}

void turn_free(struct turn *t)
{
	if (!t)
		return;
	drop(t);
	tell(t->later, false);
	spare_free(t);
	store_free(t->store);
	queue_free(t->queue);
	queue_free(t->filling);
	queue_free(t->before);
	loop_after_free(t->after);
	loop_timer_free(t->due);
	free(t);
}
