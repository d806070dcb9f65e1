/* Who may connect over CURVE: the handler of ZAP (RFC 27) that libzmq asks for each handshake, run on the loop. Private to
 * bus*.c. */
#ifndef DIRPIPE_BUS_ZAP_H
#define DIRPIPE_BUS_ZAP_H

#include "bus.h"

enum { ZAP_DOMAIN = 24, ZAP_KEY = 32 };

/* One router's allow-list, in the order of its peers. */
struct zap_list {
	struct zap_list *next;
	char domain[ZAP_DOMAIN]; /* what the router's sockets say, set by zap_add */
	uint8_t (*keys)[ZAP_KEY];
	size_t n;
};

/* Registers the list (borrowed until zap_remove); the first one opens the handler on context. 0, or -errno. */
int zap_add(struct loop *loop, void *context, struct zap_list *list) MUST_CHECK;
void zap_remove(struct zap_list *list); /* the last one closes it */

/* Which peer of the list sent this frame; ZAP_LOCAL: it came over ipc; ZAP_STRANGER: over tcp, and the handler was never asked
 * (libzmq lets everybody in when it finds no handler). */
enum { ZAP_LOCAL = -1, ZAP_STRANGER = -2 };
int zap_peer_of(void *zmq_message, const struct zap_list *list);

#endif
