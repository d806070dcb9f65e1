#include "store_rows.h"

#include <errno.h>
#include <string.h>

enum { VERSION = 1, NAME_MOST = 1024 };

/* ---- little-endian numbers ---- */

static void put(struct buf *out, uint64_t value, size_t bytes)
{
	uint8_t raw[8];

	for (size_t i = 0; i < bytes; i++)
		raw[i] = (uint8_t)(value >> (8 * i));
	buf_add(out, raw, bytes);
}

static void put_slice(struct buf *out, struct slice s)
{
	put(out, s.n, 2);
	buf_add(out, s.p, s.n);
}

/* A reader that remembers a failure, so that a record is taken apart in one straight line. */
struct reader {
	struct slice rest;
	bool bad;
};

static uint64_t get(struct reader *r, size_t bytes)
{
	uint64_t value = 0;

	if (r->bad || r->rest.n < bytes) {
		r->bad = true;
		return 0;
	}
	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)(uint8_t)r->rest.p[i] << (8 * i);
	r->rest.p += bytes;
	r->rest.n -= bytes;
	return value;
}

static struct slice get_bytes(struct reader *r, size_t n)
{
	struct slice s = {r->rest.p, n};

	if (r->bad || r->rest.n < n) {
		r->bad = true;
		return (struct slice){0};
	}
	r->rest.p += n;
	r->rest.n -= n;
	return s;
}

static struct slice get_slice(struct reader *r)
{
	return get_bytes(r, (size_t)get(r, 2));
}

static void get_raw(struct reader *r, void *to, size_t n)
{
	struct slice s = get_bytes(r, n);

	if (!r->bad)
		memcpy(to, s.p, n);
}

static struct reader open_record(struct slice record)
{
	struct reader r = {record, false};

	if (get(&r, 1) != VERSION)
		r.bad = true;
	return r;
}

static int closed(const struct reader *r)
{
	return r->bad || r->rest.n > 0 ? -EBADMSG : 0;
}

/* ---- user ---- */

void rows_put_user(struct buf *out, const struct queue_user_row *row)
{
	put(out, VERSION, 1);
	put(out, row->gone, 1);
	put(out, row->version, 8);
	buf_add(out, row->fingerprint.b, sizeof(row->fingerprint.b));
	put_slice(out, row->source);
	put(out, row->in.count, 4);
	buf_add(out, row->in.p, row->in.n);
}

static bool names_ok(struct wire_list list)
{
	struct wire_name name;

	while (list.count > 0)
		if (!wire_next_name(&list, &name))
			return false;
	return list.n == 0;
}

int rows_get_user(struct slice record, struct queue_user_row *ret)
{
	struct reader r = open_record(record);
	uint64_t gone = get(&r, 1), version = get(&r, 8), count;
	struct fp fp = {0};
	struct slice source;
	struct wire_list in;

	get_raw(&r, fp.b, sizeof(fp.b));
	source = get_slice(&r);
	count = get(&r, 4);
	if (r.bad || gone > 1 || source.n > NAME_MOST)
		return -EBADMSG;
	in = (struct wire_list){(uint32_t)count, r.rest.p, r.rest.n};
	if (!names_ok(in))
		return -EBADMSG;
	ret->gone = gone != 0;
	ret->version = version;
	ret->fingerprint = fp;
	ret->source = source;
	ret->in = in;
	return 0;
}

void rows_put_refs(struct buf *out, const struct wire_list *refs)
{
	put(out, VERSION, 1);
	put(out, refs->count, 4);
	buf_add(out, refs->p, refs->n);
}

int rows_get_refs(struct slice record, struct wire_list *ret)
{
	struct reader r = open_record(record);
	uint64_t count = get(&r, 4);
	struct wire_list list = {(uint32_t)count, r.rest.p, r.rest.n}, walk = list;
	struct wire_ref ref;

	if (r.bad)
		return -EBADMSG;
	while (walk.count > 0)
		if (!wire_next_ref(&walk, &ref))
			return -EBADMSG;
	if (walk.n > 0)
		return -EBADMSG;
	*ret = list;
	return 0;
}

/* ---- entry ---- */

void rows_put_entry(struct buf *out, const struct queue_entry_row *row)
{
	put(out, VERSION, 1);
	put(out, row->state, 1);
	put(out, row->lane, 1);
	put(out, row->verify, 1);
	put(out, row->link_state, 1);
	put(out, (uint64_t)row->in | (uint64_t)row->touched << 1, 1);
	put(out, row->want, 4);
	put(out, row->attempts, 4);
	put(out, row->link_revision, 8);
	put(out, (uint64_t)row->since_unix_ms, 8);
	put(out, (uint64_t)row->due_unix_ms, 8);
	put(out, (uint64_t)row->failing_unix_ms, 8);
	put(out, (uint64_t)row->verify_unix_ms, 8);
	put(out, (uint64_t)row->look_again_unix_ms, 8);
}

int rows_get_entry(struct slice record, struct queue_entry_row *ret)
{
	struct reader r = open_record(record);
	struct queue_entry_row row = {0};
	uint64_t flags;

	row.state = (uint8_t)get(&r, 1);
	row.lane = (uint8_t)get(&r, 1);
	row.verify = (uint8_t)get(&r, 1);
	row.link_state = (uint8_t)get(&r, 1);
	flags = get(&r, 1);
	row.in = flags & 1;
	row.touched = flags & 2;
	row.want = (uint32_t)get(&r, 4);
	row.attempts = (uint32_t)get(&r, 4);
	row.link_revision = get(&r, 8);
	row.since_unix_ms = (int64_t)get(&r, 8);
	row.due_unix_ms = (int64_t)get(&r, 8);
	row.failing_unix_ms = (int64_t)get(&r, 8);
	row.verify_unix_ms = (int64_t)get(&r, 8);
	row.look_again_unix_ms = (int64_t)get(&r, 8);
	if (closed(&r) < 0 || flags > 3 || row.state >= QUEUE_STATES || row.lane >= QUEUE_LANES ||
	    row.verify >= QUEUE_VERIFIES || row.link_state >= LINK_STATES)
		return -EBADMSG;
	*ret = row;
	return 0;
}

/* ---- link, fingerprint ---- */

void rows_put_link(struct buf *out, const struct rows_link *link)
{
	put(out, VERSION, 1);
	put(out, link->state, 1);
	put(out, link->revision, 8);
	put_slice(out, link->rid);
	buf_add(out, link->memory.p, link->memory.n);
}

int rows_get_link(struct slice record, struct rows_link *ret)
{
	struct reader r = open_record(record);
	struct rows_link link = {0};

	link.state = (uint8_t)get(&r, 1);
	link.revision = get(&r, 8);
	link.rid = get_slice(&r);
	link.memory = r.rest;
	if (r.bad || link.state >= LINK_STATES || link.rid.n > NAME_MOST)
		return -EBADMSG;
	*ret = link;
	return 0;
}

void rows_put_fp(struct buf *out, const struct fp *fp)
{
	put(out, VERSION, 1);
	buf_add(out, fp->b, sizeof(fp->b));
}

int rows_get_fp(struct slice record, struct fp *ret)
{
	struct reader r = open_record(record);
	struct fp fp = {0};

	get_raw(&r, fp.b, sizeof(fp.b));
	if (closed(&r) < 0)
		return -EBADMSG;
	*ret = fp;
	return 0;
}

/* ---- lease, held ---- */

void rows_put_lease(struct buf *out, const struct queue_lease *lease)
{
	put(out, VERSION, 1);
	put(out, lease->epoch, 8);
	put(out, lease->page, 8);
	put(out, lease->index, 4);
	put(out, lease->worker, 8);
	put(out, lease->want, 4);
	put(out, lease->version, 8);
	put(out, (uint64_t)lease->stamp_ms, 8);
	put(out, (uint64_t)lease->deadline_unix_ms, 8);
}

int rows_get_lease(struct slice record, struct queue_lease *ret)
{
	struct reader r = open_record(record);
	struct queue_lease lease = {0};

	lease.epoch = get(&r, 8);
	lease.page = get(&r, 8);
	lease.index = (uint32_t)get(&r, 4);
	lease.worker = get(&r, 8);
	lease.want = (uint32_t)get(&r, 4);
	lease.version = get(&r, 8);
	lease.stamp_ms = (int64_t)get(&r, 8);
	lease.deadline_unix_ms = (int64_t)get(&r, 8);
	if (closed(&r) < 0)
		return -EBADMSG;
	*ret = lease;
	return 0;
}

void rows_put_held_name(struct buf *out, const struct queue_held_row *held)
{
	buf_add(out, held->id.b, sizeof(held->id.b));
	buf_add(out, held->op.p, held->op.n);
	buf_addc(out, '\0');
	buf_add(out, held->what.p, held->what.n);
}

void rows_put_held(struct buf *out, const struct queue_held_row *held)
{
	put(out, VERSION, 1);
	put(out, held->phase, 1);
	put(out, (uint64_t)held->since_unix_ms, 8);
}

int rows_get_held(struct slice name, struct slice record, struct queue_held_row *ret)
{
	struct reader r = open_record(record);
	struct queue_held_row row = {0};
	const char *nul;

	row.phase = (uint8_t)get(&r, 1);
	row.since_unix_ms = (int64_t)get(&r, 8);
	if (closed(&r) < 0 || row.phase >= QUEUE_HELD_PHASES || name.n < sizeof(row.id.b) + 1)
		return -EBADMSG;
	memcpy(row.id.b, name.p, sizeof(row.id.b));
	row.op = (struct slice){name.p + sizeof(row.id.b), name.n - sizeof(row.id.b)};
	nul = memchr(row.op.p, '\0', row.op.n);
	if (!nul)
		return -EBADMSG;
	row.what = (struct slice){nul + 1, (size_t)(row.op.p + row.op.n - (nul + 1))};
	row.op.n = (size_t)(nul - row.op.p);
	*ret = row;
	return 0;
}
