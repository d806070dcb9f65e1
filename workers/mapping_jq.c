#include "mapping_jq.h"

#include <ctype.h>
#include <jq.h>
#include <stdlib.h>
#include <string.h>

struct mapping_jq {
	jq_state *jq;
	struct buf message;
};

static void on_message(void *arg, jv message)
{
	struct mapping_jq *q = arg;
	jv text = jq_format_error(message);

	if (q->message.n == 0 && jv_get_kind(text) == JV_KIND_STRING)
		buf_adds(&q->message, jv_string_value(text));
	jv_free(text);
}

/* A mapping's result leaves the host: what is not in the snapshot stays out of its reach (GOALS S5). Names inside
 * strings count too, because "\(env.X)" interpolates. */
static const char *forbidden_word(const char *expression)
{
	static const char *const words[] = {"env",    "$ENV",	 "input",      "inputs",
					    "debug",  "halt",	 "halt_error", "input_filename",
					    "import", "include", "modulemeta", "get_search_list",
					    "stderr", "now",	 "localtime",  "input_line_number"};

	for (const char *p = expression; *p;) {
		size_t n = 0;

		while (isalnum((unsigned char)p[n]) || p[n] == '_' || (n == 0 && p[n] == '$'))
			n++;
		bool field = p > expression && p[-1] == '.';

		for (size_t i = 0; n && !field && i < sizeof(words) / sizeof(words[0]); i++) {
			if (strlen(words[i]) == n && memcmp(words[i], p, n) == 0)
				return words[i];
		}
		p += n ? n : 1;
	}
	return NULL;
}

struct mapping_jq *mapping_jq_new(const char *expression, struct buf *why)
{
	const char *word = forbidden_word(expression);
	struct mapping_jq *q;

	if (word) {
		buf_addf(why, "%s is not allowed in an expression", word);
		return NULL;
	}
	q = mem_alloc(sizeof(*q));
	q->jq = jq_init();
	if (!q->jq)
		abort();
	jq_set_error_cb(q->jq, on_message, q);
	if (jq_compile(q->jq, expression))
		return q;
	buf_addf(why, "the expression does not compile: %s", q->message.n ? q->message.p : "?");
	mapping_jq_free(q);
	return NULL;
}

void mapping_jq_free(struct mapping_jq *q)
{
	if (!q)
		return;
	jq_teardown(&q->jq);
	buf_done(&q->message);
	free(q);
}

static cJSON *to_json(jv value)
{
	jv text = jv_dump_string(value, 0);
	struct slice s = {jv_string_value(text), (size_t)jv_string_length_bytes(jv_copy(text))};
	cJSON *json = json_parse(s, NULL);

	jv_free(text);
	return json;
}

cJSON *mapping_jq_run(struct mapping_jq *q, struct slice input, struct buf *why)
{
	jv snapshot = jv_parse_sized(input.p, (int)input.n), first, second;
	cJSON *json = NULL;

	jq_start(q->jq, snapshot, 0);
	first = jq_next(q->jq);
	if (!jv_is_valid(first)) {
		bool failed = jv_invalid_has_msg(jv_copy(first));

		jv_free(first);
		if (!failed)
			return cJSON_CreateNull();
		buf_adds(why, "the expression failed");
		return NULL;
	}
	second = jq_next(q->jq);
	if (jv_is_valid(second))
		buf_adds(why, "the expression has more than one output");
	else if (jv_invalid_has_msg(jv_copy(second)))
		buf_adds(why, "the expression failed");
	else
		json = to_json(jv_copy(first));
	if (!json && why->n == 0)
		buf_adds(why, "the output is not valid JSON");
	jv_free(first);
	jv_free(second);
	return json;
}
