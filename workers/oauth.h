/* Tokens: a static one, one that a service's own log-in gives, or OAuth 2.0: client credentials (RFC 6749 4.4) with a secret or a signed assertion (RFC 7523 2.2;
 * PS256, x5t#S256, salt 32, as Microsoft's certificate credentials page asks), a signed assertion for a user (RFC 7523 2.1, RS256), or
 * a user's password (RFC 6749 4.3, which RFC 9700 2.4 retires). One fetch at a time however many ask. */
#ifndef DIRPIPE_OAUTH_H
#define DIRPIPE_OAUTH_H

#include "http.h"
#include "secret.h"

struct oauth;

enum oauth_method {
	OAUTH_BEARER,
	OAUTH_CLIENT_SECRET,
	OAUTH_CERTIFICATE,
	OAUTH_JWT,
	OAUTH_PASSWORD,
	OAUTH_LOGIN,
	OAUTH_METHODS
};

/* A service's own log-in: a form with a name and a password, answered by a token that is good until it is refused. A fact
 * that a driver declares. */
struct oauth_login {
	const char *name_field, *password_field;
	/* Takes the answer of a 200 apart: 0 with the token; -EACCES: refused, -EAGAIN: later (after_ms may be set), -EPROTO: no
	 * such answer; then why says it in the service's words. */
	int (*take)(struct slice body, struct buf *ret_token, int64_t *ret_after_ms,
		    struct buf *why);
};

/* What a refusal of the token server means to people. */
struct oauth_hint {
	const char *error;	 /* NULL ends the table */
	const char *description; /* its error_description begins so; NULL: any */
	const char *hint;
};

struct oauth_conf { /* borrowed, must outlive the object */
	enum oauth_method method;
	const char *token_url; /* NULL with OAUTH_BEARER */
	const char *client_id;
	const char *scope; /* may be NULL */
	/* The token, the client secret (OAUTH_PASSWORD: may be NULL), or the private key in PEM. */
	const struct secret *secret;
	const char *certificate; /* path of the PEM; its thumbprint goes into the assertion */
	bool basic;		 /* client id and secret as Authorization: Basic */
	const char *username;	 /* OAUTH_JWT: sub; OAUTH_PASSWORD; OAUTH_LOGIN */
	const char *audience;	 /* OAUTH_JWT: aud */
	const struct secret *password,
		*suffix; /* OAUTH_PASSWORD, OAUTH_LOGIN; suffix goes behind it, may be NULL */
	const struct oauth_login *login; /* OAUTH_LOGIN */
	/* Member of the answer that says where the API is, NULL: none; and the hosts where it may be: "host[:port]", or
	 * ".domain" for https on any host below it. NULL at the end. */
	const char *base_member;
	const char *const *base_hosts;
	const struct oauth_hint *hints; /* may be NULL */
	int64_t timeout_ms;
};

/* rc 0: bearer is valid during the call. -EACCES: refused (what stands in why: the server's `error` and codes, no secret);
 * -EAGAIN: the token server throttles or is down, after_ms may be set; -EPROTO: the answer is no token. */
struct oauth_result {
	int rc;
	const char *bearer;
	const char *base; /* where the API is by the token server's word, or NULL */
	const char *why;
	int64_t after_ms;
};
typedef void (*oauth_fn)(void *arg, const struct oauth_result *result);

/* NULL with why: certificate or key unreadable, do not fit each other. */
struct oauth *oauth_new(struct http *http, const struct oauth_conf *conf,
			struct buf *why) MUST_CHECK;
void oauth_free(struct oauth *o); /* who waits is not called */

/* Calls fn now (a token with 5 minutes left, or half its life when that is less; one without a life lasts until it is refused, a day
 * at most) or when the one running fetch ends. A token
 * that still works is given out while a refresh that failed is not yet due again. After 3 refusals in a row no fetch
 * is made for 5 minutes and more (GOALS F14): -EACCES at once. */
void oauth_ask(struct oauth *o, oauth_fn fn, void *arg);
void oauth_forget(struct oauth *o, void *arg); /* no call for that arg any more */

/* The service refused this bearer: drop it if it is still the current one. False for a static token: a new one cannot come. */
bool oauth_refused(struct oauth *o, const char *bearer);

/* scheme://host:port of a URL in lower case, default port left out; -EINVAL. Secrets go only where it is equal. */
int oauth_origin(const char *url, struct buf *out) MUST_CHECK;

#endif
