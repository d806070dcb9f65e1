#include "buf.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUF_FIRST = 64 };

static void *must(void *p, size_t n)
{
	if (p == NULL) {
		fprintf(stderr, "out of memory (%zu bytes asked)\n", n);
		abort();
	}
	return p;
}

void *mem_alloc(size_t n)
{
	return mem_array(1, n);
}

void *mem_array(size_t n, size_t size)
{
	bool some = n > 0 && size > 0;

	return must(calloc(some ? n : 1, some ? size : 1), size);
}

void *mem_resize(void *p, size_t n)
{
	return must(realloc(p, n > 0 ? n : 1), n);
}

char *mem_dup(const char *text)
{
	return text == NULL ? NULL : must(strdup(text), strlen(text) + 1);
}

struct slice slice_of(const char *text)
{
	return (struct slice){text, text == NULL ? 0 : strlen(text)};
}

struct slice buf_slice(const struct buf *b)
{
	return (struct slice){b->p, b->n};
}

bool slice_equal(struct slice a, struct slice b)
{
	return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool slice_is(struct slice a, const char *text)
{
	return slice_equal(a, slice_of(text));
}

char *slice_dup(struct slice a)
{
	char *copy = mem_resize(NULL, a.n + 1);

	if (a.n > 0)
		memcpy(copy, a.p, a.n);
	copy[a.n] = '\0';
	return copy;
}

/* Room for n more bytes and the NUL. */
static void reserve(struct buf *b, size_t n)
{
	size_t need, cap;

	if (n > SIZE_MAX / 2 - b->n - 1)
		must(NULL, n);
	need = b->n + n + 1;
	if (need <= b->cap)
		return;
	cap = b->cap < BUF_FIRST ? BUF_FIRST : b->cap;
	while (cap < need)
		cap *= 2;
	b->p = mem_resize(b->p, cap);
	b->cap = cap;
}

void *buf_grow(struct buf *b, size_t n)
{
	char *place;

	reserve(b, n);
	place = b->p + b->n;
	b->n += n;
	b->p[b->n] = '\0';
	return place;
}

void buf_add(struct buf *b, const void *p, size_t n)
{
	char *place = buf_grow(b, n);

	if (n > 0)
		memcpy(place, p, n);
}

void buf_adds(struct buf *b, const char *text)
{
	buf_add(b, text, text == NULL ? 0 : strlen(text));
}

void buf_addc(struct buf *b, char c)
{
	buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	buf_vaddf(b, format, ap);
	va_end(ap);
}

void buf_vaddf(struct buf *b, const char *format, va_list ap)
{
	va_list again;
	size_t room;
	int n;

	va_copy(again, ap);
	reserve(b, BUF_FIRST);
	room = b->cap - b->n;
	n = vsnprintf(b->p + b->n, room, format, ap);
	assert(n >= 0);
	if ((size_t)n >= room) {
		reserve(b, (size_t)n);
		vsnprintf(b->p + b->n, b->cap - b->n, format, again);
	}
	va_end(again);
	b->n += (size_t)n;
}

void buf_clear(struct buf *b)
{
	b->n = 0;
	if (b->p != NULL)
		b->p[0] = '\0';
}

void buf_done(struct buf *b)
{
	free(b->p);
	*b = (struct buf){0};
}

char *buf_steal(struct buf *b)
{
	char *text;

	reserve(b, 0);
	b->p[b->n] = '\0';
	text = b->p;
	*b = (struct buf){0};
	return text;
}

void buf_cleanup(struct buf *b)
{
	buf_done(b);
}

void free_cleanup(void *pointer_to_pointer)
{
	void *p;

	memcpy(&p, pointer_to_pointer, sizeof(p));
	free(p);
}

static void add_base64(struct buf *b, const void *p, size_t n, int variant)
{
	size_t size = sodium_base64_encoded_len(n, variant);
	char *place;

	if (n == 0)
		return;
	place = buf_grow(b, size - 1);
	sodium_bin2base64(place, size, p, n, variant);
}

void buf_add_base64(struct buf *b, const void *p, size_t n)
{
	add_base64(b, p, n, sodium_base64_VARIANT_ORIGINAL);
}

void buf_add_base64url(struct buf *b, const void *p, size_t n)
{
	add_base64(b, p, n, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
}

int buf_add_unbase64(struct buf *b, struct slice text)
{
	size_t most = text.n / 4 * 3, got = 0, before = b->n;
	unsigned char *place;

	if (text.n % 4 != 0)
		return -EINVAL;
	if (text.n == 0)
		return 0;
	place = buf_grow(b, most);
	if (sodium_base642bin(place, most, text.p, text.n, NULL, &got, NULL,
			      sodium_base64_VARIANT_ORIGINAL) != 0)
		got = SIZE_MAX;
	b->n = before + (got == SIZE_MAX ? 0 : got);
	b->p[b->n] = '\0';
	return got == SIZE_MAX ? -EINVAL : 0;
}

/* Length of the well-formed character at p, 0 when there is none (RFC 3629 4; the second byte's range
 * is what excludes overlong forms, surrogates and what lies past U+10FFFF). */
static size_t utf8_length(const uint8_t *p, size_t left)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t n;

	if (p[0] < 0x80)
		return p[0] != 0;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	n = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n > left)
		return 0;
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

void buf_add_utf8(struct buf *b, struct slice text, size_t most)
{
	const uint8_t *p = (const uint8_t *)text.p;

	for (size_t i = 0; i < text.n;) {
		size_t n = utf8_length(p + i, text.n - i), bytes = n ? n : 3;

		if (bytes > most)
			return;
		buf_add(b, n ? text.p + i : "\xef\xbf\xbd", bytes);
		most -= bytes;
		i += n ? n : 1;
	}
}

bool utf8_valid(struct slice text)
{
	const uint8_t *p = (const uint8_t *)text.p;
	size_t i = 0;

	while (i < text.n) {
		size_t n;
		uint64_t eight;

		if (text.n - i >=
		    sizeof(eight)) { /* mostly there is nothing but ASCII, and no NUL */
			memcpy(&eight, p + i, sizeof(eight));
			if (((eight | (eight - 0x0101010101010101)) & 0x8080808080808080) == 0) {
				i += sizeof(eight);
				continue;
			}
		}
		n = utf8_length(p + i, text.n - i);
		if (n == 0)
			return false;
		i += n;
	}
	return true;
}
