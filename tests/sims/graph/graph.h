/* The Graph service: its state and what its files offer each other. */
#pragma once

#include "directory.h"
#include "sim.h"

enum { TOKENS = 256, ASSERTIONS = 1024 };

struct token {
	char id[UUID_TEXT + 1]; /* the uti claim, looked up by the last part of the token */
	char roles[KNOB_STRING_MAX];
	int64_t expires_ms;
};

/* Settings, see GET /knobs of the admin interface. */
struct graph_knobs {
	char domains[KNOB_STRING_MAX]; /* verified: a,b; the first is the default */
	char roles[KNOB_STRING_MAX];   /* application permissions that new tokens carry */
	int64_t token_seconds;
	int64_t writes,
		writes_ms; /* so many per so long, 0: no limit; the vendor's: 3000 in 150000 */
	int64_t units, units_ms; /* resource units; the vendor's: 8000 in 10000 */
	int64_t lag_ms;		 /* a new user cannot be found for so long */
	int64_t licence_busy_ms; /* a second assignLicense of a user within that time is a 409 */
	int64_t batch_throttle_status; /* of the envelope when an item was throttled: 200 or 424 */
	int64_t page_default, page_max;
	int64_t delta_seconds; /* life of a delta token */
	bool fractional_retry_after;
};

struct graph {
	struct sim *sim;
	struct graph_knobs knobs;
	struct directory dir;
	struct budget write_budget, unit_budget;
	char *tenant, *client_id, *client_secret;
	struct x509_st *client_cert;
	struct token tokens[TOKENS]; /* the newest */
	uint64_t tokens_given;
	uint64_t assertions[ASSERTIONS]; /* hashes of the newest jti */
	uint64_t assertions_seen;
	const struct token *token; /* of the request being handled */
};

/* knobs.c */
extern const struct knob graph_knob_table[];
extern const size_t graph_knob_count;
void graph_knobs_default(struct graph *g);

/* login.c */
/* Serves the login host's paths; false if path is none of them. */
bool graph_login(struct graph *g, struct sim_call *call);
/* Finds the token of the request; false if it was answered 401. */
bool graph_authorized(struct graph *g, struct sim_call *call);
/* Whether the token carries one of the roles (a list with blanks); else answers 403. */
bool graph_allowed(struct graph *g, struct sim_call *call, const char *roles);

/* answer.c */
void graph_error(struct graph *g, struct sim_call *call, int status, const char *code,
		 const char *format, ...) __attribute__((format(printf, 5, 6)));
/* Request_BadRequest with one detail. */
void graph_conflict(struct graph *g, struct sim_call *call, const char *message,
		    const char *detail_code, const char *target);
void graph_not_found(struct graph *g, struct sim_call *call, struct slice id);
void graph_json(struct sim_call *call, int status);
void graph_empty(struct sim_call *call, int status);
/* "@odata.context":"…#fragment", — with the comma, or nothing if the client wants no metadata. */
void graph_context(struct graph *g, struct sim_call *call, const char *fragment);
void graph_base(struct graph *g, const struct sim_call *call, struct text *out);
bool graph_body(struct graph *g, struct sim_call *call, struct json **ret_body);

/* query.c */
struct query {
	struct text select, filter, expand, skip; /* owned */
	int64_t top;
	bool selects, filters, count, expands, eventual;
};
/* False if it was answered. What $select names is checked. */
bool query_read(struct graph *g, struct sim_call *call, struct query *ret_query);
void query_done(struct query *query);
/* One user as the query wants it, without the closing brace's context. */
void query_print_user(struct graph *g, const struct query *query, uint32_t number,
		      struct text *out);
/* All numbers that fit, malloc'ed; false if it was answered. */
bool query_users(struct graph *g, struct sim_call *call, const struct query *query, bool deleted,
		 uint32_t **ret_list, size_t *ret_n);
/* Prints the page that $skiptoken names. */
void query_page(struct graph *g, struct sim_call *call, const struct query *query,
		const uint32_t *list, size_t n,
		void (*print)(struct graph *, const struct query *, uint32_t, struct text *));

/* users.c */
void users_route(struct graph *g, struct sim_call *call, struct slice rest);
void users_commit(struct graph *g, const struct sim_call *call, const char *kind, uint32_t number);
/* A live user by id or user principal name (percent-coded), or NONE. */
uint32_t users_find(struct graph *g, struct slice coded);
const char *users_seed(struct graph *g, const struct json *object);

/* relations.c: what stands behind /users/{id}/; false if there is no such path */
bool relations_route(struct graph *g, struct sim_call *call, uint32_t number, struct slice rest);
/* The object that a body's or array's "@odata.id" names: a user, a group | LINK_GROUP, or NONE. */
uint32_t relations_target(struct graph *g, struct slice url);

/* licences.c */
bool licences_assign(struct graph *g, struct sim_call *call, uint32_t number);
bool licences_details(struct graph *g, struct sim_call *call, uint32_t number);
const char *licences_seed(struct graph *g, uint32_t number, const struct json *list);
void skus_list(struct graph *g, struct sim_call *call);
uint32_t skus_find(const struct graph *g, struct slice id); /* NONE */
bool skus_bits(const struct graph *g, const struct json *list, uint32_t *ret_bits);
const char *skus_seed(struct graph *g, const struct json *object);

/* groups.c */
void groups_route(struct graph *g, struct sim_call *call, struct slice rest);
const char *groups_seed(struct graph *g, const struct json *object);
void groups_print(struct graph *g, uint32_t number, struct text *out);

/* deleted.c */
void deleted_route(struct graph *g, struct sim_call *call, struct slice rest);

/* delta.c */
void delta_route(struct graph *g, struct sim_call *call);

/* batch.c */
void batch_route(struct graph *g, struct sim_call *call);

/* routes.c */
void graph_handle(struct sim *sim, struct sim_call *call);
bool graph_writes(struct sim *sim, const struct sim_call *call);
void graph_key(struct sim *sim, const struct sim_call *call, struct text *ret_key);
