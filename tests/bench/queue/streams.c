/* Redis Streams as a queue, the peer of bench-pipe: a producer with at most 1,000 unanswered XADD, consumers of one group that read 64 at a
 * time, and XACK and XDEL each message.
 *
 *	bench-streams produce SOCKET MESSAGES BYTES [RATE]
 *	bench-streams consume SOCKET NAME MESSAGES          until SIGTERM
 *
 * Prints "ready", and at its end one line of JSON (measure.h). */
#include "measure.h"

#include <hiredis/hiredis.h>
#include <poll.h>
#include <signal.h>

enum { WINDOW = 1000, FLUSH = 64 };

static volatile sig_atomic_t stopped;

static void on_term(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "bench-streams: %s\n", what);
	exit(1);
}

static redisContext *connect_to(const char *path)
{
	redisContext *c = redisConnectUnix(path);

	if (!c || c->err)
		die("no connection");
	return c;
}

static void flush(redisContext *c)
{
	int all = 0;

	while (!all) {
		if (redisBufferWrite(c, &all) != REDIS_OK)
			die(c->errstr);
	}
}

/* Takes the answers that are there; waits for one when nothing may be sent. */
static uint64_t answers(redisContext *c, int wait_ms)
{
	struct pollfd p = {.fd = c->fd, .events = POLLIN};
	uint64_t n = 0;
	void *r;

	if (poll(&p, 1, wait_ms) <= 0)
		return 0;
	if (redisBufferRead(c) != REDIS_OK)
		die(c->errstr);
	while (redisGetReplyFromReader(c, &r) == REDIS_OK && r) {
		if (((redisReply *)r)->type == REDIS_REPLY_ERROR)
			die(((redisReply *)r)->str);
		freeReplyObject(r);
		n++;
	}
	return n;
}

static void produce(redisContext *c, struct measure *m, size_t bytes, double rate)
{
	char *message = malloc(bytes);
	uint64_t sent = 0;

	m->first_ns = measure_now_ns();
	while (m->got < m->total) {
		unsigned burst = 0;

		while (sent < m->total && sent - m->got < WINDOW && burst < FLUSH &&
		       measure_due(m->first_ns, sent, rate)) {
			const char *words[] = {"XADD", "q", "*", "d", message};
			const size_t lengths[] = {4, 1, 1, 1, bytes};

			measure_fill(message, bytes, sent++);
			redisAppendCommandArgv(c, 5, words, lengths);
			burst++;
		}
		flush(c);
		m->got += answers(c, burst ? 0 : 1);
	}
	m->last_ns = measure_now_ns();
	free(message);
}

static void drop_answers(redisContext *c, unsigned n)
{
	void *r;

	for (; n > 0; n--) {
		if (redisGetReply(c, &r) != REDIS_OK)
			die(c->errstr);
		freeReplyObject(r);
	}
}

/* Acknowledges each message of an answer of XREADGROUP; how many commands that took. */
static unsigned take(redisContext *c, struct measure *m, const redisReply *r)
{
	const redisReply *list =
		r->type == REDIS_REPLY_ARRAY && r->elements ? r->element[0]->element[1] : NULL;
	unsigned pending = 0;

	for (size_t i = 0; list && i < list->elements; i++) {
		const redisReply *id = list->element[i]->element[0],
				 *body = list->element[i]->element[1]->element[1];

		measure_take(m, body->str, body->len);
		redisAppendCommand(c, "XACK q g %b", id->str, id->len);
		redisAppendCommand(c, "XDEL q %b", id->str, id->len);
		pending += 2;
	}
	return pending;
}

static void consume(redisContext *c, struct measure *m, const char *name)
{
	unsigned pending = 0;

	while (!stopped || pending) {
		redisReply *r;

		redisAppendCommand(c, "XREADGROUP GROUP g %s COUNT %d BLOCK 100 STREAMS q >", name,
				   FLUSH);
		drop_answers(c, pending);
		if (pending)
			m->last_ns = measure_now_ns();
		if (redisGetReply(c, (void **)&r) != REDIS_OK)
			die(c->errstr);
		pending = take(c, m, r);
		freeReplyObject(r);
	}
}

int main(int argc, char **argv)
{
	bool producer = argc > 1 && strcmp(argv[1], "produce") == 0;
	struct measure m;
	redisContext *c;

	if (argc < 5)
		die("see the head of streams.c");
	signal(SIGTERM, on_term);
	c = connect_to(argv[2]);
	if (producer) {
		measure_begin(&m, strtoull(argv[3], NULL, 10));
		puts("ready");
		fflush(stdout);
		produce(c, &m, strtoul(argv[4], NULL, 10), argc > 5 ? strtod(argv[5], NULL) : 0);
	} else {
		freeReplyObject(redisCommand(c, "XGROUP CREATE q g 0 MKSTREAM"));
		measure_begin(&m, strtoull(argv[4], NULL, 10));
		puts("ready");
		fflush(stdout);
		consume(c, &m, argv[3]);
	}
	measure_print(&m);
	redisFree(c);
	free(m.seen);
	return 0;
}
