#include "store_redis.h"

#include <inttypes.h>
#include <stdlib.h>

/* ---- arguments: borrowed pieces and bytes of our own, addressed by offset while they grow ---- */

static void add(struct store_args *a, const char *p, size_t at, size_t n)
{
	if (a->n == a->cap) {
		a->cap = a->cap ? 2 * a->cap : 256;
		a->args = mem_resize(a->args, a->cap * sizeof(*a->args));
	}
	a->args[a->n++] = (struct store_arg){p, at, n};
}

void args_slice(struct store_args *a, struct slice s)
{
	add(a, s.p ? s.p : "", 0, s.n);
}

void args_text(struct store_args *a, const char *s)
{
	args_slice(a, slice_of(s));
}

void args_bytes(struct store_args *a, const void *p, size_t n)
{
	size_t at = a->bytes.n;

	buf_add(&a->bytes, p, n);
	add(a, NULL, at, n);
}

void args_number(struct store_args *a, int64_t value)
{
	size_t at = a->bytes.n;

	buf_addf(&a->bytes, "%" PRId64, value);
	add(a, NULL, at, a->bytes.n - at);
}

void args_id(struct store_args *a, const struct id *value)
{
	args_bytes(a, value->b, sizeof(value->b));
}

/* What a rows_put_… function appends between these two becomes one argument. */
size_t args_mark(const struct store_args *a)
{
	return a->bytes.n;
}

void args_record(struct store_args *a, size_t at)
{
	add(a, NULL, at, a->bytes.n - at);
}

struct slice *store_args_slices(const struct store_args *a)
{
	struct slice *slices = mem_array(a->n, sizeof(*slices));

	for (size_t i = 0; i < a->n; i++)
		slices[i] = (struct slice){a->args[i].p ? a->args[i].p : a->bytes.p + a->args[i].at,
					   a->args[i].n};
	return slices;
}

void store_args_done(struct store_args *a)
{
	buf_done(&a->bytes);
	free(a->args);
	*a = (struct store_args){0};
}

/* words: of the whole command, its name and key included. */
void args_command(struct store_args *a, int words, const char *name, const char *key)
{
	args_number(a, words);
	args_text(a, name);
	args_text(a, key);
}

void args_user_key(struct store *s, struct store_args *a, const char *before, const struct id *user)
{
	char hex[ID_TEXT];
	size_t at = args_mark(a);

	id_format(user, hex);
	buf_adds(&a->bytes, before ? before : s->user);
	buf_adds(&a->bytes, hex);
	args_record(a, at);
}
