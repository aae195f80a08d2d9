/*
 * The cloud: all regions that one `insula serve` has, with their state. One thread uses it.
 */
#pragma once

#include "region/database.h"

struct cloud {
	struct database *db;
	const char *data;    /* folder */
	const char *regions; /* names that are offered, separated by commas; NULL: any */
	char account[13], setting[512];
	char boot[40]; /* which start of the host this is: a UUID */
	struct network_changes *changes; /* of VPCs (network_change.h); NULL: nobody wants to know */
	bool wake;     /* something is to be done in the world when the transaction is committed */
};

struct cloud_options {
	const char *data, *database; /* database: URL, NULL for DATA/region.db */
	const char *regions;
	const char *account; /* NULL: 123456789012, or what it was */
	bool existing;       /* only if it is there */
	struct database_options check;
};

/* Opens or makes DATA. */
int cloud_open(struct cloud *c, const struct cloud_options *o, struct error *e);
/* Only one process serves DATA, which is made: CLOUD_SERVED if another does. To be held before the database
 * is opened, until the process ends. */
enum { CLOUD_SERVED = 1 };
int cloud_lock(const char *data, struct error *e);
/* The process that has locked DATA; 0: none. */
int cloud_server(const char *data);
void cloud_close(struct cloud *c);

/* Settings of the whole cloud. The value is good until the next call; NULL: not set. */
const char *cloud_setting(struct cloud *c, const char *name);
void cloud_set(struct cloud *c, const char *name, const char *value);

/* ---- access keys ---- */

enum { POLICY_SIZE = 4096 };

struct access_key {
	char id[129], secret[129], account[13];
	char policy[POLICY_SIZE]; /* what it may do (policy.h); "": all */
};
/* False: there is none of that id. */
bool access_key_find(struct cloud *c, const char *id, struct access_key *key);
/* The oldest, which was made at the first start. */
bool access_key_first(struct cloud *c, struct access_key *key);
/* id or secret NULL: made up; policy NULL: all. -1: the id is taken, or either is not what AWS's tools
 * accept. */
int access_key_create(struct cloud *c, const char *id, const char *secret, const char *policy,
                      struct access_key *key, struct error *e);

/* Now, in milliseconds since 1970. */
s64 cloud_now_ms(void);
/* n random lower-case hexadecimal digits, and a zero byte. */
void cloud_random_hex(char *out, unsigned n);
