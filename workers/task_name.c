/* A name that the service calls taken: who holds it, and how it is given up. The broker knows whose the holder's account is, and what
 * that user waits for; by its word (the permit `yield`) a leaver's account, or one of those who wait for each other's names in a
 * circle, takes another name for the time being. Its own comes back with the next document that is written. */
#include "task_own.h"

#include <stdlib.h>
#include <string.h>

/* ---- another name ---- */

static void suffix_of(const struct task *t, struct buf *out)
{
	struct fp fp = fp_of((struct slice){(const char *)t->user.b, sizeof(t->user.b)});

	buf_addc(out, '-');
	for (size_t i = 0; i < 5; i++)
		buf_addf(out, "%02x", fp.b[i]);
}

/* name@domain becomes name-HASH@domain; false: it is that already. */
static bool other_name(const struct task *t, const char *name, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf suffix = {0};
	size_t n = strcspn(name, "@");

	suffix_of(t, &suffix);
	if (n >= suffix.n && strncasecmp(name + n - suffix.n, suffix.p, suffix.n) == 0)
		return false;
	buf_add(out, name, n);
	buf_add(out, suffix.p, suffix.n);
	buf_adds(out, name + n);
	return true;
}

/* What makes the account the user's is never given up. */
static bool is_key(const struct task *t, const char *field)
{
	return join_key_stays(t->desk->join) &&
	       strcasecmp(join_rule(t->desk->join, 0)->remote, field) == 0;
}

/* ---- who holds it ---- */

void task_name_said(struct task *t, const struct target_answer *a)
{
	const char *value = a->field.n ? json_text(t->document, a->field.p) : NULL;

	buf_clear(&t->name.field);
	buf_clear(&t->name.value);
	buf_clear(&t->name.detail);
	if (!value)
		return;
	buf_add(&t->name.field, a->field.p, a->field.n);
	buf_adds(&t->name.value, value);
	buf_add(&t->name.detail, a->detail.p, a->detail.n);
}

static void park(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf waits = {0}, detail = {0};

	if (t->name.holder.n)
		buf_addf(&waits, "holder:%s=%s", t->name.field.p, t->name.holder.p);
	else if (t->name.value.n)
		buf_addf(&waits, "name:%s", t->name.value.p);
	if (t->name.holder.n)
		buf_addf(&detail, "%s: held by account %s. ", t->name.field.p, t->name.holder.p);
	buf_add(&detail, t->name.detail.p, t->name.detail.n);
	task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED,
					  .reason = "name_taken",
					  .detail = buf_slice(&detail),
					  .waits = waits.n ? waits.p : NULL});
}

static void on_yielded(void *arg, struct exchange_job *job, struct exchange_outcome *o)
{
	struct task *t = arg;

	t->requests += job->requests;
	t->status = o->status;
	t->unknown |= o->verdict.unknown_outcome;
	if (o->verdict.class != VERDICT_CLASS_OK) {
		task_fail(t, o);
		return;
	}
	task_did(t, "yield");
	park(t);
}

/* True: the account's own name is given up, so that others can go on. */
static bool yield(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf other = {0};
	const char *field = t->name.field.p;
	const cJSON *now = t->has_account ? mapping_get(t->account.json, field) : NULL;

	if (!now || !cJSON_IsString(now) || !task_permitted(t, "yield", field) ||
	    !other_name(t, now->valuestring, &other))
		return false;
	cJSON_Delete(t->name.set);
	t->name.set = cJSON_CreateObject();
	cJSON_AddStringToObject(t->name.set, field, other.p);
	t->own = (struct target_op){
		.kind = TARGET_UPDATE, .name = "yield", .set = t->name.set, .enabled = TARGET_KEEP};
	task_move(t, TASK_APPLYING);
	task_submit(t, &t->own, true, on_yielded);
	return true;
}

static void on_holder(void *arg, struct exchange_job *job, struct exchange_outcome *o)
{
	struct task *t = arg;
	const struct target_account *a = o->answer->accounts;

	t->requests += job->requests;
	if (o->verdict.class == VERDICT_CLASS_THROTTLED || o->verdict.class == VERDICT_CLASS_AUTH ||
	    o->verdict.class == VERDICT_CLASS_DOWN) {
		task_fail(t, o);
		return;
	}
	if (o->verdict.class == VERDICT_CLASS_OK && o->answer->accounts_n == 1 &&
	    task_rid_fits(a) && strcmp(a->rid, t->rid) != 0)
		buf_adds(&t->name.holder, a->rid);
	if (!t->name.holder.n || !yield(t))
		park(t);
}

void task_name_taken(struct task *t)
{
	buf_clear(&t->name.holder);
	if (!t->name.value.n || t->left || is_key(t, t->name.field.p)) {
		park(t);
		return;
	}
	task_move(t, TASK_FINDING);
	t->own = (struct target_op){
		.kind = TARGET_FIND, .name = "find", .key = {t->name.field.p, t->name.value.p}};
	task_submit(t, &t->own, true, on_holder);
}

/* ---- a leaver's account gives way ---- */

bool task_gives_way(const struct task *t)
{
	for (size_t i = 0; t->left && i < t->permits_n; i++)
		if (strcmp(t->permits[i].op, "yield") == 0)
			return true;
	return false;
}

void task_plan_giving_way(struct task *t)
{
	for (size_t i = 0; t->left && t->has_account && i < t->permits_n; i++) {
		CLEANUP(buf_cleanup) struct buf other = {0};
		const char *field = t->permits[i].what;
		const cJSON *now = mapping_get(t->account.json, field);
		struct target_op *op;

		if (strcmp(t->permits[i].op, "yield") != 0 || !cJSON_IsString(now) ||
		    is_key(t, field) || !other_name(t, now->valuestring, &other))
			continue;
		task_fields_forget(
			t); /* who returns has the account read, and the own name written */
		op = target_plan_add(&t->plan, TARGET_UPDATE, "yield");
		op->set = cJSON_CreateObject();
		cJSON_AddStringToObject(op->set, field, other.p);
	}
}

void task_name_done(struct task *t)
{
	cJSON_Delete(t->name.set);
	buf_done(&t->name.field);
	buf_done(&t->name.value);
	buf_done(&t->name.detail);
	buf_done(&t->name.holder);
}
