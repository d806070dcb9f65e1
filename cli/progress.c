#include "progress.h"
#include "clock.h"

#include <stdio.h>
#include <time.h>

enum { SAY_MS = 1000, SHORT_MS = 10, LONG_MS = 250 };

void progress_begin(struct progress *p, const struct cli *cli, const char *what, size_t of)
{
	*p = (struct progress){.what = what,
			       .quiet = cli->quiet,
			       .of = of,
			       .started_ms = clock_boot_ms(),
			       .said_ms = clock_boot_ms()};
}

void progress_say(struct progress *p, size_t done)
{
	int64_t now = clock_boot_ms(), took = now - p->started_ms;

	if (p->quiet || now - p->said_ms < SAY_MS)
		return;
	p->said_ms = now;
	if (done > 0 && done < p->of)
		fprintf(stderr, "%s %zu of %zu, ETA %.0f s\n", p->what, done, p->of,
			(double)took / 1000 * (double)(p->of - done) / (double)done);
	else
		fprintf(stderr, "%s %zu of %zu, ETA unknown\n", p->what, done, p->of);
}

void progress_wait(struct progress *p)
{
	int64_t ms = (clock_boot_ms() - p->started_ms) / 8;
	struct timespec wait;

	ms = ms < SHORT_MS ? SHORT_MS : ms > LONG_MS ? LONG_MS : ms;
	wait = (struct timespec){ms / 1000, (ms % 1000) * 1000000};
	nanosleep(&wait, NULL);
}
