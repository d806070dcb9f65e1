/* A queue engine with one source and one or more targets, and short words for what peers say to it. */
#ifndef DIRPIPE_QUEUE_FIXTURE_H
#define DIRPIPE_QUEUE_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "queue.h"
#include "unit.h"

enum { COLLECTOR = 100, WORKER = 200, NONCE = 7000 };

struct fixture {
	struct queue *q;
	struct queue_page page;
	struct queue_conf conf;
	struct queue_target_conf target;
	unsigned source, t;
	uint64_t epoch, number, session, batch;
	int64_t now_ms, unix_ms; /* boot clock, world's clock */
	int64_t next_ms;	 /* what the last page said */
	bool caught_up;
	size_t most;
	struct wire_ready ready;
};

static inline struct id user_id(unsigned n)
{
	struct id id = {{0xaa}};

	id.b[14] = (uint8_t)(n >> 8);
	id.b[15] = (uint8_t)n;
	return id;
}

static inline struct fp fp_n(unsigned n)
{
	struct fp fp = {{1}};

	fp.b[1] = (uint8_t)n;
	fp.b[2] = (uint8_t)(n >> 8);
	return fp;
}

static inline void begin(struct fixture *f)
{
	queue_page_begin(f->q, &f->page, f->epoch, ++f->number, f->now_ms, f->unix_ms);
}

static inline void end(struct fixture *f)
{
	f->next_ms = queue_page_end(f->q, &f->page, f->most);
	queue_check(f->q);
}

static inline void turn(struct fixture *f)
{
	begin(f);
	end(f);
}

static inline void pass(struct fixture *f, int64_t ms)
{
	f->now_ms += ms;
	f->unix_ms += ms;
}

/* Time passes as a broker sees it: a turn whenever the engine asked for one. */
static inline void live(struct fixture *f, int64_t ms)
{
	int64_t end_ms = f->now_ms + ms;

	while (f->now_ms < end_ms) {
		int64_t step = f->next_ms - f->now_ms;

		if (step < 1)
			step = 1;
		pass(f, step < end_ms - f->now_ms ? step : end_ms - f->now_ms);
		turn(f);
	}
}

static inline struct queue *engine(struct fixture *f)
{
	struct queue *q = queue_new(&f->conf, 42);

	f->t = queue_target_add(q, &f->target);
	f->source = queue_source_add(q, "corp");
	return q;
}

static inline void hello(struct fixture *f)
{
	begin(f);
	f->session = queue_hello(f->q, &f->page, f->source, COLLECTOR);
	f->batch = 0;
	f->caught_up = false;
	end(f);
}

static inline int fixture_setup(void **state)
{
	struct fixture *f = mem_alloc(sizeof(*f));

	f->conf =
		(struct queue_conf){.lease_ms = 30000, .grace_ms = 5000, .verify_after_ms = 300000};
	f->target = (struct queue_target_conf){
		.name = "app",
		.config = fp_n(9),
		.guard_count = 2,
		.guard_percent = 10,
		.guard_most = 100,
		.settle_ms = 10000,
		.settle_most_ms = 300000,
		.retry_first_ms = 1000,
		.retry_cap_ms = 60000,
		.dead_after_ms = 3600000,
		.concurrency = 1000,
	};
	f->epoch = 50;
	f->now_ms = 1000000;
	f->unix_ms = 1700000000000;
	f->most = 1000;
	f->q = engine(f);
	f->ready = (struct wire_ready){.nonce = NONCE, .credits = 100, .batch = 20};
	begin(f);
	queue_loaded(f->q, &f->page, false, false, 0);
	end(f);
	hello(f);
	*state = f;
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *f = *state;

	queue_page_done(&f->page);
	queue_free(f->q);
	free(f);
	return 0;
}

/* ---- the collector ---- */

struct say {
	unsigned user, version;
	bool gone, out;	 /* out: of the scope of "app" */
	unsigned refers; /* to this user; 0: to nobody */
};

static inline int publish_batch(struct fixture *f, const struct say *users, size_t n,
				uint64_t batch)
{
	CLEANUP(buf_cleanup) struct buf in = {0}, refs = {0}, list = {0};
	struct wire_publish p = {.session = f->session,
				 .batch = batch,
				 .caught_up = f->caught_up,
				 .has_cursor = f->caught_up,
				 .cursor = SLICE("cookie")};

	wire_add_name(&in, &(struct wire_name){SLICE("app")});
	for (size_t i = 0; i < n; i++) {
		struct wire_user u = {.id = user_id(users[i].user),
				      .gone = users[i].gone,
				      .fingerprint = fp_n(users[i].version),
				      .snapshot = SLICE("{}")};
		CLEANUP(buf_cleanup) struct buf out = {0};

		if (users[i].out) {
			wire_add_out(&out, &(struct wire_out){SLICE("app"), SLICE("moved")});
			u.out = wire_list_of(&out, 1);
		}
		if (!users[i].out)
			u.in = wire_list_of(&in, 1);
		buf_clear(&refs);
		wire_add_ref(&refs, &(struct wire_ref){SLICE("manager"), user_id(users[i].refers)});
		u.refs = wire_list_of(&refs, users[i].refers != 0);
		if (!users[i].refers)
			u.refs.n = 0;
		wire_add_user(&list, &u);
	}
	p.users = wire_list_of(&list, (uint32_t)n);
	return queue_publish(f->q, &f->page, COLLECTOR, &p, fp_n(3));
}

static inline void publish_in(struct fixture *f, const struct say *users, size_t n)
{
	assert_int_equal(publish_batch(f, users, n, f->batch + 1), 0);
	f->batch++;
}

static inline void say(struct fixture *f, struct say user)
{
	begin(f);
	publish_in(f, &user, 1);
	end(f);
}

static inline void catch_up(struct fixture *f)
{
	f->caught_up = true;
	begin(f);
	publish_in(f, NULL, 0);
	end(f);
}

/* ---- the worker ---- */

static inline int ready_in(struct fixture *f, uint64_t peer)
{
	return queue_ready(f->q, &f->page, peer, f->t, &f->ready);
}

static inline void ready(struct fixture *f)
{
	begin(f);
	assert_int_equal(ready_in(f, WORKER), 0);
	end(f);
}

static inline const struct queue_answer *answer(const struct fixture *f, enum wire_verb verb)
{
	for (size_t i = 0; i < f->page.answers_n; i++) {
		if (f->page.answers[i].verb == verb)
			return &f->page.answers[i];
	}
	return NULL;
}

static inline size_t answers(const struct fixture *f, enum wire_verb verb)
{
	size_t n = 0;

	for (size_t i = 0; i < f->page.answers_n; i++)
		n += f->page.answers[i].verb == verb;
	return n;
}

/* The task of a user in the page just built; lease.epoch 0: none. */
static inline struct queue_task_head task_of(const struct fixture *f, unsigned user)
{
	struct id id = user_id(user);

	for (size_t i = 0; i < f->page.answers_n; i++) {
		const struct queue_answer *a = &f->page.answers[i];

		for (uint32_t k = 0; a->verb == WIRE_VERB_tasks && k < a->tasks_n; k++) {
			if (id_equal(&a->tasks[k].id, &id))
				return a->tasks[k];
		}
	}
	return (struct queue_task_head){0};
}

static inline size_t tasks_n(const struct fixture *f)
{
	size_t n = 0;

	for (size_t i = 0; i < f->page.answers_n; i++)
		n += f->page.answers[i].tasks_n;
	return n;
}

static inline struct wire_result result_of(struct queue_lease lease, uint8_t verdict)
{
	return (struct wire_result){.lease_epoch = lease.epoch,
				    .lease_page = lease.page,
				    .lease_index = lease.index,
				    .verdict = verdict,
				    .requests = 1,
				    .charged = 1};
}

static inline void result(struct fixture *f, struct wire_result r)
{
	begin(f);
	queue_result(f->q, &f->page, WORKER, &r);
	end(f);
}

static inline void verdict(struct fixture *f, struct queue_lease lease, uint8_t v)
{
	result(f, result_of(lease, v));
}

static inline void note(struct fixture *f, struct queue_lease lease, uint8_t kind, const char *rid)
{
	struct wire_note n = {.lease_epoch = lease.epoch,
			      .lease_page = lease.page,
			      .lease_index = lease.index,
			      .kind = kind,
			      .rid = slice_of(rid)};

	begin(f);
	queue_note(f->q, &f->page, WORKER, &n);
	end(f);
}

/* Lives on until the user is given out, at most ms: its lease. */
static inline struct queue_lease fly_again(struct fixture *f, unsigned user, int64_t ms)
{
	for (; ms >= 0 && task_of(f, user).lease.epoch == 0; ms--)
		live(f, 1);
	assert_int_equal(task_of(f, user).lease.epoch, f->epoch);
	return task_of(f, user).lease;
}

/* Published, dispatched: the lease. */
static inline struct queue_lease fly(struct fixture *f, unsigned user, unsigned version)
{
	struct queue_task_head t;

	say(f, (struct say){.user = user, .version = version});
	t = task_of(f, user);
	assert_int_equal(t.lease.epoch, f->epoch);
	return t.lease;
}

static inline struct fixture *caught_up_with_worker(void **state)
{
	struct fixture *f = *state;

	catch_up(f);
	ready(f);
	return f;
}

/* ... and everything done but a disable, which needs a permit. */
static inline void want_disable(struct fixture *f, struct queue_lease l)
{
	CLEANUP(buf_cleanup) struct buf wants = {0};
	struct wire_result r = result_of(l, VERDICT_DONE);

	wire_add_op(&wants, &(struct wire_op){SLICE("disable"), SLICE("")});
	r.wants = wire_list_of(&wants, 1);
	result(f, r);
}

/* ---- what came of it ---- */

static inline struct queue_entry_row row(const struct fixture *f, unsigned user)
{
	struct id id = user_id(user);
	struct queue_entry_row r;

	assert_int_equal(queue_peek(f->q, f->t, &id, &r), 0);
	return r;
}

#define assert_state(f, user, wanted)                                                              \
	assert_string_equal(queue_state_name((enum queue_state)row(f, user).state),                \
			    queue_state_name(wanted))

static inline const struct queue_effect *effect(const struct fixture *f,
						enum queue_effect_kind kind)
{
	for (size_t i = 0; i < f->page.effects_n; i++) {
		if (f->page.effects[i].kind == kind)
			return &f->page.effects[i];
	}
	return NULL;
}

static inline struct queue_counts counts(const struct fixture *f)
{
	struct queue_counts c;

	queue_counts(f->q, f->t, &c);
	return c;
}

#endif
