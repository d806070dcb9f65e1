/* From operations to requests and back: gathers the operations of many tasks by the driver's lanes, puts the token and a
 * request id on, sends, takes the answer apart and judges it. It replays once after a 401, splits what was too large
 * together, and lets nobody through while the target asked for silence. */
#ifndef DIRPIPE_EXCHANGE_H
#define DIRPIPE_EXCHANGE_H

#include "oauth.h"
#include "target.h"

struct exchange;

struct exchange_conf {
	struct loop *loop;
	struct http *http;
	struct oauth *oauth;
	const struct target_driver *driver;
	struct target *target;
	const char *origin; /* oauth_origin of the configured URL: tokens go nowhere else */
	int64_t timeout_ms;
	bool reads_only; /* nothing but FIND and READ can ever be submitted: anything else is our own bug and ends the program */
};

struct exchange_outcome {
	struct verdict verdict;
	struct target_answer
		*answer;	/* never NULL; whoever takes accounts out sets accounts_n to 0 */
	int status;		/* 0: no answer */
	const char *error;	/* of the transport, for people; or NULL */
	const char *request_id; /* ours, when the service gave none; "" when nothing was sent */
};

struct exchange_job;
/* Called once for each submitted job, never from inside exchange_submit. */
typedef void (*exchange_fn)(void *arg, struct exchange_job *job, struct exchange_outcome *outcome);

/* Embedded in its task; the task fills the first part and leaves it alone until fn was called. */
struct exchange_job {
	struct target_op *op;
	bool alone;
	int64_t deadline_ms; /* CLOCK_BOOTTIME: no request begins after it, none lasts beyond it */
	exchange_fn fn;
	void *arg;
	unsigned requests; /* how many carried it */
	/* the exchange's own: */
	struct exchange_job *next;
	unsigned lane;
	size_t most;
	int64_t queued_ms;
	unsigned parts;
	bool replayed, downgraded, repeated, split;
};

struct exchange *exchange_new(const struct exchange_conf *conf) MUST_CHECK;
void exchange_free(struct exchange *x); /* open jobs end without a call */
/* So many more (or fewer) tasks will soon have an operation: a part-filled batch waits a few ms for them. */
void exchange_expect(struct exchange *x, int more);
void exchange_submit(struct exchange *x, struct exchange_job *job);

/* One request outside of any task (check, list): token, origin and replay as above, no judgement. rc -EACCES, -EAGAIN,
 * -EPROTO: no token, why says it (response NULL). request is copied. */
typedef void (*exchange_raw_fn)(void *arg, int rc, const char *why,
				const struct http_response *response);
void exchange_raw(struct exchange *x, const struct target_request *request, exchange_raw_fn fn,
		  void *arg);
void exchange_raw_cancel(struct exchange *x, void *arg); /* goes on, but calls nobody */

#endif
