#include "text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

static void *must(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		abort();
	}
	return p;
}

void *xalloc(size_t n)
{
	return must(calloc(1, n ? n : 1));
}

void *xgrow(void *old, size_t n)
{
	return must(realloc(old, n ? n : 1));
}

char *xdup(const char *p, size_t n)
{
	char *copy = must(malloc(n + 1));

	if (n)
		memcpy(copy, p, n);
	copy[n] = '\0';
	return copy;
}

struct slice slice_of(const char *s)
{
	return (struct slice){s, s ? strlen(s) : 0};
}

struct slice slice_from(const struct text *t)
{
	return (struct slice){t->p, t->n};
}

bool slice_equal(struct slice a, struct slice b)
{
	return a.n == b.n && (!a.n || !memcmp(a.p, b.p, a.n));
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
	return a.n == b.n && (!a.n || !strncasecmp(a.p, b.p, a.n));
}

bool slice_is(struct slice a, const char *s)
{
	return slice_equal(a, slice_of(s));
}

bool slice_is_nocase(struct slice a, const char *s)
{
	return slice_equal_nocase(a, slice_of(s));
}

bool slice_starts(struct slice a, const char *prefix)
{
	size_t n = strlen(prefix);

	return a.n >= n && !memcmp(a.p, prefix, n);
}

bool slice_find(struct slice hay, struct slice needle)
{
	return !needle.n || (hay.n && memmem(hay.p, hay.n, needle.p, needle.n));
}

struct slice slice_cut(struct slice *s, char c)
{
	const char *at = s->n ? memchr(s->p, c, s->n) : NULL;
	struct slice head = *s;

	if (!at) {
		*s = (struct slice){s->p + s->n, 0};
		return head;
	}
	head.n = (size_t)(at - s->p);
	*s = (struct slice){at + 1, s->n - head.n - 1};
	return head;
}

struct slice slice_trim(struct slice s)
{
	while (s.n && (*s.p == ' ' || *s.p == '\t'))
		s = (struct slice){s.p + 1, s.n - 1};
	while (s.n && (s.p[s.n - 1] == ' ' || s.p[s.n - 1] == '\t'))
		s.n--;
	return s;
}

bool slice_number(struct slice s, int64_t *ret_number)
{
	bool minus = s.n && *s.p == '-';
	int64_t number = 0;
	size_t i = minus ? 1 : 0;

	if (i == s.n || s.n - i > 18)
		return false;
	for (; i < s.n; i++) {
		if (s.p[i] < '0' || s.p[i] > '9')
			return false;
		number = number * 10 + (s.p[i] - '0');
	}
	*ret_number = minus ? -number : number;
	return true;
}

static void text_reserve(struct text *t, size_t more)
{
	size_t want = t->n + more + 1;

	if (want <= t->cap)
		return;
	if (want < t->cap * 2)
		want = t->cap * 2;
	t->p = xgrow(t->p, want < 128 ? 128 : want);
	t->cap = want < 128 ? 128 : want;
}

void text_add(struct text *t, const void *p, size_t n)
{
	text_reserve(t, n);
	if (n)
		memcpy(t->p + t->n, p, n);
	t->n += n;
	t->p[t->n] = '\0';
}

void text_char(struct text *t, char c)
{
	text_add(t, &c, 1);
}

void text_str(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_slice(struct text *t, struct slice s)
{
	text_add(t, s.p, s.n);
}

static char lower(char c)
{
	if (c >= 'A' && c <= 'Z')
		return (char)(c + 32);
	return c;
}

void text_lower(struct text *t, struct slice s)
{
	text_reserve(t, s.n);
	for (size_t i = 0; i < s.n; i++)
		t->p[t->n++] = lower(s.p[i]);
	t->p[t->n] = '\0';
}

void text_number(struct text *t, int64_t n)
{
	char digits[24];
	size_t at = sizeof digits;
	uint64_t rest = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	do {
		digits[--at] = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest);
	if (n < 0)
		digits[--at] = '-';
	text_add(t, digits + at, sizeof digits - at);
}

void text_json(struct text *t, struct slice s)
{
	size_t plain = 0;

	text_reserve(t, s.n + 2);
	text_char(t, '"');
	for (size_t i = 0; i < s.n; i++) {
		unsigned char c = (unsigned char)s.p[i];

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		text_add(t, s.p + plain, i - plain);
		plain = i + 1;
		if (c == '"' || c == '\\')
			text_add(t, (char[]){'\\', (char)c}, 2);
		else if (c == '\n')
			text_str(t, "\\n");
		else
			text_fmt(t, "\\u%04x", c);
	}
	text_add(t, s.p + plain, s.n - plain);
	text_char(t, '"');
}

void text_fmt(struct text *t, const char *format, ...)
{
	va_list args, again;

	va_start(args, format);
	va_copy(again, args);
	int n = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (n > 0) {
		text_reserve(t, (size_t)n);
		vsnprintf(t->p + t->n, (size_t)n + 1, format, again);
		t->n += (size_t)n;
	}
	va_end(again);
}

void text_clear(struct text *t)
{
	t->n = 0;
	if (t->p)
		t->p[0] = '\0';
}

void text_free(struct text *t)
{
	free(t->p);
	*t = (struct text){0};
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool text_percent_decode(struct text *t, struct slice s, bool plus)
{
	text_reserve(t, s.n);
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (c == '+' && plus)
			c = ' ';
		if (c == '%') {
			if (i + 2 >= s.n)
				return false;
			int high = hex_digit(s.p[i + 1]), low = hex_digit(s.p[i + 2]);
			if (high < 0 || low < 0)
				return false;
			c = (char)(high * 16 + low);
			i += 2;
		}
		text_char(t, c);
	}
	return true;
}

void text_percent_encode(struct text *t, struct slice s)
{
	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if ((lower(c) >= 'a' && lower(c) <= 'z') || (c >= '0' && c <= '9') ||
		    strchr("-._~", c))
			text_char(t, c);
		else
			text_fmt(t, "%%%02X", (unsigned char)c);
	}
}

static const char base64_plain[] =
	"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char base64_url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

bool text_base64_decode(struct text *t, struct slice s, bool url)
{
	const char *alphabet = url ? base64_url : base64_plain;
	uint32_t bits = 0;
	int have = 0;

	while (s.n && s.p[s.n - 1] == '=')
		s.n--;
	if (s.n % 4 == 1)
		return false;
	for (size_t i = 0; i < s.n; i++) {
		const char *at = s.p[i] ? strchr(alphabet, s.p[i]) : NULL;

		if (!at)
			return false;
		bits = bits << 6 | (uint32_t)(at - alphabet);
		have += 6;
		if (have >= 8) {
			have -= 8;
			text_char(t, (char)(bits >> have & 0xff));
		}
	}
	return true;
}

void text_base64url(struct text *t, const void *p, size_t n)
{
	const unsigned char *in = p;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t bits = (uint32_t)in[i] << 16;

		if (i + 1 < n)
			bits |= (uint32_t)in[i + 1] << 8;
		if (i + 2 < n)
			bits |= in[i + 2];
		text_char(t, base64_url[bits >> 18 & 63]);
		text_char(t, base64_url[bits >> 12 & 63]);
		if (i + 1 < n)
			text_char(t, base64_url[bits >> 6 & 63]);
		if (i + 2 < n)
			text_char(t, base64_url[bits & 63]);
	}
}

void text_time(struct text *t, int64_t unix_ms, bool millis)
{
	time_t seconds = (time_t)(unix_ms / 1000);
	struct tm parts;

	gmtime_r(&seconds, &parts);
	text_fmt(t, "%04d-%02d-%02dT%02d:%02d:%02d", parts.tm_year + 1900, parts.tm_mon + 1,
		 parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
	if (millis)
		text_fmt(t, ".%03d", (int)(unix_ms % 1000));
	text_char(t, 'Z');
}

uint64_t random_next(uint64_t *seed)
{
	uint64_t z = *seed += 0x9e3779b97f4a7c15;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

void uuid_make(uint8_t id[16], uint64_t *seed)
{
	uint64_t halves[2] = {random_next(seed), random_next(seed)};

	memcpy(id, halves, 16);
	id[6] = (uint8_t)((id[6] & 0x0f) | 0x40);
	id[8] = (uint8_t)((id[8] & 0x3f) | 0x80);
}

void uuid_print(const uint8_t id[16], char out[UUID_TEXT + 1])
{
	static const char digits[] = "0123456789abcdef";
	size_t at = 0;

	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			out[at++] = '-';
		out[at++] = digits[id[i] >> 4];
		out[at++] = digits[id[i] & 15];
	}
	out[at] = '\0';
}

bool uuid_read(struct slice s, uint8_t id[16])
{
	size_t at = 0;

	if (s.n != UUID_TEXT)
		return false;
	for (size_t i = 0; i < 16; i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10) {
			if (s.p[at++] != '-')
				return false;
		}
		int high = hex_digit(s.p[at]), low = hex_digit(s.p[at + 1]);
		if (high < 0 || low < 0)
			return false;
		id[i] = (uint8_t)(high * 16 + low);
		at += 2;
	}
	return true;
}

static uint64_t hash_with(struct slice s, bool fold)
{
	uint64_t h = 0xcbf29ce484222325;

	for (size_t i = 0; i < s.n; i++) {
		char c = s.p[i];

		if (fold)
			c = lower(c);
		h = (h ^ (unsigned char)c) * 0x100000001b3;
	}
	h ^= h >> 32;
	return h * 0x9e3779b97f4a7c15;
}

uint64_t hash_bytes(const void *p, size_t n)
{
	return hash_with((struct slice){p, n}, false);
}

uint64_t hash_nocase(struct slice s)
{
	return hash_with(s, true);
}
