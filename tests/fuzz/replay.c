/* Runs a fuzz target over the kept corpus where there is no libFuzzer: replay FILE…; with every compiler, in every build. */
#include "buf.h"

#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
	struct buf CLEANUP(buf_cleanup) all = {0};
	unsigned char *exact;
	FILE *f = fopen(path, "r");
	int c;

	if (f == NULL) {
		perror(path);
		return -1;
	}
	while ((c = fgetc(f)) != EOF)
		buf_addc(&all, (char)c);
	fclose(f);
	exact = (unsigned char *)slice_dup(buf_slice(&all));
	exact = mem_resize(exact,
			   all.n); /* no NUL behind it: the sanitizer sees one byte too far */
	LLVMFuzzerTestOneInput(exact, all.n);
	free(exact);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 2)
		return EXIT_FAILURE;
	for (int i = 1; i < argc; i++)
		if (replay(argv[i]) < 0)
			return EXIT_FAILURE;
	return EXIT_SUCCESS;
}
