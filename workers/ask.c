#include "ask.h"

#include <stdlib.h>
#include <string.h>

enum { ANSWER_MOST = 256 << 20, PIECE = 256 << 10 };

struct question {
	struct question *next;
	double id;
	ask_fn fn;
	void *arg;
};

/* The pipe outlives its owner until it is closed. */
struct ask {
	struct loop *loop;
	uv_pipe_t pipe;
	uv_connect_t connect;
	struct loop_after *tell; /* those who asked after the cut */
	struct question *first;
	struct buf in, unsent; /* unsent: until it is connected */
	size_t searched;       /* no end of a line in so much of in */
	double last_id;
	bool connected, over, closed, freed;
	struct buf why;
};

static void release(struct ask *a)
{
	if (!a->closed || !a->freed)
		return;
	buf_done(&a->in);
	buf_done(&a->unsent);
	buf_done(&a->why);
	free(a);
}

static void on_closed(uv_handle_t *handle)
{
	struct ask *a = handle->data;

	a->closed = true;
	release(a);
}

/* Everybody who still waits hears why. */
static void on_tell(void *arg)
{
	struct ask *a = arg;
	struct question *list = a->first;

	a->first = NULL;
	while (list) {
		struct question *q = list;

		list = q->next;
		q->fn(q->arg, NULL, a->why.p);
		free(q);
	}
}

static void cut(struct ask *a, const char *why)
{
	if (a->over)
		return;
	a->over = true;
	buf_adds(&a->why, why);
	uv_close((uv_handle_t *)&a->pipe, on_closed);
	if (!a->freed)
		loop_after_ask(a->tell);
}

static struct question *question_take(struct ask *a, double id)
{
	for (struct question **at = &a->first; *at; at = &(*at)->next) {
		struct question *q = *at;

		if (q->id > id || q->id < id)
			continue;
		*at = q->next;
		return q;
	}
	return NULL;
}

static void take_line(struct ask *a, struct slice line)
{
	cJSON *answer = json_parse(line, NULL);
	const cJSON *id = json_get(answer, "id"), *error = json_object(answer, "error");
	struct question *q = cJSON_IsNumber(id) ? question_take(a, id->valuedouble) : NULL;
	const char *why = json_text(error, "message");

	if (q && json_true(answer, "ok", false))
		q->fn(q->arg, json_get(answer, "result"), NULL);
	else if (q)
		q->fn(q->arg, NULL, why ? why : "the broker refused without a word");
	free(q);
	cJSON_Delete(answer);
}

static void take_lines(struct ask *a)
{
	while (!a->freed && a->in.n > a->searched) {
		char *end = memchr(a->in.p + a->searched, '\n', a->in.n - a->searched);

		if (!end) {
			a->searched = a->in.n;
			break;
		}
		size_t n = (size_t)(end - a->in.p);

		take_line(a, (struct slice){a->in.p, n});
		memmove(a->in.p, a->in.p + n + 1, a->in.n - n - 1);
		a->in.n -= n + 1;
		a->searched = 0;
	}
}

static void allocate(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
	struct ask *a = handle->data;

	(void)suggested;
	buf_grow(&a->in, PIECE);
	a->in.n -= PIECE;
	*ret = uv_buf_init(a->in.p + a->in.n, PIECE);
}

static void has_read(uv_stream_t *stream, ssize_t n, const uv_buf_t *bytes)
{
	struct ask *a = stream->data;

	(void)bytes;
	if (n < 0) {
		cut(a, "the broker closed the control socket");
		return;
	}
	a->in.n += (size_t)n;
	take_lines(a);
	if (a->in.n > ANSWER_MOST)
		cut(a, "the broker's answer is too long");
}

struct sent {
	uv_write_t write;
	char *text;
};

static void on_written(uv_write_t *write, int status)
{
	struct sent *sent = write->data;
	struct ask *a = write->handle->data;

	if (status < 0)
		cut(a, "the broker does not read the control socket");
	free(sent->text);
	free(sent);
}

static void flush(struct ask *a)
{
	struct sent *sent;
	size_t n = a->unsent.n;
	uv_buf_t bytes;

	if (!a->connected || n == 0)
		return;
	sent = mem_alloc(sizeof(*sent));
	sent->text = buf_steal(&a->unsent);
	sent->write.data = sent;
	bytes = uv_buf_init(sent->text, (unsigned)n);
	if (uv_write(&sent->write, (uv_stream_t *)&a->pipe, &bytes, 1, on_written) == 0)
		return;
	free(sent->text);
	free(sent);
	cut(a, "the broker does not read the control socket");
}

static void on_connected(uv_connect_t *connect, int status)
{
	struct ask *a = connect->data;

	if (a->over)
		return;
	if (status < 0) {
		cut(a, "no broker answers at the control socket");
		return;
	}
	a->connected = true;
	uv_read_start((uv_stream_t *)&a->pipe, allocate, has_read);
	flush(a);
}

struct ask *ask_new(struct loop *loop, const char *path)
{
	struct ask *a = mem_alloc(sizeof(*a));

	a->loop = loop;
	a->tell = loop_after_new(loop, on_tell, a);
	uv_pipe_init(loop_uv(loop), &a->pipe, 0);
	a->pipe.data = a;
	a->connect.data = a;
	uv_pipe_connect(&a->connect, &a->pipe, path, on_connected);
	return a;
}

void ask_free(struct ask *a)
{
	if (!a)
		return;
	while (a->first) {
		struct question *q = a->first;

		a->first = q->next;
		free(q);
	}
	loop_after_free(a->tell);
	a->freed = true;
	if (!a->over) {
		a->over = true;
		uv_close((uv_handle_t *)&a->pipe, on_closed);
	}
	release(a);
}

void ask_put(struct ask *a, const char *verb, cJSON *fields, ask_fn fn, void *arg)
{
	struct question *q = mem_alloc(sizeof(*q)), **at = &a->first;

	*q = (struct question){.id = ++a->last_id, .fn = fn, .arg = arg};
	while (*at)
		at = &(*at)->next;
	*at = q;
	cJSON_AddStringToObject(fields, "verb", verb);
	cJSON_AddNumberToObject(fields, "id", q->id);
	if (a->over) {
		loop_after_ask(a->tell);
	} else {
		json_print(fields, &a->unsent);
		buf_addc(&a->unsent, '\n');
		flush(a);
	}
	cJSON_Delete(fields);
}
