#include "snapshot.h"
#include "unit.h"

#include <stdlib.h>
#include <string.h>

static const char good[] =
	"{\"account\":{\"enabled\":true,\"expires_at\":253402300799000,\"last_logon_at\":"
	"1785000000123,"
	"\"locked_until\":null,\"must_change_password\":false,\"password_changed_at\":null,"
	"\"password_expires_at\":null},"
	"\"attrs\":{\"cn\":[\"Ann Lee\"],\"mail\":[],\"proxyAddresses\":[\"a\",\"b\"]},"
	"\"dn\":\"CN=Ann Lee,DC=x\",\"groups\":[\"licences\",\"staff\"],"
	"\"id\":\"01234567-89ab-cdef-0123-456789abcdef\","
	"\"immutable_id\":\"Z0UjAauJ780BI0VniavN7w==\",\"source\":\"corp\"}";

static void reads_every_part(void **state)
{
	const char *why = NULL;
	struct snapshot *s = snapshot_parse(SLICE(good), &why);

	(void)state;
	if (s == NULL)
		fail_msg("%s", why);
	assert_string_equal(snapshot_dn(s), "CN=Ann Lee,DC=x");
	assert_string_equal(snapshot_immutable_id(s), "Z0UjAauJ780BI0VniavN7w==");
	assert_string_equal(snapshot_first(s, "dn"), "CN=Ann Lee,DC=x");
	assert_string_equal(snapshot_first(s, "id"), "01234567-89ab-cdef-0123-456789abcdef");
	assert_string_equal(snapshot_first(s, "immutable_id"), "Z0UjAauJ780BI0VniavN7w==");
	assert_string_equal(snapshot_first(s, "cn"), "Ann Lee");
	assert_string_equal(snapshot_first(s, "proxyAddresses"), "a");
	assert_null(snapshot_first(s, "mail"));
	assert_null(snapshot_first(s, "CN"));
	assert_non_null(snapshot_values(s, "mail"));
	assert_int_equal(cJSON_GetArraySize(snapshot_values(s, "proxyAddresses")), 2);
	assert_null(snapshot_values(s, "telephoneNumber"));
	assert_true(snapshot_enabled(s));
	assert_true(snapshot_time(s, "expires_at") == SNAPSHOT_FOREVER);
	assert_true(snapshot_time(s, "last_logon_at") == 1785000000123);
	assert_true(snapshot_time(s, "locked_until") == 0);
	assert_true(snapshot_time(s, "nothing") == 0);
	assert_true(snapshot_in_group(s, "staff"));
	assert_false(snapshot_in_group(s, "Staff"));
	assert_false(snapshot_in_group(s, "staf"));
	assert_non_null(json_get(snapshot_json(s), "source"));
	snapshot_free(s);
	snapshot_free(NULL);
}

/* The good one with one piece exchanged. */
static void refused_with(const char *piece, const char *instead)
{
	struct buf CLEANUP(buf_cleanup) text = {0};
	const char *at = strstr(good, piece), *why = NULL;

	assert_non_null(at);
	buf_add(&text, good, (size_t)(at - good));
	buf_adds(&text, instead);
	buf_adds(&text, at + strlen(piece));
	if (snapshot_parse(buf_slice(&text), &why) != NULL)
		fail_msg("accepted: %s", text.p);
	assert_non_null(why);
}

static void refuses_other_shapes(void **state)
{
	(void)state;
	refused_with("\"enabled\":true", "\"enabled\":\"yes\"");
	refused_with("\"enabled\":true,", "");
	refused_with("\"locked_until\":null", "\"locked_until\":\"soon\"");
	refused_with("{\"account\"", "{\"acount\"");
	refused_with("[\"Ann Lee\"]", "\"Ann Lee\"");
	refused_with("[\"a\",\"b\"]", "[\"a\",7]");
	refused_with("\"attrs\":{", "\"attrz\":{");
	refused_with("\"dn\":\"CN=Ann Lee,DC=x\"", "\"dn\":null");
	refused_with("[\"licences\",\"staff\"]", "{}");
	refused_with("[\"licences\",\"staff\"]", "[null]");
	refused_with("\"01234567-89ab", "\"01234567-89a");
	refused_with("\"immutable_id\"", "\"immutable\"");
	refused_with("\"source\":\"corp\"", "\"source\":1");
	refused_with("\"source\":\"corp\"}", "\"source\":\"corp\"");
	assert_null(snapshot_parse(SLICE("[]"), NULL));
	assert_null(snapshot_parse(SLICE(""), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_every_part),
		cmocka_unit_test(refuses_other_shapes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
