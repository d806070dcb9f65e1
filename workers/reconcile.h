/* Drift: all accounts of the target beside what the directory says. Nothing is written and nobody is marked here: it tells who
 * differs. The listing comes first, page by page within its budget; who differs by it, or is missing in it, is read by id before it
 * counts. A listing that ends badly says nothing at all. */
#ifndef DIRPIPE_RECONCILE_H
#define DIRPIPE_RECONCILE_H

#include "plan.h"
#include "probe.h"

struct reconcile;

struct reconcile_conf {
	struct plan_conf plan; /* loop, desk, target, ask, say, ended, arg are used */
	struct exchange *exchange;
	const struct target_driver *driver;
	struct target *driven;
	int64_t interval_ms; /* a page of the listing in so much time */
};

/* Lines by say: {"user":…} (as of a plan) for who differs; {"account","name"} for accounts that are nobody's; at the end {"summary":
 * {"target","accounts","compared","divergent","unowned","skipped","problems"}}. */
struct reconcile *reconcile_new(const struct reconcile_conf *conf);
void reconcile_free(struct reconcile *r);

#endif
