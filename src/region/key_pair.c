#include "region/key_pair.h"
#include "region/describe.h"
#include "region/ssh_key.h"
#include "region/tag.h"

#include <string.h>

static const char *const filters[] = {"fingerprint", "KeyFingerprint", NULL};

RESOURCE_KIND(key_pair_kind) = {
        .name = "key-pair",
        .prefix = "key-",
        .shape = "KeyPairInfo",
        .id = "KeyPairId",
        .noun = "KeyPair",
        .not_found = "InvalidKeyPair.NotFound",
        .filters = filters,
};

enum { NAME_LENGTH_MAX = 255, KEYS_MAX = 5000 };

struct resource *key_pair_named(struct request *r, const char *name)
{
	return resource_lookup(r, &key_pair_kind, "KeyName", name);
}

static int check_name(struct request *r, const char *name)
{
	size_t length = strlen(name);

	if (!length || length > NAME_LENGTH_MAX || name[0] == ' ' || name[length - 1] == ' ')
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter KeyName is invalid: up to 255 ASCII "
		                    "characters, without leading or trailing spaces",
		                    name);
	for (size_t i = 0; i < length; i++)
		if (name[i] < ' ' || name[i] > '~')
			return request_fail(r, "InvalidParameterValue",
			                    "Value for parameter KeyName is invalid: ASCII characters only");
	if (key_pair_named(r, name))
		return request_fail(r, "InvalidKeyPair.Duplicate", "The keypair '%s' already exists.", name);
	if (resource_count(r, &key_pair_kind, NULL) >= KEYS_MAX)
		return request_fail(r, "KeyPairLimitExceeded", "You may have at most %d key pairs", KEYS_MAX);
	return 0;
}

static int store(struct request *r, const char *name, const struct ssh_key *key)
{
	struct resource *pair = resource_new(r, &key_pair_kind);

	value_set_string(pair->doc, "KeyName", name);
	value_set_string(pair->doc, "KeyFingerprint", key->fingerprint);
	value_set_string(pair->doc, "KeyType", key->type == SSH_KEY_RSA ? "rsa" : "ed25519");
	value_set_string(pair->doc, "PublicKey", key->public_line);
	value_set_time(pair->doc, "CreateTime", r->now_ms);
	if (tag_specifications(r, pair, NULL) < 0)
		return -1;
	resource_insert(r, pair);
	value_set_string(r->out, "KeyName", name);
	value_set_string(r->out, "KeyPairId", pair->id);
	value_set_string(r->out, "KeyFingerprint", key->fingerprint);
	if (value_get(pair->doc, "Tags"))
		value_put(r->out, "Tags", value_get(pair->doc, "Tags"));
	return 0;
}

ACTION(ec2, CreateKeyPair)
{
	const char *name = value_string(r->in, "KeyName"), *type = value_string(r->in, "KeyType");
	const char *format = value_string(r->in, "KeyFormat");
	struct ssh_key key;
	struct error e;

	if (check_name(r, name) < 0)
		return -1;
	if (ssh_key_create(&key, r->arena, type && !strcmp(type, "ed25519") ? SSH_KEY_ED25519 : SSH_KEY_RSA,
	                   format ? format : "pem", name, &e) < 0)
		return request_fail(r, "InternalError", "%s", e.text);
	if (store(r, name, &key) < 0)
		return -1;
	value_set_string(r->out, "KeyMaterial", key.secret);
	return 0;
}

ACTION(ec2, ImportKeyPair)
{
	const struct value *material = value_get(r->in, "PublicKeyMaterial");
	const char *name = value_string(r->in, "KeyName");
	struct ssh_key key;
	struct error e;

	if (check_name(r, name) < 0)
		return -1;
	if (ssh_key_import(&key, r->arena, material->text, material->count, &e) < 0)
		return request_fail(r, "InvalidKey.Format", "%s", e.text);
	return store(r, name, &key);
}

ACTION(ec2, DeleteKeyPair)
{
	const char *name = value_string(r->in, "KeyName"), *id = value_string(r->in, "KeyPairId");
	struct resource *pair;

	if (!name && !id)
		return request_fail(r, "MissingParameter",
		                    "The request must contain the parameter KeyName or KeyPairId");
	pair = id ? resource_find(r, &key_pair_kind, id) : key_pair_named(r, name);
	/* One that is not there is deleted already: EC2 says success. */
	if (id && !resource_id_valid("key-", id))
		return request_fail(r, "InvalidKeyPair.NotFound", "The key pair '%.100s' does not exist", id);
	if (pair)
		resource_delete(r, pair);
	return 0;
}

/* The public key is shown only to those who ask for it. */
static bool without_public(struct request *r, const struct resource *res)
{
	if (!value_boolean(r->in, "IncludePublicKey", false))
		value_remove(res->doc, "PublicKey");
	return true;
}

ACTION(ec2, DescribeKeyPairs)
{
	static const struct describe d = {.kind = &key_pair_kind,
	                                  .list = "KeyPairs",
	                                  .ids = "KeyPairIds",
	                                  .names = "KeyNames",
	                                  .name_path = "KeyName",
	                                  .name_not_found = "InvalidKeyPair.NotFound",
	                                  .accept = without_public};

	return describe_run(r, &d);
}
