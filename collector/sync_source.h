/* The source of driver syncrepl; private to source_syncrepl.c (connections) and sync_search.c (the persistent search). */
#ifndef DIRPIPE_SYNC_SOURCE_H
#define DIRPIPE_SYNC_SOURCE_H

#include "reader.h"
#include "source_syncrepl.h"
#include "sync_cookie.h"

enum phase { IDLE, LOOKING, SURVEYING, REFRESHING, SETTLING, PERSISTING };

struct source {
	struct loop *loop;
	const struct conf_node *conf;
	struct source_host host, own_host;
	struct directory_conf *settings;
	struct directory *main, *side;
	struct reader *reader; /* the line's requests */
	struct reader *own;    /* entries that came without what is needed (389-DS) */
	const struct entry_schema *schema;
	char **attrs;
	struct buf filter;
	enum phase phase;

	struct sync_server server;
	struct sync_cookie cookie;
	struct buf base_id; /* of the cursor; empty: none yet */
	bool without_cookie, behind, full, present_phase;
	uint64_t search;
	int64_t heard_ms, ahead_since_ms;
	struct buf ahead_at; /* our cookie when the server was first seen ahead */
	struct id *again;    /* ids for `own` */
	size_t again_n;
	uint64_t again_token;
	size_t again_asked;
	bool cursor_due;
	struct loop_timer *heartbeat, *reconcile;
};

void sync_trouble(struct source *s, enum source_problem problem, const char *why);
/* Sends the persistent search, from the cookie unless without_cookie; its end is told to the main handle. */
void sync_search_start(struct source *s);
/* The host of the reader `own`. */
void sync_own_image(void *arg, struct entry *e);
void sync_own_bad(void *arg, const struct id *id, const char *why);
void sync_own_answer(void *arg, uint64_t token, bool ok, const struct id *missing, size_t n);

#endif
