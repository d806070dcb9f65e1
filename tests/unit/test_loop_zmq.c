#include "loop_fixture.h"

#include <pthread.h>
#include <zmq.h>

static struct loop_timer *timer;

enum { MESSAGES = 100000, WINDOW = 500, A_TURN = 256 };

static void *context;
static char endpoint[256];
static struct side {
	void *socket;
	struct loop_zmq *z;
	int seen, sent;
} router, dealer;

static void *open_socket(int type, bool bind)
{
	void *socket = zmq_socket(context, type);
	int linger = 0, hwm = 0;
	size_t n = sizeof(endpoint);

	assert_non_null(socket);
	zmq_setsockopt(socket, ZMQ_LINGER, &linger, sizeof(linger));
	zmq_setsockopt(socket, ZMQ_SNDHWM, &hwm, sizeof(hwm));
	zmq_setsockopt(socket, ZMQ_RCVHWM, &hwm, sizeof(hwm));
	if (bind) {
		assert_int_equal(zmq_bind(socket, "tcp://127.0.0.1:*"), 0);
		assert_int_equal(zmq_getsockopt(socket, ZMQ_LAST_ENDPOINT, endpoint, &n), 0);
	} else {
		assert_int_equal(zmq_connect(socket, endpoint), 0);
	}
	return socket;
}

static int begin_zmq(void **state)
{
	context = zmq_ctx_new();
	router = dealer = (struct side){0};
	return begin(state);
}

static int end_zmq(void **state)
{
	(void)state;
	loop_zmq_free(router.z);
	loop_zmq_free(dealer.z);
	if (router.socket != NULL)
		zmq_close(router.socket);
	if (dealer.socket != NULL)
		zmq_close(dealer.socket);
	loop_free(t.loop);
	zmq_ctx_term(context);
	return 0;
}

/* Sends back what came, from inside its own take: the send may swallow the edge of what arrives meanwhile. */
static bool echo(void *arg)
{
	struct side *s = arg;
	char id[64], body[64];
	int id_n = zmq_recv(s->socket, id, sizeof(id), ZMQ_DONTWAIT), body_n;

	if (id_n < 0)
		return false;
	body_n = zmq_recv(s->socket, body, sizeof(body), ZMQ_DONTWAIT);
	assert_true(body_n >= 0);
	s->seen++;
	assert_int_equal(zmq_send(s->socket, id, (size_t)id_n, ZMQ_DONTWAIT | ZMQ_SNDMORE), id_n);
	assert_int_equal(zmq_send(s->socket, body, (size_t)body_n, ZMQ_DONTWAIT), body_n);
	return true;
}

static void send_window(void)
{
	while (dealer.sent < MESSAGES && dealer.sent - dealer.seen < WINDOW) {
		int number = dealer.sent++;

		assert_int_equal(zmq_send(dealer.socket, &number, sizeof(number), ZMQ_DONTWAIT),
				 sizeof(number));
	}
}

static bool take_echo(void *arg)
{
	int number;

	(void)arg;
	if (zmq_recv(dealer.socket, &number, sizeof(number), ZMQ_DONTWAIT) < 0)
		return false;
	assert_int_equal(number, dealer.seen);
	if (++dealer.seen == MESSAGES)
		loop_stop(t.loop);
	if (dealer.sent - dealer.seen < WINDOW / 2)
		send_window();
	return true;
}

/* 100,000 there and back on one loop with a bounded window: one lost wake-up and it stands still. */
static void zmq_round_trips_do_not_stall(void **state)
{
	(void)state;
	router.socket = open_socket(ZMQ_ROUTER, true);
	dealer.socket = open_socket(ZMQ_DEALER, false);
	router.z = loop_zmq_new(t.loop, router.socket, echo, &router);
	dealer.z = loop_zmq_new(t.loop, dealer.socket, take_echo, NULL);
	send_window();
	run();
	assert_int_equal(dealer.seen, MESSAGES);
	assert_int_equal(router.seen, MESSAGES);
}

/* A peer of its own that answers every message at once, so that answers arrive while the loop sends. */
static void *echo_thread(void *arg)
{
	void *socket = arg;

	for (int i = 0; i < MESSAGES; i++) {
		char id[64], body[64];
		int id_n = zmq_recv(socket, id, sizeof(id), 0);
		int body_n = zmq_recv(socket, body, sizeof(body), 0);

		if (id_n < 0 || body_n < 0)
			break;
		zmq_send(socket, id, (size_t)id_n, ZMQ_SNDMORE);
		zmq_send(socket, body, (size_t)body_n, 0);
	}
	return NULL;
}

static bool take_only(void *arg)
{
	int number;

	(void)arg;
	if (zmq_recv(dealer.socket, &number, sizeof(number), ZMQ_DONTWAIT) < 0)
		return false;
	if (++dealer.seen == MESSAGES)
		loop_stop(t.loop);
	return true;
}

/* Sends from a timer only: between two timers nothing but the edge tells that answers are there. */
static void send_burst(void *arg)
{
	(void)arg;
	if (dealer.sent - dealer.seen == 0) {
		for (int i = 0; i < WINDOW && dealer.sent < MESSAGES; i++) {
			int number = dealer.sent++;

			zmq_send(dealer.socket, &number, sizeof(number), ZMQ_DONTWAIT);
		}
	}
	if (dealer.sent < MESSAGES)
		loop_timer_set(timer, 1);
}

static void zmq_messages_that_arrive_while_sending(void **state)
{
	pthread_t peer;

	(void)state;
	router.socket = open_socket(ZMQ_ROUTER, true);
	dealer.socket = open_socket(ZMQ_DEALER, false);
	assert_int_equal(pthread_create(&peer, NULL, echo_thread, router.socket), 0);
	dealer.z = loop_zmq_new(t.loop, dealer.socket, take_only, NULL);
	timer = loop_timer_new(t.loop, send_burst, NULL);
	loop_timer_set(timer, 0);
	run();
	pthread_join(peer, NULL);
	assert_int_equal(dealer.seen, MESSAGES);
}

static int in_turn, worst_turn, turns;

static void new_turn(uv_prepare_t *handle)
{
	(void)handle;
	if (in_turn > worst_turn)
		worst_turn = in_turn;
	in_turn = 0;
	turns++;
}

static bool take_counted(void *arg)
{
	in_turn++;
	return take_only(arg);
}

static void *push_thread(void *arg)
{
	void *socket = open_socket(ZMQ_PUSH, false);

	(void)arg;
	for (int i = 0; i < MESSAGES; i++)
		zmq_send(socket, &i, sizeof(i), 0);
	return socket;
}

/* A flood from another thread is taken in portions, so that timers and other sockets get their turn. */
static void zmq_takes_at_most_256_a_turn(void **state)
{
	static uv_prepare_t prepare; /* closed with the loop */
	pthread_t peer;

	(void)state;
	in_turn = worst_turn = turns = 0;
	dealer.socket = open_socket(ZMQ_PULL, true);
	assert_int_equal(pthread_create(&peer, NULL, push_thread, NULL), 0);
	pthread_join(peer, &router.socket);
	dealer.z = loop_zmq_new(t.loop, dealer.socket, take_counted, NULL);
	uv_prepare_init(loop_uv(t.loop), &prepare);
	uv_prepare_start(&prepare, new_turn);
	run();
	assert_int_equal(dealer.seen, MESSAGES);
	assert_in_range(worst_turn, 2, A_TURN);
	assert_true(turns >= MESSAGES / A_TURN);
}

/* Frees and closes its socket inside take while more is waiting. */
static bool take_and_free(void *arg)
{
	take_only(arg);
	loop_zmq_free(dealer.z);
	zmq_close(dealer.socket);
	dealer = (struct side){.seen = dealer.seen};
	loop_timer_set(timer, 5);
	return true;
}

static void zmq_freed_inside_its_callback(void **state)
{
	(void)state;
	dealer.socket = open_socket(ZMQ_PULL, true);
	router.socket = open_socket(ZMQ_PUSH, false);
	for (int i = 0; i < 10; i++)
		zmq_send(router.socket, &i, sizeof(i), 0);
	dealer.z = loop_zmq_new(t.loop, dealer.socket, take_and_free, NULL);
	timer = loop_timer_new(t.loop, stop, NULL);
	run();
	assert_int_equal(dealer.seen, 1);
}

#define ON_ZMQ(test) cmocka_unit_test_setup_teardown(test, begin_zmq, end_zmq)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ON_ZMQ(zmq_round_trips_do_not_stall),
		ON_ZMQ(zmq_messages_that_arrive_while_sending),
		ON_ZMQ(zmq_takes_at_most_256_a_turn),
		ON_ZMQ(zmq_freed_inside_its_callback),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
