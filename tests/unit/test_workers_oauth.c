/* Tokens: one fetch for many, refresh ahead of time, refusals, the signed assertion. */
#include "oauth.h"
#include "oauth_assertion.h"
#include "web.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

static struct loop *loop;
static struct web web;
static struct http *http;
static struct loop_timer *tick;
static struct {
	int status, expires_in;
	const char *body, *headers;
	char last[4096], basic[256];
} server;

static void on_tick(void *arg)
{
	(void)arg;
	loop_timer_set(tick, 20);
}

static void take_basic(const struct web_request *r)
{
	static const char key[] = "Authorization: ";
	const char *at = r->head.n ? memmem(r->head.p, r->head.n, key, sizeof(key) - 1) : NULL;

	server.basic[0] = '\0';
	if (!at)
		return;
	at += sizeof(key) - 1;
	snprintf(server.basic, sizeof(server.basic), "%.*s", (int)strcspn(at, "\r"), at);
}

static void serve(void *arg, const struct web_request *r, struct web_reply *reply)
{
	char text[300];

	(void)arg;
	snprintf(server.last, sizeof(server.last), "%.*s", (int)r->body.n, r->body.p);
	take_basic(r);
	if (server.body) {
		web_answer(reply, server.status, server.headers, server.body);
		return;
	}
	snprintf(text, sizeof(text),
		 "{\"token_type\":\"Bearer\",\"expires_in\":%d,\"access_token\":\"t%d\"}",
		 server.expires_in, web.requests);
	web_answer(reply, 200, NULL, text);
}

static int set_up(void **state)
{
	struct http_conf conf = {.user_agent = "test",
				 .connections = 4,
				 .body_max = 64 << 10,
				 .connect_timeout_ms = 1000};

	(void)state;
	memset(&server, 0, sizeof(server));
	server.expires_in = 3600;
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

struct got {
	bool done;
	int rc;
	int64_t after_ms;
	char bearer[64], base[64], why[256];
};

static void on_token(void *arg, const struct oauth_result *r)
{
	struct got *g = arg;

	g->done = true;
	g->rc = r->rc;
	g->after_ms = r->after_ms;
	snprintf(g->bearer, sizeof(g->bearer), "%s", r->bearer ? r->bearer : "");
	snprintf(g->base, sizeof(g->base), "%s", r->base ? r->base : "");
	snprintf(g->why, sizeof(g->why), "%s", r->why ? r->why : "");
}

static struct got ask(struct oauth *o)
{
	struct got g = {0};

	oauth_ask(o, on_token, &g);
	assert_true(web_until(loop, &g.done, 5000));
	return g;
}

static char token_url[64];
static struct secret *secret;

static struct oauth *with_secret(void)
{
	struct oauth_conf conf = {.method = OAUTH_CLIENT_SECRET,
				  .token_url = token_url,
				  .client_id = "client/1",
				  .scope = "https://x/.default",
				  .timeout_ms = 1000};
	struct buf why = {0};
	struct oauth *o;

	snprintf(token_url, sizeof(token_url), "http://127.0.0.1:%d/token", web.port);
	secret = secret_new("s3cr&t", 6);
	conf.secret = secret;
	o = oauth_new(http, &conf, &why);
	assert_non_null(o);
	return o;
}

static void end(struct oauth *o)
{
	oauth_free(o);
	secret_free(secret);
}

static void one_fetch_for_many(void **state)
{
	struct oauth *o = with_secret();
	struct got g[20] = {{0}}, forgotten = {0};

	(void)state;
	oauth_ask(o, on_token, &forgotten);
	for (int i = 0; i < 20; i++)
		oauth_ask(o, on_token, &g[i]);
	oauth_forget(o, &forgotten);
	assert_true(web_until(loop, &g[19].done, 5000));
	assert_int_equal(web.requests, 1);
	assert_false(forgotten.done);
	assert_string_equal(g[0].bearer, "t1");
	assert_string_equal(ask(o).bearer, "t1");
	assert_int_equal(web.requests, 1);
	assert_string_equal(server.last,
			    "grant_type=client_credentials&client_id=client%2F1"
			    "&scope=https%3A%2F%2Fx%2F.default&client_secret=s3cr%26t");
	end(o);
}

static void a_refused_token_is_fetched_anew_once(void **state)
{
	struct oauth *o = with_secret();

	(void)state;
	ask(o);
	assert_true(oauth_refused(o, "t1"));
	assert_string_equal(ask(o).bearer, "t2");
	assert_true(oauth_refused(o, "t1")); /* somebody's late 401 for the old one */
	assert_string_equal(ask(o).bearer, "t2");
	end(o);
}

static void refreshed_ahead_of_time_without_waiting(void **state)
{
	struct oauth *o = with_secret();
	bool never = false;

	(void)state;
	server.expires_in = 2;
	assert_string_equal(ask(o).bearer, "t1");
	web_until(loop, &never, 1100); /* past half of its life */
	assert_string_equal(ask(o).bearer, "t1");
	for (int i = 0; i < 100 && web.requests < 2; i++)
		web_until(loop, &never, 20);
	web_until(loop, &never, 50);
	assert_string_equal(ask(o).bearer, "t2");
	end(o);
}

static void refusals_are_held(void **state)
{
	struct oauth *o = with_secret();
	struct got g;

	(void)state;
	server.status = 401;
	server.body = "{\"error\":\"invalid_client\",\"error_codes\":[7000215],"
		      "\"error_description\":\"secret s3cr&t\"}";
	for (int i = 0; i < 3; i++) {
		int64_t until = (int64_t)(uv_hrtime() / 1000000) + 5000;

		do {
			g = ask(o);
		} while (web.requests == i && (int64_t)(uv_hrtime() / 1000000) < until);
		assert_int_equal(g.rc, -13);
	}
	assert_string_equal(g.why, "token server answered 401: invalid_client 7000215");
	assert_int_equal(web.requests, 3);
	g = ask(o);
	assert_int_equal(g.rc, -13);
	assert_true(g.after_ms > 200000);
	assert_int_equal(web.requests, 3);
	end(o);
}

static void trouble_is_not_refusal(void **state)
{
	static const struct {
		int status;
		const char *body;
		int rc;
	} rows[] = {
		{503, "", -11},
		{429, "", -11},
		{400, "{\"error\":\"temporarily_unavailable\"}", -11},
		{400, "{\"error\":\"x\",\"error_codes\":[90055]}", -11},
		{200, "<html>login</html>", -71},
		{200, "{\"access_token\":\"a\\r\\nX: y\"}", -71},
		{200, "{\"access_token\":\"a\",\"token_type\":\"mac\"}", -71},
		{302, "", -71},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oauth *o = with_secret();
		struct got g;

		server.status = rows[i].status;
		server.body = rows[i].body;
		server.headers = "Retry-After: 7\r\n";
		g = ask(o);
		assert_int_equal(g.rc, rows[i].rc);
		assert_true(g.after_ms >= 7000);
		end(o);
	}
}

static void a_static_token(void **state)
{
	struct secret *token = secret_new("fixed", 5);
	struct oauth_conf conf = {.method = OAUTH_BEARER, .secret = token};
	struct buf why = {0};
	struct oauth *o = oauth_new(http, &conf, &why);

	(void)state;
	assert_string_equal(ask(o).bearer, "fixed");
	assert_false(oauth_refused(o, "fixed"));
	oauth_free(o);
	secret_free(token);
}

/* ---- other grants ---- */

static const char *const at_home[] = {"127.0.0.1:1", ".vendor.example", NULL};

static struct oauth_conf grant_of(enum oauth_method method)
{
	snprintf(token_url, sizeof(token_url), "http://127.0.0.1:%d/token", web.port);
	return (struct oauth_conf){.method = method,
				   .token_url = token_url,
				   .client_id = "client",
				   .username = "u@x",
				   .audience = "https://login.example",
				   .base_member = "instance_url",
				   .base_hosts = at_home,
				   .timeout_ms = 1000};
}

static struct oauth *made(const struct oauth_conf *conf)
{
	struct buf why = {0};
	struct oauth *o = oauth_new(http, conf, &why);

	assert_non_null(o);
	buf_done(&why);
	return o;
}

static void a_password_goes_with_its_suffix(void **state)
{
	struct oauth_conf conf = grant_of(OAUTH_PASSWORD);
	struct secret *password = secret_new("pa&ss", 5), *suffix = secret_new("ToKen", 5);
	struct oauth *o;

	(void)state;
	conf.password = password;
	conf.suffix = suffix;
	o = made(&conf);
	assert_int_equal(ask(o).rc, 0);
	assert_string_equal(server.last, "grant_type=password&username=u%40x&"
					 "password=pa%26ssToKen&client_id=client");
	oauth_free(o);
	secret_free(password);
	secret_free(suffix);
}

static void client_and_secret_in_a_header(void **state)
{
	struct oauth_conf conf = grant_of(OAUTH_CLIENT_SECRET);
	struct secret *own = secret_new("s:1", 3);
	struct oauth *o;

	(void)state;
	conf.secret = own;
	conf.basic = true;
	o = made(&conf);
	assert_int_equal(ask(o).rc, 0);
	assert_string_equal(server.last, "grant_type=client_credentials");
	assert_string_equal(server.basic, "Basic Y2xpZW50OnMlM0Ex"); /* client:s%3A1 */
	oauth_free(o);
	secret_free(own);
}

/* The bearer goes where the answer says, if that is allowed; else there is no bearer. */
static void the_api_is_where_the_answer_says(void **state)
{
	static const struct {
		const char *url;
		bool allowed;
	} rows[] = {
		{"https://eu7.vendor.example", true},
		{"https://VENDOR.example", false},
		{"http://eu7.vendor.example", false},
		{"https://eu7.vendor.example:8443", false},
		{"https://evil.example", false},
		{"https://evilvendor.example", false},
		{"https://x.vendor.example.evil", false},
		{"http://127.0.0.1:1", true},
		{"nonsense", false},
	};
	struct secret *own = secret_new("s", 1);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct oauth_conf conf = grant_of(OAUTH_CLIENT_SECRET);
		struct oauth *o;
		struct got g;
		char body[300];

		conf.secret = own;
		o = made(&conf);
		snprintf(body, sizeof(body), "{\"access_token\":\"t\",\"instance_url\":\"%s\"}",
			 rows[i].url);
		server.status = 200;
		server.body = body;
		g = ask(o);
		assert_int_equal(g.rc, rows[i].allowed ? 0 : -EACCES);
		assert_string_equal(g.base, rows[i].allowed ? rows[i].url : "");
		if (!rows[i].allowed)
			assert_non_null(strstr(g.why, "not allowed"));
		oauth_free(o);
	}
	secret_free(own);
}

static void a_refusal_is_explained(void **state)
{
	static const struct oauth_hint hints[] = {{"invalid_grant", "audience", "say who"},
						  {"invalid_grant", NULL, "say it right"},
						  {NULL, NULL, NULL}};
	struct oauth_conf conf = grant_of(OAUTH_CLIENT_SECRET);
	struct secret *own = secret_new("s", 1);
	struct oauth *o;

	(void)state;
	conf.secret = own;
	conf.hints = hints;
	server.status = 400;
	server.body = "{\"error\":\"invalid_grant\","
		      "\"error_description\":\"audience is <invalid>\"}";
	o = made(&conf);
	assert_string_equal(ask(o).why, "token server answered 400: invalid_grant (audience is "
					"?invalid?); say who");
	oauth_free(o);
	server.body = "{\"error\":\"invalid_grant\"}";
	o = made(&conf);
	assert_string_equal(ask(o).why, "token server answered 400: invalid_grant; say it right");
	oauth_free(o);
	secret_free(own);
}

static void freed_while_fetching(void **state)
{
	struct oauth *o = with_secret();
	struct got g = {0};
	bool never = false;

	(void)state;
	oauth_ask(o, on_token, &g);
	end(o);
	web_until(loop, &never, 100);
	assert_false(g.done);
}

/* ---- the assertion ---- */

static EVP_PKEY *make_pair(const char *path, struct secret **ret_key)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *cert = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());
	FILE *f = fopen(path, "w");
	char *pem;
	long n;

	X509_gmtime_adj(X509_getm_notBefore(cert), 0);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_sign(cert, key, EVP_sha256());
	PEM_write_X509(f, cert);
	fclose(f);
	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	n = BIO_get_mem_data(bio, &pem);
	*ret_key = secret_new(pem, (size_t)n);
	BIO_free(bio);
	X509_free(cert);
	return key;
}

static void unpad(const char *p, size_t n, struct buf *out)
{
	struct buf b = {0};

	for (size_t i = 0; i < n; i++)
		buf_addc(&b, (char)(p[i] == '-' ? '+' : p[i] == '_' ? '/' : p[i]));
	while (b.n % 4)
		buf_addc(&b, '=');
	assert_int_equal(buf_add_unbase64(out, buf_slice(&b)), 0);
	buf_done(&b);
}

static void assertion(void **state)
{
	char path[] = "/tmp/dirpipe-test-XXXXXX";
	int fd = mkstemp(path);
	struct secret *pem, *other;
	EVP_PKEY *key = make_pair(path, &pem), *key2;
	struct buf why = {0}, jwt = {0}, sig = {0}, claims = {0}, head = {0};
	struct oauth_assertion *a = oauth_assertion_new(path, pem, &why);
	char *dot1, *dot2;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	EVP_PKEY_CTX *pss;

	(void)state;
	close(fd);
	assert_non_null(a);
	assert_int_equal(
		oauth_assertion_sign(
			a, &(struct oauth_claims){"me", "me", "https://t/x", 1780000000999}, &jwt),
		0);
	dot1 = strchr(jwt.p, '.');
	dot2 = strchr(dot1 + 1, '.');
	unpad(jwt.p, (size_t)(dot1 - jwt.p), &head);
	unpad(dot1 + 1, (size_t)(dot2 - dot1 - 1), &claims);
	unpad(dot2 + 1, strlen(dot2 + 1), &sig);
	assert_non_null(strstr(head.p, "\"alg\":\"PS256\",\"typ\":\"JWT\",\"x5t#S256\":\""));
	assert_non_null(strstr(claims.p, "{\"aud\":\"https://t/x\",\"iss\":\"me\",\"sub\":\"me\""));
	assert_non_null(
		strstr(claims.p, "\"nbf\":1780000000,\"iat\":1780000000,\"exp\":1780000600}"));
	assert_int_equal(EVP_DigestVerifyInit(ctx, &pss, EVP_sha256(), NULL, key), 1);
	EVP_PKEY_CTX_set_rsa_padding(pss, RSA_PKCS1_PSS_PADDING);
	EVP_PKEY_CTX_set_rsa_pss_saltlen(pss, 32);
	assert_int_equal(EVP_DigestVerify(ctx, (unsigned char *)sig.p, sig.n,
					  (unsigned char *)jwt.p, (size_t)(dot2 - jwt.p)),
			 1);
	EVP_MD_CTX_free(ctx);
	oauth_assertion_free(a);
	char path2[] = "/tmp/dirpipe-test-XXXXXX";

	close(mkstemp(path2));
	key2 = make_pair(path2, &other);
	assert_null(oauth_assertion_new(path, other, &why));
	assert_non_null(strstr(why.p, "does not belong to certificate"));
	buf_clear(&why);
	assert_null(oauth_assertion_new("/nowhere/x.pem", pem, &why));
	assert_true(why.n > 0);
	unlink(path);
	unlink(path2);
	EVP_PKEY_free(key);
	EVP_PKEY_free(key2);
	secret_free(pem);
	secret_free(other);
	buf_done(&why);
	buf_done(&jwt);
	buf_done(&sig);
	buf_done(&claims);
	buf_done(&head);
}

/* The assertion grant: RS256, no thumbprint, three minutes. */
static void assertion_of_a_key(void **state)
{
	char path[] = "/tmp/dirpipe-test-XXXXXX";
	struct secret *pem;
	EVP_PKEY *key;
	struct buf why = {0}, sig = {0}, claims = {0}, head = {0};
	struct oauth_conf conf = grant_of(OAUTH_JWT);
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	char *jwt, *dot1, *dot2;
	struct oauth *o;

	(void)state;
	close(mkstemp(path));
	key = make_pair(path, &pem);
	unlink(path);
	conf.secret = pem;
	o = made(&conf);
	assert_int_equal(ask(o).rc, 0);
	jwt = strstr(server.last, "&assertion=");
	assert_ptr_equal(strstr(server.last, "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type"
					     "%3Ajwt-bearer&assertion="),
			 server.last);
	assert_non_null(jwt);
	jwt += strlen("&assertion=");
	dot1 = strchr(jwt, '.');
	dot2 = strchr(dot1 + 1, '.');
	unpad(jwt, (size_t)(dot1 - jwt), &head);
	unpad(dot1 + 1, (size_t)(dot2 - dot1 - 1), &claims);
	unpad(dot2 + 1, strlen(dot2 + 1), &sig);
	assert_string_equal(head.p, "{\"alg\":\"RS256\",\"typ\":\"JWT\"}");
	assert_non_null(strstr(
		claims.p, "{\"aud\":\"https://login.example\",\"iss\":\"client\",\"sub\":\"u@x\""));
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, key), 1);
	assert_int_equal(EVP_DigestVerify(ctx, (unsigned char *)sig.p, sig.n, (unsigned char *)jwt,
					  (size_t)(dot2 - jwt)),
			 1);
	EVP_MD_CTX_free(ctx);
	oauth_free(o);
	conf.secret = secret = secret_new("no key", 6);
	assert_null(oauth_new(http, &conf, &why));
	assert_string_equal(why.p, "private_key: no key in PEM form");
	secret_free(secret);
	EVP_PKEY_free(key);
	secret_free(pem);
	buf_done(&why);
	buf_done(&sig);
	buf_done(&claims);
	buf_done(&head);
}

static void origins(void **state)
{
	static const char *const rows[][2] = {
		{"https://Login.Example/a/b", "https://login.example"},
		{"https://x:443/", "https://x"},
		{"https://x:8443", "https://x:8443"},
		{"http://x:80?q", "http://x"},
		{"https://x@evil/", NULL},
		{"ftp://x/", NULL},
		{"https:///x", NULL},
		{"https://x\\@evil", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct buf b = {0};

		assert_int_equal(oauth_origin(rows[i][0], &b), rows[i][1] ? 0 : -22);
		if (rows[i][1])
			assert_string_equal(b.p, rows[i][1]);
		buf_done(&b);
	}
}

int main(void)
{
#define TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(one_fetch_for_many),
		TEST(a_refused_token_is_fetched_anew_once),
		TEST(refreshed_ahead_of_time_without_waiting),
		TEST(refusals_are_held),
		TEST(trouble_is_not_refusal),
		TEST(a_static_token),
		TEST(freed_while_fetching),
		TEST(a_password_goes_with_its_suffix),
		TEST(client_and_secret_in_a_header),
		TEST(the_api_is_where_the_answer_says),
		TEST(a_refusal_is_explained),
		cmocka_unit_test(assertion),
		TEST(assertion_of_a_key),
		cmocka_unit_test(origins),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
