#include "fold.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

static bool is_ascii(struct slice s)
{
	for (size_t i = 0; i < s.n; i++)
		if ((unsigned char)s.p[i] >= 0x80)
			return false;
	return true;
}

static bool is_blank(char c)
{
	return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static struct slice trimmed(struct slice s)
{
	while (s.n > 0 && is_blank(s.p[0]))
		s = (struct slice){s.p + 1, s.n - 1};
	while (s.n > 0 && is_blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

/* U+00A0 and its like are blanks, too: composed first, then their outer ones are taken away. */
static struct slice trimmed_wide(struct slice s)
{
	utf8proc_int32_t u;
	utf8proc_ssize_t n;

	while (s.n > 0) {
		n = utf8proc_iterate((const utf8proc_uint8_t *)s.p, (utf8proc_ssize_t)s.n, &u);
		if (n <= 0 || utf8proc_category(u) != UTF8PROC_CATEGORY_ZS)
			break;
		s = (struct slice){s.p + n, s.n - (size_t)n};
	}
	for (size_t back = 1; back <= 4 && back <= s.n; back++) {
		n = utf8proc_iterate((const utf8proc_uint8_t *)s.p + s.n - back,
				     (utf8proc_ssize_t)back, &u);
		if (n != (utf8proc_ssize_t)back)
			continue;
		if (utf8proc_category(u) != UTF8PROC_CATEGORY_ZS)
			break;
		s.n -= back;
		back = 0;
	}
	return trimmed(s);
}

static bool add(struct slice text, struct buf *out, bool fold)
{
	const utf8proc_option_t how =
		UTF8PROC_STABLE | UTF8PROC_COMPOSE | (fold ? UTF8PROC_CASEFOLD : 0);
	utf8proc_uint8_t *made = NULL;
	utf8proc_ssize_t n;
	struct slice s;

	text = trimmed(text);
	if (is_ascii(text)) {
		for (size_t i = 0; i < text.n; i++) {
			char c = text.p[i];

			if (fold && c >= 'A' && c <= 'Z')
				c = (char)(c + 'a' - 'A');
			buf_addc(out, c);
		}
		return text.n > 0;
	}
	n = utf8proc_map((const utf8proc_uint8_t *)text.p, (utf8proc_ssize_t)text.n, &made, how);
	if (n < 0)
		return false;
	s = trimmed_wide((struct slice){(const char *)made, (size_t)n});
	buf_add(out, s.p, s.n);
	free(made);
	return s.n > 0;
}

bool fold_trim(struct slice text, struct buf *out)
{
	return add(text, out, false);
}

bool fold_key(struct slice text, struct buf *out)
{
	return add(text, out, true);
}

bool fold_same(const char *a, const char *b)
{
	CLEANUP(buf_cleanup) struct buf x = {0}, y = {0};

	if (strcmp(a, b) == 0)
		return *a != '\0';
	return fold_key(slice_of(a), &x) && fold_key(slice_of(b), &y) && x.n == y.n &&
	       memcmp(x.p, y.p, x.n) == 0;
}
