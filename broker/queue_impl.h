/* Inside of the queue engine (queue.h); nothing but broker/queue_*.c includes this.
 *
 * Memory is counted per user: 32 bytes and a hash slot for the user, 16 bytes per user and target (an array per
 * target that is indexed like the users), 4 bytes while due. What only some have (attempts, times, a lease, held
 * operations, what somebody waits for) lies in pools beside it.
 *
 * Times inside are on the engine's own line: the boot clock plus an offset taken once, so that it equals Unix time
 * at the start and never jumps. */
#ifndef DIRPIPE_QUEUE_IMPL_H
#define DIRPIPE_QUEUE_IMPL_H

#include "pace.h"
#include "queue.h"

#define NONE UINT32_MAX

enum {
	SOURCES_MAX = 34, /* 32 that are configured, one for all that were */
	TARGETS_MAX = 1024,
	WORKERS_MAX = 4096,
	LIST_MAX =
		256, /* owed and wants of one result: more are cut, the next result brings them */
	HOLDS_MAX = 1000,    /* groups of one source that wait for a word */
	LOST_MAX = 4096,     /* leases that ran out, remembered until their worker speaks */
	RECENT = 4096,	     /* results taken, remembered to answer them again */
	CHANGES = 1024,	     /* newest link changes of a target */
	WALK_STEP = 500,     /* users of a walk over everybody, per page */
	TIMERS_STEP = 1000,  /* timers that fire in one page */
	WAKE_STEP = 1000,    /* waiters for a name or a seat that wake in one page */
	JUMP_MS = 60 * 1000, /* a clock that leaps further is not believed … */
	JUMP_HEALS_MS = 10 * 60 * 1000, /* … until it has run evenly for so long */
	NAME_WAKE_MS = 2000,
	WAKE_EACH_MS = 100, /* … and so much later for each that waits */
	SEAT_WAKE_MS = 60 * 1000,
	HOUR_MS = 60 * 60 * 1000,
	AFTER_CAP_MS = 24 * HOUR_MS,
	YIELDS = 64,		/* users of a target that were asked for a name … */
	YIELD_AGAIN_MS = 60000, /* … and are not asked again so soon */
	CIRCLE_MOST = 32	/* users that wait for each other's names */
};

/* ---- containers (queue_pool.c) ---- */

/* Items of one size in chunks: they never move; the first four bytes of a free one link it. */
struct pool {
	char **chunks;
	size_t item;
	uint32_t per_chunk, used, live, free;
};
void pool_init(struct pool *p, size_t item, uint32_t per_chunk);
void pool_done(struct pool *p);
uint32_t pool_take(struct pool *p); /* zeroed */
void pool_give(struct pool *p, uint32_t i);
static inline void *pool_at(const struct pool *p, uint32_t i)
{
	return p->chunks[i / p->per_chunk] + (size_t)(i % p->per_chunk) * p->item;
}

/* Heads of chains through records of a pool; link(arg, i) is where record i keeps its next, hash(arg, i) its hash. */
struct chain {
	uint32_t *heads;
	uint32_t mask, n;
};
struct chain_of {
	uint32_t *(*link)(void *arg, uint32_t i);
	uint64_t (*hash)(void *arg, uint32_t i);
	void *arg;
};
void chain_done(struct chain *c);
uint32_t chain_head(const struct chain *c, uint64_t hash);
void chain_add(struct chain *c, const struct chain_of *of, uint32_t i);
void chain_remove(struct chain *c, const struct chain_of *of, uint32_t i);

/* A deque of 32-bit numbers. */
struct ring {
	uint32_t *p;
	uint32_t cap, head, n;
};
void ring_done(struct ring *r);
void ring_push(struct ring *r, uint32_t value);
void ring_push_front(struct ring *r, uint32_t value);
uint32_t ring_pop(struct ring *r);
static inline uint32_t ring_at(const struct ring *r, uint32_t i)
{
	return r->p[(r->head + i) & (r->cap - 1)];
}

/* 64-bit hash of a remote id -> user. */
struct rids {
	struct rid_slot {
		uint32_t low, high, user;
	} * slots;
	uint32_t mask, n;
};
void rids_done(struct rids *r);
uint32_t rids_get(const struct rids *r, uint64_t hash); /* NONE */
void rids_put(struct rids *r, uint64_t hash, uint32_t user);
void rids_drop(struct rids *r, uint64_t hash);

/* ---- records ---- */

struct user {
	struct id id;
	uint64_t fp; /* the first 8 bytes of the published fingerprint; 0: always differs */
	uint32_t version : 25;
	uint32_t source : 6;
	uint32_t gone : 1;
	uint32_t next; /* chain */
};
_Static_assert(sizeof(struct user) == 32, "memory per user (GOALS P10)");

/* A user at a target. All zero: no entry. */
struct entry {
	uint32_t want;
	uint32_t link_revision;
	uint32_t since_low;
	uint32_t since_high : 12;
	uint32_t exists : 1;
	uint32_t state : 3;
	uint32_t lane : 1;
	uint32_t verify : 2;
	uint32_t link_state : 3;
	uint32_t in : 1;
	uint32_t touched : 1;
	uint32_t has_rid : 1;
	uint32_t rare : 1;     /* has a struct rare */
	uint32_t ringed : 2;   /* a bit per lane: lies in that lane's ring, valid or not */
	uint32_t error : 1;    /* the store may hold a last error */
	uint32_t approved : 1; /* a row of an approved plan waits to be done */
	uint32_t moved : 1;    /* at a load: its scope is another than when it got stuck */
};
_Static_assert(sizeof(struct entry) == 16, "memory per user and target (GOALS P10)");

enum wait_kind { WAIT_NONE, WAIT_NAME, WAIT_SEAT, WAIT_RID, WAIT_REF };

struct rare {
	uint32_t next; /* chain, free list */
	uint32_t user;
	uint16_t target;
	uint8_t wait;
	bool listed;	/* lies in the target's list of those that wait for a name */
	uint16_t seat;	/* in which line for a seat, and one; 0: in none */
	char *taken;	/* by the licence policy: JSON as the worker said it; NULL: nothing */
	uint32_t heap;	/* place + 1; 0: no timer */
	uint32_t lease; /* NONE */
	uint32_t attempts;
	uint32_t wait_on; /* WAIT_RID: the user whose account it is */
	int64_t due_ms, failing_ms, verify_ms, look_again_ms;
	int64_t blocked_ms; /* not before: a lease of which the store lost sight may still run */
};

struct lease {
	uint32_t next;
	uint32_t user;
	uint16_t target;
	bool runs; /* not a free one */
	char *rid; /* of the link as the store has it; NULL: none, or not known */
	struct queue_lease row;
	int64_t deadline_ms;  /* on our line */
	int64_t due_since_ms; /* since when the user was due */
	int64_t cause_ms;     /* first cause since the dispatch; 0 */
};

struct held {
	uint32_t next;
	uint32_t user;
	uint16_t target;
	uint8_t phase;
	bool seen;   /* a result being taken still wants it */
	bool serial; /* see queue_serial.c */
	int64_t since_ms;
	char *op, *what;
};

/* Users that wait for the link of one user at one target. */
struct waiter {
	uint32_t next, pair_next;
	uint32_t user;
	uint16_t target;
	bool stored; /* in the store (owed); else only here: a parked one that waits for a rid's owner */
	struct id of;
};

/* One user refers to another. */
struct edge {
	uint32_t next, from_next;
	uint32_t from, of; /* user; hash of an id */
};

struct lost {
	uint64_t worker;
	struct queue_lease lease;
	uint32_t user;
	uint16_t target;
};

struct worker {
	uint64_t peer, nonce;
	uint16_t target;
	uint32_t credits, batch, out;
	int64_t clock_ms;
	bool away;     /* gone or leaving: no more tasks */
	bool creates;  /* wants `creating` noted by the dispatch */
	bool has_lost; /* let a lease run out */
	bool spoke;
};

struct hold {
	char *name;
	uint8_t kind;
	bool confirmed;
	bool said; /* by the session that is open */
	uint64_t was, now;
	int64_t since_ms;
};

struct source {
	char *name;
	uint64_t session, batch, peer;
	bool connected, caught_up, distrusted;
	uint64_t users, foreign;
	struct hold *holds;
	size_t holds_n;
};

struct change {
	uint32_t user;
	uint64_t page;
};

enum { WALK_CONFIG = 1, WALK_VERIFY = 2 };

struct target {
	char *name;
	struct queue_target_conf conf;
	struct fp stored_conf;
	struct pace pace;
	char *why; /* of the pause */
	struct entry **chunks;
	uint32_t chunks_n;
	struct ring due[QUEUE_LANES];
	struct ring approved; /* users with an approval, valid or not */
	uint64_t approvals;   /* that wait */
	int64_t approved_ms;  /* when the last one ended */
	uint64_t turn;
	size_t next_worker;
	struct queue_counts counts;
	struct rids rids;
	/* waits */
	struct ring names;
	struct wake {
		bool changed;  /* wake them at next_ms */
		uint64_t page; /* of the newest change */
		int64_t next_ms, last_ms;
	} name_wake;
	struct line *lines; /* queue_seat.c */
	unsigned lines_n;
	uint64_t seat_page; /* the newest in which a seat came free */
	struct yield {
		uint32_t user;
		int64_t at_ms; /* 0: nobody */
	} yields[YIELDS];
	uint32_t yields_n;
	/* link changes */
	struct change *changes;
	uint64_t changes_n;
	/* walk over everybody */
	unsigned walk;
	uint32_t walk_at;
	/* guard */
	uint64_t wanted, licences_wanted; /* the latter are part of the former */
	int64_t wanted_since_ms, settled_ms, settle_seen_ms;
	bool settling, hold_all;
	/* one at a time */
	uint64_t serial_wanted;
	uint32_t serial_holder; /* in q->held; NONE */
	struct grant {
		int64_t minute;
		uint64_t n;
	} grants[2][62]; /* of licences, and all others */
};

struct timer {
	int64_t at_ms;
	uint32_t rare;
};

struct recent {
	uint64_t epoch, page;
	uint32_t index;
};

struct queue {
	struct queue_conf conf;
	uint64_t random;
	unsigned char rid_key[16];
	/* time */
	bool based, jumped, clock_off, loading;
	int64_t base_ms, now_ms, drift_ms, offset_ms, jumped_ms, quiet_until_ms;
	/* the page being built */
	struct queue_page *page;
	uint64_t loaded_page;
	uint32_t page_index; /* leases given by this page */
	bool more;	     /* work is left that did not fit in this page */

	struct source *sources;
	unsigned sources_n;
	struct target **targets;
	unsigned targets_n, next_target;
	struct worker *workers;
	size_t workers_n;

	struct pool users;
	struct chain users_by_id;
	struct pool rares;
	struct chain rares_by_user;
	struct pool leases;
	struct chain leases_by_id;
	struct pool held;
	struct chain held_by_user;
	struct pool approvals;
	struct chain approvals_by_user;
	struct pool waiters;
	struct chain waiters_by_of, waiters_by_pair;
	struct pool edges;
	struct chain edges_by_of, edges_by_from;

	struct timer *heap;
	uint32_t heap_n, heap_cap;
	struct recent *recent;
	struct lost *lost;
	size_t lost_n;
	struct queue_effect *sorted; /* room to put a page's effects in order */
	size_t sorted_cap;
	/* what stuck rows said at the load, resolved when everything is there */
	struct pending_wait {
		uint32_t user;
		uint16_t target;
		char *waits;
	} * pending;
	size_t pending_n, pending_cap;
};

/* A user at a target, in hand. */
struct ref {
	uint32_t user;
	uint16_t target;
	struct entry *e;
};

/* What an entry's row was before an event touched it: the store moves its indexes by that. */
struct was {
	uint8_t state, lane;
	bool calendar;
};

/* Why a user becomes due. Bits. */
enum cause {
	CAUSE_NEWER = 1,   /* a newer version, or the operator: also revives the dead */
	CAUSE_OTHER = 2,   /* a condition, timer, grant, drift: revives the parked */
	CAUSE_LIVE = 4,	   /* the fast lane */
	CAUSE_NO_WAIT = 8, /* skips a backoff */
	CAUSE_HEAD = 16
};

/* ---- queue_page.c: effects, answers, moves and the page's memory ---- */

struct slice page_copy(struct queue *q, struct slice text);
char *page_room(struct queue *q, size_t n);
struct slice page_text(struct queue *q, struct buf *b); /* copies and empties b */
struct queue_effect *page_effect(struct queue *q, enum queue_effect_kind kind);
struct queue_effect *page_user_effect(struct queue *q, enum queue_effect_kind kind,
				      const struct ref *r);
struct queue_answer *page_answer(struct queue *q, uint64_t peer, enum wire_verb verb);
struct queue_move *page_move(struct queue *q);
void page_sort(struct queue *q);
void page_restart(struct queue_page *page);

/* ---- queue_user.c: users, entries, rare data ---- */

uint32_t user_find(const struct queue *q, const struct id *id); /* NONE */
uint32_t user_add(struct queue *q, const struct id *id);
static inline struct user *user_at(const struct queue *q, uint32_t i)
{
	return (struct user *)pool_at(&q->users, i);
}
struct entry *entry_at(const struct queue *q, unsigned target, uint32_t user); /* NULL */
bool entry_find(const struct queue *q, unsigned target, uint32_t user, struct ref *ret);
struct ref entry_add(struct queue *q, unsigned target, uint32_t user);
int64_t entry_since(const struct entry *e);
void entry_set_since(struct entry *e, int64_t since_ms);
struct rare *rare_get(const struct queue *q, const struct ref *r); /* NULL */
struct rare *rare_need(struct queue *q, const struct ref *r);
void rare_trim(struct queue *q, const struct ref *r); /* frees it when it says nothing */
static inline struct rare *rare_at(const struct queue *q, uint32_t i)
{
	return (struct rare *)pool_at(&q->rares, i);
}
struct lease *lease_of(const struct queue *q, const struct ref *r); /* NULL */
struct lease *lease_add(struct queue *q, const struct ref *r, const struct queue_lease *row);
void lease_end(struct queue *q, const struct ref *r);
struct lease *lease_find(const struct queue *q, uint64_t epoch, uint64_t page, uint32_t index);
struct queue_entry_row entry_row(const struct queue *q, const struct ref *r);
uint64_t mix(uint64_t x);

/* ---- queue_heap.c ---- */

/* Sets the entry's timer to the nearest of its times. */
void timer_set(struct queue *q, const struct ref *r);
void timer_put(struct queue *q, struct rare *x, int64_t at_ms); /* INT64_MAX: none */
uint32_t rare_index(const struct queue *q, const struct ref *r);

/* ---- queue_entry.c: the state machine ---- */

struct was entry_was(const struct queue *q, const struct ref *r);
void entry_put(struct queue *q, const struct ref *r, struct was was); /* same state, other row */
void entry_cause(struct queue *q, const struct ref *r, unsigned causes);
void entry_verify(struct queue *q, const struct ref *r, unsigned causes); /* VERIFY now */
void entry_forget(struct queue *q,
		  const struct ref *r); /* due -> clean: never touched, out of scope */
void entry_drop(struct queue *q, const struct ref *r); /* dead -> clean */
void entry_fly(struct queue *q, const struct ref *r, const struct queue_lease *row);
/* Leaves flight; the lease is over. why: the result's reason. */
struct landing {
	enum queue_state to;
	uint8_t verdict;
	struct slice reason;
	struct was was;
	bool undone; /* due: nothing was done, it is due since then as before */
	bool head;   /* due: before all others */
	bool pauses; /* the whole target stops for it */
};
void entry_land(struct queue *q, const struct ref *r, const struct landing *l);
void entry_wake(struct queue *q, const struct ref *r); /* retry -> due: the backoff is over */
void entry_unblock(struct queue *q, const struct ref *r);
void entry_ring(struct queue *q, const struct ref *r, bool head);
bool entry_take(struct queue *q, unsigned target,
		struct ref *ret);			    /* next due one, out of its ring */
bool entry_waiting(const struct queue *q, unsigned target); /* is there one? */
void entry_load_state(struct queue *q, const struct ref *r, uint8_t state, uint8_t lane);

/* ---- queue_link.c: remote ids and who waits for them ---- */

struct link_news {
	struct slice rid, memory;
	uint8_t state;
	struct slice was; /* without a lease: the link's rid until now */
};
uint64_t rid_hash(const struct queue *q, struct slice rid);
/* Free, or this user's already: claimed (and PUT_RID); false: another user's. */
bool rid_claim(struct queue *q, const struct ref *r, struct slice rid);
bool rid_free(const struct queue *q, const struct ref *r, struct slice rid);
void rid_release(struct queue *q, const struct ref *r, struct slice rid); /* if it is the user's */
void link_change(struct queue *q, const struct ref *r, const struct link_news *news);
/* For who never had a link: its account is being created, or may have been. */
void link_creating(struct queue *q, const struct ref *r);
/* Did the user's link change after that dispatch? True also when nobody can know any more. */
bool link_changed_since(const struct queue *q, unsigned target, uint32_t user,
			const struct queue_lease *dispatch);
bool waiter_add(struct queue *q, const struct ref *r, const struct id *of, bool stored);
enum wake_whom { WAKE_OWED, WAKE_PARKED };
/* Those who wait for the link of r become due: who is owed its rid, or who is parked until its next DONE. */
void waiters_wake(struct queue *q, const struct ref *r, enum wake_whom whom);
/* Remembers for what a parked one waits; true: that is so already (it must be due at once). */
bool wait_begin(struct queue *q, const struct ref *r, struct slice waits,
		const struct queue_lease *dispatch);
void wait_later(struct queue *q, const struct ref *r, struct slice waits); /* at a load */
void wait_resolve(struct queue *q);					   /* after it */
void ops_done(struct queue *q, unsigned target, struct slice ops);
void name_freed(struct queue *q, unsigned target);
bool text_has(struct slice words, const char *word); /* a word of a blank-separated list? */
void wakes_run(struct queue *q, unsigned target);
int64_t wakes_next(const struct queue *q, unsigned target);
void owed_take(struct queue *q, const struct ref *r, struct wire_list owed,
	       const struct queue_lease *dispatch);

/* ---- queue_refs.c: who refers to whom ---- */

void refs_set(struct queue *q, uint32_t user, struct wire_list refs);
void referrers_wake(struct queue *q, const struct ref *r);

/* ---- queue_seat.c ---- */

/* A parked one waits for a seat of the sku; who is in its line keeps his place. */
void seat_wait(struct queue *q, const struct ref *r, struct slice sku,
	       const struct queue_lease *dispatch);
void seat_leave(struct queue *q, const struct ref *r);
void seats_freed(struct queue *q, unsigned target);
void seats_run(struct queue *q, unsigned target);
int64_t seats_next(const struct queue *q, unsigned target);
/* Appends "no_seat" for every sku that others come before him for; how many. */
uint32_t seat_words(const struct queue *q, const struct ref *r, struct buf *out);
bool seat_load(struct queue *q, unsigned target, struct slice field, struct slice text);
void seats_done(struct target *t);

/* ---- queue_taken.c ---- */

void taken_take(struct queue *q, const struct ref *r, struct slice text);
bool taken_load(struct queue *q, unsigned target, struct slice field, struct slice text);
int64_t taken_at(const struct queue *q, const struct ref *r, const char *item); /* 0: was not */
void takens_done(struct queue *q);

/* ---- queue_guard.c ---- */

void held_take(struct queue *q, const struct ref *r, struct wire_list wants, bool planned);
void held_permit(struct queue *q, const struct ref *r, struct slice op); /* at once, by a person */
struct wire_list held_permits(struct queue *q, const struct ref *r);
void guard_tick(struct queue *q, unsigned target);
int64_t guard_next(const struct queue *q, unsigned target);
void guard_mark(struct queue *q, unsigned target); /* at a page's end: may time count from here? */
void guard_put(struct queue *q, unsigned target, const char *field, struct slice text);
void guard_del(struct queue *q, unsigned target, const char *field);
void guard_load(struct queue *q, unsigned target, struct slice field, struct slice text);
void hold_load(struct queue *q, unsigned source, struct slice field, struct slice text);
void held_yield(struct queue *q, const struct ref *r,
		struct slice field); /* permit: gives that name up */
uint32_t held_add(struct queue *q, const struct ref *r, struct slice op, struct slice what);
void held_set(struct queue *q, uint32_t i, enum queue_held_phase phase);
void held_grant(struct queue *q, uint32_t i);
uint64_t guard_granted(const struct queue *q, const struct target *t); /* in the last hour */

/* ---- queue_approve.c ---- */

void approvals_init(struct queue *q);
void approvals_done(struct queue *q);
void approval_landed(struct queue *q, const struct ref *r, const struct wire_result *w,
		     const struct landing *l); /* before it lands */
void approval_over(struct queue *q, const struct ref *r);
void approval_ring(struct queue *q, const struct ref *r); /* due: it may have its turn */
bool approval_take(struct queue *q, unsigned target, struct ref *ret);
void approval_give(struct queue *q, const struct ref *r, struct queue_task_head *head);
/* ---- queue_serial.c ---- */

bool serial_is(struct slice op);
void serial_count(struct queue *q, uint32_t i, int by);
void serial_load(struct queue *q, uint32_t i);
void serial_tick(struct queue *q, unsigned target);

/* ---- queue_worker.c, queue_dispatch.c, queue_time.c, queue_operator.c ---- */

struct worker *worker_of_peer(const struct queue *q, uint64_t peer); /* NULL */
struct worker *worker_of_nonce(const struct queue *q, uint64_t nonce);
void worker_landed(struct queue *q, uint64_t nonce);
void workers_tick(struct queue *q); /* VERIFY for those who let leases run out and spoke again */
void lost_add(struct queue *q, const struct lease *l);
bool dispatch(struct queue *q, size_t most); /* true: `most` kept others back */
bool dispatch_possible(const struct queue *q, unsigned target);
void timers_run(struct queue *q);
void trust_again(struct queue *q);
int64_t time_next(struct queue *q);
void clock_take(struct queue *q, int64_t now_ms, int64_t now_unix_ms);
int64_t unix_now(const struct queue *q);
void pause_put(struct queue *q, unsigned target, struct slice why);
void walk_start(struct queue *q, unsigned target, unsigned walk);
void walk_step(struct queue *q, unsigned target);

#endif
