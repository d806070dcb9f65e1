#include "control.h"
#include "service.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

enum { ANSWER_SECONDS = 30, ANSWER_MAX = 64 << 20 };

static int connect_to(const char *path)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct timeval patience = {ANSWER_SECONDS, 0};
	int fd, rc;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	if (connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0) {
		rc = -errno;
		close(fd);
		return rc;
	}
	return fd;
}

static int send_line(int fd, const char *verb, const cJSON *request)
{
	CLEANUP(buf_cleanup) struct buf line = {0};
	cJSON *whole = request ? cJSON_Duplicate(request, true) : cJSON_CreateObject();
	size_t sent = 0;

	cJSON_AddStringToObject(whole, "verb", verb);
	cJSON_AddNumberToObject(whole, "id", 1);
	json_print(whole, &line);
	cJSON_Delete(whole);
	buf_addc(&line, '\n');
	while (sent < line.n) {
		ssize_t n = send(fd, line.p + sent, line.n - sent, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		sent += (size_t)n;
	}
	return 0;
}

static int read_line(int fd, struct buf *line)
{
	char piece[16384];

	while (line->n < ANSWER_MAX) {
		ssize_t n = recv(fd, piece, sizeof(piece), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		if (n == 0)
			return -ECONNRESET;
		buf_add(line, piece, (size_t)n);
		if (line->p[line->n - 1] == '\n')
			return 0;
	}
	return -EMSGSIZE;
}

static int judge(struct slice line, cJSON **ret_result)
{
	const char *why = "";
	cJSON *answer = json_parse(line, &why);
	const cJSON *error;
	int rc;

	if (!answer) {
		fprintf(stderr, "dirpipe: the broker's answer is broken: %s\n", why);
		return EXIT_FAILED_;
	}
	if (json_true(answer, "ok", false)) {
		*ret_result = cJSON_DetachItemFromObjectCaseSensitive(answer, "result");
		rc = 0;
	} else {
		const char *code;

		error = json_object(answer, "error");
		code = error ? json_text(error, "code") : NULL;
		why = error ? json_text(error, "message") : NULL;
		fprintf(stderr, "dirpipe: %s\n", why ? why : "the broker refused without a word");
		rc = code && strcmp(code, "unavailable") == 0	? EXIT_UNAVAILABLE_
		     : code && strcmp(code, "busy") == 0	? EXIT_LATER_
		     : code && strcmp(code, "bad_request") == 0 ? EXIT_USAGE_
								: EXIT_FAILED_;
	}
	cJSON_Delete(answer);
	return rc;
}

static int ask_at(const char *path, const char *verb, const cJSON *request, cJSON **ret_result)
{
	CLEANUP(buf_cleanup) struct buf line = {0};
	int rc, fd = connect_to(path);

	if (fd < 0) {
		fprintf(stderr, "dirpipe: no broker answers at %s: %s. Does it run?\n", path,
			strerror(-fd));
		return EXIT_UNAVAILABLE_;
	}
	rc = send_line(fd, verb, request);
	if (rc == 0)
		rc = read_line(fd, &line);
	close(fd);
	if (rc < 0) {
		fprintf(stderr, "dirpipe: the broker at %s did not answer: %s\n", path,
			strerror(-rc));
		return EXIT_UNAVAILABLE_;
	}
	return judge(buf_slice(&line), ret_result);
}

int control_ask(const struct cli *cli, const char *verb, const cJSON *request, cJSON **ret_result)
{
	struct conf *conf;
	int rc;

	*ret_result = NULL;
	if (cli->socket)
		return ask_at(cli->socket, verb, request, ret_result);
	conf = cli_conf(cli, false);
	if (!conf)
		return EXIT_CONFIG_;
	rc = ask_at(conf_text(conf_section(conf_root(conf), "broker"), "control"), verb, request,
		    ret_result);
	conf_free(conf);
	return rc;
}

bool control_print_json(const struct cli *cli, const cJSON *result)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	if (!cli->json)
		return false;
	json_print(result, &text);
	puts(text.p);
	return true;
}

const char *control_text(const cJSON *object, const char *name, const char *otherwise)
{
	const char *text = json_text(object, name);

	return text && *text ? text : otherwise;
}
