#include "metrics.h"
#include "unit.h"

#include <malloc.h>
#include <math.h>
#include <string.h>

static struct metrics *m;

static int begin(void **state)
{
	(void)state;
	m = metrics_new();
	return 0;
}

static int end(void **state)
{
	(void)state;
	metrics_free(m);
	return 0;
}

static void printed_holds(const char *text)
{
	struct buf CLEANUP(buf_cleanup) out = {0};

	metrics_print(m, &out);
	if (strstr(out.p, text) == NULL)
		fail_msg("%s\n  is not in\n%s", text, out.p);
}

static void counters_and_gauges(void **state)
{
	const char *m365 = metrics_labels("target", "m365", "op", "create", NULL);
	const char *crm = metrics_labels("target", "crm", "op", "create", NULL);

	(void)state;
	metrics_declare(m, METRICS_COUNTER, "operations_total", "What was done.");
	metrics_declare(m, METRICS_GAUGE, "redis_up", "1 when Redis\nanswers\\.");
	metrics_add(m, "operations_total", m365, 2);
	metrics_add(m, "operations_total", crm, 1);
	metrics_add(m, "operations_total", m365, 0.5);
	metrics_set(m, "redis_up", "", 7);
	metrics_set(m, "redis_up", "", 1);
	assert_float_equal((float)metrics_value(m, "operations_total", m365), 2.5F, 0);
	assert_float_equal((float)metrics_value(m, "operations_total", "nobody=\"x\""), 0, 0);
	assert_float_equal((float)metrics_value(m, "unknown", ""), 0, 0);
	printed_holds("# HELP dirpipe_operations_total What was done.\n"
		      "# TYPE dirpipe_operations_total counter\n"
		      "dirpipe_operations_total{target=\"m365\",op=\"create\"} 2.5\n"
		      "dirpipe_operations_total{target=\"crm\",op=\"create\"} 1\n"
		      "# HELP dirpipe_redis_up 1 when Redis\\nanswers\\\\.\n"
		      "# TYPE dirpipe_redis_up gauge\n"
		      "dirpipe_redis_up 1\n");
}

/* Each bound of INTERFACES 5.5 belongs to its own bucket (le = less or equal). */
static void histogram_buckets(void **state)
{
	(void)state;
	metrics_declare(m, METRICS_HISTOGRAM, "end_to_end_seconds", "From change to effect.");
	metrics_observe(m, "end_to_end_seconds", "target=\"a\"", 0.01);
	metrics_observe(m, "end_to_end_seconds", "target=\"a\"", 0.011);
	metrics_observe(m, "end_to_end_seconds", "target=\"a\"", 1800);
	metrics_observe(m, "end_to_end_seconds", "target=\"a\"", 1801);
	metrics_observe(m, "end_to_end_seconds", "", 60);
	printed_holds("# TYPE dirpipe_end_to_end_seconds histogram\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"0.01\"} 1\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"0.025\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"0.05\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"0.1\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"0.25\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"0.5\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"1\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"2.5\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"5\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"10\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"30\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"60\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"300\"} 2\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"1800\"} 3\n"
		      "dirpipe_end_to_end_seconds_bucket{target=\"a\",le=\"+Inf\"} 4\n");
	printed_holds("dirpipe_end_to_end_seconds_count{target=\"a\"} 4\n"
		      "dirpipe_end_to_end_seconds_bucket{le=\"0.01\"} 0\n");
	printed_holds("dirpipe_end_to_end_seconds_sum 60\ndirpipe_end_to_end_seconds_count 1\n");
	assert_float_equal((float)metrics_value(m, "end_to_end_seconds", "target=\"a\""), 4, 0);
}

static void values_that_are_no_numbers(void **state)
{
	(void)state;
	metrics_declare(m, METRICS_GAUGE, "a", "h");
	metrics_set(m, "a", "x=\"1\"", (double)INFINITY);
	metrics_set(m, "a", "x=\"2\"", (double)-INFINITY);
	metrics_set(m, "a", "x=\"3\"", (double)NAN);
	metrics_set(m, "a", "x=\"4\"", 1785000000.125);
	printed_holds("dirpipe_a{x=\"1\"} +Inf\ndirpipe_a{x=\"2\"} -Inf\n"
		      "dirpipe_a{x=\"3\"} NaN\ndirpipe_a{x=\"4\"} 1785000000.125\n");
}

static void labels_are_escaped_and_kept_a_while(void **state)
{
	const char *first = metrics_labels("a", "q\"b\\n\nend", "none", NULL, NULL);

	(void)state;
	for (int i = 0; i < 7; i++)
		metrics_labels("other", "x", NULL);
	assert_string_equal(first, "a=\"q\\\"b\\\\n\\nend\",none=\"\"");
	assert_string_equal(metrics_labels(NULL, NULL), "");
}

static void series_are_forgotten(void **state)
{
	struct buf CLEANUP(buf_cleanup) out = {0};

	(void)state;
	metrics_declare(m, METRICS_GAUGE, "workers", "h");
	metrics_set(m, "workers", "target=\"a\"", 3);
	metrics_forget(m, "workers", "target=\"a\"");
	metrics_forget(m, "workers", "target=\"a\"");
	metrics_print(m, &out);
	assert_null(strstr(out.p, "target=\"a\""));
	assert_non_null(strstr(out.p, "# TYPE dirpipe_workers gauge\n"));
}

/* A label that is not bounded costs a bounded amount of memory, and shows. */
static void label_sets_are_bounded(void **state)
{
	struct buf CLEANUP(buf_cleanup) labels = {0};

	(void)state;
	metrics_declare(m, METRICS_GAUGE, "wild", "h");
	for (int i = 0; i < 2010; i++) {
		buf_clear(&labels);
		buf_addf(&labels, "n=\"%d\"", i);
		metrics_set(m, "wild", labels.p, 1);
	}
	printed_holds("dirpipe_metrics_dropped_total 10\n");
	assert_float_equal((float)metrics_value(m, "wild", "n=\"1999\""), 1, 0);
	assert_float_equal((float)metrics_value(m, "wild", "n=\"2000\""), 0, 0);
}

static void known_series_cost_no_memory(void **state)
{
	size_t before;

	(void)state;
	metrics_declare(m, METRICS_HISTOGRAM, "h_seconds", "h");
	for (int i = 0; i < 16; i++)
		metrics_observe(m, "h_seconds", metrics_labels("target", "a", NULL), 1);
	before = mallinfo2().uordblks;
	for (int i = 0; i < 1000; i++)
		metrics_observe(m, "h_seconds", metrics_labels("target", "a", NULL), 1);
	assert_int_equal(mallinfo2().uordblks, before);
}

#define METRICS(test) cmocka_unit_test_setup_teardown(test, begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		METRICS(counters_and_gauges),	      METRICS(histogram_buckets),
		METRICS(values_that_are_no_numbers),  METRICS(labels_are_escaped_and_kept_a_while),
		METRICS(series_are_forgotten),	      METRICS(label_sets_are_bounded),
		METRICS(known_series_cost_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
