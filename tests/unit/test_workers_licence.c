/* The licence policy: what follows from configuration, snapshot, memory and time, case by case. */
#include "unit.h"

#include "licence.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DAY 86400000LL
#define NOW 1767225600000LL /* 2026-01-01T00:00:00Z */

static const char *const words[LICENCE_PHASES] = {"give", "take", "still"};

struct bed {
	struct conf *conf;
	struct licence *licence;
};

static void lay(struct bed *b, const char *policy)
{
	CLEANUP(buf_cleanup) struct buf text = {0}, errors = {0};
	char path[] = "/tmp/test_licence.XXXXXX";
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	buf_addf(
		&text,
		"sources:\n  s:\n    driver: poll\n    uris: [ldaps://d.example]\n    base_dn: "
		"dc=x\n"
		"    bind: {method: gssapi, keytab: /k, principal: a@B}\n"
		"    users: {attributes: [mail]}\n"
		"    groups: [{name: staff, dn: cn=a}, {name: vip, dn: cn=b}, {name: free, dn: "
		"cn=c}]\n"
		"targets:\n  t:\n    driver: scim\n    url: https://a.example\n"
		"    auth: {method: bearer, token: !env HOME}\n    mapping: {userName: mail}\n"
		"    licences:\n      - {group: staff, sku: E3, disabled_plans: [b, a]}\n"
		"      - {group: vip, sku: E3, disabled_plans: [a, c]}\n      - {group: vip, sku: "
		"A1}\n"
		"    groups:\n      - {group: staff, remote: All}\n"
		"      - {group: vip, remote: All}\n      - {group: vip, remote: Top, kind: role}\n"
		"    licence_policy: {exempt: [free, 00000000-0000-0000-0000-0000000000ee], %s}\n",
		policy);
	assert_int_equal(write(fd, text.p, text.n), (ssize_t)text.n);
	close(fd);
	b->conf = conf_load(path, &errors);
	unlink(path);
	if (!b->conf)
		fail_msg("%s", errors.p);
	b->licence = licence_new(conf_named(conf_root(b->conf), "targets", "t"), &errors);
	assert_non_null(b->licence);
}

static void lift(struct bed *b)
{
	licence_free(b->licence);
	conf_free(b->conf);
}

struct when {
	const char *account; /* JSON of account; NULL: no snapshot */
	const char *groups;  /* JSON; NULL: ["staff"] */
	const char *memory;  /* NULL: {} */
	const char *attrs;
	bool left, reinstate, exempt_id;
	int64_t now;
};

/* "PHASE reasons=… because=… l=E3[a] g=All again=MS remember={…}" */
static void expect(struct bed *b, const struct when *w, const char *wanted)
{
	CLEANUP(buf_cleanup) struct buf text = {0}, got = {0};
	cJSON *memory = json_parse(slice_of(w->memory ? w->memory : "{}"), NULL);
	struct licence_facts f = {.left = w->left,
				  .memory = memory,
				  .reinstate = w->reinstate,
				  .now_unix_ms = w->now ? w->now : NOW};
	struct licence_verdict v;
	const char *why = NULL;

	f.user.b[15] = w->exempt_id ? 0xee : 1;
	buf_addf(
		&text,
		"{\"account\":%s,\"attrs\":%s,\"dn\":\"cn=a\",\"groups\":%s,\"id\":\"00000000-0000-"
		"0000-0000-000000000001\",\"immutable_id\":\"AA==\",\"source\":\"s\"}",
		w->account ? w->account : "{}", w->attrs ? w->attrs : "{}",
		w->groups ? w->groups : "[\"staff\"]");
	struct snapshot *s = w->account ? snapshot_parse(buf_slice(&text), &why) : NULL;

	if (w->account && !s)
		fail_msg("%s", why);
	f.snapshot = s;
	licence_judge(b->licence, &f, &v);
	buf_adds(&got, words[v.phase]);
	if (v.reasons) {
		buf_adds(&got, " reasons=");
		licence_reasons_text(v.reasons, &got);
	}
	if (v.because != v.reasons) {
		buf_adds(&got, " because=");
		licence_reasons_text(v.because, &got);
	}
	for (size_t i = 0; i < v.licences_n; i++) {
		buf_addf(&got, " l=%s", v.licences[i].remote);
		json_print(v.licences[i].plans, &got);
	}
	for (size_t i = 0; i < v.groups_n; i++)
		buf_addf(&got, " g=%s%s%s", v.groups[i].kind ? v.groups[i].kind : "",
			 v.groups[i].kind ? ":" : "", v.groups[i].remote);
	if (!v.groups_count)
		buf_adds(&got, " memberships=alone");
	if (v.look_again_unix_ms)
		buf_addf(&got, " again=%lld", (long long)((v.look_again_unix_ms - NOW) / 3600000));
	if (v.remember) {
		buf_adds(&got, " remember=");
		json_canonical(v.remember, &got);
	}
	if (strcmp(got.p, wanted) != 0)
		fail_msg("\n got %s\nwant %s", got.p, wanted);
	licence_verdict_done(&v);
	snapshot_free(s);
	cJSON_Delete(memory);
}

#define ON	       "{\"enabled\":true}"
#define OFF	       "{\"enabled\":false}"
#define TAKEN(reasons) "{\"taken:E3\":{\"at\":5,\"reasons\":[" reasons "]}}"
#define GIVES	       "l=E3[\"a\",\"b\"] g=All"

static void groups_say_what_is_wanted(void **state)
{
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: []");
	expect(&b, &(struct when){.account = ON}, "give " GIVES);
	expect(&b, &(struct when){.account = ON, .groups = "[]"}, "give");
	expect(&b, &(struct when){.account = ON, .groups = "[\"staff\",\"vip\"]"},
	       "give l=A1[] l=E3[\"a\"] g=All g=role:Top");
	expect(&b, &(struct when){.account = OFF}, "give " GIVES); /* no policy takes anything */
	expect(&b, &(struct when){.account = ON, .left = true}, "still memberships=alone");
	expect(&b, &(struct when){.left = true}, "still memberships=alone");
	assert_false(licence_takes(b.licence, "E3"));
	lift(&b);
}

static void each_reason_is_a_fact_or_a_date(void **state)
{
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: [disabled, locked, password_expired, account_expired, inactive, "
		"never_logged_on], inactive_after: 30d");
	expect(&b,
	       &(struct when){.account = OFF, .attrs = "{\"whenCreated\":[\"20251230000000.0Z\"]}"},
	       "take reasons=disabled g=All again=672");
	expect(&b, &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1764547200000}"},
	       "take reasons=inactive g=All"); /* 1 December: 31 days */
	expect(&b, &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1764720000000}"},
	       "give " GIVES " again=24"); /* 3 December */
	expect(&b,
	       &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1767139200000,"
					 "\"locked_until\":1767232800000}"},
	       "take reasons=locked g=All again=2");
	expect(&b,
	       &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1767139200000,"
					 "\"locked_until\":253402300799000}"},
	       "take reasons=locked g=All again=696");
	expect(&b,
	       &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1767139200000,"
					 "\"password_expires_at\":1767225600000}"},
	       "take reasons=password_expired g=All again=696");
	expect(&b,
	       &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1767139200000,"
					 "\"expires_at\":1767229200000}"},
	       "give " GIVES " again=1");
	expect(&b,
	       &(struct when){.account = "{\"enabled\":true,\"last_logon_at\":1767139200000,"
					 "\"expires_at\":1767229200000}",
			      .now = NOW + DAY / 24},
	       "take reasons=account_expired g=All again=696");
	expect(&b,
	       &(struct when){.account = ON, .attrs = "{\"whenCreated\":[\"20251101000000.0Z\"]}"},
	       "take reasons=never_logged_on g=All");
	expect(&b,
	       &(struct when){.account = ON}, /* since when is not told: from the first look on */
	       "give " GIVES " again=720 remember={\"licence_seen_ms\":1767225600000}");
	expect(&b, &(struct when){.account = ON, .memory = "{\"licence_seen_ms\":1764547200000}"},
	       "take reasons=never_logged_on g=All");
	expect(&b, &(struct when){.left = true}, "take reasons=disabled memberships=alone");
	lift(&b);
}

static void only_listed_reasons_take_but_all_keep_from_giving_back(void **state)
{
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: [locked]");
	expect(&b, &(struct when){.account = OFF}, "give reasons=disabled because= " GIVES);
	expect(&b, &(struct when){.account = OFF, .memory = TAKEN("\"locked\"")},
	       "still reasons=disabled because= g=All");
	expect(&b, &(struct when){.account = ON, .memory = TAKEN("\"locked\"")}, "give " GIVES);
	expect(&b, &(struct when){.account = ON, .memory = TAKEN("\"locked\""), .left = true},
	       "still reasons=disabled because= memberships=alone");
	lift(&b);
}

static void a_second_reason_extends_the_set(void **state)
{
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: [disabled, account_expired]");
	expect(&b,
	       &(struct when){.account = "{\"enabled\":false,\"expires_at\":1}",
			      .memory = TAKEN("\"disabled\"")},
	       "take reasons=disabled,account_expired g=All "
	       "remember={\"taken:E3\":{\"at\":5,\"reasons\":[\"disabled\",\"account_expired\"]}}");
	expect(&b, &(struct when){.account = OFF, .memory = TAKEN("\"disabled\"")},
	       "take reasons=disabled g=All");
	lift(&b);
}

static void the_exempt_keep_theirs(void **state)
{
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: [disabled]");
	expect(&b, &(struct when){.account = OFF, .groups = "[\"free\",\"staff\"]"},
	       "give reasons=disabled " GIVES);
	expect(&b, &(struct when){.account = OFF, .exempt_id = true},
	       "give reasons=disabled " GIVES);
	lift(&b);
}

static void what_was_taken_comes_back_by_the_schedule(void **state)
{
	static const char clear[] = "{\"licence_clear_ms\":1767225600000,\"taken:E3\":{\"at\":5,"
				    "\"reasons\":[\"disabled\"]}}";
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: [disabled, locked], reinstate: schedule, schedule: 0 3 * * *, zone: "
		"Europe/Berlin, reinstate_for: [disabled]");
	expect(&b, &(struct when){.account = ON}, "give " GIVES); /* nothing is taken */
	expect(&b, &(struct when){.account = ON, .memory = TAKEN("\"disabled\"")},
	       "still g=All again=2 remember={\"licence_clear_ms\":1767225600000}");
	expect(&b, &(struct when){.account = ON, .memory = clear, .now = NOW + 7199000},
	       "still g=All again=2");
	expect(&b, &(struct when){.account = ON, .memory = clear, .now = NOW + 7200000},
	       "give " GIVES);
	expect(&b, &(struct when){.account = OFF, .memory = clear},
	       "take reasons=disabled g=All remember={\"licence_clear_ms\":null}");
	expect(&b, &(struct when){.account = ON, .memory = "{\"licence_clear_ms\":1767225600000}"},
	       "give " GIVES " remember={\"licence_clear_ms\":null}");
	expect(&b, &(struct when){.account = ON, .memory = TAKEN("\"locked\"")}, /* a person says */
	       "still g=All");
	expect(&b, &(struct when){.account = ON, .memory = TAKEN("\"locked\""), .reinstate = true},
	       "give " GIVES);
	expect(&b, &(struct when){.account = OFF, .memory = TAKEN("\"locked\""), .reinstate = true},
	       "take reasons=disabled g=All "
	       "remember={\"taken:E3\":{\"at\":5,\"reasons\":[\"disabled\",\"locked\"]}}");
	lift(&b);
}

static void memberships_go_and_come_where_that_is_said(void **state)
{
	struct bed b;

	(void)state;
	lay(&b, "revoke_when: [disabled], groups: true, only: [e3]");
	expect(&b, &(struct when){.account = OFF}, "take reasons=disabled");
	expect(&b, &(struct when){.account = ON, .left = true}, "take reasons=disabled");
	expect(&b, &(struct when){.account = ON}, "give " GIVES);
	assert_true(licence_takes(b.licence, "E3"));
	assert_false(licence_takes(b.licence, "F1"));
	lift(&b);
}

static void records_are_made_and_read(void **state)
{
	cJSON *memory =
		json_parse(SLICE("{\"given:A\":true,\"taken:B\":{\"at\":1,\"keep\":{\"x\":1},"
				 "\"reasons\":[\"locked\"]},\"taken:\":{},\"other\":1}"),
			   NULL);
	const struct licence_verdict v = {
		.memory = memory, .because = 1u << LICENCE_LOCKED, .now_unix_ms = 7};
	CLEANUP(buf_cleanup) struct buf text = {0};
	const cJSON *at = NULL, *keep;
	const char *item;
	cJSON *remember;

	(void)state;
	assert_true(licence_is_given(&v, "A") && !licence_is_given(&v, "B"));
	assert_true(licence_is_taken(&v, "B") && !licence_is_taken(&v, "A"));
	assert_true(licence_next_taken(&v, &at, &item, &keep));
	assert_string_equal(item, "B");
	assert_int_equal(json_int(keep, "x", 0), 1);
	assert_false(licence_next_taken(&v, &at, &item, &keep));
	remember = licence_note_given(licence_close(licence_take(&v, "C", NULL), "B"), "A", false);
	json_canonical(remember, &text);
	assert_string_equal(text.p,
			    "{\"given:A\":null,\"given:C\":null,\"taken:B\":null,\"taken:C\":{"
			    "\"at\":7,\"reasons\":[\"locked\"]}}");
	cJSON_Delete(remember);
	buf_clear(&text);
	licence_taken_json(memory, &text);
	assert_string_equal(text.p, "{\"B\":{\"at\":1,\"reasons\":[\"locked\"]}}");
	cJSON_Delete(memory);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(groups_say_what_is_wanted),
		cmocka_unit_test(each_reason_is_a_fact_or_a_date),
		cmocka_unit_test(only_listed_reasons_take_but_all_keep_from_giving_back),
		cmocka_unit_test(a_second_reason_extends_the_set),
		cmocka_unit_test(the_exempt_keep_theirs),
		cmocka_unit_test(what_was_taken_comes_back_by_the_schedule),
		cmocka_unit_test(memberships_go_and_come_where_that_is_said),
		cmocka_unit_test(records_are_made_and_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
