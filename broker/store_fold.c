/* What a page says of the users and of the indexes that they share, folded: one command for each user and index, however many effects
 * speak of them. The last word on a field or a member counts, which is what carrying out all of them in their order comes to. */
#include "store_redis.h"

#include <stdlib.h>
#include <string.h>

enum { FOLD_MOST = 500 }; /* members in one command: Lua unpacks no more than some thousand words */

enum fold_value {
	FOLD_SCORE, /* of a sorted set */
	FOLD_LEASE,
	FOLD_ENTRY,
	FOLD_USER,
	FOLD_SNAPSHOT,
	FOLD_REFS,
	FOLD_GROUPS,
	FOLD_LINK,
	FOLD_APPLIED,
	FOLD_ERROR,
	FOLD_CAUSE
};

/* A member of an index: key is its name. A field of a user: key is NULL. */
struct fold_word {
	const char *key, *field;
	struct id user;
	uint32_t order;
	uint8_t value;
	bool put;
	int64_t score;
	const struct queue_effect *effect;
};

struct fold {
	struct store *s;
	struct fold_word *words;
	size_t n, cap;
};

/* ---- what the effects say ---- */

static struct fold_word *say(struct fold *f, const struct queue_effect *e, const struct id *user)
{
	if (f->n == f->cap) {
		f->cap = f->cap ? 2 * f->cap : 1024;
		f->words = mem_resize(f->words, f->cap * sizeof(*f->words));
	}
	f->words[f->n] = (struct fold_word){.user = *user, .order = (uint32_t)f->n, .effect = e};
	return &f->words[f->n++];
}

static void say_field(struct fold *f, const struct queue_effect *e, const char *field,
		      enum fold_value value, bool put)
{
	struct fold_word *w = say(f, e, e->kind == QUEUE_PUT_USER ? &e->row.id : &e->user);

	w->field = field;
	w->value = (uint8_t)value;
	w->put = put;
}

static void say_score(struct fold *f, const struct queue_effect *e, const char *key, int64_t score,
		      bool put)
{
	struct fold_word *w = say(f, e, &e->user);

	w->key = key;
	w->value = FOLD_SCORE;
	w->score = score;
	w->put = put;
}

static void say_lease(struct fold *f, const struct queue_effect *e, bool put)
{
	struct fold_word *w = say(f, e, &e->user);

	w->key = f->s->targets[e->target].flight;
	w->value = FOLD_LEASE;
	w->put = put;
}

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

static void put_entry(struct fold *f, const struct queue_effect *e)
{
	const struct store_target *t = &f->s->targets[e->target];
	const char *old = index_of(t, e->old_state, e->old_lane);
	const char *now = index_of(t, e->entry.state, e->entry.lane);
	int64_t calendar = calendar_of(&e->entry);

	if (old && old != now)
		say_score(f, e, old, 0, false);
	if (now)
		say_score(f, e, now,
			  e->entry.state == QUEUE_RETRY ? e->entry.due_unix_ms
							: e->entry.since_unix_ms,
			  true);
	if (calendar || e->old_calendar)
		say_score(f, e, t->cal, calendar, calendar != 0);
	say_field(f, e, t->entry, FOLD_ENTRY, true);
}

static void del_entry(struct fold *f, const struct queue_effect *e)
{
	const struct store_target *t = &f->s->targets[e->target];
	const char *old = index_of(t, e->old_state, e->old_lane);

	if (old)
		say_score(f, e, old, 0, false);
	if (e->old_calendar)
		say_score(f, e, t->cal, 0, false);
	say_field(f, e, t->entry, FOLD_ENTRY, false);
}

static void put_user(struct fold *f, const struct queue_effect *e)
{
	bool before = e->row.version > 1; /* else there is nothing to remove */

	say_field(f, e, "u", FOLD_USER, true);
	/* Of who is gone stays what was last known: who it was, and where. */
	if (!e->row.gone || !before)
		say_field(f, e, "d", FOLD_SNAPSHOT, true);
	if (e->row.refs.count > 0 || before)
		say_field(f, e, "r", FOLD_REFS, e->row.refs.count > 0);
	if (e->row.groups.n > 0 || before)
		say_field(f, e, "g", FOLD_GROUPS, e->row.groups.n > 0);
}

static void take(struct fold *f, const struct queue_effect *e)
{
	const struct store_target *t = f->s->targets + e->target;

	switch ((int)e->kind) {
	case QUEUE_PUT_ENTRY:
		put_entry(f, e);
		break;
	case QUEUE_DEL_ENTRY:
		del_entry(f, e);
		break;
	case QUEUE_DISPATCH:
		put_entry(f, e);
		say_lease(f, e, true);
		break;
	case QUEUE_DEL_LEASE:
		say_lease(f, e, false);
		break;
	case QUEUE_PUT_USER:
		put_user(f, e);
		break;
	case QUEUE_PUT_LINK:
		say_field(f, e, t->link, FOLD_LINK, true);
		break;
	case QUEUE_PUT_APPLIED:
		say_field(f, e, t->applied, FOLD_APPLIED, !fp_is_none(&e->fp));
		break;
	case QUEUE_PUT_ERROR:
		say_field(f, e, t->error, FOLD_ERROR, e->detail.n > 0);
		break;
	case QUEUE_PUT_CAUSE:
		say_field(f, e, t->cause, FOLD_CAUSE, e->detail.n > 0);
		break;
	default:
		break; /* stands beside the users */
	}
}

/* ---- folding ---- */

/* Indexes first, each together; then the users' fields, each user together; what is put before what is removed. */
static int by_place(const void *left, const void *right)
{
	const struct fold_word *a = left, *b = right;
	int order;

	if (a->key != b->key)
		return !a->key ? 1 : !b->key ? -1 : strcmp(a->key, b->key);
	order = memcmp(a->user.b, b->user.b, sizeof(a->user.b));
	if (order == 0 && !a->key)
		order = strcmp(a->field, b->field);
	return order ? order : a->order < b->order ? -1 : 1;
}

static bool same(const struct fold_word *a, const struct fold_word *b)
{
	return a->key == b->key && id_equal(&a->user, &b->user) &&
	       (a->key || strcmp(a->field, b->field) == 0);
}

static void keep_last(struct fold *f)
{
	size_t kept = 0;

	for (size_t i = 0; i < f->n; i++) {
		if (i + 1 == f->n || !same(&f->words[i], &f->words[i + 1]))
			f->words[kept++] = f->words[i];
	}
	f->n = kept;
}

static void value(struct store_args *a, const struct fold_word *w)
{
	const struct queue_effect *e = w->effect;
	size_t at = args_mark(a);

	switch ((enum fold_value)w->value) {
	case FOLD_SCORE:
		return;
	case FOLD_LEASE:
		rows_put_lease(&a->bytes, &e->lease);
		break;
	case FOLD_ENTRY:
		rows_put_entry(&a->bytes, &e->entry);
		break;
	case FOLD_USER:
		rows_put_user(&a->bytes, &e->row);
		break;
	case FOLD_SNAPSHOT:
		args_slice(a, e->row.snapshot);
		return;
	case FOLD_REFS:
		rows_put_refs(&a->bytes, &e->row.refs);
		break;
	case FOLD_GROUPS:
		args_slice(a, e->row.groups);
		return;
	case FOLD_LINK:
		rows_put_link(&a->bytes, &(struct rows_link){e->rid, e->memory, e->link_state,
							     e->link_revision});
		break;
	case FOLD_APPLIED:
		rows_put_fp(&a->bytes, &e->fp);
		break;
	case FOLD_ERROR:
	case FOLD_CAUSE:
		args_slice(a, e->detail);
		return;
	}
	args_record(a, at);
}

static void word(struct store_args *a, const struct fold_word *w)
{
	if (w->value == FOLD_SCORE && w->put)
		args_number(a, w->score);
	if (w->key)
		args_id(a, &w->user);
	else
		args_text(a, w->field);
	if (w->put)
		value(a, w);
}

/* One command for those of the n words that put, or do not. */
static void fold_command(const struct fold *f, struct store_args *a, const struct fold_word *words,
			 size_t n, bool put)
{
	bool set = words->value == FOLD_SCORE;
	const char *name = set		? (put ? "ZADD" : "ZREM")
			   : words->key ? (put ? "HSET" : "HDEL")
					: (put ? "hset" : "hdel"); /* of a user: see store.lua */
	int count = 0;

	for (size_t i = 0; i < n; i++)
		count += words[i].put == put;
	if (count == 0)
		return;
	args_number(a, 2 + count * (put ? 2 : 1));
	args_text(a, name);
	if (words->key)
		args_text(a, words->key);
	else
		args_user_key(f->s, a, NULL, &words->user);
	for (size_t i = 0; i < n; i++) {
		if (words[i].put == put)
			word(a, &words[i]);
	}
}

void store_fold(struct store *s, const struct queue_page *page, struct store_args *out)
{
	struct fold f = {.s = s};

	for (size_t i = 0; i < page->effects_n; i++)
		take(&f, &page->effects[i]);
	if (f.n > 1)
		qsort(f.words, f.n, sizeof(*f.words), by_place);
	keep_last(&f);
	for (size_t i = 0, n; i < f.n; i += n) {
		const struct fold_word *first = &f.words[i];

		for (n = 1; i + n < f.n && n < FOLD_MOST; n++) {
			if (first[n].key != first->key ||
			    (!first->key && !id_equal(&first[n].user, &first->user)))
				break;
		}
		fold_command(&f, out, first, n, true);
		fold_command(&f, out, first, n, false);
	}
	free(f.words);
}
