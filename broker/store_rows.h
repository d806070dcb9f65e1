/* The packed records in the store's hashes: one version byte, then little-endian fields. A field is only ever added at
 * the end together with a new version byte; a record of another version is foreign and is set aside, not guessed at.
 *
 *	u     user: version, gone, version number, fingerprint, source, in (wire_name records)
 *	r     references: version, count, wire_ref records (read by store.lua)
 *	s:T   queue entry at target T, 62 bytes, fits a listpack
 *	l:T   link: version, state, revision, rid, memory (rid read by store.lua)
 *	f:T   applied fingerprint
 *	lease in flight:T;  held in held:T (the op and what are in the field's name) */
#ifndef DIRPIPE_STORE_ROWS_H
#define DIRPIPE_STORE_ROWS_H

#include "queue.h"

struct rows_link {
	struct slice rid, memory;
	uint8_t state;
	uint64_t revision;
};

void rows_put_user(struct buf *out, const struct queue_user_row *row);
void rows_put_refs(struct buf *out, const struct wire_list *refs);
void rows_put_entry(struct buf *out, const struct queue_entry_row *row);
void rows_put_link(struct buf *out, const struct rows_link *link);
void rows_put_fp(struct buf *out, const struct fp *fp);
void rows_put_lease(struct buf *out, const struct queue_lease *lease);
void rows_put_held(struct buf *out, const struct queue_held_row *held);
/* Field name of a held operation: id, op, NUL, what. */
void rows_put_held_name(struct buf *out, const struct queue_held_row *held);

/* 0 or -EBADMSG: foreign version, cut short, too long, or a number that no state has. What is given back borrows from the
 * record. rows_get_user leaves id, refs, groups and snapshot alone. */
int rows_get_user(struct slice record, struct queue_user_row *ret) MUST_CHECK;
int rows_get_refs(struct slice record, struct wire_list *ret) MUST_CHECK;
int rows_get_entry(struct slice record, struct queue_entry_row *ret) MUST_CHECK;
int rows_get_link(struct slice record, struct rows_link *ret) MUST_CHECK;
int rows_get_fp(struct slice record, struct fp *ret) MUST_CHECK;
int rows_get_lease(struct slice record, struct queue_lease *ret) MUST_CHECK;
int rows_get_held(struct slice name, struct slice record, struct queue_held_row *ret) MUST_CHECK;

#endif
