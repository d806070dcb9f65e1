/* What the control socket's files share: admin.c (connections, lines), verbs.c (what each verb does). */
#ifndef DIRPIPE_ADMIN_IMPL_H
#define DIRPIPE_ADMIN_IMPL_H

#include "admin.h"

struct client;

/* One request until it is answered. */
struct request {
	struct session *session;
	struct client *client; /* the answer is dropped when it is closed */
	cJSON *json;	       /* the request; its id goes into the answer */
	/* State of verbs that take several steps. */
	unsigned target, last; /* [target, last): still to be read */
	unsigned source;
	uint64_t walk;
	size_t most, changed, at, missing;
	bool more;
	const char *kind; /* dead or parked */
	cJSON *list, *holds;
};

/* Each ends the request. value is taken. */
void request_done(struct request *r, cJSON *value);
void request_failed(struct request *r, const char *code, const char *message);

/* What the files of verbs share (verbs.c). Those that return false have answered. */
const struct store_conf *request_names(const struct request *r);
struct turn *request_turn(const struct request *r);
struct store *request_store(const struct request *r);
void request_unavailable(struct request *r);
bool request_ready(struct request *r);
bool request_target(struct request *r, unsigned *ret);
bool request_targets(struct request *r); /* one, or all: target and last */
bool request_user(struct request *r, struct id *ret);
bool request_most(struct request *r);
void request_changed(struct request *r); /* answers with changed, missing and more */
/* Answers when the page is on disk; rc < 0: not_found with that text. */
void request_changed_one(struct request *r, int rc, const char *missing);
cJSON *request_parsed(struct slice json);
/* `from` of a list that is told in parts: "PLACE:NUMBER", as `next` gave it; none: from the beginning. */
bool request_from(struct request *r, unsigned *ret_place);
cJSON *request_next(unsigned place, uint64_t number);

/* verbs_plan.c */
void plan_page(struct request *r);
void plan_guard(struct request *r);
void plan_claims(struct request *r);
void plan_find(struct request *r);

/* verbs_sync.c */
void sync_users(struct request *r);
void sync_state(struct request *r);
void sync_read_all(struct request *r);
void sync_drifted(struct request *r);
void sync_reconciled(struct request *r);

/* verbs_apply.c */
int request_fp(const char *text,
	       struct fp *ret) MUST_CHECK; /* 32 hex digits; NULL is none: -EINVAL */
void apply_rows(struct request *r);
void apply_state(struct request *r);
/* verbs_held.c, verbs_link.c */
void verbs_held_ls(struct request *r);
void verbs_held_judge(struct request *r);
void verbs_link_ls(struct request *r);
void verbs_link_change(struct request *r);

/* verbs_licence.c */
void verbs_licence_ls(struct request *r);
void verbs_licence_reinstate(struct request *r);

/* verbs.c: false: no such verb. Ends the request now or later. */
bool verbs_call(struct request *r, const char *verb);

#endif
