#include "region/credential.h"

#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LASTS_MS   (6 * 3600 * 1000LL)
#define RENEWED_MS (3600 * 1000LL)      /* before it expires */
#define KEPT_MS    (24 * 3600 * 1000LL) /* so that who uses it still is told that it has expired */

#define COLUMNS "id, secret, token, account, role, instance, policy, made, expires"

static void read_row(struct query *q, struct credential *c)
{
	const struct {
		char *to;
		size_t size;
	} texts[] = {{c->id, sizeof(c->id)},        {c->secret, sizeof(c->secret)},
	             {c->token, sizeof(c->token)},  {c->account, sizeof(c->account)},
	             {c->role, sizeof(c->role)},    {c->instance, sizeof(c->instance)},
	             {c->policy, sizeof(c->policy)}};

	for (unsigned i = 0; i < ARRAY_SIZE(texts); i++)
		snprintf(texts[i].to, texts[i].size, "%s", query_column_text(q, i));
	c->made_ms = query_column_integer(q, 7);
	c->expires_ms = query_column_integer(q, 8);
}

bool credential_find(struct cloud *cloud, const char *id, struct credential *c)
{
	struct query *q =
	        query_text(database_query(cloud->db, "SELECT " COLUMNS " FROM credential WHERE id = $1"), id);
	bool found = query_row(q);

	if (found)
		read_row(q, c);
	query_end(q);
	return found;
}

static void random_text(char *out, unsigned n, const char *digits, unsigned base)
{
	u8 bytes[CREDENTIAL_TOKEN];

	if (RAND_bytes(bytes, (int)n) != 1)
		abort();
	for (unsigned i = 0; i < n; i++)
		out[i] = digits[bytes[i] % base]; /* base: a power of two */
	out[n] = 0;
}

static void make(struct request *r, struct credential *c)
{
	static const char many[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	struct query *q;

	strcpy(c->id, "ASIA");
	random_text(c->id + 4, 16, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", 32);
	random_text(c->secret, 40, many, 64);
	random_text(c->token, CREDENTIAL_TOKEN - 1, many, 64);
	c->made_ms = r->now_ms;
	c->expires_ms = r->now_ms + LASTS_MS;
	query_run(query_integer(database_query(r->cloud->db, "DELETE FROM credential WHERE expires < $1"),
	                        r->now_ms - KEPT_MS));
	q = database_query(r->cloud->db, "INSERT INTO credential (" COLUMNS
	                                 ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)");
	query_text(query_text(query_text(query_text(q, c->id), c->secret), c->token), c->account);
	query_text(query_text(query_text(q, c->role), c->instance), c->policy);
	query_run(query_integer(query_integer(q, c->made_ms), c->expires_ms));
}

void credential_for(struct request *r, const char *instance, const char *role, const char *policy,
                    struct credential *c)
{
	struct query *q =
	        database_query(r->cloud->db, "SELECT " COLUMNS " FROM credential WHERE instance = $1 "
	                                     "AND role = $2 AND policy = $3 AND expires > $4 "
	                                     "ORDER BY expires DESC LIMIT 1");
	bool found;

	*c = (struct credential){0};
	query_text(query_text(query_text(q, instance), role), policy);
	query_integer(q, r->now_ms + RENEWED_MS);
	found = query_row(q);
	if (found)
		read_row(q, c);
	query_end(q);
	if (found)
		return;
	snprintf(c->account, sizeof(c->account), "%s", r->account);
	snprintf(c->role, sizeof(c->role), "%s", role);
	snprintf(c->instance, sizeof(c->instance), "%s", instance);
	snprintf(c->policy, sizeof(c->policy), "%s", policy);
	make(r, c);
}

s64 credential_renewal(const struct credential *c)
{
	return c->expires_ms - RENEWED_MS + 1;
}
