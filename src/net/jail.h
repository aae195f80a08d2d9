/*
 * The jail that processes live in which read hostile packets: a user id of their own, an empty folder for a
 * root, no capability, no new privileges, bounded memory and files, and a list of system calls (seccomp(2)):
 * whoever asks for a file is refused, whoever asks for a call that is not on the list is killed.
 *
 * All sockets are opened before. The services themselves cannot open, connect or address another socket of
 * any kind: their sendto() takes no address. The resolver (resolver.h) may open sockets of UDP and TCP.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum jail_kind { JAIL_SERVICES, JAIL_RESOLVER };

enum { JAIL_FILES = 3072, JAIL_MEMORY_MIB = 2048 };

/* The user id for a name, in a range that nobody assigns. */
u32 jail_user(const char *name);
/* Enters it for good. root: descriptor of an empty folder, closed here. Must be root. */
int jail_enter(enum jail_kind kind, u32 user, int root, struct error *e);
