/* The SCIM driver: options, what the service says of itself, plans. */
#include "scim_fixture.h"

/* ---- configuration ---- */

static void options(void **state)
{
	static const struct {
		const char *yaml;
		const char *error;
	} bad[] = {
		{MAPPING "    options: {bluk: never}\n",
		 ": options.bluk: unknown key, expected one of"},
		{MAPPING "    options: {bulk: maybe}\n",
		 "c.yaml:7:15: options.bulk: expected one of auto|always|never"},
		{MAPPING "    options: {bulk_size: 101}\n",
		 ": options.bulk_size: expected a whole number from 2 to 100"},
		{MAPPING "    options: {discovery: 1}\n",
		 ": options.discovery: expected true or false"},
		{MAPPING "    options: {dialect: okta}\n",
		 ": options.dialect: expected one of rfc|entra|"},
		{MAPPING "    groups: [{group: a, remote: R, kind: role}]\n",
		 ": groups.kind: SCIM has one kind of group"},
		{MAPPING "    options: {unique: [1]}\n",
		 ": options.unique: expected a list of texts"},
		{"    url: https://a.example\n    mapping: {externalId: id}\n",
		 ": mapping.userName: is missing"},
		{"    url: https://a.example\n    mapping: {userName: m, active: x}\n",
		 ": mapping.active: follows"},
		{"    url: https://a.example\n    mapping: {userName: m, meta.version: x}\n",
		 ": mapping.meta.version: is read-only"},
		{"    url: https://a.example\n    mapping: {userName: m, 'emails[type co "
		 "\"w\"].value': x}\n",
		 ": expected ATTRIBUTE[SUB eq \"TEXT\"].SUB"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bench b;
		CLEANUP(buf_cleanup) struct buf why = {0};

		bench_open(&b, &target_scim, bad[i].yaml, &why);
		assert_null(b.target);
		if (!strstr(why.p, bad[i].error))
			fail_msg("%s\n got %s\nwant %s", bad[i].yaml, why.p, bad[i].error);
		bench_close(&b);
	}
}

static void discovery(void **state)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct http_response r = {
		.failure = HTTP_ANSWERED, .status = 404, .body = SLICE("nothing")};
	const char *title = NULL;
	size_t most;
	struct target_op op = {.kind = TARGET_CREATE};

	(void)state;
	open_with("");
	request_clear(&bench.request);
	assert_true(target_scim.check(bench.target, 0, &bench.request, &title));
	assert_string_equal(bench.request.url.p, "https://a.example/v2/ServiceProviderConfig");
	/* Salesforce spells it with an s */
	assert_true(target_scim.checked(bench.target, 0, &r, &text));
	request_clear(&bench.request);
	assert_true(target_scim.check(bench.target, 1, &bench.request, &title));
	assert_string_equal(bench.request.url.p, "https://a.example/v2/ServiceProviderConfigs");
	target_scim.lane(bench.target, &op, &most);
	assert_int_equal(most, 1);
	discover(full);
	target_scim.lane(bench.target, &op, &most);
	assert_int_equal(most, 100);
	/* a portal's page is no list of users */
	r = (struct http_response){
		.failure = HTTP_ANSWERED, .status = 200, .body = SLICE("<html>")};
	assert_false(target_scim.checked(bench.target, 4, &r, &text));
	assert_false(target_scim.check(bench.target, 5, &bench.request, &title));
	bench_close(&bench);
}

/* ---- plans ---- */

#define DOC                                                                                        \
	"{\"" URN ".department\":\"R&D\",\"emails\":[\"a@b.example\"],\"externalId\":\"7\","       \
	"\"name.familyName\":\"Berg\",\"title\":null,\"userName\":\"anna\"}"
#define ACCOUNT                                                                                    \
	"{\"id\":\"r1\",\"userName\":\"Anna\",\"externalId\":\"7\",\"active\":true,\"emails\":[{"  \
	"\"value\":\"A@b.example\",\"type\":\"work\",\"primary\":true}],\"name\":{\"familyName\":" \
	"\"Berg\",\"formatted\":\"B\"},\"" URN "\":{\"department\":\"R&D\"}}"

static const struct {
	const char *name;
	struct given given;
	const char *plan;
} plans[] = {
	{"create",
	 {.document = DOC, .create = true, .enabled = true},
	 "create "
	 "set={\"emails\":[\"a@b.example\"],\"externalId\":\"7\",\"name.familyName\":\"Berg\","
	 "\"" URN ".department\":\"R&D\",\"userName\":\"anna\"} enable"},
	{"create disabled",
	 {.document = "{\"userName\":\"a\"}", .create = true},
	 "create set={\"userName\":\"a\"} disable"},
	{"equal: nothing, whatever the service added",
	 {.document = DOC, .account = ACCOUNT, .enabled = true, .link = LINK_ACTIVE},
	 "nothing"},
	{"changed and cleared",
	 {.document = "{\"title\":null,\"userName\":\"anna\",\"name.familyName\":\"Bergström\"}",
	  .account = "{\"userName\":\"anna\",\"title\":\"Dr\",\"name\":{\"familyName\":\"Berg\"}}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"name.familyName\":\"Bergström\"} clear={\"title\":null}"},
	{"not read: everything",
	 {.document = "{\"title\":null,\"userName\":\"anna\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"userName\":\"anna\"} clear={\"title\":null}"},
	{"disable",
	 {.document = "{\"userName\":\"anna\"}",
	  .account = "{\"userName\":\"anna\"}",
	  .link = LINK_ACTIVE},
	 "update disable"},
	{"enable again",
	 {.document = "{\"userName\":\"anna\"}",
	  .account = "{\"userName\":\"anna\"}",
	  .account_disabled = true,
	  .enabled = true,
	  .link = LINK_DISABLED},
	 "update enable"},
	{"left: disable alone", {.left = true, .link = LINK_ACTIVE}, "update disable"},
	{"left and disabled", {.left = true, .link = LINK_DISABLED}, "nothing"},
	{"left for good",
	 {.left = true, .leave_delete = true, .link = LINK_DISABLED},
	 "delete permit=delete"},
	{"no userName",
	 {.document = "{\"userName\":null}", .create = true, .enabled = true},
	 "parked mandatory_missing userName"},
	{"no userName, to be disabled",
	 {.document = "{\"userName\":null}", .link = LINK_ACTIVE},
	 "update disable"},
	{"phone numbers in another spelling",
	 {.document = "{\"phoneNumbers\":[\"+1 201 555 0123\"],\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"phoneNumbers\":[{\"value\":\"tel:+1-201-555-0123\"}]}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"another display name in letters alone",
	 {.document = "{\"displayName\":\"anna\",\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"displayName\":\"Anna\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"displayName\":\"anna\"}"},
	{"one e-mail address too many",
	 {.document = "{\"emails\":[\"a@b.c\"],\"userName\":\"a\"}",
	  .account =
		  "{\"userName\":\"a\",\"emails\":[{\"value\":\"a@b.c\"},{\"value\":\"d@b.c\"}]}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"emails\":[\"a@b.c\"]}"},
	{"an element that is not there",
	 {.document = "{\"emails[type eq \\\"work\\\"].value\":\"a@b.c\",\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"emails\":[{\"type\":\"home\",\"value\":\"a@b.c\"}]}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"emails[type eq \\\"work\\\"].value\":\"a@b.c\"} "
	 "body={\"add\":[\"emails[type eq "
	 "\\\"work\\\"].value\"]}"},
	{"an element that is there",
	 {.document = "{\"emails[type eq \\\"work\\\"].value\":\"A@b.c\",\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"emails\":[{\"type\":\"Work\",\"value\":\"a@b.c\"}]}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"a password is set by a creation alone",
	 {.document = "{\"password\":\"x\",\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"a manager",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\"}",
	  .manager = "m9",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"" URN ".manager\":{\"value\":\"m9\"}} remember={\"manager\":\"m9\"}"},
	{"the same manager",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"" URN "\":{\"manager\":{\"value\":\"m9\"}}}",
	  .memory = "{\"manager\":\"m9\"}",
	  .manager = "m9",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"no manager any more",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\"}",
	  .memory = "{\"manager\":\"m9\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "manager clear={\"" URN ".manager\":null} remember={\"manager\":null}"},
	{"a manager without an account",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\"}",
	  .manager = "",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
};

static void plan_table(void **state)
{
	(void)state;
	open_with("    options: {manager: always}\n");
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
		expect_plan(&bench, plans[i].name, &plans[i].given, plans[i].plan);
	bench_close(&bench);
}

static void matches(void **state)
{
	cJSON *a = parsed(
		"{\"userName\":\"Anna\",\"externalId\":\"X\",\"emails\":[{\"value\":\"a@b.c\"}]}");
	static const struct {
		struct target_key key;
		bool hit;
	} keys[] = {
		{{"userName", "anna"}, true},	   {{"externalId", "x"}, false},
		{{"externalId", "X"}, true},	   {{"emails", "A@b.c"}, true},
		{{"emails.value", "a@b.c"}, true}, {{"emails.value", "z@b.c"}, false},
		{{"title", "a"}, false},
	};

	(void)state;
	open_with("");
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		assert_int_equal(target_scim.matches(bench.target, a, &keys[i].key), keys[i].hit);
	assert_false(target_scim.refuses_second(bench.target, "userName"));
	bench_close(&bench);
	open_with("    options: {unique: [userName]}\n");
	assert_true(target_scim.refuses_second(bench.target, "userName"));
	bench_close(&bench);
	cJSON_Delete(a);
}

/* Each dialect is a set of switches, and each of them can be set alone against it. */
static void dialect_table(void **state)
{
	struct target_op add = {
		.kind = TARGET_STEP, .name = "group_add", .what = (char[]){"Staff"}};
	struct target_op gone = {
		.kind = TARGET_STEP, .name = "group_remove", .what = (char[]){"Staff"}};
	const char *title;
	size_t most;

	(void)state;
	open_with("    options: {dialect: entra}\n    groups: [{group: a, remote: Staff}]\n");
	request_clear(&bench.request);
	assert_true(target_scim.check(bench.target, 0, &bench.request, &title));
	assert_string_equal(bench.request.url.p, "https://a.example/v2/serviceproviderconfig");
	target_scim.lane(bench.target, &add, &most);
	assert_int_equal(most, 20);
	target_scim.lane(bench.target, &gone, &most);
	assert_int_equal(most, 1);
	bench_close(&bench);
	open_with("    options: {dialect: entra, endpoints: mixed, members_max: 7}\n"
		  "    groups: [{group: a, remote: Staff}]\n");
	request_clear(&bench.request);
	assert_true(target_scim.check(bench.target, 0, &bench.request, &title));
	assert_string_equal(bench.request.url.p, "https://a.example/v2/ServiceProviderConfig");
	target_scim.lane(bench.target, &add, &most);
	assert_int_equal(most, 7);
	bench_close(&bench);
}

#define ATTR(name, mutability)                                                                     \
	"{\"name\":\"" name "\",\"mutability\":\"" mutability "\",\"subAttributes\":["             \
	"{\"name\":\"familyName\",\"mutability\":\"readWrite\"}]}"

static void learn_schemas(const char *attributes, const char *said)
{
	CLEANUP(buf_cleanup) struct buf text = {0}, body = {0};
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200};

	buf_addf(&body, "{\"Resources\":[{\"id\":\"" CORE "\",\"attributes\":[%s]}]}", attributes);
	r.body = buf_slice(&body);
	assert_true(target_scim.checked(bench.target, 2, &r, &text));
	assert_string_equal(text.p, said);
}

/* The service's schema: what it does not know is told, what it would refuse is not sent. */
static void schemas(void **state)
{
	static const struct given changed = {
		.document = "{\"externalId\":\"7\",\"name.familyName\":\"B\",\"title\":\"Dr\","
			    "\"userName\":\"a\"}",
		.account = "{\"userName\":\"b\",\"externalId\":\"8\",\"title\":\"x\"}",
		.enabled = true,
		.link = LINK_ACTIVE};
	struct given made = changed;

	(void)state;
	made.account = NULL;
	made.create = true;
	for (int ignore = 0; ignore < 2; ignore++) {
		open_with(ignore ? "    options: {schemas: false}\n" : "");
		learn_schemas(
			ATTR("userName", "immutable") "," ATTR("title", "readOnly") "," ATTR(
				"name", "readWrite"),
			"read-only there, left out: title; set by a creation alone: userName");
		expect_plan(&bench, "changed", &changed,
			    ignore ? "update set={\"externalId\":\"7\",\"name.familyName\":\"B\","
				     "\"title\":\"Dr\",\"userName\":\"a\"}"
				   : "update set={\"externalId\":\"7\",\"name.familyName\":\"B\"}");
		expect_plan(&bench, "made", &made,
			    ignore ? "create set={\"externalId\":\"7\",\"name.familyName\":\"B\","
				     "\"title\":\"Dr\",\"userName\":\"a\"} enable"
				   : "create set={\"externalId\":\"7\",\"name.familyName\":\"B\","
				     "\"userName\":\"a\"} enable");
		bench_close(&bench);
	}
	open_with("");
	learn_schemas(ATTR("userName", "readWrite") "," ATTR("name", "readWrite"),
		      "not in the service's schema: title");
	learn_schemas(ATTR("userName", "readWrite") "," ATTR("title", "readWrite") "," ATTR(
			      "name", "readWrite"),
		      "all 4 mapped fields can be written");
	bench_close(&bench);
}

/* ---- groups ---- */

static void learn_group(size_t step, const char *body, const char *said)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(body)};

	assert_true(target_scim.checked(bench.target, step, &r, &text));
	assert_string_equal(text.p, said);
}

static const struct {
	const char *name;
	struct given given;
	const char *plan;
} group_plans[] = {
	{"into a group, and nothing else is sent",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"Staff"}},
	 "group_add Staff body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"adding:Staff\":null,\"given:Staff\":true}"},
	{"in it already",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .memory = "{\"given:Staff\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"Staff"}},
	 "nothing"},
	{"the service shows that somebody took it away",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"groups\":[{\"value\":\"g9\"}]}",
	  .memory = "{\"given:Staff\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"Staff"}},
	 "group_add Staff body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"adding:Staff\":null,\"given:Staff\":true}"},
	{"the service shows that it is so",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"groups\":[{\"value\":\"g1\"}]}",
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"Staff"}},
	 " remember={\"given:Staff\":true}"},
	{"out of a group that was given",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .memory = "{\"given:Staff\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"-"}},
	 "group_remove Staff body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"given:Staff\":null}"},
	{"out of a group that he may have been put into",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .memory = "{\"adding:Staff\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"-"}},
	 "group_remove Staff body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"adding:Staff\":null,\"given:Staff\":null}"},
	{"a membership that is not ours stays",
	 {.document = "{\"userName\":\"a\"}",
	  .account = "{\"userName\":\"a\",\"groups\":[{\"value\":\"g1\"}]}",
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .groups = {"-"}},
	 "nothing"},
	{"a new account has no groups, whatever the last one had",
	 {.document = "{\"userName\":\"a\"}",
	  .create = true,
	  .memory = "{\"given:Staff\":true}",
	  .enabled = true,
	  .groups = {"Staff"}},
	 "create set={\"userName\":\"a\"} enable; group_add Staff "
	 "body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"adding:Staff\":null,\"given:Staff\":true}"},
	{"a group that is not there is looked for last",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .now = 70000,
	  .groups = {"Later", "Staff"}},
	 "group_add Staff body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"adding:Staff\":null,\"given:Staff\":true}; group_find Later "
	 "body={\"group\":\"Later\",\"now\":70000}"},
	{"it was looked for just now",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .enabled = true,
	  .link = LINK_ACTIVE,
	  .now = 50000,
	  .groups = {"Later", "Staff"}},
	 "parked group_missing Later; group_add Staff "
	 "body={\"group\":\"Staff\",\"id\":\"g1\"} "
	 "remember={\"adding:Staff\":null,\"given:Staff\":true}"},
	{"who left stays where he is", {.left = true, .link = LINK_DISABLED}, "nothing"},
	{"no rule counts",
	 {.document = "{\"userName\":\"a\"}",
	  .document_applied = true,
	  .memory = "{\"given:Staff\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
};

static void group_table(void **state)
{
	(void)state;
	open_with("    groups: [{group: a, remote: Staff}, {group: b, remote: Later}, "
		  "{group: c, remote: Staff}]\n");
	learn_group(4,
		    "{\"Resources\":[{\"id\":\"g1\",\"displayName\":\"staff\"},"
		    "{\"id\":\"g2\",\"displayName\":\"Staff2\"}]}",
		    "Staff found");
	learn_group(5, "{\"totalResults\":0}", "Later is not there yet; its members wait");
	for (size_t i = 0; i < sizeof(group_plans) / sizeof(group_plans[0]); i++)
		expect_plan(&bench, group_plans[i].name, &group_plans[i].given,
			    group_plans[i].plan);
	learn_group(4,
		    "{\"Resources\":[{\"id\":\"g1\",\"displayName\":\"Staff\"},"
		    "{\"id\":\"g2\",\"displayName\":\"Staff\"}]}",
		    "Staff is the name of several");
	expect_plan(&bench, "which of them?",
		    &(struct given){.document = "{\"userName\":\"a\"}",
				    .document_applied = true,
				    .memory = "{\"given:Staff\":true}",
				    .enabled = true,
				    .link = LINK_ACTIVE,
				    .groups = {"-"}},
		    "nothing");
	bench_close(&bench);
}

/* ---- services that want things their own way ---- */

static void whole_lists_and_frozen_accounts(void **state)
{
	static const char doc[] =
		"{\"emails[type eq \\\"work\\\"].value\":\"a@b.c\",\"userName\":\"a\"}";
	struct given g = {.document = doc, .enabled = true, .link = LINK_ACTIVE};

	(void)state;
	open_with("    options: {elements: whole}\n");
	expect_plan(&bench, "not seen", &g, "read");
	g.account = "{\"userName\":\"a\",\"emails\":[{\"type\":\"home\",\"value\":\"h\"}]}";
	expect_plan(&bench, "seen", &g,
		    "update set={\"emails[type eq \\\"work\\\"].value\":\"a@b.c\"} "
		    "body={\"account\":{\"emails\":[{\"type\":\"home\",\"value\":\"h\"}],"
		    "\"userName\":\"a\"},\"add\":[\"emails[type eq \\\"work\\\"].value\"]}");
	bench_close(&bench);
	open_with("    options: {dialect: launchdarkly}\n");
	g = (struct given){.document = "{\"title\":\"Dr\",\"userName\":\"a\"}",
			   .account = "{\"userName\":\"a\"}",
			   .account_disabled = true,
			   .link = LINK_DISABLED};
	expect_plan(&bench, "inactive: left alone", &g, "nothing");
	g.enabled = true;
	expect_plan(&bench, "enabled with all that it missed", &g,
		    "update set={\"title\":\"Dr\"} enable");
	g.account = NULL;
	g.document_applied = true;
	expect_plan(&bench, "enabled, not seen", &g, "read");
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),	 cmocka_unit_test(discovery),
		cmocka_unit_test(dialect_table), cmocka_unit_test(schemas),
		cmocka_unit_test(group_table),	 cmocka_unit_test(whole_lists_and_frozen_accounts),
		cmocka_unit_test(plan_table),	 cmocka_unit_test(matches),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
