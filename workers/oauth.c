#include "oauth.h"

#include "clock.h"
#include "json.h"
#include "oauth_assertion.h"
#include "verdict.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum {
	MARGIN_MS = 5 * 60 * 1000,
	REFUSALS_MOST = 3,
	HOLD_FIRST_MS = 5 * 60 * 1000,
	HOLD_CAP_MS = 60 * 60 * 1000,
	RETRY_FIRST_MS = 1000,
	RETRY_CAP_MS = 60 * 1000,
	LIFE_MOST_S = 86400,
	DESCRIPTION_MOST = 120
};

struct waiter {
	struct waiter *next;
	oauth_fn fn;
	void *arg;
};

struct oauth {
	struct http *http;
	struct oauth_conf conf;
	struct oauth_assertion *assertion;
	struct secret *token;
	int64_t refresh_ms, expires_ms; /* boot clock */
	int64_t next_try_ms;		/* no fetch before */
	unsigned refusals, troubles;	/* in a row */
	int last_rc;
	struct buf last_why;
	struct buf base;
	bool fetching;
	struct waiter *waiters, **waiters_end;
};

struct oauth *oauth_new(struct http *http, const struct oauth_conf *conf, struct buf *why)
{
	struct oauth *o = mem_alloc(sizeof(*o));

	o->http = http;
	o->conf = *conf;
	o->waiters_end = &o->waiters;
	if (conf->method == OAUTH_JWT)
		o->assertion = oauth_assertion_of_key(conf->secret, why);
	else if (conf->method == OAUTH_CERTIFICATE)
		o->assertion = oauth_assertion_new(conf->certificate, conf->secret, why);
	else
		return o;
	if (o->assertion)
		return o;
	oauth_free(o);
	return NULL;
}

void oauth_free(struct oauth *o)
{
	if (!o)
		return;
	http_cancel(o->http, o);
	while (o->waiters) {
		struct waiter *w = o->waiters;

		o->waiters = w->next;
		free(w);
	}
	oauth_assertion_free(o->assertion);
	secret_free(o->token);
	buf_done(&o->last_why);
	buf_done(&o->base);
	free(o);
}

void oauth_forget(struct oauth *o, void *arg)
{
	struct waiter **at = &o->waiters;

	while (*at) {
		struct waiter *w = *at;

		if (w->arg != arg) {
			at = &w->next;
			continue;
		}
		*at = w->next;
		free(w);
	}
	o->waiters_end = at;
}

static const char *current(const struct oauth *o)
{
	if (o->conf.method == OAUTH_BEARER)
		return secret_value(o->conf.secret).p;
	return o->token && clock_boot_ms() < o->expires_ms ? secret_value(o->token).p : NULL;
}

static const char *base_of(const struct oauth *o)
{
	return o->base.n ? o->base.p : NULL;
}

static void answer_all(struct oauth *o, int rc, int64_t after_ms)
{
	struct waiter *list = o->waiters;

	o->waiters = NULL;
	o->waiters_end = &o->waiters;
	while (list) {
		struct waiter *w = list;
		struct oauth_result r = {
			.rc = rc, .bearer = rc ? NULL : current(o), .after_ms = after_ms};

		if (!rc)
			r.base = base_of(o);

		if (!rc && !r.bearer)
			r.rc = -EAGAIN;
		r.why = r.rc ? (o->last_why.p ? o->last_why.p : "") : NULL;
		list = w->next;
		w->fn(w->arg, &r);
		free(w);
	}
}

/* ---- the answer of the token server ---- */

/* Microsoft's codes for trouble on its side (90006, 90012, 90024, 90033, 90055: tenant throttled) come with 4xx too. */
static bool is_transient(const struct http_response *r, const cJSON *body)
{
	static const int codes[] = {90006, 90012, 90024, 90033, 90055};
	const char *error = json_text(body, "error");
	const cJSON *item;

	if (r->status == 429 || r->status >= 500 || r->status == 408)
		return true;
	if (error && strcmp(error, "temporarily_unavailable") == 0)
		return true;
	cJSON_ArrayForEach (item, json_array(body, "error_codes")) {
		for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
			if (cJSON_IsNumber(item) && item->valueint == codes[i])
				return true;
		}
	}
	return false;
}

/* A word of the server that goes into a log: letters, digits, _ . - only. */
static void add_word(struct buf *out, const char *word)
{
	for (size_t i = 0; word[i] && i < 64; i++)
		buf_addc(out,
			 isalnum((unsigned char)word[i]) || strchr("_.-", word[i]) ? word[i] : '?');
}

/* Its description in plain letters: what cannot be told by a code. Where there are codes it holds ids of the request. */
static void add_description(struct oauth *o, const char *error, const char *description)
{
	const struct oauth_hint *h = o->conf.hints;

	if (*description)
		buf_adds(&o->last_why, " (");
	for (size_t i = 0; description[i] && i < DESCRIPTION_MOST; i++) {
		char c = description[i];

		buf_addc(&o->last_why, isalnum((unsigned char)c) || strchr(" _.,-'", c) ? c : '?');
	}
	if (*description)
		buf_addc(&o->last_why, ')');
	for (; h && h->error; h++) {
		if (strcmp(h->error, error) == 0 &&
		    (!h->description ||
		     strncasecmp(description, h->description, strlen(h->description)) == 0)) {
			buf_addf(&o->last_why, "; %s", h->hint);
			return;
		}
	}
}

static void say_why(struct oauth *o, const struct http_response *r, const cJSON *body)
{
	const char *error = json_text(body, "error");
	const char *description = json_text(body, "error_description");
	const cJSON *item;

	buf_clear(&o->last_why);
	if (r->failure != HTTP_ANSWERED) {
		buf_addf(&o->last_why, "token server: %s", r->error);
		return;
	}
	buf_addf(&o->last_why, "token server answered %ld", r->status);
	if (error) {
		buf_adds(&o->last_why, ": ");
		add_word(&o->last_why, error);
		if (!json_array(body, "error_codes"))
			add_description(o, error, description ? description : "");
	}
	cJSON_ArrayForEach (item, json_array(body, "error_codes")) {
		if (cJSON_IsNumber(item) && o->last_why.n < 200)
			buf_addf(&o->last_why, " %.0f", item->valuedouble);
	}
}

static bool token_valid(const char *token)
{
	if (!token || !*token)
		return false;
	for (const char *p = token; *p; p++) {
		if (*p <= ' ' || *p > '~')
			return false;
	}
	return true;
}

/* Is the API's address one of those that the operator or the driver named? */
static bool base_allowed(const struct oauth *o, const char *base)
{
	CLEANUP(buf_cleanup) struct buf origin = {0};
	bool tls = strncasecmp(base, "https://", 8) == 0;
	const char *host;
	size_t n;

	if (oauth_origin(base, &origin) < 0 || !origin.p)
		return false;
	host = strstr(origin.p, "//") + 2;
	n = strlen(host);
	for (const char *const *h = o->conf.base_hosts; h && *h; h++) {
		size_t tail = strlen(*h);

		if (**h != '.' && strcasecmp(*h, host) == 0)
			return true;
		if (**h == '.' && tls && n > tail && strcasecmp(host + n - tail, *h) == 0)
			return true;
	}
	return false;
}

/* A token whose answer sends it to a foreign address is no token. */
static bool take_base(struct oauth *o, const cJSON *body)
{
	const char *base = o->conf.base_member ? json_text(body, o->conf.base_member) : NULL;

	buf_clear(&o->last_why);
	if (base && !base_allowed(o, base)) {
		buf_adds(&o->last_why, "the token server names an address of the API that is "
				       "not allowed (auth.api_hosts)");
		return false;
	}
	if (base) {
		buf_clear(&o->base);
		buf_adds(&o->base, base);
	}
	return true;
}

static void keep_token(struct oauth *o, struct slice token, int64_t refresh_ms, int64_t expires_ms)
{
	secret_free(o->token);
	o->token = secret_new(token.p, token.n);
	o->refresh_ms = refresh_ms;
	o->expires_ms = expires_ms;
	o->refusals = o->troubles = 0;
	o->next_try_ms = 0;
}

/* Nobody says how long it is good: until it is refused. */
static int take_login(struct oauth *o, const struct http_response *r, int64_t *ret_after_ms)
{
	CLEANUP(buf_cleanup) struct buf token = {0};
	int rc;

	buf_clear(&o->last_why);
	rc = o->conf.login->take(r->body, &token, ret_after_ms, &o->last_why);
	if (rc == 0 && !token_valid(token.p))
		rc = -EPROTO;
	if (rc == 0)
		keep_token(o, buf_slice(&token), INT64_MAX, INT64_MAX);
	secret_wipe(token.p, token.n);
	return rc;
}

static bool take_token(struct oauth *o, const cJSON *body)
{
	const char *token = json_text(body, "access_token"), *type = json_text(body, "token_type");
	const char *life_text = json_text(body, "expires_in");
	int64_t life = life_text ? strtol(life_text, NULL, 10) : json_int(body, "expires_in", 0);
	int64_t now = clock_boot_ms(), margin;

	if (!token_valid(token) || (type && strcasecmp(type, "bearer") != 0))
		return false;
	if (life <= 0 || life > LIFE_MOST_S)
		life = LIFE_MOST_S; /* RFC 6749 5.1 only recommends to tell it */
	margin = life * 1000 / 2 < MARGIN_MS ? life * 1000 / 2 : MARGIN_MS;
	keep_token(o, slice_of(token), now + life * 1000 - margin, now + life * 1000);
	return true;
}

static int64_t doubled(int64_t first, unsigned times, int64_t cap)
{
	int64_t ms = first;

	while (times-- > 0 && ms < cap)
		ms *= 2;
	return ms < cap ? ms : cap;
}

static int64_t hold_after(struct oauth *o, int rc, int64_t asked_ms)
{
	int64_t ms;

	if (rc == -EACCES) {
		o->refusals++;
		ms = o->refusals < REFUSALS_MOST
			     ? RETRY_FIRST_MS
			     : doubled(HOLD_FIRST_MS, o->refusals - REFUSALS_MOST, HOLD_CAP_MS);
	} else {
		ms = doubled(RETRY_FIRST_MS, o->troubles++, RETRY_CAP_MS);
	}
	return asked_ms > ms ? asked_ms : ms;
}

/* 0: the token is there. Else last_why says why it is not. */
static int take_answer(struct oauth *o, const struct http_response *r, const cJSON *body,
		       int64_t *ret_after_ms)
{
	if (o->conf.method == OAUTH_LOGIN && r->failure == HTTP_ANSWERED && r->status == 200)
		return take_login(o, r, ret_after_ms);
	if (r->failure == HTTP_ANSWERED && r->status == 200) {
		if (!take_base(o, body))
			return -EACCES;
		if (take_token(o, body))
			return 0;
	}
	say_why(o, r, body);
	if (r->failure != HTTP_ANSWERED || is_transient(r, body))
		return -EAGAIN;
	return r->status >= 400 ? -EACCES : -EPROTO;
}

static void on_token(void *arg, const struct http_response *r)
{
	struct oauth *o = arg;
	cJSON *body = r->failure == HTTP_ANSWERED ? json_parse(r->body, NULL) : NULL;
	int64_t after = verdict_retry_after_ms(http_header(r, "Retry-After"), clock_unix_ms());
	int rc = take_answer(o, r, body, &after);

	o->fetching = false;
	if (rc) {
		after = hold_after(o, rc, after);
		o->next_try_ms = clock_boot_ms() + after;
		o->last_rc = rc;
	}
	cJSON_Delete(body);
	if (rc && current(o))
		rc = 0; /* a refresh ahead of time failed: the old one still works */
	answer_all(o, rc, after);
}

/* ---- asking ---- */

static void add_field(struct buf *body, const char *name, struct slice value)
{
	if (body->n)
		buf_addc(body, '&');
	buf_adds(body, name);
	buf_addc(body, '=');
	http_escape(body, value);
}

static int add_assertion(struct oauth *o, const char *name, const struct oauth_claims *claims,
			 struct buf *body)
{
	CLEANUP(buf_cleanup) struct buf jwt = {0};

	if (oauth_assertion_sign(o->assertion, claims, &jwt) < 0)
		return -EIO;
	add_field(body, name, buf_slice(&jwt));
	return 0;
}

static int add_certificate(struct oauth *o, struct buf *body)
{
	const struct oauth_claims claims = {.issuer = o->conf.client_id,
					    .subject = o->conf.client_id,
					    .audience = o->conf.token_url,
					    .now_unix_ms = clock_unix_ms()};

	add_field(body, "client_assertion_type",
		  SLICE("urn:ietf:params:oauth:client-assertion-type:jwt-bearer"));
	return add_assertion(o, "client_assertion", &claims, body);
}

static int add_grant_jwt(struct oauth *o, struct buf *body)
{
	const struct oauth_claims claims = {.issuer = o->conf.client_id,
					    .subject = o->conf.username,
					    .audience = o->conf.audience,
					    .now_unix_ms = clock_unix_ms()};

	add_field(body, "grant_type", SLICE("urn:ietf:params:oauth:grant-type:jwt-bearer"));
	return add_assertion(o, "assertion", &claims, body);
}

static void add_password(struct oauth *o, struct buf *body)
{
	struct buf whole = {0};
	struct slice password = secret_value(o->conf.password);

	buf_grow(&whole, 1024); /* so that no copy of it stays behind */
	buf_clear(&whole);
	buf_add(&whole, password.p, password.n);
	if (o->conf.suffix)
		buf_add(&whole, secret_value(o->conf.suffix).p, secret_value(o->conf.suffix).n);
	add_field(body, "grant_type", SLICE("password"));
	add_field(body, "username", slice_of(o->conf.username));
	add_field(body, "password", buf_slice(&whole));
	secret_wipe(whole.p, whole.n);
	buf_done(&whole);
}

static int make_body(struct oauth *o, struct buf *body)
{
	int rc = 0;

	switch (o->conf.method) {
	case OAUTH_JWT:
		return add_grant_jwt(o, body);
	case OAUTH_LOGIN:
		add_field(body, o->conf.login->name_field, slice_of(o->conf.username));
		add_field(body, o->conf.login->password_field, secret_value(o->conf.password));
		return 0;
	case OAUTH_PASSWORD:
		add_password(o, body);
		break;
	case OAUTH_CLIENT_SECRET:
	case OAUTH_CERTIFICATE:
	case OAUTH_BEARER:
	case OAUTH_METHODS:
		add_field(body, "grant_type", SLICE("client_credentials"));
		break;
	}
	if (!o->conf.basic)
		add_field(body, "client_id", slice_of(o->conf.client_id));
	if (o->conf.scope && *o->conf.scope)
		add_field(body, "scope", slice_of(o->conf.scope));
	if (o->conf.method == OAUTH_CERTIFICATE)
		rc = add_certificate(o, body);
	else if (!o->conf.basic && o->conf.secret)
		add_field(body, "client_secret", secret_value(o->conf.secret));
	return rc;
}

/* RFC 6749 2.3.1: both in form coding, then in base64. */
static void make_basic(const struct oauth *o, struct buf *line)
{
	struct buf pair = {0};

	http_escape(&pair, slice_of(o->conf.client_id));
	buf_addc(&pair, ':');
	if (o->conf.secret)
		http_escape(&pair, secret_value(o->conf.secret));
	buf_adds(line, "Authorization: Basic ");
	buf_add_base64(line, pair.p, pair.n);
	secret_wipe(pair.p, pair.n);
	buf_done(&pair);
}

static void send_fetch(struct oauth *o, const struct buf *body)
{
	struct buf basic = {0};
	const char *headers[] = {"Content-Type: application/x-www-form-urlencoded",
				 "Accept: application/json", NULL, NULL};
	struct http_request r = {.method = HTTP_POST,
				 .url = o->conf.token_url,
				 .headers = headers,
				 .body = buf_slice(body),
				 .timeout_ms = o->conf.timeout_ms};

	if (o->conf.basic) {
		make_basic(o, &basic);
		headers[2] = basic.p;
	}
	o->fetching = true;
	http_send(o->http, &r, on_token, o);
	secret_wipe(basic.p, basic.n);
	buf_done(&basic);
}

static void fetch(struct oauth *o)
{
	struct buf body = {0};

	if (make_body(o, &body) == 0) {
		send_fetch(o, &body);
	} else {
		buf_clear(&o->last_why);
		buf_adds(&o->last_why, "the assertion could not be signed");
		o->last_rc = -EACCES;
		o->next_try_ms = clock_boot_ms() + HOLD_FIRST_MS;
	}
	secret_wipe(body.p, body.n);
	buf_done(&body);
}

void oauth_ask(struct oauth *o, oauth_fn fn, void *arg)
{
	int64_t now = clock_boot_ms();
	const char *bearer = current(o);
	bool due = o->conf.method != OAUTH_BEARER && (!bearer || now >= o->refresh_ms);

	if (due && !o->fetching && now >= o->next_try_ms)
		fetch(o);
	if (bearer) {
		fn(arg, &(struct oauth_result){.bearer = bearer, .base = base_of(o)});
		return;
	}
	if (!o->fetching) {
		fn(arg, &(struct oauth_result){.rc = o->last_rc,
					       .why = o->last_why.p ? o->last_why.p : "",
					       .after_ms = o->next_try_ms - now});
		return;
	}
	struct waiter *w = mem_alloc(sizeof(*w));

	w->fn = fn;
	w->arg = arg;
	*o->waiters_end = w;
	o->waiters_end = &w->next;
}

bool oauth_refused(struct oauth *o, const char *bearer)
{
	if (o->conf.method == OAUTH_BEARER)
		return false;
	if (o->token && strcmp(secret_value(o->token).p, bearer) == 0) {
		secret_free(o->token);
		o->token = NULL;
	}
	return true;
}

/* ---- origins ---- */

int oauth_origin(const char *url, struct buf *out)
{
	size_t scheme = strncasecmp(url, "https://", 8) == 0  ? 8
			: strncasecmp(url, "http://", 7) == 0 ? 7
							      : 0;
	const char *host = url + scheme, *default_port = scheme == 8 ? ":443" : ":80";
	size_t n = strcspn(host, "/?#"), start = out->n;

	if (scheme == 0 || n == 0 || memchr(host, '@', n) || memchr(host, '\\', n))
		return -EINVAL;
	for (size_t i = 0; i < scheme + n; i++) {
		if ((unsigned char)url[i] <= ' ')
			return -EINVAL;
		buf_addc(out, (char)tolower((unsigned char)url[i]));
	}
	size_t port = strlen(default_port);

	if (out->n - start > port && strcmp(out->p + out->n - port, default_port) == 0) {
		out->n -= port;
		out->p[out->n] = '\0';
	}
	return 0;
}
