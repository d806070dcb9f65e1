/* The BER of content synchronization (RFC 4533 2): request, state, info; made and read by hand, because libldap's ldap_sync_*
 * loses entries and phases (openldap-389ds.md 2.4). Pure. */
#ifndef DIRPIPE_SYNC_PDU_H
#define DIRPIPE_SYNC_PDU_H

#include "buf.h"
#include "id.h"

#include <ldap.h>

/* The request's value, refreshAndPersist; cookie empty: full content. hint: reloadHint. Appended to out. */
void sync_request(struct slice cookie, bool hint, struct buf *out);

enum sync_state { SYNC_PRESENT, SYNC_ADD, SYNC_MODIFY, SYNC_DELETE, SYNC_STATES };

struct sync_entry {
	enum sync_state state;
	struct id id; /* syncUUID */
	struct buf cookie;
};
/* -EBADMSG when the value is none (nothing is owned then); else sync_entry_done. */
int sync_read_state(const struct berval *value, struct sync_entry *ret) MUST_CHECK;
void sync_entry_done(struct sync_entry *e);

enum sync_info_kind {
	SYNC_NEW_COOKIE,
	SYNC_REFRESH_DELETE,
	SYNC_REFRESH_PRESENT,
	SYNC_ID_SET,
	SYNC_INFOS
};

struct sync_info {
	enum sync_info_kind kind;
	struct buf cookie;
	bool done;    /* refreshDone (default true) */
	bool deletes; /* id set: these are gone */
	struct id *ids;
	size_t n;
};
int sync_read_info(const struct berval *value, struct sync_info *ret) MUST_CHECK;
void sync_info_done(struct sync_info *i);

#endif
