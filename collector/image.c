#include "image.h"

#include "json.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { SNAPSHOT_MAX = 16 << 20 }; /* wire.h: bytes */

struct wanted {
	char *name;
	bool binary;
};

struct image_maker {
	struct image_settings s;
	struct wanted *attrs; /* sorted by name, as canonical JSON wants them */
	size_t attrs_n;
	char **references;
	size_t references_n;
	struct buf snapshot, in, refs, groups, whole; /* kept for their memory */
};

/* Octet-string and certificate syntaxes that directories define themselves. */
static bool is_binary(const char *name)
{
	static const char *const names[] = {
		"objectGUID",
		"objectSid",
		"jpegPhoto",
		"thumbnailPhoto",
		"photo",
		"userCertificate",
		"userSMIMECertificate",
		"userPKCS12",
		"sIDHistory",
		"mS-DS-ConsistencyGuid",
		"cACertificate",
		"audio",
		"thumbnailLogo",
		"msExchMailboxGuid",
		"msExchArchiveGUID",
		"logonHours",
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcasecmp(names[i], name) == 0)
			return true;
	return false;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct wanted *)a)->name, ((const struct wanted *)b)->name);
}

static void want(struct image_maker *m, const char *name)
{
	size_t n = strlen(name);
	bool binary = n > 7 && strcasecmp(name + n - 7, ";binary") == 0;
	char *plain;

	if (entry_attr_is_secret(name))
		return;
	plain = slice_dup((struct slice){name, binary ? n - 7 : n});
	for (size_t i = 0; i < m->attrs_n; i++) {
		if (strcasecmp(m->attrs[i].name, plain) == 0) {
			free(plain);
			return;
		}
	}
	m->attrs = mem_resize(m->attrs, (m->attrs_n + 1) * sizeof(*m->attrs));
	m->attrs[m->attrs_n++] =
		(struct wanted){.name = plain, .binary = binary || is_binary(plain)};
}

struct image_maker *image_new(const struct image_settings *settings)
{
	const struct conf_node *users = conf_section(settings->source, "users");
	struct image_maker *m = mem_alloc(sizeof(*m));
	const char *name;

	m->s = *settings;
	for (size_t i = 0; (name = conf_item(users, "attributes", i)) != NULL; i++)
		want(m, name);
	if (m->attrs_n > 1)
		qsort(m->attrs, m->attrs_n, sizeof(*m->attrs), by_name);
	for (size_t i = 0; (name = conf_item(users, "references", i)) != NULL; i++) {
		m->references = mem_resize(m->references, (i + 1) * sizeof(char *));
		m->references[m->references_n++] = mem_dup(name);
	}
	return m;
}

size_t image_references(const struct image_maker *m)
{
	return m->references_n;
}

void image_free(struct image_maker *m)
{
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->attrs_n; i++)
		free(m->attrs[i].name);
	for (size_t i = 0; i < m->references_n; i++)
		free(m->references[i]);
	free(m->attrs);
	free(m->references);
	buf_done(&m->snapshot);
	buf_done(&m->in);
	buf_done(&m->refs);
	buf_done(&m->groups);
	buf_done(&m->whole);
	free(m);
}

/* ---- the snapshot ---- */

static void add_time(struct buf *b, const char *key, int64_t ms)
{
	if (ms == 0)
		buf_addf(b, ",\"%s\":null", key);
	else
		buf_addf(b, ",\"%s\":%lld", key, (long long)ms);
}

static void add_account(struct buf *b, const struct account *a)
{
	buf_addf(b, "{\"account\":{\"enabled\":%s", a->enabled ? "true" : "false");
	add_time(b, "expires_at", a->expires_at);
	add_time(b, "last_logon_at", a->last_logon_at);
	add_time(b, "locked_until", a->locked_until);
	buf_addf(b, ",\"must_change_password\":%s", a->must_change_password ? "true" : "false");
	add_time(b, "password_changed_at", a->password_changed_at);
	add_time(b, "password_expires_at", a->password_expires_at);
	buf_addc(b, '}');
}

static int add_value(struct buf *b, struct slice value, bool binary)
{
	struct id id;

	if (binary) {
		buf_addc(b, '"');
		buf_add_base64(b, value.p, value.n);
		buf_addc(b, '"');
		return 0;
	}
	if (value.n > 0 && value.p[0] == '<')
		(void)dn_extended(value, &id, &value);
	if (!utf8_valid(value))
		return -EILSEQ;
	json_quote(value, b);
	return 0;
}

static int add_attrs(struct image_maker *m, const struct entry *e, const char **ret_attr)
{
	struct buf *b = &m->snapshot;

	buf_adds(b, ",\"attrs\":{");
	for (size_t i = 0; i < m->attrs_n; i++) {
		const struct wanted *w = &m->attrs[i];
		const struct entry_attr *a = e != NULL ? entry_attr(e, w->name) : NULL;

		const cJSON *instead =
			e != NULL ? override_values(m->s.overrides, e, w->name) : NULL;

		if (i > 0)
			buf_addc(b, ',');
		json_quote(slice_of(w->name), b);
		if (instead != NULL) {
			buf_addc(b, ':');
			json_print(instead, b);
			continue;
		}
		buf_adds(b, ":[");
		for (size_t k = 0; a != NULL && k < a->n; k++) {
			if (k > 0)
				buf_addc(b, ',');
			if (add_value(b, a->values[k], w->binary) != 0) {
				*ret_attr = w->name;
				return -EILSEQ;
			}
		}
		buf_addc(b, ']');
	}
	buf_addc(b, '}');
	return 0;
}

static void add_groups(struct image_maker *m, const struct image_scope *scope)
{
	buf_adds(&m->snapshot, ",\"groups\":[");
	buf_clear(&m->groups);
	for (size_t i = 0; scope != NULL && i < scope->groups_n; i++) {
		if (i > 0) {
			buf_addc(&m->snapshot, ',');
			buf_addc(&m->groups, '\n');
		}
		json_quote(slice_of(scope->groups[i]), &m->snapshot);
		buf_adds(&m->groups, scope->groups[i]);
	}
	buf_addc(&m->snapshot, ']');
}

static void add_identity(struct image_maker *m, const struct id *id, const uint8_t raw[static 16])
{
	char text[ID_TEXT];

	id_format(id, text);
	buf_addf(&m->snapshot, ",\"id\":\"%s\",\"immutable_id\":\"", text);
	buf_add_base64(&m->snapshot, raw, 16);
	buf_adds(&m->snapshot, "\",\"source\":");
	json_quote(slice_of(m->s.source_name), &m->snapshot);
	buf_addc(&m->snapshot, '}');
}

/* ---- the record ---- */

static uint32_t add_references(struct image_maker *m, const struct entry *e)
{
	uint32_t n = 0;

	buf_clear(&m->refs);
	for (size_t i = 0; i < m->references_n; i++) {
		const struct entry_attr *a = entry_attr(e, m->references[i]);
		struct wire_ref ref = {.name = slice_of(m->references[i])};
		struct slice value = a != NULL && a->n > 0 ? a->values[0] : (struct slice){0};

		if (!m->s.resolve(m->s.arg, i, value, &ref.id))
			continue;
		wire_add_ref(&m->refs, &ref);
		n++;
	}
	return n;
}

static void add_record(struct image_maker *m, struct wire_user *user, struct buf *out,
		       struct fp *ret_fp)
{
	buf_clear(&m->whole);
	buf_add(&m->whole, user->id.b, sizeof(user->id.b));
	buf_addf(&m->whole, "%u %u %u %zu ", user->gone, user->in.count, user->refs.count,
		 m->groups.n);
	buf_add(&m->whole, m->in.p, m->in.n);
	buf_add(&m->whole, m->refs.p, m->refs.n);
	buf_add(&m->whole, m->groups.p, m->groups.n);
	buf_add(&m->whole, m->snapshot.p, m->snapshot.n);
	*ret_fp = fp_of(buf_slice(&m->whole));
	user->fingerprint = *ret_fp;
	user->groups = buf_slice(&m->groups);
	user->snapshot = buf_slice(&m->snapshot);
	wire_add_user(out, user);
}

int image_build(struct image_maker *m, const struct entry *e, const struct image_scope *scope,
		struct buf *out, struct fp *ret_fp, const char **ret_attr)
{
	struct wire_user user = {.id = e->id};
	struct account account;
	int rc;

	account_read(e, e->schema, scope->policy, &account);
	buf_clear(&m->snapshot);
	add_account(&m->snapshot, &account);
	rc = add_attrs(m, e, ret_attr);
	if (rc != 0)
		return rc;
	buf_adds(&m->snapshot, ",\"dn\":");
	json_quote(slice_of(e->dn), &m->snapshot);
	add_groups(m, scope);
	add_identity(m, &e->id, e->raw_id);
	if (m->snapshot.n > SNAPSHOT_MAX)
		return -E2BIG;
	buf_clear(&m->in);
	for (size_t i = 0; i < scope->targets_n; i++)
		wire_add_name(&m->in, &(struct wire_name){slice_of(scope->targets[i])});
	user.refs.count = add_references(m, e);
	user.in = wire_list_of(&m->in, (uint32_t)scope->targets_n);
	user.refs = wire_list_of(&m->refs, user.refs.count);
	user.out = scope->out;
	add_record(m, &user, out, ret_fp);
	return 0;
}

void image_gone(struct image_maker *m, const struct id *id, bool guid, struct buf *out,
		struct fp *ret_fp)
{
	struct wire_user user = {.id = *id, .gone = 1};
	struct account account = {.enabled = false};
	const char *attr;
	uint8_t raw[16];

	memcpy(raw, id->b, sizeof(raw));
	if (guid)
		entry_guid_swap(id->b, raw);
	buf_clear(&m->snapshot);
	buf_clear(&m->in);
	buf_clear(&m->refs);
	add_account(&m->snapshot, &account);
	(void)!add_attrs(m, NULL, &attr); /* nothing to be refused */
	buf_adds(&m->snapshot, ",\"dn\":\"\"");
	add_groups(m, NULL);
	add_identity(m, id, raw);
	add_record(m, &user, out, ret_fp);
}
