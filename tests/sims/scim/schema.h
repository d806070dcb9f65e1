/* SCIM attributes (RFC 7643 sections 3, 4, 7): tables, paths into them, and the check of a resource. */
#pragma once

#include "json.h"

enum attr_type { ATTR_STRING, ATTR_BOOLEAN, ATTR_REFERENCE, ATTR_DATE, ATTR_BINARY, ATTR_COMPLEX };

enum {
	ATTR_MULTI = 1,
	ATTR_READ_ONLY = 2,
	ATTR_WRITE_ONLY = 4,
	ATTR_EXACT = 8, /* caseExact */
	ATTR_REQUIRED = 16,
	ATTR_UNIQUE = 32,
	ATTR_COMMON = 64, /* of every resource: not in the schema itself */
};

struct attr {
	const char *name;
	enum attr_type type;
	int flags;
	const struct attr *subs; /* ended by a NULL name */
};

struct schema {
	const char *urn, *name;
	const struct attr *attrs;	/* ended by a NULL name */
	const struct schema *extension; /* of the resource type, or NULL */
};

extern const struct schema schema_user, schema_enterprise, schema_group;

/* What a SCIM error answer says. */
struct scim_error {
	int status;
	const char *type; /* scimType, or NULL */
	char detail[256];
};

/* Fills *ret_error and returns false. */
bool scim_fail(struct scim_error *ret_error, int status, const char *type, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* attr, attr.sub, urn:attr.sub, urn, each perhaps with [filter] behind attr. */
struct attr_path {
	const struct schema *schema;
	const struct attr *attr; /* NULL: the extension as a whole */
	const struct attr *sub;	 /* NULL: the attribute as a whole */
	bool extension;
	struct slice filter; /* between the brackets */
	bool filtered;
};

/* Takes a path from the head of *rest; false if it names nothing that the resource type has. */
bool schema_path(const struct schema *schema, struct slice *rest, struct attr_path *ret_path);

const struct attr *schema_find(const struct attr *attrs, struct slice name);

struct schema_leniency {
	bool unknown;	/* unknown attributes are dropped */
	bool read_only; /* readOnly attributes are dropped */
	bool booleans;	/* "True" is true */
};

/*
 * A canonical copy of the resource: names as in the schema, in its order, nothing unassigned, without
 * schemas, id and meta. NULL and *ret_error if it breaks the schema. whole: required attributes and the
 * schemas list must be there.
 */
struct json *schema_check(struct arena *arena, const struct schema *schema, const struct json *in,
			  const struct schema_leniency *lenient, bool whole,
			  struct scim_error *ret_error);

/* The schema as /Schemas shows it. */
void schema_print(const struct schema *schema, struct text *out);
