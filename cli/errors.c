/* `dirpipe errors ls`: what went wrong at the targets, to look at or to take away as CSV. */
#include "clock.h"
#include "control.h"
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 10000 };

static const char usage[] = "errors ls [--target TARGET] [--csv FILE]";

static const char *const columns[] = {"user",	"target", "account", "verdict",	  "state",
				      "reason", "detail", "ops",     "request_id"};
enum { COLUMNS = sizeof(columns) / sizeof(columns[0]) };

static const char *at_of(const cJSON *row, char out[CLOCK_RFC3339])
{
	clock_rfc3339(json_int(row, "at", 0), out);
	return out;
}

static void show(const cJSON *list)
{
	const cJSON *row;
	char at[CLOCK_RFC3339];

	cJSON_ArrayForEach (row, list)
		printf("%s %-16s %s %-10s %-9s %-24s %s\n", at_of(row, at),
		       control_text(row, "target", "?"), control_text(row, "user", "?"),
		       control_text(row, "account", "-"), control_text(row, "verdict", "?"),
		       control_text(row, "reason", "?"), control_text(row, "detail", ""));
}

/* RFC 4180. A text that a spreadsheet would take for a formula is led by an apostrophe: detail is the service's own. */
static void add_cell(const char *text, struct buf *out)
{
	buf_addc(out, '"');
	if (strchr("=+-@\t\r", *text) && *text)
		buf_addc(out, '\'');
	for (; *text; text++) {
		if (*text == '"')
			buf_addc(out, '"');
		buf_addc(out, *text);
	}
	buf_addc(out, '"');
}

static void add_csv(const cJSON *list, struct buf *out)
{
	const cJSON *row;
	char at[CLOCK_RFC3339];

	buf_adds(out, "time");
	for (size_t i = 0; i < COLUMNS; i++)
		buf_addf(out, ",%s", columns[i]);
	buf_adds(out, ",status\r\n");
	cJSON_ArrayForEach (row, list) {
		add_cell(at_of(row, at), out);
		for (size_t i = 0; i < COLUMNS; i++) {
			buf_addc(out, ',');
			add_cell(control_text(row, columns[i], ""), out);
		}
		buf_addf(out, ",%lld\r\n", (long long)json_int(row, "status", 0));
	}
}

static int write_csv(const cJSON *list, const char *path)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	FILE *out = strcmp(path, "-") == 0 ? stdout : fopen(path, "we");
	bool good;

	add_csv(list, &text);
	good = out && fwrite(text.p, 1, text.n, out) == text.n && fflush(out) == 0;
	if (!good)
		fprintf(stderr, "dirpipe: %s: %s\n", path, strerror(errno));
	if (out && out != stdout && fclose(out) != 0)
		good = false;
	return good ? EXIT_OK_ : EXIT_FAILED_;
}

int cli_errors(const struct cli *cli, int argc, char **argv)
{
	const char *target = NULL, *csv = NULL;
	cJSON *request, *result;
	int rc;

	if (argc < 1 || argc % 2 == 0 || strcmp(argv[0], "ls") != 0)
		return cli_usage(usage);
	for (int i = 1; i < argc; i += 2) {
		const char **to = strcmp(argv[i], "--target") == 0 ? &target
				  : strcmp(argv[i], "--csv") == 0  ? &csv
								   : NULL;

		if (!to)
			return cli_usage(usage);
		*to = argv[i + 1];
	}
	request = cJSON_CreateObject();
	if (target)
		cJSON_AddStringToObject(request, "target", target);
	cJSON_AddNumberToObject(request, "most", MOST);
	rc = control_ask(cli, "errors_ls", request, &result);
	cJSON_Delete(request);
	if (rc == 0 && csv)
		rc = write_csv(json_array(result, "errors"), csv);
	else if (rc == 0 && !control_print_json(cli, result))
		show(json_array(result, "errors"));
	cJSON_Delete(result);
	return rc;
}
