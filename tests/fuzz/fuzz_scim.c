/* The SCIM driver's reading of answers, plain, in bulk and page by page. */
#include "target_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_answers(
		&target_scim,
		"    driver: scim\n    auth: {method: bearer, token: !file %s}\n"
		"    mapping: {userName: mail}\n    options: {etag: always, bulk: always}\n",
		data, size);
}
