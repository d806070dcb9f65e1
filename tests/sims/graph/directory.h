/* Users, groups and licences of the tenant. */
#pragma once

#include "index.h"
#include "json.h"

enum { NONE = UINT32_MAX, SKUS_MAX = 32, PLANS_MAX = 16 };

struct user {
	uint8_t id[16];
	int64_t created_ms, deleted_ms, password_ms, sessions_ms, licence_ms;
	char *doc; /* canonical JSON of the writable properties but password and user principal name */
	char *upn, *immutable, *mail; /* "" if unset */
	char *roles;		      /* of the directory, one name; NULL: none */
	uint64_t password;	      /* hash */
	uint64_t change;	      /* of the directory when it last changed, for delta */
	uint32_t doc_n, licences;     /* bits: positions in skus, assigned directly … */
	uint32_t inherited;	      /* … and by groups, as far as there were seats */
	char **plans;		      /* SKUS_MAX JSON arrays of disabled plans; NULL: none */
	uint32_t manager;	      /* number + 1 */
	uint32_t *groups, n_groups, cap_groups;
	bool live, purged, synced, enabled;
};

struct group {
	uint8_t id[16];
	char *name;
	uint32_t *members, n_members, cap_members; /* users' numbers */
	uint32_t licences;			   /* what its members inherit */
	bool live, dynamic, synced;
};

struct sku {
	char id[UUID_TEXT + 1], part[64];
	int64_t seats, used;
	char plans[PLANS_MAX][UUID_TEXT + 1];
	int n_plans;
};

struct directory {
	struct user *users;
	uint32_t n_users, cap_users, live_users;
	struct group *groups;
	uint32_t n_groups, cap_groups, live_groups;
	struct index user_ids, upns, immutables, mails, group_ids;
	struct sku skus[SKUS_MAX];
	uint32_t n_skus;
	uint64_t change;
};

uint32_t directory_add_user(struct directory *dir, const uint8_t id[16]);
/* Replaces document and names; all are copied. */
void directory_put_user(struct directory *dir, uint32_t number, struct slice doc, struct slice upn,
			struct slice immutable, struct slice mail);
/* Live or deleted, not purged. */
uint32_t directory_find_id(const struct directory *dir, struct slice id);
uint32_t directory_find_upn(const struct directory *dir, struct slice upn, uint32_t but); /* live */
/* Live ones and deleted ones too: a deleted user's immutable id stays taken. */
uint32_t directory_find_immutable(const struct directory *dir, struct slice immutable,
				  uint32_t but);
uint32_t directory_find_mail(const struct directory *dir, struct slice mail,
			     uint32_t but); /* live */
void directory_touch(struct directory *dir, uint32_t number);
void directory_delete_user(struct directory *dir, uint32_t number, int64_t now_ms);
void directory_restore_user(struct directory *dir, uint32_t number);
void directory_purge_user(struct directory *dir, uint32_t number);

uint32_t directory_add_group(struct directory *dir, const uint8_t id[16], struct slice name);
uint32_t directory_find_group(const struct directory *dir, struct slice id);
bool directory_is_member(const struct directory *dir, uint32_t group, uint32_t user);
void directory_add_member(struct directory *dir, uint32_t group, uint32_t user);
bool directory_remove_member(struct directory *dir, uint32_t group, uint32_t user);
void directory_delete_group(struct directory *dir, uint32_t group);

/* The direct licences of a user; seats are counted here. */
void directory_license(struct directory *dir, uint32_t user, uint32_t licences);
void directory_plans(struct directory *dir, uint32_t user, uint32_t sku, struct slice plans);

void directory_clear(struct directory *dir);
