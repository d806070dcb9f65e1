/* SCIM filters (RFC 7644 section 3.4.2.2). */
#pragma once

#include "schema.h"

enum filter_op {
	FILTER_EQ,
	FILTER_NE,
	FILTER_CO,
	FILTER_SW,
	FILTER_EW,
	FILTER_GT,
	FILTER_GE,
	FILTER_LT,
	FILTER_LE,
	FILTER_PR,
	FILTER_COMPARISONS, /* the words above are operators on one attribute */
	FILTER_AND = FILTER_COMPARISONS,
	FILTER_OR,
	FILTER_NOT,
	FILTER_WITHIN, /* attr[a] */
};

struct filter {
	enum filter_op op;
	struct filter *a, *b;
	struct attr_path path;
	struct json *value;
};

/*
 * Over a resource type (schema), or within the values of a multi-valued attribute (subs; schema NULL).
 * NULL and *ret_error (400 invalidFilter) if it is none, or uses an operator that allowed (a list like
 * "eq,and"; empty: all) does not name.
 */
struct filter *filter_parse(struct arena *arena, struct slice text, const struct schema *schema,
			    const struct attr *subs, const char *allowed,
			    struct scim_error *ret_error);

/* Whether a resource, or one value of a multi-valued attribute, fits. exact: userName too minds case. */
bool filter_fits(const struct filter *filter, const struct json *object, bool exact);
