#include "worker.h"

#include "clock.h"
#include "credentials.h"
#include "log.h"
#include "service.h"
#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	TRY_FIRST_MS = 1000,
	TRY_CAP_MS = 30000,
	LAST_WORDS_MS = 200, /* for LEAVE to get out */
	BATCH_LEAST = 16     /* users in a TASK frame even where requests carry one each */
};

struct worker {
	struct loop *loop;
	const struct conf_node *root, *conf;
	const char *target_name;
	char *instance;
	struct buf name, origin, agent;
	const struct target_driver *driver;
	struct target *target;
	struct mapping *mapping;
	struct join *join;
	struct licence *licence;
	struct credentials credentials;
	struct secret *curve_key;
	struct http *http;
	struct oauth *oauth;
	struct exchange *exchange;
	struct task_desk desk;
	struct session *session;
	struct probe *probe; /* at work, or NULL */
	struct plan_conf plan_conf;
	struct plan *plan;
	struct reconcile *reconcile;
	bool reconciles;
	struct bus_keys keys;
	struct loop_timer *timer; /* next try of the check; the drain's end */
	int64_t try_ms;
	struct buf trouble; /* the last said */
	bool stopping, left;
	loop_fn ended;
	void *arg;
};

/* ---- parts from the configuration ---- */

static void make_mapping(struct worker *w, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf json = {0}, where = {0};
	cJSON *spec;

	conf_json(w->conf, "mapping", &json);
	conf_where(w->conf, "mapping", &where);
	spec = json_parse(buf_slice(&json), NULL);
	w->mapping = mapping_new(spec, where.p ? where.p : "", errors);
	cJSON_Delete(spec);
}

static void make_join(struct worker *w, struct buf *errors)
{
	w->join = join_new(w->conf, errors);
	if (w->join && join_count(w->join) == 0) {
		conf_where(w->conf, "join", errors);
		buf_adds(errors,
			 ": join: expected at least one rule: without one an account cannot be "
			 "found again\n");
	}
}

static void make_oauth(struct worker *w, struct buf *errors)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	w->credentials = (struct credentials){.conf = w->conf,
					      .driver = w->driver,
					      .target = w->target,
					      .name = w->target_name,
					      .instance = w->instance};
	if (!credentials_load(&w->credentials, errors))
		return;
	w->oauth = oauth_new(w->http, &w->credentials.oauth, &why);
	if (!w->oauth) {
		conf_where(w->conf, "auth", errors);
		buf_addf(errors, ": auth.%s\n", why.p);
	}
}

static void check_window(const struct worker *w, struct buf *errors)
{
	const struct conf_node *reconcile = conf_section(w->conf, "reconcile");
	const char *window = conf_text(reconcile, "window");
	struct clock_window parsed;

	if (clock_window_parse(window, &parsed) == 0)
		return;
	conf_where(reconcile, "window", errors);
	buf_addf(errors, ": reconcile.window: expected HH:MM-HH:MM (UTC), not '%s'\n", window);
}

static void make_http(struct worker *w)
{
	const struct conf_node *http = conf_section(w->conf, "http");

	buf_adds(&w->agent, "dirpipe/" DIRPIPE_VERSION);
	w->http = http_new(
		w->loop,
		&(struct http_conf){.ca_file = conf_text(conf_section(w->conf, "tls"), "ca_file"),
				    .user_agent = w->agent.p,
				    .connections = (size_t)conf_int(http, "connections"),
				    .body_max = (size_t)conf_int(http, "body_max"),
				    .connect_timeout_ms = conf_int(http, "connect_timeout")});
}

static struct fp fingerprint(const struct worker *w, bool whole)
{
	static const char *const keys[] = {"options", "mapping", "groups", "licences",
					   "licence_policy"};
	CLEANUP(buf_cleanup) struct buf text = {0};

	buf_addf(&text, "%s %s\n", w->driver->name, w->driver->version);
	for (size_t i = 0; i < (whole ? sizeof(keys) / sizeof(*keys) : 1); i++) {
		conf_json(w->conf, keys[i], &text);
		buf_addc(&text, '\n');
	}
	if (whole)
		buf_addf(&text, "%s %s %d %lld\n", conf_text(w->conf, "url"),
			 conf_text(w->conf, "leave"), conf_bool(w->conf, "create"),
			 (long long)conf_int(w->conf, "delete_after"));
	for (size_t i = 0; whole && i < join_count(w->join); i++)
		buf_addf(&text, "%s %s %d\n", join_rule(w->join, i)->remote,
			 join_rule(w->join, i)->local, join_rule(w->join, i)->soft);
	return fp_of(buf_slice(&text));
}

static void desk_note(void *arg, const struct wire_note *note)
{
	struct worker *w = arg;

	if (w->session)
		session_note(w->session, note);
}

static void desk_report(void *arg, const struct wire_result *result)
{
	struct worker *w = arg;

	if (w->session)
		session_report(w->session, result);
}

static void make_desk(struct worker *w)
{
	const char *leave = conf_text(w->conf, "leave");

	w->desk = (struct task_desk){.loop = w->loop,
				     .exchange = w->exchange,
				     .driver = w->driver,
				     .target = w->target,
				     .mapping = w->mapping,
				     .join = w->join,
				     .licence = w->licence,
				     .leave = strcmp(leave, "delete") == 0   ? TASK_LEAVE_DELETE
					      : strcmp(leave, "unlink") == 0 ? TASK_LEAVE_UNLINK
									     : TASK_LEAVE_DISABLE,
				     .delete_after_ms = conf_int(w->conf, "delete_after"),
				     .settle_ms = conf_int(w->conf, "settle"),
				     .create = conf_bool(w->conf, "create"),
				     .options = fingerprint(w, false),
				     .arg = w,
				     .note = desk_note,
				     .report = desk_report};
	task_desk_init(&w->desk);
}

static void make_exchange(struct worker *w, bool reads_only)
{
	w->exchange = exchange_new(&(struct exchange_conf){
		.loop = w->loop,
		.http = w->http,
		.oauth = w->oauth,
		.driver = w->driver,
		.target = w->target,
		.origin = w->origin.p,
		.timeout_ms = conf_int(conf_section(w->conf, "http"), "timeout"),
		.reads_only = reads_only});
}

void worker_reads_only(struct worker *w)
{
	exchange_free(w->exchange);
	make_exchange(w, true);
	w->desk.exchange = w->exchange;
}

static void make_name(struct worker *w)
{
	char host[64] = "";

	gethostname(host, sizeof(host) - 1);
	buf_addf(&w->name, "%s@%s:%d", w->instance, host, (int)getpid());
}

struct worker *worker_new(struct loop *loop, const struct conf *conf, const char *target,
			  const char *instance, struct buf *errors)
{
	struct worker *w = mem_alloc(sizeof(*w));
	size_t before = errors->n;

	w->loop = loop;
	w->root = conf_root(conf);
	w->conf = conf_named(w->root, "targets", target);
	w->target_name = target;
	w->instance = mem_dup(instance);
	w->driver = target_driver_named(conf_text(w->conf, "driver"));
	make_name(w);
	make_http(w);
	make_mapping(w, errors);
	make_join(w, errors);
	check_window(w, errors);
	w->licence = licence_new(w->conf, errors);
	w->target = w->driver->create(w->conf, errors);
	if (w->target)
		make_oauth(w, errors);
	if (oauth_origin(conf_text(w->conf, "url"), &w->origin) < 0) {
		conf_where(w->conf, "url", errors);
		buf_adds(errors, ": url: expected https://HOST/…\n");
	}
	if (errors->n != before || !w->target) {
		worker_free(w);
		return NULL;
	}
	make_exchange(w, false);
	make_desk(w);
	w->timer = loop_timer_new(loop, NULL, NULL);
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	if (w->desk.tick)
		task_desk_done(&w->desk);
	reconcile_free(w->reconcile);
	plan_free(w->plan);
	session_free(w->session);
	if (w->probe)
		probe_cancel(w->probe);
	exchange_free(w->exchange);
	oauth_free(w->oauth);
	http_free(w->http);
	if (w->target)
		w->driver->destroy(w->target);
	join_free(w->join);
	licence_free(w->licence);
	mapping_free(w->mapping);
	credentials_done(&w->credentials);
	secret_free(w->curve_key);
	loop_timer_free(w->timer);
	buf_done(&w->name);
	buf_done(&w->origin);
	buf_done(&w->agent);
	buf_done(&w->trouble);
	free(w->instance);
	free(w);
}

/* ---- the end ---- */

static void on_last_words(void *arg)
{
	struct worker *w = arg;

	w->ended(w->arg);
}

static void log_counts(const struct worker *w)
{
	uint64_t connections, requests;
	struct log_line l;

	http_counts(w->http, &connections, &requests);
	l = log_begin(LOG_INFO_, "DP-3205", "worker ends");
	log_int(&l, "requests", (int64_t)requests);
	log_int(&l, "connections", (int64_t)connections);
	log_end(&l);
}

static void leave(struct worker *w)
{
	if (w->left)
		return;
	w->left = true;
	log_counts(w);
	if (w->session)
		session_leave(w->session);
	loop_timer_free(w->timer);
	w->timer = loop_timer_new(w->loop, on_last_words, w);
	loop_timer_set(w->timer, w->session ? LAST_WORDS_MS : 0);
}

static void on_drain_over(void *arg)
{
	struct worker *w = arg;
	struct log_line l = log_begin(LOG_WARN_, "DP-3202", "work is left behind");

	log_int(&l, "tasks", (int64_t)task_count(&w->desk));
	log_int(&l, "unanswered", (int64_t)session_unanswered(w->session));
	log_end(&l);
	leave(w);
}

static bool idle(const struct worker *w)
{
	return task_count(&w->desk) == 0 && (!w->session || session_unanswered(w->session) == 0);
}

void worker_stop(struct worker *w)
{
	if (w->stopping)
		return;
	w->stopping = true;
	service_stopping();
	if (idle(w)) {
		leave(w);
		return;
	}
	session_drain(w->session);
	loop_timer_free(w->timer);
	w->timer = loop_timer_new(w->loop, on_drain_over, w);
	loop_timer_set(w->timer, WORKER_DRAIN_MS);
}

/* ---- the broker ---- */

static void on_task(void *arg, const struct wire_task *task, int64_t now_unix_ms)
{
	struct worker *w = arg;
	int rc = w->left ? -ESHUTDOWN : task_start(&w->desk, task, now_unix_ms);
	struct log_line l;

	if (rc == 0)
		return;
	l = log_begin(LOG_INFO_, "DP-3203", "task not begun");
	log_id(&l, "user", &task->id);
	log_text(&l, "reason",
		 rc == -ETIME	   ? "its lease is over"
		 : rc == -EALREADY ? "doubled"
				   : "leaving");
	log_end(&l);
}

static void on_noted(void *arg, struct task_lease lease, uint8_t kind, bool ok, struct slice reason)
{
	struct worker *w = arg;

	task_noted(&w->desk, lease, kind, ok, reason);
}

static void on_settled(void *arg)
{
	struct worker *w = arg;

	if (w->stopping && idle(w))
		leave(w);
}

static int make_keys(struct worker *w, const char *const *endpoints, size_t n, struct buf *why)
{
	const struct conf_node *curve = conf_section(conf_section(w->root, "connect"), "curve");
	bool tcp = false;

	for (size_t i = 0; i < n; i++)
		tcp = tcp || strncmp(endpoints[i], "tcp://", 6) == 0;
	if (!tcp)
		return 0;
	w->curve_key = conf_load_secret(curve, "secret_key", why);
	w->keys.secret_key = w->curve_key;
	w->keys.server_key = conf_text(curve, "server_key");
	return w->curve_key && w->keys.server_key ? 0 : -EINVAL;
}

static uint32_t users_per_task(const struct worker *w)
{
	struct target_op op = {.kind = TARGET_CREATE, .name = "create"};
	size_t most = 1;

	w->driver->lane(w->target, &op, &most);
	return (uint32_t)(most < BATCH_LEAST ? BATCH_LEAST : most);
}

static int join_broker(struct worker *w, struct buf *why)
{
	const char *endpoints[CONF_ENDPOINTS_MAX];
	size_t n = conf_endpoints(w->root, endpoints, CONF_ENDPOINTS_MAX);

	if (n == 0 || make_keys(w, endpoints, n, why) < 0)
		return -EINVAL;
	struct session_conf conf = {
		.loop = w->loop,
		.endpoints = endpoints,
		.endpoints_n = n,
		.keys = w->curve_key ? &w->keys : NULL,
		.target = w->target_name,
		.worker = w->name.p,
		.driver = w->driver->name,
		.credits = (uint32_t)conf_int(conf_section(w->conf, "worker"), "credits"),
		.batch = users_per_task(w),
		.creates = conf_bool(w->conf, "create") && join_key_stays(w->join),
		.config = fingerprint(w, true),
		.arg = w,
		.task = on_task,
		.noted = on_noted,
		.settled = on_settled};

	w->session = session_new(&conf, why);
	return w->session ? 0 : -EINVAL;
}

/* ---- the test of the connection comes first ---- */

static void try_check(void *arg);

static void on_step(void *arg, bool ok, const char *step, const char *text)
{
	struct worker *w = arg;
	struct log_line l;

	if (ok)
		return;
	l = log_begin(LOG_WARN_, "DP-3201", "the target cannot be used yet");
	log_text(&l, "step", step);
	log_text(&l, "reason", text);
	log_end(&l);
	buf_clear(&w->trouble);
	buf_addf(&w->trouble, "%s: %s", step, text);
}

static void on_tried(void *arg, unsigned failed)
{
	struct worker *w = arg;
	CLEANUP(buf_cleanup) struct buf why = {0};

	w->probe = NULL;
	if (w->stopping)
		return;
	if (failed) {
		service_status("waiting for %s: %s", w->target_name,
			       w->trouble.p ? w->trouble.p : "?");
		loop_timer_set(w->timer, w->try_ms);
		w->try_ms = w->try_ms * 2 < TRY_CAP_MS ? w->try_ms * 2 : TRY_CAP_MS;
		return;
	}
	if (join_broker(w, &why) < 0) {
		log_msg(LOG_ERROR_, "DP-3204", "no way to the broker: %s", why.p ? why.p : "");
		w->ended(w->arg);
		return;
	}
	service_status("at work for %s", w->target_name);
}

static void try_check(void *arg)
{
	struct worker *w = arg;

	w->probe = probe_check(w->exchange, w->driver, w->target, on_step, on_tried, w);
}

int worker_start(struct worker *w, loop_fn ended, void *arg, struct buf *why)
{
	const char *endpoint;

	if (conf_endpoints(w->root, &endpoint, 1) == 0) {
		buf_adds(why, "connect.endpoints is missing");
		return -EINVAL;
	}
	w->ended = ended;
	w->arg = arg;
	w->try_ms = TRY_FIRST_MS;
	loop_timer_free(w->timer);
	w->timer = loop_timer_new(w->loop, try_check, w);
	service_ready(w->loop);
	if (credentials_warning(&w->credentials))
		log_msg(LOG_WARN_, "DP-3206", "%s", credentials_warning(&w->credentials));
	try_check(w);
	return 0;
}

void worker_check(struct worker *w, probe_say_fn say, probe_checked_fn done, void *arg)
{
	if (credentials_warning(&w->credentials))
		say(arg, true, "warning", credentials_warning(&w->credentials));
	probe_check(w->exchange, w->driver, w->target, say, done, arg);
}

void worker_list(struct worker *w, probe_account_fn take, probe_listed_fn done, void *arg)
{
	probe_list(w->exchange, w->driver, w->target, take, done, arg);
}

struct propose *worker_match(struct worker *w, const struct propose_conf *conf, struct buf *errors)
{
	struct propose_conf whole = *conf;

	whole.target = w->target_name;
	whole.join = w->join;
	whole.exchange = w->exchange;
	whole.driver = w->driver;
	whole.of = w->target;
	return propose_new(&whole, errors);
}

/* ---- a plan ---- */

/* The listing takes its share of the target's pace; without a pace it goes as fast as the target answers. */
static int64_t page_interval_ms(const struct worker *w)
{
	const struct conf_node *pace = conf_section(w->conf, "pace");
	int64_t writes = conf_int(pace, "writes"), per_ms = conf_int(pace, "per");
	int64_t percent = conf_int(conf_section(w->conf, "reconcile"), "budget");

	return writes > 0 ? per_ms * 100 / (writes * percent) : 0;
}

static void begin_reconcile(struct worker *w)
{
	w->reconcile = reconcile_new(&(struct reconcile_conf){.plan = w->plan_conf,
							      .exchange = w->exchange,
							      .driver = w->driver,
							      .driven = w->target,
							      .interval_ms = page_interval_ms(w)});
}

static void on_plan_checked(void *arg, unsigned failed)
{
	struct worker *w = arg;

	w->probe = NULL;
	if (failed)
		w->plan_conf.ended(w->plan_conf.arg, w->trouble.p ? w->trouble.p : "no answer");
	else if (w->reconciles)
		begin_reconcile(w);
	else
		w->plan = plan_new(&w->plan_conf);
}

void worker_plan(struct worker *w, const struct plan_conf *conf)
{
	w->plan_conf = *conf;
	w->plan_conf.desk = &w->desk;
	w->plan_conf.target = w->target_name;
	w->plan_conf.config = fingerprint(w, true);
	w->probe = probe_check(w->exchange, w->driver, w->target, on_step, on_plan_checked, w);
}

void worker_reconcile(struct worker *w, const struct plan_conf *conf)
{
	w->reconciles = true;
	worker_plan(w, conf);
}
