/* Messages out: whole or not at all, never blocking. */
#include "bus_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zmq.h>

enum { HANDED_OVER = 4096 }; /* a larger body's memory goes over instead of being copied */

static void free_body(void *p, void *unused)
{
	(void)unused;
	free(p);
}

/* Everything before the last frame. What ZeroMQ refuses, it refuses at the first one. */
static int send_header(struct bus *bus, struct slice peer, const struct buf *header)
{
	if (bus->router && zmq_send(bus->socket, peer.p, peer.n, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return errno == EHOSTUNREACH ? -EHOSTUNREACH : -EAGAIN;
	if (zmq_send(bus->socket, header->p, header->n, ZMQ_DONTWAIT | ZMQ_SNDMORE) < 0)
		return -EAGAIN;
	return 0;
}

static int send_head(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch)
{
	CLEANUP(buf_cleanup) struct buf header = {0};

	wire_put_header(&header, verb, epoch);
	return send_header(bus, peer, &header);
}

/* A pipe that dies between two frames is a message lost on its way, which is no error of sending. */
static void send_body(struct bus *bus, zmq_msg_t *m)
{
	if (zmq_msg_send(m, bus->socket, ZMQ_DONTWAIT) < 0)
		zmq_msg_close(m);
}

static int body_fits(const struct buf *body)
{
	return body->n <= WIRE_MESSAGE_MAX ? 0 : -EMSGSIZE;
}

int bus_send(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch,
	     const struct buf *body)
{
	zmq_msg_t m;
	int rc = body_fits(body);

	if (rc == 0)
		rc = send_head(bus, peer, verb, epoch);
	if (rc < 0)
		return rc;
	zmq_msg_init_size(&m, body->n);
	if (body->n > 0)
		memcpy(zmq_msg_data(&m), body->p, body->n);
	send_body(bus, &m);
	return 0;
}

int bus_send_packed(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch,
		    struct buf *packed)
{
	CLEANUP(buf_cleanup) struct buf header = {0};
	zmq_msg_t m;
	int rc = body_fits(packed);

	wire_put_packed_header(&header, verb, epoch);
	if (rc == 0)
		rc = send_header(bus, peer, &header);
	if (rc < 0)
		return rc;
	zmq_msg_init_size(&m, packed->n);
	if (packed->n > 0)
		memcpy(zmq_msg_data(&m), packed->p, packed->n);
	buf_clear(packed);
	send_body(bus, &m);
	return 0;
}

int bus_give(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch,
	     struct buf *body)
{
	zmq_msg_t m;
	int rc;

	if (body->n <= HANDED_OVER) {
		rc = bus_send(bus, peer, verb, epoch, body);
		if (rc == 0)
			buf_clear(body);
		return rc;
	}
	rc = body_fits(body);
	if (rc == 0)
		rc = send_head(bus, peer, verb, epoch);
	if (rc < 0)
		return rc;
	zmq_msg_init_data(&m, body->p, body->n, free_body, NULL);
	*body = (struct buf){0};
	send_body(bus, &m);
	return 0;
}
