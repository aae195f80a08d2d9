/*
 * The folder of a process that outlives whoever started it: the file `lock` in it is locked from before the
 * process is started until it has ended. Who starts takes the lock, and the process inherits it (an open file
 * description's lock), so there is never a second one, and no folder goes away under one that begins.
 */
#pragma once

#include "base/error.h"
#include "base/types.h"

/* A descriptor of the folder. */
int process_folder_open(const char *dir, struct error *e);
/* The lock of a folder that is open, as a descriptor; -1 with EAGAIN: a process has it. dir is for messages.
 */
int process_folder_lock(int at, const char *dir, struct error *e);
bool process_folder_locked(int at);
/* Removes the folder with all files in it, and folders that are empty. 0 if it is not there; -1 with EAGAIN
 * while its process is. */
int process_folder_remove(const char *dir, struct error *e);
