/* What stands in Redis beside a cursor and comes back after years, and a server's word on time: first byte which; what is taken
 * is written back as the same. */
#include "fuzz.h"

#include "account.h"
#include "ad.h"
#include "clock.h"
#include "poll_cursor.h"
#include "poll_stamp.h"

static void poll(struct slice rest)
{
	CLEANUP(buf_cleanup) struct buf server = {0};
	struct slice cookie = fuzz_take(&rest, '\n');
	struct poll_cursor c, again;

	if (poll_cursor_parse(cookie, rest, &c) < 0)
		return;
	must(strnlen(c.newest, sizeof(c.newest)) < sizeof(c.newest));
	must(strnlen(c.stamp, sizeof(c.stamp)) < sizeof(c.stamp));
	must(strnlen(c.server, sizeof(c.server)) < sizeof(c.server));
	poll_cursor_format(&c, &server);
	must(poll_cursor_parse(slice_of(c.newest), buf_slice(&server), &again) == 0);
	must(id_equal(&c.base, &again.base) && strcmp(c.stamp, again.stamp) == 0);
}

static void stamp(struct slice rest)
{
	CLEANUP(buf_cleanup) struct buf back = {0};
	char *text = fuzz_text(rest);
	bool back_there = poll_stamp_back(text, 60, &back) == 0;

	must(!back_there || poll_stamp_valid(text));
	must(!back_there || poll_stamp_valid(back.p));
	free(text);
}

static void marks(struct slice rest)
{
	CLEANUP(buf_cleanup) struct buf first = {0};
	CLEANUP(buf_cleanup) struct buf second = {0};
	struct ad_marks m, again;

	if (ad_marks_parse(rest, &m) < 0)
		return;
	must(m.n <= AD_MARKS_MAX);
	ad_marks_format(&m, &first);
	must(ad_marks_parse(buf_slice(&first), &again) == 0);
	ad_marks_format(&again, &second);
	must(slice_equal(buf_slice(&first), buf_slice(&second)));
	ad_marks_done(&m);
	ad_marks_done(&again);
}

static void vector(struct slice rest)
{
	struct ad_mark *list = NULL;
	size_t n = 0;
	volatile uint64_t sum = 0; /* all of it is read */

	if (ad_vector_parse(rest, &list, &n) < 0)
		return;
	must(n <= rest.n / 24);
	for (size_t i = 0; i < n; i++)
		sum += list[i].usn + list[i].seen + list[i].invocation.b[15];
	free(list);
}

static void times(struct slice rest)
{
	char *text = fuzz_text(rest);

	must(account_filetime_ms(text) >= 0);
	(void)clock_generalized_ms(text);
	must(ad_interval_ms(text) >= 0);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = {(const char *)data, size};

	switch (fuzz_byte(&rest)) {
	case 'p':
		poll(rest);
		break;
	case 's':
		stamp(rest);
		break;
	case 'm':
		marks(rest);
		break;
	case 'v':
		vector(rest);
		break;
	default:
		times(rest);
	}
	return 0;
}
