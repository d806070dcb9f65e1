#include "line_impl.h"

#include "clock.h"
#include "crash.h"
#include "log.h"
#include "service.h"

#include <stdlib.h>
#include <string.h>

/* ---- cursors ---- */

static void marker_clear(struct marker *m)
{
	buf_done(&m->cookie);
	buf_done(&m->server);
	*m = (struct marker){0};
}

/* The newest cursor replaces one that is not on its way yet; that one keeps its place, so a busy directory does not
 * starve the cursor. */
void line_mark(struct line *l, const struct source_cursor *cursor, bool caught_up)
{
	struct marker *m = &l->next;

	m->set = true;
	m->stamped = false;
	m->caught_up = m->caught_up || caught_up;
	if (cursor != NULL) {
		m->has_cursor = true;
		buf_clear(&m->cookie);
		buf_clear(&m->server);
		buf_add(&m->cookie, cursor->cookie.p, cursor->cookie.n);
		buf_add(&m->server, cursor->server.p, cursor->server.n);
	}
	line_ask_turn(l);
}

static void stamp(struct line *l, struct marker *m)
{
	if (!m->set || m->stamped)
		return;
	m->stamped = true;
	m->rereads = l->rereads_asked;
	m->subtrees = l->subtrees_asked;
	m->sweeps = l->sweeps_asked;
}

static void promote(struct line *l)
{
	stamp(l, &l->next);
	if (l->current.set || !l->next.set)
		return;
	l->current = l->next;
	l->next = (struct marker){0};
}

static void derive(struct line *l)
{
	struct marker *m = &l->current;

	promote(l);
	if (!m->set || m->derived || l->rereads_done < m->rereads ||
	    l->subtrees_done < m->subtrees || l->sweeps_done < m->sweeps)
		return;
	m->derived = true;
	m->queue_mark = diff_mark(l->diff);
}

/* ---- batches ---- */

static void caught_up(struct line *l)
{
	if (l->caught_up)
		return;
	l->caught_up = true;
	l->distrust = l->reconfigured = false;
	log_msg(LOG_INFO_, "DP-1103", "caught up: %llu read, %llu published, %llu unchanged",
		(unsigned long long)l->read, (unsigned long long)publish_sent(l->publish),
		(unsigned long long)l->unchanged);
	publish_beat(l->publish);
	service_status("following %s", l->server.n > 0 ? l->server.p : l->name);
}

static bool send_batch(struct line *l)
{
	CLEANUP(buf_cleanup) struct buf users = {0};
	struct wire_publish batch = {0};
	uint32_t n = diff_take(l->diff, LINE_BATCH_USERS, LINE_BATCH_BYTES, &users);
	bool rides = l->current.derived && diff_passed(l->diff, l->current.queue_mark);

	if (n == 0 && !rides)
		return false;
	batch.users = wire_list_of(&users, n);
	if (rides) {
		batch.has_cursor = l->current.has_cursor;
		batch.caught_up = l->current.caught_up;
		batch.cursor = buf_slice(&l->current.cookie);
		batch.server = buf_slice(&l->current.server);
		if (batch.has_cursor)
			CRASH_POINT("collector.before_cursor");
	}
	publish_batch(l->publish, &batch);
	if (batch.caught_up)
		caught_up(l);
	if (rides)
		marker_clear(&l->current);
	return true;
}

bool line_is_behind(const struct line *l)
{
	return diff_users(l->diff) > 0 || publish_in_flight(l->publish) > 0 || l->current.set ||
	       l->next.set;
}

void line_fill(struct line *l)
{
	derive(l);
	while (publish_has_room(l->publish) && send_batch(l))
		derive(l);
	if (!line_is_behind(l))
		l->behind_since = 0;
	else if (l->behind_since == 0)
		l->behind_since = loop_now_ms(l->loop);
	if (l->draining && diff_users(l->diff) == 0 && publish_in_flight(l->publish) == 0)
		loop_timer_set(l->drain_timer, 0);
}

void line_room(void *arg)
{
	struct line *l = arg;

	line_ask_turn(l);
}

/* ---- WELCOME ---- */

static uint32_t groups_of_names(struct line *l, struct slice names)
{
	uint16_t items[1024];
	size_t n = 0;

	while (names.n > 0 && n < 1024) {
		const char *end = memchr(names.p, '\n', names.n);
		size_t length = end != NULL ? (size_t)(end - names.p) : names.n;
		uint32_t i = groups_index(l->groups, (struct slice){names.p, length});

		if (i != UINT32_MAX && (n == 0 || items[n - 1] < i))
			items[n++] = (uint16_t)i;
		length += end != NULL;
		names = (struct slice){names.p + length, names.n - length};
	}
	return sets_intern(l->group_sets, items, n);
}

static uint32_t targets_of_names(struct line *l, struct wire_list list, bool *ret_foreign)
{
	size_t most = route_targets(l->routes);
	bool *in = mem_array(most + 1, sizeof(*in));
	uint16_t *items = mem_array(most + 1, sizeof(*items));
	struct wire_name name;
	size_t n = 0;
	uint32_t set;

	while (wire_next_name(&list, &name)) {
		uint32_t i = route_target_index(l->routes, name.text);

		if (i != UINT32_MAX)
			in[i] = true;
		else
			*ret_foreign = true; /* a target that no route names any more */
	}
	for (size_t i = 0; i < most; i++)
		if (in[i])
			items[n++] = (uint16_t)i;
	set = sets_intern(l->target_sets, items, n);
	free(in);
	free(items);
	return set;
}

static void take_known(struct line *l, const struct wire_known *k)
{
	struct object *o = objects_at(l->objects, objects_add(l->objects, &k->id));
	bool foreign = false;

	o->flags &= (uint16_t) ~(OBJECT_KNOWN | OBJECT_GONE | OBJECT_DIFFERS);
	o->flags |= k->gone ? OBJECT_GONE : OBJECT_KNOWN;
	o->fp = diff_short(&k->fingerprint);
	o->in = (uint16_t)targets_of_names(l, k->in, &foreign);
	o->groups = groups_of_names(l, k->groups);
	if (foreign)
		o->flags |= OBJECT_DIFFERS;
}

static void forget_session(struct line *l)
{
	diff_clear(l->diff);
	line_forget_work(l);
	line_sweep_cancel(l);
	line_forget_waiting(l);
	numbers_done(&l->held);
	marker_clear(&l->current);
	marker_clear(&l->next);
	l->surveyed = l->caught_up = l->first_end_done = l->begun = false;
	l->stopped = false;
	loop_timer_set(l->stopped_timer, -1);
	loop_timer_set(l->held_timer, -1);
	loop_timer_set(l->presence_timer, -1);
	l->presence_waits = false;
	for (uint32_t n = 1; n <= objects_count(l->objects); n++) {
		struct object *o = objects_at(l->objects, n);

		o->flags &= OBJECT_GONE;
		o->fp = 0;
		o->groups = SETS_EMPTY;
		o->in = SETS_EMPTY;
	}
}

static void start_from(struct line *l, const struct wire_welcome *w)
{
	bool same = fp_equal(&w->config, &l->config);

	l->distrust = w->distrust != 0;
	l->reconfigured = l->start_cookie.n > 0 && !same;
	l->start_full = l->start_cookie.n == 0 || !same || l->read_all;
	l->read_all = false;
	log_msg(LOG_INFO_, "DP-1102", "session %llu: %s%s", (unsigned long long)w->session,
		l->start_full ? "reading the whole directory" : "resuming from the cursor",
		l->start_cookie.n > 0 && !same ? " (the configuration changed)" : "");
	line_start_source(l);
}

void line_welcome(void *arg, const struct wire_welcome *part, bool first)
{
	struct line *l = arg;
	struct wire_list users = part->users;
	struct wire_known known;

	if (first) {
		forget_session(l);
		buf_clear(&l->start_cookie);
		buf_clear(&l->start_server);
	}
	if (part->cursor.n > 0 && l->start_cookie.n == 0) {
		buf_add(&l->start_cookie, part->cursor.p, part->cursor.n);
		buf_add(&l->start_server, part->server.p, part->server.n);
	}
	while (wire_next_known(&users, &known))
		take_known(l, &known);
	if (part->last)
		start_from(l, part);
}

void line_lost(void *arg, const char *why)
{
	struct line *l = arg;

	log_msg(LOG_WARN_, "DP-1105", "the session with the broker is over: %s", why);
	service_status("waiting for the broker");
	line_stop_source(l);
	forget_session(l);
	if (l->draining)
		loop_timer_set(l->drain_timer, 0);
}

void line_confirm(void *arg, uint8_t kind, struct slice name)
{
	struct line *l = arg;
	struct log_line line;

	if (kind == WIRE_CONFIRM_READ_ALL) {
		l->read_all = true;
		publish_restart(l->publish, "a person asked to read everything again");
		return;
	}
	line = log_begin(LOG_INFO_, "DP-1114", "a person confirmed what the guard holds");
	log_slice(&line, "name", name);
	log_end(&line);
	if (kind == WIRE_CONFIRM_SOURCE)
		line_sweep_confirm(l);
	else
		groups_confirm(l->groups, name);
	line_ask_turn(l);
}

void line_beat(void *arg, struct wire_beat *beat)
{
	struct line *l = arg;
	uint64_t total = 0;

	for (uint32_t n = 1; n <= objects_count(l->objects); n++) {
		const struct object *o = objects_at(l->objects, n);

		total += o->class == ENTRY_USER && (o->flags & OBJECT_SEEN) &&
			 !(o->flags & OBJECT_GONE);
	}
	beat->clock_unix_ms = l->has_clock ? clock_unix_ms() + l->ahead_ms : 0;
	beat->lag_ms = l->behind_since != 0 ? loop_now_ms(l->loop) - l->behind_since : 0;
	beat->state = l->connected;
	beat->server = buf_slice(&l->server);
	beat->read = l->read;
	beat->unchanged = l->unchanged;
	beat->total = total;
	beat->text = buf_slice(&l->trouble);
}
