#include "objects.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

enum { CHUNK = 4096, INDEX_FIRST = 1024 };

/* Open addressing, linear probing; a slot is an object's number, 0 empty, UINT32_MAX deleted. */
struct index {
	uint32_t *slots;
	size_t cap;
	size_t used; /* with deleted ones */
};

typedef uint64_t (*key_fn)(const struct objects *o, uint32_t n);

struct objects {
	struct object **chunks;
	uint32_t n;
	uint64_t **uids; /* beside chunks; NULL until a uid is set */
	size_t uid_chunks;
	uint32_t **references; /* beside chunks, NULL until one is set */
	size_t references_n;   /* of one object */
	size_t reference_chunks;
	struct index by_id, by_dn, by_uid;
};

static const uint32_t DELETED = UINT32_MAX;

struct object *objects_at(struct objects *o, uint32_t n)
{
	assert(n > 0 && n <= o->n);
	return &o->chunks[(n - 1) / CHUNK][(n - 1) % CHUNK];
}

static const struct object *at(const struct objects *o, uint32_t n)
{
	return &o->chunks[(n - 1) / CHUNK][(n - 1) % CHUNK];
}

static uint64_t key_of_id(const struct objects *o, uint32_t n)
{
	return id_hash(&at(o, n)->id);
}

static uint64_t key_of_dn(const struct objects *o, uint32_t n)
{
	return at(o, n)->dn;
}

static uint64_t uid_of(const struct objects *o, uint32_t n)
{
	size_t chunk = (n - 1) / CHUNK;

	return chunk < o->uid_chunks ? o->uids[chunk][(n - 1) % CHUNK] : 0;
}

static void index_put(struct index *x, uint64_t key, uint32_t n)
{
	size_t i = key & (x->cap - 1);

	while (x->slots[i] != 0)
		i = (i + 1) & (x->cap - 1);
	x->slots[i] = n;
	x->used++;
}

/* At most 7/8 full: 1,000,000 objects need a table of 2^21. */
static void index_grow(const struct objects *o, struct index *x, key_fn key)
{
	struct index old = *x;
	size_t live = 0;

	if (x->cap > 0 && (x->used + 1) * 8 <= x->cap * 7)
		return;
	for (size_t i = 0; i < old.cap; i++)
		live += old.slots[i] != 0 && old.slots[i] != DELETED;
	x->cap = INDEX_FIRST;
	while ((live + 1) * 8 > x->cap * 6)
		x->cap *= 2;
	x->slots = mem_array(x->cap, sizeof(*x->slots));
	x->used = 0;
	for (size_t i = 0; i < old.cap; i++)
		if (old.slots[i] != 0 && old.slots[i] != DELETED)
			index_put(x, key(o, old.slots[i]), old.slots[i]);
	free(old.slots);
}

static uint32_t *index_find(const struct objects *o, const struct index *x, uint64_t key, key_fn of,
			    const struct id *id)
{
	if (x->cap == 0)
		return NULL;
	for (size_t i = key & (x->cap - 1); x->slots[i] != 0; i = (i + 1) & (x->cap - 1)) {
		uint32_t n = x->slots[i];

		if (n != DELETED && (id != NULL ? id_equal(&at(o, n)->id, id) : of(o, n) == key))
			return &x->slots[i];
	}
	return NULL;
}

struct objects *objects_new(void)
{
	return mem_alloc(sizeof(struct objects));
}

void objects_free(struct objects *o)
{
	if (o == NULL)
		return;
	for (size_t i = 0; i * CHUNK < o->n; i++)
		free(o->chunks[i]);
	for (size_t i = 0; i < o->uid_chunks; i++)
		free(o->uids[i]);
	for (size_t i = 0; i < o->reference_chunks; i++)
		free(o->references[i]);
	free(o->chunks);
	free(o->uids);
	free(o->references);
	free(o->by_id.slots);
	free(o->by_dn.slots);
	free(o->by_uid.slots);
	free(o);
}

uint32_t objects_count(const struct objects *o)
{
	return o->n;
}

uint32_t objects_find(struct objects *o, const struct id *id)
{
	uint32_t *slot = index_find(o, &o->by_id, id_hash(id), NULL, id);

	return slot != NULL ? *slot : 0;
}

uint32_t objects_add(struct objects *o, const struct id *id)
{
	uint32_t n = objects_find(o, id);
	size_t chunk = o->n / CHUNK;

	if (n != 0)
		return n;
	assert(o->n < DELETED - 1);
	if (o->n % CHUNK == 0) {
		o->chunks = mem_resize(o->chunks, (chunk + 1) * sizeof(struct object *));
		o->chunks[chunk] = mem_array(CHUNK, sizeof(struct object));
	}
	index_grow(o, &o->by_id, key_of_id);
	n = ++o->n;
	*objects_at(o, n) = (struct object){.id = *id, .class = ENTRY_CLASSES};
	index_put(&o->by_id, id_hash(id), n);
	return n;
}

uint32_t objects_by_dn(struct objects *o, uint64_t dn)
{
	uint32_t *slot = dn != 0 ? index_find(o, &o->by_dn, dn, key_of_dn, NULL) : NULL;

	return slot != NULL ? *slot : 0;
}

/* Two objects can have one DN for a moment (a re-created user comes before the tombstone of the old one): the newer
 * owns the index, and the older's farewell leaves it alone. */
void objects_set_dn(struct objects *o, uint32_t n, uint64_t dn)
{
	struct object *p = objects_at(o, n);
	uint32_t *slot;

	if (p->dn == dn && (dn == 0 || objects_by_dn(o, dn) == n))
		return;
	slot = p->dn != 0 ? index_find(o, &o->by_dn, p->dn, key_of_dn, NULL) : NULL;
	if (slot != NULL && *slot == n)
		*slot = DELETED;
	slot = dn != 0 ? index_find(o, &o->by_dn, dn, key_of_dn, NULL) : NULL;
	p->dn = dn;
	if (slot != NULL) {
		*slot = n;
	} else if (dn != 0) {
		index_grow(o, &o->by_dn, key_of_dn);
		index_put(&o->by_dn, dn, n);
	}
}

uint32_t objects_by_uid(struct objects *o, uint64_t uid)
{
	uint32_t *slot = uid != 0 ? index_find(o, &o->by_uid, uid, uid_of, NULL) : NULL;

	return slot != NULL ? *slot : 0;
}

void objects_set_uid(struct objects *o, uint32_t n, uint64_t uid)
{
	size_t chunk = (n - 1) / CHUNK;
	uint32_t *slot;

	if (uid_of(o, n) == uid)
		return;
	while (o->uid_chunks <= chunk) {
		o->uids = mem_resize(o->uids, (o->uid_chunks + 1) * sizeof(*o->uids));
		o->uids[o->uid_chunks++] = mem_array(CHUNK, sizeof(uint64_t));
	}
	slot = index_find(o, &o->by_uid, uid_of(o, n), uid_of, NULL);
	if (uid_of(o, n) != 0 && slot != NULL && *slot == n)
		*slot = DELETED;
	slot = uid != 0 ? index_find(o, &o->by_uid, uid, uid_of, NULL) : NULL;
	o->uids[chunk][(n - 1) % CHUNK] = uid;
	if (slot != NULL) {
		*slot = n;
	} else if (uid != 0) {
		index_grow(o, &o->by_uid, uid_of);
		index_put(&o->by_uid, uid, n);
	}
}

void objects_set_references(struct objects *o, size_t most)
{
	o->references_n = most;
}

size_t objects_references(const struct objects *o)
{
	return o->references_n;
}

uint32_t objects_reference(const struct objects *o, uint32_t n, size_t which)
{
	size_t chunk = (n - 1) / CHUNK;

	if (chunk >= o->reference_chunks || o->references[chunk] == NULL)
		return 0;
	return o->references[chunk][(n - 1) % CHUNK * o->references_n + which];
}

void objects_set_reference(struct objects *o, uint32_t n, size_t which, uint32_t to)
{
	size_t chunk = (n - 1) / CHUNK;

	assert(which < o->references_n);
	if (objects_reference(o, n, which) == to)
		return;
	while (o->reference_chunks <= chunk) {
		o->references = mem_resize(o->references,
					   (o->reference_chunks + 1) * sizeof(*o->references));
		o->references[o->reference_chunks++] = NULL;
	}
	if (o->references[chunk] == NULL)
		o->references[chunk] = mem_array(CHUNK * o->references_n, sizeof(uint32_t));
	o->references[chunk][(n - 1) % CHUNK * o->references_n + which] = to;
}

size_t objects_memory(const struct objects *o)
{
	size_t chunks = (o->n + CHUNK - 1) / CHUNK, references = 0;

	for (size_t i = 0; i < o->reference_chunks; i++)
		references += o->references[i] != NULL;
	return references * CHUNK * o->references_n * sizeof(uint32_t) +
	       chunks * CHUNK * sizeof(struct object) + o->uid_chunks * CHUNK * sizeof(uint64_t) +
	       (o->by_id.cap + o->by_dn.cap + o->by_uid.cap) * sizeof(uint32_t);
}

uint64_t text_key(struct slice text)
{
	static struct buf folded; /* one thread: the loop's */
	uint64_t h;

	buf_clear(&folded);
	text_fold(text, &folded);
	h = XXH3_64bits_withSeed(folded.p, folded.n, 0x7569646b6579);
	return h != 0 ? h : 1;
}
