/* Watched groups: who is in them, nested too, from a member graph kept by object number (never by DN: users and groups are
 * renamed and moved, members come later than their groups). Groups that no watched group reaches keep no members.
 *
 * A change of a group marks the watched groups above it; groups_work() then computes them anew and moves the users' sets.
 * Who would leave is kept while the group shrank past the guard (held, until it recovers or a person confirms) and while a
 * nested group's members are not known yet. Pure: no I/O. */
#ifndef DIRPIPE_GROUPS_H
#define DIRPIPE_GROUPS_H

#include "objects.h"

struct groups;

struct groups_settings {
	struct objects *objects;
	struct sets *sets; /* object.groups are its numbers, items are indexes of watched groups */
	const char *const *names; /* sorted; copied */
	const char *const *dns;	  /* copied */
	size_t n;
	uint64_t guard_min;
	uint64_t guard_percent;
	void *arg;
	void (*changed)(void *arg, uint32_t user); /* object.groups is already the new set */
	void (*hold)(void *arg, const char *name, bool active, uint64_t was, uint64_t now);
};

struct groups *groups_new(const struct groups_settings *settings);
void groups_free(struct groups *g);
size_t groups_watched(const struct groups *g);
const char *groups_name(const struct groups *g, size_t i);
uint32_t groups_index(const struct groups *g, struct slice name); /* UINT32_MAX: none */

/* Between these two every group's members are kept; at the end references are resolved and the unreachable let go. */
void groups_survey_begin(struct groups *g);
void groups_survey_end(struct groups *g);
bool groups_is_missing(const struct groups *g,
		       size_t i); /* a watched group that the survey did not name */

void groups_image(struct groups *g, uint32_t group, const struct entry *e);
void groups_gone(struct groups *g, uint32_t group);
/* An object (user or group) that has this DN, uid (0: none) or primary group only now. */
void groups_appeared(struct groups *g, uint32_t object, uint64_t uid);
/* Before the object's DN is forgotten: what listed it lists its name again. */
void groups_user_gone(struct groups *g, uint32_t user);
/* The user's set with what it gained; what it lost waits for groups_work(). */
uint32_t groups_of(struct groups *g, uint32_t user);

bool groups_has_work(const struct groups *g);
void groups_work(struct groups *g);
void groups_confirm(struct groups *g, struct slice name); /* the shrunk group is right as it is */

/* Ids of reachable groups whose members are not known; each is named once. */
void groups_unknown(struct groups *g, void (*fn)(void *arg, const struct id *id), void *arg);
/* Ids of reachable groups that list names of nobody, which they did not before; each is named once. Servers rewrite members some time
 * after the rename or delete (refint on OpenLDAP: silently), and a group that was read in between has lost nobody: who would leave it
 * is kept until it was read again, later. */
void groups_unsure(struct groups *g, void (*fn)(void *arg, const struct id *id), void *arg);
void groups_verify(struct groups *g, uint32_t group); /* its next image is taken as it is */
/* The groups that list this object. */
void groups_listing(struct groups *g, uint32_t object, void (*fn)(void *arg, const struct id *id),
		    void *arg);

#endif
