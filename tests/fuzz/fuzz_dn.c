/* Names: a DN has a normal form or no hash, is within itself, and what is taken off in front is never part of it. */
#include "fuzz.h"

#include "entry.h"

static void normal(const char *dn)
{
	CLEANUP(buf_cleanup) struct buf first = {0};
	uint64_t own = 0, parent = 0;
	bool good = dn_normal(dn, &first) == 0;

	dn_hashes(dn, &own, &parent);
	must(own == dn_hash(dn) && (own != 0) == good);
	if (!good)
		return;
	must(dn_within(dn, dn));
	must(parent == 0 || parent != own);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_cleanup) struct buf folded = {0};
	CLEANUP(buf_cleanup) struct buf again = {0};
	struct slice all = {(const char *)data, size}, rest = all, dn = {0};
	struct slice first = fuzz_take(&rest, '\n');
	char *one = fuzz_text(first), *other = fuzz_text(rest);
	struct id id;

	(void)dn_extended(all, &id, &dn);
	must(dn.n <= all.n && (dn.n == 0 || dn.p + dn.n == all.p + all.n));
	normal(one);
	normal(other);
	(void)dn_within(one, other);
	text_fold(first, &folded);
	text_fold(buf_slice(&folded), &again);
	must(slice_equal(buf_slice(&folded), buf_slice(&again)));
	must(id_parse(first, &id) < 0 || first.n >= 32);
	(void)entry_attr_is_secret(one);
	free(one);
	free(other);
	return 0;
}
