/*
 * Security groups: what may reach a network interface, and be reached from it. The rules are resources of
 * their own (security_group_rule.h), children of the group; the group's document shows them as permissions,
 * which security_group_refresh() keeps in step.
 *
 * A group has its VPC as its parent; interfaces are linked to their groups ("group").
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind security_group_kind;

/* The group "default" of a new VPC. */
struct resource *security_group_create_default(struct request *r, const struct resource *vpc);
/* The default group of a VPC, or NULL. */
struct resource *vpc_default_group(struct request *r, const char *vpc);
/* A group of a VPC by its name, or NULL. */
struct resource *security_group_named(struct request *r, const char *vpc, const char *name);
/* The group that the request's GroupId or GroupName (of the default VPC) says. NULL with r->fault. */
struct resource *security_group_of(struct request *r);
/* Groups for something in a VPC, checked: ids in the request's arena, NULL at the end; the default group if
 * there are none (ids NULL or empty). NULL with r->fault. */
struct resource **security_group_check(struct request *r, const char *vpc, const struct value *ids);
/* Makes the permissions of the group's document from its rules, and stores it. */
void security_group_refresh(struct request *r, struct resource *group);
/* VPCs that got an IPv6 block: their default egress rule for it. */
void security_group_ipv6_added(struct request *r, const char *vpc);
