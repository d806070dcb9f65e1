#include "unit.h"

#include "poll_cursor.h"
#include "poll_stamp.h"

#include <errno.h>
#include <string.h>

static const char csn[] = "20260102030405.123456Z#000000#001#000000";

static struct id id_of(uint8_t n)
{
	struct id id = {{0}};

	id.b[15] = n;
	return id;
}

static void stamps_are_told_from_other_text(void **state)
{
	(void)state;
	assert_true(poll_stamp_valid("20260102030405Z"));
	assert_true(poll_stamp_valid("20260102030405.0Z"));
	assert_true(poll_stamp_valid(csn));
	assert_false(poll_stamp_valid(NULL));
	assert_false(poll_stamp_valid(""));
	assert_false(poll_stamp_valid("2026010203040Z"));
	assert_false(poll_stamp_valid("20260102030405Z)(uid=*"));
}

static void back(const char *stamp, int seconds, const char *want)
{
	struct buf text = {0};

	assert_int_equal(poll_stamp_back(stamp, seconds, &text), 0);
	assert_string_equal(text.p, want);
	buf_done(&text);
}

static void overlap_goes_back_over_borders(void **state)
{
	struct buf text = {0};

	(void)state;
	back("20260102030405Z", 10, "20260102030355Z");
	back("20260101000005Z", 10, "20251231235955Z");
	back("20240301000000Z", 1, "20240229235959Z");
	back(csn, 10, "20260102030355.000000Z#000000#000#000000");
	assert_true(strcmp("20260102030355.000000Z#000000#000#000000", csn) < 0);
	assert_int_equal(poll_stamp_back("never", 10, &text), -EINVAL);
	buf_done(&text);
}

static void unique_stamps_are_read_once(void **state)
{
	struct poll_table *t = poll_table_new();
	struct id id = id_of(1);

	(void)state;
	assert_true(poll_table_look(t, &id, csn));
	poll_table_put(t, &id, csn, 1000);
	assert_false(poll_table_look(t, &id, csn));
	assert_true(poll_table_look(t, &id, "20260102030405.123457Z#000000#001#000000"));
	poll_table_free(t);
}

static void a_second_may_go_on(void **state)
{
	struct poll_table *t = poll_table_new();
	struct id id = id_of(1);

	(void)state;
	poll_table_put(t, &id, "20260102030405Z", 1000);
	assert_true(poll_table_look(t, &id, "20260102030405Z"));
	poll_table_put(t, &id, "20260102030405Z", 2999);
	assert_true(poll_table_look(t, &id, "20260102030405Z"));
	poll_table_put(t, &id, "20260102030405Z", 3000);
	assert_false(poll_table_look(t, &id, "20260102030405Z"));
	poll_table_put(t, &id, "20260102030406Z", 3001);
	assert_true(poll_table_look(t, &id, "20260102030406Z"));
	poll_table_free(t);
}

static void entries_without_stamp_are_always_read(void **state)
{
	struct poll_table *t = poll_table_new();
	struct id id = id_of(1);

	(void)state;
	poll_table_put(t, &id, NULL, 1000);
	poll_table_put(t, &id, NULL, 9000);
	assert_true(poll_table_look(t, &id, NULL));
	poll_table_free(t);
}

static void a_scan_forgets_what_it_did_not_meet(void **state)
{
	struct poll_table *t = poll_table_new();
	struct id one = id_of(1), two = id_of(2), three = id_of(3);

	(void)state;
	poll_table_put(t, &one, csn, 1);
	poll_table_put(t, &two, csn, 1);
	poll_table_scan_begin(t);
	poll_table_met(t, &one);
	poll_table_put(t, &three, csn, 2);
	poll_table_forget(t);
	assert_int_equal(poll_table_count(t), 2);
	assert_false(poll_table_look(t, &one, csn));
	assert_true(poll_table_look(t, &two, csn));
	poll_table_free(t);
}

static void cursors_survive_their_text(void **state)
{
	struct poll_cursor c = {.base = id_of(9),
				.stamp = "entryCSN",
				.server = "ldaps://a.example:636"},
			   got;
	struct buf text = {0};

	(void)state;
	poll_cursor_format(&c, &text);
	assert_int_equal(poll_cursor_parse(slice_of(csn), buf_slice(&text), &got), 0);
	assert_true(id_equal(&got.base, &c.base));
	assert_string_equal(got.stamp, "entryCSN");
	assert_string_equal(got.server, "ldaps://a.example:636");
	assert_string_equal(got.newest, csn);
	assert_int_equal(poll_cursor_parse(slice_of("*)(uid=*"), buf_slice(&text), &got), -EINVAL);
	assert_int_equal(poll_cursor_parse(slice_of(csn), slice_of("ad=1;base=x"), &got), -EINVAL);
	assert_int_equal(poll_cursor_parse(slice_of(csn), (struct slice){0}, &got), -EINVAL);
	buf_done(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stamps_are_told_from_other_text),
		cmocka_unit_test(overlap_goes_back_over_borders),
		cmocka_unit_test(unique_stamps_are_read_once),
		cmocka_unit_test(a_second_may_go_on),
		cmocka_unit_test(entries_without_stamp_are_always_read),
		cmocka_unit_test(a_scan_forgets_what_it_did_not_meet),
		cmocka_unit_test(cursors_survive_their_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
