/* What would be done about a target's users, told line by line, while nothing is done: users come from the broker as tasks would
 * carry them, the tasks' own core plans them, and its desk shows instead of doing. */
#ifndef DIRPIPE_PLAN_H
#define DIRPIPE_PLAN_H

#include "ask.h"
#include "task.h"

struct plan;

struct plan_conf {
	struct loop *loop;
	struct task_desk
		*desk; /* nobody else uses it; its arg, note, report and show are set here */
	const char *target;
	struct ask *ask;
	struct fp config;	  /* of this worker, as in READY */
	const char *const *users; /* these ids alone; users_n 0: everybody */
	size_t users_n;
	/* Comparing instead of planning (reconcile.c): only who is clean and has an account, whatever the fingerprints say; known as in
	 * struct task_desk, owned for the account of anybody; no summary. */
	bool compare;
	bool (*known)(void *arg, const char *rid, struct target_account *ret);
	void (*owned)(void *arg, const char *rid);
	/* Each line is one JSON object: {"user":…} for who differs or cannot be judged; at the end {"summary":…}. */
	void (*say)(void *arg, const cJSON *line);
	void (*ended)(void *arg, const char *why); /* once; NULL: everything was said */
	void *arg;
};

struct plan_counts {
	uint64_t compared, skipped, differ, problems;
};
void plan_counts(const struct plan *p, struct plan_counts *ret);

struct plan *plan_new(const struct plan_conf *conf);
void plan_free(struct plan *p);

#endif
