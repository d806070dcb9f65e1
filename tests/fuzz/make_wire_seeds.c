/* make_wire_seeds FOLDER: one file a verb for fuzz_wire. Run again whenever WIRE_VERSION rises. */
#include "wire_samples.h"

#include <stdio.h>
#include <stdlib.h>

static int write_seed(const char *folder, uint8_t verb, const struct buf *body)
{
	struct buf CLEANUP(buf_cleanup) path = {0};
	FILE *f;

	buf_addf(&path, "%s/%s", folder, wire_verb_name(verb));
	f = fopen(path.p, "w");
	if (f == NULL || fputc(verb, f) == EOF || fwrite(body->p, 1, body->n, f) != body->n ||
	    fclose(f) != 0) {
		perror(path.p);
		return -1;
	}
	return 0;
}

static void encode_sample(uint8_t verb, struct buf *body)
{
	switch (verb) {
#define V(number, verb_, list)                                                                     \
	case number: {                                                                             \
		struct wire_##verb_ value;                                                         \
                                                                                                   \
		sample_##verb_(&value);                                                            \
		wire_put_##verb_(body, &value);                                                    \
		break;                                                                             \
	}
		WIRE_VERBS(V)
#undef V
	}
}

/* Of a few: the one whose lists are full. */
static void longest_sample(uint8_t verb, struct buf *ret_body)
{
	for (int i = 0; i < 16; i++) {
		struct buf CLEANUP(buf_cleanup) body = {0};

		encode_sample(verb, &body);
		samples_done();
		if (body.n <= ret_body->n)
			continue;
		buf_clear(ret_body);
		buf_add(ret_body, body.p, body.n);
	}
}

int main(int argc, char **argv)
{
	if (argc != 2)
		return EXIT_FAILURE;
	for (uint8_t verb = 1; verb < (uint8_t)WIRE_VERB_END; verb++) {
		struct buf CLEANUP(buf_cleanup) body = {0};

		sample_seed = verb;
		longest_sample(verb, &body);
		if (write_seed(argv[1], verb, &body) < 0)
			return EXIT_FAILURE;
	}
	return EXIT_SUCCESS;
}
