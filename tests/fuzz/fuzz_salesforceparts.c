/* The Salesforce driver's reading of composite answers: an account with its login and what it holds. */
#include "target_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_answers(
		&target_salesforce,
		"    driver: salesforce\n    options: {external_id: userName, disable_by: freeze}\n"
		"    licence_policy: {revoke_when: [disabled]}\n"
		"    auth: {method: client_secret, client_id: a, client_secret: !file %s}\n"
		"    mapping: {Username: m, LastName: s, Email: m, ProfileId: p}\n",
		data, size);
}
