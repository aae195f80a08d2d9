/*
 * `insula vpc DIR`: the process that serves one VPC on this host: DHCP for IPv4 and IPv6, router
 * advertisements, DNS, time, instance metadata, and flow logs. service.h says what is in DIR, and how it is
 * started and told; each service has a header of its own.
 *
 * It takes the lock, reads config.json, starts the resolver in the namespace that it was started in, enters
 * that of the VPC, opens all its sockets there, and goes to jail (jail.h). From then on it is an event loop
 * over sockets. It knows a guest by the device that a packet came in on, and answers nobody else; it
 * remembers nothing, so it can be killed and started anew at any time.
 */
#pragma once

/* argv: "vpc", options, DIR. Returns if it cannot begin. */
int vpc_main(int argc, char **argv);
