/* `dirpipe link`: which account is whose, and a person's word for it. */
#include "link.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] =
	"link ls TARGET [--user ID] | add TARGET ID ACCOUNT | rm TARGET ID [--rejoin]";

int link_walk(const struct cli *cli, cJSON *request, void (*take)(void *arg, const cJSON *row),
	      void *arg)
{
	const char *next = NULL;
	cJSON *part = NULL;
	int rc;

	cJSON_AddNumberToObject(request, "most", 500);
	do {
		CLEANUP(free_cleanup) char *from = next ? mem_dup(next) : NULL;
		const cJSON *row;

		cJSON_Delete(part);
		part = NULL;
		cJSON_DeleteItemFromObjectCaseSensitive(request, "from");
		if (from)
			cJSON_AddStringToObject(request, "from", from);
		rc = control_ask(cli, "link_ls", request, &part);
		cJSON_ArrayForEach (row, json_array(part, "links"))
			if (cJSON_IsObject(row))
				take(arg, row);
		next = rc == 0 ? json_text(part, "next") : NULL;
	} while (next);
	cJSON_Delete(part);
	cJSON_Delete(request);
	return rc;
}

bool link_is_manual(const cJSON *row)
{
	return json_true(json_object(json_object(row, "link"), "memory"), "manual", false);
}

static void take_row(void *arg, const cJSON *row)
{
	if (json_object(row, "link"))
		cJSON_AddItemToArray(arg, cJSON_Duplicate(row, true));
}

static void print_row(const cJSON *row)
{
	const cJSON *link = json_object(row, "link");

	printf("%s  %-10s %-7s %s  %s%s\n", control_text(row, "user", "?"),
	       control_text(link, "state", "?"), link_is_manual(row) ? "manual" : "joined",
	       control_text(link, "rid", "-"), control_text(row, "dn", "-"),
	       json_true(row, "gone", false) ? " (gone)"
	       : json_true(row, "in", false) ? ""
					     : " (out of scope)");
}

static int list(const struct cli *cli, const char *target, const char *user)
{
	cJSON *request = cJSON_CreateObject(), *rows = cJSON_CreateArray(), *all;
	const cJSON *row;
	int rc;

	cJSON_AddStringToObject(request, "target", target);
	if (user)
		cJSON_AddStringToObject(request, "user", user);
	rc = link_walk(cli, request, take_row, rows);
	all = cJSON_CreateObject();
	cJSON_AddItemToObject(all, "links", rows);
	if (rc == 0 && !control_print_json(cli, all)) {
		cJSON_ArrayForEach (row, rows)
			print_row(row);
	}
	cJSON_Delete(all);
	return rc;
}

int link_change(const struct cli *cli, const struct link_word *w)
{
	cJSON *request = cJSON_CreateObject(), *result = NULL;
	int rc;

	cJSON_AddStringToObject(request, "target", w->target);
	cJSON_AddStringToObject(request, "user", w->user);
	if (w->rid)
		cJSON_AddStringToObject(request, "rid", w->rid);
	if (w->rejoin)
		cJSON_AddTrueToObject(request, "rejoin");
	rc = control_ask(cli, w->rid ? "link_add" : "link_rm", request, &result);
	cJSON_Delete(request);
	cJSON_Delete(result);
	return rc;
}

static int change(const struct cli *cli, const struct link_word *w)
{
	int rc = link_change(cli, w);

	if (rc == 0 && cli->json)
		puts("{\"changed\":1}");
	else if (rc == 0 && !cli->quiet)
		puts(w->rid	 ? "linked"
		     : w->rejoin ? "unlinked; the rules look for an account again"
				 : "unlinked; unmanaged until it is linked again");
	return rc;
}

int cli_link(const struct cli *cli, int argc, char **argv)
{
	bool rejoin = argc == 4 && strcmp(argv[3], "--rejoin") == 0;

	if (argc == 2 && strcmp(argv[0], "ls") == 0)
		return list(cli, argv[1], NULL);
	if (argc == 4 && strcmp(argv[0], "ls") == 0 && strcmp(argv[2], "--user") == 0)
		return list(cli, argv[1], argv[3]);
	if (argc == 4 && strcmp(argv[0], "add") == 0)
		return change(cli, &(struct link_word){argv[1], argv[2], argv[3], false});
	if ((argc == 3 || rejoin) && strcmp(argv[0], "rm") == 0)
		return change(cli, &(struct link_word){argv[1], argv[2], NULL, rejoin});
	return cli_usage(usage);
}
