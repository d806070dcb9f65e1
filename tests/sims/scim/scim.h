/* The SCIM service: its state and what its files offer each other. */
#pragma once

#include "filter.h"
#include "sim.h"
#include "store.h"

struct token {
	char text[44];
	int64_t expires_ms;
};

/* Settings, see GET /knobs of the admin interface; dialect sets several at once. */
struct scim_knobs {
	char dialect[KNOB_STRING_MAX];		/* rfc, entra-server, salesforce, slack, lenient */
	char base_path[KNOB_STRING_MAX];	/* /scim/v2 */
	char filter_operators[KNOB_STRING_MAX]; /* "" all, or a list: eq,and */
	bool patch, put, bulk, etag, index_paging, cursor_paging;
	bool case_sensitive_user_name, unique_external_id, put_clears, tombstones;
	bool string_booleans, ignore_read_only, ignore_unknown;
	bool location_header, relative_location, total_results, integer_status, uniqueness_type;
	bool delete_deactivates, zero_hits_404, if_match_required;
	int64_t patch_status; /* 200 or 204 */
	int64_t bulk_operations, bulk_bytes, page_default, page_max;
	int64_t writes, writes_ms, reads, reads_ms; /* so many per so long; 0: no limit */
	int64_t token_seconds;
};

struct scim {
	struct sim *sim;
	struct scim_knobs knobs;
	struct store store;
	struct budget write_budget, read_budget;
	char *bearer; /* NULL: not accepted */
	char *client_id, *client_secret;
	struct token tokens[256]; /* the newest */
	size_t n_tokens;
	uint64_t tokens_given;
	bool entra, salesforce;
};

struct kind {
	const struct schema *schema;
	const char *plural; /* Users */
	bool group;
};

extern const struct kind kind_user, kind_group;

static inline struct table *scim_table(struct scim *s, const struct kind *kind)
{
	return kind->group ? &s->store.groups : &s->store.users;
}

/* knobs.c */
extern const struct knob scim_knob_table[];
extern const size_t scim_knob_count;
void scim_knobs_default(struct scim *s);

/* auth.c */
bool scim_authorized(struct scim *s, struct sim_call *call);
void scim_token(struct scim *s, struct sim_call *call);

/* render.c */
void scim_answer_json(struct sim_call *call, int status);
void scim_answer_error(struct scim *s, struct sim_call *call, const struct scim_error *error);
/* The whole resource, or what attributes and excludedAttributes (comma lists) leave of it. */
struct projection {
	struct slice only, without;
};
void scim_print(struct scim *s, const struct kind *kind, uint32_t number,
		const struct http_request *http, const struct projection *projection,
		struct text *out);
/* As a tree: what is stored, or (whole) with id, meta, groups and members too. */
struct json *scim_tree(struct scim *s, struct arena *arena, const struct kind *kind,
		       uint32_t number, bool whole);
void scim_print_location(struct scim *s, const struct kind *kind, uint32_t number,
			 const struct http_request *http, struct text *out);

/* write.c */
void scim_create(struct scim *s, struct sim_call *call, const struct kind *kind);
void scim_replace(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number);
void scim_patch(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number);
void scim_delete(struct scim *s, struct sim_call *call, const struct kind *kind, uint32_t number);
/* Puts a resource into the store without a ledger entry; id may be empty. NULL or what is wrong. */
const char *scim_seed(struct scim *s, const struct kind *kind, const struct json *resource);

/* list.c */
void scim_list(struct scim *s, struct sim_call *call, const struct kind *kind);
void scim_search(struct scim *s, struct sim_call *call, const struct kind *kind);

/* bulk.c */
void scim_bulk(struct scim *s, struct sim_call *call);

/* discovery.c: false if path is none of these */
bool scim_discovery(struct scim *s, struct sim_call *call, struct slice path);

/* routes.c */
void scim_handle(struct sim *sim, struct sim_call *call);
bool scim_writes(struct sim *sim, const struct sim_call *call);
void scim_key(struct sim *sim, const struct sim_call *call, struct text *ret_key);
