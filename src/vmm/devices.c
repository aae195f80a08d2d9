#include "vmm/devices.h"

#include "device/nvme.h"
#include "device/serial.h"
#include "device/virtio/virtio.h"
#include "base/clock.h"
#include "machine/pci_hotplug.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { COM1_PORT = 0x3f8, COM1_IRQ = 4 };

#define MAX_QUEUES 8

static int serial_add(struct devices *d, const struct vmm_config *config, struct board *board,
                      struct chardev *console, struct error *e)
{
	const struct serial_config serial = {
	        .base = COM1_PORT,
	        .irq = board_gsi(board, COM1_IRQ),
	        .chardev = console,
	        /* Who ends a process by a port write wants what was printed before it. */
	        .unbuffered = config->debug_exit,
	};

	d->serial = serial_new(&serial, board_pio(board), board_loop(board), e);
	return d->serial ? 0 : -1;
}

static int disk_add(struct devices *d, unsigned n, const struct vmm_config *config, struct board *board,
                    struct error *e)
{
	const struct vmm_disk *disk = &config->disk[n];
	unsigned queues = min(config->cpus, (unsigned)MAX_QUEUES);
	char id[DISK_ID_MAX + 1] = "";

	/* An API client's id may be longer than a serial number. */
	if (disk->id)
		snprintf(id, sizeof(id), "%.*s", DISK_ID_MAX, disk->id);

	const struct disk_config file = {
	        .path = disk->path, .readonly = disk->readonly, .id = disk->id ? id : NULL};

	if (disk->type == VMM_DISK_NVME) {
		const struct nvme_config nvme = {.disk = file, .io_queues = queues};

		d->disk[n].nvme =
		        nvme_new(&nvme, board_pci(board), board_memory(board), board_loop(board), e);
	} else {
		const struct virtio_blk_config blk = {.disk = file, .queues = queues};

		d->disk[n].blk =
		        virtio_blk_new(&blk, board_pci(board), board_memory(board), board_loop(board), e);
	}
	return d->disk[n].nvme || d->disk[n].blk ? 0 : -1;
}

static int net_add(struct devices *d, unsigned n, const struct vmm_config *config, struct board *board,
                   struct error *e)
{
	const struct vmm_net *from = &config->net[n];
	struct virtio_net_config net = {.tap = from->tap ? from->tap : from->stream,
	                                .stream = from->stream,
	                                .tap_fd = -1,
	                                .has_mac = true,
	                                .rx = from->rx,
	                                .tx = from->tx};

	vmm_net_mac(from, net.mac);
	d->net[n].net = virtio_net_new(&net, board_pci(board), board_memory(board), board_loop(board), e);
	return d->net[n].net ? 0 : -1;
}

int devices_add(struct devices *d, const struct vmm_config *config, struct board *board,
                struct chardev *console, struct error *e)
{
	const struct virtio_rng_config rng = {0};

	memset(d, 0, sizeof(*d));
	if (serial_add(d, config, board, console, e))
		return -1;
	for (unsigned i = 0; i < config->disk_count; i++)
		if (disk_add(d, i, config, board, e))
			return -1;
	for (unsigned i = 0; i < config->net_count; i++)
		if (net_add(d, i, config, board, e))
			return -1;
	d->rng = virtio_rng_new(&rng, board_pci(board), board_memory(board), board_loop(board), e);
	return d->rng ? 0 : -1;
}

/* ---- while the machine runs ---- */

static void disk_release(struct device_disk *disk)
{
	if (disk->nvme)
		nvme_free(disk->nvme);
	if (disk->blk)
		virtio_blk_free(disk->blk);
}

static void net_release(struct device_net *net)
{
	if (net->net)
		virtio_net_free(net->net);
}

/* The n-th one's slot, and since when it is asked for; 0: there is none. */
static unsigned slot_of(struct devices *d, enum vmm_part part, unsigned n, u64 **asked_ns)
{
	struct device_disk *disk = &d->disk[n];

	if (part == VMM_PART_NET) {
		*asked_ns = &d->net[n].asked_ns;
		return d->net[n].net ? virtio_net_slot(d->net[n].net) : 0;
	}
	*asked_ns = &disk->asked_ns;
	return disk->nvme ? nvme_slot(disk->nvme) : disk->blk ? virtio_blk_slot(disk->blk) : 0;
}

/* Frees it, and closes the gap. */
static void take_out(struct devices *d, enum vmm_part part, unsigned n)
{
	if (part == VMM_PART_NET) {
		net_release(&d->net[n]);
		memmove(d->net + n, d->net + n + 1, (VMM_MAX_NETS - 1 - n) * sizeof(d->net[0]));
		d->net[VMM_MAX_NETS - 1] = (struct device_net){0};
	} else {
		disk_release(&d->disk[n]);
		memmove(d->disk + n, d->disk + n + 1, (VMM_MAX_DISKS - 1 - n) * sizeof(d->disk[0]));
		d->disk[VMM_MAX_DISKS - 1] = (struct device_disk){0};
	}
}

int devices_plug(struct devices *d, enum vmm_part part, unsigned n, const struct vmm_config *config,
                 struct board *board, struct error *e)
{
	u64 *asked_ns;

	if (!slot_of(d, part, n, &asked_ns) &&
	    (part == VMM_PART_NET ? net_add(d, n, config, board, e) : disk_add(d, n, config, board, e)))
		return -1;
	pci_hotplug_changed(board_hotplug(board), slot_of(d, part, n, &asked_ns));
	return 0;
}

int devices_unplug(struct devices *d, enum vmm_part part, unsigned n, bool force, struct board *board,
                   struct error *e)
{
	struct pci_hotplug *hotplug = board_hotplug(board);
	u64 *asked_ns, now = clock_monotonic_ns();
	unsigned slot = slot_of(d, part, n, &asked_ns);

	if (force) {
		pci_hotplug_forget(hotplug, slot);
		take_out(d, part, n);
		/* The guest looks at the slot, and sees that nothing is there. */
		pci_hotplug_changed(hotplug, slot);
		return 0;
	}
	if (!*asked_ns) {
		*asked_ns = now;
	} else if (!pci_hotplug_asked(hotplug, slot)) {
		return 1; /* it has just given it back */
	} else if (now - *asked_ns > DEVICES_PATIENCE_NS) {
		pci_hotplug_forget(hotplug, slot);
		*asked_ns = 0;
		return error_set(e, ETIMEDOUT, "the guest has not given it back in %u seconds",
		                 (unsigned)(DEVICES_PATIENCE_NS / 1000000000));
	}
	pci_hotplug_ask(hotplug, slot);
	return 1;
}

bool devices_given(struct devices *d, unsigned slot, enum vmm_part *part, unsigned *n)
{
	static const unsigned counts[] = {[VMM_PART_DISK] = VMM_MAX_DISKS, [VMM_PART_NET] = VMM_MAX_NETS};
	u64 *asked_ns;

	for (*part = VMM_PART_DISK; *part <= VMM_PART_NET; ++*part)
		for (*n = 0; *n < counts[*part]; ++*n)
			if (slot_of(d, *part, *n, &asked_ns) == slot) {
				take_out(d, *part, *n);
				return true;
			}
	return false;
}

/* ---- reset and end ---- */

void devices_reset(struct devices *d)
{
	serial_reset(d->serial);
}

void devices_release(struct devices *d)
{
	if (d->rng)
		virtio_rng_free(d->rng);
	for (unsigned i = 0; i < VMM_MAX_NETS; i++)
		net_release(&d->net[i]);
	for (unsigned i = 0; i < VMM_MAX_DISKS; i++)
		disk_release(&d->disk[i]);
	if (d->serial)
		serial_free(d->serial);
	memset(d, 0, sizeof(*d));
}
