#include "line_impl.h"

#include "crash.h"
#include "filter.h"
#include "log.h"
#include "service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void line_ask_turn(struct line *l)
{
	loop_after_ask(l->turn);
}

/* Once per turn, after all that the turn read: groups, then the line's own requests, then batches. */
static void turn(void *arg)
{
	struct line *l = arg;

	if (l->surveyed && groups_has_work(l->groups)) {
		groups_work(l->groups);
		groups_unknown(l->groups, line_dirty_id, l);
		groups_unsure(l->groups, line_verify_id, l);
	}
	line_pump(l);
	if (publish_is_open(l->publish))
		line_fill(l);
}

/* ---- the driver ---- */

void line_trouble(struct line *l, enum source_problem problem, const char *why)
{
	static const char *const names[] = {"", "unreachable", "denied", "rights", "foreign"};
	struct log_line line;

	buf_clear(&l->trouble);
	if (problem == SOURCE_NONE || problem >= SOURCE_PROBLEMS)
		return;
	/* as the server said it: BEAT carries it */
	buf_add_utf8(&l->trouble, slice_of(why), LINE_TROUBLE_BYTES);
	line = log_begin(LOG_ERROR_, "DP-1104", why);
	log_text(&line, "problem", names[problem]);
	log_text(&line, "server", l->server.p);
	log_end(&line);
}

void line_start_source(struct line *l)
{
	if (l->running || l->draining)
		return;
	l->running = true;
	l->survey_wanted = true;
	l->start_cursor =
		(struct source_cursor){buf_slice(&l->start_cookie), buf_slice(&l->start_server)};
	l->driver->start(l->source, l->start_full ? NULL : &l->start_cursor);
}

void line_stop_source(struct line *l)
{
	if (l->running)
		l->driver->stop(l->source);
	l->running = l->connected = l->begun = false;
}

static void stop_later(struct line *l)
{
	l->stopped = true;
	l->begun = false;
	loop_timer_set(l->stopped_timer, 0);
}

static void host_state(void *arg, bool connected, const char *server, enum source_problem problem,
		       const char *why)
{
	struct line *l = arg;

	if (connected && !l->connected) {
		log_msg(LOG_INFO_, "DP-1101", "connected to %s", server);
		line_presence_later(l);
	}
	l->connected = connected;
	l->has_clock = l->has_clock && connected;
	buf_clear(&l->server);
	buf_adds(&l->server, server != NULL ? server : "");
	line_trouble(l, problem, why != NULL ? why : "");
	service_status(connected ? "connected to %s" : "%s", connected		? server
							     : l->trouble.n > 0 ? l->trouble.p
										: "waiting");
	publish_beat(l->publish);
	if (problem == SOURCE_FOREIGN || problem == SOURCE_RIGHTS)
		stop_later(l);
	if (connected)
		line_ask_turn(l);
}

static void host_policy(void *arg, const struct source_policy *policy)
{
	struct line *l = arg;
	bool same = memcmp(&l->policy, policy, sizeof(*policy)) == 0;

	l->policy = *policy;
	for (uint32_t n = 1; !same && l->first_end_done && n <= objects_count(l->objects); n++)
		if (objects_at(l->objects, n)->flags & OBJECT_KNOWN)
			line_dirty(l, n);
}

static void host_clock(void *arg, int64_t ahead_ms)
{
	struct line *l = arg;

	l->has_clock = true;
	l->ahead_ms = ahead_ms;
}

static bool host_survey_wanted(void *arg)
{
	struct line *l = arg;

	if (!l->survey_wanted)
		return false;
	for (uint32_t n = 1; n <= objects_count(l->objects); n++)
		objects_at(l->objects, n)->flags &= (uint16_t)~OBJECT_SURVEYED;
	groups_survey_begin(l->groups);
	return true;
}

/* 0 ms after the trouble: the driver is stopped (not from inside its own call); a minute later it is tried again. */
static void stopped(void *arg)
{
	struct line *l = arg;

	if (!l->stopped)
		return;
	if (l->running) {
		line_stop_source(l);
		publish_beat(l->publish);
		loop_timer_set(l->stopped_timer, LINE_STOPPED_MS);
		return;
	}
	l->stopped = false;
	if (publish_is_open(l->publish))
		line_start_source(l);
}

static bool is_emptied(struct line *l)
{
	uint64_t known = 0, seen = 0;

	for (uint32_t n = 1; n <= objects_count(l->objects); n++) {
		const struct object *o = objects_at(l->objects, n);

		known += (o->flags & OBJECT_KNOWN) != 0;
		seen += o->class == ENTRY_USER && (o->flags & OBJECT_SURVEYED) != 0;
	}
	return known > 0 && seen == 0;
}

static void warn_missing_groups(struct line *l)
{
	for (size_t i = 0; i < groups_watched(l->groups); i++)
		if (groups_is_missing(l->groups, i))
			log_msg(LOG_ERROR_, "DP-1115",
				"watched group %s is not in the directory, or not shown to this "
				"account",
				groups_name(l->groups, i));
}

/* What left a group or a scope while nobody looked is found here. */
static void compare_with_welcome(struct line *l)
{
	for (uint32_t n = 1; n <= objects_count(l->objects); n++) {
		struct object *o = objects_at(l->objects, n);

		if (o->class != ENTRY_USER || !(o->flags & OBJECT_SURVEYED) ||
		    !(o->flags & OBJECT_KNOWN))
			continue;
		if ((o->flags & OBJECT_DIFFERS) || line_in(l, n) != o->in)
			line_dirty(l, n);
	}
}

static void host_surveyed(void *arg, bool current)
{
	struct line *l = arg;

	if (is_emptied(l)) {
		stop_later(l);
		line_trouble(l, SOURCE_FOREIGN,
			     "the directory shows no user at all, but the broker knows some: "
			     "nothing is done "
			     "(wrong base, filter, rights or another directory?)");
		return;
	}
	l->survey_wanted = false;
	l->survey_current = current;
	l->surveyed = true;
	groups_survey_end(l->groups);
	warn_missing_groups(l);
	groups_work(l->groups);
	groups_unknown(l->groups, line_dirty_id, l);
	groups_unsure(l->groups, line_verify_id, l);
	compare_with_welcome(l);
	CRASH_POINT("collector.surveyed");
	line_ask_turn(l);
}

static void host_begin(void *arg, bool full)
{
	struct line *l = arg;

	(void)full;
	if (l->stopped)
		return;
	line_sweep_cancel(l);
	for (uint32_t n = 1; n <= objects_count(l->objects); n++)
		objects_at(l->objects, n)->flags &= (uint16_t)~OBJECT_MENTIONED;
	l->begun = true;
}

static void host_image(void *arg, struct entry *e)
{
	struct line *l = arg;

	if (l->stopped)
		entry_free(e);
	else
		line_image(l, e);
}

static void host_present(void *arg, const struct id *id)
{
	struct line *l = arg;
	uint32_t n = objects_find(l->objects, id);

	if (n != 0)
		objects_at(l->objects, n)->flags |= OBJECT_MENTIONED;
}

static void host_gone(void *arg, const struct id *id)
{
	struct line *l = arg;

	if (!l->stopped)
		line_gone(l, id);
}

static void host_bad(void *arg, const struct id *id, const char *why)
{
	struct line *l = arg;
	struct log_line line = log_begin(LOG_WARN_, "DP-1116", "an entry is left as it was");

	l->bad++;
	log_text(&line, "reason", why);
	if (id != NULL) {
		host_present(l, id);
		log_id(&line, "user", id);
	}
	log_end(&line);
}

/* Surveyed, in scope, never published, and the resume did not bring it: it came into the scope while nobody looked. */
static void find_unpublished(struct line *l)
{
	for (uint32_t n = 1; n <= objects_count(l->objects); n++) {
		const struct object *o = objects_at(l->objects, n);

		if (o->class == ENTRY_USER && (o->flags & OBJECT_SURVEYED) &&
		    !(o->flags & (OBJECT_KNOWN | OBJECT_QUEUED | OBJECT_MENTIONED | OBJECT_GONE)) &&
		    line_in(l, n) != SETS_EMPTY)
			line_dirty(l, n);
	}
}

static void host_end(void *arg, bool sweep)
{
	struct line *l = arg;
	bool first = !l->first_end_done;

	if (l->stopped || !l->begun)
		return;
	CRASH_POINT("collector.read_all");
	if (first)
		find_unpublished(l);
	l->first_end_done = true;
	if (sweep || (first && l->survey_current))
		line_sweep_begin(l, sweep);
	line_mark(l, NULL, !l->caught_up);
}

static void host_cursor(void *arg, const struct source_cursor *cursor)
{
	struct line *l = arg;

	if (!l->stopped)
		line_mark(l, cursor, false);
}

/* ---- timers ---- */

static void retry(void *arg)
{
	line_ask_turn(arg);
}

static void group_changed(void *arg, uint32_t user)
{
	struct line *l = arg;

	if (objects_at(l->objects, user)->flags & (OBJECT_KNOWN | OBJECT_QUEUED) ||
	    l->first_end_done)
		line_dirty(l, user);
}

static void group_hold(void *arg, const char *name, bool active, uint64_t was, uint64_t now)
{
	struct line *l = arg;
	struct wire_hold hold = {
		.kind = 0, .active = active, .name = slice_of(name), .was = was, .now = now};
	struct log_line line = log_begin(
		LOG_WARN_, "DP-1117",
		active ? "a watched group shrank past the guard: it keeps its members until it "
			 "recovers or a person confirms"
		       : "a watched group has recovered");

	log_text(&line, "group", name);
	log_int(&line, "was", (int64_t)was);
	log_int(&line, "now", (int64_t)now);
	log_end(&line);
	publish_hold(l->publish, &hold);
}

/* ---- life ---- */

struct named {
	const char *name, *dn;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct named *)a)->name, ((const struct named *)b)->name);
}

static int make_groups_and_routes(struct line *l, struct buf *why)
{
	const struct conf_node *guard = conf_section(l->conf, "guard");
	const struct conf_node *group;
	struct named *named = NULL;
	const char **names, **dns;
	size_t n = 0;

	for (; (group = conf_at(l->conf, "groups", n, NULL)) != NULL; n++) {
		named = mem_resize(named, (n + 1) * sizeof(*named));
		named[n] = (struct named){conf_text(group, "name"), conf_text(group, "dn")};
	}
	if (n > 1)
		qsort(named, n, sizeof(*named), by_name);
	names = mem_array(n + 1, sizeof(*names));
	dns = mem_array(n + 1, sizeof(*dns));
	for (size_t i = 0; i < n; i++) {
		names[i] = named[i].name;
		dns[i] = named[i].dn;
		if (why->n == 0 && dn_hash(dns[i]) == 0)
			buf_addf(why, "groups: %s: %s is not a DN", names[i], dns[i]);
	}
	l->groups = groups_new(
		&(struct groups_settings){.objects = l->objects,
					  .sets = l->group_sets,
					  .names = names,
					  .dns = dns,
					  .n = n,
					  .guard_min = (uint64_t)conf_int(guard, "min_users"),
					  .guard_percent = (uint64_t)conf_int(guard, "percent"),
					  .arg = l,
					  .changed = group_changed,
					  .hold = group_hold});
	if (why->n == 0)
		l->routes = route_new(l->conf, names, n, why);
	free(named);
	free(names);
	free(dns);
	return l->routes != NULL ? 0 : -EINVAL;
}

/* Attributes, filters and routes: another hash means a full read. The format's number is part of it. */
static struct fp config_hash(const struct line *l)
{
	static const char *const keys[] = {"users", "groups", "routes"};
	CLEANUP(buf_cleanup) struct buf b = {0};

	buf_addf(&b, "1 %s %s ", l->driver->name, conf_text(l->conf, "base_dn"));
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		conf_json(l->conf, keys[i], &b);
		buf_addc(&b, ' ');
	}
	override_hash(l->root, &b);
	return fp_of(buf_slice(&b));
}

static int make_filter(struct line *l, struct buf *why)
{
	const char *text = conf_text(conf_section(l->conf, "users"), "filter");

	if (text == NULL || text[0] == '\0' || strcmp(l->driver->name, "ad-dirsync") != 0)
		return 0;
	l->user_filter = filter_new(text, why);
	return l->user_filter != NULL ? 0 : -EINVAL;
}

static int make_source(struct line *l, struct buf *why)
{
	struct source_host host = {
		.arg = l,
		.state = host_state,
		.policy = host_policy,
		.clock = host_clock,
		.survey_wanted = host_survey_wanted,
		.surveyed = host_surveyed,
		.begin = host_begin,
		.image = host_image,
		.present = host_present,
		.gone = host_gone,
		.bad = host_bad,
		.end = host_end,
		.cursor = host_cursor,
		.answer = line_answer,
	};

	if (make_filter(l, why) != 0)
		return -EINVAL;
	l->source = l->driver->create(l->loop, l->conf, &host, why);
	return l->source != NULL ? 0 : -EINVAL;
}

static int make_base(struct line *l, struct buf *why)
{
	const char *base = conf_text(l->conf, "base_dn");

	if (dn_normal(base, &l->base) == 0)
		return 0;
	buf_addf(why, "base_dn: %s is not a DN", base);
	return -EINVAL;
}

static int make_publish(struct line *l, struct buf *why)
{
	l->publish = publish_new(
		&(struct publish_settings){
			.loop = l->loop,
			.root = l->root,
			.source = l->name,
			.driver = l->driver->name,
			.config = l->config,
			.events = {l, line_welcome, line_lost, line_room, line_confirm, line_beat},
		},
		why);
	return l->publish != NULL ? 0 : -EINVAL;
}

static void drain_over(void *arg)
{
	struct line *l = arg;

	if (l->drained != NULL)
		l->drained(l->drained_arg);
	l->drained = NULL;
}

struct line *line_new(struct loop *loop, const struct conf_node *root, const char *source,
		      struct buf *why)
{
	const struct conf_node *conf = conf_named(root, "sources", source);
	struct line *l;

	if (conf == NULL) {
		buf_addf(why, "no source is named %s", source);
		return NULL;
	}
	l = mem_alloc(sizeof(*l));
	*l = (struct line){.loop = loop, .root = root, .conf = conf, .name = mem_dup(source)};
	l->driver = source_driver_named(conf_text(conf, "driver"));
	l->objects = objects_new();
	l->group_sets = sets_new(UINT32_MAX);
	l->route_sets = sets_new(UINT16_MAX);
	l->target_sets = sets_new(UINT16_MAX);
	l->diff = diff_new(l->objects, LINE_QUEUE_BYTES);
	l->turn = loop_after_new(loop, turn, l);
	l->retry = loop_timer_new(loop, retry, l);
	l->verify_timer = loop_timer_new(loop, line_later, l);
	l->stopped_timer = loop_timer_new(loop, stopped, l);
	l->drain_timer = loop_timer_new(loop, drain_over, l);
	l->held_timer = loop_timer_new(loop, line_look_for_held, l);
	l->presence_timer = loop_timer_new(loop, line_presence, l);
	l->overrides = override_new(l->root, why);
	l->maker =
		image_new(&(struct image_settings){conf, l->name, line_resolve, l, l->overrides});
	objects_set_references(l->objects, image_references(l->maker));
	l->config = config_hash(l);
	if (l->overrides == NULL || make_base(l, why) != 0 || make_groups_and_routes(l, why) != 0 ||
	    make_source(l, why) != 0 || make_publish(l, why) != 0) {
		line_free(l);
		return NULL;
	}
	return l;
}

void line_stop(struct line *l, loop_fn done, void *arg)
{
	l->draining = true;
	l->drained = done;
	l->drained_arg = arg;
	line_stop_source(l);
	loop_timer_set(l->drain_timer, publish_is_open(l->publish) ? LINE_DRAIN_MS : 0);
	line_ask_turn(l);
}

static void free_parts(struct line *l)
{
	loop_after_free(l->turn);
	loop_timer_free(l->retry);
	loop_timer_free(l->verify_timer);
	loop_timer_free(l->stopped_timer);
	loop_timer_free(l->drain_timer);
	loop_timer_free(l->held_timer);
	loop_timer_free(l->presence_timer);
	image_free(l->maker);
	override_free(l->overrides);
	diff_free(l->diff);
	groups_free(l->groups);
	route_free(l->routes);
	filter_free(l->user_filter);
	sets_free(l->group_sets);
	sets_free(l->route_sets);
	sets_free(l->target_sets);
	objects_free(l->objects);
}

static void marker_done(struct marker *m)
{
	buf_done(&m->cookie);
	buf_done(&m->server);
}

void line_free(struct line *l)
{
	if (l == NULL)
		return;
	if (l->source != NULL) {
		line_stop_source(l);
		l->driver->destroy(l->source);
	}
	publish_free(l->publish);
	if (l->groups != NULL) {
		diff_clear(l->diff);
		line_forget_work(l);
		line_sweep_cancel(l);
		line_forget_waiting(l);
	}
	numbers_done(&l->held);
	marker_done(&l->current);
	marker_done(&l->next);
	buf_done(&l->server);
	buf_done(&l->trouble);
	buf_done(&l->base);
	buf_done(&l->record);
	buf_done(&l->start_cookie);
	buf_done(&l->start_server);
	free_parts(l);
	free(l->name);
	free(l);
}
