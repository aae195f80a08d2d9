#include "vmm/vmm.h"

#include "base/log.h"
#include "base/loop.h"
#include "vmm/api_server.h"
#include "vmm/machine.h"
#include "vmm/options.h"
#include "vmm/terminal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

enum { STATUS_OK = 0, STATUS_FAILED = 1, STATUS_INPUT = 2, STATUS_TRIPLE_FAULT = 3 };

struct vmm {
	struct vmm_config config;
	struct loop loop;
	bool loop_there;
	struct loop_fd signals; /* owned; -1: none */
	struct chardev *console;
	struct terminal terminal;
	struct machine *machine; /* NULL before an API client has started it */
	struct api_server *api;
	int status;
};

/* One line, whatever is in the text: names come from the user. */
static void say(const char *text)
{
	char line[sizeof(((struct error *)NULL)->text)];
	size_t n = 0;

	for (; text[n] && n < sizeof(line) - 1; n++)
		line[n] = (u8)text[n] < ' ' || text[n] == 0x7f ? '?' : text[n];
	line[n] = 0;
	fprintf(stderr, "insula vmm: %s\n", line);
}

static void leave(struct vmm *v, int status)
{
	v->status = status;
	loop_stop(&v->loop);
}

/* ---- events ---- */

static void on_reset(struct vmm *v)
{
	struct error e;

	if (v->config.no_reboot) {
		leave(v, STATUS_OK);
		return;
	}
	log_info("the guest reboots");
	if (machine_reset(v->machine, &e)) {
		say(e.text);
		leave(v, STATUS_INPUT);
	}
}

static void on_machine_event(void *ctx, enum machine_event event, int code, const char *text)
{
	struct vmm *v = ctx;

	switch (event) {
	case MACHINE_POWEROFF:
		log_info("the guest powered off");
		leave(v, STATUS_OK);
		break;
	case MACHINE_RESET:
		on_reset(v);
		break;
	case MACHINE_DEBUG_EXIT:
		leave(v, code);
		break;
	case MACHINE_TRIPLE_FAULT:
		say(text);
		leave(v, STATUS_TRIPLE_FAULT);
		break;
	case MACHINE_FAILED:
		say(text);
		leave(v, STATUS_FAILED);
		break;
	}
}

static void on_unplugged(void *ctx, enum vmm_part part, unsigned n)
{
	struct vmm *v = ctx;

	log_info("the guest has given %s %u back", part == VMM_PART_NET ? "network" : "disk", n);
	vmm_config_remove(&v->config, part, n);
}

static void on_escape(void *ctx)
{
	leave(ctx, STATUS_OK);
}

static void on_signal(void *ctx, u32 events)
{
	struct vmm *v = ctx;
	struct signalfd_siginfo info;

	if (read(v->signals.fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCONT) {
		terminal_resumed();
		return;
	}
	log_info("stopped by signal %u (%s)", info.ssi_signo, strsignal((int)info.ssi_signo));
	leave(v, STATUS_OK);
}

/* Signals that ask us to leave arrive in the loop. Blocked before any thread is made, so that all inherit it.
 */
static int signals_open(struct vmm *v, struct error *e)
{
	struct sigaction hangup;
	sigset_t set;

	signal(SIGPIPE, SIG_IGN); /* a reader that is gone is an error code, not an end */
	signal(SIGTTIN, SIG_IGN); /* a background job has no input, and goes on */
	signal(SIGTTOU, SIG_IGN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaction(SIGHUP, NULL, &hangup);
	if (hangup.sa_handler != SIG_IGN) /* nohup(1) */
		sigaddset(&set, SIGHUP);
	sigaddset(&set, SIGCONT);
	pthread_sigmask(SIG_BLOCK, &set, NULL);

	int fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);

	if (fd < 0)
		return error_set(e, errno, "signalfd");
	v->signals = (struct loop_fd){.fd = fd, .events = EPOLLIN, .fn = on_signal, .ctx = v};
	return loop_add(&v->loop, &v->signals, e);
}

/* ---- the API's machine ---- */

static enum api_state api_state(void *ctx)
{
	struct vmm *v = ctx;

	if (!v->machine)
		return API_NOT_STARTED;
	return machine_running(v->machine) ? API_RUNNING : API_PAUSED;
}

static int machine_build(struct vmm *v, struct error *e)
{
	const struct machine_listener listener = {
	        .event = on_machine_event, .unplugged = on_unplugged, .ctx = v};

	v->machine = machine_new(&v->config, v->console, &v->loop, &listener, e);
	return v->machine ? 0 : -1;
}

static int api_start(void *ctx, struct error *e)
{
	struct vmm *v = ctx;

	if (machine_build(v, e))
		return -1;
	if (machine_start(v->machine, e)) {
		machine_free(v->machine);
		v->machine = NULL;
		return -1;
	}
	return 0;
}

static void api_pause(void *ctx)
{
	machine_pause(((struct vmm *)ctx)->machine);
}

static void api_resume(void *ctx)
{
	machine_resume(((struct vmm *)ctx)->machine);
}

static void api_power_button(void *ctx)
{
	machine_power_button(((struct vmm *)ctx)->machine);
}

static int api_plug(void *ctx, enum vmm_part part, unsigned n, struct error *e)
{
	return machine_plug(((struct vmm *)ctx)->machine, part, n, e);
}

static int api_unplug(void *ctx, enum vmm_part part, unsigned n, bool force, struct error *e)
{
	return machine_unplug(((struct vmm *)ctx)->machine, part, n, force, e);
}

static void api_limit_net(void *ctx, unsigned n, bool rx, bool tx)
{
	machine_limit_net(((struct vmm *)ctx)->machine, n, rx, tx);
}

/* ---- life ---- */

static int console_open(struct vmm *v, struct error *e)
{
	v->console = chardev_new(v->config.serial, &v->loop, e);
	if (!v->console)
		return error_prefix(e, "--serial %s", v->config.serial);
	if (!strcmp(v->config.serial, "stdio")) {
		terminal_init(&v->terminal, on_escape, v);
		chardev_set_filter(v->console, terminal_filter, &v->terminal);
	}
	return 0;
}

static int api_open(struct vmm *v, struct error *e)
{
	const struct api api = {
	        .config = &v->config,
	        .machine = {.state = api_state,
	                    .start = api_start,
	                    .pause = api_pause,
	                    .resume = api_resume,
	                    .power_button = api_power_button,
	                    .plug = api_plug,
	                    .unplug = api_unplug,
	                    .limit_net = api_limit_net,
	                    .ctx = v},
	};

	v->api = api_server_new(v->config.api_socket, &api, &v->loop, e);
	return v->api ? 0 : error_prefix(e, "--api");
}

/* Everything up to the first guest instruction. Returns the status that a failure means, 0 if all is well. */
static int vmm_open(struct vmm *v, struct error *e)
{
	if (loop_init(&v->loop, e))
		return STATUS_FAILED;
	v->loop_there = true;
	if (signals_open(v, e))
		return STATUS_FAILED;
	if (console_open(v, e) || (v->config.api_socket && api_open(v, e)))
		return STATUS_INPUT;
	if (!v->config.kernel && !v->config.firmware)
		return STATUS_OK;
	if (machine_build(v, e))
		return e->code == ENOMEM || e->code == EMFILE ? STATUS_FAILED : STATUS_INPUT;
	return STATUS_OK;
}

static void vmm_close(struct vmm *v)
{
	/* The API first: nobody shall ask about a machine that is being taken apart. */
	api_server_free(v->api);
	machine_free(v->machine);
	chardev_free(v->console);
	terminal_restore();
	if (v->signals.fd >= 0) {
		loop_remove(&v->loop, &v->signals);
		close(v->signals.fd);
	}
	if (v->loop_there)
		loop_release(&v->loop);
	vmm_config_release(&v->config);
}

static void vmm_run(struct vmm *v)
{
	struct error e;

	if (!strcmp(v->config.serial, "stdio"))
		terminal_raw();
	if (v->machine && machine_start(v->machine, &e)) {
		say(e.text);
		v->status = STATUS_FAILED;
		return;
	}
	if (loop_run(&v->loop, &e)) {
		say(e.text);
		v->status = STATUS_FAILED;
	}
}

int vmm_main(int argc, char **argv)
{
	struct vmm v = {.signals.fd = -1};
	struct error e = {0};

	if (vmm_config_init(&v.config, &e)) {
		say(e.text);
		return STATUS_FAILED;
	}
	switch (options_parse(&v.config, argc, argv, &e)) {
	case OPTIONS_HELP:
		fputs(options_help(), stdout);
		vmm_config_release(&v.config);
		return fflush(stdout) ? STATUS_FAILED : STATUS_OK;
	case OPTIONS_ERROR:
		say(e.text);
		vmm_config_release(&v.config);
		return STATUS_INPUT;
	case OPTIONS_RUN:
		break;
	}
	if (v.config.verbose)
		log_set_level(LOG_INFO);
	v.status = vmm_open(&v, &e);
	if (v.status)
		say(e.text);
	else
		vmm_run(&v);
	vmm_close(&v);
	return v.status;
}
