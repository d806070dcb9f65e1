#include "bus_impl.h"

#include <assert.h>
#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <zmq.h>

enum {
	HEARTBEAT_MS = 3000,
	SILENCE_MS = 12000, /* no heartbeat for so long: the connection is cut */
	HANDSHAKE_MS = 10000,
	RECONNECT_MS = 100,
	RECONNECT_MAX_MS = 2000,
	FRAMES_MAX = 3,
	CLOSE_WAIT_MS = 200,
	Z85_KEY = 40,
};

/* One context per process: ZAP and its threads belong to it. */
static void *context;
static unsigned context_users;

static void *context_take(void)
{
	if (context_users++ == 0) {
		context = zmq_ctx_new();
		assert(context);
	}
	return context;
}

static void context_drop(void)
{
	if (--context_users > 0)
		return;
	zmq_ctx_term(context);
	context = NULL;
}

/* ---- receiving ---- */

struct frames {
	zmq_msg_t m[FRAMES_MAX];
	size_t kept; /* initialised ones of m */
	size_t n;    /* that the message had */
};

/* One whole message; frames past the third are counted and dropped. False: none there. */
static bool receive(void *socket, struct frames *f)
{
	bool more = true;

	*f = (struct frames){0};
	while (more) {
		zmq_msg_t *m;
		zmq_msg_t extra;

		m = f->kept < FRAMES_MAX ? &f->m[f->kept] : &extra;
		zmq_msg_init(m);
		if (zmq_msg_recv(m, socket, ZMQ_DONTWAIT) < 0) {
			zmq_msg_close(m);
			return f->n > 0;
		}
		f->n++;
		more = zmq_msg_more(m);
		if (m == &extra)
			zmq_msg_close(m);
		else
			f->kept++;
	}
	return true;
}

static struct slice frame_slice(struct frames *f, size_t i)
{
	if (i >= f->kept)
		return (struct slice){"", 0};
	return (struct slice){zmq_msg_data(&f->m[i]), zmq_msg_size(&f->m[i])};
}

static bool packed_well(struct slice packed)
{
	struct slice body;
	int rc;

	while ((rc = wire_unpack(&packed, &body)) > 0)
		;
	return rc == 0;
}

/* fn may free the bus. */
static void tell_packed(struct bus *bus, struct bus_message *message)
{
	struct slice packed = message->body;
	bool *freed;

	if (!packed_well(packed)) {
		bus->fn(bus->arg, -EPROTO, message);
		return;
	}
	freed = bus->freed = mem_alloc(sizeof(*freed)); /* zeroed; outlives the bus */
	while (!*freed && wire_unpack(&packed, &message->body) > 0)
		bus->fn(bus->arg, 0, message);
	if (!*freed)
		bus->freed = NULL;
	free(freed);
}

static bool take(void *arg)
{
	struct bus *bus = arg;
	struct bus_message message = {0};
	struct frames f;
	size_t first = bus->router ? 1 : 0; /* behind the routing id */
	int rc = -EPROTO;

	if (!receive(bus->socket, &f))
		return false;
	if (bus->router)
		message.peer = frame_slice(&f, 0);
	if (bus->peers && f.kept > first) {
		int peer = zap_peer_of(&f.m[first], &bus->allowed);

		if (peer == ZAP_STRANGER)
			goto out;
		message.key = peer >= 0 ? &bus->peers[peer] : NULL;
	}
	if (f.n == first + 2) {
		rc = wire_get_header(frame_slice(&f, first), &message.header);
		message.body = frame_slice(&f, first + 1);
	}
	if (rc == 0 && message.header.packed)
		tell_packed(bus, &message);
	else
		bus->fn(bus->arg, rc, &message); /* may free the bus */
out:
	for (size_t i = 0; i < f.kept; i++)
		zmq_msg_close(&f.m[i]);
	return true;
}

/* ---- sockets ---- */

static void set_int(void *socket, int option, int value)
{
	int rc = zmq_setsockopt(socket, option, &value, sizeof(value));

	assert(rc == 0);
	(void)rc;
}

static void *socket_new(int type)
{
	void *socket = zmq_socket(context, type);
	int64_t largest = WIRE_MESSAGE_MAX;

	if (!socket)
		return NULL;
	zmq_setsockopt(socket, ZMQ_MAXMSGSIZE, &largest, sizeof(largest));
	set_int(socket, ZMQ_LINGER, 0);
	set_int(socket, ZMQ_HANDSHAKE_IVL, HANDSHAKE_MS);
	set_int(socket, ZMQ_HEARTBEAT_IVL, HEARTBEAT_MS);
	set_int(socket, ZMQ_HEARTBEAT_TIMEOUT, SILENCE_MS);
	set_int(socket, ZMQ_HEARTBEAT_TTL, SILENCE_MS);
	return socket;
}

static bool is_z85_key(const char *text)
{
	uint8_t raw[ZAP_KEY];
	bool good = text && strlen(text) == Z85_KEY && zmq_z85_decode(raw, text);

	sodium_memzero(raw, sizeof(raw));
	return good;
}

static bool is_tcp(const char *endpoint)
{
	return strncmp(endpoint, "tcp://", 6) == 0;
}

static const char *ipc_path(const char *endpoint)
{
	return strncmp(endpoint, "ipc:///", 7) == 0 ? endpoint + 6 : NULL;
}

/* An address of brackets is IPv6, which a socket must be told before. */
static void allow_ipv6(void *socket, const char *endpoint)
{
	if (strchr(endpoint, '['))
		set_int(socket, ZMQ_IPV6, 1);
}

/* ---- the router ---- */

/* libzmq unlinks whatever has this name before it binds, also the socket of a living process or somebody's file. */
static bool ipc_is_free(const char *path, struct buf *why)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	size_t n = strlen(path);
	struct stat st;
	bool answered;
	int fd;

	if (n >= sizeof(a.sun_path)) {
		buf_addf(why, "%s: longer than %zu bytes", path, sizeof(a.sun_path) - 1);
		return false;
	}
	if (lstat(path, &st) < 0)
		return true; /* if it is another error, bind says so */
	if (!S_ISSOCK(st.st_mode)) {
		buf_addf(why, "%s exists and is no socket", path);
		return false;
	}
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	memcpy(a.sun_path, path, n);
	answered = fd >= 0 &&
		   (connect(fd, (struct sockaddr *)&a, sizeof(a)) == 0 || errno != ECONNREFUSED);
	if (fd >= 0)
		close(fd);
	if (answered)
		buf_addf(why, "another process listens on %s", path);
	return !answered;
}

static bool bind_ipc(struct bus *bus, const char *endpoint, struct buf *why)
{
	const char *path = ipc_path(endpoint);
	mode_t before;
	int rc;

	if (!path) {
		buf_addf(why, "%s: expected ipc:///PATH or tcp://HOST:PORT", endpoint);
		return false;
	}
	if (!ipc_is_free(path, why))
		return false;
	before = umask(0177); /* the file is there with its mode, never open for a moment */
	rc = zmq_bind(bus->socket, endpoint);
	umask(before);
	if (rc == 0)
		return true;
	buf_addf(why, "%s: %s", endpoint, zmq_strerror(errno));
	return false;
}

static bool bind_tcp(struct bus *bus, const char *endpoint, struct buf *why)
{
	allow_ipv6(bus->socket, endpoint);
	if (zmq_bind(bus->socket, endpoint) == 0)
		return true;
	buf_addf(why, "%s: %s", endpoint, zmq_strerror(errno));
	return false;
}

/* Copies the peers and decodes their keys. */
static bool take_peers(struct bus *bus, const struct bus_keys *keys, struct buf *why)
{
	bus->peers = mem_array(keys->peers_n, sizeof(*bus->peers));
	bus->allowed.keys = mem_array(keys->peers_n, sizeof(*bus->allowed.keys));
	for (size_t i = 0; i < keys->peers_n; i++) {
		const struct bus_peer_key *from = &keys->peers[i];

		bus->peers[i] =
			(struct bus_peer_key){mem_dup(from->name), mem_dup(from->public_key),
					      from->roles, mem_dup(from->only)};
		bus->allowed.n++;
		if (!is_z85_key(from->public_key)) {
			buf_addf(why, "the key of peer %s is no CURVE public key", from->name);
			return false;
		}
		zmq_z85_decode(bus->allowed.keys[i], from->public_key);
	}
	return true;
}

/* From here on what is bound speaks CURVE only; what was bound before keeps its own way. */
static bool demand_curve(struct bus *bus, const struct bus_keys *keys, struct buf *why)
{
	int rc;

	if (!keys || !keys->secret_key || keys->peers_n == 0) {
		buf_adds(why, "tcp:// needs an own CURVE key and an allow-list of peers");
		return false;
	}
	if (!is_z85_key(secret_value(keys->secret_key).p)) {
		buf_adds(why, "the own CURVE key is no key; expected 40 characters of Z85");
		return false;
	}
	if (!take_peers(bus, keys, why))
		return false;
	rc = zap_add(bus->loop, context, &bus->allowed);
	if (rc < 0) {
		buf_addf(why, "ZAP handler: %s", zmq_strerror(-rc));
		return false;
	}
	set_int(bus->socket, ZMQ_CURVE_SERVER, 1);
	zmq_setsockopt(bus->socket, ZMQ_CURVE_SECRETKEY, secret_value(keys->secret_key).p,
		       Z85_KEY + 1);
	zmq_setsockopt(bus->socket, ZMQ_ZAP_DOMAIN, bus->allowed.domain,
		       strlen(bus->allowed.domain));
	return true;
}

static bool bind_all(struct bus *bus, const char *const *endpoints, size_t n,
		     const struct bus_keys *keys, struct buf *why)
{
	size_t tcp = 0;

	for (size_t i = 0; i < n; i++) {
		if (is_tcp(endpoints[i]))
			tcp++;
		else if (!bind_ipc(bus, endpoints[i], why))
			return false;
	}
	if (tcp > 0 && !demand_curve(bus, keys, why))
		return false;
	for (size_t i = 0; i < n; i++)
		if (is_tcp(endpoints[i]) && !bind_tcp(bus, endpoints[i], why))
			return false;
	return true;
}

static struct bus *bus_new(struct loop *loop, bool router, bus_fn fn, void *arg)
{
	struct bus *bus = mem_alloc(sizeof(*bus));
	int rc = sodium_init();

	assert(rc >= 0);
	(void)rc;
	context_take();
	*bus = (struct bus){.loop = loop, .router = router, .fn = fn, .arg = arg};
	return bus;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, as bus.h says */
struct bus *bus_router_new(struct loop *loop, const char *const *endpoints, size_t n,
			   const struct bus_keys *keys, bus_fn fn, void *arg, struct buf *why)
{
	struct bus *bus = bus_new(loop, true, fn, arg);

	bus->socket = socket_new(ZMQ_ROUTER);
	if (!bus->socket) {
		buf_addf(why, "socket: %s", zmq_strerror(errno));
		bus_free(bus);
		return NULL;
	}
	set_int(bus->socket, ZMQ_ROUTER_MANDATORY, 1);
	/* A dealer that comes back before its cut connection is noticed takes its id along; nobody else knows it. */
	set_int(bus->socket, ZMQ_ROUTER_HANDOVER, 1);
	if (!bind_all(bus, endpoints, n, keys, why)) {
		bus_free(bus);
		return NULL;
	}
	bus->z = loop_zmq_new(loop, bus->socket, take, bus);
	return bus;
}

/* ---- the dealer ---- */

static bool take_dealer_keys(struct bus *bus, const struct bus_keys *keys, struct buf *why)
{
	char public_key[Z85_KEY + 1];

	if (!keys || !keys->secret_key || !keys->server_key) {
		buf_adds(why, "tcp:// needs an own CURVE key and the broker's public key");
		return false;
	}
	if (!is_z85_key(secret_value(keys->secret_key).p) ||
	    zmq_curve_public(public_key, secret_value(keys->secret_key).p) < 0) {
		buf_adds(why, "the own CURVE key is no key; expected 40 characters of Z85");
		return false;
	}
	if (!is_z85_key(keys->server_key)) {
		buf_adds(why,
			 "the broker's key is no CURVE public key; expected 40 characters of Z85");
		return false;
	}
	bus->keys[0] = mem_dup(secret_value(keys->secret_key).p);
	bus->keys[1] = mem_dup(public_key);
	bus->keys[2] = mem_dup(keys->server_key);
	return true;
}

/* A routing id of its own for each socket: what an earlier process or connection left behind at the router is
 * never taken for this one's. */
static void choose_routing_id(void *socket)
{
	uint8_t raw[16];
	char text[sizeof(raw) * 2 + 1];

	randombytes_buf(raw, sizeof(raw));
	sodium_bin2hex(text, sizeof(text), raw, sizeof(raw));
	zmq_setsockopt(socket, ZMQ_ROUTING_ID, text, sizeof(text) - 1);
}

static int dealer_connect(struct bus *bus)
{
	static const int options[] = {ZMQ_CURVE_SECRETKEY, ZMQ_CURVE_PUBLICKEY,
				      ZMQ_CURVE_SERVERKEY};
	const char *endpoint = bus->endpoints[bus->at];

	bus->socket = socket_new(ZMQ_DEALER);
	if (!bus->socket)
		return -errno;
	set_int(bus->socket, ZMQ_RECONNECT_IVL, RECONNECT_MS);
	set_int(bus->socket, ZMQ_RECONNECT_IVL_MAX, RECONNECT_MAX_MS);
	choose_routing_id(bus->socket);
	for (int i = 0; is_tcp(endpoint) && i < 3; i++)
		zmq_setsockopt(bus->socket, options[i], bus->keys[i], Z85_KEY + 1);
	allow_ipv6(bus->socket, endpoint);
	if (zmq_connect(bus->socket, endpoint) < 0)
		return -errno;
	bus->z = loop_zmq_new(bus->loop, bus->socket, take, bus);
	return 0;
}

static void socket_drop(struct bus *bus)
{
	loop_zmq_free(bus->z);
	if (bus->socket)
		zmq_close(bus->socket);
	bus->z = NULL;
	bus->socket = NULL;
}

/* NOLINTNEXTLINE(readability-function-size): seven parameters, as bus.h says */
struct bus *bus_dealer_new(struct loop *loop, const char *const *endpoints, size_t n,
			   const struct bus_keys *keys, bus_fn fn, void *arg, struct buf *why)
{
	struct bus *bus = bus_new(loop, false, fn, arg);
	bool good = n > 0;
	int rc;

	bus->endpoints = mem_array(n + 1, sizeof(char *));
	for (bus->endpoints_n = 0; bus->endpoints_n < n; bus->endpoints_n++)
		bus->endpoints[bus->endpoints_n] = mem_dup(endpoints[bus->endpoints_n]);
	for (size_t i = 0; i < n && good; i++) {
		good = is_tcp(endpoints[i]) ? bus->keys[0] || take_dealer_keys(bus, keys, why)
					    : ipc_path(endpoints[i]) != NULL;
		if (!good && !is_tcp(endpoints[i]))
			buf_addf(why, "%s: expected ipc:///PATH or tcp://HOST:PORT", endpoints[i]);
	}
	rc = good ? dealer_connect(bus) : -EINVAL;
	if (rc == 0)
		return bus;
	if (good)
		buf_addf(why, "%s: %s", endpoints[0], zmq_strerror(-rc));
	bus_free(bus);
	return NULL;
}

/* zmq_close returns before the socket is gone: a connection that comes about meanwhile would still carry what waited.
 * The end of its monitor says when it is gone; the wait is bounded, as a name look-up in ZeroMQ's thread has no end. */
static void socket_drop_and_wait(struct bus *bus)
{
	static unsigned made;
	void *monitor = zmq_socket(context, ZMQ_PAIR);
	zmq_pollitem_t item = {.socket = monitor, .events = ZMQ_POLLIN};
	char address[40];

	snprintf(address, sizeof(address), "inproc://bus-%u", made++);
	if (monitor && zmq_socket_monitor(bus->socket, address, ZMQ_EVENT_MONITOR_STOPPED) == 0 &&
	    zmq_connect(monitor, address) == 0) {
		socket_drop(bus);
		zmq_poll(&item, 1, CLOSE_WAIT_MS);
	}
	socket_drop(bus);
	if (monitor) {
		set_int(monitor, ZMQ_LINGER, 0);
		zmq_close(monitor);
	}
}

void bus_reconnect(struct bus *bus)
{
	int rc;

	assert(!bus->router);
	socket_drop_and_wait(bus);
	bus->at = (bus->at + 1) % bus->endpoints_n;
	rc = dealer_connect(bus);
	if (rc < 0) { /* a name that ZeroMQ does not take: the first was taken at the start */
		socket_drop(bus);
		bus->at = 0;
		rc = dealer_connect(bus);
	}
	assert(rc == 0);
	(void)rc;
}

bool bus_has_choice(const struct bus *bus)
{
	return bus->endpoints_n > 1;
}

void bus_free(struct bus *bus)
{
	if (!bus)
		return;
	if (bus->freed)
		*bus->freed = true;
	socket_drop(bus);
	if (bus->allowed.domain[0])
		zap_remove(&bus->allowed);
	for (size_t i = 0; i < bus->allowed.n; i++) {
		const void *owned[] = {bus->peers[i].name, bus->peers[i].public_key,
				       bus->peers[i].only};

		for (size_t k = 0; k < 3; k++)
			free((void *)(uintptr_t)owned[k]);
	}
	free(bus->peers);
	free(bus->allowed.keys);
	if (bus->keys[0])
		secret_wipe(bus->keys[0], Z85_KEY);
	for (int i = 0; i < 3; i++)
		free(bus->keys[i]);
	for (size_t i = 0; i < bus->endpoints_n; i++)
		free(bus->endpoints[i]);
	free(bus->endpoints);
	free(bus);
	context_drop();
}

void bus_keypair(char public_key[static 41], char secret_key[static 41])
{
	int rc = zmq_curve_keypair(public_key, secret_key);

	assert(rc == 0);
	(void)rc;
}
