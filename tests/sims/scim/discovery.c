#include "scim.h"

static const char *yes(bool on)
{
	return on ? "true" : "false";
}

static void print_config(const struct scim *s, struct text *out)
{
	const struct scim_knobs *k = &s->knobs;

	text_fmt(out,
		 "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig\"],"
		 "\"patch\":{\"supported\":%s},"
		 "\"bulk\":{\"supported\":%s,\"maxOperations\":%lld,\"maxPayloadSize\":%lld},"
		 "\"filter\":{\"supported\":true,\"maxResults\":%lld},"
		 "\"changePassword\":{\"supported\":true},\"sort\":{\"supported\":false},"
		 "\"etag\":{\"supported\":%s},",
		 yes(k->patch), yes(k->bulk), (long long)(k->bulk ? k->bulk_operations : 0),
		 (long long)(k->bulk ? k->bulk_bytes : 0), (long long)k->page_max, yes(k->etag));
	text_fmt(out,
		 "\"authenticationSchemes\":[{\"type\":\"oauthbearertoken\",\"name\":\"Bearer "
		 "token\","
		 "\"description\":\"A token in the Authorization header\",\"primary\":true}],"
		 "\"pagination\":{\"cursor\":%s,\"index\":%s,\"defaultPaginationMethod\":\"%s\","
		 "\"defaultPageSize\":%lld,\"maxPageSize\":%lld},"
		 "\"meta\":{\"resourceType\":\"ServiceProviderConfig\","
		 "\"location\":\"ServiceProviderConfig\"}}",
		 yes(k->cursor_paging), yes(k->index_paging), k->index_paging ? "index" : "cursor",
		 (long long)k->page_default, (long long)k->page_max);
}

static void print_type(const struct kind *kind, struct text *out)
{
	text_fmt(out,
		 "{\"schemas\":[\"urn:ietf:params:scim:schemas:core:2.0:ResourceType\"],\"id\":\"%"
		 "s\","
		 "\"name\":\"%s\",\"endpoint\":\"/%s\",\"description\":\"\",\"schema\":\"%s\"",
		 kind->schema->name, kind->schema->name, kind->plural, kind->schema->urn);
	if (kind->schema->extension)
		text_fmt(out, ",\"schemaExtensions\":[{\"schema\":\"%s\",\"required\":false}]",
			 kind->schema->extension->urn);
	text_fmt(out,
		 ",\"meta\":{\"resourceType\":\"ResourceType\",\"location\":\"ResourceTypes/%s\"}}",
		 kind->schema->name);
}

static void open_list(int n, struct text *out)
{
	text_fmt(out,
		 "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:ListResponse\"],"
		 "\"totalResults\":%d,\"itemsPerPage\":%d,\"startIndex\":1,\"Resources\":[",
		 n, n);
}

static bool print_types(struct slice rest, struct text *out)
{
	const struct kind *const kinds[] = {&kind_user, &kind_group};

	if (!rest.n)
		open_list(2, out);
	for (int i = 0; i < 2; i++) {
		if (rest.n && slice_is(rest, kinds[i]->schema->name)) {
			print_type(kinds[i], out);
			return true;
		}
		if (!rest.n) {
			text_str(out, i ? "," : "");
			print_type(kinds[i], out);
		}
	}
	if (!rest.n)
		text_str(out, "]}");
	return !rest.n;
}

static bool print_schemas(struct slice rest, struct text *out)
{
	const struct schema *const schemas[] = {&schema_user, &schema_enterprise, &schema_group};

	if (!rest.n)
		open_list(3, out);
	for (int i = 0; i < 3; i++) {
		if (rest.n && slice_is(rest, schemas[i]->urn)) {
			schema_print(schemas[i], out);
			return true;
		}
		if (!rest.n) {
			text_str(out, i ? "," : "");
			schema_print(schemas[i], out);
		}
	}
	if (!rest.n)
		text_str(out, "]}");
	return !rest.n;
}

bool scim_discovery(struct scim *s, struct sim_call *call, struct slice path)
{
	struct slice head = slice_cut(&path, '/');
	struct text *out = &call->answer->body;
	const char *config = s->salesforce ? "ServiceProviderConfigs" : "ServiceProviderConfig";
	struct scim_error error = {404, NULL, "There is no such resource."};
	bool found;

	if (slice_is(head, s->entra ? "serviceproviderconfig" : config)) {
		print_config(s, out);
		found = true;
	} else if (slice_is(head, s->entra ? "resourcetypes" : "ResourceTypes")) {
		found = print_types(path, out);
	} else if (slice_is(head, s->entra ? "schemas" : "Schemas")) {
		found = print_schemas(path, out);
	} else {
		return false;
	}
	scim_answer_json(call, 200);
	if (!slice_is(call->method, "GET"))
		scim_fail(&error, 405, NULL, "Only GET is possible here.");
	if (!found || error.status == 405)
		scim_answer_error(s, call, &error);
	return true;
}
