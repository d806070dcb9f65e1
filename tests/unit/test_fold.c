/* Names are the same but for case, form and blanks around. */
#include "fold.h"
#include "unit.h"

static void same_and_not(void **state)
{
	static const struct {
		const char *a, *b;
		bool same;
	} rows[] = {
		{"Anna", "aNNA", true},
		{" Anna\t", "anna", true},
		{"J\xc3\xb6rg", "JO\xcc\x88RG", true}, /* ö composed, and O with a diaeresis */
		{"\xc2\xa0 Anna", "anna\xe2\x80\x83", true}, /* no-break and em space */
		{"stra\xc3\x9f"
		 "e",
		 "STRASSE", true},
		{"Anna B", "Anna  B", false}, /* blanks inside count */
		{"Anna", "Anne", false},
		{"", "", false},
		{" ", "  ", false},
		{"\xff", "\xff\xff", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (fold_same(rows[i].a, rows[i].b) != rows[i].same ||
		    fold_same(rows[i].b, rows[i].a) != rows[i].same)
			fail_msg("row %zu", i);
}

static void written_composed_and_trimmed(void **state)
{
	CLEANUP(buf_cleanup) struct buf out = {0};

	(void)state;
	assert_true(fold_trim(SLICE(" JO\xcc\x88rg "), &out));
	assert_string_equal(out.p, "J\xc3\x96rg");
	buf_clear(&out);
	assert_false(fold_trim(SLICE(" \xc2\xa0 "), &out));
	assert_false(fold_trim(SLICE(""), &out));
	assert_false(fold_trim(SLICE("a\xc3"), &out));
	assert_int_equal(out.n, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(same_and_not),
		cmocka_unit_test(written_composed_and_trimmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
