/* The configuration: values, secrets, merging, what is shown and explained, and the example file. */
#include "conf_fixture.h"

/* ---- good inputs ---- */

static struct conf *load_good(const char *text)
{
	struct buf errors = {0};
	struct conf *c = load_text(text, &errors);

	if (!c)
		fail_msg("%s", errors.p);
	assert_int_equal(errors.n, 0);
	buf_done(&errors);
	return c;
}

static void values_and_defaults(void **state)
{
	struct conf *c = load_good(
		"\xef\xbb\xbfrealm: one\r\nbroker:\r\n  lease: 2m\r\n  http: ''\r\n" TARGET
		"    http: {body_max: 64KiB}\n    create: false\n" SOURCE
		"    groups: [{name: a, dn: cn=a}]\n    routes: [{target: t, groups: [a], filter: "
		"''}]\n");
	const struct conf_node *root = conf_root(c);
	const struct conf_node *broker = conf_section(root, "broker");
	const struct conf_node *t = conf_named(root, "targets", "t");
	const struct conf_node *s = conf_at(root, "sources", 0, NULL);
	const struct conf_node *route = conf_at(s, "routes", 0, NULL);
	struct buf out = {0};
	const char *name;

	(void)state;
	assert_string_equal(conf_text(root, "realm"), "one");
	assert_int_equal(conf_int(broker, "lease"), 120000);
	assert_int_equal(conf_int(broker, "grace"), 5000);
	assert_string_equal(conf_text(broker, "http"), "");
	assert_string_equal(conf_item(broker, "endpoints", 0), "ipc:///run/dirpipe/broker.sock");
	assert_null(conf_item(broker, "endpoints", 1));
	assert_null(conf_item(conf_section(root, "connect"), "endpoints", 0));
	assert_string_equal(conf_text(conf_section(root, "log"), "level"), "info");
	assert_false(
		conf_secret(conf_section(broker, "curve"), "secret_key", &(struct secret_ref){0}));
	assert_null(conf_at(conf_section(broker, "curve"), "peers", 0, NULL));
	assert_int_equal(conf_int(conf_section(t, "http"), "body_max"), 65536);
	assert_int_equal(conf_int(conf_section(t, "http"), "connections"), 16);
	assert_false(conf_bool(t, "create"));
	assert_int_equal(conf_int(t, "delete_after"), INT64_C(30) * 86400000);
	assert_non_null(conf_at(root, "targets", 0, &name));
	assert_string_equal(name, "t");
	assert_null(conf_at(root, "targets", 1, NULL));
	assert_null(conf_named(root, "targets", "u"));
	assert_string_equal(conf_text(route, "target"), "t");
	assert_null(conf_text(route, "filter"));
	assert_string_equal(conf_item(conf_section(s, "users"), "references", 0), "manager");
	conf_where(t, "url", &out);
	assert_non_null(strstr(out.p, "/c.yaml:8:10"));
	buf_done(&out);
	conf_free(c);
}

static void secrets_are_read_when_asked(void **state)
{
	struct conf *c = load_good("broker: {redis: {password: !file DIR/good}}\n" TARGET);
	const struct conf_node *redis = conf_section(conf_section(conf_root(c), "broker"), "redis");
	const struct conf_node *auth =
		conf_section(conf_named(conf_root(c), "targets", "t"), "auth");
	struct buf why = {0};
	struct secret *secret = conf_load_secret(redis, "password", &why);

	(void)state;
	assert_non_null(secret);
	assert_string_equal(secret_value(secret).p, "correct-horse");
	secret_free(secret);
	assert_null(conf_load_secret(auth, "client_secret", &why));
	assert_int_equal(why.n, 0);
	assert_int_equal(unlink(in_folder("good")), 0);
	assert_null(conf_load_secret(redis, "password", &why));
	assert_true(why.n > 0);
	buf_done(&why);
	conf_free(c);
	write_text("good", "correct-horse\n");
}

/* A daemon holds its own credentials: others' need not be readable there. */
static void a_part_needs_its_own_secrets_only(void **state)
{
	struct buf errors = {0};
	struct conf *c;

	(void)state;
	assert_null(load_text("broker: {redis: {password: !file DIR/none}}\n" TARGET, &errors));
	buf_clear(&errors);
	c = conf_load_for(in_folder("c.yaml"), "targets.t", &errors);
	assert_non_null(c);
	conf_free(c);
	assert_null(conf_load_for(in_folder("c.yaml"), "broker", &errors));
	assert_non_null(strstr(errors.p, "broker.redis.password"));
	c = conf_load_for(in_folder("c.yaml"), "", &errors);
	assert_non_null(c);
	conf_free(c);
	buf_done(&errors);
}

static void json_is_canonical_and_typed(void **state)
{
	struct conf *c = load_good(
		"broker: {lease: 60s, redis: {password: !file DIR/good}}\ntargets:\n  t:\n    "
		"driver: scim\n"
		"    url: https://a.example/v2\n    auth: {method: bearer, token: !file DIR/good}\n"
		"    mapping:\n      b: {const: true}\n      a: mail\n      c: {const: 'true'}\n   "
		"   d: {const: -5}\n"
		"      e: {const: 12345678901234567890}\n      f: {const: [1.5, null, NO]}\n");
	struct conf *same = NULL;
	struct buf out = {0};
	struct buf other = {0};

	(void)state;
	conf_json(conf_named(conf_root(c), "targets", "t"), "mapping", &out);
	assert_string_equal(
		out.p,
		"{\"a\":\"mail\",\"b\":{\"const\":true},\"c\":{\"const\":\"true\"},\"d\":{"
		"\"const\":-5},"
		"\"e\":{\"const\":\"12345678901234567890\"},\"f\":{\"const\":[1.5,null,\"NO\"]}}");
	buf_clear(&out);
	conf_json(conf_section(conf_root(c), "broker"), NULL, &out);
	assert_non_null(strstr(out.p, "\"lease\":60000"));
	assert_non_null(strstr(out.p, "\"password\":{\"!file\":\""));
	assert_null(strstr(out.p, "correct-horse"));
	same = load_good(
		"broker: {lease: 1m, grace: 5000ms, redis: {password: !file DIR/good}}\n" TARGET);
	conf_json(conf_section(conf_root(same), "broker"), NULL, &other);
	assert_string_equal(out.p, other.p);
	conf_free(same);
	conf_free(c);
	buf_done(&out);
	buf_done(&other);
}

static void merge_joins_sections_and_refuses_leaves(void **state)
{
	struct buf errors = {0};
	struct conf *c;

	(void)state;
	assert_int_equal(mkdir(in_folder("conf.d"), 0700), 0);
	write_text("conf.d/10-a.yaml", "log: {level: warn}\nbroker: {redis: {replicas: 1}}\n");
	write_text("conf.d/20-b.yaml", "broker: {redis: {fsync: everysec}}\n");
	write_text("conf.d/30-empty.yaml", "# nothing\n");
	write_text("conf.d/.hidden.yaml", "junk\n");
	write_text("conf.d/readme.txt", "junk\n");
	c = load_good("broker: {lease: 9s}\n" TARGET);
	assert_int_equal(conf_int(conf_section(conf_root(c), "broker"), "lease"), 9000);
	assert_int_equal(
		conf_int(conf_section(conf_section(conf_root(c), "broker"), "redis"), "replicas"),
		1);
	assert_string_equal(
		conf_text(conf_section(conf_section(conf_root(c), "broker"), "redis"), "fsync"),
		"everysec");
	assert_string_equal(conf_text(conf_section(conf_root(c), "log"), "level"), "warn");
	conf_free(c);

	write_text("conf.d/20-b.yaml", "broker: {lease: 8s, endpoints: [ipc:///b]}\ntargets: {t: "
				       "{url: https://b}}\nlog: info\n");
	assert_null(load_text("broker: {lease: 9s, endpoints: [ipc:///a]}\n" TARGET, &errors));
	assert_true(has_line(errors.p, "DIR/conf.d/20-b.yaml:1:10: broker.lease: stands in two "
				       "files, first at DIR/c.yaml:1:10"));
	assert_true(has_line(errors.p,
			     "DIR/conf.d/20-b.yaml:1:21: broker.endpoints: stands in two files"));
	assert_true(has_line(errors.p, "DIR/conf.d/20-b.yaml:2:15: targets.t.url: stands in two "
				       "files, first at DIR/c.yaml:5:5"));
	assert_true(has_line(errors.p, "DIR/conf.d/20-b.yaml:3:1: log: stands in two files, first "
				       "at DIR/conf.d/10-a.yaml:1:1"));
	buf_done(&errors);
	assert_int_equal(unlink(in_folder("conf.d/20-b.yaml")), 0);
	write_text("conf.d/20-b.yaml", "broker: {grase: 1s}\n");
	assert_null(load_text("reelm: x\n", &errors));
	assert_true(has_line(
		errors.p,
		"DIR/c.yaml:1:1: reelm: unknown key (did you mean realm?)\n"
		"DIR/conf.d/20-b.yaml:1:10: broker.grase: unknown key (did you mean grace?)"));
	buf_done(&errors);
	unlink(in_folder("conf.d/10-a.yaml"));
	unlink(in_folder("conf.d/20-b.yaml"));
	unlink(in_folder("conf.d/30-empty.yaml"));
	unlink(in_folder("conf.d/.hidden.yaml"));
	unlink(in_folder("conf.d/readme.txt"));
	rmdir(in_folder("conf.d"));
}

/* What show prints is the same configuration again. */
static void show_round_trips_without_secrets(void **state)
{
	struct conf *c = load_good(
		"realm: one\nbroker: {http: '', redis: {password: !file DIR/good}}\n" TARGET
		"    options: {a: [1, -2, '3', {b: null}], 'x: y': \"tab\\t\", z: ~, n: "
		"-0.5}\n" SOURCE "    groups: [{name: a, dn: 'CN=Ä, \"x\"'}, {name: b, dn: cn=b}]\n"
		"    routes: [{target: t, groups: [a, b], exclude: ['- x']}]\n");
	struct conf *again;
	struct buf shown = {0};
	struct buf one = {0};
	struct buf two = {0};

	(void)state;
	conf_show(c, &shown);
	assert_null(strstr(shown.p, "correct-horse"));
	assert_non_null(strstr(shown.p, "password: !file "));
	assert_non_null(strstr(shown.p, "grace: 5s # default"));
	again = load_good(shown.p);
	conf_json(conf_root(c), NULL, &one);
	conf_json(conf_root(again), NULL, &two);
	assert_string_equal(one.p, two.p);
	conf_free(c);
	conf_free(again);
	buf_done(&shown);
	buf_done(&one);
	buf_done(&two);
}

static void explain_names_type_default_and_neighbours(void **state)
{
	struct buf out = {0};

	(void)state;
	assert_int_equal(conf_explain("targets.m365.http.timeout", &out), 0);
	assert_non_null(strstr(out.p, "targets.*.http.timeout\n"));
	assert_non_null(strstr(out.p, "type: duration"));
	assert_non_null(strstr(out.p, "default: 30s"));
	buf_clear(&out);
	assert_int_equal(conf_explain("sources.corp.routes[3].target", &out), 0);
	assert_non_null(strstr(out.p, "required"));
	buf_clear(&out);
	assert_int_equal(conf_explain("sources", &out), 0);
	assert_non_null(strstr(out.p, "keys: driver uris"));
	buf_clear(&out);
	assert_int_equal(conf_explain("broker.laese", &out), -ENOENT);
	assert_non_null(strstr(out.p, "did you mean broker.lease"));
	buf_clear(&out);
	assert_int_equal(conf_explain("", &out), -ENOENT);
	assert_int_equal(conf_explain("targets..url", &out), -ENOENT);
	assert_int_equal(conf_explain("realm.x", &out), -ENOENT);
	buf_done(&out);
}

static void distances(void **state)
{
	(void)state;
	assert_int_equal(conf_distance("lease", "lease"), 0);
	assert_int_equal(conf_distance("lease", "laese"), 1);
	assert_int_equal(conf_distance("kitten", "sitting"), 3);
	assert_int_equal(conf_distance("", "abc"), 3);
}

/* ---- the example ---- */

static void read_example(struct buf *out)
{
	FILE *f = fopen(EXAMPLE, "re");
	char piece[4096];
	size_t n;

	assert_non_null(f);
	while ((n = fread(piece, 1, sizeof(piece), f)) > 0)
		buf_add(out, piece, n);
	fclose(f);
}

/* Length of "#   " when what follows on this line is YAML that was commented out ("key: …" or "- {"). */
static size_t comment_of_yaml(const char *line)
{
	const char *p = line + strspn(line, " ");
	const char *text;

	if (p[0] != '#' || p[1] != ' ')
		return 0;
	text = p + 1 + strspn(p + 1, " ");
	if (strncmp(text, "- {", 3) == 0)
		return (size_t)(p - line);
	text += strspn(text, "abcdefghijklmnopqrstuvwxyz_");
	return text[0] == ':' && (text[1] == ' ' || text[1] == '\n') ? (size_t)(p - line) : 0;
}

static void uncomment(const struct buf *in, struct buf *out)
{
	const char *p = in->p;

	while (p && *p) {
		size_t n = strcspn(p, "\n") + 1;
		size_t at = comment_of_yaml(p);

		if (at > 0) {
			buf_add(out, p, at);
			buf_add(out, p + at + 2, n - at - 2);
		} else {
			buf_add(out, p, n);
		}
		p += n;
	}
}

/* Sets the credentials that the text names. */
static void give_credentials(const char *text)
{
	const char *p = text;

	mkdir(in_folder("cred"), 0700);
	setenv("CREDENTIALS_DIRECTORY", in_folder("cred"), 1);
	while (p && (p = strstr(p, "!credential "))) {
		char name[80] = "cred/";

		p += strlen("!credential ");
		memcpy(name + 5, p, strspn(p, "abcdefghijklmnopqrstuvwxyz0123456789_"));
		if (name[5])
			write_text(name, "some-secret-value");
	}
}

static const struct conf_node *find_written(const struct conf_node *n, const char *path)
{
	size_t segment = strcspn(path, ".");
	const struct conf_node *found = NULL;

	for (size_t i = 0; i < n->n && !found; i++) {
		const struct conf_node *child = n->items[i];
		bool any = segment == 1 && path[0] == '*';

		if (!any && (!child->name || strlen(child->name) != segment ||
			     memcmp(child->name, path, segment) != 0))
			continue;
		found = path[segment] ? find_written(child, path + segment + 1) : child;
	}
	return found;
}

/* Where the example shows Graph's figure and not the default. */
static bool may_differ(const char *path)
{
	return strcmp(path, "targets.*.pace.writes") == 0;
}

static void the_example_loads_and_is_complete(void **state)
{
	struct buf text = {0};
	struct buf whole = {0};
	struct buf errors = {0};
	struct conf_errors none = {0};
	struct conf *c;
	struct conf_node *root;
	size_t missing = 0;

	(void)state;
	read_example(&text);
	give_credentials(text.p);
	c = conf_load(EXAMPLE, &errors);
	if (!c)
		fail_msg("%s", errors.p);
	conf_free(c);

	uncomment(&text, &whole);
	assert_true(whole.n < text.n);
	c = load_good(whole.p);
	conf_free(c);

	root = conf_yaml_parse(buf_slice(&whole), "example", &none);
	assert_non_null(root);
	for (const struct conf_key *key = conf_keys; key->path; key++) {
		const struct conf_node *n = find_written(root, key->path);

		if (!n) {
			print_error("%s does not stand in the example\n", key->path);
			missing++;
		} else if (n->kind == CONF_SCALAR && key->fallback && *key->fallback &&
			   !may_differ(key->path) && strcmp(n->text, key->fallback) != 0) {
			print_error("%s: the example says %s, the default is %s\n", key->path,
				    n->text, key->fallback);
			missing++;
		}
	}
	assert_int_equal(missing, 0);
	conf_node_free(root);
	conf_errors_done(&none);
	buf_done(&text);
	buf_done(&whole);
	buf_done(&errors);
	unsetenv("CREDENTIALS_DIRECTORY");
}

static void the_table_is_sound(void **state)
{
	(void)state;
	for (const struct conf_key *key = conf_keys; key->path; key++) {
		char *parent = mem_dup(key->path);
		char *dot;
		int64_t number;

		assert_non_null(key->help);
		assert_ptr_equal(conf_key_find(key->path), key); /* no path twice */
		assert_true(key->type != CONF_WORD || key->words);
		assert_true(key->type != CONF_URL || key->words);
		if (key->type == CONF_INT || key->type == CONF_DURATION || key->type == CONF_SIZE) {
			assert_non_null(key->words);
			assert_int_equal(conf_parse_scaled(key->type, key->fallback, &number), 0);
			assert_true(conf_in_range(key, number));
		}
		if (key->type == CONF_WORD && key->fallback)
			assert_true(conf_word_in(key->words, key->fallback));
		while ((dot = strrchr(parent, '.'))) {
			*dot = 0;
			if (strcmp(dot + 1, "*") != 0 && parent[strlen(parent) - 1] != '*')
				assert_non_null(conf_key_find(parent));
		}
		free(parent);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_and_defaults),
		cmocka_unit_test(secrets_are_read_when_asked),
		cmocka_unit_test(a_part_needs_its_own_secrets_only),
		cmocka_unit_test(json_is_canonical_and_typed),
		cmocka_unit_test(merge_joins_sections_and_refuses_leaves),
		cmocka_unit_test(show_round_trips_without_secrets),
		cmocka_unit_test(explain_names_type_default_and_neighbours),
		cmocka_unit_test(distances),
		cmocka_unit_test(the_example_loads_and_is_complete),
		cmocka_unit_test(the_table_is_sound),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
