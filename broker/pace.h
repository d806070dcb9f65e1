/* How fast one target may be used: one place that knows every request in flight. Pure: time comes in.
 *
 *	token bucket over requests: never more than `budget` in any window of budget_per_ms (the bucket holds 3 %, the
 *		rest flows in steadily), paid when results tell how many requests a user took
 *	concurrency follows feedback (Postfix qmgr_feedback.c): doubles per round trip until the first setback, then
 *		grows by one per round trip; halves when throttled or down
 *	pause: throttled until the target's own word; credentials refused: three tries, then every 15 min; down: 1 s
 *		doubling to 30 s with jitter. After down or refused credentials one user goes first as a probe.
 *
 *	running --THROTTLED--> throttled --time--> running
 *	running --DOWN-------> down --time--> probing --answered--> running
 *	running --AUTH_FAILED> auth_failed --time--> probing --answered--> running
 *	any --operator--> by_operator --operator--> running */
#ifndef DIRPIPE_PACE_H
#define DIRPIPE_PACE_H

#include "buf.h"

struct pace_conf {
	int64_t budget, budget_per_ms; /* requests in a window; 0 = no limit */
	int64_t concurrency;	       /* the most users in flight */
};

enum pace_pause {
	PACE_RUNNING,
	PACE_THROTTLED,
	PACE_AUTH_FAILED,
	PACE_DOWN,
	PACE_BY_OPERATOR,
	PACE_PAUSES
};

struct pace {
	struct pace_conf conf;
	double window;	     /* users that may be in flight by feedback */
	double slow_start;   /* below it every success adds one */
	double tokens, cost; /* requests left; requests that a user takes (moving mean) */
	int64_t tokens_at_ms;
	int64_t flight;
	enum pace_pause pause;
	uint32_t tries;
	int64_t since_ms, until_ms; /* of the pause */
	int64_t silent_until_ms; /* what the target asked for while the operator's pause hides it */
	int64_t paused_total_ms; /* ended pauses, all of them */
	uint64_t random;
};

enum { PACE_CAP_MS = 15 * 60 * 1000, PACE_DOWN_CAP_MS = 30 * 1000, PACE_AUTH_TRIES = 3 };

void pace_start(struct pace *p, const struct pace_conf *conf, uint64_t seed, int64_t now_ms);
void pace_configure(struct pace *p, const struct pace_conf *conf);
/* Users that may be dispatched now; 0 while paused; 1 at most when probing. */
int64_t pace_allowed(const struct pace *p, int64_t now_ms);
/* The same for what a person approved although the operator paused the target: not while the target itself asked for silence. */
int64_t pace_allowed_approved(const struct pace *p, int64_t now_ms);
int64_t pace_next_approved(const struct pace *p, int64_t now_ms);
/* When pace_allowed() may become positive without a result; INT64_MAX: only by a result. */
int64_t pace_next(const struct pace *p, int64_t now_ms);
/* Has the pause's time passed? A throttled target then runs again; true when the pause ended (to be stored). */
bool pace_tick(struct pace *p, int64_t now_ms);
/* Requests left in the bucket (negative: owed) and what it holds when full; false: no limit, nothing is set. */
bool pace_tokens(const struct pace *p, int64_t now_ms, double *ret_tokens, double *ret_full);
bool pace_paused(const struct pace *p); /* no time counts against anybody: paused or probing */
bool pace_probing(const struct pace *p, int64_t now_ms);

void pace_dispatched(struct pace *p, int64_t now_ms);
/* The user's result came (requests: what it took; 0 = unknown), the target answered properly or with a failure that
 * speaks of the user. True: a pause ended by it. */
bool pace_answered(struct pace *p, bool well, uint32_t requests, int64_t now_ms);
/* No result came: the lease ran out. */
void pace_lost(struct pace *p);
/* The result spoke of the target. after_ms: its own word (0: none). Starts or extends a pause. */
void pace_throttled(struct pace *p, int64_t after_ms, int64_t now_ms);
void pace_refused(struct pace *p, int64_t now_ms);
void pace_down(struct pace *p, int64_t now_ms);
/* True when something changed. */
bool pace_operator(struct pace *p, bool paused, int64_t now_ms);
/* From the store. */
void pace_restore(struct pace *p, enum pace_pause pause, uint32_t tries, int64_t since_ms,
		  int64_t until_ms);
/* Milliseconds of all pauses until now, the running one included. */
int64_t pace_paused_ms(const struct pace *p, int64_t now_ms);

/* 0 … most, both included; the generator's state is the caller's (splitmix64). */
uint64_t pace_random(uint64_t *state);
int64_t pace_jitter(uint64_t *state, int64_t most);

#endif
