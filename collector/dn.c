#include "entry.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>
#include <wchar.h>
#include <wctype.h>
#include <xxhash.h>

/* Normal form: types in lower case, values folded (case, runs of spaces), the parts of a multi-valued RDN sorted,
 * ',' '+' and '\' in values escaped with a backslash, RDNs joined by ','. Made for comparing, not for sending. */

static locale_t folding(void)
{
	static locale_t locale;

	if (locale == NULL)
		locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);
	return locale;
}

static void add_wide(struct buf *out, wchar_t w)
{
	char bytes[4];
	uint32_t u = (uint32_t)w;
	size_t n;

	if (u < 0x800) {
		bytes[0] = (char)(0xc0 | (u >> 6));
		bytes[1] = (char)(0x80 | (u & 0x3f));
		n = 2;
	} else if (u < 0x10000) {
		bytes[0] = (char)(0xe0 | (u >> 12));
		bytes[1] = (char)(0x80 | ((u >> 6) & 0x3f));
		bytes[2] = (char)(0x80 | (u & 0x3f));
		n = 3;
	} else {
		bytes[0] = (char)(0xf0 | (u >> 18));
		bytes[1] = (char)(0x80 | ((u >> 12) & 0x3f));
		bytes[2] = (char)(0x80 | ((u >> 6) & 0x3f));
		bytes[3] = (char)(0x80 | (u & 0x3f));
		n = 4;
	}
	buf_add(out, bytes, n);
}

/* One character of several bytes, folded; returns its length. Callers have checked that the text is UTF-8. */
static size_t add_folded(struct buf *out, const unsigned char *p, size_t n)
{
	size_t length = *p >= 0xf0 ? 4 : *p >= 0xe0 ? 3 : 2;
	uint32_t u = *p & (0xffu >> (length + 1));
	wint_t w;

	if (length > n) {
		buf_add(out, p, n);
		return n;
	}
	for (size_t i = 1; i < length; i++)
		u = u << 6 | (p[i] & 0x3fu);
	w = folding() != NULL ? towlower_l((wint_t)u, folding()) : (wint_t)u;
	if (w < 0x80)
		buf_addc(out, (char)w);
	else
		add_wide(out, (wchar_t)w);
	return length;
}

static void fold(struct slice value, bool escape, struct buf *out)
{
	const unsigned char *p = (const unsigned char *)(value.n > 0 ? value.p : "");
	const unsigned char *end = p + value.n;
	bool utf8 = utf8_valid(value);

	while (p < end && *p == ' ')
		p++;
	while (end > p && end[-1] == ' ')
		end--;
	while (p < end) {
		if (*p == ' ' && p[-1] == ' ') {
			p++;
			continue;
		}
		if (*p >= 0x80 && utf8) {
			p += add_folded(out, p, (size_t)(end - p));
			continue;
		}
		if (escape && (*p == ',' || *p == '+' || *p == '\\'))
			buf_addc(out, '\\');
		if (escape && *p == '\0') /* the parts of a name are put together as C strings */
			buf_adds(out, "\\00");
		else
			buf_addc(out, (char)tolower(*p));
		p++;
	}
}

static void add_value(struct buf *out, struct slice value)
{
	fold(value, true, out);
}

void text_fold(struct slice text, struct buf *out)
{
	fold(text, false, out);
}

static void add_type(struct buf *out, struct slice type)
{
	for (size_t i = 0; i < type.n; i++)
		buf_addc(out, (char)tolower((unsigned char)type.p[i]));
}

/* ---- the common case: nothing quoted, escaped or multi-valued ---- */

static bool is_plain(const char *dn)
{
	return strpbrk(dn, "\\\"+;<>#") == NULL;
}

static bool is_type(struct slice type)
{
	for (size_t i = 0; i < type.n; i++)
		if (!isalnum((unsigned char)type.p[i]) && type.p[i] != '-' && type.p[i] != '.')
			return false;
	return type.n > 0;
}

static struct slice trim(const char *p, const char *end)
{
	while (p < end && *p == ' ')
		p++;
	while (end > p && end[-1] == ' ')
		end--;
	return (struct slice){p, (size_t)(end - p)};
}

static int normal_plain(const char *dn, struct buf *out)
{
	for (const char *p = dn;;) {
		const char *end = strchrnul(p, ',');
		const char *equals = memchr(p, '=', (size_t)(end - p));
		struct slice type;

		if (equals == NULL)
			return -EINVAL;
		type = trim(p, equals);
		if (!is_type(type))
			return -EINVAL;
		add_type(out, type);
		buf_addc(out, '=');
		add_value(out, trim(equals + 1, end));
		if (*end == '\0')
			return 0;
		buf_addc(out, ',');
		p = end + 1;
	}
}

/* ---- the rest, through the library ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static char *part_text(const LDAPAVA *ava)
{
	struct buf b = {0};

	add_type(&b, (struct slice){ava->la_attr.bv_val, ava->la_attr.bv_len});
	buf_addc(&b, '=');
	if (ava->la_flags & LDAP_AVA_BINARY) {
		buf_addc(&b, '#');
		for (size_t i = 0; i < ava->la_value.bv_len; i++)
			buf_addf(&b, "%02x", (unsigned)(unsigned char)ava->la_value.bv_val[i]);
	} else {
		if (ava->la_value.bv_len > 0 && ava->la_value.bv_val[0] == '#')
			buf_addc(&b, '\\'); /* not the hexadecimal form above */
		add_value(&b, (struct slice){ava->la_value.bv_val, ava->la_value.bv_len});
	}
	return buf_steal(&b);
}

static void add_rdn(struct buf *out, LDAPRDN rdn)
{
	size_t n = 0;
	char **parts;

	while (rdn[n] != NULL)
		n++;
	parts = mem_array(n + 1, sizeof(*parts));
	for (size_t i = 0; i < n; i++)
		parts[i] = part_text(rdn[i]);
	qsort(parts, n, sizeof(*parts), by_text);
	for (size_t i = 0; i < n; i++) {
		if (i > 0)
			buf_addc(out, '+');
		buf_adds(out, parts[i]);
		free(parts[i]);
	}
	free(parts);
}

static int normal_library(const char *dn, struct buf *out)
{
	LDAPDN parsed = NULL;

	if (ldap_str2dn(dn, &parsed, LDAP_DN_FORMAT_LDAPV3) != LDAP_SUCCESS || parsed == NULL)
		return -EINVAL;
	for (size_t i = 0; parsed[i] != NULL; i++) {
		if (i > 0)
			buf_addc(out, ',');
		add_rdn(out, parsed[i]);
	}
	ldap_dnfree(parsed);
	return 0;
}

int dn_normal(const char *dn, struct buf *out)
{
	size_t before = out->n;
	int rc;

	if (dn == NULL || dn[0] == '\0')
		return -EINVAL;
	rc = is_plain(dn) ? normal_plain(dn, out) : normal_library(dn, out);
	if (rc != 0 && out->p != NULL) {
		out->n = before;
		out->p[before] = '\0';
	}
	return rc;
}

static uint64_t seed(void)
{
	static uint64_t s;

	while (s == 0)
		if (getrandom(&s, sizeof(s), 0) != sizeof(s))
			s = 0;
	return s;
}

static uint64_t hash_normal(const char *p, size_t n)
{
	uint64_t h = XXH3_64bits_withSeed(p, n, seed());

	return h != 0 ? h : 1;
}

uint64_t dn_hash(const char *dn)
{
	uint64_t own, parent;

	dn_hashes(dn, &own, &parent);
	return own;
}

void dn_hashes(const char *dn, uint64_t *ret_own, uint64_t *ret_parent)
{
	static struct buf normal; /* one thread: the loop's */
	size_t i = 0;

	*ret_own = *ret_parent = 0;
	buf_clear(&normal);
	if (dn_normal(dn, &normal) != 0)
		return;
	*ret_own = hash_normal(normal.p, normal.n);
	while (i < normal.n && normal.p[i] != ',')
		i += normal.p[i] == '\\' ? 2 : 1;
	if (i < normal.n)
		*ret_parent = hash_normal(normal.p + i + 1, normal.n - i - 1);
}

bool dn_normal_within(struct slice normal, struct slice base)
{
	size_t at;
	size_t backslashes = 0;

	if (normal.n < base.n || memcmp(normal.p + normal.n - base.n, base.p, base.n) != 0)
		return false;
	if (normal.n == base.n)
		return true;
	at = normal.n - base.n;
	if (base.n == 0 || normal.p[at - 1] != ',')
		return base.n == 0;
	while (at - 1 > backslashes && normal.p[at - 2 - backslashes] == '\\')
		backslashes++;
	return backslashes % 2 == 0;
}

bool dn_within(const char *dn, const char *base)
{
	CLEANUP(buf_cleanup) struct buf a = {0};
	CLEANUP(buf_cleanup) struct buf b = {0};

	return dn_normal(dn, &a) == 0 && dn_normal(base, &b) == 0 &&
	       dn_normal_within(buf_slice(&a), buf_slice(&b));
}

/* 32 hex digits are the raw bytes (Microsoft's mixed order), the hyphened form is text. */
static bool extended_id(struct slice text, struct id *ret_id)
{
	struct id raw;

	if (id_parse(text, &raw) != 0)
		return false;
	*ret_id = raw;
	if (memchr(text.p, '-', text.n) == NULL)
		entry_guid_swap(raw.b, ret_id->b);
	return true;
}

bool dn_extended(struct slice value, struct id *ret_id, struct slice *ret_dn)
{
	bool found = false;

	while (value.n > 0 && value.p[0] == '<') {
		const char *end = memchr(value.p, '>', value.n);
		size_t n;

		if (end == NULL)
			break;
		n = (size_t)(end - value.p);
		if (n > 6 && strncasecmp(value.p, "<GUID=", 6) == 0)
			found = extended_id((struct slice){value.p + 6, n - 6}, ret_id) || found;
		n++;
		if (n < value.n && value.p[n] == ';')
			n++;
		value = (struct slice){value.p + n, value.n - n};
	}
	*ret_dn = value;
	return found;
}
