/* The Incident IQ driver's reading of answers, plain and page by page, and of locations. */
#include "target_answers.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	return fuzz_answers(
		&target_incidentiq,
		"    driver: incidentiq\n    auth: {method: bearer, token: !file %s}\n"
		"    create: false\n    mapping: {Email: mail}\n    options: {site_id: s}\n",
		data, size);
}
