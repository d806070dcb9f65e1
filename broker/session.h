/* Peers: who they are, what they may say, what they are answered. Frames become calls of the engine; answers leave
 * when their page is on disk. */
#ifndef DIRPIPE_SESSION_H
#define DIRPIPE_SESSION_H

#include "bus.h"
#include "json.h"
#include "metrics.h"
#include "turn.h"

struct session;

struct session_conf {
	const char *const *endpoints;
	size_t endpoints_n;
	const struct bus_keys *keys; /* NULL: ipc only */
	struct turn_conf turn;	     /* realm, targets and sources: turn.store */
};

enum { SESSION_SILENT_MS = 10000, SESSION_BEAT_MS = 1000, SESSION_CLOCK_OFF_MS = 60000 };

/* NULL with why set: an endpoint cannot be bound. conf's arrays are borrowed. */
struct session *session_new(struct loop *loop, const struct session_conf *conf,
			    struct buf *why) MUST_CHECK;
void session_free(struct session *s);
struct turn *session_turn(struct session *s);
const struct session_conf *session_conf(const struct session *s);
/* No more dispatch; fn when nothing is under way and the realm is given up. */
void session_stop(struct session *s, loop_fn fn, void *arg);
/* Tells the engine that conf.turn.targets[target] has other limits now. */
void session_reload(struct session *s, unsigned target);

/* Is that the configuration that the target's workers have? */
bool session_config_is(const struct session *s, unsigned target, const struct fp *config);

/* What it shows (status.c, gauges.c). The objects are the caller's. */
cJSON *session_status(struct session *s);
cJSON *session_queue(struct session *s, struct slice target); /* empty: all; NULL: no such target */
cJSON *session_stats(struct session *s);		      /* /stats, for KEDA */
/* [{"check","why"}]: what keeps this broker from being ready (/readyz); empty: nothing. */
cJSON *session_failed(struct session *s);
/* [{"check","ok","why"}]: all of them, those that pass too (why: empty). While Redis is away nothing else can be told. */
cJSON *session_checks(struct session *s);
struct metrics *session_metrics(struct session *s);
void session_print_metrics(struct session *s, struct buf *out);

#endif
