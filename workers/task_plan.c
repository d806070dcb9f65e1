#include "task_own.h"

#include <string.h>

enum {
	CLEAR_MASS = 3
}; /* so many fields emptied at once, and half of what is set: a mass clearing */

/* ---- what is wanted ---- */

static bool left_for_good(const struct task *t)
{
	const struct task_desk *d = t->desk;
	int64_t left = task_memory_ms(t, "left_ms");

	if (d->leave != TASK_LEAVE_DELETE)
		return false;
	return d->delete_after_ms == 0 || (left && t->now_unix_ms >= left + d->delete_after_ms);
}

static const char *stage(const struct task *t, bool enabled)
{
	if (!t->left)
		return enabled ? "enabled" : "disabled";
	return t->desk->leave == TASK_LEAVE_UNLINK ? "unlinked"
	       : t->leave_delete		   ? "deleted"
						   : "left";
}

static struct fp fingerprint(const struct task *t, bool enabled)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	buf_addf(&text, "%s\n%s\n%s\n", t->desk->driver->name, t->desk->driver->version,
		 stage(t, enabled));
	buf_add(&text, t->desk->options.b, sizeof(t->desk->options.b));
	for (size_t i = 0; !t->left && i < t->refs_n; i++)
		buf_addf(&text, "%s=%s\n", t->refs[i].name, t->refs[i].rid);
	licence_digest(&t->licence, &text);
	json_canonical(t->document, &text);
	return fp_of(buf_slice(&text));
}

static bool make_document(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	t->document =
		t->left ? cJSON_CreateObject() : mapping_apply(t->desk->mapping, t->snapshot, &why);
	if (t->document)
		return true;
	task_finish(t, &(struct task_end){.verdict = VERDICT_REJECTED,
					  .reason = "mapping_failed",
					  .detail = buf_slice(&why)});
	return false;
}

/* ---- where to begin ---- */

static void unlink_account(struct task *t)
{
	if (!task_agree(t, "unlink"))
		return;
	t->link = LINK_UNMANAGED;
	task_remember_ms(t, "left_ms", t->now_unix_ms);
	task_done(t);
}

static void decide_left(struct task *t)
{
	bool untouched =
		fp_is_none(&t->applied) || t->verify || task_careful(t) || task_gives_way(t);

	if (t->link == LINK_CREATING && !t->snapshot) {
		task_finish(t,
			    &(struct task_end){.verdict = VERDICT_PARKED, .reason = "no_snapshot"});
	} else if (t->link == LINK_CREATING) {
		task_find_from(t, 0, true);
	} else if (t->link == LINK_NONE || t->link == LINK_DELETED || !*t->rid) {
		task_done(t);
	} else if (t->desk->leave == TASK_LEAVE_UNLINK) {
		unlink_account(t);
	} else if (untouched) {
		task_read(t);
	} else {
		task_plan(t);
	}
}

static void decide_in(struct task *t)
{
	bool read = t->verify || fp_is_none(&t->applied) || !task_fields_known(t) ||
		    t->link == LINK_UNMANAGED || task_careful(t) || mapping_asks(t->desk->mapping);

	if (!*t->rid || t->link == LINK_NONE || t->link == LINK_CREATING || t->link == LINK_DELETED)
		task_create_begin(t, t->link == LINK_CREATING);
	else if (read)
		task_read(t);
	else
		task_plan(t);
}

static void look_again(struct task *t, int64_t unix_ms)
{
	if (unix_ms && (!t->look_again_unix_ms || unix_ms < t->look_again_unix_ms))
		t->look_again_unix_ms = unix_ms;
}

static void hold_disable(struct task *t)
{
	task_want(t, "disable", NULL);
	task_apply_next(t);
}

/* Only the switch differs from what was applied, and nobody permits it: nothing is sent until somebody does. */
static bool waits_for_permit(const struct task *t)
{
	if (t->left || t->enabled || t->verify || t->link != LINK_ACTIVE || !*t->rid ||
	    task_careful(t) || task_permitted(t, "disable", NULL))
		return false;
	struct fp enabled = fingerprint(t, true);

	return fp_equal(&t->applied, &enabled);
}

static void judge_licences(struct task *t)
{
	struct licence_facts facts = {.user = t->user,
				      .snapshot = t->snapshot,
				      .left = t->left,
				      .memory = task_driver_memory(t),
				      .reinstate = task_permitted(t, "licence_reinstate", NULL),
				      .now_unix_ms = t->now_unix_ms};

	licence_verdict_done(&t->licence);
	licence_judge(t->desk->licence, &facts, &t->licence);
	look_again(t, t->licence.look_again_unix_ms);
	if (*t->rid)
		task_remember(t, t->licence.remember);
}

void task_decide(struct task *t)
{
	int64_t left = task_memory_ms(t, "left_ms");

	t->enabled = !t->left && snapshot_enabled(t->snapshot);
	t->leave_delete = t->left && left_for_good(t);
	if (!make_document(t))
		return;
	judge_licences(t);
	t->wanted = fingerprint(t, t->enabled);
	if (t->left && left && t->desk->leave == TASK_LEAVE_DELETE && !t->leave_delete)
		look_again(t, left + t->desk->delete_after_ms);
	/* an operator's unlink stands until a person links again; ours ends with the return */
	if (t->link == LINK_UNMANAGED && !left)
		task_done(t);
	else if (!t->verify && !task_gives_way(t) && fp_equal(&t->applied, &t->wanted))
		task_done(t);
	else if (t->left)
		decide_left(t);
	else if (waits_for_permit(t))
		hold_disable(t);
	else
		decide_in(t);
}

/* ---- the guard ---- */

/* A plan shows what takes a permit as if it had it. */
static bool permitted(struct task *t, const char *op, const char *what)
{
	if (task_permitted(t, op, what))
		return true;
	task_want(t, op, what);
	return t->desk->show != NULL;
}

static size_t fields_set(const struct task *t)
{
	size_t n = 0;

	for (size_t i = 0; i < mapping_count(t->desk->mapping); i++) {
		const char *path = mapping_path(t->desk->mapping, i);

		if (t->has_account ? !mapping_empty(mapping_get(t->account.json, path))
				   : task_field_was_set(t, path))
			n++;
	}
	return n;
}

static void guard_clear(struct task *t, struct target_op *op)
{
	cJSON *item = op->clear ? op->clear->child : NULL;

	while (item && !t->has_account) {
		cJSON *next = item->next;

		if (!task_field_was_set(t, item->string))
			cJSON_Delete(cJSON_DetachItemViaPointer(op->clear, item));
		item = next;
	}
	size_t n = (size_t)cJSON_GetArraySize(op->clear);

	if (n >= CLEAR_MASS && n * 2 >= fields_set(t) && !permitted(t, "clear_mass", NULL))
		n = 0;
	if (n == 0) {
		cJSON_Delete(op->clear);
		op->clear = NULL;
	}
}

/* False: nothing of the operation is left to do. */
static bool guard(struct task *t, struct target_op *op)
{
	const char *permit = op->permit ? op->permit : op->kind == TARGET_DELETE ? "delete" : NULL;

	if (permit && !permitted(t, permit, op->what))
		return false;
	if (op->serial && !permitted(t, WIRE_SERIAL, NULL)) {
		if (permit) /* the permit that is there stays until its turn comes */
			task_want(t, permit, op->what);
		return false;
	}
	if (op->kind != TARGET_UPDATE)
		return true;
	guard_clear(t, op);
	if (op->enabled == TARGET_DISABLE && !permitted(t, "disable", NULL))
		op->enabled = TARGET_KEEP;
	return op->clear || (op->set && op->set->child) || op->enabled != TARGET_KEEP;
}

static void guard_plan(struct task *t)
{
	struct target_op **at = &t->plan.first;

	while (*at) {
		struct target_op *op = *at;

		if (guard(t, op)) {
			at = &op->next;
			continue;
		}
		*at = op->next;
		target_op_free(op);
	}
	t->plan.end = at;
}

/* ---- the plan ---- */

/* The key by which the account will be looked up must be in it from its first moment, mapped or not. */
static void key_into_create(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf value = {0};
	struct target_op *op = t->plan.first;
	const char *field = join_rule(t->desk->join, 0)->remote;

	while (op && op->kind != TARGET_CREATE)
		op = op->next;
	if (!op || !join_value(t->desk->join, 0, t->snapshot, &value))
		return;
	if (!op->set)
		op->set = cJSON_CreateObject();
	if (!json_get(op->set, field))
		cJSON_AddStringToObject(op->set, field, value.p);
}

void task_park_by_plan(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf detail = {0}, waits = {0};

	buf_add(&detail, t->plan.parked_detail.p, t->plan.parked_detail.n);
	buf_add(&waits, t->plan.waits.p, t->plan.waits.n);
	task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED,
					  .reason = t->plan.parked,
					  .detail = buf_slice(&detail),
					  .waits = waits.n ? waits.p : NULL});
}

void task_plan(struct task *t)
{
	struct target_link link = {t->rid, t->link, task_driver_memory(t)};
	bool create = !t->has_account && !*t->rid;
	struct target_want want = {.document = t->document,
				   .enabled = t->enabled,
				   .leave_delete = t->leave_delete,
				   .left = t->left,
				   .create = create,
				   .refs = t->refs,
				   .refs_n = t->refs_n,
				   .snapshot = t->snapshot,
				   .link = &link,
				   .account = t->has_account ? &t->account : NULL,
				   .document_applied =
					   !t->has_account && !create && task_document_applied(t),
				   .now_unix_ms = t->now_unix_ms,
				   .licence = &t->licence,
				   .no_seat = t->no_seat};

	if (t->has_account && !t->left)
		mapping_leave(t->desk->mapping, t->account.json, t->document);
	target_plan_done(&t->plan);
	t->wants_n = 0;
	buf_clear(&t->wants);
	t->intent_noted = false;
	t->late.set = false;
	buf_clear(&t->late.detail);
	buf_clear(&t->late.waits);
	if (t->desk->driver->plan(t->desk->target, &want, &t->plan) < 0) {
		CLEANUP(buf_cleanup) struct buf detail = {0};

		buf_add(&detail, t->plan.parked_detail.p, t->plan.parked_detail.n);
		task_finish(t, &(struct task_end){.verdict = VERDICT_REJECTED,
						  .reason = "mapping_invalid",
						  .detail = buf_slice(&detail)});
		return;
	}
	if (t->plan.read && !t->was_read && *t->rid) {
		task_read(t);
		return;
	}
	task_remember(t, t->plan.remember);
	if (t->plan.parked && !t->plan.parked_last) {
		task_park_by_plan(t);
		return;
	}
	look_again(t, t->plan.look_again_unix_ms);
	if (t->has_account)
		t->link = t->account.enabled ? LINK_ACTIVE : LINK_DISABLED;
	guard_plan(t);
	task_plan_giving_way(t);
	key_into_create(t);
	if (task_agree(t, t->plan.first || !t->claimed ? NULL : "link"))
		task_apply_next(t);
}

bool task_plan_owing(struct task *t)
{
	bool any = false;

	for (size_t i = 0; i < t->refs_n; i++) {
		if (!*t->refs[i].rid)
			continue;
		any = true;
		free_cleanup(&t->refs[i].rid);
		t->refs[i].rid = mem_dup("");
		wire_add_id(&t->owed, &(struct wire_id){.id = t->ref_ids[i]});
		t->owed_n++;
	}
	if (!any)
		return false;
	t->wanted = fingerprint(t, t->enabled);
	task_plan(t);
	return true;
}
