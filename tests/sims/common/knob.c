#include "knob.h"

#include <string.h>

static const char *set_one(const struct knob *knob, const struct json *value)
{
	int64_t number;

	if (knob->kind == KNOB_BOOL && json_is_bool(value)) {
		*(bool *)knob->at = value->type == JSON_TRUE;
	} else if (knob->kind == KNOB_NUMBER && value->type == JSON_NUMBER &&
		   slice_number(value->string, &number)) {
		*(int64_t *)knob->at = number;
	} else if (knob->kind == KNOB_STRING && value->type == JSON_STRING &&
		   value->string.n < KNOB_STRING_MAX) {
		memcpy(knob->at, value->string.p, value->string.n);
		((char *)knob->at)[value->string.n] = '\0';
	} else {
		return "wrong type of a knob's value";
	}
	return knob->changed ? knob->changed() : NULL;
}

const char *knob_set(const struct knob *knobs, size_t n, const struct json *object)
{
	if (!json_is(object, JSON_OBJECT))
		return "an object of knobs was expected";
	JSON_EACH(value, object)
	{
		size_t i = 0;

		while (i < n && !slice_is(value->key, knobs[i].name))
			i++;
		const char *error = i < n ? set_one(&knobs[i], value) : "unknown knob";
		if (error)
			return error;
	}
	return NULL;
}

void knob_print(const struct knob *knobs, size_t n, struct text *out)
{
	text_char(out, '{');
	for (size_t i = 0; i < n; i++) {
		text_fmt(out, "%s\"%s\":", i ? "," : "", knobs[i].name);
		if (knobs[i].kind == KNOB_BOOL)
			text_str(out, *(const bool *)knobs[i].at ? "true" : "false");
		else if (knobs[i].kind == KNOB_NUMBER)
			text_number(out, *(const int64_t *)knobs[i].at);
		else
			text_json(out, slice_of(knobs[i].at));
	}
	text_char(out, '}');
}
