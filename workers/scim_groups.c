/* Members of groups (RFC 7644 3.5.2): the configuration says which watched group of the directory is which group of the service.
 * A member is added and removed by PATCH of the group, several users in one; the group itself is never made, replaced or deleted. The
 * link remembers what was added, because not every service shows a user's groups; where it does, that counts. That an addition was
 * sent is remembered first ("adding:GROUP"): its outcome may stay unknown, and then the user may leave the group.
 *
 * A group that is not there (yet) is looked for again every so often, by the last operation of who is waiting for it: found → STALE,
 * so the core reads the account and plans again; not found → PARKED group_missing, looked at again GROUP_AGAIN_MS later. */
#include "scim_own.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ADDING "adding:"

enum { GROUP_ASK_MS = 60000, GROUP_AGAIN_MS = 300000 };

/* ---- configuration ---- */

static struct scim_group *group_named(const struct target *t, const char *remote)
{
	for (size_t i = 0; remote && i < t->groups_n; i++) {
		if (strcmp(t->groups[i].remote, remote) == 0)
			return &t->groups[i];
	}
	return NULL;
}

void scim_groups_read(struct target *t, const struct conf_node *conf, struct buf *errors)
{
	const struct conf_node *rule;

	for (size_t i = 0; (rule = conf_at(conf, "groups", i, NULL)); i++) {
		const char *remote = conf_text(rule, "remote"), *kind = conf_text(rule, "kind");

		if (kind && *kind) {
			options_where(rule, "kind", errors);
			buf_adds(errors, "groups.kind: SCIM has one kind of group, leave it out\n");
		}
		if (group_named(t, remote))
			continue;
		t->groups = mem_resize(t->groups, (t->groups_n + 1) * sizeof(*t->groups));
		t->groups[t->groups_n++] = (struct scim_group){.remote = mem_dup(remote)};
	}
}

void scim_groups_done(struct target *t)
{
	for (size_t i = 0; i < t->groups_n; i++) {
		free(t->groups[i].remote);
		free(t->groups[i].id);
	}
	free(t->groups);
}

/* ---- which group it is ---- */

void scim_group_find(const struct target *t, const struct scim_group *g, struct target_request *ret)
{
	static const char *const fields[] = {"displayName", "id", "externalId"};
	CLEANUP(buf_cleanup) struct buf filter = {0};

	ret->method = HTTP_GET;
	ret->accept = t->accept;
	buf_addf(&ret->url, "%s/%s", t->base, t->group_path);
	if (t->group_key == SCIM_GROUP_ID) {
		buf_addc(&ret->url, '/');
		http_escape(&ret->url, slice_of(g->remote));
		buf_adds(&ret->url, t->short_groups ? "?excludedAttributes=members" : "");
		return;
	}
	buf_addf(&filter, "%s eq ", fields[t->group_key]);
	json_quote(slice_of(g->remote), &filter);
	buf_adds(&ret->url, "?filter=");
	http_escape(&ret->url, buf_slice(&filter));
	buf_adds(&ret->url, t->short_groups ? "&excludedAttributes=members" : "");
}

static bool is_it(const struct target *t, const struct scim_group *g, const cJSON *group)
{
	static const char *const fields[] = {"displayName", "id", "externalId"};
	const cJSON *id = scim_member(group, "id"),
		    *value = scim_member(group, fields[t->group_key]);

	if (!cJSON_IsString(id) || !*id->valuestring || strlen(id->valuestring) > SCIM_ID_MOST ||
	    strcmp(id->valuestring, ".") == 0 || strcmp(id->valuestring, "..") == 0)
		return false;
	if (!cJSON_IsString(value))
		return false;
	return t->group_key == SCIM_GROUP_NAME ? strcasecmp(value->valuestring, g->remote) == 0
					       : strcmp(value->valuestring, g->remote) == 0;
}

/* The hits of a look-up: their number, and the id of one. Services ignore filters: each is looked at. */
static size_t hits_of(const struct target *t, const struct scim_group *g, const cJSON *json,
		      const char **ret_id)
{
	const cJSON *list = t->group_key == SCIM_GROUP_ID ? NULL : scim_member(json, "Resources"),
		    *item;
	size_t n = 0;

	if (t->group_key == SCIM_GROUP_ID && is_it(t, g, json)) {
		*ret_id = scim_member(json, "id")->valuestring;
		return 1;
	}
	cJSON_ArrayForEach (item, list) {
		if (!is_it(t, g, item))
			continue;
		*ret_id = scim_member(item, "id")->valuestring;
		n++;
	}
	return n;
}

/* Keeps what an answer says; the number of groups of that name. */
static size_t keep(struct target *t, struct scim_group *g, long status, const cJSON *json)
{
	const char *id = NULL;
	size_t n = status >= 200 && status <= 299 ? hits_of(t, g, json, &id) : 0;

	free(g->id);
	g->id = NULL;
	g->ambiguous = n > 1;
	if (n == 1)
		g->id = mem_dup(id);
	return n;
}

bool scim_group_learn(struct target *t, struct scim_group *g, long status, const cJSON *json,
		      struct buf *text)
{
	bool answered = (status >= 200 && status <= 299) || status == 404;
	size_t n = answered ? keep(t, g, status, json) : 0;

	if (!answered)
		buf_addf(text, "%s: status %ld", g->remote, status);
	else if (n == 0)
		buf_addf(text, "%s is not there yet; its members wait", g->remote);
	else
		buf_addf(text, "%s %s", g->remote, n == 1 ? "found" : "is the name of several");
	return answered;
}

/* ---- plan ---- */

enum shown { SHOWN_NOT, SHOWN_IN, SHOWN_OUT };

/* Services leave an empty list out; one that has shown a list shows that there is none, too. */
static enum shown shown(const struct target *t, const struct target_want *want,
			const struct scim_group *g)
{
	const cJSON *list = want->account ? scim_member(want->account->json, "groups") : NULL,
		    *item;

	if (!want->account || !g->id || !(cJSON_IsArray(list) || t->shows_groups))
		return SHOWN_NOT;
	cJSON_ArrayForEach (item, list) {
		const cJSON *value = scim_member(item, "value");

		if (cJSON_IsString(value) && strcmp(value->valuestring, g->id) == 0)
			return SHOWN_IN;
	}
	return SHOWN_OUT;
}

static bool wanted(const struct licence_verdict *v, const char *remote)
{
	for (size_t i = 0; i < v->groups_n; i++) {
		if (strcmp(v->groups[i].remote, remote) == 0)
			return true;
	}
	return false;
}

static struct target_op *add_step(struct target_plan *ret, const char *name,
				  const struct scim_group *g)
{
	struct target_op *op = target_plan_add(ret, TARGET_STEP, name);

	op->what = mem_dup(g->remote);
	op->body = cJSON_CreateObject();
	cJSON_AddStringToObject(op->body, "group", g->remote);
	if (g->id)
		cJSON_AddStringToObject(op->body, "id", g->id);
	op->go_on = true;
	return op;
}

static void wait_for(const struct target_want *want, const struct scim_group *g,
		     struct target_plan *ret)
{
	struct target_op *op;
	int64_t again = want->now_unix_ms + GROUP_AGAIN_MS;

	if (!ret->look_again_unix_ms || again < ret->look_again_unix_ms)
		ret->look_again_unix_ms = again;
	if (want->now_unix_ms - g->asked_unix_ms >= GROUP_ASK_MS) {
		op = add_step(ret, "group_find", g);
		cJSON_AddNumberToObject(op->body, "now", (double)want->now_unix_ms);
		return;
	}
	if (!ret->parked) {
		ret->parked = g->ambiguous ? "group_ambiguous" : "group_missing";
		ret->parked_last = true;
	}
	buf_addf(&ret->parked_detail, "%s%s", ret->parked_detail.n ? " " : "", g->remote);
}

static bool keeps_manual(const struct licence_verdict *v, const char *remote)
{
	const cJSON *at = NULL, *keep_of;
	const char *item;

	while (licence_next_taken(v, &at, &item, &keep_of)) {
		if (strcmp(item, remote) == 0)
			return json_true(keep_of, "manual", false);
	}
	return false;
}

/* Sent, and no answer said that it was done. */
static bool may_be_in(const struct target_want *want, const char *remote)
{
	CLEANUP(buf_cleanup) struct buf key = {0};

	buf_addf(&key, ADDING "%s", remote);
	return !want->create && json_true(want->link->memory, key.p, false);
}

static cJSON *note_adding(cJSON *remember, const char *remote, bool adding)
{
	CLEANUP(buf_cleanup) struct buf key = {0};

	buf_addf(&key, ADDING "%s", remote);
	if (!remember)
		remember = cJSON_CreateObject();
	cJSON_AddItemToObject(remember, key.p, adding ? cJSON_CreateTrue() : cJSON_CreateNull());
	return remember;
}

/* All that is known of one user in one group. */
struct standing {
	bool rule, taken,
		manual; /* wanted now; taken by the policy, and that was a membership of no rule */
	bool given, maybe; /* by us; perhaps */
	enum shown shown;
};

static struct standing standing(const struct target *t, const struct target_want *want,
				const struct scim_group *g)
{
	const struct licence_verdict *v = want->licence;
	bool taken = licence_is_taken(v, g->remote);

	return (struct standing){
		.rule = wanted(v, g->remote),
		.taken = taken,
		.manual = keeps_manual(v, g->remote),
		.given = !want->create && !taken && licence_is_given(v, g->remote),
		.maybe = may_be_in(want, g->remote),
		.shown = shown(t, want, g),
	};
}

static void plan_add(const struct standing *s, const struct scim_group *g, struct target_plan *ret)
{
	struct target_op *op = add_step(ret, "group_add", g);

	op->before = note_adding(NULL, g->remote, true);
	op->remember = s->taken ? licence_close(NULL, g->remote) : NULL;
	op->remember = licence_note_given(op->remember, g->remote, s->rule);
	op->remember = note_adding(op->remember, g->remote, false);
}

static void plan_remove(const struct standing *s, const struct scim_group *g,
			struct target_plan *ret)
{
	struct target_op *op = add_step(ret, "group_remove", g);

	op->remember = licence_note_given(NULL, g->remote, false);
	if (s->maybe)
		op->remember = note_adding(op->remember, g->remote, false);
}

/* last: what waits for a group that is not there. */
static void plan_give(const struct target *t, const struct target_want *want, size_t i, bool last,
		      struct target_plan *ret)
{
	const struct scim_group *g = &t->groups[i];
	struct standing s = standing(t, want, g);
	bool wants = s.rule || s.manual;
	bool held = s.shown == SHOWN_NOT ? s.given : s.shown == SHOWN_IN;

	if (wants && !held) {
		if (last && !g->id)
			wait_for(want, g, ret);
		else if (!last && g->id)
			plan_add(&s, g, ret);
		return;
	}
	if (last)
		return;
	if (!s.rule && (s.given || s.maybe) && g->id && s.shown != SHOWN_OUT)
		plan_remove(&s, g, ret);
	else if (s.rule != s.given &&
		 !g->ambiguous) /* it is so, or there is nothing to be out of */
		ret->remember = licence_note_given(ret->remember, g->remote, s.rule);
	if (s.taken && !wants)
		ret->remember = licence_close(ret->remember, g->remote);
}

static void plan_take(const struct target *t, const struct target_want *want,
		      const struct scim_group *g, struct target_plan *ret)
{
	struct standing s = standing(t, want, g);
	struct target_op *op;
	cJSON *how = NULL;

	if (!g->id || s.shown == SHOWN_OUT || (s.shown == SHOWN_NOT && !s.given && !s.maybe))
		return;
	op = add_step(ret, "group_remove", g);
	op->permit = "licence_revoke";
	if (s.taken)
		return;
	if (!s.given && !s.maybe) {
		how = cJSON_CreateObject();
		cJSON_AddTrueToObject(how, "manual");
	}
	op->intent = true;
	op->remember = licence_take(want->licence, g->remote, how);
}

/* Those of whom something can be done come first: a group that was found meanwhile has the account read and planned anew. */
void scim_plan_groups(const struct target *t, const struct target_want *want,
		      struct target_plan *ret)
{
	const struct licence_verdict *v = want->licence;

	if (!v || !v->groups_count)
		return;
	for (int last = 0; last < 2; last++) {
		for (size_t i = 0; i < t->groups_n; i++) {
			bool takes = v->phase == LICENCE_TAKE && licence_takes_groups(v->licence);

			if (takes && !last)
				plan_take(t, want, &t->groups[i], ret);
			else if (!takes)
				plan_give(t, want, i, last, ret);
		}
	}
}

/* ---- requests ---- */

/* Those for one group, added or removed, travel together, and one request after the other: many services read, change and write a
 * group without a lock, and lose members when two do so at once. */
unsigned scim_group_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	const struct scim_group *g = group_named(t, op->what);
	bool add = strcmp(op->name, "group_add") == 0;

	*ret_most = add ? t->members_most : t->member_removes;
	if (strcmp(op->name, "group_find") == 0)
		*ret_most = 1;
	return TARGET_LANE_SERIAL | (g ? (unsigned)(g - t->groups) * 2 + add : 0);
}

static cJSON *member_of(const char *rid)
{
	cJSON *member = cJSON_CreateObject();

	cJSON_AddStringToObject(member, "value", rid);
	return member;
}

static cJSON *patch_one(cJSON *operations, const char *word, const char *path)
{
	cJSON *o = cJSON_CreateObject();

	cJSON_AddStringToObject(o, "op", word);
	cJSON_AddStringToObject(o, "path", path);
	cJSON_AddItemToArray(operations, o);
	return o;
}

static void remove_one(const struct target *t, const char *rid, cJSON *operations)
{
	CLEANUP(buf_cleanup) struct buf path = {0};
	cJSON *list;

	if (t->remove_by_value) {
		list = cJSON_AddArrayToObject(patch_one(operations, "remove", "members"), "value");
		cJSON_AddItemToArray(list, member_of(rid));
		return;
	}
	buf_adds(&path, "members[value eq ");
	json_quote(slice_of(rid), &path);
	buf_addc(&path, ']');
	patch_one(operations, "remove", path.p);
}

int scim_group_request(const struct target *t, struct target_op *const *ops, size_t n,
		       struct target_request *ret)
{
	const struct scim_group *g = group_named(t, ops[0]->what);
	const char *id = json_text(ops[0]->body, "id");
	cJSON *body, *operations, *schemas, *list;

	if (g && strcmp(ops[0]->name, "group_find") == 0) {
		scim_group_find(t, g, ret);
		return 0;
	}
	if (!g || !id)
		return -EINVAL;
	body = cJSON_CreateObject();
	schemas = cJSON_AddArrayToObject(body, "schemas");
	cJSON_AddItemToArray(schemas, cJSON_CreateString(SCIM_MESSAGE "PatchOp"));
	operations = cJSON_AddArrayToObject(body, "Operations");
	if (strcmp(ops[0]->name, "group_add") == 0) {
		list = cJSON_AddArrayToObject(patch_one(operations, "add", "members"), "value");
		for (size_t i = 0; i < n; i++)
			cJSON_AddItemToArray(list, member_of(ops[i]->rid));
	} else {
		for (size_t i = 0; i < n; i++)
			remove_one(t, ops[i]->rid, operations);
	}
	ret->method = HTTP_PATCH;
	ret->accept = t->accept;
	ret->content_type = t->media_type;
	buf_addf(&ret->url, "%s/%s/", t->base, t->group_path);
	http_escape(&ret->url, slice_of(id));
	buf_adds(&ret->url, t->short_patches ? "?excludedAttributes=members" : "");
	json_print(body, &ret->body);
	cJSON_Delete(body);
	/* no version of the group is known, and none matters: some services insist on the header */
	return t->etag.on ? target_request_header(ret, "If-Match", SLICE("*")) : 0;
}

/* ---- answers ---- */

static void answer_find(struct target *t, const struct target_op *op, const struct http_response *r,
			struct target_answer *a)
{
	struct scim_group *g = group_named(t, op->what);
	cJSON *json = json_parse(r->body, NULL);
	bool good = r->status >= 200 && r->status <= 299;

	a->status = (int)r->status;
	a->not_json = good && !cJSON_IsObject(json);
	if (g && ((good && !a->not_json) || r->status == 404)) {
		keep(t, g, r->status, json);
		g->asked_unix_ms = json_int(op->body, "now", 0);
		buf_adds(&a->code, g->id	  ? "group_found"
				   : g->ambiguous ? "group_ambiguous"
						  : "group_missing");
		buf_adds(&a->detail, g->remote);
	}
	cJSON_Delete(json);
}

static void set_code(struct target_answer *a, const char *word)
{
	buf_clear(&a->code);
	buf_adds(&a->code, word);
}

void scim_group_answers(struct target *t, struct target_op *const *ops, size_t n,
			const struct http_response *r, struct target_answer *answers)
{
	struct scim_group *g = group_named(t, ops[0]->what);

	if (strcmp(ops[0]->name, "group_find") == 0) {
		answer_find(t, ops[0], r, &answers[0]);
		return;
	}
	for (size_t i = 0; i < n; i++) {
		answers[i].status = (int)r->status;
		if (r->status >= 200 && r->status <= 299)
			continue;
		scim_take_error(ops[i], r->body, &answers[i]);
		if (n == 1 && r->status == 404)
			set_code(&answers[i], "group_gone");
		else if (n > 1 && scim_refused(r->status))
			set_code(&answers[i], "members_alone");
	}
	if (n == 1 && r->status == 404 && g) {
		free(g->id);
		g->id = NULL;
		g->asked_unix_ms = 0;
	}
}
