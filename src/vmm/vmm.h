/*
 * `insula vmm`: the process that is one virtual machine. It owns the event loop, which the main thread runs,
 * and decides what the end of a machine means: status 0 after a power-off, a reboot with --no-reboot, or when
 * it was asked to leave; the guest's own with --debug-exit; 3 after a triple fault; 2 where the user's input
 * is at fault; 1 where we are.
 */
#pragma once

/* argv[0] is "vmm". Returns the exit status. */
int vmm_main(int argc, char **argv);
