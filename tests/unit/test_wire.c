#include "unit.h"
#include "wire_samples.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { SAMPLES = 40 };

/* ---- the verbs by number: encode a sample, decode and compare, decode and encode again ---- */

#define SAME_u8(name, ...)	assert_int_equal(a->name, b->name);
#define SAME_u32(name, ...)	assert_int_equal(a->name, b->name);
#define SAME_u64(name, ...)	assert_true(a->name == b->name);
#define SAME_i64(name, ...)	assert_true(a->name == b->name);
#define SAME_id(name, ...)	assert_memory_equal(a->name.b, b->name.b, 16);
#define SAME_fp(name, ...)	assert_memory_equal(a->name.b, b->name.b, 16);
#define SAME_name(name, ...)	assert_true(slice_equal(a->name, b->name));
#define SAME_text(name, ...)	assert_true(slice_equal(a->name, b->name));
#define SAME_bytes(name, ...)	assert_true(slice_equal(a->name, b->name));
#define SAME_list(name, record) same_list_##record(a->name, b->name);
#define SAME(type, ...)		SAME_##type(__VA_ARGS__)

#define R(record, list) static void same_list_##record(struct wire_list x, struct wire_list y);
WIRE_RECORDS(R)
#undef R

#define R(record, list)                                                                            \
	static void same_##record(const struct wire_##record *a, const struct wire_##record *b)    \
	{                                                                                          \
		list(SAME)                                                                         \
	}                                                                                          \
	static void same_list_##record(struct wire_list x, struct wire_list y)                     \
	{                                                                                          \
		struct wire_##record a, b;                                                         \
                                                                                                   \
		assert_int_equal(x.count, y.count);                                                \
		while (y.count > 0) {                                                              \
			uint32_t left = y.count;                                                   \
                                                                                                   \
			assert_true(wire_next_##record(&x, &a));                                   \
			assert_true(wire_next_##record(&y, &b));                                   \
			assert_int_equal(y.count, left - 1);                                       \
			same_##record(&a, &b);                                                     \
		}                                                                                  \
		assert_false(wire_next_##record(&x, &a));                                          \
		assert_false(wire_next_##record(&y, &b));                                          \
		assert_int_equal(y.n, 0);                                                          \
	}
WIRE_RECORDS(R)
#undef R

#define V(number, verb, list)                                                                      \
	static void same_##verb(const struct wire_##verb *a, const struct wire_##verb *b)          \
	{                                                                                          \
		list(SAME)                                                                         \
	}                                                                                          \
	static void sampled_##verb(struct buf *out)                                                \
	{                                                                                          \
		struct wire_##verb value, back;                                                    \
		size_t before = out->n;                                                            \
                                                                                                   \
		sample_##verb(&value);                                                             \
		wire_put_##verb(out, &value);                                                      \
		assert_int_equal(                                                                  \
			wire_get_##verb((struct slice){out->p + before, out->n - before}, &back),  \
			0);                                                                        \
		same_##verb(&value, &back);                                                        \
	}                                                                                          \
	static int again_##verb(struct slice body, struct buf *out)                                \
	{                                                                                          \
		struct wire_##verb value, untouched;                                               \
		int rc;                                                                            \
                                                                                                   \
		memset(&value, 0x5a, sizeof(value));                                               \
		memset(&untouched, 0x5a, sizeof(untouched));                                       \
		rc = wire_get_##verb(body, &value);                                                \
		if (rc == 0)                                                                       \
			wire_put_##verb(out, &value);                                              \
		else                                                                               \
			assert_memory_equal(&value, &untouched, sizeof(value));                    \
		return rc;                                                                         \
	}
WIRE_VERBS(V)
#undef V

static void encode_sample(uint8_t verb, struct buf *out)
{
	switch (verb) {
#define V(number, verb_, list)                                                                     \
	case number:                                                                               \
		sampled_##verb_(out);                                                              \
		break;
		WIRE_VERBS(V)
#undef V
	}
}

static int again(uint8_t verb, struct slice body, struct buf *out)
{
	switch (verb) {
#define V(number, verb_, list)                                                                     \
	case number:                                                                               \
		return again_##verb_(body, out);
		WIRE_VERBS(V)
#undef V
	}
	return -ENOENT;
}

/* Decodes a copy that ends where the slice ends, so that the sanitizer sees every byte too far. What is accepted
 * must be what the encoder makes of it: there is one encoding of a value. */
static int decode_exactly(uint8_t verb, const char *p, size_t n)
{
	struct buf CLEANUP(buf_cleanup) out = {0};
	char *exact = malloc(n > 0 ? n : 1);
	int rc;

	assert_non_null(exact);
	if (n > 0)
		memcpy(exact, p, n);
	rc = again(verb, (struct slice){exact, n}, &out);
	if (rc == 0) {
		assert_int_equal(out.n, n);
		assert_memory_equal(out.p, exact, n);
	} else {
		assert_int_equal(rc, -EBADMSG);
	}
	free(exact);
	return rc;
}

static void round_trip_of_every_verb(void **state)
{
	(void)state;
	for (uint8_t verb = 1; verb < (uint8_t)WIRE_VERB_END; verb++)
		for (int i = 0; i < SAMPLES; i++) {
			struct buf CLEANUP(buf_cleanup) b = {0};

			encode_sample(verb, &b);
			assert_true(b.n > 0);
			assert_int_equal(decode_exactly(verb, b.p, b.n), 0);
			samples_done();
		}
}

static void every_truncation_is_refused(void **state)
{
	(void)state;
	for (uint8_t verb = 1; verb < (uint8_t)WIRE_VERB_END; verb++)
		for (int i = 0; i < SAMPLES / 4; i++) {
			struct buf CLEANUP(buf_cleanup) b = {0};

			encode_sample(verb, &b);
			for (size_t n = 0; n < b.n; n++)
				if (decode_exactly(verb, b.p, n) != -EBADMSG)
					fail_msg("%s, %zu of %zu", wire_verb_name(verb), n, b.n);
			buf_addc(&b, '\0');
			assert_int_equal(decode_exactly(verb, b.p, b.n), -EBADMSG);
			samples_done();
		}
}

/* Every four bytes, be they a length, a count or content, become a number that lies. */
static void lying_numbers_do_no_harm(void **state)
{
	static const uint32_t lies[] = {0xffffffff, 0x7fffffff, 0x80000000, 0x01000001, 1025, 0};

	(void)state;
	for (uint8_t verb = 1; verb < (uint8_t)WIRE_VERB_END; verb++) {
		struct buf CLEANUP(buf_cleanup) b = {0};

		encode_sample(verb, &b);
		for (size_t at = 0; at + 4 <= b.n; at++)
			for (size_t i = 0; i < sizeof(lies) / sizeof(*lies); i++) {
				char kept[4];

				memcpy(kept, b.p + at, 4);
				memcpy(b.p + at, &lies[i], 4);
				decode_exactly(verb, b.p, b.n);
				memcpy(b.p + at, kept, 4);
			}
		samples_done();
	}
}

/* ---- each rule of the field types, at its bound ---- */

static int hold_with_name(const void *p, size_t n)
{
	struct wire_hold out = {.name = {p, n}}, in;
	struct buf CLEANUP(buf_cleanup) b = {0};

	wire_put_hold(&b, &out);
	return wire_get_hold(buf_slice(&b), &in);
}

static int note_with_rid(const void *p, size_t n)
{
	struct wire_note out = {.rid = {p, n}}, in;
	struct buf CLEANUP(buf_cleanup) b = {0};

	wire_put_note(&b, &out);
	return wire_get_note(buf_slice(&b), &in);
}

static void texts_are_utf8_without_nul(void **state)
{
	(void)state;
	assert_int_equal(hold_with_name("\xc3\xbc", 2), 0);
	assert_int_equal(hold_with_name("\xc3", 1), -EBADMSG);
	assert_int_equal(hold_with_name("a\0b", 3), -EBADMSG);
	assert_int_equal(note_with_rid("\xc3\xbc", 2), 0);
	assert_int_equal(note_with_rid("\xed\xa0\x80", 3), -EBADMSG);
	assert_int_equal(note_with_rid("\0", 1), -EBADMSG);
}

static void sizes_are_capped(void **state)
{
	const size_t most = (16 << 20) + 1;
	char *big = malloc(most);
	struct wire_note note = {.link_memory = {big, most}}, in;
	struct buf CLEANUP(buf_cleanup) b = {0};

	(void)state;
	assert_non_null(big);
	memset(big, 'x', most);
	assert_int_equal(note_with_rid(big, 1024), 0);
	assert_int_equal(note_with_rid(big, 1025), -EBADMSG);
	assert_int_equal(hold_with_name(big, 64 << 10), 0);
	assert_int_equal(hold_with_name(big, (64 << 10) + 1), -EBADMSG);
	wire_put_note(&b, &note);
	assert_int_equal(wire_get_note(buf_slice(&b), &in), -EBADMSG);
	buf_clear(&b);
	note.link_memory.n--;
	wire_put_note(&b, &note);
	assert_int_equal(wire_get_note(buf_slice(&b), &in), 0);
	assert_int_equal(in.link_memory.n, most - 1);
	free(big);
}

/* A list that says one record more or one less than it has. */
static void list_counts_are_checked(void **state)
{
	struct buf CLEANUP(buf_cleanup) records = {0};
	struct wire_tasks in;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct wire_task task;

		sample_task(&task);
		wire_add_task(&records, &task);
	}
	for (uint32_t count = 0; count < 4; count++) {
		struct buf CLEANUP(buf_cleanup) b = {0};

		wire_put_tasks(&b, &(struct wire_tasks){.tasks = wire_list_of(&records, count)});
		assert_int_equal(wire_get_tasks(buf_slice(&b), &in), count == 2 ? 0 : -EBADMSG);
	}
	samples_done();
}

static void nested_records_are_checked(void **state)
{
	struct buf CLEANUP(buf_cleanup) names = {0};
	struct buf CLEANUP(buf_cleanup) users = {0};
	struct buf CLEANUP(buf_cleanup) b = {0};
	struct wire_publish in;

	(void)state;
	wire_add_name(&names, &(struct wire_name){.text = SLICE("\xff")});
	wire_add_user(&users, &(struct wire_user){.in = wire_list_of(&names, 1)});
	wire_put_publish(&b, &(struct wire_publish){.users = wire_list_of(&users, 1)});
	assert_int_equal(wire_get_publish(buf_slice(&b), &in), -EBADMSG);
}

/* ---- the header and the names ---- */

static void header_round_trip(void **state)
{
	struct wire_epoch epoch = {.number = 0x0102030405060708, .nonce = UINT64_MAX};
	struct buf CLEANUP(buf_cleanup) b = {0};
	struct wire_header h;

	(void)state;
	wire_put_header(&b, WIRE_VERB_tasks, epoch);
	assert_int_equal(b.n, WIRE_HEADER);
	assert_memory_equal(b.p, "DP", 2);
	assert_int_equal(b.p[2], WIRE_VERSION);
	assert_memory_equal(b.p + 3, "\x0a\0\0\0\0\0\0\x08\x07\x06\x05\x04\x03\x02\x01", 15);
	assert_int_equal(wire_get_header(buf_slice(&b), &h), 0);
	assert_int_equal(h.version, WIRE_VERSION);
	assert_int_equal(h.verb, WIRE_VERB_tasks);
	assert_true(h.epoch.number == epoch.number && h.epoch.nonce == epoch.nonce);
	assert_false(h.packed);
	buf_clear(&b);
	wire_put_packed_header(&b, WIRE_VERB_note, epoch);
	assert_int_equal(wire_get_header(buf_slice(&b), &h), 0);
	assert_true(h.packed && h.verb == WIRE_VERB_note && h.epoch.nonce == epoch.nonce);
	b.p[4] = 2; /* a flag of the future */
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EPROTO);
}

static void packed_bodies(void **state)
{
	struct buf CLEANUP(buf_cleanup) packed = {0}, one = {0};
	struct slice rest, body;

	(void)state;
	buf_adds(&one, "first");
	wire_pack(&packed, &one);
	buf_clear(&one);
	wire_pack(&packed, &one);
	rest = buf_slice(&packed);
	assert_int_equal(wire_unpack(&rest, &body), 1);
	assert_true(slice_is(body, "first"));
	assert_int_equal(wire_unpack(&rest, &body), 1);
	assert_int_equal(body.n, 0);
	assert_int_equal(wire_unpack(&rest, &body), 0);
	for (size_t n = 1; n < packed.n; n++) {
		rest = (struct slice){packed.p, n};
		if (n != 9) { /* the first alone */
			while (wire_unpack(&rest, &body) == 1)
				;
			assert_int_equal(wire_unpack(&rest, &body), -EBADMSG);
		}
	}
	memset(packed.p, 0xff, 4);
	rest = buf_slice(&packed);
	assert_int_equal(wire_unpack(&rest, &body), -EBADMSG);
}

static void header_refuses(void **state)
{
	struct buf CLEANUP(buf_cleanup) b = {0};
	struct wire_header h = {.verb = 77};

	(void)state;
	wire_put_header(&b, WIRE_VERB_hello, (struct wire_epoch){0});
	for (size_t n = 0; n < b.n; n++)
		assert_int_equal(wire_get_header((struct slice){b.p, n}, &h), -EPROTO);
	assert_int_equal(wire_get_header((struct slice){NULL, 0}, &h), -EPROTO);
	buf_addc(&b, '\0');
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EPROTO);
	b.n--;
	b.p[3] = 0;
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EBADMSG);
	b.p[3] = WIRE_VERB_END;
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EBADMSG);
	b.p[3] = (char)0xff;
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EBADMSG);
	b.p[0] = 'X';
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EPROTO);
	assert_int_equal(h.verb, 77);
}

/* Another version is told by its number, whatever its header's length and verbs are. */
static void other_versions_are_refused_by_number(void **state)
{
	struct buf CLEANUP(buf_cleanup) b = {0};
	struct wire_header h = {0};

	(void)state;
	wire_put_header(&b, WIRE_VERB_hello, (struct wire_epoch){0});
	b.p[2] = WIRE_VERSION + 1;
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EPROTONOSUPPORT);
	assert_int_equal(h.version, WIRE_VERSION + 1);
	buf_adds(&b, "longer");
	b.p[2] = (char)200;
	b.p[3] = (char)250;
	assert_int_equal(wire_get_header(buf_slice(&b), &h), -EPROTONOSUPPORT);
	assert_int_equal(h.version, 200);
	assert_int_equal(wire_get_header((struct slice){"DP\0", 3}, &h), -EPROTONOSUPPORT);
}

static void everything_has_a_name(void **state)
{
	(void)state;
	assert_string_equal(wire_verb_name(WIRE_VERB_hello), "hello");
	assert_string_equal(wire_verb_name(WIRE_VERB_error), "error");
	assert_string_equal(wire_verb_name(0), "?");
	assert_string_equal(wire_verb_name(WIRE_VERB_END), "?");
	for (uint8_t i = 0; i < (uint8_t)VERDICTS; i++)
		assert_true(wire_verdict_name(i) != NULL && *wire_verdict_name(i) != '?');
	assert_string_equal(wire_verdict_name(VERDICT_DOWN), "down");
	assert_string_equal(wire_verdict_name(VERDICTS), "?");
	for (uint8_t i = 0; i < (uint8_t)LINK_STATES; i++)
		assert_true(link_state_name(i) != NULL && *link_state_name(i) != '?');
	assert_string_equal(link_state_name(LINK_UNMANAGED), "unmanaged");
	assert_string_equal(link_state_name(255), "?");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(round_trip_of_every_verb),
		cmocka_unit_test(every_truncation_is_refused),
		cmocka_unit_test(lying_numbers_do_no_harm),
		cmocka_unit_test(texts_are_utf8_without_nul),
		cmocka_unit_test(sizes_are_capped),
		cmocka_unit_test(list_counts_are_checked),
		cmocka_unit_test(nested_records_are_checked),
		cmocka_unit_test(header_round_trip),
		cmocka_unit_test(packed_bodies),
		cmocka_unit_test(header_refuses),
		cmocka_unit_test(other_versions_are_refused_by_number),
		cmocka_unit_test(everything_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
