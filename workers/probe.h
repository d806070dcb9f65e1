/* A driver's requests outside of any task: the test of the connection, and the list of accounts. */
#ifndef DIRPIPE_PROBE_H
#define DIRPIPE_PROBE_H

#include "exchange.h"

/* One at work; it ends by itself with its done call, or by probe_cancel without one. */
struct probe;
void probe_cancel(struct probe *p);

typedef void (*probe_say_fn)(void *arg, bool ok, const char *step, const char *text);
typedef void (*probe_checked_fn)(void *arg, unsigned failed);
/* Runs the driver's check from its first step; a step that got no answer ends it. say may be NULL. NULL: it ended
 * before this returned. */
struct probe *probe_check(struct exchange *x, const struct target_driver *driver,
			  struct target *target, probe_say_fn say, probe_checked_fn done,
			  void *arg);

typedef void (*probe_account_fn)(void *arg, const struct target_account *account);
typedef void (*probe_listed_fn)(void *arg, const char *why); /* NULL: all of them */
struct probe *probe_list(struct exchange *x, const struct target_driver *driver,
			 struct target *target, probe_account_fn take, probe_listed_fn done,
			 void *arg);
/* The same, one page in every interval_ms. */
struct probe_slow {
	struct loop *loop;
	int64_t interval_ms;
	probe_account_fn take;
	probe_listed_fn done;
};
struct probe *probe_list_slowly(struct exchange *x, const struct target_driver *driver,
				struct target *target, const struct probe_slow *slow, void *arg);

#endif
