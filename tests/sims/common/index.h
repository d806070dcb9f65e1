/*
 * A hash index over entries that live elsewhere and are named by 32-bit numbers. It keeps 32 bits of the
 * hash per entry; equal hashes are candidates that the caller compares.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct index {
	struct index_slot *slots;
	size_t size; /* a power of two, or 0 */
	size_t used; /* with removed ones */
};

struct index_walk {
	size_t at;
	uint32_t tag;
};

#define INDEX_END UINT32_MAX

void index_add(struct index *ix, uint64_t hash, uint32_t entry);
void index_remove(struct index *ix, uint64_t hash, uint32_t entry);
/* The first candidate of a hash, then the others; INDEX_END when there is none. */
uint32_t index_first(const struct index *ix, uint64_t hash, struct index_walk *ret_walk);
uint32_t index_next(const struct index *ix, struct index_walk *walk);
void index_free(struct index *ix);
