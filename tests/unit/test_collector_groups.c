#include "unit.h"

#include "entry_fixture.h"
#include "groups.h"

#include <stdio.h>
#include <stdlib.h>

/* Users 1…, the watched group "w" is cn=w, groups g0 … below it by test. */
struct setup {
	struct objects *objects;
	struct sets *sets;
	struct groups *groups;
	unsigned changed;
	int held; /* last HOLD's active, -1 none */
	uint64_t was, now;
};

static void changed(void *arg, uint32_t user)
{
	(void)user;
	((struct setup *)arg)->changed++;
}

static void hold(void *arg, const char *name, bool active, uint64_t was, uint64_t now)
{
	struct setup *s = arg;

	assert_string_equal(name, "w");
	s->held = active;
	s->was = was;
	s->now = now;
}

static int begin(void **state)
{
	static const char *const names[] = {"w"}, *const dns[] = {"cn=W, dc=x"};
	struct setup *s = mem_alloc(sizeof(*s));

	s->objects = objects_new();
	s->sets = sets_new(UINT32_MAX);
	s->held = -1;
	s->groups = groups_new(&(struct groups_settings){.objects = s->objects,
							 .sets = s->sets,
							 .names = names,
							 .dns = dns,
							 .n = 1,
							 .guard_min = 2,
							 .guard_percent = 20,
							 .arg = s,
							 .changed = changed,
							 .hold = hold});
	groups_survey_begin(s->groups);
	*state = s;
	return 0;
}

static int end(void **state)
{
	struct setup *s = *state;

	groups_free(s->groups);
	objects_free(s->objects);
	sets_free(s->sets);
	free(s);
	return 0;
}

static uint32_t object(struct setup *s, const char *dn, uint32_t id, enum entry_class class)
{
	struct id key = test_id(id);
	uint32_t n = objects_add(s->objects, &key);

	objects_at(s->objects, n)->class = (uint8_t) class;
	objects_set_dn(s->objects, n, dn_hash(dn));
	groups_appeared(s->groups, n, 0);
	return n;
}

static uint32_t user(struct setup *s, uint32_t i)
{
	char dn[32];

	snprintf(dn, sizeof(dn), "uid=u%u,dc=x", i);
	return object(s, dn, i, ENTRY_USER);
}

static void group(struct setup *s, const char *dn, uint32_t id, const char *const *members)
{
	struct entry *e = test_entry(dn, id, ENTRY_GROUP);
	uint32_t n = object(s, dn, id, ENTRY_GROUP);

	test_values(e, "member", members);
	groups_image(s->groups, n, e);
	entry_free(e);
}

#define GROUP(s, dn, id, ...) group(s, dn, id, (const char *const[]){__VA_ARGS__, NULL})

static bool is_in(struct setup *s, uint32_t n)
{
	return sets_has(s->sets, objects_at(s->objects, n)->groups, 0);
}

static void done(struct setup *s)
{
	groups_survey_end(s->groups);
	groups_work(s->groups);
}

static void members_that_come_later_and_cycles(void **state)
{
	struct setup *s = *state;
	uint32_t a, b;

	GROUP(s, "cn=w,dc=x", 100, "UID=u1, DC=x", "cn=g,dc=x");
	GROUP(s, "cn=g,dc=x", 101, "uid=u2,dc=x", "cn=w,dc=x");
	a = user(s, 1);
	done(s);
	assert_true(is_in(s, a));
	b = user(s, 2);
	objects_at(s->objects, b)->groups = groups_of(s->groups, b);
	assert_true(is_in(s, b));
	GROUP(s, "cn=g,dc=x", 101, "cn=w,dc=x");
	assert_true(groups_has_work(s->groups));
	groups_work(s->groups);
	assert_false(is_in(s, b));
	assert_true(is_in(s, a));
}

static void a_renamed_member_stays(void **state)
{
	struct setup *s = *state;
	uint32_t a = user(s, 1);

	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	done(s);
	objects_set_dn(s->objects, a, dn_hash("uid=other,dc=x"));
	groups_appeared(s->groups, a, 0);
	groups_work(s->groups);
	assert_true(is_in(s, a));
}

static void a_new_user_of_an_old_name_is_listed(void **state)
{
	struct setup *s = *state;
	uint32_t a = user(s, 1), b;

	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	done(s);
	groups_user_gone(s->groups, a);
	objects_set_dn(s->objects, a, 0);
	objects_at(s->objects, a)->flags |= OBJECT_GONE;
	b = object(s, "uid=u1,dc=x", 55, ENTRY_USER);
	assert_true(sets_has(s->sets, groups_of(s->groups, b), 0));
}

static void fill(struct setup *s, uint32_t n)
{
	const char *members[64] = {NULL};
	static char text[64][32];

	for (uint32_t i = 0; i < n; i++) {
		snprintf(text[i], sizeof(text[i]), "uid=u%u,dc=x", i);
		members[i] = text[i];
	}
	group(s, "cn=w,dc=x", 100, members);
}

static unsigned count(struct setup *s)
{
	unsigned n = 0;

	for (uint32_t i = 1; i <= objects_count(s->objects); i++)
		n += is_in(s, i);
	return n;
}

static void a_shrunk_group_is_held(void **state)
{
	struct setup *s = *state;

	for (uint32_t i = 0; i < 20; i++)
		user(s, i);
	fill(s, 20);
	done(s);
	assert_int_equal(count(s), 20);
	assert_int_equal(s->held, -1);
	fill(s, 16); /* 20 %: not past the guard */
	groups_work(s->groups);
	assert_int_equal(count(s), 16);
	fill(s, 8);
	groups_work(s->groups);
	assert_int_equal(count(s), 16);
	assert_int_equal(s->held, 1);
	assert_int_equal(s->was, 16);
	assert_int_equal(s->now, 8);
	fill(s, 15); /* it recovers */
	groups_work(s->groups);
	assert_int_equal(s->held, 0);
	assert_int_equal(count(s), 15);
	fill(s, 1);
	groups_work(s->groups);
	assert_int_equal(count(s), 15);
	groups_confirm(s->groups, SLICE("w"));
	groups_work(s->groups);
	assert_int_equal(count(s), 1);
}

static void the_next_group_of_that_name_is_watched(void **state)
{
	struct setup *s = *state;
	uint32_t a = user(s, 1), old;
	struct id id = test_id(100);

	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	done(s);
	old = objects_find(s->objects, &id);
	groups_gone(s->groups, old);
	objects_set_dn(s->objects, old, 0);
	groups_work(s->groups);
	assert_false(is_in(s, a));
	GROUP(s, "cn=w,dc=x", 200, "uid=u1,dc=x");
	groups_work(s->groups);
	assert_true(is_in(s, a));
}

static void remember(void *arg, const struct id *id)
{
	*(struct id *)arg = *id;
}

static void who_would_leave_waits_for_unknown_groups(void **state)
{
	struct setup *s = *state;
	uint32_t a = user(s, 1);
	struct id asked = {{0}}, want = test_id(101);

	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	GROUP(s, "cn=g,dc=x", 101, "uid=u1,dc=x"); /* reached by nobody: its members are let go */
	done(s);
	GROUP(s, "cn=w,dc=x", 100, "cn=g,dc=x");
	groups_work(s->groups);
	assert_true(is_in(s, a));
	groups_unknown(s->groups, remember, &asked);
	assert_true(id_equal(&asked, &want));
	user(s, 2);
	GROUP(s, "cn=g,dc=x", 101, "uid=u2,dc=x");
	groups_work(s->groups);
	assert_false(is_in(s, a));
}

static void forget(void *arg, const struct id *id)
{
	(void)id;
	(*(unsigned *)arg)++;
}

/* A member was renamed, and the group is read before the server has written the new name there. */
static void a_name_of_nobody_makes_who_would_leave_wait(void **state)
{
	struct setup *s = *state;
	uint32_t a = user(s, 1), w;
	struct id id = test_id(100);
	unsigned asked = 0;

	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	done(s);
	w = objects_find(s->objects, &id);
	objects_set_dn(s->objects, a, dn_hash("uid=other,dc=x"));
	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	groups_work(s->groups);
	assert_true(is_in(s, a));
	groups_unsure(s->groups, forget, &asked);
	groups_unsure(s->groups, forget, &asked); /* once */
	assert_int_equal(asked, 1);
	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x", "uid=u7,dc=x"); /* in between: no word on it */
	groups_work(s->groups);
	assert_true(is_in(s, a));
	groups_verify(s->groups, w);
	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	groups_work(s->groups);
	assert_false(is_in(s, a));
	/* Names that were nobody's before say nothing. */
	asked = 0;
	a = user(s, 9);
	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x", "uid=u9,dc=x");
	groups_work(s->groups);
	assert_true(is_in(s, a));
	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x");
	groups_work(s->groups);
	assert_false(is_in(s, a));
	groups_unsure(s->groups, forget, &asked);
	assert_int_equal(asked, 0);
}

/* After a start nobody knows what the group listed before. */
static void a_name_of_nobody_at_the_survey_makes_who_would_leave_wait(void **state)
{
	struct setup *s = *state;
	uint32_t a = user(s, 1);
	const uint16_t item = 0;
	unsigned asked = 0;

	objects_at(s->objects, a)->groups = sets_intern(s->sets, &item, 1); /* as WELCOME said */
	GROUP(s, "cn=w,dc=x", 100, "uid=before,dc=x");
	done(s);
	assert_true(is_in(s, a));
	groups_unsure(s->groups, forget, &asked);
	assert_int_equal(asked, 1);
	GROUP(s, "cn=w,dc=x", 100, "uid=u1,dc=x"); /* the server follows */
	groups_work(s->groups);
	assert_true(is_in(s, a));
}

static void primary_groups_count(void **state)
{
	struct setup *s = *state;
	struct entry *e = test_entry("cn=w,dc=x", 100, ENTRY_GROUP);
	uint32_t n = object(s, "cn=w,dc=x", 100, ENTRY_GROUP), a = user(s, 1), b = user(s, 2);
	struct slice *sid;

	TEST_VALUES(e, "objectSid", "\1\5xxxxxx????");
	sid = entry_attr(e, "objectSid")->values;
	*sid = (struct slice){"\1\5\0\0\0\0\0\5\1\2\0\0", 12};
	objects_at(s->objects, a)->aux = 513;
	objects_at(s->objects, b)->aux = 514;
	groups_image(s->groups, n, e);
	entry_free(e);
	done(s);
	assert_true(is_in(s, a));
	assert_false(is_in(s, b));
	objects_at(s->objects, a)->aux = 514;
	assert_true(sets_has(s->sets, groups_of(s->groups, a), 0)); /* leaving is groups_work's */
	groups_work(s->groups);
	assert_false(is_in(s, a));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(members_that_come_later_and_cycles),
		TEST(a_renamed_member_stays),
		TEST(a_new_user_of_an_old_name_is_listed),
		TEST(a_shrunk_group_is_held),
		TEST(the_next_group_of_that_name_is_watched),
		TEST(who_would_leave_waits_for_unknown_groups),
		TEST(a_name_of_nobody_makes_who_would_leave_wait),
		TEST(a_name_of_nobody_at_the_survey_makes_who_would_leave_wait),
		TEST(primary_groups_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
