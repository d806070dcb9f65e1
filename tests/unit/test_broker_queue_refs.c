/* The rules of the queue, one test each: who refers to whom, and whose a remote id is. */
#include "queue_fixture.h"

static void linked(struct fixture *f, struct queue_lease l, const char *rid, uint8_t link_state)
{
	struct wire_result r = result_of(l, VERDICT_DONE);

	r.rid = slice_of(rid);
	r.link_state = link_state;
	result(f, r);
}

/* User 1 has the account R1; user 2 refers to it, and is done. */
static struct fixture *one_and_who_refers_to_it(void **state)
{
	struct fixture *f = caught_up_with_worker(state);

	linked(f, fly(f, 1, 1), "R1", LINK_ACTIVE);
	say(f, (struct say){.user = 2, .version = 1, .refers = 1});
	linked(f, task_of(f, 2).lease, "R2", LINK_ACTIVE);
	assert_state(f, 2, QUEUE_CLEAN);
	return f;
}

static struct queue_lease in_hand(struct fixture *f, unsigned user, unsigned version,
				  const char *rid)
{
	struct queue_lease l = fly(f, user, version);

	queue_dispatched(f->q, &l, slice_of(rid));
	return l;
}

static void another_remote_id_wakes_who_refers_to_it(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);

	linked(f, in_hand(f, 1, 2, "R1"), "R9", LINK_ACTIVE);
	assert_state(f, 2, QUEUE_FLIGHT);
}

static void a_deleted_account_wakes_who_refers_to_it(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);

	linked(f, in_hand(f, 1, 2, "R1"), "R1", LINK_DELETED);
	assert_state(f, 2, QUEUE_FLIGHT);
}

static void a_lost_remote_id_wakes_who_refers_to_it(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);

	linked(f, in_hand(f, 1, 2, "R1"), "", LINK_CREATING);
	assert_state(f, 2, QUEUE_FLIGHT);
}

static void the_same_account_wakes_nobody(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);

	linked(f, in_hand(f, 1, 2, "R1"), "R1", LINK_ACTIVE);
	linked(f, in_hand(f, 1, 3, "R1"), "R1", LINK_DISABLED);
	assert_state(f, 2, QUEUE_CLEAN);
}

static void who_refers_no_more_is_left_alone(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);

	say(f, (struct say){.user = 2, .version = 2, .refers = 3});
	linked(f, task_of(f, 2).lease, "R2", LINK_ACTIVE);
	linked(f, in_hand(f, 1, 2, "R1"), "R9", LINK_ACTIVE);
	assert_state(f, 2, QUEUE_CLEAN);
}

static void a_deleted_account_is_owed_again(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);
	CLEANUP(buf_cleanup) struct buf owed = {0};
	struct wire_result r;

	linked(f, in_hand(f, 1, 2, "R1"), "R1", LINK_DELETED);
	r = result_of(task_of(f, 2).lease, VERDICT_DONE);
	wire_add_id(&owed, &(struct wire_id){user_id(1)});
	r.owed = wire_list_of(&owed, 1);
	r.rid = SLICE("R2");
	r.link_state = LINK_ACTIVE;
	result(f, r);
	assert_state(f, 2, QUEUE_CLEAN); /* it waits: no hot loop */
	linked(f, in_hand(f, 1, 3, "R1"), "R1", LINK_ACTIVE);
	assert_state(f, 2, QUEUE_FLIGHT);
}

/* ---- whose a remote id is ---- */

static void a_replaced_remote_id_is_free_for_others(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);
	const struct queue_effect *e;
	struct queue_lease l;

	linked(f, in_hand(f, 1, 2, "R1"), "R9", LINK_ACTIVE);
	e = effect(f, QUEUE_DEL_RID);
	assert_non_null(e);
	assert_true(slice_is(e->rid, "R1"));
	l = fly(f, 3, 1);
	note(f, l, 1, "R1");
	assert_non_null(answer(f, WIRE_VERB_noted));
	note(f, l, 1, "R9");
	assert_non_null(answer(f, WIRE_VERB_refused));
}

static void a_remote_id_that_is_kept_stays_claimed(void **state)
{
	struct fixture *f = one_and_who_refers_to_it(state);

	linked(f, in_hand(f, 1, 2, "R1"), "R1", LINK_DELETED);
	assert_null(effect(f, QUEUE_DEL_RID));
	note(f, fly(f, 3, 1), 1, "R1");
	assert_non_null(answer(f, WIRE_VERB_refused));
}

/* Many that are let go of in any order leave no gap behind which another is not found. */
static void many_are_let_go_of(void **state)
{
	struct fixture *f = caught_up_with_worker(state);
	char rid[16], other[16];
	struct queue_lease l;

	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(rid, sizeof(rid), "old%u", i);
		linked(f, fly(f, i, 1), rid, LINK_ACTIVE);
	}
	for (unsigned i = 0; i < 300; i += 3) {
		(void)snprintf(rid, sizeof(rid), "old%u", i);
		(void)snprintf(other, sizeof(other), "new%u", i);
		linked(f, in_hand(f, i, 2, rid), other, LINK_ACTIVE);
	}
	for (unsigned i = 0; i < 300; i++) {
		(void)snprintf(rid, sizeof(rid), "old%u", i);
		l = fly(f, 1000 + i, 1);
		note(f, l, 1, rid);
		assert_true((answer(f, WIRE_VERB_noted) != NULL) == (i % 3 == 0));
		verdict(f, l, VERDICT_DONE);
	}
}

/* ---- at a load ---- */

static void begin_load(struct fixture *f)
{
	queue_free(f->q);
	f->q = engine(f);
	queue_load_conf(f->q, f->t, &f->target.config);
}

static void load_user(struct fixture *f, unsigned user, const char *source, unsigned refers)
{
	CLEANUP(buf_cleanup) struct buf refs = {0};
	struct queue_user_row row = {.id = user_id(user),
				     .source = slice_of(source),
				     .version = 1,
				     .fingerprint = fp_n(1)};

	wire_add_ref(&refs, &(struct wire_ref){SLICE("manager"), user_id(refers)});
	if (refers)
		row.refs = wire_list_of(&refs, 1);
	queue_load_user(f->q, &row);
}

static void load_entry(struct fixture *f, unsigned user, uint8_t state, const char *rid)
{
	struct queue_entry_row entry = {.state = state,
					.in = true,
					.touched = true,
					.link_state = LINK_ACTIVE,
					.want = 5,
					.since_unix_ms = f->unix_ms - 50};
	struct id id = user_id(user);

	queue_load_entry(f->q, &id, f->t, &entry, slice_of(rid));
}

static void end_load(struct fixture *f)
{
	begin(f);
	queue_loaded(f->q, &f->page, false, false, 0);
	end(f);
	hello(f);
	ready(f);
}

static void who_refers_to_whom_is_known_after_a_load(void **state)
{
	struct fixture *f = *state;

	begin_load(f);
	load_user(f, 2, "corp", 1);
	load_entry(f, 2, QUEUE_CLEAN, "R2");
	load_user(f, 1, "corp", 0);
	load_entry(f, 1, QUEUE_CLEAN, "R1");
	end_load(f);
	linked(f, in_hand(f, 1, 2, "R1"), "R9", LINK_ACTIVE);
	assert_state(f, 2, QUEUE_FLIGHT);
}

/* Its worker was given the remote id by the broker of before. */
static void what_was_in_flight_at_a_load_lets_go_of_its_remote_id(void **state)
{
	struct fixture *f = *state;
	struct queue_lease lease = {.epoch = 49, .page = 7, .index = 1, .worker = NONCE, .want = 5};
	struct id one = user_id(1);

	begin_load(f);
	load_user(f, 1, "corp", 0);
	load_entry(f, 1, QUEUE_FLIGHT, "R1");
	queue_load_lease(f->q, &one, f->t, &lease);
	end_load(f);
	linked(f, lease, "R9", LINK_ACTIVE);
	assert_non_null(answer(f, WIRE_VERB_accepted));
	assert_non_null(effect(f, QUEUE_DEL_RID));
}

static void who_is_stuck_and_left_the_scope_meanwhile_is_due(void **state)
{
	const uint8_t stuck[] = {QUEUE_PARKED, QUEUE_DEAD};
	struct fixture *f = *state;

	for (unsigned i = 0; i < 2; i++) {
		struct id id = user_id(1 + i);

		begin_load(f);
		load_user(f, 1 + i, "corp", 0);
		load_entry(f, 1 + i, stuck[i], "R1");
		queue_load_moved(f->q, f->t, &id);
		begin(f);
		queue_loaded(f->q, &f->page, false, false, 0);
		end(f);
		assert_non_null(effect(f, QUEUE_DEL_STUCK));
		assert_state(f, 1 + i, QUEUE_DUE);
	}
}

/* Realms live long: sources come and go. Their users stay, and nobody else may take their ids. */
static void more_sources_than_a_realm_may_have_were_removed(void **state)
{
	struct fixture *f = *state;
	char source[16];

	begin_load(f);
	for (unsigned i = 0; i < 100; i++) {
		(void)snprintf(source, sizeof(source), "gone%u", i);
		load_user(f, i, source, 0);
		load_entry(f, i, QUEUE_CLEAN, "");
	}
	end_load(f);
	say(f, (struct say){.user = 7, .version = 2});
	assert_int_equal(queue_foreign(f->q, f->source), 1);
	assert_state(f, 7, QUEUE_CLEAN);
	say(f, (struct say){.user = 500, .version = 1});
	assert_state(f, 500, QUEUE_FLIGHT);
}

#define T(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(another_remote_id_wakes_who_refers_to_it),
		T(a_deleted_account_wakes_who_refers_to_it),
		T(a_lost_remote_id_wakes_who_refers_to_it),
		T(the_same_account_wakes_nobody),
		T(who_refers_no_more_is_left_alone),
		T(a_deleted_account_is_owed_again),
		T(a_replaced_remote_id_is_free_for_others),
		T(a_remote_id_that_is_kept_stays_claimed),
		T(many_are_let_go_of),
		T(who_refers_to_whom_is_known_after_a_load),
		T(what_was_in_flight_at_a_load_lets_go_of_its_remote_id),
		T(who_is_stuck_and_left_the_scope_meanwhile_is_due),
		T(more_sources_than_a_realm_may_have_were_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
