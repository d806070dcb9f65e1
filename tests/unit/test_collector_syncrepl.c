#include "unit.h"

#include "sync_cookie.h"
#include "sync_pdu.h"

#include <errno.h>
#include <string.h>

#define A1 "20260101000001.000000Z#000000#001#000000"
#define A2 "20260101000002.000000Z#000000#001#000000"
#define B1 "20260101000001.000000Z#000000#002#000000"

static void assert_text(const struct sync_cookie *c, const char *want)
{
	CLEANUP(buf_cleanup) struct buf b = {0};

	sync_cookie_text(c, &b);
	assert_string_equal(b.p != NULL ? b.p : "", want);
}

static void cookies_merge_by_server_id(void **state)
{
	struct sync_cookie c = {0};

	(void)state;
	assert_true(sync_cookie_merge(&c, SLICE("rid=000,sid=001,csn=" A1)));
	assert_text(&c, "rid=000,csn=" A1);
	assert_true(sync_cookie_merge(&c, SLICE("rid=000,sid=002,csn=" B1)));
	assert_text(&c, "rid=000,csn=" A1 ";" B1);
	assert_true(sync_cookie_merge(&c, SLICE("rid=000,csn=" A2 ";" B1)));
	assert_text(&c, "rid=000,csn=" A2 ";" B1);
	assert_false(sync_cookie_merge(&c, SLICE("rid=000,csn=" A1)));
	assert_text(&c, "rid=000,csn=" A2 ";" B1);
	sync_cookie_done(&c);
}

static void what_is_no_state_changes_nothing(void **state)
{
	static const char *const bad[] = {
		"rid=000",	 "",	    "rid=000,csn=",	  "rid=000,csn=x",
		"rid=000,csn=#", "garbage", "rid=000,delcsn=" A1, "host#",
		"host#12x"};
	struct sync_cookie c = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(sync_cookie_merge(&c, slice_of(bad[i])));
	assert_true(sync_cookie_is_empty(&c));
	assert_true(sync_cookie_merge(&c, SLICE("rid=000,csn=" A1 ",delcsn=" A2)));
	assert_text(&c, "rid=000,csn=" A1);
	sync_cookie_done(&c);
}

static void numbered_cookies_are_rewound(void **state)
{
	struct sync_cookie c = {0};
	struct buf b = {0};

	(void)state;
	assert_true(sync_cookie_merge(&c, SLICE("h:389#cn=u#dc=x:(f=#)#1000")));
	assert_text(&c, "h:389#cn=u#dc=x:(f=#)#1000");
	assert_false(sync_cookie_merge(&c, SLICE("h:389#cn=u#dc=x:(f=#)#999")));
	sync_cookie_rewound(&c, 1, &b);
	assert_string_equal(b.p, "h:389#cn=u#dc=x:(f=#)#900");
	buf_clear(&b);
	sync_cookie_rewound(&c, 951, &b);
	assert_string_equal(b.p, "h:389#cn=u#dc=x:(f=#)#950");
	assert_false(sync_cookie_is_trimmed(&c, 1001));
	assert_true(sync_cookie_is_trimmed(&c, 1002));
	buf_done(&b);
	sync_cookie_done(&c);
}

static void behind_and_ahead(void **state)
{
	struct sync_cookie c = {0};
	const struct slice same[] = {SLICE(A1), SLICE(B1)};
	const struct slice newer[] = {SLICE(A2), SLICE(B1)};
	const struct slice lone[] = {SLICE(A2)};

	(void)state;
	assert_true(sync_cookie_merge(&c, SLICE("rid=000,csn=" A1 ";" B1)));
	assert_false(sync_cookie_is_behind(&c, same, 2));
	assert_false(sync_cookie_is_ahead(&c, same, 2));
	assert_false(sync_cookie_is_behind(&c, newer, 2));
	assert_true(sync_cookie_is_ahead(&c, newer, 2));
	assert_true(sync_cookie_is_behind(&c, lone, 1));
	assert_true(sync_cookie_merge(&c, SLICE("rid=000,csn=" A2)));
	assert_true(sync_cookie_is_behind(&c, same, 2));
	sync_cookie_done(&c);
}

static struct berval value_of(const char *p, size_t n)
{
	static char copy[256];

	memcpy(copy, p, n);
	return (struct berval){n, copy};
}

#define VALUE(literal) value_of(literal, sizeof(literal) - 1)
#define UUID	       "\1\2\3\4\5\6\7\10\11\12\13\14\15\16\17\20"

static void requests_are_encoded(void **state)
{
	struct buf b = {0};

	(void)state;
	sync_request((struct slice){0}, false, &b);
	assert_memory_equal(b.p, "\x30\x03\x0a\x01\x03", 5);
	buf_clear(&b);
	sync_request(SLICE("rid=0"), true, &b);
	assert_int_equal(b.n, 15);
	assert_memory_equal(b.p, "\x30\x0d\x0a\x01\x03\x04\x05rid=0\x01\x01\xff", 15);
	buf_done(&b);
}

static void states_are_decoded(void **state)
{
	struct berval v = VALUE("\x30\x17\x0a\x01\x03\x04\x10" UUID "\x04\x00");
	struct sync_entry e;

	(void)state;
	assert_int_equal(sync_read_state(&v, &e), 0);
	assert_int_equal(e.state, SYNC_DELETE);
	assert_memory_equal(e.id.b, UUID, 16);
	sync_entry_done(&e);
	v = VALUE("\x30\x18\x0a\x01\x01\x04\x10" UUID "\x04\x01x");
	assert_int_equal(sync_read_state(&v, &e), 0);
	assert_true(slice_is(buf_slice(&e.cookie), "x"));
	sync_entry_done(&e);
	v = VALUE("\x30\x15\x0a\x01\x07\x04\x10" UUID);
	assert_int_equal(sync_read_state(&v, &e), -EBADMSG);
	v = VALUE("\x30\x05\x0a\x01\x01\x04\x00");
	assert_int_equal(sync_read_state(&v, &e), -EBADMSG);
	v = VALUE("\x30");
	assert_int_equal(sync_read_state(&v, &e), -EBADMSG);
	v = VALUE("");
	assert_int_equal(sync_read_state(&v, &e), -EBADMSG);
}

static void infos_are_decoded(void **state)
{
	struct sync_info i;
	struct berval v = VALUE("\x80\x02hi");

	(void)state;
	assert_int_equal(sync_read_info(&v, &i), 0);
	assert_int_equal(i.kind, SYNC_NEW_COOKIE);
	assert_true(slice_is(buf_slice(&i.cookie), "hi"));
	sync_info_done(&i);
	v = VALUE("\xa1\x00");
	assert_int_equal(sync_read_info(&v, &i), 0);
	assert_int_equal(i.kind, SYNC_REFRESH_DELETE);
	assert_true(i.done);
	sync_info_done(&i);
	v = VALUE("\xa2\x07\x04\x02hi\x01\x01\x00");
	assert_int_equal(sync_read_info(&v, &i), 0);
	assert_int_equal(i.kind, SYNC_REFRESH_PRESENT);
	assert_false(i.done);
	sync_info_done(&i);
	v = VALUE("\xa3\x17\x01\x01\xff\x31\x12\x04\x10" UUID);
	assert_int_equal(sync_read_info(&v, &i), 0);
	assert_true(i.deletes);
	assert_int_equal(i.n, 1);
	assert_memory_equal(i.ids[0].b, UUID, 16);
	sync_info_done(&i);
	v = VALUE("\xa3\x05\x31\x03\x04\x01x");
	assert_int_equal(sync_read_info(&v, &i), -EBADMSG);
	v = VALUE("\xa7\x00");
	assert_int_equal(sync_read_info(&v, &i), -EBADMSG);
	v = VALUE("");
	assert_int_equal(sync_read_info(&v, &i), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(cookies_merge_by_server_id),
		cmocka_unit_test(what_is_no_state_changes_nothing),
		cmocka_unit_test(numbered_cookies_are_rewound),
		cmocka_unit_test(behind_and_ahead),
		cmocka_unit_test(requests_are_encoded),
		cmocka_unit_test(states_are_decoded),
		cmocka_unit_test(infos_are_decoded),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
