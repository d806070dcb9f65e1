/* The Incident IQ driver: options, plans, requests as the vendor's documentation shows them, answers also from hostile sites. */
#include "target_fixture.h"

#include <errno.h>

#define SITE	"e00c1bec-0f08-4711-80c3-0003ff6859f9"
#define PLACE	"48e13e94-3c38-e811-80c3-0003ff685cc1"
#define STAFF	"6d5fee76-e05e-43c0-b8e9-b8447746e503"
#define HEADERS "SiteId: " SITE "\nClient: ApiClient\n"
#define LIST                                                                                       \
	"{\"OnlyShowDeleted\":false,\"ExcludeNoAccess\":false,\"Filters\":[],\"FieldsToReturn\":[" \
	"]}"

static struct bench bench;

static void open_with(const char *options)
{
	CLEANUP(buf_cleanup) struct buf why = {0}, text = {0};

	buf_addf(&text,
		 "    url: https://s.example/api/v1.0/\n"
		 "    mapping: {Email: mail, FirstName: gn, LastName: sn, RoleId: r, LocationId: "
		 "l}\n"
		 "    options: {site_id: " SITE "%s}\n",
		 options);
	bench_open(&bench, &target_incidentiq, text.p, &why);
	if (!bench.target)
		fail_msg("%s", why.p);
}

static void learn_locations(const char *body)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(body)};

	assert_true(target_incidentiq.checked(bench.target, 0, &r, &text));
}

#define PLACES                                                                                     \
	"{\"Items\":[{\"LocationId\":\"" PLACE "\",\"Name\":\"Central Office\"},"                  \
	"{\"LocationId\":\"1\",\"Name\":\"Twin\"},{\"LocationId\":\"2\",\"Name\":\"twin\"}]}"

#define DOC(location, role)                                                                        \
	"{\"Email\":\"a@b.example\",\"FirstName\":\"Ann\",\"LastName\":\"Berg\",\"LocationId\":"   \
	"\"" location "\",\"Phone\":null,\"RoleId\":\"" role "\"}"
#define ACCOUNT                                                                                    \
	"{\"Email\":\"A@b.example\",\"FirstName\":\"Ann\",\"LastName\":\"Berg\",\"LocationId\":\"" \
	"48E13E94-3C38-E811-80C3-0003FF685CC1\",\"RoleId\":\"" STAFF "\",\"Phone\":\"\"}"

static const struct {
	const char *name;
	struct given given;
	const char *plan;
} plans[] = {
	{"equal, by name and by id",
	 {.document = DOC("central office", "staff"),
	  .account = ACCOUNT,
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "nothing"},
	{"create",
	 {.document = DOC("Central Office", "Staff"), .create = true, .enabled = true},
	 "create set={\"Email\":\"a@b.example\",\"FirstName\":\"Ann\",\"LastName\":\"Berg\","
	 "\"LocationId\":\"Central Office\",\"RoleId\":\"Staff\"} enable"},
	{"a role that nobody knows",
	 {.document = DOC("Central Office", "Janitor"), .create = true, .enabled = true},
	 "parked role_unknown RoleId"},
	{"a location that is not known yet is asked for",
	 {.document = DOC("South", "Staff"), .create = true, .enabled = true, .now = 90000},
	 "locations body={\"name\":\"South\",\"now\":90000}; create set={\"Email\":\"a@b.example\","
	 "\"FirstName\":\"Ann\",\"LastName\":\"Berg\",\"LocationId\":\"South\",\"RoleId\":"
	 "\"Staff\"} "
	 "enable"},
	{"it was asked for just now",
	 {.document = DOC("South", "Staff"), .create = true, .enabled = true, .now = 50000},
	 "parked location_unknown LocationId"},
	{"the name of two",
	 {.document = DOC("Twin", "Staff"), .create = true, .enabled = true, .now = 50000},
	 "parked location_ambiguous LocationId"},
	{"no name",
	 {.document = "{\"LastName\":null,\"RoleId\":\"Staff\"}", .create = true, .enabled = true},
	 "parked mandatory_missing LastName"},
	{"who is to be disabled is, whatever is missing; what is needed stays",
	 {.document = "{\"LastName\":null,\"Phone\":null}",
	  .account = "{\"LastName\":\"Berg\",\"Phone\":\"1\"}",
	  .link = LINK_ACTIVE},
	 "update clear={\"Phone\":null} disable"},
	{"what stands there already is not sent",
	 {.document = DOC("Central Office", "Staff"),
	  .document_applied = true,
	  .enabled = true,
	  .link = LINK_DISABLED},
	 "update enable"},
	{"another provider's account",
	 {.document = DOC("Central Office", "Staff"),
	  .account = "{\"AuthenticatedBy\":\"Google\"}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "parked other_provider (null)"},
	{"taken out of our hands by a person",
	 {.document = DOC("Central Office", "Staff"),
	  .account = "{\"AuthenticatedBy\":\"classlink\",\"PreventProviderUpdates\":true}",
	  .enabled = true,
	  .link = LINK_ACTIVE},
	 "parked provider_updates_prevented (null)"},
	{"who left is disabled all the same",
	 {.left = true, .account = "{\"AuthenticatedBy\":\"Google\"}", .link = LINK_ACTIVE},
	 "update disable"},
	{"left for good",
	 {.left = true, .leave_delete = true, .link = LINK_DISABLED},
	 "delete permit=delete"},
};

static void plan_table(void **state)
{
	(void)state;
	open_with(", providers: [ClassLink]");
	learn_locations(PLACES);
	for (size_t i = 0; i < sizeof(plans) / sizeof(plans[0]); i++)
		expect_plan(&bench, plans[i].name, &plans[i].given, plans[i].plan);
	bench_close(&bench);
	open_with(", update: whole");
	learn_locations(PLACES);
	expect_plan(&bench, "the whole user must be seen first",
		    &(struct given){.document = DOC("Central Office", "Staff"),
				    .enabled = true,
				    .link = LINK_ACTIVE},
		    "read");
	bench_close(&bench);
}

static void requests(void **state)
{
	struct target_op op = {.user = "u1", .key = {"Email", "o'berg@b.example"}};
	struct target_op *ops = &op;

	(void)state;
	open_with("");
	learn_locations(PLACES);
	op.kind = TARGET_FIND;
	expect_request(&bench, &ops, 1,
		       "POST https://s.example/api/v1.0/"
		       "users?$s=100&$p=0&$filter=%28SearchText%20contains%20%27o%27%27berg%40b."
		       "example%27%29\n" HEADERS "application/json\n" LIST);
	op.kind = TARGET_CREATE;
	op.set = parsed(
		"{\"LastName\":\"Smith\",\"LocationId\":\"central office\",\"RoleId\":\"staff\"}");
	expect_request(
		&bench, &ops, 1,
		"POST https://s.example/api/v1.0/users/local/new\n" HEADERS "application/json\n"
		"{\"LastName\":\"Smith\",\"LocationId\":\"" PLACE "\",\"RoleId\":\"" STAFF "\"}");
	op.kind = TARGET_UPDATE;
	op.rid = "4/7";
	op.enabled = TARGET_DISABLE;
	op.clear = parsed("{\"Phone\":null}");
	expect_request(&bench, &ops, 1,
		       "POST https://s.example/api/v1.0/users/4%2F7\n" HEADERS "application/json\n"
		       "{\"LastName\":\"Smith\",\"LocationId\":\"" PLACE "\",\"RoleId\":\"" STAFF
		       "\",\"Phone\":null,\"IsActive\":false}");
	cJSON_Delete(op.set);
	op.set = parsed("{\"LocationId\":\"South\"}");
	request_clear(&bench.request);
	assert_int_equal(target_incidentiq.request(bench.target, &ops, 1, &bench.request), -EINVAL);
	op.kind = TARGET_DELETE;
	expect_request(&bench, &ops, 1, "DELETE https://s.example/api/v1.0/users/4%2F7\n" HEADERS);
	cJSON_Delete(op.set);
	cJSON_Delete(op.clear);
	bench_close(&bench);
	open_with(", lookup: search, product_id: p, client: \"a\\r\\nEvil: 1\"");
	op = (struct target_op){.kind = TARGET_FIND, .key = {"Email", "a"}};
	request_clear(&bench.request);
	assert_int_equal(target_incidentiq.request(bench.target, &ops, 1, &bench.request), -EINVAL);
	bench_close(&bench);
}

#define USER "{\"UserId\":\"4a\",\"Email\":\"A@b.example\",\"IsActive\":true}"

static const struct {
	enum target_kind kind;
	int status;
	const char *body, *expected;
} answers[] = {
	{TARGET_CREATE, 200, "{\"Item\":" USER ",\"StatusCode\":200}", "200 ok 4a"},
	{TARGET_CREATE, 200, "{\"Uid\":\"4a\"}", "200 ok"}, /* no user: the core looks */
	{TARGET_CREATE, 200, "<html>", "200 retry not_json unknown"},
	{TARGET_CREATE, 200,
	 "{\"StatusCode\":400,\"Errors\":[{\"Field\":\"Email\",\"Message\":"
	 "\"Email is already in use.\"}]}",
	 "400 exists name_taken field=Email"},
	{TARGET_UPDATE, 400, "{\"Message\":\"A duplicate user.\"}", "400 exists name_taken"},
	{TARGET_CREATE, 409, "", "409 exists name_taken"},
	{TARGET_UPDATE, 400,
	 "{\"Errors\":[{\"ErrorKey\":\"X\",\"Field\":\"Phone\",\"Message\":\"No.\"}]}",
	 "400 reject invalid_value field=Phone"},
	{TARGET_UPDATE, 200, "{\"StatusCode\":500}", "500 retry server_error unknown"},
	{TARGET_UPDATE, 200, "{\"Item\":{\"UserId\":\"5b\"}}", "200 ok"}, /* somebody else's */
	{TARGET_UPDATE, 401, "", "401 auth token_refused"},
	{TARGET_READ, 200, "{\"Item\":" USER "}", "200 ok 4a"},
	{TARGET_READ, 200, "{\"Item\":{\"UserId\":\"4a\",\"IsActive\":false}}", "200 ok 4a(off)"},
	{TARGET_READ, 200, "{\"Item\":{\"UserId\":\"4a\",\"IsDeleted\":true}}",
	 "404 gone not_found"},
	{TARGET_READ, 200, "{\"Item\":{\"UserId\":\"../4a\"}}", "200 retry not_json"},
	{TARGET_READ, 404, "", "404 gone not_found"},
	{TARGET_DELETE, 200, "{\"Id\":\"4a\"}", "200 ok"},
	{TARGET_DELETE, 404, "", "404 gone not_found"},
	{TARGET_FIND, 200, "{\"Items\":[]}", "200 ok"},
	{TARGET_FIND, 200, "{\"Items\":[" USER ",{\"UserId\":\"5\",\"Email\":\"xa@b.example\"}]}",
	 "200 ok 4a"},
	{TARGET_FIND, 200, "{\"Items\":[" USER ",{\"UserId\":\"5\",\"Email\":\"a@B.example\"}]}",
	 "200 ok 4a 5"},
	{TARGET_FIND, 200,
	 "{\"Items\":[{\"UserId\":\"5\",\"Email\":\"x\"}],\"Paging\":{\"TotalRows\":2}}",
	 "200 park too_many_hits"},
	{TARGET_FIND, 200, "{\"Items\":[{\"Email\":\"a@b.example\"}]}", "200 retry not_json"},
	{TARGET_FIND, 200, "{\"Item\":{}}", "200 retry not_json"},
	{TARGET_STEP, 200, "{\"Items\":[{\"LocationId\":\"1\",\"Name\":\"South\"}]}", "200 ok"},
	{TARGET_STEP, 200, "{\"Items\":[]}", "200 park location_unknown"},
	{TARGET_STEP, 200, "{}", "200 retry not_json unknown"},
};

static void answer_table(void **state)
{
	cJSON *body = parsed("{\"name\":\"South\",\"now\":1780000000000}");
	struct target_op op = {
		.rid = "4A", .user = "u", .key = {"Email", "a@b.example"}, .body = body};
	struct target_op *ops = &op;

	(void)state;
	open_with("");
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		op.kind = answers[i].kind;
		expect_answers(&bench, &ops, 1, answers[i].status, "", answers[i].body,
			       answers[i].expected);
	}
	bench_close(&bench);
	/* a search that does not show the field proves nothing */
	open_with(", lookup: search, taken: [belegt]");
	op.kind = TARGET_FIND;
	expect_answers(&bench, &ops, 1, 200, "", "{\"Item\":{\"Users\":[{\"UserId\":\"4\"}]}}",
		       "200 park hit_not_shown");
	expect_answers(&bench, &ops, 1, 200, "", "{\"Item\":{\"Users\":[" USER "]}}", "200 ok 4a");
	op.kind = TARGET_CREATE;
	expect_answers(&bench, &ops, 1, 400, "", "{\"Message\":\"Schon belegt\"}",
		       "400 exists name_taken");
	expect_answers(&bench, &ops, 1, 400, "", "{\"Message\":\"already\"}",
		       "400 reject invalid_value");
	bench_close(&bench);
	cJSON_Delete(body);
}

static void take(void *arg, const struct target_account *account)
{
	buf_addf(arg, "%s ", account->rid);
}

static void pages(void **state)
{
	CLEANUP(buf_cleanup) struct buf seen = {0};
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200};
	char *next = NULL;

	(void)state;
	open_with(", page_size: 2");
	request_clear(&bench.request);
	assert_int_equal(target_incidentiq.list(bench.target, NULL, &bench.request), 0);
	assert_string_equal(bench.request.url.p, "https://s.example/api/v1.0/users?$s=2&$p=0");
	r.body = SLICE("{\"Items\":[{\"UserId\":\"1\"},{\"UserId\":\"2\",\"IsDeleted\":true}],"
		       "\"Paging\":{\"PageIndex\":0,\"PageCount\":2}}");
	assert_int_equal(target_incidentiq.listed(bench.target, &r, take, &seen, &next), 0);
	assert_string_equal(seen.p, "1 ");
	assert_string_equal(next, "https://s.example/api/v1.0/users?$s=2&$p=1");
	request_clear(&bench.request);
	assert_int_equal(target_incidentiq.list(bench.target, next, &bench.request), 0);
	assert_string_equal(bench.request.url.p, next);
	free(next);
	r.body = SLICE(
		"{\"Items\":[{\"UserId\":\"3\"}],\"Paging\":{\"PageIndex\":1,\"PageCount\":2}}");
	assert_int_equal(target_incidentiq.listed(bench.target, &r, take, &seen, &next), 0);
	assert_null(next);
	r.body = SLICE("{\"Items\":[{\"UserId\":\"a b\"}]}");
	assert_int_equal(target_incidentiq.listed(bench.target, &r, take, &seen, &next), -EPROTO);
	r.body = SLICE("{\"Items\":[],\"StatusCode\":500}");
	assert_int_equal(target_incidentiq.listed(bench.target, &r, take, &seen, &next), -EPROTO);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(plan_table),
		cmocka_unit_test(requests),
		cmocka_unit_test(answer_table),
		cmocka_unit_test(pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
