#include "http.h"

#include "clock.h"
#include "secret.h"

#include <assert.h>
#include <curl/curl.h>
#include <stdlib.h>
#include <string.h>

enum { HEADERS_MAX = 64 << 10 };

struct call {
	struct call *next; /* in the waiting list, or in the list of spare ones */
	struct http *http;
	CURL *easy; /* while it runs */
	enum http_method method;
	struct curl_slist *headers;
	struct buf url, bearer, body, answer, answer_headers;
	http_fn fn;
	void *arg;
	int64_t started_ms, deadline_ms;
	bool fresh, too_large, cut;
	char why[CURL_ERROR_SIZE]; /* in curl's words, with the host; "" where it has none */
};

struct watch {
	uv_poll_t poll;
	struct http *http;
	curl_socket_t fd;
};

struct http {
	struct loop *loop;
	struct http_conf conf;
	CURLM *multi;
	struct loop_timer *timer; /* curl's */
	struct loop_timer *
		patience; /* a deadline of those that wait, or an earlier one of those that waited */
	int64_t patience_ms, patience_set_ms;
	struct loop_after *reap;
	struct call *waiting, **waiting_end; /* beyond the connections' cap */
	struct call *spare;		     /* calls keep their buffers */
	struct call **running;		     /* conf.connections slots */
	CURL **easies;			     /* those that do not run keep their options */
	size_t running_n, waiting_n, easies_n;
	uint64_t connections, requests;
};

static void http_pump(struct http *h);

/* ---- the loop's side of curl multi ---- */

static void on_ready(uv_poll_t *poll, int status, int events)
{
	struct watch *w = poll->data;
	int flags = status < 0 ? CURL_CSELECT_ERR : 0, running;

	if (events & UV_READABLE)
		flags |= CURL_CSELECT_IN;
	if (events & UV_WRITABLE)
		flags |= CURL_CSELECT_OUT;
	/* w may be closed by the call below */
	struct http *h = w->http;

	curl_multi_socket_action(h->multi, w->fd, flags, &running);
	loop_after_ask(h->reap);
}

static void watch_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *known)
{
	struct http *h = arg;
	struct watch *w = known;
	int events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (!w)
			return 0;
		uv_poll_stop(&w->poll);
		curl_multi_assign(h->multi, fd, NULL);
		uv_close((uv_handle_t *)&w->poll, watch_closed);
		return 0;
	}
	if (!w) {
		w = mem_alloc(sizeof(*w));
		*w = (struct watch){.http = h, .fd = fd};
		if (uv_poll_init_socket(loop_uv(h->loop), &w->poll, fd) != 0) {
			free(w);
			return -1;
		}
		w->poll.data = w;
		curl_multi_assign(h->multi, fd, w);
	}
	if (what & CURL_POLL_IN)
		events |= UV_READABLE;
	if (what & CURL_POLL_OUT)
		events |= UV_WRITABLE;
	uv_poll_start(&w->poll, events, on_ready);
	return 0;
}

/* Never socket_action from inside this callback: 0 means "next turn". */
static int on_timeout_wish(CURLM *multi, long timeout_ms, void *arg)
{
	struct http *h = arg;

	(void)multi;
	loop_timer_set(h->timer, timeout_ms);
	return 0;
}

static void on_timer(void *arg)
{
	struct http *h = arg;
	int running;

	curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	loop_after_ask(h->reap);
}

/* ---- one call ---- */

static size_t take_body(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t bytes = size * n;

	if (c->answer.n + bytes > c->http->conf.body_max) {
		c->too_large = true;
		return 0;
	}
	buf_add(&c->answer, p, bytes);
	return bytes;
}

static size_t take_header(char *p, size_t size, size_t n, void *arg)
{
	struct call *c = arg;
	size_t bytes = size * n;

	if (c->answer_headers.n + bytes > HEADERS_MAX) {
		c->too_large = true;
		return 0;
	}
	if (bytes > 5 && strncasecmp(p, "HTTP/", 5) == 0)
		buf_clear(&c->answer_headers); /* after a 1xx the real headers follow */
	buf_add(&c->answer_headers, p, bytes);
	return bytes;
}

/* A body that may change something, and may be carried out a second time. */
static bool must_go_once(const struct call *c)
{
	return c->method == HTTP_POST || c->method == HTTP_PUT || c->method == HTTP_PATCH;
}

/* curl takes the time once for many requests: a process that is stopped and continued in between would send what has not
 * been sent yet although its lease is long over. So the clock is asked once more right before each request. And curl sends
 * a request anew by itself when a kept connection turns out dead before an answer: a service may have carried it out all
 * the same, so what began to go is never sent twice. */
static int may_go(void *arg, char *from, char *to, int from_port, int to_port)
{
	struct call *c = arg;
	long sent = 0;

	(void)from;
	(void)to;
	(void)from_port;
	(void)to_port;
	if (must_go_once(c)) {
		curl_easy_getinfo(c->easy, CURLINFO_REQUEST_SIZE, &sent);
		c->cut = sent > 0;
	}
	return !c->cut && clock_boot_ms() < c->deadline_ms ? CURL_PREREQFUNC_OK
							   : CURL_PREREQFUNC_ABORT;
}

/* What is the same for all requests. */
static CURL *easy_new(const struct http_conf *conf)
{
	CURL *e = curl_easy_init();

	assert(e);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	if (conf->ca_file)
		curl_easy_setopt(e, CURLOPT_CAINFO, conf->ca_file);
	curl_easy_setopt(e, CURLOPT_USERAGENT, conf->user_agent);
	curl_easy_setopt(e, CURLOPT_CONNECTTIMEOUT_MS, (long)conf->connect_timeout_ms);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_PREREQFUNCTION, may_go);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take_body);
	curl_easy_setopt(e, CURLOPT_HEADERFUNCTION, take_header);
	return e;
}

/* A handle takes some 25 kB: there is one for each connection, not for each request that waits. The body goes with the
 * headers, in one record where it fits. */
static void call_start(struct call *c, int64_t now)
{
	struct http *h = c->http;
	CURL *e = h->easies_n > 0 ? h->easies[--h->easies_n] : easy_new(&h->conf);

	c->easy = e;
	curl_easy_setopt(e, CURLOPT_PREREQDATA, c);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, c);
	curl_easy_setopt(e, CURLOPT_HEADERDATA, c);
	curl_easy_setopt(e, CURLOPT_PRIVATE, c);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->why);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, c->headers);
	curl_easy_setopt(e, CURLOPT_URL, c->url.p);
	if (c->body.n > 0 || must_go_once(c)) {
		curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)c->body.n);
		curl_easy_setopt(e, CURLOPT_POSTFIELDS, c->body.n > 0 ? c->body.p : "");
	} else {
		curl_easy_setopt(e, CURLOPT_HTTPGET, 1L);
	}
	curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, http_method_name(c->method));
	curl_easy_setopt(e, CURLOPT_FRESH_CONNECT, c->fresh ? 1L : 0L);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)(c->deadline_ms - now));
	h->running[h->running_n++] = c;
	curl_multi_add_handle(h->multi, e);
}

/* Nothing of the call is borrowed by the handle any more. */
static void easy_give_back(struct call *c)
{
	struct http *h = c->http;

	curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
	curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, NULL);
	curl_easy_setopt(c->easy, CURLOPT_ERRORBUFFER, NULL);
	h->easies[h->easies_n++] = c->easy;
	c->easy = NULL;
}

static struct call *call_take(struct http *h)
{
	struct call *c = h->spare;

	if (c) {
		h->spare = c->next;
		return c;
	}
	c = mem_alloc(sizeof(*c));
	c->http = h;
	return c;
}

static void call_free(struct call *c)
{
	curl_slist_free_all(c->headers);
	curl_easy_cleanup(c->easy);
	buf_done(&c->url);
	buf_done(&c->bearer);
	buf_done(&c->body);
	buf_done(&c->answer);
	buf_done(&c->answer_headers);
	free(c);
}

static void call_give_back(struct call *c)
{
	struct http *h = c->http;

	curl_slist_free_all(c->headers);
	c->headers = NULL;
	secret_wipe(c->bearer.p, c->bearer.n);
	secret_wipe(c->body.p, c->body.n);
	if (c->answer.cap > (256 << 10))
		buf_done(&c->answer);
	c->next = h->spare;
	h->spare = c;
}

static void call_headers(struct call *c, const struct http_request *r)
{
	for (const char *const *line = r->headers; line && *line; line++)
		c->headers = curl_slist_append(c->headers, *line);
	c->headers = curl_slist_append(c->headers, "Expect:");
	buf_clear(&c->bearer);
	if (r->bearer) {
		buf_addf(&c->bearer, "Authorization: Bearer %s", r->bearer);
		c->headers = curl_slist_append(c->headers, c->bearer.p);
	}
}

static void call_fill(struct call *c, const struct http_request *r)
{
	c->method = r->method;
	c->fresh = r->fresh;
	c->too_large = c->cut = false;
	c->why[0] = '\0';
	buf_clear(&c->url);
	buf_clear(&c->body);
	buf_clear(&c->answer);
	buf_clear(&c->answer_headers);
	buf_adds(&c->url, r->url);
	buf_add(&c->body, r->body.p, r->body.n);
	call_headers(c, r);
}

void http_send(struct http *h, const struct http_request *request, http_fn fn, void *arg)
{
	struct call *c = call_take(h);

	assert(request->timeout_ms > 0);
	call_fill(c, request);
	c->fn = fn;
	c->arg = arg;
	c->started_ms = clock_boot_ms();
	c->deadline_ms = c->started_ms + request->timeout_ms;
	c->next = NULL;
	*h->waiting_end = c;
	h->waiting_end = &c->next;
	h->waiting_n++;
	if (c->deadline_ms < h->patience_ms)
		h->patience_ms = c->deadline_ms;
	http_pump(h);
}

static void waiting_remove(struct http *h, struct call **at)
{
	struct call *c = *at;

	*at = c->next;
	if (!*at)
		h->waiting_end = at;
	h->waiting_n--;
	c->next = NULL;
}

static void patience_set(struct http *h, int64_t now)
{
	if (h->patience_ms == h->patience_set_ms)
		return;
	h->patience_set_ms = h->patience_ms;
	loop_timer_set(h->patience, h->patience_ms == INT64_MAX ? -1
				    : h->patience_ms > now	? h->patience_ms - now
								: 0);
}

static void http_pump(struct http *h)
{
	int64_t now = clock_boot_ms();

	while (h->waiting && h->running_n < h->conf.connections) {
		struct call *c = h->waiting;

		if (c->deadline_ms <= now)
			break; /* on_patience ends it */
		waiting_remove(h, &h->waiting);
		call_start(c, now);
	}
	if (h->waiting == NULL)
		h->patience_ms = INT64_MAX;
	patience_set(h, now);
}

static void call_give_up(struct call *c)
{
	struct http_response r = {.failure = HTTP_TIMEOUT,
				  .took_ms = clock_boot_ms() - c->started_ms};

	snprintf(r.error, sizeof(r.error), "no connection was free in time");
	c->fn(c->arg, &r);
	call_give_back(c);
}

static void on_patience(void *arg)
{
	struct http *h = arg;
	int64_t now = clock_boot_ms();
	struct call *over = NULL, **over_end = &over, **at = &h->waiting;

	h->patience_ms = INT64_MAX;
	h->patience_set_ms = INT64_MAX;
	while (*at) {
		struct call *c = *at;

		if (c->deadline_ms > now) {
			if (c->deadline_ms < h->patience_ms)
				h->patience_ms = c->deadline_ms;
			at = &c->next;
			continue;
		}
		waiting_remove(h, at);
		*over_end = c;
		over_end = &c->next;
	}
	while (over) {
		struct call *c = over;

		over = c->next;
		call_give_up(c);
	}
	http_pump(h);
}

/* ---- what came of it ---- */

static enum http_failure failure_of(const struct call *c, CURLcode code)
{
	if (c->too_large)
		return HTTP_TOO_LARGE;
	if (c->cut)
		return HTTP_CUT;
	switch ((int)code) {
	case CURLE_OK:
		return HTTP_ANSWERED;
	case CURLE_COULDNT_RESOLVE_HOST:
	case CURLE_COULDNT_RESOLVE_PROXY:
	case CURLE_URL_MALFORMAT:
		return HTTP_NO_HOST;
	case CURLE_COULDNT_CONNECT:
		return HTTP_REFUSED;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
	case CURLE_SSL_CIPHER:
		return HTTP_TLS;
	case CURLE_OPERATION_TIMEDOUT:
	case CURLE_ABORTED_BY_CALLBACK: /* may_go */
		return HTTP_TIMEOUT;
	case CURLE_SEND_ERROR:
	case CURLE_RECV_ERROR:
	case CURLE_GOT_NOTHING:
	case CURLE_PARTIAL_FILE:
		return HTTP_CUT;
	default:
		return HTTP_BROKEN;
	}
}

static bool may_have_arrived(CURL *easy, enum http_failure failure)
{
	long sent = 0;

	if (failure == HTTP_NO_HOST || failure == HTTP_REFUSED || failure == HTTP_TLS)
		return false;
	if (failure == HTTP_ANSWERED)
		return true;
	curl_easy_getinfo(easy, CURLINFO_REQUEST_SIZE, &sent);
	return sent > 0;
}

static void call_finish(struct call *c, CURLcode code)
{
	struct http_response r = {.failure = failure_of(c, code)};
	struct http *h = c->http;
	long connects = 0;

	curl_easy_getinfo(c->easy, CURLINFO_NUM_CONNECTS, &connects);
	h->connections += (uint64_t)connects;
	h->requests++;
	r.sent = may_have_arrived(c->easy, r.failure);
	if (r.failure == HTTP_ANSWERED)
		curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &r.status);
	else
		snprintf(r.error, sizeof(r.error), "%.159s",
			 c->too_large ? "the answer is larger than allowed"
			 : c->why[0]  ? c->why
				      : curl_easy_strerror(code));
	r.headers = buf_slice(&c->answer_headers);
	r.body = buf_slice(&c->answer);
	r.took_ms = clock_boot_ms() - c->started_ms;
	easy_give_back(c);
	c->fn(c->arg, &r);
	call_give_back(c);
}

static void http_reap(void *arg)
{
	struct http *h = arg;
	CURLMsg *m;
	int left;

	while ((m = curl_multi_info_read(h->multi, &left))) {
		if (m->msg != CURLMSG_DONE)
			continue;
		/* copied first: m dies with remove_handle */
		CURL *easy = m->easy_handle;
		CURLcode code = m->data.result;
		struct call *c = NULL;

		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **)&c);
		curl_multi_remove_handle(h->multi, easy);
		for (size_t i = 0; i < h->running_n; i++) {
			if (h->running[i] == c)
				h->running[i] = h->running[--h->running_n];
		}
		call_finish(c, code);
	}
	http_pump(h);
}

/* ---- life ---- */

struct http *http_new(struct loop *loop, const struct http_conf *conf)
{
	struct http *h = mem_alloc(sizeof(*h));

	curl_global_init(CURL_GLOBAL_ALL);
	h->loop = loop;
	h->conf = *conf;
	h->waiting_end = &h->waiting;
	h->patience_ms = h->patience_set_ms = INT64_MAX;
	h->running = mem_array(conf->connections, sizeof(struct call *));
	h->easies = mem_array(conf->connections, sizeof(CURL *));
	h->multi = curl_multi_init();
	assert(h->multi);
	h->timer = loop_timer_new(loop, on_timer, h);
	h->patience = loop_timer_new(loop, on_patience, h);
	h->reap = loop_after_new(loop, http_reap, h);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
	curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timeout_wish);
	curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, (long)conf->connections);
	return h;
}

static void free_list(struct call *c)
{
	while (c) {
		struct call *next = c->next;

		call_free(c);
		c = next;
	}
}

void http_free(struct http *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->running_n; i++) {
		curl_multi_remove_handle(h->multi, h->running[i]->easy);
		call_free(h->running[i]);
	}
	free_list(h->waiting);
	free_list(h->spare);
	while (h->easies_n > 0)
		curl_easy_cleanup(h->easies[--h->easies_n]);
	curl_multi_cleanup(h->multi);
	loop_timer_free(h->timer);
	loop_timer_free(h->patience);
	loop_after_free(h->reap);
	free(h->running);
	free(h->easies);
	free(h);
}

static void ignore(void *arg, const struct http_response *response)
{
	(void)arg;
	(void)response;
}

void http_cancel(struct http *h, void *arg)
{
	for (size_t i = 0; i < h->running_n; i++) {
		if (h->running[i]->arg == arg)
			h->running[i]->fn = ignore;
	}
	for (struct call *c = h->waiting; c; c = c->next) {
		if (c->arg == arg)
			c->fn = ignore;
	}
}

size_t http_open(const struct http *h)
{
	return h->running_n + h->waiting_n;
}

void http_counts(const struct http *h, uint64_t *ret_connections, uint64_t *ret_requests)
{
	*ret_connections = h->connections;
	*ret_requests = h->requests;
}
