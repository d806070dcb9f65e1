#include "service.h"

#include <stdarg.h>

#ifdef DIRPIPE_SYSTEMD
#include "buf.h"

#include <systemd/sd-daemon.h>
#include <time.h>

/* The watchdog's beat rides on the loop: a loop that hangs stops beating, which is the point. The timer
 * belongs to the loop, which frees it. */
static struct {
	struct loop *loop;
	struct loop_timer *timer;
	int64_t every_ms;
} beat;

static void beat_now(void *arg)
{
	(void)arg;
	sd_notify(0, "WATCHDOG=1");
	loop_timer_set(beat.timer, beat.every_ms);
}

static void beat_start(struct loop *loop)
{
	uint64_t limit_us;

	if (beat.loop == loop || sd_watchdog_enabled(0, &limit_us) <= 0)
		return;
	beat.loop = loop;
	beat.every_ms = (int64_t)(limit_us / 2000);
	if (beat.every_ms < 1)
		beat.every_ms = 1;
	beat.timer = loop_timer_new(loop, beat_now, NULL);
	beat_now(NULL);
}

void service_ready(struct loop *loop)
{
	sd_notify(0, "READY=1");
	beat_start(loop);
}

void service_status(const char *format, ...)
{
	struct buf CLEANUP(buf_cleanup) text = {0};
	va_list ap;

	buf_adds(&text, "STATUS=");
	va_start(ap, format);
	buf_vaddf(&text, format, ap);
	va_end(ap);
	for (char *p = text.p; *p != '\0'; p++)
		if (*p == '\n')
			*p = ' '; /* a newline would begin another assignment */
	sd_notify(0, text.p);
}

/* MONOTONIC_USEC: sd_notify(3), for Type=notify-reload. */
void service_reloading(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%lld",
		   (long long)t.tv_sec * 1000000 + t.tv_nsec / 1000);
}

void service_stopping(void)
{
	sd_notify(0, "STOPPING=1");
}

#else

void service_ready(struct loop *loop)
{
	(void)loop;
}

void service_status(const char *format, ...)
{
	(void)format;
}

void service_reloading(void)
{
}

void service_stopping(void)
{
}
#endif
