/* What a user holds beside his properties: licences (user: assignLicense) and memberships of groups (Add member). Reads show both:
 * licenseAssignmentStates tells what was assigned directly from what a group brings, which only that group's change takes away;
 * memberOf shows groups and directory roles. */
#include "graph_own.h"

#include <string.h>

#define GROUP "group:"

enum { GROUP_AGAIN_MS = 15 * 60 * 1000 };

bool graph_is_guid(const char *text)
{
	static const char form[] = "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx";

	if (strlen(text) != sizeof(form) - 1)
		return false;
	for (size_t i = 0; form[i]; i++) {
		bool hex = text[i] && strchr("0123456789abcdefABCDEF", text[i]);

		if (form[i] == 'x' ? !hex : text[i] != '-')
			return false;
	}
	return true;
}

/* ---- what the service was asked for and has told ---- */

const char *graph_sku_id(const struct target *t, const char *name)
{
	if (graph_is_guid(name))
		return name;
	for (size_t i = 0; i < t->skus_n; i++) {
		if (strcasecmp(t->skus[i].name, name) == 0)
			return t->skus[i].id;
	}
	return NULL;
}

static const char *sku_name(const struct target *t, const char *id)
{
	for (size_t i = 0; i < t->skus_n; i++) {
		if (strcasecmp(t->skus[i].id, id) == 0)
			return t->skus[i].name;
	}
	return id;
}

const char *graph_group_id(const struct target *t, const char *name)
{
	if (graph_is_guid(name))
		return name;
	for (size_t i = 0; i < t->groups_n; i++) {
		if (strcasecmp(t->groups[i].name, name) == 0)
			return t->groups[i].id;
	}
	return NULL;
}

/* ---- what an account holds ---- */

static const cJSON *member(const cJSON *object, const char *name)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItem(object, name) : NULL;
}

static const char *text_of(const cJSON *object, const char *name)
{
	const cJSON *value = member(object, name);

	return cJSON_IsString(value) ? value->valuestring : NULL;
}

static const cJSON *entry_of(const cJSON *list, const char *sku, bool by_group)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		const char *id = text_of(item, "skuId");

		if (id && strcasecmp(id, sku) == 0 &&
		    by_group == !!text_of(item, "assignedByGroup"))
			return item;
	}
	return NULL;
}

/* Its direct assignment; NULL: none. A service that tells no states tells licences alone: they count as direct. */
static const cJSON *direct(const struct target_account *a, const char *sku)
{
	const cJSON *states = a ? member(a->json, "licenseAssignmentStates") : NULL;

	if (!a)
		return NULL;
	return entry_of(cJSON_IsArray(states) ? states : member(a->json, "assignedLicenses"), sku,
			false);
}

static bool by_group(const struct target_account *a, const char *sku)
{
	return entry_of(member(a->json, "licenseAssignmentStates"), sku, true) != NULL;
}

/* 1: yes, 0: no, -1: nobody knows. */
static int is_member(const struct target_account *a, const char *group)
{
	const cJSON *list = a ? member(a->json, "memberOf") : NULL, *item;

	if (!cJSON_IsArray(list) || !group)
		return -1;
	cJSON_ArrayForEach (item, list) {
		if (cJSON_IsString(item) && strcasecmp(item->valuestring, group) == 0)
			return 1;
	}
	return 0;
}

static bool same_plans(const cJSON *wanted, const cJSON *has)
{
	const cJSON *item, *other;
	bool found;

	if (cJSON_GetArraySize(wanted) != cJSON_GetArraySize(has))
		return false;
	cJSON_ArrayForEach (item, wanted) {
		found = false;
		cJSON_ArrayForEach (other, has)
			found |= cJSON_IsString(other) &&
				 strcasecmp(item->valuestring, other->valuestring) == 0;
		if (!found)
			return false;
	}
	return true;
}

/* ---- licences: operations ---- */

static void put(cJSON **object, const char *name, cJSON *value)
{
	if (!*object)
		*object = cJSON_CreateObject();
	cJSON_AddItemToObject(*object, name, value);
}

static cJSON *list_in(cJSON *body, const char *name)
{
	cJSON *list = cJSON_GetObjectItem(body, name);

	return list ? list : cJSON_AddArrayToObject(body, name);
}

/* An assignLicense with both lists, as it wants them. */
static struct target_op *licence_op(struct target_plan *ret, const char *name, const char *what)
{
	struct target_op *op = target_plan_add(ret, TARGET_STEP, name);

	op->what = mem_dup(what);
	op->go_on = true;
	op->body = cJSON_CreateObject();
	list_in(op->body, "addLicenses");
	list_in(op->body, "removeLicenses");
	return op;
}

static void add_licence(struct target_op *op, const char *sku, const cJSON *plans)
{
	cJSON *one = cJSON_CreateObject();

	cJSON_AddStringToObject(one, "skuId", sku);
	cJSON_AddItemToObject(one, "disabledPlans",
			      plans ? cJSON_Duplicate(plans, true) : cJSON_CreateArray());
	cJSON_AddItemToArray(list_in(op->body, "addLicenses"), one);
}

static void audit(struct target_op *op, const struct target *t, const char *sku, unsigned reasons)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	if (op->audit)
		buf_addf(&text, "%s ", op->audit);
	buf_addf(&text, "licence=%s", sku_name(t, sku));
	if (reasons) {
		buf_adds(&text, " reasons=");
		licence_reasons_text(reasons, &text);
	}
	free_cleanup(&op->audit);
	op->audit = mem_dup(text.p);
}

static void wait_for_seat(const char *sku, struct target_plan *ret)
{
	if (ret->parked)
		return;
	ret->parked = "no_seat";
	ret->parked_last = true;
	buf_adds(&ret->parked_detail, sku);
	buf_addf(&ret->waits, "seat:%s", sku);
}

static void remove_licence(const struct target *t, const struct target_want *want, const char *sku,
			   struct target_plan *ret)
{
	const struct licence_verdict *v = want->licence;
	struct target_op *op = licence_op(ret, "licence_revoke", sku);
	const cJSON *state = direct(want->account, sku), *plans = member(state, "disabledPlans");
	cJSON *keep;

	op->permit = "licence_revoke";
	cJSON_AddItemToArray(list_in(op->body, "removeLicenses"), cJSON_CreateString(sku));
	audit(op, t, sku, v->phase == LICENCE_TAKE ? v->because : 0);
	if (v->phase != LICENCE_TAKE) {
		op->remember = licence_note_given(NULL, sku, false);
		return;
	}
	if (licence_is_taken(v, sku))
		return;
	keep = cJSON_CreateObject();
	cJSON_AddItemToObject(keep, "disabledPlans",
			      plans ? cJSON_Duplicate(plans, true) : cJSON_CreateArray());
	cJSON_AddBoolToObject(keep, "given", licence_is_given(v, sku));
	op->remember = licence_take(v, sku, keep);
	op->intent = true;
}

/* ---- licences: the plan ---- */

static void take(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	const cJSON *list, *item;

	if (!want->account) {
		ret->read = true;
		return;
	}
	if (want->account->privileged)
		return;
	list = member(want->account->json, "assignedLicenses");
	cJSON_ArrayForEach (item, list) {
		const char *sku = text_of(item, "skuId");

		if (!sku || !graph_is_guid(sku) || !direct(want->account, sku))
			continue;
		if (licence_takes(want->licence->licence, sku) ||
		    licence_takes(want->licence->licence, sku_name(t, sku)))
			remove_licence(t, want, sku, ret);
	}
}

static const struct licence_item *wanted(const struct target *t, const struct licence_verdict *v,
					 const char *sku)
{
	for (size_t i = 0; i < v->licences_n; i++) {
		const char *id = graph_sku_id(t, v->licences[i].remote);

		if (id && strcasecmp(id, sku) == 0)
			return &v->licences[i];
	}
	return NULL;
}

/* What was taken comes back in one request, or not at all. What a rule gave and no rule gives any more stays away. */
static void give_back(const struct target *t, const struct target_want *want,
		      struct target_plan *ret)
{
	const cJSON *at = NULL, *keep;
	struct target_op *op = NULL;
	const char *sku, *missing = NULL;

	while (licence_next_taken(want->licence, &at, &sku, &keep)) {
		bool rule = wanted(t, want->licence, sku) != NULL;
		bool over = json_true(keep, "given", false) && !rule;

		if (!graph_is_guid(sku))
			continue;
		if (over || direct(want->account, sku)) {
			ret->remember = licence_close(ret->remember, sku);
			continue;
		}
		if (target_no_seat(want, sku))
			missing = sku;
		if (!op)
			op = licence_op(ret, "licence_reinstate", sku);
		add_licence(op, sku, json_array(keep, "disabledPlans"));
		audit(op, t, sku, 0);
		op->remember = licence_close(op->remember, sku);
		if (rule)
			op->remember = licence_note_given(op->remember, sku, true);
	}
	if (!missing)
		return;
	target_plan_drop(ret, op);
	wait_for_seat(missing, ret);
}

static void give_one(const struct target *t, const struct target_want *want,
		     const struct licence_item *item, struct target_plan *ret)
{
	const struct target_account *a = want->account;
	const char *sku = graph_sku_id(t, item->remote);
	const cJSON *state = sku && a ? direct(a, sku) : NULL;
	bool enforced = item->plans->child != NULL;
	struct target_op *op;

	if (!sku || licence_is_taken(want->licence, sku))
		return; /* no such subscription: the check has said so; or it comes back by itself */
	if (state && (!enforced || same_plans(item->plans, member(state, "disabledPlans")))) {
		if (!licence_is_given(want->licence, sku))
			ret->remember = licence_note_given(ret->remember, sku, true);
		return;
	}
	if (!state && a && by_group(a, sku))
		return;
	if (!state && target_no_seat(want, sku)) {
		wait_for_seat(sku, ret);
		return;
	}
	op = licence_op(ret, "licence_assign", sku);
	add_licence(op, sku, item->plans);
	audit(op, t, sku, 0);
	op->remember = licence_note_given(NULL, sku, true);
}

/* Nothing to do by what the link remembers: then the account need not be read. */
static bool as_remembered(const struct target *t, const struct licence_verdict *v)
{
	const cJSON *at = NULL, *keep;
	const char *item;

	if (licence_next_taken(v, &at, &item, &keep))
		return false;
	for (size_t i = 0; i < v->licences_n; i++) {
		const char *sku = graph_sku_id(t, v->licences[i].remote);

		if (sku && !licence_is_given(v, sku))
			return false;
	}
	at = NULL;
	while (licence_next_given(v, &at, &item)) {
		if (graph_is_guid(item) && !wanted(t, v, item))
			return false;
	}
	return true;
}

static void give(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	const struct licence_verdict *v = want->licence;
	const cJSON *at = NULL;
	const char *item;

	if (!want->account && !want->create) {
		ret->read = !as_remembered(t, v);
		return;
	}
	while (want->account && licence_next_given(v, &at, &item)) {
		if (!graph_is_guid(item) || wanted(t, v, item))
			continue;
		if (direct(want->account, item))
			remove_licence(t, want, item, ret);
		else
			ret->remember = licence_note_given(ret->remember, item, false);
	}
	give_back(t, want, ret);
	for (size_t i = 0; i < v->licences_n; i++)
		give_one(t, want, &v->licences[i], ret);
}

void graph_plan_licences(const struct target *t, const struct target_want *want,
			 struct target_plan *ret)
{
	switch (want->licence->phase) {
	case LICENCE_GIVE:
		give(t, want, ret);
		break;
	case LICENCE_TAKE:
		take(t, want, ret);
		break;
	case LICENCE_STILL:
	case LICENCE_PHASES:
		break;
	}
}

/* ---- groups ---- */

static void item_of(const char *remote, struct buf *out)
{
	buf_addf(out, GROUP "%s", remote);
}

static void find_group(const struct target *t, const char *remote, struct target_plan *ret)
{
	struct target_op *op;

	if (graph_group_id(t, remote))
		return;
	op = target_plan_add(ret, TARGET_STEP, "group_find");
	op->what = mem_dup(remote);
	op->go_on = true;
	op->again_ms = GROUP_AGAIN_MS;
}

static void change_member(const struct target *t, const struct target_want *want,
			  const char *remote, bool add, struct target_plan *ret)
{
	CLEANUP(buf_cleanup) struct buf item = {0};
	struct target_op *op;

	find_group(t, remote, ret);
	item_of(remote, &item);
	op = target_plan_add(ret, TARGET_STEP, add ? "member_add" : "member_remove");
	op->what = mem_dup(remote);
	op->go_on = true;
	op->again_ms = GROUP_AGAIN_MS;
	if (!add && want->licence->phase == LICENCE_TAKE)
		op->permit = "licence_revoke";
	op->remember = licence_note_given(NULL, item.p, add);
}

static bool group_wanted(const struct licence_verdict *v, const char *remote)
{
	for (size_t i = 0; i < v->groups_n; i++) {
		if (strcmp(v->groups[i].remote, remote) == 0)
			return true;
	}
	return false;
}

static void join_groups(const struct target *t, const struct target_want *want,
			struct target_plan *ret)
{
	const struct licence_verdict *v = want->licence;

	for (size_t i = 0; i < v->groups_n; i++) {
		CLEANUP(buf_cleanup) struct buf item = {0};
		const char *remote = v->groups[i].remote;
		int in = is_member(want->account, graph_group_id(t, remote));

		item_of(remote, &item);
		if (in == 1 && !licence_is_given(v, item.p))
			ret->remember = licence_note_given(ret->remember, item.p, true);
		else if (in == 0 || (in < 0 && (want->account || want->create ||
						!licence_is_given(v, item.p))))
			change_member(t, want, remote, true, ret);
	}
}

void graph_plan_groups(const struct target *t, const struct target_want *want,
		       struct target_plan *ret)
{
	const struct licence_verdict *v = want->licence;
	const cJSON *at = NULL;
	const char *item;

	if (!v->groups_count)
		return;
	if (want->account && want->account->privileged && v->phase == LICENCE_TAKE)
		return;
	join_groups(t, want, ret);
	while (!want->create && licence_next_given(v, &at, &item)) {
		const char *remote = item + strlen(GROUP);

		if (strncmp(item, GROUP, strlen(GROUP)) != 0 || group_wanted(v, remote))
			continue;
		if (is_member(want->account, graph_group_id(t, remote)) == 0)
			ret->remember = licence_note_given(ret->remember, item, false);
		else
			change_member(t, want, remote, false, ret);
	}
}

/* ---- sessions ---- */

/* Disabling ends what is open, too. That it is owed is NOTEd with the disabling: after a crash between the two nothing of the
 * account would tell. */
void graph_plan_sessions(const struct target *t, const struct target_want *want,
			 struct target_plan *ret)
{
	bool owed = json_get(want->link->memory, "revoke_sessions") != NULL;
	struct target_op *op;

	for (op = ret->first; op && op->kind != TARGET_UPDATE; op = op->next)
		;
	if (want->enabled && owed)
		put(&ret->remember, "revoke_sessions", cJSON_CreateNull());
	if (want->enabled || !t->revoke_sessions)
		return;
	if (op && op->enabled == TARGET_DISABLE) {
		put(&op->remember, "revoke_sessions", cJSON_CreateTrue());
		op->intent = true;
		owed = true;
	}
	if (!owed)
		return;
	op = target_plan_add(ret, TARGET_STEP, "revoke_sessions");
	op->permit = "disable";
	op->go_on = true;
	put(&op->remember, "revoke_sessions", cJSON_CreateNull());
}
