/* /metrics /livez /readyz /readyz?verbose /stats /version /debug/config on the loop, by libmicrohttpd's own epoll
 * descriptor. Read only; no secret and no name of a person is behind it. */
#ifndef DIRPIPE_BROKER_HTTP_H
#define DIRPIPE_BROKER_HTTP_H

#include "session.h"

struct http;

struct http_conf {
	const char *at; /* "ADDRESS:PORT", […] around IPv6 */
	/* What conf_show() made; borrowed, and read whenever it is asked for. Told over loopback alone, whatever the
	 * address listened on: it names servers and DNs. */
	const struct buf *shown;
};

/* NULL with why set. */
struct http *http_new(struct loop *loop, const struct http_conf *conf, struct session *session,
		      struct buf *why) MUST_CHECK;
void http_free(struct http *h);

#endif
