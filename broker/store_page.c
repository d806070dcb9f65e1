#include "store_redis.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* ---- arguments: borrowed pieces and bytes of our own, addressed by offset while they grow ---- */

static void add(struct store_args *a, const char *p, size_t at, size_t n)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 256;
		a->args = mem_resize(a->args, a->cap * sizeof(*a->args));
	}
	a->args[a->n++] = (struct store_arg){p, at, n};
}

static void borrow(struct store_args *a, struct slice s)
{
	add(a, s.p ? s.p : "", 0, s.n);
}

static void text(struct store_args *a, const char *s)
{
	borrow(a, slice_of(s));
}

static void own(struct store_args *a, const void *p, size_t n)
{
	size_t at = a->bytes.n;

	buf_add(&a->bytes, p, n);
	add(a, NULL, at, n);
}

static void number(struct store_args *a, int64_t value)
{
	size_t at = a->bytes.n;

	buf_addf(&a->bytes, "%" PRId64, value);
	add(a, NULL, at, a->bytes.n - at);
}

static void id(struct store_args *a, const struct id *value)
{
	own(a, value->b, sizeof(value->b));
}

/* What a rows_put_… function appends between these two becomes one argument. */
static size_t record(const struct store_args *a)
{
	return a->bytes.n;
}

static void recorded(struct store_args *a, size_t at)
{
	add(a, NULL, at, a->bytes.n - at);
}

struct slice *store_args_slices(const struct store_args *a)
{
	struct slice *slices = mem_array(a->n, sizeof(*slices));

	for (size_t i = 0; i < a->n; i++)
		slices[i] = (struct slice){a->args[i].p ? a->args[i].p : a->bytes.p + a->args[i].at,
					   a->args[i].n};
	return slices;
}

void store_args_done(struct store_args *a)
{
	buf_done(&a->bytes);
	free(a->args);
	*a = (struct store_args){0};
}

/* ---- commands ---- */

/* words: of the whole command, its name and key included. */
static void command(struct store_args *a, int words, const char *name, const char *key)
{
	number(a, words);
	text(a, name);
	text(a, key);
}

static void user_key(struct store *s, struct store_args *a, const char *before,
		     const struct id *user)
{
	char hex[ID_TEXT];
	size_t at = record(a);

	id_format(user, hex);
	buf_adds(&a->bytes, before ? before : s->user);
	buf_adds(&a->bytes, hex);
	recorded(a, at);
}

static void user_command(struct store *s, struct store_args *a, int words, const char *name,
			 const struct id *user)
{
	number(a, words);
	text(a, name);
	user_key(s, a, NULL, user);
}

static void member_command(struct store_args *a, const char *name, const char *key,
			   const struct id *user)
{
	command(a, 3, name, key);
	id(a, user);
}

/* ---- indexes ---- */

static const char *index_of(const struct store_target *t, uint8_t state, uint8_t lane)
{
	if (state == QUEUE_DUE)
		return lane == QUEUE_LIVE ? t->live : t->bulk;
	return state == QUEUE_RETRY ? t->retry : NULL;
}

/* The calendar holds the earlier of a scheduled VERIFY and the time to look again; 0: neither. */
static int64_t calendar_of(const struct queue_entry_row *e)
{
	int64_t verify = e->verify == QUEUE_VERIFY_AT ? e->verify_unix_ms : 0;

	if (verify == 0 || (e->look_again_unix_ms != 0 && e->look_again_unix_ms < verify))
		return e->look_again_unix_ms;
	return verify;
}

static void score(struct store_args *a, const char *key, int64_t at, const struct id *user)
{
	command(a, 4, "ZADD", key);
	number(a, at);
	id(a, user);
}

static void put_entry(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const struct store_target *t = &s->targets[e->target];
	const char *old = index_of(t, e->old_state, e->old_lane);
	const char *now = index_of(t, e->entry.state, e->entry.lane);
	int64_t calendar = calendar_of(&e->entry);
	size_t at;

	if (old && old != now)
		member_command(a, "ZREM", old, &e->user);
	if (now)
		score(a, now,
		      e->entry.state == QUEUE_RETRY ? e->entry.due_unix_ms : e->entry.since_unix_ms,
		      &e->user);
	if (calendar)
		score(a, t->cal, calendar, &e->user);
	else if (e->old_calendar)
		member_command(a, "ZREM", t->cal, &e->user);
	user_command(s, a, 4, "HSET", &e->user);
	text(a, t->entry);
	at = record(a);
	rows_put_entry(&a->bytes, &e->entry);
	recorded(a, at);
}

static void del_entry(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const struct store_target *t = &s->targets[e->target];
	const char *old = index_of(t, e->old_state, e->old_lane);

	if (old)
		member_command(a, "ZREM", old, &e->user);
	if (e->old_calendar)
		member_command(a, "ZREM", t->cal, &e->user);
	user_command(s, a, 3, "HDEL", &e->user);
	text(a, t->entry);
}

static void dispatch(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	size_t at;

	put_entry(s, a, e);
	command(a, 4, "HSET", s->targets[e->target].flight);
	id(a, &e->user);
	at = record(a);
	rows_put_lease(&a->bytes, &e->lease);
	recorded(a, at);
}

static void fetch(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const struct store_target *t = &s->targets[e->target];

	user_command(s, a, 5, "FETCH", &e->user);
	text(a, t->link);
	text(a, t->applied);
	text(a, s->user);
}

/* ---- users, links ---- */

static void put_user(struct store *s, struct store_args *a, const struct queue_user_row *row)
{
	size_t at;
	bool refs = row->refs.count > 0, groups = row->groups.n > 0;

	user_command(s, a, 6 + 2 * refs + 2 * groups, "HSET", &row->id);
	text(a, "u");
	at = record(a);
	rows_put_user(&a->bytes, row);
	recorded(a, at);
	text(a, "d");
	borrow(a, row->snapshot);
	if (refs) {
		text(a, "r");
		at = record(a);
		rows_put_refs(&a->bytes, &row->refs);
		recorded(a, at);
	}
	if (groups) {
		text(a, "g");
		borrow(a, row->groups);
	}
	if (refs && groups)
		return;
	user_command(s, a, 2 + !refs + !groups, "HDEL", &row->id);
	if (!refs)
		text(a, "r");
	if (!groups)
		text(a, "g");
}

static void put_link(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	struct rows_link link = {e->rid, e->memory, e->link_state, e->link_revision};
	size_t at;

	user_command(s, a, 4, "HSET", &e->user);
	text(a, s->targets[e->target].link);
	at = record(a);
	rows_put_link(&a->bytes, &link);
	recorded(a, at);
}

static void put_applied(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const char *field = s->targets[e->target].applied;
	size_t at;

	if (fp_is_none(&e->fp)) {
		user_command(s, a, 3, "HDEL", &e->user);
		text(a, field);
		return;
	}
	user_command(s, a, 4, "HSET", &e->user);
	text(a, field);
	at = record(a);
	rows_put_fp(&a->bytes, &e->fp);
	recorded(a, at);
}

static void put_error(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	user_command(s, a, e->detail.n ? 4 : 3, e->detail.n ? "HSET" : "HDEL", &e->user);
	text(a, s->targets[e->target].error);
	if (e->detail.n)
		borrow(a, e->detail);
}

/* ---- what stands beside the users ---- */

static void rid(struct store_args *a, const struct store_target *t, const struct queue_effect *e)
{
	bool claim = e->kind == QUEUE_PUT_RID;

	command(a, claim ? 4 : 3, claim ? "HSETNX" : "HDEL", t->rid);
	borrow(a, e->rid);
	if (claim)
		id(a, &e->user);
}

static void stuck(struct store_args *a, const struct store_target *t, const struct queue_effect *e)
{
	bool put = e->kind == QUEUE_PUT_STUCK;

	command(a, put ? 4 : 3, put ? "HSET" : "HDEL", t->stuck);
	id(a, &e->user);
	if (put)
		borrow(a, e->detail);
}

static void held(struct store_args *a, const struct store_target *t, const struct queue_effect *e)
{
	bool put = e->kind == QUEUE_PUT_HELD;
	size_t at;

	command(a, put ? 4 : 3, put ? "HSET" : "HDEL", t->held);
	at = record(a);
	rows_put_held_name(&a->bytes, &e->held);
	recorded(a, at);
	if (!put)
		return;
	at = record(a);
	rows_put_held(&a->bytes, &e->held);
	recorded(a, at);
}

static void waiter(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	number(a, 3);
	text(a, e->kind == QUEUE_PUT_WAITER ? "SADD" : "SREM");
	user_key(s, a, s->targets[e->target].waiters, &e->of);
	id(a, &e->user);
}

/* A source and a target may bear the same name and so share the key: the field says whose it is. */
static void guard(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	bool put = e->kind == QUEUE_PUT_GUARD, of_source = e->target == QUEUE_NOBODY;
	size_t at;

	command(a, put ? 4 : 3, put ? "HSET" : "HDEL",
		of_source ? s->sources[e->source].guard : s->targets[e->target].guard);
	at = record(a);
	buf_adds(&a->bytes, of_source ? "s:" : "t:");
	buf_add(&a->bytes, e->field.p, e->field.n);
	recorded(a, at);
	if (put)
		borrow(a, e->detail);
}

static void put_pause(struct store_args *a, const struct store_target *t,
		      const struct queue_pause_row *p)
{
	command(a, 12, "HSET", t->pause);
	text(a, "kind");
	number(a, p->kind);
	text(a, "tries");
	number(a, p->tries);
	text(a, "until");
	number(a, p->until_unix_ms);
	text(a, "since");
	number(a, p->since_unix_ms);
	text(a, "why");
	borrow(a, p->why);
}

static void put_conf(struct store_args *a, const struct store_target *t, const struct fp *fp)
{
	size_t at;

	command(a, 4, "HSET", t->conf);
	text(a, "config");
	at = record(a);
	rows_put_fp(&a->bytes, fp);
	recorded(a, at);
}

static void log_line(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	command(a, 8, "XADD", s->key_log);
	text(a, "MAXLEN");
	text(a, "~");
	number(a, s->conf.log_entries ? s->conf.log_entries : STORE_LOG_MOST);
	text(a, "*");
	text(a, "j");
	borrow(a, e->detail);
}

static void put_session(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	command(a, 6, "HSET", s->sources[e->source].cursor);
	text(a, "session");
	number(a, (int64_t)e->session);
	text(a, "batch");
	number(a, (int64_t)e->batch);
}

static void put_cursor(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	size_t at;

	command(a, 8, "HSET", s->sources[e->source].cursor);
	text(a, "cookie");
	borrow(a, e->cookie);
	text(a, "server");
	borrow(a, e->server);
	text(a, "config");
	at = record(a);
	rows_put_fp(&a->bytes, &e->config);
	recorded(a, at);
}

/* What stands beside the users of a target. */
static void effect_of_target(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const struct store_target *t = &s->targets[e->target];

	switch ((int)e->kind) {
	case QUEUE_DEL_LEASE:
		member_command(a, "HDEL", t->flight, &e->user);
		break;
	case QUEUE_PUT_RID:
	case QUEUE_DEL_RID:
		rid(a, t, e);
		break;
	case QUEUE_PUT_STUCK:
	case QUEUE_DEL_STUCK:
		stuck(a, t, e);
		break;
	case QUEUE_PUT_HELD:
	case QUEUE_DEL_HELD:
		held(a, t, e);
		break;
	case QUEUE_PUT_PAUSE:
		put_pause(a, t, &e->pause);
		break;
	case QUEUE_DEL_PAUSE:
		command(a, 2, "DEL", t->pause);
		break;
	case QUEUE_PUT_CONF:
		put_conf(a, t, &e->fp);
		break;
	default:
		abort();
	}
}

typedef void (*effect_fn)(struct store *s, struct store_args *a, const struct queue_effect *e);

static void user_row(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	put_user(s, a, &e->row);
}

static const effect_fn effects[QUEUE_EFFECT_KINDS] = {
	[QUEUE_PUT_ENTRY] = put_entry,
	[QUEUE_DEL_ENTRY] = del_entry,
	[QUEUE_DISPATCH] = dispatch,
	[QUEUE_DEL_LEASE] = effect_of_target,
	[QUEUE_PUT_USER] = user_row,
	[QUEUE_PUT_LINK] = put_link,
	[QUEUE_PUT_APPLIED] = put_applied,
	[QUEUE_PUT_RID] = effect_of_target,
	[QUEUE_DEL_RID] = effect_of_target,
	[QUEUE_PUT_STUCK] = effect_of_target,
	[QUEUE_DEL_STUCK] = effect_of_target,
	[QUEUE_PUT_HELD] = effect_of_target,
	[QUEUE_DEL_HELD] = effect_of_target,
	[QUEUE_PUT_WAITER] = waiter,
	[QUEUE_DEL_WAITER] = waiter,
	[QUEUE_PUT_GUARD] = guard,
	[QUEUE_DEL_GUARD] = guard,
	[QUEUE_PUT_PAUSE] = effect_of_target,
	[QUEUE_DEL_PAUSE] = effect_of_target,
	[QUEUE_PUT_ERROR] = put_error,
	[QUEUE_PUT_CONF] = effect_of_target,
	[QUEUE_LOG] = log_line,
	[QUEUE_PUT_SESSION] = put_session,
	[QUEUE_PUT_CURSOR] = put_cursor,
};

static void effect(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	assert(e->kind < QUEUE_EFFECT_KINDS && effects[e->kind]);
	effects[e->kind](s, a, e);
}

static bool is_cursor(const struct queue_effect *e)
{
	return e->kind == QUEUE_PUT_SESSION || e->kind == QUEUE_PUT_CURSOR;
}

/* Effects in the engine's order; then what tasks carry is read, when all of the page is written; the
 * cursors last, so that an error in the middle leaves them behind. */
void store_page_args(struct store *s, const struct queue_page *page, struct store_args *out)
{
	text(out, "FCALL");
	borrow(out, store_function("page"));
	text(out, "2");
	text(out, s->key_epoch);
	text(out, s->key_page);
	text(out, s->fence);
	number(out, (int64_t)page->number - 1);
	number(out, (int64_t)page->number);
	for (size_t i = 0; i < page->effects_n; i++)
		if (!is_cursor(&page->effects[i]))
			effect(s, out, &page->effects[i]);
	for (size_t i = 0; i < page->effects_n; i++)
		if (page->effects[i].kind == QUEUE_DISPATCH)
			fetch(s, out, &page->effects[i]);
	for (size_t i = 0; i < page->effects_n; i++)
		if (is_cursor(&page->effects[i]))
			effect(s, out, &page->effects[i]);
}

/* ---- the answer ---- */

size_t store_page_dispatches(const struct queue_page *page)
{
	size_t n = 0;

	for (size_t i = 0; i < page->effects_n; i++)
		n += page->effects[i].kind == QUEUE_DISPATCH;
	return n;
}

static int one_task(struct store *s, const redisReply *reply, struct store_task *task)
{
	struct queue_user_row row = {0};
	struct rows_link link = {0};
	struct slice applied;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != 6 ||
	    reply->element[4]->type != REDIS_REPLY_INTEGER)
		return -EBADMSG;
	task->snapshot = store_text(reply->element[1]);
	task->rids = (struct wire_list){(uint32_t)reply->element[4]->integer,
					store_text(reply->element[5]).p,
					store_text(reply->element[5]).n};
	if (rows_get_user(store_text(reply->element[0]), &row) == 0)
		task->source = row.source;
	else
		s->quarantined++;
	if (reply->element[2]->type != REDIS_REPLY_NIL &&
	    rows_get_link(store_text(reply->element[2]), &link) < 0)
		s->quarantined++;
	task->rid = link.rid;
	task->memory = link.memory;
	task->link_state = link.state;
	task->link_revision = link.revision;
	applied = store_text(reply->element[3]);
	if (applied.n > 0 && rows_get_fp(applied, &task->applied) < 0)
		s->quarantined++; /* none: the worker reads the target */
	return 0;
}

int store_page_tasks(struct store *s, const struct queue_page *page, const redisReply *reply,
		     struct store_task *tasks, size_t tasks_n)
{
	size_t n = 0;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements != tasks_n)
		return -EBADMSG;
	for (size_t i = 0; i < page->effects_n; i++) {
		if (page->effects[i].kind != QUEUE_DISPATCH)
			continue;
		tasks[n] = (struct store_task){.id = page->effects[i].user};
		if (one_task(s, reply->element[n], &tasks[n]) < 0)
			return -EBADMSG;
		n++;
	}
	assert(n == tasks_n);
	return 0;
}
