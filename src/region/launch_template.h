/*
 * Launch templates: parameters of RunInstances kept under a name, in numbered versions. A version is a
 * resource of its own with the template as its parent; numbers are never given twice.
 */
#pragma once

#include "region/resource.h"

extern const struct resource_kind launch_template_kind;

/* With a LaunchTemplate in the request of RunInstances: r->in becomes the template's data with the request's
 * own parameters over it. -1 with r->fault. */
int launch_template_apply(struct request *r);
