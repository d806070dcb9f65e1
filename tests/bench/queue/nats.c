/* NATS JetStream as a queue, a peer of bench-pipe: a work queue on file storage, a producer with at most 1,000 unanswered publications,
 * consumers of one group that acknowledge each message. Speaks the clients' text protocol (docs.nats.io, "Client Protocol").
 *
 *	bench-nats produce PORT MESSAGES BYTES [RATE]   makes the stream first if there is none
 *	bench-nats consume PORT NAME MESSAGES           until SIGTERM
 *
 * Prints "ready", and at its end one line of JSON (measure.h). */
#include "measure.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WINDOW = 1000, FLUSH = 64, ROOM = 1 << 20 };

static volatile sig_atomic_t stopped;

static struct {
	int fd;
	char in[ROOM], out[ROOM];
	size_t in_n, out_n;
} link_;

static void on_term(int signal_number)
{
	(void)signal_number;
	stopped = 1;
}

static void die(const char *what)
{
	fprintf(stderr, "bench-nats: %s\n", what);
	exit(1);
}

static void flush(void)
{
	size_t at = 0;

	while (at < link_.out_n) {
		ssize_t n = write(link_.fd, link_.out + at, link_.out_n - at);

		if (n < 0 && errno != EINTR)
			die("write");
		at += n > 0 ? (size_t)n : 0;
	}
	link_.out_n = 0;
}

static void put(const char *p, size_t n)
{
	if (link_.out_n + n > ROOM)
		flush();
	memcpy(link_.out + link_.out_n, p, n);
	link_.out_n += n;
}

static void put_text(const char *text)
{
	put(text, strlen(text));
}

static void publish(const char *subject, const char *reply, const char *body, size_t n)
{
	char head[256];
	int head_n = snprintf(head, sizeof(head), "PUB %s %s%s%zu\r\n", subject, reply,
			      *reply ? " " : "", n);

	put(head, (size_t)head_n);
	put(body, n);
	put("\r\n", 2);
}

/* Reads what is there, at most waiting so long. */
static void fill(int wait_ms)
{
	struct pollfd p = {.fd = link_.fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, wait_ms) <= 0)
		return;
	n = read(link_.fd, link_.in + link_.in_n, ROOM - link_.in_n);
	if (n == 0)
		die("the server went away");
	if (n > 0)
		link_.in_n += (size_t)n;
}

struct message {
	char subject[96], reply[160];
	const char *body;
	size_t n;
};

/* "MSG subject sid [reply] bytes": 1, and *used is its whole length; 0: not all of it is here. */
static int message_at(const char *p, size_t n, size_t head, struct message *m, size_t *used)
{
	char line[512], *words[5], *rest = line;
	unsigned k = 0;

	if (head >= sizeof(line))
		die("a line too long");
	memcpy(line, p, head);
	line[head] = '\0';
	for (char *w; k < 5 && (w = strtok_r(k ? NULL : line, " ", &rest));)
		words[k++] = w;
	if (k < 4)
		die("a message that is none");
	m->n = strtoul(words[k - 1], NULL, 10);
	*used = head + 2 + m->n + 2;
	if (*used > n)
		return 0;
	snprintf(m->subject, sizeof(m->subject), "%s", words[1]);
	snprintf(m->reply, sizeof(m->reply), "%s", k == 5 ? words[3] : "");
	m->body = p + head + 2;
	return 1;
}

/* Calls fn for each message that is here; answers PING. How many there were. */
static unsigned messages(void (*fn)(void *arg, const struct message *m), void *arg)
{
	size_t at = 0;
	unsigned n = 0;

	for (;;) {
		const char *p = link_.in + at, *end = memmem(p, link_.in_n - at, "\r\n", 2);
		size_t used = end ? (size_t)(end - p) + 2 : 0;
		struct message m;

		if (!end)
			break;
		if (strncmp(p, "MSG ", 4) == 0) {
			if (!message_at(p, link_.in_n - at, used - 2, &m, &used))
				break;
			fn(arg, &m);
			n++;
		} else if (strncmp(p, "PING", 4) == 0) {
			put_text("PONG\r\n");
		} else if (strncmp(p, "-ERR", 4) == 0) {
			die(p);
		}
		at += used;
	}
	memmove(link_.in, link_.in + at, link_.in_n - at);
	link_.in_n -= at;
	return n;
}

static void connect_to(const char *port)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
				.sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
	int one = 1;

	link_.fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (link_.fd < 0 || connect(link_.fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		die("no connection");
	setsockopt(link_.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	put_text("CONNECT {\"verbose\":false,\"pedantic\":false,\"name\":\"bench\"}\r\n");
}

static void no_error(void *arg, const struct message *m)
{
	(void)arg;
	if (memmem(m->body, m->n, "\"error\"", 7)) {
		fprintf(stderr, "bench-nats: %.*s\n", (int)m->n, m->body);
		exit(1);
	}
}

/* A request of JetStream's API, answered without an error. */
static void ask(const char *subject, const char *body)
{
	publish(subject, "_INBOX.bench.api", body, strlen(body));
	flush();
	while (messages(no_error, NULL) == 0)
		fill(1000);
}

static void make_stream(void)
{
	put_text("SUB _INBOX.bench.api 1\r\n");
	ask("$JS.API.STREAM.CREATE.Q", "{\"name\":\"Q\",\"subjects\":[\"q\"],\"retention\":"
				       "\"workqueue\",\"storage\":\"file\"}");
	ask("$JS.API.CONSUMER.DURABLE.CREATE.Q.c",
	    "{\"stream_name\":\"Q\",\"config\":{\"durable_name\":\"c\",\"deliver_subject\":\"d\","
	    "\"deliver_group\":\"g\",\"ack_policy\":\"explicit\",\"ack_wait\":30000000000,"
	    "\"max_ack_pending\":1000}}");
	put_text("UNSUB 1\r\n");
}

static void confirmed(void *arg, const struct message *m)
{
	no_error(NULL, m);
	((struct measure *)arg)->got++;
}

static void produce(struct measure *m, size_t bytes, double rate)
{
	char *message = malloc(bytes);
	uint64_t sent = 0;

	put_text("SUB _INBOX.bench.p 2\r\n");
	m->first_ns = measure_now_ns();
	while (m->got < m->total) {
		unsigned burst = 0;

		while (sent < m->total && sent - m->got < WINDOW && burst < FLUSH &&
		       measure_due(m->first_ns, sent, rate)) {
			measure_fill(message, bytes, sent++);
			publish("q", "_INBOX.bench.p", message, bytes);
			burst++;
		}
		flush();
		fill(burst ? 0 : 1);
		messages(confirmed, m);
	}
	m->last_ns = measure_now_ns();
	free(message);
}

static void taken(void *arg, const struct message *m)
{
	if (measure_take(arg, m->body, m->n))
		publish(m->reply, "", "+ACK", 4);
}

static void consume(struct measure *m)
{
	put_text("SUB d g 3\r\n");
	flush();
	puts("ready");
	fflush(stdout);
	while (!stopped) {
		fill(100);
		messages(taken, m);
		flush();
	}
}

int main(int argc, char **argv)
{
	bool producer = argc > 1 && strcmp(argv[1], "produce") == 0;
	struct measure m;

	if (argc < 5)
		die("see the head of nats.c");
	signal(SIGTERM, on_term);
	connect_to(argv[2]);
	make_stream();
	measure_begin(&m, strtoull(argv[producer ? 3 : 4], NULL, 10));
	if (producer) {
		puts("ready");
		fflush(stdout);
		produce(&m, strtoul(argv[4], NULL, 10), argc > 5 ? strtod(argv[5], NULL) : 0);
	} else {
		consume(&m);
	}
	measure_print(&m);
	close(link_.fd);
	free(m.seen);
	return 0;
}
