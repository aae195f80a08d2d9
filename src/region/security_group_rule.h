/*
 * Rules of security groups: a protocol with ports (or ICMP type and code), and one peer: a block, a group, or
 * a prefix list. A rule has its group as its parent, and links to the group or list it refers to ("peer").
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind security_group_rule_kind;

/* A rule for all protocols with one block or group (the other NULL). */
void security_group_rule_allow_all(struct request *r, const char *group, bool egress, const char *cidr,
                                   const char *peer_group);
