/* When an entry was last changed by its server's own word: modifyTimestamp ("20260102030405Z", RFC 4517 3.3.13, whole seconds) or
 * OpenLDAP's entryCSN ("20260102030405.123456Z#000000#001#000000", unique per change). Both order as text. And the table of the
 * stamps under which entries were delivered. Pure: `now` is a parameter. */
#ifndef DIRPIPE_POLL_STAMP_H
#define DIRPIPE_POLL_STAMP_H

#include "id.h"

bool poll_stamp_valid(const char *stamp);
/* The stamp of the same kind that lies seconds earlier, as lower bound of a >= filter; -EINVAL when it is none. */
int poll_stamp_back(const char *stamp, int seconds, struct buf *out) MUST_CHECK;

struct poll_table;

struct poll_table *poll_table_new(void);
void poll_table_free(struct poll_table *t); /* NULL is allowed */
size_t poll_table_count(const struct poll_table *t);

/* Must the entry be delivered? Yes if it is new or its stamp changed; also if its stamp is of whole seconds and it was never looked at
 * after that second was surely over: a second change may hide behind the same stamp. Entries without a stamp always must. */
bool poll_table_look(const struct poll_table *t, const struct id *id, const char *stamp);
/* It was read at now_ms (monotonic) with this stamp (NULL: none). */
void poll_table_put(struct poll_table *t, const struct id *id, const char *stamp, int64_t now_ms);
/* Marks what a scan meets; forget drops what it did not meet since begin. */
void poll_table_scan_begin(struct poll_table *t);
void poll_table_met(struct poll_table *t, const struct id *id);
void poll_table_forget(struct poll_table *t);

#endif
