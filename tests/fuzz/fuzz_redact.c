/* A vendor's words: "MOST\nWORDS\nPERSONAL" (JSON). What comes out is UTF-8 on one line, bounded, and holds none of the person. */
#include "fuzz.h"

#include "redact.h"

static bool holds(struct slice text, const char *part)
{
	return text.n > 0 && memmem(text.p, text.n, part, strlen(part)) != NULL;
}

static void nothing_of(const cJSON *value, struct slice text)
{
	const cJSON *item;

	/* Shorter ones may stand in what was put instead, or begin in one word and end in the next. */
	if (cJSON_IsString(value) && strlen(value->valuestring) >= 16 &&
	    strspn(value->valuestring, "abcdefghijklmnopqrstuvwxyz") == strlen(value->valuestring))
		must(!holds(text, value->valuestring));
	cJSON_ArrayForEach (item, value)
		nothing_of(item, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_cleanup) struct buf out = {0};
	struct slice rest = {(const char *)data, size};
	size_t most = 8 * (size_t)fuzz_byte(&rest);
	struct slice words = fuzz_take(&rest, '\n');
	cJSON *personal = json_parse(rest, NULL);

	redact_text(words, personal, most, &out);
	must(out.n <= most && utf8_valid(buf_slice(&out)));
	for (size_t i = 0; i < out.n; i++)
		must((unsigned char)out.p[i] >= ' ' && out.p[i] != 0x7f);
	nothing_of(personal, buf_slice(&out));
	cJSON_Delete(personal);
	return 0;
}
