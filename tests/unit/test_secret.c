#include "secret.h"
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[] = "/tmp/dirpipe-secret-XXXXXX";
static char path[64];

static int make_directory(void **state)
{
	(void)state;
	return mkdtemp(directory) == NULL ? -1 : 0;
}

static int remove_directory(void **state)
{
	(void)state;
	return rmdir(directory);
}

static int no_file(void **state)
{
	(void)state;
	unlink(path);
	return 0;
}

static void write_file(const void *p, size_t n, mode_t mode)
{
	int fd;

	snprintf(path, sizeof(path), "%s/s", directory);
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, p, n), (ssize_t)n);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void loads(enum secret_kind kind, const char *name, const char *expected)
{
	struct buf CLEANUP(buf_cleanup) why = {0};
	struct secret *s = secret_load(&(struct secret_ref){kind, name}, &why);

	if (s == NULL)
		fail_msg("%s", why.p);
	assert_true(slice_is(secret_value(s), expected));
	assert_int_equal(secret_value(s).p[strlen(expected)], '\0');
	assert_int_equal(why.n, 0);
	secret_free(s);
}

static void refuses(enum secret_kind kind, const char *name, const char *reason)
{
	struct buf CLEANUP(buf_cleanup) why = {0};

	assert_null(secret_load(&(struct secret_ref){kind, name}, &why));
	assert_non_null(why.p);
	if (strstr(why.p, reason) == NULL)
		fail_msg("expected \"%s\" in: %s", reason, why.p);
	assert_null(strstr(why.p, "hush"));
}

static void one_newline_is_cut(void **state)
{
	(void)state;
	write_file("hush", 4, 0600);
	loads(SECRET_FILE, path, "hush");
	write_file("hush\n", 5, 0600);
	loads(SECRET_FILE, path, "hush");
	write_file("hush\r\n", 6, 0600);
	loads(SECRET_FILE, path, "hush");
	write_file("hush\n\n", 6, 0600);
	loads(SECRET_FILE, path, "hush\n");
	write_file(" hush ", 6, 0600);
	loads(SECRET_FILE, path, " hush ");
}

static void empty_or_cut_values_are_refused(void **state)
{
	(void)state;
	write_file("", 0, 0600);
	refuses(SECRET_FILE, path, "empty");
	write_file("\n", 1, 0600);
	refuses(SECRET_FILE, path, "empty");
	write_file("\r\n", 2, 0600);
	refuses(SECRET_FILE, path, "empty");
	write_file("hush\0x", 6, 0600);
	refuses(SECRET_FILE, path, "NUL");
	setenv("DIRPIPE_UNIT_SECRET", "", 1);
	refuses(SECRET_ENV, "DIRPIPE_UNIT_SECRET", "empty");
}

static void mode_must_be_private(void **state)
{
	(void)state;
	for (mode_t mode = 0; mode <= 07777; mode++) {
		bool good = mode == 0400 || mode == 0600 || mode == 0440 || mode == 0640;

		if (!good && (mode & 0400) == 0)
			continue; /* unreadable: another reason for all but root */
		if ((mode & 0111) != 0 && mode != 0700)
			continue;
		write_file("hush", 4, mode);
		if (good)
			loads(SECRET_FILE, path, "hush");
		else
			refuses(SECRET_FILE, path, "mode");
	}
}

static void owner_must_be_us_or_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	write_file("hush", 4, 0600);
	assert_int_equal(chown(path, 65534, 0), 0);
	refuses(SECRET_FILE, path, "belongs to");
}

static void only_regular_files(void **state)
{
	char *big = mem_alloc((64 << 10) + 1);

	(void)state;
	refuses(SECRET_FILE, directory, "regular");
	snprintf(path, sizeof(path), "%s/s", directory);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	refuses(SECRET_FILE, path, "regular"); /* and does not wait for a writer */
	unlink(path);
	refuses(SECRET_FILE, path, "No such file");
	memset(big, 'x', (64 << 10) + 1);
	write_file(big, (64 << 10) + 1, 0600);
	refuses(SECRET_FILE, path, "larger");
	free(big);
}

static void links_are_followed_to_a_private_file(void **state)
{
	char link_path[64];

	(void)state;
	write_file("hush", 4, 0400);
	snprintf(link_path, sizeof(link_path), "%s/l", directory);
	assert_int_equal(symlink(path, link_path), 0);
	loads(SECRET_FILE, link_path, "hush");
	assert_int_equal(chmod(path, 0644), 0);
	refuses(SECRET_FILE, link_path, "mode");
	unlink(link_path);
}

static void from_the_environment(void **state)
{
	(void)state;
	setenv("DIRPIPE_UNIT_SECRET", "hush\n", 1);
	loads(SECRET_ENV, "DIRPIPE_UNIT_SECRET", "hush");
	unsetenv("DIRPIPE_UNIT_SECRET");
	refuses(SECRET_ENV, "DIRPIPE_UNIT_SECRET", "not set");
}

static void from_the_credentials_directory(void **state)
{
	(void)state;
	write_file("hush", 4, 0400);
	unsetenv("CREDENTIALS_DIRECTORY");
	refuses(SECRET_CREDENTIAL, "s", "CREDENTIALS_DIRECTORY");
	setenv("CREDENTIALS_DIRECTORY", directory, 1);
	loads(SECRET_CREDENTIAL, "s", "hush");
	refuses(SECRET_CREDENTIAL, "missing", "No such file");
	refuses(SECRET_CREDENTIAL, "../etc/shadow", "plain file name");
	refuses(SECRET_CREDENTIAL, "..", "plain file name");
	refuses(SECRET_CREDENTIAL, "a/s", "plain file name");
	refuses(SECRET_CREDENTIAL, "", "plain file name");

	struct buf CLEANUP(buf_cleanup) whole = {0}, one = {0};

	buf_addf(&whole, "%s/dirpipe_fromdir", directory);
	buf_addf(&one, "%s/s", directory);
	assert_int_equal(rename(one.p, whole.p), 0);
	loads(SECRET_CREDENTIAL, "fromdir", "hush");
	unlink(whole.p);
}

static void made_from_bytes_and_wiped(void **state)
{
	char text[] = "a\0b";
	struct secret *s = secret_new(text, 3);

	(void)state;
	secret_wipe(text, 3);
	assert_memory_equal(text, "\0\0\0", 3);
	assert_true(slice_equal(secret_value(s), SLICE("a\0b")));
	secret_free(s);
	s = secret_new(NULL, 0);
	assert_int_equal(secret_value(s).n, 0);
	assert_string_equal(secret_value(s).p, "");
	secret_free(s);
	secret_free(NULL);
	secret_wipe(NULL, 0);
}

/* In a child, because neither can be taken back. */
static int in_child(int (*fn)(void))
{
	int status;
	pid_t child = fork();

	if (child == 0)
		_exit(fn());
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int harden(void)
{
	struct rlimit core;

	secret_harden_process();
	getrlimit(RLIMIT_CORE, &core);
	return (core.rlim_cur == 0 && core.rlim_max == 0 ? 0 : 1) +
	       (prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0 ? 0 : 2);
}

static void process_leaves_no_core(void **state)
{
	(void)state;
#ifdef __SANITIZE_ADDRESS__
	assert_int_equal(in_child(harden) & ~2, 0);
#else
	assert_int_equal(in_child(harden), 0);
#endif
}

static int without_locked_memory(void)
{
	const struct rlimit none = {0, 0};
	struct secret *s;

	if (setrlimit(RLIMIT_MEMLOCK, &none) < 0 || (geteuid() == 0 && setuid(65534) < 0))
		return 1;
	s = secret_new("hush", 4);
	if (!slice_is(secret_value(s), "hush"))
		return 2;
	secret_free(s);
	return 0;
}

static void works_without_locked_memory(void **state)
{
	(void)state;
	assert_int_equal(in_child(without_locked_memory), 0);
}

#define SECRET(test) cmocka_unit_test_teardown(test, no_file)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SECRET(one_newline_is_cut),	     SECRET(empty_or_cut_values_are_refused),
		SECRET(mode_must_be_private),	     SECRET(owner_must_be_us_or_root),
		SECRET(only_regular_files),	     SECRET(links_are_followed_to_a_private_file),
		SECRET(from_the_environment),	     SECRET(from_the_credentials_directory),
		SECRET(made_from_bytes_and_wiped),   SECRET(process_leaves_no_core),
		SECRET(works_without_locked_memory),
	};

	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
