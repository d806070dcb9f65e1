/* Which remote account is a user's, when no link says so: ordered rules, each a remote field and a local value. */
#ifndef DIRPIPE_JOIN_H
#define DIRPIPE_JOIN_H

#include "target.h"

struct join;

struct join_rule {
	const char *remote; /* remote field */
	const char *
		local; /* an attribute, or several joined: givenName+' '+sn (in quotes: as it stands) */
	bool soft;     /* a hit is a proposal that a person confirms (`dirpipe link`) */
};

/* conf: the target's section with its `join` list. NULL with errors. */
struct join *join_new(const struct conf_node *conf, struct buf *errors) MUST_CHECK;
/* Copies the rules. NULL with errors: an expression of attributes that is none. */
struct join *join_of(const struct join_rule *rules, size_t n, struct buf *errors) MUST_CHECK;
void join_free(struct join *j);

size_t join_count(const struct join *j);
const struct join_rule *join_rule(const struct join *j, size_t i);
/* Whether the first rule's value of a user never changes: it is the user's id. */
bool join_key_stays(const struct join *j);
/* The user's value for rule i, composed (NFC) and trimmed; false: one of the attributes is absent or empty, the rule is passed
 * over: what is empty matches nothing. */
bool join_value(const struct join *j, size_t i, const struct snapshot *s, struct buf *out);

enum join_outcome {
	JOIN_NONE,	 /* no hit: the next rule */
	JOIN_LINK,	 /* *ret_index is the account; claim it */
	JOIN_AMBIGUOUS,	 /* several: park */
	JOIN_PROPOSAL,	 /* a soft rule's only hit: park until a person links it */
	JOIN_PRIVILEGED, /* a soft rule's hit holds a privileged role: park */
	JOIN_OUTCOMES
};
/* Judges the hits of rule i for that value; those that the driver says do not match it are not counted. */
struct join_hits {
	const struct target_driver *driver;
	const struct target *target;
	const char *value;
	const struct target_answer *answer;
};
enum join_outcome join_judge(const struct join *j, size_t i, const struct join_hits *hits,
			     size_t *ret_index);

#endif
