/*
 * What one virtual machine is to be made of: filled by the command line (options.h) or over the control
 * socket (api.h), read when the machine is built (machine.h). All strings are owned. Main thread.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"
#include "device/virtio/limiter.h"

#define VMM_MAX_CPUS  64
#define VMM_MAX_DISKS 24
#define VMM_MAX_NETS  6

enum vmm_accel { VMM_ACCEL_AUTO, VMM_ACCEL_KVM, VMM_ACCEL_SOFT };

enum vmm_disk_type { VMM_DISK_NVME, VMM_DISK_VIRTIO };

struct vmm_disk {
	char *path;
	char *id; /* serial number, and its name in the API; NULL: made up */
	bool readonly;
	bool root;      /* API: the kernel is told that its root is there */
	char *partuuid; /* API: of the root partition on this disk; NULL: the whole disk */
	enum vmm_disk_type type;
};

struct vmm_net {
	char *tap;    /* interface on the host */
	char *stream; /* or a UNIX socket (net_stream.h); one of them is NULL */
	char *id;     /* its name in the API, or NULL: that of the interface or socket */
	bool has_mac;
	u8 mac[6];
	struct limiter_config rx, tx; /* what the guest receives, and sends */
};

/* What can be plugged in while the machine runs. */
enum vmm_part { VMM_PART_DISK, VMM_PART_NET };

struct vmm_config {
	char *kernel, *initrd, *cmdline, *firmware; /* NULL: none */
	u64 memory;                                 /* bytes */
	unsigned cpus;
	struct vmm_disk disk[VMM_MAX_DISKS];
	unsigned disk_count;
	struct vmm_net net[VMM_MAX_NETS];
	unsigned net_count;
	enum vmm_accel accel;
	char *serial;     /* as chardev.h takes it */
	char *api_socket; /* NULL: none */
	/* What SMBIOS tells of the machine; NULL: its default (board.h). */
	char *smbios_uuid, *smbios_product, *smbios_asset;
	bool debug_exit, no_reboot, verbose, soft_check, soft_interpret;
};

/* Defaults: 1 vCPU, 512 MiB, serial on stdio. -1: no memory. */
int vmm_config_init(struct vmm_config *c, struct error *e);
void vmm_config_release(struct vmm_config *c);

void vmm_disk_release(struct vmm_disk *d);
void vmm_net_release(struct vmm_net *n);
/* Takes the n-th disk or network off the list. */
void vmm_config_remove(struct vmm_config *c, enum vmm_part part, unsigned n);

/*
 * The command line for the kernel, from malloc; NULL: none. It is `cmdline` as it stands, but over the API a
 * disk may be named as root: "root=" is added then, and "pci=off" dropped, which Firecracker's clients put
 * there by habit, since all our devices are on PCI.
 */
char *vmm_config_cmdline(const struct vmm_config *c);

/* Its id, or what it is connected to. */
const char *vmm_net_name(const struct vmm_net *n);
/* An interface's address: its own, or a locally administered one that always is the same for this tap name.
 */
void vmm_net_mac(const struct vmm_net *n, u8 mac[6]);

/* "512M": bytes, with a suffix K, M, G or T; without one it is MiB. -1 with a reason (no name) in e. */
int vmm_parse_memory(const char *text, u64 *bytes, struct error *e);
/* A number of bytes a second, with a suffix K, M or G (of 1000) or none. */
int vmm_parse_rate(const char *text, u64 *bytes, struct error *e);
/* 1 … VMM_MAX_CPUS. */
int vmm_parse_cpus(const char *text, unsigned *cpus, struct error *e);
/* "02:00:00:00:00:01", unicast. */
int vmm_parse_mac(const char *text, u8 mac[6], struct error *e);
/* The name of a drive or network in the API: 1 to 64 letters, digits, '-' and '_'. */
int vmm_check_id(const char *id, struct error *e);
/* An interface name as Linux allows it. */
int vmm_check_tap(const char *name, struct error *e);
int vmm_check_memory(u64 bytes, struct error *e);
