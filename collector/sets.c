#include "objects.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

struct set {
	UT_hash_handle hh;
	uint32_t number;
	size_t n;
	uint16_t items[];
};

struct sets {
	struct set *by_items;
	struct set **all; /* by number */
	uint32_t n;
	uint32_t most;
};

// NOLINTNEXTLINE(readability-function-size): uthash
static uint32_t add(struct sets *s, const uint16_t *items, size_t n)
{
	struct set *set = mem_alloc(sizeof(*set) + n * sizeof(*items));

	assert(s->n < s->most);
	set->number = s->n;
	set->n = n;
	if (n > 0)
		memcpy(set->items, items, n * sizeof(*items));
	if (s->n % 64 == 0)
		s->all = mem_resize(s->all, (s->n + 64) * sizeof(struct set *));
	s->all[s->n++] = set;
	HASH_ADD_KEYPTR(hh, s->by_items, set->items, n * sizeof(*items), set);
	return set->number;
}

struct sets *sets_new(uint32_t most)
{
	struct sets *s = mem_alloc(sizeof(*s));

	s->most = most;
	add(s, NULL, 0);
	return s;
}

void sets_free(struct sets *s)
{
	if (s == NULL)
		return;
	HASH_CLEAR(hh, s->by_items);
	for (uint32_t i = 0; i < s->n; i++)
		free(s->all[i]);
	free(s->all);
	free(s);
}

// NOLINTNEXTLINE(readability-function-size): uthash
uint32_t sets_intern(struct sets *s, const uint16_t *items, size_t n)
{
	struct set *set = NULL;

	if (n == 0)
		return SETS_EMPTY;
	HASH_FIND(hh, s->by_items, items, n * sizeof(*items), set);
	if (set != NULL)
		return set->number;
	return add(s, items, n);
}

const uint16_t *sets_items(const struct sets *s, uint32_t set, size_t *ret_n)
{
	assert(set < s->n);
	*ret_n = s->all[set]->n;
	return s->all[set]->items;
}

bool sets_has(const struct sets *s, uint32_t set, uint16_t item)
{
	size_t n;
	const uint16_t *items = sets_items(s, set, &n);

	for (size_t i = 0; i < n; i++)
		if (items[i] == item)
			return true;
	return false;
}
