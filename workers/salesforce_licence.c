/* What a user holds beside the record: permission set licences (licences), permission sets and public groups (groups). They are
 * known by their ids, "PermissionSetLicense:0PL…"; the names of the rules are resolved first. Each is given and taken one user of
 * the org at a time. */
#include "salesforce_own.h"

#include <string.h>

#define LOGIN "login"

enum { AGAIN_MS = 5 * 60 * 1000 };

const struct salesforce_kind salesforce_kinds[SALESFORCE_KINDS] = {
	{"PermissionSetLicense", "PermissionSetLicenseAssign", "AssigneeId",
	 "PermissionSetLicenseId", NULL},
	{"PermissionSet", "PermissionSetAssignment", "AssigneeId", "PermissionSetId",
	 "permission_set"},
	{"Group", "GroupMember", "UserOrGroupId", "GroupId", "group"},
};

static const struct salesforce_kind *const licences = &salesforce_kinds[0];

/* Kind of a group rule; permission sets are the usual one. NULL: no such kind. */
const struct salesforce_kind *salesforce_kind_named(const char *word)
{
	if (!word)
		return &salesforce_kinds[1];
	for (size_t i = 1; i < SALESFORCE_KINDS; i++) {
		if (strcmp(salesforce_kinds[i].word, word) == 0)
			return &salesforce_kinds[i];
	}
	return NULL;
}

struct plan {
	const struct target *t;
	const struct target_want *want;
	const struct licence_verdict *v;
	struct target_plan *out;
};

/* ---- items ---- */

static void item_of(const struct salesforce_kind *kind, const char *id, struct buf *out)
{
	buf_addf(out, "%s:%s", kind->object, id);
}

/* Kind and id of an item; NULL: it is none of ours. */
static const struct salesforce_kind *kind_of(const char *item, const char **ret_id)
{
	for (size_t i = 0; i < SALESFORCE_KINDS; i++) {
		size_t n = strlen(salesforce_kinds[i].object);

		if (strncmp(item, salesforce_kinds[i].object, n) != 0 || item[n] != ':')
			continue;
		*ret_id = item + n + 1;
		return &salesforce_kinds[i];
	}
	return NULL;
}

/* The assignment's own id; NULL: not held. */
static const char *held(const struct plan *p, const struct salesforce_kind *kind, const char *id)
{
	const cJSON *list =
		p->want->account ? json_array(p->want->account->json, kind->object) : NULL;
	const cJSON *one;

	cJSON_ArrayForEach (one, list) {
		const char *its = json_text(one, kind->what);
		char whole[SALESFORCE_ID + 1];

		if (its && salesforce_id(its, whole) && strcmp(whole, id) == 0)
			return json_text(one, "Id");
	}
	return NULL;
}

static bool seen(const struct plan *p)
{
	return p->want->account && json_array(p->want->account->json, licences->object);
}

/* ---- operations ---- */

static struct target_op *add_op(struct plan *p, const char *name,
				const struct salesforce_kind *kind, const char *id)
{
	struct target_op *op = target_plan_add(p->out, TARGET_STEP, name);
	const char *shown = salesforce_name_of(p->t, kind->object, id);
	CLEANUP(buf_cleanup) struct buf item = {0}, audit = {0};

	item_of(kind, id, &item);
	buf_addf(&audit, "item=%s", shown ? shown : id);
	op->what = mem_dup(item.p);
	op->audit = mem_dup(audit.p);
	op->go_on = op->serial = true;
	op->body = cJSON_CreateObject();
	cJSON_AddStringToObject(op->body, "object", kind->object);
	cJSON_AddStringToObject(op->body, "id", id);
	return op;
}

static void assign(struct plan *p, const char *name, const struct salesforce_kind *kind,
		   const char *id, bool rule)
{
	CLEANUP(buf_cleanup) struct buf item = {0}, seat = {0};
	struct target_op *op;

	item_of(kind, id, &item);
	if (target_no_seat(p->want, item.p)) {
		if (p->out->parked)
			return;
		p->out->parked = "no_seat";
		p->out->parked_last = true;
		buf_adds(&p->out->parked_detail, item.p);
		buf_addf(&p->out->waits, "seat:%s", item.p);
		return;
	}
	op = add_op(p, name, kind, id);
	if (rule)
		op->remember = licence_note_given(op->remember, item.p, true);
	if (licence_is_taken(p->v, item.p))
		op->remember = licence_close(op->remember, item.p);
}

static struct target_op *unassign(struct plan *p, const struct salesforce_kind *kind,
				  const char *id, const char *record)
{
	struct target_op *op =
		add_op(p, kind == licences ? "licence_revoke" : "member_remove", kind, id);

	if (kind == licences || p->v->phase == LICENCE_TAKE)
		op->permit = "licence_revoke";
	cJSON_AddStringToObject(op->body, "record", record);
	return op;
}

/* ---- take ---- */

static void take_one(struct plan *p, const struct salesforce_kind *kind, const char *id,
		     const char *record)
{
	CLEANUP(buf_cleanup) struct buf item = {0};
	struct target_op *op = unassign(p, kind, id, record);
	cJSON *keep;

	item_of(kind, id, &item);
	if (licence_is_taken(p->v, item.p))
		return;
	keep = cJSON_CreateObject();
	cJSON_AddBoolToObject(keep, "given", licence_is_given(p->v, item.p));
	op->remember = licence_take(p->v, item.p, keep);
	op->intent = true;
}

static bool takes(const struct plan *p, const struct salesforce_kind *kind, const char *id)
{
	const char *name = salesforce_name_of(p->t, kind->object, id);

	if (kind != licences)
		return licence_takes_groups(p->v->licence);
	return licence_takes(p->v->licence, id) || (name && licence_takes(p->v->licence, name));
}

/* Who is frozen already was frozen by somebody else. */
static void take_login(struct plan *p)
{
	struct target_op *op;

	if (licence_is_taken(p->v, LOGIN) || json_true(p->want->account->json, "IsFrozen", false))
		return;
	op = target_plan_add(p->out, TARGET_STEP, "freeze");
	op->permit = "licence_revoke";
	op->what = mem_dup(LOGIN);
	op->body = cJSON_CreateTrue();
	op->remember = licence_take(p->v, LOGIN, NULL);
	op->intent = true;
}

static void take(struct plan *p)
{
	if (!seen(p)) {
		p->out->read = true;
		return;
	}
	if (p->want->account->privileged)
		return;
	if (strcmp(licence_action(p->v->licence), "freeze") == 0) {
		take_login(p);
		return;
	}
	for (size_t i = 0; i < SALESFORCE_KINDS; i++) {
		const struct salesforce_kind *kind = &salesforce_kinds[i];
		const cJSON *one;

		cJSON_ArrayForEach (one, json_array(p->want->account->json, kind->object)) {
			const char *record = json_text(one, "Id");
			char id[SALESFORCE_ID + 1];

			if (record && salesforce_id(json_text(one, kind->what), id) &&
			    takes(p, kind, id))
				take_one(p, kind, id, record);
		}
	}
}

/* ---- give ---- */

/* The rules' id; NULL: asked for, and nothing is done about it this time. */
static const char *rule_id(struct plan *p, const struct salesforce_kind *kind, const char *remote,
			   char id[SALESFORCE_ID + 1])
{
	if (salesforce_resolve(p->t, kind->object, remote, id))
		return id;
	salesforce_ask(p->out, kind->object, remote);
	if (!p->out->parked) {
		p->out->parked = "unknown_name";
		p->out->parked_last = true;
		buf_addf(&p->out->parked_detail, "%s %s", kind->object, remote);
		p->out->look_again_unix_ms = p->want->now_unix_ms + AGAIN_MS;
	}
	return NULL;
}

/* Calls fn for every item that the rules want; false: some name is not known. */
static bool each_wanted(struct plan *p,
			void (*fn)(struct plan *p, const struct salesforce_kind *kind,
				   const char *id))
{
	const struct licence_verdict *v = p->v;
	char id[SALESFORCE_ID + 1];
	bool all = true;

	for (size_t i = 0; i < v->licences_n; i++) {
		if (!rule_id(p, licences, v->licences[i].remote, id))
			all = false;
		else if (fn)
			fn(p, licences, id);
	}
	for (size_t i = 0; v->groups_count && i < v->groups_n; i++) {
		const struct salesforce_kind *kind = salesforce_kind_named(v->groups[i].kind);

		if (!kind || !rule_id(p, kind, v->groups[i].remote, id))
			all = false;
		else if (fn)
			fn(p, kind, id);
	}
	return all;
}

static bool same_rule(const struct plan *p, const struct salesforce_kind *kind, const char *remote,
		      const char *id)
{
	char its[SALESFORCE_ID + 1];

	return salesforce_resolve(p->t, kind->object, remote, its) && strcmp(its, id) == 0;
}

static bool is_wanted(const struct plan *p, const struct salesforce_kind *kind, const char *id)
{
	const struct licence_verdict *v = p->v;

	for (size_t i = 0; kind == licences && i < v->licences_n; i++) {
		if (same_rule(p, kind, v->licences[i].remote, id))
			return true;
	}
	for (size_t i = 0; kind != licences && i < v->groups_n; i++) {
		if (salesforce_kind_named(v->groups[i].kind) == kind &&
		    same_rule(p, kind, v->groups[i].remote, id))
			return true;
	}
	return false;
}

static void give_one(struct plan *p, const struct salesforce_kind *kind, const char *id)
{
	CLEANUP(buf_cleanup) struct buf item = {0};

	item_of(kind, id, &item);
	if (licence_is_taken(p->v, item.p))
		return; /* comes back by itself */
	if (!held(p, kind, id))
		assign(p, kind == licences ? "licence_assign" : "member_add", kind, id, true);
	else if (!licence_is_given(p->v, item.p))
		p->out->remember = licence_note_given(p->out->remember, item.p, true);
}

/* Exactly what was taken; what a rule gave and no rule gives any more stays away. */
static void give_back(struct plan *p)
{
	const cJSON *at = NULL, *keep;
	const char *item, *id;

	while (licence_next_taken(p->v, &at, &item, &keep)) {
		const struct salesforce_kind *kind = kind_of(item, &id);
		bool rule = kind && is_wanted(p, kind, id);

		if (!kind)
			continue;
		if ((json_true(keep, "given", false) && !rule) || held(p, kind, id))
			p->out->remember = licence_close(p->out->remember, item);
		else
			assign(p, "licence_reinstate", kind, id, rule);
	}
}

static void take_unwanted(struct plan *p)
{
	const cJSON *at = NULL;
	const char *item, *id, *record;

	while (licence_next_given(p->v, &at, &item)) {
		const struct salesforce_kind *kind = kind_of(item, &id);

		if (!kind || is_wanted(p, kind, id) || (kind != licences && !p->v->groups_count))
			continue;
		record = held(p, kind, id);
		if (record)
			unassign(p, kind, id, record)->remember =
				licence_note_given(NULL, item, false);
		else
			p->out->remember = licence_note_given(p->out->remember, item, false);
	}
}

static void check_given(struct plan *p, const struct salesforce_kind *kind, const char *id)
{
	CLEANUP(buf_cleanup) struct buf item = {0};

	item_of(kind, id, &item);
	p->out->read |= !licence_is_given(p->v, item.p);
}

/* Nothing to do by what the link remembers: then the account need not be read. */
static void look_first(struct plan *p)
{
	const cJSON *at = NULL, *keep;
	const char *item, *id;

	if (licence_next_taken(p->v, &at, &item, &keep))
		p->out->read = true;
	each_wanted(p, check_given);
	at = NULL;
	while (licence_next_given(p->v, &at, &item)) {
		const struct salesforce_kind *kind = kind_of(item, &id);

		p->out->read |= kind && !is_wanted(p, kind, id);
	}
}

static void give(struct plan *p)
{
	if (!p->want->create && !seen(p)) {
		look_first(p);
		return;
	}
	if (!p->want->create) {
		take_unwanted(p);
		give_back(p);
	}
	each_wanted(p, give_one);
}

void salesforce_plan_licences(const struct target *t, const struct target_want *want,
			      struct target_plan *ret)
{
	struct plan p = {t, want, want->licence, ret};

	if (!t->holds)
		return;
	if (p.v->phase == LICENCE_TAKE)
		take(&p);
	else if (p.v->phase == LICENCE_GIVE)
		give(&p);
}

bool salesforce_login_taken(const struct target_want *want)
{
	return licence_is_taken(want->licence, LOGIN);
}

/* Last of all, the door is opened again. */
void salesforce_plan_login(const struct target_want *want, struct target_plan *ret)
{
	struct target_op *op;

	if (want->licence->phase != LICENCE_GIVE || want->create || !salesforce_login_taken(want))
		return;
	op = target_plan_add(ret, TARGET_STEP, "unfreeze");
	op->body = cJSON_CreateFalse();
	op->remember = licence_close(NULL, LOGIN);
}
