#include "lines.h"
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int read_all(int fd, void (*take)(void *arg, const cJSON *line), void *arg)
{
	FILE *in = fdopen(fd, "r");
	char *text = NULL;
	size_t room = 0;
	ssize_t n;
	int rc = 0;

	if (!in)
		return -errno;
	while ((n = getline(&text, &room, in)) > 0) {
		cJSON *line = json_parse((struct slice){text, (size_t)n - 1}, NULL);

		if (cJSON_IsObject(line))
			take(arg, line);
		else
			rc = -EBADMSG;
		cJSON_Delete(line);
	}
	free(text);
	fclose(in);
	return rc;
}

static int exit_code(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0) {
		if (errno != EINTR)
			return EXIT_FAILED_;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILED_;
}

int lines_run(char *const argv[], void (*take)(void *arg, const cJSON *line), void *arg)
{
	CLEANUP(free_cleanup) char *path = cli_program(argv[0]);
	int ends[2], rc, code;
	pid_t pid;

	fflush(stdout);
	if (pipe(ends) < 0 || (pid = fork()) < 0) {
		fprintf(stderr, "dirpipe: cannot start %s: %s\n", argv[0], strerror(errno));
		return EXIT_FAILED_;
	}
	if (pid == 0) {
		dup2(ends[1], STDOUT_FILENO);
		close(ends[0]);
		close(ends[1]);
		execvp(path, argv);
		fprintf(stderr, "dirpipe: cannot run %s: %s\n", path, strerror(errno));
		_exit(EXIT_UNAVAILABLE_);
	}
	close(ends[1]);
	rc = read_all(ends[0], take, arg);
	code = exit_code(pid);
	return code == 0 && rc < 0 ? EXIT_FAILED_ : code;
}
