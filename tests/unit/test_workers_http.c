/* http against a server that cuts, stalls, floods and resets. */
#include "http.h"
#include "web.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

struct got {
	bool done;
	int calls;
	enum http_failure failure;
	bool sent;
	long status;
	char body[256], header[64], error[160];
	size_t body_n;
	int64_t took_ms;
};

static struct loop *loop;
static struct web web;
static struct http *http;
static struct loop_timer *tick; /* so that UV_RUN_ONCE comes back */
static int posts;

static void on_tick(void *arg)
{
	(void)arg;
	loop_timer_set(tick, 20);
}

static void serve(void *arg, const struct web_request *r, struct web_reply *reply)
{
	static char big[100 << 10];

	(void)arg;
	posts += strcmp(r->method, "POST") == 0;
	if (strcmp(r->path, "/echo") == 0) {
		char text[200];

		snprintf(text, sizeof(text), "%s %.*s %s", r->method, (int)r->body.n, r->body.p,
			 web_has(r, "\r\nAuthorization: Bearer sesame\r\n") ? "open" : "shut");
		web_answer(reply, 200, "X-Thing: a\r\nx-thing:  b \r\n", text);
	} else if (strcmp(r->path, "/silent") == 0) {
		reply->silent = true;
	} else if (strcmp(r->path, "/cut") == 0) {
		buf_adds(&reply->raw, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc");
		reply->close = true;
	} else if (strcmp(r->path, "/reset") == 0) {
		reply->reset = true;
	} else if (strcmp(r->path, "/big") == 0) {
		memset(big, 'x', sizeof(big) - 1);
		web_answer(reply, 200, NULL, big);
	} else if (strcmp(r->path, "/header") == 0) {
		memset(big, 'x', sizeof(big) - 1);
		big[80 << 10] = '\0';
		buf_addf(&reply->raw, "HTTP/1.1 200 OK\r\nX: %s\r\n\r\n", big);
	} else if (strcmp(r->path, "/junk") == 0) {
		buf_adds(&reply->raw, "SSH-2.0-OpenSSH\r\n\r\n");
		reply->close = true;
	} else if (strcmp(r->path, "/move") == 0) {
		web_answer(reply, 302, "Location: http://127.0.0.1:1/elsewhere\r\n", "");
	} else if (strcmp(r->path, "/close") == 0) {
		web_answer(reply, 200, NULL, "last");
		reply->close = true;
	} else {
		web_answer(reply, 404, NULL, "");
	}
}

static void on_answer(void *arg, const struct http_response *r)
{
	struct got *g = arg;
	struct slice h = http_header(r, "X-THING");

	g->done = true;
	g->calls++;
	g->failure = r->failure;
	snprintf(g->error, sizeof(g->error), "%s", r->error);
	g->sent = r->sent;
	g->status = r->status;
	g->body_n = r->body.n;
	g->took_ms = r->took_ms;
	snprintf(g->body, sizeof(g->body), "%.*s", (int)r->body.n, r->body.n ? r->body.p : "");
	snprintf(g->header, sizeof(g->header), "%.*s", (int)h.n, h.n ? h.p : "");
}

static int set_up(void **state)
{
	struct http_conf conf = {.user_agent = "test",
				 .connections = 2,
				 .body_max = 64 << 10,
				 .connect_timeout_ms = 1000};

	(void)state;
	posts = 0;
	loop = loop_new();
	tick = loop_timer_new(loop, on_tick, NULL);
	loop_timer_set(tick, 20);
	web_start(&web, loop, serve, NULL);
	http = http_new(loop, &conf);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	http_free(http);
	web_stop(&web);
	loop_timer_free(tick);
	loop_free(loop);
	return 0;
}

static void send_to(struct got *g, enum http_method method, const char *path, const char *body,
		    int64_t timeout_ms)
{
	char url[128];
	struct http_request r = {.method = method,
				 .url = url,
				 .bearer = "sesame",
				 .body = slice_of(body),
				 .timeout_ms = timeout_ms};

	snprintf(url, sizeof(url), "http://127.0.0.1:%d%s", web.port, path);
	http_send(http, &r, on_answer, g);
}

static struct got ask(enum http_method method, const char *path, const char *body, int64_t timeout)
{
	struct got g = {0};

	send_to(&g, method, path, body, timeout);
	assert_true(web_until(loop, &g.done, 5000));
	return g;
}

static void methods(void **state)
{
	uint64_t connections, requests;

	(void)state;
	assert_string_equal(ask(HTTP_POST, "/echo", "one", 2000).body, "POST one open");
	assert_string_equal(ask(HTTP_GET, "/echo", NULL, 2000).body, "GET  open");
	assert_string_equal(ask(HTTP_PATCH, "/echo", "two", 2000).body, "PATCH two open");
	assert_string_equal(ask(HTTP_PUT, "/echo", "three", 2000).body, "PUT three open");
	assert_string_equal(ask(HTTP_DELETE, "/echo", NULL, 2000).body, "DELETE  open");
	assert_string_equal(ask(HTTP_POST, "/echo", NULL, 2000).body, "POST  open");
	assert_string_equal(ask(HTTP_GET, "/echo", NULL, 2000).header, "b");
	http_counts(http, &connections, &requests);
	assert_int_equal(connections, 1);
	assert_int_equal(requests, 7);
}

static void failures(void **state)
{
	static const struct {
		const char *path;
		enum http_failure failure;
	} rows[] = {
		{"/silent", HTTP_TIMEOUT}, {"/cut", HTTP_CUT},	   {"/reset", HTTP_CUT},
		{"/big", HTTP_TOO_LARGE},  {"/junk", HTTP_BROKEN}, {"/header", HTTP_TOO_LARGE},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct got g = ask(HTTP_POST, rows[i].path, "x", 300);

		print_message("%s\n", rows[i].path);
		assert_int_equal(g.failure, rows[i].failure);
		assert_true(g.sent);
		assert_int_equal(g.calls, 1);
	}
}

static void nobody_there(void **state)
{
	struct got g = {0};
	struct http_request r = {.url = "http://127.0.0.1:1/", .timeout_ms = 1000};

	(void)state;
	http_send(http, &r, on_answer, &g);
	assert_true(web_until(loop, &g.done, 5000));
	assert_int_equal(g.failure, HTTP_REFUSED);
	assert_non_null(strstr(g.error, "127.0.0.1")); /* it says where */
	assert_false(g.sent);
}

static void redirects_are_not_followed(void **state)
{
	(void)state;
	assert_int_equal(ask(HTTP_GET, "/move", NULL, 2000).status, 302);
}

/* The kept connection dies after the body went out: curl would send the POST again by itself. */
static void a_post_is_sent_once(void **state)
{
	struct got g;

	(void)state;
	ask(HTTP_GET, "/echo", NULL, 2000);
	g = ask(HTTP_POST, "/reset", "x", 2000);
	assert_int_equal(g.failure, HTTP_CUT);
	assert_true(g.sent);
	assert_int_equal(posts, 1);
	ask(HTTP_GET, "/close", NULL, 2000);
	ask(HTTP_POST, "/echo", "x", 2000);
	assert_int_equal(posts, 2);
}

static void waiting_counts_into_the_timeout(void **state)
{
	struct got slow[2] = {{0}}, third = {0};

	(void)state;
	send_to(&slow[0], HTTP_GET, "/silent", NULL, 2000);
	send_to(&slow[1], HTTP_GET, "/silent", NULL, 2000);
	send_to(&third, HTTP_POST, "/echo", "x", 200);
	assert_int_equal(http_open(http), 3);
	assert_true(web_until(loop, &third.done, 1000));
	assert_int_equal(third.failure, HTTP_TIMEOUT);
	assert_false(third.sent);
	assert_int_equal(posts, 0);
	http_cancel(http, &slow[0]);
	assert_true(web_until(loop, &slow[1].done, 4000));
	assert_int_equal(slow[0].calls, 0);
	assert_string_equal(ask(HTTP_GET, "/echo", NULL, 2000).body, "GET  open");
}

static void freed_with_open_requests(void **state)
{
	struct got g[3] = {{0}};

	(void)state;
	for (int i = 0; i < 3; i++)
		send_to(&g[i], HTTP_GET, "/silent", NULL, 2000);
	uv_run(loop_uv(loop), UV_RUN_ONCE);
	assert_int_equal(http_open(http), 3);
}

static void escape(void **state)
{
	struct buf b = {0};

	(void)state;
	http_escape(&b, SLICE("a b/\"\0é~"));
	assert_string_equal(b.p, "a%20b%2F%22%00%C3%A9~");
	buf_done(&b);
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(methods),
		TEST(failures),
		TEST(nobody_there),
		TEST(redirects_are_not_followed),
		TEST(a_post_is_sent_once),
		TEST(waiting_counts_into_the_timeout),
		TEST(freed_with_open_requests),
		cmocka_unit_test(escape),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
