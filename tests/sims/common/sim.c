#include "sim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

enum { LOG_SIZE = 16384, EX_USAGE = 64 };

struct log_line {
	int64_t time_unix_ms;
	char *method, *target;
	const char *agent;
	uint64_t connection;
	int status;
	bool inner;
};

struct sim_log {
	struct log_line lines[LOG_SIZE];
	uint64_t n; /* ever */
};

/* A request that is carried out when nobody waits for it any more. */
struct late {
	uv_timer_t timer;
	struct sim *sim;
	struct http_request request;
	struct text bytes;
	struct slice method, path, query, body;
};

struct options {
	const char *listen, *admin, *cert, *key, *ready_file, *knobs;
};

int64_t sim_now_ms(const struct sim *sim)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000 + sim->clock_offset_ms;
}

static void log_call(struct sim *sim, const struct sim_call *call)
{
	struct log_line *line = &sim->log->lines[sim->log->n++ % LOG_SIZE];
	struct text target = {0};

	free(line->method);
	free(line->target);
	text_slice(&target, call->path);
	if (call->query.n) {
		text_char(&target, '?');
		text_slice(&target, call->query);
	}
	*line = (struct log_line){
		.time_unix_ms = sim_now_ms(sim),
		.method = xdup(call->method.p, call->method.n),
		.target = target.p,
		.agent = ledger_intern(&sim->ledger, http_header(call->http, "user-agent")),
		.connection = call->http->connection,
		.status = call->answer->fate == HTTP_SEND ? call->answer->status : 0,
		.inner = call->inner,
	};
}

void sim_log_print(const struct sim *sim, struct text *out)
{
	uint64_t n = sim->log->n;

	for (uint64_t i = n > LOG_SIZE ? n - LOG_SIZE : 0; i < n; i++) {
		const struct log_line *line = &sim->log->lines[i % LOG_SIZE];

		text_fmt(out, "{\"time\":%lld,\"method\":", (long long)line->time_unix_ms);
		text_json(out, slice_of(line->method));
		text_str(out, ",\"path\":");
		text_json(out, slice_of(line->target));
		text_fmt(out, ",\"status\":%d,\"inner\":%s,\"connection\":%llu,\"user_agent\":",
			 line->status, line->inner ? "true" : "false",
			 (unsigned long long)line->connection);
		text_json(out, slice_of(line->agent));
		text_str(out, "}\n");
	}
}

void sim_log_clear(struct sim *sim)
{
	for (size_t i = 0; i < LOG_SIZE; i++) {
		free(sim->log->lines[i].method);
		free(sim->log->lines[i].target);
		sim->log->lines[i] = (struct log_line){0};
	}
	sim->log->n = 0;
}

void sim_commit(struct sim *sim, const struct sim_call *call, const char *kind,
		const uint8_t id[16], struct slice key)
{
	struct ledger_entry *entry = ledger_add(&sim->ledger, kind, key, call->body);

	entry->time_unix_ms = sim_now_ms(sim);
	entry->method = xdup(call->method.p, call->method.n);
	entry->path = xdup(call->path.p, call->path.n);
	entry->agent = ledger_intern(&sim->ledger, http_header(call->http, "user-agent"));
	entry->cut = call->unheard;
	entry->late = call->late;
	uuid_print(id, entry->id);
}

/* Lets the service carry it out, and writes the status into what it committed. */
static void carry_out(struct sim *sim, struct sim_call *call)
{
	size_t before = sim->ledger.n;
	bool writes = sim->service->writes(sim, call);

	if (writes && sim->quiet) {
		sim->stats.quiet_violations++;
		sim->service->error(sim, call, 500, "This service was to be left alone.");
		return;
	}
	if (writes)
		sim->stats.writes++;
	else
		sim->stats.reads++;
	sim->service->handle(sim, call);
	for (size_t i = before; i < sim->ledger.n; i++) {
		if (!sim->ledger.entries[i].status)
			sim->ledger.entries[i].status = call->answer->status;
	}
}

static void on_late_closed(uv_handle_t *handle)
{
	struct late *late = handle->data;

	text_free(&late->bytes);
	free(late);
}

static void on_late(uv_timer_t *timer)
{
	struct late *late = timer->data;
	struct http_response nobody = {.status = 200};
	struct sim_call call = {.method = late->method,
				.path = late->path,
				.query = late->query,
				.body = late->body,
				.http = &late->request,
				.unheard = true,
				.late = true,
				.answer = &nobody};

	arena_reset(&late->sim->arena);
	carry_out(late->sim, &call);
	text_free(&nobody.headers);
	text_free(&nobody.body);
	uv_close((uv_handle_t *)timer, on_late_closed);
}

static void keep(struct text *bytes, struct slice *s)
{
	text_slice(bytes, *s);
	s->p = bytes->p + bytes->n - s->n;
}

static void schedule_late(struct sim *sim, const struct sim_call *call, int64_t delay_ms)
{
	struct late *late = xalloc(sizeof *late);
	size_t size = call->method.n + call->path.n + call->query.n + call->body.n + 1;

	late->sim = sim;
	late->request = *call->http;
	for (size_t i = 0; i < late->request.n_headers; i++)
		size += late->request.headers[i].name.n + late->request.headers[i].value.n;
	late->bytes = (struct text){xgrow(NULL, size), 0, size}; /* so that it never moves */
	for (size_t i = 0; i < late->request.n_headers; i++) {
		keep(&late->bytes, &late->request.headers[i].name);
		keep(&late->bytes, &late->request.headers[i].value);
	}
	late->method = call->method;
	late->path = call->path;
	late->query = call->query;
	late->body = call->body;
	keep(&late->bytes, &late->method);
	keep(&late->bytes, &late->path);
	keep(&late->bytes, &late->query);
	keep(&late->bytes, &late->body);
	uv_timer_init(&sim->loop, &late->timer);
	late->timer.data = late;
	uv_timer_start(&late->timer, on_late, (uint64_t)delay_ms, 0);
}

static const struct fault_do *find_fault(struct sim *sim, const struct sim_call *call)
{
	struct text key = {0};
	const struct fault_do *action;

	if (!sim->faults.n)
		return NULL;
	if (fault_wants_key(&sim->faults))
		sim->service->key(sim, call, &key);
	action = fault_match(&sim->faults, &(struct fault_input){.method = call->method,
								 .path = call->path,
								 .body = call->body,
								 .key = slice_from(&key),
								 .inner = call->inner});
	text_free(&key);
	sim->stats.faults += action != NULL;
	return action;
}

/* The scripted answer in place of the service's. */
static void put_answer(struct http_response *answer, const struct fault_do *action)
{
	text_free(&answer->body);
	text_free(&answer->headers);
	answer->status = action->status;
	answer->content_type = action->content_type ? action->content_type
			       : action->body	    ? "application/json"
						    : NULL;
	if (action->body)
		text_str(&answer->body, action->body);
}

static void do_fault(struct sim *sim, struct sim_call *call, const struct fault_do *action)
{
	struct http_response *answer = call->answer;

	answer->delay_ms += action->delay_ms;
	answer->fate = action->fate;
	answer->truncate_body = action->truncate;
	if (action->late_apply_ms >= 0) {
		schedule_late(sim, call, action->late_apply_ms);
		if (!action->status && action->fate == HTTP_SEND)
			answer->fate = HTTP_HANG;
	} else if (action->commit || (!action->status && action->fate == HTTP_SEND)) {
		call->unheard = action->status || action->fate != HTTP_SEND;
		carry_out(sim, call);
	}
	if (action->status)
		put_answer(answer, action);
	if (action->headers)
		text_str(&answer->headers, action->headers);
}

static void pass(struct sim *sim, struct sim_call *call)
{
	const struct fault_do *action = find_fault(sim, call);

	if (action)
		do_fault(sim, call, action);
	else
		carry_out(sim, call);
	if (call->answer->fate == HTTP_SEND && call->answer->status < 600)
		sim->stats.by_status[call->answer->status]++;
	log_call(sim, call);
}

bool sim_inner(struct sim *sim, struct sim_call *call, struct sim_call *outer)
{
	sim->stats.inner++;
	call->inner = true;
	if (!call->http)
		call->http = outer->http;
	call->unheard = outer->unheard;
	call->late = outer->late;
	pass(sim, call);
	outer->answer->delay_ms += call->answer->delay_ms;
	if (call->answer->fate == HTTP_SEND)
		return true;
	outer->answer->fate = call->answer->fate;
	return false;
}

static void on_request(void *context, const struct http_request *request,
		       struct http_response *response)
{
	struct sim *sim = context;
	struct sim_call call = {.method = request->method,
				.path = request->path,
				.query = request->query,
				.body = request->body,
				.http = request,
				.late = request->left,
				.answer = response};

	arena_reset(&sim->arena);
	sim->stats.requests++;
	response->delay_ms = sim->delay_ms;
	pass(sim, &call);
}

char *sim_read_secret(const char *path)
{
	FILE *file = fopen(path, "re");
	char line[4096];
	char *secret = NULL;

	if (!file)
		return NULL;
	if (fgets(line, sizeof line, file))
		secret = xdup(line, strcspn(line, "\r\n"));
	fclose(file);
	return secret;
}

static int by_service(const void *a, const void *b, void *arg)
{
	struct sim *sim = ((void **)arg)[0];
	bool groups = *(bool *)((void **)arg)[1];

	return sim->service->order(sim, groups, *(const uint32_t *)a, *(const uint32_t *)b);
}

uint32_t *sim_list(struct sim *sim, bool groups, size_t *ret_n)
{
	uint32_t count = sim->service->count(sim, groups);
	uint32_t *list = xalloc((count + 1) * sizeof *list);
	void *how[] = {sim, &groups};
	size_t n = 0;

	for (uint32_t i = 0; i < count; i++) {
		if (sim->service->live(sim, groups, i))
			list[n++] = i;
	}
	if (sim->service->order)
		qsort_r(list, n, sizeof *list, by_service, how);
	*ret_n = n;
	return list;
}

const char *sim_seed_all(struct sim *sim, const struct json *object)
{
	const char *error = NULL;

	for (const struct sim_seed *s = sim->service->seeds; s->list; s++) {
		JSON_EACH(one, json_get(object, s->list))
		{
			if (!error)
				error = s->seed(sim, one);
		}
	}
	return error;
}

/* Position of the name in "a|b|c", or -1. */
static int find_option(const char *names, const char *name)
{
	struct slice rest = slice_of(names);

	for (int i = 0; rest.n; i++) {
		if (slice_is(slice_cut(&rest, '|'), name))
			return i;
	}
	return -1;
}

static const char *set_option(struct sim *sim, struct options *o, const char *name,
			      const char *value)
{
	const char **texts[] = {&o->listen, &o->admin,	    &o->cert,
				&o->key,    &o->ready_file, &o->knobs};
	int64_t number = 0;
	int i = find_option("listen|admin|cert|key|ready-file|knobs", name);

	if (i >= 0) {
		*texts[i] = value;
		return NULL;
	}
	i = find_option("delay-ms|seed", name);
	if (i >= 0) {
		if (!slice_number(slice_of(value), &number) || number < 0)
			return "a number was expected";
		if (i == 0)
			sim->delay_ms = number;
		else
			sim->random = (uint64_t)number;
		return NULL;
	}
	i = find_option(sim->service->options, name);
	return i < 0 ? "unknown option" : sim->service->option(sim, i, value);
}

static const char *set_knobs(struct sim *sim, const char *text)
{
	const char *error = NULL;
	struct json *object = json_parse(&sim->arena, slice_of(text), &error);

	return object ? knob_set(sim->knobs, sim->n_knobs, object) : error;
}

static int open_ports(struct sim *sim, const struct options *o, const char **ret_error)
{
	if (o->cert && o->key) {
		sim->https.tls = http_tls_context(o->cert, o->key, ret_error);
		if (!sim->https.tls)
			return -1;
	}
	sim->https.handler = on_request;
	sim->admin.handler = sim_admin;
	sim->https.context = sim->admin.context = sim;
	sim->https.body_max = 32u << 20;
	sim->admin.body_max = 1u << 30;
	sim->port = http_listen(&sim->https, &sim->loop, o->listen);
	int admin = http_listen(&sim->admin, &sim->loop, o->admin);
	if (sim->port < 0 || admin < 0)
		*ret_error = uv_strerror(sim->port < 0 ? sim->port : admin);
	return sim->port < 0 || admin < 0 ? -1 : admin;
}

static void say_ready(const struct sim *sim, const struct options *o, int admin)
{
	FILE *file = o->ready_file ? fopen(o->ready_file, "we") : NULL;

	if (file) {
		fprintf(file, "ready https=%d admin=%d\n", sim->port, admin);
		fclose(file);
	}
	printf("ready https=%d admin=%d\n", sim->port, admin);
	fflush(stdout);
}

static void on_stop(uv_signal_t *signal, int number)
{
	(void)number;
	uv_stop(signal->loop);
}

static int usage(const struct sim *sim, const char *what, const char *error)
{
	fprintf(stderr, "dirpipe-sim-%s: %s: %s\n", sim->service->name, what, error);
	return EX_USAGE;
}

static int run(struct sim *sim, const struct options *o)
{
	const char *error = NULL;
	uv_signal_t stop[2];
	int admin = open_ports(sim, o, &error);

	if (!error)
		error = sim->service->start(sim);
	if (error)
		return usage(sim, "start", error);
	for (int i = 0; i < 2; i++) {
		uv_signal_init(&sim->loop, &stop[i]);
		uv_signal_start(&stop[i], on_stop, i ? SIGINT : SIGTERM);
	}
	say_ready(sim, o, admin);
	return uv_run(&sim->loop, UV_RUN_DEFAULT) < 0;
}

static int with_options(struct sim *sim, int argc, char **argv)
{
	struct options o = {.listen = "127.0.0.1:0", .admin = "127.0.0.1:0"};
	const char *error;

	for (int i = 1; i < argc; i += 2) {
		if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc)
			return usage(sim, argv[i], "--name value was expected");
		error = set_option(sim, &o, argv[i] + 2, argv[i + 1]);
		if (error)
			return usage(sim, argv[i], error);
	}
	error = o.knobs ? set_knobs(sim, o.knobs) : NULL;
	return error ? usage(sim, "--knobs", error) : run(sim, &o);
}

int sim_main(const struct sim_service *service, int argc, char **argv)
{
	static struct sim sim;
	int code;

	sim.service = service;
	sim.state = service->state;
	sim.knobs = service->knobs;
	sim.n_knobs = *service->n_knobs;
	signal(SIGPIPE, SIG_IGN);
	if (getrandom(&sim.random, sizeof sim.random, 0) < 0)
		return usage(&sim, "getrandom", strerror(errno));
	sim.ledger.body_bytes_max = 256u << 20;
	sim.log = xalloc(sizeof *sim.log);
	uv_loop_init(&sim.loop);
	service->begin(&sim);
	code = with_options(&sim, argc, argv);
	service->end(&sim);
	return code;
}
