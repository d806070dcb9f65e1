/* The Rescue driver: configuration, the grammar of answers in all its forms, plans, requests as the manual writes them, verdicts. */
#include "target_fixture.h"

#include "rescue_own.h"

#include <errno.h>

#define TARGET                                                                                     \
	"    url: https://a.example/API/\n"                                                        \
	"    mapping: {name: cn, email: mail, nick: t, description: d}\n"
#define JOIN   "    join: [{remote: email, local: mail}]\n"
#define GROUPS "    groups: [{group: a, remote: '337364'}, {group: b, remote: Field}]\n"
static struct bench bench;

static void open_with(const char *yaml)
{
	CLEANUP(buf_cleanup) struct buf why = {0}, text = {0};

	buf_addf(&text, TARGET JOIN GROUPS "%s", yaml);
	bench_open(&bench, &target_rescue, text.p, &why);
	if (!bench.target)
		fail_msg("%s", why.p);
}

/* ---- configuration ---- */

static void configuration(void **state)
{
	static const struct {
		const char *yaml;
		const char *error;
	} bad[] = {
		{TARGET JOIN, "groups: expected at least one entry {group: WATCHED"},
		{TARGET JOIN GROUPS "    leave: delete\n",
		 "leave: expected disable or unlink, driver rescue never deletes"},
		{TARGET GROUPS "    join: [{remote: externalId, local: id}]\n",
		 "join: remote: expected email"},
		{"    url: https://a.example\n    mapping: {name: cn, phone: t}\n" JOIN GROUPS,
		 "mapping.phone: expected name, nick, email, ssoid or description"},
		{"    url: https://a.example\n    mapping: {name: cn}\n" JOIN GROUPS,
		 "mapping.email: is missing, Rescue requires it of a technician"},
		{TARGET JOIN GROUPS "    options: {placement: never}\n",
		 "options.placement: expected one of initial|enforce"},
		{TARGET JOIN GROUPS "    options: {seat_word: ''}\n",
		 "options.seat_word: expected a text"},
		{TARGET JOIN GROUPS "    default_password: !env RESCUE_SHORT\n",
		 "default_password: expected at least 8 characters"},
	};

	(void)state;
	assert_int_equal(setenv("RESCUE_SHORT", "short", 1), 0);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		CLEANUP(buf_cleanup) struct buf why = {0}, text = {0};

		buf_addf(&text, "%s", bad[i].yaml);
		bench_open(&bench, &target_rescue, text.p, &why);
		assert_null(bench.target);
		if (!strstr(why.p, bad[i].error))
			fail_msg("\n got %s\nwant %s", why.p, bad[i].error);
		bench_close(&bench);
	}
}

/* ---- the grammar (fact sheet B1) ---- */

static void body_text(const char *text, struct buf *out)
{
	struct rescue_body b;
	const cJSON *record, *pair;

	rescue_body_read(slice_of(text), &b);
	buf_add(out, b.word.p, b.word.n);
	if (*b.id)
		buf_addf(out, " #%s", b.id);
	cJSON_ArrayForEach (record, b.records) {
		buf_adds(out, " {");
		cJSON_ArrayForEach (pair, record)
			buf_addf(out, "%s%s=%s", pair->prev->next ? "|" : "", pair->string,
				 pair->valuestring);
		buf_adds(out, "}");
	}
	rescue_body_done(&b);
}

static void grammar(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"OK", "OK"},
		{"OK\n", "OK"},
		{"ERROR\r\n", "ERROR"},
		{"INVALIDPARAM_EMAIL_ALREADY_IN_USE", "INVALIDPARAM_EMAIL_ALREADY_IN_USE"},
		{"OK [337364]", "OK #337364"},
		{"OK 337364\n", "OK #337364"},
		{"OK\n\n337364\n\n", "OK #337364"},
		{"OK AUTHCODE:4ahx80u0", "OK {AUTHCODE=4ahx80u0}"},
		{"OK AUTHCODE: 4ahx80u0\n", "OK {AUTHCODE=4ahx80u0}"},
		{"OK\n\nNODEID:1\nNAME:A\n\nNODEID:2\nNAME:B\n\n",
		 "OK {NODEID=1|NAME=A} {NODEID=2|NAME=B}"},
		{"OK\r\n\r\nNODEID: 1\r\nNAME: A: b & c\r\nEMAIL:\r\n\r\n",
		 "OK {NODEID=1|NAME=A: b & c|EMAIL=}"},
		/* the manual's page: everything behind the word, broken by the page's own line */
		{"OK NodeID:337364 ParentID:337363 Name:Technician Group1 Email: Description: \n"
		 "Status:Offline Type:TechnicianGroup",
		 "OK {NODEID=337364|PARENTID=337363|NAME=Technician Group1|EMAIL=|DESCRIPTION=|"
		 "STATUS=Offline|TYPE=TechnicianGroup}"},
		{"OK NodeID:1 Name:A NodeID:2 Name:B", "OK {NODEID=1|NAME=A} {NODEID=2|NAME=B}"},
		{"\xef\xbb\xbfOK\n\nNAME:Zo\xc3\xab\n\n", "OK {NAME=Zo\xc3\xab}"},
		{"OK\n\nNAME:A\nSTATUS:Offline\nSTATUS:Disabled\n\n", "OK {NAME=A|STATUS=Offline}"},
		{"OK\n\nno colon here\nNAME:A\n\n", "OK {NAME=A}"},
		{"<!DOCTYPE html>\n<html>", "HTML"},
		{"", "ODD"},
		{"Ok", "ODD"},
		{"{\"error\":1}", "ODD"},
		{"OK:NODEID", "ODD"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		body_text(cases[i].text, &text);
		/* pairs of a record are parted by | but for the first */
		if (strcmp(text.p, cases[i].expected) != 0)
			fail_msg("%s:\n got %s\nwant %s", cases[i].text, text.p, cases[i].expected);
	}
}

/* ---- answers ---- */

static void one_answer(struct target_op *op, const char *body, const char *expected)
{
	struct target_op *ops[] = {op};

	op->rid = op->kind == TARGET_FIND || op->kind == TARGET_CREATE ? NULL : "r1";
	expect_answers(&bench, ops, 1, 200, "", body, expected);
	cJSON_Delete(op->body);
	op->body = NULL;
}

static void words(void **state)
{
	static const struct {
		enum target_kind kind;
		const char *body, *expected;
	} cases[] = {
		{TARGET_UPDATE, "OK", "200 ok"},
		{TARGET_UPDATE, "ERROR", "200 retry server_error unknown"},
		{TARGET_CREATE, "ERROR", "200 retry server_error unknown"},
		{TARGET_READ, "ERROR", "200 retry server_error"},
		{TARGET_CREATE, "OK [337366]", "200 ok 337366(off)"},
		{TARGET_CREATE, "OK", "200 ok"},
		{TARGET_UPDATE, "NOTLOGGEDIN", "200 auth token_refused"},
		{TARGET_UPDATE, "INVALID_SECRETAUTHCODE", "200 auth token_refused"},
		{TARGET_UPDATE, "USER_DELETED_OR_DISABLED", "200 auth caller_disabled"},
		{TARGET_UPDATE, "LIMITREACHED", "200 throttled throttled after=3000"},
		{TARGET_UPDATE, "INVALIDPARAM_NODE", "200 gone not_found"},
		{TARGET_READ, "INVALIDPARAM_NODE", "200 gone not_found"},
		{TARGET_UPDATE, "INVALIDPARAM_EMAIL_ALREADY_IN_USE", "200 reject email_in_use"},
		{TARGET_UPDATE, "INVALIDPARAM_NAME", "200 reject invalid_value"},
		{TARGET_CREATE, "INVALIDPARAM_PARENT", "200 reject no_such_group"},
		{TARGET_UPDATE, "INVALIDPARAM_PASSWORD_X", "200 reject password_refused"},
		{TARGET_UPDATE, "INVALIDPARAM_RPATADDON", "200 reject refused"},
		{TARGET_UPDATE, "SOMETHING_NEW", "200 retry odd_answer unknown"},
		{TARGET_UPDATE, "<html>", "200 down odd_answer unknown"},
		{TARGET_FIND, "INVALIDPARAM_EMAIL", "200 ok"},
		{TARGET_FIND, "OK\n\nNODEID:9\nTYPE:Administrator\nEMAIL:a@b.c\n\n",
		 "200 reject email_in_use"},
		{TARGET_READ, "OK\n\nNODEID:9\nTYPE:Technician\n\n", "200 retry odd_answer"},
	};

	(void)state;
	open_with("");
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct target_op op = {.kind = cases[i].kind, .name = "x", .user = "u"};

		one_answer(&op, cases[i].body, cases[i].expected);
	}
	bench_close(&bench);
}

/* A look-up is two calls; the second one knows where the technician stands. */
static void parts(void **state)
{
	struct target_op op = {.kind = TARGET_FIND, .name = "find", .user = "u"}, *ops[] = {&op};
	struct target_answer a = {0};

	(void)state;
	open_with("");
	op.key = (struct target_key){"email", "a+b@c.example"};
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/getUser_v3.aspx\n"
		       "application/x-www-form-urlencoded\nemail=a%2Bb%40c.example");
	feed(&bench, ops, 1,
	     &(struct said){200, "",
			    "OK\n\nNODEID:7\nNAME:A\nNICK:n\nEMAIL:a+b@c.example\nSSOID:s\n"
			    "TYPE:Technician\nHASMOBILEADDON:True\nSTATUS:Away\n\n"},
	     &a);
	assert_true(a.more);
	assert_int_equal(a.accounts_n, 0);
	answer_clear(&a);
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/getHierarchy_v2.aspx\n"
		       "application/x-www-form-urlencoded\nisnode=true&node=7&filteroffline=false");
	feed(&bench, ops, 1, &(struct said){200, "", "OK\n\nNodeID:7\nParentID:337364\nName:A\n\n"},
	     &a);
	assert_false(a.more);
	assert_int_equal(a.accounts_n, 1);
	assert_string_equal(a.accounts[0].rid, "7");
	assert_string_equal(json_text(a.accounts[0].json, "parent"), "337364");
	assert_true(a.accounts[0].enabled);
	answer_clear(&a);
	cJSON_Delete(op.body);
	bench_close(&bench);
}

/* Nobody has the address, and a creation may have left a node: those without a name in the place of the creation are hits. */
static void blanks(void **state)
{
	cJSON *memory =
		parsed("{\"parent\":\"337364\",\"as\":{\"name\":\"A\",\"email\":\"a@b.c\"}}");
	struct target_op op = {.kind = TARGET_FIND, .name = "find", .user = "u"}, *ops[] = {&op};
	struct target_answer a = {0};

	(void)state;
	open_with("");
	op.key = (struct target_key){"email", "a@b.c"};
	op.unfinished = memory;
	feed(&bench, ops, 1, &(struct said){200, "", "INVALIDPARAM_EMAIL"}, &a);
	assert_true(a.more);
	answer_clear(&a);
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/getHierarchy_v2.aspx\n"
		       "application/x-www-form-urlencoded\nisnode=false&filteroffline=false");
	feed(&bench, ops, 1,
	     &(struct said){
		     200, "",
		     "OK\n\nNodeID:337364\nParentID:337363\nName:S\nEmail:\nType:"
		     "TechnicianGroup\n\n"
		     "NodeID:5\nParentID:337364\nName:\nEmail:\nStatus:Disabled\nType:Technician"
		     "\n\nNodeID:6\nParentID:1\nName:\nEmail:\nType:Technician\n\n"
		     "NodeID:7\nParentID:337364\nName:X\nEmail:x@y.z\nType:Technician\n\n"},
	     &a);
	assert_int_equal(a.accounts_n, 1);
	assert_string_equal(a.accounts[0].rid, "5");
	assert_true(a.accounts[0].blank);
	answer_clear(&a);
	cJSON_Delete(op.body);
	cJSON_Delete(memory);
	bench_close(&bench);
}

/* ---- plans ---- */

#define SNAPSHOT(groups)                                                                           \
	"{\"account\":{\"enabled\":true,\"expires_at\":null,\"last_logon_at\":null,"               \
	"\"locked_until\":null,\"must_change_password\":null,\"password_changed_at\":null,"        \
	"\"password_expires_at\":null},\"attrs\":{},\"dn\":\"cn=a\",\"groups\":[" groups           \
	"],\"id\":\"00000000-0000-0000-0000-000000000001\",\"immutable_id\":\"AA==\","             \
	"\"source\":\"s\"}"
#define IN_FIRST  SNAPSHOT("\"a\"")
#define IN_SECOND SNAPSHOT("\"b\"")
#define IN_NONE	  SNAPSHOT("")
#define DOC	  "{\"name\":\"A\",\"email\":\"a@b.c\",\"nick\":null}"
#define AT(parent)                                                                                 \
	"{\"node\":\"r1\",\"type\":\"Technician\",\"name\":\"A\",\"email\":\"A@b.c\",\"nick\":"    \
	"\"\",\"status\":\"Offline\",\"mobile\":false,\"rpat\":false,\"parent\":\"" parent "\"}"
#define MOBILE                                                                                     \
	"{\"node\":\"r1\",\"type\":\"Technician\",\"name\":\"A\",\"email\":\"a@b.c\",\"status\":"  \
	"\"Offline\",\"mobile\":true,\"parent\":\"337364\"}"
#define BLANK                                                                                      \
	"{\"node\":\"r1\",\"type\":\"Technician\",\"email\":\"\",\"status\":\"Disabled\","         \
	"\"parent\":\"337364\"}"

/* Names, switches and what is remembered; bodies are told by the requests. */
static void plan_is(const char *name, const struct given *g, const char *expected)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct target_plan plan;
	int rc, intents = 0;

	bench_plan(&bench, g, &plan, &rc);
	for (struct target_op *op = plan.first; op; op = op->next) {
		cJSON_Delete(op->body);
		op->body = NULL;
		intents += op->intent;
		if (op->remember && !op->remember->child) {
			cJSON_Delete(op->remember);
			op->remember = NULL;
		}
	}
	plan_text(&plan, rc, &text);
	if (intents)
		buf_addf(&text, " noted=%d", intents);
	target_plan_done(&plan);
	if (strcmp(text.p, expected) != 0)
		fail_msg("%s:\n got %s\nwant %s", name, text.p, expected);
}

static void plans_of_creations(void **state)
{
	(void)state;
	open_with("");
	plan_is("create",
		&(struct given){
			.document = DOC, .snapshot = IN_FIRST, .create = true, .enabled = true},
		"create remember={\"as\":{\"email\":\"a@b.c\",\"name\":\"A\"},\"parent\":"
		"\"337364\"} enable; name set={\"email\":\"a@b.c\",\"name\":\"A\"} "
		"remember={\"as\":null} enable noted=1");
	plan_is("in no group",
		&(struct given){
			.document = DOC, .snapshot = IN_NONE, .create = true, .enabled = true},
		"parked no_group groups");
	plan_is("a group that was not found at the start",
		&(struct given){
			.document = DOC, .snapshot = IN_SECOND, .create = true, .enabled = true},
		"parked group_unknown Field");
	plan_is("no address",
		&(struct given){.document = "{\"name\":\"A\",\"email\":null}",
				.snapshot = IN_FIRST,
				.create = true,
				.enabled = true},
		"parked mandatory_missing email");
	plan_is("no good address",
		&(struct given){.document = "{\"name\":\"A\",\"email\":\"a@b\"}",
				.snapshot = IN_FIRST,
				.create = true,
				.enabled = true},
		"invalid email: no e-mail address");
	expect_plan(&bench, "equal",
		    &(struct given){.document = DOC,
				    .snapshot = IN_FIRST,
				    .account = AT("337364"),
				    .memory = "{\"parent\":\"337364\"}",
				    .enabled = true},
		    "nothing");
	plan_is("unfinished",
		&(struct given){.document = DOC,
				.snapshot = IN_FIRST,
				.account = BLANK,
				.account_blank = true,
				.account_disabled = true,
				.enabled = true},
		"name set={\"email\":\"a@b.c\",\"name\":\"A\"} remember={\"as\":null} enable");
	plan_is("unfinished, and the person left",
		&(struct given){.left = true,
				.account = BLANK,
				.account_blank = true,
				.account_disabled = true,
				.memory = "{\"as\":{\"name\":\"A\",\"email\":\"a@b.c\"}}"},
		"name set={\"email\":\"a@b.c\",\"name\":\"A\"} remember={\"as\":null}");
	bench_close(&bench);
}

static void plans(void **state)
{
	(void)state;
	open_with("");
	plan_is("found in its place",
		&(struct given){.document = "{\"name\":\"B\",\"email\":\"a@b.c\"}",
				.snapshot = IN_FIRST,
				.account = AT("337364"),
				.enabled = true},
		"update set={\"name\":\"B\"} remember={\"parent\":\"337364\"}");
	plan_is("found elsewhere",
		&(struct given){.document = "{\"name\":\"B\",\"email\":\"a@b.c\"}",
				.snapshot = IN_FIRST,
				.account = AT("9"),
				.enabled = true},
		" remember={\"parent\":\"337364\"}");
	plan_is("moved",
		&(struct given){.document = "{\"name\":\"B\",\"email\":\"a@b.c\"}",
				.snapshot = IN_FIRST,
				.account = AT("9"),
				.memory = "{\"parent\":\"337364\"}"},
		"update disable");
	plan_is("in no group any more",
		&(struct given){
			.document = DOC, .snapshot = IN_NONE, .account = MOBILE, .enabled = true},
		"update disable");
	plan_is("left", &(struct given){.left = true, .account = MOBILE}, "update disable");
	plan_is("left, and off already",
		&(struct given){.left = true, .account = AT("9"), .account_disabled = true},
		"nothing");
	plan_is("an administrator",
		&(struct given){.document = DOC,
				.snapshot = IN_FIRST,
				.account = "{\"type\":\"Administrator\"}",
				.enabled = true},
		"parked no_technician Administrator");
	plan_is("an administrator who left",
		&(struct given){.left = true, .account = "{\"type\":\"Masteradministrator\"}"},
		"nothing");
	bench_close(&bench);
}

static void plans_as_configured(void **state)
{
	(void)state;
	open_with("    options: {placement: enforce, regrant_mobile: true}\n");
	plan_is("moved back",
		&(struct given){.document = DOC,
				.snapshot = IN_FIRST,
				.account = AT("9"),
				.memory = "{\"parent\":\"9\"}",
				.enabled = true},
		"move remember={\"parent\":\"337364\"}");
	plan_is("the add-on is NOTEd before it is taken",
		&(struct given){.document = DOC, .snapshot = IN_FIRST, .account = MOBILE},
		"free_mobile remember={\"mobile\":true} permit=disable; update disable "
		"remember={\"parent\":\"337364\"} noted=1");
	plan_is("and given back",
		&(struct given){.document = DOC,
				.snapshot = IN_FIRST,
				.account = AT("337364"),
				.account_disabled = true,
				.memory = "{\"parent\":\"337364\",\"mobile\":true}",
				.enabled = true},
		"update remember={\"mobile\":null} enable remember={\"parent\":\"337364\"}");
	bench_close(&bench);
}

/* ---- requests ---- */

static void requests(void **state)
{
	struct target_op op = {.name = "update", .user = "u", .rid = "7"}, *ops[] = {&op};

	(void)state;
	open_with("");
	op.kind = TARGET_CREATE;
	op.body = parsed("{\"parent\":\"337364\"}");
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/createUser.aspx\n"
		       "application/x-www-form-urlencoded\nparent=337364");
	cJSON_Delete(op.body);
	op.kind = TARGET_UPDATE;
	op.enabled = TARGET_DISABLE;
	op.set = parsed("{\"name\":\"A & B\"}");
	op.clear = parsed("{\"nick\":null}");
	op.body =
		parsed("{\"current\":{\"name\":\"A\",\"nick\":\"n\",\"email\":\"a@b.c\",\"ssoid\":"
		       "\"s=1\",\"description\":\"d\",\"status\":\"Online\",\"mobile\":true,"
		       "\"rpat\":true}}");
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/setUser_v2.aspx\n"
		       "application/x-www-form-urlencoded\nnode=7&name=A%20%26%20B&nick=&"
		       "email=a%40b.c&ssoid=s%3D1&description=d&status=Disabled&mobileaddon=False&"
		       "addons=False&rpataddon=True");
	op.enabled = TARGET_KEEP;
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/setUser_v2.aspx\n"
		       "application/x-www-form-urlencoded\nnode=7&name=A%20%26%20B&nick=&"
		       "email=a%40b.c&ssoid=s%3D1&description=d&status=Enabled&mobileaddon=True&"
		       "addons=True&rpataddon=True");
	cJSON_Delete(op.body);
	cJSON_Delete(op.set);
	cJSON_Delete(op.clear);
	op.set = op.clear = NULL;
	op.kind = TARGET_STEP;
	op.name = "move";
	op.body = parsed("{\"parent\":\"8\"}");
	expect_request(&bench, ops, 1,
		       "POST https://a.example/API/moveNode.aspx\n"
		       "application/x-www-form-urlencoded\nnode=7&nodeID=7&targetnode=8&"
		       "targetNodeID=8");
	cJSON_Delete(op.body);
	op.body = NULL;
	op.kind = TARGET_DELETE;
	assert_int_equal(target_rescue.request(bench.target, ops, 1, &bench.request), -EINVAL);
	bench_close(&bench);
}

/* ---- the log-in ---- */

static void log_in(void **state)
{
	static const struct {
		const char *body;
		int rc;
	} cases[] = {{"OK AUTHCODE:abc123", 0}, {"OK AUTHCODE: abc123\r\n", 0},
		     {"INVALID", -EACCES},	{"INVALIDPARAM_COMPANY", -EACCES},
		     {"ERROR", -EAGAIN},	{"LIMITREACHED", -EAGAIN},
		     {"OK", -EPROTO},		{"<html>", -EPROTO}};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		CLEANUP(buf_cleanup) struct buf token = {0}, why = {0};
		int64_t after = 0;

		assert_int_equal(
			target_rescue.login->take(slice_of(cases[i].body), &token, &after, &why),
			cases[i].rc);
		assert_int_equal(token.n > 0, cases[i].rc == 0);
		if (cases[i].rc == 0)
			assert_string_equal(token.p, "abc123");
		assert_int_equal(after, strcmp(cases[i].body, "LIMITREACHED") == 0 ? 180000 : 0);
	}
}

/* ---- the start ---- */

static bool checked(size_t step, const char *body, struct buf *text)
{
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(body)};

	buf_clear(text);
	return target_rescue.checked(bench.target, step, &r, text);
}

static void check(void **state)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	(void)state;
	open_with("");
	assert_false(checked(0, "INVALID_SECRETAUTHCODE", &text));
	assert_string_equal(text.p, "status 200, INVALID_SECRETAUTHCODE");
	assert_false(checked(0, "OK\n\nAccountID:1\nOrganization:O\nAdminID:0\n\n", &text));
	assert_true(checked(0, "OK\n\nAccountID:1\nOrganization:O\nAdminID:5\n\n", &text));
	assert_false(checked(1,
			     "OK\n\nNodeID:337364\nName:A\nType:Technician\n\n"
			     "NodeID:2\nName:Field\nType:TechnicianGroup\n\n",
			     &text));
	assert_string_equal(text.p, "337364: there is no such technician group, Field: node 2");
	assert_false(checked(1,
			     "OK\n\nNodeID:337364\nName:A\nType:TechnicianGroup\n\n"
			     "NodeID:2\nName:Field\nType:TechnicianGroup\n\n"
			     "NodeID:3\nName:Field\nType:TechnicianGroup\n\n",
			     &text));
	assert_true(checked(1,
			    "OK\n\nNodeID:337364\nName:A\nType:TechnicianGroup\n\n"
			    "NodeID:2\nName:Field\nType:TechnicianGroup\n\n",
			    &text));
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(configuration),
		cmocka_unit_test(grammar),
		cmocka_unit_test(words),
		cmocka_unit_test(parts),
		cmocka_unit_test(blanks),
		cmocka_unit_test(requests),
		cmocka_unit_test(plans_of_creations),
		cmocka_unit_test(plans),
		cmocka_unit_test(plans_as_configured),
		cmocka_unit_test(log_in),
		cmocka_unit_test(check),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
