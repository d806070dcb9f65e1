/* The inside of the Salesforce driver, for target_salesforce.c and salesforce_*.c alone. */
#ifndef DIRPIPE_SALESFORCE_OWN_H
#define DIRPIPE_SALESFORCE_OWN_H

#include "mapping.h"
#include "options.h"
#include "target.h"

enum {
	SALESFORCE_COLLECTION = 200, /* records in one collection (sObject Collections) */
	SALESFORCE_ID = 18,
	SALESFORCE_URL_MAX = 12000 /* of URL and headers 16,384 bytes are taken */
};

/* What a disabled person's account becomes. */
enum salesforce_disable {
	SALESFORCE_DEACTIVATE, /* IsActive false */
	SALESFORCE_FREEZE,     /* UserLogin.IsFrozen true: keeps the user licence */
	SALESFORCE_BOTH, /* frozen first, so that a refused deactivation still locks the door */
};

/* Names of the org, resolved to ids. */
struct salesforce_name {
	struct salesforce_name *next;
	const char *object; /* static: "Profile", "UserRole", … */
	char *name;
	char id[SALESFORCE_ID + 1];
};

struct target {
	char *origin;	 /* scheme://host of the API; the token's answer may move it */
	char *version;	 /* "62.0" */
	struct buf root; /* /services/data/v62.0 */
	cJSON *options;
	char *login_url;
	const char *external; /* external id field, or NULL */
	struct buf select;    /* fields that every read asks for */
	struct buf mapped;    /* "\n" between the fields of the mapping, for the check */
	enum salesforce_disable disable;
	size_t batch;
	int64_t email_wait_ms;
	int64_t used, most; /* API requests of the day, by the last answer; most 0: not known */
	int64_t slow, stop; /* percent of them */
	bool deletes;	    /* leave: delete */
	bool holds;	    /* licences or groups are configured: reads show them */
	struct salesforce_name *names;
};

/* What can be assigned to a user. */
struct salesforce_kind {
	const char *object, *assignment; /* objects */
	const char *whom, *what;	 /* fields of the assignment */
	const char *word;		 /* groups.kind; NULL: licences */
};
enum { SALESFORCE_KINDS = 3 };
extern const struct salesforce_kind salesforce_kinds[SALESFORCE_KINDS];
const struct salesforce_kind *salesforce_kind_named(const char *word);

enum salesforce_trait {
	SALESFORCE_PLAIN,
	SALESFORCE_MANDATORY, /* a user has it always, and it must be mapped */
	SALESFORCE_KEPT,      /* cannot be cleared */
	SALESFORCE_READ_ONLY,
	SALESFORCE_OURS, /* the driver writes it by itself */
};
enum salesforce_trait salesforce_trait(const char *field);

/* ---- salesforce_names.c ---- */

/* 15 or 18 letters and digits: to 18 (checksum); false: no id. */
bool salesforce_id(const char *text, char ret[SALESFORCE_ID + 1]);
/* The id of a name or of what is an id already; NULL: not known (yet). */
const char *salesforce_resolve(const struct target *t, const char *object, const char *name,
			       char ret[SALESFORCE_ID + 1]);
const char *salesforce_name_of(const struct target *t, const char *object, const char *id);
void salesforce_learn(struct target *t, const char *object, const char *name, const char *id);
void salesforce_forget(struct target *t); /* all names: one of the ids was refused */
/* The field by which an object is named ("Name", "DeveloperName"). */
const char *salesforce_name_field(const char *object);
/* Which object a field's value names: ProfileId → "Profile"; NULL: none. */
const char *salesforce_object_of(const char *field);

/* ---- salesforce_plan.c ---- */

bool salesforce_matches(const struct target *t, const cJSON *account, const struct target_key *key);
int salesforce_plan(const struct target *t, const struct target_want *want,
		    struct target_plan *ret);

/* A name that is not known is looked up before the rest; once in a plan. */
void salesforce_ask(struct target_plan *plan, const char *object, const char *name);

/* ---- salesforce_licence.c ---- */

void salesforce_plan_licences(const struct target *t, const struct target_want *want,
			      struct target_plan *ret);
/* Frozen by the licence policy: then nobody thaws it for another reason. */
bool salesforce_login_taken(const struct target_want *want);
void salesforce_plan_login(const struct target_want *want, struct target_plan *ret);

/* ---- salesforce_request.c ---- */

unsigned salesforce_lane(const struct target *t, const struct target_op *op, size_t *ret_most);
int salesforce_request(struct target *t, struct target_op *const *ops, size_t n,
		       struct target_request *ret);
/* Does this request travel as one of several in /composite? */
bool salesforce_is_composite(const struct target *t, const struct target_op *op);
int salesforce_list(struct target *t, const char *next, struct target_request *ret);
/* Appends /query?q=… on the API's host. */
void salesforce_query(const struct target *t, struct slice soql, struct buf *url);

/* ---- salesforce_answer.c ---- */

void salesforce_answers(struct target *t, struct target_op *const *ops, size_t n,
			const struct http_response *response, struct target_answer *answers);
int salesforce_listed(struct target *t, const struct http_response *response,
		      void (*take)(void *arg, const struct target_account *account), void *arg,
		      char **ret_next);
/* Code, message and first field of an error in any of its shapes; "" where there is none. */
struct salesforce_error {
	const char *code, *message, *field;
};
struct salesforce_error salesforce_error_of(const cJSON *json);
/* Reads Sforce-Limit-Info. */
void salesforce_take_usage(struct target *t, const struct http_response *response);
/* Records of a query's answer; NULL: it is none, or not whole. */
const cJSON *salesforce_records(const cJSON *json);

#endif
