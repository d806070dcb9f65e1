/* Inside of groups.h: what groups.c (who is in what) and groups_sets.c (what that means for users) share. */
#ifndef DIRPIPE_GROUPS_IMPL_H
#define DIRPIPE_GROUPS_IMPL_H

#include "groups.h"

#include <uthash.h>

struct group {
	UT_hash_handle hh;
	uint32_t object;
	uint32_t rid;
	bool known;	/* the members below are the directory's */
	bool asked;	/* groups_unknown named it */
	bool unsure;	/* it lists names that are nobody, which it did not before … */
	bool doubted;	/* … groups_unsure named it … */
	bool verifying; /* … and the next image is believed */
	bool reached;
	unsigned round;	   /* of the walk that came by last */
	uint32_t *members; /* object numbers, ascending */
	size_t n;
	uint64_t *loose; /* keys of names that are nobody yet, ascending */
	size_t loose_n;
};

struct watched {
	char *name;
	uint64_t dn;
	uint32_t object; /* 0: not found */
	bool dirty, held, confirmed, incomplete;
	struct group **closure;
	size_t n;
};

struct groups {
	struct groups_settings s;
	struct watched *watched;
	size_t n;
	struct group *by_object;
	bool surveying;
	bool dirty;
	unsigned round;
};

bool group_has_member(const struct group *p, uint32_t object);
void groups_walk(struct groups *g, struct watched *w); /* computes its closure */

#endif
