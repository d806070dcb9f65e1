/* $filter over users (OData 4.01 part 2, section 5.1.1; "Advanced query capabilities"). */
#pragma once

#include "props.h"

enum ofilter_op { O_EQ, O_NE, O_GE, O_LE, O_STARTS, O_ENDS, O_IN, O_AND, O_OR, O_NOT, O_LICENCE };

struct ofilter {
	enum ofilter_op op;
	struct ofilter *a, *b;
	const struct prop *prop;
	struct slice *values;
	size_t n_values;
	bool null; /* compared with null */
};

/* NULL and *ret_advanced = false if it is none; *ret_advanced: it needs ConsistencyLevel and $count. */
struct ofilter *ofilter_parse(struct arena *arena, struct slice text, bool *ret_advanced);

bool ofilter_fits(struct graph *g, const struct ofilter *filter, uint32_t number,
		  const struct json *doc);
