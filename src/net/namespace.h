/*
 * Network namespaces with a name, as `ip netns` has them: /run/netns/NAME. Any thread; a thread's own
 * namespace never changes, what is done within another runs in a thread made for it.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

/* Makes it unless it is there; *made tells. What an interrupted call left is put right. */
int namespace_make(const char *name, bool *made, struct error *e);
/* Takes the name away: the namespace goes with the last process in it. 0 if there is none. */
int namespace_remove(const char *name, struct error *e);
bool namespace_exists(const char *name);
/* Of the thread's own: a number that no other has until the machine is booted, unlike its inode's. 0: the kernel
 * has none (before 5.14). */
u64 namespace_cookie(void);
/* A descriptor, to be closed; -1 with e. name NULL: the one of this thread. */
int namespace_open(const char *name, struct error *e);
/* Runs call(arg) within it, and programs that it starts, and gives what it returns; -1 with e: cannot be
 * entered. */
int namespace_call(const char *name, int (*call)(void *arg), void *arg, struct error *e);

/* Writes a parameter of this thread's namespace: its path below /proc/sys/net. */
int namespace_set(const char *path, const char *value, struct error *e);
/* Its number; `otherwise` if there is none. */
int namespace_get(const char *path, int otherwise);
