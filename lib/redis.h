/* An asynchronous Redis connection on the loop (hiredis with our own adapter: 0.14.1's never reports a refused
 * connection). It reconnects by itself with backoff and jitter and has time-outs. One connection, replies in
 * the order of calls. */
#ifndef DIRPIPE_REDIS_H
#define DIRPIPE_REDIS_H

#include "buf.h"
#include "loop.h"
#include "secret.h"
#include <hiredis/hiredis.h>

struct redis;

enum redis_state { REDIS_DOWN, REDIS_CONNECTING, REDIS_UP, REDIS_STATES };

/* What a reply means for us, by its first word only (GOALS 1.6). UNKNOWN: the connection died or timed out,
 * the call may or may not have been carried out. */
enum redis_class {
	REDIS_CLASS_OK,
	REDIS_CLASS_UNKNOWN,
	REDIS_CLASS_WAIT, /* LOADING BUSY MASTERDOWN TRYAGAIN CLUSTERDOWN, max clients: try again later */
	REDIS_CLASS_FULL,   /* OOM, MISCONF: stop acknowledging, try again later */
	REDIS_CLASS_MASTER, /* READONLY: another one is the master now: reconnect */
	REDIS_CLASS_DENIED, /* NOAUTH WRONGPASS NOPERM: stop with the reason */
	REDIS_CLASS_FENCED, /* our own Function's refusal */
	REDIS_CLASS_WRONG, /* WRONGTYPE, NOSCRIPT/function missing, anything else: our bug or foreign data */
	REDIS_CLASSES
};

struct redis_conf {
	const char *url;	       /* redis://HOST:PORT[/DB], unix:///PATH; borrowed */
	const char *user;	       /* or NULL */
	const struct secret *password; /* or NULL */
	int64_t connect_timeout_ms;
	int64_t call_timeout_ms; /* of the oldest unanswered call: then the connection is dropped */
};

typedef void (*redis_state_fn)(void *arg, enum redis_state state, const char *why);
/* reply is valid during the call only; NULL when class is UNKNOWN. */
typedef void (*redis_reply_fn)(void *arg, enum redis_class class, const redisReply *reply);

/* NULL: the url is none. It connects at once, in the background. on_state and fn run at the end of a turn or when a reply
 * comes, never inside a call to this module (except redis_free). */
struct redis *redis_new(struct loop *loop, const struct redis_conf *conf, redis_state_fn on_state,
			void *arg);
void redis_free(struct redis *r); /* pending calls get UNKNOWN first */
enum redis_state redis_state(const struct redis *r);
void redis_reconnect(struct redis *r); /* drop the connection now (READONLY, changed run_id) */

/* Queues one command; fn is called exactly once, also when the connection is down (UNKNOWN, next turn). */
void redis_call(struct redis *r, const struct slice *argv, size_t argc, redis_reply_fn fn,
		void *arg);

enum redis_class redis_classify(const redisReply *reply);

#endif
