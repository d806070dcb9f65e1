/* The Graph driver's reading of answers, plain, in a batch and page by page. */
#include "target_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_answers(
		&target_graph,
		"    driver: graph\n    tenant: t\n"
		"    auth: {method: client_secret, client_id: a, client_secret: !file %s}\n"
		"    mapping: {userPrincipalName: m, displayName: d, mailNickname: n}\n",
		data, size);
}
