#include "unit.h"

#include "diff.h"
#include "entry_fixture.h"

#include <stdlib.h>

static struct fp fp_n(uint8_t n)
{
	struct fp fp = {{n}};

	return fp;
}

struct setup {
	struct objects *objects;
	struct diff *diff;
};

static int begin(void **state)
{
	struct setup *s = mem_alloc(sizeof(*s));

	s->objects = objects_new();
	s->diff = diff_new(s->objects, 1000);
	for (uint32_t i = 1; i <= 20; i++) {
		struct id id = test_id(i);

		assert_int_equal(objects_add(s->objects, &id), i);
	}
	*state = s;
	return 0;
}

static int end(void **state)
{
	struct setup *s = *state;

	diff_free(s->diff);
	objects_free(s->objects);
	free(s);
	return 0;
}

static enum diff_outcome offer(struct setup *s, uint32_t n, uint8_t fp, const char *record,
			       bool trust)
{
	struct fp f = fp_n(fp);
	struct buf b = {0};
	enum diff_outcome outcome;

	buf_adds(&b, record);
	outcome = diff_offer(s->diff, n, &f, &b, trust);
	buf_done(&b);
	return outcome;
}

static void assert_taken(struct setup *s, uint32_t most, const char *want)
{
	struct buf b = {0};

	diff_take(s->diff, most, 1 << 20, &b);
	assert_string_equal(b.p != NULL ? b.p : "", want);
	buf_done(&b);
}

static void only_the_newest_state_is_kept(void **state)
{
	struct setup *s = *state;

	assert_int_equal(offer(s, 1, 1, "a", true), DIFF_QUEUED);
	assert_int_equal(offer(s, 2, 1, "b", true), DIFF_QUEUED);
	assert_int_equal(offer(s, 1, 2, "A", true), DIFF_REPLACED);
	assert_int_equal(diff_users(s->diff), 2);
	assert_taken(s, 10, "Ab");
	assert_true(objects_at(s->objects, 1)->flags & OBJECT_KNOWN);
	assert_int_equal(diff_bytes(s->diff), 0);
}

static void what_the_broker_has_is_not_sent(void **state)
{
	struct setup *s = *state;
	struct fp f = fp_n(7);

	objects_at(s->objects, 1)->fp = diff_short(&f);
	assert_int_equal(offer(s, 1, 7, "a", true), DIFF_SAME);
	assert_int_equal(offer(s, 1, 8, "b", true), DIFF_QUEUED);
	assert_int_equal(offer(s, 1, 7, "a", true), DIFF_SAME); /* back again before it was sent */
	assert_int_equal(diff_users(s->diff), 0);
	assert_int_equal(offer(s, 1, 7, "a", false),
			 DIFF_QUEUED); /* a recovered cursor suppresses nothing */
	assert_taken(s, 10, "a");
}

static void marks_are_passed_by_what_was_queued_before(void **state)
{
	struct setup *s = *state;
	uint64_t mark;

	offer(s, 1, 1, "a", true);
	offer(s, 2, 1, "b", true);
	mark = diff_mark(s->diff);
	offer(s, 3, 1, "c", true);
	offer(s, 1, 2, "A", true); /* keeps its place */
	assert_false(diff_passed(s->diff, mark));
	assert_taken(s, 1, "A");
	assert_false(diff_passed(s->diff, mark));
	assert_taken(s, 1, "b");
	assert_true(diff_passed(s->diff, mark));
}

static void past_the_cap_nothing_new_is_taken(void **state)
{
	struct setup *s = *state;
	uint32_t n = 1;

	while (n <= 20 &&
	       offer(s, n, 1, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", true) == DIFF_QUEUED)
		n++;
	assert_in_range(n, 2, 20);
	assert_false(diff_is_roomy(s->diff));
	assert_int_equal(offer(s, 1, 2, "new", true), DIFF_REPLACED); /* the newest of who is in */
	diff_clear(s->diff);
	assert_true(diff_is_roomy(s->diff));
	assert_int_equal(offer(s, n, 1, "x", true), DIFF_QUEUED);
}

static void who_is_gone_is_not_known_any_more(void **state)
{
	struct setup *s = *state;

	offer(s, 1, 1, "a", true);
	assert_taken(s, 10, "a");
	objects_at(s->objects, 1)->flags |= OBJECT_GONE;
	offer(s, 1, 2, "gone", true);
	assert_taken(s, 10, "gone");
	assert_false(objects_at(s->objects, 1)->flags & OBJECT_KNOWN);
}

static void objects_are_found_by_each_key(void **state)
{
	struct setup *s = *state;
	struct id id;

	for (uint32_t i = 21; i <= 20000; i++) {
		id = test_id(i);
		assert_int_equal(objects_add(s->objects, &id), i);
		objects_set_dn(s->objects, i, i * 7919ULL);
		objects_set_uid(s->objects, i, i * 104729ULL);
	}
	for (uint32_t i = 21; i <= 20000; i += 2)
		objects_set_dn(s->objects, i, 0);
	for (uint32_t i = 21; i <= 20000; i++) {
		id = test_id(i);
		assert_int_equal(objects_find(s->objects, &id), i);
		assert_int_equal(objects_by_dn(s->objects, i * 7919ULL), i % 2 ? 0 : i);
		assert_int_equal(objects_by_uid(s->objects, i * 104729ULL), i);
	}
	objects_set_dn(s->objects, 30, 22 * 7919ULL); /* a new user takes an old one's name … */
	objects_set_dn(s->objects, 22, 0);	      /* … whose farewell leaves it alone */
	assert_int_equal(objects_by_dn(s->objects, 22 * 7919ULL), 30);
	assert_int_equal(sizeof(struct object), 48);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(only_the_newest_state_is_kept),
		TEST(what_the_broker_has_is_not_sent),
		TEST(marks_are_passed_by_what_was_queued_before),
		TEST(past_the_cap_nothing_new_is_taken),
		TEST(who_is_gone_is_not_known_any_more),
		TEST(objects_are_found_by_each_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
