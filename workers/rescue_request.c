/* Operations as Rescue's calls: always POST with a form, because a query puts passwords into logs. Where the manual's pages
 * disagree on a parameter's name, both are sent (fact sheet B4). */
#include "rescue_own.h"

#include "password.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

const char *const rescue_fields[] = {"name", "nick", "email", "ssoid", "description", NULL};

void rescue_call(const struct target *t, const char *method, struct target_request *ret)
{
	ret->method = HTTP_POST;
	ret->content_type = "application/x-www-form-urlencoded";
	buf_addf(&ret->url, "%s/%s.aspx", t->base, method);
}

void rescue_add(struct target_request *r, const char *name, const char *value)
{
	if (r->body.n)
		buf_addc(&r->body, '&');
	buf_addf(&r->body, "%s=", name);
	http_escape(&r->body, slice_of(value));
}

void rescue_hierarchy(const struct target *t, const char *node, struct target_request *ret)
{
	rescue_call(t, "getHierarchy_v2", ret);
	rescue_add(ret, "isnode", node ? "true" : "false");
	if (node)
		rescue_add(ret, "node", node);
	rescue_add(ret, "filteroffline", "false");
}

const char *rescue_method(const struct target_op *op)
{
	switch (op->kind) {
	case TARGET_FIND:
	case TARGET_READ:
		return json_object(op->body, "user") || json_text(op->body, "blanks")
			       ? "getHierarchy_v2"
			       : "getUser_v3";
	case TARGET_CREATE:
		return "createUser";
	case TARGET_STEP:
		return strcmp(op->name, "move") == 0 ? "moveNode" : "setUser_v2";
	case TARGET_UPDATE:
	case TARGET_DELETE:
	case TARGET_KINDS:
		break;
	}
	return "setUser_v2";
}

static void request_look(const struct target *t, const struct target_op *op,
			 struct target_request *ret)
{
	const cJSON *user = json_object(op->body, "user");

	if (user) {
		rescue_hierarchy(t, rescue_field(user, "node"), ret);
	} else if (json_text(op->body, "blanks")) {
		rescue_hierarchy(t, NULL, ret);
	} else {
		rescue_call(t, "getUser_v3", ret);
		rescue_add(ret, op->kind == TARGET_READ ? "node" : "email",
			   op->kind == TARGET_READ ? op->rid : op->key.value);
	}
}

static void add_password(const struct target *t, struct target_request *ret)
{
	char random[PASSWORD_LENGTH + 1];
	const char *text = random;

	password_random(random);
	if (t->password)
		text = secret_value(t->password).p;
	rescue_add(ret, "pwd", text);
	rescue_add(ret, "confpwd", text);
	secret_wipe(random, sizeof(random));
}

static const char *value_of(const struct target_op *op, const char *field)
{
	const cJSON *current = json_object(op->body, "current"), *set;

	set = op->set ? cJSON_GetObjectItem(op->set, field) : NULL;
	if (set && cJSON_IsString(set))
		return set->valuestring;
	if (op->clear && cJSON_GetObjectItem(op->clear, field))
		return "";
	return rescue_field(current, field);
}

static const char *status_of(const struct target_op *op)
{
	const char *given = json_text(op->body, "status");
	const cJSON *current = json_object(op->body, "current");

	if (given)
		return given;
	if (op->kind == TARGET_UPDATE && op->enabled != TARGET_KEEP)
		return op->enabled == TARGET_ENABLE ? "Enabled" : "Disabled";
	return rescue_is(rescue_field(current, "status"), "Disabled") ? "Disabled" : "Enabled";
}

/* The whole node: what is not sent would be blanked. */
static void request_set(const struct target *t, const struct target_op *op,
			struct target_request *ret)
{
	const cJSON *current = json_object(op->body, "current");
	bool keeps = op->kind == TARGET_UPDATE && op->enabled != TARGET_DISABLE;
	bool mobile = keeps &&
		      (json_true(current, "mobile", false) || json_true(op->body, "mobile", false));
	const char *on = mobile ? "True" : "False";

	rescue_call(t, "setUser_v2", ret);
	rescue_add(ret, "node", op->rid);
	for (size_t i = 0; rescue_fields[i]; i++)
		rescue_add(ret, rescue_fields[i], value_of(op, rescue_fields[i]));
	if (json_true(op->body, "password", false))
		add_password(t, ret);
	rescue_add(ret, "status", status_of(op));
	rescue_add(ret, "mobileaddon", on);
	rescue_add(ret, "addons", on);
	rescue_add(ret, "rpataddon", json_true(current, "rpat", false) ? "True" : "False");
}

static void request_move(const struct target *t, const struct target_op *op,
			 struct target_request *ret)
{
	const char *parent = rescue_field(op->body, "parent");

	rescue_call(t, "moveNode", ret);
	rescue_add(ret, "node", op->rid);
	rescue_add(ret, "nodeID", op->rid);
	rescue_add(ret, "targetnode", parent);
	rescue_add(ret, "targetNodeID", parent);
}

int rescue_request(struct target *t, struct target_op *const *ops, size_t n,
		   struct target_request *ret)
{
	const struct target_op *op = ops[0];

	if (n != 1 || op->kind == TARGET_DELETE)
		return -EINVAL; /* no technician is ever deleted */
	if (op->kind == TARGET_FIND || op->kind == TARGET_READ) {
		request_look(t, op, ret);
	} else if (op->kind == TARGET_CREATE) {
		rescue_call(t, "createUser", ret);
		rescue_add(ret, "parent", rescue_field(op->body, "parent"));
	} else if (op->kind == TARGET_STEP && strcmp(op->name, "move") == 0) {
		request_move(t, op, ret);
	} else {
		request_set(t, op, ret);
	}
	return 0;
}
