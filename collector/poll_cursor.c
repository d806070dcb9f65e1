#include "poll_cursor.h"

#include "poll_stamp.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void poll_cursor_format(const struct poll_cursor *c, struct buf *out)
{
	char base[ID_TEXT];

	id_format(&c->base, base);
	buf_addf(out, "poll=1;base=%s;stamp=%s;server=%s", base, c->stamp, c->server);
}

static struct slice pair_of(struct slice text, const char *key)
{
	size_t n = strlen(key);

	while (text.n > 0) {
		const char *end = memchr(text.p, ';', text.n);
		size_t piece = end ? (size_t)(end - text.p) : text.n;

		if (piece > n && text.p[n] == '=' && memcmp(text.p, key, n) == 0)
			return (struct slice){text.p + n + 1, piece - n - 1};
		text.p += end ? piece + 1 : piece;
		text.n -= end ? piece + 1 : piece;
	}
	return (struct slice){0};
}

static int copy(char *to, size_t size, struct slice from)
{
	if (from.n == 0 || from.n >= size || memchr(from.p, '\0', from.n) != NULL)
		return -EINVAL;
	memcpy(to, from.p, from.n);
	to[from.n] = '\0';
	return 0;
}

int poll_cursor_parse(struct slice cookie, struct slice server, struct poll_cursor *ret)
{
	struct poll_cursor c = {0};

	if (!slice_is(pair_of(server, "poll"), "1") ||
	    id_parse(pair_of(server, "base"), &c.base) < 0 ||
	    copy(c.stamp, sizeof(c.stamp), pair_of(server, "stamp")) < 0 ||
	    copy(c.server, sizeof(c.server), pair_of(server, "server")) < 0 ||
	    copy(c.newest, sizeof(c.newest), cookie) < 0 || !poll_stamp_valid(c.newest))
		return -EINVAL;
	*ret = c;
	return 0;
}
