#include "settings.h"

#include <stdlib.h>
#include <string.h>

enum { SETTLE_MOST_MS = 5 * 60 * 1000 };

/* ---- lists ---- */

static size_t list_of(const struct conf_node *n, const char *key, const char ***ret)
{
	size_t count = 0;

	while (conf_item(n, key, count))
		count++;
	*ret = mem_array(count + 1, sizeof(**ret));
	for (size_t i = 0; i < count; i++)
		(*ret)[i] = conf_item(n, key, i);
	return count;
}

static size_t names_of(const struct conf_node *root, const char *sections, const char ***ret)
{
	size_t count = 0;
	const char *name;

	while (conf_at(root, sections, count, &name))
		count++;
	*ret = mem_array(count + 1, sizeof(**ret));
	for (size_t i = 0; i < count; i++)
		conf_at(root, sections, i, &(*ret)[i]);
	return count;
}

/* ---- targets ---- */

static struct queue_target_conf target_conf(const struct conf_node *n, const char *name)
{
	const struct conf_node *guard = conf_section(n, "guard"), *retry = conf_section(n, "retry");
	const struct conf_node *pace = conf_section(n, "pace");

	return (struct queue_target_conf){
		.name = name,
		.guard_count = conf_int(guard, "count"),
		.guard_percent = conf_int(guard, "percent"),
		.guard_most = conf_int(guard, "most"),
		.licence_percent = conf_int(conf_section(n, "licence_policy"), "cap_per_run"),
		.settle_ms = conf_int(guard, "settle"),
		.settle_most_ms = SETTLE_MOST_MS,
		.retry_first_ms = conf_int(retry, "first"),
		.retry_cap_ms = conf_int(retry, "cap"),
		.dead_after_ms = conf_int(retry, "dead_after"),
		.budget = conf_int(pace, "writes"),
		.budget_per_ms = conf_int(pace, "per"),
		.concurrency = conf_int(pace, "concurrency"),
		.paused = conf_bool(n, "paused"),
		.leavers_keep_names = strcmp(conf_text(n, "leave_names"), "keep") == 0,
	};
}

static void read_targets(struct settings *s, const struct conf_node *root)
{
	struct turn_conf *turn = &s->session.turn;

	turn->store.sources_n = names_of(root, "sources", &s->sources);
	turn->store.targets_n = names_of(root, "targets", &s->targets);
	turn->store.sources = s->sources;
	turn->store.targets = s->targets;
	s->target_confs = mem_array(turn->store.targets_n + 1, sizeof(*s->target_confs));
	for (size_t i = 0; i < turn->store.targets_n; i++)
		s->target_confs[i] =
			target_conf(conf_named(root, "targets", s->targets[i]), s->targets[i]);
	turn->targets = s->target_confs;
}

/* ---- keys ---- */

static unsigned roles_of(const char *role)
{
	if (strcmp(role, "collector") == 0)
		return BUS_COLLECTOR;
	return strcmp(role, "worker") == 0 ? BUS_WORKER : BUS_ANY;
}

static int read_keys(struct settings *s, const struct conf_node *broker, struct buf *errors)
{
	const struct conf_node *curve = conf_section(broker, "curve"), *peer;
	struct secret_ref ref;
	size_t n = 0;

	if (!conf_secret(curve, "secret_key", &ref))
		return 0;
	s->secret_key = conf_load_secret(curve, "secret_key", errors);
	if (!s->secret_key)
		return -1;
	while (conf_at(curve, "peers", n, NULL))
		n++;
	s->peers = mem_array(n + 1, sizeof(*s->peers));
	for (size_t i = 0; i < n; i++) {
		peer = conf_at(curve, "peers", i, NULL);
		s->peers[i] = (struct bus_peer_key){
			.name = conf_text(peer, "name"),
			.public_key = conf_text(peer, "public_key"),
			.roles = roles_of(conf_text(peer, "role")),
			.only = conf_text(peer, "only"),
		};
	}
	s->keys = (struct bus_keys){.secret_key = s->secret_key, .peers = s->peers, .peers_n = n};
	s->session.keys = &s->keys;
	return 0;
}

/* ---- Redis ---- */

static int read_redis(struct settings *s, const struct conf_node *root,
		      const struct conf_node *broker, struct buf *errors)
{
	const struct conf_node *redis = conf_section(broker, "redis");
	struct store_conf *store = &s->session.turn.store;
	struct secret_ref ref;

	store->realm = conf_text(root, "realm");
	store->redis.url = conf_text(redis, "url");
	store->redis.user = conf_text(redis, "user");
	store->redis.connect_timeout_ms = conf_int(redis, "connect_timeout");
	store->redis.call_timeout_ms = conf_int(redis, "timeout");
	store->fsync_always = strcmp(conf_text(redis, "fsync"), "always") == 0;
	store->replicas = (int)conf_int(redis, "replicas");
	store->active_ttl_ms = conf_int(broker, "takeover");
	store->log_entries = conf_int(broker, "log_entries");
	store->error_entries = conf_int(broker, "error_entries");
	if (!conf_secret(redis, "password", &ref))
		return 0;
	s->redis_password = conf_load_secret(redis, "password", errors);
	store->redis.password = s->redis_password;
	return s->redis_password ? 0 : -1;
}

/* ---- all ---- */

struct settings *settings_load(const char *path, struct buf *errors)
{
	struct settings *s = mem_alloc(sizeof(*s));
	const struct conf_node *root, *broker;

	s->conf = conf_load_for(path, "broker", errors);
	if (!s->conf) {
		settings_free(s);
		return NULL;
	}
	root = conf_root(s->conf);
	broker = conf_section(root, "broker");
	s->session.endpoints_n = list_of(broker, "endpoints", &s->endpoints);
	s->session.endpoints = s->endpoints;
	s->control = conf_text(broker, "control");
	s->http = conf_text(broker, "http");
	if (s->http && !*s->http)
		s->http = NULL;
	s->session.turn.queue = (struct queue_conf){
		.lease_ms = conf_int(broker, "lease"),
		.grace_ms = conf_int(broker, "grace"),
		.verify_after_ms = conf_int(broker, "verify_after"),
	};
	if (log_level_parse(conf_text(conf_section(root, "log"), "level"), &s->level) < 0)
		s->level = LOG_INFO_;
	read_targets(s, root);
	if (read_keys(s, broker, errors) < 0 || read_redis(s, root, broker, errors) < 0) {
		settings_free(s);
		return NULL;
	}
	return s;
}

void settings_free(struct settings *s)
{
	if (!s)
		return;
	secret_free(s->secret_key);
	secret_free(s->redis_password);
	free((void *)s->endpoints);
	free((void *)s->sources);
	free((void *)s->targets);
	free(s->target_confs);
	free(s->peers);
	conf_free(s->conf);
	free(s);
}

/* ---- reload ---- */

static bool same_list(const char *const *a, size_t a_n, const char *const *b, size_t b_n)
{
	if (a_n != b_n)
		return false;
	for (size_t i = 0; i < a_n; i++)
		if (strcmp(a[i], b[i]) != 0)
			return false;
	return true;
}

static bool same(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static const struct queue_target_conf *conf_of(const struct settings *s, const char *name)
{
	for (size_t i = 0; i < s->session.turn.store.targets_n; i++)
		if (strcmp(s->target_confs[i].name, name) == 0)
			return &s->target_confs[i];
	return NULL;
}

void settings_take(struct settings *to, const struct settings *from, struct buf *why)
{
	const struct store_conf *a = &to->session.turn.store, *b = &from->session.turn.store;

	for (size_t i = 0; i < a->targets_n; i++) {
		const struct queue_target_conf *newer = conf_of(from, a->targets[i]);
		struct queue_target_conf *mine = &to->target_confs[i];
		struct fp config = mine->config; /* the workers' word, not the file's */

		if (!newer)
			continue;
		*mine = *newer;
		mine->name = a->targets[i];
		mine->config = config;
	}
	to->level = from->level;
	if (!same_list(a->targets, a->targets_n, b->targets, b->targets_n))
		buf_adds(why, "targets were added or removed\n");
	if (!same_list(a->sources, a->sources_n, b->sources, b->sources_n))
		buf_adds(why, "sources were added or removed\n");
	if (!same(a->realm, b->realm) || !same(a->redis.url, b->redis.url) ||
	    a->fsync_always != b->fsync_always || a->replicas != b->replicas)
		buf_adds(why, "realm or broker.redis changed\n");
	if (!same_list(to->session.endpoints, to->session.endpoints_n, from->session.endpoints,
		       from->session.endpoints_n) ||
	    !same(to->control, from->control) || !same(to->http, from->http))
		buf_adds(why, "broker.endpoints, broker.control or broker.http changed\n");
}
