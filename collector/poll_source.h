/* The source of driver poll; private to source_poll.c (work) and poll_begin.c (the beginning of a connection). */
#ifndef DIRPIPE_POLL_SOURCE_H
#define DIRPIPE_POLL_SOURCE_H

#include "poll_cursor.h"
#include "poll_server.h"
#include "poll_stamp.h"
#include "reader.h"

enum phase { STOPPED, CONNECTING, PROBING, SURVEYING, CATCHING_UP, LIVE, REFUSED, HANDED_OVER };
enum work { IDLE, FULL, DELTA, SWEEP, SWEEP_READ };

struct source {
	struct loop *loop;
	const struct conf_node *conf;
	struct source_host host;
	struct directory_conf *settings;
	struct directory *directory;
	struct loop_timer *timer;
	struct source *ad; /* source_usn's, once the server proved to be AD */
	enum phase phase;
	enum work work;

	/* of the server */
	struct poll_server server;
	struct reader *reader;	   /* the line's requests */
	struct reader *own_reader; /* what a sweep found changed; its host is ours */
	struct source_host own_host;

	/* what the cursor stands for */
	struct poll_cursor known;
	struct buf cookie, state; /* as given to start: for source_usn */

	struct poll_table *table;
	bool full, behind, quiet;
	int64_t newest_ms, work_ms, sweep_ms;
	size_t seen, delivered;
	struct id *changed; /* of a sweep: to be read */
	size_t changed_n, changed_cap, changed_next;
};

const char *poll_uri(const struct source *s);
/* The server cannot be followed: said, and tried again in a minute. */
void poll_refuse(struct source *s, enum source_problem problem, const char *why);
/* true: the operation failed, and what follows from it was done. */
bool poll_failed(struct source *s, const struct directory_result *r, const char *step);
void poll_search(struct source *s, enum work work, const char *filter);
void poll_search_delta(struct source *s);

void poll_up(void *arg, size_t uri); /* directory_events.up: probes, surveys, catches up */
void poll_forget_readers(struct source *s);
void poll_start_ad(struct source *s); /* hands the cursor to source_usn */

#endif
