/* `dirpipe-collector SOURCE --tree`: the organisational units of the source and how many of its users each holds, for choosing a
 * route's base. */
#ifndef DIRPIPE_TREE_H
#define DIRPIPE_TREE_H

#include "conf.h"
#include "loop.h"

struct tree;

/* Each unit in the order of the tree: depth below base_dn, users directly in it, users in all of it. */
typedef void (*tree_say_fn)(void *arg, const char *dn, unsigned depth, uint64_t users,
			    uint64_t whole);
/* why NULL: read to the end. hidden: users in system containers, which are not told. */
typedef void (*tree_done_fn)(void *arg, uint64_t hidden, const char *why);

struct tree_settings {
	struct loop *loop;
	const struct conf_node *source;
	bool users_only; /* units in which, or below which, nobody is are left out */
	tree_say_fn say;
	tree_done_fn done;
	void *arg;
};

/* NULL with why: a configuration that cannot work. Ends by done, once. */
struct tree *tree_new(const struct tree_settings *settings, struct buf *why) MUST_CHECK;
void tree_free(struct tree *t);

#endif
