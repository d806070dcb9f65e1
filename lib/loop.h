/* The one event loop (libuv) of a daemon: timers, work after I/O, threads for what blocks, ZeroMQ sockets.
 * Everything here runs on the loop's thread; objects that are closed are freed after the turn. */
#ifndef DIRPIPE_LOOP_H
#define DIRPIPE_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

struct loop;

typedef void (*loop_fn)(void *arg);

struct loop *loop_new(void);
void loop_free(struct loop *loop); /* closes what is still open, then frees */
uv_loop_t *
loop_uv(struct loop *loop);	  /* for redis.c, http.c, directory.c: descriptors of libraries */
void loop_run(struct loop *loop); /* until loop_stop */
void loop_stop(struct loop *loop);
int64_t loop_now_ms(struct loop *loop); /* CLOCK_BOOTTIME, read once per turn */
int64_t loop_lag_ms(struct loop *loop); /* worst lateness of a timer since the last call */

/* One-shot timer; setting it again moves it, a negative delay stops it. */
struct loop_timer;
struct loop_timer *loop_timer_new(struct loop *loop, loop_fn fn, void *arg);
void loop_timer_set(struct loop_timer *t, int64_t delay_ms);
void loop_timer_free(struct loop_timer *t); /* NULL is allowed, also inside its own callback */

/* fn runs once at the end of this turn, after all I/O of the turn; asking twice is asking once. This is
 * where a broker builds its one page and a collector its one batch of the turn. */
struct loop_after;
struct loop_after *loop_after_new(struct loop *loop, loop_fn fn, void *arg);
void loop_after_ask(struct loop_after *a);
void loop_after_free(struct loop_after *a);

/* work() on a thread of the pool, then done() on the loop; arg stays the caller's until done. */
void loop_work(struct loop *loop, loop_fn work, loop_fn done, void *arg);

/* SIGTERM and SIGINT call stop once (a second signal ends the process), SIGHUP calls reload (may be NULL). */
void loop_signals(struct loop *loop, loop_fn stop, loop_fn reload, void *arg);

/* A ZeroMQ socket: take() is called while the socket is readable, at most 256 times a turn; it receives one
 * whole message and returns false when there was none. ZMQ_FD is edge-triggered and any call may swallow
 * the edge, so the socket is asked before the loop sleeps (libraries.md 1.1). Free before zmq_close. */
struct loop_zmq;
typedef bool (*loop_zmq_fn)(void *arg);
struct loop_zmq *loop_zmq_new(struct loop *loop, void *socket, loop_zmq_fn take, void *arg);
void loop_zmq_free(struct loop_zmq *z);

#endif
