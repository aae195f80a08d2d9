/*
 * The process `insula vpc` of a VPC on this host, as whoever keeps the records sees it: these functions start
 * it, tell it its configuration, ask for it and end it. They keep nothing in memory, so whoever calls can be
 * killed at any time and begin anew; the process goes on by itself.
 *
 * In DIR, which the caller makes (mode 0700) and names after the VPC:
 *   lock         locked for as long as there is a process, or one begins
 *   config.json  the configuration (config.h) that was taken last; read when a process starts
 *   vpc.sock     control socket, for the owner only: a client sends the length of a configuration in four
 *                bytes, the lowest first, and the configuration; the answer is one line,
 *                "ok GENERATION\n" or "error TEXT\n", and any number may follow on a connection
 *   vpc.pid      "PID START-TIME\n" of the process, the time as in /proc/PID/stat
 *   vpc.log      what it says
 *   flow.log     flow logs
 *   root         an empty folder, which is all that the process sees of files
 *
 * The caller's usual order: the namespace and its addresses first, vpc_service_config(), vpc_service_start().
 * After a change: vpc_service_config(). A namespace that was made anew needs a process that was started anew.
 * Each of these blocks for milliseconds, and at most for the time said. One caller for a DIR at a time.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

enum { VPC_SERVICE_LOCK = 3, VPC_SERVICE_READY = 4 }; /* the descriptors that the process inherits */

/*
 * Starts it in the namespace /run/netns/NETNS (NULL: the caller's), unless one runs. Returns when it serves,
 * or -1 with what it said: no namespace, a bad config.json. At most ten seconds. DNS queries of other names
 * are asked of the resolvers in the caller's /etc/resolv.conf, from the caller's namespace.
 */
int vpc_service_start(const char *dir, const char *netns, struct error *e);
bool vpc_service_running(const char *dir);
/*
 * Gives it a configuration, whole; where none runs it is for the next start. 0: it is in effect, and in
 * config.json. -1 with e: it was refused, or (e->code != 0) the process is not well; the old one stays in
 * effect, and in config.json. At most ten seconds.
 */
int vpc_service_config(const char *dir, const char *bytes, size_t length, struct error *e);
/* Ends it, and waits until it has ended. 0 if none runs. The folder stays. */
int vpc_service_end(const char *dir, struct error *e);
/* Removes the folder with all in it. -1 with EAGAIN while a process is there. */
int vpc_service_remove(const char *dir, struct error *e);
