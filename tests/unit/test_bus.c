/* ZeroMQ between the programs: both sides on one loop; broken frames come from raw sockets of another context. */
#include "bus_fixture.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <zmq.h>

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

/* Collectors and workers go from broker to broker until the active one answers. */
static void reconnecting_goes_to_the_next_endpoint(void **state)
{
	char other[sizeof(ipc) + 8];
	const char *endpoints[] = {ipc, other};
	struct buf why = {0};

	(void)state;
	snprintf(other, sizeof(other), "%s-2", ipc);
	router.bus = router_at(other, NULL);
	dealer.bus = bus_dealer_new(t.loop, endpoints, 2, NULL, arrived, &dealer, &why);
	assert_non_null(dealer.bus);
	assert_true(bus_has_choice(dealer.bus));
	say(&dealer, nobody, "to the first, where nobody is");
	bus_reconnect(dealer.bus);
	say(&dealer, nobody, "second");
	wait_for(&router, 1);
	assert_string_equal(router.got[0].body, "second");
	bus_free(router.bus);
	router.bus = router_at(ipc, NULL);
	bus_reconnect(dealer.bus);
	say(&dealer, nobody, "first");
	wait_for(&router, 2);
	assert_string_equal(router.got[1].body, "first");
	buf_done(&why);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(messages_go_both_ways_in_order),
		TEST(large_bodies_are_handed_over),
		TEST(a_live_socket_is_not_taken_over),
		TEST(a_stale_socket_is_replaced_and_a_file_is_not),
		TEST(who_is_unknown_or_full_is_told_apart),
		TEST(reconnecting_forgets_what_waited),
		TEST(reconnecting_goes_to_the_next_endpoint),
		TEST(a_dealer_finds_a_restarted_router),
		TEST(free_in_the_callback),
		TEST(packed_messages_are_told_one_by_one),
		TEST(malformed_messages_are_reported),
		TEST(a_dealer_survives_a_mad_router),
		TEST(a_huge_frame_is_refused),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
