#include "diff.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <uthash.h>

struct item {
	UT_hash_handle hh;
	TAILQ_ENTRY(item) entry;
	uint32_t object;
	uint64_t number; /* of the first queueing: a replaced record keeps its place */
	uint64_t fp;
	size_t n;
	char *record;
};

struct diff {
	struct objects *objects;
	size_t bytes_most, bytes;
	uint64_t last;
	struct item *by_object;
	TAILQ_HEAD(, item) queue;
};

struct diff *diff_new(struct objects *objects, size_t bytes_most)
{
	struct diff *d = mem_alloc(sizeof(*d));

	d->objects = objects;
	d->bytes_most = bytes_most;
	TAILQ_INIT(&d->queue);
	return d;
}

uint64_t diff_short(const struct fp *fp)
{
	uint64_t v;

	memcpy(&v, fp->b, sizeof(v));
	return v != 0 ? v : 1;
}

static size_t cost(const struct item *i)
{
	return i->n + sizeof(*i);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void item_free(struct diff *d, struct item *i)
{
	d->bytes -= cost(i);
	objects_at(d->objects, i->object)->flags &= (uint16_t)~OBJECT_QUEUED;
	HASH_DELETE(hh, d->by_object, i);
	TAILQ_REMOVE(&d->queue, i, entry);
	assert(TAILQ_FIRST(&d->queue) != i);
	free(i->record);
	free(i);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct item *find(const struct diff *d, uint32_t object)
{
	struct item *i;

	HASH_FIND(hh, d->by_object, &object, sizeof(object), i);
	return i;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void add(struct diff *d, struct item *i)
{
	HASH_ADD(hh, d->by_object, object, sizeof(i->object), i);
	TAILQ_INSERT_TAIL(&d->queue, i, entry);
}

void diff_drop(struct diff *d, uint32_t object)
{
	struct item *i = find(d, object);

	if (i != NULL)
		item_free(d, i);
}

void diff_clear(struct diff *d)
{
	struct item *i;

	while ((i = TAILQ_FIRST(&d->queue)) != NULL)
		item_free(d, i);
}

void diff_free(struct diff *d)
{
	if (d == NULL)
		return;
	diff_clear(d);
	free(d);
}

static void fill(struct diff *d, struct item *i, uint64_t fp, const struct buf *record)
{
	free(i->record);
	i->fp = fp;
	i->n = record->n;
	i->record = mem_alloc(record->n + 1);
	memcpy(i->record, record->p, record->n);
	d->bytes += cost(i);
}

enum diff_outcome diff_offer(struct diff *d, uint32_t object, const struct fp *fp,
			     const struct buf *record, bool trust)
{
	struct object *o = objects_at(d->objects, object);
	uint64_t newest = diff_short(fp);
	struct item *i = NULL;

	if (o->flags & OBJECT_QUEUED)
		i = find(d, object);
	if (trust && o->fp == newest) {
		if (i != NULL)
			item_free(d, i);
		return DIFF_SAME;
	}
	if (i != NULL) {
		d->bytes -= cost(i);
		fill(d, i, newest, record);
		return DIFF_REPLACED;
	}
	if (d->bytes >= d->bytes_most)
		return DIFF_FULL;
	i = mem_alloc(sizeof(*i));
	i->object = object;
	i->number = ++d->last;
	fill(d, i, newest, record);
	o->flags |= OBJECT_QUEUED;
	add(d, i);
	return DIFF_QUEUED;
}

uint32_t diff_take(struct diff *d, uint32_t users, size_t bytes, struct buf *out)
{
	size_t before = out->n;
	uint32_t n = 0;
	struct item *i;

	while (n < users && out->n - before < bytes && (i = TAILQ_FIRST(&d->queue)) != NULL) {
		struct object *o = objects_at(d->objects, i->object);

		buf_add(out, i->record, i->n);
		o->fp = i->fp;
		if (o->flags & OBJECT_GONE)
			o->flags &= (uint16_t)~OBJECT_KNOWN;
		else
			o->flags |= OBJECT_KNOWN;
		item_free(d, i);
		n++;
	}
	return n;
}

size_t diff_users(const struct diff *d)
{
	return HASH_CNT(hh, d->by_object);
}

size_t diff_bytes(const struct diff *d)
{
	return d->bytes;
}

bool diff_is_roomy(const struct diff *d)
{
	return d->bytes < d->bytes_most / 2;
}

uint64_t diff_mark(const struct diff *d)
{
	return d->last;
}

bool diff_passed(const struct diff *d, uint64_t mark)
{
	struct item *first = TAILQ_FIRST(&d->queue);

	return first == NULL || first->number > mark;
}
