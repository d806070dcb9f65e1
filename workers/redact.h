/* Takes secrets and personal data out of a vendor's words before they reach a log or a RESULT. */
#ifndef DIRPIPE_REDACT_H
#define DIRPIPE_REDACT_H

#include "json.h"

/* Appends text to out with these replaced by "…": bearer tokens and JWTs, long runs of base64 or hex that are no UUID, values of
 * JSON keys that name secrets (password, client_secret, access_token, assertion …), e-mail addresses and UPNs, phone
 * numbers, and every string of 3 and more characters that stands in `personal` (the user's document or snapshot; NULL:
 * none). Control characters become spaces; at most `most` bytes, cut between characters. */
void redact_text(struct slice text, const cJSON *personal, size_t most, struct buf *out);

#endif
