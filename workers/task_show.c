/* What would be done, as something that can be shown to a person and recognised later. */
#include "task_own.h"

#include <string.h>

bool task_careful(const struct task *t)
{
	return t->desk->show || !fp_is_none(&t->expect);
}

static void add_json(struct buf *text, const char *name, const cJSON *value)
{
	buf_addf(text, "%s ", name);
	if (value)
		json_canonical(value, text);
	buf_addc(text, '\n');
}

/* What an operation remembers is left out: times stand in it. */
static void add_op(struct buf *text, const struct target_op *op)
{
	buf_addf(text, "op %d %s %s %d\n", op->kind, op->name, op->what ? op->what : "",
		 op->enabled);
	add_json(text, "set", op->set);
	add_json(text, "clear", op->clear);
	add_json(text, "body", op->body);
}

static struct fp hash(const struct task *t, const char *alone)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	buf_addf(&text, "%s %llu %s\n%s\n", t->user_text, (unsigned long long)t->version,
		 alone ? alone : "", t->rid);
	if (t->has_account && t->account.revision)
		buf_addf(&text, "revision %s\n", t->account.revision);
	else
		add_json(&text, "account", t->has_account ? t->account.json : NULL);
	for (const struct target_op *op = t->plan.first; op; op = op->next) {
		/* has its turn later, beside what is approved */
		if (!op->serial)
			add_op(&text, op);
	}
	return fp_of(buf_slice(&text));
}

static struct fp op_hash(const struct target_op *op)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	add_op(&text, op);
	return fp_of(buf_slice(&text));
}

static void agree(struct task *t)
{
	t->agreed = true;
	for (const struct target_op *op = t->plan.first; op; op = op->next) {
		struct fp fp = op_hash(op);

		buf_add(&t->agreed_ops, &fp, sizeof(fp));
	}
}

/* Something of it is written already, and the account was read anew in between: the rest of it, and nothing else. */
static bool is_rest(const struct task *t)
{
	for (const struct target_op *op = t->plan.first; op; op = op->next) {
		struct fp fp = op_hash(op);

		if (!memmem(t->agreed_ops.p, t->agreed_ops.n, &fp, sizeof(fp)))
			return false;
	}
	return true;
}

static void show(struct task *t, const struct task_shown *shown)
{
	t->desk->show(t->desk->arg, shown);
	task_drop(t);
}

bool task_agree(struct task *t, const char *alone)
{
	struct task_shown shown = {.lease = t->lease,
				   .user = t->user_text,
				   .snapshot = t->snapshot,
				   .rid = t->rid,
				   .account = t->has_account ? &t->account : NULL,
				   .ops = t->plan.first,
				   .alone = alone,
				   .needs = wire_list_of(&t->wants, t->wants_n)};

	if (!task_careful(t) || (!alone && !t->plan.first))
		return true;
	shown.hash = hash(t, alone);
	if (t->desk->show) {
		show(t, &shown);
		return false;
	}
	if (t->agreed && t->ops.n > 0 ? is_rest(t) : fp_equal(&shown.hash, &t->expect)) {
		agree(t);
		return true;
	}
	/* Rows before this one may have made the manager's account since the plan: the reference comes later, as it was shown. */
	if (!t->agreed && task_plan_owing(t))
		return false;
	task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY, .reason = WIRE_CHANGED});
	return false;
}
