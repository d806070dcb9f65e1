/* The SCIM driver in a unit test. */
#ifndef DIRPIPE_SCIM_FIXTURE_H
#define DIRPIPE_SCIM_FIXTURE_H

#include "target_fixture.h"

#include <errno.h>

#define URN	     "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
#define CORE	     "urn:ietf:params:scim:schemas:core:2.0:User"
#define PATCH_SCHEMA "{\"schemas\":[\"urn:ietf:params:scim:api:messages:2.0:PatchOp\"],"
#define MAPPING                                                                                    \
	"    url: https://a.example/v2/\n"                                                         \
	"    mapping: {userName: mail, externalId: id, title: t, name.familyName: sn}\n"

static struct bench bench;

static inline void open_with(const char *yaml)
{
	CLEANUP(buf_cleanup) struct buf why = {0};
	CLEANUP(buf_cleanup) struct buf text = {0};

	buf_adds(&text, MAPPING);
	buf_adds(&text, yaml);
	bench_open(&bench, &target_scim, text.p, &why);
	if (!bench.target)
		fail_msg("%s", why.p);
}

/* What the service says of itself. */
static inline void discover(const char *config)
{
	CLEANUP(buf_cleanup) struct buf text = {0};
	struct http_response r = {
		.failure = HTTP_ANSWERED, .status = 200, .body = slice_of(config)};

	assert_true(target_scim.checked(bench.target, 0, &r, &text));
}

static const char *const full =
	"{\"patch\":{\"supported\":true},\"bulk\":{\"supported\":true,\"maxOperations\":1000,"
	"\"maxPayloadSize\":500},\"etag\":{\"supported\":true},\"filter\":{\"supported\":true,"
	"\"maxResults\":200}}";

/* A creation, a change and a deletion of three users. */
struct three {
	struct target_op a, b, c;
	struct target_op *ops[3];
};

static inline void three_open(struct three *w)
{
	*w = (struct three){.a = {.kind = TARGET_CREATE, .user = "u1"},
			    .b = {.kind = TARGET_UPDATE,
				  .user = "u2",
				  .rid = "2",
				  .enabled = TARGET_ENABLE,
				  .revision = "W/\"3\""},
			    .c = {.kind = TARGET_DELETE, .user = "u3", .rid = "3"}};
	w->a.set = parsed("{\"userName\":\"a\"}");
	w->ops[0] = &w->a;
	w->ops[1] = &w->b;
	w->ops[2] = &w->c;
	open_with("");
}

static inline void three_close(struct three *w)
{
	cJSON_Delete(w->a.set);
	bench_close(&bench);
}

#define EXPECT_THREE(status, body, expected)                                                       \
	expect_answers(&bench, w.ops, 3, status, "", body, expected)

#endif
