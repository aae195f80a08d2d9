/*
 * `insula keep DIR`: the process beside each machine of a host. It is the parent of the machine's `insula
 * vmm`, holds its serial line, and writes down how it ended; so `insula serve` can stop, be killed or be
 * replaced, and machines go on. A keeper that dies takes its machine with it.
 *
 * In DIR (made by hosted.h):
 *   lock          locked while there is a keeper, or one begins
 *   command       what to run: arguments, each ended by a zero byte
 *   keeper        pid and start time of the keeper, while there is one
 *   vmm.sock      control socket of the VMM
 *   console.sock  serial line, for any number of clients; all see the output, all may type
 *   console.log   output of this boot and earlier ones; older: console.log.1 … .3
 *   vmm.log       what the VMM says on standard error
 *   passt         optional: the network of an ordinary user (user_network.h)
 *   cgroup        optional: the control group to run in (cgroup.h)
 *   netns         optional: name of the network namespace that the VMM is to be in
 *   guest         what the serial line says of the guest (guest_watch.h): "up", "failed" or "starting", and
 *                 since when: milliseconds of CLOCK_REALTIME
 *   ended         how the last run ended: "exit N" or "signal N"; when: milliseconds of CLOCK_REALTIME and
 *                 CLOCK_BOOTTIME; and the CPU time that it took, in microseconds
 */
#pragma once

/* Where `ip netns` keeps namespaces by name. */
#define KEEPER_NETNS_DIR "/run/netns/"

enum {
	KEEPER_NETNS = 256,        /* bytes of a name, with its end */
	KEEPER_LOG_SIZE = 4 << 20, /* bytes of console.log before it is put aside */
	KEEPER_LOGS = 3,
	KEEPER_CLIENTS = 16,
	KEEPER_LOCK = 3, /* the descriptor that it inherits, of DIR/lock (hosted.h) */
};

/* argv: "keep", DIR. Returns when the machine has ended. */
int keeper_main(int argc, char **argv);
