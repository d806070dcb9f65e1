/* What is still to be published: per user the newest record only, in order of first change. A record whose fingerprint is
 * what the broker has already is not queued (and takes back a queued one). Past the cap nothing new is taken: the
 * caller keeps the object's number and reads it again later. */
#ifndef DIRPIPE_DIFF_H
#define DIRPIPE_DIFF_H

#include "objects.h"

enum diff_outcome { DIFF_SAME, DIFF_QUEUED, DIFF_REPLACED, DIFF_FULL, DIFF_OUTCOMES };

struct diff;

struct diff *diff_new(struct objects *objects, size_t bytes_most);
void diff_free(struct diff *d);
/* trust false: compare nothing (recovered cursor, DESIGN "When Redis or the broker was away"). */
enum diff_outcome diff_offer(struct diff *d, uint32_t object, const struct fp *fp,
			     const struct buf *record, bool trust);
/* Appends up to `users` records of together about `bytes` to out, the oldest first; returns how many. The objects count
 * as published from here on: fp, OBJECT_KNOWN (not for gone ones). */
uint32_t diff_take(struct diff *d, uint32_t users, size_t bytes, struct buf *out);
void diff_drop(struct diff *d, uint32_t object); /* takes back a queued record */
void diff_clear(struct diff *d);

size_t diff_users(const struct diff *d);
size_t diff_bytes(const struct diff *d);
bool diff_is_roomy(const struct diff *d); /* under half of the cap */
/* Marks: everything queued until now has left the queue when diff_passed(mark). */
uint64_t diff_mark(const struct diff *d);
bool diff_passed(const struct diff *d, uint64_t mark);

/* The 64 bits of a fingerprint that an object keeps; never 0. */
uint64_t diff_short(const struct fp *fp);

#endif
