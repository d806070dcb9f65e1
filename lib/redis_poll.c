#include "redis_poll.h"

#include "buf.h"

#include <stdlib.h>

/* Outlives the context until libuv has closed the handle. */
struct redis_poll {
	uv_poll_t handle;
	redisAsyncContext *ac; /* NULL: hiredis is done with it */
	int events;
};

static void closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void io(uv_poll_t *handle, int status, int events)
{
	struct redis_poll *p = handle->data;

	/* POLLERR comes as a status alone: hiredis finds the socket's error when it is made to look. */
	if (status < 0)
		events = p->events;
	if ((events & UV_READABLE) && p->ac)
		redisAsyncHandleRead(p->ac);
	if ((events & UV_WRITABLE) && p->ac)
		redisAsyncHandleWrite(p->ac);
}

static void want(struct redis_poll *p, int events)
{
	p->events = events;
	if (!p->ac)
		return;
	if (events)
		uv_poll_start(&p->handle, events, io);
	else
		uv_poll_stop(&p->handle);
}

static void add_read(void *data)
{
	struct redis_poll *p = data;

	want(p, p->events | UV_READABLE);
}

static void del_read(void *data)
{
	struct redis_poll *p = data;

	want(p, p->events & ~UV_READABLE);
}

static void add_write(void *data)
{
	struct redis_poll *p = data;

	want(p, p->events | UV_WRITABLE);
}

static void del_write(void *data)
{
	struct redis_poll *p = data;

	want(p, p->events & ~UV_WRITABLE);
}

/* hiredis closes the descriptor after this. */
static void clean_up(void *data)
{
	struct redis_poll *p = data;

	p->ac = NULL;
	uv_poll_stop(&p->handle);
	uv_close((uv_handle_t *)&p->handle, closed);
}

int redis_poll_attach(uv_loop_t *loop, redisAsyncContext *ac)
{
	struct redis_poll *p = mem_alloc(sizeof(*p));
	int rc = uv_poll_init(loop, &p->handle, ac->c.fd);

	if (rc < 0) {
		free(p);
		return rc;
	}
	p->ac = ac;
	p->handle.data = p;
	ac->ev.data = p;
	ac->ev.addRead = add_read;
	ac->ev.delRead = del_read;
	ac->ev.addWrite = add_write;
	ac->ev.delWrite = del_write;
	ac->ev.cleanup = clean_up;
	return 0;
}
