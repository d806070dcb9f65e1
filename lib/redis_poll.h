/* hiredis on libuv: the adapter that 0.14.1 ships never reports a refused connection (its poll callback returns at
 * status < 0). Private to redis*.c. */
#ifndef DIRPIPE_REDIS_POLL_H
#define DIRPIPE_REDIS_POLL_H

#include <hiredis/async.h>
#include <uv.h>

/* Lets loop drive ac until hiredis lets go of it. 0 or negative errno; ac stays the caller's on failure. */
int redis_poll_attach(uv_loop_t *loop, redisAsyncContext *ac);

#endif
