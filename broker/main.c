/* dirpipe-broker: the one writer of state. */
#include "admin.h"
#include "clock.h"
#include "http.h"
#include "service.h"
#include "settings.h"

#include <getopt.h>
#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STOP_MOST_MS = 8000, STATUS_MS = 5000 };

struct broker {
	const char *path;
	struct settings *settings;
	struct loop *loop;
	struct session *session;
	struct admin *admin;
	struct http *http;
	struct loop_timer *stop_late, *status;
	struct buf shown; /* the configuration, for http */
	bool stopping;
};

static void usage(FILE *to)
{
	fputs("usage: dirpipe-broker [--config FILE] [-t] [-f] [-V]\n"
	      "  --config FILE  default /etc/dirpipe/dirpipe.yaml\n"
	      "  -t             check the configuration and end (exit 78: bad)\n"
	      "  -f             stay in the foreground (it always does)\n"
	      "  -V             version\n",
	      to);
}

/* ---- end ---- */

static void ended(void *arg)
{
	struct broker *b = arg;

	loop_stop(b->loop);
}

static void too_late(void *arg)
{
	struct broker *b = arg;

	log_msg(LOG_WARN_, "DP-1003", "ended before all pages were answered");
	loop_stop(b->loop);
}

static void stop(void *arg)
{
	struct broker *b = arg;

	if (b->stopping)
		return;
	b->stopping = true;
	log_msg(LOG_INFO_, "DP-1002", "stopping");
	service_stopping();
	loop_timer_set(b->stop_late, STOP_MOST_MS);
	session_stop(b->session, ended, b);
}

/* ---- reload: read and check all of it, then take what can change while running ---- */

static void reload_failed(const char *errors)
{
	while (*errors) {
		size_t n = strcspn(errors, "\n");

		log_msg(LOG_ERROR_, "DP-1005", "%.*s", (int)n, errors);
		errors += n + (errors[n] == '\n');
	}
}

static void reload_counted(struct broker *b, bool ok)
{
	struct metrics *m = session_metrics(b->session);

	metrics_set(m, "config_last_reload_successful", "", ok);
	if (!ok)
		return;
	metrics_add(m, "config_generation", "", 1);
	metrics_set(m, "config_last_reload_timestamp_seconds", "", (double)clock_unix_ms() / 1000);
}

/* needed: what a restart would change, one a line; it stands above as comments. */
static void show_config(struct broker *b, const struct conf *conf, struct slice needed)
{
	buf_clear(&b->shown);
	while (needed.n > 0) {
		const char *end = memchr(needed.p, '\n', needed.n);
		size_t n = end ? (size_t)(end - needed.p) + 1 : needed.n;

		buf_adds(&b->shown, "# needs a restart: ");
		buf_add(&b->shown, needed.p, n);
		needed = (struct slice){needed.p + n, needed.n - n};
	}
	conf_show(conf, &b->shown);
}

static void reload(void *arg)
{
	struct broker *b = arg;
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct settings *newer;

	service_reloading();
	newer = settings_load(b->path, &text);
	reload_counted(b, newer != NULL);
	if (!newer) {
		reload_failed(text.p ? text.p : "");
		log_msg(LOG_ERROR_, "DP-1006", "reload refused: the old configuration stays");
	} else {
		settings_take(b->settings, newer, &text);
		show_config(b, newer->conf, buf_slice(&text));
		log_open("broker", "", b->settings->level);
		for (unsigned i = 0; i < b->settings->session.turn.store.targets_n; i++)
			session_reload(b->session, i);
		log_msg(LOG_INFO_, "DP-1007", "configuration reloaded");
		if (text.n > 0)
			log_msg(LOG_WARN_, "DP-1008", "needs a restart: %s", text.p);
		settings_free(newer);
	}
	service_ready(b->loop);
}

/* ---- begin ---- */

static void tell_status(void *arg)
{
	struct broker *b = arg;
	struct store *store = turn_store(session_turn(b->session));

	loop_timer_set(b->status, STATUS_MS);
	service_status("epoch %llu, page %llu%s%s", (unsigned long long)store_epoch(store).number,
		       (unsigned long long)store_next_page(store), store_why(store)[0] ? ": " : "",
		       store_why(store));
}

static int start(struct broker *b, struct buf *why)
{
	b->session = session_new(b->loop, &b->settings->session, why);
	if (!b->session)
		return -1;
	b->admin = admin_new(b->loop, b->settings->control, b->session, why);
	if (!b->admin)
		return -1;
	if (b->settings->http) {
		const struct http_conf conf = {b->settings->http, &b->shown};

		b->http = http_new(b->loop, &conf, b->session, why);
		if (!b->http)
			return -1;
	}
	b->stop_late = loop_timer_new(b->loop, too_late, b);
	b->status = loop_timer_new(b->loop, tell_status, b);
	return 0;
}

static int run(struct broker *b)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	int rc = EXIT_OK_;

	b->loop = loop_new();
	show_config(b, b->settings->conf, (struct slice){0});
	if (start(b, &why) == 0) {
		loop_signals(b->loop, stop, reload, b);
		reload_counted(b, true);
		log_msg(LOG_INFO_, "DP-1001", "dirpipe-broker %s started", DIRPIPE_VERSION);
		service_ready(b->loop);
		tell_status(b);
		loop_run(b->loop);
	} else {
		log_msg(LOG_ERROR_, "DP-1004", "%s", why.p);
		rc = EXIT_UNAVAILABLE_;
	}
	http_free(b->http);
	admin_free(b->admin);
	session_free(b->session);
	loop_timer_free(b->stop_late);
	loop_timer_free(b->status);
	loop_free(b->loop);
	buf_done(&b->shown);
	return rc;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"config", required_argument, NULL, 'c'},
						{"help", no_argument, NULL, 'h'},
						{"version", no_argument, NULL, 'V'},
						{0}};
	struct broker b = {.path = "/etc/dirpipe/dirpipe.yaml"};
	CLEANUP(buf_cleanup) struct buf errors = {0};
	bool test = false;
	int c, rc = EXIT_OK_;

	secret_harden_process();
	signal(SIGPIPE, SIG_IGN);
	while ((c = getopt_long(argc, argv, "c:tfVh", options, NULL)) != -1) {
		if (c == 'c') {
			b.path = optarg;
		} else if (c == 't') {
			test = true;
		} else if (c == 'V') {
			puts("dirpipe-broker " DIRPIPE_VERSION);
			return EXIT_OK_;
		} else if (c != 'f') {
			usage(c == 'h' ? stdout : stderr);
			return c == 'h' ? EXIT_OK_ : EXIT_USAGE_;
		}
	}
	if (optind < argc || sodium_init() < 0) {
		usage(stderr);
		return EXIT_USAGE_;
	}
	b.settings = settings_load(b.path, &errors);
	if (!b.settings) {
		fputs(errors.p ? errors.p : "", stderr);
		return EXIT_CONFIG_;
	}
	log_open("broker", "", b.settings->level);
	if (!test)
		rc = run(&b);
	settings_free(b.settings);
	return rc;
}
