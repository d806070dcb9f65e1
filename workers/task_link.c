#include "task_own.h"

#include <stdlib.h>
#include <string.h>

/* ---- permits ---- */

bool task_permitted(const struct task *t, const char *op, const char *what)
{
	for (size_t i = 0; i < t->permits_n; i++) {
		if (strcmp(t->permits[i].op, op) == 0 &&
		    strcmp(t->permits[i].what, what ? what : "") == 0)
			return true;
	}
	return false;
}

void task_want(struct task *t, const char *op, const char *what)
{
	struct wire_list said = wire_list_of(&t->wants, t->wants_n);
	struct wire_op one;

	while (wire_next_op(&said, &one)) {
		if (slice_is(one.op, op) && slice_is(one.what, what ? what : ""))
			return; /* several operations may wait for one permit */
	}
	wire_add_op(&t->wants, &(struct wire_op){.op = slice_of(op), .what = slice_of(what)});
	t->wants_n++;
}

/* ---- the link's memory: {"created_ms", "creating_ms", "creating_key", "left_ms", "fields", "driver"} ---- */

int64_t task_memory_ms(const struct task *t, const char *key)
{
	return json_int(t->memory, key, 0);
}

void task_remember_ms(struct task *t, const char *key, int64_t ms)
{
	cJSON_DeleteItemFromObjectCaseSensitive(t->memory, key);
	if (ms)
		cJSON_AddNumberToObject(t->memory, key, (double)ms);
}

void task_creating(struct task *t, const char *key)
{
	task_creating_over(t);
	task_remember_ms(t, "creating_ms", t->now_unix_ms);
	cJSON_AddStringToObject(t->memory, "creating_key", key);
}

const char *task_creating_key(const struct task *t)
{
	return json_text(t->memory, "creating_key");
}

void task_creating_over(struct task *t)
{
	task_remember_ms(t, "creating_ms", 0);
	cJSON_DeleteItemFromObjectCaseSensitive(t->memory, "creating_key");
}

const cJSON *task_driver_memory(struct task *t)
{
	const cJSON *own = json_object(t->memory, "driver");

	return own ? own : cJSON_AddObjectToObject(t->memory, "driver");
}

void task_remember(struct task *t, const cJSON *driver_part)
{
	const cJSON *item;

	if (!driver_part)
		return;
	task_driver_memory(t);
	cJSON *own = cJSON_GetObjectItemCaseSensitive(t->memory, "driver");

	cJSON_ArrayForEach (item, driver_part) {
		cJSON_DeleteItemFromObjectCaseSensitive(own, item->string);
		if (!cJSON_IsNull(item))
			cJSON_AddItemToObject(own, item->string, cJSON_Duplicate(item, true));
	}
}

/* ---- what was applied: "SHAPE:HEX:HASH"; HEX has a bit for each path of the mapping in order, lowest first; HASH is of the
 * document and of what makes it be written anew ---- */

enum { HASH_BYTES = 8, HASH_TEXT = 2 * HASH_BYTES };

static void add_hash(const struct task *t, struct buf *out)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct fp fp;

	buf_addf(&text, "%s\n%s\n", t->desk->driver->name, t->desk->driver->version);
	buf_add(&text, t->desk->options.b, sizeof(t->desk->options.b));
	json_canonical(t->document, &text);
	fp = fp_of(buf_slice(&text));
	for (size_t i = 0; i < HASH_BYTES; i++)
		buf_addf(out, "%02x", fp.b[i]);
}

void task_fields_forget(struct task *t)
{
	cJSON_DeleteItemFromObjectCaseSensitive(t->memory, "fields");
}

void task_fields_store(struct task *t)
{
	CLEANUP(buf_cleanup) struct buf mask = {0};
	size_t n = mapping_count(t->desk->mapping);
	unsigned nibble = 0;

	task_fields_forget(t);
	buf_addf(&mask, "%s:", t->desk->shape);
	for (size_t i = 0; i < n; i++) {
		const cJSON *value = json_get(t->document, mapping_path(t->desk->mapping, i));

		if (!mapping_empty(value))
			nibble |= 1u << i % 4;
		if (i % 4 == 3 || i + 1 == n) {
			buf_addf(&mask, "%x", nibble);
			nibble = 0;
		}
	}
	buf_addc(&mask, ':');
	add_hash(t, &mask);
	cJSON_AddStringToObject(t->memory, "fields", mask.p);
}

static const char *mask_of(const struct task *t)
{
	const char *text = json_text(t->memory, "fields");
	struct slice shape = slice_of(t->desk->shape);
	size_t n = (mapping_count(t->desk->mapping) + 3) / 4;

	if (!text || strlen(text) != shape.n + 1 + n + 1 + HASH_TEXT || text[shape.n] != ':' ||
	    !slice_equal((struct slice){text, shape.n}, shape))
		return NULL;
	text += shape.n + 1;
	return text[n] == ':' ? text : NULL;
}

bool task_document_applied(const struct task *t)
{
	CLEANUP(buf_cleanup) struct buf now = {0};
	const char *mask = mask_of(t);

	if (!mask || t->left)
		return false;
	add_hash(t, &now);
	return strcmp(now.p, strchr(mask, ':') + 1) == 0;
}

bool task_fields_known(const struct task *t)
{
	return mask_of(t) != NULL;
}

bool task_field_was_set(const struct task *t, const char *path)
{
	const char *mask = mask_of(t);

	for (size_t i = 0; mask && i < mapping_count(t->desk->mapping); i++) {
		char digit[2] = {mask[i / 4], '\0'};

		if (strcmp(mapping_path(t->desk->mapping, i), path) == 0)
			return strtoul(digit, NULL, 16) >> i % 4 & 1;
	}
	return true;
}
