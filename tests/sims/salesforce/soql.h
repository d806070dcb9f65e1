/* A parsed query: what soql.c reads and query.c carries out. */
#pragma once

#include "sf.h"

enum { SELECT_MAX = 64 };
enum op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_LIKE, OP_IN, OP_NOT_IN, OP_AND, OP_OR };

struct path {
	int relation; /* field that leads to the other object, -1: none */
	int field;
	struct object *object; /* whose field it is */
	struct slice text;
};

struct node {
	enum op op;
	struct node *left, *right; /* AND, OR */
	struct path path;
	struct slice *values; /* decoded; p NULL: null */
	size_t n;
};

struct soql {
	struct object *object;
	struct path select[SELECT_MAX];
	size_t n_select;
	bool count;
	struct node *where;
	struct path order;
	bool ordered, descending;
	int64_t limit, offset;
};
