#include "unit.h"

#include "entry_fixture.h"
#include "filter.h"
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- filters ---- */

static struct entry *person(void)
{
	struct entry *e = test_entry("uid=a,ou=Sales,dc=x", 1, ENTRY_USER);

	TEST_VALUES(e, "cn", "Jörg  MÜLLER", "Second");
	TEST_VALUES(e, "number", "9");
	TEST_VALUES(e, "userAccountControl", "514");
	TEST_VALUES(e, "manager", "UID=boss, DC=x");
	TEST_VALUES(e, "objectCategory", "CN=Person,CN=Schema,DC=x");
	TEST_VALUES(e, "odd", "a*(b)\\");
	test_values(e, "title", (const char *const[]){NULL});
	return e;
}

static void filters_fit(void **state)
{
	static const struct {
		const char *text;
		bool fits;
	} rows[] = {
		{"(cn=jörg müller)", true},
		{"cn=second", true},
		{"(CN=third)", false},
		{"(cn=*)", true},
		{"(title=*)", false},
		{"(!(title=*))", true},
		{"(none=x)", false},
		{"(cn=j*g*ller)", true},
		{"(cn=*müll*)", true},
		{"(cn=*müllerx*)", false},
		{"(cn=sec*ond)", true},
		{"(cn=seco*ond)", false},
		{"(number>=9)", true},
		{"(number>=10)", false},
		{"(number<=10)", true},
		{"(cn~=SECOND)", true},
		{"(manager=uid=boss,dc=x)", true},
		{"(manager=uid=other,dc=x)", false},
		{"(objectCategory=person)", true},
		{"(objectCategory=group)", false},
		{"(userAccountControl:1.2.840.113556.1.4.803:=2)", true},
		{"(!(userAccountControl:1.2.840.113556.1.4.803:=2))", false},
		{"(userAccountControl:1.2.840.113556.1.4.803:=18)", false},
		{"(userAccountControl:1.2.840.113556.1.4.804:=18)", true},
		{"(odd=a\\2a\\28b\\29\\5c)", true},
		{"(&)", true},
		{"(|)", false},
		{"(&(cn=second)(|(number=8)(number=9)))", true},
		{"(& (cn=second) (number=8) )", false},
	};
	struct entry *e = person();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf why = {0};
		struct filter *f = filter_new(rows[i].text, &why);

		if (f == NULL || filter_fits(f, e) != rows[i].fits)
			fail_msg("%s: %s", rows[i].text, f == NULL ? why.p : "wrong");
		filter_free(f);
		buf_done(&why);
	}
	entry_free(e);
}

static void bad_filters_are_refused(void **state)
{
	static const char *const bad[] = {
		"",    "(",	   "(cn)",    "(cn=a",	      "(cn=a))", "(=a)",   "(!(a=b)(c=d))",
		"(!)", "(a=\\zz)", "(a>=b*)", "(a:1.2.3:=x)", "((a=b))", "(&(a=b)"};
	struct buf deep = {0};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf why = {0};

		assert_null(filter_new(bad[i], &why));
		assert_true(why.n > 0);
		buf_done(&why);
	}
	for (int i = 0; i < 100; i++)
		buf_adds(&deep, "(!");
	buf_adds(&deep, "(a=b)");
	for (int i = 0; i < 100; i++)
		buf_adds(&deep, ")");
	{
		struct buf why = {0};

		assert_null(filter_new(deep.p, &why));
		buf_done(&why);
	}
	buf_done(&deep);
}

/* ---- routes ---- */

static const char *const names[] = {"admins", "staff"};

static struct conf *conf_of(const char *routes)
{
	char path[] = "/tmp/test_route_XXXXXX", token[] = "/tmp/test_token_XXXXXX";
	CLEANUP(buf_cleanup) struct buf errors = {0};
	int fd = mkstemp(path), secret = mkstemp(token);
	FILE *f = fdopen(fd, "w");
	struct conf *conf;

	assert_int_equal(write(secret, "x", 1), 1);
	close(secret);
	fprintf(f,
		"sources:\n  s:\n    driver: syncrepl\n    uris: [ldap://127.0.0.1]\n    base_dn: "
		"dc=x\n"
		"    bind: {method: simple, dn: cn=r, password: !file %s}\n    users: {attributes: "
		"[cn]}\n"
		"    groups: [{name: admins, dn: \"cn=a,dc=x\"}, {name: staff, dn: "
		"\"cn=s,dc=x\"}]\n    routes: %s\n"
		"targets:\n  one: {driver: scim, url: \"https://h/\", auth: {method: bearer, "
		"token: !file %s}, mapping: {userName: id}}\n"
		"  two: {driver: scim, url: \"https://h/\", auth: {method: bearer, token: !file "
		"%s}, mapping: {userName: id}}\n",
		token, routes, token, token);
	fclose(f);
	conf = conf_load(path, &errors);
	unlink(path);
	unlink(token);
	if (conf == NULL)
		fail_msg("%s", errors.p);
	return conf;
}

struct setup {
	struct conf *conf;
	struct route_table *table;
	struct sets *routes, *groups, *targets;
};

static void begin(struct setup *s, const char *routes)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	s->conf = conf_of(routes);
	s->table = route_new(conf_named(conf_root(s->conf), "sources", "s"), names, 2, &why);
	if (s->table == NULL)
		fail_msg("%s", why.p);
	s->routes = sets_new(1000);
	s->groups = sets_new(1000);
	s->targets = sets_new(1000);
}

static void finish(struct setup *s)
{
	route_free(s->table);
	conf_free(s->conf);
	sets_free(s->routes);
	sets_free(s->groups);
	sets_free(s->targets);
}

static bool reaches(struct setup *s, const struct entry *e, uint32_t groups, const char *target)
{
	uint32_t fitting = route_fitting(s->table, s->routes, e);
	uint32_t in = route_in(s->table, s->routes, fitting, s->groups, groups, s->targets);

	return sets_has(s->targets, in, (uint16_t)route_target_index(s->table, slice_of(target)));
}

static void all_conditions_of_a_route_must_hold(void **state)
{
	struct setup s;
	struct entry *e = person(), *other = test_entry("uid=b,ou=Legal,dc=x", 2, ENTRY_USER);
	uint16_t staff[] = {1};
	uint32_t in_staff;

	(void)state;
	begin(&s, "[{target: one, base: \"ou=sales, dc=x\", groups: [staff], filter: "
		  "\"(cn=second)\"}, {target: two}]");
	in_staff = sets_intern(s.groups, staff, 1);
	assert_false(reaches(&s, e, SETS_EMPTY, "one"));
	assert_true(reaches(&s, e, in_staff, "one"));
	assert_true(reaches(&s, e, SETS_EMPTY, "two"));
	assert_false(reaches(&s, other, in_staff, "one"));
	assert_true(reaches(&s, other, in_staff, "two"));
	finish(&s);
	entry_free(e);
	entry_free(other);
}

static void one_of_several_routes_is_enough(void **state)
{
	struct setup s;
	struct entry *e = person();
	uint16_t admins[] = {0};

	(void)state;
	begin(&s, "[{target: one, groups: [admins]}, {target: one, filter: \"(number=8)\"}]");
	assert_false(reaches(&s, e, SETS_EMPTY, "one"));
	assert_true(reaches(&s, e, sets_intern(s.groups, admins, 1), "one"));
	finish(&s);
	entry_free(e);
}

static void excluded_ids_never_reach(void **state)
{
	struct setup s;
	struct entry *e = person(), *other = test_entry("uid=b,dc=x", 2, ENTRY_USER);

	(void)state;
	begin(&s, "[{target: one, exclude: [\"01000000-0000-0000-0000-000001000000\"]}]");
	assert_false(reaches(&s, e, SETS_EMPTY, "one"));
	assert_true(reaches(&s, other, SETS_EMPTY, "one"));
	finish(&s);
	entry_free(e);
	entry_free(other);
}

static void included_ids_reach_from_anywhere(void **state)
{
	struct setup s;
	struct entry *e = person(), *other = test_entry("uid=b,ou=Legal,dc=x", 2, ENTRY_USER);

	(void)state;
	begin(&s, "[{target: one, base: \"ou=sales,dc=x\", groups: [staff], include: "
		  "[\"01000000-0000-0000-0000-000002000000\"]}, {target: two, include: "
		  "[\"01000000-0000-0000-0000-000002000000\", "
		  "\"01000000-0000-0000-0000-000001000000\"], exclude: "
		  "[\"01000000-0000-0000-0000-000001000000\"]}]");
	assert_false(reaches(&s, e, SETS_EMPTY, "one"));
	assert_true(reaches(&s, other, SETS_EMPTY, "one"));
	assert_true(reaches(&s, other, SETS_EMPTY, "two"));
	assert_false(reaches(&s, e, SETS_EMPTY, "two")); /* include alone means nobody else */
	finish(&s);
	entry_free(e);
	entry_free(other);
}

static void the_nearest_reason_is_told(void **state)
{
	static const struct {
		const char *routes, *cause;
	} rows[] = {
		{"[{target: one, base: \"ou=legal,dc=x\"}]", "moved"},
		{"[{target: one, base: \"ou=sales,dc=x\", filter: \"(number=8)\"}]", "filter"},
		{"[{target: one, exclude: [\"01000000-0000-0000-0000-000001000000\"]}]",
		 "excluded"},
		{"[{target: one, groups: [staff]}]", "group:staff"},
		{"[{target: one, base: \"ou=legal,dc=x\"}, {target: one, groups: [admins, staff]}]",
		 "group:admins,staff"},
		{"[{target: two}, {target: one, include: "
		 "[\"01000000-0000-0000-0000-000002000000\"]}]",
		 ""},
	};
	struct entry *e = person();

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		CLEANUP(buf_cleanup) struct buf cause = {0};
		struct setup s;

		begin(&s, rows[i].routes);
		route_why_not(s.table, route_target_index(s.table, SLICE("one")), s.routes,
			      route_fitting(s.table, s.routes, e), e, &cause);
		assert_string_equal(cause.n ? cause.p : "", rows[i].cause);
		finish(&s);
	}
	entry_free(e);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(filters_fit),
		cmocka_unit_test(bad_filters_are_refused),
		cmocka_unit_test(all_conditions_of_a_route_must_hold),
		cmocka_unit_test(one_of_several_routes_is_enough),
		cmocka_unit_test(excluded_ids_never_reach),
		cmocka_unit_test(included_ids_reach_from_anywhere),
		cmocka_unit_test(the_nearest_reason_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
