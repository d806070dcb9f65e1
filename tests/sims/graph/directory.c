#include "directory.h"

#include <stdlib.h>
#include <string.h>

uint32_t directory_add_user(struct directory *dir, const uint8_t id[16])
{
	if (dir->n_users == dir->cap_users) {
		dir->cap_users = dir->cap_users ? dir->cap_users * 2 : 256;
		dir->users = xgrow(dir->users, dir->cap_users * sizeof *dir->users);
	}
	dir->users[dir->n_users] = (struct user){.live = true};
	memcpy(dir->users[dir->n_users].id, id, 16);
	index_add(&dir->user_ids, hash_bytes(id, 16), dir->n_users);
	dir->live_users++;
	return dir->n_users++;
}

static void set_name(struct index *ix, uint32_t number, char **name, struct slice value)
{
	char *fresh = xdup(value.p, value.n);

	if (*name && **name)
		index_remove(ix, hash_nocase(slice_of(*name)), number);
	if (value.n)
		index_add(ix, hash_nocase(value), number);
	free(*name);
	*name = fresh;
}

void directory_put_user(struct directory *dir, uint32_t number, struct slice doc, struct slice upn,
			struct slice immutable, struct slice mail)
{
	struct user *user = &dir->users[number];
	char *fresh = xdup(doc.p, doc.n);

	set_name(&dir->upns, number, &user->upn, upn);
	set_name(&dir->immutables, number, &user->immutable, immutable);
	set_name(&dir->mails, number, &user->mail, mail);
	free(user->doc);
	user->doc = fresh;
	user->doc_n = (uint32_t)doc.n;
	directory_touch(dir, number);
}

void directory_touch(struct directory *dir, uint32_t number)
{
	dir->users[number].change = ++dir->change;
}

uint32_t directory_find_id(const struct directory *dir, struct slice id)
{
	struct index_walk walk;
	uint8_t bytes[16];

	if (!uuid_read(id, bytes))
		return NONE;
	uint32_t e = index_first(&dir->user_ids, hash_bytes(bytes, 16), &walk);
	while (e != INDEX_END && memcmp(dir->users[e].id, bytes, 16) != 0)
		e = index_next(&dir->user_ids, &walk);
	return e;
}

uint32_t directory_find_upn(const struct directory *dir, struct slice upn, uint32_t but)
{
	struct index_walk walk;
	uint32_t e = index_first(&dir->upns, hash_nocase(upn), &walk);

	while (e != INDEX_END &&
	       (e == but || !dir->users[e].live || !slice_is_nocase(upn, dir->users[e].upn)))
		e = index_next(&dir->upns, &walk);
	return e;
}

uint32_t directory_find_immutable(const struct directory *dir, struct slice immutable, uint32_t but)
{
	struct index_walk walk;
	uint32_t e = index_first(&dir->immutables, hash_nocase(immutable), &walk);

	while (e != INDEX_END && (e == but || !slice_is(immutable, dir->users[e].immutable)))
		e = index_next(&dir->immutables, &walk);
	return e;
}

uint32_t directory_find_mail(const struct directory *dir, struct slice mail, uint32_t but)
{
	struct index_walk walk;
	uint32_t e = index_first(&dir->mails, hash_nocase(mail), &walk);

	while (e != INDEX_END &&
	       (e == but || !dir->users[e].live || !slice_is_nocase(mail, dir->users[e].mail)))
		e = index_next(&dir->mails, &walk);
	return e;
}

static void set_seats(struct directory *dir, struct user *user, uint32_t licences,
		      uint32_t inherited)
{
	uint32_t before = user->licences | user->inherited, after = licences | inherited;

	for (uint32_t i = 0; i < dir->n_skus; i++)
		dir->skus[i].used += (int64_t)(after >> i & 1) - (int64_t)(before >> i & 1);
	user->licences = licences;
	user->inherited = inherited;
}

void directory_license(struct directory *dir, uint32_t number, uint32_t licences)
{
	struct user *user = &dir->users[number];

	set_seats(dir, user, licences, user->inherited);
}

/* What the groups bring, where there are seats. */
static void inherit(struct directory *dir, uint32_t number)
{
	struct user *user = &dir->users[number];
	uint32_t from_groups = 0, inherited = 0;

	for (uint32_t i = 0; i < user->n_groups; i++)
		from_groups |= dir->groups[user->groups[i]].licences;
	for (uint32_t i = 0; i < dir->n_skus; i++) {
		bool has = (user->licences | user->inherited) >> i & 1;

		if (from_groups >> i & 1 && (has || dir->skus[i].used < dir->skus[i].seats))
			inherited |= 1u << i;
	}
	set_seats(dir, user, user->licences, inherited);
}

void directory_plans(struct directory *dir, uint32_t number, uint32_t sku, struct slice plans)
{
	struct user *user = &dir->users[number];

	if (!user->plans)
		user->plans = xalloc(SKUS_MAX * sizeof *user->plans);
	free(user->plans[sku]);
	user->plans[sku] = xdup(plans.p, plans.n);
}

void directory_delete_user(struct directory *dir, uint32_t number, int64_t now_ms)
{
	struct user *user = &dir->users[number];

	while (user->n_groups)
		directory_remove_member(dir, user->groups[0], number);
	directory_license(dir, number, 0);
	user->live = false;
	user->deleted_ms = now_ms;
	dir->live_users--;
	directory_touch(dir, number);
}

void directory_restore_user(struct directory *dir, uint32_t number)
{
	dir->users[number].live = true;
	dir->live_users++;
	directory_touch(dir, number);
}

void directory_purge_user(struct directory *dir, uint32_t number)
{
	struct user *user = &dir->users[number];

	index_remove(&dir->user_ids, hash_bytes(user->id, 16), number);
	set_name(&dir->upns, number, &user->upn, (struct slice){0});
	set_name(&dir->immutables, number, &user->immutable, (struct slice){0});
	set_name(&dir->mails, number, &user->mail, (struct slice){0});
	user->purged = true;
	directory_touch(dir, number);
}

uint32_t directory_add_group(struct directory *dir, const uint8_t id[16], struct slice name)
{
	if (dir->n_groups == dir->cap_groups) {
		dir->cap_groups = dir->cap_groups ? dir->cap_groups * 2 : 16;
		dir->groups = xgrow(dir->groups, dir->cap_groups * sizeof *dir->groups);
	}
	dir->groups[dir->n_groups] = (struct group){.live = true, .name = xdup(name.p, name.n)};
	memcpy(dir->groups[dir->n_groups].id, id, 16);
	index_add(&dir->group_ids, hash_bytes(id, 16), dir->n_groups);
	dir->live_groups++;
	return dir->n_groups++;
}

uint32_t directory_find_group(const struct directory *dir, struct slice id)
{
	struct index_walk walk;
	uint8_t bytes[16];

	if (!uuid_read(id, bytes))
		return NONE;
	uint32_t e = index_first(&dir->group_ids, hash_bytes(bytes, 16), &walk);
	while (e != INDEX_END && memcmp(dir->groups[e].id, bytes, 16) != 0)
		e = index_next(&dir->group_ids, &walk);
	return e;
}

static void add_number(uint32_t **list, uint32_t *n, uint32_t *cap, uint32_t number)
{
	if (*n == *cap) {
		*cap = *cap ? *cap * 2 : 4;
		*list = xgrow(*list, *cap * sizeof **list);
	}
	(*list)[(*n)++] = number;
}

static bool drop_number(uint32_t *list, uint32_t *n, uint32_t number)
{
	for (uint32_t i = 0; i < *n; i++) {
		if (list[i] == number) {
			memmove(&list[i], &list[i + 1], (--*n - i) * sizeof *list);
			return true;
		}
	}
	return false;
}

bool directory_is_member(const struct directory *dir, uint32_t group, uint32_t user)
{
	for (uint32_t i = 0; i < dir->users[user].n_groups; i++) {
		if (dir->users[user].groups[i] == group)
			return true;
	}
	return false;
}

void directory_add_member(struct directory *dir, uint32_t group, uint32_t user)
{
	struct group *g = &dir->groups[group];
	struct user *u = &dir->users[user];

	add_number(&g->members, &g->n_members, &g->cap_members, user);
	add_number(&u->groups, &u->n_groups, &u->cap_groups, group);
	inherit(dir, user);
}

bool directory_remove_member(struct directory *dir, uint32_t group, uint32_t user)
{
	struct group *g = &dir->groups[group];
	struct user *u = &dir->users[user];

	if (!drop_number(u->groups, &u->n_groups, group))
		return false;
	inherit(dir, user);
	return drop_number(g->members, &g->n_members, user);
}

void directory_delete_group(struct directory *dir, uint32_t group)
{
	struct group *g = &dir->groups[group];

	while (g->n_members)
		directory_remove_member(dir, group, g->members[g->n_members - 1]);
	index_remove(&dir->group_ids, hash_bytes(g->id, 16), group);
	g->live = false;
	dir->live_groups--;
}

void directory_clear(struct directory *dir)
{
	for (uint32_t i = 0; i < dir->n_users; i++) {
		struct user *user = &dir->users[i];

		free(user->doc);
		free(user->upn);
		free(user->immutable);
		free(user->mail);
		free(user->roles);
		free(user->groups);
		for (uint32_t k = 0; user->plans && k < SKUS_MAX; k++)
			free(user->plans[k]);
		free(user->plans);
	}
	for (uint32_t i = 0; i < dir->n_groups; i++) {
		free(dir->groups[i].name);
		free(dir->groups[i].members);
	}
	free(dir->users);
	free(dir->groups);
	index_free(&dir->user_ids);
	index_free(&dir->upns);
	index_free(&dir->immutables);
	index_free(&dir->mails);
	index_free(&dir->group_ids);
	*dir = (struct directory){0};
}
