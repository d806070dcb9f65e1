/* The Salesforce org: its state and what its files offer each other. */
#pragma once

#include "index.h"
#include "sim.h"

enum { ID15 = 15, ID18 = 18, TOKENS = 256, CURSORS = 64, FIELDS_MAX = 48, NONE = UINT32_MAX };

enum field_type { T_TEXT, T_BOOL, T_REF, T_PICK, T_EMAIL, T_NUMBER, T_TIME };
enum {
	F_CREATE = 1,	 /* may be set at a creation */
	F_UPDATE = 2,	 /* and later */
	F_REQUIRED = 4,	 /* at a creation */
	F_UNIQUE = 8,	 /* in the org */
	F_EXTERNAL = 16, /* external id */
	F_INDEX = 32,	 /* queries by it are quick */
	F_WRITE = F_CREATE | F_UPDATE,
};

struct field {
	const char *name;
	enum field_type type;
	unsigned flags;
	int max; /* characters; 0: no limit */
	const char *
		refers; /* T_REF: object, and "Object" without Id at its end is the relation's name */
	const char *picks; /* T_PICK: "a|b" */
};

struct record {
	char **v;      /* by field; NULL: null */
	char *pending; /* User: an address that waits for its owner's word */
	bool live;
};

struct object {
	const char *name, *prefix;
	const struct field *fields;
	bool create, update, remove; /* what the API allows */
	bool lock;		     /* its writes take the org's group lock */
	size_t n_fields;
	struct record *records;
	uint32_t n, cap, live;
	struct index index[FIELDS_MAX]; /* F_UNIQUE, F_EXTERNAL, F_INDEX */
};

struct token {
	char text[80];
	int64_t used_ms;
};

struct cursor {
	char id[ID18 + 1];
	char *soql; /* of the query */
	size_t at;
};

struct sf_knobs {
	char instance_url[KNOB_STRING_MAX]; /* of the token's answer; "": https://localhost:PORT */
	char bare_error[KNOB_STRING_MAX];   /* "1": errors as a bare object instead of an array */
	char username[KNOB_STRING_MAX], audience[KNOB_STRING_MAX];
	char api_error[KNOB_STRING_MAX]; /* "STATUS CODE": every call of the API is answered so */
	int64_t session_seconds, daily_requests, page_size;
	int64_t lock_ms;      /* how long a write of roles and memberships takes */
	int64_t lock_wait_ms; /* another one waits so long for it, then it fails */
	bool email_confirmation, external_unique, run_as_user, approved;
};

struct sf {
	struct sim *sim;
	struct sf_knobs knobs;
	struct object *objects;
	size_t n_objects;
	char *client_id, *client_secret, *password; /* with the security token behind it */
	struct x509_st *client_cert;
	struct token tokens[TOKENS];
	uint64_t tokens_given;
	struct cursor cursors[CURSORS];
	uint64_t cursors_made;
	struct budget day;
	int64_t lock_until_ms;
	uint64_t lock_refused, lock_writes, names_elsewhere;
	struct index elsewhere; /* user names of other orgs, by hash */
};

/* schema.c */
void schema_make(struct sf *s);
void schema_clear(struct sf *s); /* records gone, what an org has from the start is there again */
void schema_free(struct sf *s);
struct object *schema_object(struct sf *s, struct slice name);
int schema_field(const struct object *o, struct slice name); /* -1: none */
/* The field behind a relation ("Profile" → ProfileId); -1. */
int schema_relation(const struct object *o, struct slice name);
void id_print(const struct object *o, uint32_t number, char out[ID18 + 1]);
/* The live record that the id names; NONE. */
uint32_t id_find(const struct object *o, struct slice id);
uint32_t record_add(struct object *o);
void record_set(struct object *o, uint32_t number, int field,
		struct slice value); /* p NULL: null */
void record_remove(struct object *o, uint32_t number);
struct slice record_get(const struct object *o, uint32_t number, const char *field);
/* Candidates whose indexed field has that value, any case: the first, then the next after it; NONE. */
uint32_t record_find(const struct object *o, int field, struct slice value, uint32_t after);

/* soql.c */
struct soql;
/* NULL and the error answered. Owned by the sim's arena. */
struct soql *soql_parse(struct sf *s, struct sim_call *call, struct slice text);
/* Answers with the page from `at`; more pages get a cursor. */
void soql_answer(struct sf *s, struct sim_call *call, struct soql *query, struct slice text,
		 size_t at);

/* rows.c */
void rows_create(struct sf *s, struct sim_call *call, struct object *o);
void rows_update(struct sf *s, struct sim_call *call, struct object *o, uint32_t number);
void rows_upsert(struct sf *s, struct sim_call *call, struct object *o, int field,
		 struct slice value);
void rows_delete(struct sf *s, struct sim_call *call, struct object *o, uint32_t number);
void rows_get(struct sf *s, struct sim_call *call, const struct object *o, uint32_t number,
	      struct slice fields);
/* {"attributes":…, fields}; fields: names with commas; p NULL: all. */
void rows_print(const struct object *o, uint32_t number, struct slice fields, struct text *out);
const char *rows_seed(struct sf *s, struct object *o, const struct json *json);

/* rules.c: what the org refuses. False: answered. number NONE: a creation. values by field; set says which are given. */
struct change {
	const struct json *value[FIELDS_MAX]; /* NULL: not given */
	uint32_t number;
};
bool rules_allow(struct sf *s, struct sim_call *call, struct object *o, const struct change *c);
/* Afterwards: a UserLogin for a new user, times, seats. licence: what rules_licence said before the write. */
void rules_after(struct sf *s, struct object *o, const struct change *c, uint32_t number,
		 uint32_t licence);
/* The user licence that an active user takes; NONE. */
uint32_t rules_licence(struct sf *s, const struct object *o, uint32_t number);
/* Waits for the group lock, if these fields need it; false: answered. */
bool rules_lock(struct sf *s, struct sim_call *call, const struct object *o,
		const struct change *c);

/* composite.c */
void composite_route(struct sf *s, struct sim_call *call, struct slice rest);

/* login.c */
void login_token(struct sf *s, struct sim_call *call);
void login_revoke(struct sf *s, struct sim_call *call);
bool login_good(struct sf *s, struct sim_call *call);
void login_instance(struct sf *s, struct text *out);

/* routes.c */
void sf_handle(struct sim *sim, struct sim_call *call);
bool sf_writes(struct sim *sim, const struct sim_call *call);
void sf_key(struct sim *sim, const struct sim_call *call, struct text *ret_key);
void sf_fail(struct sf *s, struct sim_call *call, int status, const char *code, const char *field,
	     const char *format, ...) __attribute__((format(printf, 6, 7)));
void sf_json(struct sim_call *call, int status);
/* Cuts /services/data/vNN.0/ off. */
bool sf_below(struct slice *path);
extern const char sf_external[]; /* the external id field that tests use */
