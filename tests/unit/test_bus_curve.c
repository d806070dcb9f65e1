/* ZeroMQ between hosts: who may speak, and who stays outside. */
#include "bus_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <zmq.h>

/* ---- CURVE ---- */

static struct {
	char public_key[4][41], secret_key[4][41];
	struct secret *secrets[4];
	struct bus_peer_key peers[2];
	struct bus_keys router;
	char endpoint[64];
	uint16_t port;
} curve;
enum { BROKER, COLLECTOR, WORKER, STRANGER };

static void curve_begin(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t n = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	for (int i = 0; i < 4; i++) {
		bus_keypair(curve.public_key[i], curve.secret_key[i]);
		curve.secrets[i] = secret_new(curve.secret_key[i], 40);
	}
	curve.peers[0] =
		(struct bus_peer_key){"host1", curve.public_key[COLLECTOR], BUS_COLLECTOR, "corp"};
	curve.peers[1] = (struct bus_peer_key){"host2", curve.public_key[WORKER], BUS_WORKER, NULL};
	curve.router = (struct bus_keys){curve.secrets[BROKER], NULL, curve.peers, 2};
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
	close(fd);
	curve.port = ntohs(a.sin_port);
	snprintf(curve.endpoint, sizeof(curve.endpoint), "tcp://127.0.0.1:%u", curve.port);
}

static void curve_end(void)
{
	for (int i = 0; i < 4; i++)
		secret_free(curve.secrets[i]);
}

static struct bus_keys dealer_keys(int who)
{
	return (struct bus_keys){curve.secrets[who], curve.public_key[BROKER], NULL, 0};
}

static void a_key_says_who_may_do_what(void **state)
{
	struct bus_keys keys;

	(void)state;
	curve_begin();
	router.bus = router_at(curve.endpoint, &curve.router);
	router.echo = true;
	memset(curve.peers, 0, sizeof(curve.peers)); /* the allow-list was copied */
	keys = dealer_keys(COLLECTOR);
	dealer.bus = dealer_at(curve.endpoint, &keys);
	say(&dealer, nobody, "from collector");
	wait_for(&dealer, 1);
	assert_string_equal(router.got[0].key, "host1");
	assert_int_equal(router.got[0].roles, BUS_COLLECTOR);
	assert_string_equal(router.got[0].only, "corp");
	bus_free(dealer.bus);

	/* A worker that says what only a collector may say is seen as what it is. */
	keys = dealer_keys(WORKER);
	dealer.bus = dealer_at(curve.endpoint, &keys);
	say(&dealer, nobody, "from worker");
	wait_for(&dealer, 2);
	assert_string_equal(router.got[1].key, "host2");
	assert_int_equal(router.got[1].roles, BUS_WORKER);
	assert_string_equal(router.got[1].only, "");
	bus_reconnect(dealer.bus);
	say(&dealer, nobody, "with the same key");
	wait_for(&dealer, 3);
	assert_string_equal(router.got[2].key, "host2");
	curve_end();
}

static void both_doors_at_once(void **state)
{
	const char *endpoints[2];
	struct buf why = {0};
	struct bus_keys keys;

	(void)state;
	curve_begin();
	endpoints[0] = curve.endpoint;
	endpoints[1] = ipc;
	router.bus = bus_router_new(t.loop, endpoints, 2, &curve.router, arrived, &router, &why);
	assert_non_null(router.bus);
	dealer.bus = dealer_at(ipc, NULL);
	say(&dealer, nobody, "local");
	wait_for(&router, 1);
	assert_false(router.got[0].has_key);
	bus_free(dealer.bus);
	keys = dealer_keys(WORKER);
	dealer.bus = dealer_at(curve.endpoint, &keys);
	say(&dealer, nobody, "remote");
	wait_for(&router, 2);
	assert_true(router.got[1].has_key);
	curve_end();
}

static void look_at_monitor(void *arg)
{
	zmq_msg_t m;
	uint16_t event;

	(void)arg;
	zmq_msg_init(&m);
	while (zmq_msg_recv(&m, raw.monitor, ZMQ_DONTWAIT) >= 0) {
		memcpy(&event, zmq_msg_data(&m), sizeof(event));
		if (event == ZMQ_EVENT_HANDSHAKE_FAILED_AUTH ||
		    event == ZMQ_EVENT_HANDSHAKE_FAILED_PROTOCOL ||
		    event == ZMQ_EVENT_HANDSHAKE_FAILED_NO_DETAIL)
			raw.failed = event;
		assert_int_not_equal(event, ZMQ_EVENT_HANDSHAKE_SUCCEEDED);
		zmq_msg_recv(&m, raw.monitor, ZMQ_DONTWAIT); /* the address */
	}
	zmq_msg_close(&m);
	if (raw.failed)
		loop_stop(t.loop);
	else
		loop_timer_set(raw.timer, 5);
}

/* The stranger tries, is refused by the handshake, and nothing of it arrives. */
static int stranger_tries(const char *secret_key, const char *public_key)
{
	struct buf header = {0};
	int event;

	raw_open(ZMQ_DEALER);
	if (secret_key) {
		zmq_setsockopt(raw.socket, ZMQ_CURVE_SECRETKEY, secret_key, 41);
		zmq_setsockopt(raw.socket, ZMQ_CURVE_PUBLICKEY, public_key, 41);
		zmq_setsockopt(raw.socket, ZMQ_CURVE_SERVERKEY, curve.public_key[BROKER], 41);
	}
	assert_int_equal(zmq_socket_monitor(raw.socket, "inproc://monitor", ZMQ_EVENT_ALL), 0);
	raw.monitor = zmq_socket(raw.context, ZMQ_PAIR);
	assert_int_equal(zmq_connect(raw.monitor, "inproc://monitor"), 0);
	assert_int_equal(zmq_connect(raw.socket, curve.endpoint), 0);
	wire_put_header(&header, WIRE_VERB_beat, epoch);
	RAW(buf_slice(&header), {"let me in", 9});
	raw.timer = loop_timer_new(t.loop, look_at_monitor, NULL);
	loop_timer_set(raw.timer, 0);
	run();
	event = raw.failed;
	loop_timer_free(raw.timer);
	raw_close();
	buf_done(&header);
	return event;
}

static void strangers_stay_outside(void **state)
{
	struct bus_keys keys;

	(void)state;
	curve_begin();
	router.bus = router_at(curve.endpoint, &curve.router);
	assert_int_equal(stranger_tries(curve.secret_key[STRANGER], curve.public_key[STRANGER]),
			 ZMQ_EVENT_HANDSHAKE_FAILED_AUTH);
	assert_int_not_equal(stranger_tries(NULL, NULL), 0);
	keys = dealer_keys(COLLECTOR);
	dealer.bus = dealer_at(curve.endpoint, &keys);
	say(&dealer, nobody, "a friend");
	wait_for(&router, 1);
	assert_string_equal(router.got[0].body, "a friend");
	curve_end();
}

static void http_on_the_port_does_no_harm(void **state)
{
	static const char request[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct bus_keys keys;
	char answer[256];

	(void)state;
	curve_begin();
	router.bus = router_at(curve.endpoint, &curve.router);
	a.sin_port = htons(curve.port);
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(write(fd, request, sizeof(request) - 1), (ssize_t)sizeof(request) - 1);
	while (read(fd, answer, sizeof(answer)) > 0)
		; /* the greeting, then the end */
	close(fd);
	keys = dealer_keys(COLLECTOR);
	dealer.bus = dealer_at(curve.endpoint, &keys);
	say(&dealer, nobody, "a friend");
	wait_for(&router, 1);
	assert_string_equal(router.got[0].body, "a friend");
	curve_end();
}

static void no_router(const char *endpoint, const struct bus_keys *keys, const char *words)
{
	struct buf why = {0};

	assert_null(bus_router_new(t.loop, &endpoint, 1, keys, arrived, &router, &why));
	if (!strstr(why.p, words))
		fail_msg("wants %s, has %s", words, why.p);
	buf_done(&why);
}

static void no_dealer(const char *endpoint, const struct bus_keys *keys, const char *words)
{
	struct buf why = {0};

	assert_null(bus_dealer_new(t.loop, &endpoint, 1, keys, arrived, &dealer, &why));
	if (!strstr(why.p, words))
		fail_msg("wants %s, has %s", words, why.p);
	assert_null(strstr(why.p, "hunter2"));
	buf_done(&why);
}

static void tcp_needs_keys(void **state)
{
	struct secret *bad = secret_new("hunter2", 7);
	struct bus_keys keys;
	char taken[64];

	(void)state;
	curve_begin();
	no_router(curve.endpoint, NULL, "tcp:// needs an own CURVE key and an allow-list");
	keys = curve.router;
	keys.peers_n = 0;
	no_router(curve.endpoint, &keys, "allow-list");
	keys = curve.router;
	keys.secret_key = bad;
	no_router(curve.endpoint, &keys, "the own CURVE key is no key");
	curve.peers[1].public_key = "short";
	no_router(curve.endpoint, &curve.router, "the key of peer host2");
	curve.peers[1].public_key = curve.public_key[WORKER];
	no_router("udp://127.0.0.1:1", &curve.router, "expected ipc:///PATH or tcp://HOST:PORT");
	no_router("ipc://relative", &curve.router, "expected ipc:///PATH");
	no_router("ipc:///nowhere/at/all", NULL, "No such file or directory");

	no_dealer(curve.endpoint, NULL, "tcp:// needs an own CURVE key and the broker's");
	keys = dealer_keys(WORKER);
	keys.secret_key = bad;
	no_dealer(curve.endpoint, &keys, "the own CURVE key is no key");
	keys = dealer_keys(WORKER);
	keys.server_key = "short";
	no_dealer(curve.endpoint, &keys, "the broker's key is no CURVE public key");
	no_dealer("inproc://x", NULL, "expected ipc:///PATH");

	router.bus = router_at(curve.endpoint, &curve.router);
	snprintf(taken, sizeof(taken), "%s", curve.endpoint);
	no_router(taken, &curve.router, "Address already in use");
	secret_free(bad);
	curve_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_key_says_who_may_do_what),
		TEST(both_doors_at_once),
		TEST(strangers_stay_outside),
		TEST(http_on_the_port_does_no_harm),
		TEST(tcp_needs_keys),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
