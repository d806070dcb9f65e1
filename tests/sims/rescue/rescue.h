/* The Rescue service: its state and what its files offer each other. */
#pragma once

#include "index.h"
#include "sim.h"

enum node_type {
	NODE_ROOT,
	NODE_MASTERS,
	NODE_ADMINS,
	NODE_TECHNICIANS,
	NODE_ADMIN_GROUP,
	NODE_GROUP,
	NODE_MASTER,
	NODE_ADMIN,
	NODE_TECHNICIAN,
	NODE_CHANNEL,
	NODE_TYPES
};

/* Nodes stay where they are: number = place, id = number + NODE_FIRST. */
enum { NODE_FIRST = 337360, NODE_NONE = -1 };

struct node {
	enum node_type type;
	int32_t parent;					 /* number */
	char *name, *nick, *email, *ssoid, *description; /* never NULL */
	uint64_t password;				 /* hash, 0: none */
	bool live, enabled, mobile, rpat;
};

enum node_text { TEXT_NAME, TEXT_NICK, TEXT_EMAIL, TEXT_SSOID, TEXT_DESCRIPTION, NODE_TEXTS };

/* Settings, see GET /knobs of the admin interface. */
struct rescue_knobs {
	bool colon_space;     /* "NAME: x", as some pages of the manual have it */
	bool one_line;	      /* all pairs on the line of the word */
	bool crlf;	      /* line ends */
	bool bare_id;	      /* createUser: "OK 337364" instead of "OK [337364]" */
	bool created_enabled; /* what createUser makes is enabled */
	bool keep_omitted;    /* setUser leaves alone what is not sent; else it is blanked */
	bool token_revoked;   /* the API token is refused */
	bool caller_disabled; /* whoever calls is deleted or disabled */
	int64_t named_seats, mobile_seats; /* 0: no limit */
	char seat_word[KNOB_STRING_MAX];   /* when a seat is wanted and none is free */
	int64_t name_max;
	int64_t password_classes; /* of four, that a password needs */
};

struct session {
	char id[25];
	int64_t used_ms;
};

enum { AUTHCODE = 79, SESSIONS = 64, LOGINS = 10 };

struct rescue {
	struct sim *sim;
	struct rescue_knobs knobs;
	struct node *nodes;
	size_t n, cap;
	struct index by_email, by_description;
	uint64_t enabled, mobile; /* technicians */
	char *api_token, *email, *password;
	char authcode[AUTHCODE + 1]; /* of the newest requestAuthCode; "": none */
	struct session sessions[SESSIONS];
	size_t sessions_n;
	int64_t logins[LOGINS]; /* times of the last ones */
	uint64_t logins_n;
	uint64_t calls[64]; /* by method */
};

/* A request taken apart. */
struct form {
	struct rescue *s;
	struct sim_call *call;
	struct text bytes;
	struct {
		struct slice name;
		size_t from, n; /* in bytes */
	} fields[64];
	size_t n;
	bool bad; /* not well coded, not UTF-8 or too many */
};

/* form.c */
void form_read(struct form *f, struct rescue *s, struct sim_call *call);
/* The value of the parameter, any case; p NULL when it was not sent. */
struct slice form_get(const struct form *f, const char *name);
struct slice form_either(const struct form *f, const char *name, const char *other);
/* As the ledger keeps it: {"method", parameter: value}, secrets hashed. */
void form_json(const struct form *f, const char *method, struct text *out);
void answer_word(struct form *f, const char *word);
/* Word, records of pairs, end: the grammar and its switches. */
void answer_begin(struct form *f);
void answer_record(struct form *f);
void answer_pair(struct form *f, const char *key, struct slice value);
void answer_end(struct form *f);
void answer_page(struct form *f); /* the log-in page: no such method */

/* tree.c */
extern const char *const node_type_names[NODE_TYPES];
void tree_plant(struct rescue *s); /* root and the three branches */
void tree_clear(struct rescue *s);
int32_t tree_add(struct rescue *s, enum node_type type, int32_t parent);
/* Number of a live node, or NODE_NONE. */
int32_t tree_node(const struct rescue *s, struct slice id);
int32_t tree_email(const struct rescue *s, struct slice email); /* any type, any case */
void tree_set(struct rescue *s, int32_t number, enum node_text which, struct slice value);
void tree_switch(struct rescue *s, int32_t number, bool enabled, bool mobile);
void tree_remove(struct rescue *s, int32_t number);
bool tree_is_user(const struct node *node);
bool tree_may_hold(const struct rescue *s, int32_t parent, enum node_type child);
int64_t tree_id(int32_t number);
/* Live technicians with that description, but this one. */
bool tree_described(const struct rescue *s, struct slice description, int32_t but);
uint64_t tree_nameless(const struct rescue *s);
void tree_print(struct rescue *s, uint32_t number, struct text *out);
const char *tree_seed_group(struct sim *sim, const struct json *object);
const char *tree_seed_user(struct sim *sim, const struct json *object);
const char *tree_seed_move(struct sim *sim, const struct json *object);

/* auth.c: each answers and returns false where the caller is refused */
bool auth_known(struct form *f);
void auth_login(struct form *f);
void auth_logout(struct form *f);
void auth_request(struct form *f);

/* users.c, nodes.c */
void users_get(struct form *f);
void users_create(struct form *f);
void users_set(struct form *f, bool second);
void nodes_account(struct form *f);
void nodes_hierarchy(struct form *f);
void nodes_group(struct form *f);
void nodes_create_group(struct form *f);
void nodes_move(struct form *f);
void nodes_delete(struct form *f);
void rescue_commit(struct form *f, const char *kind, int32_t number);

/* routes.c */
void rescue_handle(struct sim *sim, struct sim_call *call);
bool rescue_writes(struct sim *sim, const struct sim_call *call);
void rescue_key(struct sim *sim, const struct sim_call *call, struct text *ret_key);
void rescue_calls(const struct rescue *s, struct text *out);
