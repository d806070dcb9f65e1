#include <stdlib.h>
#include <string.h>

#include "members.h"
#include "patch.h"

/* A resource on its way into the store. */
struct draft {
	const struct kind *kind;
	uint32_t number; /* NONE: new */
	struct json *doc;
	uint64_t password; /* hash */
	bool has_password;
	struct member_changes changes;
	struct scim_error error;
};

static struct schema_leniency leniency(const struct scim *s)
{
	return (struct schema_leniency){s->knobs.ignore_unknown, s->knobs.ignore_read_only,
					s->knobs.string_booleans};
}

/* The password is kept as a hash, members as links: both leave the document. */
static bool take_apart(struct scim *s, struct draft *d, bool replace)
{
	struct json *password = json_get(d->doc, "password");
	struct json *members = d->kind->group ? json_get(d->doc, "members") : NULL;

	if (password) {
		d->has_password = true;
		d->password = hash_bytes(password->string.p, password->string.n);
		json_remove(d->doc, password);
	}
	if (d->kind->group && replace)
		members_note(&d->changes, MEMBER_CLEAR, 0);
	if (!members)
		return true;
	json_remove(d->doc, members);
	return members_read(s, &d->changes, MEMBER_ADD, members, &d->error);
}

static bool check_unique(struct scim *s, struct draft *d)
{
	struct slice name = json_get_string(d->doc, "userName");
	struct slice external = json_get_string(d->doc, "externalId");
	uint32_t other = table_find_name(&s->store.users, name, d->number, s->knobs.tombstones);

	if (d->kind->group)
		return true;
	if (other != NONE && s->knobs.case_sensitive_user_name &&
	    !slice_is(name, s->store.users.entries[other].name))
		other = NONE;
	if (other != NONE)
		return scim_fail(&d->error, 409, "uniqueness",
				 "A user with the userName '%.*s' exists already.", (int)name.n,
				 name.p);
	if (!s->knobs.unique_external_id || !external.n)
		return true;
	other = table_find_external(&s->store.users, external, NONE);
	if (other == d->number && other != NONE)
		other = table_find_external(&s->store.users, external, other);
	if (other == NONE)
		return true;
	return scim_fail(&d->error, 409, "uniqueness",
			 "A user with the externalId '%.*s' exists already.", (int)external.n,
			 external.p);
}

/* What only one dialect asks for. */
static bool check_dialect(struct scim *s, struct draft *d)
{
	static const char *const entra[] = {"userName", "name", "active", "displayName", NULL};
	struct json *rights = json_get(d->doc, "entitlements");

	if (d->kind->group)
		return true;
	if (s->salesforce && (!rights || rights->count != 1))
		return scim_fail(&d->error, 409, NULL,
				 "REQUIRED_FIELD_MISSING:user_must_have_one_entitlement_which_must_"
				 "be_a_profileid;");
	if (!s->entra || d->number != NONE)
		return true;
	for (int i = 0; entra[i]; i++) {
		if (!json_get(d->doc, entra[i]))
			return scim_fail(&d->error, 400, "invalidValue",
					 "Required attribute '%s' is missing.", entra[i]);
	}
	struct json *name = json_get(d->doc, "name");
	if (!json_get(name, "familyName") || !json_get(name, "givenName") || !d->has_password)
		return scim_fail(&d->error, 400, "invalidValue",
				 "name.familyName, name.givenName and password are required.");
	return true;
}

/* Whether it differs from what is stored. */
static bool store_draft(struct scim *s, struct draft *d)
{
	struct table *table = scim_table(s, d->kind);
	struct entry *entry = &table->entries[d->number];
	struct text doc = {0};
	bool changed;

	json_write(&doc, d->doc);
	changed = !entry->doc ||
		  !slice_equal(slice_from(&doc), (struct slice){entry->doc, entry->doc_n}) ||
		  (d->has_password && d->password != entry->password);
	if (changed)
		table_put(table, d->number, slice_from(&doc), json_get_string(d->doc, "userName"),
			  json_get_string(d->doc, "externalId"));
	text_free(&doc);
	if (d->has_password)
		entry->password = d->password;
	entry->enterprise = json_get(d->doc, schema_enterprise.urn) != NULL;
	if (d->kind->group && members_apply(s, d->number, &d->changes)) {
		entry->version += !changed;
		changed = true;
	}
	if (changed)
		entry->modified_ms = sim_now_ms(s->sim);
	return changed;
}

static void add_draft(struct scim *s, struct draft *d, const uint8_t id[16])
{
	struct table *table = scim_table(s, d->kind);
	struct entry *entry = table_add(table, id);

	d->number = table->n - 1;
	entry->created_ms = sim_now_ms(s->sim);
	store_draft(s, d);
}

static void commit(struct scim *s, struct sim_call *call, const struct draft *d, const char *kind)
{
	const struct entry *entry = &scim_table(s, d->kind)->entries[d->number];

	sim_commit(s->sim, call, kind, entry->id, slice_of(entry->external));
}

/* RFC 7644 section 3.9: what is shown of it can be chosen here, too. */
static void print_changed(struct scim *s, struct sim_call *call, const struct draft *d)
{
	struct text only = {0}, without = {0};

	http_param(call->query, "attributes", &only);
	http_param(call->query, "excludedAttributes", &without);
	struct projection projection = {slice_from(&only), slice_from(&without)};

	scim_print(s, d->kind, d->number, call->http, &projection, &call->answer->body);
	text_free(&only);
	text_free(&without);
}

static void answer_resource(struct scim *s, struct sim_call *call, const struct draft *d,
			    int status)
{
	const struct entry *entry = &scim_table(s, d->kind)->entries[d->number];

	scim_answer_json(call, status);
	if (s->knobs.etag)
		text_fmt(&call->answer->headers, "ETag: W/\"%u\"\r\n", entry->version);
	if (status == 201 && s->knobs.location_header) {
		text_str(&call->answer->headers, "Location: ");
		scim_print_location(s, d->kind, d->number, call->http, &call->answer->headers);
		text_str(&call->answer->headers, "\r\n");
	}
	if (status != 204)
		print_changed(s, call, d);
	else
		call->answer->content_type = NULL;
}

static void draft_done(struct draft *d)
{
	free(d->changes.list);
}

static bool read_body(struct scim *s, struct sim_call *call, struct draft *d,
		      struct json **ret_body)
{
	const char *error = NULL;

	*ret_body = json_parse(&s->sim->arena, call->body, &error);
	if (!*ret_body)
		return scim_fail(&d->error, 400, "invalidSyntax", "The body is not JSON: %s.",
				 error);
	return true;
}

static bool read_resource(struct scim *s, struct sim_call *call, struct draft *d)
{
	struct schema_leniency lenient = leniency(s);
	struct json *body;

	if (!read_body(s, call, d, &body))
		return false;
	d->doc = schema_check(&s->sim->arena, d->kind->schema, body, &lenient, true, &d->error);
	return d->doc && take_apart(s, d, d->number != NONE) && check_dialect(s, d) &&
	       check_unique(s, d);
}

static void count_create(struct scim *s, const struct draft *d)
{
	struct slice external = json_get_string(d->doc, "externalId");

	if (d->kind->group)
		return;
	s->sim->stats.creates++;
	if (external.n && table_find_external(&s->store.users, external, NONE) != NONE)
		s->sim->stats.duplicates++;
}

void scim_create(struct scim *s, struct sim_call *call, const struct kind *kind)
{
	struct draft d = {.kind = kind, .number = NONE};
	uint8_t id[16];

	if (!read_resource(s, call, &d)) {
		scim_answer_error(s, call, &d.error);
	} else {
		count_create(s, &d);
		uuid_make(id, &s->sim->random);
		add_draft(s, &d, id);
		commit(s, call, &d, kind->group ? "group_create" : "create");
		answer_resource(s, call, &d, 201);
	}
	draft_done(&d);
}

const char *scim_seed(struct scim *s, const struct kind *kind, const struct json *resource)
{
	static char why[256];
	struct draft d = {.kind = kind, .number = NONE};
	struct schema_leniency lenient = {true, true, true};
	struct json *with = json_copy(&s->sim->arena, resource);
	struct json *schemas = json_make(&s->sim->arena, JSON_ARRAY);
	uint8_t id[16];

	json_append(schemas, (struct slice){0},
		    json_string(&s->sim->arena, slice_of(kind->schema->urn)));
	json_set(with, SLICE("schemas"), schemas);
	d.doc = schema_check(&s->sim->arena, kind->schema, with, &lenient, true, &d.error);
	bool good = d.doc && take_apart(s, &d, false) && check_unique(s, &d);
	if (good) {
		if (!uuid_read(json_get_string(resource, "id"), id))
			uuid_make(id, &s->sim->random);
		add_draft(s, &d, id);
	}
	draft_done(&d);
	memcpy(why, d.error.detail, sizeof why);
	return good ? NULL : why;
}

/* RFC 7644 section 3.14. */
static bool precondition_holds(struct scim *s, const struct sim_call *call, struct draft *d)
{
	struct slice wanted = http_header(call->http, "if-match");
	const struct entry *entry = &scim_table(s, d->kind)->entries[d->number];
	struct text have = {0};
	bool holds = !wanted.n && !s->knobs.if_match_required;

	if (!s->knobs.etag || call->inner)
		return true;
	text_fmt(&have, "W/\"%u\"", entry->version);
	if (wanted.n)
		holds = slice_is(wanted, "*") || slice_equal(wanted, slice_from(&have)) ||
			(slice_starts(slice_from(&have), "W/") && slice_is(wanted, have.p + 2));
	text_free(&have);
	return holds ||
	       scim_fail(&d->error, 412, NULL, "Failed to update. Resource changed on the server.");
}

static bool is_active(const struct json *doc)
{
	return json_get_bool(doc, "active", true);
}

static const char *word_for(const struct draft *d, bool was_active, bool changed)
{
	if (d->kind->group)
		return changed ? "group_update" : "group_noop";
	if (was_active != is_active(d->doc))
		return was_active ? "disable" : "enable";
	return changed ? "update" : "noop";
}

static void finish_change(struct scim *s, struct sim_call *call, struct draft *d, int status)
{
	struct json *before = scim_tree(s, &s->sim->arena, d->kind, d->number, false);
	bool was_active = before && is_active(before);
	const char *word = word_for(d, was_active, store_draft(s, d));

	if (!d->kind->group)
		s->sim->stats.updates++;
	commit(s, call, d, word);
	answer_resource(s, call, d, status);
}

void scim_replace(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number)
{
	struct draft d = {.kind = kind, .number = number};
	bool good = precondition_holds(s, call, &d) && read_resource(s, call, &d);

	if (good && !s->knobs.put_clears) {
		struct json *before = scim_tree(s, &s->sim->arena, kind, number, false);

		JSON_EACH(child, before)
		{
			if (!json_get_slice(d.doc, child->key))
				json_append(d.doc, child->key, json_copy(&s->sim->arena, child));
		}
	}
	if (good)
		finish_change(s, call, &d, 200);
	else
		scim_answer_error(s, call, &d.error);
	draft_done(&d);
}

static bool patch_draft(struct scim *s, struct sim_call *call, struct draft *d)
{
	struct schema_leniency lenient = leniency(s);
	struct json *body, *root;

	if (!s->knobs.patch)
		return scim_fail(&d->error, 501, NULL, "PATCH is not supported.");
	if (!precondition_holds(s, call, d) || !read_body(s, call, d, &body))
		return false;
	root = scim_tree(s, &s->sim->arena, d->kind, d->number, false);
	struct patch_target target = {d->kind, d->number, root, &d->changes};
	if (!patch_apply(s, &target, body, &d->error))
		return false;
	d->doc = schema_check(&s->sim->arena, d->kind->schema, root, &lenient, false, &d->error);
	return d->doc && take_apart(s, d, false) && check_dialect(s, d) && check_unique(s, d);
}

void scim_patch(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number)
{
	struct draft d = {.kind = kind, .number = number};

	if (patch_draft(s, call, &d))
		finish_change(s, call, &d, (int)s->knobs.patch_status);
	else
		scim_answer_error(s, call, &d.error);
	draft_done(&d);
}

/* Slack and Salesforce: the account stays and is inactive. */
static void deactivate(struct scim *s, struct draft *d)
{
	d->doc = scim_tree(s, &s->sim->arena, d->kind, d->number, false);
	if (d->doc)
		json_set(d->doc, SLICE("active"), json_bool(&s->sim->arena, false));
	store_draft(s, d);
}

void scim_delete(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number)
{
	struct draft d = {.kind = kind, .number = number};

	if (!precondition_holds(s, call, &d)) {
		scim_answer_error(s, call, &d.error);
		return;
	}
	commit(s, call, &d, kind->group ? "group_delete" : "delete");
	if (!kind->group)
		s->sim->stats.deletes++;
	if (s->knobs.delete_deactivates && !kind->group)
		deactivate(s, &d);
	else
		store_delete(&s->store, scim_table(s, kind), number);
	call->answer->status = 204;
}
