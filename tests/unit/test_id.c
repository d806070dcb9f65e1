#include "clock.h"
#include "id.h"
#include "unit.h"

#include <errno.h>
#include <string.h>

static void text_and_back(void **state)
{
	static const char text[] = "01234567-89ab-cdef-0123-456789abcdef";
	struct id id, again;
	char out[ID_TEXT];

	(void)state;
	assert_int_equal(id_parse(slice_of(text), &id), 0);
	assert_int_equal(id.b[0], 0x01);
	assert_int_equal(id.b[15], 0xef);
	id_format(&id, out);
	assert_string_equal(out, text);
	assert_int_equal(id_parse(SLICE("0123456789ABCDEF0123456789ABCDEF"), &again), 0);
	assert_true(id_equal(&id, &again));
	/* nsUniqueId has its hyphens elsewhere */
	assert_int_equal(id_parse(SLICE("01234567-89abcdef-01234567-89abcdef"), &again), 0);
	assert_true(id_equal(&id, &again));
	again.b[15] ^= 1;
	assert_false(id_equal(&id, &again));
	assert_false(id_is_zero(&id));
	memset(&id, 0, sizeof(id));
	assert_true(id_is_zero(&id));
}

static void refuses_other_text(void **state)
{
	static const char *const bad[] = {"",
					  "-",
					  "0123456789abcdef0123456789abcde",
					  "0123456789abcdef0123456789abcdef0",
					  "0123456789abcdef0123456789abcdeg",
					  "{1234567-89ab-cdef-0123-456789abcdef}"};
	struct id id, before;

	(void)state;
	memset(&id, 7, sizeof(id));
	before = id;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(id_parse(slice_of(bad[i]), &id), -EINVAL);
	assert_true(id_equal(&id, &before));
}

static void hash_is_stable_and_spreads(void **state)
{
	unsigned low[16] = {0};

	(void)state;
	for (unsigned i = 0; i < 16000; i++) {
		struct id id = {{0}};

		id.b[3] = (uint8_t)i;
		id.b[9] = (uint8_t)(i >> 8);
		assert_true(id_hash(&id) == id_hash(&id));
		low[id_hash(&id) & 15]++;
	}
	for (unsigned i = 0; i < 16; i++)
		assert_in_range(low[i], 800, 1200);
}

/* XXH3 128 of no bytes with seed 0 (xxhash's own sanity check), in canonical order. */
static void fingerprint_is_xxh3(void **state)
{
	static const uint8_t empty[16] = {0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
					  0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f};
	struct fp a = fp_of((struct slice){NULL, 0}), b = fp_of(SLICE("x")), none = {{0}};

	(void)state;
	assert_memory_equal(a.b, empty, 16);
	assert_false(fp_equal(&a, &b));
	assert_false(fp_is_none(&a));
	assert_true(fp_is_none(&none));
}

static void times_as_text(void **state)
{
	static const struct {
		int64_t ms;
		const char *text;
	} rows[] = {{0, "1970-01-01T00:00:00.000Z"},
		    {1767323045678, "2026-01-02T03:04:05.678Z"},
		    {-1, "1969-12-31T23:59:59.999Z"},
		    {253402300799000, "9999-12-31T23:59:59.000Z"},
		    {INT64_MAX, "9999-12-31T23:59:59.999Z"},
		    {INT64_MIN, "0000-01-01T00:00:00.000Z"}};
	char text[CLOCK_RFC3339];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		clock_rfc3339(rows[i].ms, text);
		assert_string_equal(text, rows[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_and_back),
		cmocka_unit_test(refuses_other_text),
		cmocka_unit_test(hash_is_stable_and_spreads),
		cmocka_unit_test(fingerprint_is_xxh3),
		cmocka_unit_test(times_as_text),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
