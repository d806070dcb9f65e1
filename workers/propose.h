/* `dirpipe-worker TARGET --match`: everybody in scope, from the broker, beside every account of the target; reads only. */
#ifndef DIRPIPE_PROPOSE_H
#define DIRPIPE_PROPOSE_H

#include "ask.h"
#include "match.h"
#include "probe.h"

struct propose_conf {
	struct ask *ask;
	const char *target;			   /* its name */
	const char *by;				   /* rules, or NULL */
	void (*say)(void *arg, const cJSON *line); /* as match_run */
	void (*ended)(void *arg, const char *why); /* NULL: well */
	void *arg;
	/* the worker's: */
	const struct join *join;
	struct exchange *exchange;
	const struct target_driver *driver;
	struct target *of;
};

struct propose;
struct propose *propose_new(const struct propose_conf *conf, struct buf *errors) MUST_CHECK;
void propose_free(struct propose *p);

#endif
