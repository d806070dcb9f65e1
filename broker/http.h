/* /metrics /livez /readyz /stats /version (INTERFACES 5.4) on the loop, by libmicrohttpd's own epoll descriptor. Read only;
 * no secret and no name of a person is behind it. */
#ifndef DIRPIPE_BROKER_HTTP_H
#define DIRPIPE_BROKER_HTTP_H

#include "session.h"

struct http;

/* at: "ADDRESS:PORT" ([…] around IPv6). NULL with why set. */
struct http *http_new(struct loop *loop, const char *at, struct session *session,
		      struct buf *why) MUST_CHECK;
void http_free(struct http *h);

#endif
