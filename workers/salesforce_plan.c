/* From what is wanted to operations. Roles go by themselves, since their writes lock the org; a changed address stays as it was until
 * its owner confirms it, so that what was asked for is remembered and not asked for again. */
#include "salesforce_own.h"

#include <errno.h>
#include <string.h>

/* User (object reference). */
static const struct {
	const char *name;
	enum salesforce_trait trait;
} traits[] = {
	{"Username", SALESFORCE_MANDATORY},
	{"LastName", SALESFORCE_MANDATORY},
	{"Email", SALESFORCE_MANDATORY},
	{"ProfileId", SALESFORCE_MANDATORY},
	{"Alias", SALESFORCE_KEPT},
	{"CommunityNickname", SALESFORCE_KEPT},
	{"TimeZoneSidKey", SALESFORCE_KEPT},
	{"LocaleSidKey", SALESFORCE_KEPT},
	{"EmailEncodingKey", SALESFORCE_KEPT},
	{"LanguageLocaleKey", SALESFORCE_KEPT},
	{"IsActive", SALESFORCE_OURS},
	{"ManagerId", SALESFORCE_OURS},
	{"Id", SALESFORCE_READ_ONLY},
	{"Name", SALESFORCE_READ_ONLY},
	{"UserType", SALESFORCE_READ_ONLY},
	{"LastLoginDate", SALESFORCE_READ_ONLY},
	{"CreatedDate", SALESFORCE_READ_ONLY},
	{"CreatedById", SALESFORCE_READ_ONLY},
	{"LastModifiedDate", SALESFORCE_READ_ONLY},
	{"LastModifiedById", SALESFORCE_READ_ONLY},
	{"SystemModstamp", SALESFORCE_READ_ONLY},
};

enum salesforce_trait salesforce_trait(const char *field)
{
	for (size_t i = 0; i < sizeof(traits) / sizeof(traits[0]); i++) {
		if (strcasecmp(traits[i].name, field) == 0)
			return traits[i].trait;
	}
	return SALESFORCE_PLAIN;
}

/* ---- equal to the service ---- */

static bool same_id(const char *a, const char *b)
{
	char x[SALESFORCE_ID + 1], y[SALESFORCE_ID + 1];

	return salesforce_id(a, x) && salesforce_id(b, y) && strcmp(x, y) == 0;
}

static bool same_text(const char *field, const char *a, const char *b)
{
	if (strcmp(a, b) == 0 || same_id(a, b))
		return true;
	return (strcasecmp(field, "Username") == 0 || strcasecmp(field, "Email") == 0) &&
	       strcasecmp(a, b) == 0;
}

static bool salesforce_same(const char *field, const cJSON *desired, const cJSON *remote)
{
	if (cJSON_IsString(desired) && cJSON_IsString(remote))
		return same_text(field, desired->valuestring, remote->valuestring);
	return cJSON_Compare(desired, remote, true);
}

bool salesforce_matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	const cJSON *value = mapping_get(account, key->field);

	(void)t;
	return cJSON_IsString(value) && (strcasecmp(value->valuestring, key->value) == 0 ||
					 same_id(value->valuestring, key->value));
}

/* ---- the document as Salesforce has it ---- */

struct wanted {
	const struct target *t;
	const struct target_want *want;
	cJSON *document;  /* without the role */
	const char *role; /* "": none shall be; NULL: roles are not ours */
	struct target_plan *plan;
};

/* Until then the name stands for the id. */
void salesforce_ask(struct target_plan *plan, const char *object, const char *name)
{
	struct target_op *op;

	for (op = plan->first; op; op = op->next) {
		if (op->kind == TARGET_STEP && strcmp(op->name, "look_up") == 0 &&
		    strcmp(json_text(op->body, "object"), object) == 0 &&
		    strcmp(json_text(op->body, "name"), name) == 0)
			return;
	}
	op = target_plan_add(plan, TARGET_STEP, "look_up");
	op->go_on = strcmp(object, "Profile") != 0; /* without it there is no account */
	op->body = cJSON_CreateObject();
	cJSON_AddStringToObject(op->body, "object", object);
	cJSON_AddStringToObject(op->body, "name", name);
}

static void take_value(struct wanted *w, const char *field, const cJSON *value)
{
	const char *object = salesforce_object_of(field);
	char id[SALESFORCE_ID + 1];

	if (object && cJSON_IsString(value) && *value->valuestring) {
		if (salesforce_resolve(w->t, object, value->valuestring, id)) {
			cJSON_AddStringToObject(w->document, field, id);
			return;
		}
		salesforce_ask(w->plan, object, value->valuestring);
	}
	cJSON_AddItemToObject(w->document, field, cJSON_Duplicate(value, true));
}

/* One value a field; -EINVAL with the field's name. */
static int take_document(struct wanted *w)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, w->want->document) {
		const cJSON *value = item;

		if (cJSON_IsArray(item) && item->child && item->child->next) {
			buf_addf(&w->plan->parked_detail, "%s: expected one value", item->string);
			return -EINVAL;
		}
		if (cJSON_IsArray(item) && item->child)
			value = item->child;
		if (strcasecmp(item->string, "UserRoleId") == 0)
			w->role = cJSON_IsString(value) ? value->valuestring : "";
		else
			take_value(w, item->string, value);
	}
	return 0;
}

/* The manager's account; a missing one is owed, one that went away is cleared if we know that there is one. */
static void take_manager(struct wanted *w)
{
	const struct target_want *want = w->want;
	bool set = json_text(want->link->memory, "manager") ||
		   (want->account && !mapping_empty(mapping_get(want->account->json, "ManagerId")));

	for (size_t i = 0; i < want->refs_n; i++) {
		if (strcmp(want->refs[i].name, "manager") != 0)
			continue;
		if (*want->refs[i].rid)
			cJSON_AddStringToObject(w->document, "ManagerId", want->refs[i].rid);
		return;
	}
	if (set && !want->create)
		cJSON_AddNullToObject(w->document, "ManagerId");
}

static bool mandatory(struct wanted *w)
{
	const struct target_want *want = w->want;
	const cJSON *item;

	if (want->left || (!want->enabled && !want->create))
		return true; /* who is to be disabled is disabled with the values that are there */
	cJSON_ArrayForEach (item, w->document) {
		if (!mapping_empty(item) || salesforce_trait(item->string) != SALESFORCE_MANDATORY)
			continue;
		w->plan->parked = "mandatory_missing";
		buf_addf(&w->plan->parked_detail, "%s%s", w->plan->parked_detail.n ? " " : "",
			 item->string);
	}
	return w->plan->parked == NULL;
}

/* ---- e-mail ---- */

static cJSON *detach(cJSON *object, const char *name)
{
	return object ? cJSON_DetachItemFromObject(object, name) : NULL;
}

static void put(cJSON **object, const char *name, cJSON *value)
{
	if (!*object)
		*object = cJSON_CreateObject();
	cJSON_AddItemToObject(*object, name, value);
}

/* memory: "email" was asked for at "email_ms". A read shows the old one until its owner has confirmed. */
static void hold_email(struct wanted *w, struct target_op *op)
{
	const cJSON *memory = w->want->link->memory;
	const char *wanted = json_text(w->document, "Email"), *asked = json_text(memory, "email");
	const cJSON *remote =
		w->want->account ? mapping_get(w->want->account->json, "Email") : NULL;
	bool shown = wanted && remote && cJSON_IsString(remote) &&
		     strcasecmp(remote->valuestring, wanted) == 0;
	int64_t until = json_int(memory, "email_ms", 0) + w->t->email_wait_ms;

	if (!wanted || (shown && !asked))
		return;
	if (asked && strcasecmp(asked, wanted) == 0 &&
	    (shown || !w->want->account || w->want->now_unix_ms < until)) {
		cJSON_Delete(detach(op->set, "Email"));
		if (!shown && w->want->account)
			w->plan->look_again_unix_ms = until;
		return;
	}
	cJSON_Delete(detach(op->set, "Email"));
	put(&op->set, "Email", cJSON_CreateString(wanted));
	put(&op->remember, "email", cJSON_CreateString(wanted));
	put(&op->remember, "email_ms", cJSON_CreateNumber((double)w->want->now_unix_ms));
}

/* ---- operations ---- */

static void drop_kept(struct target_op *op)
{
	cJSON *item = op->clear ? op->clear->child : NULL;

	while (item) {
		cJSON *next = item->next;
		enum salesforce_trait trait = salesforce_trait(item->string);

		if (trait == SALESFORCE_KEPT || trait == SALESFORCE_MANDATORY)
			cJSON_Delete(cJSON_DetachItemViaPointer(op->clear, item));
		item = next;
	}
	if (op->clear && !op->clear->child) {
		cJSON_Delete(op->clear);
		op->clear = NULL;
	}
}

static enum target_switch switch_of(const struct target *t, const struct target_want *want)
{
	bool now = want->account ? want->account->enabled : want->link->state == LINK_ACTIVE;

	if (now == want->enabled)
		return TARGET_KEEP;
	/* frozen by the licence policy, which alone thaws again */
	if (want->enabled && t->disable == SALESFORCE_FREEZE && salesforce_login_taken(want) &&
	    want->licence->phase != LICENCE_GIVE)
		return TARGET_KEEP;
	return want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
}

static void remember_manager(struct target_op *op)
{
	const char *manager = json_text(op->set, "ManagerId");

	if (manager)
		put(&op->remember, "manager", cJSON_CreateString(manager));
	else if (op->clear && cJSON_GetObjectItem(op->clear, "ManagerId"))
		put(&op->remember, "manager", cJSON_CreateNull());
}

/* The door is locked before the account goes, and opened after it is back. */
static void plan_freeze(struct wanted *w, bool freeze)
{
	struct target_op *op;

	if (!freeze && !json_true(w->want->link->memory, "frozen", false))
		return; /* not by us */
	op = target_plan_add(w->plan, TARGET_STEP, freeze ? "freeze" : "unfreeze");
	op->permit = freeze ? "disable" : NULL;
	op->body = cJSON_CreateBool(freeze);
	put(&op->remember, "frozen", freeze ? cJSON_CreateTrue() : cJSON_CreateNull());
}

/* The role stands in memory as it was asked for: what is written again without need would hold up the org. */
static void plan_role(struct wanted *w)
{
	const struct target_want *want = w->want;
	const char *was = want->create ? NULL : json_text(want->link->memory, "role");
	const cJSON *remote = want->account ? mapping_get(want->account->json, "UserRoleId") : NULL;
	const char *now = remote && cJSON_IsString(remote) ? remote->valuestring : "";
	char id[SALESFORCE_ID + 1];
	struct target_op *op;
	bool known;

	if (!w->role || want->left)
		return;
	known = *w->role == '\0' || salesforce_resolve(w->t, "UserRole", w->role, id);
	if (want->account && known && (*w->role ? same_id(now, id) : !*now))
		return;
	if (!want->account && (was ? strcmp(was, w->role) == 0 : want->create && !*w->role))
		return;
	if (!known)
		salesforce_ask(w->plan, "UserRole", w->role);
	op = target_plan_add(w->plan, TARGET_STEP, "role");
	op->serial = op->go_on = true;
	op->body = cJSON_CreateString(w->role);
	put(&op->remember, "role", cJSON_CreateString(w->role));
}

/* The rest of the document stands there; a reference may still have come, gone or changed. */
static void diff_manager(const struct wanted *w, struct target_op *found)
{
	const char *was = json_text(w->want->link->memory, "manager");
	const char *now = json_text(w->document, "ManagerId");

	if (now && (!was || strcmp(now, was) != 0)) {
		found->set = cJSON_CreateObject();
		cJSON_AddStringToObject(found->set, "ManagerId", now);
	} else if (was && !now && cJSON_IsNull(json_get(w->document, "ManagerId"))) {
		found->clear = cJSON_CreateObject();
		cJSON_AddNullToObject(found->clear, "ManagerId");
	}
}

static void plan_update(struct wanted *w)
{
	struct target_op found = {0}, *op;
	const struct target_want *want = w->want;

	if (!want->document_applied || want->account)
		target_diff(w->document, want->account ? want->account->json : NULL,
			    salesforce_same, &found);
	else
		diff_manager(w, &found);
	drop_kept(&found);
	if (!want->document_applied || want->account)
		hold_email(w, &found);
	if (found.set && !found.set->child) {
		cJSON_Delete(found.set);
		found.set = NULL;
	}
	remember_manager(&found);
	found.enabled = switch_of(w->t, want);
	if (w->t->disable == SALESFORCE_BOTH && found.enabled == TARGET_DISABLE)
		plan_freeze(w, true);
	if (want->licence->phase == LICENCE_TAKE)
		salesforce_plan_licences(w->t, want, w->plan);
	if (found.set || found.clear || found.enabled != TARGET_KEEP) {
		op = target_plan_add(w->plan, TARGET_UPDATE, "update");
		op->set = found.set;
		op->clear = found.clear;
		op->enabled = found.enabled;
		op->remember = found.remember;
	}
	plan_role(w);
	if (want->licence->phase != LICENCE_TAKE)
		salesforce_plan_licences(w->t, want, w->plan);
	salesforce_plan_login(want, w->plan);
	if (w->t->disable == SALESFORCE_BOTH && want->enabled)
		plan_freeze(w, false);
}

static void plan_create(struct wanted *w)
{
	struct target_op *op = target_plan_add(w->plan, TARGET_CREATE, "create");
	const char *email = json_text(w->document, "Email");

	target_fill(w->document, op);
	op->enabled = w->want->enabled ? TARGET_ENABLE : TARGET_DISABLE;
	put(&op->remember, "email", email ? cJSON_CreateString(email) : cJSON_CreateNull());
	remember_manager(op);
	plan_role(w);
	salesforce_plan_licences(w->t, w->want, w->plan);
}

int salesforce_plan(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	struct wanted w = {.t = t, .want = want, .plan = ret};
	int rc;

	w.document = cJSON_CreateObject();
	rc = take_document(&w);
	if (rc == 0 && !want->left)
		take_manager(&w);
	if (rc == 0 && mandatory(&w)) {
		/* users are never deleted here: who would be, stays disabled */
		if (want->create)
			plan_create(&w);
		else
			plan_update(&w);
	}
	cJSON_Delete(w.document);
	return rc;
}
