#include "redis.h"

#include <string.h>

enum redis_class redis_classify(const redisReply *reply)
{
	static const struct {
		const char *word;
		enum redis_class class;
	} words[] = {
		{"LOADING", REDIS_CLASS_WAIT},	   {"BUSY", REDIS_CLASS_WAIT},
		{"MASTERDOWN", REDIS_CLASS_WAIT},  {"TRYAGAIN", REDIS_CLASS_WAIT},
		{"CLUSTERDOWN", REDIS_CLASS_WAIT}, {"NOREPLICAS", REDIS_CLASS_WAIT},
		{"OOM", REDIS_CLASS_FULL},	   {"MISCONF", REDIS_CLASS_FULL},
		{"READONLY", REDIS_CLASS_MASTER},  {"NOAUTH", REDIS_CLASS_DENIED},
		{"WRONGPASS", REDIS_CLASS_DENIED}, {"NOPERM", REDIS_CLASS_DENIED},
		{"FENCED", REDIS_CLASS_FENCED},
	};
	/* The one text whose first word says nothing. */
	static const char full_house[] = "ERR max number of clients reached";
	size_t n;

	if (!reply)
		return REDIS_CLASS_UNKNOWN;
	if (reply->type != REDIS_REPLY_ERROR)
		return REDIS_CLASS_OK;
	n = strcspn(reply->str, " \r\n");
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strlen(words[i].word) == n && memcmp(words[i].word, reply->str, n) == 0)
			return words[i].class;
	return strncmp(reply->str, full_house, sizeof(full_house) - 1) == 0 ? REDIS_CLASS_WAIT
									    : REDIS_CLASS_WRONG;
}
