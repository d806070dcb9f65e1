/* The inside of the Graph driver, for target_graph.c and graph_*.c alone. */
#ifndef DIRPIPE_GRAPH_OWN_H
#define DIRPIPE_GRAPH_OWN_H

#include "mapping.h"
#include "options.h"
#include "target.h"

enum { GRAPH_BATCH_MAX = 20 }; /* requests in one $batch */

struct target {
	char *base; /* …/v1.0, without a slash at the end */
	struct buf origin;
	char *login_url, *tenant;
	cJSON *options;
	struct buf select; /* properties that every read asks for */
	size_t batch;
	int64_t page;
	const char *priority; /* x-ms-throttle-priority; NULL: not sent */
	bool restore;	      /* look into deletedItems before a creation */
	bool revoke_sessions; /* on disabling */
	bool holdings; /* licences, groups or a policy are configured: reads show what accounts hold */
	bool counts; /* seats are counted before and after each change of a licence */
	bool has_licences;
	/* names and ids that the service has told */
	struct graph_name {
		char *name, *id;
	} * skus, *groups;
	size_t skus_n, groups_n;
	char **sku_names; /* as configured, those that are no ids */
	size_t sku_names_n;
};

/* What a property allows; those that are not in the table are written as they come. */
enum graph_trait {
	GRAPH_PLAIN,
	GRAPH_MANDATORY, /* an account has it always */
	GRAPH_KEPT,	 /* cannot be cleared: keeps its last value */
	GRAPH_LIST,
	GRAPH_READ_ONLY,
	GRAPH_OURS, /* the driver writes it by itself */
	GRAPH_TRAITS
};

/* graph_plan.c */
enum graph_trait graph_trait(const char *path);
bool graph_matches(const struct target *t, const cJSON *account, const struct target_key *key);
int graph_plan(const struct target *t, const struct target_want *want, struct target_plan *ret);
/* The value as it is sent (a single text of a list in brackets, one business phone). Owned by the caller. */
cJSON *graph_value(const char *path, const cJSON *value);

/* graph_licence.c */
bool graph_is_guid(const char *text);
const char *graph_sku_id(const struct target *t, const char *name);   /* NULL: not known */
const char *graph_group_id(const struct target *t, const char *name); /* NULL: not known */
void graph_plan_licences(const struct target *t, const struct target_want *want,
			 struct target_plan *ret);
void graph_plan_groups(const struct target *t, const struct target_want *want,
		       struct target_plan *ret);
void graph_plan_sessions(const struct target *t, const struct target_want *want,
			 struct target_plan *ret);

/* graph_request.c: an operation is one request, a FIND with a look into deletedItems two, as a READ that
 * shows what the account holds; a change of licences whose seats are counted three. */
size_t graph_parts(const struct target *t, const struct target_op *op);
bool graph_looks_deleted(const struct target *t, const struct target_op *op);
bool graph_changes_licence(const struct target_op *op);
/* The part that is the operation itself. */
size_t graph_main_part(const struct target *t, const struct target_op *op);
int graph_request(struct target *t, struct target_op *const *ops, size_t n,
		  struct target_request *ret);
/* Does this request travel in a $batch? */
bool graph_is_batch(const struct target *t, struct target_op *const *ops, size_t n);
/* Id of an operation's part in a $batch. */
void graph_part_id(const struct target *t, const struct target_op *op, size_t part,
		   struct buf *out);
int graph_list(struct target *t, const char *next, struct target_request *ret);

/* graph_answer.c */
void graph_answers(struct target *t, struct target_op *const *ops, size_t n,
		   const struct http_response *response, struct target_answer *answers);
int graph_listed(struct target *t, const struct http_response *response,
		 void (*take)(void *arg, const struct target_account *account), void *arg,
		 char **ret_next);
/* Licences of the tenant: into t->skus. */
void graph_learn_skus(struct target *t, const cJSON *json);
/* error.code and error.message of an answer, "" when absent. */
void graph_error(const cJSON *json, const char **ret_code, const char **ret_message);

#endif
