/* One turn of the broker is one page: whatever happens in a turn of the loop goes into the page that is open; at the
 * turn's end the engine adds what time asks for and dispatches, and the page goes to the store. A few pages may be
 * under way; beyond that the open one waits and takes in what comes meanwhile.
 *
 *	store DOWN, STANDBY ──► LOADING (a fresh engine is filled) ──► READY (pages) ──► anything else: all is dropped */
#ifndef DIRPIPE_TURN_H
#define DIRPIPE_TURN_H

#include "queue.h"
#include "store.h"

struct turn;

enum { TURN_UNDER_WAY = 3, TURN_DISPATCH = 200, TURN_EFFECTS = 2000 };

struct turn_conf {
	struct store_conf store;
	struct queue_conf queue;
	struct queue_target_conf
		*targets; /* store.targets_n of them; owned by the caller, read at every load */
};

struct turn_host {
	void *arg;
	void (*state)(void *arg, enum store_state state, const char *why);
	/* What the store says of a target's configuration, during a load; conf.targets may be changed. */
	void (*stored_conf)(void *arg, unsigned target, const struct fp *config);
	/* The page is on disk: send its answers. tasks belong to its DISPATCH effects in their order. */
	void (*written)(void *arg, const struct queue_page *page, const struct store_task *tasks,
			size_t tasks_n);
};

struct turn *turn_new(struct loop *loop, const struct turn_conf *conf,
		      const struct turn_host *host);
void turn_free(struct turn *t);

struct store *turn_store(struct turn *t);
struct queue *turn_queue(struct turn *t); /* NULL unless READY */
/* The open page, for a queue_… call; NULL unless READY. It is ended at the end of the loop's turn. */
struct queue_page *turn_page(struct turn *t);
/* After the calls of one event: a page that has grown large goes at once. */
void turn_fed(struct turn *t);
/* fn once: ok when the page that is open now (or, when none is, all that were handed over) is on disk; false when it was
 * lost, or there is no engine. Never from inside this call. */
typedef void (*turn_then_fn)(void *arg, bool ok);
void turn_then(struct turn *t, turn_then_fn fn, void *arg);
/* Limits of a target changed (reload), or its workers' configuration. */
void turn_target_changed(struct turn *t, unsigned target);
/* To be called every second: after one without a page the memory that pages took is given back. */
void turn_rest(struct turn *t);
/* No more dispatch; what is under way ends: fn when nothing is. */
void turn_stop(struct turn *t, loop_fn fn, void *arg);

#endif
