/* Which targets hold a user: routes of the configuration over DN, attributes, id and watched groups. Pure. What depends on
 * the image (base, filter, include, exclude) is kept as a set of routes per object, so that a change of groups needs no image. */
#ifndef DIRPIPE_ROUTE_H
#define DIRPIPE_ROUTE_H

#include "conf.h"
#include "objects.h"

struct route_table;

/* group_names: the watched groups' names by index. NULL with why: a bad DN, filter or id. */
struct route_table *route_new(const struct conf_node *source, const char *const *group_names,
			      size_t groups_n, struct buf *why) MUST_CHECK;
void route_free(struct route_table *t);

size_t route_targets(const struct route_table *t);
const char *route_target(const struct route_table *t, size_t i);
uint32_t route_target_index(const struct route_table *t, struct slice name); /* UINT32_MAX: none */

/* The set (in `sets`) of routes that fit but for their groups. */
uint32_t route_fitting(const struct route_table *t, struct sets *sets, const struct entry *e);
/* The set of targets, from the fitting routes and the set of watched groups. */
uint32_t route_in(const struct route_table *t, struct sets *routes, uint32_t fitting,
		  const struct sets *groups, uint32_t in_groups, struct sets *targets);

/* Why the target's scope does not hold the object, as the wire's `out` says it: what is nearest to holding it. fitting: as
 * route_fitting gave it; the object is in no group that a fitting route asks for. */
void route_why_not(const struct route_table *t, size_t target, const struct sets *routes,
		   uint32_t fitting, const struct entry *e, struct buf *ret);

#endif
