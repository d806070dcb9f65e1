/* Which account could be which user's: proposals over everybody at once, for a person to look through. Pure. */
#ifndef DIRPIPE_MATCH_H
#define DIRPIPE_MATCH_H

#include "join.h"

struct match;

/* by: "remote=local,remote=local"; NULL: the rules of the target and, last, equal display names. NULL with errors. */
struct match *match_new(const struct join *join, const char *by, struct buf *errors) MUST_CHECK;
void match_free(struct match *m);

/* A user in scope; rid: of the account that is linked already, or "". Everything is copied. */
void match_user(struct match *m, const char *id, const char *dn, const char *rid,
		const struct snapshot *s);
/* An account that is somebody's out of scope, too: it is never proposed. */
void match_taken(struct match *m, const char *rid);
void match_account(struct match *m, const struct target_account *account);

/* Rule by rule: a value that one user and one account have, both free, is a proposal; one that several users or several accounts have is
 * ambiguous, and is listed with all of them. Comparisons as fold_same. say gets an object each (borrowed):
 *	{"action":"link"|"propose"|"", "user","dn","account","name" (of the account, for people),"rule":"mail=mail","note"}
 * "propose": only the rule's word is soft, or it compares display names. At the end a summary
 *	{"summary":{"proposed","ambiguous","users_left","accounts_left"}} */
void match_run(struct match *m, void (*say)(void *arg, const cJSON *line), void *arg);

#endif
