/* The verdict table, row by row, and Retry-After. */
#include "target.h"
#include "verdict.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define NOW 1780000000000 /* Thu, 28 May 2026 20:26:40 GMT */

static struct verdict judge(unsigned kind, int status, const char *code, const char *retry_after)
{
	struct verdict_facts f = {.kind = kind,
				  .failure = HTTP_ANSWERED,
				  .sent = true,
				  .status = status,
				  .code = slice_of(code),
				  .retry_after = slice_of(retry_after)};

	return verdict_judge(&f, NULL, NOW);
}

#define C(name) VERDICT_CLASS_##name

static void statuses(void **state)
{
	static const struct {
		int status;
		enum verdict_class on_create, on_update, on_delete;
		bool unknown; /* of a create */
	} rows[] = {
		{0, C(RETRY), C(RETRY), C(RETRY), true},
		{199, C(RETRY), C(RETRY), C(RETRY), true},
		{200, C(OK), C(OK), C(OK), false},
		{201, C(OK), C(OK), C(OK), false},
		{204, C(OK), C(OK), C(OK), false},
		{301, C(RETRY), C(RETRY), C(RETRY), false},
		{307, C(RETRY), C(RETRY), C(RETRY), false},
		{400, C(REJECT), C(REJECT), C(REJECT), false},
		{401, C(AUTH), C(AUTH), C(AUTH), false},
		{403, C(REJECT), C(REJECT), C(REJECT), false},
		{404, C(RETRY), C(GONE), C(GONE), false},
		{405, C(DOWNGRADE), C(DOWNGRADE), C(DOWNGRADE), false},
		{408, C(RETRY), C(RETRY), C(RETRY), true},
		{409, C(EXISTS), C(EXISTS), C(RETRY), false},
		{410, C(RETRY), C(GONE), C(GONE), false},
		{412, C(STALE), C(STALE), C(STALE), false},
		{413, C(SPLIT), C(SPLIT), C(SPLIT), false},
		{415, C(REJECT), C(REJECT), C(REJECT), false},
		{418, C(REJECT), C(REJECT), C(REJECT), false},
		{422, C(REJECT), C(REJECT), C(REJECT), false},
		{423, C(RETRY), C(RETRY), C(RETRY), false},
		{424, C(RETRY), C(RETRY), C(RETRY), false},
		{429, C(THROTTLED), C(THROTTLED), C(THROTTLED), false},
		{500, C(RETRY), C(RETRY), C(RETRY), true},
		{501, C(DOWNGRADE), C(DOWNGRADE), C(DOWNGRADE), false},
		{502, C(RETRY), C(RETRY), C(RETRY), true},
		{503, C(RETRY), C(RETRY), C(RETRY), false},
		{504, C(RETRY), C(RETRY), C(RETRY), true},
		{507, C(RETRY), C(RETRY), C(RETRY), true},
		{520, C(RETRY), C(RETRY), C(RETRY), true},
		{527, C(RETRY), C(RETRY), C(RETRY), true},
		{999, C(RETRY), C(RETRY), C(RETRY), true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict v = judge(TARGET_CREATE, rows[i].status, NULL, NULL);

		assert_int_equal(v.class, rows[i].on_create);
		assert_int_equal(v.unknown_outcome, rows[i].unknown);
		assert_true(v.class == VERDICT_CLASS_OK || v.reason);
		v = judge(TARGET_UPDATE, rows[i].status, NULL, NULL);
		assert_int_equal(v.class, rows[i].on_update);
		v = judge(TARGET_DELETE, rows[i].status, NULL, NULL);
		assert_int_equal(v.class, rows[i].on_delete);
		v = judge(TARGET_READ, rows[i].status, NULL, NULL);
		assert_false(v.unknown_outcome);
	}
}

static void transport_failures(void **state)
{
	static const struct {
		enum http_failure failure;
		enum verdict_class class;
	} rows[] = {
		{HTTP_NO_HOST, C(DOWN)},  {HTTP_REFUSED, C(DOWN)}, {HTTP_TLS, C(DOWN)},
		{HTTP_TIMEOUT, C(RETRY)}, {HTTP_CUT, C(RETRY)},	   {HTTP_TOO_LARGE, C(RETRY)},
		{HTTP_BROKEN, C(RETRY)},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct verdict_facts f = {.kind = TARGET_CREATE, .failure = rows[i].failure};

		assert_int_equal(verdict_judge(&f, NULL, NOW).class, rows[i].class);
		assert_non_null(verdict_judge(&f, NULL, NOW).reason);
		assert_false(verdict_judge(&f, NULL, NOW).unknown_outcome);
		f.sent = true;
		assert_true(verdict_judge(&f, NULL, NOW).unknown_outcome);
		f.kind = TARGET_FIND;
		assert_false(verdict_judge(&f, NULL, NOW).unknown_outcome);
	}
}

static void captive_portal(void **state)
{
	struct verdict_facts f = {
		.kind = TARGET_READ, .failure = HTTP_ANSWERED, .status = 200, .not_json = true};

	(void)state;
	assert_int_equal(verdict_judge(&f, NULL, NOW).class, VERDICT_CLASS_RETRY);
	assert_string_equal(verdict_judge(&f, NULL, NOW).reason, "not_json");
}

static void driver_rows_come_first(void **state)
{
	static const struct verdict_row rows[] = {
		{1u << TARGET_CREATE, 400, 400, "Request_BadRequest/ObjectConflict*", C(EXISTS),
		 "name_taken", NULL},
		{0, 400, 400, "NoSeat", C(PARK), "no_seat", "seat:"},
		{.class = VERDICT_CLASSES},
	};
	struct verdict_facts f = {.kind = TARGET_CREATE,
				  .failure = HTTP_ANSWERED,
				  .status = 400,
				  .code = SLICE("Request_BadRequest/ObjectConflict/upn")};

	(void)state;
	assert_int_equal(verdict_judge(&f, rows, NOW).class, VERDICT_CLASS_EXISTS);
	f.kind = TARGET_STEP;
	assert_int_equal(verdict_judge(&f, rows, NOW).class, VERDICT_CLASS_REJECT);
	f.code = SLICE("NoSeat");
	assert_int_equal(verdict_judge(&f, rows, NOW).class, VERDICT_CLASS_PARK);
	assert_string_equal(verdict_judge(&f, rows, NOW).waits, "seat:");
	f.code = SLICE("NoSeats");
	assert_int_equal(verdict_judge(&f, rows, NOW).class, VERDICT_CLASS_REJECT);
}

static void retry_after(void **state)
{
	static const struct {
		const char *text;
		int64_t ms;
	} rows[] = {
		{"0", 0},
		{"2", 2000},
		{" 120 ", 120000},
		{"2.128", 2128},
		{"0.0001", 1},
		{"1.9999", 2000},
		{"31536000", VERDICT_RETRY_AFTER_CAP_MS},
		{"99999999999999999999999999", VERDICT_RETRY_AFTER_CAP_MS},
		{"Thu, 28 May 2026 20:26:50 GMT", 10000},
		{"Thursday, 28-May-26 20:26:50 GMT", 10000},
		{"Thu May 28 20:26:50 2026", 10000},
		{"Thu, 28 May 2026 20:26:30 GMT", 0},
		{"Thu, 28 May 2099 20:26:30 GMT", VERDICT_RETRY_AFTER_CAP_MS},
		{"", -1},
		{"soon", -1},
		{"-5", -1},
		{"5 s", -1},
		{"1e3", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(verdict_retry_after_ms(slice_of(rows[i].text), NOW), rows[i].ms);
}

static void throttling(void **state)
{
	(void)state;
	assert_int_equal(judge(TARGET_UPDATE, 429, NULL, "7").after_ms, 7000);
	assert_int_equal(judge(TARGET_UPDATE, 429, NULL, NULL).after_ms, VERDICT_THROTTLE_MS);
	assert_int_equal(judge(TARGET_UPDATE, 503, NULL, "7").class, VERDICT_CLASS_THROTTLED);
	assert_int_equal(judge(TARGET_UPDATE, 429, NULL, "0").after_ms, VERDICT_SOON_MS);
	assert_int_equal(judge(TARGET_UPDATE, 429, NULL, "Sun, 06 Nov 1994 08:49:37 GMT").after_ms,
			 VERDICT_SOON_MS);
	assert_int_equal(judge(TARGET_UPDATE, 429, NULL, "").after_ms, VERDICT_THROTTLE_MS);
	assert_int_equal(judge(TARGET_UPDATE, 503, NULL, "7").after_ms, 7000);
	assert_true(judge(TARGET_UPDATE, 503, NULL, NULL).fresh_connection);
}

static void down_after_a_row_of_failures(void **state)
{
	struct verdict_facts bad = {.failure = HTTP_TIMEOUT};
	struct verdict_facts answer = {.failure = HTTP_ANSWERED, .status = 404};
	struct verdict_facts refused = {.failure = HTTP_REFUSED};
	unsigned streak = 0;

	(void)state;
	for (int i = 1; i < VERDICT_DOWN_AFTER; i++)
		assert_false(verdict_is_down(&streak, &bad));
	assert_false(verdict_is_down(&streak, &answer));
	for (int i = 1; i < VERDICT_DOWN_AFTER; i++)
		assert_false(verdict_is_down(&streak, &bad));
	assert_true(verdict_is_down(&streak, &bad));
	streak = 0;
	assert_true(verdict_is_down(&streak, &refused));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(statuses),
		cmocka_unit_test(transport_failures),
		cmocka_unit_test(captive_portal),
		cmocka_unit_test(driver_rows_come_first),
		cmocka_unit_test(retry_after),
		cmocka_unit_test(throttling),
		cmocka_unit_test(down_after_a_row_of_failures),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
