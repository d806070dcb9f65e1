/* `dirpipe source tree`: where the people of a directory are, for choosing what a route takes in. */
#include "control.h"
#include "lines.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct shown {
	const struct cli *cli;
	cJSON *units;
	int64_t hidden;
};

static void take(void *arg, const cJSON *line)
{
	struct shown *s = arg;

	if (json_get(line, "hidden"))
		s->hidden = json_int(line, "hidden", 0);
	else
		cJSON_AddItemToArray(s->units, cJSON_Duplicate(line, true));
}

/* How the unit is called within the one above: its first name. */
static size_t first_name(const char *dn)
{
	size_t n = 0;

	while (dn[n] && dn[n] != ',')
		n += dn[n] == '\\' && dn[n + 1] ? 2 : 1;
	return n;
}

static void print(const struct shown *s)
{
	const cJSON *u;

	cJSON_ArrayForEach (u, s->units) {
		const char *dn = control_text(u, "dn", "");
		int depth = (int)json_int(u, "depth", 0);

		printf("%8lld %8lld  %*s%.*s\n", (long long)json_int(u, "users", 0),
		       (long long)json_int(u, "whole", 0), 2 * depth, "",
		       (int)(depth > 0 ? first_name(dn) : strlen(dn)), dn);
	}
	if (s->hidden > 0)
		printf("%lld users in system containers are not shown\n", (long long)s->hidden);
}

int cli_source(const struct cli *cli, int argc, char **argv)
{
	bool users_only = argc == 3 && strcmp(argv[2], "--users-only") == 0;
	struct shown s = {.cli = cli, .units = cJSON_CreateArray()};
	cJSON *all = cJSON_CreateObject();
	int rc = EXIT_USAGE_;

	cJSON_AddItemToObject(all, "units", s.units);
	if ((argc == 2 || users_only) && strcmp(argv[0], "tree") == 0) {
		char *words[] = {mem_dup("dirpipe-collector"),
				 mem_dup("--config"),
				 mem_dup(cli->config),
				 mem_dup("--tree"),
				 mem_dup(argv[1]),
				 users_only ? mem_dup("--users-only") : NULL,
				 NULL};

		rc = lines_run(words, take, &s);
		for (size_t i = 0; words[i]; i++)
			free(words[i]);
		cJSON_AddNumberToObject(all, "hidden", (double)s.hidden);
		if (rc == 0 && !control_print_json(cli, all))
			print(&s);
	} else {
		rc = cli_usage("source tree SOURCE [--users-only]");
	}
	cJSON_Delete(all);
	return rc;
}
