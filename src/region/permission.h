/*
 * Who else may use an image or a snapshot (API Reference: LaunchPermission, CreateVolumePermission):
 * accounts, "all", and ARNs of organizations, which are kept and shown, but let nobody in: accounts here
 * belong to none. Links of the resource ("launch", "create-volume") to those.
 */
#pragma once

#include "region/resource.h"

/* Items are texts, or structures with Group, UserId, OrganizationArn or OrganizationalUnitArn. -1: a fault.
 */
int permission_change(struct request *r, const char *id, const char *what, bool add,
                      const struct value *list);
/* Those of one, as items of a list of such structures. */
void permission_show(struct request *r, const char *id, const char *what, struct value *list);
/* May the account (or all) use it? who: "all", or an account. */
bool permission_has(struct request *r, const char *id, const char *what, const char *who);
/* A resource of this region that another account lets the caller use, or NULL. */
struct resource *permission_find(struct request *r, const struct resource_kind *kind, const char *id,
                                 const char *what);
/* Ids of all of this region that the caller has or may use, oldest first, behind `after`; NULL at the end. */
const char **permission_visible(struct request *r, const struct resource_kind *kind, const char *what,
                                s64 after);
