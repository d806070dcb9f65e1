#include "fault.h"

#include <stdlib.h>
#include <string.h>

static char *own_string(const struct json *object, const char *name)
{
	struct slice s = json_get_string(object, name);

	return json_is(json_get(object, name), JSON_STRING) ? xdup(s.p, s.n) : NULL;
}

static const char *unknown_key(const struct json *object, const char *const *known)
{
	JSON_EACH(child, object)
	{
		size_t i = 0;

		while (known[i] && !slice_is(child->key, known[i]))
			i++;
		if (!known[i])
			return "unknown name in a rule";
	}
	return NULL;
}

static const char *load_match(struct fault_rule *rule, const struct json *match)
{
	static const char *const known[] = {"method", "path_prefix", "key",   "contains",
					    "inner",  "nth",	     "every", "probability",
					    "seed",   NULL};

	if (match && match->type != JSON_OBJECT)
		return "match must be an object";
	rule->method = own_string(match, "method");
	rule->path_prefix = own_string(match, "path_prefix");
	rule->key = own_string(match, "key");
	rule->contains = own_string(match, "contains");
	rule->nth = json_get_number(match, "nth", 0);
	rule->every = json_get_number(match, "every", 0);
	rule->probability = json_get_real(match, "probability", 1);
	rule->seed = (uint64_t)json_get_number(match, "seed", 1);
	rule->inner = json_get(match, "inner") ? json_get_bool(match, "inner", false) : -1;
	return unknown_key(match, known);
}

static const char *load_cut(struct fault_do *action, const struct json *doing)
{
	struct slice cut = json_get_string(doing, "cut");

	if (slice_is(cut, "before")) {
		action->fate = HTTP_CUT;
	} else if (slice_is(cut, "after_commit")) {
		action->fate = HTTP_CUT;
		action->commit = true;
	} else if (slice_is(cut, "mid_answer")) {
		action->fate = HTTP_HALF;
		action->commit = true;
	} else if (json_get(doing, "cut")) {
		return "cut is before, after_commit or mid_answer";
	}
	if (json_get_bool(doing, "hang", false))
		action->fate = HTTP_HANG;
	if (json_get_bool(doing, "rst", false))
		action->fate = HTTP_RESET;
	action->commit = json_get_bool(doing, "commit", action->commit);
	return NULL;
}

static const char *load_headers(struct fault_do *action, const struct json *doing)
{
	struct json *headers = json_get(doing, "headers");
	struct slice redirect = json_get_string(doing, "redirect");
	struct text lines = {0};

	if (headers && headers->type != JSON_OBJECT)
		return "headers must be an object";
	JSON_EACH(header, headers)
	{
		text_slice(&lines, header->key);
		text_str(&lines, ": ");
		text_slice(&lines, header->string);
		text_str(&lines, "\r\n");
	}
	if (redirect.n) {
		text_fmt(&lines, "Location: %.*s\r\n", (int)redirect.n, redirect.p);
		if (!action->status)
			action->status = 307;
	}
	action->headers = lines.p;
	return NULL;
}

static void load_body(struct fault_do *action, const struct json *doing)
{
	struct json *body = json_get(doing, "body");
	struct text out = {0};

	action->content_type = own_string(doing, "content_type");
	if (json_get_bool(doing, "html", false)) {
		text_str(&out,
			 "<html><head><title>Service unavailable</title></head>"
			 "<body><h1>Our services aren't available right now</h1></body></html>");
		if (!action->content_type)
			action->content_type = xdup("text/html", 9);
		if (!action->status)
			action->status = 503;
	} else if (json_is(body, JSON_STRING)) {
		text_slice(&out, body->string);
	} else if (body) {
		json_write(&out, body);
	}
	action->body = out.p;
}

static const char *load_do(struct fault_do *action, const struct json *doing)
{
	static const char *const known[] = {
		"status",	 "body", "headers", "content_type", "delay_ms", "cut",
		"commit",	 "hang", "rst",	    "redirect",	    "html",	"truncated_json",
		"late_apply_ms", NULL};

	if (!json_is(doing, JSON_OBJECT))
		return "do must be an object";
	action->status = (int)json_get_number(doing, "status", 0);
	action->delay_ms = json_get_number(doing, "delay_ms", 0);
	action->late_apply_ms = json_get_number(doing, "late_apply_ms", -1);
	action->truncate = json_get_bool(doing, "truncated_json", false);
	const char *error = load_cut(action, doing);
	if (!error)
		error = load_headers(action, doing);
	load_body(action, doing);
	return error ? error : unknown_key(doing, known);
}

static const char *load_rule(struct fault_rule *rule, const struct json *object)
{
	static const char *const known[] = {"match", "do", "times", NULL};

	if (object->type != JSON_OBJECT)
		return "a rule must be an object";
	const char *error = load_match(rule, json_get(object, "match"));
	if (!error)
		error = load_do(&rule->action, json_get(object, "do"));
	rule->times = json_get_number(object, "times", rule->nth ? 1 : -1);
	return error ? error : unknown_key(object, known);
}

const char *fault_load(struct fault_set *set, const struct json *list)
{
	struct fault_set fresh = {0};
	const char *error = NULL;

	if (!json_is(list, JSON_ARRAY))
		return "an array of rules was expected";
	fresh.rules = xalloc(list->count * sizeof *fresh.rules);
	JSON_EACH(object, list)
	{
		if (!error)
			error = load_rule(&fresh.rules[fresh.n++], object);
	}
	if (error) {
		fault_clear(&fresh);
		return error;
	}
	fault_clear(set);
	*set = fresh;
	return NULL;
}

static bool rule_applies(const struct fault_rule *rule, const struct fault_input *input)
{
	if (!rule->times || (rule->inner >= 0 && rule->inner != (int)input->inner))
		return false;
	if (rule->method && !slice_is(input->method, rule->method))
		return false;
	if (rule->path_prefix && !slice_starts(input->path, rule->path_prefix))
		return false;
	if (rule->key && !slice_is(input->key, rule->key))
		return false;
	return !rule->contains || slice_find(input->body, slice_of(rule->contains));
}

static bool rule_fires(struct fault_rule *rule)
{
	rule->matched++;
	if (rule->nth && rule->matched != (uint64_t)rule->nth)
		return false;
	if (rule->every && rule->matched % (uint64_t)rule->every)
		return false;
	if (rule->probability < 1 &&
	    (double)(random_next(&rule->seed) >> 11) / 9007199254740992.0 >= rule->probability)
		return false;
	rule->fired++;
	if (rule->times > 0)
		rule->times--;
	return true;
}

const struct fault_do *fault_match(struct fault_set *set, const struct fault_input *input)
{
	for (size_t i = 0; i < set->n; i++) {
		if (rule_applies(&set->rules[i], input) && rule_fires(&set->rules[i]))
			return &set->rules[i].action;
	}
	return NULL;
}

bool fault_wants_key(const struct fault_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		if (set->rules[i].key)
			return true;
	}
	return false;
}

void fault_print(const struct fault_set *set, struct text *out)
{
	text_char(out, '[');
	for (size_t i = 0; i < set->n; i++)
		text_fmt(out, "%s{\"matched\":%llu,\"fired\":%llu,\"times\":%lld}", i ? "," : "",
			 (unsigned long long)set->rules[i].matched,
			 (unsigned long long)set->rules[i].fired, (long long)set->rules[i].times);
	text_char(out, ']');
}

void fault_clear(struct fault_set *set)
{
	for (size_t i = 0; i < set->n; i++) {
		struct fault_rule *rule = &set->rules[i];

		free(rule->method);
		free(rule->path_prefix);
		free(rule->key);
		free(rule->contains);
		free(rule->action.body);
		free(rule->action.content_type);
		free(rule->action.headers);
	}
	free(set->rules);
	*set = (struct fault_set){0};
}
