/* What is to be done about a technician. setUser replaces the whole node, so that everything is planned on what was read. */
#include "rescue_own.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

/* ---- where somebody belongs ---- */

static bool holds(const struct rescue_group *g, const struct snapshot *s)
{
	return s && snapshot_in_group(s, g->group);
}

const struct rescue_group *rescue_place(const struct target *t, const struct snapshot *s)
{
	for (size_t i = 0; i < t->groups_n; i++) {
		if (holds(&t->groups[i], s))
			return &t->groups[i];
	}
	return NULL;
}

static bool may_stand_in(const struct target *t, const struct snapshot *s, const char *node)
{
	for (size_t i = 0; i < t->groups_n; i++) {
		if (holds(&t->groups[i], s) && t->groups[i].node &&
		    strcmp(t->groups[i].node, node) == 0)
			return true;
	}
	return false;
}

/* ---- values as the service can hold them ---- */

/* Line ends cannot travel in its answers, and blanks at the ends are lost in them. */
static void add_clean(const char *text, struct buf *out)
{
	size_t n = strlen(text), start = out->n;

	while (n && isspace((unsigned char)text[n - 1]))
		n--;
	for (size_t i = 0; i < n; i++) {
		bool control = (unsigned char)text[i] < ' ' || text[i] == 127;

		if (out->n > start || !isspace((unsigned char)text[i]))
			buf_add(out, control ? " " : text + i, 1);
	}
}

/* False: it is no single text. "" for what is empty. */
static bool text_of(const cJSON *value, struct buf *out)
{
	if (cJSON_IsArray(value) && value->child && !value->child->next)
		value = value->child;
	if (mapping_empty(value))
		return true;
	if (cJSON_IsString(value))
		add_clean(value->valuestring, out);
	else if (cJSON_IsNumber(value) || cJSON_IsBool(value))
		json_canonical(value, out);
	else
		return false;
	return true;
}

/* local@domain.tld without blanks: more is the service's business. */
bool rescue_email_good(const char *text)
{
	const char *at = strchr(text, '@'), *dot = at ? strchr(at, '.') : NULL;

	if (!at || at == text || strchr(at + 1, '@') || !dot || dot == at + 1 ||
	    text[strlen(text) - 1] == '.')
		return false;
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p <= ' ')
			return false;
	}
	return true;
}

static int64_t letters(const char *text)
{
	int64_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

static const char *value_wrong(const struct target *t, const char *field, const char *value)
{
	if (strcasecmp(field, "email") == 0 && *value && !rescue_email_good(value))
		return "no e-mail address";
	if (strcasecmp(field, "name") == 0 && letters(value) > t->name_max)
		return "too long";
	return NULL;
}

/* The document with plain texts; empty ones are null. -EINVAL with the field in why. */
static int canonical(const struct target *t, const cJSON *document, cJSON **ret, struct buf *why)
{
	cJSON *all = cJSON_CreateObject();
	const cJSON *item;

	cJSON_ArrayForEach (item, document) {
		CLEANUP(buf_cleanup) struct buf text = {0};
		const char *wrong = text_of(item, &text) ? NULL : "expected one text";

		if (!wrong && text.n)
			wrong = value_wrong(t, item->string, text.p);
		if (wrong) {
			buf_addf(why, "%s: %s", item->string, wrong);
			cJSON_Delete(all);
			return -EINVAL;
		}
		cJSON_AddItemToObject(all, item->string,
				      text.n ? cJSON_CreateString(text.p) : cJSON_CreateNull());
	}
	*ret = all;
	return 0;
}

static bool rescue_same(const char *path, const cJSON *desired, const cJSON *remote)
{
	if (!cJSON_IsString(desired) || !cJSON_IsString(remote))
		return false;
	return strcasecmp(path, "email") == 0
		       ? strcasecmp(desired->valuestring, remote->valuestring) == 0
		       : strcmp(desired->valuestring, remote->valuestring) == 0;
}

bool rescue_matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	const char *email = json_text(account, "email");

	(void)t;
	return email && strcasecmp(email, key->value) == 0;
}

/* ---- operations ---- */

static void park(struct target_plan *p, const char *reason, const char *detail)
{
	p->parked = reason;
	buf_adds(&p->parked_detail, detail);
}

static bool mandatory(const cJSON *document, struct target_plan *ret)
{
	static const char *const names[] = {"name", "email"};

	for (size_t i = 0; i < 2; i++) {
		const cJSON *value = cJSON_GetObjectItem(document, names[i]);

		if (!mapping_empty(value))
			continue;
		ret->parked = "mandatory_missing";
		buf_addf(&ret->parked_detail, "%s%s", ret->parked_detail.n ? " " : "", names[i]);
	}
	return ret->parked == NULL;
}

static cJSON *as_of(const cJSON *document)
{
	static const char *const names[] = {"name", "email"};
	cJSON *as = cJSON_CreateObject();

	for (size_t i = 0; i < 2; i++)
		cJSON_AddItemToObject(
			as, names[i],
			cJSON_Duplicate(cJSON_GetObjectItem(document, names[i]), true));
	return as;
}

/* The first setUser of a node. It alone carries a password. */
static void plan_naming(const cJSON *document, const cJSON *current, bool enabled,
			struct target_plan *ret)
{
	struct target_op *op = target_plan_add(ret, TARGET_UPDATE, "name");

	target_fill(document, op);
	op->enabled = enabled ? TARGET_ENABLE : TARGET_KEEP;
	op->body = cJSON_CreateObject();
	cJSON_AddItemToObject(op->body, "current",
			      current ? cJSON_Duplicate(current, true) : cJSON_CreateObject());
	cJSON_AddTrueToObject(op->body, "password");
	if (!enabled)
		cJSON_AddStringToObject(op->body, "status", "Disabled");
	op->remember = cJSON_CreateObject();
	cJSON_AddNullToObject(op->remember, "as");
}

/* Two calls, and what is made by the first has no name: the place and the name to come are NOTEd before it. */
static void plan_create(const struct rescue_group *place, const cJSON *document, bool enabled,
			struct target_plan *ret)
{
	struct target_op *op = target_plan_add(ret, TARGET_CREATE, "create");

	op->enabled = enabled ? TARGET_ENABLE : TARGET_DISABLE;
	op->body = cJSON_CreateObject();
	cJSON_AddStringToObject(op->body, "parent", place->node);
	op->intent = true;
	op->remember = cJSON_CreateObject();
	cJSON_AddStringToObject(op->remember, "parent", place->node);
	cJSON_AddItemToObject(op->remember, "as", as_of(document));
	plan_naming(document, NULL, enabled, ret);
}

/* A creation that was cut short. Who left meanwhile is named too, by what the creation began with. */
static void plan_finish(const struct target_want *want, const cJSON *document, bool enabled,
			struct target_plan *ret)
{
	const cJSON *as = json_object(want->link->memory, "as");

	if (document && document->child)
		plan_naming(document, want->account->json, enabled, ret);
	else if (as)
		plan_naming(as, want->account->json, false, ret);
}

static void plan_switch(const struct target *t, const struct target_want *want, bool enabled,
			struct target_plan *ret, struct target_op *op)
{
	const cJSON *account = want->account->json;
	bool mobile = json_true(account, "mobile", false);
	bool owed = json_true(want->link->memory, "mobile", false);

	if (enabled && !want->account->enabled) {
		op->enabled = TARGET_ENABLE;
		if (owed && t->regrant)
			cJSON_AddTrueToObject(op->body, "mobile");
		if (owed)
			cJSON_AddNullToObject(op->remember, "mobile");
	}
	if (enabled || (!want->account->enabled && !mobile))
		return;
	op->enabled = TARGET_DISABLE;
	if (!mobile || !t->regrant)
		return;
	/* what is taken to be given back is NOTEd first, and only if it may be taken: a step of its own */
	struct target_op *step = target_plan_add(ret, TARGET_STEP, "free_mobile");

	step->permit = "disable";
	step->intent = true;
	step->body = cJSON_CreateObject();
	cJSON_AddItemToObject(step->body, "current", cJSON_Duplicate(account, true));
	step->remember = cJSON_CreateObject();
	cJSON_AddTrueToObject(step->remember, "mobile");
}

static void drop_kept(struct target_op *op)
{
	cJSON_DeleteItemFromObject(op->clear, "name");
	cJSON_DeleteItemFromObject(op->clear, "email");
	if (op->clear && !op->clear->child) {
		cJSON_Delete(op->clear);
		op->clear = NULL;
	}
}

/* document NULL: nothing but the switch. */
static void plan_update(const struct target *t, const struct target_want *want,
			const cJSON *document, bool enabled, struct target_plan *ret)
{
	struct target_op found = {.body = cJSON_CreateObject(), .remember = cJSON_CreateObject()};
	struct target_op *op;

	if (document)
		target_diff(document, want->account->json, rescue_same, &found);
	drop_kept(&found);
	plan_switch(t, want, enabled, ret, &found);
	if (!found.set && !found.clear && found.enabled == TARGET_KEEP) {
		cJSON_Delete(found.body);
		cJSON_Delete(found.remember);
		return;
	}
	op = target_plan_add(ret, TARGET_UPDATE, "update");
	op->set = found.set;
	op->clear = found.clear;
	op->enabled = found.enabled;
	op->body = found.body;
	op->remember = found.remember;
	cJSON_AddItemToObject(op->body, "current", cJSON_Duplicate(want->account->json, true));
}

/* Is the technician where we put it (or, found by us, where it may be)? Then its place is remembered; whoever stands elsewhere
 * was moved by somebody in Rescue. */
static bool in_place(const struct target *t, const struct target_want *want,
		     const struct rescue_group *place, struct target_plan *ret)
{
	const char *parent = json_text(want->link->memory, "parent");
	const char *now = rescue_field(want->account->json, "parent");

	if (parent)
		return strcmp(parent, now) == 0;
	if (!place || !place->node)
		return false;
	if (may_stand_in(t, want->snapshot, now))
		parent = now;
	else
		parent = place->node;
	ret->remember = cJSON_CreateObject();
	cJSON_AddStringToObject(ret->remember, "parent", parent);
	return strcmp(parent, now) == 0;
}

static void plan_move(const struct target_want *want, const struct rescue_group *place,
		      struct target_plan *ret)
{
	struct target_op *op;

	if (strcmp(place->node, rescue_field(want->account->json, "parent")) != 0) {
		op = target_plan_add(ret, TARGET_STEP, "move");
		op->body = cJSON_CreateObject();
		cJSON_AddStringToObject(op->body, "parent", place->node);
	}
	if (!ret->remember)
		ret->remember = cJSON_CreateObject();
	cJSON_DeleteItemFromObjectCaseSensitive(ret->remember, "parent");
	cJSON_AddStringToObject(ret->remember, "parent", place->node);
}

static bool is_technician(const struct target_account *a)
{
	return a && strcasecmp(rescue_field(a->json, "type"), "Technician") == 0;
}

/* In no group that is ours: no technician is made, one that is there is switched off. */
static void plan_nowhere(const struct target *t, const struct target_want *want,
			 struct target_plan *ret)
{
	if (!want->account)
		park(ret, "no_group", "groups");
	else if (want->account->blank)
		plan_finish(want, NULL, false, ret);
	else
		plan_update(t, want, NULL, false, ret);
}

static void plan_placed(const struct target *t, const struct target_want *want,
			const struct rescue_group *place, const cJSON *document,
			struct target_plan *ret)
{
	const struct target_account *a = want->account;
	bool ours;

	if (!a || a->blank || want->enabled)
		mandatory(document, ret);
	if (!ret->parked && want->enabled && !(a && a->enabled) &&
	    target_no_seat(want, RESCUE_SEAT)) {
		park(ret, "no_seat", RESCUE_SEAT); /* others came before */
		buf_adds(&ret->waits, "seat:" RESCUE_SEAT);
	}
	if (ret->parked)
		return;
	if (!a) {
		plan_create(place, document, want->enabled, ret);
	} else if (a->blank) {
		plan_finish(want, document, want->enabled, ret);
	} else {
		ours = in_place(t, want, place, ret) || t->enforce;
		if (t->enforce)
			plan_move(want, place, ret);
		plan_update(t, want, ours ? document : NULL, want->enabled, ret);
	}
}

static int plan_in(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	const struct rescue_group *place = rescue_place(t, want->snapshot);
	cJSON *document;

	if (want->account && !is_technician(want->account)) {
		park(ret, "no_technician", rescue_field(want->account->json, "type"));
		return 0;
	}
	if (!place) {
		plan_nowhere(t, want, ret);
		return 0;
	}
	if (!place->node) {
		park(ret, "group_unknown", place->remote);
		return 0;
	}
	if (canonical(t, want->document, &document, &ret->parked_detail) < 0)
		return -EINVAL;
	plan_placed(t, want, place, document, ret);
	cJSON_Delete(document);
	return 0;
}

int rescue_plan(const struct target *t, const struct target_want *want, struct target_plan *ret)
{
	if (!want->account && !want->create) {
		ret->read = true;
		return 0;
	}
	if (!want->left)
		return plan_in(t, want, ret);
	if (!is_technician(want->account))
		return 0; /* nothing of ours */
	if (want->account->blank)
		plan_finish(want, NULL, false, ret);
	else
		plan_update(t, want, NULL, false, ret);
	return 0;
}
