#include "http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>

enum { TIMEOUT_S = 30, CONNECTIONS = 64 };

struct http {
	struct session *session;
	const struct buf *shown;
	struct MHD_Daemon *daemon;
	uv_poll_t poll;
	uv_prepare_t prepare;
	uv_timer_t timer;
	unsigned open; /* handles not yet closed */
};

/* ---- answers ---- */

static enum MHD_Result reply(struct MHD_Connection *c, unsigned status, const char *type,
			     struct buf *body)
{
	size_t n = body->n;
	struct MHD_Response *response =
		MHD_create_response_from_buffer(n, buf_steal(body), MHD_RESPMEM_MUST_FREE);
	enum MHD_Result result;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, "Content-Type", type);
	MHD_add_response_header(response, "Cache-Control", "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	result = MHD_queue_response(c, status, response);
	MHD_destroy_response(response);
	return result;
}

static enum MHD_Result reply_text(struct MHD_Connection *c, unsigned status, const char *text)
{
	struct buf body = {0};

	buf_adds(&body, text);
	return reply(c, status, "text/plain; charset=utf-8", &body);
}

static enum MHD_Result reply_json(struct MHD_Connection *c, unsigned status, cJSON *value)
{
	struct buf body = {0};

	json_print(value, &body);
	buf_addc(&body, '\n');
	cJSON_Delete(value);
	return reply(c, status, "application/json", &body);
}

static enum MHD_Result metrics(struct http *h, struct MHD_Connection *c)
{
	struct buf body = {0};

	session_print_metrics(h->session, &body);
	return reply(c, MHD_HTTP_OK, "text/plain; version=0.0.4; charset=utf-8", &body);
}

/* This very answer shows that the loop turns. */
static enum MHD_Result alive(struct http *h, struct MHD_Connection *c)
{
	(void)h;
	return reply_text(c, MHD_HTTP_OK, "ok\n");
}

/* "?NAME" as well as "?NAME=anything" */
static bool asked_for(struct MHD_Connection *c, const char *name)
{
	return MHD_lookup_connection_value_n(c, MHD_GET_ARGUMENT_KIND, name, strlen(name), NULL,
					     NULL) == MHD_YES;
}

static enum MHD_Result ready(struct http *h, struct MHD_Connection *c)
{
	cJSON *value = cJSON_CreateObject(), *failed = session_failed(h->session);
	bool ok = cJSON_GetArraySize(failed) == 0;

	cJSON_AddBoolToObject(value, "ok", ok);
	cJSON_AddItemToObject(value, "failed", failed);
	if (asked_for(c, "verbose"))
		cJSON_AddItemToObject(value, "checks", session_checks(h->session));
	return reply_json(c, ok ? MHD_HTTP_OK : MHD_HTTP_SERVICE_UNAVAILABLE, value);
}

static enum MHD_Result stats(struct http *h, struct MHD_Connection *c)
{
	return reply_json(c, MHD_HTTP_OK, session_stats(h->session));
}

static enum MHD_Result version(struct http *h, struct MHD_Connection *c)
{
	cJSON *value = cJSON_CreateObject();

	(void)h;
	cJSON_AddStringToObject(value, "version", DIRPIPE_VERSION);
	return reply_json(c, MHD_HTTP_OK, value);
}

static bool from_loopback(struct MHD_Connection *c)
{
	const struct sockaddr *from =
		MHD_get_connection_info(c, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;

	if (from->sa_family == AF_INET6)
		return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)from)->sin6_addr);
	return from->sa_family == AF_INET &&
	       ntohl(((const struct sockaddr_in *)from)->sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
}

static enum MHD_Result config(struct http *h, struct MHD_Connection *c)
{
	struct buf body = {0};

	if (!from_loopback(c))
		return reply_text(c, MHD_HTTP_FORBIDDEN, "over loopback alone\n");
	buf_add(&body, h->shown->p, h->shown->n);
	return reply(c, MHD_HTTP_OK, "application/yaml; charset=utf-8", &body);
}

static const struct {
	const char *path;
	enum MHD_Result (*fn)(struct http *h, struct MHD_Connection *c);
} paths[] = {
	{"/metrics", metrics},	   {"/livez", alive},  {"/ping", alive},
	{"/healthz", alive},	   {"/readyz", ready}, {"/ready", ready},
	{"/health/ready", ready},  {"/stats", stats},  {"/version", version},
	{"/debug/config", config},
};

// NOLINTNEXTLINE(readability-function-size): eight parameters, as MHD_AccessHandlerCallback says
static enum MHD_Result answer(void *arg, struct MHD_Connection *c, const char *url,
			      const char *method, const char *protocol, const char *body,
			      size_t *body_n, void **state)
{
	static int headers_seen;

	(void)protocol;
	(void)body;
	/* The first call has the headers alone; what a GET carries is thrown away. */
	if (!*state) {
		*state = &headers_seen;
		return MHD_YES;
	}
	if (*body_n > 0) {
		*body_n = 0;
		return MHD_YES;
	}
	if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
		return reply_text(c, MHD_HTTP_METHOD_NOT_ALLOWED, "GET only\n");
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(paths[i].path, url) == 0)
			return paths[i].fn(arg, c);
	return reply_text(c, MHD_HTTP_NOT_FOUND, "not found\n");
}

/* ---- on the loop ---- */

static void polled(uv_poll_t *poll, int status, int events)
{
	struct http *h = poll->data;

	(void)status;
	(void)events;
	MHD_run(h->daemon);
}

static void timed(uv_timer_t *timer)
{
	struct http *h = timer->data;

	MHD_run(h->daemon);
}

/* Before the loop sleeps: how long may it? */
static void prepared(uv_prepare_t *prepare)
{
	struct http *h = prepare->data;
	MHD_UNSIGNED_LONG_LONG ms;

	if (MHD_get_timeout(h->daemon, &ms) != MHD_YES)
		uv_timer_stop(&h->timer);
	else if (!uv_is_active((uv_handle_t *)&h->timer) || uv_timer_get_due_in(&h->timer) > ms)
		uv_timer_start(&h->timer, timed, ms, 0);
}

/* "127.0.0.1:9470", "[::1]:9470" */
static int parse(const char *at, struct sockaddr_storage *ret)
{
	const char *colon = strrchr(at, ':');
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	char address[64], *end;
	bool bracket = at[0] == '[';
	size_t n;
	long port;

	if (!colon || colon == at || (bracket && colon[-1] != ']'))
		return -EINVAL;
	port = strtol(colon + 1, &end, 10);
	n = (size_t)(colon - at) - (bracket ? 2U : 0U);
	if (*end || end == colon + 1 || port < 0 || port > 65535 || n >= sizeof(address))
		return -EINVAL;
	memcpy(address, at + bracket, n);
	address[n] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (!bracket && inet_pton(AF_INET, address, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons((uint16_t)port);
		return 0;
	}
	if (bracket && inet_pton(AF_INET6, address, &v6->sin6_addr) == 1) {
		v6->sin6_family = AF_INET6;
		v6->sin6_port = htons((uint16_t)port);
		return 0;
	}
	return -EINVAL;
}

static void closed(uv_handle_t *handle)
{
	struct http *h = handle->data;

	if (--h->open == 0)
		free(h);
}

static void start(struct loop *loop, struct http *h)
{
	int fd = MHD_get_daemon_info(h->daemon, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;

	uv_poll_init(loop_uv(loop), &h->poll, fd);
	uv_timer_init(loop_uv(loop), &h->timer);
	uv_prepare_init(loop_uv(loop), &h->prepare);
	h->poll.data = h->timer.data = h->prepare.data = h;
	h->open = 3;
	uv_poll_start(&h->poll, UV_READABLE, polled);
	uv_prepare_start(&h->prepare, prepared);
}

struct http *http_new(struct loop *loop, const struct http_conf *conf, struct session *session,
		      struct buf *why)
{
	struct http *h = mem_alloc(sizeof(*h));
	struct sockaddr_storage address;
	unsigned flags = MHD_USE_EPOLL;

	h->session = session;
	h->shown = conf->shown;
	if (parse(conf->at, &address) < 0) {
		buf_addf(why, "broker.http: %s is not ADDRESS:PORT", conf->at);
		free(h);
		return NULL;
	}
	if (address.ss_family == AF_INET6)
		flags |= MHD_USE_IPv6;
	errno = 0;
	h->daemon = MHD_start_daemon(flags, 0, NULL, NULL, answer, h, MHD_OPTION_SOCK_ADDR,
				     (struct sockaddr *)&address, MHD_OPTION_CONNECTION_TIMEOUT,
				     (unsigned)TIMEOUT_S, MHD_OPTION_CONNECTION_LIMIT,
				     (unsigned)CONNECTIONS, MHD_OPTION_END);
	if (!h->daemon) {
		buf_addf(why, "broker.http: cannot listen on %s: %s", conf->at, strerror(errno));
		free(h);
		return NULL;
	}
	start(loop, h);
	return h;
}

void http_free(struct http *h)
{
	if (!h)
		return;
	uv_poll_stop(&h->poll);
	uv_close((uv_handle_t *)&h->poll, closed);
	uv_close((uv_handle_t *)&h->timer, closed);
	uv_close((uv_handle_t *)&h->prepare, closed);
	MHD_stop_daemon(h->daemon);
}
