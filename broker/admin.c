#include "admin_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { CLIENTS_MAX = 64, REQUESTS_MAX = 64 };

struct admin {
	struct session *session;
	struct loop *loop;
	uv_pipe_t *listener;
	char *path;
	struct client *clients;
	size_t clients_n;
};

/* Freed when it is closed and its last request is answered. */
struct client {
	uv_pipe_t pipe;
	struct admin *admin; /* NULL: closing */
	struct buf in;
	size_t requests, writes; /* unanswered; not yet sent */
	bool ended;		 /* it says no more, but still listens */
	bool closed;
	struct client *next;
};

/* ---- clients ---- */

static void client_release(struct client *c)
{
	if (!c->closed || c->requests > 0)
		return;
	buf_done(&c->in);
	free(c);
}

static void client_closed(uv_handle_t *handle)
{
	struct client *c = handle->data;

	c->closed = true;
	client_release(c);
}

static void client_close(struct client *c)
{
	struct admin *a = c->admin;

	if (!a)
		return;
	for (struct client **at = &a->clients; *at; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		break;
	}
	a->clients_n--;
	c->admin = NULL;
	uv_close((uv_handle_t *)&c->pipe, client_closed);
}

/* Who has said all gets all answers first. */
static void client_settle(struct client *c)
{
	if (c->admin && c->ended && c->requests == 0 && c->writes == 0)
		client_close(c);
}

struct answer {
	uv_write_t write;
	struct buf text;
};

static void answer_written(uv_write_t *write, int status)
{
	struct answer *answer = write->data;
	struct client *c = write->handle->data;

	buf_done(&answer->text);
	free(answer);
	c->writes--;
	if (status < 0)
		client_close(c);
	client_settle(c);
}

static void client_send(struct client *c, const cJSON *value)
{
	struct answer *answer = mem_alloc(sizeof(*answer));
	uv_buf_t bytes;

	json_print(value, &answer->text);
	buf_addc(&answer->text, '\n');
	bytes = uv_buf_init(answer->text.p, (unsigned)answer->text.n);
	answer->write.data = answer;
	if (uv_write(&answer->write, (uv_stream_t *)&c->pipe, &bytes, 1, answer_written) == 0) {
		c->writes++;
		return;
	}
	buf_done(&answer->text);
	free(answer);
	client_close(c);
}

/* ---- requests ---- */

static void request_end(struct request *r, cJSON *answer)
{
	struct client *c = r->client;
	cJSON *id = cJSON_DetachItemFromObjectCaseSensitive(r->json, "id");

	cJSON_AddItemToObject(answer, "id", id ? id : cJSON_CreateNull());
	if (c->admin)
		client_send(c, answer);
	cJSON_Delete(answer);
	cJSON_Delete(r->json);
	cJSON_Delete(r->list);
	cJSON_Delete(r->holds);
	free(r);
	c->requests--;
	client_settle(c);
	client_release(c);
}

void request_done(struct request *r, cJSON *value)
{
	cJSON *answer = cJSON_CreateObject();

	cJSON_AddTrueToObject(answer, "ok");
	cJSON_AddItemToObject(answer, "result", value);
	request_end(r, answer);
}

void request_failed(struct request *r, const char *code, const char *message)
{
	cJSON *answer = cJSON_CreateObject(), *error;

	cJSON_AddFalseToObject(answer, "ok");
	error = cJSON_AddObjectToObject(answer, "error");
	cJSON_AddStringToObject(error, "code", code);
	cJSON_AddStringToObject(error, "message", message);
	request_end(r, answer);
}

static void take_line(struct client *c, struct slice line)
{
	struct request *r = mem_alloc(sizeof(*r));
	const char *why = NULL, *verb;

	c->requests++;
	r->session = c->admin->session;
	r->client = c;
	r->json = json_parse(line, &why);
	if (!cJSON_IsObject(r->json)) {
		cJSON_Delete(r->json);
		r->json = cJSON_CreateObject();
		request_failed(r, "bad_request", why ? why : "not a JSON object");
		return;
	}
	verb = json_text(r->json, "verb");
	if (!verb)
		request_failed(r, "bad_request", "verb is missing");
	else if (c->requests > REQUESTS_MAX)
		request_failed(r, "unavailable", "too many requests at once");
	else if (!verbs_call(r, verb))
		request_failed(r, "unknown_verb", verb);
}

/* ---- bytes ---- */

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct client *c = handle->data;
	enum { ROOM = 4096 };

	(void)suggested;
	buf_grow(&c->in, ROOM);
	c->in.n -= ROOM;
	*ret = uv_buf_init(c->in.p + c->in.n, ROOM);
}

static void take_lines(struct client *c)
{
	size_t at = 0;

	// NOLINTNEXTLINE(clang-analyzer-unix.Malloc): has_read keeps c by a request of its own
	while (c->admin && at < c->in.n) {
		const char *p = c->in.p + at;
		const char *end = memchr(p, '\n', c->in.n - at);

		if (!end)
			break;
		at += (size_t)(end - p) + 1;
		if (end > p)
			take_line(c, (struct slice){p, (size_t)(end - p)});
	}
	memmove(c->in.p, c->in.p + at, c->in.n - at);
	c->in.n -= at;
}

static void has_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
	struct client *c = stream->data;

	(void)bytes;
	if (n == UV_EOF) {
		uv_read_stop(stream);
		c->ended = true;
		client_settle(c);
		return;
	}
	if (n < 0) {
		client_close(c);
		return;
	}
	if (n == 0)
		return;
	c->in.n += (size_t)n;
	/* Freed only in a later turn, so c is good after a close. */
	c->requests++;
	take_lines(c);
	c->requests--;
	if (c->in.n >= ADMIN_LINE_MAX)
		client_close(c);
}

static void connected(uv_stream_t *listener, int status)
{
	struct admin *a = listener->data;
	struct client *c;

	if (status < 0)
		return;
	c = mem_alloc(sizeof(*c));
	uv_pipe_init(loop_uv(a->loop), &c->pipe, 0);
	c->pipe.data = c;
	c->admin = a;
	c->next = a->clients;
	a->clients = c;
	a->clients_n++;
	if (uv_accept(listener, (uv_stream_t *)&c->pipe) < 0 || a->clients_n > CLIENTS_MAX ||
	    uv_read_start((uv_stream_t *)&c->pipe, allocate, has_read) < 0)
		client_close(c);
}

/* ---- the socket ---- */

/* A socket file that nobody answers on is what a killed broker left. */
static int clear_stale(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd, rc;

	if (strlen(path) >= sizeof(at.sun_path))
		return -ENAMETOOLONG;
	memcpy(at.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	rc = connect(fd, (struct sockaddr *)&at, sizeof(at)) == 0 ? -EADDRINUSE : -errno;
	close(fd);
	if (rc == -ENOENT)
		return 0;
	if (rc != -ECONNREFUSED)
		return rc;
	return unlink(path) == 0 ? 0 : -errno;
}

static void listener_closed(uv_handle_t *handle)
{
	free(handle);
}

static int listen_at(struct admin *a)
{
	mode_t mask = umask(0177);
	int rc = clear_stale(a->path);

	if (rc == 0)
		rc = uv_pipe_bind(a->listener, a->path);
	umask(mask);
	if (rc == 0)
		rc = uv_listen((uv_stream_t *)a->listener, 16, connected);
	return rc;
}

struct admin *admin_new(struct loop *loop, const char *path, struct session *session,
			struct buf *why)
{
	struct admin *a = mem_alloc(sizeof(*a));
	int rc;

	a->loop = loop;
	a->session = session;
	a->path = mem_dup(path);
	a->listener = mem_alloc(sizeof(*a->listener));
	uv_pipe_init(loop_uv(loop), a->listener, 0);
	a->listener->data = a;
	rc = listen_at(a);
	if (rc == 0)
		return a;
	buf_addf(why, "control socket %s: %s", path,
		 rc == -EADDRINUSE ? "another broker answers there" : strerror(-rc));
	uv_close((uv_handle_t *)a->listener, listener_closed);
	free(a->path);
	free(a);
	return NULL;
}

void admin_free(struct admin *a)
{
	if (!a)
		return;
	while (a->clients)
		client_close(a->clients);
	unlink(a->path);
	uv_close((uv_handle_t *)a->listener, listener_closed);
	free(a->path);
	free(a);
}
