/*
 * An HTTP/1.1 server on a libuv loop, over TLS (OpenSSL, memory BIOs) or plain. Requests of a connection
 * are answered in their order: the next pipelined one is looked at when the answer before it is written.
 */
#pragma once

#include <openssl/ssl.h>
#include <uv.h>

#include "text.h"

enum { HTTP_HEADERS_MAX = 64 };

struct http_header {
	struct slice name, value;
};

struct http_request {
	struct slice method;
	struct slice path;  /* as sent, without the query */
	struct slice query; /* as sent, without '?' */
	struct http_header headers[HTTP_HEADERS_MAX];
	size_t n_headers;
	struct slice body;
	uint64_t connection; /* number of the connection, from 1 */
	bool left;	     /* the client has closed: it has given up on the answer */
};

enum http_fate {
	HTTP_SEND,
	HTTP_CUT,  /* close without a byte of the answer */
	HTTP_HALF, /* close after half of the answer's bytes */
	HTTP_RESET,
	HTTP_HANG, /* never answer, leave the connection open */
};

/* Called when the socket has room for more of a chunked body; false: that was the last. */
typedef bool http_more_fn(void *cursor, struct text *out);

struct http_response {
	int status;
	const char *content_type; /* NULL: none */
	struct text headers;	  /* further lines, each ended by CRLF */
	struct text body;
	enum http_fate fate;
	int64_t delay_ms;
	bool close;	    /* say Connection: close and do so */
	bool truncate_body; /* well-formed HTTP around half of the body */
	http_more_fn
		*more; /* chunked: body first, then what more() adds; frees the cursor at its end */
	void *cursor;
};

/* Fills response (zeroed, status 200). What request points to is gone when it returns. */
typedef void http_handler_fn(void *context, const struct http_request *request,
			     struct http_response *response);

struct http_counts {
	uint64_t connections, open, handshakes, resumed, handshake_failures, bad_requests;
};

struct http_server {
	uv_tcp_t listener;
	SSL_CTX *tls; /* NULL: plain */
	http_handler_fn *handler;
	void *context;
	struct http_counts counts;
	size_t body_max;
};

/* Listens on address ("127.0.0.1:0") and returns the port, or a negative errno. */
int http_listen(struct http_server *server, uv_loop_t *loop, const char *address);

/* Server context for TLS 1.2 and up from PEM files; NULL and *ret_error if they cannot be used. */
SSL_CTX *http_tls_context(const char *cert, const char *key, const char **ret_error);

/* Value of the header of that name (any case), or an empty slice with p = NULL. */
struct slice http_header(const struct http_request *request, const char *name);
/* Whether the content type without parameters is one of the two (other may be NULL). */
bool http_content_is(const struct http_request *request, const char *type, const char *other);

/* Appends the decoded value of the parameter to out; false if absent or badly coded. */
bool http_param(struct slice query, const char *name, struct text *out);
