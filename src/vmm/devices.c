#include "vmm/devices.h"

#include "device/nvme.h"
#include "device/serial.h"
#include "device/virtio/virtio.h"

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

		d->nvme[n] = nvme_new(&nvme, board_pci(board), board_memory(board), board_loop(board), e);
	} else {
		const struct virtio_blk_config blk = {.disk = file, .queues = queues};

		d->blk[n] = virtio_blk_new(&blk, board_pci(board), board_memory(board), board_loop(board), e);
	}
	return d->nvme[n] || d->blk[n] ? 0 : -1;
}

static int net_add(struct devices *d, unsigned n, const struct vmm_config *config, struct board *board,
                   struct error *e)
{
	const struct vmm_net *from = &config->net[n];
	struct virtio_net_config net = {.tap = from->tap ? from->tap : from->stream,
	                                .tap_fd = -1,
	                                .stream = from->stream,
	                                .has_mac = true};

	vmm_net_mac(&config->net[n], net.mac);
	d->net[n] = virtio_net_new(&net, board_pci(board), board_memory(board), board_loop(board), e);
	return d->net[n] ? 0 : -1;
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

void devices_reset(struct devices *d)
{
	serial_reset(d->serial);
}

void devices_release(struct devices *d)
{
	if (d->rng)
		virtio_rng_free(d->rng);
	for (unsigned i = 0; i < VMM_MAX_NETS; i++)
		if (d->net[i])
			virtio_net_free(d->net[i]);
	for (unsigned i = 0; i < VMM_MAX_DISKS; i++) {
		if (d->nvme[i])
			nvme_free(d->nvme[i]);
		if (d->blk[i])
			virtio_blk_free(d->blk[i]);
	}
	if (d->serial)
		serial_free(d->serial);
	memset(d, 0, sizeof(*d));
}
