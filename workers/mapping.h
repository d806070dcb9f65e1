/* From a snapshot to the desired document, by configuration. A field of the mapping is
 *	attribute                   its first value (also dn, id, immutable_id, account.KEY)
 *	[first, that, has]          the first of these attributes that has a value
 *	{all: attribute}            all values, as an array
 *	{const: anything}
 *	{jq: 'expression'}          over the snapshot; its one output, null or none = empty
 *	{unless_set: any of these}  the target masters the field: written only where the account has no value of its own
 * A remote field is named by its path: `name.givenName`, or a URN key and what is in it:
 * `urn:…:enterprise:2.0:User.department` (the dots before the last colon belong to the URN). */
#ifndef DIRPIPE_MAPPING_H
#define DIRPIPE_MAPPING_H

#include "json.h"
#include "snapshot.h"

struct mapping;

/* spec: the conf's `mapping` as JSON. where: "FILE:LINE:COLUMN" put before each error. NULL: every error stands in errors, a
 * line each. Expressions are compiled here, once. */
struct mapping *mapping_new(const cJSON *spec, const char *where, struct buf *errors) MUST_CHECK;
void mapping_free(struct mapping *m);

/* Has it fields that the target masters? Then an account is read before it is written. */
bool mapping_asks(const struct mapping *m);
/* Takes those out of the document that the account has a value for. */
void mapping_leave(const struct mapping *m, const cJSON *account, cJSON *document);

/* The document: one flat object, path → value, sorted by path; null (or []) where the directory has nothing. Owned by the caller.
 * NULL with why: an expression failed or gave two outputs, an attribute was never requested (names, no values). */
cJSON *mapping_apply(struct mapping *m, const struct snapshot *s, struct buf *why) MUST_CHECK;

/* Paths in sorted order, as in the document. */
size_t mapping_count(const struct mapping *m);
const char *mapping_path(const struct mapping *m, size_t i);

/* Value at a path in a nested document (a remote account); names without regard to ASCII case (SCIM RFC 7643 2.1, OData).
 * NULL: absent. */
const cJSON *mapping_get(const cJSON *account, const char *path);
/* Puts a copy of value at the path into a nested document, making objects on the way. */
void mapping_put(cJSON *nested, const char *path, const cJSON *value);
/* Splits a path at its first level: "urn:…:User.department" → urn:…:User and department; "title" → title and "". */
void mapping_split(const char *path, struct slice *ret_head, struct slice *ret_rest);
/* null, "" or [] or {}: means nothing is there. NULL too. */
bool mapping_empty(const cJSON *value);

#endif
