/* Any bytes as the answer of a service: first byte what was asked, second byte which status, the rest the body. What is taken
 * out of it must be usable without a second look: ids that can stand in a URL, nobody else's account, pages of the same host. */
#ifndef DIRPIPE_FUZZ_TARGET_ANSWERS_H
#define DIRPIPE_FUZZ_TARGET_ANSWERS_H

#include "target_made.h"

static void check_account(const struct target_account *a)
{
	must(a->rid && *a->rid && strcmp(a->rid, ".") != 0 && strcmp(a->rid, "..") != 0);
	must(cJSON_IsObject(a->json));
	must(utf8_valid(slice_of(a->rid)));
}

static void check_answer(const struct target_op *op, struct target_answer *a)
{
	must(a->status >= 0 && a->status <= 599);
	must(a->accounts_n <= TARGET_HITS);
	must(op->kind == TARGET_FIND || a->accounts_n <= 1);
	for (size_t i = 0; i < a->accounts_n; i++) {
		check_account(&a->accounts[i]);
		if (op->kind == TARGET_READ || op->kind == TARGET_UPDATE)
			must(strcasecmp(a->accounts[i].rid, op->rid) == 0);
		target_account_done(&a->accounts[i]);
	}
	free(a->accounts);
	buf_done(&a->code);
	buf_done(&a->detail);
	buf_done(&a->field);
	buf_done(&a->request_id);
	buf_done(&a->retry_after);
}

static void take(void *arg, const struct target_account *account)
{
	(void)arg;
	check_account(account);
}

static void feed_list(const struct target_driver *driver, struct target *t,
		      const struct http_response *r)
{
	struct target_request request = {0};
	struct buf CLEANUP(buf_cleanup) origin = {0};
	char *next = NULL;

	driver->list(t, NULL, &request);
	if (driver->listed(t, r, take, NULL, &next) == 0 && next)
		must(oauth_origin(next, &origin) == 0 &&
		     strcmp(origin.p, "https://a.example") == 0);
	free(next);
	buf_done(&request.url);
	buf_done(&request.body);
	buf_done(&request.header_text);
}

static void feed(const struct target_driver *driver, struct target *t, uint8_t what,
		 const struct http_response *r, const cJSON *set)
{
	static const char *const users[] = {"u1", "u2", "u3"}, *const rids[] = {"r1", "r2", "r3"},
				 *const numbers[] = {"1", "2", "3"},
				 *const keys[] = {"a", "b", "c"};
	cJSON *unfinished = json_parse(SLICE("{\"parent\":\"5\",\"as\":{}}"), NULL);
	struct target_op list[3];
	struct target_op *ops[3] = {&list[0], &list[1], &list[2]};
	struct target_answer answers[3];
	size_t n = what & 8 ? 3 : 1;

	memset(list, 0, sizeof(list));
	for (size_t i = 0; i < 3; i++) {
		list[i].kind = (enum target_kind)((what + i) % TARGET_KINDS);
		if (what & 32) /* looked up together */
			list[i].kind = TARGET_FIND;
		else if (n > 1 && list[i].kind == TARGET_FIND)
			list[i].kind = TARGET_CREATE;
		list[i].name = "manager";
		list[i].user = users[i];
		list[i].rid = what & 64 ? numbers[i] : rids[i];
		list[i].unfinished = what & 128 ? unfinished : NULL;
		list[i].set = cJSON_Duplicate(set, true);
		list[i].key = (struct target_key){what & 16 ? "onPremisesImmutableId" : "userName",
						  keys[i]};
	}
	for (int part = 0; part < TARGET_PARTS; part++) {
		memset(answers, 0, sizeof(answers));
		driver->answers(t, ops, n, r, answers);
		bool more = answers[0].more;
		for (size_t i = 0; i < n; i++)
			check_answer(&list[i], &answers[i]);
		if (!more)
			break;
	}
	for (size_t i = 0; i < 3; i++) {
		cJSON_Delete(list[i].set);
		cJSON_Delete(list[i].body);
	}
	cJSON_Delete(unfinished);
}

static int fuzz_answers(const struct target_driver *driver, const char *yaml, const uint8_t *data,
			size_t size)
{
	static const int statuses[] = {200, 201, 204, 400, 403, 404, 409, 412, 424, 429, 500, 503};
	struct target *t = target_of(driver, yaml);
	struct http_response r = {.failure = HTTP_ANSWERED, .sent = true};
	cJSON *set;

	if (size < 2)
		return 0;
	r.status = statuses[data[1] % (sizeof(statuses) / sizeof(statuses[0]))];
	r.headers = SLICE("Location: https://a.example/v2/Users/n1\r\n");
	r.body = (struct slice){(const char *)data + 2, size - 2};
	set = json_parse(SLICE("{\"externalId\":\"1\",\"userName\":\"a\"}"), NULL);
	if ((data[0] & 7) == 7)
		feed_list(driver, t, &r);
	else
		feed(driver, t, data[0], &r, set);
	cJSON_Delete(set);
	return 0;
}

#endif
