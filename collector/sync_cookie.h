/* Where we are in a directory's changes, as syncrepl cookies say it (RFC 4533; rules 7–12 of openldap-389ds.md).
 *
 * OpenLDAP: one CSN per server id, greatest wins; sid= is dropped (it would hide the other provider's changes), a cookie
 * without csn= is no state. 389-DS: opaque text that ends in a change number, valid at one server only. Pure. */
#ifndef DIRPIPE_SYNC_COOKIE_H
#define DIRPIPE_SYNC_COOKIE_H

#include "buf.h"

enum { SYNC_CSN_MAX = 48, SYNC_SIDS_MAX = 4096, SYNC_REWIND = 100 };

struct sync_csn {
	char text[SYNC_CSN_MAX]; /* 20260101120000.000000Z#000000#001#000000 */
};

struct sync_cookie {
	bool numbered; /* 389-DS */
	struct sync_csn *csns;
	size_t n;
	struct buf head; /* 389-DS: up to and with the last '#' */
	uint64_t number;
};

void sync_cookie_done(struct sync_cookie *c);
bool sync_cookie_is_empty(const struct sync_cookie *c);
/* True when the state moved; a bare, malformed or older cookie changes nothing. */
bool sync_cookie_merge(struct sync_cookie *c, struct slice cookie);
void sync_cookie_text(const struct sync_cookie *c,
		      struct buf *out); /* for storing and (OpenLDAP) resuming */
/* 389-DS: for resuming, SYNC_REWIND changes back, but not before the changelog's first. */
void sync_cookie_rewound(const struct sync_cookie *c, uint64_t first, struct buf *out);
/* 389-DS: the changelog was trimmed past the cookie: its server would skip what is gone, silently. */
bool sync_cookie_is_trimmed(const struct sync_cookie *c, uint64_t first);

/* A server's contextCSN values. behind: one of ours is not reached there; ahead: it has one that we have not. */
bool sync_cookie_is_behind(const struct sync_cookie *c, const struct slice *csns, size_t n);
bool sync_cookie_is_ahead(const struct sync_cookie *c, const struct slice *csns, size_t n);

#endif
