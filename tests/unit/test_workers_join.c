/* Join rules: values, and the judgement of hits. */
#include "join.h"
#include "mapping.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char snapshot_text[] =
	"{\"account\":{\"enabled\":true},\"attrs\":{\"givenName\":[\"Anna\"],\"mail\":[],"
	"\"sn\":[\"Berg\"]},\"dn\":\"x\",\"groups\":[],"
	"\"id\":\"00112233-4455-6677-8899-aabbccddeeff\",\"immutable_id\":\"ABEi\",\"source\":"
	"\"corp\"}";

static void values(void **state)
{
	static const struct join_rule rules[] = {
		{"externalId", "id", false},
		{"immutable", "immutable_id", false},
		{"mail", "mail", true},
		{"name", "givenName+' '+sn", true},
		{"name", "sn + ', ' + givenName", true},
		{"x", "givenName+mail", true},
	};
	static const char *const expected[] = {"00112233-4455-6677-8899-aabbccddeeff",
					       "ABEi",
					       NULL,
					       "Anna Berg",
					       "Berg, Anna",
					       NULL};
	struct snapshot *s = snapshot_parse(SLICE(snapshot_text), NULL);
	struct buf errors = {0}, out = {0};
	struct join *j = join_of(rules, 6, &errors);

	(void)state;
	assert_non_null(j);
	assert_int_equal(join_count(j), 6);
	for (size_t i = 0; i < 6; i++) {
		assert_int_equal(join_value(j, i, s, &out), expected[i] != NULL);
		if (expected[i])
			assert_string_equal(out.p, expected[i]);
	}
	join_free(j);
	snapshot_free(s);
	buf_done(&out);
	buf_done(&errors);
}

static void bad_rules(void **state)
{
	static const char *const bad[] = {"", "a+", "'x'", "a b", "+a", "a+'x", "a++b"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct join_rule rule = {"r", bad[i], false};
		struct buf errors = {0};

		assert_null(join_of(&rule, 1, &errors));
		assert_true(errors.n > 0);
		buf_done(&errors);
	}
}

static bool matches(const struct target *t, const cJSON *account, const struct target_key *key)
{
	const cJSON *value = mapping_get(account, key->field);

	(void)t;
	return cJSON_IsString(value) && strcmp(value->valuestring, key->value) == 0;
}

static void judgement(void **state)
{
	static const struct target_driver driver = {.name = "fake", .matches = matches};
	static const struct join_rule rules[] = {{"k", "id", false}, {"k", "id", true}};
	static const struct {
		const char *hits; /* values of k; upper case: privileged */
		enum join_outcome hard, soft;
		size_t index;
	} rows[] = {
		{"", JOIN_NONE, JOIN_NONE, 0},
		{"bb", JOIN_NONE, JOIN_NONE, 0}, /* the service ignored the filter */
		{"a", JOIN_LINK, JOIN_PROPOSAL, 0},
		{"bab", JOIN_LINK, JOIN_PROPOSAL, 1},
		{"aa", JOIN_AMBIGUOUS, JOIN_AMBIGUOUS, 0},
		{"!", JOIN_LINK, JOIN_PRIVILEGED, 0},
	};
	struct buf errors = {0};
	struct join *j = join_of(rules, 2, &errors);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct target_answer answer = {0};
		struct join_hits hits = {&driver, NULL, "a", &answer};
		size_t index = 0;

		for (const char *p = rows[i].hits; *p; p++) {
			struct target_account *a = target_answer_add(&answer);
			char value[2] = {(char)(*p == '!' ? 'a' : *p), '\0'};

			a->json = cJSON_CreateObject();
			cJSON_AddStringToObject(a->json, "k", value);
			a->privileged = *p == '!';
		}
		assert_int_equal(join_judge(j, 0, &hits, &index), rows[i].hard);
		assert_int_equal(index, rows[i].index);
		assert_int_equal(join_judge(j, 1, &hits, &index), rows[i].soft);
		for (size_t k = 0; k < answer.accounts_n; k++)
			target_account_done(&answer.accounts[k]);
		free(answer.accounts);
	}
	join_free(j);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values),
		cmocka_unit_test(bad_rules),
		cmocka_unit_test(judgement),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
