/* What bus.c and bus_send.c share; nobody else includes it. */
#ifndef DIRPIPE_BUS_IMPL_H
#define DIRPIPE_BUS_IMPL_H

#include "bus.h"
#include "bus_zap.h"

struct bus {
	struct loop *loop;
	void *socket;
	struct loop_zmq *z;
	bool router;
	bool *freed; /* to be set by bus_free while a message is being told */
	bus_fn fn;
	void *arg;
	char **endpoints;	    /* dealer */
	size_t endpoints_n, at;	    /* at: where it is connected */
	char *keys[3];		    /* dealer over tcp: own secret and public key, the broker's */
	struct bus_peer_key *peers; /* router over tcp: copies */
	struct zap_list allowed;
};

#endif
