/* What the fuzz targets share: their one entry point, an assertion that no build leaves out, and a reader of the input. */
#ifndef DIRPIPE_FUZZ_H
#define DIRPIPE_FUZZ_H

#include "buf.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static inline void must(bool good)
{
	if (!good)
		abort();
}

/* Takes what stands before the next `end` (and that byte); all, when there is none. */
static inline struct slice fuzz_take(struct slice *rest, char end)
{
	const char *at = rest->n > 0 ? memchr(rest->p, end, rest->n) : NULL;
	struct slice part = {rest->p, at ? (size_t)(at - rest->p) : rest->n};
	size_t used = part.n + (at ? 1 : 0);

	if (used > 0)
		rest->p += used;
	rest->n -= used;
	return part;
}

static inline uint8_t fuzz_byte(struct slice *rest)
{
	uint8_t byte;

	if (rest->n == 0)
		return 0;
	byte = (uint8_t)*rest->p++;
	rest->n--;
	return byte;
}

/* A copy that ends in NUL, cut at the first NUL of the input. Owned. */
static inline char *fuzz_text(struct slice s)
{
	return s.n > 0 ? slice_dup(s) : mem_dup("");
}

#endif
