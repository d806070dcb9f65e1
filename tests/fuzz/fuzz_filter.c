/* A search filter of any bytes, and values to try it on: "FILTER\nname=value\n…". It is refused with a reason, or it says yes or no. */
#include "entry_fixture.h"
#include "fuzz.h"

#include "filter.h"

enum { VALUES = 16 };

static struct entry *entry_of(struct slice rest, char **lines)
{
	struct entry *e = test_entry("uid=a,ou=Sales,dc=x", 1, ENTRY_USER);

	TEST_VALUES(e, "cn", "Jörg  MÜLLER", "Second");
	TEST_VALUES(e, "number", "9");
	for (size_t i = 0; i < VALUES && rest.n > 0; i++) {
		char *line = lines[i] = fuzz_text(fuzz_take(&rest, '\n'));
		char *value = strchr(line, '=');

		if (!value)
			continue;
		*value++ = '\0';
		TEST_VALUES(e, line, value);
	}
	return e;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	CLEANUP(buf_cleanup) struct buf negated = {0};
	struct slice rest = {(const char *)data, size};
	char *text = fuzz_text(fuzz_take(&rest, '\n'));
	char *lines[VALUES] = {0};
	struct filter *f = filter_new(text, &why), *not ;
	struct entry *e = entry_of(rest, lines);

	must((f == NULL) == (why.n > 0));
	if (f && *text == '(') {
		bool fits = filter_fits(f, e);

		buf_addf(&negated, "(!%s)", text);
		buf_clear(&why);
		not = filter_new(negated.p, &why);
		must(not == NULL || filter_fits(not, e) != fits);
		filter_free(not );
	}
	filter_free(f);
	entry_free(e);
	for (size_t i = 0; i < VALUES; i++)
		free(lines[i]);
	free(text);
	return 0;
}
