/* Properties of a user: what can be written, selected and filtered, and the limits (user resource). */
#pragma once

#include "graph.h"

enum prop_type { PROP_STRING, PROP_BOOL, PROP_STRINGS, PROP_OBJECT, PROP_DATE };

enum {
	PROP_DEFAULT = 1, /* among the 11 that come without $select */
	PROP_READ_ONLY = 2,
	PROP_NO_NULL = 4,   /* cannot be cleared */
	PROP_SENSITIVE = 8, /* not for users with a directory role */
	PROP_FILTER = 16,
	PROP_CLOUD = 32, /* writable although the user is synced */
	PROP_APART = 64, /* kept apart from the document */
};

struct prop {
	const char *name;
	enum prop_type type;
	int flags;
	int max; /* characters (UTF-16 units), or values of a collection; 0: not limited */
};

const struct prop *prop_find(struct slice name); /* any case */
const struct prop *prop_at(size_t i);		 /* NULL behind the last */

/* A change that a body asks for, once it is found good. */
struct change {
	struct json *doc; /* canonical object: what stays and what is new */
	struct slice upn, immutable, mail;
	uint64_t password;
	bool has_password, enabled, sensitive, mastered;
};

/*
 * Checks the properties of body and lays them over before (an object, or NULL for a new user). False if
 * it was answered.
 */
bool props_merge(struct graph *g, struct sim_call *call, const struct json *body,
		 const struct json *before, struct change *ret_change);

/* The value of any property of a user as JSON text. */
void props_print(struct graph *g, const struct prop *prop, uint32_t number, const struct json *doc,
		 struct text *out);
/* A string property's value, or "" (filters). */
struct slice props_string(struct graph *g, const struct prop *prop, uint32_t number,
			  const struct json *doc, char id[UUID_TEXT + 1]);
