/* What the session's files share; nobody else includes it.
 *
 *	session.c   peers, who may say what, the engine's life
 *	collectors.c, workers.c  their frames -> the engine
 *	answers.c   frames to peers: answers of a page, TASKS, ERROR, BEAT
 *	welcome.c   the stream of WELCOME after a HELLO
 *	status.c    JSON for people and /stats
 *	gauges.c    metrics */
#ifndef DIRPIPE_SESSION_IMPL_H
#define DIRPIPE_SESSION_IMPL_H

#include "log.h"
#include "session.h"

#include <xxhash.h>

/* Instead of uthash's own, whose switch clang warns of. */
#define HASH_FUNCTION(key, n, hash) ((hash) = (unsigned)XXH3_64bits((key), (n)))
#include <uthash.h>

enum peer_kind { PEER_NEW, PEER_COLLECTOR, PEER_WORKER, PEER_KINDS };

struct welcome;

/* Somebody who has said HELLO or READY. */
struct peer {
	uint64_t number; /* for the engine */
	char *route;	 /* ZeroMQ's routing id */
	size_t route_n;
	const struct bus_peer_key *key; /* NULL over ipc */
	enum peer_kind kind;
	unsigned index; /* source or target; QUEUE_NOBODY while it waits for the store */
	int64_t heard_ms;
	uint64_t nonce;
	struct fp config;
	char *name, *driver;
	uint32_t credits, batch;
	bool known; /* the engine of this epoch knows it */
	/* HELLO or READY that came while there was no engine, as it came; answered when there is one. */
	uint8_t waiting_verb;
	struct buf waiting;
	uint64_t session; /* collector */
	struct welcome *welcome;
	struct buf noted, accepted; /* bodies of the page that is being answered, packed */
	UT_hash_handle by_route, by_number;
};

struct hold {
	uint8_t kind;
	char *name;
	uint64_t was, now;
	int64_t since_unix_ms;
	struct hold *next;
};

/* What the collector of a source said last; outlives it. */
struct source_view {
	uint64_t peer; /* of the newest session; 0: none */
	bool directory;
	bool beaten; /* by the newest session */
	char *server, *error, *driver;
	int64_t lag_ms, clock_off_ms; /* INT64_MIN: not known */
	uint64_t read, published, unchanged, total, session;
	uint64_t unavailable, reported; /* errors, as BEATs told */
	/* what was committed, and when (0: not by this broker) */
	uint64_t changes[QUEUE_CHANGES];
	int64_t changed_unix_ms, cursor_unix_ms;
	struct hold *holds;
	char *shown; /* labels of source_connected as the metrics have them */
};

enum { RATE_SECONDS = 10, PEERS_MAX = 4096, CONFIGS_MAX = 64 };
/* Of the newest OUTCOMES results that speak of users or of the target's health, more than DEGRADED_PERCENT failed; a few
 * (fewer than OUTCOMES_LEAST) say nothing. */
enum { OUTCOMES = 200, OUTCOMES_LEAST = 20, DEGRADED_PERCENT = 40 };

struct target_view {
	uint64_t requests, done;
	struct rate_sample {
		uint64_t requests, done;
	} samples[RATE_SECONDS + 1]; /* [0]: a second ago */
	unsigned samples_n;
	bool failed[OUTCOMES];	    /* a ring */
	uint64_t outcomes;	    /* that went into it */
	unsigned failures;	    /* that are in it */
	struct fp config, *configs; /* newest; all seen */
	size_t configs_n;
	char **licences; /* labels of that gauge, as last told */
	size_t licences_n;
};

struct session {
	struct loop *loop;
	struct session_conf conf;
	struct bus *bus;
	struct turn *turn;
	struct metrics *metrics;
	struct loop_timer *beat;
	struct peer *by_route, *by_number;
	uint64_t last_peer;
	struct source_view *sources;
	struct target_view *targets;
	struct flight *flights; /* gauges.c */
	uint64_t malformed, refused;
	int64_t complained_ms;	  /* when the log last told of a bad frame */
	uint64_t complaints_kept; /* not told since */
	int64_t started_ms;
	bool stopping, clock_off;
	loop_fn stopped;
	void *stopped_arg;
};

/* gauges.c */
void gauges_target_done(struct target_view *v);
/* session.c */
struct peer *session_peer(struct session *s, uint64_t number);
struct peer *session_routed(struct session *s, struct slice route);
struct peer *session_peer_new(struct session *s, const struct bus_message *m); /* NULL: too many */
void session_peer_gone(struct session *s, struct peer *p, const char *why);
void session_peer_forget(struct session *s, struct peer *p); /* the engine does not know it */
const char *session_subject(const struct session *s, const struct peer *p);
bool session_may_speak_for(const struct bus_message *m, struct slice name);
/* The HELLO or READY waits for the store. */
void session_wait(struct session *s, const struct bus_message *m);
void session_malformed(struct session *s, const struct bus_message *m, uint8_t verb,
		       const char *reason);
void session_refuse(struct session *s, const struct bus_message *m, const char *reason);
void session_log_peer(const struct session *s, const struct peer *p, enum log_level level,
		      const char *code, const char *msg, const char *reason);
void session_remember(char **at, struct slice text);

/* collectors.c, workers.c: false: not a verb of this kind of peer. */
void collectors_hello(struct session *s, const struct bus_message *m);
bool collectors_frame(struct session *s, const struct bus_message *m, struct peer *p);
void collectors_forget_holds(struct source_view *v);
void workers_ready(struct session *s, const struct bus_message *m);
/* The configuration that counts for the target from now on. */
void workers_config(struct session *s, unsigned target, const struct fp *config);
bool workers_frame(struct session *s, const struct bus_message *m, struct peer *p);

/* answers.c */
void answers_written(struct session *s, const struct queue_page *page,
		     const struct store_task *tasks, size_t tasks_n);
void answers_error(struct session *s, struct slice route, uint8_t verb, const char *reason);
void answers_fenced(struct session *s, struct peer *p, uint64_t session);
void answers_beat(struct session *s, struct peer *p);
/* A peer whose pipe is full misses an answer that it counts on: it is gone, and has to begin anew. */
void answers_send(struct session *s, struct peer *p, uint8_t verb, const struct buf *body);

/* welcome.c: begins when the page that is open now is on disk. */
void welcome_begin(struct session *s, struct peer *p);
void welcome_end(struct peer *p);
bool welcome_unsent(const struct peer *p); /* one is begun, and nothing of it is sent */

/* gauges.c */
void gauges_declare(struct session *s);
void gauges_result(struct session *s, unsigned target, const struct wire_result *r);
void gauges_page(struct session *s, const struct queue_page *page);
void gauges_sample(struct session *s); /* once a second */
void gauges_forget_flights(struct session *s);
struct rates {
	double done_per_s, requests_per_s;
};
struct rates gauges_rates(const struct session *s, unsigned target);
/* ok | degraded | quarantined | paused */
const char *gauges_state(const struct session *s, unsigned target, const struct queue_counts *c);
unsigned gauges_desired(const struct session *s, unsigned target, const struct queue_counts *c);

#endif
