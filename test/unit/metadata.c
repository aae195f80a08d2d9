/* What an instance is told of itself, who signs it, and the credentials of its role. */
#include "region_call.h"

#include "region/credential.h"
#include "region/identity.h"
#include "region/metadata.h"
#include "region/vpc_plan.h"

#include <jansson.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>
#include <sys/stat.h>

/* The leaf at a path of keys, each ended by a slash but the last. */
static const char *leaf(const json_t *tree, const char *path)
{
	char name[256];

	for (; strchr(path, '/'); path = strchr(path, '/') + 1) {
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(path, "/"), path);
		tree = json_object_get(tree, name);
	}
	return json_string_value(json_object_get(tree, path));
}

static void tree(void **state)
{
	struct fixture *f = *state;
	const char *vpc = id_of(f, "CreateVpc", "Vpc.VpcId", "CidrBlock=10.0.0.0/16"), *subnet, *group,
	           *interface, *id, *text;
	struct resource *instance;
	struct metadata_maker *m;
	s64 renew = 0;
	struct plan p;
	struct error e;
	json_t *made, *meta;
	char path[256];

	f->r.now_ms = 1700000000000;
	subnet = id_of(f, "CreateSubnet", "Subnet.SubnetId",
	               "VpcId=%s&CidrBlock=10.0.1.0/24&AvailabilityZone=us-east-1a", vpc);
	group = id_of(f, "CreateSecurityGroup", "GroupId", "VpcId=%s&GroupName=g&GroupDescription=g", vpc);
	id = machine(f, subnet, group, "running", &interface);
	call(f, "CreateKeyPair", "KeyName=k1&KeyType=ed25519");
	instance = resource_find(&f->r, &instance_kind, id);
	value_set_string(instance->doc, "KeyName", "k1");
	value_set_string(value_open(instance->doc, "Placement"), "AvailabilityZone", "us-east-1a");
	resource_save(&f->r, instance);
	call(f, "CreateTags", "ResourceId.1=%s&Tag.1.Key=Name&Tag.1.Value=one&Tag.2.Key=a:b&Tag.2.Value=x",
	     id);
	f->r.policy = "allow ec2:Describe* *\n";
	call(f, "AssociateIamInstanceProfile", "InstanceId=%s&IamInstanceProfile.Name=web", id);
	assert_int_equal(vpc_plan_make(&f->r, vpc, &p, NULL), 0);
	m = metadata_maker_new(f->data, &e);
	assert_non_null(m);
	made = metadata_make(m, &f->r, &p, id, &renew);
	meta = json_object_get(json_object_get(made, "tree"), "meta-data");
	assert_string_equal(leaf(meta, "instance-id"), id);
	assert_string_equal(leaf(meta, "local-ipv4"), p.interfaces[0].addresses[0]);
	assert_string_equal(leaf(meta, "mac"), p.interfaces[0].mac);
	assert_string_equal(leaf(meta, "placement/availability-zone-id"), "use1-az1");
	assert_string_equal(leaf(meta, "services/domain"), "amazonaws.com");
	assert_string_equal(leaf(meta, "security-groups"), "g");
	snprintf(path, sizeof(path), "network/interfaces/macs/%s/subnet-ipv4-cidr-block",
	         p.interfaces[0].mac);
	assert_string_equal(leaf(meta, path), "10.0.1.0/24");
	text = leaf(meta, "public-keys/0=k1/openssh-key");
	assert_non_null(text);
	assert_int_equal(strncmp(text, "ssh-ed25519 ", 12), 0);
	assert_null(json_object_get(meta, "spot"));
	assert_null(json_object_get(meta, "tags")); /* not asked for */
	assert_null(json_object_get(meta, "public-ipv4"));
	text = leaf(meta, "iam/security-credentials/web");
	assert_non_null(text);
	assert_non_null(strstr(text, "ASIA"));
	assert_int_equal(renew, f->r.now_ms + 5 * 3600 * 1000 + 1);
	assert_string_equal(leaf(json_object_get(made, "options"), "tokens"), "optional");
	json_decref(made);

	/* The key stays when its pair is gone; tags come when they are asked for. */
	call(f, "DeleteKeyPair", "KeyName=k1");
	call(f, "ModifyInstanceMetadataOptions",
	     "InstanceId=%s&HttpTokens=required&InstanceMetadataTags=enabled", id);
	made = metadata_make(m, &f->r, &p, id, &renew);
	meta = json_object_get(json_object_get(made, "tree"), "meta-data");
	assert_non_null(leaf(meta, "public-keys/0=k1/openssh-key"));
	assert_string_equal(leaf(meta, "tags/instance/Name"), "one");
	assert_string_equal(leaf(meta, "tags/instance/a:b"), "x");
	assert_int_equal(json_object_size(json_object_get(json_object_get(meta, "tags"), "instance")), 2);
	assert_string_equal(leaf(json_object_get(made, "options"), "tokens"), "required");
	json_decref(made);
	metadata_maker_free(m);
	f->r.policy = NULL;
}

static void role(void **state)
{
	struct fixture *f = *state;
	struct credential one, two, found;

	f->r.now_ms = 1700000000000;
	credential_for(&f->r, "i-1", "web", "deny * *\n", &one);
	credential_for(&f->r, "i-1", "web", "deny * *\n", &two);
	assert_string_equal(one.id, two.id);
	assert_true(credential_find(&f->cloud, one.id, &found));
	assert_string_equal(found.secret, one.secret);
	assert_string_equal(found.policy, "deny * *\n");
	assert_false(credential_find(&f->cloud, "ASIA0", &found));
	/* Another role, another policy, and an hour before the end: another one. */
	credential_for(&f->r, "i-1", "db", "deny * *\n", &two);
	assert_string_not_equal(one.id, two.id);
	credential_for(&f->r, "i-1", "web", "", &two);
	assert_string_not_equal(one.id, two.id);
	f->r.now_ms = credential_renewal(&one);
	credential_for(&f->r, "i-1", "web", "deny * *\n", &two);
	assert_string_not_equal(one.id, two.id);
	assert_true(two.expires_ms > one.expires_ms);
	assert_true(credential_find(&f->cloud, one.id, &found));
	/* Those that ended long ago are forgotten when one is made. */
	f->r.now_ms += 48 * 3600 * 1000LL;
	credential_for(&f->r, "i-2", "web", "", &two);
	assert_false(credential_find(&f->cloud, one.id, &found));
}

/* Whoever has the certificate can check what the key signed, after a restart as well. */
static void signatures(void **state)
{
	struct fixture *f = *state;
	struct identity_signature s;
	struct identity *i;
	struct error e;
	struct stat st;
	char path[128], first[8192];
	u8 bytes[8192];
	X509 *certificate;
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	STACK_OF(X509) *certificates = sk_X509_new_null();
	BIO *in, *out = BIO_new(BIO_s_mem());
	PKCS7 *p;
	FILE *file;
	int length;

	i = identity_open(f->data, &e);
	assert_non_null(i);
	assert_int_equal(identity_sign(i, "i-1", "{\"a\": 1}", &s), 0);
	snprintf(first, sizeof(first), "%s", s.pkcs7);
	identity_free(i);
	i = identity_open(f->data, &e);
	assert_int_equal(identity_sign(i, "i-1", "{\"a\": 1}", &s), 0);
	assert_string_equal(first, s.pkcs7);
	snprintf(path, sizeof(path), "%s/identity.key", f->data);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	snprintf(path, sizeof(path), "%s/identity.pem", f->data);
	file = fopen(path, "r");
	assert_non_null(file);
	certificate = PEM_read_X509(file, NULL, NULL, NULL);
	fclose(file);
	/* signature: base64 in lines. */
	in = BIO_new(BIO_s_mem());
	BIO_printf(in, "%s\n", s.signature);
	in = BIO_push(BIO_new(BIO_f_base64()), in);
	length = BIO_read(in, bytes, sizeof(bytes));
	BIO_free_all(in);
	assert_int_equal(length, 256);
	assert_int_equal(EVP_DigestVerifyInit(ctx, NULL, EVP_sha256(), NULL, X509_get0_pubkey(certificate)),
	                 1);
	assert_int_equal(EVP_DigestVerify(ctx, bytes, 256, (const u8 *)"{\"a\": 1}", 8), 1);
	EVP_MD_CTX_free(ctx);
	/* pkcs7, as it is to be framed. */
	in = BIO_new(BIO_s_mem());
	BIO_printf(in, "-----BEGIN PKCS7-----\n%s\n-----END PKCS7-----\n", s.pkcs7);
	p = PEM_read_bio_PKCS7(in, NULL, NULL, NULL);
	assert_non_null(p);
	sk_X509_push(certificates, certificate);
	assert_int_equal(PKCS7_verify(p, certificates, NULL, NULL, out, PKCS7_NOVERIFY), 1);
	length = BIO_read(out, bytes, sizeof(bytes));
	assert_int_equal(length, 8);
	assert_memory_equal(bytes, "{\"a\": 1}", 8);
	PKCS7_free(p);
	BIO_free(in);
	BIO_free(out);
	sk_X509_pop_free(certificates, X509_free);
	identity_free(i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test_setup_teardown(tree, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(role, fixture_setup, fixture_teardown),
	        cmocka_unit_test_setup_teardown(signatures, fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
