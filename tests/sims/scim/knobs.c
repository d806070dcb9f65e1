#include <string.h>

#include "scim.h"

extern struct scim scim_state; /* main.c */

#define K	     scim_state.knobs
#define FLAG(name)   KNOB_FLAG_OF(K, name)
#define NUMBER(name) KNOB_NUMBER_OF(K, name)
#define STRING(name) KNOB_STRING_OF(K, name)

static void set_rfc(struct scim *s)
{
	struct scim_knobs *k = &s->knobs;

	k->filter_operators[0] = '\0';
	k->patch = k->put = k->bulk = k->etag = k->index_paging = k->cursor_paging = true;
	k->put_clears = k->location_header = k->total_results = k->uniqueness_type = true;
	k->case_sensitive_user_name = k->unique_external_id = k->tombstones = false;
	k->string_booleans = k->ignore_read_only = k->ignore_unknown = false;
	k->relative_location = k->integer_status = k->delete_deactivates = false;
	k->zero_hits_404 = k->if_match_required = false;
	k->patch_status = 200;
	k->bulk_operations = 1000;
	k->bulk_bytes = 1 << 20;
	k->page_default = 100;
	k->page_max = 1000;
	k->writes = k->writes_ms = k->reads = k->reads_ms = 0;
	s->entra = s->salesforce = false;
}

/* Targets section 10b. */
static void set_entra(struct scim *s)
{
	struct scim_knobs *k = &s->knobs;

	s->entra = true;
	k->put = k->bulk = k->index_paging = k->total_results = k->etag = false;
	k->relative_location = true;
	k->patch_status = 204;
	memcpy(k->filter_operators, "eq,ew,and,not", 14);
}

/* Targets section 13.1. */
static const char *dialect_changed(void)
{
	struct scim *s = &scim_state;
	struct scim_knobs *k = &s->knobs;
	struct slice name = slice_of(k->dialect);

	set_rfc(s);
	if (slice_is(name, "entra-server")) {
		set_entra(s);
	} else if (slice_is(name, "salesforce")) {
		s->salesforce = k->delete_deactivates = k->integer_status = true;
		k->uniqueness_type = k->bulk = k->etag = false;
	} else if (slice_is(name, "slack")) {
		k->delete_deactivates = true;
		k->bulk = k->etag = k->cursor_paging = false;
		k->writes = 180;
		k->reads = 1000;
		k->writes_ms = k->reads_ms = 60000;
	} else if (slice_is(name, "lenient")) {
		k->string_booleans = k->ignore_read_only = k->ignore_unknown = true;
	} else if (!slice_is(name, "rfc")) {
		return "dialect is rfc, entra-server, salesforce, slack or lenient";
	}
	return NULL;
}

const struct knob scim_knob_table[] = {
	{"dialect", KNOB_STRING, K.dialect, dialect_changed},
	STRING(base_path),
	STRING(filter_operators),
	FLAG(patch),
	FLAG(put),
	FLAG(bulk),
	FLAG(etag),
	FLAG(index_paging),
	FLAG(cursor_paging),
	FLAG(case_sensitive_user_name),
	FLAG(unique_external_id),
	FLAG(put_clears),
	FLAG(tombstones),
	FLAG(string_booleans),
	FLAG(ignore_read_only),
	FLAG(ignore_unknown),
	FLAG(location_header),
	FLAG(relative_location),
	FLAG(total_results),
	FLAG(integer_status),
	FLAG(uniqueness_type),
	FLAG(delete_deactivates),
	FLAG(zero_hits_404),
	FLAG(if_match_required),
	NUMBER(patch_status),
	NUMBER(bulk_operations),
	NUMBER(bulk_bytes),
	NUMBER(page_default),
	NUMBER(page_max),
	NUMBER(writes),
	NUMBER(writes_ms),
	NUMBER(reads),
	NUMBER(reads_ms),
	NUMBER(token_seconds),
};
const size_t scim_knob_count = sizeof scim_knob_table / sizeof *scim_knob_table;

void scim_knobs_default(struct scim *s)
{
	memcpy(s->knobs.dialect, "rfc", 4);
	memcpy(s->knobs.base_path, "/scim/v2", 9);
	s->knobs.token_seconds = 3600;
	set_rfc(s);
}
