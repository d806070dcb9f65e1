#include "wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

enum { NAME_MAX_BYTES = 1024, TEXT_MAX_BYTES = 64 << 10, BYTES_MAX = 16 << 20 };

static const char magic[2] = {'D', 'P'};

/* ---- primitives ---- */

static void put_number(struct buf *out, uint64_t value, size_t bytes)
{
	uint8_t raw[8];

	for (size_t i = 0; i < bytes; i++)
		raw[i] = (uint8_t)(value >> (8 * i));
	buf_add(out, raw, bytes);
}

static int get_number(struct slice *in, size_t bytes, uint64_t *ret)
{
	uint64_t value = 0;

	if (in->n < bytes)
		return -EBADMSG;
	for (size_t i = 0; i < bytes; i++)
		value |= (uint64_t)(uint8_t)in->p[i] << (8 * i);
	in->p += bytes;
	in->n -= bytes;
	*ret = value;
	return 0;
}

static void put_slice(struct buf *out, struct slice value)
{
	assert(value.n <= WIRE_MESSAGE_MAX);
	put_number(out, value.n, 4);
	buf_add(out, value.p, value.n);
}

static int get_slice(struct slice *in, size_t most, struct slice *ret)
{
	uint64_t n;
	int rc = get_number(in, 4, &n);

	if (rc < 0)
		return rc;
	if (n > most || n > in->n)
		return -EBADMSG;
	*ret = (struct slice){in->p, (size_t)n};
	in->p += n;
	in->n -= (size_t)n;
	return 0;
}

static int get_text(struct slice *in, size_t most, struct slice *ret)
{
	struct slice text;
	int rc = get_slice(in, most, &text);

	if (rc < 0)
		return rc;
	if (!utf8_valid(text))
		return -EBADMSG;
	*ret = text;
	return 0;
}

static int get_raw(struct slice *in, void *to, size_t n)
{
	if (in->n < n)
		return -EBADMSG;
	memcpy(to, in->p, n);
	in->p += n;
	in->n -= n;
	return 0;
}

/* ---- one put and one get per field type; `check` is the record's own decoder, for lists ---- */

typedef int (*check_fn)(struct slice *in);

#define DEFINE_NUMBER(type, ctype, bytes)                                                          \
	static void put_##type(struct buf *out, ctype value)                                       \
	{                                                                                          \
		put_number(out, (uint64_t)value, bytes);                                           \
	}                                                                                          \
	static int get_##type(struct slice *in, ctype *ret)                                        \
	{                                                                                          \
		uint64_t value;                                                                    \
		int rc = get_number(in, bytes, &value);                                            \
                                                                                                   \
		if (rc == 0)                                                                       \
			*ret = (ctype)value;                                                       \
		return rc;                                                                         \
	}
DEFINE_NUMBER(u8, uint8_t, 1)
DEFINE_NUMBER(u32, uint32_t, 4)
DEFINE_NUMBER(u64, uint64_t, 8)
DEFINE_NUMBER(i64, int64_t, 8)

#define DEFINE_RAW(type, ctype)                                                                    \
	static void put_##type(struct buf *out, ctype value)                                       \
	{                                                                                          \
		buf_add(out, value.b, sizeof(value.b));                                            \
	}                                                                                          \
	static int get_##type(struct slice *in, ctype *ret)                                        \
	{                                                                                          \
		return get_raw(in, ret->b, sizeof(ret->b));                                        \
	}
DEFINE_RAW(id, struct id)
DEFINE_RAW(fp, struct fp)

static void put_name(struct buf *out, struct slice value)
{
	put_slice(out, value);
}

static int get_name(struct slice *in, struct slice *ret)
{
	return get_text(in, NAME_MAX_BYTES, ret);
}

static void put_text(struct buf *out, struct slice value)
{
	put_slice(out, value);
}

static int get_text_field(struct slice *in, struct slice *ret)
{
	return get_text(in, TEXT_MAX_BYTES, ret);
}

static void put_bytes(struct buf *out, struct slice value)
{
	put_slice(out, value);
}

static int get_bytes(struct slice *in, struct slice *ret)
{
	return get_slice(in, BYTES_MAX, ret);
}

static void put_list(struct buf *out, struct wire_list value)
{
	put_number(out, value.count, 4);
	put_slice(out, (struct slice){value.p, value.n});
}

static int get_list(struct slice *in, check_fn check, struct wire_list *ret)
{
	struct slice records, rest;
	uint32_t count = 0;
	int rc = get_u32(in, &count);

	if (rc < 0)
		return rc;
	rc = get_slice(in, WIRE_MESSAGE_MAX, &records);
	if (rc < 0)
		return rc;
	rest = records;
	for (uint32_t i = 0; i < count; i++) {
		rc = check(&rest);
		if (rc < 0)
			return rc;
	}
	if (rest.n > 0)
		return -EBADMSG;
	*ret = (struct wire_list){count, records.p, records.n};
	return 0;
}

/* ---- generated ---- */

#define PUT(type, name, ...) put_##type(out, in->name);

#define GET_u8(name, ...)    GET_PLAIN(get_u8, name)
#define GET_u32(name, ...)   GET_PLAIN(get_u32, name)
#define GET_u64(name, ...)   GET_PLAIN(get_u64, name)
#define GET_i64(name, ...)   GET_PLAIN(get_i64, name)
#define GET_id(name, ...)    GET_PLAIN(get_id, name)
#define GET_fp(name, ...)    GET_PLAIN(get_fp, name)
#define GET_name(name, ...)  GET_PLAIN(get_name, name)
#define GET_text(name, ...)  GET_PLAIN(get_text_field, name)
#define GET_bytes(name, ...) GET_PLAIN(get_bytes, name)
#define GET_PLAIN(get, name)                                                                       \
	rc = get(in, &ret->name);                                                                  \
	if (rc < 0)                                                                                \
		return rc;
#define GET_list(name, record)                                                                     \
	rc = get_list(in, check_##record, &ret->name);                                             \
	if (rc < 0)                                                                                \
		return rc;
#define GET(type, ...) GET_##type(__VA_ARGS__)

/* Every record's checker is known before its decoder, because records hold lists of records. */
#define R(record, list) static int check_##record(struct slice *in);
WIRE_RECORDS(R)
#undef R

#define R(record, list)                                                                            \
	void wire_add_##record(struct buf *out, const struct wire_##record *in)                    \
	{                                                                                          \
		list(PUT)                                                                          \
	}                                                                                          \
	static int take_##record(struct slice *in, struct wire_##record *ret)                      \
	{                                                                                          \
		int rc;                                                                            \
                                                                                                   \
		list(GET) return 0;                                                                \
	}                                                                                          \
	static int check_##record(struct slice *in)                                                \
	{                                                                                          \
		struct wire_##record scratch;                                                      \
                                                                                                   \
		return take_##record(in, &scratch);                                                \
	}                                                                                          \
	bool wire_next_##record(struct wire_list *l, struct wire_##record *ret)                    \
	{                                                                                          \
		struct slice in = {l->p, l->n};                                                    \
                                                                                                   \
		if (l->count == 0 || take_##record(&in, ret) < 0)                                  \
			return false;                                                              \
		*l = (struct wire_list){l->count - 1, in.p, in.n};                                 \
		return true;                                                                       \
	}
WIRE_RECORDS(R)
#undef R

#define V(number, verb, list)                                                                      \
	void wire_put_##verb(struct buf *out, const struct wire_##verb *in)                        \
	{                                                                                          \
		list(PUT)                                                                          \
	}                                                                                          \
	static int take_##verb(struct slice *in, struct wire_##verb *ret)                          \
	{                                                                                          \
		int rc;                                                                            \
                                                                                                   \
		list(GET) return 0;                                                                \
	}                                                                                          \
	int wire_get_##verb(struct slice body, struct wire_##verb *ret)                            \
	{                                                                                          \
		struct wire_##verb scratch;                                                        \
		int rc = take_##verb(&body, &scratch);                                             \
                                                                                                   \
		if (rc < 0)                                                                        \
			return rc;                                                                 \
		if (body.n > 0)                                                                    \
			return -EBADMSG;                                                           \
		*ret = scratch;                                                                    \
		return 0;                                                                          \
	}
WIRE_VERBS(V)
#undef V

struct wire_list wire_list_of(const struct buf *b, uint32_t count)
{
	return (struct wire_list){count, b->p, b->n};
}

const char *wire_verb_name(uint8_t verb)
{
	switch (verb) {
#define V(number, verb_, list)                                                                     \
	case number:                                                                               \
		return #verb_;
		WIRE_VERBS(V)
#undef V
	}
	return "?";
}

const char *wire_verdict_name(uint8_t verdict)
{
	static const char *const names[VERDICTS] = {
		"done", "retry", "parked", "rejected", "throttled", "auth_failed", "down"};

	return verdict < VERDICTS ? names[verdict] : "?";
}

const char *link_state_name(uint8_t state)
{
	static const char *const names[LINK_STATES] = {"none",	   "creating", "active",
						       "disabled", "deleted",  "unmanaged"};

	return state < LINK_STATES ? names[state] : "?";
}

enum { FLAG_PACKED = 1 };

static void put_header(struct buf *out, uint8_t verb, uint64_t flags, struct wire_epoch epoch)
{
	buf_add(out, magic, sizeof(magic));
	put_number(out, WIRE_VERSION, 1);
	put_number(out, verb, 1);
	put_number(out, flags, 6); /* so many keep the numbers aligned */
	put_number(out, epoch.number, 8);
	put_number(out, epoch.nonce, 8);
}

void wire_put_header(struct buf *out, uint8_t verb, struct wire_epoch epoch)
{
	put_header(out, verb, 0, epoch);
}

void wire_put_packed_header(struct buf *out, uint8_t verb, struct wire_epoch epoch)
{
	put_header(out, verb, FLAG_PACKED, epoch);
}

void wire_pack(struct buf *packed, const struct buf *body)
{
	put_number(packed, body->n, 4);
	buf_add(packed, body->p, body->n);
}

int wire_unpack(struct slice *packed, struct slice *ret_body)
{
	struct slice rest = *packed;
	uint64_t n;

	if (rest.n == 0)
		return 0;
	if (get_number(&rest, 4, &n) < 0 || n > rest.n)
		return -EBADMSG;
	*ret_body = (struct slice){rest.p, (size_t)n};
	*packed = (struct slice){rest.p + n, rest.n - (size_t)n};
	return 1;
}

int wire_get_header(struct slice frame, struct wire_header *ret)
{
	struct wire_header header;
	uint64_t flags;

	if (frame.n < sizeof(magic) + 1 || memcmp(frame.p, magic, sizeof(magic)) != 0)
		return -EPROTO;
	header.version = (uint8_t)frame.p[sizeof(magic)];
	if (header.version != WIRE_VERSION) {
		ret->version = header.version;
		return -EPROTONOSUPPORT;
	}
	if (frame.n != WIRE_HEADER)
		return -EPROTO;
	frame.p += sizeof(magic) + 1;
	frame.n -= sizeof(magic) + 1;
	if (get_u8(&frame, &header.verb) < 0 || get_number(&frame, 6, &flags) < 0 ||
	    get_u64(&frame, &header.epoch.number) < 0 || get_u64(&frame, &header.epoch.nonce) < 0)
		return -EPROTO;
	if (flags > FLAG_PACKED)
		return -EPROTO;
	header.packed = flags == FLAG_PACKED;
	if (header.verb == 0 || header.verb >= WIRE_VERB_END)
		return -EBADMSG;
	*ret = header;
	return 0;
}
