/* The Rescue driver's reading of answers: words, records in lines or all on one, look-ups in parts, the hierarchy, the log-in. */
#include "target_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf CLEANUP(buf_cleanup) token = {0};
	struct buf CLEANUP(buf_cleanup) why = {0};
	struct buf CLEANUP(buf_cleanup) text = {0};
	struct slice all = {(const char *)data, size};
	struct http_response r = {.failure = HTTP_ANSWERED, .status = 200, .body = all};
	int64_t after = 0;
	int rc = fuzz_answers(
		&target_rescue,
		"    driver: rescue\n    auth: {method: bearer, token: !file %s}\n"
		"    mapping: {name: cn, email: mail}\n    join: [{remote: email, local: mail}]\n"
		"    groups: [{group: first, remote: '5'}, {group: first, remote: Field}]\n"
		"sources:\n  s:\n    driver: poll\n    uris: [ldaps://d.example]\n"
		"    base_dn: dc=a\n    bind: {method: gssapi, keytab: /k, principal: p@A}\n"
		"    users: {attributes: [cn, mail]}\n    groups: [{name: first, dn: cn=first}]\n",
		data, size);

	must((target_rescue.login->take(all, &token, &after, &why) == 0) == (token.n > 0));
	target_rescue.checked(target, 0, &r, &text);
	target_rescue.checked(target, 1, &r, &text);
	must(utf8_valid(buf_slice(&text)));
	return rc;
}
