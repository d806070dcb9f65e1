/* Technicians of LogMeIn (GoTo) Rescue. A technician stands in the group that the first fitting entry of `groups` names, is found by
 * e-mail address, disabled when the person leaves, and never deleted; one that somebody moved in Rescue is left where it is and only
 * switched on and off. */
#include "rescue_own.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ON(kind) (1u << (kind))
#define GIVEN	 (ON(TARGET_READ) | ON(TARGET_UPDATE) | ON(TARGET_STEP))

enum { SETTLE_MS = 2000, NAME_MAX_DEFAULT = 128, PASSWORD_LEAST = 8 };

/* placement       initial: a technician stays where it is; enforce: moved back into its group
 * regrant_mobile  true: the mobile add-on that was freed by disabling comes back with enabling
 * name_max        letters that a name may have; the service does not say how many it takes
 * seat_word       what the service answers when there is no seat: then the person waits for one */
static const struct option_row option_rows[] = {
	{"placement", OPTION_WORD, 0, 0, "initial|enforce"},
	{"regrant_mobile", OPTION_BOOL, 0, 0, NULL},
	{"name_max", OPTION_INT, 1, 1000, NULL},
	{"seat_word", OPTION_TEXT, 0, 0, NULL},
	{NULL, OPTION_TYPES, 0, 0, NULL},
};

/* Fact sheet B4; ODD, HTML, NO_SEAT and EMAIL_OF_ADMINISTRATOR are this driver's own. A page instead of a word: the service as a
 * whole does not do what it is asked. */
static const struct verdict_row rows[] = {
	{0, 200, 299, "", VERDICT_CLASS_OK, NULL, NULL},
	{0, 200, 299, "INVALID_SECRETAUTHCODE", VERDICT_CLASS_AUTH, "token_refused", NULL},
	{0, 200, 299, "NOTLOGGEDIN", VERDICT_CLASS_AUTH, "token_refused", NULL},
	{0, 200, 299, "USER_DELETED_OR_DISABLED", VERDICT_CLASS_AUTH, "caller_disabled", NULL},
	{0, 200, 299, "LIMITREACHED", VERDICT_CLASS_THROTTLED, "throttled", NULL},
	{0, 200, 299, "ERROR", VERDICT_CLASS_RETRY, "server_error", NULL},
	{0, 200, 299, "ODD", VERDICT_CLASS_RETRY, "odd_answer", NULL},
	{0, 200, 299, "HTML", VERDICT_CLASS_DOWN, "odd_answer", NULL},
	{0, 200, 299, "NO_SEAT", VERDICT_CLASS_PARK, "no_seat", "seat:"},
	{GIVEN, 200, 299, "INVALIDPARAM_NODE", VERDICT_CLASS_GONE, "not_found", NULL},
	{0, 200, 299, "EMAIL_OF_ADMINISTRATOR", VERDICT_CLASS_REJECT, "email_in_use", NULL},
	{0, 200, 299, "INVALIDPARAM_EMAIL_ALREADY_IN_USE", VERDICT_CLASS_REJECT, "email_in_use",
	 NULL},
	{0, 200, 299, "INVALIDPARAM_EMAIL", VERDICT_CLASS_REJECT, "invalid_value", NULL},
	{0, 200, 299, "INVALIDPARAM_NAME", VERDICT_CLASS_REJECT, "invalid_value", NULL},
	{0, 200, 299, "INVALIDPARAM_PARENT", VERDICT_CLASS_REJECT, "no_such_group", NULL},
	{0, 200, 299, "INVALIDPARAM_TARGETNODE", VERDICT_CLASS_REJECT, "no_such_group", NULL},
	{0, 200, 299, "INVALIDPARAM_PASSWORD*", VERDICT_CLASS_REJECT, "password_refused", NULL},
	{0, 200, 299, "INVALID*", VERDICT_CLASS_REJECT, "refused", NULL},
	{0, 200, 299, "*", VERDICT_CLASS_RETRY, "odd_answer", NULL},
	{0, 0, 0, NULL, VERDICT_CLASSES, NULL, NULL},
};

/* ---- configuration ---- */

static void check_mapping(const struct conf_node *conf, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	cJSON *mapping;
	const cJSON *item;

	conf_json(conf, "mapping", &text);
	mapping = json_parse(buf_slice(&text), NULL);
	for (size_t i = 0; i < 2 && conf_bool(conf, "create"); i++) {
		const char *name = i ? "email" : "name";

		if (cJSON_GetObjectItem(mapping, name))
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: is missing, Rescue requires it of a technician\n",
			 name);
	}
	cJSON_ArrayForEach (item, mapping) {
		size_t i = 0;

		while (rescue_fields[i] && strcmp(rescue_fields[i], item->string) != 0)
			i++;
		if (rescue_fields[i])
			continue;
		options_where(conf, "mapping", errors);
		buf_addf(errors, "mapping.%s: expected name, nick, email, ssoid or description\n",
			 item->string);
	}
	cJSON_Delete(mapping);
}

static void check_join(const struct conf_node *conf, struct buf *errors)
{
	const struct conf_node *rule;

	for (size_t i = 0; (rule = conf_at(conf, "join", i, NULL)); i++) {
		if (strcmp(conf_text(rule, "remote"), "email") == 0)
			continue;
		options_where(rule, "remote", errors);
		buf_adds(errors,
			 "join: remote: expected email, Rescue finds technicians by nothing "
			 "else\n");
	}
	if (strcmp(conf_text(conf, "leave"), "delete") != 0)
		return;
	options_where(conf, "leave", errors);
	buf_adds(errors, "leave: expected disable or unlink, driver rescue never deletes\n");
}

static bool all_digits(const char *text)
{
	return *text && text[strspn(text, "0123456789")] == '\0';
}

static void take_groups(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	const struct conf_node *node;

	for (size_t i = 0; (node = conf_at(conf, "groups", i, NULL)); i++) {
		const char *group = conf_text(node, "group"), *remote = conf_text(node, "remote");

		t->groups = mem_resize(t->groups, (i + 1) * sizeof(*t->groups));
		t->groups[t->groups_n++] =
			(struct rescue_group){.group = mem_dup(group),
					      .remote = mem_dup(remote),
					      .node = all_digits(remote) ? mem_dup(remote) : NULL};
	}
	if (t->groups_n)
		return;
	options_where(conf, "groups", errors);
	buf_adds(errors, "groups: expected at least one entry {group: WATCHED, remote: TECHNICIAN "
			 "GROUP}: technicians stand in groups\n");
}

static void take_password(const struct conf_node *conf, struct target *t, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct secret_ref ref;
	struct slice text;

	if (!conf_secret(conf, "default_password", &ref))
		return;
	t->password = conf_load_secret(conf, "default_password", &why);
	text = t->password ? secret_value(t->password) : SLICE("");
	if (t->password && text.n < PASSWORD_LEAST)
		buf_addf(&why, "expected at least %d characters", PASSWORD_LEAST);
	for (size_t i = 0; i < text.n && !why.n; i++) {
		if (isspace((unsigned char)text.p[i]))
			buf_adds(&why, "Rescue takes no blanks in passwords");
	}
	if (!why.n)
		return;
	options_where(conf, "default_password", errors);
	buf_addf(errors, "default_password: %s\n", why.p);
}

static void rescue_destroy(struct target *t)
{
	if (!t)
		return;
	free(t->base);
	for (size_t i = 0; i < t->groups_n; i++) {
		free(t->groups[i].group);
		free(t->groups[i].remote);
		free(t->groups[i].node);
	}
	free(t->groups);
	secret_free(t->password);
	cJSON_Delete(t->options);
	free(t);
}

static struct target *rescue_create(const struct conf_node *conf, struct buf *why)
{
	struct target *t = mem_alloc(sizeof(*t));
	size_t before = why->n, n;

	t->base = mem_dup(conf_text(conf, "url"));
	n = strlen(t->base);
	while (n > 0 && t->base[n - 1] == '/')
		t->base[--n] = '\0';
	t->options = options_read(conf, option_rows, why);
	check_mapping(conf, why);
	check_join(conf, why);
	take_groups(conf, t, why);
	take_password(conf, t, why);
	if (why->n > before) {
		rescue_destroy(t);
		return NULL;
	}
	t->enforce = options_word(t->options, option_rows, "placement", 0) == 1;
	t->regrant = json_true(t->options, "regrant_mobile", false);
	t->name_max = json_int(t->options, "name_max", NAME_MAX_DEFAULT);
	t->seat_word = json_text(t->options, "seat_word");
	if (!t->seat_word)
		t->seat_word = "";
	return t;
}

/* ---- log-in: requestAuthCode (fact sheet B2) ---- */

static int take_authcode(struct slice body, struct buf *ret_token, int64_t *ret_after_ms,
			 struct buf *why)
{
	enum { LIMIT_MS = 3 * 60 * 1000 };
	struct rescue_body b;
	const char *code;
	int rc = 0;

	rescue_body_read(body, &b);
	code = rescue_field(b.records->child, "AUTHCODE");
	if (strcmp(b.word.p, "OK") == 0 && *code) {
		buf_adds(ret_token, code);
	} else if (strcmp(b.word.p, "LIMITREACHED") == 0) {
		*ret_after_ms = LIMIT_MS;
		rc = -EAGAIN;
	} else {
		rc = strncmp(b.word.p, "INVALID", 7) == 0 ? -EACCES
		     : strcmp(b.word.p, "ERROR") == 0	  ? -EAGAIN
							  : -EPROTO;
	}
	if (rc)
		buf_addf(why, "requestAuthCode: %s", b.word.p);
	rescue_body_done(&b);
	return rc;
}

static const struct oauth_login login = {"email", "pwd", take_authcode};

static bool rescue_token_url(const struct target *t, struct buf *out)
{
	buf_addf(out, "%s/requestAuthCode.aspx", t->base);
	return true;
}

/* ---- at the start ---- */

static bool rescue_check(struct target *t, size_t step, struct target_request *ret,
			 const char **ret_title)
{
	if (step == 0) {
		*ret_title = "account";
		rescue_call(t, "getAccount", ret);
		return true;
	}
	*ret_title = "technician groups";
	rescue_hierarchy(t, NULL, ret);
	return step == 1;
}

static bool tell_account(const struct rescue_body *b, struct buf *text)
{
	const cJSON *account = b->records->child;
	const char *admin = rescue_field(account, "ADMINID");

	if (!*admin || strcmp(admin, "0") == 0) {
		buf_adds(text, "the caller is no administrator");
		return false;
	}
	buf_addf(text, "administrator of %s", rescue_field(account, "ORGANIZATION"));
	return true;
}

static bool names(const struct rescue_group *g, const cJSON *record)
{
	const char *key = all_digits(g->remote) ? "NODEID" : "NAME";

	return rescue_is(rescue_field(record, "TYPE"), "TechnicianGroup") &&
	       strcmp(rescue_field(record, key), g->remote) == 0;
}

/* Its node id, when there is one such group and no second. */
static const char *node_of(const struct rescue_group *g, const struct rescue_body *b,
			   const char **ret_wrong)
{
	const char *node = NULL;
	const cJSON *record;

	cJSON_ArrayForEach (record, b->records) {
		if (!names(g, record))
			continue;
		if (node)
			*ret_wrong = "there are several";
		node = rescue_field(record, "NODEID");
	}
	if (!node || !all_digits(node))
		*ret_wrong = "there is no such technician group";
	return node;
}

static bool learn_groups(struct target *t, const struct rescue_body *b, struct buf *text)
{
	bool good = true;

	for (size_t i = 0; i < t->groups_n; i++) {
		struct rescue_group *g = &t->groups[i];
		const char *wrong = NULL, *node = node_of(g, b, &wrong);

		buf_addf(text, "%s%s: ", i ? ", " : "", g->remote);
		if (wrong) {
			buf_adds(text, wrong);
			good = false;
			continue;
		}
		buf_addf(text, "node %s", node);
		free(g->node);
		g->node = mem_dup(node);
	}
	return good;
}

static bool rescue_checked(struct target *t, size_t step, const struct http_response *r,
			   struct buf *text)
{
	struct rescue_body b;
	bool good;

	rescue_body_read(r->body, &b);
	good = r->status == 200 && strcmp(b.word.p, "OK") == 0;
	if (!good)
		buf_addf(text, "status %ld, %s", r->status, b.word.p);
	else
		good = step == 0 ? tell_account(&b, text) : learn_groups(t, &b, text);
	rescue_body_done(&b);
	return good;
}

/* ---- the rest of the contract ---- */

static unsigned rescue_lane(const struct target *t, const struct target_op *op, size_t *ret_most)
{
	(void)t;
	(void)op;
	*ret_most = 1;
	return 0;
}

const struct target_driver target_rescue = {
	.name = "rescue",
	.version = "1",
	.rows = rows,
	.settle_ms = SETTLE_MS,
	.disable_frees = true,
	.credential_field = "authcode",
	.login = &login,
	.create = rescue_create,
	.destroy = rescue_destroy,
	.token_url = rescue_token_url,
	.check = rescue_check,
	.checked = rescue_checked,
	.matches = rescue_matches,
	.plan = rescue_plan,
	.lane = rescue_lane,
	.request = rescue_request,
	.answers = rescue_answers,
	.list = rescue_list,
	.listed = rescue_listed,
};
