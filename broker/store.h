/* The store behind the queue: Redis keys of DESIGN "The data". It writes pages (one FCALL each,
 * fenced by epoch and page number, several may be under way), loads a realm, and reads for people.
 * It knows nothing of states and rules: it writes the engine's effects as they come. */
#ifndef DIRPIPE_STORE_H
#define DIRPIPE_STORE_H

#include "loop.h"
#include "queue.h"
#include "redis.h"

struct store;

struct store_conf {
	const char *realm;
	struct redis_conf redis;
	bool fsync_always; /* refuse to start when the server says otherwise */
	int replicas;	   /* WAIT for so many before a page counts */
	int64_t active_ttl_ms;
	int64_t log_entries;   /* the provisioning log keeps about so many; 0: the default */
	int64_t error_entries; /* likewise the error log of each target */
	/* Names by the engine's index (the order of queue_target_add and queue_source_add); borrowed. */
	const char *const *targets, *const *sources;
	size_t targets_n, sources_n;
};

enum store_state {
	STORE_DOWN,    /* not reachable, loading, full, read-only …: why says it */
	STORE_STANDBY, /* another broker is active */
	STORE_LOADING, /* we are active: append-only file rewritten, rows being read */
	STORE_READY,
	STORE_STATES
};

/* One dispatched user's parts, in the order of the page's DISPATCH effects; slices are valid during
 * the call. */
struct store_task {
	struct id id;
	struct slice source, snapshot, rid, memory;
	uint8_t link_state;
	uint64_t link_revision;
	struct fp applied;
	struct wire_list rids; /* wire_rid records */
};

struct store_host {
	void *arg;
	/* READY: everything was loaded through the queue that fresh() gave; lost_tail and emptied as
	 * for queue_loaded(). Any other state: every page under way has failed and is the host's to
	 * free, the engine must be dropped. Called when the state or its reason changes. */
	void (*state)(void *arg, enum store_state state, const char *why, bool lost_tail,
		      bool emptied);
	/* A new, empty engine for a load: called when this broker has become active (epoch is set).
	 */
	struct queue *(*fresh)(void *arg, struct wire_epoch epoch);
	/* During a load, before state(READY): the configuration hash that conf:TARGET holds. May be NULL. */
	void (*stored_conf)(void *arg, unsigned target, const struct fp *config);
	/* The page is on disk (and on replicas): its answers may go. In the order of store_write().
	 * The page is the host's again. */
	void (*written)(void *arg, struct queue_page *page, const struct store_task *tasks,
			size_t tasks_n);
};

struct store *store_new(struct loop *loop, const struct store_conf *conf,
			const struct store_host *host);
void store_free(struct store *s);
/* Highest epoch that a peer reported (HELLO, READY): a later take-over goes above it; a higher one
 * than ours means that we were replaced, unless `active` is still ours: then a higher one is taken.
 */
void store_epoch_seen(struct store *s, uint64_t number);
enum { STORE_EPOCH_BITS = 52 }; /* a number beyond that is nobody's: refuse the frame */
/* What was lost can matter no more (no source is distrusted): the server's run_id is recorded, so that the next load
 * says lost_tail false if it is still the same. Until then every load says lost_tail. Idempotent. */
void store_settled(struct store *s);
/* Gives the realm up, for a clean end: fn when `active` is gone, or at once when Redis is away. */
void store_release(struct store *s, loop_fn fn, void *arg);
enum store_state store_state(const struct store *s);
const char *store_why(const struct store *s);
uint64_t store_quarantined(const struct store *s); /* foreign or broken records set aside */
int64_t store_clock_off_ms(const struct store *s); /* our clock minus Redis', as last heard */
struct wire_epoch store_epoch(const struct store *s);
uint64_t store_next_page(struct store *s); /* number for the next queue_page_begin */
/* Hands the page over; written() comes later, or state() if it failed. */
void store_write(struct store *s, struct queue_page *page);
size_t store_under_way(const struct store *s); /* pages written but not yet answered */
int64_t store_roundtrip_ms(const struct store *s);

/* Reads, for WELCOME and for people. fn gets the rows (valid during the call); ok false: the store
 * is away. */
typedef void (*store_known_fn)(void *arg, bool ok, const struct wire_known *rows, size_t n);
void store_known(struct store *s, const struct id *ids, size_t n, store_known_fn fn, void *arg);
typedef void (*store_cursor_fn)(void *arg, bool ok, struct slice cookie, struct slice server,
				struct fp config);
void store_cursor(struct store *s, const char *source, store_cursor_fn fn, void *arg);
/* As JSON text: everything of one user (admin.h user_show; empty when there is none), a target's stuck users of a kind
 * (parked, dead) [{"user","stuck":{…}}], the log's newest lines. */
typedef void (*store_text_fn)(void *arg, bool ok, struct slice json);
void store_user_json(struct store *s, const struct id *id, store_text_fn fn, void *arg);
void store_stuck_json(struct store *s, const char *target, const char *kind, size_t most,
		      store_text_fn fn, void *arg); /* kind is borrowed until then */
/* What people are told of these users at one target, in the order of ids; a user whose record is missing or broken is null:
 * [{"user","source","version","gone","in" (its scope holds the user),"dn","enabled" (in the directory),"cause" (why its scope
 * does not),"link" (null, or as in user_show)}], with "snapshot" when it is asked for. */
struct store_people {
	const struct id *ids; /* borrowed during the call alone */
	size_t n;
	const char *target;
	bool snapshot;
};
void store_people_json(struct store *s, const struct store_people *of, store_text_fn fn, void *arg);
/* Holds of a source (group or source shrank): {field: text} as the engine wrote them. */
void store_holds_json(struct store *s, const char *source, store_text_fn fn, void *arg);
/* Fields of guard:TARGET, likewise. */
void store_guard_json(struct store *s, const char *target, store_text_fn fn, void *arg);
void store_log_json(struct store *s, size_t most, store_text_fn fn, void *arg);
/* Of the target's error log. */
void store_errors_json(struct store *s, const char *target, size_t most, store_text_fn fn,
		       void *arg);

/* store_peek.c: what a task of each of these users at the target would carry, as the store has it now; nothing is taken away
 * and nobody works on it. Rows are valid during the call, in the order of ids. */
struct store_peek {
	struct store_task task; /* source empty: no such user, or a broken record */
	bool entry;		/* the target knows the user */
	bool gone, in;
	uint64_t version;
	uint8_t state, verify; /* enum queue_state, queue_verify */
};
enum { STORE_PEEK_MOST = 1000 };
typedef void (*store_peek_fn)(void *arg, bool ok, const struct store_peek *rows, size_t n);
void store_peek(struct store *s, const char *target, const struct id *ids, size_t n,
		store_peek_fn fn, void *arg);
/* Users whose snapshot holds the text somewhere, in any case; at most `most`. */
typedef void (*store_ids_fn)(void *arg, bool ok, const struct id *ids, size_t n);
void store_find(struct store *s, struct slice text, size_t most, store_ids_fn fn, void *arg);

#endif
