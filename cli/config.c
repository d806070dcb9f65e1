#include "cli.h"
#include "service.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct conf *cli_conf(const struct cli *cli, bool secrets)
{
	CLEANUP(buf_cleanup) struct buf errors = {0};
	struct conf *conf =
		secrets ? conf_load(cli->config, &errors) : conf_load_for(cli->config, "", &errors);

	if (!conf) {
		buf_addc(&errors, '\n');
		while (errors.n > 1 && errors.p[errors.n - 2] == '\n')
			errors.p[--errors.n] = '\0';
		fputs(errors.p, stderr);
	}
	return conf;
}

char *cli_program(const char *name)
{
	char self[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
	struct buf path = {0};

	if (n > 0) {
		self[n] = '\0';
		char *slash = strrchr(self, '/');

		if (slash) {
			buf_add(&path, self, (size_t)(slash - self) + 1);
			buf_adds(&path, name);
			if (access(path.p, X_OK) == 0)
				return buf_steal(&path);
			buf_clear(&path);
		}
	}
	buf_adds(&path, name);
	return buf_steal(&path);
}

static int explain(const char *key)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	int rc = conf_explain(key, &text);

	if (rc == -ENOENT)
		fprintf(stderr, "dirpipe: no such key: %s. Near it: %s\n", key,
			text.p ? text.p : "nothing");
	else
		printf("%s\n", text.p);
	return rc < 0 ? EXIT_USAGE_ : 0;
}

int cli_config(const struct cli *cli, int argc, char **argv)
{
	static const char usage[] = "config check | show | explain KEY";
	struct conf *conf;
	int rc = 0;

	if (argc == 2 && strcmp(argv[0], "explain") == 0)
		return explain(argv[1]);
	if (argc != 1 || (strcmp(argv[0], "check") != 0 && strcmp(argv[0], "show") != 0))
		return cli_usage(usage);
	conf = cli_conf(cli, strcmp(argv[0], "check") == 0);
	if (!conf)
		return EXIT_CONFIG_;
	if (strcmp(argv[0], "show") == 0) {
		CLEANUP(buf_cleanup) struct buf text = {0};

		conf_show(conf, &text);
		fputs(text.p ? text.p : "", stdout);
	} else {
		rc = cli_test_programs(cli, conf);
		if (rc == 0 && !cli->quiet)
			printf("%s: good\n", cli->config);
	}
	conf_free(conf);
	return rc;
}
