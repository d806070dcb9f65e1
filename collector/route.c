#include "route.h"

#include "filter.h"

#include <stdlib.h>
#include <string.h>

struct route {
	uint16_t target;
	struct buf base; /* normal form; empty: everywhere */
	struct filter *filter;
	uint16_t *groups;
	size_t groups_n;
	struct buf group_names; /* a,b */
	struct id *include;	/* nobody but these, wherever they are; else empty */
	size_t include_n;
	struct id *exclude;
	size_t exclude_n;
};

struct route_table {
	struct route *routes;
	size_t n;
	char **targets;
	size_t targets_n;
};

static uint16_t target_index(struct route_table *t, const char *name)
{
	for (size_t i = 0; i < t->targets_n; i++)
		if (strcmp(t->targets[i], name) == 0)
			return (uint16_t)i;
	t->targets = mem_resize(t->targets, (t->targets_n + 1) * sizeof(char *));
	t->targets[t->targets_n++] = mem_dup(name);
	return (uint16_t)(t->targets_n - 1);
}

static bool read_groups(struct route *r, const struct conf_node *conf, const char *const *names,
			size_t n, struct buf *why)
{
	const char *name;

	for (size_t i = 0; (name = conf_item(conf, "groups", i)) != NULL; i++) {
		size_t k = 0;

		while (k < n && strcmp(names[k], name) != 0)
			k++;
		if (k == n) {
			buf_addf(why, "routes: group %s is not watched", name);
			return false;
		}
		r->groups = mem_resize(r->groups, (r->groups_n + 1) * sizeof(*r->groups));
		r->groups[r->groups_n++] = (uint16_t)k;
		buf_addf(&r->group_names, "%s%s", i > 0 ? "," : "", name);
	}
	return true;
}

static bool read_ids(const struct conf_node *conf, const char *key, struct id **ret, size_t *ret_n,
		     struct buf *why)
{
	const char *text;

	for (size_t i = 0; (text = conf_item(conf, key, i)) != NULL; i++) {
		*ret = mem_resize(*ret, (*ret_n + 1) * sizeof(**ret));
		if (id_parse(slice_of(text), &(*ret)[*ret_n]) != 0) {
			buf_addf(why, "routes: %s: %s is not an id", key, text);
			return false;
		}
		(*ret_n)++;
	}
	return true;
}

static bool read_route(struct route_table *t, struct route *r, const struct conf_node *conf,
		       const char *const *names, size_t n, struct buf *why)
{
	const char *base = conf_text(conf, "base");
	const char *filter = conf_text(conf, "filter");

	r->target = target_index(t, conf_text(conf, "target"));
	if (base != NULL && base[0] != '\0' && dn_normal(base, &r->base) != 0) {
		buf_addf(why, "routes: base: %s is not a DN", base);
		return false;
	}
	if (filter != NULL && filter[0] != '\0') {
		CLEANUP(buf_cleanup) struct buf what = {0};

		r->filter = filter_new(filter, &what);
		if (r->filter == NULL) {
			buf_addf(why, "routes: filter: %s", what.p);
			return false;
		}
	}
	return read_groups(r, conf, names, n, why) &&
	       read_ids(conf, "exclude", &r->exclude, &r->exclude_n, why);
}

static struct route *route_add(struct route_table *t)
{
	t->routes = mem_resize(t->routes, (t->n + 1) * sizeof(*t->routes));
	t->routes[t->n] = (struct route){0};
	return &t->routes[t->n++];
}

/* Who is included is a route of its own, which asks for no place and no group. */
static bool read_include(struct route_table *t, const struct conf_node *conf, struct buf *why)
{
	struct route *r = route_add(t);

	r->target = target_index(t, conf_text(conf, "target"));
	return read_ids(conf, "include", &r->include, &r->include_n, why) &&
	       read_ids(conf, "exclude", &r->exclude, &r->exclude_n, why);
}

static bool is_set(const struct conf_node *conf, const char *key)
{
	const char *text = conf_text(conf, key);

	return text != NULL && text[0] != '\0';
}

/* With `include` and no other condition nobody else is meant. */
static bool read_routes(struct route_table *t, const struct conf_node *conf,
			const char *const *names, size_t n, struct buf *why)
{
	bool include = conf_item(conf, "include", 0) != NULL;
	bool only = include && !is_set(conf, "base") && !is_set(conf, "filter") &&
		    conf_item(conf, "groups", 0) == NULL;

	if (!only && !read_route(t, route_add(t), conf, names, n, why))
		return false;
	return !include || read_include(t, conf, why);
}

struct route_table *route_new(const struct conf_node *source, const char *const *group_names,
			      size_t groups_n, struct buf *why)
{
	struct route_table *t = mem_alloc(sizeof(*t));
	const struct conf_node *conf;

	for (size_t i = 0; (conf = conf_at(source, "routes", i, NULL)) != NULL; i++) {
		if (!read_routes(t, conf, group_names, groups_n, why)) {
			route_free(t);
			return NULL;
		}
	}
	return t;
}

void route_free(struct route_table *t)
{
	if (t == NULL)
		return;
	for (size_t i = 0; i < t->n; i++) {
		buf_done(&t->routes[i].base);
		filter_free(t->routes[i].filter);
		free(t->routes[i].groups);
		buf_done(&t->routes[i].group_names);
		free(t->routes[i].include);
		free(t->routes[i].exclude);
	}
	for (size_t i = 0; i < t->targets_n; i++)
		free(t->targets[i]);
	free(t->routes);
	free(t->targets);
	free(t);
}

size_t route_targets(const struct route_table *t)
{
	return t->targets_n;
}

const char *route_target(const struct route_table *t, size_t i)
{
	return i < t->targets_n ? t->targets[i] : NULL;
}

uint32_t route_target_index(const struct route_table *t, struct slice name)
{
	for (size_t i = 0; i < t->targets_n; i++)
		if (slice_is(name, t->targets[i]))
			return (uint32_t)i;
	return UINT32_MAX;
}

static bool has_id(const struct id *list, size_t n, const struct id *id)
{
	for (size_t i = 0; i < n; i++)
		if (id_equal(&list[i], id))
			return true;
	return false;
}

static bool fits(const struct route *r, const struct entry *e, struct slice normal)
{
	if (has_id(r->exclude, r->exclude_n, &e->id))
		return false;
	if (r->include_n > 0)
		return has_id(r->include, r->include_n, &e->id);
	if (r->base.n > 0 && !dn_normal_within(normal, buf_slice(&r->base)))
		return false;
	return r->filter == NULL || filter_fits(r->filter, e);
}

uint32_t route_fitting(const struct route_table *t, struct sets *sets, const struct entry *e)
{
	static struct buf normal; /* one thread: the loop's */
	uint16_t *items = mem_array(t->n + 1, sizeof(*items));
	size_t n = 0;
	uint32_t set;

	buf_clear(&normal);
	if (dn_normal(e->dn, &normal) == 0)
		for (size_t i = 0; i < t->n; i++)
			if (fits(&t->routes[i], e, buf_slice(&normal)))
				items[n++] = (uint16_t)i;
	set = sets_intern(sets, items, n);
	free(items);
	return set;
}

static bool in_groups_of(const struct route *r, const struct sets *groups, uint32_t in_groups)
{
	for (size_t i = 0; i < r->groups_n; i++)
		if (sets_has(groups, in_groups, r->groups[i]))
			return true;
	return r->groups_n == 0;
}

uint32_t route_in(const struct route_table *t, struct sets *routes, uint32_t fitting,
		  const struct sets *groups, uint32_t in_groups, struct sets *targets)
{
	uint16_t *items = mem_array(t->targets_n + 1, sizeof(*items));
	bool *in = mem_array(t->targets_n + 1, sizeof(*in));
	size_t fitting_n, n = 0;
	const uint16_t *list = sets_items(routes, fitting, &fitting_n);
	uint32_t set;

	for (size_t i = 0; i < fitting_n; i++)
		if (in_groups_of(&t->routes[list[i]], groups, in_groups))
			in[t->routes[list[i]].target] = true;
	for (size_t i = 0; i < t->targets_n; i++)
		if (in[i])
			items[n++] = (uint16_t)i;
	set = sets_intern(targets, items, n);
	free(items);
	free(in);
	return set;
}

enum why { WHY_MOVED, WHY_FILTER, WHY_EXCLUDED, WHY_GROUP };

/* The later of these, the nearer was the route to holding the object. */
static enum why why_not(const struct route *r, bool fitting, const struct entry *e,
			struct slice normal)
{
	if (fitting)
		return WHY_GROUP;
	if (has_id(r->exclude, r->exclude_n, &e->id))
		return WHY_EXCLUDED;
	return r->base.n > 0 && !dn_normal_within(normal, buf_slice(&r->base)) ? WHY_MOVED
									       : WHY_FILTER;
}

void route_why_not(const struct route_table *t, size_t target, const struct sets *routes,
		   uint32_t fitting, const struct entry *e, struct buf *ret)
{
	static const char *const words[] = {"moved", "filter", "excluded", "group:"};
	CLEANUP(buf_cleanup) struct buf normal = {0};
	const struct route *nearest = NULL;
	enum why best = WHY_MOVED;

	buf_clear(ret);
	if (dn_normal(e->dn, &normal) != 0)
		return;
	for (size_t i = 0; i < t->n; i++) {
		const struct route *r = &t->routes[i];
		enum why why;

		if (r->target != target || r->include_n > 0)
			continue;
		why = why_not(r, sets_has(routes, fitting, (uint16_t)i), e, buf_slice(&normal));
		if (nearest == NULL || why > best) {
			nearest = r;
			best = why;
		}
	}
	if (nearest == NULL)
		return;
	buf_adds(ret, words[best]);
	if (best == WHY_GROUP)
		buf_add(ret, nearest->group_names.p, nearest->group_names.n);
}
