/* What the programs of the queue bench share: messages that carry their number and the time they were sent, a histogram of how long they
 * took, and the one line of JSON that each program ends with. */
#ifndef DIRPIPE_BENCH_MEASURE_H
#define DIRPIPE_BENCH_MEASURE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { MEASURE_HEAD = 48, MEASURE_STEPS = 32, MEASURE_SLOTS = 1024 };

struct measure {
	uint8_t *seen; /* a bit for each number */
	uint64_t total, got, doubled, slots[MEASURE_SLOTS];
	int64_t first_ns, last_ns;
};

static inline int64_t measure_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A message of n bytes that is JSON: {"n":"…16 hex…","t":"…16 hex…","p":"xx…"}. */
static inline void measure_fill(char *out, size_t n, uint64_t number)
{
	int head = snprintf(out, n, "{\"n\":\"%016llx\",\"t\":\"%016llx\",\"p\":\"",
			    (unsigned long long)number, (unsigned long long)measure_now_ns());

	memset(out + head, 'x', n - (size_t)head);
	out[n - 2] = '"';
	out[n - 1] = '}';
}

/* Logarithmic slots, 32 to a doubling, of microseconds. */
static inline unsigned measure_slot(uint64_t us)
{
	unsigned e, i;

	if (us < MEASURE_STEPS)
		return (unsigned)us;
	e = 63 - (unsigned)__builtin_clzll(us) - 5;
	i = (e + 1) * MEASURE_STEPS + (unsigned)((us >> e) - MEASURE_STEPS);
	return i < MEASURE_SLOTS ? i : MEASURE_SLOTS - 1;
}

static inline double measure_slot_us(unsigned i)
{
	return i < MEASURE_STEPS ? i
				 : (double)((uint64_t)(MEASURE_STEPS + i % MEASURE_STEPS)
					    << (i / MEASURE_STEPS - 1));
}

static inline double measure_percentile_us(const struct measure *m, double part)
{
	uint64_t sum = 0;

	for (unsigned i = 0; i < MEASURE_SLOTS; i++) {
		sum += m->slots[i];
		if (m->got && (double)sum >= part * (double)m->got)
			return measure_slot_us(i);
	}
	return 0;
}

static inline void measure_begin(struct measure *m, uint64_t total)
{
	*m = (struct measure){.total = total, .seen = calloc(total / 8 + 1, 1)};
}

/* False: no message of ours. */
static inline bool measure_take(struct measure *m, const char *p, size_t n)
{
	int64_t now = measure_now_ns();
	uint64_t number, us;

	if (n < MEASURE_HEAD)
		return false;
	number = strtoull(p + 6, NULL, 16);
	us = (uint64_t)(now - (int64_t)strtoull(p + 29, NULL, 16)) / 1000;
	if (number >= m->total)
		return false;
	if (m->seen[number / 8] & 1u << number % 8)
		m->doubled++;
	m->seen[number / 8] |= (uint8_t)(1u << number % 8);
	m->got++;
	m->slots[measure_slot(us)]++;
	m->last_ns = now;
	return true;
}

static inline void measure_print(const struct measure *m)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	printf("{\"got\": %llu, \"doubled\": %llu, \"first_ns\": %lld, \"last_ns\": %lld, "
	       "\"p50_us\": %.0f, \"p99_us\": %.0f, "
	       "\"cpu_s\": %.4f}\n",
	       (unsigned long long)m->got, (unsigned long long)m->doubled, (long long)m->first_ns,
	       (long long)m->last_ns, measure_percentile_us(m, 0.5), measure_percentile_us(m, 0.99),
	       (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		       (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
	fflush(stdout);
}

/* When number is due at a rate (0: at once). */
static inline bool measure_due(int64_t started_ns, uint64_t number, double rate)
{
	return rate <= 0 || (double)(measure_now_ns() - started_ns) >= (double)number / rate * 1e9;
}

#endif
