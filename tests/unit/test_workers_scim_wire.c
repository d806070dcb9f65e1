/* The SCIM driver: requests as the RFC's examples show them, answers also from hostile services. */
#include "scim_fixture.h"

/* ---- requests ---- */

static void requests(void **state)
{
	struct target_op op = {
		.rid = "2819c223/7", .user = "u1", .revision = "W/\"a330bc54f0671c9\""};
	struct target_op *ops = &op;

	(void)state;
	open_with("");
	discover(full);
	op.kind = TARGET_FIND;
	op.key = (struct target_key){"userName", "o'\"x\\& é"};
	expect_request(
		&bench, &ops, 1,
		"GET https://a.example/v2/Users?filter=userName%20eq%20%22o%27%5C%22x%5C%5C%26%"
		"20%C3%A9%22\n");
	op.key = (struct target_key){URN ".employeeNumber", "7"};
	expect_request(&bench, &ops, 1,
		       "GET https://a.example/v2/Users?filter=urn%3Aietf%3Aparams%3Ascim%3Aschemas%"
		       "3Aextension%3Aenterprise%3A2.0%3AUser%3AemployeeNumber%20eq%20%227%22\n");
	op.kind = TARGET_READ;
	expect_request(&bench, &ops, 1, "GET https://a.example/v2/Users/2819c223%2F7\n");
	/* RFC 7644 3.3 */
	op.kind = TARGET_CREATE;
	op.set = parsed("{\"emails\":[\"b@e.example\"],\"emails[type eq "
			"\\\"home\\\"].value\":\"h@e.example\","
			"\"externalId\":\"bjensen\",\"name.familyName\":\"Jensen\",\"" URN
			".department\":\"Tour\",\"userName\":\"bjensen\"}");
	op.enabled = TARGET_ENABLE;
	expect_request(&bench, &ops, 1,
		       "POST https://a.example/v2/Users\napplication/scim+json\n"
		       "{\"emails\":[{\"value\":\"b@e.example\"},{\"type\":\"home\",\"value\":\"h@"
		       "e.example\"}],"
		       "\"externalId\":\"bjensen\",\"name\":{\"familyName\":\"Jensen\"},\"" URN
		       "\":{\"department\":\"Tour\"},\"userName\":\"bjensen\",\"active\":true,"
		       "\"schemas\":[\"" CORE "\",\"" URN "\"]}");
	cJSON_Delete(op.set);
	/* RFC 7644 3.5.2 */
	op.kind = TARGET_UPDATE;
	op.enabled = TARGET_DISABLE;
	op.set = parsed("{\"name.familyName\":\"Li\",\"" URN ".department\":\"X\"}");
	op.clear = parsed("{\"title\":null,\"emails[type eq \\\"work\\\"].value\":null}");
	expect_request(
		&bench, &ops, 1,
		"PATCH https://a.example/v2/Users/2819c223%2F7\nIf-Match: W/\"a330bc54f0671c9\"\n"
		"application/scim+json\n" PATCH_SCHEMA
		"\"Operations\":[{\"op\":\"replace\",\"path\":\"name.familyName\",\"value\":\"Li\"}"
		","
		"{\"op\":\"replace\",\"path\":\"" URN ":department\",\"value\":\"X\"},"
		"{\"op\":\"remove\",\"path\":\"title\"},"
		"{\"op\":\"remove\",\"path\":\"emails[type eq \\\"work\\\"]\"},"
		"{\"op\":\"replace\",\"path\":\"active\",\"value\":false}]}");
	/* a version that would break the header is left out */
	op.revision = "x\r\nEvil: 1";
	op.kind = TARGET_DELETE;
	expect_request(&bench, &ops, 1, "DELETE https://a.example/v2/Users/2819c223%2F7\n");
	cJSON_Delete(op.set);
	cJSON_Delete(op.clear);
	bench_close(&bench);
}

static void dialects(void **state)
{
	struct target_op op = {.kind = TARGET_UPDATE, .rid = "1", .user = "u"};
	struct target_op *ops = &op;

	(void)state;
	open_with("    options: {patch_style: value, booleans: string, media_type: json, "
		  "endpoints: lower}\n");
	op.set = parsed("{\"name.familyName\":\"Li\",\"title\":\"Dr\",\"emails[type eq "
			"\\\"work\\\"].value\":"
			"\"a@b.c\"}");
	op.enabled = TARGET_ENABLE;
	op.body = parsed("{\"add\":[\"emails[type eq \\\"work\\\"].value\"]}");
	expect_request(&bench, &ops, 1,
		       "PATCH https://a.example/v2/users/1\napplication/json\n" PATCH_SCHEMA
		       "\"Operations\":[{\"op\":\"replace\",\"value\":{\"active\":\"true\"}},"
		       "{\"op\":\"add\",\"path\":\"emails\",\"value\":[{\"type\":\"work\","
		       "\"value\":\"a@b.c\"}]},"
		       "{\"op\":\"replace\",\"value\":{\"name\":{\"familyName\":\"Li\"},\"title\":"
		       "\"Dr\"}}]}");
	bench_close(&bench);
	cJSON_Delete(op.body);
	cJSON_Delete(op.set);
}

static void put(void **state)
{
	struct target_op op = {.kind = TARGET_UPDATE, .rid = "1", .user = "u"};
	struct target_op *ops = &op;
	struct target_answer answer = {.status = 501};
	size_t most;

	(void)state;
	open_with("");
	/* PATCH is refused: from now on PUT, which reads first because the plan did not */
	assert_true(target_scim.downgrade(bench.target, &op, &answer));
	op.set = parsed("{\"title\":\"Dr\"}");
	op.clear = parsed("{\"name.familyName\":null}");
	expect_request(&bench, &ops, 1, "GET https://a.example/v2/Users/1\n");
	expect_answers(&bench, &ops, 1, 200, "", "{\"id\":\"1\"}", "200 stale read_first 1");
	assert_int_equal(target_scim.lane(bench.target, &op, &most), 0);
	cJSON_Delete(op.body);
	op.body = parsed("{\"account\":{\"schemas\":[\"x\"],\"id\":\"1\",\"meta\":{},\"groups\":[],"
			 "\"externalId\":"
			 "\"e\",\"userName\":\"a\",\"name\":{\"familyName\":\"F\",\"givenName\":"
			 "\"G\"},\"" URN "\":{\"costCenter\":\"9\"},\"active\":true}}");
	op.enabled = TARGET_DISABLE;
	expect_request(
		&bench, &ops, 1,
		"PUT https://a.example/v2/Users/1\napplication/scim+json\n"
		"{\"externalId\":\"e\",\"userName\":\"a\",\"name\":{\"givenName\":\"G\"},\"" URN
		"\":{\"costCenter\":\"9\"},\"title\":\"Dr\",\"active\":false,\"schemas\":[\"" CORE
		"\",\"" URN "\"]}");
	cJSON_Delete(op.body);
	cJSON_Delete(op.set);
	cJSON_Delete(op.clear);
	bench_close(&bench);
}

/* ---- bulk ---- */

static void bulk(void **state)
{
	struct three w;

	(void)state;
	three_open(&w);
	discover(full);
	expect_request(&bench, w.ops, 3,
		       "POST https://a.example/v2/Bulk\napplication/scim+json\n"
		       "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:BulkRequest\"],"
		       "\"Operations\":["
		       "{\"method\":\"POST\",\"path\":\"/"
		       "Users\",\"bulkId\":\"u1\",\"data\":{\"userName\":\"a\",\"active\":"
		       "true,\"schemas\":[\"" CORE "\"]}},"
		       "{\"method\":\"PATCH\",\"path\":\"/Users/"
		       "2\",\"bulkId\":\"u2\",\"version\":\"W/\\\"3\\\"\",\"data\":" PATCH_SCHEMA
		       "\"Operations\":[{\"op\":\"replace\",\"path\":\"active\",\"value\":true}]}},"
		       "{\"method\":\"DELETE\",\"path\":\"/Users/3\",\"bulkId\":\"u3\"}]}");
	/* more than the service takes in a payload: the core halves */
	cJSON_Delete(w.a.set);
	w.a.set =
		parsed("{\"userName\":\"a\",\"displayName\":"
		       "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
		       "aaaaaa\"}");
	request_clear(&bench.request);
	assert_int_equal(target_scim.request(bench.target, w.ops, 3, &bench.request), -E2BIG);
	three_close(&w);
}

static void bulk_answers(void **state)
{
	struct three w;

	(void)state;
	three_open(&w);
	/* in any order, status as text, number or object, one by its location alone (RFC 7644 3.7.3) */
	EXPECT_THREE(
		200,
		"{\"Operations\":[{\"bulkId\":\"u3\",\"status\":204},"
		"{\"location\":\"https://a.example/v2/Users/2\",\"status\":{\"code\":\"200\"}},"
		"{\"bulkId\":\"u1\",\"status\":\"201\",\"location\":\"https://a.example/v2/Users/"
		"n1\"}]}",
		"201 ok n1; 200 ok; 204 ok");
	/* one refused, one missing */
	EXPECT_THREE(
		200,
		"{\"Operations\":[{\"bulkId\":\"u1\",\"status\":\"409\",\"response\":{\"scimType\":"
		"\"uniqueness\",\"detail\":\"userName "
		"taken\"}},{\"bulkId\":\"u2\",\"status\":\"412\"}]}",
		"409 exists name_taken field=userName; 412 stale changed_meanwhile; 0 retry "
		"odd_status unknown");
	/* a status that is none */
	EXPECT_THREE(200,
		     "{\"Operations\":[{\"bulkId\":\"u1\",\"status\":\"824\"},"
		     "{\"bulkId\":\"u2\",\"status\":{\"code\":\"20\"}},{\"bulkId\":\"u3\","
		     "\"status\":1e9}]}",
		     "0 retry odd_status unknown; 0 retry odd_status unknown; 0 retry odd_status "
		     "unknown");
	/* twice the same id: what happened is not known */
	EXPECT_THREE(
		200,
		"{\"Operations\":[{\"bulkId\":\"u1\",\"status\":\"201\",\"location\":\"/Users/x\"},"
		"{\"bulkId\":\"u1\",\"status\":\"409\"},{\"bulkId\":\"u2\",\"status\":\"200\"},"
		"{\"bulkId\":\"u3\",\"status\":\"204\"}]}",
		"0 retry odd_status unknown; 200 ok; 204 ok");
	EXPECT_THREE(404, "",
		     "404 downgrade no_bulk; 404 downgrade no_bulk; 404 downgrade no_bulk");
	EXPECT_THREE(413, "", "413 split too_large; 413 split too_large; 413 split too_large");
	EXPECT_THREE(200, "<html>",
		     "200 retry not_json unknown; 200 retry not_json unknown; 200 retry not_json "
		     "unknown");
	three_close(&w);
}

/* ---- many look-ups in one ---- */

static size_t find_most(struct target_op *op)
{
	size_t most;

	target_scim.lane(bench.target, op, &most);
	return most;
}

#define USER(id, external) "{\"id\":\"" id "\",\"externalId\":\"" external "\"}"

static void many_finds(void **state)
{
	struct target_op a = {.kind = TARGET_FIND, .key = {"externalId", "a"}},
			 b = {.kind = TARGET_FIND, .key = {"externalId", "b"}};
	struct target_op *ops[] = {&a, &b};

	(void)state;
	open_with("");
	/* until somebody is known who is there, everybody is looked up alone */
	assert_int_equal(find_most(&a), 1);
	expect_answers(&bench, ops, 1, 200, "", "{\"totalResults\":0}", "200 ok");
	assert_int_equal(find_most(&a), 1);
	expect_answers(&bench, ops, 1, 200, "",
		       "{\"totalResults\":1,\"Resources\":[" USER("1", "a") "]}", "200 ok 1");
	assert_int_equal(find_most(&b), 32);
	expect_request(&bench, ops, 2,
		       "GET https://a.example/v2/Users?filter=externalId%20eq%20%22a%22%20or%20"
		       "externalId%20eq%20%22b%22%20or%20externalId%20eq%20%22a%22\n");
	/* the canary (a) is there: so b is not */
	expect_answers(&bench, ops, 2, 200, "",
		       "{\"totalResults\":1,\"Resources\":[" USER("1", "a") "]}",
		       "200 ok 1; 200 ok");
	expect_answers(&bench, ops, 2, 200, "",
		       "{\"totalResults\":2,\"Resources\":[" USER("2", "b") "," USER("1", "a") "]}",
		       "200 ok 1; 200 ok 2");
	/* the filter was refused: each alone, and no more so until somebody is seen again */
	expect_answers(&bench, ops, 2, 400, "", "{\"scimType\":\"invalidFilter\"}",
		       "400 split find_alone; 400 split find_alone");
	assert_int_equal(find_most(&a), 1);
	bench_close(&bench);
}

static void many_finds_that_prove_nothing(void **state)
{
	static const char *const bodies[] = {
		/* the canary is missing: only a part of the filter counted */
		"{\"totalResults\":1,\"Resources\":[" USER("2", "b") "]}",
		"{\"totalResults\":0,\"Resources\":[]}",
		/* the filter was ignored */
		"{\"totalResults\":2,\"Resources\":[" USER("1", "a") "," USER("9", "z") "]}",
		/* there is more on a further page */
		"{\"totalResults\":3,\"Resources\":[" USER("1", "a") "]}",
		"{\"nextCursor\":\"x\",\"totalResults\":1,\"Resources\":[" USER("1", "a") "]}",
		"<html>",
	};
	struct target_op a = {.kind = TARGET_FIND, .key = {"externalId", "a"}},
			 b = {.kind = TARGET_FIND, .key = {"externalId", "b"}};
	struct target_op *ops[] = {&a, &b};

	(void)state;
	for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++) {
		open_with("");
		for (int times = 0; times < 3; times++) {
			expect_answers(&bench, ops, 1, 200, "",
				       "{\"totalResults\":1,\"Resources\":[" USER("1", "a") "]}",
				       "200 ok 1");
			assert_int_equal(find_most(&a), 32);
			expect_answers(&bench, ops, 2, 200, "", bodies[i],
				       "200 split find_alone; 200 split find_alone");
			assert_int_equal(find_most(&a), 1);
		}
		/* three times are enough */
		expect_answers(&bench, ops, 1, 200, "",
			       "{\"totalResults\":1,\"Resources\":[" USER("1", "a") "]}",
			       "200 ok 1");
		assert_int_equal(find_most(&a), 1);
		bench_close(&bench);
	}
}

/* ---- answers ---- */

static const struct {
	enum target_kind kind;
	int status;
	const char *headers, *body, *expected;
} answers[] = {
	{TARGET_CREATE, 201, "", "{\"id\":\"n1\",\"active\":\"False\"}", "201 ok n1(off)"},
	{TARGET_CREATE, 201, "Location: https://a.example/v2/Users/n2\r\n", "", "201 ok n2"},
	{TARGET_CREATE, 201, "", "", "201 ok"}, /* no id: the core looks the user up */
	{TARGET_CREATE, 201, "", "{\"id\":7}", "201 ok"},
	{TARGET_CREATE, 201, "", "{\"id\":\"..\"}", "201 ok"},
	{TARGET_CREATE, 201, "", "{\"id\":\"g\",\"meta\":{\"resourceType\":\"Group\"}}", "201 ok"},
	{TARGET_CREATE, 200, "", "<html>log in</html>", "200 retry not_json unknown"},
	{TARGET_CREATE, 201, "", "{\"id\":\"n1\",\"userNa", "201 retry not_json unknown"},
	{TARGET_CREATE, 409, "", "{\"scimType\":\"uniqueness\",\"detail\":\"externalId is taken\"}",
	 "409 exists name_taken field=externalId"},
	{TARGET_CREATE, 400, "", "{\"scimType\":\"uniqueness\"}", "400 exists name_taken"},
	{TARGET_CREATE, 409, "",
	 "{\"detail\":\"REQUIRED_FIELD_MISSING:user_must_have…;\",\"status\":409}",
	 "409 reject mandatory_missing field=userName"},
	{TARGET_UPDATE, 200, "", "{\"id\":\"r1\",\"active\":false}", "200 ok r1(off)"},
	{TARGET_UPDATE, 200, "", "{\"id\":\"r2\"}", "200 ok"}, /* not the one that was asked for */
	{TARGET_UPDATE, 204, "", "", "204 ok"},
	{TARGET_UPDATE, 200, "", "<html>", "200 retry not_json unknown"},
	{TARGET_UPDATE, 400, "", "{\"scimType\":\"noTarget\"}", "400 stale no_target"},
	{TARGET_UPDATE, 400, "", "{\"scimType\":\"mutability\",\"detail\":\"userName\"}",
	 "400 reject read_only_field field=userName"},
	{TARGET_UPDATE, 404, "", "", "404 gone not_found"},
	{TARGET_READ, 200, "", "{\"id\":\"r1\"}", "200 ok r1"},
	{TARGET_READ, 200, "", "{\"id\":\"r2\"}", "200 retry not_json"},
	{TARGET_READ, 200, "", "", "200 retry not_json"},
	{TARGET_READ, 200, "", "[]", "200 retry not_json"},
	{TARGET_DELETE, 204, "", "", "204 ok"},
	{TARGET_DELETE, 200, "", "<html>", "200 retry not_json unknown"},
	{TARGET_DELETE, 404, "", "", "404 gone not_found"},
	{TARGET_FIND, 200, "", "{\"totalResults\":0}", "200 ok"},
	{TARGET_FIND, 200, "",
	 "{\"totalResults\":1,\"resources\":[{\"id\":\"a\",\"userName\":\"ANNA\"}]}", "200 ok a"},
	{TARGET_FIND, 200, "",
	 "{\"totalResults\":2,\"Resources\":[{\"id\":\"a\",\"userName\":\"anna\"},{\"id\":\"b\","
	 "\"userName\":"
	 "\"anna\"}]}",
	 "200 ok a b"},
	/* the filter was ignored; here all of them were seen */
	{TARGET_FIND, 200, "",
	 "{\"totalResults\":1,\"Resources\":[{\"id\":\"a\",\"userName\":\"bob\"}]}", "200 ok"},
	/* and here not */
	{TARGET_FIND, 200, "",
	 "{\"totalResults\":9,\"Resources\":[{\"id\":\"a\",\"userName\":\"bob\"}]}",
	 "200 park filter_ignored"},
	{TARGET_FIND, 200, "", "{\"Resources\":[{\"userName\":\"anna\"}]}", "200 retry not_json"},
	{TARGET_FIND, 200, "", "{\"Resources\":{}}", "200 retry not_json"},
	{TARGET_FIND, 200, "", "<html>", "200 retry not_json"},
	{TARGET_FIND, 400, "", "{\"scimType\":\"invalidFilter\"}", "400 reject filter_refused"},
	{TARGET_FIND, 400, "", "[[[[", "400 reject refused"},
};

static void answer_table(void **state)
{
	struct target_op op = {.rid = "r1", .user = "u", .key = {"userName", "anna"}};
	struct target_op *ops = &op;

	(void)state;
	open_with("");
	op.set = parsed("{\"externalId\":\"1\",\"userName\":\"anna\"}");
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		op.kind = answers[i].kind;
		expect_answers(&bench, &ops, 1, answers[i].status, answers[i].headers,
			       answers[i].body, answers[i].expected);
	}
	cJSON_Delete(op.set);
	bench_close(&bench);
}

/* ---- pages ---- */

struct seen {
	struct buf text;
};

static void take(void *arg, const struct target_account *account)
{
	struct seen *s = arg;

	buf_addf(&s->text, "%s ", account->rid);
}

static char *page(struct seen *s, const char *body, int rc)
{
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(body)};
	char *next = NULL;

	buf_clear(&s->text);
	assert_int_equal(target_scim.listed(bench.target, &r, take, s, &next), rc);
	return next;
}

static void pages(void **state)
{
	struct seen s = {0};
	char *next;

	(void)state;
	open_with("    options: {page_size: 2}\n");
	request_clear(&bench.request);
	assert_int_equal(target_scim.list(bench.target, NULL, &bench.request), 0);
	assert_string_equal(bench.request.url.p, "https://a.example/v2/Users?startIndex=1&count=2");
	/* itemsPerPage lies; what came counts */
	next = page(&s,
		    "{\"totalResults\":3,\"itemsPerPage\":20,\"Resources\":[{\"id\":\"a\"},{\"id\":"
		    "\"b\"}]}",
		    0);
	assert_string_equal(s.text.p, "a b ");
	assert_string_equal(next, "https://a.example/v2/Users?startIndex=3&count=2");
	free(next);
	assert_null(page(&s, "{\"totalResults\":3,\"Resources\":[{\"id\":\"c\"}]}", 0));
	/* the first page again is the end, not news */
	target_scim.list(bench.target, NULL, &bench.request);
	free(page(&s, "{\"totalResults\":99,\"Resources\":[{\"id\":\"a\"},{\"id\":\"b\"}]}", 0));
	assert_null(
		page(&s, "{\"totalResults\":99,\"Resources\":[{\"id\":\"a\"},{\"id\":\"b\"}]}", 0));
	assert_int_equal(s.text.n, 0);
	/* a cursor */
	target_scim.list(bench.target, NULL, &bench.request);
	next = page(&s, "{\"nextCursor\":\"x/y\",\"Resources\":[{\"id\":\"a\"}]}", 0);
	assert_string_equal(next, "https://a.example/v2/Users?cursor=x%2Fy&count=2");
	free(next);
	assert_null(page(&s, "<html>", -EPROTO));
	assert_null(page(&s, "{\"Resources\":[{\"id\":1}]}", -EPROTO));
	buf_done(&s.text);
	bench_close(&bench);
}

/* ---- groups ---- */

static struct target_op group_add(cJSON *body)
{
	static char what[] = "St&ff";

	return (struct target_op){.kind = TARGET_STEP,
				  .name = "group_add",
				  .what = what,
				  .rid = "r1",
				  .user = "u1",
				  .body = body};
}

static void group_requests(void **state)
{
	cJSON *body = parsed("{\"group\":\"St&ff\",\"id\":\"g/1\"}");
	struct target_op a = group_add(body), b = a;
	struct target_op *ops[] = {&a, &b};

	(void)state;
	b.rid = "r\"2";
	b.user = "u2";
	open_with("    groups: [{group: a, remote: 'St&ff'}]\n    options: {exclude_members: "
		  "always}\n");
	expect_request(&bench, ops, 2,
		       "PATCH https://a.example/v2/Groups/g%2F1?excludedAttributes=members\n"
		       "application/scim+json\n" PATCH_SCHEMA
		       "\"Operations\":[{\"op\":\"add\",\"path\":\"members\",\"value\":[{"
		       "\"value\":\"r1\"},{\"value\":\"r\\\"2\"}]}]}");
	a.name = b.name = "group_remove";
	expect_request(&bench, ops, 2,
		       "PATCH https://a.example/v2/Groups/g%2F1?excludedAttributes=members\n"
		       "application/scim+json\n" PATCH_SCHEMA
		       "\"Operations\":[{\"op\":\"remove\",\"path\":\"members[value eq "
		       "\\\"r1\\\"]\"},{\"op\":\"remove\",\"path\":\"members[value eq "
		       "\\\"r\\\\\\\"2\\\"]\"}]}");
	/* one that is refused says nothing of the others */
	expect_answers(&bench, ops, 2, 400, "", "{\"scimType\":\"invalidValue\"}",
		       "400 split members_alone; 400 split members_alone");
	expect_answers(&bench, ops, 2, 429, "", "",
		       "429 throttled throttled after=3000; "
		       "429 throttled throttled after=3000");
	expect_answers(&bench, ops, 2, 204, "", "", "204 ok; 204 ok");
	expect_answers(&bench, ops, 1, 400, "", "{\"scimType\":\"noTarget\"}", "400 ok");
	expect_answers(&bench, ops, 1, 400, "", "{\"scimType\":\"invalidValue\"}",
		       "400 stale member_missing");
	expect_answers(&bench, ops, 1, 404, "", "", "404 stale group_gone");
	bench_close(&bench);
	cJSON_Delete(body);
}

static void group_lookups(void **state)
{
	cJSON *body = parsed("{\"group\":\"St&ff\",\"id\":\"g/1\"}");
	struct target_op a = group_add(body);
	struct target_op *ops[] = {&a};

	(void)state;
	open_with("    groups: [{group: a, remote: 'St&ff'}]\n    options: {exclude_members: "
		  "always}\n");
	a.name = "group_find";
	expect_request(&bench, ops, 1,
		       "GET https://a.example/v2/Groups?filter=displayName%20eq%20%22St%26ff%22&"
		       "excludedAttributes=members\n");
	expect_answers(&bench, ops, 1, 200, "", "{\"totalResults\":0,\"Resources\":[]}",
		       "200 park group_missing");
	expect_answers(&bench, ops, 1, 404, "", "", "404 park group_missing");
	expect_answers(&bench, ops, 1, 200, "",
		       "{\"Resources\":[{\"id\":\"g1\",\"displayName\":\"st&FF\"}]}",
		       "200 stale group_found");
	/* ids that lead elsewhere, names that were not asked for */
	expect_answers(&bench, ops, 1, 200, "",
		       "{\"Resources\":[{\"id\":\"..\",\"displayName\":\"St&ff\"},{\"id\":\"g2\","
		       "\"displayName\":\"Stiff\"},{\"id\":7,\"displayName\":\"St&ff\"}]}",
		       "200 park group_missing");
	expect_answers(&bench, ops, 1, 200, "",
		       "{\"Resources\":[{\"id\":\"1\",\"displayName\":\"St&ff\"},{\"id\":\"2\","
		       "\"displayName\":\"St&ff\"}]}",
		       "200 park group_ambiguous");
	expect_answers(&bench, ops, 1, 200, "", "<html>", "200 retry not_json unknown");
	bench_close(&bench);
	open_with("    groups: [{group: a, remote: 'St&ff'}]\n    options: {group_key: id, "
		  "member_remove: value, exclude_members: never}\n");
	expect_request(&bench, ops, 1, "GET https://a.example/v2/Groups/St%26ff\n");
	a.name = "group_remove";
	expect_request(
		&bench, ops, 1,
		"PATCH https://a.example/v2/Groups/g%2F1\napplication/scim+json\n" PATCH_SCHEMA
		"\"Operations\":[{\"op\":\"remove\",\"path\":\"members\",\"value\":[{"
		"\"value\":\"r1\"}]}]}");
	bench_close(&bench);
	cJSON_Delete(body);
}

static void whole_lists(void **state)
{
	struct target_op op = {.kind = TARGET_UPDATE, .rid = "1", .user = "u"};
	struct target_op *ops = &op;

	(void)state;
	open_with("    options: {elements: whole}\n");
	op.set = parsed("{\"title\":\"Dr\",\"emails[type eq \\\"work\\\"].value\":\"a@b.c\"}");
	op.clear = parsed("{\"phoneNumbers[type eq \\\"work\\\"].value\":null}");
	op.body = parsed("{\"account\":{\"emails\":[{\"type\":\"home\",\"value\":\"h\"}],"
			 "\"phoneNumbers\":[{\"type\":\"work\",\"value\":\"1\"}]}}");
	expect_request(&bench, &ops, 1,
		       "PATCH https://a.example/v2/Users/1\napplication/scim+json\n" PATCH_SCHEMA
		       "\"Operations\":[{\"op\":\"replace\",\"path\":\"title\",\"value\":\"Dr\"},"
		       "{\"op\":\"replace\",\"path\":\"emails\",\"value\":[{\"type\":\"home\","
		       "\"value\":\"h\"},{\"type\":\"work\",\"value\":\"a@b.c\"}]},"
		       "{\"op\":\"replace\",\"path\":\"phoneNumbers\",\"value\":[]}]}");
	cJSON_Delete(op.set);
	cJSON_Delete(op.clear);
	cJSON_Delete(op.body);
	bench_close(&bench);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(requests),	 cmocka_unit_test(dialects),
		cmocka_unit_test(put),		 cmocka_unit_test(bulk),
		cmocka_unit_test(bulk_answers),	 cmocka_unit_test(answer_table),
		cmocka_unit_test(pages),	 cmocka_unit_test(group_requests),
		cmocka_unit_test(group_lookups), cmocka_unit_test(whole_lists),
		cmocka_unit_test(many_finds),	 cmocka_unit_test(many_finds_that_prove_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
