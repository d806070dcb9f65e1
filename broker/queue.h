/* The queue engine of one realm: which user is due at which target, who works on it, what may be answered.
 * Pure: no socket, no store, no clock, no log; time comes in with each page, effects go out with it. It is a cache
 * of what stands in the store: after any doubt (a page that failed, another epoch) it is thrown away and loaded
 * again, so the effects must be enough to rebuild it.
 *
 * One turn of the broker is one page:
 *	queue_page_begin -> any events (publish, ready, note, result, beat, leave, operator) -> queue_page_end
 * queue_page_end does what time asks for (expired leases, retries, calendar, guard) and dispatches into free
 * credits. The page then holds
 *	effects   for the store, in the order in which they must be written (queue entries, users and links,
 *	          cursors last)
 *	answers   for peers, to be sent only after the store has the page on disk
 *	moves     for the log: user, target, old state > new state
 * Pages may be under way to the store while the next one is built; if one fails, later ones fail with it and the
 * engine is dropped.
 *
 *	any cause --> due --dispatch--> flight --DONE--> clean (or due again if wanted since)
 *	               ^                  |--RETRY--> retry --backoff over--> due   (no newer version skips it)
 *	               |                  |--PARKED-> parked --condition true, newer version, operator--> due
 *	               |                  |--REJECTED, or tried too long--> dead --newer version, operator--> due
 *	               +-- lease expired; target throttled, down or refusing credentials (costs no attempt) */
#ifndef DIRPIPE_QUEUE_H
#define DIRPIPE_QUEUE_H

#include "buf.h"
#include "id.h"
#include "wire.h"

enum queue_state {
	QUEUE_CLEAN,
	QUEUE_DUE,
	QUEUE_FLIGHT,
	QUEUE_RETRY,
	QUEUE_PARKED,
	QUEUE_DEAD,
	QUEUE_STATES
};
enum queue_lane { QUEUE_LIVE, QUEUE_BULK, QUEUE_LANES }; /* dispatched 4 : 1 */
enum queue_verify { QUEUE_VERIFY_NONE, QUEUE_VERIFY_NOW, QUEUE_VERIFY_AT, QUEUE_VERIFIES };
const char *
queue_state_name(enum queue_state s); /* "clean", "due", "in_flight", "retry", "parked", "dead" */

struct queue;
struct queue_page;

/* ---- configuration: all times in ms ---- */

struct queue_conf {
	int64_t lease_ms, grace_ms;
	int64_t verify_after_ms; /* after an unknown outcome that was settled: read the target again
				    then (5 min) */
};

struct queue_target_conf {
	const char *name;
	struct fp config; /* mapping, policy, driver version; changed = all users due as bulk */
	int64_t guard_count, guard_percent, guard_most; /* INTERFACES 5.9; hold when n > count and
							   (n > percent of in-scope or n > most) */
	int64_t licence_percent; /* the same for licences that are taken, counted by people; no most */
	int64_t settle_ms, settle_most_ms; /* 10 s, 5 min */
	int64_t retry_first_ms, retry_cap_ms, dead_after_ms;
	int64_t budget, budget_per_ms; /* requests in a window; 0 = none */
	int64_t concurrency;	       /* the most users in flight, all workers */
	bool leavers_keep_names;       /* else their accounts give way to who needs the name */
	bool paused;		       /* a target that no worker ever served begins paused */
};

struct queue *queue_new(const struct queue_conf *conf, uint64_t seed); /* seed: for the jitter */
void queue_free(struct queue *q);
/* Index for the calls below; names are unique; the same name again updates its configuration
 * (reload). */
unsigned queue_target_add(struct queue *q, const struct queue_target_conf *conf);
unsigned queue_source_add(struct queue *q, const char *name);
enum { QUEUE_NOBODY = 0xffff }; /* index of a name that is not there */
unsigned queue_target_named(const struct queue *q, struct slice name);
unsigned queue_source_named(const struct queue *q, struct slice name);

/* ---- rows: what the store keeps, and gives back at a load ---- */

struct queue_user_row {
	struct id id;
	struct slice source; /* name */
	uint64_t version;
	bool gone;
	struct fp fingerprint;
	struct wire_list in;	       /* names */
	struct wire_list refs;	       /* wire_ref records */
	struct slice groups, snapshot; /* pass through the engine unread; empty at a load */
};

/* Of one user at one target: all that the engine must know again after a load, fixed size. */
struct queue_entry_row {
	uint8_t state, lane, verify, link_state;
	bool in;      /* the target's scope holds the user (as of the stored version) */
	bool touched; /* was dispatched at least once */
	uint32_t want, attempts;
	uint64_t link_revision;
	int64_t since_unix_ms; /* in this state since; for due: since the oldest cause not yet done
				*/
	int64_t due_unix_ms;   /* retry: when; else 0 */
	int64_t failing_unix_ms; /* first failure of this series, in the target's unpaused time:
				       less all pauses until then; 0 = none */
	int64_t verify_unix_ms; /* VERIFY_AT: when; with another verify: an outcome is unknown since
				       then, the next DONE makes it VERIFY_AT; 0 = none */
	int64_t look_again_unix_ms; /* calendar; 0 = none */
};

struct queue_lease {
	uint64_t epoch, page;
	uint32_t index;
	uint64_t worker; /* its process nonce */
	uint32_t want;
	uint64_t version;
	int64_t stamp_ms;	  /* the worker's clock */
	int64_t deadline_unix_ms; /* the broker's, for a load by another process */
};

enum queue_held_phase {
	QUEUE_WANTED,
	QUEUE_GRANTED,
	QUEUE_HELD,	/* waits for a person's word */
	QUEUE_REJECTED, /* has it: no */
	QUEUE_HELD_PHASES
};
struct queue_held_row {
	struct id id;
	struct slice op, what;
	uint8_t phase;
	int64_t since_unix_ms;
};

enum queue_pause_kind {
	QUEUE_RUNNING,
	QUEUE_THROTTLED,
	QUEUE_AUTH_FAILED,
	QUEUE_DOWN,
	QUEUE_BY_OPERATOR,
	QUEUE_PAUSE_KINDS
};
struct queue_pause_row {
	uint8_t kind;
	uint32_t tries;
	int64_t until_unix_ms, since_unix_ms;
	struct slice why;
};

/* ---- effects ---- */

enum queue_effect_kind {
	QUEUE_PUT_ENTRY, /* user, target, entry (the indexes live/bulk/retry/cal follow from
			    old_state/old_lane and entry) */
	QUEUE_DEL_ENTRY, /* user, target */
	QUEUE_DISPATCH,	 /* user, target, entry, lease, answer: write the lease, give back snapshot,
			    groups…, link, applied, refs' rids,  and remove applied */
	QUEUE_DEL_LEASE, /* user, target */
	QUEUE_PUT_USER,	 /* row */
	QUEUE_PUT_LINK,	 /* user, target, rid, link_state, link_revision, memory: the whole link, as
			    the worker's NOTE or RESULT gave it (it has the link from its TASK) */
	QUEUE_PUT_APPLIED, /* user, target, fp */
	QUEUE_PUT_RID,	   /* target, rid, user: claimed */
	QUEUE_DEL_RID,	   /* target, rid */
	QUEUE_PUT_STUCK,   /* user, target, reason, detail (JSON made by the engine: kind, reason,
			      detail, status, request_id, at) */
	QUEUE_DEL_STUCK,
	QUEUE_PUT_HELD,	  /* target, held */
	QUEUE_DEL_HELD,	  /* target, held.id, op, what */
	QUEUE_PUT_WAITER, /* target, of (whose rid is awaited), user */
	QUEUE_DEL_WAITER,
	QUEUE_PUT_GUARD, /* target (or source: hold of a group or source), field, text */
	QUEUE_DEL_GUARD,
	QUEUE_PUT_PAUSE, /* target, pause */
	QUEUE_DEL_PAUSE,
	QUEUE_PUT_ERROR, /* user, target, detail: the last error as JSON; empty detail removes it */
	QUEUE_PUT_CAUSE, /* user, target, detail: why the collector took the user out of that target's scope; empty detail
			    removes it */
	QUEUE_PUT_CONF, /* target, fp */
	/* user, target, detail: one JSON line of the provisioning log; failed: of the target's error log, too */
	QUEUE_LOG,
	QUEUE_PUT_SESSION, /* source, session, batch: with the cursor's hash */
	QUEUE_PUT_CURSOR,  /* source, cookie, server, config */
	QUEUE_EFFECT_KINDS
};

/* What a publication was to what is known of the user. */
enum queue_change { QUEUE_SAME, QUEUE_ADDED, QUEUE_MODIFIED, QUEUE_DELETED, QUEUE_CHANGES };

/* One flat struct; a kind uses the fields named beside it. Slices point into the page's own memory.
 */
struct queue_effect {
	enum queue_effect_kind kind;
	uint16_t target, source;
	uint8_t old_state, old_lane;
	uint8_t change; /* PUT_USER: enum queue_change */
	bool old_calendar;
	bool failed;
	struct id user, of;
	union {
		struct queue_user_row row;
		struct {
			struct queue_entry_row entry;
			struct queue_lease lease;
			uint32_t answer; /* index into page->answers: the TASKS that gets it */
		};
		struct {
			struct slice rid, memory;
			uint8_t link_state;
			uint64_t link_revision;
		};
		struct queue_held_row held;
		struct queue_pause_row pause;
		struct {
			struct slice field, detail;
		};
		struct fp fp;
		struct {
			uint64_t session, batch;
			struct slice cookie, server;
			struct fp config;
		};
	};
};

/* What goes to a peer once the page is on disk. peer: the session layer's number. For TASKS the
 * session layer fills each task's snapshot, link, applied and rids from the store's answer to its
 * DISPATCH effect. */
struct queue_task_head {
	struct id id;
	struct queue_lease lease;
	uint64_t version;
	bool gone, in, verify;
	bool noted; /* this page wrote that the user's account is being created */
	uint32_t attempts;
	struct wire_list permits; /* wire_op records, in the page's memory */
	struct fp expect;	  /* of an approved plan; none: whatever is right */
};
struct queue_answer {
	uint64_t peer;
	enum wire_verb
		verb;	   /* committed, confirm, fenced, tasks, noted, refused, accepted, stale */
	uint64_t a, b;	   /* committed: session, batch; note and result: lease epoch, page */
	uint32_t index;	   /* lease index */
	uint8_t kind;	   /* note: kind */
	struct slice text; /* refused, fenced: reason; confirm: name */
	struct queue_task_head *tasks;
	uint32_t tasks_n;
};

struct queue_move {
	struct id user;
	uint16_t target;
	uint8_t from, to;
	uint8_t verdict; /* VERDICTS: none */
	uint32_t attempts;
	int64_t took_ms;
	struct slice reason;
};

struct queue_page {
	uint64_t epoch, number;
	int64_t now_ms; /* CLOCK_BOOTTIME of the broker */
	int64_t now_unix_ms;
	struct queue_effect *effects;
	size_t effects_n, effects_cap;
	struct queue_answer *answers;
	size_t answers_n, answers_cap;
	struct queue_move *moves;
	size_t moves_n, moves_cap;
	struct queue_arena *arena; /* owns every slice above */
};
void queue_page_done(struct queue_page *page); /* frees what it holds */
void queue_rest(struct queue *q);	       /* gives back what was kept for the next page */

/* ---- a page ---- */

void queue_page_begin(struct queue *q, struct queue_page *page, uint64_t epoch, uint64_t number,
		      int64_t now_ms, int64_t now_unix_ms);
/* Does what is due and dispatches. Returns when it must be called again if nothing else happens, in
 * page->now_ms's clock; INT64_MAX: never. most: users that this page may still dispatch. */
int64_t queue_page_end(struct queue *q, struct queue_page *page, size_t most);

/* Collector. hello gives the session's number (older sessions of the source can publish no more:
 * they get FENCED). The session layer sends WELCOME itself (from the store) once the page is on
 * disk. */
uint64_t queue_hello(struct queue *q, struct queue_page *page, unsigned source, uint64_t peer);
/* 0; -ESTALE: not the session (a FENCED answer was added); -EPROTO: a gap in the batches. A batch
 * that was taken already is answered COMMITTED again and changes nothing. config: the collector's,
 * stored with the cursor. An id that another source owns is refused (counted, listed in page->moves
 * with reason "foreign_id") while the rest goes on. */
int queue_publish(struct queue *q, struct queue_page *page, uint64_t peer,
		  const struct wire_publish *p, struct fp config) MUST_CHECK;
void queue_hold(struct queue *q, struct queue_page *page, unsigned source,
		const struct wire_hold *h);
/* The operator's word for a hold: CONFIRM goes to the collector. -ENOENT. */
int queue_confirm(struct queue *q, struct queue_page *page, unsigned source, uint8_t kind,
		  struct slice name) MUST_CHECK;
/* Asks the collector to read the whole directory again. -ENOENT: none is connected. */
int queue_read_all(struct queue *q, struct queue_page *page, unsigned source) MUST_CHECK;
void queue_collector_gone(struct queue *q, unsigned source, uint64_t peer);

/* Worker. 0; -EBUSY: that nonce is known from another peer. A worker that asks again (READY) keeps
 * its leases. */
int queue_ready(struct queue *q, struct queue_page *page, uint64_t peer, unsigned target,
		const struct wire_ready *r) MUST_CHECK;
void queue_worker_beat(struct queue *q, uint64_t peer, int64_t clock_boot_ms);
void queue_note(struct queue *q, struct queue_page *page, uint64_t peer, const struct wire_note *n);
void queue_result(struct queue *q, struct queue_page *page, uint64_t peer,
		  const struct wire_result *r);
/* The store's answer to a DISPATCH: the remote id that the link had then, so that it can be let go when another takes its place.
 * Not for a lease that is over. */
void queue_dispatched(struct queue *q, const struct queue_lease *lease, struct slice rid);
/* LEAVE: no more tasks; what it still holds waits for its results or for the lease's end. */
void queue_leave(struct queue *q, struct queue_page *page, uint64_t peer);
void queue_worker_gone(struct queue *q, uint64_t peer); /* silent too long: no more tasks to it */

/* Operator. 0 or -ENOENT; retry also wakes parked and skips a backoff. */
int queue_retry(struct queue *q, struct queue_page *page, unsigned target,
		const struct id *user) MUST_CHECK;
int queue_drop(struct queue *q, struct queue_page *page, unsigned target,
	       const struct id *user) MUST_CHECK; /* dead -> clean, until newer */
int queue_resync(struct queue *q, struct queue_page *page, unsigned target,
		 const struct id *user) MUST_CHECK; /* due, VERIFY */
/* A listing of the target shows another account than the directory says: due as backlog, VERIFY; what is dead stays so. */
int queue_drifted(struct queue *q, struct queue_page *page, unsigned target,
		  const struct id *user) MUST_CHECK;
/* All accounts of the target were compared just now: so many differ, so many are nobody's. Stored. */
void queue_reconciled(struct queue *q, struct queue_page *page, unsigned target, uint64_t divergent,
		      uint64_t unowned);
int queue_set_pause(struct queue *q, struct queue_page *page, unsigned target, bool paused,
		    struct slice why) MUST_CHECK;
/* The operator's word for destructive operations: one of one user, all of one user (op NULL), or (user NULL) all that stand
 * there, which also ends the general hold after an emptied store. approve false: rejected, permits taken back; it counts no
 * more towards what is too many, and is forgotten when a newer version does not want it. -ENOENT: none is there. */
int queue_judge_held(struct queue *q, struct queue_page *page, unsigned target,
		     const struct id *user, const struct wire_op *op, bool approve) MUST_CHECK;
/* The operator's word for a link. rid: the account that is the user's from now on, whatever the rules say, until another word
 * comes (the worker reads it and makes it right); NULL rid: unmanaged until linked again, or, with rejoin, found by the rules
 * again. was, revision: the link that the operator saw, as stored. The claim of `was` ends. */
struct queue_link_word {
	const char *rid;
	bool rejoin;
	struct slice was;
	uint64_t revision;
};
/* 0; -ENOENT: no such user there, or (rid) out of scope; -EBUSY: a worker has it; -EAGAIN: the link is another one by now;
 * -EEXIST: another user's account. */
int queue_link(struct queue *q, struct queue_page *page, unsigned target, const struct id *user,
	       const struct queue_link_word *word) MUST_CHECK;
/* A row of a plan that a person approved (queue_approve.c): worked on before all others, also while the operator paused the target;
 * its TASK carries the hash and the permits. 0 (also when it was said before); -ENOENT: no such user there; -ESTALE: the user has
 * another version; -EBUSY: somebody works on the user now. Not stored: gone after a restart. */
struct queue_approved {
	struct id user;
	uint64_t version;
	struct fp hash;
	struct wire_list permits; /* wire_op records */
};
int queue_approve(struct queue *q, struct queue_page *page, unsigned target,
		  const struct queue_approved *row) MUST_CHECK;
enum queue_approval {
	QUEUE_NO_APPROVAL, /* or forgotten: some minutes after the last one of the target ended */
	QUEUE_APPROVED,
	QUEUE_APPLIED,
	QUEUE_CHANGED, /* nothing was written: it is not what was shown any more */
	QUEUE_FAILED,  /* reason: that of the user's being stuck */
	QUEUE_APPROVALS
};
enum queue_approval queue_approval(const struct queue *q, unsigned target, const struct id *user,
				   struct slice *ret_reason);
/* Our clock is over a minute off the store's or a directory's: nothing time-driven and destructive until it is not. */
void queue_clock_off(struct queue *q, bool off);
/* The operator's word: what was taken from this user is given back now, whatever the schedule says, if no reason is left.
 * Holds until the user is done. -ENOENT. */
int queue_reinstate(struct queue *q, struct queue_page *page, unsigned target,
		    const struct id *user) MUST_CHECK;

/* ---- load: from the store, before the first page ---- */

void queue_load_user(struct queue *q, const struct queue_user_row *row);
/* After its user. rid may be empty. */
void queue_load_entry(struct queue *q, const struct id *user, unsigned target,
		      const struct queue_entry_row *entry, struct slice rid);
/* After its entry: what was published while the target was not configured moved the user into its scope or out of it. Only for
 * what is stuck, which nobody would wake otherwise. */
void queue_load_moved(struct queue *q, unsigned target, const struct id *user);
/* Every row of rid:TARGET, after the users (a user may have claimed more than its link names now). */
void queue_load_rid(struct queue *q, unsigned target, struct slice rid, const struct id *user);
void queue_load_lease(struct queue *q, const struct id *user, unsigned target,
		      const struct queue_lease *lease);
void queue_load_held(struct queue *q, unsigned target, const struct queue_held_row *row);
void queue_load_waiter(struct queue *q, unsigned target, const struct id *of,
		       const struct id *user);
void queue_load_stuck(struct queue *q, unsigned target, const struct id *user,
		      struct slice detail); /* for what a parked one waits */
void queue_load_guard(struct queue *q, bool of_source, unsigned index, struct slice field,
		      struct slice text);
void queue_load_pause(struct queue *q, unsigned target, const struct queue_pause_row *row);
void queue_load_conf(struct queue *q, unsigned target, const struct fp *config);
void queue_load_session(struct queue *q, unsigned source, uint64_t session, uint64_t batch);

/* What the load means. lost_tail: the store may have lost its newest writes (Redis restarted,
 * another master, everysec and a crash): no TASK before quiet_ms have passed, and sources are
 * distrusted until they have caught up and that time is over (published users count as changed and are marked
 * VERIFY; while one is distrusted a restart must say lost_tail again).
 * Without it only what was in flight waits for its own lease's end. Every task found in flight is
 * marked VERIFY. emptied: the store was restored or emptied: VERIFY everybody, hold whatever is
 * destructive. */
void queue_loaded(struct queue *q, struct queue_page *page, bool lost_tail, bool emptied,
		  int64_t quiet_ms);
/* Leases of a broker that lived through a reload of the store: kept, since their workers may still
 * answer. */
void queue_keep_leases(struct queue *q, const struct queue *before);

/* ---- what it shows ---- */

struct queue_counts {
	uint64_t states[QUEUE_STATES], held, in_scope, ready,
		delayed;	    /* ready: due; delayed: retry */
	int64_t oldest_due_unix_ms; /* 0: none */
	enum queue_pause_kind pause;
	int64_t pause_until_unix_ms;
	int64_t concurrency; /* now allowed */
	/* of the last comparison with a listing that ended well; 0: none */
	int64_t reconciled_unix_ms;
	uint64_t divergent, unowned;
	uint64_t workers, credits;
	/* since the start */
	uint64_t enqueued, coalesced, redelivered, lease_expired, dead_lettered, parked, stale,
		refused;
	uint64_t verdicts[VERDICTS], errors; /* errors: lines of the error log */
	bool clock_jumped; /* the clock leapt, or is off: grants and calendar stand still */
};
void queue_counts(const struct queue *q, unsigned target, struct queue_counts *ret);
/* As pace_tokens(); now_ms: as a page's. */
bool queue_tokens(const struct queue *q, unsigned target, int64_t now_ms, double *ret_tokens,
		  double *ret_full);
/* How many wait for a seat: of the i-th sku on; 0: no more. Call with i one past the last that was given. */
uint64_t queue_seats(const struct queue *q, unsigned target, unsigned *i, struct slice *ret_sku);
/* From how many people each item was taken and not given back yet; walks all. */
struct queue_taken {
	struct queue_taken_item {
		char *name;
		uint64_t people;
	} * items;
	size_t n;
};
void queue_taken(const struct queue *q, unsigned target, struct queue_taken *ret);
void queue_taken_done(struct queue_taken *t);
bool queue_has_taken(const struct queue *q, unsigned target, const struct id *user);
struct slice queue_pause_why(const struct queue *q, unsigned target);
uint64_t queue_users(const struct queue *q, unsigned source);
uint64_t queue_foreign(const struct queue *q, unsigned source); /* ids refused: another source's */
bool queue_source_distrusted(const struct queue *q, unsigned source);
bool queue_source_caught_up(const struct queue *q, unsigned source);
/* Walks the users of a source, for WELCOME: start with *cursor = 0; false at the end. */
bool queue_walk(const struct queue *q, unsigned source, uint64_t *cursor, struct id *ret_id);
/* Walks what is wanted, granted, held or rejected at a target: start with *at = 0; false at the end. ret's slices are the
 * engine's. */
bool queue_held_walk(const struct queue *q, unsigned target, uint32_t *at,
		     struct queue_held_row *ret);
bool queue_holds_all(const struct queue *q,
		     unsigned target); /* the general hold after an emptied store */
/* One user's row at one target, as it would be stored; -ENOENT. */
int queue_peek(const struct queue *q, unsigned target, const struct id *user,
	       struct queue_entry_row *ret) MUST_CHECK;
/* What the guard knows of a user's destructive operations: start with *cursor = 0; false at the end. Texts are the engine's. */
bool queue_held_next(const struct queue *q, unsigned target, const struct id *user,
		     uint32_t *cursor, struct queue_held_row *ret);
/* Everybody was gone through with this configuration of the workers: who is clean is so by it. */
bool queue_config_settled(const struct queue *q, unsigned target, const struct fp *config);
/* Would the guard hold so many more, wanted now and by themselves? */
bool queue_guard_holds(const struct queue *q, unsigned target, uint64_t more);
/* Whose account is it? -ENOENT: nobody claimed it. */
int queue_rid_owner(const struct queue *q, unsigned target, struct slice rid,
		    struct id *ret) MUST_CHECK;
/* Asserts every invariant (tests; O(users)). */
void queue_check(const struct queue *q);

#endif
