/* `dirpipe licence`: who lost a licence by policy or waits for a seat, and the word to give back now. */
#include "control.h"
#include "service.h"

#include <stdio.h>
#include <string.h>

static const char usage[] = "licence ls [--target T] [--state revoked|waiting] | "
			    "licence reinstate (USER|--all) [--target T]";

/* Takes `--name value` out of argv; false: its value is missing. */
static bool take(int *argc, char **argv, const char *name, const char **ret)
{
	for (int i = 0; i < *argc; i++) {
		if (strcmp(argv[i], name) != 0)
			continue;
		if (i + 1 == *argc)
			return false;
		*ret = argv[i + 1];
		for (int k = i; k + 2 < *argc; k++)
			argv[k] = argv[k + 2];
		*argc -= 2;
		return true;
	}
	return true;
}

static void print_row(const cJSON *row)
{
	const cJSON *reason;
	const char *comma = " ";

	printf("%-12s %s  %-36s  %-8s since %s", control_text(row, "target", "?"),
	       control_text(row, "user", "?"), control_text(row, "licence", "?"),
	       control_text(row, "state", "?"), control_text(row, "since", "?"));
	cJSON_ArrayForEach (reason, json_array(row, "reasons")) {
		if (!cJSON_IsString(reason))
			continue;
		printf("%s%s", comma, reason->valuestring);
		comma = ",";
	}
	putchar('\n');
}

static int list(const struct cli *cli, const char *target, const char *state)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	const cJSON *row;
	int rc;

	cJSON_AddNumberToObject(request, "most", 10000);
	if (target)
		cJSON_AddStringToObject(request, "target", target);
	if (state)
		cJSON_AddStringToObject(request, "state", state);
	rc = control_ask(cli, "licence_ls", request, &result);
	cJSON_Delete(request);
	if (rc == 0 && !control_print_json(cli, result)) {
		cJSON_ArrayForEach (row, json_array(result, "licences"))
			print_row(row);
		if (json_true(result, "more", false))
			fputs("there are more\n", stderr);
	}
	cJSON_Delete(result);
	return rc;
}

static int reinstate(const struct cli *cli, const char *target, const char *user)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	int rc;

	if (target)
		cJSON_AddStringToObject(request, "target", target);
	if (strcmp(user, "--all") == 0)
		cJSON_AddTrueToObject(request, "all");
	else
		cJSON_AddStringToObject(request, "user", user);
	rc = control_ask(cli, "licence_reinstate", request, &result);
	cJSON_Delete(request);
	if (rc == 0 && !control_print_json(cli, result) && !cli->quiet)
		printf("%lld will be given back unless a reason still holds\n",
		       (long long)json_int(result, "changed", 0));
	cJSON_Delete(result);
	return rc;
}

int cli_licence(const struct cli *cli, int argc, char **argv)
{
	const char *target = NULL, *state = NULL;

	if (!take(&argc, argv, "--target", &target) || !take(&argc, argv, "--state", &state) ||
	    argc < 1)
		return cli_usage(usage);
	if (argc == 1 && strcmp(argv[0], "ls") == 0)
		return list(cli, target, state);
	if (argc == 2 && !state && strcmp(argv[0], "reinstate") == 0)
		return reinstate(cli, target, argv[1]);
	return cli_usage(usage);
}
