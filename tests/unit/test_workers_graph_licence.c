/* The Graph driver on licences, groups and sessions: plans from verdicts, requests as the vendor's pages show them, words of refusals. */
#include "target_fixture.h"

#include <errno.h>

#define BASE "https://graph.example/v1.0"
#define E3   "6fd2c87f-b296-42f0-b197-1e91e994b900"
#define F1   "4b585984-651b-448a-9e53-3b10f069cf7f"
#define G1   "11111111-1111-1111-1111-111111111111"
#define YAML                                                                                       \
	"    url: https://graph.example/v1.0\n    login_url: https://login.example\n    tenant: "  \
	"t\n    mapping: {userPrincipalName: mail, displayName: d, mailNickname: n}\n"             \
	"    join: [{remote: onPremisesImmutableId, local: immutable_id}]\n"                       \
	"    licences: [{group: a, sku: SPE_E3}, {group: b, sku: " F1 ", disabled_plans: "         \
	"[p1]}]\n    groups: [{group: a, remote: " G1 "}, {group: b, remote: Club}]\n"             \
	"    licence_policy: {revoke_when: [disabled], groups: true}\n"
static struct bench bench;
static struct licence *licence;

static void open_bench(void)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct http_response r = {
		.failure = HTTP_ANSWERED,
		.status = 200,
		.body = SLICE("{\"value\":[{\"skuId\":\"" E3 "\",\"skuPartNumber\":\"SPE_E3\"}]}")};

	bench_open(&bench, &target_graph, YAML, &why);
	if (!bench.target)
		fail_msg("%s", why.p);
	licence = licence_new(conf_named(conf_root(bench.conf), "targets", "t"), &why);
	assert_true(target_graph.checked(bench.target, 2, &r, &why));
}

static void close_bench(void)
{
	licence_free(licence);
	bench_close(&bench);
}

struct scene {
	const char *groups;  /* of the directory */
	const char *account; /* NULL: not read */
	const char *memory;
	const char *no_seat;
	bool disabled, create, left, privileged;
};

static void say_plan(const struct target_plan *plan, struct buf *out)
{
	if (plan->read)
		buf_adds(out, "READ");
	for (const struct target_op *op = plan->first; op && !plan->read; op = op->next) {
		buf_addf(out, "%s%s%s%s%s%s", out->n ? "; " : "", op->name, op->what ? " " : "",
			 op->what ? op->what : "", op->permit ? " permit" : "",
			 op->intent ? " intent" : "");
		add_json(out, "body", op->body);
		add_json(out, "remember", op->remember);
	}
	if (!plan->read)
		add_json(out, "| so", plan->remember);
	if (plan->parked)
		buf_addf(out, " | then %s %s", plan->parked, plan->waits.n ? plan->waits.p : "");
}

static void plan_of(const struct scene *s, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	const char *no_seat[] = {s->no_seat, NULL}, *why;
	cJSON *memory = parsed(s->memory ? s->memory : "{}");
	cJSON *document = parsed(s->left ? "{}"
					 : "{\"displayName\":\"A\",\"mailNickname\":\"a\","
					   "\"userPrincipalName\":\"a@b\"}");
	struct target_account account = {.enabled = !s->disabled, .privileged = s->privileged};
	struct target_link link = {"r1", s->disabled ? LINK_DISABLED : LINK_ACTIVE, memory};
	struct licence_verdict v;
	struct target_plan plan;

	buf_addf(&text,
		 "{\"account\":{\"enabled\":%s},\"attrs\":{},\"dn\":\"cn=a\",\"groups\":%s,\"id\":"
		 "\"00000000-0000-0000-0000-000000000001\",\"immutable_id\":\"AA==\",\"source\":"
		 "\"s\"}",
		 s->disabled ? "false" : "true", s->groups);
	struct snapshot *snapshot = snapshot_parse(buf_slice(&text), &why);
	struct licence_facts f = {
		.snapshot = snapshot, .left = s->left, .memory = memory, .now_unix_ms = 5};

	licence_judge(licence, &f, &v);
	struct target_want want = {.document = document,
				   .enabled = !s->disabled && !s->left,
				   .left = s->left,
				   .create = s->create,
				   .snapshot = snapshot,
				   .link = &link,
				   .account = s->account ? &account : NULL,
				   .now_unix_ms = 5,
				   .licence = &v,
				   .no_seat = no_seat};

	if (s->account) {
		CLEANUP(buf_cleanup) struct buf whole = {0};

		buf_addf(&whole,
			 "{\"displayName\":\"A\",\"mailNickname\":\"a\",\"userPrincipalName\":"
			 "\"a@b\",%s}",
			 s->account);
		account.json = parsed(whole.p);
		account.rid = mem_dup("r1");
	}
	target_plan_init(&plan);
	assert_int_equal(target_graph.plan(bench.target, &want, &plan), 0);
	say_plan(&plan, out);
	target_plan_done(&plan);
	target_account_done(&account);
	licence_verdict_done(&v);
	snapshot_free(snapshot);
	cJSON_Delete(document);
	cJSON_Delete(memory);
}

#define DIRECT(sku, plans)                                                                         \
	"{\"skuId\":\"" sku "\",\"assignedByGroup\":null,\"disabledPlans\":[" plans "]}"
#define STATES(list)                                                                               \
	"\"assignedLicenses\":[{\"skuId\":\"" E3 "\"},{\"skuId\":\"" F1                            \
	"\"}],\"licenseAssignmentStates\":[" list "],\"memberOf\":[\"" G1 "\"]"
#define ADD(sku, plans)                                                                            \
	"{\"addLicenses\":[{\"disabledPlans\":[" plans "],\"skuId\":\"" sku                        \
	"\"}],\"removeLicenses\":[]}"
#define REMOVE(sku) "{\"addLicenses\":[],\"removeLicenses\":[\"" sku "\"]}"
#define OURS	    "\"given:" E3 "\":true,\"given:group:" G1 "\":true"

static const struct {
	const char *name;
	struct scene scene;
	const char *plan;
} plans[] = {
	{"a new user: group, then licence, after the creation",
	 {.groups = "[\"a\"]", .create = true},
	 "create; member_add " G1 " remember={\"given:group:" G1 "\":true}; licence_assign " E3
	 " body=" ADD(E3, "") " remember={\"given:" E3 "\":true}"},
	{"all as remembered: nothing is read",
	 {.groups = "[\"a\"]", .memory = "{" OURS "}"},
	 "update"},
	{"something new is wanted: what the account holds is looked at first",
	 {.groups = "[\"a\",\"b\"]", .memory = "{" OURS "}"},
	 "READ"},
	{"it is there already, and becomes ours",
	 {.groups = "[\"a\"]", .account = STATES(DIRECT(E3, "\"x\""))},
	 " | so={\"given:" E3 "\":true,\"given:group:" G1 "\":true}"},
	{"plans that a rule wants off are put off",
	 {.groups = "[\"a\",\"b\"]",
	  .memory = "{" OURS ",\"given:group:Club\":true}",
	  .account = STATES(DIRECT(E3, "") "," DIRECT(F1, ""))},
	 "group_find Club; member_add Club remember={\"given:group:Club\":true}; licence_assign " F1
	 " body=" ADD(F1, "\"p1\"") " remember={\"given:" F1 "\":true}"},
	{"what a group brings is enough",
	 {.groups = "[\"a\"]",
	  .memory = "{\"given:group:" G1 "\":true}",
	  .account = STATES("{\"skuId\":\"" E3 "\",\"assignedByGroup\":\"g\"}")},
	 "nothing"},
	{"no rule wants it any more",
	 {.groups = "[]", .memory = "{" OURS "}", .account = STATES(DIRECT(E3, ""))},
	 "member_remove " G1 " remember={\"given:group:" G1 "\":null}; licence_revoke " E3
	 " permit body=" REMOVE(E3) " remember={\"given:" E3 "\":null}"},
	{"others come before",
	 {.groups = "[\"a\"]", .no_seat = E3, .account = STATES("")},
	 " | so={\"given:group:" G1 "\":true} | then no_seat seat:" E3},
	{"revoking looks first",
	 {.groups = "[\"a\"]", .disabled = true, .memory = "{" OURS "}"},
	 "READ"},
	{"revoked with all that is needed to give it back, but not what a group brings",
	 {.groups = "[\"a\"]",
	  .disabled = true,
	  .memory = "{" OURS "}",
	  .account =
		  STATES(DIRECT(E3, "\"x\"") ",{\"skuId\":\"" F1 "\",\"assignedByGroup\":\"g\"}")},
	 "member_remove " G1 " permit remember={\"given:group:" G1 "\":null}; licence_revoke " E3
	 " permit intent body=" REMOVE(E3) " remember={\"given:" E3 "\":null,\"taken:" E3
					   "\":{\"at\":5,\"keep\":{\"disabledPlans\":[\"x\"],"
					   "\"given\":true},\"reasons\":[\"disabled\"]}}"},
	{"noted but not done before: done without a new record",
	 {.groups = "[]",
	  .disabled = true,
	  .memory = "{\"taken:" E3 "\":{\"at\":1,\"reasons\":[\"disabled\"]}}",
	  .account = STATES(DIRECT(E3, ""))},
	 "licence_revoke " E3 " permit body=" REMOVE(E3)},
	{"an administrator's account loses nothing",
	 {.groups = "[\"a\"]",
	  .disabled = true,
	  .privileged = true,
	  .memory = "{" OURS "}",
	  .account = STATES(DIRECT(E3, ""))},
	 "nothing"},
	{"given back in one request, exactly",
	 {.groups = "[\"a\"]",
	  .memory = "{\"given:group:" G1 "\":true,\"taken:" E3
		    "\":{\"keep\":{\"disabledPlans\":[\"x\"],\"given\":true}},\"taken:" F1
		    "\":{\"keep\":{\"disabledPlans\":[]}}}",
	  .account = "\"assignedLicenses\":[],\"licenseAssignmentStates\":[],\"memberOf\":[\"" G1
		     "\"]"},
	 "licence_reinstate " E3
	 " body={\"addLicenses\":[{\"disabledPlans\":[\"x\"],\"skuId\":\"" E3
	 "\"},{\"disabledPlans\":[],\"skuId\":\"" F1
	 "\"}],\"removeLicenses\":[]} remember={\"given:" E3 "\":true,\"taken:" F1
	 "\":null,\"taken:" E3 "\":null}"},
	{"all or nothing",
	 {.groups = "[]",
	  .no_seat = F1,
	  .memory = "{\"taken:" E3 "\":{\"keep\":{}},\"taken:" F1 "\":{\"keep\":{}}}",
	  .account = "\"assignedLicenses\":[]"},
	 " | then no_seat seat:" F1},
	{"what a rule gave and none gives any more stays away; what is there again is closed",
	 {.groups = "[]",
	  .memory = "{\"taken:" E3 "\":{\"keep\":{\"given\":true}},\"taken:" F1 "\":{\"keep\":{}}}",
	  .account = STATES(DIRECT(F1, ""))},
	 " | so={\"taken:" F1 "\":null,\"taken:" E3 "\":null}"},
	{"sessions end with the account", {.groups = "[]", .left = true, .memory = "{}"}, "READ"},
	{"sessions that are owed, after a crash",
	 {.groups = "[]",
	  .disabled = true,
	  .memory = "{\"revoke_sessions\":true}",
	  .account = "\"assignedLicenses\":[]"},
	 "revoke_sessions permit remember={\"revoke_sessions\":null}"},
	{"and owed no more",
	 {.groups = "[]",
	  .memory = "{\"revoke_sessions\":true}",
	  .account = "\"assignedLicenses\":[]"},
	 " | so={\"revoke_sessions\":null}"},
	{"mastered elsewhere: licences all the same",
	 {.groups = "[\"a\"]",
	  .memory = "{\"given:group:" G1 "\":true}",
	  .account = "\"onPremisesSyncEnabled\":true,\"assignedLicenses\":[],\"memberOf\":[\"" G1
		     "\"]"},
	 "licence_assign " E3 " body=" ADD(E3, "") " remember={\"given:" E3
						   "\":true} | then mastered_on_premises "},
};

static void plans_follow_the_verdict(void **state)
{
	(void)state;
	open_bench();
	for (size_t i = 0; i < sizeof(plans) / sizeof(*plans); i++) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		plan_of(&plans[i].scene, &text);
		if (strcmp(text.n ? text.p : "nothing", plans[i].plan) != 0)
			fail_msg("%s:\n got %s\nwant %s", plans[i].name, text.p, plans[i].plan);
	}
	close_bench();
}

static void requests(void **state)
{
	struct target_op op = {.kind = TARGET_STEP, .rid = "r1", .user = "u1"}, *ops = &op;
	size_t most;
	char e3[] = E3, club[] = "Club", group[] = G1;

	(void)state;
	open_bench();
	op.name = "licence_revoke";
	op.what = e3;
	op.body = parsed(REMOVE(E3));
	target_graph.lane(bench.target, &op, &most);
	assert_int_equal(most, 1); /* a row of three cannot share a batch */
	expect_request(
		&bench, &ops, 1,
		"POST " BASE
		"/$batch\napplication/json\n{\"requests\":[{\"id\":\"u1-before\",\"method\":"
		"\"GET\",\"url\":\"/subscribedSkus\"},{\"id\":\"u1\",\"method\":\"POST\",\"url\":"
		"\"/users/r1/"
		"assignLicense\",\"dependsOn\":[\"u1-before\"],\"headers\":{\"Content-Type\":"
		"\"application/json\"},\"body\":" REMOVE(
			E3) "},{\"id\":\"u1-after\",\"method\":\"GET\",\"url\":"
			    "\"/subscribedSkus\",\"dependsOn\":[\"u1\"]}]}");
	assert_true(target_graph.downgrade(bench.target, &op, NULL));
	expect_request(&bench, &ops, 1,
		       "POST " BASE "/users/r1/assignLicense\napplication/json\n" REMOVE(E3));
	cJSON_Delete(op.body);
	op = (struct target_op){.kind = TARGET_STEP,
				.name = "member_add",
				.what = group,
				.rid = "r1",
				.user = "u1"};
	expect_request(&bench, &ops, 1,
		       "POST " BASE "/groups/" G1
		       "/members/$ref\napplication/json\n{\"@odata.id\":\"" BASE
		       "/directoryObjects/r1\"}");
	op.name = "member_remove";
	expect_request(&bench, &ops, 1, "DELETE " BASE "/groups/" G1 "/members/r1/$ref\n");
	op.what = club; /* not looked up yet */
	assert_int_equal(target_graph.request(bench.target, &ops, 1, &bench.request), -EINVAL);
	op.name = "group_find";
	expect_request(&bench, &ops, 1,
		       "GET " BASE "/groups?$filter=displayName%20eq%20%27Club%27&$select=id,"
		       "displayName&$top=2\n");
	op.name = "revoke_sessions";
	expect_request(&bench, &ops, 1,
		       "POST " BASE "/users/r1/revokeSignInSessions\napplication/json\n{}");
	op = (struct target_op){.kind = TARGET_READ, .rid = "r1", .user = "u1"};
	request_clear(&bench.request);
	assert_int_equal(target_graph.request(bench.target, &ops, 1, &bench.request), 0);
	assert_non_null(
		strstr(bench.request.body.p, "\"url\":\"/users/r1/memberOf?$select=id&$top=999\""));
	assert_non_null(strstr(bench.request.body.p, "licenseAssignmentStates"));
	close_bench();
}

#define ERROR(message) "{\"error\":{\"code\":\"Request_BadRequest\",\"message\":\"" message "\"}}"

static void refusals(void **state)
{
	static const struct {
		const char *name, *what;
		int status;
		const char *body, *expected;
	} rows[] = {
		{"licence_assign", E3, 400,
		 ERROR("Subscription with SKU " E3 " does not have any available licenses."),
		 "400 park no_seat field=" E3},
		{"licence_assign", E3, 400,
		 ERROR("License assignment cannot be done for user with invalid usage location."),
		 "400 park usage_location_missing"},
		{"licence_revoke", E3, 400, ERROR("User does not have a corresponding license."),
		 "400 ok"},
		{"licence_revoke", E3, 403,
		 "{\"error\":{\"code\":\"Authorization_RequestDenied\",\"message\":\"No.\"}}",
		 "403 reject permission_missing"},
		{"member_add", G1, 400,
		 ERROR("One or more added object references already exist for the following "
		       "modified "
		       "properties: 'members'."),
		 "400 ok"},
		{"member_add", G1, 404, ERROR("Resource '" G1 "' does not exist."),
		 "404 park group_missing"},
		{"member_add", G1, 404, ERROR("Resource 'r1' does not exist."),
		 "404 retry not_yet_visible"},
		{"member_add", G1, 400,
		 ERROR("Updating the membership of a dynamic group is not allowed."),
		 "400 park group_dynamic"},
		{"member_add", G1, 400,
		 ERROR("Unable to update the specified properties for on-premises mastered "
		       "Directory Sync "
		       "objects."),
		 "400 park group_mastered_elsewhere"},
		{"member_remove", G1, 404, ERROR("Resource 'r1' does not exist."), "404 ok"},
		{"group_find", "Club", 200, "{\"value\":[]}", "404 park group_missing"},
		{"group_find", "Club", 200, "{\"value\":[{\"id\":\"" G1 "\"},{\"id\":\"" E3 "\"}]}",
		 "404 park group_ambiguous"},
		{"group_find", "Club", 200, "{\"value\":{}}", "200 retry not_json unknown"},
		{"group_find", "Club", 200, "{\"value\":[{\"id\":\"" G1 "\"}]}", "200 ok"},
		{"revoke_sessions", NULL, 404, ERROR("Resource 'r1' does not exist."),
		 "404 retry not_yet_visible"},
	};

	(void)state;
	open_bench();
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct target_op op = {
			.kind = TARGET_STEP, .name = rows[i].name, .rid = "r1", .user = "u1"};
		struct target_op *ops = &op;
		CLEANUP(free_cleanup) char *what = rows[i].what ? mem_dup(rows[i].what) : NULL;

		op.what = what;
		assert_true(target_graph.downgrade(
			bench.target,
			&(struct target_op){.kind = TARGET_STEP, .name = "licence_assign"}, NULL));
		expect_answers(&bench, &ops, 1, rows[i].status, "", rows[i].body, rows[i].expected);
	}
	close_bench();
}

static void counts_and_holdings(void **state)
{
	char e3[] = E3;
	struct target_op op = {.kind = TARGET_STEP,
			       .name = "licence_assign",
			       .what = e3,
			       .rid = "r1",
			       .user = "u1"};
	struct target_op read = {.kind = TARGET_READ, .rid = "r1", .user = "u1"}, *ops = &op;
	struct target_answer a;
	struct said said = {
		200, "",
		"{\"responses\":[{\"id\":\"u1-after\",\"status\":200,\"body\":{\"value\":[{"
		"\"skuId\":\"" E3 "\",\"consumedUnits\":8,\"prepaidUnits\":{\"enabled\":10,"
		"\"warning\":2}}]}},{\"id\":\"u1\",\"status\":200,\"body\":{\"id\":\"r1\"}},{"
		"\"id\":"
		"\"u1-before\",\"status\":200,\"body\":{\"value\":[{\"skuId\":\"" E3
		"\",\"consumedUnits\":7,\"prepaidUnits\":{\"enabled\":10,\"warning\":2}}]}}]}"};

	(void)state;
	open_bench();
	feed(&bench, &ops, 1, &said, &a);
	assert_int_equal(a.status, 200);
	assert_string_equal(a.audit.p, "used=7/12>8/12");
	answer_clear(&a);
	said.body = "{\"responses\":[{\"id\":\"u1-before\",\"status\":403},{\"id\":\"u1\","
		    "\"status\":424}]}";
	expect_said(&bench, &ops, 1, &said, "424 downgrade");
	ops = &read;
	said.body = "{\"responses\":[{\"id\":\"u1\",\"status\":200,\"body\":{\"id\":\"r1\","
		    "\"memberOf\":[\"x\"]}},{"
		    "\"id\":\"u1-holds\",\"status\":200,\"body\":{\"value\":[{\"@odata.type\":"
		    "\"#microsoft.graph.group\",\"id\":\"" G1
		    "\"},{\"@odata.type\":\"#microsoft.graph.directoryRole\",\"id\":\"z\"}]}}]}";
	feed(&bench, &ops, 1, &said, &a);
	assert_true(a.accounts_n == 1 && a.accounts[0].privileged);
	assert_string_equal(json_array(a.accounts[0].json, "memberOf")->child->valuestring, G1);
	answer_clear(&a);
	close_bench();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plans_follow_the_verdict),
		cmocka_unit_test(requests),
		cmocka_unit_test(refusals),
		cmocka_unit_test(counts_and_holdings),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
