#include "region/region.h"
#include "region/default_network.h"
#include "region/prefix_list.h"

#include <ctype.h>
#include <string.h>

static const char *const known[] = {"us-east-1", "us-east-2",    "us-west-1",      "us-west-2",
                                    "eu-west-1", "eu-central-1", "ap-southeast-1", "ap-northeast-1"};

static bool in_list(const char *list, const char *name)
{
	size_t length = strlen(name);

	while (*list) {
		size_t end = strcspn(list, ",");

		if (end == length && !strncmp(list, name, length))
			return true;
		list += end + (list[end] != 0);
	}
	return false;
}

/* us-east-1, us-gov-west-1, my-lab-7: words with a number at the end. */
static bool well_formed(const char *name)
{
	size_t length = strlen(name);

	for (size_t i = 0; i < length; i++)
		if (!islower((unsigned char)name[i]) && !isdigit((unsigned char)name[i]) && name[i] != '-')
			return false;
	return length >= 3 && length <= 32 && islower((unsigned char)name[0]) && name[length - 1] != '-';
}

bool region_offered(const struct cloud *c, const char *name)
{
	return c->regions ? in_list(c->regions, name) : well_formed(name);
}

const char *region_listed(struct cloud *c, struct arena *a, const char *account, unsigned i)
{
	const char *list = c->regions, *name = NULL;
	struct query *q;

	if (list) {
		for (; i && *list; i--) {
			list += strcspn(list, ",");
			list += *list != 0;
		}
		return *list ? arena_text(a, list, strcspn(list, ",")) : NULL;
	}
	if (i < ARRAY_SIZE(known))
		return known[i];
	i -= ARRAY_SIZE(known);
	q = query_text(database_query(c->db, "SELECT name FROM region WHERE account = $1 ORDER BY name"),
	               account);
	while (query_row(q)) {
		bool twice = false;

		for (unsigned k = 0; k < ARRAY_SIZE(known); k++)
			twice |= !strcmp(query_column_text(q, 0), known[k]);
		if (twice || i--)
			continue;
		name = arena_strdup(a, query_column_text(q, 0));
		break;
	}
	query_end(q);
	return name;
}

const char *region_zone_id(struct arena *a, const char *region, char letter)
{
	/* us-east-1 -> use1, as AWS has it */
	static const struct {
		const char *word, *is;
	} words[] = {{"northeast", "ne"}, {"northwest", "nw"}, {"southeast", "se"},
	             {"southwest", "sw"}, {"central", "c"},    {"north", "n"},
	             {"south", "s"},      {"east", "e"},       {"west", "w"}};
	char *out = arena_alloc(a, strlen(region) + 8), *p = out;

	while (*region) {
		size_t length = strcspn(region, "-"), n = length;
		const char *from = region;

		for (unsigned i = 0; i < ARRAY_SIZE(words); i++) {
			if (strlen(words[i].word) == length && !strncmp(region, words[i].word, length)) {
				from = words[i].is;
				n = strlen(from);
				break;
			}
		}
		memcpy(p, from, n);
		p += n;
		region += length + (region[length] == '-');
	}
	memcpy(p, "-az", 3);
	p[3] = (char)('1' + letter - 'a');
	return out;
}

int region_ensure(struct request *r)
{
	struct query *q =
	        database_query(r->cloud->db, "SELECT 1 FROM region WHERE account = $1 AND name = $2");
	/* What is made is EC2's, whichever service was called first. */
	struct request own = *r;
	bool there;

	own.model = &model_ec2;
	query_text(query_text(q, r->account), r->region);
	there = query_row(q);
	query_end(q);
	if (there)
		return 0;
	if (!region_offered(r->cloud, r->region))
		return request_fail(r, "AuthFailure", "The region '%.64s' is not offered here", r->region);
	q = database_query(r->cloud->db, "INSERT INTO region VALUES ($1, $2, $3)");
	query_run(query_integer(query_text(query_text(q, r->account), r->region), r->now_ms));
	prefix_list_create_own(&own);
	return default_network_create(&own) ? 0 : -1;
}
