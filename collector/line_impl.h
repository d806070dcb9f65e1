/* What line*.c share; private to them. */
#ifndef DIRPIPE_LINE_IMPL_H
#define DIRPIPE_LINE_IMPL_H

#include "diff.h"
#include "groups.h"
#include "image.h"
#include "line.h"
#include "publish.h"
#include "route.h"
#include "source.h"

#include <uthash.h>

enum {
	LINE_BATCH_USERS = 200,
	LINE_BATCH_BYTES = 1 << 20,
	LINE_QUEUE_BYTES = 24 << 20, /* the newest states that wait for the broker */
	LINE_REREAD_IDS = 500,
	LINE_RETRY_MS = 1000,
	LINE_VERIFY_MS = 5000,	      /* a server's referential integrity works after the answer */
	LINE_STOPPED_MS = 60 * 1000,  /* an empty or foreign source is looked at again */
	LINE_HELD_MS = 60 * 1000,     /* … and who is missing and held by the guard */
	LINE_PRESENCE_MS = 20 * 1000, /* after a connection that ended: is everybody still there? */
	LINE_PRESENCE_SHARE = 10,     /* … which takes a tenth of the time at most */
	LINE_DRAIN_MS = 8000,
	LINE_TROUBLE_BYTES = 1000, /* of a server's words */
};

/* A growing list of object numbers. */
struct numbers {
	uint32_t *p;
	size_t n;
};
void numbers_add(struct numbers *list, uint32_t n);
void numbers_done(struct numbers *list);

/* A cursor on its way: everything that was asked for up to these counts must be done, then everything queued by then be
 * sent. */
struct marker {
	bool set;
	bool stamped; /* counts below are filled in (at the end of the turn that brought it) */
	bool derived; /* … and reached; queue_mark is filled in */
	bool has_cursor, caught_up;
	struct buf cookie, server;
	uint64_t rereads, subtrees, sweeps;
	uint64_t queue_mark;
};

/* What is read again when some time has passed (line_later.c). */
struct later {
	struct numbers verify;
	struct numbers moved; /* whoever refers to these */
};

/* Users whose reference names somebody who is not there yet. */
struct waiting {
	UT_hash_handle hh;
	uint64_t dn;
	struct numbers users;
};

struct line {
	struct loop *loop;
	const struct conf_node *root, *conf;
	char *name;
	const struct source_driver *driver;
	struct source *source;
	bool running; /* the driver was started */
	bool connected, begun;
	struct buf server, trouble;
	bool has_clock;
	int64_t ahead_ms; /* the directory's clock less ours */
	bool ad;	  /* objects are Active Directory's (seen in entries) */

	struct objects *objects;
	struct sets *group_sets, *route_sets, *target_sets;
	struct groups *groups;
	struct route_table *routes;
	struct filter *user_filter; /* ad-dirsync: the server does not apply it */
	struct buf base;	    /* base_dn, normal form */
	struct image_maker *maker;
	struct diff *diff;
	struct publish *publish;
	struct source_policy policy;
	struct fp config;
	struct override_table *overrides;

	bool survey_wanted, survey_current, surveyed, caught_up, first_end_done;
	bool distrust, stopped, draining;
	bool reconfigured; /* the cursor was of another configuration; until caught up */
	struct source_cursor start_cursor; /* of the WELCOME */
	struct buf start_cookie, start_server;
	bool start_full;
	bool read_all; /* a person asked for it: the next session reads everything */

	struct waiting *waiting;
	uint32_t building; /* object whose image is being made */

	/* work on the line's own requests: one at a time */
	struct numbers dirty;
	size_t dirty_next;
	uint64_t rereads_asked, rereads_done;
	struct numbers chunk; /* of the reread under way or to be repeated */
	char **subtrees;
	size_t subtrees_n;
	uint64_t subtrees_asked, subtrees_done;
	uint64_t token, last_token; /* token 0: nothing under way */
	bool token_is_subtree;
	struct numbers touched;
	struct later later, after; /* due when the timer says so, and the time after that */
	struct loop_timer *retry, *verify_timer, *stopped_timer, *drain_timer, *held_timer,
		*presence_timer;

	struct numbers suspects; /* of the sweep: may be missing */
	size_t suspects_next;
	struct numbers missing, held;
	bool sweeping, sweep_approved, sweep_said;
	uint64_t sweep_token;
	size_t sweep_asked;
	uint64_t sweeps_asked, sweeps_done;
	bool presence, presence_waits; /* the sweep under way asks for everybody; one is due */
	int64_t presence_began, presence_took;

	struct marker current, next;
	struct loop_after *turn;
	int64_t behind_since;
	loop_fn drained;
	void *drained_arg;
	struct buf record;
	uint64_t read, unchanged, filtered, bad;
};

/* line.c */
void line_ask_turn(struct line *l);
void line_start_source(struct line *l);
void line_stop_source(struct line *l);
void line_trouble(struct line *l, enum source_problem problem, const char *why);

/* line_users.c */
void line_image(void *arg, struct entry *e);
void line_gone(void *arg, const struct id *id);
void line_publish_gone(struct line *l, uint32_t n);
uint32_t line_in(struct line *l, uint32_t n);
bool line_resolve(void *arg, size_t which, struct slice value, struct id *ret_id);
void line_forget_waiting(struct line *l);

/* line_work.c */
void line_dirty(struct line *l, uint32_t n);
void line_dirty_id(void *arg, const struct id *id);
void line_touch(struct line *l, uint32_t n);
void line_subtree(struct line *l, const char *dn);
void line_pump(struct line *l);
void line_answer(void *arg, uint64_t token, bool ok, const struct id *missing, size_t n);
void line_forget_work(struct line *l);

/* line_later.c */
void line_verify(struct line *l, uint32_t n);
void line_verify_id(void *arg, const struct id *id);
void line_moved(struct line *l, uint32_t n); /* renamed or gone */
void line_later(void *arg);		     /* the timer */
void line_forget_later(struct line *l);

/* line_sweep.c */
void line_sweep_begin(struct line *l, bool all);
void line_suspect_below(struct line *l, uint64_t container_dn);
void line_sweep_cancel(struct line *l);
void line_sweep_pump(struct line *l);
void line_sweep_answer(struct line *l, bool ok, const struct id *missing, size_t n);
void line_sweep_confirm(struct line *l);
void line_look_for_held(void *arg); /* the timer */
void line_presence_later(struct line *l);
void line_presence(void *arg); /* the timer */
void line_unhold(struct line *l, struct object *o);

/* line_session.c */
void line_mark(struct line *l, const struct source_cursor *cursor, bool caught_up);
void line_fill(struct line *l);
bool line_is_behind(const struct line *l);
void line_welcome(void *arg, const struct wire_welcome *part, bool first);
void line_lost(void *arg, const char *why);
void line_room(void *arg);
void line_confirm(void *arg, uint8_t kind, struct slice name);
void line_beat(void *arg, struct wire_beat *beat);

#endif
