#include "task_own.h"

#include <stdlib.h>
#include <string.h>

/* ---- an operation was done ---- */

void task_did(struct task *t, const char *name)
{
	if (t->ops.n > 500)
		return;
	if (t->ops.n)
		buf_addc(&t->ops, ' ');
	buf_adds(&t->ops, name);
}

/* What is told of it in the provisioning log. */
static void add_audit(struct task *t, const struct target_op *op, const struct target_answer *a)
{
	if (!op->audit && !a->audit.n)
		return;
	buf_addf(&t->audit, "%s%s", t->audit.n ? "; " : "", op->name);
	if (op->audit)
		buf_addf(&t->audit, " %s", op->audit);
	if (a->audit.n) {
		buf_addc(&t->audit, ' ');
		buf_add(&t->audit, a->audit.p, a->audit.n);
	}
}

static void note_switch(struct task *t, enum target_switch enabled)
{
	switch (enabled) {
	case TARGET_KEEP:
		break;
	case TARGET_ENABLE:
		t->link = LINK_ACTIVE;
		task_remember_ms(t, "left_ms", 0);
		task_did(t, "enable");
		break;
	case TARGET_DISABLE:
		t->link = LINK_DISABLED;
		task_did(t, "disable");
		if (t->desk->driver->disable_frees)
			task_did(t, "licence_revoke"); /* wakes who waits for a seat */
		break;
	}
}

static void take_account(struct task *t, struct target_answer *a)
{
	if (a->accounts_n == 0)
		return;
	target_account_done(&t->account);
	t->account = a->accounts[0];
	a->accounts[0] = (struct target_account){0};
	t->has_account = true;
}

static void created(struct task *t, const struct target_op *op)
{
	free_cleanup(&t->rid);
	t->rid = mem_dup(t->account.rid);
	t->link = op->enabled == TARGET_DISABLE ? LINK_DISABLED : LINK_ACTIVE;
	t->came_as = t->link;
	t->made = true;
	task_creating_over(t);
	task_remember_ms(t, "left_ms", 0);
	task_remember_ms(t, "created_ms", t->now_unix_ms);
	task_did(t, op->name);
}

static void op_pop(struct task *t)
{
	struct target_op *op = t->plan.first;

	t->plan.first = op->next;
	if (!t->plan.first)
		t->plan.end = &t->plan.first;
	target_op_free(op);
	t->intent_noted = false;
}

/* What holds of who left, also when something else of him was refused. */
static void mark_left(struct task *t)
{
	if (t->left && t->link == LINK_DISABLED && t->wants_n == 0 &&
	    !task_memory_ms(t, "left_ms")) {
		task_remember_ms(t, "left_ms", t->now_unix_ms);
		if (t->desk->leave == TASK_LEAVE_DELETE)
			t->look_again_unix_ms = t->now_unix_ms + t->desk->delete_after_ms;
	}
}

static void finished(struct task *t)
{
	mark_left(t);
	if (t->late.set) {
		task_finish_late(t);
		return;
	}
	if (t->plan.parked) {
		task_park_by_plan(t);
		return;
	}
	if (!t->left) {
		task_remember_ms(t, "left_ms", 0);
		if (t->link == LINK_UNMANAGED)
			t->link = t->enabled ? LINK_ACTIVE : LINK_DISABLED;
		if (t->wants_n == 0)
			task_fields_store(t);
		else
			task_fields_forget(t);
	}
	task_done(t);
}

static void op_done(struct task *t, struct exchange_outcome *o)
{
	struct target_op *op = t->plan.first;
	bool note_it = false;

	add_audit(t, op, o->answer);
	take_account(t, o->answer);
	switch (op->kind) {
	case TARGET_CREATE:
		created(t, op);
		note_it = op->next != NULL;
		break;
	case TARGET_UPDATE:
		if (op->set || op->clear)
			task_did(t, op->name);
		note_switch(t, op->enabled);
		break;
	case TARGET_DELETE:
		t->link = LINK_DELETED;
		task_did(t, op->name);
		break;
	case TARGET_STEP:
		task_did(t, op->name);
		note_it = op->remember && op->next;
		break;
	case TARGET_FIND:
	case TARGET_READ:
	case TARGET_KINDS:
		break;
	}
	if (!op->intent)
		task_remember(t, op->remember);
	op_pop(t);
	if (note_it && t->plan.first->before) { /* with one NOTE */
		t->intent_noted = true;
		task_remember(t, t->plan.first->before);
	}
	if (note_it)
		task_note(t, NOTE_PARTIAL, task_apply_next);
	else
		task_apply_next(t);
}

/* ---- or not ---- */

static void op_gone(struct task *t, struct exchange_outcome *o)
{
	const struct target_op *op = t->plan.first;

	if (op->kind == TARGET_DELETE)
		op_done(t, o);
	else if (op->kind == TARGET_STEP)
		task_fail(t, o);
	else if (t->rereads++ < 2)
		task_read(t); /* it alone decides what a missing account means */
	else
		task_fail(t, o);
}

static void op_exists(struct task *t, const struct exchange_outcome *o)
{
	bool create = t->plan.first->kind == TARGET_CREATE;

	task_name_said(t, o->answer);
	if (create && !t->looked_again) {
		t->looked_again = true;
		task_find_from(t, 0, true);
	} else if (!create && t->name.value.n) {
		task_name_taken(t);
	} else {
		task_fail(t, o);
	}
}

/* A refusal that is no "exists" of the user itself, but of a name. */
static bool is_name_taken(const struct task *t, const struct exchange_outcome *o)
{
	return o->verdict.class == VERDICT_CLASS_PARK && o->verdict.reason &&
	       strcmp(o->verdict.reason, "name_taken") == 0 && o->answer->field.n &&
	       (t->plan.first->kind == TARGET_CREATE || t->plan.first->kind == TARGET_UPDATE);
}

static void name_refused(struct task *t, const struct exchange_outcome *o)
{
	task_name_said(t, o->answer);
	if (t->name.value.n)
		task_name_taken(t);
	else
		task_fail(t, o);
}

static void op_stale(struct task *t, const struct exchange_outcome *o)
{
	if (t->rereads++ < 2 && *t->rid)
		task_read(t);
	else
		task_fail(t, o);
}

/* The others go on, but for those that build on it. */
static void op_refused(struct task *t, const struct exchange_outcome *o)
{
	char *what = t->plan.first->what;
	int64_t again = t->now_unix_ms + t->plan.first->again_ms;

	if (t->plan.first->again_ms && (!t->look_again_unix_ms || again < t->look_again_unix_ms))
		t->look_again_unix_ms = again;
	task_fail_later(t, o);
	t->plan.first->what = NULL;
	op_pop(t);
	while (t->plan.first && what && *what && t->plan.first->what &&
	       strcmp(t->plan.first->what, what) == 0)
		op_pop(t);
	free(what);
	task_apply_next(t);
}

static void on_applied(void *arg, struct exchange_job *job, struct exchange_outcome *o)
{
	struct task *t = arg;
	enum verdict_class class = o->verdict.class;
	CLEANUP(buf_cleanup) struct buf id = {0};

	t->requests += job->requests;
	t->charged += job->requests;
	t->status = o->status;
	t->unknown |= o->verdict.unknown_outcome;
	buf_add_utf8(&id,
		     o->answer->request_id.n ? buf_slice(&o->answer->request_id)
					     : slice_of(o->request_id),
		     sizeof(t->request_id) - 1);
	snprintf(t->request_id, sizeof(t->request_id), "%s", id.p ? id.p : "");
	if (class == VERDICT_CLASS_OK && t->plan.first->kind == TARGET_CREATE &&
	    !(o->answer->accounts_n && task_rid_fits(o->answer->accounts))) {
		/* created, and no word under which id */
		t->unknown = true;
		task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY,
						  .reason = "no_id_in_answer"});
	} else if (class == VERDICT_CLASS_OK) {
		op_done(t, o);
	} else if (class == VERDICT_CLASS_GONE) {
		op_gone(t, o);
	} else if (class == VERDICT_CLASS_EXISTS) {
		op_exists(t, o);
	} else if (class == VERDICT_CLASS_STALE) {
		op_stale(t, o);
	} else if (is_name_taken(t, o)) {
		name_refused(t, o);
	} else if (t->plan.first->go_on &&
		   (class == VERDICT_CLASS_PARK || class == VERDICT_CLASS_REJECT)) {
		op_refused(t, o);
	} else {
		task_fail(t, o);
	}
}

void task_apply_next(struct task *t)
{
	struct target_op *op = t->plan.first;

	if (!op) {
		finished(t);
		return;
	}
	if ((op->intent || op->before) && !t->intent_noted) {
		t->intent_noted = true;
		task_remember(t, op->before ? op->before : op->remember);
		task_note(t, NOTE_PARTIAL, task_apply_next);
		return;
	}
	task_move(t, TASK_APPLYING);
	task_submit(t, op, false, on_applied);
}
