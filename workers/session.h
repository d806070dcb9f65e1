/* The worker's talk with the broker: READY until answered, BEAT, TASKs in, NOTEs and RESULTs out, RESULTs again until
 * ACCEPTED or STALE. Fences: nothing of a lower epoch or of another nonce counts, nor a TASK for another process.
 *
 *	away ──READY──► (any frame of a broker that knows us) ──► ready ──session_leave──► leaving
 *	 ▲                                                          │
 *	 └─────────── silence, a new epoch, ERROR ◄─────────────────┘
 */
#ifndef DIRPIPE_WORKER_SESSION_H
#define DIRPIPE_WORKER_SESSION_H

#include "bus.h"
#include "task.h"

struct session;

enum session_state { SESSION_AWAY, SESSION_READY, SESSION_LEAVING, SESSION_STATES };

struct session_conf {
	struct loop *loop;
	const char *const *endpoints; /* read by session_new() alone */
	size_t endpoints_n;
	const struct bus_keys *keys; /* NULL: ipc */
	const char *target, *worker, *driver;
	uint32_t credits, batch;
	bool creates; /* READY.creates */
	struct fp config;
	void *arg;
	void (*task)(void *arg, const struct wire_task *task, int64_t now_unix_ms);
	void (*noted)(void *arg, struct task_lease lease, uint8_t kind, bool ok,
		      struct slice reason);
	void (*settled)(void *arg); /* a RESULT was answered */
};

/* NULL with why: the endpoint or the keys are no good. Strings are borrowed. */
struct session *session_new(const struct session_conf *conf, struct buf *why) MUST_CHECK;
void session_free(struct session *s);

void session_note(struct session *s,
		  const struct wire_note *note); /* once; the task says it again */
void session_report(struct session *s, const struct wire_result *result); /* kept until answered */

/* No more TASKs, please; those at work go on. Then LEAVE, after which nothing is said any more. */
void session_drain(struct session *s);
void session_leave(struct session *s);
size_t session_unanswered(const struct session *s);
enum session_state session_state(const struct session *s);

#endif
