#include "json.h"
#include "log.h"
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* stderr becomes a pipe in packet mode (pipe(2), O_DIRECT): one read gives what one write gave. */
static int saved, from = -1;

static int catch_stderr(void **state)
{
	int ends[2];

	(void)state;
	saved = dup(STDERR_FILENO);
	if (pipe2(ends, O_DIRECT | O_NONBLOCK) < 0)
		return -1;
	dup2(ends[1], STDERR_FILENO);
	close(ends[1]);
	from = ends[0];
	return 0;
}

static int restore_stderr(void **state)
{
	(void)state;
	dup2(saved, STDERR_FILENO);
	close(saved);
	close(from);
	unsetenv("JOURNAL_STREAM");
	return 0;
}

/* The next write, whole; NULL when there was none. */
static const char *next_write(void)
{
	static char text[8192];
	ssize_t n = read(from, text, sizeof(text) - 1);

	if (n <= 0)
		return NULL;
	text[n] = '\0';
	return text;
}

static cJSON *next_line(void)
{
	const char *text = next_write();
	cJSON *line;

	assert_non_null(text);
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
	line = json_parse(slice_of(text), NULL);
	assert_non_null(line);
	return line;
}

static void one_write_a_line_with_all_fields(void **state)
{
	struct id id = {{0xab}};
	struct log_line l;
	cJSON *line;

	(void)state;
	log_open("worker", "m365", LOG_INFO_);
	l = log_begin(LOG_WARN_, "DP-2101", "target pauses");
	log_text(&l, "op", "create");
	log_text(&l, "left_out", NULL);
	log_int(&l, "retry_after_ms", INT64_MIN);
	log_id(&l, "user", &id);
	log_slice(&l, "part", (struct slice){"abcdef", 3});
	log_end(&l);
	line = next_line();
	assert_string_equal(json_text(line, "level"), "warn");
	assert_string_equal(json_text(line, "code"), "DP-2101");
	assert_string_equal(json_text(line, "component"), "worker");
	assert_string_equal(json_text(line, "target"), "m365");
	assert_string_equal(json_text(line, "msg"), "target pauses");
	assert_string_equal(json_text(line, "op"), "create");
	assert_string_equal(json_text(line, "part"), "abc");
	assert_string_equal(json_text(line, "user"), "ab000000-0000-0000-0000-000000000000");
	assert_null(json_get(line, "left_out"));
	assert_non_null(json_get(line, "retry_after_ms"));
	assert_int_equal(strlen(json_text(line, "ts")), 24);
	cJSON_Delete(line);
	assert_null(next_write());
}

static void name_belongs_to_the_component(void **state)
{
	cJSON *line;

	(void)state;
	log_open("collector", "corp", LOG_DEBUG_);
	log_msg(LOG_DEBUG_, "DP-1", "%d of %s", 3, "four");
	line = next_line();
	assert_string_equal(json_text(line, "source"), "corp");
	assert_string_equal(json_text(line, "msg"), "3 of four");
	cJSON_Delete(line);
	log_open("broker", "", LOG_INFO_);
	log_msg(LOG_ERROR_, NULL, "x");
	line = next_line();
	assert_string_equal(json_text(line, "component"), "broker");
	assert_null(json_get(line, "source"));
	assert_null(json_get(line, "name"));
	assert_null(json_get(line, "code"));
	cJSON_Delete(line);
}

static void lines_below_the_level_are_not_written(void **state)
{
	struct log_line l;

	(void)state;
	log_open("broker", "", LOG_WARN_);
	assert_false(log_on(LOG_INFO_));
	assert_true(log_on(LOG_WARN_));
	l = log_begin(LOG_INFO_, "DP-1", "no");
	log_text(&l, "a", "b");
	log_int(&l, "c", 1);
	log_end(&l);
	log_msg(LOG_DEBUG_, "DP-1", "no");
	assert_null(next_write());
	assert_null(l.b.p);
}

/* Whatever a target says, the line is JSON of valid UTF-8, and stays one line. */
static void bad_bytes_are_replaced(void **state)
{
	static const char nasty[] =
		"a\xff\xc3(\xe2\x82\"\\\n\r\x01\xed\xa0\x80z\xf0\x9f\x98\x80\0q\xc3";
	struct log_line l;
	cJSON *line;

	(void)state;
	log_open("worker", "t\xfe", LOG_INFO_);
	l = log_begin(LOG_INFO_, "DP-1", "m\x80");
	log_slice(&l, "said", (struct slice){nasty, sizeof(nasty) - 1});
	log_end(&l);
	line = next_line();
	assert_string_equal(json_text(line, "said"),
			    "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd"
			    "\"\\\n\r\x01\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"
			    "z\xf0\x9f\x98\x80\xef\xbf\xbdq\xef\xbf\xbd");
	assert_string_equal(json_text(line, "msg"), "m\xef\xbf\xbd");
	assert_string_equal(json_text(line, "target"), "t\xef\xbf\xbd");
	cJSON_Delete(line);
}

static void journal_prefix_only_on_its_own_stream(void **state)
{
	static const char *const prefix[LOG_LEVELS] = {"<7>{", "<6>{", "<4>{", "<3>{"};
	struct buf CLEANUP(buf_cleanup) stream = {0};
	struct stat st;

	(void)state;
	assert_int_equal(fstat(STDERR_FILENO, &st), 0);
	buf_addf(&stream, "%llu:%llu", (unsigned long long)st.st_dev,
		 (unsigned long long)st.st_ino);
	setenv("JOURNAL_STREAM", stream.p, 1);
	log_open("broker", "", LOG_DEBUG_);
	for (int level = 0; level < LOG_LEVELS; level++) {
		log_msg((enum log_level)level, "DP-1", "x");
		assert_memory_equal(next_write(), prefix[level], 4);
	}
	buf_addc(&stream, '1');
	setenv("JOURNAL_STREAM", stream.p, 1);
	log_open("broker", "", LOG_DEBUG_);
	log_msg(LOG_INFO_, "DP-1", "x");
	assert_memory_equal(next_write(), "{", 1);
	setenv("JOURNAL_STREAM", "nonsense", 1);
	log_open("broker", "", LOG_DEBUG_);
	log_msg(LOG_INFO_, "DP-1", "x");
	assert_memory_equal(next_write(), "{", 1);
}

static void levels_by_name(void **state)
{
	enum log_level level = LOG_LEVELS;

	(void)state;
	assert_int_equal(log_level_parse("warn", &level), 0);
	assert_int_equal(level, LOG_WARN_);
	assert_int_equal(log_level_parse("loud", &level), -EINVAL);
	assert_int_equal(log_level_parse(NULL, &level), -EINVAL);
	assert_int_equal(level, LOG_WARN_);
}

#define CAUGHT(test) cmocka_unit_test_setup_teardown(test, catch_stderr, restore_stderr)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CAUGHT(one_write_a_line_with_all_fields),
		CAUGHT(name_belongs_to_the_component),
		CAUGHT(lines_below_the_level_are_not_written),
		CAUGHT(bad_bytes_are_replaced),
		CAUGHT(journal_prefix_only_on_its_own_stream),
		cmocka_unit_test(levels_by_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
