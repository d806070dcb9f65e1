#include "json.h"
#include "store_redis.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- tasks that nobody is given ---- */

struct peek {
	struct store *s;
	const struct store_target *target;
	store_peek_fn fn;
	void *arg;
	struct id *ids;
	size_t n;
};

static bool holds(struct wire_list names, const char *name)
{
	struct wire_name n;

	while (wire_next_name(&names, &n)) {
		if (slice_is(n.text, name))
			return true;
	}
	return false;
}

static int one(const struct peek *p, const redisReply *reply, struct store_peek *ret)
{
	struct queue_user_row row = {0};
	struct queue_entry_row entry;

	if (store_page_task(p->s, reply, &ret->task) < 0 || reply->elements != 7)
		return -1;
	if (ret->task.source.n == 0 || rows_get_user(store_text(reply->element[0]), &row) < 0)
		return 0;
	ret->version = row.version;
	ret->gone = row.gone;
	ret->in = !row.gone && holds(row.in, p->target->name);
	if (rows_get_entry(store_text(reply->element[6]), &entry) < 0)
		return 0;
	ret->entry = true;
	ret->state = entry.state;
	ret->verify = entry.verify;
	return 0;
}

static void peeked(void *arg, enum redis_class class, const redisReply *reply)
{
	struct peek *p = arg;
	struct store_peek *rows = mem_array(p->n + 1, sizeof(*rows));
	bool ok = class == REDIS_CLASS_OK && reply && reply->type == REDIS_REPLY_ARRAY &&
		  reply->elements == p->n;

	for (size_t i = 0; ok && i < p->n; i++) {
		rows[i].task.id = p->ids[i];
		ok = one(p, reply->element[i], &rows[i]) == 0;
	}
	p->fn(p->arg, ok, rows, ok ? p->n : 0);
	free(rows);
	free(p->ids);
	free(p);
}

static const struct store_target *target_named(const struct store *s, const char *name)
{
	for (size_t i = 0; i < s->conf.targets_n; i++)
		if (strcmp(s->targets[i].name, name) == 0)
			return &s->targets[i];
	abort(); /* callers have it from the same list */
}

void store_peek(struct store *s, const char *target, const struct id *ids, size_t n,
		store_peek_fn fn, void *arg)
{
	struct peek *p = mem_alloc(sizeof(*p));
	struct slice *argv = mem_array(n + 7, sizeof(*argv));
	char count[24];
	size_t at = 0;

	*p = (struct peek){.s = s,
			   .target = target_named(s, target),
			   .fn = fn,
			   .arg = arg,
			   .ids = mem_array(n + 1, sizeof(*ids)),
			   .n = n};
	snprintf(count, sizeof(count), "%zu", n);
	argv[at++] = SLICE("FCALL_RO");
	argv[at++] = store_function("peek");
	argv[at++] = slice_of(count);
	for (size_t i = 0; i < n; i++) {
		char text[ID_TEXT];

		p->ids[i] = ids[i];
		id_format(&ids[i], text);
		argv[at++] = slice_of(store_key(s, "user:", text));
	}
	argv[at++] = slice_of(p->target->link);
	argv[at++] = slice_of(p->target->applied);
	argv[at++] = slice_of(p->target->entry);
	argv[at++] = slice_of(s->user);
	redis_call(s->redis, argv, at, peeked, p);
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)argv[3 + i].p);
	free(argv);
}

/* ---- who a text means ---- */

enum { FIND_STEP = 2000 };

struct find {
	struct store *s;
	store_ids_fn fn;
	void *arg;
	char *text;
	struct id *ids;
	size_t n, most;
};

static void find_end(struct find *f, bool ok)
{
	f->fn(f->arg, ok, f->ids, ok ? f->n : 0);
	free(f->text);
	free(f->ids);
	free(f);
}

static void find_step(struct find *f, struct slice cursor);

static void found(void *arg, enum redis_class class, const redisReply *reply)
{
	struct find *f = arg;
	struct slice cursor;

	if (class != REDIS_CLASS_OK || !reply || reply->type != REDIS_REPLY_ARRAY ||
	    reply->elements < 1) {
		find_end(f, false);
		return;
	}
	cursor = store_text(reply->element[0]);
	for (size_t i = 1; i < reply->elements && f->n < f->most; i++)
		f->n += id_parse(store_text(reply->element[i]), &f->ids[f->n]) == 0;
	if (cursor.n == 0 || slice_is(cursor, "0") || f->n == f->most)
		find_end(f, true);
	else
		find_step(f, cursor);
}

static void find_step(struct find *f, struct slice cursor)
{
	struct store *s = f->s;
	char count[24];

	snprintf(count, sizeof(count), "%d", FIND_STEP);

	struct slice argv[] = {SLICE("FCALL_RO"),
			       store_function("find"),
			       SLICE("1"),
			       slice_of(s->key_epoch),
			       cursor,
			       slice_of(count),
			       slice_of(s->prefix),
			       slice_of(f->text)};

	redis_call(s->redis, argv, 8, found, f);
}

void store_find(struct store *s, struct slice text, size_t most, store_ids_fn fn, void *arg)
{
	struct find *f = mem_alloc(sizeof(*f));

	*f = (struct find){.s = s,
			   .fn = fn,
			   .arg = arg,
			   .text = slice_dup(text),
			   .ids = mem_array(most + 1, sizeof(*f->ids)),
			   .most = most};
	for (char *p = f->text; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	find_step(f, SLICE("0"));
}
