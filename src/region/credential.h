/*
 * Temporary credentials of roles: what an instance with an instance profile signs requests with (IAM User
 * Guide, "Using IAM roles with applications on EC2"). The role has the profile's name; it may do what the key
 * that gave the instance its profile may.
 *
 * They are good for six hours. A new one is made while the last is still good for an hour, and both are until
 * they expire; so whoever asks an hour before always gets one that lasts.
 */
#pragma once

#include "region/action.h"

enum { CREDENTIAL_TOKEN = 257 };

struct credential {
	char id[32], secret[41], token[CREDENTIAL_TOKEN];
	char account[13], role[132], instance[40], policy[POLICY_SIZE];
	s64 made_ms, expires_ms;
};

/* The one that an instance has now for a role, made if need be. policy: what it may do, "" for all. */
void credential_for(struct request *r, const char *instance, const char *role, const char *policy,
                    struct credential *c);
/* When the instance is to be told another one. */
s64 credential_renewal(const struct credential *c);
/* False: there is none of that id, or it is long gone. */
bool credential_find(struct cloud *cloud, const char *id, struct credential *c);
