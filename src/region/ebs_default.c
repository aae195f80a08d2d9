/* EnableEbsEncryptionByDefault, ModifyEbsDefaultKmsKeyId and their kin. */
#include "region/ebs_default.h"
#include "region/block_file.h"
#include "region/link.h"

#include <string.h>

static const char *place(struct request *r)
{
	return arena_printf(r->arena, "ebs:%s:%s", r->account, r->region);
}

bool ebs_default_encryption(struct request *r)
{
	return property_is(r, place(r), "encryption", "true");
}

const char *ebs_default_key(struct request *r, const char *key)
{
	const char *chosen = key ? key : property_get(r, place(r), "key");

	if (!chosen)
		chosen = "alias/aws/ebs";
	if (!strncmp(chosen, "arn:", 4))
		return chosen;
	return arena_printf(r->arena, "arn:aws:kms:%s:%s:%s%s", r->region, r->account,
	                    strncmp(chosen, "alias/", 6) ? "key/" : "", chosen);
}

static void show_encryption(struct request *r)
{
	value_set_boolean(r->out, "EbsEncryptionByDefault", ebs_default_encryption(r));
}

ACTION(ec2, EnableEbsEncryptionByDefault)
{
	if (block_files_are_real(r))
		return request_fail(r, "UnsupportedOperation",
		                    "Volumes cannot be encrypted here: they are plain files");
	property_set(r, place(r), "encryption", "true");
	show_encryption(r);
	return 0;
}

ACTION(ec2, DisableEbsEncryptionByDefault)
{
	property_set(r, place(r), "encryption", NULL);
	show_encryption(r);
	return 0;
}

ACTION(ec2, GetEbsEncryptionByDefault)
{
	show_encryption(r);
	return 0;
}

static void show_key(struct request *r)
{
	const char *key = property_get(r, place(r), "key");

	value_set_string(r->out, "KmsKeyId", key ? key : "alias/aws/ebs");
}

ACTION(ec2, GetEbsDefaultKmsKeyId)
{
	show_key(r);
	return 0;
}

ACTION(ec2, ModifyEbsDefaultKmsKeyId)
{
	enum { KEY_MAX = 2048 };
	const char *key = value_string(r->in, "KmsKeyId");

	if (!*key || strlen(key) > KEY_MAX)
		return request_fail(r, "InvalidParameterValue",
		                    "Value (%.64s) for parameter KmsKeyId is invalid", key);
	property_set(r, place(r), "key", ebs_default_key(r, key));
	show_key(r);
	return 0;
}

ACTION(ec2, ResetEbsDefaultKmsKeyId)
{
	property_set(r, place(r), "key", NULL);
	show_key(r);
	return 0;
}
