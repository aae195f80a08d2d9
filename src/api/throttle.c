#include "api/throttle.h"

#include <stdlib.h>
#include <string.h>

/* Buckets lie in sets, by the hash of what they are for. One that is full again is as good as none, so its
 * place is taken by the next; if a set has none of these, its buckets are shared. */
enum { SETS = 1024, WAYS = 8 };

struct bucket {
	u64 key; /* 0: free */
	u64 at_ns;
	double tokens, size, per_s;
};

struct throttle {
	double factor;
	struct bucket buckets[SETS][WAYS];
};

struct rate {
	const char *action;
	double size, per_s;
};

static const struct rate reading = {NULL, 100, 20}, reading_all = {NULL, 50, 10}, changing = {NULL, 50, 5};

/* Read in pieces or by filter, if the smaller bucket is not to be used. */
static const char *const long_lists[] = {
        "DescribeInstances",      "DescribeInstanceStatus", "DescribeNetworkInterfaces",
        "DescribeSecurityGroups", "DescribeSnapshots",      "DescribeSpotInstanceRequests",
        "DescribeVolumes"};

/* "Uncategorized actions". */
static const struct rate special[] = {
        {"CopyImage", 100, 1},      {"CreateDefaultSubnet", 1, 1}, {"CreateDefaultVpc", 1, 1},
        {"CreateSnapshot", 100, 5}, {"CreateSnapshots", 100, 5},   {"CreateVolume", 100, 5},
        {"DeleteSnapshot", 100, 5}, {"DeleteVolume", 100, 5},      {"ModifyVolume", 100, 5},
        {"RunInstances", 5, 2},     {"StartInstances", 5, 2}};

/* Tokens for each instance. */
static const struct rate resources[] = {{"RunInstances", 1000, 2},
                                        {"StartInstances", 1000, 2},
                                        {"StopInstances", 1000, 20},
                                        {"TerminateInstances", 1000, 20}};

struct throttle *throttle_new(double factor)
{
	struct throttle *t = calloc(1, sizeof(*t));

	if (t)
		t->factor = factor;
	return t;
}

void throttle_free(struct throttle *t)
{
	free(t);
}

bool throttle_parse(const char *text, double *factor)
{
	char *end;

	if (!strcmp(text, "off") || !strcmp(text, "aws")) {
		*factor = *text == 'a';
		return true;
	}
	*factor = strtod(text, &end);
	return end != text && !*end && *factor > 0 && *factor <= 1e9;
}

/* FNV-1a, over the zero byte as well. */
static u64 hash(u64 h, const char *text)
{
	do
		h = (h ^ (u8)*text) * 1099511628211ULL;
	while (*text++);
	return h;
}

static double tokens_now(const struct bucket *b, u64 now_ns)
{
	double more = now_ns > b->at_ns ? (double)(now_ns - b->at_ns) / 1e9 * b->per_s : 0;

	return min(b->tokens + more, b->size);
}

static struct bucket *bucket_of(struct throttle *t, u64 key, const struct rate *rate, u64 now_ns)
{
	struct bucket *set = t->buckets[(key >> 16) % SETS], *place = NULL;

	for (unsigned i = 0; i < WAYS; i++) {
		if (set[i].key == key)
			return &set[i];
		if (!place && (!set[i].key || tokens_now(&set[i], now_ns) >= set[i].size))
			place = &set[i];
	}
	if (!place)
		return &set[key % WAYS];
	*place = (struct bucket){.key = key,
	                         .at_ns = now_ns,
	                         .tokens = rate->size * t->factor,
	                         .size = rate->size * t->factor,
	                         .per_s = rate->per_s * t->factor};
	return place;
}

static bool take(struct throttle *t, const char *const *names, const struct rate *rate, u64 count, u64 now_ns)
{
	u64 key = 14695981039346656037ULL;
	struct bucket *b;

	for (; *names; names++)
		key = hash(key, *names);
	b = bucket_of(t, key ? key : 1, rate, now_ns);
	b->tokens = tokens_now(b, now_ns);
	b->at_ns = max(b->at_ns, now_ns);
	if (b->tokens < (double)count)
		return false;
	b->tokens -= (double)count;
	return true;
}

static const struct rate *find(const struct rate *list, size_t count, const char *action)
{
	for (size_t i = 0; i < count; i++)
		if (!strcmp(list[i].action, action))
			return &list[i];
	return NULL;
}

static bool reads(const char *action)
{
	static const char *const words[] = {"Describe", "Get", "List", "Search"};

	for (unsigned i = 0; i < ARRAY_SIZE(words); i++)
		if (!strncmp(action, words[i], strlen(words[i])))
			return true;
	return false;
}

static bool is_long_list(const char *action)
{
	for (unsigned i = 0; i < ARRAY_SIZE(long_lists); i++)
		if (!strcmp(long_lists[i], action))
			return true;
	return false;
}

bool throttle_request(struct throttle *t, const char *account, const char *region, const char *action,
                      bool all, u64 now_ns)
{
	const struct rate *rate = find(special, ARRAY_SIZE(special), action);
	const char *which = "";

	if (!rate && all && is_long_list(action)) {
		rate = &reading_all;
		which = "all";
	} else if (!rate) {
		rate = reads(action) ? &reading : &changing;
	}
	return take(t, (const char *[]){account, region, action, which, NULL}, rate, 1, now_ns);
}

bool throttle_resources(struct throttle *t, const char *account, const char *region, const char *action,
                        u64 count, u64 now_ns)
{
	const struct rate *rate = find(resources, ARRAY_SIZE(resources), action);

	return !rate ||
	       take(t, (const char *[]){account, region, action, "resources", NULL}, rate, count, now_ns);
}
