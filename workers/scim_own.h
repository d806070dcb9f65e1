/* The inside of the SCIM driver, for target_scim.c and scim_*.c alone.
 *
 * An UPDATE's op->body carries what only the plan knows: {"add": [paths whose element does not exist yet]}, {"account": …} as
 * read (PUT needs it), {"read_first": true} (set by the request: PUT without an account reads it, and the answer says STALE). */
#ifndef DIRPIPE_SCIM_OWN_H
#define DIRPIPE_SCIM_OWN_H

#include "mapping.h"
#include "options.h"
#include "target.h"

#define SCIM_CORE	"urn:ietf:params:scim:schemas:core:2.0:User"
#define SCIM_ENTERPRISE "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
#define SCIM_MESSAGE	"urn:ietf:params:scim:api:messages:2.0:"
#define SCIM_MANAGER	SCIM_ENTERPRISE ".manager"

enum scim_update { SCIM_UPDATE_AUTO, SCIM_UPDATE_PATCH, SCIM_UPDATE_PUT };
enum scim_auto { SCIM_AUTO, SCIM_ALWAYS, SCIM_NEVER };

/* What the configuration says, or the service. */
struct scim_ability {
	enum scim_auto asked;
	bool on;
};

struct scim_listing { /* of the one listing that runs */
	int64_t start;
	size_t pages;
	char *first_id; /* of the page before */
};

struct target {
	char *base;  /* without a slash at the end */
	char *users; /* endpoint: "Users" */
	cJSON *options;
	bool lower, discovery, pathless, string_booleans, initial_password;
	enum scim_update update;
	const char *media_type;
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
};

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
/* Booleans as some services print them ("True"); otherwise when it is none. */
bool scim_true(const cJSON *value, bool otherwise);
/* A member whatever the case of its name. */
const cJSON *scim_member(const cJSON *object, const char *name);

#endif
