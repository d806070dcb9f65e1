#include "options.h"

#include <string.h>

void options_where(const struct conf_node *conf, const char *key, struct buf *errors)
{
	conf_where(conf, key, errors);
	buf_adds(errors, ": ");
}

/* Place of the word in "a|b|c", or -1. */
static int word_index(const char *words, const char *word)
{
	size_t n = strlen(word);

	for (int i = 0;; i++) {
		size_t length = strcspn(words, "|");

		if (n > 0 && length == n && memcmp(words, word, n) == 0)
			return i;
		if (!words[length])
			return -1;
		words += length + 1;
	}
}

/* Each member is one, and not empty. */
static bool texts(const cJSON *list)
{
	const cJSON *item;

	cJSON_ArrayForEach (item, list) {
		if (!cJSON_IsString(item) || !*item->valuestring)
			return false;
	}
	return true;
}

static bool fits(const struct option_row *row, const cJSON *value)
{
	switch (row->type) {
	case OPTION_BOOL:
		return cJSON_IsBool(value);
	case OPTION_INT:
		return cJSON_IsNumber(value) && value->valuedouble >= (double)row->least &&
		       value->valuedouble <= (double)row->most &&
		       value->valuedouble == (double)(int64_t)value->valuedouble;
	case OPTION_WORD:
		return cJSON_IsString(value) && word_index(row->words, value->valuestring) >= 0;
	case OPTION_TEXT:
		return cJSON_IsString(value) && *value->valuestring;
	case OPTION_LIST:
		return cJSON_IsArray(value) && texts(value);
	case OPTION_MAP:
		return cJSON_IsObject(value) && texts(value);
	case OPTION_TYPES:
		break;
	}
	return false;
}

static void expected(const struct option_row *row, struct buf *errors)
{
	switch (row->type) {
	case OPTION_BOOL:
		buf_adds(errors, "expected true or false");
		break;
	case OPTION_INT:
		buf_addf(errors, "expected a whole number from %lld to %lld", (long long)row->least,
			 (long long)row->most);
		break;
	case OPTION_WORD:
		buf_addf(errors, "expected one of %s", row->words);
		break;
	case OPTION_TEXT:
		buf_adds(errors, "expected a text");
		break;
	case OPTION_LIST:
		buf_adds(errors, "expected a list of texts");
		break;
	case OPTION_MAP:
		buf_adds(errors, "expected NAME: text for each");
		break;
	case OPTION_TYPES:
		break;
	}
}

static void known_keys(const struct option_row *rows, struct buf *errors)
{
	buf_adds(errors, "unknown key, expected one of ");
	for (; rows->key; rows++)
		buf_addf(errors, "%s%s", rows->key, rows[1].key ? ", " : "");
}

cJSON *options_read(const struct conf_node *conf, const struct option_row *rows, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	size_t before = errors->n;
	const cJSON *item;
	cJSON *all;

	conf_json(conf, "options", &text);
	all = json_parse(buf_slice(&text), NULL);
	if (!cJSON_IsObject(all)) {
		cJSON_Delete(all);
		all = cJSON_CreateObject();
	}
	cJSON_ArrayForEach (item, all) {
		const struct option_row *row = rows;

		while (row->key && strcmp(row->key, item->string) != 0)
			row++;
		if (row->key && fits(row, item))
			continue;
		options_where(conf, "options", errors);
		buf_addf(errors, "options.%s: ", item->string);
		if (row->key)
			expected(row, errors);
		else
			known_keys(rows, errors);
		buf_addc(errors, '\n');
	}
	if (errors->n == before)
		return all;
	cJSON_Delete(all);
	return NULL;
}

size_t options_word(const cJSON *options, const struct option_row *rows, const char *key,
		    size_t otherwise)
{
	const char *word = json_text(options, key);
	int i;

	if (!word)
		return otherwise;
	while (rows->key && strcmp(rows->key, key) != 0)
		rows++;
	i = rows->key ? word_index(rows->words, word) : -1;
	return i < 0 ? otherwise : (size_t)i;
}
