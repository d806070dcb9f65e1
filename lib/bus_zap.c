#include "bus_zap.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

/* One handler serves the whole process, as its address is fixed in the one context; routers are told apart by domain. */
static struct {
	void *socket;
	struct loop_zmq *z;
	struct zap_list *lists;
	unsigned made;
} zap;

enum { FRAMES = 7, FRAME_MAX = 256 };
enum { VERSION, REQUEST, DOMAIN, ADDRESS, IDENTITY, MECHANISM, KEY };

struct frame {
	char p[FRAME_MAX];
	size_t n;
};

static bool frame_is(const struct frame *f, const char *text)
{
	return f->n == strlen(text) && memcmp(f->p, text, f->n) == 0;
}

/* The peer's place in the list of its domain; -1: refused. */
static int judge(const struct frame *frames, size_t n)
{
	const struct zap_list *list = zap.lists;

	if (n != FRAMES || !frame_is(&frames[VERSION], "1.0") ||
	    !frame_is(&frames[MECHANISM], "CURVE") || frames[KEY].n != ZAP_KEY)
		return -1;
	while (list && !frame_is(&frames[DOMAIN], list->domain))
		list = list->next;
	for (size_t i = 0; list && i < list->n; i++)
		if (sodium_memcmp(list->keys[i], frames[KEY].p, ZAP_KEY) == 0)
			return (int)i;
	return -1;
}

/* RFC 27: version, request id, status, text, user id, metadata. */
static void reply(const struct frame *request, int peer)
{
	char user[16] = "";
	const struct slice parts[] = {
		SLICE("1.0"),
		{request->p, request->n},
		peer >= 0 ? SLICE("200") : SLICE("400"),
		peer >= 0 ? SLICE("OK") : SLICE("key not in the allow-list"),
		{user, peer >= 0 ? (size_t)snprintf(user, sizeof(user), "%d", peer) : 0},
		{"", 0}};
	const size_t n = sizeof(parts) / sizeof(parts[0]);

	for (size_t i = 0; i < n; i++)
		zmq_send(zap.socket, parts[i].p, parts[i].n,
			 ZMQ_DONTWAIT | (i + 1 < n ? ZMQ_SNDMORE : 0));
}

static bool take(void *unused)
{
	struct frame frames[FRAMES] = {0};
	size_t n = 0;
	int more = 1;

	(void)unused;
	while (more) {
		size_t more_n = sizeof(more);
		struct frame extra;
		struct frame *f = n < FRAMES ? &frames[n] : &extra;
		int got = zmq_recv(zap.socket, f->p, sizeof(f->p), ZMQ_DONTWAIT);

		if (got < 0)
			return false;
		/* A frame that was cut fits nothing. */
		f->n = (size_t)got <= sizeof(f->p) ? (size_t)got : 0;
		n++;
		if (zmq_getsockopt(zap.socket, ZMQ_RCVMORE, &more, &more_n) < 0)
			return false;
	}
	reply(&frames[REQUEST], judge(frames, n));
	return true;
}

int zap_add(struct loop *loop, void *context, struct zap_list *list)
{
	int linger = 0;

	if (!zap.socket) {
		zap.socket = zmq_socket(context, ZMQ_REP);
		if (!zap.socket)
			return -errno;
		zmq_setsockopt(zap.socket, ZMQ_LINGER, &linger, sizeof(linger));
		if (zmq_bind(zap.socket, "inproc://zeromq.zap.01") < 0) {
			int rc = -errno;

			zmq_close(zap.socket);
			zap.socket = NULL;
			return rc;
		}
		zap.z = loop_zmq_new(loop, zap.socket, take, NULL);
	}
	snprintf(list->domain, sizeof(list->domain), "router-%u", zap.made++);
	list->next = zap.lists;
	zap.lists = list;
	return 0;
}

void zap_remove(struct zap_list *list)
{
	for (struct zap_list **p = &zap.lists; *p; p = &(*p)->next) {
		if (*p == list) {
			*p = list->next;
			break;
		}
	}
	if (zap.lists || !zap.socket)
		return;
	loop_zmq_free(zap.z);
	zmq_close(zap.socket);
	zap.socket = NULL;
	zap.z = NULL;
}

/* The handler's user id comes back as a property of each frame; what a peer claims in its own handshake does not
 * replace it. Over ipc libzmq says "localhost:UID:GID:PID" instead of an address. */
int zap_peer_of(void *zmq_message, const struct zap_list *list)
{
	const char *user = zmq_msg_gets(zmq_message, "User-Id");
	const char *address = zmq_msg_gets(zmq_message, "Peer-Address");
	char *end;
	long i;

	if (!address || strncmp(address, "localhost:", 10) == 0)
		return ZAP_LOCAL;
	if (!user || !*user)
		return ZAP_STRANGER;
	i = strtol(user, &end, 10);
	return !*end && i >= 0 && (size_t)i < list->n ? (int)i : ZAP_STRANGER;
}
