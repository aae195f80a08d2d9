/*
 * A network for one machine of an ordinary user: passt (a program of its own) beside its VMM, which speaks
 * for the guest with the host's own sockets. The guest has the address that it is told by DHCP, reaches what
 * the user reaches, and is reached at the ports that are forwarded. There are no others in its network.
 *
 * In the machine's folder: `passt`, its command (arguments, each ended by a zero byte); net.sock, where it
 * listens; passt.log.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

#include <sys/types.h>

struct user_network {
	const char *address, *gateway; /* IPv4, of the guest and of what it takes for its router */
	unsigned prefix;               /* length of its subnet's */
	const char *mac;               /* the guest's */
	unsigned ssh_port;             /* on 127.0.0.1, forwarded to the guest's port 22; 0: none */
};

/* Is the program there? */
bool user_network_possible(void);
/* A port of 127.0.0.1 that nobody listens at now; 0: none. */
unsigned user_network_port(void);
/* The port of 127.0.0.1 that leads to the guest's port 22, of the machine in this folder; 0: none. */
unsigned user_network_ssh_port(const char *dir);
/* Starts it for the folder `dir` (a descriptor), which is the current one, and waits until it listens.
 * Returns its pid, 0 if the machine has no such network, -1 with e. It ends with the caller. */
pid_t user_network_start(int dir, struct error *e);
