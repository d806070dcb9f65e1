#include <string.h>

#include "scim.h"

const struct kind kind_user = {&schema_user, "Users", false};
const struct kind kind_group = {&schema_group, "Groups", true};

void scim_answer_json(struct sim_call *call, int status)
{
	call->answer->status = status;
	call->answer->content_type = "application/scim+json;charset=utf-8";
}

void scim_answer_error(struct scim *s, struct sim_call *call, const struct scim_error *error)
{
	struct text *body = &call->answer->body;
	const char *quote = s->knobs.integer_status ? "" : "\"";

	scim_answer_json(call, error->status);
	text_clear(body);
	text_fmt(body,
		 "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:Error\"],\"status\":%s%d%s",
		 quote, error->status, quote);
	if (error->type && (s->knobs.uniqueness_type || strcmp(error->type, "uniqueness") != 0))
		text_fmt(body, ",\"scimType\":\"%s\"", error->type);
	text_str(body, ",\"detail\":");
	text_json(body, slice_of(error->detail));
	text_char(body, '}');
}

void scim_print_location(struct scim *s, const struct kind *kind, uint32_t number,
			 const struct http_request *http, struct text *out)
{
	char id[UUID_TEXT + 1];

	uuid_print(scim_table(s, kind)->entries[number].id, id);
	if (!s->knobs.relative_location) {
		text_str(out, s->sim->https.tls ? "https://" : "http://");
		text_slice(out, http ? http_header(http, "host") : SLICE("localhost"));
		text_str(out, s->knobs.base_path);
		text_char(out, '/');
	}
	text_str(out, kind->plural);
	text_char(out, '/');
	text_add(out, id, UUID_TEXT);
}

static void print_members(struct scim *s, const struct entry *entry, struct text *out)
{
	char id[UUID_TEXT + 1];

	text_str(out, ",\"members\":[");
	for (uint32_t i = 0; i < entry->n_links; i++) {
		bool nested = entry->links[i] & LINK_GROUP;

		uuid_print(store_linked(&s->store, entry->links[i])->id, id);
		text_str(out, i ? ",{\"value\":\"" : "{\"value\":\"");
		text_add(out, id, UUID_TEXT);
		text_str(out, nested ? "\",\"type\":\"Group\"}" : "\",\"type\":\"User\"}");
	}
	text_char(out, ']');
}

static void print_groups(struct scim *s, const struct entry *entry, struct text *out)
{
	char id[UUID_TEXT + 1];

	text_str(out, ",\"groups\":[");
	for (uint32_t i = 0; i < entry->n_links; i++) {
		uuid_print(s->store.groups.entries[entry->links[i]].id, id);
		text_str(out, i ? ",{\"value\":\"" : "{\"value\":\"");
		text_add(out, id, UUID_TEXT);
		text_str(out, "\",\"type\":\"direct\"}");
	}
	text_char(out, ']');
}

static void print_meta(struct scim *s, const struct kind *kind, uint32_t number,
		       const struct http_request *http, struct text *out)
{
	const struct entry *entry = &scim_table(s, kind)->entries[number];

	text_str(out, ",\"meta\":{\"resourceType\":\"");
	text_str(out, kind->schema->name);
	text_str(out, "\",\"created\":\"");
	text_time(out, entry->created_ms, true);
	text_str(out, "\",\"lastModified\":\"");
	text_time(out, entry->modified_ms, true);
	text_str(out, "\",\"location\":\"");
	scim_print_location(s, kind, number, http, out);
	text_char(out, '"');
	if (s->knobs.etag) {
		text_str(out, ",\"version\":\"W/\\\"");
		text_number(out, entry->version);
		text_str(out, "\\\"\"");
	}
	text_char(out, '}');
}

static void print_whole(struct scim *s, const struct kind *kind, uint32_t number,
			const struct http_request *http, struct text *out)
{
	const struct entry *entry = &scim_table(s, kind)->entries[number];
	char id[UUID_TEXT + 1];

	text_str(out, "{\"schemas\":[\"");
	text_str(out, kind->schema->urn);
	if (entry->enterprise) {
		text_str(out, "\",\"");
		text_str(out, schema_enterprise.urn);
	}
	text_str(out, "\"],\"id\":\"");
	uuid_print(entry->id, id);
	text_add(out, id, UUID_TEXT);
	text_char(out, '"');
	if (entry->doc_n > 2) {
		text_char(out, ',');
		text_add(out, entry->doc + 1, entry->doc_n - 2);
	}
	if (entry->n_links && kind->group && !(s->entra && http))
		print_members(s, entry, out);
	else if (entry->n_links && !kind->group)
		print_groups(s, entry, out);
	print_meta(s, kind, number, http, out);
	text_char(out, '}');
}

/* Whether a comma list names the attribute, or something below it. */
static bool list_names(struct slice list, struct slice name)
{
	while (list.n) {
		struct slice item = slice_trim(slice_cut(&list, ','));
		struct slice head = {item.p, item.n < name.n ? item.n : name.n};

		if (slice_equal_nocase(head, name) &&
		    (item.n == name.n || (item.p[name.n] == '.' || item.p[name.n] == ':')))
			return true;
		if (slice_is(name, schema_enterprise.urn) && slice_starts(item, "urn:") &&
		    slice_equal_nocase(head, name))
			return true;
	}
	return false;
}

void scim_print(struct scim *s, const struct kind *kind, uint32_t number,
		const struct http_request *http, const struct projection *projection,
		struct text *out)
{
	struct text whole = {0};
	const char *error;

	if (!projection || (!projection->only.n && !projection->without.n)) {
		print_whole(s, kind, number, http, out);
		return;
	}
	print_whole(s, kind, number, http, &whole);
	struct json *tree = json_parse(&s->sim->arena, slice_from(&whole), &error);
	for (struct json *child = tree ? tree->first : NULL, *next; child; child = next) {
		bool always = slice_is(child->key, "id") || slice_is(child->key, "schemas");

		next = child->next;
		if (always)
			continue;
		if (projection->only.n ? !list_names(projection->only, child->key)
				       : list_names(projection->without, child->key))
			json_remove(tree, child);
	}
	if (tree)
		json_write(out, tree);
	text_free(&whole);
}

struct json *scim_tree(struct scim *s, struct arena *arena, const struct kind *kind,
		       uint32_t number, bool whole)
{
	const struct entry *entry = &scim_table(s, kind)->entries[number];
	struct text text = {0};
	const char *error;

	if (whole)
		print_whole(s, kind, number, NULL, &text);
	else
		text_add(&text, entry->doc, entry->doc_n);
	struct json *tree = json_parse(arena, arena_copy(arena, slice_from(&text)), &error);
	text_free(&text);
	return tree;
}
