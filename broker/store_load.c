/* One pass of SCAN gives users and waiters, 1,000 keys a call; the next call is under way while the rows of the last are
 * taken in. Then each target's and source's own hashes, in parts. A row that cannot be read is set aside with
 * all of its user, so that nothing overwrites what somebody may want to look at. */
#include "clock.h"
#include "crash.h"
#include "store_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum part {
	PART_RID,
	PART_FLIGHT,
	PART_STUCK,
	PART_HELD,
	PART_GUARD,
	PART_PAUSE,
	PART_CONF,
	PARTS
};

struct store_load {
	struct queue *q;
	size_t target, source; /* whose hashes are read */
	enum part part;
	unsigned aside; /* quarantines not yet answered */
	bool done;
};

static void next_hash(struct store *s);

void store_load_free(struct store *s)
{
	free(s->load);
	s->load = NULL;
}

static void finish(struct store *s)
{
	if (s->load->done && s->load->aside == 0)
		store_loaded(s);
}

/* ---- quarantine ---- */

static void set_aside(struct store *s, enum redis_class class, const redisReply *reply)
{
	if (!store_good(s, "setting a broken record aside", class, reply))
		return;
	if (store_text(reply).n == 0) {
		store_unreadable(s, "setting a broken record aside");
		return;
	}
	s->load->aside--;
	finish(s);
}

static void quarantine(struct store *s, struct slice key)
{
	char *to = NULL;
	struct buf name = {0};

	buf_adds(&name, s->prefix);
	buf_adds(&name, "quarantine:");
	if (key.n > strlen(s->prefix))
		buf_add(&name, key.p + strlen(s->prefix), key.n - strlen(s->prefix));
	to = buf_steal(&name);

	struct slice argv[] = {SLICE("FCALL"),
			       store_function("quarantine"),
			       SLICE("3"),
			       slice_of(s->key_epoch),
			       key,
			       slice_of(to),
			       slice_of(s->fence)};

	s->quarantined++;
	s->load->aside++;
	store_step(s, argv, 7, set_aside);
	free(to);
}

static void quarantine_user(struct store *s, struct slice id_text)
{
	struct buf key = {0};

	buf_adds(&key, s->user);
	buf_add(&key, id_text.p, id_text.n);
	quarantine(s, buf_slice(&key));
	buf_done(&key);
}

/* ---- users ---- */

struct entries {
	struct queue_entry_row entry;
	struct slice rid;
	bool there, moved;
};

static int read_entry(const redisReply *entry, const redisReply *link, struct entries *ret)
{
	struct rows_link l = {0};

	*ret = (struct entries){0};
	if (link->type != REDIS_REPLY_NIL && rows_get_link(store_text(link), &l) < 0)
		return -1;
	if (entry->type == REDIS_REPLY_NIL)
		return 0;
	if (rows_get_entry(store_text(entry), &ret->entry) < 0)
		return -1;
	ret->rid = l.rid;
	ret->there = true;
	return 0;
}

static bool lists(struct wire_list names, const char *target)
{
	struct wire_name name;

	while (wire_next_name(&names, &name))
		if (slice_is(name.text, target))
			return true;
	return false;
}

/* What was published while this target was not configured here is found now: no collector says it again. */
static void agree(const struct queue_user_row *row, const char *target, struct entries *e)
{
	bool in = !row->gone && lists(row->in, target);

	if (e->entry.in == in)
		return;
	e->there = true;
	e->entry.in = in;
	e->moved = e->entry.state == QUEUE_PARKED || e->entry.state == QUEUE_DEAD;
	if (e->entry.state != QUEUE_CLEAN ||
	    (!in && !e->entry.touched && e->entry.link_state == LINK_NONE))
		return;
	e->entry.state = QUEUE_DUE;
	e->entry.lane = QUEUE_BULK;
	e->entry.want++;
	e->entry.since_unix_ms = clock_unix_ms();
}

/* cells: u, r, then entry and link of each target. All is read before the engine hears of any. */
static int take_user(struct store *s, struct slice id_text, redisReply **cells)
{
	size_t n = s->conf.targets_n;
	CLEANUP(free_cleanup) struct entries *entries = mem_array(n + 1, sizeof(*entries));
	struct queue_user_row row = {0};

	if (id_parse(id_text, &row.id) < 0 || rows_get_user(store_text(cells[0]), &row) < 0)
		return -1;
	if (cells[1]->type != REDIS_REPLY_NIL && rows_get_refs(store_text(cells[1]), &row.refs) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (read_entry(cells[2 + 2 * i], cells[3 + 2 * i], &entries[i]) < 0)
			return -1;
	for (size_t i = 0; i < n; i++)
		agree(&row, s->conf.targets[i], &entries[i]);
	queue_load_user(s->load->q, &row);
	for (size_t i = 0; i < n; i++) {
		if (entries[i].there)
			queue_load_entry(s->load->q, &row.id, (unsigned)i, &entries[i].entry,
					 entries[i].rid);
		if (entries[i].moved)
			queue_load_moved(s->load->q, (unsigned)i, &row.id);
	}
	return 0;
}

static int take_waiters(struct store *s, struct slice rest, const redisReply *members)
{
	const char *colon = memrchr(rest.p, ':', rest.n);
	struct slice target, of_text;
	struct id of, user;

	if (!colon)
		return -1;
	target = (struct slice){rest.p, (size_t)(colon - rest.p)};
	of_text = (struct slice){colon + 1, rest.n - target.n - 1};
	if (id_parse(of_text, &of) < 0)
		return -1;
	for (size_t t = 0; t < s->conf.targets_n; t++) {
		if (!slice_is(target, s->conf.targets[t]))
			continue;
		for (size_t i = 0; i < members->elements; i++) {
			struct slice member = store_text(members->element[i]);

			if (member.n != sizeof(user.b))
				return -1;
			memcpy(user.b, member.p, sizeof(user.b));
			queue_load_waiter(s->load->q, (unsigned)t, &of, &user);
		}
	}
	return 0;
}

/* False: it ends in the middle of a row. */
static bool take_rows(struct store *s, const redisReply *reply)
{
	size_t width = 2 + 2 * s->conf.targets_n, i = 1;

	while (i + 2 < reply->elements) {
		struct slice kind = store_text(reply->element[i]);
		struct slice name = store_text(reply->element[i + 1]);

		if (slice_is(kind, "u")) {
			if (i + 2 + width > reply->elements)
				return false;
			if (take_user(s, name, &reply->element[i + 2]) < 0)
				quarantine_user(s, name);
			i += 2 + width;
		} else if (slice_is(kind, "w")) {
			if (take_waiters(s, name, reply->element[i + 2]) < 0) {
				struct buf key = {0};

				buf_addf(&key, "%swaiters:", s->prefix);
				buf_add(&key, name.p, name.n);
				quarantine(s, buf_slice(&key));
				buf_done(&key);
			}
			i += 3;
		} else {
			quarantine(s, name);
			i += 3;
		}
	}
	return i == reply->elements;
}

static void scan(struct store *s, struct slice cursor);

static void scanned(struct store *s, enum redis_class class, const redisReply *reply)
{
	struct slice cursor;

	if (!store_good(s, "loading users", class, reply))
		return;
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 1) {
		store_unreadable(s, "loading users");
		return;
	}
	CRASH_POINT("broker.loading");
	cursor = store_text(reply->element[0]);
	if (!slice_is(cursor, "0"))
		scan(s, cursor);
	if (!take_rows(s, reply))
		store_unreadable(s, "loading users");
	else if (slice_is(cursor, "0"))
		next_hash(s);
}

static void scan(struct store *s, struct slice cursor)
{
	size_t n = 9 + 2 * s->conf.targets_n, at = 0;
	struct slice *argv = mem_array(n, sizeof(*argv));

	argv[at++] = SLICE("FCALL_RO");
	argv[at++] = store_function("load");
	argv[at++] = SLICE("1");
	argv[at++] = slice_of(s->key_epoch);
	argv[at++] = cursor;
	argv[at++] = SLICE("1000");
	argv[at++] = slice_of(s->prefix);
	argv[at++] = SLICE("u");
	argv[at++] = SLICE("r");
	for (size_t i = 0; i < s->conf.targets_n; i++) {
		argv[at++] = slice_of(s->targets[i].entry);
		argv[at++] = slice_of(s->targets[i].link);
	}
	store_step(s, argv, at, scanned);
	free(argv);
}

/* ---- hashes of targets and sources ---- */

static int64_t number_in(struct slice text)
{
	char digits[24];

	if (text.n == 0 || text.n >= sizeof(digits))
		return 0;
	memcpy(digits, text.p, text.n);
	digits[text.n] = '\0';
	return strtoll(digits, NULL, 10);
}

static int take_lease(struct store *s, const struct id *user, struct slice value)
{
	struct queue_lease lease;

	if (rows_get_lease(value, &lease) < 0)
		return -1;
	queue_load_lease(s->load->q, user, (unsigned)s->load->target, &lease);
	return 0;
}

static void take_rid(struct store *s, struct slice rid, struct slice value)
{
	struct id user;

	if (value.n != sizeof(user.b)) {
		s->quarantined++;
		return;
	}
	memcpy(user.b, value.p, sizeof(user.b));
	queue_load_rid(s->load->q, (unsigned)s->load->target, rid, &user);
}

static int take_held(struct store *s, struct slice name, struct slice value)
{
	struct queue_held_row row;

	if (rows_get_held(name, value, &row) < 0)
		return -1;
	queue_load_held(s->load->q, (unsigned)s->load->target, &row);
	return 0;
}

static void take_guard(struct store *s, bool of_source, size_t index, struct slice name,
		       struct slice value)
{
	if (name.n < 2 || name.p[1] != ':' || name.p[0] != (of_source ? 's' : 't'))
		return;
	name.p += 2;
	name.n -= 2;
	queue_load_guard(s->load->q, of_source, (unsigned)index, name, value);
}

/* One field of one of a target's hashes; a broken one is counted and left where it is: no effect of ours has its name
 * unless it says the same thing anew. */
static void take_field(struct store *s, struct slice name, struct slice value)
{
	struct store_load *l = s->load;
	struct id user = {0};
	int rc = 0;

	if (l->part == PART_RID) {
		take_rid(s, name, value);
		return;
	}
	if (name.n == sizeof(user.b))
		memcpy(user.b, name.p, sizeof(user.b));
	else if (l->part == PART_FLIGHT || l->part == PART_STUCK)
		rc = -1;
	if (rc == 0 && l->part == PART_FLIGHT)
		rc = take_lease(s, &user, value);
	else if (rc == 0 && l->part == PART_STUCK)
		queue_load_stuck(l->q, (unsigned)l->target, &user, value);
	else if (l->part == PART_HELD)
		rc = take_held(s, name, value);
	else if (l->part == PART_GUARD)
		take_guard(s, false, l->target, name, value);
	if (rc < 0)
		s->quarantined++;
}

static void take_conf(struct store *s, const struct fp *config)
{
	queue_load_conf(s->load->q, (unsigned)s->load->target, config);
	if (s->host.stored_conf)
		s->host.stored_conf(s->host.arg, (unsigned)s->load->target, config);
}

static void take_whole(struct store *s, const redisReply *all)
{
	struct queue_pause_row pause = {0};
	struct fp config = {0};
	bool paused = all->elements > 1, bad = false;

	for (size_t i = 0; i + 1 < all->elements; i += 2) {
		struct slice name = store_text(all->element[i]);
		struct slice value = store_text(all->element[i + 1]);

		if (slice_is(name, "kind"))
			pause.kind = (uint8_t)number_in(value);
		else if (slice_is(name, "tries"))
			pause.tries = (uint32_t)number_in(value);
		else if (slice_is(name, "until"))
			pause.until_unix_ms = number_in(value);
		else if (slice_is(name, "since"))
			pause.since_unix_ms = number_in(value);
		else if (slice_is(name, "why"))
			pause.why = value;
		else if (slice_is(name, "config"))
			bad = rows_get_fp(value, &config) < 0;
	}
	if (bad || pause.kind >= QUEUE_PAUSE_KINDS)
		s->quarantined++;
	else if (s->load->part == PART_PAUSE && paused)
		queue_load_pause(s->load->q, (unsigned)s->load->target, &pause);
	else if (s->load->part == PART_CONF && paused)
		take_conf(s, &config);
}

static void read_hash(struct store *s, struct slice cursor);

/* Names and values in turn. */
static bool is_fields(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ARRAY && reply->elements % 2 == 0;
}

/* HSCAN's: the cursor, then fields. */
static bool is_part(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
	       store_text(reply->element[0]).n > 0 && is_fields(reply->element[1]);
}

static void hash_read(struct store *s, enum redis_class class, const redisReply *reply)
{
	bool whole = s->load->part == PART_PAUSE || s->load->part == PART_CONF;
	struct slice cursor = SLICE("0");

	if (!store_good(s, "loading a target", class, reply))
		return;
	if (!(whole ? is_fields(reply) : is_part(reply))) {
		store_unreadable(s, "loading a target");
		return;
	}
	if (whole) {
		take_whole(s, reply);
	} else {
		const redisReply *fields = reply->element[1];

		cursor = store_text(reply->element[0]);
		for (size_t i = 0; i + 1 < fields->elements; i += 2)
			take_field(s, store_text(fields->element[i]),
				   store_text(fields->element[i + 1]));
	}
	if (!slice_is(cursor, "0")) {
		read_hash(s, cursor);
		return;
	}
	if (++s->load->part == PARTS) {
		s->load->part = 0;
		s->load->target++;
	}
	next_hash(s);
}

static const char *hash_of(const struct store_target *t, enum part part)
{
	switch (part) {
	case PART_RID:
		return t->rid;
	case PART_FLIGHT:
		return t->flight;
	case PART_STUCK:
		return t->stuck;
	case PART_HELD:
		return t->held;
	case PART_GUARD:
		return t->guard;
	case PART_PAUSE:
		return t->pause;
	case PART_CONF:
		return t->conf;
	case PARTS:
		break;
	}
	abort();
}

static void read_hash(struct store *s, struct slice cursor)
{
	enum part part = s->load->part;
	struct slice key = slice_of(hash_of(&s->targets[s->load->target], part));
	struct slice whole[] = {SLICE("HGETALL"), key};
	struct slice parts[] = {SLICE("HSCAN"), key, cursor, SLICE("COUNT"), SLICE("5000")};

	if (part == PART_PAUSE || part == PART_CONF)
		store_step(s, whole, 2, hash_read);
	else
		store_step(s, parts, 5, hash_read);
}

static void guard_read(struct store *s, enum redis_class class, const redisReply *reply)
{
	if (!store_good(s, "loading a source", class, reply))
		return;
	if (!is_fields(reply)) {
		store_unreadable(s, "loading a source");
		return;
	}
	for (size_t i = 0; i + 1 < reply->elements; i += 2)
		take_guard(s, true, s->load->source, store_text(reply->element[i]),
			   store_text(reply->element[i + 1]));
	s->load->source++;
	next_hash(s);
}

static void cursor_read(struct store *s, enum redis_class class, const redisReply *reply)
{
	struct slice argv[] = {SLICE("HGETALL"), slice_of(s->sources[s->load->source].guard)};

	if (!store_good(s, "loading a source", class, reply))
		return;
	if (!is_fields(reply) || reply->elements != 2) {
		store_unreadable(s, "loading a source");
		return;
	}
	if (reply->element[0]->type != REDIS_REPLY_NIL)
		queue_load_session(s->load->q, (unsigned)s->load->source,
				   (uint64_t)number_in(store_text(reply->element[0])),
				   (uint64_t)number_in(store_text(reply->element[1])));
	store_step(s, argv, 2, guard_read);
}

static void next_hash(struct store *s)
{
	struct store_load *l = s->load;

	if (l->target < s->conf.targets_n) {
		read_hash(s, SLICE("0"));
	} else if (l->source < s->conf.sources_n) {
		struct slice argv[] = {SLICE("HMGET"), slice_of(s->sources[l->source].cursor),
				       SLICE("session"), SLICE("batch")};

		store_step(s, argv, 4, cursor_read);
	} else {
		l->done = true;
		finish(s);
	}
}

void store_load_begin(struct store *s, struct queue *q)
{
	store_load_free(s);
	s->load = mem_alloc(sizeof(*s->load));
	s->load->q = q;
	scan(s, SLICE("0"));
}
