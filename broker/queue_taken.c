/* What was taken from whom by the licence policy and is to come back, as the workers say it: kept for people to see, never judged. */
#include "json.h"
#include "queue_impl.h"

#include <stdlib.h>
#include <string.h>

#define FIELD "taken:"

static void field_of(const struct queue *q, uint32_t user, struct buf *out)
{
	char id[ID_TEXT];

	id_format(&user_at(q, user)->id, id);
	buf_addf(out, FIELD "%s", id);
}

void taken_take(struct queue *q, const struct ref *r, struct slice text)
{
	struct rare *x = rare_get(q, r);
	CLEANUP(buf_cleanup) struct buf field = {0};

	if (text.n == 0 ? !x || !x->taken : x && x->taken && slice_is(text, x->taken))
		return;
	x = rare_need(q, r);
	free(x->taken);
	x->taken = text.n ? slice_dup(text) : NULL;
	field_of(q, r->user, &field);
	if (x->taken)
		guard_put(q, r->target, field.p, text);
	else
		guard_del(q, r->target, field.p);
}

bool taken_load(struct queue *q, unsigned target, struct slice field, struct slice text)
{
	const size_t n = sizeof(FIELD) - 1;
	struct ref r;
	struct id id;

	if (field.n <= n || memcmp(field.p, FIELD, n) != 0)
		return false;
	if (id_parse((struct slice){field.p + n, field.n - n}, &id) < 0)
		return true;
	uint32_t user = user_find(q, &id);

	if (user != NONE && text.n > 0 && entry_find(q, target, user, &r)) {
		struct rare *x = rare_need(q, &r);

		free(x->taken);
		x->taken = slice_dup(text);
	}
	return true;
}

int64_t taken_at(const struct queue *q, const struct ref *r, const char *item)
{
	const struct rare *x = rare_get(q, r);
	cJSON *items = x && x->taken ? json_parse(slice_of(x->taken), NULL) : NULL;
	int64_t at_ms = json_int(json_object(items, item), "at", 0);

	cJSON_Delete(items);
	return at_ms;
}

void takens_done(struct queue *q)
{
	for (uint32_t i = 0; i < q->rares.used; i++)
		free(rare_at(q, i)->taken);
}

bool queue_has_taken(const struct queue *q, unsigned target, const struct id *user)
{
	uint32_t i = user_find(q, user);
	const struct rare *x;
	struct ref r;

	if (i == NONE || !entry_find(q, target, i, &r))
		return false;
	x = rare_get(q, &r);
	return x && x->taken;
}

/* ---- how many, by item ---- */

static void add(struct queue_taken *all, const char *item)
{
	for (size_t i = 0; i < all->n; i++) {
		if (strcmp(all->items[i].name, item) == 0) {
			all->items[i].people++;
			return;
		}
	}
	all->items = mem_resize(all->items, (all->n + 1) * sizeof(*all->items));
	all->items[all->n].name = mem_dup(item);
	all->items[all->n++].people = 1;
}

void queue_taken(const struct queue *q, unsigned target, struct queue_taken *ret)
{
	*ret = (struct queue_taken){0};
	for (uint32_t i = 0; i < q->rares.used; i++) {
		const struct rare *x = rare_at(q, i);
		cJSON *items = NULL;
		const cJSON *item;

		if (x->taken && x->target == target)
			items = json_parse(slice_of(x->taken), NULL);
		cJSON_ArrayForEach (item, items)
			add(ret, item->string ? item->string : "?");
		cJSON_Delete(items);
	}
}

void queue_taken_done(struct queue_taken *t)
{
	for (size_t i = 0; i < t->n; i++)
		free(t->items[i].name);
	free(t->items);
	*t = (struct queue_taken){0};
}
