/* Entries for unit tests, made without a server. */
#ifndef DIRPIPE_ENTRY_FIXTURE_H
#define DIRPIPE_ENTRY_FIXTURE_H

#include "entry.h"

#include <string.h>

static inline struct id test_id(uint32_t n)
{
	struct id id = {{1}};

	memcpy(id.b + 12, &n, sizeof(n));
	return id;
}

static inline struct entry *test_entry(const char *dn, uint32_t n, enum entry_class class)
{
	struct entry *e = mem_alloc(sizeof(*e));

	e->schema = &entry_schema_openldap;
	e->id = test_id(n);
	memcpy(e->raw_id, e->id.b, sizeof(e->raw_id));
	e->class = class;
	e->dn = mem_dup(dn);
	return e;
}

/* values: NULL-terminated. */
static inline void test_values(struct entry *e, const char *name, const char *const *values)
{
	struct entry_attr *a;
	size_t n = 0;

	while (values[n] != NULL)
		n++;
	e->attrs = mem_resize(e->attrs, (e->n + 1) * sizeof(*e->attrs));
	a = &e->attrs[e->n++];
	*a = (struct entry_attr){.n = n};
	a->own = mem_alloc((n + 1) * sizeof(struct slice) + strlen(name) + 1);
	a->values = n > 0 ? a->own : NULL;
	a->name = (char *)a->own + (n + 1) * sizeof(struct slice);
	memcpy(a->name, name, strlen(name) + 1);
	for (size_t i = 0; i < n; i++)
		a->values[i] = (struct slice){values[i], strlen(values[i])};
}

#define TEST_VALUES(e, name, ...) test_values(e, name, (const char *const[]){__VA_ARGS__, NULL})

#endif
