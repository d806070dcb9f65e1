#include "buf.h"
#include "unit.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void appends_and_stays_terminated(void **state)
{
	struct buf b = {0};
	char expected[2001];

	(void)state;
	for (size_t i = 0; i < 1000; i++) {
		buf_addc(&b, (char)('a' + i % 26));
		buf_add(&b, "-", 1);
		expected[2 * i] = (char)('a' + i % 26);
		expected[2 * i + 1] = '-';
		assert_int_equal(b.p[b.n], '\0');
	}
	expected[2000] = '\0';
	assert_int_equal(b.n, 2000);
	assert_string_equal(b.p, expected);
	buf_clear(&b);
	assert_int_equal(b.n, 0);
	assert_string_equal(b.p, "");
	buf_adds(&b, NULL);
	buf_add(&b, NULL, 0);
	assert_int_equal(b.n, 0);
	buf_done(&b);
	assert_null(b.p);
	assert_int_equal(b.cap, 0);
}

static void formats_of_any_length(void **state)
{
	(void)state;
	for (int width = 1; width < 400; width++) {
		struct buf CLEANUP(buf_cleanup) b = {0};

		buf_adds(&b, "x");
		buf_addf(&b, "%*d|", width, 7);
		assert_int_equal(b.n, (size_t)width + 2);
		assert_int_equal(strlen(b.p), b.n);
		assert_int_equal(b.p[width], '7');
	}
}

static void grows_by_what_was_asked(void **state)
{
	struct buf CLEANUP(buf_cleanup) b = {0};
	char *place;

	(void)state;
	buf_adds(&b, "ab");
	place = buf_grow(&b, 5000);
	memset(place, 'z', 5000);
	assert_int_equal(b.n, 5002);
	assert_ptr_equal(place, b.p + 2);
	assert_int_equal(b.p[5001], 'z');
	assert_int_equal(b.p[5002], '\0');
}

static void gives_its_text_away(void **state)
{
	struct buf b = {0};
	char *text = buf_steal(&b);

	(void)state;
	assert_string_equal(text, "");
	free(text);
	buf_adds(&b, "kept");
	text = buf_steal(&b);
	assert_string_equal(text, "kept");
	assert_null(b.p);
	assert_int_equal(b.n, 0);
	free(text);
}

static void slices_compare_bytes(void **state)
{
	char *copy = slice_dup((struct slice){"abcdef", 3});

	(void)state;
	assert_string_equal(copy, "abc");
	free(copy);
	copy = slice_dup((struct slice){NULL, 0});
	assert_string_equal(copy, "");
	free(copy);
	assert_true(slice_equal(SLICE("a\0b"), SLICE("a\0b")));
	assert_false(slice_equal(SLICE("a\0b"), SLICE("a\0c")));
	assert_false(slice_is(SLICE("ab"), "abc"));
	assert_true(slice_is((struct slice){NULL, 0}, ""));
	assert_true(slice_is((struct slice){NULL, 0}, NULL));
	assert_null(mem_dup(NULL));
}

static void memory_is_zeroed(void **state)
{
	unsigned char *p = mem_array(100, 7);

	(void)state;
	for (int i = 0; i < 700; i++)
		assert_int_equal(p[i], 0);
	free(p);
	p = mem_alloc(0);
	assert_non_null(p);
	free(p);
}

/* RFC 4648 10: the test vectors. */
static void base64_of_the_rfc(void **state)
{
	static const char *const plain[] = {"", "f", "fo", "foo", "foob", "fooba", "foobar"};
	static const char *const coded[] = {"",		"Zg==",	    "Zm8=",    "Zm9v",
					    "Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy"};

	(void)state;
	for (size_t i = 0; i < 7; i++) {
		struct buf CLEANUP(buf_cleanup) b = {0};
		struct buf CLEANUP(buf_cleanup) back = {0};

		buf_adds(&b, "=");
		buf_add_base64(&b, plain[i], strlen(plain[i]));
		assert_string_equal(b.p + 1, coded[i]);
		assert_int_equal(buf_add_unbase64(&back, slice_of(coded[i])), 0);
		assert_true(slice_is(buf_slice(&back), plain[i]));
	}
}

static void base64url_has_no_padding(void **state)
{
	struct buf CLEANUP(buf_cleanup) b = {0};

	(void)state;
	buf_add_base64url(&b, "\xfb\xff\xfe\x00", 4);
	assert_string_equal(b.p, "-__-AA");
}

static void base64_refuses_foreign_bytes(void **state)
{
	static const char *const bad[] = {"Zg=",  "Zg",	  "Z===", "Zm9v\n", "Zm9v Zm9v", "-_-_",
					  "Zh==", "====", "Zm9=", "Z*9v",   "Zg==Zg=="};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct buf CLEANUP(buf_cleanup) b = {0};

		buf_adds(&b, "kept");
		assert_int_equal(buf_add_unbase64(&b, slice_of(bad[i])), -EINVAL);
		assert_string_equal(b.p, "kept");
		assert_int_equal(b.n, 4);
	}
}

/* The bounds of RFC 3629 4, each from both sides. */
static void utf8_by_the_rfc(void **state)
{
	static const char *const good[] = {"",
					   "plain",
					   "\xc2\x80",
					   "\xdf\xbf",
					   "\xe0\xa0\x80",
					   "\xed\x9f\xbf",
					   "\xee\x80\x80",
					   "\xef\xbf\xbf",
					   "\xf0\x90\x80\x80",
					   "\x7f",
					   "\x01",
					   "\xf4\x8f\xbf\xbf"};
	static const char *const bad[] = {
		"\x80",	    "\xc0\x80",		"\xc1\xbf",	    "\xc2",
		"\xc2\x7f", "\xc2\xc0",		"\xe0\x9f\xbf",	    "\xed\xa0\x80",
		"\xe1\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xff",	    "a\xe2\x82",	"\xf1\x80\x80\x41", "\xe1\x80\x41"};

	(void)state;
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		assert_true(utf8_valid(slice_of(good[i])));
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(utf8_valid(slice_of(bad[i])));
	assert_false(utf8_valid(SLICE("a\0b")));
	for (size_t at = 0; at < 32; at++) { /* wherever it stands in a longer text */
		char text[32];

		memset(text, at % 2 ? 1 : 0x7f, sizeof(text));
		assert_true(utf8_valid((struct slice){text, sizeof(text)}));
		text[at] = '\0';
		assert_false(utf8_valid((struct slice){text, sizeof(text)}));
		text[at] = '\xff';
		assert_false(utf8_valid((struct slice){text, sizeof(text)}));
	}
}

/* Every scalar value there is, encoded by the definition; nothing else of three bytes. */
static void utf8_of_every_scalar(void **state)
{
	(void)state;
	for (uint32_t c = 1; c <= 0x10ffff; c++) {
		char t[4];
		size_t n;

		if (c < 0x80) {
			n = 1;
			t[0] = (char)c;
		} else if (c < 0x800) {
			n = 2;
			t[0] = (char)(0xc0 | c >> 6);
		} else if (c < 0x10000) {
			n = 3;
			t[0] = (char)(0xe0 | c >> 12);
		} else {
			n = 4;
			t[0] = (char)(0xf0 | c >> 18);
		}
		for (size_t i = 1; i < n; i++)
			t[i] = (char)(0x80 | (c >> 6 * (n - 1 - i) & 0x3f));
		if (utf8_valid((struct slice){t, n}) != (c < 0xd800 || c > 0xdfff))
			fail_msg("U+%04X", (unsigned)c);
	}
}

static void adds_whole_characters_of_utf8(void **state)
{
	CLEANUP(buf_cleanup) struct buf b = {0};

	(void)state;
	buf_add_utf8(&b, SLICE("J\xfcrgen \xc3\xa4"), SIZE_MAX);
	assert_string_equal(b.p, "J\xef\xbf\xbdrgen \xc3\xa4");
	buf_clear(&b);
	buf_add_utf8(&b, SLICE("abc\xc3\xa4"), 4);
	assert_string_equal(b.p, "abc");
	buf_clear(&b);
	buf_add_utf8(&b, SLICE("abc\xc3\xa4"), 5);
	assert_string_equal(b.p, "abc\xc3\xa4");
	buf_clear(&b);
	buf_add_utf8(&b, (struct slice){"a\0\xc3", 3}, 6);
	assert_string_equal(b.p, "a\xef\xbf\xbd");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(appends_and_stays_terminated),
		cmocka_unit_test(formats_of_any_length),
		cmocka_unit_test(grows_by_what_was_asked),
		cmocka_unit_test(gives_its_text_away),
		cmocka_unit_test(slices_compare_bytes),
		cmocka_unit_test(memory_is_zeroed),
		cmocka_unit_test(base64_of_the_rfc),
		cmocka_unit_test(base64url_has_no_padding),
		cmocka_unit_test(base64_refuses_foreign_bytes),
		cmocka_unit_test(utf8_by_the_rfc),
		cmocka_unit_test(utf8_of_every_scalar),
		cmocka_unit_test(adds_whole_characters_of_utf8),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
