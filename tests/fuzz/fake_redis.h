/* In place of lib/redis.c: a connection whose answers are the input. One byte for each answer: 'r' and RESP bytes, 'l' the connection is
 * lost, anything else what a good, empty server would say; so does everything after the input's end. */
#ifndef DIRPIPE_FUZZ_FAKE_REDIS_H
#define DIRPIPE_FUZZ_FAKE_REDIS_H

#include "fuzz.h"

#include "redis.h"

struct fake_call {
	const char *answer;
	redis_reply_fn fn;
	void *arg;
};

/* One at a time; lives in this file so that nothing is left between two inputs. */
struct redis {
	struct fake_call calls[4096];
	size_t first, n;
	enum redis_state state;
	redis_state_fn on_state;
	void *arg;
};
static struct redis fake;
static struct slice fake_input;

static const char *fake_good(const struct slice *argv, size_t argc)
{
	static const struct {
		const char *word, *name, *answer;
	} rows[] = {
		{"INFO", "",
		 "$162\r\nrole:master\r\naof_enabled:1\r\nmaxmemory_policy:noeviction\r\nrun_id:"
		 "abc\r\nloading:0\r\naof_rewrite_in_progress:0\r\naof_rewrite_scheduled:0\r\naof_"
		 "last_bgrewrite_status:ok\r\n\r\n"},
		{"CONFIG", "", "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n"},
		{"FCALL", "take_",
		 "*7\r\n$6\r\nactive\r\n$13\r\n1764000000000\r\n$1\r\n7\r\n$1\r\n1\r\n"
		 "$3\r\nabc\r\n$0\r\n\r\n$13\r\n1764000000000\r\n"},
		{"FCALL", "renew_", "$13\r\n1764000000000\r\n"},
		{"FCALL", "page_", "*0\r\n"},
		{"FCALL_RO", "load_", "*1\r\n$1\r\n0\r\n"},
		{"FCALL_RO", "", "*0\r\n"},
		{"HSCAN", "", "*2\r\n$1\r\n0\r\n*0\r\n"},
		{"HGETALL", "", "*0\r\n"},
		{"HMGET", "", "*2\r\n$-1\r\n$-1\r\n"},
		{"XREVRANGE", "", "*0\r\n"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		if (!slice_is(argv[0], rows[i].word))
			continue;
		if (!*rows[i].name ||
		    (argc > 1 && memmem(argv[1].p, argv[1].n, rows[i].name, strlen(rows[i].name))))
			return rows[i].answer;
	}
	return "+OK\r\n";
}

struct redis *redis_new(struct loop *loop, const struct redis_conf *conf, redis_state_fn on_state,
			void *arg)
{
	(void)loop;
	(void)conf;
	fake.first = fake.n = 0;
	fake.state = REDIS_CONNECTING;
	fake.on_state = on_state;
	fake.arg = arg;
	return &fake;
}

void redis_call(struct redis *r, const struct slice *argv, size_t argc, redis_reply_fn fn,
		void *arg)
{
	must(r->n < sizeof(r->calls) / sizeof(r->calls[0]));
	r->calls[r->n++] = (struct fake_call){fake_good(argv, argc), fn, arg};
}

static void fake_lose(struct redis *r)
{
	while (r->first < r->n) {
		struct fake_call c = r->calls[r->first++];

		c.fn(c.arg, REDIS_CLASS_UNKNOWN, NULL);
	}
	r->first = r->n = 0;
}

enum redis_state redis_state(const struct redis *r)
{
	return r->state;
}

void redis_reconnect(struct redis *r)
{
	r->state = REDIS_DOWN;
}

void redis_free(struct redis *r)
{
	r->on_state = NULL;
	fake_lose(r);
}

/* The library makes room for as many elements as the reply says it has; the sanitizer would fill that. */
static redisReplyObjectFunctions *fake_made;
#if HIREDIS_MAJOR >= 1
typedef size_t fake_count;
#else
typedef int fake_count;
#endif
static void *(*fake_array)(const redisReadTask *task, fake_count n);

static void *fake_small_array(const redisReadTask *task, fake_count n)
{
	return n > 100000 ? NULL : fake_array(task, n);
}

/* NULL: what comes is no whole reply. */
static redisReply *fake_reply(struct slice *bytes)
{
	static redisReplyObjectFunctions functions;
	redisReader *reader = redisReaderCreate();
	void *reply = NULL;

	if (!fake_made) {
		functions = *reader->fn;
		fake_array = functions.createArray;
		functions.createArray = fake_small_array;
		fake_made = &functions;
	}
	reader->fn = fake_made;

	if (bytes->n > 0)
		redisReaderFeed(reader, bytes->p, bytes->n);
	if (redisReaderGetReply(reader, &reply) != REDIS_OK)
		reply = NULL;
	if (reply) {
		size_t left = reader->len - reader->pos;

		bytes->p += bytes->n - left;
		bytes->n = left;
	}
	redisReaderFree(reader);
	return reply;
}

/* Answers the oldest call; false: nobody asks. */
static bool fake_answer(void)
{
	struct fake_call c;
	struct slice good;
	redisReply *reply;
	uint8_t what;

	if (fake.state != REDIS_UP) {
		fake_lose(&fake);
		fake.state = REDIS_UP;
		fake.on_state(fake.arg, REDIS_DOWN, "lost");
		fake.on_state(fake.arg, REDIS_UP, "");
	}
	if (fake.first == fake.n) {
		fake.first = fake.n = 0;
		return false;
	}
	what = fuzz_byte(&fake_input);
	c = fake.calls[fake.first];
	good = slice_of(c.answer);
	reply = what == 'l' ? NULL : fake_reply(what == 'r' ? &fake_input : &good);
	if (!reply) {
		fake.state = REDIS_DOWN;
		return true;
	}
	fake.first++;
	c.fn(c.arg, redis_classify(reply), reply);
	freeReplyObject(reply);
	return true;
}

#endif
