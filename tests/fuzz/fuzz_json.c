/* json_parse on any bytes: what is accepted prints to a canonical text that parses and prints the same again. */
#include "json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good)
{
	if (!good)
		abort();
}

/* No string that a C reader would see cut, none that is not UTF-8, no number that prints as null. */
static void check(const cJSON *value)
{
	const cJSON *item;

	if (cJSON_IsString(value))
		must(utf8_valid(slice_of(value->valuestring)));
	if (cJSON_IsNumber(value))
		must(value->valuedouble - value->valuedouble == 0.0);
	cJSON_ArrayForEach (item, value) {
		must(item->string == NULL || utf8_valid(slice_of(item->string)));
		check(item);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf CLEANUP(buf_cleanup) first = {0};
	struct buf CLEANUP(buf_cleanup) second = {0};
	const char *why = NULL;
	cJSON *value = json_parse((struct slice){(const char *)data, size}, &why);

	must((value == NULL) == (why != NULL));
	if (value == NULL)
		return 0;
	check(value);
	json_canonical(value, &first);
	cJSON_Delete(value);
	value = json_parse(buf_slice(&first), NULL);
	must(value != NULL);
	json_canonical(value, &second);
	cJSON_Delete(value);
	must(slice_equal(buf_slice(&first), buf_slice(&second)));
	return 0;
}
