/* The configuration: every bad input with the place and the words of its error. */
#include "conf_fixture.h"

/* ---- bad inputs ---- */

struct bad {
	const char *yaml;
	const char *errors[6]; /* each must be a line of the output, from its start */
};

static const struct bad bad[] = {
	/* the text as a whole */
	{"", {"DIR/c.yaml:1:1: is empty; expected a mapping"}},
	{"# only\n", {"DIR/c.yaml:1:1: is empty; expected a mapping"}},
	{"- a\n",
	 {"DIR/c.yaml:1:1: expected one YAML document with a mapping of sections, got a list"}},
	{"realm\n", {"DIR/c.yaml:1:1: expected one YAML document"}},
	{"realm: a\n---\nrealm: b\n",
	 {"DIR/c.yaml:1:1: expected one YAML document with a mapping of sections; a second"}},
	{"realm: \"open\n",
	 {"DIR/c.yaml:1:9: not YAML: double-quoted scalar without closing quote"}},
	{"log:\n\tlevel: info\n", {"DIR/c.yaml:2:1: not YAML: tab character"}},
	{"log: {level: info\n", {"DIR/c.yaml:2:1: not YAML: "}},
	/* keys */
	{"wrokers: 1\nbrokr: {}\n",
	 {"DIR/c.yaml:1:1: wrokers: unknown key (did you mean broker?)\n",
	  "DIR/c.yaml:2:1: brokr: unknown key (did you mean broker?)"}},
	{"broker:\n  laese: 3s\n",
	 {"DIR/c.yaml:2:3: broker.laese: unknown key (did you mean lease?)"}},
	{"realm: a\nlog: {level: info}\nrealm: b\n",
	 {"DIR/c.yaml:3:1: realm: stands twice here, first in line 1"}},
	{"log: {level: info, level: warn}\n",
	 {"DIR/c.yaml:1:20: level: stands twice here, first in line 1"}},
	{"? [a, b]\n: 1\n", {"DIR/c.yaml:1:1: a key must be one word"}},
	{"'*': 1\nsources: {x: {'*': 1, driver: poll, uris: ['ldap://h'], base_dn: x, bind: "
	 "{method: gssapi, keytab: /k, "
	 "principal: p}, users: {attributes: [a]}}}\n",
	 {"DIR/c.yaml:1:2: *: unknown key", "DIR/c.yaml:2:16: sources.x.*: unknown key"}},
	/* types */
	{"broker: 5\n", {"DIR/c.yaml:1:9: broker: expected a mapping of keys, got '5'"}},
	{"broker:\n", {"DIR/c.yaml:1:1: broker: expected a mapping of keys, got nothing"}},
	{"realm: Über\n",
	 {"DIR/c.yaml:1:8: realm: expected a name of a-z 0-9 _ - (at most 63), got 'Über'"}},
	{"realm: [a]\n", {"DIR/c.yaml:1:1: realm: expected a name"}},
	{"realm: \"a\\0b\"\n", {"DIR/c.yaml:1:9: realm: expected a name"}},
	{"log: {level: loud}\n",
	 {"DIR/c.yaml:1:14: log.level: expected one of the words debug|info|warn|error, got "
	  "'loud'"}},
	{"log: {level: }\n",
	 {"DIR/c.yaml:1:7: log.level: expected one of the words debug|info|warn|error, got "
	  "nothing"}},
	{"broker: {lease: 30}\n",
	 {"DIR/c.yaml:1:17: broker.lease: expected a duration such as 250ms, 10s, 5m, 2h, 30d in "
	  "1s..10m, got '30'"}},
	{"broker: {lease: 30sec}\n", {"DIR/c.yaml:1:17: broker.lease: expected a duration"}},
	{"broker: {lease: -3s}\n", {"DIR/c.yaml:1:17: broker.lease: expected a duration"}},
	{"broker: {lease: 1h}\n",
	 {"DIR/c.yaml:1:17: broker.lease: 1h is out of range; expected 1s..10m"}},
	{"broker: {lease: 99999999999999999d}\n",
	 {"DIR/c.yaml:1:17: broker.lease: expected a duration"}},
	{"broker: {redis: {replicas: four}}\n",
	 {"DIR/c.yaml:1:28: broker.redis.replicas: expected a whole number in 0..5, got 'four'"}},
	{"broker: {redis: {replicas: 6}}\n",
	 {"DIR/c.yaml:1:28: broker.redis.replicas: 6 is out of range; expected 0..5"}},
	{"broker: {redis: {replicas: 99999999999999999999}}\n",
	 {"DIR/c.yaml:1:28: broker.redis.replicas: expected a whole number"}},
	{"broker: {redis: {replicas: 0x1}}\n",
	 {"DIR/c.yaml:1:28: broker.redis.replicas: expected a whole number"}},
	{"broker: {control: run/x}\n",
	 {"DIR/c.yaml:1:19: broker.control: expected an absolute path, got a single value"}},
	{"broker: {endpoints: ipc:///x}\n",
	 {"DIR/c.yaml:1:21: broker.endpoints: expected a list, got a single value"}},
	{"broker: {endpoints: [[a]]}\n",
	 {"DIR/c.yaml:1:10: broker.endpoints: expected a list of texts, got a list in it"}},
	{"realm: &a x\nlog: {level: *a}\n",
	 {"DIR/c.yaml:2:15: log.level: aliases (*name) are not possible"}},
	{"realm: !file x\n", {"DIR/c.yaml:1:14: realm: tags are for secrets only"}},
	{"log: !x {level: info}\n", {"DIR/c.yaml:1:10: log: tags are for secrets only"}},
	/* addresses */
	{"broker: {http: 'localhost'}\n",
	 {"DIR/c.yaml:1:17: broker.http: has no port; expected HOST:PORT"}},
	{"broker: {http: '127.0.0.1:0'}\n",
	 {"DIR/c.yaml:1:17: broker.http: has a port that is no number from 1 to 65535"}},
	{"broker: {http: '::1:80'}\n", {"DIR/c.yaml:1:17: broker.http: has no host"}},
	{"broker: {endpoints: ['tcp://h:0', 'tcp://h', 'udp://h:1', 'ipc://x', 'tcp://h:65536']}\n",
	 {"DIR/c.yaml:1:23: broker.endpoints: the endpoint has a port that is no number from 1 to "
	  "65535",
	  "DIR/c.yaml:1:36: broker.endpoints: the endpoint has no port",
	  "DIR/c.yaml:1:47: broker.endpoints: the endpoint is neither",
	  "DIR/c.yaml:1:60: broker.endpoints: the endpoint has no absolute path",
	  "DIR/c.yaml:1:71: broker.endpoints: the endpoint has a port that is no number"}},
	{"broker: {endpoints: ['tcp://h:5555']}\n",
	 {"DIR/c.yaml:1:23: broker.endpoints: tcp:// needs keys: broker.curve is missing"}},
	{"connect: {endpoints: ['ipc:///x', 'tcp://h:5555']}\n",
	 {"DIR/c.yaml:1:36: connect.endpoints: tcp:// needs keys: connect.curve is missing"}},
	{"connect:\n  endpoints: [ipc:///x]\n  curve: {secret_key: !file DIR/good, server_key: "
	 "short}\n",
	 {"DIR/c.yaml:3:"}},
	{"broker: {redis: {url: 'rediss://h'}}\n",
	 {"DIR/c.yaml:1:24: broker.redis.url: the URL has a scheme that is not possible here; "
	  "expected redis|unix://HOST…"}},
	{"broker: {redis: {url: 'redis://u:hunter2@h:1'}}\n",
	 {"DIR/c.yaml:1:24: broker.redis.url: the URL holds a user or password"}},
	{"broker: {redis: {url: 'redis://h:65536'}}\n",
	 {"DIR/c.yaml:1:24: broker.redis.url: the URL has a port"}},
	{"broker: {redis: {url: 'redis://fe80::1:6379'}}\n",
	 {"DIR/c.yaml:1:24: broker.redis.url: the URL has an IPv6 address without brackets"}},
	{"broker: {redis: {url: '6379'}}\n",
	 {"DIR/c.yaml:1:24: broker.redis.url: the URL has no scheme"}},
	/* curve */
	{"broker: {curve: {}}\n",
	 {"DIR/c.yaml:1:10: broker.curve.secret_key is missing; expected a reference",
	  "DIR/c.yaml:1:10: broker.curve.peers is missing; expected a list of mappings"}},
	{"broker:\n  curve:\n    secret_key: !file DIR/good\n    peers:\n      - {name: a, "
	 "public_key: x, role: boss}\n",
	 {"DIR/c.yaml:5:31: broker.curve.peers: is no CURVE public key",
	  "DIR/c.yaml:5:40: broker.curve.peers[0].role: expected one of the words "
	  "collector|worker|any, got 'boss'"}},
	/* secrets */
	{"broker: {redis: {password: hunter2}}\n",
	 {"DIR/c.yaml:1:28: broker.redis.password: secrets do not stand in the configuration; "
	  "expected a reference: !credential NAME"}},
	{"broker: {redis: {password: !secret hunter2}}\n",
	 {"DIR/c.yaml:1:36: broker.redis.password: secrets do not stand"}},
	{"broker: {redis: {password: !file DIR/none}}\n",
	 {"DIR/c.yaml:1:34: broker.redis.password: "}},
	{"broker: {redis: {password: !file DIR/open}}\n",
	 {"DIR/c.yaml:1:34: broker.redis.password: "}},
	{"broker: {redis: {password: !file DIR/empty}}\n",
	 {"DIR/c.yaml:1:34: broker.redis.password: "}},
	{"broker: {redis: {password: !file here}}\n",
	 {"DIR/c.yaml:1:34: broker.redis.password: the name after !file is not possible; expected "
	  "an absolute path"}},
	{"broker: {redis: {password: !credential ../x}}\n",
	 {"DIR/c.yaml:1:40: broker.redis.password: the name after !credential is not possible"}},
	{"broker: {redis: {password: !credential absent}}\n",
	 {"DIR/c.yaml:1:40: broker.redis.password: "}},
	{"broker: {redis: {password: !env DIRPIPE_TEST_UNSET}}\n",
	 {"DIR/c.yaml:1:33: broker.redis.password: "}},
	/* sources */
	{"sources: {s: {driver: poll}}\n",
	 {"DIR/c.yaml:1:11: sources.s.uris is missing; expected a list of URLs with the scheme "
	  "ldap|ldaps|ldapi",
	  "DIR/c.yaml:1:11: sources.s.base_dn is missing; expected a text",
	  "DIR/c.yaml:1:11: sources.s.bind is missing; expected a mapping of keys",
	  "DIR/c.yaml:1:11: sources.s.users is missing"}},
	{"sources: {s: {driver: pol, uris: [], base_dn: '', bind: {}, users: {}}}\n",
	 {"DIR/c.yaml:1:23: sources.s.driver: expected one of the words ad-dirsync|syncrepl|poll, "
	  "got 'pol'",
	  "DIR/c.yaml:1:28: sources.s.uris: expected a list",
	  "DIR/c.yaml:1:48: sources.s.base_dn: expected a text",
	  "DIR/c.yaml:1:51: sources.s.bind.dn: is missing; bind.method: simple needs it",
	  "DIR/c.yaml:1:51: sources.s.bind.password: is missing",
	  "DIR/c.yaml:1:61: sources.s.users.attributes is missing"}},
	{"targets: {A: {driver: scim, url: 'https://a', auth: {method: bearer, token: !file "
	 "DIR/good}, mapping: {a: b}}}\n",
	 {"DIR/c.yaml:1:11: targets.A: is no name; expected a name of a-z"}},
	{"sources: [a]\n", {"DIR/c.yaml:1:1: sources: expected a mapping of names, got a list"}},
	{"sources: {a: b}\n",
	 {"DIR/c.yaml:1:14: sources.a: expected a mapping of keys, got a single value"}},
	{"sources: {s: {driver: poll, uris: ['ldap://h', 'https://h', 'ldaps://u@h'], base_dn: x, "
	 "users: {attributes: [a]}, "
	 "bind: {dn: x, password: !file DIR/good}}}\n",
	 {"DIR/c.yaml:1:49: sources.s.uris: the URL has a scheme that is not possible here; "
	  "expected ldap|ldaps|ldapi://",
	  "DIR/c.yaml:1:62: sources.s.uris: the URL holds a user or password"}},
	{"sources: {s: {driver: poll, uris: ['ldap://h', 'ldap://127.0.0.1:389'], base_dn: x, "
	 "users: {attributes: [a]}, "
	 "bind: {dn: x, password: !file DIR/good}}}\n",
	 {"DIR/c.yaml:1:37: sources.s.uris: would send the password in the clear"}},
	{"sources: {s: {driver: poll, uris: ['ldaps://h'], tls: {starttls: true}, base_dn: x, "
	 "users: {attributes: [a]}, "
	 "bind: {method: gssapi}}}\n",
	 {"DIR/c.yaml:1:37: sources.s.uris: ldaps:// and tls.starttls exclude each other",
	  "DIR/c.yaml:1:111: sources.s.bind.keytab: is missing; bind.method: gssapi needs it",
	  "DIR/c.yaml:1:111: sources.s.bind.principal: is missing"}},
	{TARGET SOURCE "    groups: [{name: staff, dn: cn=s}, {name: staff, dn: cn=t}]\n"
		       "    routes:\n      - {target: tt}\n      - {target: t, groups: [stuff]}\n  "
		       "    - {base: x}\n      - x\n",
	 {"DIR/c.yaml:14:46: sources.s.groups: two groups have this name",
	  "DIR/c.yaml:16:18: sources.s.routes[0]: there is no target tt (did you mean t?)",
	  "DIR/c.yaml:17:30: sources.s.routes[1]: there is no watched group stuff in "
	  "sources.s.groups (did you mean staff?)",
	  "DIR/c.yaml:18:10: sources.s.routes[2].target is missing",
	  "DIR/c.yaml:19:9: sources.s.routes[3]: expected a mapping of keys"}},
	/* targets */
	{"targets: {t: {driver: scim, url: 'http://a.example', auth: {method: bearer, token: abc}, "
	 "mapping: {a: b}}}\n",
	 {"DIR/c.yaml:1:35: targets.t.url: the URL is http:// to another host",
	  "DIR/c.yaml:1:84: targets.t.auth.token: secrets do not stand"}},
	{"targets: {t: {driver: scim, url: 'http://127.0.0.1.evil.example', auth: {method: bearer, "
	 "token: !file DIR/good}, mapping: {a: b}}}\n",
	 {"DIR/c.yaml:1:35: targets.t.url: the URL is http:// to another host"}},
	{"targets: {t: {driver: scim, url: 'http://localhost@evil.example', auth: {method: bearer, "
	 "token: !file DIR/good}, mapping: {a: b}}}\n",
	 {"DIR/c.yaml:1:35: targets.t.url: the URL holds a user"}},
	{"targets: {t: {driver: graph, url: 'https://g', auth: {method: bearer, token: !file "
	 "DIR/good}, mapping: {a: b}}}\n",
	 {"DIR/c.yaml:1:11: targets.t.tenant: is missing; driver: graph needs it",
	  "DIR/c.yaml:1:63: targets.t.auth.method: driver graph expects"}},
	{"targets: {t: {driver: graph, tenant: x, url: 'https://g', auth: {method: certificate}, "
	 "mapping: {a: b}}}\n",
	 {"DIR/c.yaml:1:59: targets.t.auth.client_id: is missing; auth.method: certificate needs "
	  "it",
	  "DIR/c.yaml:1:59: targets.t.auth.certificate: is missing",
	  "DIR/c.yaml:1:59: targets.t.auth.private_key: is missing"}},
	{TARGET "    licences:\n      - {group: nobody, sku: a}\n      - {group: staff, sku: a}\n"
		"      - {group: staff, sku: a}\n"
		"    licence_policy: {revoke_when: [idle], exempt: [nobody], inactive_after: 14d,\n"
		"      schedule: '0 25 * * *'}\n" SOURCE "    groups: [{name: staff, dn: cn=s}]\n",
	 {"DIR/c.yaml:8:17: targets.t.licences: no source watches a group of this name",
	  "DIR/c.yaml:10:10: targets.t.licences: the same rule stands twice",
	  "DIR/c.yaml:11:36: targets.t.licence_policy.revoke_when: is no reason; expected disabled",
	  "DIR/c.yaml:11:52: targets.t.licence_policy.exempt: is neither an id",
	  "DIR/c.yaml:11:77: targets.t.licence_policy.inactive_after: 14d is out of range",
	  "DIR/c.yaml:12:18: targets.t.licence_policy.schedule: the hour is not understood"}},
	{TARGET "    licence_policy: {reinstate: schedule, zone: Mars/Olympus}\n",
	 {"DIR/c.yaml:7:5: targets.t.licence_policy.schedule: there is no usable time zone "
	  "Mars/Olympus; expected UTC"}},
	{TARGET "    retry: {first: 1h, cap: 1m}\n    http: {body_max: 8MB}\n",
	 {"DIR/c.yaml:7:20: targets.t.retry.first: is longer than retry.cap",
	  "DIR/c.yaml:8:22: targets.t.http.body_max: expected a size such as 64KiB, 8MiB in "
	  "1KiB..64MiB, got '8MB'"}},
	{"targets:\n  t:\n    driver: scim\n    url: https://a.example/v2\n    auth: {method: "
	 "bearer, token: !file DIR/good}\n"
	 "    mapping:\n      a: {al: mail}\n      b: []\n      c: {jq: [x]}\n      d: {all: a, "
	 "const: b}\n      e:\n      f: {const: }\n",
	 {"DIR/c.yaml:7:11: targets.t.mapping.a: expected ATTRIBUTE, [ATTRIBUTE, …], {all: "
	  "ATTRIBUTE}",
	  "DIR/c.yaml:8:7: targets.t.mapping.b: ", "DIR/c.yaml:9:11: targets.t.mapping.c: ",
	  "DIR/c.yaml:10:11: targets.t.mapping.d: ", "DIR/c.yaml:11:7: targets.t.mapping.e: ",
	  "DIR/c.yaml:12:11: targets.t.mapping.f: "}},
	{"targets: {t: {driver: scim, url: 'https://a', auth: {method: bearer, token: !file "
	 "DIR/good}, mapping: {}, options: [x]}}\n",
	 {"DIR/c.yaml:1:112: targets.t.mapping: expected a mapping, got an empty mapping",
	  "DIR/c.yaml:1:125: targets.t.options: expected a mapping, got a list"}},
};

/* n sections of one kind; the errors in *ret. */
static bool many_load(const char *kind, const char *section, int n, struct buf *ret)
{
	CLEANUP(buf_cleanup) struct buf yaml = {0};
	struct conf *c;

	buf_addf(&yaml, "%s:\n", kind);
	for (int i = 0; i < n; i++)
		buf_addf(&yaml, "  n%d: %s\n", i, section);
	buf_clear(ret);
	c = load_text(yaml.p, ret);
	conf_free(c);
	return c != NULL;
}

static void more_than_the_programs_count_is_refused(void **state)
{
	static const char source[] = "{driver: poll, uris: ['ldaps://h'], base_dn: x, users: "
				     "{attributes: [a]}, bind: {dn: x, password: !file DIR/good}}";
	static const char target[] = "{driver: scim, url: 'https://a', auth: {method: bearer, "
				     "token: !file DIR/good}, mapping: {a: b}}";
	CLEANUP(buf_cleanup) struct buf errors = {0};

	(void)state;
	assert_true(many_load("sources", source, CONF_SOURCES_MAX, &errors));
	assert_false(many_load("sources", source, CONF_SOURCES_MAX + 1, &errors));
	assert_non_null(strstr(errors.p, "c.yaml:34:"));
	assert_non_null(strstr(errors.p, ": sources: there may be 32 at most"));
	assert_true(many_load("targets", target, CONF_TARGETS_MAX, &errors));
	assert_false(many_load("targets", target, CONF_TARGETS_MAX + 1, &errors));
	assert_non_null(strstr(errors.p, "targets: there may be 256 at most"));
}

static void bad_inputs_are_refused_with_their_place(void **state)
{
	size_t failed = 0;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct buf errors = {0};
		struct conf *c = load_text(bad[i].yaml, &errors);
		size_t lines = 0;
		size_t expected = 0;

		assert_null(c);
		for (const char *p = errors.p; p && (p = strchr(p, '\n')); p++)
			lines++;
		for (; expected < 6 && bad[i].errors[expected]; expected++) {
			if (has_line(errors.p, bad[i].errors[expected]))
				continue;
			print_error("case %zu:\n%s\nwants: %s\nhas:\n%s\n", i, bad[i].yaml,
				    bad[i].errors[expected], errors.p);
			failed++;
		}
		if (lines != expected) {
			print_error("case %zu:\n%s\n%zu lines, wanted %zu:\n%s\n", i, bad[i].yaml,
				    lines, expected, errors.p);
			failed++;
		}
		/* Whatever is wrong, what stands where a secret could be is not repeated. */
		if (errors.p && strstr(errors.p, "hunter2")) {
			print_error("case %zu prints a secret:\n%s\n", i, errors.p);
			failed++;
		}
		buf_done(&errors);
	}
	assert_int_equal(failed, 0);
}

static void refuses(const char *name, const char *words)
{
	struct buf errors = {0};

	assert_null(conf_load(in_folder(name), &errors));
	if (!strstr(errors.p, words))
		fail_msg("wants %s, has %s", words, errors.p);
	buf_done(&errors);
}

static void unreadable_files_are_refused(void **state)
{
	static const char utf16[] = "\xff\xfer\0e\0";
	static char huge[(CONF_FILE_MAX) + 2];

	(void)state;
	refuses("absent.yaml", "absent.yaml: cannot be opened: No such file");
	refuses(".", "is not a file");
	write_bytes("nul.yaml", "realm: a\nlog:\0", 14, 0600);
	refuses("nul.yaml", "nul.yaml:2:5: a NUL byte; expected UTF-8 text");
	write_bytes("latin.yaml", "realm: a\n# \xfc\n", 12, 0600);
	refuses("latin.yaml", "latin.yaml:2:3: a byte that is not UTF-8");
	write_bytes("utf16.yaml", utf16, sizeof(utf16) - 1, 0600);
	refuses("utf16.yaml", "utf16.yaml:1:1: is UTF-16; expected UTF-8");
	memset(huge, '#', sizeof(huge));
	write_bytes("huge.yaml", huge, sizeof(huge), 0600);
	assert_int_equal(truncate(in_folder("huge.yaml"), 64 << 20), 0);
	refuses("huge.yaml", "huge.yaml: is larger than 1024 KiB");
	assert_int_equal(mkfifo(in_folder("fifo.yaml"), 0600), 0);
	refuses("fifo.yaml", "fifo.yaml: is not a file");
}

static void errors_have_an_end(void **state)
{
	struct buf text = {0};
	struct buf errors = {0};

	(void)state;
	for (int i = 0; i < 1000; i++)
		buf_addf(&text, "k%d: 1\n", i);
	assert_null(load_text(text.p, &errors));
	assert_non_null(strstr(errors.p, "and 800 more errors"));
	buf_done(&text);
	buf_done(&errors);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_inputs_are_refused_with_their_place),
		cmocka_unit_test(more_than_the_programs_count_is_refused),
		cmocka_unit_test(unreadable_files_are_refused),
		cmocka_unit_test(errors_have_an_end),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
