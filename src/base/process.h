/* Processes of this host: a pid alone may have become another's, a pid and the time it started may not. */
#pragma once

#include "base/types.h"

/* When it started, in clock ticks since the host did (proc(5), field 22 of /proc/PID/stat); 0: there is no
 * such process, or it has ended and waits for its parent. */
u64 process_start_time(int pid);
/* CPU time of all its threads, in microseconds; 0: there is no such process. */
u64 process_cpu_us(int pid);
