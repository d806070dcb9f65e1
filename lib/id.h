/* A directory object's identity: objectGUID, entryUUID or nsUniqueId as 16 bytes in RFC 4122 order
 * (an objectGUID is byte-swapped where it is read, so that the text is what administrators see). */
#ifndef DIRPIPE_ID_H
#define DIRPIPE_ID_H

#include "buf.h"

struct id {
	uint8_t b[16];
};

/* A 128-bit fingerprint (XXH3); all zero means none. */
struct fp {
	uint8_t b[16];
};

enum { ID_TEXT = 37 }; /* 8-4-4-4-12 and a NUL */

void id_format(const struct id *id, char text[static ID_TEXT]);
int id_parse(struct slice text, struct id *ret_id) MUST_CHECK; /* any hyphens or none; -EINVAL */
bool id_equal(const struct id *a, const struct id *b);
bool id_is_zero(const struct id *id);
uint64_t id_hash(const struct id *id); /* keyed at start: safe for ids that a stranger chose */

struct fp fp_of(struct slice data);
bool fp_equal(const struct fp *a, const struct fp *b);
bool fp_is_none(const struct fp *f);

#endif
