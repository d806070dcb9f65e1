/* One collector or one worker of the queue bench: as dirpipe's own speak to the broker, without directory and target.
 *
 *	bench-pipe produce ENDPOINT SOURCE USERS BYTES [RATE]   publishes users, at most 1,000 uncommitted
 *	bench-pipe consume ENDPOINT TARGET USERS                takes tasks, reports each DONE, until SIGTERM
 *
 * Prints "ready" when it is known to the broker, and at its end one line of JSON (measure.h). */
#include "bus.h"
#include "clock.h"
#include "loop.h"
#include "measure.h"
#include "wire.h"

#include <sodium.h>
#include <unistd.h>

enum { BATCH = 100, WINDOW = 1000, CREDITS = 1000, BEAT_MS = 1000, PACED_MS = 1 };

static struct {
	struct loop *loop;
	struct bus *bus;
	struct loop_timer *beat, *pace;
	struct wire_epoch epoch;
	struct measure measure;
	const char *name;
	bool producer, ready;
	uint64_t nonce, session, batch, sent, committed;
	size_t bytes;
	double rate;
	struct buf results, body;
	uint64_t batch_end[1 << 16]; /* users published up to the end of a batch */
} self;

static void send_body(uint8_t verb, struct wire_epoch epoch)
{
	if (bus_send(self.bus, (struct slice){NULL, 0}, verb, epoch, &self.body) < 0)
		fprintf(stderr, "bench-pipe: %s was not sent\n", wire_verb_name(verb));
	buf_clear(&self.body);
}

static void ready_once(void)
{
	if (self.ready)
		return;
	self.ready = true;
	puts("ready");
	fflush(stdout);
}

/* ---- the collector's part ---- */

static void user_id(uint64_t number, struct id *ret)
{
	memset(ret, 0, sizeof(*ret));
	memcpy(ret->b, &number, sizeof(number));
	ret->b[15] = 1;
}

static void add_user(struct buf *users, char *snapshot, uint64_t number)
{
	CLEANUP(buf_cleanup) struct buf in = {0};
	struct wire_user u = {.snapshot = {snapshot, self.bytes}};

	measure_fill(snapshot, self.bytes, number);
	user_id(number, &u.id);
	wire_add_name(&in, &(struct wire_name){.text = slice_of("app")});
	u.in = wire_list_of(&in, 1);
	u.fingerprint = fp_of(u.snapshot);
	wire_add_user(users, &u);
}

static void publish(uint64_t n)
{
	CLEANUP(buf_cleanup) struct buf users = {0};
	CLEANUP(free_cleanup) char *snapshot = malloc(self.bytes);
	bool last = self.sent + n == self.measure.total;

	for (uint64_t i = 0; i < n; i++)
		add_user(&users, snapshot, self.sent + i);
	self.sent += n;
	self.batch_end[++self.batch % (1 << 16)] = self.sent;
	wire_put_publish(
		&self.body,
		&(struct wire_publish){.session = self.session,
				       .batch = self.batch,
				       .caught_up = last,
				       .has_cursor = last,
				       .cursor = last ? slice_of("end") : (struct slice){"", 0},
				       .users = wire_list_of(&users, (uint32_t)n)});
	send_body(WIRE_VERB_publish, self.epoch);
}

static void pump(void *unused)
{
	(void)unused;
	while (self.sent < self.measure.total && self.sent - self.committed < WINDOW) {
		uint64_t n = 0;

		while (n < BATCH && self.sent + n < self.measure.total &&
		       self.sent + n - self.committed < WINDOW &&
		       measure_due(self.measure.first_ns, self.sent + n, self.rate))
			n++;
		if (n == 0)
			break;
		publish(n);
	}
	if (self.rate > 0 && self.sent < self.measure.total)
		loop_timer_set(self.pace, PACED_MS);
}

static void welcomed(struct slice body)
{
	struct wire_welcome w;

	if (wire_get_welcome(body, &w) < 0 || !w.last)
		return;
	self.session = w.session;
	self.measure.first_ns = measure_now_ns();
	ready_once();
	pump(NULL);
}

static void committed(struct slice body)
{
	struct wire_committed w;

	if (wire_get_committed(body, &w) < 0)
		return;
	self.committed = self.batch_end[w.batch % (1 << 16)];
	self.measure.got = self.committed;
	self.measure.last_ns = measure_now_ns();
	if (self.committed == self.measure.total)
		loop_stop(self.loop);
	else
		pump(NULL);
}

/* ---- the worker's part ---- */

static void done(const struct wire_task *t)
{
	CLEANUP(buf_cleanup) struct buf one = {0};
	char rid[ID_TEXT];

	id_format(&t->id, rid);
	wire_put_result(&one, &(struct wire_result){.lease_epoch = t->lease_epoch,
						    .lease_page = t->lease_page,
						    .lease_index = t->lease_index,
						    .verdict = VERDICT_DONE,
						    .status = 201,
						    .requests = 1,
						    .ops = slice_of("create"),
						    .applied = fp_of(slice_of(rid)),
						    .rid = slice_of(rid),
						    .link_state = LINK_ACTIVE});
	wire_pack(&self.results, &one);
}

static void tasks(struct slice body)
{
	struct wire_tasks w;
	struct wire_task t;

	if (wire_get_tasks(body, &w) < 0)
		return;
	while (wire_next_task(&w.tasks, &t)) {
		if (measure_take(&self.measure, t.snapshot.p, t.snapshot.n))
			done(&t);
	}
	if (bus_send_packed(self.bus, (struct slice){NULL, 0}, WIRE_VERB_result, self.epoch,
			    &self.results) < 0)
		fprintf(stderr, "bench-pipe: results were not sent\n");
}

/* ---- both ---- */

static void say_who(void)
{
	if (self.producer) {
		wire_put_hello(&self.body, &(struct wire_hello){.source = slice_of(self.name),
								.nonce = self.nonce,
								.driver = slice_of("syncrepl"),
								.clock_unix_ms = clock_unix_ms()});
		send_body(WIRE_VERB_hello, (struct wire_epoch){0, 0});
		return;
	}
	wire_put_ready(&self.body, &(struct wire_ready){.target = slice_of(self.name),
							.worker = slice_of("bench"),
							.nonce = self.nonce,
							.credits = CREDITS,
							.batch = BATCH,
							.clock_boot_ms = clock_boot_ms(),
							.driver = slice_of("scim")});
	send_body(WIRE_VERB_ready, self.epoch);
}

static void on_beat(void *unused)
{
	(void)unused;
	loop_timer_set(self.beat, BEAT_MS);
	if (!self.ready) {
		say_who();
		return;
	}
	wire_put_beat(&self.body,
		      &(struct wire_beat){.session = self.producer ? self.session : self.nonce,
					  .clock_boot_ms = clock_boot_ms(),
					  .clock_unix_ms = clock_unix_ms(),
					  .state = 1});
	send_body(WIRE_VERB_beat, self.epoch);
}

static void on_message(void *unused, int rc, const struct bus_message *m)
{
	(void)unused;
	if (rc < 0 || m->header.epoch.number < self.epoch.number)
		return;
	self.epoch = m->header.epoch;
	if (m->header.verb == WIRE_VERB_welcome)
		welcomed(m->body);
	else if (m->header.verb == WIRE_VERB_committed)
		committed(m->body);
	else if (m->header.verb == WIRE_VERB_tasks)
		tasks(m->body);
	else if (m->header.verb == WIRE_VERB_beat && !self.producer)
		ready_once();
	else if (m->header.verb == WIRE_VERB_accepted)
		self.measure.last_ns = measure_now_ns();
}

static void on_stop(void *unused)
{
	(void)unused;
	loop_stop(self.loop);
}

int main(int argc, char **argv)
{
	CLEANUP(buf_cleanup) struct buf why = {0};

	self.producer = argc > 1 && strcmp(argv[1], "produce") == 0;
	if (argc < (self.producer ? 6 : 5)) {
		fputs("bench-pipe: see the head of pipe.c\n", stderr);
		return 64;
	}
	self.name = argv[3];
	measure_begin(&self.measure, strtoull(argv[4], NULL, 10));
	self.bytes = self.producer ? strtoul(argv[5], NULL, 10) : 0;
	self.rate = self.producer && argc > 6 ? strtod(argv[6], NULL) : 0;
	self.loop = loop_new();
	self.bus = bus_dealer_new(self.loop, (const char *const *)&argv[2], 1, NULL, on_message,
				  NULL, &why);
	if (!self.bus) {
		fprintf(stderr, "bench-pipe: %s\n", why.p);
		return 69;
	}
	randombytes_buf(&self.nonce, sizeof(self.nonce));
	loop_signals(self.loop, on_stop, NULL, NULL);
	self.beat = loop_timer_new(self.loop, on_beat, NULL);
	self.pace = loop_timer_new(self.loop, pump, NULL);
	on_beat(NULL);
	loop_run(self.loop);
	measure_print(&self.measure);
	bus_free(self.bus);
	loop_timer_free(self.beat);
	loop_timer_free(self.pace);
	loop_free(self.loop);
	buf_done(&self.results);
	buf_done(&self.body);
	free(self.measure.seen);
	return 0;
}
