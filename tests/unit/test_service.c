#include "loop_fixture.h"
#include "service.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifdef DIRPIPE_SYSTEMD
/* What systemd would hear: a datagram socket of our own as $NOTIFY_SOCKET. */
static int heard = -1;

static int begin_service(void **state)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char name[64], pid[32];

	snprintf(name, sizeof(name), "@dirpipe-unit-%ld", (long)getpid());
	memcpy(address.sun_path + 1, name + 1, strlen(name) - 1);
	heard = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (bind(heard, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))) < 0)
		return -1;
	setenv("NOTIFY_SOCKET", name, 1);
	snprintf(pid, sizeof(pid), "%ld", (long)getpid());
	setenv("WATCHDOG_PID", pid, 1);
	return begin(state);
}

static int end_service(void **state)
{
	close(heard);
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	unsetenv("WATCHDOG_PID");
	return end(state);
}

static const char *hear(void)
{
	static char text[256];
	ssize_t n = recv(heard, text, sizeof(text) - 1, 0);

	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static void says_what_systemd_asks(void **state)
{
	(void)state;
	service_ready(t.loop);
	assert_string_equal(hear(), "READY=1");
	assert_string_equal(hear(), "");
	service_status("%d users\nREADY=1", 7);
	assert_string_equal(hear(), "STATUS=7 users READY=1");
	service_reloading();
	assert_memory_equal(hear(), "RELOADING=1\nMONOTONIC_USEC=", 27);
	service_stopping();
	assert_string_equal(hear(), "STOPPING=1");
}

static int beats;

static void on_heard(uv_poll_t *handle, int status, int events)
{
	(void)handle, (void)events;
	assert_int_equal(status, 0);
	while (strcmp(hear(), "WATCHDOG=1") == 0)
		if (++beats == 4)
			loop_stop(t.loop);
}

/* At half of WATCHDOG_USEC, once each time however often READY is said. */
static void beats_at_half_the_limit(void **state)
{
	static uv_poll_t poll; /* closed with the loop */
	int64_t start_ms = loop_now_ms(t.loop), took_ms;

	(void)state;
	beats = 0;
	setenv("WATCHDOG_USEC", "100000", 1);
	service_ready(t.loop);
	service_ready(t.loop);
	uv_poll_init(loop_uv(t.loop), &poll, heard);
	uv_poll_start(&poll, UV_READABLE, on_heard);
	assert_string_equal(hear(), "READY=1");
	run();
	took_ms = loop_now_ms(t.loop) - start_ms;
	assert_int_equal(beats, 4);
	assert_in_range(took_ms, 145, 1200);
}

#define SERVICE(test) cmocka_unit_test_setup_teardown(test, begin_service, end_service)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SERVICE(says_what_systemd_asks),
		SERVICE(beats_at_half_the_limit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#else
static void does_nothing(void **state)
{
	(void)state;
	service_ready(t.loop);
	service_status("%d", 1);
	service_reloading();
	service_stopping();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(does_nothing, begin, end)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
