/* The inside of the SCIM driver, for target_scim.c and scim_*.c alone.
 *
 * An UPDATE's op->body carries what only the plan knows: {"add": [paths whose element does not exist yet]}, {"account": …} as
 * read (PUT needs it), {"read_first": true} (set by the request: PUT without an account reads it, and the answer says STALE). */
#ifndef DIRPIPE_SCIM_OWN_H
#define DIRPIPE_SCIM_OWN_H

#include "mapping.h"
#include "options.h"
#include "target.h"

#define SCIM_GROUP	"urn:ietf:params:scim:schemas:core:2.0:Group"
#define SCIM_CORE	"urn:ietf:params:scim:schemas:core:2.0:User"
#define SCIM_ENTERPRISE "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
#define SCIM_MESSAGE	"urn:ietf:params:scim:api:messages:2.0:"
#define SCIM_MANAGER	SCIM_ENTERPRISE ".manager"

enum scim_update { SCIM_UPDATE_AUTO, SCIM_UPDATE_PATCH, SCIM_UPDATE_PUT };
enum scim_auto { SCIM_AUTO, SCIM_ALWAYS, SCIM_NEVER };
enum scim_group_key { SCIM_GROUP_NAME, SCIM_GROUP_ID, SCIM_GROUP_EXTERNAL };
enum { SCIM_ID_MOST = 512 };

/* What the configuration says, or the service. */
struct scim_ability {
	enum scim_auto asked;
	bool on;
};

/* A group that the configuration names, as the service knows it. */
struct scim_group {
	char *remote; /* as configured */
	char *id;     /* NULL: it is not there, or there are several of that name */
	bool ambiguous;
	int64_t asked_unix_ms; /* when a task last looked for it in vain */
};

struct scim_listing { /* of the one listing that runs */
	int64_t start;
	size_t pages;
	char *first_id; /* of the page before */
};

struct target {
	char *base;  /* without a slash at the end */
	char *users; /* endpoint: "Users" */
	char *group_path;
	cJSON *options;
	bool lower, discovery, pathless, string_booleans, initial_password, schemas;
	bool whole_lists; /* a path that selects an element is written by its whole attribute */
	bool frozen;	  /* an inactive account's fields cannot be changed */
	enum scim_update update;
	const char *media_type, *accept;
	int64_t page;
	bool page_given;
	struct scim_ability patch, bulk, filter, etag, manager, cursor;
	size_t bulk_most;
	int64_t bulk_bytes; /* 0: not said */
	/* Look-ups of several users share a filter of `or`s while a canary proves that the service evaluates all of it: the
	 * last clause names an account that is there, and an answer without it says nothing about the others. */
	size_t find_most;
	struct target_key canary; /* owned; NULL: none known, everybody is looked up alone */
	char *find_field;	  /* of the last look-up */
	unsigned find_failed;
	bool config_missing; /* no /ServiceProviderConfig: the plural is tried */
	struct scim_listing listing;
	/* paths: of the mapping; those that the service's schema calls readOnly, immutable (NULL: not learned) */
	cJSON *mapped, *read_only, *immutable;
	struct scim_group *groups;
	size_t groups_n, members_most, member_removes;
	enum scim_group_key group_key;
	bool remove_by_value, short_groups, short_patches;
	bool shows_groups; /* a user was seen with its groups */
};

/* scim_discover.c: target_driver's check and checked */
bool scim_check(struct target *t, size_t step, struct target_request *ret, const char **ret_title);
bool scim_checked(struct target *t, size_t step, const struct http_response *r, struct buf *text);

/* scim_groups.c */
void scim_groups_read(struct target *t, const struct conf_node *conf, struct buf *errors);
void scim_groups_done(struct target *t);
void scim_group_find(const struct target *t, const struct scim_group *g,
		     struct target_request *ret);
/* What a look-up said; json may be NULL. One line for people into text; false: no answer to the question. */
bool scim_group_learn(struct target *t, struct scim_group *g, long status, const cJSON *json,
		      struct buf *text);
void scim_plan_groups(const struct target *t, const struct target_want *want,
		      struct target_plan *ret);
unsigned scim_group_lane(const struct target *t, const struct target_op *op, size_t *ret_most);
int scim_group_request(const struct target *t, struct target_op *const *ops, size_t n,
		       struct target_request *ret);
void scim_group_answers(struct target *t, struct target_op *const *ops, size_t n,
			const struct http_response *r, struct target_answer *answers);

/* scim_plan.c */
int scim_plan(const struct target *t, const struct target_want *want, struct target_plan *ret);
bool scim_matches(const struct target *t, const cJSON *account, const struct target_key *key);
/* The value at a path that may select an element: emails[type eq "work"].value. NULL: absent. */
const cJSON *scim_get(const cJSON *account, const char *path);
/* emails[type eq "work"].value taken apart; false: no such path. rest may be empty. */
struct scim_select {
	struct slice attr, sub, value, rest;
};
bool scim_select(const char *path, struct scim_select *ret);
/* Why this path cannot be written; NULL: it can. */
const char *scim_path_wrong(const char *path);
/* The value as it is sent: plain texts of plural attributes become {"value": …}. Owned by the caller. */
cJSON *scim_value(const struct target *t, const char *path, const cJSON *value);

/* scim_request.c */
int scim_request(struct target *t, struct target_op *const *ops, size_t n,
		 struct target_request *ret);
void scim_url(const struct target *t, const char *rid, struct buf *out); /* rid NULL: all users */
void scim_page_url(const struct target *t, const char *cursor, int64_t start, struct buf *out);
/* A filter that is a URL: no longer than every service takes. */
enum { SCIM_URL_MAX = 4000 };
void scim_get_request(const char *path, struct target_request *ret, const struct target *t);

/* scim_answer.c */
void scim_answers(struct target *t, struct target_op *const *ops, size_t n,
		  const struct http_response *response, struct target_answer *answers);
int scim_listed(struct target *t, const struct http_response *response,
		void (*take)(void *arg, const struct target_account *account), void *arg,
		char **ret_next);
void scim_canary_drop(struct target *t);
/* scimType, detail and field of an answer that refuses. */
void scim_take_error(const struct target_op *op, struct slice body, struct target_answer *a);
/* A status that says something about the request, and not about the caller or the rate. */
bool scim_refused(long status);
/* Booleans as some services print them ("True"); otherwise when it is none. */
bool scim_true(const cJSON *value, bool otherwise);
/* A member whatever the case of its name. */
const cJSON *scim_member(const cJSON *object, const char *name);

#endif
