/* What systemd (or a container) asks of a daemon: READY, STATUS, WATCHDOG, STOPPING. No effect without it. */
#ifndef DIRPIPE_SERVICE_H
#define DIRPIPE_SERVICE_H

#include "loop.h"

void service_ready(
	struct loop *loop); /* also starts the watchdog's beat when $WATCHDOG_USEC asks for one */
void service_status(const char *format, ...) __attribute__((format(printf, 1, 2)));
void service_reloading(void);
void service_stopping(void);

enum {
	EXIT_OK_ = 0,
	EXIT_FAILED_ = 1,
	EXIT_HELD_ = 3,	   /* a person's approval is needed */
	EXIT_PARTIAL_ = 4, /* some of it was refused */
	EXIT_USAGE_ = 64,
	EXIT_DATA_ = 65,
	EXIT_UNAVAILABLE_ = 69,
	EXIT_LATER_ = 75, /* try again soon */
	EXIT_CONFIG_ = 78
};

#endif
