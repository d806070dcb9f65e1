/* Values that beat the directory's (overrides of the configuration, overrides.d/): of one user by id, or of whoever has an
 * attribute's value. They go into the image alone: filters and groups see the directory as it is. */
#ifndef DIRPIPE_OVERRIDE_H
#define DIRPIPE_OVERRIDE_H

#include "conf.h"
#include "entry.h"
#include "json.h"

struct override_table;

/* An override of an attribute that no source reads is refused. NULL with why ("FILE:LINE:COLUMN: …"). */
struct override_table *override_new(const struct conf_node *root, struct buf *why) MUST_CHECK;
void override_free(struct override_table *t);
/* The values of that attribute instead of the entry's, an array of texts; NULL: there are none. What is said of the id goes
 * before what is said of a value. */
const cJSON *override_values(const struct override_table *t, const struct entry *e,
			     const char *attr);
/* What the overrides say, for the hash of the configuration. */
void override_hash(const struct conf_node *root, struct buf *out);

#endif
