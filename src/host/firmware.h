/*
 * The BIOS that disks boot by which bring a boot loader of their own, as on a PC: SeaBIOS, from its package.
 * It finds NVMe and virtio disks, starts the first one's boot sector, and talks on the serial line.
 */
#pragma once

#include "base/error.h"

/* Its file: `given`, or where packages put it. NULL with e: there is none, and how to get it. */
const char *firmware_find(const char *given, struct error *e);
