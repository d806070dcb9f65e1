#include "crash.h"
#include "task_own.h"

#include <string.h>

/* ---- none was found ---- */

static int64_t settle_left_ms(const struct task *t)
{
	int64_t since = task_memory_ms(t, "creating_ms");
	int64_t until = since + t->desk->settle_ms;

	return since && t->now_unix_ms < until ? until - t->now_unix_ms : 0;
}

static void forget_link(struct task *t)
{
	t->rid[0] = '\0';
	task_fields_forget(t);
	task_remember_ms(t, "created_ms", 0);
}

static void plan_create(struct task *t)
{
	t->has_account = false;
	forget_link(t);
	task_plan(t);
}

static void begin_creating(struct task *t, task_next_fn next)
{
	CLEANUP(buf_cleanup) struct buf key = {0};

	if (!join_value(t->desk->join, 0, t->snapshot, &key)) {
		task_finish(t, &(struct task_end){
				       .verdict = VERDICT_PARKED,
				       .reason = "mandatory_missing",
				       .detail = slice_of(join_rule(t->desk->join, 0)->local)});
		return;
	}
	t->link = LINK_CREATING;
	task_creating(t, key.p);
	if (!t->noted) {
		task_note(t, NOTE_CREATING, next);
		return;
	}
	t->noted = false;
	CRASH_POINT("worker.creating_known");
	next(t);
}

void task_none_found(struct task *t)
{
	int64_t wait = settle_left_ms(t);

	if (t->looked_again && !t->left) {
		/* the service said "exists", and no rule finds it */
		task_name_taken(t);
		return;
	}
	if (t->came_as == LINK_CREATING && wait > 0) {
		task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY,
						  .reason = "settling",
						  .after_ms = wait});
		return;
	}
	if (t->left && !t->looked) {
		/* it may be there, and nobody can tell which it is */
		task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED, .reason = "no_key"});
		return;
	}
	if (t->left || !t->desk->create) {
		forget_link(t);
		t->link = t->came_as = LINK_NONE;
		task_creating_over(t);
		if (t->left)
			task_done(t);
		else
			task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED,
							  .reason = "no_account"});
		return;
	}
	if (t->came_as != LINK_CREATING) {
		plan_create(t);
		return;
	}
	/* before a second POST the settle time begins anew */
	begin_creating(t, plan_create);
}

/* ---- one was found ---- */

bool task_rid_fits(const struct target_account *a)
{
	return a->rid && *a->rid && strlen(a->rid) < 1000 && utf8_valid(slice_of(a->rid));
}

static void claim(struct task *t, struct target_account *account)
{
	if (!task_rid_fits(account)) {
		target_account_done(account);
		task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY,
						  .reason = "no_id_in_answer"});
		return;
	}
	target_account_done(&t->account);
	t->account = *account;
	*account = (struct target_account){0};
	t->has_account = true;
	free_cleanup(&t->rid);
	t->rid = mem_dup(t->account.rid);
	task_creating_over(t);
	t->claimed = true;
	t->came_as = t->link = t->account.enabled ? LINK_ACTIVE : LINK_DISABLED;
	task_note(t, NOTE_CLAIM, task_plan);
}

/* ---- an unfinished one was found ---- */

bool task_claim_next(struct task *t)
{
	struct target_account next;

	if (t->blanks_n == 0)
		return false;
	next = t->blanks[--t->blanks_n];
	claim(t, &next);
	return true;
}

/* Nothing says whose they are, and several creations may be looking for theirs: the broker gives each to one. */
static void claim_blank(struct task *t, struct target_answer *answer)
{
	t->blanks = mem_resize(t->blanks, answer->accounts_n * sizeof(*t->blanks));
	while (answer->accounts_n > 0)
		t->blanks[t->blanks_n++] = answer->accounts[--answer->accounts_n];
	task_claim_next(t);
}

static void park_hit(struct task *t, const char *reason, const char *rid)
{
	CLEANUP(buf_cleanup) struct buf detail = {0};

	buf_addf(&detail, "rule %zu, field %s", t->rule + 1,
		 join_rule(t->desk->join, t->rule)->remote);
	if (rid)
		buf_addf(&detail, ", account %s", rid);
	task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED,
					  .reason = reason,
					  .detail = buf_slice(&detail)});
}

/* What the account of a creation under way was made with; NULL: there is none, or it was looked for. */
static const char *made_with(const struct task *t)
{
	return t->came_as == LINK_CREATING && !t->looked_as_made ? task_creating_key(t) : NULL;
}

static bool key_of(struct task *t, size_t rule)
{
	const char *made = rule == 0 ? made_with(t) : NULL;

	if (!made)
		return t->snapshot && join_value(t->desk->join, rule, t->snapshot, &t->key);
	buf_clear(&t->key);
	buf_adds(&t->key, made);
	return true;
}

/* After what the account was made with comes what the user is called now. */
static size_t next_rule(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf now = {0};
	const char *made = t->rule == 0 ? made_with(t) : NULL;

	if (!made)
		return t->rule + 1;
	t->looked_as_made = true;
	return t->snapshot && join_value(t->desk->join, 0, t->snapshot, &now) &&
			       strcmp(now.p, made) == 0
		       ? 1
		       : 0;
}

static void on_found(void *arg, struct exchange_job *job, struct exchange_outcome *o)
{
	struct task *t = arg;
	size_t hit = 0;

	task_read_paid(t, job);
	if (o->verdict.class != VERDICT_CLASS_OK) {
		t->status = o->status;
		task_fail(t, o);
		return;
	}
	struct target_account *accounts = o->answer->accounts;

	if (o->answer->accounts_n && accounts[0].blank) {
		claim_blank(t, o->answer);
		return;
	}
	struct join_hits hits = {t->desk->driver, t->desk->target, t->key.p, o->answer};

	switch (join_judge(t->desk->join, t->rule, &hits, &hit)) {
	case JOIN_NONE:
		task_find_from(t, next_rule(t), t->alone);
		break;
	case JOIN_LINK:
		claim(t, &accounts[hit]);
		break;
	case JOIN_AMBIGUOUS:
		park_hit(t, "ambiguous", NULL);
		break;
	case JOIN_PROPOSAL:
		park_hit(t, "soft_match", accounts[hit].rid);
		break;
	case JOIN_PRIVILEGED:
		park_hit(t, "privileged", accounts[hit].rid);
		break;
	case JOIN_OUTCOMES:
		break;
	}
}

/* ---- looking ---- */

void task_find_from(struct task *t, size_t rule, bool alone)
{
	size_t n = join_count(t->desk->join);

	while (rule < n && !key_of(t, rule))
		rule++;
	t->alone = alone;
	if (rule == n) {
		buf_clear(&t->key);
		task_none_found(t);
		return;
	}
	t->rule = rule;
	t->looked = true;
	task_move(t, TASK_FINDING);
	cJSON_Delete(t->own.body);
	t->own = (struct target_op){
		.kind = TARGET_FIND,
		.name = "find",
		.key = {join_rule(t->desk->join, rule)->remote, t->key.p},
		.unfinished = t->came_as == LINK_CREATING ? task_driver_memory(t) : NULL};
	task_submit(t, &t->own, alone, on_found);
}

static void look_first(struct task *t)
{
	const char *field = join_rule(t->desk->join, 0)->remote;
	bool sure = t->desk->create && t->came_as == LINK_NONE && !t->alone && !task_careful(t) &&
		    t->desk->driver->refuses_second &&
		    t->desk->driver->refuses_second(t->desk->target, field);

	if (sure)
		plan_create(t);
	else
		task_find_from(t, 0, t->alone);
}

void task_create_begin(struct task *t, bool alone)
{
	t->alone = alone;
	if (t->link == LINK_CREATING || !t->desk->create)
		task_find_from(t, 0, alone);
	else
		begin_creating(t, look_first);
}

/* ---- reading the linked account ---- */

static void read_gone(struct task *t)
{
	int64_t created = task_memory_ms(t, "created_ms");

	if (created && t->now_unix_ms < created + t->desk->settle_ms) {
		task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY,
						  .reason = "not_yet_visible"});
	} else if (t->left) {
		t->link = LINK_DELETED;
		task_done(t);
	} else if (json_true(t->memory, "manual", false)) {
		/* a person said that it is this one: no other takes its place */
		task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED,
						  .reason = "linked_account_gone",
						  .detail = slice_of(t->rid)});
	} else if (t->gone_once) {
		task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY, .reason = "not_found"});
	} else {
		t->gone_once = true;
		t->has_account = false;
		t->link = t->came_as = LINK_DELETED;
		task_create_begin(t, true);
	}
}

static void on_read(void *arg, struct exchange_job *job, struct exchange_outcome *o)
{
	struct task *t = arg;

	task_read_paid(t, job);
	t->status = o->status;
	if (o->verdict.class == VERDICT_CLASS_GONE ||
	    (o->verdict.class == VERDICT_CLASS_OK && o->answer->accounts_n == 0)) {
		read_gone(t);
		return;
	}
	if (o->verdict.class != VERDICT_CLASS_OK) {
		task_fail(t, o);
		return;
	}
	target_account_done(&t->account);
	t->account = o->answer->accounts[0];
	o->answer->accounts[0] = (struct target_account){0};
	t->has_account = t->was_read = true;
	task_plan(t);
}

void task_read(struct task *t)
{
	if (t->desk->known && t->desk->known(t->desk->arg, t->rid, &t->account)) {
		t->has_account = true;
		task_plan(t);
		return;
	}
	task_move(t, TASK_READING);
	cJSON_Delete(t->own.body);
	t->own = (struct target_op){.kind = TARGET_READ, .name = "read"};
	task_submit(t, &t->own, false, on_read);
}
