#include "id.h"

#include <errno.h>
#include <sodium.h>
#include <string.h>
#include <xxhash.h>

_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "id_hash gives one 64-bit word");

static unsigned char hash_key[crypto_shorthash_KEYBYTES];

/* Before main, so that no look-up on any thread has to ask whether there is a key. */
__attribute__((constructor)) static void make_hash_key(void)
{
	randombytes_buf(hash_key, sizeof(hash_key));
}

void id_format(const struct id *id, char text[static ID_TEXT])
{
	static const char digits[] = "0123456789abcdef";
	char *to = text;

	for (size_t i = 0; i < sizeof(id->b); i++) {
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*to++ = '-';
		*to++ = digits[id->b[i] >> 4];
		*to++ = digits[id->b[i] & 15];
	}
	*to = '\0';
}

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

int id_parse(struct slice text, struct id *ret_id)
{
	struct id id = {0};
	size_t digits = 0;

	for (size_t i = 0; i < text.n; i++) {
		int digit = hex_digit(text.p[i]);

		if (text.p[i] == '-')
			continue;
		if (digit < 0 || digits == 2 * sizeof(id.b))
			return -EINVAL;
		id.b[digits / 2] = (uint8_t)(id.b[digits / 2] << 4 | digit);
		digits++;
	}
	if (digits != 2 * sizeof(id.b))
		return -EINVAL;
	*ret_id = id;
	return 0;
}

bool id_equal(const struct id *a, const struct id *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool id_is_zero(const struct id *id)
{
	static const struct id zero;

	return id_equal(id, &zero);
}

uint64_t id_hash(const struct id *id)
{
	unsigned char raw[crypto_shorthash_BYTES];
	uint64_t hash;

	crypto_shorthash(raw, id->b, sizeof(id->b), hash_key);
	memcpy(&hash, raw, sizeof(hash));
	return hash;
}

struct fp fp_of(struct slice data)
{
	XXH128_canonical_t canonical;
	struct fp fp;

	XXH128_canonicalFromHash(&canonical, XXH3_128bits(data.n > 0 ? data.p : "", data.n));
	memcpy(fp.b, canonical.digest, sizeof(fp.b));
	if (fp_is_none(&fp))
		fp.b[0] = 1;
	return fp;
}

bool fp_equal(const struct fp *a, const struct fp *b)
{
	return memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

bool fp_is_none(const struct fp *f)
{
	static const struct fp none;

	return fp_equal(f, &none);
}
