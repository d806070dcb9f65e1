/* What one key alone cannot tell: references, methods and their keys, endpoints and their encryption. The tree has been
 * checked, but may hold broken parts: these are passed over, they were reported. */
#include "conf_tree.h"

#include "id.h"
#include "schedule.h"

#include <string.h>

/* The usable text of a key; NULL when absent, empty or broken. */
static const char *text_at(const struct conf_node *n, const char *name)
{
	const struct conf_node *child = conf_node_child(n, name);

	if (!child || child->kind != CONF_SCALAR || child->broken || child->text_n == 0)
		return NULL;
	return child->text;
}

static int64_t number_at(const struct conf_node *n, const char *name)
{
	const struct conf_key *key = n->path ? conf_key_below(n->path, name) : NULL;
	const char *text = text_at(n, name);
	int64_t value;

	return text && key && conf_parse_scaled(key->type, text, &value) == 0 ? value : -1;
}

/* A child mapping or sequence that was checked; an empty one otherwise. */
static const struct conf_node *part_at(const struct conf_node *n, const char *name,
				       enum conf_kind kind)
{
	static const struct conf_node none = {.kind = CONF_MAPPING, .path = NULL};
	const struct conf_node *child = conf_node_child(n, name);

	return child && child->kind == kind && !child->broken ? child : &none;
}

/* Written with a value, be it a broken one? */
static bool is_given(const struct conf_node *n, const char *name)
{
	const struct conf_node *child = conf_node_child(n, name);

	return child && (child->broken || child->kind != CONF_SCALAR || child->text_n > 0);
}

static struct conf_place place_of(const struct conf_node *n, const char *name)
{
	const struct conf_node *child = conf_node_child(n, name);

	return child && !child->defaulted ? child->at : n->key_at;
}

static void near_names(const struct conf_node *list, const char *name, struct buf *out)
{
	size_t best = 3;
	const char *nearest = NULL;

	for (size_t i = 0; i < list->n; i++) {
		const char *candidate = list->kind == CONF_MAPPING
						? list->items[i]->name
						: text_at(list->items[i], "name");
		size_t distance = candidate ? conf_distance(candidate, name) : best;

		if (distance < best) {
			best = distance;
			nearest = candidate;
		}
	}
	if (nearest)
		buf_addf(out, " (did you mean %s?)", nearest);
}

/* ---- sources ---- */

struct scope {
	const struct conf_node *root;
	const struct conf_node *section; /* one source or target */
	const char *shown;
	struct conf_errors *errors;
};

static void fail_at(const struct scope *s, struct conf_place at, const char *key, const char *text)
{
	CLEANUP(buf_cleanup) struct buf name = {0};

	buf_addf(&name, "%s.%s", s->shown, key);
	conf_fail(s->errors, at, name.p, "%s", text);
}

static bool group_exists(const struct conf_node *groups, const char *name)
{
	for (size_t i = 0; i < groups->n; i++) {
		const char *own = text_at(groups->items[i], "name");

		if (own && strcmp(own, name) == 0)
			return true;
	}
	return false;
}

static void check_groups_unique(const struct scope *s, const struct conf_node *groups)
{
	for (size_t i = 0; i < groups->n; i++) {
		const struct conf_node before = {
			.kind = CONF_SEQUENCE, .items = groups->items, .n = i};
		const char *own = text_at(groups->items[i], "name");

		if (own && group_exists(&before, own))
			fail_at(s, place_of(groups->items[i], "name"), "groups",
				"two groups have this name");
	}
}

static void check_route(const struct scope *s, const struct conf_node *route, size_t index)
{
	const struct conf_node *targets = part_at(s->root, "targets", CONF_MAPPING);
	const struct conf_node *known = part_at(s->section, "groups", CONF_SEQUENCE);
	const struct conf_node *groups = part_at(route, "groups", CONF_SEQUENCE);
	const char *target = text_at(route, "target");
	CLEANUP(buf_cleanup) struct buf key = {0};

	buf_addf(&key, "routes[%zu]", index);
	if (target && !conf_node_child(targets, target)) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		buf_addf(&text, "there is no target %s", target);
		near_names(targets, target, &text);
		fail_at(s, place_of(route, "target"), key.p, text.p);
	}
	for (size_t i = 0; i < groups->n; i++) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		if (group_exists(known, groups->items[i]->text))
			continue;
		buf_addf(&text, "there is no watched group %s in %s.groups", groups->items[i]->text,
			 s->shown);
		near_names(known, groups->items[i]->text, &text);
		fail_at(s, groups->items[i]->at, key.p, text.p);
	}
}

/* keys: "a b c", all needed by what. */
static void need(const struct scope *s, const char *section, const char *keys, const char *what)
{
	const struct conf_node *n = part_at(s->section, section, CONF_MAPPING);
	CLEANUP(free_cleanup) char *names = mem_dup(keys);
	char *rest = names;
	char *name;

	while ((name = strsep(&rest, " "))) {
		CLEANUP(buf_cleanup) struct buf key = {0};
		CLEANUP(buf_cleanup) struct buf text = {0};

		if (is_given(n, name))
			continue;
		buf_addf(&key, "%s.%s", section, name);
		buf_addf(&text, "is missing; %s needs it", what);
		fail_at(s, n->key_at, key.p, text.p);
	}
}

/* A password must not cross the network in the clear; a SASL layer encrypts by itself. */
static void check_uris(const struct scope *s, bool starttls, bool simple)
{
	const struct conf_node *uris = part_at(s->section, "uris", CONF_SEQUENCE);

	for (size_t i = 0; i < uris->n; i++) {
		const char *uri = uris->items[i]->text;

		if (strncmp(uri, "ldaps://", 8) == 0 && starttls)
			fail_at(s, uris->items[i]->at, "uris",
				"ldaps:// and tls.starttls exclude each other");
		if (simple && strncmp(uri, "ldap://", 7) == 0 && !starttls &&
		    !conf_url_host_is_loopback(uri))
			fail_at(s, uris->items[i]->at, "uris",
				"would send the password in the clear; expected ldaps://, "
				"tls.starttls: true or "
				"bind.method: gssapi");
	}
}

static void check_count(const struct conf_node *list, const char *name, size_t most,
			struct conf_errors *errors)
{
	if (list->n > most)
		conf_fail(errors, list->items[most]->at, name, "there may be %zu at most", most);
}

static void check_source(const struct scope *s)
{
	const struct conf_node *groups = part_at(s->section, "groups", CONF_SEQUENCE);
	const struct conf_node *routes = part_at(s->section, "routes", CONF_SEQUENCE);
	const struct conf_node *bind = part_at(s->section, "bind", CONF_MAPPING);
	const char *starttls = text_at(part_at(s->section, "tls", CONF_MAPPING), "starttls");
	const char *method = text_at(bind, "method");
	bool simple;

	check_groups_unique(s, groups);
	check_count(groups, "groups", CONF_GROUPS_MAX, s->errors);
	for (size_t i = 0; i < routes->n; i++)
		if (routes->items[i]->kind == CONF_MAPPING)
			check_route(s, routes->items[i], i);
	if (!method || bind->defaulted)
		return;
	simple = strcmp(method, "simple") == 0;
	if (simple)
		need(s, "bind", "dn password", "bind.method: simple");
	else
		need(s, "bind", "keytab principal", "bind.method: gssapi");
	check_uris(s, starttls && strcmp(starttls, "true") == 0, simple);
}

/* ---- licences ---- */

static const char licence_reasons[] =
	"disabled|locked|password_expired|account_expired|inactive|never_logged_on";

/* Is it a watched group of a source, any of them? */
static bool group_watched(const struct conf_node *root, const char *name)
{
	const struct conf_node *sources = part_at(root, "sources", CONF_MAPPING);

	for (size_t i = 0; i < sources->n; i++) {
		if (sources->items[i]->kind == CONF_MAPPING &&
		    group_exists(part_at(sources->items[i], "groups", CONF_SEQUENCE), name))
			return true;
	}
	return false;
}

static void check_rules(const struct scope *s, const char *list, const char *what)
{
	const struct conf_node *rules = part_at(s->section, list, CONF_SEQUENCE);

	for (size_t i = 0; i < rules->n; i++) {
		const struct conf_node *rule = rules->items[i];
		const char *group = rule->kind == CONF_MAPPING ? text_at(rule, "group") : NULL;
		const char *remote = group ? text_at(rule, what) : NULL;

		if (group && !group_watched(s->root, group))
			fail_at(s, place_of(rule, "group"), list,
				"no source watches a group of this name; expected one of "
				"sources.*.groups");
		for (size_t k = 0; remote && k < i; k++) {
			const char *other = text_at(rules->items[k], "group");
			const char *same = text_at(rules->items[k], what);

			if (other && same && strcmp(other, group) == 0 && strcmp(same, remote) == 0)
				fail_at(s, rule->at, list, "the same rule stands twice");
		}
	}
}

static void check_reasons(const struct scope *s, const struct conf_node *policy, const char *name)
{
	const struct conf_node *list = part_at(policy, name, CONF_SEQUENCE);
	CLEANUP(buf_cleanup) struct buf key = {0};

	buf_addf(&key, "licence_policy.%s", name);
	for (size_t i = 0; i < list->n; i++) {
		if (!conf_word_in(licence_reasons, list->items[i]->text))
			fail_at(s, list->items[i]->at, key.p,
				"is no reason; expected disabled, locked, password_expired, "
				"account_expired, inactive or never_logged_on");
	}
}

static void check_exempt(const struct scope *s, const struct conf_node *policy)
{
	const struct conf_node *list = part_at(policy, "exempt", CONF_SEQUENCE);
	struct id id;

	for (size_t i = 0; i < list->n; i++) {
		const char *text = list->items[i]->text;

		if (id_parse(slice_of(text), &id) < 0 && !group_watched(s->root, text))
			fail_at(s, list->items[i]->at, "licence_policy.exempt",
				"is neither an id (8-4-4-4-12) nor a watched group");
	}
}

static void check_licences(const struct scope *s)
{
	const struct conf_node *policy = part_at(s->section, "licence_policy", CONF_MAPPING);
	const char *schedule = text_at(policy, "schedule"), *zone = text_at(policy, "zone");
	CLEANUP(buf_cleanup) struct buf why = {0};

	check_rules(s, "groups", "remote");
	check_rules(s, "licences", "sku");
	check_reasons(s, policy, "revoke_when");
	check_reasons(s, policy, "reinstate_for");
	check_exempt(s, policy);
	if (!schedule || !zone)
		return;
	schedule_free(schedule_new(schedule, zone, &why));
	if (why.n)
		fail_at(s, place_of(policy, "schedule"), "licence_policy.schedule", why.p);
}

/* ---- targets ---- */

static void check_auth(const struct scope *s, const struct conf_node *auth, const char *method,
		       const char *driver)
{
	static const struct {
		const char *method, *keys;
		bool graph; /* driver graph knows it */
	} methods[] = {
		{"client_secret", "client_id client_secret", true},
		{"certificate", "client_id certificate private_key", true},
		{"bearer", "token", false},
		{"jwt", "client_id private_key username", false},
		{"password", "client_id username password", false},
		{"login", "username password", false},
	};
	bool graph = driver && strcmp(driver, "graph") == 0;

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++) {
		CLEANUP(buf_cleanup) struct buf because = {0};

		if (strcmp(method, methods[i].method) != 0)
			continue;
		if (graph && !methods[i].graph)
			fail_at(s, place_of(auth, "method"), "auth.method",
				"driver graph expects client_secret or certificate");
		buf_addf(&because, "auth.method: %s", method);
		need(s, "auth", methods[i].keys, because.p);
	}
}

static void check_target(const struct scope *s)
{
	const struct conf_node *auth = part_at(s->section, "auth", CONF_MAPPING);
	const struct conf_node *retry = part_at(s->section, "retry", CONF_MAPPING);
	const char *method = auth->defaulted ? NULL : text_at(auth, "method");
	const char *driver = text_at(s->section, "driver");
	bool graph = driver && strcmp(driver, "graph") == 0;
	int64_t cap = number_at(retry, "cap");

	if (graph && !is_given(s->section, "tenant"))
		fail_at(s, s->section->key_at, "tenant", "is missing; driver: graph needs it");
	if (method)
		check_auth(s, auth, method, driver);
	if (cap >= 0 && number_at(retry, "first") > cap)
		fail_at(s, place_of(retry, "first"), "retry.first", "is longer than retry.cap");
	check_licences(s);
}

static void each_named(const struct conf_node *root, const char *sections,
		       void (*check)(const struct scope *), struct conf_errors *errors)
{
	const struct conf_node *list = part_at(root, sections, CONF_MAPPING);

	for (size_t i = 0; i < list->n; i++) {
		CLEANUP(buf_cleanup) struct buf shown = {0};
		struct scope s = {root, list->items[i], NULL, errors};

		if (list->items[i]->kind != CONF_MAPPING || !list->items[i]->path)
			continue;
		buf_addf(&shown, "%s.%s", sections, list->items[i]->name);
		s.shown = shown.p;
		check(&s);
	}
}

/* ---- broker and connect ---- */

static bool is_z85_key(const char *text)
{
	static const char alphabet[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVW"
				       "XYZ.-:+=^!/*?&<>()[]{}@%$#";

	return strlen(text) == 40 && strspn(text, alphabet) == 40;
}

static void check_key(const struct conf_node *n, const char *name, const char *shown,
		      struct conf_errors *errors)
{
	const char *text = text_at(n, name);

	if (text && !is_z85_key(text))
		conf_fail(errors, place_of(n, name), shown,
			  "is no CURVE public key; expected 40 characters of Z85 (quote them)");
}

static void check_endpoint(const struct conf_node *n, const char *shown, bool has_keys,
			   const char *keys, struct conf_errors *errors)
{
	const char *wrong = conf_endpoint_wrong(n->text);

	if (wrong)
		conf_fail(errors, n->at, shown, "the endpoint %s", wrong);
	else if (strncmp(n->text, "tcp://", 6) == 0 && !has_keys)
		conf_fail(errors, n->at, shown, "tcp:// needs keys: %s is missing", keys);
}

static void check_broker(const struct conf_node *broker, struct conf_errors *errors)
{
	const struct conf_node *curve = part_at(broker, "curve", CONF_MAPPING);
	const struct conf_node *endpoints = part_at(broker, "endpoints", CONF_SEQUENCE);
	const struct conf_node *peers = part_at(curve, "peers", CONF_SEQUENCE);
	const char *http = text_at(broker, "http");
	const char *wrong = http ? conf_host_port_wrong(http) : NULL;

	for (size_t i = 0; i < endpoints->n; i++)
		check_endpoint(endpoints->items[i], "broker.endpoints",
			       !curve->defaulted && curve->n > 0, "broker.curve", errors);
	for (size_t i = 0; i < peers->n; i++)
		if (peers->items[i]->kind == CONF_MAPPING)
			check_key(peers->items[i], "public_key", "broker.curve.peers", errors);
	if (wrong)
		conf_fail(errors, place_of(broker, "http"), "broker.http",
			  "%s; expected HOST:PORT or \"\"", wrong);
}

static void check_connect(const struct conf_node *connect, struct conf_errors *errors)
{
	const struct conf_node *curve = part_at(connect, "curve", CONF_MAPPING);
	const struct conf_node *endpoints = part_at(connect, "endpoints", CONF_SEQUENCE);

	check_key(curve, "server_key", "connect.curve.server_key", errors);
	check_count(endpoints, "connect.endpoints", CONF_ENDPOINTS_MAX, errors);
	for (size_t i = 0; i < endpoints->n; i++) {
		const struct conf_node *endpoint = endpoints->items[i];

		check_endpoint(endpoint, "connect.endpoints", !curve->defaulted && curve->n > 0,
			       "connect.curve", errors);
		if (endpoint->text && strncmp(endpoint->text, "tcp://*", 7) == 0)
			conf_fail(errors, endpoint->at, "connect.endpoints",
				  "expected the broker's host instead of *");
	}
}

void conf_check_relations(struct conf_node *root, struct conf_errors *errors)
{
	check_broker(part_at(root, "broker", CONF_MAPPING), errors);
	check_connect(part_at(root, "connect", CONF_MAPPING), errors);
	check_count(part_at(root, "sources", CONF_MAPPING), "sources", CONF_SOURCES_MAX, errors);
	check_count(part_at(root, "targets", CONF_MAPPING), "targets", CONF_TARGETS_MAX, errors);
	each_named(root, "sources", check_source, errors);
	each_named(root, "targets", check_target, errors);
}

/* ---- secrets ---- */

static void check_secrets_below(const struct conf_node *n, const char *shown,
				struct conf_errors *errors)
{
	for (size_t i = 0; i < n->n; i++) {
		const struct conf_node *child = n->items[i];
		const struct conf_key *key =
			n->path && child->name ? conf_key_below(n->path, child->name) : NULL;
		CLEANUP(buf_cleanup) struct buf name = {0};
		CLEANUP(buf_cleanup) struct buf why = {0};
		struct secret_ref ref;

		if (child->name)
			buf_addf(&name, "%s.%s", shown, child->name);
		else
			buf_addf(&name, "%s[%zu]", shown, i);
		if (child->kind != CONF_SCALAR) {
			check_secrets_below(child, name.p, errors);
		} else if (key && key->type == CONF_SECRET && !child->broken &&
			   conf_secret_ref_of(child, &ref)) {
			struct secret *secret = secret_load(&ref, &why);

			if (!secret)
				conf_fail(errors, child->at, name.p, "%s",
					  why.n > 0 ? why.p : "cannot be read");
			secret_free(secret);
		}
	}
}

static bool is_part(const char *part, const char *name)
{
	return !part || strcmp(part, name) == 0;
}

void conf_check_secrets(struct conf_node *root, const char *part, struct conf_errors *errors)
{
	static const char *const lists[] = {"sources", "targets"};

	if (is_part(part, "broker"))
		check_secrets_below(part_at(root, "broker", CONF_MAPPING), "broker", errors);
	if (!part || strchr(part, '.'))
		check_secrets_below(part_at(root, "connect", CONF_MAPPING), "connect", errors);
	for (size_t i = 0; i < 2; i++) {
		const struct conf_node *list = part_at(root, lists[i], CONF_MAPPING);

		for (size_t k = 0; k < list->n; k++) {
			CLEANUP(buf_cleanup) struct buf name = {0};

			buf_addf(&name, "%s.%s", lists[i], list->items[k]->name);
			if (is_part(part, name.p))
				check_secrets_below(list->items[k], name.p, errors);
		}
	}
}
