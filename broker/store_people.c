/* Many users as people see them, at one target: one call for a page of them. */
#include "store_json.h"
#include "store_redis.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIELD_USER, FIELD_SNAPSHOT, FIELD_LINK, FIELD_CAUSE, FIELDS };

struct people {
	const struct store_target *target;
	struct id *ids;
	size_t n;
	bool snapshot;
	store_text_fn fn;
	void *arg;
};

static bool holds(struct wire_list in, const char *target)
{
	struct wire_name name;

	while (wire_next_name(&in, &name))
		if (slice_is(name.text, target))
			return true;
	return false;
}

/* Of the snapshot, which the turn never parses: a person asks for few users. */
static void add_person(cJSON *to, struct slice text, bool whole)
{
	cJSON *snapshot = json_parse(text, NULL);
	const char *dn = json_text(snapshot, "dn");

	cJSON_AddStringToObject(to, "dn", dn ? dn : "");
	cJSON_AddBoolToObject(to, "enabled",
			      json_true(json_object(snapshot, "account"), "enabled", true));
	if (whole && snapshot)
		cJSON_AddItemToObject(to, "snapshot", snapshot);
	else
		cJSON_Delete(snapshot);
}

static cJSON *person(const struct people *p, size_t i, const redisReply *fields)
{
	struct queue_user_row row = {0};
	cJSON *to;

	if (fields->type != REDIS_REPLY_ARRAY || fields->elements != FIELDS ||
	    rows_get_user(store_text(fields->element[FIELD_USER]), &row) < 0)
		return cJSON_CreateNull();
	to = cJSON_CreateObject();
	store_add_id(to, "user", &p->ids[i]);
	store_add_text(to, "source", row.source);
	store_add_number(to, "version", row.version);
	cJSON_AddBoolToObject(to, "gone", row.gone);
	cJSON_AddBoolToObject(to, "in", !row.gone && holds(row.in, p->target->name));
	add_person(to, store_text(fields->element[FIELD_SNAPSHOT]), p->snapshot);
	store_add_text(to, "cause", store_text(fields->element[FIELD_CAUSE]));
	store_add_link(to, store_text(fields->element[FIELD_LINK]));
	return to;
}

static void people_read(void *arg, enum redis_class class, const redisReply *reply)
{
	struct people *p = arg;
	CLEANUP(buf_cleanup) struct buf json = {0};
	bool ok = class == REDIS_CLASS_OK && reply && reply->type == REDIS_REPLY_ARRAY &&
		  reply->elements == p->n;
	cJSON *list = cJSON_CreateArray();

	for (size_t i = 0; ok && i < p->n; i++)
		cJSON_AddItemToArray(list, person(p, i, reply->element[i]));
	json_print(list, &json);
	cJSON_Delete(list);
	p->fn(p->arg, ok, buf_slice(&json));
	free(p->ids);
	free(p);
}

static const struct store_target *target_of(const struct store *s, const char *name)
{
	for (size_t i = 0; i < s->conf.targets_n; i++)
		if (strcmp(s->targets[i].name, name) == 0)
			return &s->targets[i];
	abort(); /* callers have it from the same list */
}

void store_people_json(struct store *s, const struct store_people *of, store_text_fn fn, void *arg)
{
	struct people *p = mem_alloc(sizeof(*p));
	struct slice *argv = mem_array(of->n + 3 + FIELDS, sizeof(*argv));
	CLEANUP(buf_cleanup) struct buf keys = {0};
	char count[24];
	size_t at = 0, each = strlen(s->user) + ID_TEXT - 1;

	*p = (struct people){.target = target_of(s, of->target),
			     .ids = mem_array(of->n + 1, sizeof(*of->ids)),
			     .n = of->n,
			     .snapshot = of->snapshot,
			     .fn = fn,
			     .arg = arg};
	if (of->n > 0)
		memcpy(p->ids, of->ids, of->n * sizeof(*of->ids));
	for (size_t i = 0; i < of->n; i++) {
		char text[ID_TEXT];

		id_format(&of->ids[i], text);
		buf_addf(&keys, "%s%s", s->user, text);
	}
	snprintf(count, sizeof(count), "%zu", of->n);
	argv[at++] = SLICE("FCALL_RO");
	argv[at++] = store_function("people");
	argv[at++] = slice_of(count);
	for (size_t i = 0; i < of->n; i++)
		argv[at++] = (struct slice){keys.p + i * each, each};
	argv[at++] = SLICE("u");
	argv[at++] = SLICE("d");
	argv[at++] = slice_of(p->target->link);
	argv[at++] = slice_of(p->target->cause);
	redis_call(s->redis, argv, at, people_read, p);
	free(argv);
}
