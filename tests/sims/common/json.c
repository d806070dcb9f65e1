#include "json.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32, BLOCK = 64 * 1024 };

struct arena_block {
	struct arena_block *next;
	size_t used, size;
	max_align_t bytes[];
};

void *arena_take(struct arena *a, size_t n)
{
	struct arena_block *block = a->head;

	n = (n + 15) & ~(size_t)15;
	if (!block || block->size - block->used < n) {
		size_t size = n > BLOCK ? n : BLOCK;

		block = xgrow(NULL, sizeof *block + size);
		*block = (struct arena_block){.next = a->head, .size = size};
		a->head = block;
	}
	void *p = (char *)block->bytes + block->used;
	block->used += n;
	return memset(p, 0, n);
}

struct slice arena_copy(struct arena *a, struct slice s)
{
	char *p = arena_take(a, s.n + 1);

	if (s.n)
		memcpy(p, s.p, s.n);
	return (struct slice){p, s.n};
}

void arena_reset(struct arena *a)
{
	while (a->head && a->head->next) {
		struct arena_block *next = a->head->next;

		free(a->head);
		a->head = next;
	}
	if (a->head)
		a->head->used = 0;
}

void arena_free(struct arena *a)
{
	arena_reset(a);
	free(a->head);
	a->head = NULL;
}

struct parser {
	struct arena *arena;
	const char *p, *end;
	const char *error;
};

static struct json *parse_value(struct parser *in, int depth);

static struct json *fail(struct parser *in, const char *error)
{
	if (!in->error)
		in->error = error;
	return NULL;
}

static void skip_blanks(struct parser *in)
{
	while (in->p < in->end &&
	       (*in->p == ' ' || *in->p == '\t' || *in->p == '\n' || *in->p == '\r'))
		in->p++;
}

static bool take(struct parser *in, char c)
{
	skip_blanks(in);
	if (in->p == in->end || *in->p != c)
		return false;
	in->p++;
	return true;
}

/* Length of the well-formed UTF-8 sequence at p, 0 if it is none (RFC 3629 section 4). */
static size_t utf8_length(const unsigned char *p, const unsigned char *end)
{
	size_t n = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;

	if (!n || p[0] > 0xf4 || (size_t)(end - p) < n)
		return 0;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

static bool parse_hex4(struct parser *in, uint32_t *ret_unit)
{
	uint32_t unit = 0;

	if (in->end - in->p < 4)
		return false;
	for (int i = 0; i < 4; i++) {
		char c = *in->p++;
		char folded = (char)(c | 0x20);

		if (c >= '0' && c <= '9')
			unit = unit * 16 + (uint32_t)(c - '0');
		else if (folded >= 'a' && folded <= 'f')
			unit = unit * 16 + (uint32_t)(folded - 'a' + 10);
		else
			return false;
	}
	*ret_unit = unit;
	return true;
}

static size_t encode_utf8(char *out, uint32_t c)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 63));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 63));
		out[2] = (char)(0x80 | (c & 63));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 63));
	out[2] = (char)(0x80 | (c >> 6 & 63));
	out[3] = (char)(0x80 | (c & 63));
	return 4;
}

/* One escape after the backslash; returns the bytes written (at most 4, never more than were read). */
static size_t parse_escape(struct parser *in, char *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	uint32_t unit, low;

	if (in->p == in->end)
		return 0;
	char c = *in->p++;
	const char *at = c ? strchr(from, c) : NULL;
	if (at) {
		*out = to[at - from];
		return 1;
	}
	if (c != 'u' || !parse_hex4(in, &unit) || !unit)
		return 0;
	if (unit >= 0xdc00 && unit <= 0xdfff)
		return 0;
	if (unit >= 0xd800 && unit <= 0xdbff) {
		if (in->end - in->p < 6 || in->p[0] != '\\' || in->p[1] != 'u')
			return 0;
		in->p += 2;
		if (!parse_hex4(in, &low) || low < 0xdc00 || low > 0xdfff)
			return 0;
		unit = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
	}
	return encode_utf8(out, unit);
}

/* Finds the closing quote: sets whether there are escapes, checks UTF-8 and control characters. */
static const char *string_end(struct parser *in, bool *ret_escaped)
{
	const char *p = in->p;

	*ret_escaped = false;
	while (p < in->end && *p != '"') {
		unsigned char c = (unsigned char)*p;
		size_t n = 1;

		if (c < 0x20)
			return NULL;
		if (c == '\\') {
			*ret_escaped = true;
			n = 2;
		} else if (c >= 0x80) {
			n = utf8_length((const unsigned char *)p, (const unsigned char *)in->end);
		}
		if (!n)
			return NULL;
		p += n;
	}
	return p < in->end ? p : NULL;
}

static bool parse_string(struct parser *in, struct slice *ret_string)
{
	bool escaped;
	const char *end = string_end(in, &escaped);

	if (!end) {
		fail(in, "bad or unterminated string");
		return false;
	}
	if (!escaped) {
		*ret_string = (struct slice){in->p, (size_t)(end - in->p)};
		in->p = end + 1;
		return true;
	}
	char *out = arena_take(in->arena, (size_t)(end - in->p) + 4);
	size_t n = 0;
	while (in->p < end) {
		if (*in->p != '\\') {
			out[n++] = *in->p++;
			continue;
		}
		in->p++;
		size_t wrote = parse_escape(in, out + n);
		if (!wrote) {
			fail(in, "bad escape in a string");
			return false;
		}
		n += wrote;
	}
	*ret_string = (struct slice){out, n};
	in->p = end + 1;
	return true;
}

static size_t skip_digits(struct parser *in)
{
	const char *start = in->p;

	while (in->p < in->end && *in->p >= '0' && *in->p <= '9')
		in->p++;
	return (size_t)(in->p - start);
}

static struct json *parse_number(struct parser *in)
{
	const char *start = in->p;
	struct json *value;

	if (*in->p == '-')
		in->p++;
	const char *digits = in->p;
	size_t n = skip_digits(in);
	if (!n || (n > 1 && *digits == '0'))
		return fail(in, "bad number");
	if (in->p < in->end && *in->p == '.') {
		in->p++;
		if (!skip_digits(in))
			return fail(in, "bad number");
	}
	if (in->p < in->end && (*in->p == 'e' || *in->p == 'E')) {
		in->p++;
		if (in->p < in->end && (*in->p == '+' || *in->p == '-'))
			in->p++;
		if (!skip_digits(in))
			return fail(in, "bad number");
	}
	value = json_make(in->arena, JSON_NUMBER);
	value->string = (struct slice){start, (size_t)(in->p - start)};
	return value;
}

static struct json *parse_word(struct parser *in)
{
	static const struct {
		const char *word;
		enum json_type type;
	} words[] = {{"null", JSON_NULL}, {"true", JSON_TRUE}, {"false", JSON_FALSE}};
	struct slice rest = {in->p, (size_t)(in->end - in->p)};

	for (size_t i = 0; i < 3; i++) {
		if (slice_starts(rest, words[i].word)) {
			in->p += strlen(words[i].word);
			return json_make(in->arena, words[i].type);
		}
	}
	return fail(in, "unexpected character");
}

static struct json *parse_members(struct parser *in, struct json *parent, int depth)
{
	bool object = parent->type == JSON_OBJECT;
	char close = object ? '}' : ']';

	if (take(in, close))
		return parent;
	do {
		struct slice key = {0};

		if (object) {
			if (!take(in, '"'))
				return fail(in, "a name in double quotes was expected");
			if (!parse_string(in, &key))
				return NULL;
			if (!take(in, ':'))
				return fail(in, "a colon was expected");
		}
		struct json *child = parse_value(in, depth + 1);
		if (!child)
			return NULL;
		json_append(parent, key, child);
	} while (take(in, ','));
	return take(in, close) ? parent : fail(in, "a comma or the end was expected");
}

static struct json *parse_value(struct parser *in, int depth)
{
	struct json *value;

	skip_blanks(in);
	if (in->p == in->end)
		return fail(in, "unexpected end");
	if (depth > DEPTH_MAX)
		return fail(in, "nested too deeply");
	char c = *in->p;
	if (c == '{' || c == '[') {
		in->p++;
		value = json_make(in->arena, c == '{' ? JSON_OBJECT : JSON_ARRAY);
		return parse_members(in, value, depth);
	}
	if (c == '"') {
		in->p++;
		value = json_make(in->arena, JSON_STRING);
		return parse_string(in, &value->string) ? value : NULL;
	}
	return c == '-' || (c >= '0' && c <= '9') ? parse_number(in) : parse_word(in);
}

struct json *json_parse(struct arena *a, struct slice text, const char **ret_error)
{
	struct parser in = {.arena = a, .p = text.p, .end = text.p + text.n};
	struct json *value = parse_value(&in, 0);

	skip_blanks(&in);
	if (value && in.p != in.end)
		value = fail(&in, "something follows the value");
	if (!value)
		*ret_error = in.error;
	return value;
}

struct json *json_make(struct arena *a, enum json_type type)
{
	struct json *value = arena_take(a, sizeof *value);

	value->type = type;
	return value;
}

struct json *json_string(struct arena *a, struct slice s)
{
	struct json *value = json_make(a, JSON_STRING);

	value->string = s;
	return value;
}

struct json *json_bool(struct arena *a, bool on)
{
	return json_make(a, on ? JSON_TRUE : JSON_FALSE);
}

void json_append(struct json *parent, struct slice key, struct json *child)
{
	child->key = key;
	child->next = NULL;
	if (parent->last)
		parent->last->next = child;
	else
		parent->first = child;
	parent->last = child;
	parent->count++;
}

void json_set(struct json *parent, struct slice key, struct json *child)
{
	struct json *before = NULL;

	for (struct json *old = parent->first; old; before = old, old = old->next) {
		if (!slice_equal(old->key, key))
			continue;
		child->key = key;
		child->next = old->next;
		if (before)
			before->next = child;
		else
			parent->first = child;
		if (parent->last == old)
			parent->last = child;
		return;
	}
	json_append(parent, key, child);
}

void json_remove(struct json *parent, const struct json *child)
{
	struct json *before = NULL;

	for (struct json *old = parent->first; old; before = old, old = old->next) {
		if (old != child)
			continue;
		if (before)
			before->next = old->next;
		else
			parent->first = old->next;
		if (parent->last == old)
			parent->last = before;
		parent->count--;
		return;
	}
}

struct json *json_copy(struct arena *a, const struct json *value)
{
	struct json *copy = json_make(a, value->type);

	copy->string = value->string;
	JSON_EACH(child, value)
	json_append(copy, child->key, json_copy(a, child));
	return copy;
}

struct json *json_get_slice(const struct json *object, struct slice key)
{
	JSON_EACH(child, object)
	{
		if (slice_equal(child->key, key))
			return child;
	}
	return NULL;
}

struct json *json_get(const struct json *object, const char *key)
{
	return json_get_slice(object, slice_of(key));
}

struct json *json_get_nocase(const struct json *object, struct slice key)
{
	JSON_EACH(child, object)
	{
		if (slice_equal_nocase(child->key, key))
			return child;
	}
	return NULL;
}

struct slice json_get_string(const struct json *object, const char *key)
{
	struct json *value = json_get(object, key);

	return json_is(value, JSON_STRING) ? value->string : (struct slice){"", 0};
}

double json_get_real(const struct json *object, const char *key, double otherwise)
{
	struct json *value = json_get(object, key);
	char digits[40];

	if (!json_is(value, JSON_NUMBER) || value->string.n >= sizeof digits)
		return otherwise;
	memcpy(digits, value->string.p, value->string.n);
	digits[value->string.n] = '\0';
	return strtod(digits, NULL);
}

int64_t json_get_number(const struct json *object, const char *key, int64_t otherwise)
{
	struct json *value = json_get(object, key);
	int64_t number;

	if (json_is(value, JSON_NUMBER) && slice_number(value->string, &number))
		return number;
	return otherwise;
}

bool json_get_bool(const struct json *object, const char *key, bool otherwise)
{
	struct json *value = json_get(object, key);

	return json_is_bool(value) ? value->type == JSON_TRUE : otherwise;
}

bool json_is(const struct json *value, enum json_type type)
{
	return value && value->type == type;
}

bool json_is_bool(const struct json *value)
{
	return value && (value->type == JSON_TRUE || value->type == JSON_FALSE);
}

bool json_equal(const struct json *a, const struct json *b)
{
	if (a->type != b->type || a->count != b->count)
		return false;
	if (a->type == JSON_STRING || a->type == JSON_NUMBER)
		return slice_equal(a->string, b->string);
	const struct json *other = b->first;
	JSON_EACH(child, a)
	{
		const struct json *twin = other;

		if (a->type == JSON_OBJECT)
			twin = json_get_slice(b, child->key);
		else
			other = other->next;
		if (!twin || !json_equal(child, twin))
			return false;
	}
	return true;
}

void json_write(struct text *out, const struct json *value)
{
	static const char *const words[] = {"null", "false", "true"};

	if (value->type <= JSON_TRUE) {
		text_str(out, words[value->type]);
	} else if (value->type == JSON_NUMBER) {
		text_slice(out, value->string);
	} else if (value->type == JSON_STRING) {
		text_json(out, value->string);
	} else {
		bool object = value->type == JSON_OBJECT;

		text_char(out, object ? '{' : '[');
		JSON_EACH(child, value)
		{
			if (child != value->first)
				text_char(out, ',');
			if (object) {
				text_json(out, child->key);
				text_char(out, ':');
			}
			json_write(out, child);
		}
		text_char(out, object ? '}' : ']');
	}
}
