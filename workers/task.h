/* One user to make right at the target, from TASK to RESULT. The order of doing keeps DESIGN's promises: creation is NOTEd
 * before it is tried, a found account is claimed before it is written, nothing destructive happens without a permit, nothing
 * begins after the lease.
 *
 *	          ┌────────────── no request needed ──────────────────────────┐
 *	new ──────┼─► noting ◄──► finding ──┐                                 ▼
 *	          ├─► reading ──────────────┼──► applying ◄──► noting ──► reported
 *	          └─────────────────────────┘        └──► reading, finding (changed or gone meanwhile)
 */
#ifndef DIRPIPE_TASK_H
#define DIRPIPE_TASK_H

#include "exchange.h"
#include "join.h"
#include "mapping.h"

struct task;

enum task_state {
	TASK_NEW,
	TASK_NOTING, /* waits for the broker's word */
	TASK_FINDING,
	TASK_READING,
	TASK_APPLYING,
	TASK_REPORTED,
	TASK_STATES
};

enum task_leave { TASK_LEAVE_DISABLE, TASK_LEAVE_DELETE, TASK_LEAVE_UNLINK };

struct task_lease {
	uint64_t epoch, page;
	uint32_t index;
};

/* What would be done about a user, and by what it can be recognised. All of it is borrowed for the call. */
struct task_shown {
	struct task_lease lease;
	const char *user;
	const struct snapshot *snapshot;      /* NULL: the directory knows the user no more */
	const char *rid;		      /* "": there is no account yet */
	const struct target_account *account; /* as read just now; NULL: none */
	const struct target_op *ops;	      /* in the order of doing */
	const char *alone;		      /* without operations: "link", "unlink"; NULL */
	struct wire_list needs;		      /* wire_op records: the permits that it takes */
	struct fp
		hash; /* of the user's version, the account as read and the operations: the same again, or something changed */
};

/* What all tasks of a process share. Borrowed parts outlive the desk's tasks. */
struct task_desk {
	struct loop *loop;
	struct exchange *exchange;
	const struct target_driver *driver;
	struct target *target;
	struct mapping *mapping;
	const struct join *join;
	const struct licence *licence; /* NULL: no rules, no policy */
	enum task_leave leave;
	int64_t delete_after_ms;
	int64_t settle_ms; /* after a create of unknown outcome; 0: the driver's */
	bool create;
	struct fp options; /* hash of the driver's own options: part of every fingerprint */
	/* To the broker. report ends the task: it is freed after the call. */
	void *arg;
	void (*note)(void *arg, const struct wire_note *note);
	void (*report)(void *arg, const struct wire_result *result);
	/* A desk that only plans: accounts are read, permits count as given, and what would be done is shown instead of done; the
	 * task is over then. Who has nothing to be done, or meets an obstacle, is reported as ever. NULL: a desk that works. */
	void (*show)(void *arg, const struct task_shown *shown);
	/* With show: the account of a linked user as somebody has just read it; true: ret is filled and the task's, and no request is
	 * needed. May be NULL. */
	bool (*known)(void *arg, const char *rid, struct target_account *ret);
	/* The desk's own, by task_desk_init: */
	struct task *tasks; /* hash by lease */
	struct loop_timer *tick;
	bool ticking;
	char shape
		[9]; /* hash of the mapping's paths: what a mask of fields in a link's memory refers to */
};

void task_desk_init(struct task_desk *desk); /* the first part is filled */
void task_desk_done(struct task_desk *desk); /* tasks end without a report */
size_t task_count(const struct task_desk *desk);

/* t's slices are copied. stamp_ms + lease_ms is the deadline on CLOCK_BOOTTIME. May report at once. -EALREADY: this lease is
 * at work (a doubled frame); -ETIME: its deadline is over. */
int task_start(struct task_desk *desk, const struct wire_task *t, int64_t now_unix_ms) MUST_CHECK;

/* The broker's answer to a NOTE. Unknown leases and kinds that nobody waits for are ignored. */
void task_noted(struct task_desk *desk, struct task_lease lease, uint8_t kind, bool ok,
		struct slice reason);

const char *task_state_name(enum task_state state);

#endif
