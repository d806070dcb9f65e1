/* `dirpipe check`: the programs check themselves (they have the libraries and the drivers); this runs them one after the other. */
#include "cli.h"
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* mode: --check or -t. */
static int run_program(const struct cli *cli, const char *program, const char *mode,
		       const char *name)
{
	CLEANUP(free_cleanup) char *path = cli_program(program);
	pid_t pid;
	int status;

	fflush(stdout);
	pid = fork();
	if (pid < 0) {
		fprintf(stderr, "dirpipe: cannot start %s: %s\n", program, strerror(errno));
		return 1;
	}
	if (pid == 0) {
		execlp(path, program, "--config", cli->config, mode, name, (char *)NULL);
		fprintf(stderr, "dirpipe: cannot run %s: %s\n", path, strerror(errno));
		_exit(EXIT_UNAVAILABLE_);
	}
	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return 1;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}

static const char *program_of(const char *sections)
{
	return strcmp(sections, "sources") == 0 ? "dirpipe-collector" : "dirpipe-worker";
}

static int run_all(const struct cli *cli, const struct conf *conf, const char *sections,
		   const char *mode)
{
	const char *program = program_of(sections);
	bool titles = !cli->quiet && strcmp(mode, "--check") == 0;
	const struct conf_node *root = conf_root(conf);
	const char *name;
	int worst = 0;

	for (size_t i = 0; conf_at(root, sections, i, &name); i++) {
		if (titles)
			printf("%.*s %s\n", (int)strlen(sections) - 1, sections, name);
		int rc = run_program(cli, program, mode, name);

		worst = rc > worst ? rc : worst;
	}
	return worst;
}

int cli_test_programs(const struct cli *cli, const struct conf *conf)
{
	int rc = run_all(cli, conf, "sources", "-t"), other = run_all(cli, conf, "targets", "-t");

	return other > rc ? other : rc;
}

int cli_check(const struct cli *cli, int argc, char **argv)
{
	bool source = argc == 2 && strcmp(argv[0], "source") == 0;
	bool target = argc == 2 && strcmp(argv[0], "target") == 0;
	struct conf *conf;
	int rc, other;

	if (argc != 0 && !source && !target)
		return cli_usage("check [source|target NAME]");
	conf = cli_conf(cli, false);
	if (!conf)
		return EXIT_CONFIG_;
	if (argc == 0) {
		rc = run_all(cli, conf, "sources", "--check");
		other = run_all(cli, conf, "targets", "--check");
		rc = other > rc ? other : rc;
	} else if (!conf_named(conf_root(conf), source ? "sources" : "targets", argv[1])) {
		fprintf(stderr, "dirpipe: there is no %s named %s in %s\n", argv[0], argv[1],
			cli->config);
		rc = EXIT_USAGE_;
	} else {
		rc = run_program(cli, program_of(source ? "sources" : "targets"), "--check",
				 argv[1]);
	}
	conf_free(conf);
	return rc;
}
