/* One worker process: the parts made from the configuration, the test of the connection, the broker's session, and the
 * orderly end. */
#ifndef DIRPIPE_WORKER_H
#define DIRPIPE_WORKER_H

#include "conf.h"
#include "loop.h"
#include "plan.h"
#include "probe.h"
#include "propose.h"
#include "reconcile.h"

struct worker;

/* Makes everything that needs no network. instance: "m365" or "m365-2", for logs and the broker's lists. conf outlives it. NULL:
 * every error stands in errors, a line each. */
struct worker *worker_new(struct loop *loop, const struct conf *conf, const char *target,
			  const char *instance, struct buf *errors) MUST_CHECK;
/* From here on it can read the target and never write to it. Before anything is asked of it. */
void worker_reads_only(struct worker *w);
void worker_free(struct worker *w);

/* Tests the connection until it works, then takes work. ended is called once after worker_stop. Negative with why: the
 * broker's endpoint is no good. */
int worker_start(struct worker *w, loop_fn ended, void *arg, struct buf *why) MUST_CHECK;
/* No new work; what is at work ends or is left after WORKER_DRAIN_MS; then LEAVE. */
enum { WORKER_DRAIN_MS = 8000 };
void worker_stop(struct worker *w);

/* For `--plan`: conf's desk, target and config are filled in here. Tests the connection first. */
void worker_plan(struct worker *w, const struct plan_conf *conf);

/* For `--match`: what is the worker's in conf is filled in here. NULL with errors; the caller's to free, before the worker. */
struct propose *worker_match(struct worker *w, const struct propose_conf *conf,
			     struct buf *errors) MUST_CHECK;
/* For `--reconcile`: as worker_plan, and every account is listed first. */
void worker_reconcile(struct worker *w, const struct plan_conf *conf);

/* For `--check` and `--list`, before or without worker_start. */
void worker_check(struct worker *w, probe_say_fn say, probe_checked_fn done, void *arg);
void worker_list(struct worker *w, probe_account_fn take, probe_listed_fn done, void *arg);

#endif
