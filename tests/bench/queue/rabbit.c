/* RabbitMQ as a queue, a peer of bench-pipe: a durable queue (classic or quorum) of persistent messages, a producer with at most 1,000
 * unconfirmed, consumers that acknowledge each message.
 *
 *	bench-rabbit produce PORT KIND MESSAGES BYTES [RATE]
 *	bench-rabbit consume PORT KIND MESSAGES             until SIGTERM
 *
 * Prints "ready", and at its end one line of JSON (measure.h). */
#include "measure.h"

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <signal.h>

enum { WINDOW = 1000, FLUSH = 64, PREFETCH = 256, CHANNEL = 1 };

static volatile sig_atomic_t stopped;

static void on_term(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "bench-rabbit: %s\n", what);
	exit(1);
}

static void good(amqp_connection_state_t c, const char *what)
{
	if (amqp_get_rpc_reply(c).reply_type != AMQP_RESPONSE_NORMAL)
		die(what);
}

static amqp_connection_state_t connect_to(const char *port, char *kind)
{
	amqp_connection_state_t c = amqp_new_connection();
	amqp_socket_t *s = amqp_tcp_socket_new(c);
	amqp_table_entry_t entry = {.key = amqp_cstring_bytes("x-queue-type")};
	amqp_table_t table = {1, &entry};

	entry.value.kind = AMQP_FIELD_KIND_UTF8;
	entry.value.value.bytes = amqp_cstring_bytes(kind);
	if (amqp_socket_open(s, "127.0.0.1", (int)strtol(port, NULL, 10)))
		die("no connection");
	if (amqp_login(c, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest").reply_type !=
	    AMQP_RESPONSE_NORMAL)
		die("login");
	amqp_channel_open(c, CHANNEL);
	good(c, "channel");
	amqp_queue_declare(c, CHANNEL, amqp_cstring_bytes("q"), 0, 1, 0, 0, table);
	good(c, "queue");
	return c;
}

/* Which publications are confirmed: single ones, or all up to a number. */
struct confirms {
	uint8_t *done;
	uint64_t low;
};

static void confirm_one(struct measure *m, struct confirms *k, uint64_t tag)
{
	if (tag > m->total || k->done[tag])
		return;
	k->done[tag] = 1;
	m->got++;
}

static void confirmed(struct measure *m, struct confirms *k, const amqp_basic_ack_t *ack)
{
	if (!ack->multiple)
		confirm_one(m, k, ack->delivery_tag);
	for (uint64_t i = k->low; ack->multiple && i <= ack->delivery_tag; i++)
		confirm_one(m, k, i);
	while (k->low <= m->total && k->done[k->low])
		k->low++;
}

static void confirms(amqp_connection_state_t c, struct measure *m, struct confirms *k, long wait_us)
{
	struct timeval wait = {0, wait_us};
	amqp_frame_t f;

	while (amqp_simple_wait_frame_noblock(c, &f, &wait) == AMQP_STATUS_OK) {
		wait = (struct timeval){0};
		if (f.frame_type != AMQP_FRAME_METHOD)
			continue;
		if (f.payload.method.id != AMQP_BASIC_ACK_METHOD)
			die("a publication was refused");
		confirmed(m, k, f.payload.method.decoded);
	}
	amqp_maybe_release_buffers(c);
}

static void produce(amqp_connection_state_t c, struct measure *m, size_t bytes, double rate)
{
	static const amqp_basic_properties_t durable = {._flags = AMQP_BASIC_DELIVERY_MODE_FLAG,
							.delivery_mode = 2};
	struct confirms k = {calloc(m->total + 2, 1), 1};
	char *message = malloc(bytes);
	uint64_t sent = 0;

	amqp_confirm_select(c, CHANNEL);
	good(c, "confirms");
	m->first_ns = measure_now_ns();
	while (m->got < m->total) {
		unsigned burst = 0;

		for (; sent < m->total && sent - m->got < WINDOW && burst < FLUSH &&
		       measure_due(m->first_ns, sent, rate);
		     burst++) {
			measure_fill(message, bytes, sent++);
			if (amqp_basic_publish(c, CHANNEL, amqp_empty_bytes,
					       amqp_cstring_bytes("q"), 0, 0, &durable,
					       (amqp_bytes_t){bytes, message}))
				die("publish");
		}
		confirms(c, m, &k, burst ? 0 : 1000);
	}
	m->last_ns = measure_now_ns();
	free(message);
	free(k.done);
}

static void consume(amqp_connection_state_t c, struct measure *m)
{
	amqp_basic_qos(c, CHANNEL, 0, PREFETCH, 0);
	amqp_basic_consume(c, CHANNEL, amqp_cstring_bytes("q"), amqp_empty_bytes, 0, 0, 0,
			   amqp_empty_table);
	good(c, "consume");
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		struct timeval wait = {0, 100000};
		amqp_envelope_t e;

		amqp_maybe_release_buffers(c);
		if (amqp_consume_message(c, &e, &wait, 0).reply_type != AMQP_RESPONSE_NORMAL)
			continue;
		if (measure_take(m, e.message.body.bytes, e.message.body.len))
			amqp_basic_ack(c, CHANNEL, e.delivery_tag, 0);
		amqp_destroy_envelope(&e);
	}
}

int main(int argc, char **argv)
{
	bool producer = argc > 1 && strcmp(argv[1], "produce") == 0;
	amqp_connection_state_t c;
	struct measure m;

	if (argc < (producer ? 6 : 5))
		die("see the head of rabbit.c");
	signal(SIGTERM, on_term);
	c = connect_to(argv[2], argv[3]);
	measure_begin(&m, strtoull(argv[4], NULL, 10));
	if (producer) {
		puts("ready");
		fflush(stdout);
		produce(c, &m, strtoul(argv[5], NULL, 10), argc > 6 ? strtod(argv[6], NULL) : 0);
	} else {
		consume(c, &m);
	}
	measure_print(&m);
	amqp_connection_close(c, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(c);
	free(m.seen);
	return 0;
}
