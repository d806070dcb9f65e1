#include "filter.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { DEPTH_MAX = 32 };

enum op { AND, OR, NOT, EQUAL, PRESENT, SUBSTRING, GREATER, LESS, BIT_AND, BIT_OR };

struct filter {
	enum op op;
	struct filter **parts;
	size_t n;
	char *attr;
	char *value;   /* folded, unescaped */
	char **pieces; /* substring: folded; [0] initial and last final, "" where open */
	size_t pieces_n;
	uint64_t dn; /* hash when the value is a DN */
};

struct parser {
	const char *p;
	struct buf *why;
	unsigned depth;
};

void filter_free(struct filter *f)
{
	if (f == NULL)
		return;
	for (size_t i = 0; i < f->n; i++)
		filter_free(f->parts[i]);
	for (size_t i = 0; i < f->pieces_n; i++)
		free(f->pieces[i]);
	free(f->parts);
	free(f->pieces);
	free(f->attr);
	free(f->value);
	free(f);
}

/* ---- parsing ---- */

static struct filter *refuse(struct parser *s, struct filter *f, const char *what)
{
	if (s->why->n == 0)
		buf_addf(s->why, "%s at \"%.20s\"", what, s->p);
	filter_free(f);
	return NULL;
}

static struct filter *parse(struct parser *s);

static struct filter *parse_parts(struct parser *s, enum op op)
{
	struct filter *f = mem_alloc(sizeof(*f));

	f->op = op;
	s->p++;
	while (*s->p == ' ')
		s->p++;
	while (*s->p == '(') {
		struct filter *part = parse(s);

		if (part == NULL) {
			filter_free(f);
			return NULL;
		}
		f->parts = mem_resize(f->parts, (f->n + 1) * sizeof(struct filter *));
		f->parts[f->n++] = part;
		while (*s->p == ' ')
			s->p++;
	}
	if (op == NOT && f->n != 1)
		return refuse(s, f, "\"!\" needs exactly one filter");
	return f;
}

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One piece of an assertion value up to '*' or ')'; false: bad escape. */
static bool read_piece(struct parser *s, struct buf *out)
{
	while (*s->p != '\0' && *s->p != '*' && *s->p != ')') {
		if (*s->p != '\\') {
			buf_addc(out, *s->p++);
			continue;
		}
		if (hex(s->p[1]) < 0 || hex(s->p[2]) < 0)
			return false;
		buf_addc(out, (char)(hex(s->p[1]) * 16 + hex(s->p[2])));
		s->p += 3;
	}
	return true;
}

static char *folded(const struct buf *raw)
{
	struct buf b = {0};

	text_fold(buf_slice(raw), &b);
	return buf_steal(&b);
}

static void add_piece(struct filter *f, const struct buf *raw)
{
	f->pieces = mem_resize(f->pieces, (f->pieces_n + 1) * sizeof(char *));
	f->pieces[f->pieces_n++] = folded(raw);
}

static struct filter *parse_value(struct parser *s, struct filter *f)
{
	CLEANUP(buf_cleanup) struct buf raw = {0};

	for (;;) {
		buf_clear(&raw);
		if (!read_piece(s, &raw))
			return refuse(s, f, "bad escape");
		if (*s->p != '*')
			break;
		add_piece(f, &raw);
		s->p++;
	}
	if (*s->p != ')')
		return refuse(s, f, "\")\" is missing");
	if (f->pieces_n == 0) {
		f->value = folded(&raw);
		f->dn = strchr(f->value, '=') != NULL ? dn_hash(raw.p) : 0;
		return f;
	}
	if (f->op != EQUAL)
		return refuse(s, f, "\"*\" fits only \"=\"");
	add_piece(f, &raw);
	f->op = f->pieces_n == 2 && f->pieces[0][0] == '\0' && f->pieces[1][0] == '\0' ? PRESENT
										       : SUBSTRING;
	return f;
}

static struct filter *parse_rule(struct parser *s, struct filter *f)
{
	const char *end = strstr(s->p, ":=");

	if (end == NULL)
		return refuse(s, f, "\":=\" is missing");
	if (strncmp(s->p, ":1.2.840.113556.1.4.803", (size_t)(end - s->p)) == 0 && end - s->p == 23)
		f->op = BIT_AND;
	else if (strncmp(s->p, ":1.2.840.113556.1.4.804", (size_t)(end - s->p)) == 0 &&
		 end - s->p == 23)
		f->op = BIT_OR;
	else
		return refuse(s, f, "this matching rule is not known here");
	s->p = end + 2;
	return parse_value(s, f);
}

static struct filter *parse_item(struct parser *s)
{
	struct filter *f = mem_alloc(sizeof(*f));
	size_t n = strcspn(s->p, "=<>~:()");

	if (n == 0)
		return refuse(s, f, "an attribute is missing");
	f->attr = slice_dup((struct slice){s->p, n});
	s->p += n;
	f->op = EQUAL;
	if (*s->p == ':')
		return parse_rule(s, f);
	if (*s->p == '>' || *s->p == '<' || *s->p == '~') {
		f->op = *s->p == '>' ? GREATER : *s->p == '<' ? LESS : EQUAL;
		s->p++;
	}
	if (*s->p != '=')
		return refuse(s, f, "\"=\" is missing");
	s->p++;
	return parse_value(s, f);
}

static struct filter *parse(struct parser *s)
{
	struct filter *f;

	if (++s->depth > DEPTH_MAX)
		return refuse(s, NULL, "too deep");
	if (*s->p != '(')
		return refuse(s, NULL, "\"(\" is missing");
	s->p++;
	while (*s->p == ' ')
		s->p++;
	if (*s->p == '&' || *s->p == '|' || *s->p == '!')
		f = parse_parts(s, *s->p == '&' ? AND : *s->p == '|' ? OR : NOT);
	else
		f = parse_item(s);
	if (f == NULL)
		return NULL;
	if (*s->p != ')')
		return refuse(s, f, "\")\" is missing");
	s->p++;
	s->depth--;
	return f;
}

struct filter *filter_new(const char *text, struct buf *why)
{
	CLEANUP(buf_cleanup) struct buf whole = {0};
	struct parser s = {.why = why};
	struct filter *f;

	while (*text == ' ')
		text++;
	buf_addf(&whole, *text == '(' ? "%s" : "(%s)", text);
	s.p = whole.p;
	f = parse(&s);
	while (f != NULL && *s.p == ' ')
		s.p++;
	return f != NULL && *s.p != '\0' ? refuse(&s, f, "something follows the filter") : f;
}

/* ---- evaluating ---- */

static bool whole_number(const char *text, int64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoll(text, &end, 10);
	return end != text && *end == '\0' && errno == 0;
}

static int order(const char *a, const char *b)
{
	int64_t x, y;

	if (whole_number(a, &x) && whole_number(b, &y))
		return x < y ? -1 : x > y;
	return strcmp(a, b);
}

static bool has_pieces(const struct filter *f, const char *value)
{
	const char *p = value;
	size_t first = strlen(f->pieces[0]);
	size_t last = strlen(f->pieces[f->pieces_n - 1]);
	size_t n = strlen(value);

	if (n < first + last || strncmp(value, f->pieces[0], first) != 0)
		return false;
	p += first;
	for (size_t i = 1; i + 1 < f->pieces_n; i++) {
		p = strstr(p, f->pieces[i]);
		if (p == NULL)
			return false;
		p += strlen(f->pieces[i]);
	}
	return (size_t)(value + n - p) >= last &&
	       strcmp(value + n - last, f->pieces[f->pieces_n - 1]) == 0;
}

/* (objectCategory=person): AD takes a class's name where the attribute holds the DN of its schema object. */
static bool is_category(const struct filter *f, const char *value)
{
	const char *comma = strchr(value, ',');

	return strcasecmp(f->attr, "objectCategory") == 0 && comma != NULL &&
	       strncmp(value, "cn=", 3) == 0 && strlen(f->value) == (size_t)(comma - value - 3) &&
	       strncmp(value + 3, f->value, strlen(f->value)) == 0;
}

static bool bits_fit(const struct filter *f, const char *value)
{
	int64_t has, wanted;

	if (!whole_number(value, &has) || !whole_number(f->value, &wanted))
		return false;
	return f->op == BIT_AND ? (has & wanted) == wanted : (has & wanted) != 0;
}

static bool value_fits(const struct filter *f, const char *raw, const char *value)
{
	switch (f->op) {
	case EQUAL:
		return strcmp(value, f->value) == 0 || is_category(f, value) ||
		       (f->dn != 0 && dn_hash(raw) == f->dn);
	case SUBSTRING:
		return has_pieces(f, value);
	case GREATER:
		return order(value, f->value) >= 0;
	case LESS:
		return order(value, f->value) <= 0;
	case BIT_AND:
	case BIT_OR:
		return bits_fit(f, value);
	case PRESENT:
		return true;
	case AND:
	case OR:
	case NOT:
		break;
	}
	return false;
}

static bool item_fits(const struct filter *f, const struct entry *e)
{
	const struct entry_attr *a = entry_attr(e, f->attr);
	bool fits = false;

	for (size_t i = 0; a != NULL && i < a->n && !fits; i++) {
		struct buf value = {0};

		text_fold(a->values[i], &value);
		fits = value_fits(f, a->values[i].p, value.p != NULL ? value.p : "");
		buf_done(&value);
	}
	return fits;
}

bool filter_fits(const struct filter *f, const struct entry *e)
{
	if (f->op == NOT)
		return !filter_fits(f->parts[0], e);
	if (f->op != AND && f->op != OR)
		return item_fits(f, e);
	for (size_t i = 0; i < f->n; i++)
		if (filter_fits(f->parts[i], e) != (f->op == AND))
			return f->op == OR;
	return f->op == AND;
}
