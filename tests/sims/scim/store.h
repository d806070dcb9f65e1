/* Users and groups in memory: a few hundred bytes each, found by id, userName and externalId. */
#pragma once

#include "index.h"
#include "json.h"

enum { NONE = UINT32_MAX };

/* A user or a group. Entries stay where they are; a deleted one keeps its names as a tombstone. */
struct entry {
	uint8_t id[16];
	int64_t created_ms, modified_ms;
	char *doc;	   /* canonical JSON without schemas, id, meta, password, groups, members */
	char *name;	   /* userName; "" for a group */
	char *external;	   /* externalId or "" */
	uint64_t password; /* hash, 0: none */
	uint32_t doc_n, version;
	uint32_t *links; /* a user's groups; a group's members (users, or groups with LINK_GROUP) */
	uint32_t n_links, cap_links;
	bool live, enterprise;
};

#define LINK_GROUP 0x80000000u

struct table {
	struct entry *entries;
	uint32_t n, cap, live;
	struct index by_id, by_name, by_external;
};

struct store {
	struct table users, groups;
};

struct entry *table_add(struct table *table, const uint8_t id[16]);
/* Puts a new document into place of the old; keeps the indexes. name and external are copied. */
void table_put(struct table *table, uint32_t number, struct slice doc, struct slice name,
	       struct slice external);
void table_delete(struct table *table, uint32_t number);

uint32_t table_find_id(const struct table *table, struct slice id);
/* The first live entry (with tombstones: or deleted) other than `but` of that name, any case. */
uint32_t table_find_name(const struct table *table, struct slice name, uint32_t but,
			 bool tombstones);
/* Live entries of that externalId one after the other: the first after NONE; NONE at the end. */
uint32_t table_find_external(const struct table *table, struct slice external, uint32_t after);

/* link is a user's number or a group's | LINK_GROUP. False: was there already (was not there). */
bool store_link(struct store *store, uint32_t group, uint32_t link);
bool store_unlink(struct store *store, uint32_t group, uint32_t link);
void store_unlink_all(struct store *store, uint32_t group);
/* The entry that a link names. */
struct entry *store_linked(const struct store *store, uint32_t link);
/* Deletes a user or group and takes it out of all groups. */
void store_delete(struct store *store, struct table *table, uint32_t number);
void store_clear(struct store *store);
