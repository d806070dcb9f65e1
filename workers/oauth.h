/* Bearer tokens: a static one, or OAuth 2.0 client credentials (RFC 6749 4.4) with a secret or a signed assertion (RFC 7523;
 * PS256, x5t#S256, salt 32, as Microsoft's certificate credentials page asks). One fetch at a time however many ask. */
#ifndef DIRPIPE_OAUTH_H
#define DIRPIPE_OAUTH_H

#include "http.h"
#include "secret.h"

struct oauth;

enum oauth_method { OAUTH_BEARER, OAUTH_CLIENT_SECRET, OAUTH_CERTIFICATE, OAUTH_METHODS };

struct oauth_conf { /* borrowed, must outlive the object */
	enum oauth_method method;
	const char *token_url; /* NULL with OAUTH_BEARER */
	const char *client_id;
	const char *scope;	     /* may be NULL */
	const struct secret *secret; /* the token, the client secret, or the private key in PEM */
	const char *certificate;     /* path of the PEM; its thumbprint goes into the assertion */
	int64_t timeout_ms;
};

/* rc 0: bearer is valid during the call. -EACCES: refused (what stands in why: the server's `error` and codes, no secret);
 * -EAGAIN: the token server throttles or is down, after_ms may be set; -EPROTO: the answer is no token. */
struct oauth_result {
	int rc;
	const char *bearer;
	const char *why;
	int64_t after_ms;
};
typedef void (*oauth_fn)(void *arg, const struct oauth_result *result);

/* NULL with why: certificate or key unreadable, do not fit each other. */
struct oauth *oauth_new(struct http *http, const struct oauth_conf *conf,
			struct buf *why) MUST_CHECK;
void oauth_free(struct oauth *o); /* who waits is not called */

/* Calls fn now (a token with 5 minutes left, or half its life when that is less) or when the one running fetch ends. A token
 * that still works is given out while a refresh that failed is not yet due again. After 3 refusals in a row no fetch
 * is made for 5 minutes and more (GOALS F14): -EACCES at once. */
void oauth_ask(struct oauth *o, oauth_fn fn, void *arg);
void oauth_forget(struct oauth *o, void *arg); /* no call for that arg any more */

/* The service refused this bearer: drop it if it is still the current one. False for a static token: a new one cannot come. */
bool oauth_refused(struct oauth *o, const char *bearer);

/* scheme://host:port of a URL in lower case, default port left out; -EINVAL. Secrets go only where it is equal. */
int oauth_origin(const char *url, struct buf *out) MUST_CHECK;

#endif
