/* What a syncrepl server says: the first byte chooses sync state, sync info, or cookies one a line. What is read is whole, a state's
 * text stands for the same state, and a cookie never takes a state back. */
#include "fuzz.h"

#include "sync_cookie.h"
#include "sync_pdu.h"

static struct berval exact(struct slice s)
{
	struct berval value = {s.n, malloc(s.n + 1)};

	must(value.bv_val != NULL);
	value.bv_val = realloc(value.bv_val, s.n > 0 ? s.n : 1);
	if (s.n > 0)
		memcpy(value.bv_val, s.p, s.n);
	return value;
}

static void read_state(struct slice all)
{
	struct berval value = exact(all);
	struct sync_entry entry;

	if (sync_read_state(&value, &entry) == 0) {
		must(entry.state < SYNC_STATES && entry.cookie.n <= all.n);
		sync_entry_done(&entry);
	}
	free(value.bv_val);
}

static void read_info(struct slice all)
{
	struct berval value = exact(all);
	struct sync_info info;

	if (sync_read_info(&value, &info) == 0) {
		must(info.kind < SYNC_INFOS && info.cookie.n <= all.n);
		must(info.n <= all.n / sizeof(struct id));
		sync_info_done(&info);
	}
	free(value.bv_val);
}

static void same_again(const struct sync_cookie *c)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	CLEANUP(buf_cleanup) struct buf again = {0};
	CLEANUP(buf_cleanup) struct buf back = {0};
	CLEANUP(buf_cleanup) struct buf request = {0};
	struct sync_cookie other = {0};

	sync_cookie_text(c, &text);
	must(sync_cookie_is_empty(c) == (text.n == 0));
	must(sync_cookie_merge(&other, buf_slice(&text)) == (text.n > 0));
	sync_cookie_text(&other, &again);
	must(slice_equal(buf_slice(&text), buf_slice(&again)));
	must(!sync_cookie_merge(&other, buf_slice(&text)));
	if (c->numbered) {
		sync_cookie_rewound(c, 5, &back);
		must(back.n > 0);
		(void)sync_cookie_is_trimmed(c, 7);
	}
	sync_request(buf_slice(&text), true, &request);
	must(request.n > text.n);
	sync_cookie_done(&other);
}

static void cookies(struct slice rest)
{
	struct sync_cookie c = {0};
	struct slice csns[2] = {{0}};
	size_t n = 0;

	while (rest.n > 0) {
		struct slice line = fuzz_take(&rest, '\n');
		CLEANUP(buf_cleanup) struct buf head = {0};
		uint64_t before = c.number;

		buf_add(&head, c.head.p, c.head.n);
		sync_cookie_merge(&c, line);
		/* Another server's numbers are others. */
		must(!slice_equal(buf_slice(&head), buf_slice(&c.head)) || c.number >= before);
		csns[n++ % 2] = line;
	}
	same_again(&c);
	(void)sync_cookie_is_behind(&c, csns, n < 2 ? n : 2);
	(void)sync_cookie_is_ahead(&c, csns, n < 2 ? n : 2);
	sync_cookie_done(&c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice rest = {(const char *)data, size};

	switch (fuzz_byte(&rest)) {
	case 's':
		read_state(rest);
		break;
	case 'i':
		read_info(rest);
		break;
	default:
		cookies(rest);
	}
	return 0;
}
