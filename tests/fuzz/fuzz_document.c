/* A snapshot as it comes in a TASK, and a mapping: "SNAPSHOT\nMAPPING" (none: a fixed one). What is accepted gives one flat, sorted
 * document, or a reason. */
#include "fuzz.h"

#include "join.h"
#include "mapping.h"

static const char fixed[] =
	"{\"a\":\"cn\",\"b\":[\"mail\",\"sn\"],\"c\":{\"all\":\"phone\"},\"d\":\"account.enabled\","
	"\"e\":{\"jq\":\".attrs.cn[0] // .dn\"},\"f\":\"id\",\"name.g\":{\"const\":[1]}}";

/* An expression may run for ever; whoever may write one may also stop the program. */
static bool has_jq(const cJSON *spec)
{
	const cJSON *field;

	cJSON_ArrayForEach (field, spec)
		if (json_get(field, "jq"))
			return true;
	return false;
}

static struct mapping *mapping_of(struct slice text, bool jq)
{
	CLEANUP(buf_cleanup) struct buf errors = {0};
	cJSON *spec = json_parse(text, NULL);
	struct mapping *m = NULL;

	if (cJSON_IsObject(spec) && (jq || !has_jq(spec))) {
		m = mapping_new(spec, "f:1:1", &errors);
		must((m == NULL) == (errors.n > 0));
	}
	cJSON_Delete(spec);
	return m;
}

/* Compiled once: its expression takes longer than all the rest. */
static struct mapping *made;

static void drop(void)
{
	mapping_free(made);
}

static struct mapping *fixed_mapping(void)
{
	if (!made) {
		made = mapping_of(SLICE(fixed), true);
		must(made && atexit(drop) == 0);
	}
	return made;
}

static void check(const cJSON *document, const struct mapping *m)
{
	cJSON *nested = cJSON_CreateObject();
	size_t i = 0;
	const cJSON *item;

	cJSON_ArrayForEach (item, document) {
		must(strcmp(item->string, mapping_path(m, i++)) == 0);
		if (!mapping_empty(item))
			mapping_put(nested, item->string, item);
	}
	must(i == mapping_count(m));
	cJSON_ArrayForEach (item, document)
		(void)mapping_get(nested, item->string);
	cJSON_Delete(nested);
}

static void joins(const struct snapshot *s)
{
	static const struct join_rule rules[] = {{"a", "cn+'.'+sn", false}, {"b", "id", false}};
	CLEANUP(buf_cleanup) struct buf errors = {0};
	struct join *j = join_of(rules, 2, &errors);

	for (size_t i = 0; i < join_count(j); i++) {
		CLEANUP(buf_cleanup) struct buf value = {0};

		if (join_value(j, i, s, &value))
			must(utf8_valid(buf_slice(&value)));
	}
	join_free(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	struct slice rest = {(const char *)data, size};
	const char *reason = NULL;
	struct snapshot *s = snapshot_parse(fuzz_take(&rest, '\n'), &reason);
	struct mapping *own = rest.n > 0 ? mapping_of(rest, false) : NULL,
		       *m = rest.n > 0 ? own : fixed_mapping();
	cJSON *document;

	must((s == NULL) == (reason != NULL));
	if (s && m) {
		must(snapshot_dn(s) && snapshot_immutable_id(s));
		(void)snapshot_enabled(s);
		(void)snapshot_time(s, "locked_until");
		(void)snapshot_in_group(s, "staff");
		document = mapping_apply(m, s, &why);
		must((document == NULL) == (why.n > 0));
		if (document)
			check(document, m);
		cJSON_Delete(document);
		joins(s);
	}
	mapping_free(own);
	snapshot_free(s);
	return 0;
}
