/* The Salesforce driver's reading of answers: rows, collections, queries, pages. */
#include "target_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_answers(
		&target_salesforce,
		"    driver: salesforce\n    options: {external_id: userName}\n"
		"    auth: {method: client_secret, client_id: a, client_secret: !file %s}\n"
		"    mapping: {Username: m, LastName: s, Email: m, ProfileId: p}\n",
		data, size);
}
