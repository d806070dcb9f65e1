#include "index.h"

#include <stdlib.h>

#include "text.h"

struct index_slot {
	uint32_t tag;
	uint32_t entry; /* number + 2; 0 is free, 1 was removed */
};

static void put(struct index *ix, struct index_slot slot)
{
	size_t at = slot.tag & (ix->size - 1);

	while (ix->slots[at].entry)
		at = (at + 1) & (ix->size - 1);
	ix->slots[at] = slot;
	ix->used++;
}

static void grow(struct index *ix)
{
	struct index old = *ix;
	size_t live = 0;

	for (size_t i = 0; i < old.size; i++)
		live += old.slots[i].entry > 1;
	ix->size = 64;
	while (ix->size < live * 4)
		ix->size *= 2;
	ix->slots = xalloc(ix->size * sizeof *ix->slots);
	ix->used = 0;
	for (size_t i = 0; i < old.size; i++) {
		if (old.slots[i].entry > 1)
			put(ix, old.slots[i]);
	}
	free(old.slots);
}

void index_add(struct index *ix, uint64_t hash, uint32_t entry)
{
	if ((ix->used + 1) * 4 > ix->size * 3)
		grow(ix);
	put(ix, (struct index_slot){(uint32_t)(hash >> 32), entry + 2});
}

void index_remove(struct index *ix, uint64_t hash, uint32_t entry)
{
	struct index_walk walk;

	for (uint32_t e = index_first(ix, hash, &walk); e != INDEX_END; e = index_next(ix, &walk)) {
		if (e == entry) {
			ix->slots[(walk.at - 1) & (ix->size - 1)].entry = 1;
			return;
		}
	}
}

uint32_t index_first(const struct index *ix, uint64_t hash, struct index_walk *ret_walk)
{
	ret_walk->tag = (uint32_t)(hash >> 32);
	ret_walk->at = ix->size ? ret_walk->tag & (ix->size - 1) : 0;
	return index_next(ix, ret_walk);
}

uint32_t index_next(const struct index *ix, struct index_walk *walk)
{
	while (ix->size) {
		const struct index_slot *slot = &ix->slots[walk->at];

		if (!slot->entry)
			break;
		walk->at = (walk->at + 1) & (ix->size - 1);
		if (slot->entry > 1 && slot->tag == walk->tag)
			return slot->entry - 2;
	}
	return INDEX_END;
}

void index_free(struct index *ix)
{
	free(ix->slots);
	*ix = (struct index){0};
}
