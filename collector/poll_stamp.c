#include "poll_stamp.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <uthash.h>

enum { SETTLED_MS = 2000 };

struct row {
	UT_hash_handle hh;
	struct id id;
	struct fp stamp;
	int64_t first_ms; /* first read with this stamp */
	unsigned scan;
	bool settled;
};

struct poll_table {
	struct row *rows;
	unsigned scan;
};

static bool digits(const char *text, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
	}
	return true;
}

static bool is_csn(const char *stamp)
{
	return strchr(stamp, '#') != NULL;
}

bool poll_stamp_valid(const char *stamp)
{
	size_t n = stamp ? strlen(stamp) : 0;

	if (n < 15 || n > 64 || !digits(stamp, 14))
		return false;
	/* These go into filters. */
	return strspn(stamp + 14, "0123456789abcdef.Z#") == n - 14;
}

int poll_stamp_back(const char *stamp, int seconds, struct buf *out)
{
	struct tm tm = {0};
	char text[15];
	time_t at;

	if (!poll_stamp_valid(stamp))
		return -EINVAL;
	memcpy(text, stamp, 14);
	text[14] = '\0';
	if (!strptime(text, "%Y%m%d%H%M%S", &tm))
		return -EINVAL;
	at = timegm(&tm) - seconds;
	if (!gmtime_r(&at, &tm) || strftime(text, sizeof(text), "%Y%m%d%H%M%S", &tm) != 14)
		return -EINVAL;
	buf_addf(out, is_csn(stamp) ? "%s.000000Z#000000#000#000000" : "%sZ", text);
	return 0;
}

struct poll_table *poll_table_new(void)
{
	return mem_alloc(sizeof(struct poll_table));
}

// NOLINTNEXTLINE(readability-function-size): uthash
void poll_table_free(struct poll_table *t)
{
	struct row *row, *next;

	if (!t)
		return;
	HASH_ITER (hh, t->rows, row, next) {
		HASH_DEL(t->rows, row); // NOLINT(clang-analyzer-unix.Malloc): uthash
		free(row);
	}
	free(t);
}

size_t poll_table_count(const struct poll_table *t)
{
	return HASH_COUNT(t->rows);
}

// NOLINTNEXTLINE(readability-function-size): uthash
static struct row *find(const struct poll_table *t, const struct id *id)
{
	struct row *row = NULL;
	unsigned hash = (unsigned)id_hash(id);

	HASH_FIND_BYHASHVALUE(hh, t->rows, id, sizeof(*id), hash, row);
	return row;
}

bool poll_table_look(const struct poll_table *t, const struct id *id, const char *stamp)
{
	const struct row *row = find(t, id);
	struct fp fp;

	if (!row || !stamp)
		return true;
	fp = fp_of(slice_of(stamp));
	return !row->settled || !fp_equal(&fp, &row->stamp);
}

// NOLINTNEXTLINE(readability-function-size): uthash
void poll_table_put(struct poll_table *t, const struct id *id, const char *stamp, int64_t now_ms)
{
	struct row *row = find(t, id);
	struct fp fp = fp_of(slice_of(stamp));

	if (!row) {
		unsigned hash = (unsigned)id_hash(id);

		row = mem_alloc(sizeof(*row));
		row->id = *id;
		row->first_ms = now_ms;
		HASH_ADD_BYHASHVALUE(hh, t->rows, id, sizeof(row->id), hash, row);
	}
	if (!fp_equal(&fp, &row->stamp)) {
		row->stamp = fp;
		row->first_ms = now_ms;
	}
	row->scan = t->scan;
	row->settled = stamp && (is_csn(stamp) || now_ms - row->first_ms >= SETTLED_MS);
}

void poll_table_scan_begin(struct poll_table *t)
{
	t->scan++;
}

void poll_table_met(struct poll_table *t, const struct id *id)
{
	struct row *row = find(t, id);

	if (row)
		row->scan = t->scan;
}

// NOLINTNEXTLINE(readability-function-size): uthash
void poll_table_forget(struct poll_table *t)
{
	struct row *row, *next;

	HASH_ITER (hh, t->rows, row, next) {
		if (row->scan != t->scan) {
			HASH_DEL(t->rows, row); // NOLINT(clang-analyzer-unix.Malloc): uthash
			free(row);
		}
	}
}
