#include "store_json.h"

#include "clock.h"
#include "store_rows.h"

#include <stdlib.h>

void store_add_text(cJSON *to, const char *name, struct slice text)
{
	char *owned;

	if (!utf8_valid(text))
		text = SLICE("(not UTF-8)");
	owned = slice_dup(text);
	cJSON_AddStringToObject(to, name, owned);
	free(owned);
}

void store_add_time(cJSON *to, const char *name, int64_t unix_ms)
{
	char text[CLOCK_RFC3339];

	if (unix_ms == 0) {
		cJSON_AddNullToObject(to, name);
		return;
	}
	clock_rfc3339(unix_ms, text);
	cJSON_AddStringToObject(to, name, text);
}

void store_add_hex(cJSON *to, const char *name, const uint8_t *bytes, size_t n)
{
	struct buf hex = {0};
	char *text;

	for (size_t i = 0; i < n; i++)
		buf_addf(&hex, "%02x", bytes[i]);
	text = buf_steal(&hex);
	cJSON_AddStringToObject(to, name, text);
	free(text);
}

void store_add_number(cJSON *to, const char *name, uint64_t value)
{
	cJSON_AddNumberToObject(to, name, (double)value);
}

void store_add_id(cJSON *to, const char *name, const struct id *id)
{
	char text[ID_TEXT];

	id_format(id, text);
	cJSON_AddStringToObject(to, name, text);
}

/* JSON that the engine, a collector or a driver made; text when it is none, null when absent. */
void store_add_json(cJSON *to, const char *name, struct slice text)
{
	cJSON *value = text.n > 0 ? json_parse(text, NULL) : NULL;

	if (text.n == 0)
		cJSON_AddNullToObject(to, name);
	else if (value)
		cJSON_AddItemToObject(to, name, value);
	else
		store_add_text(to, name, text);
}

void store_add_link(cJSON *to, struct slice record)
{
	struct rows_link link;
	cJSON *object;

	if (rows_get_link(record, &link) < 0) {
		cJSON_AddNullToObject(to, "link");
		return;
	}
	object = cJSON_AddObjectToObject(to, "link");
	store_add_text(object, "rid", link.rid);
	cJSON_AddStringToObject(object, "state", link_state_name(link.state));
	store_add_number(object, "revision", link.revision);
	store_add_json(object, "memory", link.memory);
}
