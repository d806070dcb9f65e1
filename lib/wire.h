/* The wire between collector, broker and worker: frames [header][body]; every verb and record is declared once
 * below and yields its struct, encode and decode. Little-endian, lengths before bytes.
 *
 * Rule for changes: WIRE_VERSION rises with any change of a list; the other side refuses a version that is not
 * its own with ERROR and says both numbers (GOALS F20: negotiated or refused, never mis-parsed).
 *
 * Field types: u8 u32 u64 i64; id, fp (16 bytes); name (UTF-8 text without NUL, at most 1 KiB); text (the same,
 * at most 64 KiB); bytes (at most 16 MiB); list (of the record named third). Decoded fields borrow from the
 * frame. A decoded list has been checked record by record; walk it with wire_next_RECORD. */
#ifndef DIRPIPE_WIRE_H
#define DIRPIPE_WIRE_H

#include "buf.h"
#include "id.h"

enum { WIRE_VERSION = 6, WIRE_HEADER = 26, WIRE_MESSAGE_MAX = 64 << 20 };

/* Who the broker is now: fencing number and nonce (0, 0: not known yet). */
struct wire_epoch {
	uint64_t number;
	uint64_t nonce;
};

/* ---- records ---- */

/* F(type, name) or F(list, name, record) */
#define WIRE_NAME(F) F(name, text)

/* A reference to another user: "manager" -> id. */
#define WIRE_REF(F) F(name, name) F(id, id)

/* A user as the collector publishes it. `in` are target names; groups is opaque to the broker (kept so that
 * WELCOME can give it back); snapshot is canonical JSON, never parsed by the broker. out: why targets' scopes do
 * not hold the user, of whom the broker knows already; no part of the fingerprint. */
#define WIRE_USER(F)                                                                               \
	F(id, id)                                                                                  \
	F(u8, gone)                                                                                \
	F(list, out, out)                                                                          \
	F(list, in, name)                                                                          \
	F(list, refs, ref)                                                                         \
	F(fp, fingerprint)                                                                         \
	F(bytes, groups)                                                                           \
	F(bytes, snapshot)

/* cause: "group:NAME,NAME" (in none of them), "moved" (no base holds it), "filter", "excluded", or "config" (it was so until the
 * configuration changed). */
#define WIRE_OUT(F) F(name, target) F(name, cause)

/* What the broker knows of a user of this source, for a collector that starts. */
#define WIRE_KNOWN(F) F(id, id) F(u8, gone) F(fp, fingerprint) F(list, in, name) F(bytes, groups)

/* A referenced user's remote id at this target ("" = not there yet). */
#define WIRE_RID(F) F(name, name) F(id, id) F(name, rid)

/* One destructive operation, wanted or permitted: op is disable, delete, licence_revoke, clear…; what tells
 * two of one kind apart (a sku, an attribute) or is "". */
#define WIRE_OP(F) F(name, op) F(name, what)
/* As an op of wants and permits: not destructive, but the service bears it for one user at a time, all workers together. */
#define WIRE_SERIAL "serial"

/* A lease's identity: dispatched by page `page` of epoch `epoch`, the index-th of it. */
#define WIRE_LEASE(F) F(u64, epoch) F(u64, page) F(u32, index)

/* Reason of a RETRY: what an approved plan said (TASK.expect) is not what would be done now. Nothing was written. */
#define WIRE_CHANGED "changed_since_plan"

/* One user to make right at the target. stamp_ms is the worker's own CLOCK_BOOTTIME as last heard when the page
 * was built; the worker's deadline is stamp_ms + lease_ms. link_* is what is known of the remote account
 * (memory: JSON of the driver's). `in` = 1 when the target's scope holds the user. expect: hash of an approved plan; exactly that is to be done, or nothing. */
#define WIRE_TASK(F)                                                                               \
	F(u64, lease_epoch)                                                                        \
	F(u64, lease_page)                                                                         \
	F(u32, lease_index)                                                                        \
	F(i64, stamp_ms)                                                                           \
	F(i64, lease_ms)                                                                           \
	F(u64, worker)                                                                             \
	F(id, id)                                                                                  \
	F(name, source)                                                                            \
	F(u64, version)                                                                            \
	F(u8, gone)                                                                                \
	F(u8, in)                                                                                  \
	F(u8, verify)                                                                              \
	F(u8, noted)                                                                               \
	F(u32, attempts)                                                                           \
	F(fp, applied)                                                                             \
	F(fp, expect)                                                                              \
	F(name, rid)                                                                               \
	F(u8, link_state)                                                                          \
	F(u64, link_revision)                                                                      \
	F(bytes, link_memory)                                                                      \
	F(list, rids, rid)                                                                         \
	F(list, permits, op)                                                                       \
	F(bytes, snapshot)

/* ---- verbs: V(number, verb, LIST) ---- */

#define WIRE_HELLO(F)                                                                              \
	F(name, source)                                                                            \
	F(u64, nonce)                                                                              \
	F(u64, epoch_seen)                                                                         \
	F(fp, config)                                                                              \
	F(name, driver)                                                                            \
	F(i64, clock_unix_ms)

/* Batches of a session count from 1 without gaps. A cursor (has_cursor) rides only on the batch after which all
 * that was derived from it is published. server: the directory's identity and state, opaque. */
#define WIRE_PUBLISH(F)                                                                            \
	F(u64, session)                                                                            \
	F(u64, batch)                                                                              \
	F(u8, caught_up)                                                                           \
	F(u8, has_cursor)                                                                          \
	F(bytes, cursor)                                                                           \
	F(bytes, server)                                                                           \
	F(list, users, user)

/* kind 0: a watched group shrank, 1: the source shrank. was/now: members or users. active 0: it recovered. */
#define WIRE_HOLD(F) F(u64, session) F(u8, kind) F(u8, active) F(text, name) F(u64, was) F(u64, now)

/* From any side; the collector tells its lag, state and clock (the directory's, 0 = unknown), a worker its own
 * boot clock. state: connected 1 or 0. text: last error for status. */
#define WIRE_BEAT(F)                                                                               \
	F(u64, session)                                                                            \
	F(i64, clock_boot_ms)                                                                      \
	F(i64, clock_unix_ms)                                                                      \
	F(i64, lag_ms)                                                                             \
	F(u8, state)                                                                               \
	F(name, server)                                                                            \
	F(u64, read)                                                                               \
	F(u64, published)                                                                          \
	F(u64, unchanged)                                                                          \
	F(u64, total)                                                                              \
	F(text, text)

#define WIRE_WELCOME(F)                                                                            \
	F(u64, session)                                                                            \
	F(u8, last)                                                                                \
	F(u8, distrust)                                                                            \
	F(fp, config)                                                                              \
	F(bytes, cursor)                                                                           \
	F(bytes, server)                                                                           \
	F(list, users, known)

/* CONFIRM, a person's word: kind 0 and 1: of a HOLD, by its name; 2: read the whole directory again. */
enum { WIRE_CONFIRM_GROUP, WIRE_CONFIRM_SOURCE, WIRE_CONFIRM_READ_ALL };

#define WIRE_COMMITTED(F) F(u64, session) F(u64, batch)
#define WIRE_CONFIRM(F)	  F(u8, kind) F(text, name)
#define WIRE_FENCED(F)	  F(u64, session) F(text, reason)

/* config: hash of mapping, policy and driver version. batch: the driver's most users in one TASK. creates 1: for whom has no
 * link this worker's first word would be NOTE creating, and the key by which it finds what it made never changes: the
 * dispatch may note it at once. */
#define WIRE_READY(F)                                                                              \
	F(name, target)                                                                            \
	F(name, worker)                                                                            \
	F(u64, nonce)                                                                              \
	F(u32, credits)                                                                            \
	F(u32, batch)                                                                              \
	F(u8, creates)                                                                             \
	F(i64, clock_boot_ms)                                                                      \
	F(u64, epoch_seen)                                                                         \
	F(fp, config)                                                                              \
	F(name, driver)

#define WIRE_TASKS(F) F(i64, now_unix_ms) F(list, tasks, task)

/* kind 0: creating; 1: claim of a found account (rid); 2: intent or partial link. */
#define WIRE_NOTE(F)                                                                               \
	F(u64, lease_epoch)                                                                        \
	F(u64, lease_page)                                                                         \
	F(u32, lease_index)                                                                        \
	F(u8, kind)                                                                                \
	F(name, rid)                                                                               \
	F(u8, link_state)                                                                          \
	F(bytes, link_memory)

#define WIRE_NOTED(F) F(u64, lease_epoch) F(u64, lease_page) F(u32, lease_index) F(u8, kind)
#define WIRE_REFUSED(F)                                                                            \
	F(u64, lease_epoch) F(u64, lease_page) F(u32, lease_index) F(u8, kind) F(text, reason)

/* verdict: enum wire_verdict. reason: a stable word (name_taken, no_seat, mandatory_missing…); detail: the target's own
 * words, redacted. after_ms: RETRY and THROTTLED. waits: what a PARKED user waits for ("name:VALUE", "holder:FIELD=RID",
 * "rid:RID", "seat:SKU", "ref:ID"; or ""). owed: referenced users whose rid was missing. ops: what was done, "create update …".
 * taken: what the licence policy took and has to give back, {"ITEM": {"at": ms, "reasons": [words]}} or "".
 * charged: of the requests, those that the vendor's budget counts. */
#define WIRE_RESULT(F)                                                                             \
	F(u64, lease_epoch)                                                                        \
	F(u64, lease_page)                                                                         \
	F(u32, lease_index)                                                                        \
	F(u8, verdict)                                                                             \
	F(i64, after_ms)                                                                           \
	F(name, reason)                                                                            \
	F(text, detail)                                                                            \
	F(u32, status)                                                                             \
	F(name, request_id)                                                                        \
	F(u32, requests)                                                                           \
	F(u32, charged)                                                                            \
	F(u32, took_ms)                                                                            \
	F(name, ops)                                                                               \
	F(fp, applied)                                                                             \
	F(name, rid)                                                                               \
	F(u8, link_state)                                                                          \
	F(bytes, link_memory)                                                                      \
	F(u8, unknown_outcome)                                                                     \
	F(i64, look_again_unix_ms)                                                                 \
	F(text, waits)                                                                             \
	F(list, owed, id)                                                                          \
	F(list, wants, op)                                                                         \
	F(text, taken)

#define WIRE_ID(F)	 F(id, id)
#define WIRE_ACCEPTED(F) F(u64, lease_epoch) F(u64, lease_page) F(u32, lease_index)
#define WIRE_STALE(F)	 F(u64, lease_epoch) F(u64, lease_page) F(u32, lease_index)
#define WIRE_LEAVE(F)	 F(u64, nonce)
#define WIRE_ERROR(F)	 F(u8, verb) F(text, reason)

#define WIRE_RECORDS(R)                                                                            \
	R(name, WIRE_NAME)                                                                         \
	R(ref, WIRE_REF)                                                                           \
	R(out, WIRE_OUT)                                                                           \
	R(user, WIRE_USER)                                                                         \
	R(known, WIRE_KNOWN) R(rid, WIRE_RID) R(op, WIRE_OP) R(id, WIRE_ID) R(task, WIRE_TASK)

#define WIRE_VERBS(V)                                                                              \
	V(1, hello, WIRE_HELLO)                                                                    \
	V(2, publish, WIRE_PUBLISH)                                                                \
	V(3, hold, WIRE_HOLD)                                                                      \
	V(4, beat, WIRE_BEAT)                                                                      \
	V(5, welcome, WIRE_WELCOME)                                                                \
	V(6, committed, WIRE_COMMITTED)                                                            \
	V(7, confirm, WIRE_CONFIRM)                                                                \
	V(8, fenced, WIRE_FENCED)                                                                  \
	V(9, ready, WIRE_READY)                                                                    \
	V(10, tasks, WIRE_TASKS)                                                                   \
	V(11, note, WIRE_NOTE)                                                                     \
	V(12, noted, WIRE_NOTED)                                                                   \
	V(13, refused, WIRE_REFUSED)                                                               \
	V(14, result, WIRE_RESULT)                                                                 \
	V(15, accepted, WIRE_ACCEPTED)                                                             \
	V(16, stale, WIRE_STALE)                                                                   \
	V(17, leave, WIRE_LEAVE)                                                                   \
	V(18, error, WIRE_ERROR)

enum wire_verb {
#define V(number, verb, list) WIRE_VERB_##verb = number,
	WIRE_VERBS(V)
#undef V
		WIRE_VERB_END
};

/* A verdict carries its scope: the first four are about the user, the others about the target. */
enum wire_verdict {
	VERDICT_DONE,
	VERDICT_RETRY,
	VERDICT_PARKED,
	VERDICT_REJECTED,
	VERDICT_THROTTLED,
	VERDICT_AUTH_FAILED,
	VERDICT_DOWN,
	VERDICTS
};
const char *wire_verdict_name(uint8_t verdict); /* "done", …; "?" when out of range */

/* State of the link user -> remote account. */
enum link_state {
	LINK_NONE,
	LINK_CREATING,
	LINK_ACTIVE,
	LINK_DISABLED,
	LINK_DELETED,
	LINK_UNMANAGED,
	LINK_STATES
};
const char *link_state_name(uint8_t state);

/* ---- generated: structs ---- */

struct wire_list {
	uint32_t count;
	const char *p;
	size_t n;
};

#define WIRE_TYPE_u8		     uint8_t
#define WIRE_TYPE_u32		     uint32_t
#define WIRE_TYPE_u64		     uint64_t
#define WIRE_TYPE_i64		     int64_t
#define WIRE_TYPE_id		     struct id
#define WIRE_TYPE_fp		     struct fp
#define WIRE_TYPE_name		     struct slice
#define WIRE_TYPE_text		     struct slice
#define WIRE_TYPE_bytes		     struct slice
#define WIRE_TYPE_list		     struct wire_list
#define WIRE_MEMBER(type, name, ...) WIRE_TYPE_##type name;

#define R(record, list)                                                                                    \
	struct wire_##record {                                                                             \
		list(WIRE_MEMBER)                                                                          \
	};                                                                                                 \
	/* Appends the record to a list being built: list->p/n must be out's at the end (wire_list_of). */ \
	void wire_add_##record(struct buf *out, const struct wire_##record *in);                           \
	/* Takes the next record of a checked list; false at its end. */                                   \
	bool wire_next_##record(struct wire_list *list, struct wire_##record *ret);
WIRE_RECORDS(R)
#undef R

#define V(number, verb, list)                                                                      \
	struct wire_##verb {                                                                       \
		list(WIRE_MEMBER)                                                                  \
	};                                                                                         \
	void wire_put_##verb(struct buf *out, const struct wire_##verb *in);                       \
	int wire_get_##verb(struct slice body, struct wire_##verb *ret) MUST_CHECK;
WIRE_VERBS(V)
#undef V

/* A list over records that were appended to b with wire_add_RECORD. */
struct wire_list wire_list_of(const struct buf *b, uint32_t count);

const char *wire_verb_name(uint8_t verb); /* "?" for an unknown one */

/* The header frame: "DP" version verb flags, epoch number and nonce. get: -EPROTO (not ours, a flag that is not known),
 * -EPROTONOSUPPORT (other version; *ret_version is set), -EBADMSG (verb unknown). Flag 1, packed: the body frame holds
 * several bodies of the verb, each as bytes (its length, then itself). */
struct wire_header {
	uint8_t version;
	uint8_t verb;
	bool packed;
	struct wire_epoch epoch;
};
void wire_put_header(struct buf *out, uint8_t verb, struct wire_epoch epoch);
void wire_put_packed_header(struct buf *out, uint8_t verb, struct wire_epoch epoch);
/* Appends a body to a packed one. */
void wire_pack(struct buf *packed, const struct buf *body);
/* Takes the next body of a packed one: 1; 0 at its end; -EBADMSG: cut short. */
int wire_unpack(struct slice *packed, struct slice *ret_body) MUST_CHECK;
int wire_get_header(struct slice frame, struct wire_header *ret) MUST_CHECK;

#endif
