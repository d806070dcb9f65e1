/* The inside of the Rescue driver, for target_rescue.c and rescue_*.c alone.
 *
 * An account is {"node", "parent", "type", "status", "name", "nick", "email", "ssoid", "description", "mobile", "rpat"}; the last two are
 * booleans, the others text. An UPDATE's op->body is what only the plan knows: {"current": the account as read, "password": true
 * (first naming), "status": word, "mobile": true}. A FIND or READ keeps in op->body what its requests brought so far: {"user": the
 * account without its parent} or {"blanks": parent}.
 *
 * The driver's memory of a link: "parent" (where the technician was put first), "as" (name and address of a creation that is not
 * finished), "mobile" (the add-on was taken, and shall come back). */
#ifndef DIRPIPE_RESCUE_OWN_H
#define DIRPIPE_RESCUE_OWN_H

#include "mapping.h"
#include "options.h"
#include "target.h"

#define RESCUE_SEAT "technician" /* what people wait for when there is none */

struct rescue_group {
	char *group;  /* watched group of the directory */
	char *remote; /* node id or name of the technician group */
	char *node;   /* its id; NULL: not known yet */
};

struct target {
	char *base; /* …/API, without a slash at the end */
	cJSON *options;
	struct rescue_group *groups;
	size_t groups_n;
	struct secret *password; /* first one of new technicians; NULL: a random one each */
	const char *seat_word;	 /* what the service says when there is no seat; "": not known */
	int64_t name_max;
	bool enforce, regrant;
};

/* rescue_body.c: the text that answers are made of. */
struct rescue_body {
	struct buf
		word; /* "OK", "ERROR", …; "HTML" for a page, "ODD" for anything else that is no answer */
	cJSON *records; /* array of {"KEY": "value"}, keys in upper case */
	char id[24];	/* of "OK [337364]"; "": none */
};
void rescue_body_read(struct slice text, struct rescue_body *ret);
void rescue_body_done(struct rescue_body *b);
/* "" when absent. */
const char *rescue_field(const cJSON *record, const char *key);

/* rescue_plan.c */
/* The first technician group that the configuration gives this person; NULL: none. */
const struct rescue_group *rescue_place(const struct target *t, const struct snapshot *s);
bool rescue_email_good(const char *text);
int rescue_plan(const struct target *t, const struct target_want *want, struct target_plan *ret);
bool rescue_matches(const struct target *t, const cJSON *account, const struct target_key *key);

/* rescue_request.c */
extern const char
	*const rescue_fields[]; /* what can be written, as the service calls it; NULL at the end */
const char *rescue_method(const struct target_op *op);
int rescue_request(struct target *t, struct target_op *const *ops, size_t n,
		   struct target_request *ret);
void rescue_call(const struct target *t, const char *method, struct target_request *ret);
void rescue_add(struct target_request *r, const char *name, const char *value);
/* The whole organisation, or one node of it. */
void rescue_hierarchy(const struct target *t, const char *node, struct target_request *ret);

/* rescue_answer.c */
void rescue_answers(struct target *t, struct target_op *const *ops, size_t n,
		    const struct http_response *response, struct target_answer *answers);
int rescue_list(struct target *t, const char *next, struct target_request *ret);
int rescue_listed(struct target *t, const struct http_response *response,
		  void (*take)(void *arg, const struct target_account *account), void *arg,
		  char **ret_next);
bool rescue_is(const char *have, const char *word); /* without regard to case */

#endif
