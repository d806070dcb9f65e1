/* A value of every verb and record, filled from the lists of wire.h: for the round-trip test and the fuzzer's seeds.
 * sample_seed decides the content. */
#ifndef DIRPIPE_WIRE_SAMPLES_H
#define DIRPIPE_WIRE_SAMPLES_H

#include "wire.h"

#include <assert.h>

enum { SAMPLE_BUFFERS = 4096 };

/* Texts and lists that the samples borrow. */
static struct buf sample_buffers[SAMPLE_BUFFERS];
static unsigned sample_buffers_n;
static uint64_t sample_seed = 1;

static inline uint64_t sample_random(void)
{
	sample_seed ^= sample_seed << 13;
	sample_seed ^= sample_seed >> 7;
	sample_seed ^= sample_seed << 17;
	return sample_seed;
}

static inline struct buf *sample_buffer(void)
{
	assert(sample_buffers_n < SAMPLE_BUFFERS);
	return &sample_buffers[sample_buffers_n++];
}

static inline void samples_done(void)
{
	while (sample_buffers_n > 0)
		buf_done(&sample_buffers[--sample_buffers_n]);
}

static inline struct slice sample_text(void)
{
	static const char *const letters[] = {"a", "Z", " ", "\"", "\xc3\xbc", "\xf0\x9f\x98\x80"};
	struct buf *b = sample_buffer();

	for (uint64_t n = sample_random() % 6; n > 0; n--)
		buf_adds(b, letters[sample_random() % 6]);
	return buf_slice(b);
}

static inline struct slice sample_bytes(void)
{
	struct buf *b = sample_buffer();

	for (uint64_t n = sample_random() % 9; n > 0; n--)
		buf_addc(b, (char)sample_random());
	return buf_slice(b);
}

static inline void sample_raw(uint8_t b[static 16])
{
	for (int i = 0; i < 16; i++)
		b[i] = (uint8_t)sample_random();
}

#define SAMPLE_u8(name, ...)	  r->name = (uint8_t)sample_random();
#define SAMPLE_u32(name, ...)	  r->name = (uint32_t)sample_random();
#define SAMPLE_u64(name, ...)	  r->name = sample_random();
#define SAMPLE_i64(name, ...)	  r->name = (int64_t)sample_random();
#define SAMPLE_id(name, ...)	  sample_raw(r->name.b);
#define SAMPLE_fp(name, ...)	  sample_raw(r->name.b);
#define SAMPLE_name(name, ...)	  r->name = sample_text();
#define SAMPLE_text(name, ...)	  r->name = sample_text();
#define SAMPLE_bytes(name, ...)	  r->name = sample_bytes();
#define SAMPLE_list(name, record) r->name = sample_list_##record();
#define SAMPLE(type, ...)	  SAMPLE_##type(__VA_ARGS__)

#define R(record, list) static struct wire_list sample_list_##record(void);
WIRE_RECORDS(R)
#undef R

/* Lists of no, one, two or three records. */
#define R(record, list)                                                                            \
	static inline void sample_##record(struct wire_##record *r)                                \
	{                                                                                          \
		list(SAMPLE)                                                                       \
	}                                                                                          \
	static inline struct wire_list sample_list_##record(void)                                  \
	{                                                                                          \
		struct buf *b = sample_buffer();                                                   \
		uint32_t n = (uint32_t)(sample_random() % 4);                                      \
                                                                                                   \
		for (uint32_t i = 0; i < n; i++) {                                                 \
			struct wire_##record one;                                                  \
                                                                                                   \
			sample_##record(&one);                                                     \
			wire_add_##record(b, &one);                                                \
		}                                                                                  \
		return wire_list_of(b, n);                                                         \
	}
WIRE_RECORDS(R)
#undef R

#define V(number, verb, list)                                                                      \
	static inline void sample_##verb(struct wire_##verb *r)                                    \
	{                                                                                          \
		list(SAMPLE)                                                                       \
	}
WIRE_VERBS(V)
#undef V

#endif
