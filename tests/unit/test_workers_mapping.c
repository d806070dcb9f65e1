/* Mapping: every shape, every error at load, paths. */
#include "mapping.h"
#include "target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char snapshot_text[] =
	"{\"account\":{\"enabled\":true,\"expires_at\":null,\"last_logon_at\":5},"
	"\"attrs\":{\"cn\":[\"Anna\"],\"mail\":[],\"phone\":[\"1\",\"2\"],\"sn\":[\"M\\u00fcller\"]"
	"},"
	"\"dn\":\"cn=Anna,dc=x\",\"groups\":[\"staff\"],"
	"\"id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"immutable_id\":\"ABEi\",\"source\":"
	"\"corp\"}";

static struct snapshot *snapshot;

static int set_up(void **state)
{
	(void)state;
	snapshot = snapshot_parse(SLICE(snapshot_text), NULL);
	return snapshot ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	snapshot_free(snapshot);
	return 0;
}

static struct mapping *load(const char *spec, struct buf *errors)
{
	cJSON *json = cJSON_Parse(spec);
	struct mapping *m = mapping_new(json, "f.yaml:3:5", errors);

	assert_non_null(json);
	cJSON_Delete(json);
	return m;
}

/* The document of that mapping as text, or "!why". */
static void maps(const char *spec, const char *expected)
{
	struct buf errors = {0}, why = {0}, out = {0};
	struct mapping *m = load(spec, &errors);
	cJSON *document;

	assert_non_null(m);
	document = mapping_apply(m, snapshot, &why);
	if (document)
		json_print(document, &out);
	else
		buf_addf(&out, "!%s", why.p);
	assert_string_equal(out.p, expected);
	cJSON_Delete(document);
	mapping_free(m);
	buf_done(&errors);
	buf_done(&why);
	buf_done(&out);
}

static void shapes(void **state)
{
	(void)state;
	maps("{\"b\":\"cn\",\"a\":\"id\"}",
	     "{\"a\":\"00112233-4455-6677-8899-aabbccddeeff\",\"b\":\"Anna\"}");
	maps("{\"a\":[\"mail\",\"sn\"]}", "{\"a\":\"Müller\"}");
	maps("{\"a\":[\"unread\",\"mail\"]}", "{\"a\":null}");
	maps("{\"a\":\"mail\"}", "{\"a\":null}");
	maps("{\"a\":{\"all\":\"phone\"},\"b\":{\"all\":\"mail\"}}",
	     "{\"a\":[\"1\",\"2\"],\"b\":[]}");
	maps("{\"a\":{\"const\":{\"x\":[1,true]}}}", "{\"a\":{\"x\":[1,true]}}");
	maps("{\"a\":\"account.enabled\",\"b\":\"account.expires_at\"}", "{\"a\":true,\"b\":null}");
	maps("{\"a\":{\"jq\":\"[.attrs.phone[]|{value:.}][:1]\"},\"b\":{\"jq\":\".attrs.cn[0]\"}}",
	     "{\"a\":[{\"value\":\"1\"}],\"b\":\"Anna\"}");
	maps("{\"a\":{\"jq\":\"empty\"},\"b\":{\"jq\":\".attrs.mail[0]\"}}",
	     "{\"a\":null,\"b\":null}");
}

static void what_the_target_masters_is_left_to_it(void **state)
{
	struct buf errors = {0}, why = {0}, out = {0};
	struct mapping *m =
		load("{\"a\":{\"unless_set\":\"cn\"},\"b.c\":{\"unless_set\":{\"const\":"
		     "1}},\"d\":{\"unless_set\":[\"sn\"]},\"e\":\"cn\"}",
		     &errors);
	cJSON *account = cJSON_Parse("{\"a\":\"own\",\"b\":{\"c\":[]},\"d\":\"\",\"e\":\"own\"}");
	cJSON *document = mapping_apply(m, snapshot, &why);

	(void)state;
	assert_true(mapping_asks(m));
	mapping_leave(m, account, document);
	json_print(document, &out);
	assert_string_equal(out.p, "{\"b.c\":1,\"d\":\"M\xc3\xbcller\",\"e\":\"Anna\"}");
	cJSON_Delete(account);
	cJSON_Delete(document);
	mapping_free(m);
	buf_done(&out);
	assert_null(load("{\"a\":{\"unless_set\":{\"unless_set\":\"cn\"}}}", &errors));
	buf_done(&errors);
	buf_done(&why);
}

static void failures_name_no_value(void **state)
{
	(void)state;
	maps("{\"a\":\"unread\"}", "!a: attribute unread was not read from the directory");
	maps("{\"a\":{\"all\":\"unread\"}}",
	     "!a: attribute unread was not read from the directory");
	maps("{\"a\":{\"jq\":\".attrs.cn[0]|error\"}}", "!a: the expression failed");
	maps("{\"a\":{\"jq\":\"1,2\"}}", "!a: the expression has more than one output");
}

static void errors_at_load(void **state)
{
	static const struct {
		const char *spec, *expected;
	} rows[] = {
		{"{}", "f.yaml:3:5: mapping.: expected at least one field\n"},
		{"{\"a\":5}", "f.yaml:3:5: mapping.a: expected an attribute, a list of attributes, "
			      "{all: …}, {const: …}, {jq: …} or {unless_set: …}\n"},
		{"{\"a\":[]}", "f.yaml:3:5: mapping.a: the list of attributes is empty\n"},
		{"{\"a\":[1]}",
		 "f.yaml:3:5: mapping.a: each item of the list must be an attribute's "
		 "name\n"},
		{"{\"a\":{\"al\":\"x\"}}",
		 "f.yaml:3:5: mapping.a: unknown key, expected all, const, jq or unless_set\n"},
		{"{\"a\":{\"all\":\"x\",\"jq\":\".\"}}",
		 "f.yaml:3:5: mapping.a: expected exactly one of all, const, jq, unless_set\n"},
		{"{\"a\":{\"jq\":\"env.HOME\"}}",
		 "f.yaml:3:5: mapping.a: env is not allowed in an expression\n"},
		{"{\"a\":{\"jq\":\"$ENV.HOME\"},\"b\":7}",
		 "f.yaml:3:5: mapping.a: $ENV is not allowed in an expression\n"
		 "f.yaml:3:5: mapping.b: expected an attribute, a list of attributes, {all: …}, "
		 "{const: …}, {jq: …} or {unless_set: …}\n"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf errors = {0};

		assert_null(load(rows[i].spec, &errors));
		assert_string_equal(errors.p, rows[i].expected);
		buf_done(&errors);
	}
	struct buf errors = {0};

	assert_null(load("{\"a\":{\"jq\":\".attrs[\"}}", &errors));
	assert_non_null(strstr(errors.p, "does not compile"));
	buf_done(&errors);
}

static void split_is(const char *path, const char *head, const char *rest)
{
	struct slice h, r;

	mapping_split(path, &h, &r);
	assert_true(slice_is(h, head));
	assert_true(slice_is(r, rest));
}

#define URN "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"

static void paths(void **state)
{
	cJSON *nested = cJSON_CreateObject(), *value = cJSON_CreateString("v");
	struct buf out = {0};

	(void)state;
	split_is("title", "title", "");
	split_is("name.givenName", "name", "givenName");
	split_is(URN ".department", URN, "department");
	split_is(URN ":department", URN, "department");
	split_is("emails[type eq \"a.b\"].value", "emails[type eq \"a.b\"]", "value");
	mapping_put(nested, "name.givenName", value);
	mapping_put(nested, "name.familyName", value);
	mapping_put(nested, URN ".manager.value", value);
	mapping_put(nested, "title", value);
	mapping_put(nested, "title", value);
	json_print(nested, &out);
	assert_string_equal(out.p, "{\"name\":{\"givenName\":\"v\",\"familyName\":\"v\"},\"" URN
				   "\":{\"manager\":{\"value\":\"v\"}},\"title\":\"v\"}");
	assert_non_null(mapping_get(nested, "NAME.givenname"));
	assert_non_null(mapping_get(nested, URN ".manager.value"));
	assert_null(mapping_get(nested, "name.x"));
	assert_null(mapping_get(nested, "title.x"));
	cJSON_Delete(nested);
	cJSON_Delete(value);
	buf_done(&out);
}

static void differences(void **state)
{
	cJSON *document = cJSON_Parse("{\"a\":\"1\",\"b\":null,\"c.d\":\"x\",\"e\":[],\"f\":null}");
	cJSON *account = cJSON_Parse("{\"A\":\"1\",\"b\":\"old\",\"c\":{\"d\":\"y\"},\"f\":\"\"}");
	struct target_plan plan;
	struct buf out = {0};

	(void)state;
	target_plan_init(&plan);
	struct target_op *op = target_plan_add(&plan, TARGET_UPDATE, "update");

	assert_int_equal(target_diff(document, account, NULL, op), 2);
	json_print(op->set, &out);
	json_print(op->clear, &out);
	assert_string_equal(out.p, "{\"c.d\":\"x\"}{\"b\":null}");
	op = target_plan_add(&plan, TARGET_UPDATE, "update");
	assert_int_equal(target_diff(document, NULL, NULL, op), 5);
	assert_int_equal(cJSON_GetArraySize(op->set), 2);
	assert_int_equal(cJSON_GetArraySize(op->clear), 3);
	target_plan_done(&plan);
	cJSON_Delete(document);
	cJSON_Delete(account);
	buf_done(&out);
}

static void headers(void **state)
{
	struct target_request r = {0};

	(void)state;
	assert_int_equal(target_request_header(&r, "If-Match", SLICE("W/\"1\"")), 0);
	assert_int_equal(target_request_header(&r, "X", SLICE("a\r\nEvil: 1")), -22);
	assert_int_equal(r.header_n, 1);
	buf_done(&r.header_text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_target_masters_is_left_to_it),
		cmocka_unit_test(shapes),
		cmocka_unit_test(failures_name_no_value),
		cmocka_unit_test(errors_at_load),
		cmocka_unit_test(paths),
		cmocka_unit_test(differences),
		cmocka_unit_test(headers),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
