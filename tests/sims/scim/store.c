#include "store.h"

#include <stdlib.h>
#include <string.h>

struct entry *table_add(struct table *table, const uint8_t id[16])
{
	struct entry *entry;

	if (table->n == table->cap) {
		table->cap = table->cap ? table->cap * 2 : 256;
		table->entries = xgrow(table->entries, table->cap * sizeof *table->entries);
	}
	entry = &table->entries[table->n];
	*entry = (struct entry){.live = true};
	memcpy(entry->id, id, 16);
	index_add(&table->by_id, hash_bytes(id, 16), table->n++);
	table->live++;
	return entry;
}

static void unindex(struct table *table, uint32_t number)
{
	struct entry *entry = &table->entries[number];

	if (entry->name && *entry->name)
		index_remove(&table->by_name, hash_nocase(slice_of(entry->name)), number);
	if (entry->external && *entry->external)
		index_remove(&table->by_external,
			     hash_bytes(entry->external, strlen(entry->external)), number);
	free(entry->name);
	free(entry->external);
	entry->name = entry->external = NULL;
}

void table_put(struct table *table, uint32_t number, struct slice doc, struct slice name,
	       struct slice external)
{
	struct entry *entry = &table->entries[number];
	char *fresh = xdup(doc.p, doc.n);
	char *new_name = xdup(name.p, name.n);
	char *new_external = xdup(external.p, external.n);

	unindex(table, number); /* the slices may point into what this frees */
	free(entry->doc);
	entry->doc = fresh;
	entry->doc_n = (uint32_t)doc.n;
	entry->name = new_name;
	entry->external = new_external;
	entry->version++;
	if (name.n)
		index_add(&table->by_name, hash_nocase(slice_of(new_name)), number);
	if (external.n)
		index_add(&table->by_external, hash_bytes(new_external, external.n), number);
}

void table_delete(struct table *table, uint32_t number)
{
	struct entry *entry = &table->entries[number];

	index_remove(&table->by_id, hash_bytes(entry->id, 16), number);
	free(entry->doc);
	free(entry->links);
	entry->doc = NULL;
	entry->doc_n = 0;
	entry->links = NULL;
	entry->n_links = entry->cap_links = 0;
	entry->live = false;
	table->live--;
}

uint32_t table_find_id(const struct table *table, struct slice id)
{
	struct index_walk walk;
	uint8_t bytes[16];

	if (!uuid_read(id, bytes))
		return NONE;
	uint32_t e = index_first(&table->by_id, hash_bytes(bytes, 16), &walk);
	while (e != INDEX_END && memcmp(table->entries[e].id, bytes, 16) != 0)
		e = index_next(&table->by_id, &walk);
	return e;
}

uint32_t table_find_name(const struct table *table, struct slice name, uint32_t but,
			 bool tombstones)
{
	struct index_walk walk;
	uint32_t e = index_first(&table->by_name, hash_nocase(name), &walk);

	for (; e != INDEX_END; e = index_next(&table->by_name, &walk)) {
		const struct entry *entry = &table->entries[e];

		if (e != but && (entry->live || tombstones) && slice_is_nocase(name, entry->name))
			return e;
	}
	return NONE;
}

/* The walk is repeated from the start for each hit: keys with several bearers are rare. */
uint32_t table_find_external(const struct table *table, struct slice external, uint32_t after)
{
	struct index_walk walk;
	uint32_t e = index_first(&table->by_external, hash_bytes(external.p, external.n), &walk);
	bool passed = after == NONE;

	for (; e != INDEX_END; e = index_next(&table->by_external, &walk)) {
		const struct entry *entry = &table->entries[e];

		if (passed && entry->live && slice_is(external, entry->external))
			return e;
		passed |= e == after;
	}
	return NONE;
}

struct entry *store_linked(const struct store *store, uint32_t link)
{
	if (link & LINK_GROUP)
		return &store->groups.entries[link & ~LINK_GROUP];
	return &store->users.entries[link];
}

static void add_link(struct entry *entry, uint32_t link)
{
	if (entry->n_links == entry->cap_links) {
		entry->cap_links = entry->cap_links ? entry->cap_links * 2 : 4;
		entry->links = xgrow(entry->links, entry->cap_links * sizeof *entry->links);
	}
	entry->links[entry->n_links++] = link;
}

static bool drop_link(struct entry *entry, uint32_t link)
{
	for (uint32_t i = 0; i < entry->n_links; i++) {
		if (entry->links[i] == link) {
			entry->n_links--;
			memmove(&entry->links[i], &entry->links[i + 1],
				(entry->n_links - i) * sizeof *entry->links);
			return true;
		}
	}
	return false;
}

static bool has_link(const struct entry *entry, uint32_t link)
{
	for (uint32_t i = 0; i < entry->n_links; i++) {
		if (entry->links[i] == link)
			return true;
	}
	return false;
}

bool store_link(struct store *store, uint32_t group, uint32_t link)
{
	struct entry *holder = &store->groups.entries[group];
	bool there = link & LINK_GROUP ? has_link(holder, link)
				       : has_link(store_linked(store, link), group);

	if (there)
		return false;
	add_link(holder, link);
	if (!(link & LINK_GROUP))
		add_link(store_linked(store, link), group);
	return true;
}

bool store_unlink(struct store *store, uint32_t group, uint32_t link)
{
	if (!(link & LINK_GROUP) && !drop_link(store_linked(store, link), group))
		return false;
	return drop_link(&store->groups.entries[group], link);
}

void store_unlink_all(struct store *store, uint32_t group)
{
	struct entry *holder = &store->groups.entries[group];

	for (uint32_t i = 0; i < holder->n_links; i++) {
		if (!(holder->links[i] & LINK_GROUP))
			drop_link(store_linked(store, holder->links[i]), group);
	}
	holder->n_links = 0;
}

void store_delete(struct store *store, struct table *table, uint32_t number)
{
	struct entry *entry = &table->entries[number];

	if (table == &store->groups) {
		store_unlink_all(store, number);
		for (uint32_t i = 0; i < store->groups.n; i++) {
			if (store->groups.entries[i].live)
				drop_link(&store->groups.entries[i], number | LINK_GROUP);
		}
	}
	while (table == &store->users && entry->n_links)
		store_unlink(store, entry->links[0], number);
	table_delete(table, number);
}

static void table_clear(struct table *table)
{
	for (uint32_t i = 0; i < table->n; i++) {
		struct entry *entry = &table->entries[i];

		free(entry->doc);
		free(entry->name);
		free(entry->external);
		free(entry->links);
	}
	free(table->entries);
	index_free(&table->by_id);
	index_free(&table->by_name);
	index_free(&table->by_external);
	*table = (struct table){0};
}

void store_clear(struct store *store)
{
	table_clear(&store->users);
	table_clear(&store->groups);
}
