/* A tiny HTTP server on a test's own loop: each request is given to one function, which says what goes back raw. */
#ifndef DIRPIPE_TEST_WEB_H
#define DIRPIPE_TEST_WEB_H

#include "buf.h"
#include "loop.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct web_request {
	char method[16], path[512];
	struct slice head; /* all header lines */
	struct slice body;
};

struct web_reply {
	struct buf raw; /* as it goes over the wire */
	bool silent;	/* nothing goes back */
	bool close;	/* close after what was written */
	bool reset;	/* RST instead of FIN */
};

typedef void (*web_fn)(void *arg, const struct web_request *request, struct web_reply *reply);

struct web {
	uv_tcp_t listener;
	struct loop *loop;
	web_fn fn;
	void *arg;
	int port, connections, requests;
	bool close_idle; /* an idle connection is closed right after an answer, without saying so */
};

struct web_peer {
	uv_tcp_t tcp;
	struct web *web;
	struct buf in;
};

static inline void web_answer(struct web_reply *r, int status, const char *headers,
			      const char *body)
{
	buf_addf(&r->raw, "HTTP/1.1 %d Test\r\n%sContent-Length: %zu\r\n\r\n%s", status,
		 headers ? headers : "", strlen(body), body);
}

static inline bool web_has(const struct web_request *r, const char *text)
{
	return r->head.n > 0 && memmem(r->head.p, r->head.n, text, strlen(text)) != NULL;
}

static inline void web_peer_closed(uv_handle_t *h)
{
	struct web_peer *p = h->data;

	buf_done(&p->in);
	free(p);
}

static inline void web_peer_close(struct web_peer *p)
{
	if (!uv_is_closing((uv_handle_t *)&p->tcp))
		uv_close((uv_handle_t *)&p->tcp, web_peer_closed);
}

static inline void web_alloc(uv_handle_t *h, size_t n, uv_buf_t *b)
{
	(void)h;
	*b = uv_buf_init(malloc(n), (unsigned)n);
}

struct web_write {
	uv_write_t write;
	struct web_peer *peer;
	struct web_reply reply;
};

static inline void web_written(uv_write_t *w, int status)
{
	struct web_write *ww = w->data;

	if (status == 0 && (ww->reply.close || ww->peer->web->close_idle))
		web_peer_close(ww->peer);
	buf_done(&ww->reply.raw);
	free(ww);
}

static inline void web_reset(struct web_peer *p)
{
	struct linger l = {1, 0};
	uv_os_fd_t fd;

	if (uv_fileno((uv_handle_t *)&p->tcp, &fd) == 0)
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof(l));
	web_peer_close(p);
}

static inline void web_serve(struct web_peer *p, const struct web_request *r)
{
	struct web_write *ww = mem_alloc(sizeof(*ww));

	p->web->requests++;
	p->web->fn(p->web->arg, r, &ww->reply);
	ww->peer = p;
	ww->write.data = ww;
	if (ww->reply.reset)
		web_reset(p);
	else if (!ww->reply.silent && ww->reply.raw.n > 0) {
		uv_buf_t b = uv_buf_init(ww->reply.raw.p, (unsigned)ww->reply.raw.n);

		if (uv_write(&ww->write, (uv_stream_t *)&p->tcp, &b, 1, web_written) == 0)
			return;
	} else if (ww->reply.close)
		web_peer_close(p);
	buf_done(&ww->reply.raw);
	free(ww);
}

/* Length of the first whole request in p->in, 0: not yet whole. */
static inline size_t web_whole(struct web_peer *p, struct web_request *r)
{
	char *end = p->in.n ? memmem(p->in.p, p->in.n, "\r\n\r\n", 4) : NULL;
	size_t body = 0;

	if (!end)
		return 0;
	r->head = (struct slice){p->in.p, (size_t)(end - p->in.p) + 2};
	for (const char *q = p->in.p; q < end; q++) {
		if (strncasecmp(q, "content-length:", 15) == 0)
			body = strtoul(q + 15, NULL, 10);
	}
	if (p->in.n < r->head.n + 2 + body)
		return 0;
	r->body = (struct slice){end + 4, body};
	const char *sp = memchr(p->in.p, ' ', r->head.n), *sp2;

	snprintf(r->method, sizeof(r->method), "%.*s", (int)(sp - p->in.p), p->in.p);
	sp2 = memchr(sp + 1, ' ', 500);
	snprintf(r->path, sizeof(r->path), "%.*s", (int)(sp2 - sp - 1), sp + 1);
	return r->head.n + 2 + body;
}

static inline void web_read(uv_stream_t *s, ssize_t n, const uv_buf_t *b)
{
	struct web_peer *p = s->data;
	struct web_request r;
	size_t used;

	if (n < 0)
		web_peer_close(p);
	else
		buf_add(&p->in, b->base, (size_t)n);
	free(b->base);
	while (n > 0 && (used = web_whole(p, &r)) > 0) {
		web_serve(p, &r);
		memmove(p->in.p, p->in.p + used, p->in.n - used);
		p->in.n -= used;
	}
}

static inline void web_connected(uv_stream_t *listener, int status)
{
	struct web *w = listener->data;
	struct web_peer *p = mem_alloc(sizeof(*p));

	(void)status;
	p->web = w;
	uv_tcp_init(loop_uv(w->loop), &p->tcp);
	p->tcp.data = p;
	uv_accept(listener, (uv_stream_t *)&p->tcp);
	w->connections++;
	uv_read_start((uv_stream_t *)&p->tcp, web_alloc, web_read);
}

static inline void web_start(struct web *w, struct loop *loop, web_fn fn, void *arg)
{
	struct sockaddr_in a;
	int n = sizeof(a);

	*w = (struct web){.loop = loop, .fn = fn, .arg = arg};
	uv_tcp_init(loop_uv(loop), &w->listener);
	w->listener.data = w;
	uv_ip4_addr("127.0.0.1", 0, &a);
	uv_tcp_bind(&w->listener, (struct sockaddr *)&a, 0);
	uv_listen((uv_stream_t *)&w->listener, 64, web_connected);
	uv_tcp_getsockname(&w->listener, (struct sockaddr *)&a, &n);
	w->port = ntohs(a.sin_port);
}

static inline void web_peer_end(uv_handle_t *h, void *arg)
{
	struct web *w = arg;

	if (h->type == UV_TCP && h != (uv_handle_t *)&w->listener && h->data &&
	    ((struct web_peer *)h->data)->web == w)
		web_peer_close(h->data);
}

/* Closes all; the loop must turn once more before it is freed. */
static inline void web_stop(struct web *w)
{
	uv_walk(loop_uv(w->loop), web_peer_end, w);
	uv_close((uv_handle_t *)&w->listener, NULL);
	uv_run(loop_uv(w->loop), UV_RUN_NOWAIT);
}

/* Turns the loop until *flag or the deadline; false: the deadline. */
static inline bool web_until(struct loop *loop, const bool *flag, int64_t ms)
{
	int64_t end = (int64_t)(uv_hrtime() / 1000000) + ms;

	while (!*flag && (int64_t)(uv_hrtime() / 1000000) < end)
		uv_run(loop_uv(loop), UV_RUN_ONCE);
	return *flag;
}

#endif
