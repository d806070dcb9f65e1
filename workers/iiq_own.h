/* The inside of the Incident IQ driver, for target_incidentiq.c and iiq_*.c alone.
 *
 * An UPDATE's op->body carries {"account": …} as read where the site wants the whole user. RoleId and LocationId may hold a name
 * of the options' roles, of a location of the site; it becomes an id when the request is built. */
#ifndef DIRPIPE_IIQ_OWN_H
#define DIRPIPE_IIQ_OWN_H

#include "mapping.h"
#include "options.h"
#include "target.h"

enum iiq_lookup { IIQ_TEXT, IIQ_FILTER, IIQ_SEARCH };

struct iiq_location {
	char *id, *name;
	bool ambiguous; /* another one bears the name, too */
};

struct target {
	char *base; /* …/api/v1.0, without a slash at the end */
	cJSON *options;
	const char *site_id, *product_id, *client; /* in options; product_id may be NULL */
	enum iiq_lookup lookup;
	bool whole_updates, honours_prevention, initial_password;
	int64_t page;
	struct iiq_location *locations;
	size_t locations_n;
	int64_t asked_unix_ms; /* when a task last asked for the locations */
};

enum iiq_trait {
	IIQ_PLAIN,
	IIQ_NEEDED,    /* an account always has it: never cleared */
	IIQ_NAMED,     /* the same, and a name may stand for the id */
	IIQ_READ_ONLY, /* or ours to decide */
	IIQ_UNKNOWN,
	IIQ_TRAITS
};

/* iiq_plan.c */
enum iiq_trait iiq_trait(const char *field);
int iiq_plan(const struct target *t, const struct target_want *want, struct target_plan *ret);
bool iiq_matches(const struct target *t, const cJSON *account, const struct target_key *key);
/* The id that a RoleId or LocationId stands for; NULL: none is known. */
const char *iiq_id_of(const struct target *t, const char *field, const char *value);

/* iiq_wire.c */
int iiq_request(struct target *t, struct target_op *const *ops, size_t n,
		struct target_request *ret);
void iiq_answers(struct target *t, struct target_op *const *ops, size_t n,
		 const struct http_response *response, struct target_answer *answers);
int iiq_listed(struct target *t, const struct http_response *response,
	       void (*take)(void *arg, const struct target_account *account), void *arg,
	       char **ret_next);
/* Method, address below the base and the headers that every request has. */
int iiq_begin(const struct target *t, enum http_method method, const char *path,
	      struct target_request *ret);
/* POST /users for one page, optionally with a filter. */
int iiq_users(const struct target *t, const char *filter, int64_t page, struct target_request *ret);
/* Takes the answer to GET /locations/all; false: it is none. */
bool iiq_locations_learn(struct target *t, long status, const cJSON *json);
void iiq_locations_done(struct target *t);

#endif
