#include "store_redis.h"

#include <stdio.h>
#include <stdlib.h>

char *store_key(const struct store *s, const char *kind, const char *name)
{
	struct buf b = {0};

	buf_addf(&b, "%s%s%s", s->prefix, kind, name);
	return buf_steal(&b);
}

struct slice store_function(const char *name)
{
	static char ring[4][64];
	static unsigned at;
	char *text = ring[at++ % 4];
	int n = snprintf(text, sizeof(ring[0]), "dirpipe_%s_%s", name, store_lua_id);

	return (struct slice){text, (size_t)n};
}

struct slice store_text(const redisReply *reply)
{
	if (!reply || (reply->type != REDIS_REPLY_STRING && reply->type != REDIS_REPLY_STATUS))
		return (struct slice){0};
	return (struct slice){reply->str, (size_t)reply->len};
}

static char *field(const char *letter, const char *name)
{
	struct buf b = {0};

	buf_addf(&b, "%s%s", letter, name);
	return buf_steal(&b);
}

static void name_target(struct store *s, struct store_target *t, const char *name)
{
	*t = (struct store_target){
		.name = name,
		.live = store_key(s, "live:", name),
		.bulk = store_key(s, "bulk:", name),
		.retry = store_key(s, "retry:", name),
		.cal = store_key(s, "cal:", name),
		.flight = store_key(s, "flight:", name),
		.stuck = store_key(s, "stuck:", name),
		.held = store_key(s, "held:", name),
		.guard = store_key(s, "guard:", name),
		.rid = store_key(s, "rid:", name),
		.pause = store_key(s, "pause:", name),
		.conf = store_key(s, "conf:", name),
		.errors = store_key(s, "errors:", name),
		.entry = field("s:", name),
		.link = field("l:", name),
		.applied = field("f:", name),
		.error = field("e:", name),
		.cause = field("c:", name),
	};
	struct buf waiters = {0};

	buf_addf(&waiters, "%swaiters:%s:", s->prefix, name);
	t->waiters = buf_steal(&waiters);
}

void store_names_new(struct store *s)
{
	struct buf b = {0};

	buf_addf(&b, "{dp:%s}:", s->conf.realm);
	s->prefix = buf_steal(&b);
	s->user = store_key(s, "user:", "");
	s->key_active = store_key(s, "active", "");
	s->key_epoch = store_key(s, "epoch", "");
	s->key_page = store_key(s, "page", "");
	s->key_log = store_key(s, "log", "");
	s->targets = mem_array(s->conf.targets_n, sizeof(*s->targets));
	for (size_t i = 0; i < s->conf.targets_n; i++)
		name_target(s, &s->targets[i], s->conf.targets[i]);
	s->sources = mem_array(s->conf.sources_n, sizeof(*s->sources));
	for (size_t i = 0; i < s->conf.sources_n; i++)
		s->sources[i] = (struct store_source){
			.name = s->conf.sources[i],
			.cursor = store_key(s, "cursor:", s->conf.sources[i]),
			.guard = store_key(s, "guard:", s->conf.sources[i]),
		};
}

void store_names_free(struct store *s)
{
	for (size_t i = 0; i < s->conf.targets_n; i++) {
		struct store_target *t = &s->targets[i];
		char *all[] = {t->live,	 t->bulk,  t->retry,   t->cal,	 t->flight, t->stuck,
			       t->held,	 t->guard, t->rid,     t->pause, t->conf,   t->waiters,
			       t->entry, t->link,  t->applied, t->error, t->cause,  t->errors};

		for (size_t k = 0; k < sizeof(all) / sizeof(all[0]); k++)
			free(all[k]);
	}
	for (size_t i = 0; i < s->conf.sources_n; i++) {
		free(s->sources[i].cursor);
		free(s->sources[i].guard);
	}
	free(s->targets);
	free(s->sources);
	free(s->prefix);
	free(s->user);
	free(s->key_active);
	free(s->key_epoch);
	free(s->key_page);
	free(s->key_log);
}
