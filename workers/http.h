/* HTTP/1.1 over libcurl's multi interface on the loop: keep-alive pool, TLS verified, body cap while streaming, no
 * redirects, time-outs. It says what happened on the wire and judges nothing. */
#ifndef DIRPIPE_HTTP_H
#define DIRPIPE_HTTP_H

#include "buf.h"
#include "loop.h"

struct http;

struct http_conf {
	const char *ca_file; /* NULL: the system's */
	const char *user_agent;
	size_t connections; /* the most at once; more calls wait in order */
	size_t body_max;    /* a larger answer is HTTP_TOO_LARGE */
	int64_t connect_timeout_ms;
};

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT, HTTP_PATCH, HTTP_DELETE, HTTP_METHODS };
const char *http_method_name(enum http_method method);

enum http_failure {
	HTTP_ANSWERED, /* status is set */
	HTTP_NO_HOST,  /* name does not resolve, proxy missing */
	HTTP_REFUSED,  /* nobody there; nothing was sent */
	HTTP_TLS,      /* handshake or certificate refused; nothing was sent */
	HTTP_TIMEOUT,  /* sent is set when the request may have arrived */
	HTTP_CUT,      /* the connection broke after something was sent */
	HTTP_TOO_LARGE,
	HTTP_BROKEN, /* not HTTP, bad chunk, bad encoding */
	HTTP_FAILURES
};

struct http_request {
	enum http_method method;
	const char *url;	    /* absolute */
	const char *bearer;	    /* NULL: no Authorization */
	const char *const *headers; /* "Name: value", NULL at the end; may be NULL */
	struct slice body;	    /* copied */
	int64_t timeout_ms;	    /* of the whole exchange, waiting for a connection included */
	bool fresh;		    /* on a new connection (after a 503, GS 1) */
};

struct http_response {
	enum http_failure failure;
	bool sent; /* the request may have reached the service */
	long status;
	struct slice headers; /* raw lines */
	struct slice body;
	char error[160]; /* for people, on a failure */
	int64_t took_ms;
};

/* response is valid during the call only. Called exactly once per request unless cancelled. */
typedef void (*http_fn)(void *arg, const struct http_response *response);

struct http *http_new(struct loop *loop, const struct http_conf *conf) MUST_CHECK;
void http_free(struct http *http); /* open requests end without their callback */
/* A request that was not answered is never sent a second time by itself, except one without a body. */
void http_send(struct http *http, const struct http_request *request, http_fn fn, void *arg);
void http_cancel(struct http *http, void *arg); /* requests with that arg go on, but call nobody */
size_t http_open(const struct http *http);	/* requests on the wire or waiting */

/* Value of the last header of that name (case-insensitive), trimmed; n = 0 when absent. */
struct slice http_header(const struct http_response *response, const char *name);

/* Connections made and requests done since the start (GOALS P15). */
void http_counts(const struct http *http, uint64_t *ret_connections, uint64_t *ret_requests);

void http_escape(struct buf *out, struct slice text); /* RFC 3986 unreserved stays, all else %XX */

#endif
