#include "store_redis.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static void fetch(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const struct store_target *t = &s->targets[e->target];

	args_number(a, 5);
	args_text(a, "FETCH");
	args_user_key(s, a, NULL, &e->user);
	args_text(a, t->link);
	args_text(a, t->applied);
	args_text(a, s->user);
}

/* ---- what stands beside the users ---- */

static void stuck(struct store_args *a, const struct store_target *t, const struct queue_effect *e)
{
	bool put = e->kind == QUEUE_PUT_STUCK;

	args_command(a, put ? 4 : 3, put ? "HSET" : "HDEL", t->stuck);
	args_id(a, &e->user);
	if (put)
		args_slice(a, e->detail);
}

static void held(struct store_args *a, const struct store_target *t, const struct queue_effect *e)
{
	bool put = e->kind == QUEUE_PUT_HELD;
	size_t at;

	args_command(a, put ? 4 : 3, put ? "HSET" : "HDEL", t->held);
	at = args_mark(a);
	rows_put_held_name(&a->bytes, &e->held);
	args_record(a, at);
	if (!put)
		return;
	at = args_mark(a);
	rows_put_held(&a->bytes, &e->held);
	args_record(a, at);
}

static void waiter(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	args_number(a, 3);
	args_text(a, e->kind == QUEUE_PUT_WAITER ? "SADD" : "SREM");
	args_user_key(s, a, s->targets[e->target].waiters, &e->of);
	args_id(a, &e->user);
}

/* A source and a target may bear the same name and so share the key: the field says whose it is. */
static void guard(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	bool put = e->kind == QUEUE_PUT_GUARD, of_source = e->target == QUEUE_NOBODY;
	size_t at;

	args_command(a, put ? 4 : 3, put ? "HSET" : "HDEL",
		     of_source ? s->sources[e->source].guard : s->targets[e->target].guard);
	at = args_mark(a);
	buf_adds(&a->bytes, of_source ? "s:" : "t:");
	buf_add(&a->bytes, e->field.p, e->field.n);
	args_record(a, at);
	if (put)
		args_slice(a, e->detail);
}

static void put_pause(struct store_args *a, const struct store_target *t,
		      const struct queue_pause_row *p)
{
	args_command(a, 12, "HSET", t->pause);
	args_text(a, "kind");
	args_number(a, p->kind);
	args_text(a, "tries");
	args_number(a, p->tries);
	args_text(a, "until");
	args_number(a, p->until_unix_ms);
	args_text(a, "since");
	args_number(a, p->since_unix_ms);
	args_text(a, "why");
	args_slice(a, p->why);
}

static void put_conf(struct store_args *a, const struct store_target *t, const struct fp *fp)
{
	size_t at;

	args_command(a, 4, "HSET", t->conf);
	args_text(a, "config");
	at = args_mark(a);
	rows_put_fp(&a->bytes, fp);
	args_record(a, at);
}

static void put_session(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	args_command(a, 6, "HSET", s->sources[e->source].cursor);
	args_text(a, "session");
	args_number(a, (int64_t)e->session);
	args_text(a, "batch");
	args_number(a, (int64_t)e->batch);
}

static void put_cursor(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	size_t at;

	args_command(a, 8, "HSET", s->sources[e->source].cursor);
	args_text(a, "cookie");
	args_slice(a, e->cookie);
	args_text(a, "server");
	args_slice(a, e->server);
	args_text(a, "config");
	at = args_mark(a);
	rows_put_fp(&a->bytes, &e->config);
	args_record(a, at);
}

/* What stands beside the users of a target. */
static void effect_of_target(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	const struct store_target *t = &s->targets[e->target];

	switch ((int)e->kind) {
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
		args_command(a, 2, "DEL", t->pause);
		break;
	case QUEUE_PUT_CONF:
		put_conf(a, t, &e->fp);
		break;
	default:
		abort();
	}
}

typedef void (*effect_fn)(struct store *s, struct store_args *a, const struct queue_effect *e);

static const effect_fn effects[QUEUE_EFFECT_KINDS] = {
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
	[QUEUE_PUT_CONF] = effect_of_target,
	[QUEUE_PUT_SESSION] = put_session,
	[QUEUE_PUT_CURSOR] = put_cursor,
};

static void effect(struct store *s, struct store_args *a, const struct queue_effect *e)
{
	assert(e->kind < QUEUE_EFFECT_KINDS && effects[e->kind]);
	effects[e->kind](s, a, e);
}

/* ---- what many users of a page say alike: in one command ---- */

enum { RIDS_MOST = 500 }; /* in one command: Lua unpacks no more than some thousand words */

static void rids_command(struct store *s, struct store_args *a,
			 const struct queue_effect *const *rids, int n)
{
	bool claim = rids[0]->kind == QUEUE_PUT_RID;

	args_command(a, 2 + n * (claim ? 2 : 1), claim ? "CLAIM" : "HDEL",
		     s->targets[rids[0]->target].rid);
	for (int i = 0; i < n; i++) {
		args_slice(a, rids[i]->rid);
		if (claim)
			args_id(a, &rids[i]->user);
	}
}

/* In the page's order: what is let go may be claimed again. */
static void rids(struct store *s, const struct queue_page *page, struct store_args *a)
{
	const struct queue_effect *run[RIDS_MOST];
	int n = 0;

	for (size_t i = 0; i < page->effects_n; i++) {
		const struct queue_effect *e = &page->effects[i];

		if (e->kind != QUEUE_PUT_RID && e->kind != QUEUE_DEL_RID)
			continue;
		if (n == RIDS_MOST ||
		    (n > 0 && (run[0]->kind != e->kind || run[0]->target != e->target))) {
			rids_command(s, a, run, n);
			n = 0;
		}
		run[n++] = e;
	}
	if (n > 0)
		rids_command(s, a, run, n);
}

static void log_lines(struct store *s, const struct queue_page *page, struct store_args *a)
{
	int n = 0;

	for (size_t i = 0; i < page->effects_n; i++)
		n += page->effects[i].kind == QUEUE_LOG;
	if (n == 0)
		return;
	args_command(a, 3 + n, "LOG", s->key_log);
	args_number(a, s->conf.log_entries ? s->conf.log_entries : STORE_LOG_MOST);
	for (size_t i = 0; i < page->effects_n; i++)
		if (page->effects[i].kind == QUEUE_LOG)
			args_slice(a, page->effects[i].detail);
}

/* A log of its own, which successes do not push out. */
static void error_lines(struct store *s, const struct queue_page *page, struct store_args *a,
			uint16_t target)
{
	int n = 0;

	for (size_t i = 0; i < page->effects_n; i++)
		n += page->effects[i].kind == QUEUE_LOG && page->effects[i].failed &&
		     page->effects[i].target == target;
	if (n == 0)
		return;
	args_command(a, 3 + n, "LOG", s->targets[target].errors);
	args_number(a, s->conf.error_entries ? s->conf.error_entries : STORE_ERRORS_MOST);
	for (size_t i = 0; i < page->effects_n; i++) {
		const struct queue_effect *e = &page->effects[i];

		if (e->kind == QUEUE_LOG && e->failed && e->target == target)
			args_slice(a, e->detail);
	}
}

static bool is_cursor(const struct queue_effect *e)
{
	return e->kind == QUEUE_PUT_SESSION || e->kind == QUEUE_PUT_CURSOR;
}

/* The users and their indexes; what stands beside them in the engine's order; then what tasks carry is read, when all of the page is written; the
 * cursors last, so that an error in the middle leaves them behind. */
void store_page_args(struct store *s, const struct queue_page *page, struct store_args *out)
{
	args_text(out, "FCALL");
	args_slice(out, store_function("page"));
	args_text(out, "2");
	args_text(out, s->key_epoch);
	args_text(out, s->key_page);
	args_text(out, s->fence);
	args_number(out, (int64_t)page->number - 1);
	args_number(out, (int64_t)page->number);
	store_fold(s, page, out);
	rids(s, page, out);
	log_lines(s, page, out);
	for (size_t i = 0; i < s->conf.targets_n; i++)
		error_lines(s, page, out, (uint16_t)i);
	for (size_t i = 0; i < page->effects_n; i++)
		if (!is_cursor(&page->effects[i]) && effects[page->effects[i].kind])
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

int store_page_task(struct store *s, const redisReply *reply, struct store_task *task)
{
	struct queue_user_row row = {0};
	struct rows_link link = {0};
	struct slice applied;

	if (reply->type != REDIS_REPLY_ARRAY || reply->elements < 6 ||
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
		if (store_page_task(s, reply->element[n], &tasks[n]) < 0)
			return -EBADMSG;
		n++;
	}
	assert(n == tasks_n);
	return 0;
}
