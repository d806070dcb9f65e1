/* ZeroMQ between the programs: both sides on one loop; strangers and broken frames come from raw sockets of another context. */
#include "loop_fixture.h"

#include "bus.h"
#include "clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

static char folder[] = "/tmp/test_bus.XXXXXX";
static char ipc[100];
static const struct wire_epoch epoch = {7, 42};
static const struct slice nobody = {NULL, 0};

/* ---- what arrives ---- */

enum { GOT_MAX = 4096 };
struct got {
	int rc;
	uint8_t verb, version;
	uint64_t epoch;
	char peer[64];
	size_t peer_n;
	char key[32], only[32];
	unsigned roles;
	bool has_key;
	size_t body_n;
	char body[32];
};
static struct side {
	struct bus *bus;
	struct got got[GOT_MAX];
	int n, stop_after;
	bool echo, free_it;
} router, dealer;

static void arrived(void *arg, int rc, const struct bus_message *m)
{
	struct side *s = arg;
	struct got *g = &s->got[s->n];

	assert_true(s->n < GOT_MAX);
	*g = (struct got){.rc = rc,
			  .verb = m->header.verb,
			  .version = m->header.version,
			  .epoch = m->header.epoch.number,
			  .peer_n = m->peer.n,
			  .body_n = m->body.n,
			  .has_key = m->key != NULL};
	if (m->peer.n > 0 && m->peer.n < sizeof(g->peer))
		memcpy(g->peer, m->peer.p, m->peer.n);
	if (m->body.n > 0)
		memcpy(g->body, m->body.p,
		       m->body.n < sizeof(g->body) ? m->body.n : sizeof(g->body));
	if (m->key) {
		snprintf(g->key, sizeof(g->key), "%s", m->key->name);
		snprintf(g->only, sizeof(g->only), "%s", m->key->only ? m->key->only : "");
		g->roles = m->key->roles;
	}
	if (s->echo) {
		struct buf copy = {0};

		buf_add(&copy, m->body.p, m->body.n);
		assert_int_equal(bus_send(s->bus, m->peer, m->header.verb, m->header.epoch, &copy),
				 0);
		buf_done(&copy);
	}
	if (s->free_it) {
		bus_free(s->bus);
		s->bus = NULL;
	}
	if (++s->n == s->stop_after)
		loop_stop(t.loop);
}

static void wait_for(struct side *s, int n)
{
	s->stop_after = n;
	if (s->n < n)
		run();
	s->stop_after = 0;
}

static void say(struct side *s, struct slice peer, const char *text)
{
	struct buf b = {0};

	buf_adds(&b, text);
	assert_int_equal(bus_send(s->bus, peer, WIRE_VERB_beat, epoch, &b), 0);
	buf_done(&b);
}

static struct slice peer_of(const struct got *g)
{
	return (struct slice){g->peer, g->peer_n};
}

static struct bus *router_at(const char *endpoint, const struct bus_keys *keys)
{
	struct buf why = {0};
	struct bus *bus = bus_router_new(t.loop, &endpoint, 1, keys, arrived, &router, &why);

	if (!bus)
		fail_msg("%s", why.p);
	buf_done(&why);
	return bus;
}

static struct bus *dealer_at(const char *endpoint, const struct bus_keys *keys)
{
	struct buf why = {0};
	struct bus *bus = bus_dealer_new(t.loop, endpoint, keys, arrived, &dealer, &why);

	if (!bus)
		fail_msg("%s", why.p);
	buf_done(&why);
	return bus;
}

static int begin_bus(void **state)
{
	memset(&router, 0, sizeof(router));
	memset(&dealer, 0, sizeof(dealer));
	return begin(state);
}

static int end_bus(void **state)
{
	bus_free(router.bus);
	bus_free(dealer.bus);
	return end(state);
}

/* ---- ipc ---- */

static void messages_go_both_ways_in_order(void **state)
{
	struct stat st;
	char text[16];

	(void)state;
	router.bus = router_at(ipc, NULL);
	router.echo = true;
	dealer.bus = dealer_at(ipc, NULL);
	assert_int_equal(stat(ipc + 6, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	for (int i = 0; i < 900; i++) {
		snprintf(text, sizeof(text), "%d", i);
		say(&dealer, nobody, text);
	}
	wait_for(&dealer, 900);
	assert_int_equal(router.got[0].peer_n, 32);
	for (int i = 0; i < 900; i++) {
		snprintf(text, sizeof(text), "%d", i);
		assert_int_equal(dealer.got[i].rc, 0);
		assert_string_equal(dealer.got[i].body, text);
		assert_int_equal(dealer.got[i].verb, WIRE_VERB_beat);
		assert_int_equal(dealer.got[i].epoch, 7);
		assert_false(router.got[i].has_key);
	}
	bus_free(router.bus);
	router.bus = NULL;
}

static void large_bodies_are_handed_over(void **state)
{
	struct buf b = {0};

	(void)state;
	router.bus = router_at(ipc, NULL);
	dealer.bus = dealer_at(ipc, NULL);
	memset(buf_grow(&b, 1 << 20), 'x', 1 << 20);
	assert_int_equal(bus_give(dealer.bus, nobody, WIRE_VERB_publish, epoch, &b), 0);
	assert_null(b.p); /* its memory is ZeroMQ's now */
	assert_int_equal(b.n, 0);
	buf_adds(&b, "small");
	assert_int_equal(bus_give(dealer.bus, nobody, WIRE_VERB_publish, epoch, &b), 0);
	assert_non_null(b.p);
	assert_int_equal(b.n, 0);
	wait_for(&router, 2);
	assert_int_equal(router.got[0].body_n, 1 << 20);
	assert_memory_equal(router.got[0].body, "xxxxxxxx", 8);
	assert_string_equal(router.got[1].body, "small");
	memset(buf_grow(&b, 5000), 'y', 5000);
	assert_int_equal(bus_give(router.bus, SLICE("unknown"), WIRE_VERB_beat, epoch, &b),
			 -EHOSTUNREACH);
	assert_int_equal(b.n, 5000);
	buf_done(&b);
}

static void a_live_socket_is_not_taken_over(void **state)
{
	const char *endpoint = ipc;
	struct buf why = {0};

	(void)state;
	router.bus = router_at(ipc, NULL);
	assert_null(bus_router_new(t.loop, &endpoint, 1, NULL, arrived, &router, &why));
	assert_non_null(strstr(why.p, "another process listens"));
	dealer.bus = dealer_at(ipc, NULL);
	say(&dealer, nobody, "still there");
	wait_for(&router, 1);
	buf_done(&why);
}

static void a_stale_socket_is_replaced_and_a_file_is_not(void **state)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	const char *endpoint = ipc;
	struct buf why = {0};

	(void)state;
	unlink(ipc + 6);
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", ipc + 6);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	close(fd);
	router.bus = router_at(ipc, NULL);
	dealer.bus = dealer_at(ipc, NULL);
	say(&dealer, nobody, "new");
	wait_for(&router, 1);
	bus_free(router.bus);
	router.bus = NULL;

	unlink(ipc + 6);
	fd = open(ipc + 6, O_WRONLY | O_CREAT, 0600);
	close(fd);
	assert_null(bus_router_new(t.loop, &endpoint, 1, NULL, arrived, &router, &why));
	assert_non_null(strstr(why.p, "no socket"));
	assert_int_equal(unlink(ipc + 6), 0); /* it was left alone */
	buf_done(&why);
}

static void who_is_unknown_or_full_is_told_apart(void **state)
{
	struct buf b = {0};
	int rc = 0;
	int sent = 0;

	(void)state;
	router.bus = router_at(ipc, NULL);
	buf_adds(&b, "x");
	assert_int_equal(bus_send(router.bus, SLICE("nobody"), WIRE_VERB_beat, epoch, &b),
			 -EHOSTUNREACH);
	bus_free(router.bus);
	router.bus = NULL;

	dealer.bus = dealer_at(ipc, NULL); /* nobody is there */
	for (; sent < 100000 && rc == 0; sent++)
		rc = bus_send(dealer.bus, nobody, WIRE_VERB_beat, epoch, &b);
	assert_int_equal(rc, -EAGAIN);
	buf_done(&b);
}

static void reconnecting_forgets_what_waited(void **state)
{
	(void)state;
	dealer.bus = dealer_at(ipc, NULL);
	for (int i = 0; i < 10; i++)
		say(&dealer, nobody, "old");
	bus_reconnect(dealer.bus);
	say(&dealer, nobody, "new");
	router.bus = router_at(ipc, NULL);
	wait_for(&router, 1);
	assert_string_equal(router.got[0].body, "new");

	/* Another pipe has another name, and the old one is gone for good. */
	bus_reconnect(dealer.bus);
	say(&dealer, nobody, "again");
	wait_for(&router, 2);
	assert_string_equal(router.got[1].body, "again");
	assert_string_not_equal(router.got[0].peer, router.got[1].peer);
	say(&router, peer_of(&router.got[1]), "hello");
	wait_for(&dealer, 1);
	assert_string_equal(dealer.got[0].body, "hello");
}

static struct loop_timer *again;

static void say_again(void *arg)
{
	(void)arg;
	say(&dealer, nobody, "again");
	loop_timer_set(again, 50);
}

static void a_dealer_finds_a_restarted_router(void **state)
{
	const char *endpoint = ipc;
	int64_t began = clock_boot_ms();
	struct buf why = {0};

	(void)state;
	router.bus = router_at(ipc, NULL);
	dealer.bus = dealer_at(ipc, NULL);
	say(&dealer, nobody, "one");
	wait_for(&router, 1);
	bus_free(router.bus);
	/* libzmq closes the old one in its own time; until then it is a live socket. */
	do {
		buf_clear(&why);
		router.bus = bus_router_new(t.loop, &endpoint, 1, NULL, arrived, &router, &why);
		assert_true(clock_boot_ms() - began < DEADLINE_MS);
	} while (!router.bus);
	buf_done(&why);
	/* What was on its way when the router died is lost: whoever needs an answer says it again. */
	again = loop_timer_new(t.loop, say_again, NULL);
	loop_timer_set(again, 0);
	wait_for(&router, 2);
	loop_timer_free(again);
	assert_string_equal(router.got[1].body, "again");
	assert_memory_equal(router.got[1].peer, router.got[0].peer, 32);
	say(&router, peer_of(&router.got[1]), "back");
	wait_for(&dealer, 1);
}

static void free_in_the_callback(void **state)
{
	(void)state;
	router.bus = router_at(ipc, NULL);
	router.free_it = true;
	dealer.bus = dealer_at(ipc, NULL);
	say(&dealer, nobody, "one");
	say(&dealer, nobody, "two");
	wait_for(&router, 1);
	assert_null(router.bus);
	assert_int_equal(router.n, 1);
}

/* ---- raw sockets ---- */

static struct {
	void *context, *socket, *monitor;
	struct loop_timer *timer;
	int failed; /* the event that said so */
} raw;

static void raw_open(int type)
{
	int zero = 0;
	int64_t none = -1;

	memset(&raw, 0, sizeof(raw));
	raw.context = zmq_ctx_new();
	raw.socket = zmq_socket(raw.context, type);
	zmq_setsockopt(raw.socket, ZMQ_LINGER, &zero, sizeof(zero));
	zmq_setsockopt(raw.socket, ZMQ_SNDHWM, &zero, sizeof(zero));
	zmq_setsockopt(raw.socket, ZMQ_MAXMSGSIZE, &none, sizeof(none));
}

static void raw_close(void)
{
	if (raw.monitor)
		zmq_close(raw.monitor);
	zmq_close(raw.socket);
	zmq_ctx_term(raw.context);
}

static void raw_frames(const struct slice *frames, size_t n)
{
	for (size_t i = 0; i < n; i++)
		assert_int_equal(
			zmq_send(raw.socket, frames[i].p, frames[i].n, i + 1 < n ? ZMQ_SNDMORE : 0),
			(int)frames[i].n);
}

#define RAW(...)                                                                                   \
	raw_frames((const struct slice[]){__VA_ARGS__},                                            \
		   sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice))

static void pack_of(struct buf *packed, const char *const *texts)
{
	for (; *texts; texts++) {
		CLEANUP(buf_cleanup) struct buf one = {0};

		buf_adds(&one, *texts);
		wire_pack(packed, &one);
	}
}

static void packed_messages_are_told_one_by_one(void **state)
{
	static const char *const texts[] = {"one", "", "three", NULL};
	CLEANUP(buf_cleanup) struct buf packed = {0}, header = {0};

	(void)state;
	router.bus = router_at(ipc, NULL);
	dealer.bus = dealer_at(ipc, NULL);
	pack_of(&packed, texts);
	assert_int_equal(bus_send_packed(dealer.bus, nobody, WIRE_VERB_note, epoch, &packed), 0);
	assert_int_equal(packed.n, 0);
	wait_for(&router, 3);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(router.got[i].rc, 0);
		assert_int_equal(router.got[i].verb, WIRE_VERB_note);
		assert_string_equal(router.got[i].body, texts[i]);
	}
	/* one that is cut short counts for nothing */
	raw_open(ZMQ_DEALER);
	assert_int_equal(zmq_connect(raw.socket, ipc), 0);
	wire_put_packed_header(&header, WIRE_VERB_note, epoch);
	pack_of(&packed, texts);
	RAW(buf_slice(&header), {packed.p, packed.n - 1});
	wait_for(&router, 4);
	assert_int_equal(router.got[3].rc, -EPROTO);
	raw_close();
	/* the bus may be freed at the first of them */
	router.free_it = true;
	assert_int_equal(bus_send_packed(dealer.bus, nobody, WIRE_VERB_note, epoch, &packed), 0);
	wait_for(&router, 5);
	assert_int_equal(router.n, 5);
}

static void malformed_messages_are_reported(void **state)
{
	struct buf good = {0}, verb = {0}, version = {0}, longer = {0};
	struct slice header;

	(void)state;
	wire_put_header(&good, WIRE_VERB_beat, epoch);
	header = buf_slice(&good);
	buf_add(&verb, good.p, good.n);
	verb.p[3] = (char)250;
	buf_add(&version, good.p, good.n);
	version.p[2] = 99;
	buf_add(&longer, good.p, good.n);
	buf_addc(&longer, 'x');
	router.bus = router_at(ipc, NULL);
	raw_open(ZMQ_DEALER);
	assert_int_equal(zmq_connect(raw.socket, ipc), 0);

	RAW({"", 0});
	RAW(header);
	RAW(header, {"a", 1}, {"b", 1});
	for (int i = 0; i < 1000; i++)
		assert_int_equal(zmq_send(raw.socket, "x", 1, i < 999 ? ZMQ_SNDMORE : 0), 1);
	RAW({"", 0}, {"body", 4});
	RAW({good.p, 10}, {"body", 4});
	RAW(buf_slice(&longer), {"body", 4});
	RAW({"XX", 2}, {"body", 4});
	RAW(buf_slice(&version), {"body", 4});
	RAW(buf_slice(&verb), {"body", 4});
	RAW(header, {"body", 4});
	RAW(header, {"", 0});
	wait_for(&router, 12);
	for (int i = 0; i < 8; i++) {
		assert_int_equal(router.got[i].rc, -EPROTO);
		assert_true(router.got[i].peer_n > 0);
		assert_false(router.got[i].has_key);
	}
	assert_int_equal(router.got[8].rc, -EPROTONOSUPPORT);
	assert_int_equal(router.got[8].version, 99);
	assert_int_equal(router.got[9].rc, -EBADMSG);
	assert_int_equal(router.got[10].rc, 0);
	assert_string_equal(router.got[10].body, "body");
	assert_int_equal(router.got[11].rc, 0);
	assert_int_equal(router.got[11].body_n, 0);
	raw_close();
	buf_done(&good);
	buf_done(&verb);
	buf_done(&version);
	buf_done(&longer);
}

static void a_dealer_survives_a_mad_router(void **state)
{
	char path[100];

	(void)state;
	raw_open(ZMQ_DEALER); /* a dealer that binds sends to the one that connects */
	snprintf(path, sizeof(path), "ipc://%s/mad", folder);
	assert_int_equal(zmq_bind(raw.socket, path), 0);
	dealer.bus = dealer_at(path, NULL);
	RAW({"", 0});
	RAW({"a", 1}, {"b", 1}, {"c", 1}, {"d", 1});
	wait_for(&dealer, 2);
	assert_int_equal(dealer.got[0].rc, -EPROTO);
	assert_int_equal(dealer.got[1].rc, -EPROTO);
	assert_int_equal(dealer.got[0].peer_n, 0);
	raw_close();
}

/* A frame over the limit ends its connection, before its memory is asked for; others are served on. */
static void a_huge_frame_is_refused(void **state)
{
	struct buf header = {0};
	size_t n = ((size_t)WIRE_MESSAGE_MAX) + 1;
	char *huge = mem_alloc(n);

	(void)state;
	wire_put_header(&header, WIRE_VERB_beat, epoch);
	router.bus = router_at(ipc, NULL);
	raw_open(ZMQ_DEALER);
	assert_int_equal(zmq_connect(raw.socket, ipc), 0);
	RAW(buf_slice(&header), {"before", 6});
	wait_for(&router, 1);
	RAW(buf_slice(&header), {huge, n});
	RAW(buf_slice(&header), {"after", 5});
	wait_for(&router, 2); /* over a new connection */
	assert_string_equal(router.got[1].body, "after");
	assert_int_equal(router.got[1].rc, 0);
	raw_close();
	free(huge);
	buf_done(&header);

	dealer.bus = dealer_at(ipc, NULL);
	header = (struct buf){(char *)(uintptr_t) "", n, 0};
	assert_int_equal(bus_send(dealer.bus, nobody, WIRE_VERB_beat, epoch, &header), -EMSGSIZE);
}

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

	assert_null(bus_dealer_new(t.loop, endpoint, keys, arrived, &dealer, &why));
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

static int set_up(void **state)
{
	(void)state;
	if (!mkdtemp(folder))
		return -1;
	snprintf(ipc, sizeof(ipc), "ipc://%s/bus.sock", folder);
	return 0;
}

static int tear_down(void **state)
{
	struct buf command = {0};
	int rc;

	(void)state;
	buf_addf(&command, "rm -rf '%s'", folder);
	rc = system(command.p);
	buf_done(&command);
	return rc;
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin_bus, end_bus)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_go_both_ways_in_order),
		TEST(large_bodies_are_handed_over),
		TEST(a_live_socket_is_not_taken_over),
		TEST(a_stale_socket_is_replaced_and_a_file_is_not),
		TEST(who_is_unknown_or_full_is_told_apart),
		TEST(reconnecting_forgets_what_waited),
		TEST(a_dealer_finds_a_restarted_router),
		TEST(free_in_the_callback),
		TEST(packed_messages_are_told_one_by_one),
		TEST(malformed_messages_are_reported),
		TEST(a_dealer_survives_a_mad_router),
		TEST(a_huge_frame_is_refused),
		TEST(a_key_says_who_may_do_what),
		TEST(both_doors_at_once),
		TEST(strangers_stay_outside),
		TEST(http_on_the_port_does_no_harm),
		TEST(tcp_needs_keys),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
