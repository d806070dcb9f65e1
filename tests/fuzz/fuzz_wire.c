/* Decodes a body of any verb (the first byte says which), the header, and bodies that came packed. What is accepted is walked to its last record
 * and must encode to the same bytes. Seeds: make_wire_seeds. */
#include "wire.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Touches every byte, so that the sanitizer sees a slice that reaches too far. */
static void touch(struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		volatile char byte = s.p[i];

		(void)byte;
	}
}

#define TOUCH_u8(name, ...)
#define TOUCH_u32(name, ...)
#define TOUCH_u64(name, ...)
#define TOUCH_i64(name, ...)
#define TOUCH_id(name, ...)
#define TOUCH_fp(name, ...)
#define TOUCH_name(name, ...)	 must(utf8_valid(r->name));
#define TOUCH_text(name, ...)	 must(utf8_valid(r->name));
#define TOUCH_bytes(name, ...)	 touch(r->name);
#define TOUCH_list(name, record) walk_##record(r->name);
#define TOUCH(type, ...)	 TOUCH_##type(__VA_ARGS__)

static void must(bool good)
{
	if (!good)
		abort();
}

#define R(record, list) static void walk_##record(struct wire_list l);
WIRE_RECORDS(R)
#undef R

#define R(record, list)                                                                            \
	static void touch_##record(const struct wire_##record *r)                                  \
	{                                                                                          \
		(void)r;                                                                           \
		list(TOUCH)                                                                        \
	}                                                                                          \
	static void walk_##record(struct wire_list l)                                              \
	{                                                                                          \
		struct wire_##record one;                                                          \
                                                                                                   \
		while (l.count > 0) {                                                              \
			must(wire_next_##record(&l, &one));                                        \
			touch_##record(&one);                                                      \
		}                                                                                  \
		must(l.n == 0);                                                                    \
	}
WIRE_RECORDS(R)
#undef R

#define V(number, verb, list)                                                                      \
	static void touch_verb_##verb(const struct wire_##verb *r)                                 \
	{                                                                                          \
		(void)r;                                                                           \
		list(TOUCH)                                                                        \
	}                                                                                          \
	static void try_##verb(struct slice body)                                                  \
	{                                                                                          \
		struct buf CLEANUP(buf_cleanup) out = {0};                                         \
		struct wire_##verb value;                                                          \
                                                                                                   \
		if (wire_get_##verb(body, &value) < 0)                                             \
			return;                                                                    \
		touch_verb_##verb(&value);                                                         \
		wire_put_##verb(&out, &value);                                                     \
		must(slice_equal(buf_slice(&out), body));                                          \
	}
WIRE_VERBS(V)
#undef V

/* Bodies that came as one frame: nothing is between them, nothing is left of what was taken, and packed again they are the same bytes. */
static void try_packed(struct slice all)
{
	struct buf CLEANUP(buf_cleanup) out = {0}, one = {0};
	struct slice rest = all, body;
	int rc;

	while ((rc = wire_unpack(&rest, &body)) == 1) {
		touch(body);
		buf_clear(&one);
		buf_add(&one, body.p, body.n);
		wire_pack(&out, &one);
	}
	must(rc < 0 ? rest.n > 0 : slice_equal(buf_slice(&out), all));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct slice all = {(const char *)data, size};
	struct wire_header header;

	if (wire_get_header(all, &header) == 0)
		must(header.verb > 0 && header.verb < WIRE_VERB_END);
	try_packed(all);
	if (size == 0)
		return 0;
	switch (data[0]) {
#define V(number, verb, list)                                                                      \
	case number:                                                                               \
		try_##verb((struct slice){all.p + 1, all.n - 1});                                  \
		break;
		WIRE_VERBS(V)
#undef V
	}
	return 0;
}
