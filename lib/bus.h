/* ZeroMQ between the programs: a router at the broker, dealers at collectors and workers. A message is two frames,
 * [header][body] (wire.h), after the router's identity frame. ipc:// is guarded by file mode (0600, or
 * 0660 with a group), tcp:// only with CURVE and an allow-list of public keys and roles (ZAP, RFC 27). */
#ifndef DIRPIPE_BUS_H
#define DIRPIPE_BUS_H

#include "loop.h"
#include "secret.h"
#include "wire.h"

struct bus;

enum bus_role {
	BUS_COLLECTOR = 1,
	BUS_WORKER = 2,
	BUS_ANY = 3
}; /* bits: what a peer's key allows */

struct bus_peer_key {
	const char *name;	/* shown in logs */
	const char *public_key; /* Z85, 40 characters */
	unsigned roles;		/* bits of bus_role */
	const char *only;	/* the one source or target this key may speak for; NULL: any */
};

struct bus_keys {			  /* all NULL and 0 with ipc:// */
	const struct secret *secret_key;  /* own, Z85 */
	const char *server_key;		  /* dealers: the broker's public key */
	const struct bus_peer_key *peers; /* router: the allow-list */
	size_t peers_n;
};

/* One received message; all slices are valid during the call only. */
struct bus_message {
	struct slice peer;		/* router: the peer's routing id */
	const struct bus_peer_key *key; /* router over tcp: who it is; NULL over ipc */
	struct wire_header header;
	struct slice body;
};

/* rc 0: a message (of several that came packed, one). rc < 0: malformed (see wire_get_header), header.version may be set; count it, answer ERROR. */
typedef void (*bus_fn)(void *arg, int rc, const struct bus_message *message);

/* A router bound to all endpoints. NULL on failure with why set (bad endpoint, tcp without keys, no rights). */
struct bus *bus_router_new(struct loop *loop, const char *const *endpoints, size_t n,
			   const struct bus_keys *keys, bus_fn fn, void *arg,
			   struct buf *why) MUST_CHECK;
/* A dealer that connects, and goes on connecting, to the first of the endpoints until bus_reconnect(). Heartbeats at the ZMTP level
 * are on. */
struct bus *bus_dealer_new(struct loop *loop, const char *const *endpoints, size_t n,
			   const struct bus_keys *keys, bus_fn fn, void *arg,
			   struct buf *why) MUST_CHECK;
void bus_free(struct bus *bus);

/* Sends at once or not at all: 0; -EAGAIN when the peer's pipe is full; -EHOSTUNREACH when the router does not
 * know the peer; -EMSGSIZE past WIRE_MESSAGE_MAX. Never blocks. The body's bytes are copied. peer: router only. */
int bus_send(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch,
	     const struct buf *body);
/* The same for a body that is not needed any more: on 0 it is empty, and its memory went over uncopied when it was
 * larger than 4 KiB. On failure it is as it was. */
int bus_give(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch,
	     struct buf *body);

/* Several bodies of one verb (wire_pack) as one message, which costs as much as one: 0, packed is empty then, or as
 * bus_send. The receiver's fn is called for each of them. */
int bus_send_packed(struct bus *bus, struct slice peer, uint8_t verb, struct wire_epoch epoch,
		    struct buf *packed);

/* Throws away what waits unsent and connects anew (dealer), to the next of its endpoints, so that nothing old is delivered late. */
void bus_reconnect(struct bus *bus);
/* Is there another one to go to? */
bool bus_has_choice(const struct bus *bus);

/* CURVE: a fresh pair in Z85 (40 characters and a NUL each). */
void bus_keypair(char public_key[static 41], char secret_key[static 41]);

#endif
