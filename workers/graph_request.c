/* Operations as Graph requests: Create user, Update user, Delete user, Assign manager, Restore deleted item, JSON batching. */
#include "graph_own.h"
#include "password.h"

#include <errno.h>
#include <string.h>

#define JSON "application/json"

/* One request of Graph, on its own or in a $batch. */
struct part {
	enum http_method method;
	struct buf path; /* behind the version root, with its query */
	cJSON *body;	 /* owned; NULL: none */
};

static void part_done(struct part *p)
{
	buf_done(&p->path);
	cJSON_Delete(p->body);
}

/* ---- bodies ---- */

static void put_changes(cJSON *body, const struct target_op *op)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, op->set) {
		cJSON *value = graph_value(item->string, item);

		mapping_put(body, item->string, value);
		cJSON_Delete(value);
	}
	cJSON_ArrayForEach (item, op->clear) {
		cJSON *value = graph_trait(item->string) == GRAPH_LIST ? cJSON_CreateArray()
								       : cJSON_CreateNull();

		mapping_put(body, item->string, value);
		cJSON_Delete(value);
	}
	if (op->enabled != TARGET_KEEP)
		cJSON_AddBoolToObject(body, "accountEnabled", op->enabled == TARGET_ENABLE);
}

static cJSON *create_body(const struct target_op *op)
{
	char password[PASSWORD_LENGTH + 1];
	cJSON *body = cJSON_CreateObject(), *profile;

	put_changes(body, op);
	if (op->enabled == TARGET_KEEP)
		cJSON_AddTrueToObject(body, "accountEnabled");
	profile = cJSON_AddObjectToObject(body, "passwordProfile");
	password_random(password);
	cJSON_AddTrueToObject(profile, "forceChangePasswordNextSignIn");
	cJSON_AddStringToObject(profile, "password", password);
	secret_wipe(password, sizeof(password));
	return body;
}

/* ---- parts ---- */

bool graph_looks_deleted(const struct target *t, const struct target_op *op)
{
	return t->restore && op->kind == TARGET_FIND &&
	       strcasecmp(op->key.field, "onPremisesImmutableId") == 0;
}

bool graph_changes_licence(const struct target_op *op)
{
	return op->kind == TARGET_STEP && strncmp(op->name, "licence_", 8) == 0;
}

size_t graph_parts(const struct target *t, const struct target_op *op)
{
	if (t->counts && graph_changes_licence(op))
		return 3;
	return graph_looks_deleted(t, op) || (t->holdings && op->kind == TARGET_READ) ? 2 : 1;
}

size_t graph_main_part(const struct target *t, const struct target_op *op)
{
	return graph_parts(t, op) == 3 ? 1 : 0;
}

/* OData: quotes are doubled, levels of a property parted by a slash. */
static void add_filter(const struct target_key *key, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf filter = {0};

	for (const char *p = key->field; *p; p++) {
		if (*p == '.')
			buf_addc(&filter, '/');
		else
			buf_addc(&filter, *p);
	}
	buf_adds(&filter, " eq '");
	for (const char *p = key->value; *p; p++) {
		if (*p == '\'')
			buf_addc(&filter, '\'');
		buf_addc(&filter, *p);
	}
	buf_addc(&filter, '\'');
	buf_adds(out, "?$filter=");
	http_escape(out, buf_slice(&filter));
}

static void find_part(const struct target *t, const struct target_op *op, size_t part,
		      struct part *p)
{
	buf_adds(&p->path, part == 0 ? "/users" : "/directory/deletedItems/microsoft.graph.user");
	add_filter(&op->key, &p->path);
	buf_addf(&p->path, "&$select=%s&$top=2", t->select.p);
}

static void user_path(const struct target_op *op, struct part *p)
{
	buf_adds(&p->path, "/users/");
	http_escape(&p->path, slice_of(op->rid));
}

static cJSON *link_to(const struct target *t, const char *kind, const char *id)
{
	CLEANUP(buf_cleanup) struct buf link = {0};
	cJSON *body = cJSON_CreateObject();

	buf_addf(&link, "%s/%s/", t->base, kind);
	http_escape(&link, slice_of(id));
	cJSON_AddStringToObject(body, "@odata.id", link.p);
	return body;
}

static int restore_part(const struct target *t, const struct target_op *op, struct part *p)
{
	(void)t;
	p->method = HTTP_POST;
	buf_adds(&p->path, "/directory/deletedItems/");
	http_escape(&p->path, slice_of(op->rid));
	buf_adds(&p->path, "/restore");
	p->body = cJSON_CreateObject();
	return 0;
}

/* Without /$ref a DELETE would delete the manager, and below the member of a group. */
static int manager_part(const struct target *t, const struct target_op *op, struct part *p)
{
	user_path(op, p);
	buf_adds(&p->path, "/manager/$ref");
	p->method = op->body ? HTTP_PUT : HTTP_DELETE;
	if (op->body)
		p->body = link_to(t, "users", op->body->valuestring);
	return 0;
}

static int licence_part(const struct target *t, const struct target_op *op, struct part *p)
{
	(void)t;
	p->method = HTTP_POST;
	user_path(op, p);
	buf_adds(&p->path, "/assignLicense");
	p->body = cJSON_Duplicate(op->body, true);
	return 0;
}

static int sessions_part(const struct target *t, const struct target_op *op, struct part *p)
{
	(void)t;
	p->method = HTTP_POST;
	user_path(op, p);
	buf_adds(&p->path, "/revokeSignInSessions");
	p->body = cJSON_CreateObject();
	return 0;
}

static int group_find_part(const struct target *t, const struct target_op *op, struct part *p)
{
	const struct target_key key = {"displayName", op->what};

	(void)t;
	buf_adds(&p->path, "/groups");
	add_filter(&key, &p->path);
	buf_adds(&p->path, "&$select=id,displayName&$top=2");
	return 0;
}

static int member_add_part(const struct target *t, const struct target_op *op, struct part *p)
{
	const char *group = graph_group_id(t, op->what);

	if (!group)
		return -EINVAL;
	p->method = HTTP_POST;
	buf_adds(&p->path, "/groups/");
	http_escape(&p->path, slice_of(group));
	buf_adds(&p->path, "/members/$ref");
	p->body = link_to(t, "directoryObjects", op->rid);
	return 0;
}

static int member_remove_part(const struct target *t, const struct target_op *op, struct part *p)
{
	const char *group = graph_group_id(t, op->what);

	if (!group)
		return -EINVAL;
	p->method = HTTP_DELETE;
	buf_adds(&p->path, "/groups/");
	http_escape(&p->path, slice_of(group));
	buf_adds(&p->path, "/members/");
	http_escape(&p->path, slice_of(op->rid));
	buf_adds(&p->path, "/$ref");
	return 0;
}

static int step_part(const struct target *t, const struct target_op *op, struct part *p)
{
	static const struct {
		const char *name;
		int (*part)(const struct target *t, const struct target_op *op, struct part *p);
	} steps[] = {{"restore", restore_part},
		     {"manager", manager_part},
		     {"licence_assign", licence_part},
		     {"licence_reinstate", licence_part},
		     {"licence_revoke", licence_part},
		     {"revoke_sessions", sessions_part},
		     {"group_find", group_find_part},
		     {"member_add", member_add_part},
		     {"member_remove", member_remove_part}};

	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		if (strcmp(steps[i].name, op->name) == 0)
			return steps[i].part(t, op, p);
	}
	return -EINVAL;
}

static void read_part(const struct target *t, const struct target_op *op, size_t part,
		      struct part *p)
{
	user_path(op, p);
	if (part == 0)
		buf_addf(&p->path, "?$select=%s", t->select.p);
	else
		buf_adds(&p->path, "/memberOf?$select=id&$top=999");
}

static int make_part(const struct target *t, const struct target_op *op, size_t part,
		     struct part *p)
{
	if (part != graph_main_part(t, op) && graph_changes_licence(op)) {
		buf_adds(&p->path, "/subscribedSkus");
		return 0;
	}
	switch (op->kind) {
	case TARGET_FIND:
		find_part(t, op, part, p);
		break;
	case TARGET_READ:
		read_part(t, op, part, p);
		break;
	case TARGET_CREATE:
		p->method = HTTP_POST;
		buf_adds(&p->path, "/users");
		p->body = create_body(op);
		break;
	case TARGET_UPDATE:
		p->method = HTTP_PATCH;
		user_path(op, p);
		p->body = cJSON_CreateObject();
		put_changes(p->body, op);
		break;
	case TARGET_DELETE:
		p->method = HTTP_DELETE;
		user_path(op, p);
		break;
	case TARGET_STEP:
		return step_part(t, op, p);
	case TARGET_KINDS:
		break;
	}
	return 0;
}

/* ---- requests ---- */

void graph_part_id(const struct target *t, const struct target_op *op, size_t part, struct buf *out)
{
	size_t main = graph_main_part(t, op);

	buf_adds(out, op->user);
	if (part < main)
		buf_adds(out, "-before");
	else if (part > main)
		buf_adds(out, main ? "-after" : op->kind == TARGET_READ ? "-holds" : "-deleted");
}

bool graph_is_batch(const struct target *t, struct target_op *const *ops, size_t n)
{
	return n > 1 || graph_parts(t, ops[0]) > 1;
}

static void common(const struct target *t, struct target_request *ret)
{
	ret->accept = JSON;
	/* a static word: it has no line end */
	if (t->priority &&
	    target_request_header(ret, "x-ms-throttle-priority", slice_of(t->priority)) < 0)
		ret->header_n = 0;
}

static int request_plain(const struct target *t, const struct target_op *op,
			 struct target_request *ret)
{
	CLEANUP(part_done) struct part p = {0};

	if (make_part(t, op, 0, &p) < 0)
		return -EINVAL;
	ret->method = p.method;
	buf_addf(&ret->url, "%s%s", t->base, p.path.p);
	if (!p.body)
		return 0;
	ret->content_type = JSON;
	json_print(p.body, &ret->body);
	return 0;
}

/* In a row, so that the counts stand before and after the change. */
static void add_dependence(const struct target *t, const struct target_op *op, size_t i, cJSON *one)
{
	CLEANUP(buf_cleanup) struct buf id = {0};
	cJSON *on;

	if (i == 0 || !graph_changes_licence(op))
		return;
	graph_part_id(t, op, i - 1, &id);
	on = cJSON_AddArrayToObject(one, "dependsOn");
	cJSON_AddItemToArray(on, cJSON_CreateString(id.p));
}

static int add_part(const struct target *t, const struct target_op *op, size_t i, cJSON *requests)
{
	CLEANUP(part_done) struct part p = {0};
	CLEANUP(buf_cleanup) struct buf id = {0};
	cJSON *one, *headers;

	if (make_part(t, op, i, &p) < 0)
		return -EINVAL;
	one = cJSON_CreateObject();
	graph_part_id(t, op, i, &id);
	cJSON_AddStringToObject(one, "id", id.p);
	cJSON_AddStringToObject(one, "method", http_method_name(p.method));
	cJSON_AddStringToObject(one, "url", p.path.p);
	add_dependence(t, op, i, one);
	if (p.body) {
		headers = cJSON_AddObjectToObject(one, "headers");
		cJSON_AddStringToObject(headers, "Content-Type", JSON);
		cJSON_AddItemToObject(one, "body", p.body);
		p.body = NULL;
	}
	cJSON_AddItemToArray(requests, one);
	return 0;
}

int graph_request(struct target *t, struct target_op *const *ops, size_t n,
		  struct target_request *ret)
{
	cJSON *body, *requests;
	int rc = 0;

	common(t, ret);
	if (!graph_is_batch(t, ops, n))
		return request_plain(t, ops[0], ret);
	body = cJSON_CreateObject();
	requests = cJSON_AddArrayToObject(body, "requests");
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < graph_parts(t, ops[i]) && rc == 0; k++)
			rc = add_part(t, ops[i], k, requests);
	}
	ret->method = HTTP_POST;
	buf_addf(&ret->url, "%s/$batch", t->base);
	ret->content_type = JSON;
	json_print(body, &ret->body);
	cJSON_Delete(body);
	return rc;
}

int graph_list(struct target *t, const char *next, struct target_request *ret)
{
	common(t, ret);
	ret->method = HTTP_GET;
	if (next)
		buf_adds(&ret->url, next);
	else
		buf_addf(&ret->url, "%s/users?$select=%s&$top=%lld", t->base, t->select.p,
			 (long long)t->page);
	return 0;
}
