#include "vmm/machine.h"
#include "device/virtio/virtio.h"
#include "machine/pci_hotplug.h"

#include "base/clock.h"
#include "base/log.h"
#include "cpu/cpu.h"
#include "machine/board.h"
#include "machine/boot.h"
#include "vmm/devices.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct vcpu {
	struct machine *machine;
	struct cpu *cpu;
	pthread_t thread;
	bool started;
	bool dead; /* triple-faulted or failed: it does not run again before a reset */
};

struct machine {
	const struct vmm_config *config;
	struct machine_listener listener;
	struct loop *loop;
	struct board *board;
	struct boot *boot;
	struct devices devices;
	struct vcpu vcpu[BOARD_MAX_CPUS];
	unsigned vcpu_count;

	pthread_mutex_t lock; /* all below; never held while anything of the board is called */
	pthread_cond_t changed;
	bool run;  /* vCPUs shall run */
	bool quit; /* their threads shall end */
	unsigned parked;
	bool ended; /* an event is noted, and none after it until a reset */
	enum machine_event event;
	int event_code;
	char event_text[sizeof(((struct error *)NULL)->text)];
	struct loop_call event_call;
};

static void stop_all(struct machine *m)
{
	for (unsigned i = 0; i < m->vcpu_count; i++)
		if (m->vcpu[i].cpu)
			cpu_raise(m->vcpu[i].cpu, CPU_EV_STOP);
}

/* The first event counts: what follows while the others still run is a consequence. Any thread. */
static void event_note(struct machine *m, enum machine_event event, int code, const char *text)
{
	bool first;

	pthread_mutex_lock(&m->lock);
	first = !m->ended;
	if (first) {
		m->ended = true;
		m->run = false;
		m->event = event;
		m->event_code = code;
		snprintf(m->event_text, sizeof(m->event_text), "%s", text);
	}
	pthread_mutex_unlock(&m->lock);
	if (first) {
		stop_all(m);
		loop_post(m->loop, &m->event_call);
	}
}

static void event_deliver(void *ctx)
{
	struct machine *m = ctx;

	m->listener.event(m->listener.ctx, m->event, m->event_code, m->event_text);
}

static void board_event(void *ctx, enum board_event event, int code)
{
	static const enum machine_event events[] = {
	        [BOARD_POWEROFF] = MACHINE_POWEROFF,
	        [BOARD_RESET] = MACHINE_RESET,
	        [BOARD_DEBUG_EXIT] = MACHINE_DEBUG_EXIT,
	};

	event_note(ctx, events[event], code, "");
}

/* ---- vCPU threads ---- */

static void vcpu_ended(struct vcpu *v, enum cpu_exit exit)
{
	char text[sizeof(v->machine->event_text)];

	if (exit == CPU_EXIT_ERROR) {
		snprintf(text, sizeof(text), "vCPU %u: %.400s", v->cpu->config.index, v->cpu->error.text);
		event_note(v->machine, MACHINE_FAILED, 0, text);
		return;
	}
	struct vcpu_state s;

	cpu_get_state(v->cpu, &s);
	snprintf(text, sizeof(text), "the guest triple-faulted on vCPU %u, at %04x:%llx",
	         v->cpu->config.index, s.seg[SEG_CS].selector, (unsigned long long)s.rip);
	event_note(v->machine, MACHINE_TRIPLE_FAULT, 0, text);
}

static void *vcpu_main(void *arg)
{
	struct vcpu *v = arg;
	struct machine *m = v->machine;
	char name[16];

	snprintf(name, sizeof(name), "vcpu %u", v->cpu->config.index);
	pthread_setname_np(pthread_self(), name);
	pthread_mutex_lock(&m->lock);
	for (;;) {
		m->parked++;
		pthread_cond_broadcast(&m->changed);
		while (!m->quit && !(m->run && !v->dead))
			pthread_cond_wait(&m->changed, &m->lock);
		if (m->quit)
			break;
		m->parked--;
		pthread_mutex_unlock(&m->lock);

		enum cpu_exit exit = cpu_run(v->cpu);

		if (exit != CPU_EXIT_STOPPED)
			vcpu_ended(v, exit);
		pthread_mutex_lock(&m->lock);
		if (exit != CPU_EXIT_STOPPED)
			v->dead = true;
	}
	pthread_mutex_unlock(&m->lock);
	return NULL;
}

static int vcpu_start(struct vcpu *v, struct error *e)
{
	int r = pthread_create(&v->thread, NULL, vcpu_main, v);

	if (r)
		return error_set(e, r, "thread of vCPU %u", v->cpu->config.index);
	v->started = true;
	return 0;
}

int machine_start(struct machine *m, struct error *e)
{
	pthread_mutex_lock(&m->lock);
	m->run = true;
	pthread_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		if (vcpu_start(&m->vcpu[i], e))
			return -1;
	return 0;
}

void machine_pause(struct machine *m)
{
	unsigned started = 0;

	for (unsigned i = 0; i < m->vcpu_count; i++)
		started += m->vcpu[i].started;
	pthread_mutex_lock(&m->lock);
	m->run = false;
	pthread_mutex_unlock(&m->lock);
	stop_all(m);
	pthread_mutex_lock(&m->lock);
	while (m->parked < started)
		pthread_cond_wait(&m->changed, &m->lock);
	pthread_mutex_unlock(&m->lock);
}

void machine_resume(struct machine *m)
{
	pthread_mutex_lock(&m->lock);
	m->run = !m->ended;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
}

bool machine_running(const struct machine *m)
{
	struct machine *lockable = (struct machine *)m;

	pthread_mutex_lock(&lockable->lock);
	bool run = m->run;

	pthread_mutex_unlock(&lockable->lock);
	return run;
}

void machine_power_button(struct machine *m)
{
	board_power_button(m->board);
}

/* ---- plugging ---- */

static void given_back(void *ctx, unsigned slot)
{
	struct machine *m = ctx;
	enum vmm_part part;
	unsigned n;

	if (devices_given(&m->devices, slot, &part, &n))
		m->listener.unplugged(m->listener.ctx, part, n);
}

int machine_plug(struct machine *m, enum vmm_part part, unsigned n, struct error *e)
{
	return devices_plug(&m->devices, part, n, m->config, m->board, e);
}

int machine_unplug(struct machine *m, enum vmm_part part, unsigned n, bool force, struct error *e)
{
	return devices_unplug(&m->devices, part, n, force, m->board, e);
}

void machine_limit_net(struct machine *m, unsigned n, bool rx, bool tx)
{
	const struct vmm_net *net = &m->config->net[n];

	virtio_net_limit(m->devices.net[n].net, rx ? &net->rx : NULL, tx ? &net->tx : NULL);
}

/* ---- power-on and reset ---- */

/* Firmware gives all processors the same memory types, and Linux complains where it did not. */
static void mtrrs_copy(struct vcpu_state *to, const struct vcpu_state *from)
{
	to->mtrr_def_type = from->mtrr_def_type;
	memcpy(to->mtrr_fixed, from->mtrr_fixed, sizeof(to->mtrr_fixed));
	memcpy(to->mtrr_base, from->mtrr_base, sizeof(to->mtrr_base));
	memcpy(to->mtrr_mask, from->mtrr_mask, sizeof(to->mtrr_mask));
}

/* Loads the kernel and gives each vCPU its first state. RAM is clear, the board reset, no vCPU runs. */
static int power_on(struct machine *m, struct error *e)
{
	struct vcpu_state bsp, ap;
	u64 tsc_offset = -clock_tsc();

	vcpu_state_reset(&bsp, true);
	if (boot_start(m->boot, m->board, &bsp, e))
		return -1;
	bsp.tsc_offset = tsc_offset;
	for (unsigned i = 0; i < m->vcpu_count; i++) {
		struct cpu *cpu = m->vcpu[i].cpu;

		atomic_store(&cpu->events, 0);
		atomic_store(&cpu->tsc_offset, tsc_offset);
		if (i) {
			vcpu_state_reset(&ap, false);
			mtrrs_copy(&ap, &bsp);
			ap.tsc_offset = tsc_offset;
		}
		cpu_set_state(cpu, i ? &ap : &bsp);
	}
	return 0;
}

int machine_reset(struct machine *m, struct error *e)
{
	machine_pause(m);
	memory_zero(board_memory(m->board));
	board_reset(m->board);
	devices_reset(&m->devices);
	if (power_on(m, e))
		return -1;
	pthread_mutex_lock(&m->lock);
	m->ended = false;
	for (unsigned i = 0; i < m->vcpu_count; i++)
		m->vcpu[i].dead = false;
	pthread_mutex_unlock(&m->lock);
	machine_resume(m);
	return 0;
}

/* ---- building ---- */

static int accel_check(const struct vmm_config *c, struct error *e)
{
	if (c->accel == VMM_ACCEL_KVM)
		return error_set(e, 0, "--accel kvm: not built yet, --accel soft is there");
	if (c->soft_check && c->cpus > 1)
		return error_set(
		        e, 0,
		        "--soft-check takes one vCPU (--cpus 1): others would write to memory while a "
		        "block is run twice");
	if (c->accel == VMM_ACCEL_AUTO)
		log_info("accel: soft, because the kvm engine is not built yet");
	else
		log_info("accel: soft, as asked for");
	return 0;
}

static int boot_open(struct machine *m, struct error *e)
{
	const struct vmm_config *c = m->config;
	char *cmdline = vmm_config_cmdline(c);
	struct boot_config config = {
	        .kernel = c->kernel, .initrd = c->initrd, .cmdline = cmdline, .firmware = c->firmware};

	m->boot = boot_load(&config, c->memory, e);
	free(cmdline);
	return m->boot ? 0 : -1;
}

static int cpus_add(struct machine *m, struct error *e)
{
	struct cpu_config config = {
	        .count = m->config->cpus,
	        .board = board_cpu_interface(m->board),
	        .tsc_hz = clock_tsc_hz(),
	        .interpret = m->config->soft_interpret && !m->config->soft_check,
	        .check = m->config->soft_check,
	};

	for (unsigned i = 0; i < m->config->cpus; i++) {
		config.index = i;
		m->vcpu[i] = (struct vcpu){.machine = m, .cpu = soft_cpu_new(&config, e)};
		if (!m->vcpu[i].cpu)
			return -1;
		m->vcpu_count++;
		board_add_cpu(m->board, m->vcpu[i].cpu);
	}
	return 0;
}

struct machine *machine_new(const struct vmm_config *config, struct chardev *console, struct loop *loop,
                            const struct machine_listener *listener, struct error *e)
{
	struct machine *m = calloc(1, sizeof(*m));

	if (!m) {
		error_set(e, ENOMEM, "machine");
		return NULL;
	}
	m->config = config;
	m->listener = *listener;
	m->loop = loop;
	m->event_call = (struct loop_call){.fn = event_deliver, .ctx = m};
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	/* Cheap checks of what the user gave come first. */
	if (accel_check(config, e) || boot_open(m, e))
		goto fail;

	struct board_config board = {
	        .memory = config->memory,
	        .cpus = config->cpus,
	        .debug_exit = config->debug_exit,
	        .smbios_product = config->smbios_product,
	        .smbios_uuid = config->smbios_uuid,
	        .smbios_asset = config->smbios_asset,
	        .event = board_event,
	        .event_ctx = m,
	};

	m->board = board_new(&board, loop, e);
	if (!m->board)
		goto fail;
	pci_hotplug_listen(board_hotplug(m->board), given_back, m);
	if (devices_add(&m->devices, config, m->board, console, e) || cpus_add(m, e) || power_on(m, e))
		goto fail;
	return m;
fail:
	machine_free(m);
	return NULL;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_pause(m);
	pthread_mutex_lock(&m->lock);
	m->quit = true;
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		if (m->vcpu[i].started)
			pthread_join(m->vcpu[i].thread, NULL);
	devices_release(&m->devices);
	/* The board refers to its CPUs until it is gone. */
	board_free(m->board);
	for (unsigned i = 0; i < m->vcpu_count; i++)
		cpu_free(m->vcpu[i].cpu);
	boot_free(m->boot);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m);
}
