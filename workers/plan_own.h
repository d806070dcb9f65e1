/* What plan*.c share. */
#ifndef DIRPIPE_PLAN_OWN_H
#define DIRPIPE_PLAN_OWN_H

#include "plan.h"

struct plan_item {
	struct wire_list at; /* the rest of the page's list from this task on */
	struct id user;
	unsigned tries;
	int64_t again_ms; /* 0: not waiting */
};

struct plan_page {
	struct plan_page *next;
	uint64_t number;
	struct buf body;
	cJSON *held;		      /* [{"user","op","what","phase"}] of these users */
	int64_t now_unix_ms, came_ms; /* the broker's clock, and ours when it came */
	struct plan_item *items;
	char *states; /* a letter for each (broker/admin.h) */
	size_t n, left;
};

struct plan_note {
	struct plan_note *next;
	struct task_lease lease;
	uint8_t kind;
	bool refused;
	char *rid; /* a claim's */
	struct id user;
};

struct plan_claim; /* accounts that this plan has given to somebody, by rid */

struct plan {
	struct plan_conf conf;
	struct plan_page *pages;
	uint64_t last_page;
	bool asking, asked_all, over;
	cJSON *next;	 /* cursor of the next page */
	size_t users_at; /* of conf.users: the next page begins here */
	/* notes to be answered at the end of the turn */
	struct plan_note *notes, *claims; /* claims: the broker is being asked */
	struct plan_claim *claimed;
	struct loop_after *answer;
	struct loop_timer *again;
	bool ticking;
	/* counts */
	int64_t started_ms;
	uint64_t skipped, users, unchanged, rows, problems, destructive, fresh_needs, total;
	cJSON *ops;
};

/* plan.c */
struct plan_page *plan_page_of(const struct plan *p, struct task_lease lease);
void plan_fail(struct plan *p, const char *why);

/* plan_row.c: counts and says */
void plan_add_hex(cJSON *to, const char *name, const struct fp *fp);
void plan_row(struct plan *p, const struct plan_page *page, const struct task_shown *shown);
void plan_problem(struct plan *p, const struct plan_item *item, const struct wire_result *r);
void plan_summary(struct plan *p, bool holds);

/* plan_claim.c */
void plan_note(void *arg, const struct wire_note *note); /* the desk's */
void plan_claims_free(struct plan *p);
void plan_answer_notes(void *arg);

#endif
