/* The Graph driver: configuration, plans, requests as the vendor's pages show them, answers also from hostile services. */
#include "target_fixture.h"

#include <errno.h>

#define BASE "https://graph.example/v1.0"
#define MAPPING                                                                                    \
	"    url: https://graph.example/v1.0/\n    login_url: https://login.example/\n"            \
	"    tenant: 11/22\n"                                                                      \
	"    mapping: {userPrincipalName: mail, displayName: d, mailNickname: n, businessPhones: " \
	"p, "                                                                                      \
	"employeeOrgData.division: v}\n"                                                           \
	"    join: [{remote: onPremisesImmutableId, local: immutable_id}, {remote: employeeId, "   \
	"local: e}]\n"
#define SELECT                                                                                     \
	"id,accountEnabled,onPremisesImmutableId,onPremisesSyncEnabled,businessPhones,"            \
	"displayName,"                                                                             \
	"employeeOrgData,mailNickname,userPrincipalName,employeeId"

static struct bench bench;

static void open_with(const char *yaml)
{
	CLEANUP(buf_cleanup) struct buf why = {0}, text = {0};

	buf_adds(&text, MAPPING);
	buf_adds(&text, yaml);
	bench_open(&bench, &target_graph, text.p, &why);
	if (!bench.target)
		fail_msg("%s", why.p);
}

/* ---- configuration ---- */

static void configuration(void **state)
{
	static const struct {
		const char *yaml, *error;
	} bad[] = {
		{MAPPING "    options: {batch: 21}\n",
		 "options.batch: expected a whole number from 1 to 20"},
		{MAPPING "    options: {priority: urgent}\n",
		 "options.priority: expected one of none|low"},
		{MAPPING "    options: {patch: 1}\n",
		 "options.patch: unknown key, expected one of batch, "},
		{"    url: https://g.example\n    tenant: t\n    mapping: {displayName: d}\n",
		 "mapping.userPrincipalName: is missing"},
		{"    url: https://g.example\n    tenant: t\n    create: false\n    mapping: "
		 "{accountEnabled: d}\n",
		 "mapping.accountEnabled: is written by itself"},
		{"    url: https://g.example\n    tenant: t\n    create: false\n    mapping: "
		 "{proxyAddresses: d}\n",
		 "mapping.proxyAddresses: cannot be written by an application"},
		{"    url: https://g.example\n    tenant: t\n    create: false\n    mapping: "
		 "{'a&b': d}\n",
		 "mapping.a&b: expected the name of a property"},
		{"    url: https://g.example\n    tenant: t\n    create: false\n    mapping: "
		 "{city: d}\n"
		 "    join: [{remote: \"a' or\", local: id}]\n",
		 "join: remote: expected the name of a property"},
	};
	CLEANUP(buf_cleanup) struct buf url = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct bench b;
		CLEANUP(buf_cleanup) struct buf why = {0};

		bench_open(&b, &target_graph, bad[i].yaml, &why);
		assert_null(b.target);
		if (!strstr(why.p, bad[i].error))
			fail_msg("%s\n got %s\nwant %s", bad[i].yaml, why.p, bad[i].error);
		bench_close(&b);
	}
	open_with("");
	assert_true(target_graph.token_url(bench.target, &url));
	assert_string_equal(url.p, "https://login.example/11%2F22/oauth2/v2.0/token");
	bench_close(&bench);
}

static void check(void **state)
{
	static const char *const organization =
		"{\"value\":[{\"id\":\"t\",\"verifiedDomains\":[{\"name\":\"a.example\"},{\"name\":"
		"\"b.example\"}]}]}";
	struct http_response r = {
		.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(organization)};
	CLEANUP(buf_cleanup) struct buf text = {0};
	const char *title;

	(void)state;
	open_with("");
	request_clear(&bench.request);
	assert_true(target_graph.check(bench.target, 0, &bench.request, &title));
	assert_string_equal(bench.request.url.p, BASE "/organization?$select=id,verifiedDomains");
	assert_true(target_graph.checked(bench.target, 0, &r, &text));
	assert_string_equal(text.p, "verified domains: a.example b.example");
	request_clear(&bench.request);
	assert_true(target_graph.check(bench.target, 1, &bench.request, &title));
	assert_string_equal(bench.request.url.p, BASE "/users?$select=" SELECT "&$top=1");
	r.status = 403;
	r.body =
		SLICE("{\"error\":{\"code\":\"Authorization_RequestDenied\",\"message\":\"No.\"}}");
	assert_true(target_graph.checked(bench.target, 0, &r, &text));
	assert_false(target_graph.checked(bench.target, 1, &r, &text));
	r.status = 200;
	r.body = SLICE("<html>");
	assert_false(target_graph.checked(bench.target, 1, &r, &text));
	request_clear(&bench.request);
	assert_false(target_graph.check(bench.target, 2, &bench.request, &title));
	bench_close(&bench);
}

/* ---- plans ---- */

#define NEEDED                                                                                     \
	"\"displayName\":\"Anna\",\"mailNickname\":\"anna\",\"userPrincipalName\":\"anna@a."       \
	"example\""
#define REMOTE                                                                                     \
	"\"displayName\":\"Anna\",\"mailNickname\":\"anna\",\"userPrincipalName\":\"Anna@A."       \
	"example\""

static const struct {
	const char *name;
	struct given given;
	const char *plan;
} plans[] = {
	{"create, with a manager",
	 {.document = "{" NEEDED ",\"businessPhones\":[\"1\",\"2\"],\"city\":null}",
	  .create = true,
	  .enabled = true,
	  .manager = "m9"},
	 "create set={\"businessPhones\":[\"1\"]," NEEDED "} enable; manager body=\"m9\" "
	 "remember={\"manager\":\"m9\"}"},
	{"create disabled",
	 {.document = "{" NEEDED "}", .create = true},
	 "create set={" NEEDED "} disable"},
	{"equal",
	 {.document = "{" NEEDED
		      ",\"businessPhones\":\"1\",\"otherMails\":[\"b@x\",\"a@x\"],\"city\":null,"
		      "\"usageLocation\":\"de\"}",
	  .account = "{" REMOTE
		     ",\"businessPhones\":[\"1\"],\"otherMails\":[\"A@x\",\"b@x\"],\"city\":null,"
		     "\"usageLocation\":\"DE\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"changed and cleared",
	 {.document = "{" NEEDED ",\"city\":null,\"jobTitle\":\"Dr\",\"businessPhones\":[],"
		      "\"usageLocation\":null}",
	  .account = "{" REMOTE
		     ",\"city\":\"Bonn\",\"businessPhones\":[\"1\"],\"usageLocation\":\"DE\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"jobTitle\":\"Dr\"} clear={\"businessPhones\":null,\"city\":null}"},
	{"both halves of employeeOrgData",
	 {.document = "{" NEEDED ",\"employeeOrgData.division\":\"X\"}",
	  .account = "{" REMOTE ",\"employeeOrgData\":{\"division\":\"Y\",\"costCenter\":\"9\"}}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "update set={\"employeeOrgData.costCenter\":\"9\",\"employeeOrgData.division\":\"X\"}"},
	{"not read",
	 {.document = "{" NEEDED ",\"city\":null}", .enabled = true, .link = LINK_ACTIVE},
	 "update set={" NEEDED "} clear={\"city\":null}"},
	{"disable",
	 {.document = "{" NEEDED "}", .account = "{" REMOTE "}", .link = LINK_ACTIVE},
	 "update remember={\"revoke_sessions\":true} disable; "
	 "revoke_sessions remember={\"revoke_sessions\":null} permit=disable"},
	{"enable again",
	 {.document = "{" NEEDED "}",
	  .account = "{" REMOTE "}",
	  .account_disabled = true,
	  .enabled = true,
	  .link = LINK_DISABLED},
	 "update enable"},
	{"left",
	 {.left = true, .link = LINK_ACTIVE},
	 "update remember={\"revoke_sessions\":true} disable; "
	 "revoke_sessions remember={\"revoke_sessions\":null} permit=disable"},
	{"left and off", {.left = true, .link = LINK_DISABLED}, "nothing"},
	{"left for good", {.left = true, .leave_delete = true}, "delete permit=delete"},
	{"left for good, deleted already",
	 {.left = true, .leave_delete = true, .account = "{" REMOTE "}", .account_deleted = true},
	 "nothing"},
	{"restore",
	 {.document = "{" NEEDED "}",
	  .account = "{\"displayName\":\"Anna\",\"mailNickname\":\"anna\",\"userPrincipalName\":"
		     "\"0123anna@a.example\"}",
	  .account_deleted = true,
	  .account_disabled = true,
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "restore; update set={\"userPrincipalName\":\"anna@a.example\"} enable"},
	{"mandatory missing",
	 {.document = "{\"displayName\":null,\"mailNickname\":\"\",\"userPrincipalName\":\"a@b\"}",
	  .create = true,
	  .enabled = true},
	 "parked mandatory_missing displayName mailNickname"},
	{"mandatory missing, to be disabled",
	 {.document = "{\"displayName\":null,\"mailNickname\":\"anna\",\"userPrincipalName\":"
		      "\"anna@a.example\"}",
	  .account = "{" REMOTE "}",
	  .link = LINK_ACTIVE},
	 "update remember={\"revoke_sessions\":true} disable; "
	 "revoke_sessions remember={\"revoke_sessions\":null} permit=disable"},
	{"mastered elsewhere",
	 {.document = "{" NEEDED "}",
	  .account = "{" REMOTE ",\"onPremisesSyncEnabled\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "parked mastered_on_premises onPremisesSyncEnabled"},
	{"several values for one",
	 {.document = "{" NEEDED ",\"jobTitle\":[\"a\",\"b\"]}", .create = true, .enabled = true},
	 "invalid jobTitle: expected one value"},
	{"the same manager",
	 {.document = "{" NEEDED "}",
	  .account = "{" REMOTE "}",
	  .memory = "{\"manager\":\"m9\"}",
	  .manager = "m9",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"no manager any more",
	 {.document = "{" NEEDED "}",
	  .account = "{" REMOTE "}",
	  .memory = "{\"manager\":\"m9\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "manager remember={\"manager\":null}"},
	{"a manager without an account",
	 {.document = "{" NEEDED "}",
	  .account = "{" REMOTE "}",
	  .manager = "",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
};

static void plan_table(void **state)
{
	(void)state;
	open_with("");
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
		expect_plan(&bench, plans[i].name, &plans[i].given, plans[i].plan);
	bench_close(&bench);
}

/* ---- requests ---- */

static void simple_requests(void **state)
{
	struct target_op op = {.kind = TARGET_READ, .name = "x", .rid = "r1", .user = "u1"};
	struct target_op *ops = &op;

	(void)state;
	open_with("    options: {priority: low}\n");
	expect_request(&bench, &ops, 1,
		       "GET " BASE "/users/r1?$select=" SELECT "\nx-ms-throttle-priority: low\n");
	bench_close(&bench);
	open_with("");
	op.kind = TARGET_FIND;
	op.key = (struct target_key){"employeeOrgData.division", "O'Neil & Söhne"};
	expect_request(&bench, &ops, 1,
		       "GET " BASE
		       "/users?$filter=employeeOrgData%2Fdivision%20eq%20%27O%27%27Neil%20%26%20S%"
		       "C3%B6hne%27&$select=" SELECT "&$top=2\n");
	/* Update user; null clears, a collection by [] */
	op.kind = TARGET_UPDATE;
	op.set = parsed("{\"employeeOrgData.division\":\"X\",\"employeeOrgData.costCenter\":\"9\","
			"\"businessPhones\":\"1\"}");
	op.clear = parsed("{\"city\":null,\"otherMails\":null}");
	op.enabled = TARGET_DISABLE;
	expect_request(
		&bench, &ops, 1,
		"PATCH " BASE
		"/users/r1\napplication/json\n{\"employeeOrgData\":{\"division\":\"X\","
		"\"costCenter\":\"9\"},\"businessPhones\":[\"1\"],\"city\":null,\"otherMails\":[],"
		"\"accountEnabled\":false}");
	cJSON_Delete(op.set);
	cJSON_Delete(op.clear);
	op.kind = TARGET_DELETE;
	expect_request(&bench, &ops, 1, "DELETE " BASE "/users/r1\n");
	op.kind = TARGET_STEP;
	op.name = "restore";
	expect_request(&bench, &ops, 1,
		       "POST " BASE "/directory/deletedItems/r1/restore\napplication/json\n{}");
	op.name = "manager";
	expect_request(&bench, &ops, 1, "DELETE " BASE "/users/r1/manager/$ref\n");
	op.body = cJSON_CreateString("m9");
	expect_request(&bench, &ops, 1,
		       "PUT " BASE
		       "/users/r1/manager/$ref\napplication/json\n{\"@odata.id\":\"" BASE
		       "/users/m9\"}");
	cJSON_Delete(op.body);
	bench_close(&bench);
}

static bool holds_any(const char *text, const char *any)
{
	return strpbrk(text, any) != NULL;
}

static void create_request(void **state)
{
	struct target_op op = {
		.kind = TARGET_CREATE, .name = "create", .user = "u1", .enabled = TARGET_ENABLE};
	struct target_op *ops = &op;
	char last[64] = "";

	(void)state;
	open_with("");
	op.set = parsed("{" NEEDED ",\"onPremisesExtensionAttributes.extensionAttribute1\":\"x\"}");
	for (int i = 0; i < 2; i++) { /* another password each time */
		cJSON *body, *profile;
		const char *password;

		request_clear(&bench.request);
		assert_int_equal(target_graph.request(bench.target, &ops, 1, &bench.request), 0);
		assert_string_equal(bench.request.url.p, BASE "/users");
		body = parsed(bench.request.body.p);
		profile = cJSON_DetachItemFromObject(body, "passwordProfile");
		assert_true(json_true(profile, "forceChangePasswordNextSignIn", false));
		password = json_text(profile, "password");
		assert_true(strlen(password) >= 16);
		assert_true(holds_any(password, "0123456789") &&
			    holds_any(password, "abcdefghijkmnopqrstuvwxyz") &&
			    holds_any(password, "!#%*+-=?@_"));
		assert_string_not_equal(password, last);
		snprintf(last, sizeof(last), "%s", password);
		CLEANUP(buf_cleanup) struct buf text = {0};

		json_canonical(body, &text);
		assert_string_equal(
			text.p,
			"{\"accountEnabled\":true,\"displayName\":\"Anna\",\"mailNickname\":"
			"\"anna\",\"onPremisesExtensionAttributes\":{\"extensionAttribute1\":"
			"\"x\"},\"userPrincipalName\":\"anna@a.example\"}");
		cJSON_Delete(profile);
		cJSON_Delete(body);
	}
	cJSON_Delete(op.set);
	bench_close(&bench);
}

static void batch(void **state)
{
	struct target_op find = {
		.kind = TARGET_FIND, .user = "u1", .key = {"onPremisesImmutableId", "ab=="}};
	struct target_op patch = {.kind = TARGET_UPDATE,
				  .name = "update",
				  .user = "u2",
				  .rid = "2",
				  .enabled = TARGET_ENABLE};
	struct target_op drop = {.kind = TARGET_DELETE, .name = "delete", .user = "u3", .rid = "3"};
	struct target_op *one[] = {&find}, *two[] = {&patch, &drop};
	size_t most;

	(void)state;
	open_with("");
	expect_request(&bench, one, 1,
		       "POST " BASE "/$batch\napplication/"
		       "json\n{\"requests\":[{\"id\":\"u1\",\"method\":\"GET\",\"url\":\"/users?"
		       "$filter=onPremisesImmutableId%20eq%20%27ab%3D%3D%27&$select=" SELECT
		       "&$top=2\"},{\"id\":\"u1-deleted\","
		       "\"method\":\"GET\",\"url\":\"/directory/deletedItems/"
		       "microsoft.graph.user?$filter=onPremisesImmutableId%20"
		       "eq%20%27ab%3D%3D%27&$select=" SELECT "&$top=2\"}]}");
	target_graph.lane(bench.target, &find, &most);
	assert_int_equal(most, 10);
	expect_request(&bench, two, 2,
		       "POST " BASE "/$batch\napplication/"
		       "json\n{\"requests\":[{\"id\":\"u2\",\"method\":\"PATCH\",\"url\":"
		       "\"/users/2\",\"headers\":{\"Content-Type\":\"application/"
		       "json\"},\"body\":{\"accountEnabled\":true}},"
		       "{\"id\":\"u3\",\"method\":\"DELETE\",\"url\":\"/users/3\"}]}");
	target_graph.lane(bench.target, &patch, &most);
	assert_int_equal(most, 20);
	assert_int_not_equal(target_graph.lane(bench.target, &find, &most),
			     target_graph.lane(bench.target, &patch, &most));
	bench_close(&bench);
	open_with("    options: {restore: false, batch: 1}\n");
	target_graph.lane(bench.target, &patch, &most);
	assert_int_equal(most, 1);
	assert_int_equal(target_graph.request(bench.target, one, 1, &bench.request), 0);
	assert_int_equal(bench.request.method, HTTP_GET);
	bench_close(&bench);
}

/* ---- answers ---- */

#define ERROR(code, message) "{\"error\":{\"code\":\"" code "\",\"message\":\"" message "\"}}"
#define DETAIL(word, target)                                                                       \
	"{\"error\":{\"code\":\"Request_BadRequest\",\"message\":\"x\",\"details\":[{\"code\":"    \
	"\"" word "\",\"target\":\"" target "\"}]}}"
#define BAD "Request_BadRequest"

static const struct {
	enum target_kind kind;
	int status;
	const char *body, *expected;
} answers[] = {
	{TARGET_CREATE, 201, "{\"id\":\"e0872b63-1\",\"mail\":null}", "201 ok e0872b63-1"},
	{TARGET_CREATE, 201, "{\"mail\":null}", "201 ok"},
	{TARGET_CREATE, 201, "{\"id\":7}", "201 ok"},
	{TARGET_CREATE, 201, "{\"id\":\"../groups/1\"}", "201 ok"},
	{TARGET_CREATE, 201, "{\"id\":\"g1\",\"@odata.type\":\"#microsoft.graph.group\"}",
	 "201 ok"},
	{TARGET_CREATE, 201, "{\"id\":\"e08", "201 retry not_json unknown"},
	{TARGET_CREATE, 200, "<html>", "200 retry not_json unknown"},
	{TARGET_CREATE, 400,
	 ERROR(BAD,
	       "Another object with the same value for property userPrincipalName already exists."),
	 "400 park name_taken field=userPrincipalName"},
	{TARGET_UPDATE, 400, DETAIL("ObjectConflict", "userPrincipalName"),
	 "400 park name_taken field=userPrincipalName"},
	{TARGET_CREATE, 400, DETAIL("ObjectConflict", "onPremisesImmutableId"),
	 "400 exists immutable_id_taken field=onPremisesImmutableId"},
	{TARGET_CREATE, 400,
	 ERROR(BAD, "A conflicting object with one or more of the specified property values is "
		    "present in the directory."),
	 "400 exists immutable_id_taken"},
	{TARGET_UPDATE, 400,
	 ERROR(BAD,
	       "Another object with the same value for property proxyAddresses already exists."),
	 "400 park name_taken field=proxyAddresses"},
	{TARGET_UPDATE, 400,
	 ERROR(BAD, "Unable to update the specified properties for on-premises mastered Directory "
		    "Sync objects or objects currently undergoing migration."),
	 "400 park mastered_on_premises"},
	{TARGET_UPDATE, 400,
	 ERROR(BAD, "Unable to update the specified properties for objects that have originated "
		    "within an external service."),
	 "400 park mastered_elsewhere"},
	{TARGET_CREATE, 400,
	 ERROR(BAD, "The specified password does not comply with password complexity requirements. "
		    "Please provide a different password."),
	 "400 retry password_refused"},
	{TARGET_CREATE, 400, DETAIL("InvalidValue", "userPrincipalName"),
	 "400 reject invalid_value field=userPrincipalName"},
	{TARGET_UPDATE, 403,
	 ERROR("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
	 "403 reject protected_user"},
	{TARGET_CREATE, 403,
	 ERROR("Authorization_RequestDenied", "Insufficient privileges to complete the operation."),
	 "403 reject forbidden"},
	{TARGET_CREATE, 403, ERROR("Directory_QuotaExceeded", "x"), "403 down directory_full"},
	{TARGET_UPDATE, 409, ERROR("Directory_ConcurrencyViolation", "x"), "409 retry concurrent"},
	{TARGET_UPDATE, 429, ERROR("TooManyRequests", "x"), "429 throttled throttled after=3000"},
	{TARGET_UPDATE, 401, ERROR("InvalidAuthenticationToken", "x"), "401 auth token_refused"},
	{TARGET_UPDATE, 404, ERROR("Request_ResourceNotFound", "x"), "404 gone not_found"},
	{TARGET_STEP, 404, ERROR("Request_ResourceNotFound", "x"),
	 "404 ok"}, /* no manager to take away */
	{TARGET_UPDATE, 400,
	 "{\"error\":{\"code\":7,\"message\":{\"value\":\"x\"},\"details\":{}}}",
	 "400 reject refused"},
	{TARGET_UPDATE, 400, "{\"error\":\"invalid_request\"}", "400 reject refused"},
	{TARGET_UPDATE, 502, "<html>", "502 retry server_error unknown"},
	{TARGET_UPDATE, 204, "", "204 ok"},
	{TARGET_UPDATE, 200, "<html>", "200 retry not_json unknown"},
	{TARGET_DELETE, 204, "", "204 ok"},
	{TARGET_DELETE, 404, "", "404 gone not_found"},
	{TARGET_READ, 200, "{\"id\":\"R1\",\"accountEnabled\":false}", "200 ok R1(off)"},
	{TARGET_READ, 200, "{\"id\":\"r2\"}", "200 retry not_json"},
	{TARGET_READ, 200, "<html>", "200 retry not_json"},
	{TARGET_READ, 200, "", "200 retry not_json"},
	{TARGET_FIND, 200, "{\"value\":[]}", "200 ok"},
	{TARGET_FIND, 200, "{\"value\":[{\"id\":\"a\"},{\"id\":\"b\"}]}", "200 ok a b"},
	{TARGET_FIND, 200, "{\"value\":[{\"id\":[]}]}", "200 retry not_json"},
	{TARGET_FIND, 200, "{}", "200 retry not_json"},
};

static void answer_table(void **state)
{
	struct target_op op = {
		.name = "manager", .rid = "r1", .user = "u", .key = {"employeeId", "7"}};
	struct target_op *ops = &op;

	(void)state;
	open_with("");
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		op.kind = answers[i].kind;
		expect_answers(&bench, &ops, 1, answers[i].status, "", answers[i].body,
			       answers[i].expected);
	}
	op.body = cJSON_CreateString("m9");
	op.kind = TARGET_STEP;
	expect_answers(&bench, &ops, 1, 404, "", ERROR("Request_ResourceNotFound", "x"),
		       "404 retry not_yet_visible");
	cJSON_Delete(op.body);
	bench_close(&bench);
}

static void batch_answers(void **state)
{
	struct target_op a = {.kind = TARGET_CREATE, .name = "create", .user = "u1"},
			 b = {.kind = TARGET_UPDATE, .name = "update", .user = "u2", .rid = "2"},
			 c = {.kind = TARGET_DELETE, .name = "delete", .user = "u3", .rid = "3"};
	struct target_op *ops[] = {&a, &b, &c};

	(void)state;
	open_with("");
	/* any order, ids and header names in any case, one throttled alone */
	expect_answers(&bench, ops, 3, 200, "",
		       "{\"responses\":[{\"id\":\"U3\",\"status\":204},{\"id\":\"u2\",\"status\":"
		       "429,\"headers\":{\"retry-after\":"
		       "\"2.128\"},\"body\":" ERROR(
			       "TooManyRequests",
			       "x") "},{\"id\":\"u1\",\"status\":201,\"body\":{\"id\":\"n1\"}}]}",
		       "201 ok n1; 429 throttled throttled after=2128; 204 ok");
	/* the envelope of an older page */
	expect_answers(&bench, ops, 3, 424, "",
		       "{\"responses\":[{\"id\":\"u1\",\"status\":201,\"body\":{\"id\":\"n1\"}},{"
		       "\"id\":\"u2\",\"status\":204},"
		       "{\"id\":\"u3\",\"status\":429}]}",
		       "201 ok n1; 204 ok; 429 throttled throttled after=3000");
	/* one missing, one twice, a status that is none */
	expect_answers(&bench, ops, 3, 200, "",
		       "{\"responses\":[{\"id\":\"u2\",\"status\":204},{\"id\":\"u2\",\"status\":"
		       "400},{\"id\":\"u3\",\"status\":\"204\"}]}",
		       "0 retry odd_status unknown; 0 retry odd_status unknown; 0 retry odd_status "
		       "unknown");
	/* what is not JSON comes as text */
	expect_answers(
		&bench, ops, 3, 200, "",
		"{\"responses\":[{\"id\":\"u1\",\"status\":502,\"body\":\"PGh0bWw+\"},{\"id\":"
		"\"u2\",\"status\":200,\"body\":"
		"\"PGh0bWw+\"},{\"id\":\"u3\",\"status\":404,\"body\":" ERROR(
			"Request_ResourceNotFound", "x") "}]}",
		"502 retry server_error unknown; 200 retry not_json unknown; 404 gone not_found");
	/* the whole was refused */
	expect_answers(&bench, ops, 3, 429, "Retry-After: 7\r\n", ERROR("TooManyRequests", "x"),
		       "429 throttled throttled after=7000; 429 throttled throttled after=7000; "
		       "429 throttled throttled after=7000");
	expect_answers(&bench, ops, 3, 200, "", "{\"responses\":{}}",
		       "200 retry not_json unknown; 200 retry not_json unknown; 200 retry not_json "
		       "unknown");
	expect_answers(&bench, ops, 3, 200, "", "<html>",
		       "200 retry not_json unknown; 200 retry not_json unknown; 200 retry not_json "
		       "unknown");
	bench_close(&bench);
}

/* A look-up is two requests in one batch. */
static void find_answers(void **state)
{
	static const struct {
		const char *live, *deleted, *expected;
	} cases[] = {
		{"200,\"body\":{\"value\":[{\"id\":\"a\"}]}", "200,\"body\":{\"value\":[]}",
		 "200 ok a"},
		{"200,\"body\":{\"value\":[]}", "200,\"body\":{\"value\":[{\"id\":\"d\"}]}",
		 "200 ok d(deleted)"},
		{"200,\"body\":{\"value\":[{\"id\":\"a\"}]}",
		 "200,\"body\":{\"value\":[{\"id\":\"d\"}]}", "200 ok a"},
		{"200,\"body\":{\"value\":[]}",
		 "400,\"body\":" ERROR("Request_UnsupportedQuery", "x"), "200 ok"},
		{"200,\"body\":{\"value\":[]}", "429,\"headers\":{\"Retry-After\":\"9\"}",
		 "429 throttled throttled after=9000"},
		{"200,\"body\":{\"value\":[]}", "200,\"body\":{}", "200 retry not_json"},
		{"503,\"body\":{}", "200,\"body\":{\"value\":[]}", "503 retry unavailable"},
	};
	struct target_op op = {
		.kind = TARGET_FIND, .user = "u1", .key = {"onPremisesImmutableId", "x"}};
	struct target_op *ops = &op;

	(void)state;
	open_with("");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(buf_cleanup) struct buf body = {0};

		buf_addf(&body,
			 "{\"responses\":[{\"id\":\"u1-deleted\",\"status\":%s},{\"id\":\"u1\","
			 "\"status\":%s}]}",
			 cases[i].deleted, cases[i].live);
		expect_answers(&bench, &ops, 1, 200, "", body.p, cases[i].expected);
	}
	/* half of the answer is none: "nobody" must not be concluded */
	expect_answers(&bench, &ops, 1, 200, "",
		       "{\"responses\":[{\"id\":\"u1\",\"status\":200,\"body\":{\"value\":[]}}]}",
		       "0 retry odd_status");
	bench_close(&bench);
}

/* ---- pages ---- */

static void take(void *arg, const struct target_account *account)
{
	buf_addf(arg, "%s%s ", account->rid, account->enabled ? "" : "(off)");
}

static char *page(struct buf *seen, const char *body, int rc)
{
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(body)};
	char *next = NULL;

	buf_clear(seen);
	assert_int_equal(target_graph.listed(bench.target, &r, take, seen, &next), rc);
	return next;
}

static void pages(void **state)
{
	CLEANUP(buf_cleanup) struct buf seen = {0};
	char *next;

	(void)state;
	open_with("");
	request_clear(&bench.request);
	assert_int_equal(target_graph.list(bench.target, NULL, &bench.request), 0);
	assert_string_equal(bench.request.url.p, BASE "/users?$select=" SELECT "&$top=999");
	next = page(&seen,
		    "{\"value\":[{\"id\":\"a\"},{\"id\":\"b\",\"accountEnabled\":false}],\"@odata."
		    "nextLink\":\"https://GRAPH.example:443/x?y\"}",
		    0);
	assert_string_equal(seen.p, "a b(off) ");
	assert_string_equal(next, "https://GRAPH.example:443/x?y");
	free(next);
	assert_null(page(&seen, "{\"value\":[]}", 0));
	/* to another host, to plain text, no page at all: nothing of it is taken */
	assert_null(
		page(&seen,
		     "{\"value\":[{\"id\":\"a\"}],\"@odata.nextLink\":\"https://evil.example/x\"}",
		     -EPROTO));
	assert_null(
		page(&seen,
		     "{\"value\":[{\"id\":\"a\"}],\"@odata.nextLink\":\"http://graph.example/x\"}",
		     -EPROTO));
	assert_null(page(&seen, "{\"value\":[{\"id\":\"a\"},{\"id\":9}]}", -EPROTO));
	assert_null(page(&seen, "<html>", -EPROTO));
	assert_int_equal(seen.n, 0);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),  cmocka_unit_test(check),
		cmocka_unit_test(plan_table),	  cmocka_unit_test(simple_requests),
		cmocka_unit_test(create_request), cmocka_unit_test(batch),
		cmocka_unit_test(answer_table),	  cmocka_unit_test(batch_answers),
		cmocka_unit_test(find_answers),	  cmocka_unit_test(pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
