/* Names as they are compared and written: Unicode in its composed form (NFC), no blanks around, and, for comparisons, without
 * regard to case. */
#ifndef DIRPIPE_FOLD_H
#define DIRPIPE_FOLD_H

#include "buf.h"

/* Appends the text composed and trimmed; false: it is empty then, or no UTF-8 (nothing is appended). */
bool fold_trim(struct slice text, struct buf *out) MUST_CHECK;
/* The same with case folded. */
bool fold_key(struct slice text, struct buf *out) MUST_CHECK;
/* Is one the other, but for case, form and blanks around? Empty is never the same as anything. */
bool fold_same(const char *a, const char *b);

#endif
