#include <stdlib.h>
#include <string.h>

#include "iiq.h"

#define ROLE "6d5fee76-e05e-43c0-b8e9-b8447746e5"

/* The roles that every site has (documentation of POST /users/local/new; 00 stands in the vendor's own filters). */
static const struct {
	const char *id, *name;
	bool agent;
} roles[] = {
	{ROLE "00", "No Access", false}, {ROLE "01", "Student", false},
	{ROLE "02", "Faculty", false},	 {ROLE "03", "Staff", false},
	{ROLE "04", "Agent", true},	 {ROLE "07", "Parent / Guardian", false},
};

static int find_role(const uint8_t id[16])
{
	uint8_t known[16];

	for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
		if (uuid_read(slice_of(roles[i].id), known) && !memcmp(known, id, 16))
			return (int)i;
	}
	return -1;
}

const char *role_name(const uint8_t id[16])
{
	int i = find_role(id);

	return i < 0 ? NULL : roles[i].name;
}

bool role_portal(const uint8_t id[16])
{
	int i = find_role(id);

	return i >= 0 && roles[i].agent;
}

const struct location *location_find(const struct iiq *s, const uint8_t id[16])
{
	for (uint32_t i = 0; i < s->n_locations; i++) {
		if (!memcmp(s->locations[i].id, id, 16))
			return &s->locations[i];
	}
	return NULL;
}

/* ---- found by id, by any part of their texts, by a value ---- */

uint32_t users_find(const struct iiq *s, struct slice id)
{
	struct index_walk walk;
	uint8_t bytes[16];

	if (!uuid_read(id, bytes))
		return NONE;
	for (uint32_t i = index_first(&s->by_id, hash_bytes(bytes, 16), &walk); i != INDEX_END;
	     i = index_next(&s->by_id, &walk)) {
		if (!memcmp(s->users[i].id, bytes, 16))
			return i;
	}
	return NONE;
}

uint32_t *users_search(const struct iiq *s, struct slice text, size_t *ret_n)
{
	uint32_t *list = xalloc((s->n + 1) * sizeof *list);
	size_t n = 0;

	for (uint32_t i = 0; i < s->n; i++) {
		const struct user *user = &s->users[i];

		if (!text.n || memmem(user->text, user->text_n, text.p, text.n))
			list[n++] = i;
	}
	*ret_n = n;
	return list;
}

/* ---- unique fields ---- */

static struct json *tree_of(const struct iiq *s, const struct user *user)
{
	const char *error;

	return json_parse(&s->sim->arena, (struct slice){user->doc, user->doc_n}, &error);
}

static bool same_field(const struct iiq *s, uint32_t number, const char *field, struct slice value)
{
	return slice_equal_nocase(json_get_string(tree_of(s, &s->users[number]), field), value);
}

static uint64_t value_hash(const char *field, struct slice value)
{
	return hash_bytes(field, strlen(field)) ^ hash_nocase(value);
}

static const char *const indexed[] = {"Email", "Username", "SchoolIdNumber", "ExternalId"};

static void index_values(struct iiq *s, uint32_t number, const struct json *doc, bool in)
{
	for (size_t i = 0; i < sizeof indexed / sizeof *indexed; i++) {
		struct slice value = json_get_string(doc, indexed[i]);

		if (value.n && in)
			index_add(&s->by_value, value_hash(indexed[i], value), number);
		else if (value.n)
			index_remove(&s->by_value, value_hash(indexed[i], value), number);
	}
}

uint32_t users_with(const struct iiq *s, const char *field, struct slice value, uint32_t but)
{
	struct index_walk walk;

	for (uint32_t i = index_first(&s->by_value, value_hash(field, value), &walk);
	     i != INDEX_END; i = index_next(&s->by_value, &walk)) {
		if (i != but && s->users[i].live && same_field(s, i, field, value))
			return i;
	}
	return NONE;
}

uint32_t users_rival(const struct iiq *s, const struct json *doc, uint32_t but,
		     const char **ret_field)
{
	struct slice rest = slice_of(s->knobs.unique);

	while (rest.n) {
		const struct field *f = field_find(slice_trim(slice_cut(&rest, ',')));
		struct slice value = f ? json_get_string(doc, f->name) : (struct slice){0};
		uint32_t rival = value.n ? users_with(s, f->name, value, but) : NONE;

		if (rival != NONE) {
			*ret_field = f->name;
			return rival;
		}
	}
	return NONE;
}

/* ---- writing ---- */

bool users_put(struct iiq *s, uint32_t number, const struct draft *d)
{
	struct user *user = &s->users[number];
	/* a draft of an update borrows from what it replaces */
	char *old[] = {user->doc, user->text, user->key};
	struct text doc = {0}, text = {0};
	bool changed;

	json_write(&doc, d->doc);
	changed = !user->doc ||
		  !slice_equal(slice_from(&doc), (struct slice){user->doc, user->doc_n}) ||
		  (d->has_password && d->password != user->password);
	fields_text(d->doc, s->knobs.search, &text);
	if (user->doc)
		index_values(s, number, tree_of(s, user), false);
	user->doc = doc.p;
	user->doc_n = (uint32_t)doc.n;
	user->text = text.p ? text.p : xdup("", 0);
	user->key = xdup(d->key.p ? d->key.p : "", d->key.n);
	user->text_n = (uint32_t)text.n;
	index_values(s, number, d->doc, true);
	memcpy(user->location, d->location, 16);
	memcpy(user->role, d->role, 16);
	user->active = d->active;
	if (d->has_password)
		user->password = d->password;
	if (changed)
		user->modified_ms = sim_now_ms(s->sim);
	for (size_t i = 0; i < 3; i++)
		free(old[i]);
	return changed;
}

uint32_t users_add(struct iiq *s, const struct draft *d)
{
	struct user *user;

	if (s->n == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 1024;
		s->users = xgrow(s->users, s->cap * sizeof *s->users);
	}
	user = &s->users[s->n];
	*user = (struct user){.created_ms = sim_now_ms(s->sim), .live = true};
	uuid_make(user->id, &s->sim->random);
	index_add(&s->by_id, hash_bytes(user->id, 16), s->n);
	s->live++;
	users_put(s, s->n, d);
	return s->n++;
}

void users_delete(struct iiq *s, uint32_t number)
{
	s->users[number].live = false;
	s->users[number].modified_ms = sim_now_ms(s->sim);
	s->live--;
}

void users_clear(struct iiq *s)
{
	for (uint32_t i = 0; i < s->n; i++) {
		free(s->users[i].doc);
		free(s->users[i].text);
		free(s->users[i].key);
	}
	free(s->users);
	s->users = NULL;
	s->n = s->cap = s->live = 0;
	index_free(&s->by_id);
	index_free(&s->by_value);
	s->by_id = s->by_value = (struct index){0};
}

/* ---- reading ---- */

void users_print(const struct iiq *s, uint32_t number, struct text *out)
{
	const struct user *user = &s->users[number];
	const struct location *location = location_find(s, user->location);
	char id[UUID_TEXT + 1];

	uuid_print(user->id, id);
	text_fmt(out, "{\"UserId\":\"%s\",\"IsDeleted\":%s,\"SiteId\":\"%s\",\"CreatedDate\":\"",
		 id, user->live ? "false" : "true", s->knobs.site);
	text_time(out, user->created_ms, true);
	text_str(out, "\",\"ModifiedDate\":\"");
	text_time(out, user->modified_ms, true);
	text_str(out, "\",\"LocationName\":");
	text_json(out, slice_of(location ? location->name : ""));
	text_str(out, ",\"RoleName\":");
	text_json(out, slice_of(role_name(user->role) ? role_name(user->role) : ""));
	text_fmt(out, ",\"Portal\":%d", role_portal(user->role) ? 2 : 1);
	if (!slice_find((struct slice){user->doc, user->doc_n}, SLICE("\"IsActive\":")))
		text_str(out, ",\"IsActive\":true");
	if (user->doc_n > 2) {
		text_char(out, ',');
		text_add(out, user->doc + 1, user->doc_n - 2);
	}
	text_char(out, '}');
}
