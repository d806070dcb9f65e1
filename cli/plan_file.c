#include "plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FORMAT = 1 };

void plan_done(struct plan *p)
{
	cJSON_Delete(p->rows);
	cJSON_Delete(p->summaries);
	*p = (struct plan){0};
}

static void put(FILE *out, const cJSON *line)
{
	CLEANUP(buf_cleanup) struct buf text = {0};

	json_print(line, &text);
	fprintf(out, "%s\n", text.p);
}

static int put_all(const struct plan *p, FILE *out)
{
	const cJSON *line;

	fprintf(out, "{\"plan\":%d}\n", FORMAT);
	cJSON_ArrayForEach (line, p->summaries)
		put(out, line);
	cJSON_ArrayForEach (line, p->rows)
		put(out, line);
	fprintf(out, "{\"end\":%d}\n", cJSON_GetArraySize(p->rows));
	return fflush(out) == 0 && fsync(fileno(out)) == 0 && !ferror(out) ? 0 : -EIO;
}

/* It holds personal data: for its owner alone. */
int plan_write(const struct plan *p, const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600), rc;
	FILE *out;

	if (fd < 0)
		return -errno;
	out = fdopen(fd, "w");
	if (!out) {
		rc = -errno;
		close(fd);
		return rc;
	}
	rc = put_all(p, out);
	return fclose(out) == 0 ? rc : -EIO;
}

/* One line into its place. False: nothing may follow it, or it is none. */
static bool take(struct plan *p, cJSON *line, bool first, bool *ret_end)
{
	if (first)
		return json_int(line, "plan", 0) == FORMAT;
	if (cJSON_HasObjectItem(line, "end")) {
		*ret_end = json_int(line, "end", -1) == cJSON_GetArraySize(p->rows);
		return *ret_end;
	}
	if (!json_text(line, "target"))
		return false;
	cJSON_AddItemToArray(cJSON_HasObjectItem(line, "user") ? p->rows : p->summaries,
			     cJSON_Duplicate(line, true));
	return true;
}

static int read_lines(FILE *in, struct plan *p)
{
	char *text = NULL;
	size_t room = 0;
	ssize_t n;
	bool first = true, end = false, good = true;

	while (good && (n = getline(&text, &room, in)) > 0) {
		cJSON *line = json_parse((struct slice){text, (size_t)n - 1}, NULL);

		good = !end && line && take(p, line, first, &end);
		first = false;
		cJSON_Delete(line);
	}
	free(text);
	return good && end ? 0 : -EBADMSG;
}

int plan_read(const char *path, struct plan *ret, const char **ret_why)
{
	FILE *in = fopen(path, "re");
	int rc;

	*ret = (struct plan){0};
	if (!in) {
		rc = -errno;
		*ret_why = strerror(errno);
		return rc;
	}
	ret->rows = cJSON_CreateArray();
	ret->summaries = cJSON_CreateArray();
	rc = read_lines(in, ret);
	fclose(in);
	if (rc < 0) {
		*ret_why = "it is no whole plan; make it with `dirpipe plan --out`";
		plan_done(ret);
	}
	return rc;
}
