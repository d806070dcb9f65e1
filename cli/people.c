#include "people.h"
#include "id.h"
#include "service.h"

#include <stdio.h>

static cJSON *find(const struct cli *cli, const char *text, bool group, int *ret_code)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL, *ids = NULL;
	const cJSON *user;

	cJSON_AddStringToObject(request, "text", text);
	if (group)
		cJSON_AddTrueToObject(request, "group");
	*ret_code = control_ask(cli, "user_find", request, &result);
	cJSON_Delete(request);
	if (*ret_code != 0)
		return NULL;
	if (cJSON_GetArraySize(json_array(result, "users")) > 0) {
		ids = cJSON_CreateArray();
		cJSON_ArrayForEach (user, json_array(result, "users"))
			cJSON_AddItemToArray(ids,
					     cJSON_CreateString(control_text(user, "user", "?")));
	} else {
		fprintf(stderr, "dirpipe: nobody %s %s\n",
			group ? "is in a watched group" : "has the value", text);
		*ret_code = EXIT_FAILED_;
	}
	cJSON_Delete(result);
	return ids;
}

cJSON *people_named(const struct cli *cli, const char *text, int *ret_code)
{
	char canonical[ID_TEXT];
	struct id id;
	cJSON *ids;

	*ret_code = 0;
	if (id_parse(slice_of(text), &id) < 0)
		return find(cli, text, false, ret_code);
	id_format(&id, canonical);
	ids = cJSON_CreateArray();
	cJSON_AddItemToArray(ids, cJSON_CreateString(canonical));
	return ids;
}

cJSON *people_of_group(const struct cli *cli, const char *group, int *ret_code)
{
	return find(cli, group, true, ret_code);
}
