#include "json.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 32 };
#define WHOLE_MAX 9007199254740992.0 /* 2^53: every whole number below is exact in a double */

/* ---- what cJSON lets through, refused before it sees the text ---- */

struct scan {
	const char *p, *end;
	const char *why;
};

static bool refuse(struct scan *s, const char *why)
{
	s->why = why;
	return false;
}

/* p is behind "\\u". cJSON takes digits that are none for zero, and a NUL cuts the C string. */
static bool scan_hex4(struct scan *s)
{
	bool zero = true;

	for (int i = 0; i < 4; i++, s->p++) {
		if (s->p == s->end || !isxdigit((unsigned char)*s->p))
			return refuse(s, "malformed \\u escape");
		zero = zero && *s->p == '0';
	}
	return zero ? refuse(s, "NUL in a string") : true;
}

/* p is behind the opening quote; ends behind the closing one. */
static bool scan_string(struct scan *s)
{
	while (s->p < s->end) {
		char c = *s->p++;

		if (c == '"')
			return true;
		if ((unsigned char)c < 0x20)
			return refuse(s, "control character in a string");
		if (c != '\\' || s->p == s->end)
			continue;
		if (*s->p++ == 'u' && !scan_hex4(s))
			return false;
	}
	return refuse(s, "string without end");
}

static size_t scan_digits(struct scan *s)
{
	const char *from = s->p;

	while (s->p < s->end && *s->p >= '0' && *s->p <= '9')
		s->p++;
	return (size_t)(s->p - from);
}

static bool scan_char(struct scan *s, const char *any)
{
	if (s->p == s->end || *s->p == '\0' || strchr(any, *s->p) == NULL)
		return false;
	s->p++;
	return true;
}

/* RFC 8259 6; cJSON hands everything that strtod likes to strtod ("01", "+1", "1."). */
static bool scan_number(struct scan *s)
{
	scan_char(s, "-");
	if (!scan_char(s, "0") && scan_digits(s) == 0)
		return refuse(s, "malformed number");
	if (scan_char(s, ".") && scan_digits(s) == 0)
		return refuse(s, "malformed number");
	if (scan_char(s, "eE")) {
		scan_char(s, "+-");
		if (scan_digits(s) == 0)
			return refuse(s, "malformed number");
	}
	if (s->p < s->end && strchr("+-.0123456789eE", *s->p) != NULL)
		return refuse(s, "malformed number");
	return true;
}

static bool scan_text(struct scan *s)
{
	int depth = 0;

	while (s->p < s->end) {
		char c = *s->p;
		bool good = true;

		if (c == '-' || c == '+' || c == '.' || (c >= '0' && c <= '9')) {
			if (!scan_number(s))
				return false;
			continue;
		}
		s->p++;
		if (c == '"')
			good = scan_string(s);
		else if ((unsigned char)c < 0x20 && c != '\t' && c != '\n' && c != '\r')
			good = refuse(s, "control character");
		else if ((c == '[' || c == '{') && ++depth > DEPTH_MAX)
			good = refuse(s, "nested too deep");
		else if (c == ']' || c == '}')
			depth--;
		if (!good)
			return false;
	}
	return true;
}

/* 1e999 parses as infinity, which would print as null. */
static bool numbers_finite(const cJSON *value)
{
	const cJSON *item;

	if (cJSON_IsNumber(value))
		return isfinite(value->valuedouble);
	cJSON_ArrayForEach (item, value)
		if (!numbers_finite(item))
			return false;
	return true;
}

static cJSON *parse(struct slice text, const char **why)
{
	struct scan s = {text.p, text.p + text.n, NULL};
	const char *end = NULL;
	cJSON *value;

	if (!utf8_valid(text)) {
		*why = "not UTF-8, or a NUL";
		return NULL;
	}
	if (!scan_text(&s)) {
		*why = s.why;
		return NULL;
	}
	value = cJSON_ParseWithLengthOpts(text.p, text.n, &end, 0);
	if (value == NULL) {
		*why = "not JSON";
		return NULL;
	}
	while (end < text.p + text.n && strchr(" \t\r\n", *end) != NULL)
		end++;
	*why = end < text.p + text.n	? "something follows the value"
	       : !numbers_finite(value) ? "number out of range"
					: NULL;
	if (*why != NULL) {
		cJSON_Delete(value);
		return NULL;
	}
	return value;
}

cJSON *json_parse(struct slice text, const char **ret_why)
{
	const char *why = "empty";
	cJSON *value = text.n == 0 ? NULL : parse(text, &why);

	if (value == NULL && ret_why != NULL)
		*ret_why = why;
	return value;
}

/* ---- reading ---- */

const cJSON *json_get(const cJSON *object, const char *name)
{
	return cJSON_IsObject(object) ? cJSON_GetObjectItemCaseSensitive(object, name) : NULL;
}

const char *json_text(const cJSON *object, const char *name)
{
	const cJSON *item = json_get(object, name);

	return cJSON_IsString(item) ? item->valuestring : NULL;
}

const cJSON *json_array(const cJSON *object, const char *name)
{
	const cJSON *item = json_get(object, name);

	return cJSON_IsArray(item) ? item : NULL;
}

const cJSON *json_object(const cJSON *object, const char *name)
{
	const cJSON *item = json_get(object, name);

	return cJSON_IsObject(item) ? item : NULL;
}

bool json_true(const cJSON *object, const char *name, bool otherwise)
{
	const cJSON *item = json_get(object, name);

	return cJSON_IsBool(item) ? cJSON_IsTrue(item) : otherwise;
}

static bool whole(double v)
{
	return v > -WHOLE_MAX && v < WHOLE_MAX && v == (double)(int64_t)v;
}

int64_t json_int(const cJSON *object, const char *name, int64_t otherwise)
{
	const cJSON *item = json_get(object, name);

	return cJSON_IsNumber(item) && whole(item->valuedouble) ? (int64_t)item->valuedouble
								: otherwise;
}

/* ---- writing ---- */

void json_quote(struct slice text, struct buf *out)
{
	static const char shorts[] = "\"\"\\\\\bb\ff\nn\rr\tt"; /* character, what stands for it */
	size_t plain = 0;

	buf_addc(out, '"');
	for (size_t i = 0; i < text.n; i++) {
		unsigned char c = (unsigned char)text.p[i];
		const char *s = shorts;

		if (c >= 0x20 && c != '"' && c != '\\')
			continue;
		buf_add(out, text.p + plain, i - plain);
		plain = i + 1;
		while (*s != '\0' && (unsigned char)*s != c)
			s += 2;
		if (*s != '\0')
			buf_add(out, (const char[]){'\\', s[1]}, 2);
		else
			buf_addf(out, "\\u%04x", c);
	}
	if (text.n > plain)
		buf_add(out, text.p + plain, text.n - plain);
	buf_addc(out, '"');
}

static void print_number(double v, struct buf *out)
{
	char text[32];

	if (whole(v)) {
		buf_addf(out, "%lld", (long long)v);
		return;
	}
	if (!isfinite(v)) {
		buf_adds(out, "null");
		return;
	}
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, v);
		if (strtod(text, NULL) == v) // NOLINT: equality is the question
			break;
	}
	buf_adds(out, text);
}

static int by_name(const void *a, const void *b)
{
	const cJSON *const *x = a, *const *y = b;

	return strcmp((*x)->string, (*y)->string);
}

static void print(const cJSON *value, bool sorted, struct buf *out);

static void print_member(const cJSON *item, bool sorted, struct buf *out)
{
	json_quote(slice_of(item->string), out);
	buf_addc(out, ':');
	print(item, sorted, out);
}

static void print_sorted(const cJSON *object, struct buf *out)
{
	size_t n = (size_t)cJSON_GetArraySize(object), i = 0;
	const cJSON **items = mem_array(n, sizeof(cJSON *));
	const cJSON *item;

	cJSON_ArrayForEach (item, object)
		items[i++] = item;
	qsort(items, n, sizeof(cJSON *), by_name);
	for (i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(out, ',');
		print_member(items[i], true, out);
	}
	free(items);
}

static void print_items(const cJSON *value, bool sorted, struct buf *out)
{
	bool object = cJSON_IsObject(value);
	const cJSON *item;

	buf_addc(out, object ? '{' : '[');
	if (object && sorted) {
		print_sorted(value, out);
	} else {
		cJSON_ArrayForEach (item, value) {
			if (item != value->child)
				buf_addc(out, ',');
			if (object)
				print_member(item, sorted, out);
			else
				print(item, sorted, out);
		}
	}
	buf_addc(out, object ? '}' : ']');
}

static void print(const cJSON *value, bool sorted, struct buf *out)
{
	if (cJSON_IsObject(value) || cJSON_IsArray(value))
		print_items(value, sorted, out);
	else if (cJSON_IsString(value))
		json_quote(slice_of(value->valuestring), out);
	else if (cJSON_IsNumber(value))
		print_number(value->valuedouble, out);
	else if (cJSON_IsBool(value))
		buf_adds(out, cJSON_IsTrue(value) ? "true" : "false");
	else if (cJSON_IsRaw(value))
		buf_adds(out, value->valuestring);
	else
		buf_adds(out, "null");
}

void json_canonical(const cJSON *value, struct buf *out)
{
	print(value, true, out);
}

void json_print(const cJSON *value, struct buf *out)
{
	print(value, false, out);
}
