/* What must not reach a log is gone, what an operator needs stays. */
#include "redact.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void check(const char *in, const cJSON *personal, const char *expected)
{
	struct buf out = {0};

	redact_text(slice_of(in), personal, 4000, &out);
	assert_string_equal(out.p ? out.p : "", expected);
	buf_done(&out);
}

static void stays(void **state)
{
	static const char *const texts[] = {
		"Another object with the same value for property userPrincipalName already exists.",
		"Resource '7d4ff9a6-9c5d-4c39-a1f5-2f3c2f1a7b11' does not exist",
		"AADSTS7000215: Invalid client secret provided. Trace ID: "
		"7d4ff9a6-9c5d-4c39-a1f5-2f3c2f1a7b11 Timestamp: 2026-05-28 20:26:40Z",
		"Attribute urn:ietf:params:scim:schemas:extension:enterprise:2.0:User is unknown",
		"status 409 uniqueness [7000215]",
		"",
	};

	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		check(texts[i], NULL, texts[i]);
}

static void goes(void **state)
{
	(void)state;
	check("user anna.mueller@corp.example exists", NULL, "user … exists");
	check("Authorization: Bearer abc.def-ghi", NULL, "Authorization: …");
	check("sent Bearer abc.def-ghi now", NULL, "sent Bearer … now");
	check("jwt eyJ0eXAiOiJKV1QiLCJ.x.y here", NULL, "jwt … here");
	check("{\"password\":\"Pa55 word\",\"a\":1}", NULL, "{\"password\":\"…\",\"a\":1}");
	check("client_secret=8Q~x&scope=y", NULL, "client_secret=…&scope=y");
	check("phone +49 (0)711 123-456 taken", NULL, "phone … taken");
	check("phone 0711123456 taken", NULL, "phone … taken");
	check("key AKIA9Zb8c7D6e5F4g3H2i1J0kLmN done", NULL, "key … done");
	check("line\nbreak\x01", NULL, "line break ");
}

static void personal_values_go(void **state)
{
	cJSON *person = cJSON_Parse("{\"displayName\":\"Änne Müller\",\"title\":\"Dr\","
				    "\"emails\":[{\"value\":\"x\"},{\"value\":\"anne\"}]}");

	(void)state;
	check("Name Änne Müller (Dr, ANNE) is taken", person, "Name … (Dr, …) is taken");
	cJSON_Delete(person);
}

static void is_cut_between_characters(void **state)
{
	struct buf out = {0};

	(void)state;
	redact_text(SLICE("aéé"), NULL, 4, &out);
	assert_string_equal(out.p, "aé");
	buf_clear(&out);
	redact_text(SLICE("a\xff"), NULL, 100, &out);
	assert_string_equal(out.p, "(not UTF-8)");
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(stays),
		cmocka_unit_test(goes),
		cmocka_unit_test(personal_values_go),
		cmocka_unit_test(is_cut_between_characters),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
