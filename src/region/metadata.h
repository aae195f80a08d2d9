/*
 * What the metadata service tells an instance of itself (EC2 User Guide, "Instance metadata categories"), in
 * the form that the VPC's services take (net/config.h). The tree is the whole truth: the service knows
 * nothing of its meaning.
 *
 * Belongs to the thread of the database.
 */
#pragma once

#include "net/plan.h"
#include "region/resource.h"

struct metadata_maker;

/* With the region's identity of that folder (identity.h). NULL with e. */
struct metadata_maker *metadata_maker_new(const char *data, struct error *e);
void metadata_maker_free(struct metadata_maker *m); /* NULL is allowed */

/* The item of "instances". p: the plan that has its interfaces. *renew_ms: lowered to the time at which it is
 * to be made anew, if there is one (0: none). NULL: there is no such instance. */
json_t *metadata_make(struct metadata_maker *m, struct request *r, const struct plan *p, const char *instance,
                      s64 *renew_ms);

/* ---- metadata_tree.c ---- */

/* A leaf; nothing if text is NULL. */
void metadata_leaf(json_t *directory, const char *name, const char *text);
/* A directory within, made if it is not there. */
json_t *metadata_directory(json_t *in, const char *name);
/* meta-data/network/interfaces/macs/ */
void metadata_network(struct request *r, const struct plan *p, json_t *macs, const char *instance);
