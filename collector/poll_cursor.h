/* What a cursor of the driver poll stands for. Cookie: the highest stamp that was read; server: "poll=1;base=…;stamp=…;server=…". */
#ifndef DIRPIPE_POLL_CURSOR_H
#define DIRPIPE_POLL_CURSOR_H

#include "id.h"

struct poll_cursor {
	char newest[80];  /* "": nothing was read */
	struct id base;	  /* the id of base_dn's entry: which directory it was */
	char stamp[32];	  /* the attribute */
	char server[256]; /* the URI it was read from */
};

void poll_cursor_format(const struct poll_cursor *c, struct buf *out); /* the server part */
/* -EINVAL: not a cursor of this driver, or one that says nothing. */
int poll_cursor_parse(struct slice cookie, struct slice server, struct poll_cursor *ret) MUST_CHECK;

#endif
