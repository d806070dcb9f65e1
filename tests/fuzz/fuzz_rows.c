/* Records of the store's hashes: first byte which. What is accepted is written back as the same bytes. */
#include "fuzz.h"

#include "store_rows.h"

static void same(const struct buf *out, struct slice record)
{
	must(slice_equal(buf_slice(out), record));
}

static void user(struct slice record, struct buf *out)
{
	struct queue_user_row row = {0};

	if (rows_get_user(record, &row) < 0)
		return;
	rows_put_user(out, &row);
	same(out, record);
}

static void refs(struct slice record, struct buf *out)
{
	struct wire_list list;

	if (rows_get_refs(record, &list) < 0)
		return;
	rows_put_refs(out, &list);
	same(out, record);
}

static void entry(struct slice record, struct buf *out)
{
	struct queue_entry_row row;

	if (rows_get_entry(record, &row) < 0)
		return;
	rows_put_entry(out, &row);
	same(out, record);
}

static void link_row(struct slice record, struct buf *out)
{
	struct rows_link link;

	if (rows_get_link(record, &link) < 0)
		return;
	rows_put_link(out, &link);
	same(out, record);
}

static void lease(struct slice record, struct buf *out)
{
	struct queue_lease l;

	if (rows_get_lease(record, &l) < 0)
		return;
	rows_put_lease(out, &l);
	same(out, record);
}

static void fp(struct slice record, struct buf *out)
{
	struct fp f;

	if (rows_get_fp(record, &f) < 0)
		return;
	rows_put_fp(out, &f);
	same(out, record);
}

static void held(struct slice rest, struct buf *out)
{
	struct slice record = {rest.p, rest.n < 10 ? rest.n : 10};
	struct slice name = {rest.p + record.n, rest.n - record.n};
	struct queue_held_row row;

	if (rows_get_held(name, record, &row) < 0)
		return;
	rows_put_held(out, &row);
	same(out, record);
	buf_clear(out);
	rows_put_held_name(out, &row);
	same(out, name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(struct slice record, struct buf * out) = {
		user, refs, entry, link_row, lease, fp, held};
	CLEANUP(buf_cleanup) struct buf out = {0};
	struct slice rest = {(const char *)data, size};
	size_t kind = fuzz_byte(&rest) % (sizeof(kinds) / sizeof(kinds[0]));

	if (rest.n > 0)
		kinds[kind](rest, &out);
	return 0;
}
