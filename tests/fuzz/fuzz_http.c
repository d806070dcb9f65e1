/* What stands around a body: "STATUS\nKIND\nCODE\nRETRY-AFTER\nURL\nHEADERS". The verdict has a class that the table knows, a wait is
 * bounded, a header's value stands in the headers. */
#include "fuzz.h"

#include "oauth.h"
#include "target.h"
#include "verdict.h"

#define NOW 1764000000000

static long number(struct slice s)
{
	char text[12] = "";

	memcpy(text, s.p ? s.p : "", s.n < sizeof(text) - 1 ? s.n : sizeof(text) - 1);
	return strtol(text, NULL, 10);
}

static void judge(long status, unsigned kind, struct slice code, struct slice after)
{
	unsigned streak = 0;
	struct verdict_facts facts = {.kind = kind % TARGET_KINDS,
				      .failure = (enum http_failure)(kind / 8 % HTTP_FAILURES),
				      .sent = kind & 128,
				      .status = (int)(status % 1000),
				      .code = code,
				      .retry_after = after,
				      .not_json = kind & 256};
	struct verdict v = verdict_judge(&facts, NULL, NOW);

	must(v.class < VERDICT_CLASSES && v.after_ms >= 0);
	must(v.after_ms <= VERDICT_RETRY_AFTER_CAP_MS);
	must(v.reason == NULL || *v.reason);
	(void)verdict_is_down(&streak, &facts);
	must(streak <= 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = {"Retry-After", "Location", "content-type", "ETag"};
	CLEANUP(buf_cleanup) struct buf origin = {0};
	CLEANUP(buf_cleanup) struct buf escaped = {0};
	struct slice rest = {(const char *)data, size};
	long status = number(fuzz_take(&rest, '\n'));
	unsigned kind = (unsigned)number(fuzz_take(&rest, '\n'));
	struct slice code = fuzz_take(&rest, '\n'), after = fuzz_take(&rest, '\n');
	char *url = fuzz_text(fuzz_take(&rest, '\n'));
	struct http_response r = {.failure = HTTP_ANSWERED, .status = status, .headers = rest};
	int64_t wait = verdict_retry_after_ms(after, NOW);

	must(wait >= -1 && wait <= VERDICT_RETRY_AFTER_CAP_MS);
	judge(status, kind, code, after);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct slice value = http_header(&r, names[i]);

		must(value.n == 0 || (value.p >= rest.p && value.p + value.n <= rest.p + rest.n));
	}
	if (oauth_origin(url, &origin) == 0)
		must(strncmp(origin.p, "http", 4) == 0 && !strpbrk(origin.p + 8, "/?#@"));
	http_escape(&escaped, rest);
	for (size_t i = 0; i < escaped.n; i++)
		must(strchr("/?#&=+ \r\n\"", escaped.p[i]) == NULL);
	free(url);
	return 0;
}
