/* The inside of a licence configuration, for licence.c and licence_conf.c alone. */
#ifndef DIRPIPE_LICENCE_OWN_H
#define DIRPIPE_LICENCE_OWN_H

#include "licence.h"
#include "schedule.h"

#define BIT(reason) (1u << (reason))

struct licence {
	struct licence_rule *rules, *group_rules; /* ended by one without a group */
	cJSON *plans;				  /* owns the rules' plans */
	unsigned revoke, reinstate_for;
	int64_t inactive_ms;
	const char **only;
	bool takes_groups;
	const char *action;
	struct schedule *schedule; /* NULL: at once */
	struct id *exempt_ids;
	size_t exempt_ids_n;
	const char **exempt_groups; /* NULL at the end */
};

unsigned licence_reason_bit(const char *name); /* 0: no reason's name */

#endif
