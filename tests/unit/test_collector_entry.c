#include "unit.h"

#include "account.h"
#include "clock.h"
#include "entry.h"
#include "entry_fixture.h"
#include "image.h"
#include "snapshot.h"

#include <errno.h>
#include <openldap.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- DNs ---- */

static void assert_normal(const char *dn, const char *want)
{
	CLEANUP(buf_cleanup) struct buf b = {0};

	assert_int_equal(dn_normal(dn, &b), 0);
	assert_string_equal(b.p, want);
}

static void dns_compare_by_their_normal_form(void **state)
{
	(void)state;
	assert_normal("CN=Bob, OU=People ,DC=Example,dc=com", "cn=bob,ou=people,dc=example,dc=com");
	assert_normal("cn=Ärger  über   Ö,dc=x", "cn=ärger über ö,dc=x");
	assert_normal("cn=a=b,dc=x", "cn=a=b,dc=x");
	assert_normal("cn=Smith\\, John,dc=x", "cn=smith\\, john,dc=x");
	assert_normal("cn=Smith\\2C John,dc=x", "cn=smith\\, john,dc=x");
	assert_normal("sn=B+CN=A,dc=x", "cn=a+sn=b,dc=x");
	assert_int_equal(dn_hash("CN=Smith\\2C John,DC=x"), dn_hash("cn=smith\\, john, dc=X"));
	assert_int_not_equal(dn_hash("cn=a,dc=x"), dn_hash("cn=b,dc=x"));
	assert_int_not_equal(dn_hash("cn=#0403616263,dc=x"), dn_hash("cn=\\#0403616263,dc=x"));
	assert_int_not_equal(dn_hash("cn=a\\00b,dc=x"), dn_hash("cn=a\\00c,dc=x"));
}

static void what_is_no_dn_has_no_hash(void **state)
{
	static const char *const bad[] = {"",		"abc", "=x",	"cn=a,",
					  "cn=a,,dc=x", ",",   "c n=a", "cn=\\zz,dc=x"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(dn_hash(bad[i]), 0);
}

static void within_is_at_or_below(void **state)
{
	(void)state;
	assert_true(dn_within("cn=a,OU=People,dc=x", "ou=people, dc=X"));
	assert_true(dn_within("ou=people,dc=x", "ou=People,dc=x"));
	assert_false(dn_within("cn=a,ou=morepeople,dc=x", "ou=people,dc=x"));
	assert_false(dn_within("cn=a\\,ou=people,dc=x", "ou=people,dc=x"));
	assert_true(dn_within("cn=a\\\\,ou=people,dc=x", "ou=people,dc=x"));
	assert_false(dn_within("dc=x", "ou=people,dc=x"));
}

static void the_parent_is_what_follows_the_first_rdn(void **state)
{
	uint64_t own, parent;

	(void)state;
	dn_hashes("cn=Smith\\, John,OU=a,dc=x", &own, &parent);
	assert_int_equal(own, dn_hash("cn=smith\\2c john,ou=a,dc=x"));
	assert_int_equal(parent, dn_hash("ou=A,dc=x"));
	dn_hashes("dc=x", &own, &parent);
	assert_int_equal(parent, 0);
}

static void identity_in_front_of_a_dn_is_taken_off(void **state)
{
	struct slice dn;
	struct id id;
	char text[ID_TEXT];

	(void)state;
	assert_true(dn_extended(
		SLICE("<GUID=81c4b88a-7cae-1041-951e-2d58ffb2a13f>;<SID=010500>;CN=a,DC=x"), &id,
		&dn));
	assert_true(slice_is(dn, "CN=a,DC=x"));
	id_format(&id, text);
	assert_string_equal(text, "81c4b88a-7cae-1041-951e-2d58ffb2a13f");
	assert_true(dn_extended(SLICE("<GUID=8ab8c481ae7c4110951e2d58ffb2a13f>;CN=a"), &id, &dn));
	id_format(&id, text);
	assert_string_equal(text, "81c4b88a-7cae-1041-951e-2d58ffb2a13f");
	assert_false(dn_extended(SLICE("CN=a"), &id, &dn));
	assert_true(slice_is(dn, "CN=a"));
}

/* ---- entries: real messages through libldap, written by hand to a socket pair ---- */

static void tlv(struct buf *out, uint8_t tag, const struct buf *value)
{
	uint8_t head[6] = {tag,
			   0x84,
			   (uint8_t)(value->n >> 24),
			   (uint8_t)(value->n >> 16),
			   (uint8_t)(value->n >> 8),
			   (uint8_t)value->n};

	buf_add(out, head, sizeof(head));
	buf_add(out, value->p, value->n);
}

static void octets(struct buf *out, const char *p, size_t n)
{
	CLEANUP(buf_cleanup) struct buf b = {0};

	buf_add(&b, p, n);
	tlv(out, 0x04, &b);
}

struct value {
	const char *name, *p;
	size_t n;
};

/* Values of one name stand together; p NULL: the name without values. */
static void add_attrs(struct buf *out, const struct value *v, size_t n)
{
	for (size_t i = 0; i < n;) {
		CLEANUP(buf_cleanup) struct buf attr = {0};
		CLEANUP(buf_cleanup) struct buf set = {0};
		const char *name = v[i].name;

		octets(&attr, name, strlen(name));
		for (; i < n && strcmp(v[i].name, name) == 0; i++)
			if (v[i].p != NULL)
				octets(&set, v[i].p, v[i].n);
		tlv(&attr, 0x31, &set);
		tlv(out, 0x30, &attr);
	}
}

static struct entry *entry_from(const char *dn, const struct value *v, size_t n,
				const struct entry_schema *schema, const char **why)
{
	CLEANUP(buf_cleanup) struct buf attrs = {0};
	CLEANUP(buf_cleanup) struct buf body = {0};
	CLEANUP(buf_cleanup) struct buf message = {0};
	CLEANUP(buf_cleanup) struct buf whole = {0};
	struct timeval wait = {5, 0};
	LDAP *ld = NULL;
	LDAPMessage *m = NULL;
	struct entry *e;
	struct id id;
	int fds[2], msgid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	assert_int_equal(ldap_init_fd(fds[0], 1, "ldap://test", &ld), LDAP_SUCCESS);
	assert_int_equal(ldap_search_ext(ld, "", LDAP_SCOPE_BASE, NULL, NULL, 0, NULL, NULL, NULL,
					 0, &msgid),
			 LDAP_SUCCESS);
	octets(&body, dn, strlen(dn));
	add_attrs(&attrs, v, n);
	tlv(&body, 0x30, &attrs);
	buf_add(&message, (uint8_t[]){0x02, 0x01, (uint8_t)msgid}, 3);
	tlv(&message, 0x64, &body);
	tlv(&whole, 0x30, &message);
	assert_int_equal(write(fds[1], whole.p, whole.n), (ssize_t)whole.n);
	assert_int_equal(ldap_result(ld, msgid, LDAP_MSG_ONE, &wait, &m), LDAP_RES_SEARCH_ENTRY);
	*why = NULL;
	e = entry_new(ld, m, schema, &id, why);
	ldap_msgfree(m);
	ldap_unbind_ext_s(ld, NULL, NULL);
	close(fds[1]);
	return e;
}

#define V(name, text)                                                                              \
	{                                                                                          \
		name, text, sizeof(text) - 1                                                       \
	}
static const struct value uuid = V("entryUUID", "81c4b88a-7cae-1041-951e-2d58ffb2a13f");

static void an_entry_is_copied_and_classified(void **state)
{
	const struct value v[] = {uuid,
				  V("objectClass", "inetOrgPerson"),
				  V("sn", "M\xc3\xbcller"),
				  V("cn;lang-de", "x"),
				  V("photo;binary", "\0\1"),
				  {"title", NULL, 0},
				  V("userPassword", "canary")};
	const char *why;
	struct entry *e = entry_from("uid=a,dc=x", v, 7, &entry_schema_openldap, &why);

	(void)state;
	assert_non_null(e);
	assert_int_equal(e->class, ENTRY_USER);
	assert_string_equal(e->dn, "uid=a,dc=x");
	assert_string_equal(entry_first(e, "SN"), "Müller");
	assert_string_equal(entry_first(e, "cn;lang-de"), "x");
	assert_null(entry_first(e, "cn"));
	assert_int_equal(entry_attr(e, "photo")->values[0].n, 2);
	assert_non_null(entry_attr(e, "title"));
	assert_int_equal(entry_attr(e, "title")->n, 0);
	assert_null(entry_attr(e, "userPassword"));
	entry_free(e);
}

static void caps_and_missing_ids_refuse_an_entry(void **state)
{
	static char big[ENTRY_VALUE_MAX + 1];
	struct value v[] = {uuid, V("objectClass", "person"), {"description", big, sizeof(big)}};
	const char *why;
	struct entry *e;

	(void)state;
	assert_null(entry_from("uid=a,dc=x", v, 3, &entry_schema_openldap, &why));
	assert_string_equal(why, "description: a value is larger than 64 KiB");
	v[2].n = ENTRY_VALUE_MAX;
	e = entry_from("uid=a,dc=x", v, 3, &entry_schema_openldap, &why);
	assert_non_null(e);
	entry_free(e);
	assert_null(entry_from("uid=a,dc=x", v + 1, 1, &entry_schema_openldap, &why));
	assert_string_equal(why, "the entry has no id");
	assert_null(entry_from("uid=\xff,dc=x", v, 2, &entry_schema_openldap, &why));
}

static void active_directory_has_its_own_ways(void **state)
{
	static const char guid[] =
		"\x8a\xb8\xc4\x81\xae\x7c\x41\x10\x95\x1e\x2d\x58\xff\xb2\xa1\x3f";
	const struct value v[] = {V("objectGUID", guid),
				  V("objectClass", "group"),
				  {"member", NULL, 0},
				  V("member;range=0-1", "CN=a"),
				  V("member;range=0-1", "CN=b")};
	const struct value links[] = {V("objectGUID", guid), V("objectClass", "group"),
				      V("member;range=1-1", "CN=in"),
				      V("member;range=0-0", "CN=out")};
	const struct value computer[] = {V("objectGUID", guid), V("objectClass", "user"),
					 V("objectClass", "computer")};
	char text[ID_TEXT];
	const char *why;
	struct entry *e = entry_from("<GUID=x>;CN=g,DC=x", v, 5, &entry_schema_ad, &why);

	(void)state;
	id_format(&e->id, text);
	assert_string_equal(text, "81c4b88a-7cae-1041-951e-2d58ffb2a13f");
	assert_memory_equal(e->raw_id, guid, 16);
	assert_string_equal(e->dn, "CN=g,DC=x");
	assert_int_equal(e->class, ENTRY_GROUP);
	assert_int_equal(entry_attr(e, "member")->n, 2);
	assert_int_equal(e->range_next, 2);
	entry_free(e);
	e = entry_from("CN=g,DC=x", links, 4, &entry_schema_ad, &why);
	assert_int_equal(entry_attr(e, "member")->n, 1);
	assert_string_equal(entry_first(e, "member"), "CN=in");
	assert_int_equal(e->range_next, 0);
	entry_free(e);
	e = entry_from("CN=pc,DC=x", computer, 3, &entry_schema_ad, &why);
	assert_int_equal(e->class, ENTRY_OTHER);
	entry_free(e);
}

static void a_range_that_cannot_be_refuses_the_entry(void **state)
{
	static const char guid[] =
		"\x8a\xb8\xc4\x81\xae\x7c\x41\x10\x95\x1e\x2d\x58\xff\xb2\xa1\x3f";
	const struct value v[] = {V("objectGUID", guid), V("objectClass", "group"),
				  V("member;range=0-9223372036854775807", "CN=a")};
	const char *why;

	(void)state;
	assert_null(entry_from("CN=g,DC=x", v, 3, &entry_schema_ad, &why));
	assert_string_equal(why, "member: the range cannot be read");
}

static void secrets_are_known_by_name(void **state)
{
	(void)state;
	assert_true(entry_attr_is_secret("USERPASSWORD"));
	assert_true(entry_attr_is_secret("unicodePwd"));
	assert_true(entry_attr_is_secret("unhashed#user#password"));
	assert_true(entry_attr_is_secret("userPassword;x-old"));
	assert_false(entry_attr_is_secret("userPasswordHint"));
}

/* ---- account state ---- */

static void times_are_read(void **state)
{
	(void)state;
	assert_int_equal(account_filetime_ms("134398177110178060"), 1795344111017);
	assert_int_equal(account_filetime_ms("0"), 0);
	assert_int_equal(account_filetime_ms("9223372036854775807"), 0);
	assert_int_equal(account_filetime_ms("x"), 0);
	assert_int_equal(clock_generalized_ms("20260228120001Z"), 1772280001000);
	assert_int_equal(clock_generalized_ms("20260228120001.123456Z"), 1772280001000);
	assert_int_equal(clock_generalized_ms("202602281300+0100"), 1772280000000);
	assert_int_equal(clock_generalized_ms("20261328120001Z"), 0);
	assert_int_equal(clock_generalized_ms("20260228120001"), 0);
}

static void accounts_of_active_directory(void **state)
{
	struct source_policy policy = {.max_password_age_ms = 1000, .lockout_ms = 60000};
	struct entry *e = test_entry("cn=a", 1, ENTRY_USER);
	struct account a;

	(void)state;
	e->schema = &entry_schema_ad;
	TEST_VALUES(e, "userAccountControl", "514");
	TEST_VALUES(e, "lockoutTime", "134398177110178060");
	TEST_VALUES(e, "pwdLastSet", "134398177110178060");
	TEST_VALUES(e, "accountExpires", "9223372036854775807");
	account_read(e, e->schema, &policy, &a);
	assert_false(a.enabled);
	assert_int_equal(a.locked_until, 1795344111017 + 60000);
	assert_int_equal(a.password_expires_at, 1795344111017 + 1000);
	assert_int_equal(a.expires_at, 0);
	policy.lockout_ms = 0;
	account_read(e, e->schema, &policy, &a);
	assert_int_equal(a.locked_until, SNAPSHOT_FOREVER);
	entry_free(e);
}

static void accounts_of_the_others(void **state)
{
	struct source_policy policy = {.lockout_ms = 1000};
	struct entry *e = test_entry("cn=a", 1, ENTRY_USER);
	struct account a;

	(void)state;
	account_read(e, &entry_schema_openldap, &policy, &a);
	assert_true(a.enabled);
	TEST_VALUES(e, "pwdAccountLockedTime", "000001010000Z");
	TEST_VALUES(e, "pwdLastSuccess", "20260228120001Z");
	account_read(e, &entry_schema_openldap, &policy, &a);
	assert_false(a.enabled);
	assert_int_equal(a.locked_until, SNAPSHOT_FOREVER);
	assert_int_equal(a.last_logon_at % 86400000, 0);
	TEST_VALUES(e, "nsAccountLock", "true");
	account_read(e, &entry_schema_389ds, &policy, &a);
	assert_false(a.enabled);
	entry_free(e);
}

/* ---- the image ---- */

static bool nobody(void *arg, size_t which, struct slice value, struct id *ret_id)
{
	(void)arg;
	(void)which;
	(void)value;
	(void)ret_id;
	return false;
}

/* What a broker would refuse is refused here: its ERROR ends the session, and the user would come again in the next. */
static void a_user_that_the_wire_cannot_carry_is_refused(void **state)
{
	static char big[ENTRY_VALUE_MAX];
	const char *values[64], *attr = NULL;
	struct entry *e = test_entry("uid=a,dc=x", 1, ENTRY_USER);
	const struct source_policy policy = {0};
	const struct image_scope scope = {.policy = &policy};
	CLEANUP(buf_cleanup) struct buf why = {0}, out = {0};
	char folder[] = "/tmp/dirpipe-test-XXXXXX", path[64];
	struct conf *conf;
	struct image_maker *maker;
	struct wire_list list;
	struct wire_user user;
	struct fp fp;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/c.yaml", folder);
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	fputs("sources:\n  corp:\n    driver: syncrepl\n    uris: [ldap://127.0.0.1]\n    base_dn: "
	      "dc=x\n"
	      "    bind: {method: gssapi, keytab: /k, principal: p@X}\n    users: {attributes: "
	      "[title]}\n",
	      file);
	fclose(file);
	conf = conf_load(path, &why);
	if (!conf)
		fail_msg("%s", why.p);
	maker = image_new(
		&(struct image_settings){.source = conf_named(conf_root(conf), "sources", "corp"),
					 .source_name = "corp",
					 .resolve = nobody});
	memset(big, 1, sizeof(big) - 1); /* six bytes of JSON each */
	for (size_t i = 0; i < 63; i++)
		values[i] = big;
	values[40] = NULL;
	test_values(e, "title", values);
	assert_int_equal(image_build(maker, e, &scope, &out, &fp, &attr), 0);
	list = (struct wire_list){1, out.p, out.n};
	assert_true(wire_next_user(&list, &user));
	entry_free(e);
	e = test_entry("uid=a,dc=x", 1, ENTRY_USER);
	values[40] = big;
	values[63] = NULL;
	test_values(e, "title", values);
	assert_int_equal(image_build(maker, e, &scope, &out, &fp, &attr), -E2BIG);
	entry_free(e);
	image_free(maker);
	conf_free(conf);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dns_compare_by_their_normal_form),
		cmocka_unit_test(what_is_no_dn_has_no_hash),
		cmocka_unit_test(within_is_at_or_below),
		cmocka_unit_test(the_parent_is_what_follows_the_first_rdn),
		cmocka_unit_test(identity_in_front_of_a_dn_is_taken_off),
		cmocka_unit_test(an_entry_is_copied_and_classified),
		cmocka_unit_test(caps_and_missing_ids_refuse_an_entry),
		cmocka_unit_test(active_directory_has_its_own_ways),
		cmocka_unit_test(a_range_that_cannot_be_refuses_the_entry),
		cmocka_unit_test(secrets_are_known_by_name),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(accounts_of_active_directory),
		cmocka_unit_test(accounts_of_the_others),
		cmocka_unit_test(a_user_that_the_wire_cannot_carry_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
