/* What is in a VPC: what keeps it from being deleted, and what goes away with it. */
#pragma once

#include "region/action.h"

bool vpc_has_dependents(struct request *r, const char *vpc);
/* Deletes what a VPC has from the start. */
void vpc_dependents_delete(struct request *r, const char *vpc);
