#include "clock.h"
#include "crash.h"
#include "log.h"
#include "redact.h"
#include "task_own.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 200, NOTE_AGAIN_MS = 1000, DETAIL_MOST = 1000, WAITS_MOST = 1000 };

/* ---- the state, and its only writer ---- */

#define TO(state) (1u << TASK_##state)
static const unsigned legal[TASK_STATES] = {
	[TASK_NEW] = TO(NOTING) | TO(FINDING) | TO(READING) | TO(APPLYING) | TO(REPORTED),
	[TASK_NOTING] = TO(NOTING) | TO(FINDING) | TO(APPLYING) | TO(REPORTED),
	[TASK_FINDING] = TO(FINDING) | TO(NOTING) | TO(APPLYING) | TO(REPORTED),
	[TASK_READING] = TO(APPLYING) | TO(FINDING) | TO(NOTING) | TO(REPORTED),
	[TASK_APPLYING] = TO(APPLYING) | TO(NOTING) | TO(READING) | TO(FINDING) | TO(REPORTED),
};

const char *task_state_name(enum task_state state)
{
	static const char *const names[TASK_STATES] = {"new",	  "noting",   "finding",
						       "reading", "applying", "reported"};

	return names[state];
}

void task_move(struct task *t, enum task_state to)
{
	assert(legal[t->state] & 1u << to);
	if (log_on(LOG_DEBUG_)) {
		struct log_line l = log_begin(LOG_DEBUG_, "DP-3001", "task moves");

		log_id(&l, "user", &t->user);
		log_text(&l, "from", task_state_name(t->state));
		log_text(&l, "to", task_state_name(to));
		log_end(&l);
	}
	exchange_expect(t->desk->exchange, (to == TASK_NOTING) - (t->state == TASK_NOTING));
	t->state = to;
}

/* ---- tasks by lease ---- */

// NOLINTNEXTLINE(readability-function-size): uthash
static struct task *desk_find(const struct task_desk *desk, uint64_t epoch, uint64_t page,
			      uint32_t index)
{
	struct task_lease lease = {0}; /* hashed with its padding */
	struct task *t;

	lease.epoch = epoch;
	lease.page = page;
	lease.index = index;
	HASH_FIND(hh, desk->tasks, &lease, sizeof(lease), t);
	return t;
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void desk_add(struct task_desk *desk, struct task *t)
{
	HASH_ADD(hh, desk->tasks, lease, sizeof(t->lease), t);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static void desk_remove(struct task_desk *desk, struct task *t)
{
	HASH_DEL(desk->tasks, t);
}

/* ---- the desk ---- */

static void on_tick(void *arg);

void task_desk_init(struct task_desk *desk)
{
	CLEANUP(buf_cleanup) struct buf paths = {0};

	for (size_t i = 0; i < mapping_count(desk->mapping); i++) {
		buf_adds(&paths, mapping_path(desk->mapping, i));
		buf_addc(&paths, '\n');
	}
	struct fp fp = fp_of(buf_slice(&paths));

	snprintf(desk->shape, sizeof(desk->shape), "%02x%02x%02x%02x", fp.b[0], fp.b[1], fp.b[2],
		 fp.b[3]);
	if (desk->settle_ms == 0)
		desk->settle_ms = desk->driver->settle_ms;
	desk->tasks = NULL;
	desk->ticking = false;
	desk->tick = loop_timer_new(desk->loop, on_tick, desk);
}

size_t task_count(const struct task_desk *desk)
{
	return HASH_COUNT(desk->tasks);
}

void task_drop(struct task *t)
{
	desk_remove(t->desk, t);
	snapshot_free(t->snapshot);
	cJSON_Delete(t->document);
	cJSON_Delete(t->memory);
	for (size_t i = 0; i < t->refs_n; i++) {
		free_cleanup(&t->refs[i].name);
		free_cleanup(&t->refs[i].rid);
	}
	free(t->refs);
	free(t->ref_ids);
	for (size_t i = 0; i < t->permits_n; i++) {
		free(t->permits[i].op);
		free(t->permits[i].what);
	}
	free(t->permits);
	free((void *)t->no_seat);
	licence_verdict_done(&t->licence);
	free(t->rid);
	cJSON_Delete(t->own.body);
	while (t->blanks_n > 0)
		target_account_done(&t->blanks[--t->blanks_n]);
	free(t->blanks);
	target_account_done(&t->account);
	target_plan_done(&t->plan);
	buf_done(&t->owed);
	buf_done(&t->agreed_ops);
	buf_done(&t->key);
	task_name_done(t);
	buf_done(&t->ops);
	buf_done(&t->wants);
	buf_done(&t->audit);
	buf_done(&t->late.detail);
	buf_done(&t->late.waits);
	free(t);
}

void task_desk_done(struct task_desk *desk)
{
	while (desk->tasks)
		task_drop(desk->tasks);
	loop_timer_free(desk->tick);
	desk->tick = NULL;
}

static void tick_ask(struct task_desk *desk)
{
	if (desk->ticking)
		return;
	desk->ticking = true;
	loop_timer_set(desk->tick, TICK_MS);
}

/* ---- taking a TASK ---- */

static void take_lists(struct task *t, const struct wire_task *w)
{
	struct wire_list permits = w->permits, rids = w->rids;
	struct wire_op op;
	struct wire_rid ref;

	t->permits = mem_array(permits.count + 1, sizeof(*t->permits));
	while (wire_next_op(&permits, &op))
		t->permits[t->permits_n++] =
			(struct task_permit){slice_dup(op.op), slice_dup(op.what)};
	t->refs = mem_array(rids.count + 1, sizeof(*t->refs));
	t->ref_ids = mem_array(rids.count + 1, sizeof(*t->ref_ids));
	t->no_seat = mem_array(t->permits_n + 1, sizeof(*t->no_seat));
	for (size_t i = 0, n = 0; i < t->permits_n; i++) {
		if (strcmp(t->permits[i].op, "no_seat") == 0)
			t->no_seat[n++] = t->permits[i].what;
	}
	while (wire_next_rid(&rids, &ref)) {
		const char *const *name = t->desk->driver->refs;

		while (name && *name && !slice_is(ref.name, *name))
			name++;
		if (!name || !*name)
			continue; /* the service has no such reference */
		t->ref_ids[t->refs_n] = ref.id;
		t->refs[t->refs_n++] = (struct target_ref){slice_dup(ref.name), slice_dup(ref.rid)};
		if (ref.rid.n == 0) {
			wire_add_id(&t->owed, &(struct wire_id){.id = ref.id});
			t->owed_n++;
		}
	}
}

static void take_link(struct task *t, const struct wire_task *w)
{
	t->rid = slice_dup(w->rid);
	t->link = t->came_as =
		w->link_state < LINK_STATES ? (enum link_state)w->link_state : LINK_NONE;
	t->noted = w->noted && t->link == LINK_CREATING && !*t->rid;
	if (t->noted)
		t->link = t->came_as = LINK_NONE;
	t->memory = w->link_memory.n && !t->noted ? json_parse(w->link_memory, NULL) : NULL;
	if (!cJSON_IsObject(t->memory)) {
		cJSON_Delete(t->memory);
		t->memory = cJSON_CreateObject();
	}
}

int task_start(struct task_desk *desk, const struct wire_task *w, int64_t now_unix_ms)
{
	struct task *t = desk_find(desk, w->lease_epoch, w->lease_page, w->lease_index);
	const char *why = "";

	if (t)
		return -EALREADY;
	if (clock_boot_ms() >= w->stamp_ms + w->lease_ms)
		return -ETIME;
	t = mem_alloc(sizeof(*t));
	t->desk = desk;
	t->lease.epoch = w->lease_epoch;
	t->lease.page = w->lease_page;
	t->lease.index = w->lease_index;
	t->user = w->id;
	id_format(&w->id, t->user_text);
	t->version = w->version;
	t->now_unix_ms = now_unix_ms;
	t->started_ms = clock_boot_ms();
	t->deadline_ms = w->stamp_ms + w->lease_ms;
	t->verify = w->verify;
	t->applied = w->applied;
	t->expect = w->expect;
	t->left = w->gone || !w->in;
	target_plan_init(&t->plan);
	take_lists(t, w);
	take_link(t, w);
	desk_add(desk, t);
	CRASH_POINT("worker.task_received");
	t->snapshot = snapshot_parse(w->snapshot, &why);
	if (!t->snapshot && !t->left)
		task_finish(t, &(struct task_end){.verdict = VERDICT_REJECTED,
						  .reason = "bad_snapshot",
						  .detail = slice_of(why)});
	else
		task_decide(t);
	return 0;
}

/* ---- NOTE ---- */

static void note_send(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf memory = {0};

	json_canonical(t->memory, &memory);
	t->note_sent_ms = clock_boot_ms();
	t->desk->note(t->desk->arg, &(struct wire_note){.lease_epoch = t->lease.epoch,
							.lease_page = t->lease.page,
							.lease_index = t->lease.index,
							.kind = (uint8_t)t->note,
							.rid = slice_of(t->rid),
							.link_state = (uint8_t)t->link,
							.link_memory = buf_slice(&memory)});
}

void task_note(struct task *t, enum task_note kind, task_next_fn next)
{
	task_move(t, TASK_NOTING);
	t->note = kind;
	t->after_note = next;
	note_send(t);
	tick_ask(t->desk);
}

static void note_crash_point(enum task_note kind)
{
	(void)kind; /* without test hooks */
	if (kind == NOTE_CREATING)
		CRASH_POINT("worker.noted_creating");
	else if (kind == NOTE_CLAIM)
		CRASH_POINT("worker.noted_claim");
	else
		CRASH_POINT("worker.noted_partial");
}

static void claim_refused(struct task *t, struct slice reason)
{
	bool blank = t->account.blank;

	t->rid[0] = '\0'; /* it is another user's */
	if (blank) {
		t->link = t->came_as = LINK_CREATING;
		if (!task_claim_next(t))
			task_none_found(t);
		return;
	}
	t->link = LINK_NONE;
	task_finish(t, &(struct task_end){.verdict = VERDICT_PARKED,
					  .reason = "claimed_by_other",
					  .detail = reason});
}

/* What was just made may be in other hands by now, if it was blank: the creation is looked for again. */
static void note_refused(struct task *t, struct slice reason)
{
	CLEANUP(buf_cleanup) struct buf key = {0};

	if (t->note == NOTE_PARTIAL && t->made && t->snapshot &&
	    join_value(t->desk->join, 0, t->snapshot, &key)) {
		t->rid[0] = '\0';
		t->link = t->came_as = LINK_CREATING;
		task_creating(t, key.p);
	}
	task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY,
					  .reason = "note_refused",
					  .detail = reason});
}

void task_noted(struct task_desk *desk, struct task_lease l, uint8_t kind, bool ok,
		struct slice reason)
{
	struct task *t = desk_find(desk, l.epoch, l.page, l.index);

	if (!t || t->state != TASK_NOTING || t->note != (enum task_note)kind)
		return;
	note_crash_point(t->note);
	if (ok)
		t->after_note(t);
	else if (t->note == NOTE_CLAIM)
		claim_refused(t, reason);
	else
		note_refused(t, reason);
}

static void on_tick(void *arg)
{
	struct task_desk *desk = arg;
	struct task *t, *next;
	int64_t now = clock_boot_ms();

	desk->ticking = false;
	HASH_ITER (hh, desk->tasks, t, next) {
		if (t->state != TASK_NOTING)
			continue;
		tick_ask(desk);
		if (now >= t->deadline_ms)
			task_finish(t, &(struct task_end){.verdict = VERDICT_RETRY,
							  .reason = "lease_ended"});
		else if (now - t->note_sent_ms >= NOTE_AGAIN_MS)
			note_send(t);
	}
}

/* ---- the exchange ---- */

void task_read_paid(struct task *t, const struct exchange_job *job)
{
	t->requests += job->requests;
	if (!t->desk->driver->reads_are_free)
		t->charged += job->requests;
}

void task_submit(struct task *t, struct target_op *op, bool alone, exchange_fn fn)
{
	op->rid = t->rid;
	op->revision = t->has_account ? t->account.revision : NULL;
	op->user = t->user_text;
	t->job = (struct exchange_job){
		.op = op, .alone = alone, .deadline_ms = t->deadline_ms, .fn = fn, .arg = t};
	exchange_submit(t->desk->exchange, &t->job);
}

/* waits holds what end->waits points to. */
static struct task_end end_of(const struct task *t, const struct exchange_outcome *o,
			      struct buf *waits)
{
	static const enum wire_verdict verdicts[VERDICT_CLASSES] = {
		[VERDICT_CLASS_OK] = VERDICT_DONE,
		[VERDICT_CLASS_GONE] = VERDICT_RETRY,
		[VERDICT_CLASS_EXISTS] = VERDICT_PARKED,
		[VERDICT_CLASS_STALE] = VERDICT_RETRY,
		[VERDICT_CLASS_SPLIT] = VERDICT_REJECTED,
		[VERDICT_CLASS_DOWNGRADE] = VERDICT_REJECTED,
		[VERDICT_CLASS_RETRY] = VERDICT_RETRY,
		[VERDICT_CLASS_PARK] = VERDICT_PARKED,
		[VERDICT_CLASS_REJECT] = VERDICT_REJECTED,
		[VERDICT_CLASS_THROTTLED] = VERDICT_THROTTLED,
		[VERDICT_CLASS_AUTH] = VERDICT_AUTH_FAILED,
		[VERDICT_CLASS_DOWN] = VERDICT_DOWN,
	};
	const struct target_answer *a = o->answer;
	const char *field = a->field.n ? a->field.p : NULL;
	const char *value = field ? json_text(t->document, field) : NULL;

	if (o->verdict.waits) {
		buf_adds(waits, o->verdict.waits);
		if (value)
			buf_adds(waits, value);
		else
			buf_add(waits, a->field.p, a->field.n);
	} else if (o->verdict.class == VERDICT_CLASS_EXISTS && value) {
		buf_addf(waits, "name:%s", value);
	}
	return (struct task_end){.verdict = verdicts[o->verdict.class],
				 .reason = o->verdict.reason,
				 .detail = a->detail.n ? buf_slice(&a->detail) : slice_of(o->error),
				 .after_ms = o->verdict.after_ms,
				 .waits = waits->p};
}

void task_fail(struct task *t, const struct exchange_outcome *o)
{
	CLEANUP(buf_cleanup) struct buf waits = {0};
	struct task_end end = end_of(t, o, &waits);

	task_finish(t, &end);
}

void task_fail_later(struct task *t, const struct exchange_outcome *o)
{
	CLEANUP(buf_cleanup) struct buf waits = {0};
	struct task_end end = end_of(t, o, &waits);

	if (t->late.set)
		return;
	t->late.set = true;
	t->late.verdict = end.verdict;
	t->late.reason = end.reason;
	buf_add(&t->late.detail, end.detail.p, end.detail.n);
	if (end.waits)
		buf_adds(&t->late.waits, end.waits);
}

void task_finish_late(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf detail = t->late.detail, waits = t->late.waits;

	t->late.detail = t->late.waits = (struct buf){0};
	task_finish(t, &(struct task_end){.verdict = t->late.verdict,
					  .reason = t->late.reason,
					  .detail = buf_slice(&detail),
					  .waits = waits.n ? waits.p : NULL});
}

/* ---- RESULT ---- */

/* A creation that surely did not happen leaves no trace; one that may have happened stays `creating`. */
static void settle_link(struct task *t)
{
	if (t->link == LINK_CREATING && t->came_as != LINK_CREATING && !t->unknown) {
		t->link = t->came_as;
		task_creating_over(t);
	}
	int64_t created = task_memory_ms(t, "created_ms");

	if (created && t->now_unix_ms - created >= t->desk->settle_ms)
		task_remember_ms(t, "created_ms", 0);
	const cJSON *own = json_object(t->memory, "driver");

	if (own && !own->child)
		cJSON_DeleteItemFromObjectCaseSensitive(t->memory, "driver");
}

static void log_end_of(const struct task *t, const struct wire_result *r)
{
	bool fine = r->verdict == VERDICT_DONE || r->verdict == VERDICT_THROTTLED;
	struct log_line l = log_begin(fine ? LOG_DEBUG_ : LOG_INFO_, "DP-3002", "task ends");

	log_id(&l, "user", &t->user);
	log_int(&l, "version", (int64_t)t->version);
	log_text(&l, "verdict", wire_verdict_name(r->verdict));
	log_slice(&l, "reason", r->reason);
	log_slice(&l, "ops", r->ops);
	log_int(&l, "status", r->status);
	log_slice(&l, "request_id", r->request_id);
	log_int(&l, "requests", r->requests);
	log_int(&l, "ms", r->took_ms);
	log_end(&l);
}

void task_finish(struct task *t, const struct task_end *end)
{
	CLEANUP(buf_cleanup) struct buf memory = {0}, detail = {0}, waits = {0}, taken = {0};
	struct task_end changed = {.verdict = VERDICT_RETRY, .reason = WIRE_CHANGED};

	if (!fp_is_none(&t->expect) && !t->agreed && end->verdict == VERDICT_DONE)
		end = &changed; /* what was approved is not to be done any more */

	bool whole = end->verdict == VERDICT_DONE && t->wants_n == 0;

	task_move(t, TASK_REPORTED);
	licence_taken_json(json_object(t->memory, "driver"), &taken);
	settle_link(t);
	if (t->memory->child)
		json_canonical(t->memory, &memory);
	redact_text(end->detail,
		    t->snapshot ? json_object(snapshot_json(t->snapshot), "attrs") : NULL,
		    DETAIL_MOST, &detail);
	buf_add_utf8(&waits, slice_of(end->waits), WAITS_MOST);
	struct wire_result r = {.lease_epoch = t->lease.epoch,
				.lease_page = t->lease.page,
				.lease_index = t->lease.index,
				.verdict = (uint8_t)end->verdict,
				.after_ms = end->after_ms,
				.reason = slice_of(end->reason),
				.detail = buf_slice(&detail),
				.status = (uint32_t)t->status,
				.request_id = slice_of(t->request_id),
				.requests = t->requests,
				.charged = t->charged,
				.took_ms = (uint32_t)(clock_boot_ms() - t->started_ms),
				.ops = buf_slice(&t->ops),
				.applied = whole ? t->wanted : (struct fp){{0}},
				.rid = slice_of(t->rid),
				.link_state = (uint8_t)t->link,
				.link_memory = buf_slice(&memory),
				.unknown_outcome = t->unknown,
				.look_again_unix_ms = t->look_again_unix_ms,
				.waits = buf_slice(&waits),
				.owed = wire_list_of(&t->owed, t->owed_n),
				.wants = wire_list_of(&t->wants, t->wants_n),
				.taken = buf_slice(&taken)};

	log_end_of(t, &r);
	CRASH_POINT("worker.before_result");
	t->desk->report(t->desk->arg, &r);
	task_drop(t);
}

void task_done(struct task *t)
{
	task_finish(t, &(struct task_end){.verdict = VERDICT_DONE, .detail = buf_slice(&t->audit)});
}
