/* What an instance says on its serial line: log, console. */
#include "base/types.h"
#include "cli/client.h"
#include "cli/find.h"
#include "cli/options.h"
#include "cli/verbs.h"
#include "host/hosted.h"
#include "model/scalar.h"

#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

int log_main(int argc, char **argv)
{
	json_t *instance, *answer = NULL;
	const char *data = NULL;
	bool json = false;
	const struct verb_option options[] = {{"data", &data, NULL}, {"json", NULL, &json}, {0}};
	struct arena arena;
	struct client c;
	struct error e;
	const char *text;
	size_t length;
	int status =
	        options_read(argc, argv, options, "usage: insula log INSTANCE [--json] [--data DIR]\n", 1, 1);

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("log", &e);
	instance = find_instance(&c, argv[optind], &e);
	if (instance)
		answer = client_call(&c, &e, "GetConsoleOutput", "InstanceId",
		                     client_text(instance, "InstanceId"), NULL);
	client_close(&c);
	json_decref(instance);
	if (!answer)
		return verb_failed("log", &e);
	if (json) {
		client_print(answer);
		json_decref(answer);
		return 0;
	}
	arena_init(&arena);
	text = client_text(answer, "Output");
	text = base64_parse(&arena, text, strlen(text), &length);
	if (text)
		fwrite(text, 1, length, stdout);
	arena_release(&arena);
	json_decref(answer);
	return 0;
}

/* Bytes both ways until Ctrl-] or the end of either. */
static void attach(int line)
{
	struct pollfd fds[2] = {{.fd = 0, .events = POLLIN}, {.fd = line, .events = POLLIN}};
	struct termios old, raw;
	bool terminal = tcgetattr(0, &old) == 0;
	char bytes[4096];

	if (terminal) {
		fputs("(Ctrl-] leaves)\r\n", stderr);
		raw = old;
		cfmakeraw(&raw);
		tcsetattr(0, TCSANOW, &raw);
	}
	for (;;) {
		ssize_t n;

		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			break;
		if (fds[0].revents) {
			char *leave;

			n = read(0, bytes, sizeof(bytes));
			if (n <= 0) {
				fds[0].fd = -1;
				shutdown(line, SHUT_WR);
				continue;
			}
			leave = terminal ? memchr(bytes, 0x1d, (size_t)n) : NULL;
			if (leave)
				n = leave - bytes;
			if ((n && write(line, bytes, (size_t)n) < 0) || leave)
				break;
		}
		if (fds[1].revents) {
			n = read(line, bytes, sizeof(bytes));
			if (n <= 0 || write(1, bytes, (size_t)n) < 0)
				break;
		}
	}
	if (terminal)
		tcsetattr(0, TCSANOW, &old);
}

int console_main(int argc, char **argv)
{
	const char *data = NULL;
	const struct verb_option options[] = {{"data", &data, NULL}, {0}};
	json_t *instance;
	struct client c;
	struct error e;
	char dir[4200];
	int line, status = options_read(argc, argv, options, "usage: insula console INSTANCE [--data DIR]\n",
	                                1, 1);

	if (status >= 0)
		return status;
	if (client_open(&c, data, &e) < 0)
		return verb_failed("console", &e);
	instance = find_instance(&c, argv[optind], &e);
	client_close(&c);
	if (!instance)
		return verb_failed("console", &e);
	snprintf(dir, sizeof(dir), "%s/instances/%s", data, client_text(instance, "InstanceId"));
	line = hosted_console(dir, &e);
	if (line >= 0) {
		attach(line);
		close(line);
	}
	json_decref(instance);
	return line < 0 ? verb_failed("console", &e) : 0;
}
