/* The Incident IQ service: its state and what its files offer each other. */
#pragma once

#include "index.h"
#include "sim.h"

enum { NONE = UINT32_MAX };

struct location {
	uint8_t id[16];
	char *name;
};

/* Users stay where they are; a deleted one keeps its texts. */
struct user {
	uint8_t id[16], location[16], role[16];
	char *doc;  /* what can be written, as JSON in the order of the fields */
	char *text; /* what SearchText looks at, lower case, a line each */
	char *key;  /* SchoolIdNumber, or "" */
	uint32_t doc_n, text_n;
	int64_t created_ms, modified_ms;
	uint64_t password; /* hash, 0: none */
	bool live, active;
};

/* Settings, see GET /knobs of the admin interface. What the vendor does not say in public has one. */
struct iiq_knobs {
	char site[KNOB_STRING_MAX];   /* its GUID */
	char unique[KNOB_STRING_MAX]; /* fields that no two users may share: Email,Username */
	char search[KNOB_STRING_MAX]; /* fields that SearchText looks at */
	bool light_update;	      /* an update may name some fields alone */
	bool lying_status;	      /* errors come as HTTP 200 with StatusCode in the body */
	bool light_search;	      /* POST /search/v2 shows ids and names alone */
	int64_t lag_ms;		      /* a new user is found so much later (GET by id at once) */
	int64_t page_default, page_max;
	int64_t requests, requests_ms; /* so many per so long; 0: no limit */
};

struct iiq {
	struct sim *sim;
	struct iiq_knobs knobs;
	struct budget budget;
	char *token;
	struct user *users;
	uint32_t n, cap, live;
	struct index by_id, by_value;
	struct location *locations;
	uint32_t n_locations;
};

/* ---- fields.c: the fields of a user (Users controller, definitions User and UpdateUserRequest) ---- */

enum field_type { FIELD_STRING, FIELD_GUID, FIELD_BOOL, FIELD_NUMBER, FIELD_OBJECT, FIELD_ARRAY };

enum {
	FIELD_READ_ONLY = 1, /* a read package may carry it, nobody looks at it */
	FIELD_WRITE_ONLY = 2,
	FIELD_NEEDED = 4, /* of a new user */
};

struct field {
	const char *name;
	enum field_type type;
	int flags;
};

const struct field *field_find(struct slice name);

/* What a request says of a user, checked. Slices point into the arena. */
struct draft {
	struct json *doc; /* canonical, without what is read-only or write-only */
	uint8_t location[16], role[16];
	struct slice key;
	bool active, has_password;
	uint64_t password;
};

struct iiq_error {
	int status;
	const char *field; /* or NULL */
	char message[200];
};
bool iiq_fail(struct iiq_error *e, int status, const char *field, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* body laid over what the user has (before NULL: a new one). False with *ret_error. */
bool fields_read(struct iiq *s, const struct json *body, const struct user *before,
		 struct draft *ret, struct iiq_error *ret_error);
/* The texts of a list of fields ("Email,Username"), lower case, a line each. */
void fields_text(const struct json *doc, const char *names, struct text *out);
/* Whether a comma list has the name. */
bool fields_listed(const char *names, struct slice name);

/* ---- users.c ---- */

uint32_t users_find(const struct iiq *s, struct slice id); /* NONE, deleted ones too */
/* Numbers of users whose text has that (lower case), deleted ones too, in order, malloc'ed. */
uint32_t *users_search(const struct iiq *s, struct slice text, size_t *ret_n);
/* The live user other than `but` that has that value in Email, Username, SchoolIdNumber or ExternalId, any case; NONE. */
uint32_t users_with(const struct iiq *s, const char *field, struct slice value, uint32_t but);
/* The live user other than `but` that has the same value of a unique field; NONE. */
uint32_t users_rival(const struct iiq *s, const struct json *doc, uint32_t but,
		     const char **ret_field);
uint32_t users_add(struct iiq *s, const struct draft *d);
bool users_put(struct iiq *s, uint32_t number, const struct draft *d); /* whether it changed */
void users_delete(struct iiq *s, uint32_t number);
void users_clear(struct iiq *s);
void users_print(const struct iiq *s, uint32_t number, struct text *out);
const struct location *location_find(const struct iiq *s, const uint8_t id[16]);
const char *role_name(const uint8_t id[16]); /* NULL: there is none */
bool role_portal(const uint8_t id[16]);	     /* of agents */

/* ---- routes.c ---- */

void iiq_handle(struct sim *sim, struct sim_call *call);
bool iiq_writes(struct sim *sim, const struct sim_call *call);
void iiq_key(struct sim *sim, const struct sim_call *call, struct text *ret_key);
void iiq_refuse(struct iiq *s, struct sim_call *call, const struct iiq_error *error);
/* The members that every answer has, each with a leading comma. */
void iiq_envelope(const struct iiq *s, int status, struct text *out);

/* ---- list.c: POST /users, POST /search/v2 ---- */

void iiq_list(struct iiq *s, struct sim_call *call, const struct json *body);
void iiq_search(struct iiq *s, struct sim_call *call, const struct json *body);
