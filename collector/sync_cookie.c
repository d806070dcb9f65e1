#include "sync_cookie.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void sync_cookie_done(struct sync_cookie *c)
{
	free(c->csns);
	buf_done(&c->head);
	*c = (struct sync_cookie){0};
}

bool sync_cookie_is_empty(const struct sync_cookie *c)
{
	return c->n == 0 && !c->numbered;
}

/* The third field of a CSN is the server id, three hex digits; NULL: not a CSN. */
static const char *sid_of(const char *csn)
{
	const char *p = strchr(csn, '#');

	p = p != NULL ? strchr(p + 1, '#') : NULL;
	if (p == NULL || !isxdigit((unsigned char)p[1]) || !isxdigit((unsigned char)p[2]) ||
	    !isxdigit((unsigned char)p[3]) || p[4] != '#' || !isdigit((unsigned char)csn[0]))
		return NULL;
	return p + 1;
}

static struct sync_csn *find(const struct sync_cookie *c, const char *sid)
{
	for (size_t i = 0; i < c->n; i++)
		if (strncmp(sid_of(c->csns[i].text), sid, 3) == 0)
			return &c->csns[i];
	return NULL;
}

static bool copy_csn(struct slice text, struct sync_csn *ret)
{
	if (text.n == 0 || text.n >= sizeof(ret->text) || memchr(text.p, '\0', text.n) != NULL)
		return false;
	memcpy(ret->text, text.p, text.n);
	ret->text[text.n] = '\0';
	return sid_of(ret->text) != NULL && strpbrk(ret->text, ",;=") == NULL;
}

static bool merge_csn(struct sync_cookie *c, struct slice text)
{
	struct sync_csn csn, *old;

	if (!copy_csn(text, &csn))
		return false;
	old = find(c, sid_of(csn.text));
	if (old != NULL) {
		if (strcmp(old->text, csn.text) >= 0)
			return false;
		*old = csn;
		return true;
	}
	if (c->n >= SYNC_SIDS_MAX)
		return false;
	c->csns = mem_resize(c->csns, (c->n + 1) * sizeof(*c->csns));
	c->csns[c->n++] = csn;
	return true;
}

/* The value of ",csn=" or a leading "csn="; "delcsn=" is not it. */
static struct slice csn_field(struct slice cookie)
{
	struct slice rest = cookie;

	while (rest.n > 0) {
		const char *comma = memchr(rest.p, ',', rest.n);
		size_t n = comma != NULL ? (size_t)(comma - rest.p) : rest.n;

		if (n > 4 && memcmp(rest.p, "csn=", 4) == 0)
			return (struct slice){rest.p + 4, n - 4};
		n += comma != NULL;
		rest = (struct slice){rest.p + n, rest.n - n};
	}
	return (struct slice){0};
}

static bool merge_csns(struct sync_cookie *c, struct slice cookie)
{
	struct slice rest = csn_field(cookie);
	bool moved = false;

	while (rest.n > 0) {
		const char *end = memchr(rest.p, ';', rest.n);
		size_t n = end != NULL ? (size_t)(end - rest.p) : rest.n;

		moved = merge_csn(c, (struct slice){rest.p, n}) || moved;
		n += end != NULL;
		rest = (struct slice){rest.p + n, rest.n - n};
	}
	return moved;
}

static bool merge_number(struct sync_cookie *c, struct slice cookie)
{
	size_t at = cookie.n;
	uint64_t number = 0;
	struct slice head;

	while (at > 0 && cookie.p[at - 1] != '#')
		at--;
	if (at == 0 || at == cookie.n || cookie.n - at > 19)
		return false;
	for (size_t i = at; i < cookie.n; i++) {
		if (!isdigit((unsigned char)cookie.p[i]))
			return false;
		number = number * 10 + (uint64_t)(cookie.p[i] - '0');
	}
	head = (struct slice){cookie.p, at};
	if (c->numbered && slice_equal(buf_slice(&c->head), head) && number <= c->number)
		return false;
	c->numbered = true;
	c->number = number;
	buf_clear(&c->head);
	buf_add(&c->head, head.p, head.n);
	return true;
}

bool sync_cookie_merge(struct sync_cookie *c, struct slice cookie)
{
	if (cookie.n == 0 || memchr(cookie.p, '\0', cookie.n) != NULL)
		return false;
	if (cookie.n >= 4 && (memcmp(cookie.p, "rid=", 4) == 0 || memcmp(cookie.p, "csn=", 4) == 0))
		return merge_csns(c, cookie);
	return merge_number(c, cookie);
}

void sync_cookie_text(const struct sync_cookie *c, struct buf *out)
{
	if (c->numbered) {
		buf_add(out, c->head.p, c->head.n);
		buf_addf(out, "%llu", (unsigned long long)c->number);
		return;
	}
	for (size_t i = 0; i < c->n; i++)
		buf_addf(out, "%s%s", i == 0 ? "rid=000,csn=" : ";", c->csns[i].text);
}

void sync_cookie_rewound(const struct sync_cookie *c, uint64_t first, struct buf *out)
{
	uint64_t least = first > 0 ? first - 1 : 0;
	uint64_t number = c->number > SYNC_REWIND ? c->number - SYNC_REWIND : 0;

	if (number < least)
		number = least;
	buf_add(out, c->head.p, c->head.n);
	buf_addf(out, "%llu", (unsigned long long)number);
}

bool sync_cookie_is_trimmed(const struct sync_cookie *c, uint64_t first)
{
	return c->numbered && first > 0 && c->number + 1 < first;
}

bool sync_cookie_is_behind(const struct sync_cookie *c, const struct slice *csns, size_t n)
{
	for (size_t i = 0; i < c->n; i++) {
		bool reached = false;

		for (size_t k = 0; k < n && !reached; k++) {
			struct sync_csn csn;

			reached = copy_csn(csns[k], &csn) &&
				  strncmp(sid_of(csn.text), sid_of(c->csns[i].text), 3) == 0 &&
				  strcmp(csn.text, c->csns[i].text) >= 0;
		}
		if (!reached)
			return true;
	}
	return false;
}

bool sync_cookie_is_ahead(const struct sync_cookie *c, const struct slice *csns, size_t n)
{
	for (size_t k = 0; k < n; k++) {
		struct sync_csn csn, *ours;

		if (!copy_csn(csns[k], &csn))
			continue;
		ours = find(c, sid_of(csn.text));
		if (ours == NULL || strcmp(ours->text, csn.text) < 0)
			return true;
	}
	return false;
}
