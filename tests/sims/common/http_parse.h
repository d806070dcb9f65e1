/* Cutting requests out of a byte stream. */
#pragma once

#include "http.h"

enum http_parsed {
	HTTP_PARSED,
	HTTP_MORE,     /* the rest has not come yet */
	HTTP_CONTINUE, /* likewise, and the client waits for "100 Continue" */
	HTTP_BAD,
	HTTP_TOO_LARGE,
};

/*
 * Reads one request from the head of in. HTTP_PARSED sets *ret_used; the request points into in. A
 * chunked body is unchunked in place.
 */
enum http_parsed http_parse(struct text *in, size_t body_max, struct http_request *request,
			    size_t *ret_used);
