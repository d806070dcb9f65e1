/* What an operator does beside looking: pause and resume, read again, the provisioning log. */
#include "control.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Asks and prints: JSON with --json, else by show. request is taken over. */
static int ask(const struct cli *cli, const char *verb, cJSON *request,
	       void (*show)(const cJSON *result))
{
	cJSON *result;
	int rc = control_ask(cli, verb, request, &result);

	cJSON_Delete(request);
	if (rc == 0 && !control_print_json(cli, result) && !cli->quiet)
		show(result);
	cJSON_Delete(result);
	return rc;
}

static cJSON *fields(const char *name, const char *value)
{
	cJSON *request = cJSON_CreateObject();

	if (value)
		cJSON_AddStringToObject(request, name, value);
	return request;
}

static void show_changed(const cJSON *result)
{
	printf("%lld changed\n", (long long)json_int(result, "changed", 0));
}

int cli_pause(const struct cli *cli, int argc, char **argv)
{
	cJSON *request;

	if (argc < 1 || argc > 2)
		return cli_usage("pause TARGET [WHY]");
	request = fields("target", argv[0]);
	if (argc == 2)
		cJSON_AddStringToObject(request, "why", argv[1]);
	return ask(cli, "pause", request, show_changed);
}

int cli_resume(const struct cli *cli, int argc, char **argv)
{
	(void)argv;
	if (argc != 1)
		return cli_usage("resume TARGET");
	return ask(cli, "resume", fields("target", argv[0]), show_changed);
}

static void show_log(const cJSON *result)
{
	const cJSON *line;

	cJSON_ArrayForEach (line, json_array(result, "lines")) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		json_print(line, &text);
		puts(text.p);
	}
}

int cli_log(const struct cli *cli, int argc, char **argv)
{
	cJSON *request = cJSON_CreateObject();
	long most = 100;
	bool good = true;

	for (int i = 0; i < argc && good; i++) {
		char *end = NULL;

		if (strcmp(argv[i], "--target") == 0 && i + 1 < argc) {
			cJSON_AddStringToObject(request, "target", argv[++i]);
			continue;
		}
		most = strtol(argv[i], &end, 10);
		good = !*end && most >= 1;
	}
	if (!good) {
		cJSON_Delete(request);
		return cli_usage("log [LINES] [--target TARGET]");
	}
	cJSON_AddNumberToObject(request, "most", (double)most);
	return ask(cli, "log", request, show_log);
}
