/* Rescue's answers over HTTP: a word, then records of "Key:Value" lines with blank lines between and behind them; the manual
 * also shows all pairs on the word's own line, and a blank behind the colon (fact sheet B1). */
#include "rescue_own.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

/* Where a pair may begin in the form without lines; a value that holds one of these and a colon cannot be told from a pair. */
static const char *const keys[] = {
	"NODEID",      "PARENTID", "NAME",   "NICK",	       "EMAIL",	       "SSOID",
	"DESCRIPTION", "TYPE",	   "STATUS", "HASMOBILEADDON", "HASRPATADDON", "ISACCOUNTHOLDER",
	"ACCOUNTID",   "ADMINID",  "TECHID", "ORGANIZATION",   "AUTHCODE",
};

static bool blank(char c)
{
	return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trimmed(struct slice s)
{
	while (s.n && blank(s.p[0])) {
		s.p++;
		s.n--;
	}
	while (s.n && blank(s.p[s.n - 1]))
		s.n--;
	return s;
}

static void add_pair(cJSON *record, struct slice key, struct slice value)
{
	CLEANUP(buf_cleanup) struct buf name = {0}, text = {0};

	for (size_t i = 0; i < key.n; i++)
		buf_addc(&name, (char)toupper((unsigned char)key.p[i]));
	buf_add_utf8(&text, value, value.n * 3);
	/* the first one counts: a value can bring no second one into being */
	if (name.n && utf8_valid(buf_slice(&name)) && !json_get(record, name.p))
		cJSON_AddStringToObject(record, name.p, text.p ? text.p : "");
}

static cJSON *new_record(cJSON *records)
{
	cJSON *record = cJSON_CreateObject();

	cJSON_AddItemToArray(records, record);
	return record;
}

/* ---- a pair a line ---- */

static void read_lines(struct slice rest, cJSON *records)
{
	cJSON *record = NULL;

	while (rest.n) {
		const char *end = memchr(rest.p, '\n', rest.n);
		size_t n = end ? (size_t)(end - rest.p) : rest.n;
		struct slice line = trimmed((struct slice){rest.p, n});
		const char *colon = line.n ? memchr(line.p, ':', line.n) : NULL;

		rest.p += end ? n + 1 : n;
		rest.n -= end ? n + 1 : n;
		if (line.n == 0)
			record = NULL;
		if (!colon)
			continue;
		if (!record)
			record = new_record(records);
		size_t key = (size_t)(colon - line.p);

		add_pair(record, trimmed((struct slice){line.p, key}),
			 trimmed((struct slice){colon + 1, line.n - key - 1}));
	}
}

/* ---- all on one line ---- */

/* Length of the known key that stands here with its colon, without it; 0: none. */
static size_t key_at(struct slice s)
{
	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		size_t n = strlen(keys[i]);

		if (s.n > n && s.p[n] == ':' && strncasecmp(s.p, keys[i], n) == 0)
			return n;
	}
	return 0;
}

/* From the value's begin to the next pair. */
static size_t value_length(struct slice s)
{
	for (size_t i = 1; i < s.n; i++) {
		if (blank(s.p[i - 1]) && key_at((struct slice){s.p + i, s.n - i}))
			return i;
	}
	return s.n;
}

static void read_flat(struct slice rest, cJSON *records)
{
	cJSON *record = NULL;

	while (rest.n) {
		size_t key = key_at(rest), value;
		CLEANUP(free_cleanup) char *name = NULL;

		if (!key) {
			rest.p++;
			rest.n--;
			continue;
		}
		value = value_length((struct slice){rest.p + key + 1, rest.n - key - 1});
		name = slice_dup((struct slice){rest.p, key});
		for (char *c = name; *c; c++)
			*c = (char)toupper((unsigned char)*c);
		if (!record || json_get(record, name))
			record = new_record(records);
		add_pair(record, slice_of(name), trimmed((struct slice){rest.p + key + 1, value}));
		rest.p += key + 1 + value;
		rest.n -= key + 1 + value;
	}
}

/* ---- the whole ---- */

static void read_id(struct slice rest, struct rescue_body *b)
{
	rest = trimmed(rest);
	if (rest.n > 1 && rest.p[0] == '[' && rest.p[rest.n - 1] == ']') {
		rest.p++;
		rest.n -= 2;
		rest = trimmed(rest);
	}
	if (rest.n == 0 || rest.n >= sizeof(b->id))
		return;
	for (size_t i = 0; i < rest.n; i++) {
		if (!isdigit((unsigned char)rest.p[i]))
			return;
	}
	memcpy(b->id, rest.p, rest.n);
}

static size_t word_length(struct slice s)
{
	size_t n = 0;

	while (n < s.n &&
	       (isupper((unsigned char)s.p[n]) || isdigit((unsigned char)s.p[n]) || s.p[n] == '_'))
		n++;
	return n > 0 && n <= 100 && (n == s.n || blank(s.p[n])) ? n : 0;
}

void rescue_body_read(struct slice text, struct rescue_body *ret)
{
	struct slice rest = trimmed(text);
	size_t n;

	*ret = (struct rescue_body){.records = cJSON_CreateArray()};
	if (rest.n >= 3 && memcmp(rest.p, "\xef\xbb\xbf", 3) == 0)
		rest = trimmed((struct slice){rest.p + 3, rest.n - 3});
	n = word_length(rest);
	if (n == 0) {
		buf_adds(&ret->word, rest.n && rest.p[0] == '<' ? "HTML" : "ODD");
		return;
	}
	buf_add(&ret->word, rest.p, n);
	rest.p += n;
	rest.n -= n;
	read_id(rest, ret);
	while (rest.n && rest.p[0] != '\n' && blank(rest.p[0])) {
		rest.p++;
		rest.n--;
	}
	if (rest.n && rest.p[0] == '\n')
		read_lines(rest, ret->records);
	else
		read_flat(rest, ret->records);
}

void rescue_body_done(struct rescue_body *b)
{
	buf_done(&b->word);
	cJSON_Delete(b->records);
	*b = (struct rescue_body){0};
}

const char *rescue_field(const cJSON *record, const char *key)
{
	const char *text = json_text(record, key);

	return text ? text : "";
}
