#include "json.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static void canonical_is(const char *text, const char *expected)
{
	struct buf CLEANUP(buf_cleanup) out = {0};
	const char *why = NULL;
	cJSON *value = json_parse(slice_of(text), &why);

	if (value == NULL)
		fail_msg("%s: %s", text, why);
	json_canonical(value, &out);
	cJSON_Delete(value);
	assert_string_equal(out.p, expected);
}

static void refused(struct slice text)
{
	const char *why = NULL;
	cJSON *value = json_parse(text, &why);

	if (value != NULL)
		fail_msg("accepted: %.*s", (int)text.n, text.p);
	assert_non_null(why);
	assert_null(json_parse(text, NULL));
}

static void sorts_and_tightens(void **state)
{
	(void)state;
	canonical_is(" { \"b\" : 1 , \"a\" : [ true , null , false ] }\n",
		     "{\"a\":[true,null,false],\"b\":1}");
	canonical_is("{\"z\":{\"y\":1,\"x\":{}},\"A\":[],\"a\":\"\"}",
		     "{\"A\":[],\"a\":\"\",\"z\":{\"x\":{},\"y\":1}}");
	canonical_is("\"\\u00fc\\ud83d\\ude00\\/\"", "\"\xc3\xbc\xf0\x9f\x98\x80/\"");
	canonical_is("\"\\b\\f\\n\\r\\t\\u0001\\\"\\\\\"", "\"\\b\\f\\n\\r\\t\\u0001\\\"\\\\\"");
	canonical_is("{\"aa\":1,\"a\":2,\"\":3}", "{\"\":3,\"a\":2,\"aa\":1}");
}

static void numbers_in_full(void **state)
{
	(void)state;
	canonical_is("[0,-0,1.0,1e3,9007199254740991,-9007199254740991,2147483648]",
		     "[0,0,1,1000,9007199254740991,-9007199254740991,2147483648]");
	canonical_is("[0.1,-2.5,1e300,0.30000000000000004]",
		     "[0.1,-2.5,1e+300,0.30000000000000004]");
	canonical_is("133540000000000", "133540000000000");
}

/* The traps of libraries.md 1.3, and what RFC 8259 does not allow. */
static void refuses_what_is_not_json(void **state)
{
	static const char *const bad[] = {"",
					  " ",
					  "{",
					  "[1,]",
					  "{} x",
					  "1 2",
					  "nul",
					  "{\"a\"}",
					  "01",
					  "+1",
					  "1.",
					  ".5",
					  "1e",
					  "-",
					  "NaN",
					  "[1e999]",
					  "\"a",
					  "\"\x01\"",
					  "\"\\x\"",
					  "'a'",
					  "\"\\u0000\"",
					  "{a:1}",
					  "[\"\t\"]",
					  "\x0c[]",
					  "[-1e999]",
					  "\"\\ud800\"",
					  "\"\\udc00\"",
					  "1-1",
					  "\xef\xbb",
					  "0x10",
					  "[1 2]",
					  "{\"a\":1 \"b\":2}",
					  "]",
					  "\"\\u12g4\""};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refused(slice_of(bad[i]));
	refused(SLICE("\"a\0b\""));
	refused(SLICE("[]\0"));
	refused(SLICE("\"\xc0\x80\""));
	refused(SLICE("\"\xed\xa0\x80\""));
	canonical_is("\"\\\\u0000\"", "\"\\\\u0000\"");
}

static void depth_is_limited(void **state)
{
	(void)state;
	for (size_t depth = 31; depth <= 34; depth++) {
		struct buf CLEANUP(buf_cleanup) text = {0};
		cJSON *value;

		for (size_t i = 0; i < depth; i++)
			buf_addc(&text, '[');
		for (size_t i = 0; i < depth; i++)
			buf_addc(&text, ']');
		value = json_parse(buf_slice(&text), NULL);
		assert_int_equal(value != NULL, depth <= 32);
		cJSON_Delete(value);
	}
	canonical_is("\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"",
		     "\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"");
}

/* The slice ends where it says, not at a NUL. */
static void reads_no_further_than_the_slice(void **state)
{
	static const char text[] = "[1,2,3]";
	const size_t n = sizeof(text) - 1;

	(void)state;
	for (size_t i = 0; i <= n; i++) {
		char *exact = malloc(i > 0 ? i : 1);
		cJSON *value;

		assert_non_null(exact);
		memcpy(exact, text, i);
		value = json_parse((struct slice){exact, i}, NULL);
		assert_int_equal(value != NULL, i == n);
		cJSON_Delete(value);
		free(exact);
	}
}

static void typed_reads(void **state)
{
	cJSON *o =
		json_parse(SLICE("{\"t\":\"x\",\"n\":7,\"f\":1.5,\"big\":9007199254740993,"
				 "\"a\":[1],\"o\":{\"k\":1},\"yes\":true,\"no\":false,\"z\":null}"),
			   NULL);

	(void)state;
	assert_non_null(o);
	assert_string_equal(json_text(o, "t"), "x");
	assert_null(json_text(o, "T"));
	assert_null(json_text(o, "n"));
	assert_int_equal(json_int(o, "n", -1), 7);
	assert_int_equal(json_int(o, "f", -1), -1);
	assert_int_equal(json_int(o, "big", -1), -1);
	assert_int_equal(json_int(o, "t", -1), -1);
	assert_int_equal(json_int(o, "missing", 5), 5);
	assert_non_null(json_array(o, "a"));
	assert_null(json_array(o, "o"));
	assert_non_null(json_object(o, "o"));
	assert_null(json_object(o, "a"));
	assert_true(json_true(o, "yes", false));
	assert_false(json_true(o, "no", true));
	assert_true(json_true(o, "z", true));
	assert_false(json_true(o, "n", false));
	assert_non_null(json_get(o, "z"));
	assert_null(json_get(NULL, "z"));
	assert_null(json_get(json_array(o, "a"), "z"));
	cJSON_Delete(o);
}

static void prints_as_it_stands(void **state)
{
	struct buf CLEANUP(buf_cleanup) out = {0};
	cJSON *value = json_parse(SLICE("{\"b\":[1,{\"d\":1,\"c\":2}],\"a\":\"x\"}"), NULL);

	(void)state;
	json_print(value, &out);
	assert_string_equal(out.p, "{\"b\":[1,{\"d\":1,\"c\":2}],\"a\":\"x\"}");
	cJSON_Delete(value);
}

/* Any bytes below U+0080 survive the way through a quoted string. */
static void quote_and_parse_agree(void **state)
{
	struct buf CLEANUP(buf_cleanup) out = {0};
	char all[128];
	cJSON *value;

	(void)state;
	for (int i = 1; i < 128; i++)
		all[i - 1] = (char)i;
	all[127] = '\0';
	json_quote(slice_of(all), &out);
	value = json_parse(buf_slice(&out), NULL);
	assert_non_null(value);
	assert_string_equal(value->valuestring, all);
	cJSON_Delete(value);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sorts_and_tightens),
		cmocka_unit_test(numbers_in_full),
		cmocka_unit_test(refuses_what_is_not_json),
		cmocka_unit_test(depth_is_limited),
		cmocka_unit_test(reads_no_further_than_the_slice),
		cmocka_unit_test(typed_reads),
		cmocka_unit_test(prints_as_it_stands),
		cmocka_unit_test(quote_and_parse_agree),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
