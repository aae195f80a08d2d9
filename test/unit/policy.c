/* What a key may do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "region/policy.h"

static bool allows(const char *policy, const char *action, const char *one, const char *two)
{
	const char *ids[] = {one, two};

	return policy_allows(policy, action, ids, !!one + !!two);
}

static void test_effects(void **state)
{
	assert_true(allows("", "ec2:RunInstances", NULL, NULL));
	assert_true(allows("allow ec2:* *\n", "ec2:RunInstances", NULL, NULL));
	assert_false(allows("allow ec2:Describe* *\n", "ec2:RunInstances", NULL, NULL));
	assert_false(allows("allow * *\ndeny ec2:Run* *\n", "ec2:RunInstances", NULL, NULL));
	assert_false(allows("deny ec2:Run* *\nallow * *\n", "ec2:RunInstances", NULL, NULL));
	assert_false(allows("deny ec2:Run* *\n", "ec2:StopInstances", NULL, NULL)); /* nothing allows it */
	assert_false(allows("nonsense\n", "ec2:RunInstances", NULL, NULL));
}

static void test_resources(void **state)
{
	static const char one[] = "allow ec2:* i-1*\n", all_but[] = "allow * *\ndeny ec2:Stop* i-1*\n";

	assert_true(allows(one, "ec2:StopInstances", "i-11", "i-12"));
	assert_false(allows(one, "ec2:StopInstances", "i-11", "i-22"));
	assert_false(allows(one, "ec2:StopInstances", NULL, NULL));
	assert_true(allows(all_but, "ec2:StopInstances", "i-22", NULL));
	assert_false(allows(all_but, "ec2:StopInstances", "i-22", "i-11"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_effects),
	        cmocka_unit_test(test_resources),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
